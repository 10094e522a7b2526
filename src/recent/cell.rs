//! The events of one partner, type and app version. Nothing here waits: a ring of slots, each swapped whole.

use std::sync::{
    Arc,
    atomic::{AtomicU32, AtomicU64, Ordering},
};

use arc_swap::ArcSwapOption;
use jiff::Timestamp;

use super::{RecentEvent, SeenVersion};
use crate::{
    event::{Decoded, EventType, PartnerName},
    limits::{RECENT_BURST_FACTOR, RECENT_SAMPLES_PER_S},
};

/// What an event takes beside its data: the slot's allocations and the attributes' strings.
const EVENT_OVERHEAD_BYTES: u64 = 400;
const CELL_OVERHEAD_BYTES: u64 = 400;
/// A weight that is off by less is let be.
const STALE_BYTES: u32 = 4096;
const MS_PER_SAMPLE: u64 = 1000 / RECENT_SAMPLES_PER_S;

pub(super) struct Cell {
    pub partner: PartnerName,
    pub event_type: EventType,
    pub app_version: Option<String>,
    seen: AtomicU64,
    first_ms: u64,
    last_ms: AtomicU64,
    /// Until when the copies that were made are paid for, in milliseconds since the epoch.
    paid_until_ms: AtomicU64,
    slots: Box<[ArcSwapOption<RecentEvent>]>,
    next: AtomicU64,
    bytes: AtomicU64,
    /// As the cache was told.
    told: AtomicU32,
}

impl Cell {
    pub fn new(event: &Decoded, slots: u32) -> Cell {
        let now_ms = event.received.as_millisecond().unsigned_abs();
        Cell {
            partner: event.partner.clone(),
            event_type: event.attributes.event_type.clone(),
            app_version: event.attributes.app_version.clone(),
            seen: AtomicU64::new(0),
            first_ms: now_ms,
            last_ms: AtomicU64::new(now_ms),
            paid_until_ms: AtomicU64::new(0),
            slots: (0..slots).map(|_| ArcSwapOption::empty()).collect(),
            next: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            told: AtomicU32::new(0),
        }
    }

    pub fn is_of(&self, event: &Decoded) -> bool {
        self.event_type == event.attributes.event_type
            && self.app_version == event.attributes.app_version
            && self.partner == event.partner
    }

    pub fn count(&self, now_ms: u64) {
        self.seen.fetch_add(1, Ordering::Relaxed);
        // Most events of a busy stream share a millisecond: a store for each would have the cores fight for the line.
        if self.last_ms.load(Ordering::Relaxed) < now_ms {
            self.last_ms.store(now_ms, Ordering::Relaxed);
        }
    }

    /// Whether an event may be copied now; a stream that is not busy may always.
    pub fn allows(&self, now_ms: u64) -> bool {
        let burst_ms = self.slots.len() as u64 * RECENT_BURST_FACTOR * MS_PER_SAMPLE;
        let paid = self.paid_until_ms.load(Ordering::Relaxed);
        if paid > now_ms {
            return false;
        }
        let next = paid.max(now_ms.saturating_sub(burst_ms)) + MS_PER_SAMPLE;
        // Where another worker was first, its copy counts.
        self.paid_until_ms
            .compare_exchange(paid, next, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    }

    /// Puts the event in the place of the oldest. Older ones go too where the stream holds more than `bytes_max`.
    pub fn push(&self, event: RecentEvent, bytes_max: u64) {
        let slots = self.slots.len() as u64;
        let at = self.next.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes_of(&event), Ordering::Relaxed);
        self.swap(at, Some(Arc::new(event)));
        let mut oldest = at + 1;
        while self.bytes.load(Ordering::Relaxed) > bytes_max && oldest < at + slots {
            self.swap(oldest, None);
            oldest += 1;
        }
    }

    fn swap(&self, at: u64, event: Option<Arc<RecentEvent>>) {
        let index = usize::try_from(at % self.slots.len() as u64).unwrap_or_default();
        if let Some(slot) = self.slots.get(index)
            && let Some(old) = slot.swap(event)
        {
            self.bytes.fetch_sub(bytes_of(&old), Ordering::Relaxed);
        }
    }

    pub fn events(&self) -> Vec<Arc<RecentEvent>> {
        self.slots.iter().filter_map(ArcSwapOption::load_full).collect()
    }

    pub fn seen(&self) -> SeenVersion {
        SeenVersion {
            partner: self.partner.clone(),
            app_version: self.app_version.clone(),
            events: self.seen.load(Ordering::Relaxed),
            first: timestamp(self.first_ms),
            last: timestamp(self.last_ms()),
        }
    }

    pub fn last_ms(&self) -> u64 {
        self.last_ms.load(Ordering::Relaxed)
    }

    pub fn held_bytes(&self) -> u64 {
        let slots = size_of::<ArcSwapOption<RecentEvent>>() as u64 * self.slots.len() as u64;
        CELL_OVERHEAD_BYTES + slots + self.bytes.load(Ordering::Relaxed)
    }

    pub fn weight(&self) -> u32 {
        let weight = u32::try_from(self.held_bytes()).unwrap_or(u32::MAX);
        self.told.store(weight, Ordering::Relaxed);
        weight
    }

    pub fn weight_is_stale(&self) -> bool {
        let weight = u32::try_from(self.held_bytes()).unwrap_or(u32::MAX);
        weight.abs_diff(self.told.load(Ordering::Relaxed)) > STALE_BYTES
    }
}

fn bytes_of(event: &RecentEvent) -> u64 {
    let attributes = &event.attributes;
    let strings = attributes.id.len()
        + attributes.source.len()
        + attributes.time.len()
        + attributes.subject.as_ref().map_or(0, String::len)
        + attributes.app_version.as_ref().map_or(0, String::len)
        + attributes.client_ip.as_ref().map_or(0, |text| text.len())
        + attributes.user_agent.as_ref().map_or(0, |text| text.len());
    event.data.len() as u64 + strings as u64 + EVENT_OVERHEAD_BYTES
}

fn timestamp(ms: u64) -> Timestamp {
    i64::try_from(ms)
        .ok()
        .and_then(|ms| Timestamp::from_millisecond(ms).ok())
        .unwrap_or(Timestamp::UNIX_EPOCH)
}
