//! The last events per partner, type and app version: in memory alone, for checks of schemas and tests of plugins.
//!
//! The data side only counts and, now and then, copies an event; it takes no lock that a reader holds. An event of a
//! stream that is busy is copied only so often, so that remembering costs the same however much passes. What is kept is
//! a copy of the event's own bytes: a slice of the request's would hold the whole body in memory.

mod cell;
mod fair;
mod hide;
mod mask;
mod tap;
#[cfg(test)]
mod tests;

use std::{
    hash::{BuildHasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use jiff::Timestamp;
use moka::sync::Cache;
use utoipa::IntoParams;

pub use hide::Hiding;
pub use mask::{hidden_texts, masked};
pub use tap::{Next, Passed, PassedRecord, Sight, Tap, Watcher};

use crate::{
    config::RecentSettings,
    event::{Attributes, Decoded, EventType, Outcome, PartnerName},
    limits::{RECENT_EVENT_SHARE, RECENT_SAMPLES_PER_S},
    problem::Code,
};
use cell::Cell;

/// What became of an event that is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Accepted,
    Quarantined,
    Rejected,
}

impl Status {
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Accepted => "accepted",
            Status::Quarantined => "quarantined",
            Status::Rejected => "rejected",
        }
    }
}

/// One event that passed.
#[derive(Debug)]
pub struct RecentEvent {
    /// Ascending in the order of receipt on this node, since it started.
    pub sequence: u64,
    pub partner: PartnerName,
    pub attributes: Arc<Attributes>,
    /// As sent. To be shown only through [`masked`].
    pub data: Bytes,
    pub received: Timestamp,
    pub status: Status,
    /// Why it was not accepted.
    pub code: Option<Code>,
}

/// How often an app version of a type was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenVersion {
    pub partner: PartnerName,
    /// As sent; absent: events that bring none.
    pub app_version: Option<String>,
    /// All events since `first`, not only those that are kept.
    pub events: u64,
    pub first: Timestamp,
    pub last: Timestamp,
}

/// Which events; absent members match any.
#[derive(Clone, Debug, Default, PartialEq, Eq, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct RecentFilter {
    pub partner: Option<String>,
    #[param(rename = "type")]
    pub event_type: Option<String>,
    pub source: Option<String>,
    #[param(rename = "appversion")]
    pub app_version: Option<String>,
    /// `accepted`, `quarantined` or `rejected`.
    pub status: Option<String>,
    #[param(value_type = Option<String>)]
    pub code: Option<Code>,
    /// Received at or after.
    #[param(value_type = Option<String>)]
    pub from: Option<Timestamp>,
    /// Received before.
    #[param(value_type = Option<String>)]
    pub to: Option<Timestamp>,
}

impl RecentFilter {
    fn takes(&self, cell: &Cell) -> bool {
        let is =
            |wanted: &Option<String>, found: &str| wanted.as_deref().is_none_or(|wanted| wanted == found);
        is(&self.partner, cell.partner.as_str())
            && is(&self.event_type, cell.event_type.as_str())
            && is(&self.app_version, cell.app_version.as_deref().unwrap_or_default())
    }

    fn matches(&self, event: &RecentEvent) -> bool {
        self.source
            .as_deref()
            .is_none_or(|source| source == event.attributes.source)
            && self
                .status
                .as_deref()
                .is_none_or(|status| status == event.status.as_str())
            && self.code.is_none_or(|code| Some(code) == event.code)
            && self.from.is_none_or(|from| event.received >= from)
            && self.to.is_none_or(|to| event.received < to)
    }
}

/// The memory of this node.
pub struct Recent {
    /// By a keyed hash of partner, type and app version; a cell whose names differ is another's, and is let alone.
    cells: Cache<u64, Arc<Cell>>,
    hasher: RandomState,
    settings: RecentSettings,
    sequence: AtomicU64,
}

/// The stream that the event before belonged to: events of one request are mostly of one.
#[derive(Default)]
pub struct Memo(Option<Arc<Cell>>);

/// A copy of an event that is on its way; remembered when its outcome is known.
#[must_use]
pub struct Sample {
    key: u64,
    cell: Arc<Cell>,
    event: RecentEvent,
}

impl Recent {
    pub fn new(settings: &RecentSettings) -> Arc<Recent> {
        Arc::new(Recent {
            cells: Cache::builder()
                .max_capacity(settings.max_bytes.0)
                .weigher(|_, cell: &Arc<Cell>| cell.weight())
                .build(),
            hasher: RandomState::new(),
            settings: settings.clone(),
            sequence: AtomicU64::new(0),
        })
    }

    /// Counts the event; gives a copy of it where it is to be remembered.
    pub fn observe(&self, event: &Decoded, memo: &mut Memo) -> Option<Sample> {
        if self.settings.events == 0 {
            return None;
        }
        let now_ms = event.received.as_millisecond().unsigned_abs();
        if let Some(cell) = memo.0.as_ref().filter(|cell| cell.is_of(event)) {
            cell.count(now_ms);
            return cell.allows(now_ms).then(|| self.sample(event, Arc::clone(cell)));
        }
        let key = self.key(event);
        let cell = self
            .cells
            .get_with(key, || Arc::new(Cell::new(event, self.settings.events)));
        if !cell.is_of(event) {
            return None;
        }
        cell.count(now_ms);
        let allows = cell.allows(now_ms);
        let sample = allows.then(|| self.sample(event, Arc::clone(&cell)));
        memo.0 = Some(cell);
        sample
    }

    /// Remembers the event, now that it is known what became of it.
    pub fn remember(&self, sample: Sample, outcome: &Outcome) {
        let Sample { key, cell, mut event } = sample;
        (event.status, event.code) = match outcome {
            Outcome::Accepted => (Status::Accepted, None),
            Outcome::Quarantined(reason) => (Status::Quarantined, Some(reason.code)),
            Outcome::Rejected(reason) => (Status::Rejected, Some(reason.code)),
            Outcome::Duplicate => return,
        };
        event.sequence = self.sequence.fetch_add(1, Ordering::Relaxed) + 1;
        if event.data.len() as u64 > self.settings.max_bytes.0 / RECENT_EVENT_SHARE {
            return;
        }
        cell.push(event, self.bytes_per_cell());
        // The cache learns an entry's weight only when it is put in.
        if cell.weight_is_stale() {
            self.cells.insert(key, cell);
        }
    }

    fn sample(&self, event: &Decoded, cell: Arc<Cell>) -> Sample {
        Sample {
            key: self.key(event),
            event: RecentEvent {
                sequence: 0,
                partner: event.partner.clone(),
                attributes: Arc::clone(&event.attributes),
                data: Bytes::copy_from_slice(event.data.root().raw().as_bytes()),
                received: event.received,
                status: Status::Accepted,
                code: None,
            },
            cell,
        }
    }

    fn key(&self, event: &Decoded) -> u64 {
        let attributes = &event.attributes;
        self.hasher
            .hash_one((&event.partner, &attributes.event_type, &attributes.app_version))
    }

    fn bytes_per_cell(&self) -> u64 {
        self.settings.max_bytes.0 / fair::CELL_SHARE
    }

    /// Events that match, the newest first, those before the sequence `before`, up to `limit`.
    pub fn events(&self, filter: &RecentFilter, before: Option<u64>, limit: usize) -> Vec<Arc<RecentEvent>> {
        self.matching(
            filter,
            |event| before.is_none_or(|before| event.sequence < before),
            limit,
        )
    }

    /// Events that match and that `takes` takes, the newest first, up to `limit`: what it does not take never stands in
    /// the way of what it does.
    pub fn matching(
        &self,
        filter: &RecentFilter,
        takes: impl Fn(&RecentEvent) -> bool,
        limit: usize,
    ) -> Vec<Arc<RecentEvent>> {
        let mut found: Vec<Arc<RecentEvent>> = self
            .cells
            .iter()
            .filter(|(_, cell)| filter.takes(cell))
            .flat_map(|(_, cell)| cell.events())
            .filter(|event| filter.matches(event) && takes(event))
            .collect();
        found.sort_unstable_by_key(|event| std::cmp::Reverse(event.sequence));
        found.truncate(limit);
        found
    }

    /// The app versions that events of a type were seen with, the most frequent first.
    pub fn versions(&self, event_type: &EventType) -> Vec<SeenVersion> {
        let mut seen: Vec<SeenVersion> = self
            .cells
            .iter()
            .filter(|(_, cell)| cell.event_type == *event_type)
            .map(|(_, cell)| cell.seen())
            .collect();
        seen.sort_unstable_by(|one, other| {
            (other.events, &one.partner, &one.app_version).cmp(&(
                one.events,
                &other.partner,
                &other.app_version,
            ))
        });
        seen
    }

    /// Makes room before the cache has to: the partners that hold the most give first, each its oldest streams. To be
    /// called now and then.
    pub fn keep_fair(&self) {
        self.cells.run_pending_tasks();
        let cells: Vec<(u64, Arc<Cell>)> = self.cells.iter().map(|(key, cell)| (*key, cell)).collect();
        for key in fair::surplus(&cells, self.settings.max_bytes.0) {
            self.cells.invalidate(&key);
        }
        self.cells.run_pending_tasks();
    }

    /// Bytes that are held, about.
    pub fn bytes(&self) -> u64 {
        self.cells.weighted_size()
    }
}

// A burst of this many seconds' samples must not fill what one stream may hold many times over.
const _: () = assert!(RECENT_SAMPLES_PER_S <= 1000);
