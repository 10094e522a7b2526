use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// Bytes that all spools of the gateway may take together.
#[derive(Debug)]
pub struct Budget {
    max_bytes: u64,
    used_bytes: AtomicU64,
}

impl Budget {
    pub fn new(max_bytes: u64) -> Arc<Budget> {
        Arc::new(Budget {
            max_bytes,
            used_bytes: AtomicU64::new(0),
        })
    }

    pub fn max_bytes(&self) -> u64 {
        self.max_bytes
    }

    pub fn used_bytes(&self) -> u64 {
        self.used_bytes.load(Ordering::Relaxed)
    }

    /// False where there is no room.
    pub(super) fn reserve(&self, bytes: u64) -> bool {
        self.used_bytes
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                used.checked_add(bytes).filter(|used| *used <= self.max_bytes)
            })
            .is_ok()
    }

    /// For what lies on the disk already, room or not.
    pub(super) fn take(&self, bytes: u64) {
        self.used_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn release(&self, bytes: u64) {
        self.used_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}
