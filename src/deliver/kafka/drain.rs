//! One pass over the spool with one producer.

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::{
    Core,
    link::{DrainError, Link},
    message,
};
use crate::{
    deliver::{DestinationState, codec, count},
    spool::{AppendError, Entry, Sequence},
};

/// On their way from the spool at once.
pub(super) const WINDOW_RECORDS: usize = 10_000;
pub(super) const WINDOW_BYTES: usize = 8 << 20;
/// Between two commits of the spool while it drains.
const COMMIT_INTERVAL: Duration = Duration::from_millis(100);
/// Records may be held in memory while so few are left in the spool …
const HANDOVER_RECORDS: u64 = 1000;
/// … and for so long.
const HANDOVER_TIMEOUT: Duration = Duration::from_secs(1);
/// … and, where that was in vain, again after a pause of up to so long.
const HANDOVER_PAUSE_MAX: Duration = Duration::from_secs(8);

/// One pass over the spool with one producer.
pub(super) struct Drain {
    core: Arc<Core>,
    link: Arc<Link>,
    /// Read up to here.
    pub(super) position: Sequence,
    /// Read and not yet sent.
    unsent: VecDeque<Entry>,
    committed: Sequence,
    /// Of the window, up to there.
    settled: u64,
    refused: u64,
    committed_at: Instant,
    alone_to: Sequence,
    /// The record sent last is one that must be alone: none joins its batch.
    last_is_alone: bool,
    /// Since when records are held in memory.
    held_since: Option<Instant>,
    /// Not before then are records held again.
    hold_after: Instant,
    /// Longer after each time that it was in vain: no sender should wait again and again.
    hold_pause: Duration,
}

impl Drain {
    pub(super) fn new(core: Arc<Core>, link: Arc<Link>, alone_to: Sequence) -> Drain {
        let (committed, _) = core.spool.committed();
        Drain {
            core,
            link,
            position: committed,
            unsent: VecDeque::new(),
            committed,
            settled: 0,
            refused: 0,
            committed_at: Instant::now(),
            alone_to,
            last_is_alone: false,
            held_since: None,
            hold_after: Instant::now(),
            hold_pause: HANDOVER_TIMEOUT,
        }
    }

    /// Only where something is there to read: an empty spool must not be waited for.
    pub(super) fn wants_more(&self) -> bool {
        self.unsent.is_empty() && self.position < self.core.spool.last_sequence()
    }

    pub(super) fn take(&mut self, entries: Vec<Entry>) {
        if let Some(last) = entries.last() {
            self.position = last.sequence;
        }
        self.unsent.extend(entries);
    }

    /// Sends what the window has room for.
    pub(super) fn send(&mut self) -> Result<(), String> {
        while let Some(entry) = self.unsent.front() {
            let (in_flight, bytes) = {
                let window = self.link.shared.window.lock();
                (window.len(), window.bytes())
            };
            let alone = entry.sequence <= self.alone_to;
            let window_records = if alone || self.last_is_alone {
                1
            } else {
                WINDOW_RECORDS
            };
            if in_flight >= window_records || (in_flight > 0 && bytes >= WINDOW_BYTES) {
                break;
            }
            let record = match codec::decode(&entry.payload) {
                Ok(record) => record,
                // What went before comes to its end first: else each attempt would send it once more.
                Err(_) if in_flight > 0 => break,
                Err(error) => return Err(format!("entry {} of the spool: {error}", entry.sequence)),
            };
            let sequence = entry.sequence;
            match message::check(&record, self.core.options.message_bytes_max) {
                Err(detail) => self.link.refuse_unsent(sequence, record, detail),
                Ok(()) => match self.link.drain(sequence, record, alone) {
                    Ok(()) => self.last_is_alone = alone,
                    Err(DrainError::QueueFull) => break,
                    Err(DrainError::Broken(error)) => return Err(error.to_string()),
                },
            }
            self.unsent.pop_front();
        }
        Ok(())
    }

    pub(super) async fn commit_sometimes(&mut self) -> Result<(), AppendError> {
        let idle = self.unsent.is_empty() && self.link.shared.window.lock().len() == 0;
        if idle || self.committed_at.elapsed() >= COMMIT_INTERVAL {
            self.commit().await?;
        }
        Ok(())
    }

    pub(super) async fn commit(&mut self) -> Result<(), AppendError> {
        let (contiguous, settled, refused) = self.link.shared.window.lock().contiguous();
        if contiguous > self.committed {
            let spool = &self.core.spool;
            spool
                .commit(contiguous, Bytes::new(), settled - self.settled)
                .await?;
            // Counted with the commit: what is sent again after a failure counts once.
            count(&self.core.counters.refused_later, refused - self.refused);
            (self.settled, self.refused) = (settled, refused);
            self.committed = contiguous;
            self.committed_at = Instant::now();
        }
        Ok(())
    }

    /// Near the end of the spool new records wait in memory until the last spooled one is acknowledged; then they,
    /// and all later ones, go directly. True when that has come about. `undecided`: a refused record waits for another
    /// place, which may take long.
    pub(super) fn hand_over(&mut self, undecided: bool, now: Instant) -> bool {
        let left = self.core.spool.pending().entries;
        match self.held_since {
            None if !undecided && left <= HANDOVER_RECORDS && now >= self.hold_after => {
                self.core.hold();
                self.held_since = Some(now);
                // What is being appended comes to the reader with the next turn.
                self.core.wake.notify_one();
            }
            Some(since) => {
                // In this order: what has been appended by now is in the last sequence.
                let appended = self.core.appending.load(Ordering::Acquire) == 0;
                if appended && self.committed >= self.core.spool.last_sequence() {
                    self.core.state.set(DestinationState::Healthy);
                    self.core.turn_to_direct(&self.link);
                    return true;
                }
                if now.saturating_duration_since(since) > HANDOVER_TIMEOUT {
                    // Something takes its time: no sender should wait for it.
                    self.core.turn_to_spool(Vec::new());
                    self.held_since = None;
                    self.hold_after = now + self.hold_pause;
                    self.hold_pause = (self.hold_pause * 2).min(HANDOVER_PAUSE_MAX);
                }
            }
            None => {}
        }
        false
    }
}
