//! Bytes that all spools of the gateway may take together, and the share of each spool, and of each owner in it.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;

use super::{AppendError, Owner};
use crate::limits::{BODIES_IN_FLIGHT_BYTES, SPOOL_FACTOR, SPOOL_SHARE_FACTOR};

/// The room of all spools. A spool may take so many times what is left free of the whole, and one owner in it so many
/// times what is left to the spool: neither a destination that is away nor one owner's flood takes the last of it. What
/// a spool has for itself comes beside that, and nobody else gets it.
#[derive(Debug)]
pub struct Budget {
    max_bytes: u64,
    accounts: Mutex<Vec<Account>>,
    /// What is free for every spool, to be read without the lock.
    free_bytes: AtomicU64,
}

/// What one spool holds.
#[derive(Debug, Default)]
struct Account {
    bytes: u64,
    /// Of the whole, for this spool alone.
    own_bytes: u64,
    by_owner: Shares,
}

/// Whose room it is: a spool's number in its budget.
pub(super) type AccountNumber = usize;

/// Bytes by owner. Owners are the gateway's own names, so that the hash needs no guard.
pub(super) type Shares = HashMap<Owner, u64, foldhash::fast::FixedState>;

impl Budget {
    pub fn new(max_bytes: u64) -> Arc<Budget> {
        Arc::new(Budget {
            max_bytes,
            accounts: Mutex::default(),
            free_bytes: AtomicU64::new(max_bytes),
        })
    }

    pub fn max_bytes(&self) -> u64 {
        self.max_bytes
    }

    pub fn used_bytes(&self) -> u64 {
        self.accounts.lock().iter().map(|account| account.bytes).sum()
    }

    /// Whether what requests can bring at once has room, whoever sends it and wherever to.
    pub fn is_roomy(&self) -> bool {
        self.free_bytes.load(Ordering::Relaxed) >= (self.max_bytes / 2).max(BODIES_IN_FLIGHT_BYTES)
    }

    /// For one more spool, which has `own_bytes` of the whole for itself.
    pub(super) fn open(&self, own_bytes: u64) -> AccountNumber {
        let mut accounts = self.accounts.lock();
        accounts.push(Account {
            own_bytes,
            ..Account::default()
        });
        self.note_free(&accounts);
        accounts.len() - 1
    }

    /// What the spool may take beside what it holds, of all its owners together.
    pub(super) fn room_bytes(&self, number: AccountNumber) -> u64 {
        let accounts = self.accounts.lock();
        let free = self.free_of(&accounts);
        accounts.get(number).map_or(0, |account| account.takes(free))
    }

    pub(super) fn reserve(
        &self,
        number: AccountNumber,
        owner: &Owner,
        bytes: u64,
    ) -> Result<(), AppendError> {
        let mut accounts = self.accounts.lock();
        let free = self.free_of(&accounts);
        let Some(account) = accounts.get_mut(number) else {
            return Err(AppendError::Closed);
        };
        let from_free = bytes.saturating_sub(account.own_left());
        if from_free > free {
            return Err(AppendError::Full);
        }
        account.bytes += bytes;
        let free = free - from_free;
        let is_past_share = from_free > 0 && account.taken_from_free() > SPOOL_FACTOR.saturating_mul(free);
        let owners_most = SPOOL_SHARE_FACTOR.saturating_mul(account.room(free));
        let held = account.by_owner.get_mut(owner);
        let is_past_owners = held.as_deref().copied().unwrap_or_default() + bytes > owners_most;
        if is_past_share || is_past_owners {
            account.bytes -= bytes;
            return Err(if is_past_share {
                AppendError::Full
            } else {
                AppendError::ShareFull(Arc::clone(owner))
            });
        }
        match held {
            Some(held) => *held += bytes,
            None => {
                account.by_owner.insert(Arc::clone(owner), bytes);
            }
        }
        self.free_bytes.store(free, Ordering::Relaxed);
        Ok(())
    }

    /// For what lies on the disk already, room or not.
    pub(super) fn take(&self, number: AccountNumber, bytes: u64, shares: &Shares) {
        self.change(number, |account| {
            account.bytes += bytes;
            for (owner, bytes) in shares {
                *account.by_owner.entry(Arc::clone(owner)).or_default() += bytes;
            }
        });
    }

    /// Gives back what was reserved and not written.
    pub(super) fn release(&self, number: AccountNumber, owner: &Owner, bytes: u64) {
        self.change(number, |account| {
            account.bytes = account.bytes.saturating_sub(bytes);
            account.give_back(owner, bytes);
        });
    }

    /// Gives back a segment's room.
    pub(super) fn release_all(&self, number: AccountNumber, bytes: u64, shares: &Shares) {
        self.change(number, |account| {
            account.bytes = account.bytes.saturating_sub(bytes);
            for (owner, bytes) in shares {
                account.give_back(owner, *bytes);
            }
        });
    }

    fn change(&self, number: AccountNumber, change: impl FnOnce(&mut Account)) {
        let mut accounts = self.accounts.lock();
        if let Some(account) = accounts.get_mut(number) {
            change(account);
        }
        self.note_free(&accounts);
    }

    /// What nobody holds and no spool has for itself.
    fn free_of(&self, accounts: &[Account]) -> u64 {
        let kept = accounts
            .iter()
            .map(|account| account.bytes.max(account.own_bytes));
        self.max_bytes.saturating_sub(kept.sum())
    }

    fn note_free(&self, accounts: &[Account]) {
        self.free_bytes.store(self.free_of(accounts), Ordering::Relaxed);
    }
}

impl Account {
    /// Held beyond what it has for itself.
    fn taken_from_free(&self) -> u64 {
        self.bytes.saturating_sub(self.own_bytes)
    }

    fn own_left(&self) -> u64 {
        self.own_bytes.saturating_sub(self.bytes)
    }

    /// What is left to it, where so much is free for every spool.
    fn room(&self, free: u64) -> u64 {
        self.own_left() + self.share_left(free).min(free)
    }

    /// What it can take until nothing is left to it: whatever it takes is free no longer, and its share less.
    fn takes(&self, free: u64) -> u64 {
        self.own_left() + (self.share_left(free) / (SPOOL_FACTOR + 1)).min(free)
    }

    fn share_left(&self, free: u64) -> u64 {
        SPOOL_FACTOR
            .saturating_mul(free)
            .saturating_sub(self.taken_from_free())
    }

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
