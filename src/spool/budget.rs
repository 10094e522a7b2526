//! Bytes that all spools of the gateway may take together, and each owner's share of them.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;

use super::{AppendError, Owner};
use crate::limits::SPOOL_SHARE_FACTOR;

/// The room of all spools. An owner may take so many times what is left free: alone four fifths of the whole, and
/// never the last of it, so that one owner's flood leaves room for the others.
#[derive(Debug)]
pub struct Budget {
    max_bytes: u64,
    used: Mutex<Used>,
}

#[derive(Debug, Default)]
struct Used {
    bytes: u64,
    by_owner: HashMap<Owner, u64>,
}

/// Bytes by owner, of one segment.
pub(super) type Shares = HashMap<Owner, u64>;

impl Budget {
    pub fn new(max_bytes: u64) -> Arc<Budget> {
        Arc::new(Budget {
            max_bytes,
            used: Mutex::default(),
        })
    }

    pub fn max_bytes(&self) -> u64 {
        self.max_bytes
    }

    pub fn used_bytes(&self) -> u64 {
        self.used.lock().bytes
    }

    pub(super) fn reserve(&self, owner: &Owner, bytes: u64) -> Result<(), AppendError> {
        let mut used = self.used.lock();
        let free = self.max_bytes.saturating_sub(used.bytes);
        if bytes > free {
            return Err(AppendError::Full);
        }
        let held = used.by_owner.get(owner).copied().unwrap_or_default();
        if held + bytes > SPOOL_SHARE_FACTOR.saturating_mul(free - bytes) {
            return Err(AppendError::ShareFull(Arc::clone(owner)));
        }
        used.bytes += bytes;
        match used.by_owner.get_mut(owner) {
            Some(held) => *held += bytes,
            None => {
                used.by_owner.insert(Arc::clone(owner), bytes);
            }
        }
        Ok(())
    }

    /// For what lies on the disk already, room or not.
    pub(super) fn take(&self, bytes: u64, shares: &Shares) {
        let mut used = self.used.lock();
        used.bytes += bytes;
        for (owner, bytes) in shares {
            *used.by_owner.entry(Arc::clone(owner)).or_default() += bytes;
        }
    }

    /// Gives back what was reserved and not written.
    pub(super) fn release(&self, owner: &Owner, bytes: u64) {
        let mut used = self.used.lock();
        used.bytes = used.bytes.saturating_sub(bytes);
        used.give_back(owner, bytes);
    }

    /// Gives back a segment's room.
    pub(super) fn release_all(&self, bytes: u64, shares: &Shares) {
        let mut used = self.used.lock();
        used.bytes = used.bytes.saturating_sub(bytes);
        for (owner, bytes) in shares {
            used.give_back(owner, *bytes);
        }
    }
}

impl Used {
    fn give_back(&mut self, owner: &Owner, bytes: u64) {
        if let Some(held) = self.by_owner.get_mut(owner) {
            *held = held.saturating_sub(bytes);
            if *held == 0 {
                // Owners come and go; what they held must not add up.
                self.by_owner.remove(owner);
            }
        }
    }
}
