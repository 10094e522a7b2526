//! Events and records as they pass, for those who look at this moment. Where nobody looks, a request pays for that with
//! one comparison. Who looks too slowly misses some, and is told so; nothing waits for a reader.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::broadcast;

use crate::{
    event::{Attributes, DestinationName, Outcome, PartnerName, Record},
    limits::{TAIL_EVENTS, TAIL_RECORDS, TAIL_VALUE_BYTES},
    problem::Code,
};

/// One event that passed, with its records.
#[derive(Debug)]
pub struct Passed {
    pub partner: PartnerName,
    pub attributes: Arc<Attributes>,
    pub received: Timestamp,
    /// To be shown only through [`super::masked`].
    pub data: Shown,
    pub status: &'static str,
    pub code: Option<Code>,
    pub records: Vec<PassedRecord>,
}

#[derive(Debug)]
pub struct PassedRecord {
    pub destination: DestinationName,
    pub topic: Arc<str>,
    pub key: Option<Arc<str>>,
    pub plugin: Option<Arc<str>>,
    pub value: Shown,
}

/// A value as far as it is shown.
#[derive(Debug)]
pub struct Shown {
    /// Of the whole value.
    pub size: usize,
    /// Absent where it is too large, or no JSON.
    pub json: Option<Bytes>,
}

impl Shown {
    /// A copy: a slice would hold the whole request in memory.
    fn of(value: &[u8], is_json: bool) -> Shown {
        let fits = is_json && value.len() <= TAIL_VALUE_BYTES;
        Shown {
            size: value.len(),
            json: fits.then(|| Bytes::copy_from_slice(value)),
        }
    }
}

/// Where the data side hands on what passes.
pub struct Tap {
    events: broadcast::Sender<Arc<Passed>>,
    watchers: AtomicUsize,
}

impl Default for Tap {
    fn default() -> Tap {
        Tap {
            events: broadcast::Sender::new(TAIL_EVENTS),
            watchers: AtomicUsize::new(0),
        }
    }
}

impl Tap {
    pub fn is_watched(&self) -> bool {
        self.watchers.load(Ordering::Relaxed) > 0
    }

    /// None where enough look already.
    pub fn watch(self: &Arc<Tap>, most: usize) -> Option<Watcher> {
        let taken = self
            .watchers
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| {
                (now < most).then_some(now + 1)
            });
        taken.ok().map(|_| Watcher {
            events: self.events.subscribe(),
            tap: Arc::clone(self),
        })
    }

    pub fn pass(&self, sight: Sight, outcome: &Outcome) {
        let (status, code) = match outcome {
            Outcome::Accepted => ("accepted", None),
            Outcome::Duplicate => ("duplicate", None),
            Outcome::Quarantined(reason) => ("quarantined", Some(reason.code)),
            Outcome::Rejected(reason) => ("rejected", Some(reason.code)),
        };
        let Sight {
            partner,
            attributes,
            received,
            data,
            records,
        } = sight;
        let passed = Passed {
            partner,
            attributes,
            received,
            data,
            status,
            code,
            records,
        };
        // The last one has just looked away.
        let _ = self.events.send(Arc::new(passed));
    }
}

/// An event on its way that somebody looks at.
pub struct Sight {
    partner: PartnerName,
    attributes: Arc<Attributes>,
    received: Timestamp,
    data: Shown,
    records: Vec<PassedRecord>,
}

impl Sight {
    pub fn of(event: &crate::event::Decoded) -> Sight {
        Sight {
            partner: event.partner.clone(),
            attributes: Arc::clone(&event.attributes),
            received: event.received,
            data: Shown::of(event.data.root().raw().as_bytes(), true),
            records: Vec::new(),
        }
    }

    pub fn record(&mut self, destination: &DestinationName, record: &Record) {
        if self.records.len() < TAIL_RECORDS {
            self.records.push(PassedRecord {
                destination: destination.clone(),
                topic: Arc::clone(&record.topic),
                key: record.key.clone(),
                plugin: record.about.plugin.clone(),
                value: Shown::of(&record.value, record.value_is_json),
            });
        }
    }
}

/// Somebody who looks, until it is dropped.
pub struct Watcher {
    events: broadcast::Receiver<Arc<Passed>>,
    tap: Arc<Tap>,
}

/// What comes next.
pub enum Next {
    Event(Arc<Passed>),
    /// So many passed unseen.
    Missed(u64),
}

impl Watcher {
    pub async fn next(&mut self) -> Next {
        match self.events.recv().await {
            Ok(event) => Next::Event(event),
            Err(broadcast::error::RecvError::Lagged(events)) => Next::Missed(events),
            // The watcher's own tap is the sender.
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.tap.watchers.fetch_sub(1, Ordering::Relaxed);
    }
}
