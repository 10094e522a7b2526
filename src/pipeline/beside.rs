//! Work that live events must not feel: on a thread of its own and of low priority.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{
    background,
    deliver::{Destination, Ticket},
    event::Record,
    problem::{Code, Problem},
};

/// Records that a worker hands over before other work of it comes.
const HANDED_AT_ONCE: usize = 32;
/// Items that are sent and waited for together while live events pass: what a destination does with more at once, on
/// threads like any other, would keep those waiting.
const PART_ITEMS: usize = 64;
/// While live events pass, each part is followed by a pause of so many times its length …
const PAUSE_FACTOR: u32 = 9;
/// … and never longer than this.
const PAUSE_MAX: Duration = Duration::from_millis(200);
/// Live events pass until there was none for so long.
const CALM: Duration = Duration::from_millis(500);

/// Runs `work` to its end, even where nobody waits for it any more.
///
/// # Errors
///
/// `internal` where there is no thread, or the work panicked.
pub(super) async fn traffic<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, Problem> {
    let runtime = tokio::runtime::Handle::current();
    let done = background::run("beside", move || runtime.block_on(work)).await;
    done.map_err(|error| {
        tracing::error!(%error, "work beside the traffic broke off, or could not begin");
        Problem::new(Code::Internal, "the work broke off; see the gateway's log")
    })
}

/// How fast work goes on: slowly while live events pass.
pub(super) struct Pace<'a> {
    /// Counts live events.
    live: &'a AtomicU64,
    seen: u64,
    seen_at: Instant,
    /// When the last part began; none before the first.
    begun: Option<Instant>,
}

impl Pace<'_> {
    pub fn new(live: &AtomicU64) -> Pace<'_> {
        Pace {
            live,
            seen: live.load(Ordering::Relaxed),
            seen_at: Instant::now(),
            begun: None,
        }
    }

    /// How many items may go together; none where no live event passes.
    pub fn part_items(&mut self) -> Option<usize> {
        let live = self.live.load(Ordering::Relaxed);
        if live != self.seen {
            self.seen = live;
            self.seen_at = Instant::now();
        }
        self.is_beside().then_some(PART_ITEMS)
    }

    fn is_beside(&self) -> bool {
        self.seen_at.elapsed() < CALM
    }

    /// To be called before each part: as long as the one before took, and what came after it, times the factor.
    pub async fn pause(&mut self) {
        if let Some(begun) = self.begun
            && self.is_beside()
        {
            tokio::time::sleep((begun.elapsed() * PAUSE_FACTOR).min(PAUSE_MAX)).await;
        }
        self.begun = Some(Instant::now());
    }
}

/// A record on its way to its destination.
pub(super) type Handed = (Arc<dyn Destination>, Record, Ticket);

/// Hands the records over, on a worker: a thread of low priority that lost its core while it holds a destination's lock
/// would keep live events waiting. Other work of the worker comes between.
pub(super) async fn hand_over(records: Vec<Handed>) {
    let handing = tokio::spawn(async move {
        for (number, (destination, record, ticket)) in records.into_iter().enumerate() {
            if number % HANDED_AT_ONCE == HANDED_AT_ONCE - 1 {
                tokio::task::yield_now().await;
            }
            destination.send(record, ticket);
        }
    });
    // Where it broke off, the tickets say so.
    let _ = handing.await;
}
