//! Which events were sent before: a bounded memory of (partner, source, id).

use std::{
    collections::VecDeque,
    hash::{BuildHasher, RandomState},
    sync::Arc,
    thread,
    time::Duration,
};

use moka::sync::Cache;

use crate::{deliver::KnownEvent, event::Decoded, limits::Limits};

/// 128 bits of a keyed hash: no sender can make two events collide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Fingerprint(u64, u64);

pub(super) struct Duplicates {
    seen: Cache<Fingerprint, ()>,
    one: RandomState,
    two: RandomState,
}

/// Of what the spools held, remembered before the first request; the rest a moment later, so that a large spool does
/// not hold up the start. Who sends again after a crash sends what was last.
const KNOWN_AT_ONCE: usize = 100_000;

pub(super) fn fill(duplicates: &Arc<Duplicates>, mut known: VecDeque<KnownEvent>) {
    let latest = known.split_off(known.len().saturating_sub(KNOWN_AT_ONCE));
    duplicates.remember_known(latest);
    if known.is_empty() {
        return;
    }
    let filled = Arc::clone(duplicates);
    let filling = thread::Builder::new()
        .name("known events".to_owned())
        .spawn(move || filled.remember_known(known));
    if let Err(error) = filling {
        tracing::warn!(%error, "older events of the spools are not known as duplicates");
    }
}

impl Duplicates {
    pub fn new(limits: &Limits) -> Duplicates {
        Duplicates {
            seen: Cache::builder()
                .max_capacity(limits.duplicate_events.into())
                .time_to_live(Duration::from_secs(limits.duplicate_window_s.into()))
                .eviction_policy(moka::policy::EvictionPolicy::lru())
                .build(),
            one: RandomState::new(),
            two: RandomState::new(),
        }
    }

    pub fn fingerprint(&self, event: &Decoded) -> Fingerprint {
        let attributes = &event.attributes;
        self.print(event.partner.as_str(), &attributes.source, &attributes.id)
    }

    fn print(&self, partner: &str, source: &str, id: &str) -> Fingerprint {
        let identity = (partner, source, id);
        Fingerprint(self.one.hash_one(identity), self.two.hash_one(identity))
    }

    /// What the spools held at the start.
    pub fn remember_known(&self, events: impl IntoIterator<Item = KnownEvent>) {
        for event in events {
            let print = self.print(&event.partner, &event.source, &event.id);
            self.seen.insert(print, ());
        }
    }

    pub fn knows(&self, print: Fingerprint) -> bool {
        self.seen.contains_key(&print)
    }

    /// Only once the events are durable: an event that was forgotten is sent twice, one that was remembered too early
    /// is lost.
    pub fn remember(&self, prints: Vec<Fingerprint>) {
        for print in prints {
            self.seen.insert(print, ());
        }
    }
}
