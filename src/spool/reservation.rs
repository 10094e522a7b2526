//! Room that is taken before what needs it is appended: whoever has several things to append, here and elsewhere, knows
//! beforehand that all of them find a place.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use parking_lot::Mutex;

use super::{AppendError, Owner, Shared, Spool, frame};

/// For so long a failure of the disk says that the next append may fail.
const FAILURE: Duration = Duration::from_secs(30);

/// Room in one spool, on the disk and in memory. What is not used is given back when it is dropped.
pub struct Reservation {
    shared: Arc<Shared>,
    owner: Owner,
    left: Mutex<Left>,
}

#[derive(Clone, Copy, Debug)]
struct Left {
    disk_bytes: u64,
    memory_bytes: usize,
}

impl std::fmt::Debug for Reservation {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut reservation = formatter.debug_struct("Reservation");
        reservation
            .field("owner", &self.owner)
            .field("left", &*self.left.lock())
            .finish_non_exhaustive()
    }
}

impl Spool {
    /// Room for so many entries, of so many bytes together.
    ///
    /// # Errors
    ///
    /// As an append: the spool or the owner's share is full, the disk is, or the spool is closed.
    pub fn reserve(&self, owner: &Owner, entries: usize, bytes: usize) -> Result<Reservation, AppendError> {
        let shared = &self.handle.shared;
        let disk_bytes = frame::frames_bytes(entries, bytes);
        let mut state = shared.state.lock();
        state.takes_appends()?;
        if state.is_too_much(bytes, shared.options.queue_bytes_max) {
            return Err(AppendError::Full);
        }
        shared.budget.reserve(shared.account, owner, disk_bytes)?;
        state.reserved_bytes += bytes;
        Ok(Reservation {
            shared: Arc::clone(shared),
            owner: Arc::clone(owner),
            left: Mutex::new(Left {
                disk_bytes,
                memory_bytes: bytes,
            }),
        })
    }

    /// What is appended now may find no place, since much waits for the disk, the disk failed lately, or little is left of the
    /// budget. A request that has several things to append reserves them first.
    pub fn is_strained(&self) -> bool {
        let shared = &self.handle.shared;
        shared.strained.load(Ordering::Relaxed)
            || shared.has_failed(|| shared.opened_at.elapsed())
            || !shared.budget.is_roomy()
    }

    /// What it may take beside what it holds, of all owners together.
    pub fn room_bytes(&self) -> u64 {
        let shared = &self.handle.shared;
        shared.budget.room_bytes(shared.account)
    }
}

impl Shared {
    /// What was queued was refused with it: only the failure counts, until the disk takes something or for a while, since
    /// nothing may come that it could take.
    pub(super) fn note_failure(&self) {
        let until = self.opened_at.elapsed() + FAILURE;
        let until_ms = u64::try_from(until.as_millis()).unwrap_or(u64::MAX);
        self.failed_until_ms.store(until_ms, Ordering::Relaxed);
        self.strained.store(false, Ordering::Relaxed);
    }

    /// `open`: how long the spool has been open; asked for only after a failure, since every request comes by here.
    pub(super) fn has_failed(&self, open: impl FnOnce() -> Duration) -> bool {
        let until_ms = self.failed_until_ms.load(Ordering::Relaxed);
        until_ms > 0 && open() < Duration::from_millis(until_ms)
    }
}

impl Reservation {
    /// For one entry; false where too little is left. From then on the room is the entry's.
    pub(super) fn spend(&self, disk_bytes: u64, memory_bytes: usize) -> bool {
        let mut left = self.left.lock();
        let is_enough = disk_bytes <= left.disk_bytes && memory_bytes <= left.memory_bytes;
        if is_enough {
            left.disk_bytes -= disk_bytes;
            left.memory_bytes -= memory_bytes;
        }
        is_enough
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let left = *self.left.lock();
        let mut state = self.shared.state.lock();
        state.reserved_bytes = state.reserved_bytes.saturating_sub(left.memory_bytes);
        drop(state);
        let Shared { budget, account, .. } = &*self.shared;
        budget.release(*account, &self.owner, left.disk_bytes);
    }
}
