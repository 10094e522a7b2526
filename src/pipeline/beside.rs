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
/// While live events pass, such work is followed by a pause of so many times its length: of a hundred live events, fewer
/// than one is to meet a disk or a core that is busy with it …
const PAUSE_FACTOR: u32 = 200;
/// … and never longer than this.
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// Live events pass until there was none for so long.
const CALM: Duration = Duration::from_millis(500);
/// Between two looks whether a pause is over.
pub(super) const LOOK_INTERVAL: Duration = Duration::from_millis(50);

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

/// How fast such work goes on: slowly while live events pass. Whoever has it works; all of a node's share it.
#[derive(Default)]
pub(super) struct Pace {
    /// Live events until the last look …
    seen: u64,
    /// … that found more of them, and when that was.
    seen_at: Option<Instant>,
    /// No work before then, while live events pass.
    pause_until: Option<Instant>,
}

impl Pace {
    /// How long to wait yet, with `live` events until now.
    pub fn pause(&mut self, live: &AtomicU64, now: Instant) -> Option<Duration> {
        let left = self.pause_until?.checked_duration_since(now);
        left.filter(|left| !left.is_zero() && self.is_beside(live, now))
    }

    /// Whether live events pass.
    pub fn is_beside(&mut self, live: &AtomicU64, now: Instant) -> bool {
        let live = live.load(Ordering::Relaxed);
        if live != self.seen {
            self.seen = live;
            self.seen_at = Some(now);
        }
        self.seen_at
            .is_some_and(|at| now.saturating_duration_since(at) < CALM)
    }

    /// Work took from `begun` until now.
    pub fn worked(&mut self, begun: Instant, now: Instant) {
        let took = now.saturating_duration_since(begun);
        self.pause_until = Some(now + (took * PAUSE_FACTOR).min(PAUSE_MAX));
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

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicU64, Ordering},
        time::{Duration, Instant},
    };

    use super::{CALM, PAUSE_FACTOR, PAUSE_MAX, Pace};

    #[test]
    fn it_rests_while_live_events_pass_and_only_then() {
        let (mut pace, live) = (Pace::default(), AtomicU64::new(0));
        let begun = Instant::now();
        assert!(!pace.is_beside(&live, begun), "nobody is there");
        assert_eq!(
            pace.pause(&live, begun),
            None,
            "before the first there is no pause"
        );
        live.fetch_add(1, Ordering::Relaxed);
        assert!(pace.is_beside(&live, begun));
        let took = Duration::from_millis(4);
        let ended = begun + took;
        pace.worked(begun, ended);
        assert_eq!(pace.pause(&live, ended), Some(took * PAUSE_FACTOR));
        assert_eq!(
            pace.pause(&live, ended + CALM),
            None,
            "no event came any more, so nothing is in the way of the rest"
        );
        live.fetch_add(1, Ordering::Relaxed);
        let over = ended + took * PAUSE_FACTOR;
        assert_eq!(pace.pause(&live, over), None, "it is over");
        assert!(pace.is_beside(&live, over));
        pace.worked(begun, begun + Duration::from_secs(60));
        let pause = pace.pause(&live, begun + Duration::from_secs(60));
        assert_eq!(pause, None, "long ago");
        live.fetch_add(1, Ordering::Relaxed);
        let pause = pace.pause(&live, begun + Duration::from_secs(60));
        assert_eq!(pause, Some(PAUSE_MAX), "never longer");
    }
}
