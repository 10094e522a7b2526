//! Records to destinations, each with a spool and a cursor of its own, and the acknowledgement that a request waits
//! for.

mod acknowledgement;
mod attributes;
mod codec;
mod file;
mod identity;
mod kafka;
mod kinesis;
mod probe;
mod state;
#[cfg(test)]
mod tests;
mod window;

use std::{
    collections::{BTreeMap, VecDeque},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures::future::{BoxFuture, join_all};
use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::{sync::watch, task::JoinHandle};

pub use acknowledgement::{Acknowledgement, Ticket};
pub use identity::{RecordIdentity, records_after};
pub use probe::probe;

use crate::{
    config::{DestinationKind, DestinationSettings},
    event::{DestinationName, Record},
    limits::Limits,
    spool::{AppendError, Budget, Damage, Owner, Pending, Reservation, Sequence, Spool, SpoolOptions},
};

/// What became of one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Acknowledged by the destination, or on the disk in its spool.
    Durable,
    /// The destination will never take it: too large, no such topic, not allowed. The text is the destination's own.
    Refused {
        destination: DestinationName,
        detail: String,
        record: Box<Record>,
    },
    /// Neither the destination nor its spool could take it now.
    NoPlace {
        destination: DestinationName,
        detail: String,
    },
}

impl Delivery {
    fn fault(&self) -> Option<&'static str> {
        match self {
            Delivery::Durable => None,
            Delivery::Refused { .. } => Some("refused"),
            Delivery::NoPlace { .. } => Some("no place"),
        }
    }

    /// A refused record can be kept elsewhere; for one without a place the sender must come again.
    fn severity(&self) -> u8 {
        match self {
            Delivery::Durable => 0,
            Delivery::Refused { .. } => 1,
            Delivery::NoPlace { .. } => 2,
        }
    }
}

/// The name that stands where a record never came to a destination.
fn nowhere() -> DestinationName {
    "none".parse().expect("\"none\" keeps the rule for names")
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DestinationState {
    /// Records go their usual way.
    Healthy,
    /// The destination does not answer; records wait in the spool.
    Spooling,
    /// The destination answers again and takes what waited in the spool.
    Draining,
}

impl DestinationState {
    /// As people read it: `healthy`, `spooling`, `draining`.
    pub fn as_str(self) -> &'static str {
        match self {
            DestinationState::Healthy => "healthy",
            DestinationState::Spooling => "spooling",
            DestinationState::Draining => "draining",
        }
    }
}

/// What a destination has done since it was started, but for what its spool counts itself.
#[derive(Debug, Default)]
struct Counters {
    accepted: AtomicU64,
    delivered: AtomicU64,
    refused: AtomicU64,
    /// After they had been acknowledged.
    refused_later: AtomicU64,
    no_place: AtomicU64,
}

/// Where the records are that were handed to a destination since it was started, and those that its spool held then.
///
/// `accepted + recovered = delivered + waiting + refused + no_place + in_flight + unaccounted`, at every moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Handed to the destination.
    pub accepted: u64,
    /// In its spool when it was started.
    pub recovered: u64,
    /// Taken by the destination itself, directly or out of the spool.
    pub delivered: u64,
    /// Written to the spool, ever: on their way, or until the destination answers again.
    pub spooled: u64,
    /// In the spool now.
    pub waiting: u64,
    /// The destination will never take them: they went to the quarantine.
    pub refused: u64,
    /// Neither the destination nor the spool could take them: their senders were told so.
    pub no_place: u64,
    /// Not yet anywhere; their senders wait.
    pub in_flight: u64,
    /// Neither delivered nor refused and no longer in the spool: bytes on the disk that have rotted. Otherwise 0.
    pub unaccounted: u64,
}

impl Counters {
    /// Of records that were not handed over, since they had no place.
    fn count_no_place(&self, records: u64) {
        count(&self.accepted, records);
        count(&self.no_place, records);
    }

    fn read(&self, spool: &Spool) -> Counts {
        // What ends a record is read before what begins one: none can seem to end before it began.
        let delivered_directly = self.delivered.load(Ordering::Acquire);
        let refused_at_once = self.refused.load(Ordering::Acquire);
        let no_place = self.no_place.load(Ordering::Acquire);
        let tally = spool.tally();
        let refused_later = self.refused_later.load(Ordering::Acquire).min(tally.settled);
        let accepted = self.accepted.load(Ordering::Acquire);
        let ended = delivered_directly + refused_at_once + no_place + tally.appended;
        Counts {
            accepted,
            recovered: tally.recovered,
            delivered: delivered_directly + tally.settled - refused_later,
            spooled: tally.appended,
            waiting: tally.pending.entries,
            refused: refused_at_once + refused_later,
            no_place,
            in_flight: accepted.saturating_sub(ended),
            unaccounted: (tally.recovered + tally.appended)
                .saturating_sub(tally.settled + tally.pending.entries),
        }
    }
}

fn count(counter: &AtomicU64, records: u64) {
    counter.fetch_add(records, Ordering::Release);
}

/// One place that records go to.
pub trait Destination: Send + Sync {
    fn name(&self) -> &DestinationName;
    /// `kafka`, `kinesis`, `file`.
    fn kind(&self) -> &'static str;
    fn state(&self) -> DestinationState;
    /// Takes a record and completes its ticket, later, once. Never blocks. Records with the same topic and key keep
    /// the order of the calls.
    fn send(&self, record: Record, ticket: Ticket);
    fn counts(&self) -> Counts;
    /// What waits in the spool.
    fn pending(&self) -> Pending;
    /// What was found damaged in the spool.
    fn damage(&self) -> Damage;
    /// The spool itself, for whoever must know after a crash what it holds.
    fn spool(&self) -> Option<&Spool> {
        None
    }
    /// Records go through the spool, as far as is known now.
    fn needs_spool(&self) -> bool {
        self.state() != DestinationState::Healthy
    }
    /// What is handed over now may find no place, or only in the spool: who has several records for several
    /// destinations reserves places first.
    fn is_strained(&self) -> bool {
        self.state() != DestinationState::Healthy || self.spool().is_some_and(Spool::is_strained)
    }
    /// Places for so many records of `owner`, of so many bytes together as [`spooled_bytes`] says; none where there is
    /// no spool, or where it has no room and is not needed.
    ///
    /// # Errors
    ///
    /// Where they have no place now.
    fn reserve(
        &self,
        owner: &Owner,
        records: usize,
        bytes: usize,
    ) -> Result<Option<Arc<Reservation>>, AppendError> {
        match self.spool().map(|spool| spool.reserve(owner, records, bytes)) {
            None => Ok(None),
            Some(Ok(place)) => Ok(Some(Arc::new(place))),
            Some(Err(_)) if !self.needs_spool() => Ok(None),
            Some(Err(error)) => Err(error),
        }
    }
    /// Counts records that were not handed over, since they had no place.
    fn count_no_place(&self, _records: u64) {}
    /// Waits for what is in flight, and is at rest by `deadline`; what is not delivered stays in the spool. Records that
    /// come later have no place.
    fn shutdown(&self, deadline: Instant) -> BoxFuture<'_, ()>;
}

/// Called with each record that a destination refused for good after it had been acknowledged; returns when the
/// record is durable elsewhere (quarantine).
pub type RefusedHandler =
    Arc<dyn Fn(DestinationName, Record, String) -> BoxFuture<'static, bool> + Send + Sync>;

#[derive(Debug, thiserror::Error)]
#[error("destination {destination}: {cause}")]
pub struct StartError {
    pub destination: DestinationName,
    pub cause: String,
}

/// Every fault of the destinations' settings that shows without connecting to them.
pub fn check(settings: &[DestinationSettings]) -> Vec<StartError> {
    let faults = |settings: &DestinationSettings| match &settings.kind {
        DestinationKind::File { .. } | DestinationKind::Kinesis(_) => Vec::new(),
        DestinationKind::Kafka { brokers, options } => kafka::faults(brokers, options)
            .into_iter()
            .map(|cause| StartError {
                destination: settings.name.clone(),
                cause,
            })
            .collect(),
    };
    settings.iter().flat_map(faults).collect()
}

/// All destinations of the configuration.
pub struct Destinations {
    destinations: Vec<Arc<dyn Destination>>,
    known: Mutex<VecDeque<KnownEvent>>,
}

/// An event that the spools held, whole, when they were opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownEvent {
    pub partner: Box<str>,
    pub source: Box<str>,
    pub id: Box<str>,
}

/// What is kept and known of the records that the spools hold when they are opened.
#[derive(Clone, Debug)]
pub struct Recall {
    /// Positions, by destination, after which a spool keeps what it has delivered until it is let go.
    pub retained: BTreeMap<String, Sequence>,
    /// Events are known that came in so late …
    pub duplicate_window: Duration,
    /// … and the latest of them.
    pub duplicate_events: u32,
}

impl Recall {
    pub fn new(limits: &Limits, retained: BTreeMap<String, Sequence>) -> Recall {
        Recall {
            retained,
            duplicate_window: Duration::from_secs(limits.duplicate_window_s.into()),
            duplicate_events: limits.duplicate_events,
        }
    }
}

impl Default for Recall {
    fn default() -> Recall {
        Recall::new(&Limits::default(), BTreeMap::new())
    }
}

impl Destinations {
    /// Opens each destination's spool under `spool_directory` and starts to drain what is in it. Must be called
    /// inside a tokio runtime; reads what the spools hold and so may take seconds.
    pub fn start(
        settings: &[DestinationSettings],
        spool_directory: &Path,
        budget: Arc<Budget>,
        refused: RefusedHandler,
        recall: &Recall,
    ) -> Result<Destinations, StartError> {
        let mut destinations: Vec<Arc<dyn Destination>> = Vec::with_capacity(settings.len());
        let mut known = VecDeque::new();
        let since = Timestamp::now()
            .checked_sub(recall.duplicate_window)
            .unwrap_or(Timestamp::MIN);
        let mut found = |entry: &[u8]| {
            if let Some(event) = codec::known(entry, since) {
                if known.len() >= recall.duplicate_events as usize {
                    known.pop_front();
                }
                known.push_back(event);
            }
        };
        for settings in settings {
            let failed = |cause: String| StartError {
                destination: settings.name.clone(),
                cause,
            };
            let spool = Spool::open_visiting(
                &spool_directory.join(settings.name.as_str()),
                SpoolOptions {
                    retain_after: recall.retained.get(settings.name.as_str()).copied(),
                    owner: codec::partner,
                    ..SpoolOptions::default()
                },
                Arc::clone(&budget),
                &mut found,
            )
            .map_err(|error| failed(error.to_string()))?;
            destinations.push(match &settings.kind {
                DestinationKind::File { path, rotation } => Arc::new(file::FileDestination::start(
                    settings.name.clone(),
                    path,
                    spool,
                    rotation,
                )),
                DestinationKind::Kinesis(kinesis) => Arc::new(kinesis::KinesisDestination::start(
                    settings.name.clone(),
                    kinesis,
                    spool,
                    Arc::clone(&refused),
                )),
                DestinationKind::Kafka { brokers, options } => Arc::new(
                    kafka::KafkaDestination::start(
                        settings.name.clone(),
                        brokers,
                        options,
                        spool,
                        Arc::clone(&refused),
                    )
                    .map_err(failed)?,
                ),
            });
        }
        Ok(Destinations {
            destinations,
            known: Mutex::new(known),
        })
    }

    /// Destinations that have started.
    pub fn of(destinations: Vec<Arc<dyn Destination>>) -> Destinations {
        Destinations {
            destinations,
            known: Mutex::default(),
        }
    }

    /// The events that the spools held when they were opened, the latest last; once.
    pub fn take_known(&self) -> VecDeque<KnownEvent> {
        std::mem::take(&mut self.known.lock())
    }

    pub fn get(&self, name: &str) -> Option<&Arc<dyn Destination>> {
        self.iter()
            .find(|destination| destination.name().as_str() == name)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<dyn Destination>> {
        self.destinations.iter()
    }

    /// Some destination is strained: see [`Destination::is_strained`].
    pub fn are_strained(&self) -> bool {
        self.iter().any(|destination| destination.is_strained())
    }

    /// Waits for what is in flight, and ends within `timeout`; what is not delivered stays in the spools.
    pub async fn shutdown(&self, timeout: Duration) {
        let deadline = Instant::now() + timeout;
        join_all(self.iter().map(|destination| destination.shutdown(deadline))).await;
    }
}

/// What a destination keeps of the time for its end, to bring to the spool what is not delivered by then.
const SETTLE_TIME: Duration = Duration::from_secs(1);

/// Tells a destination's task until when it may wait for what is in flight, and gives it up where it is not at rest by
/// `deadline`.
async fn bring_to_rest(
    destination: &DestinationName,
    stop: &watch::Sender<Option<Instant>>,
    control: &Mutex<Option<JoinHandle<()>>>,
    deadline: Instant,
) {
    let now = Instant::now();
    let settle = SETTLE_TIME.min(deadline.saturating_duration_since(now) / 2);
    let end = deadline.max(now + SETTLE_TIME);
    stop.send_replace(Some(deadline - settle));
    let control = control.lock().take();
    if let Some(mut control) = control
        && tokio::time::timeout_at(end.into(), &mut control).await.is_err()
    {
        tracing::error!(%destination, "the destination did not come to rest");
        control.abort();
        // What the abort makes of it does not matter: whoever waited is told that there was no place.
        let _ = control.await;
    }
}

/// An entry of a destination's spool, for people.
#[derive(Debug)]
pub struct Exported {
    pub topic: String,
    pub key: Option<String>,
    /// CloudEvents JSON.
    pub event: String,
}

/// Reads an entry of a destination's spool.
///
/// # Errors
///
/// What is wrong with it, in words.
pub fn export(entry: &bytes::Bytes) -> Result<Exported, String> {
    let record = codec::decode(entry).map_err(|error| error.to_string())?;
    let mut line = Vec::new();
    attributes::write_json_line(&mut line, &record);
    Ok(Exported {
        topic: record.topic.to_string(),
        key: record.key.as_deref().map(str::to_owned),
        event: String::from_utf8_lossy(line.trim_ascii_end()).into_owned(),
    })
}

/// Bytes that a record takes in a destination's spool, but for what the spool adds to each.
pub fn spooled_bytes(record: &Record) -> usize {
    codec::encoded_bytes(record)
}

/// Appends a record to a destination's spool; its ticket completes when it is on the disk, after `settled`.
fn spool_record(
    spool: &Spool,
    destination: &DestinationName,
    counters: &Arc<Counters>,
    record: &Record,
    ticket: Ticket,
    settled: impl FnOnce() + Send + 'static,
) {
    let (destination, counters) = (destination.clone(), Arc::clone(counters));
    let place = ticket.place();
    let complete = move |delivery| {
        settled();
        ticket.complete(delivery);
    };
    let entry = codec::encode(record);
    if entry.len() > spool.entry_bytes_max() {
        count(&counters.refused, 1);
        return complete(Delivery::Refused {
            destination,
            detail: AppendError::TooLarge(entry.len()).to_string(),
            record: Box::new(record.clone()),
        });
    }
    let owner = record.about.partner.as_shared();
    spool.append_to(place.as_deref(), owner, entry, move |result| {
        complete(match result {
            Ok(_) => Delivery::Durable,
            Err(error) => {
                count(&counters.no_place, 1);
                Delivery::NoPlace {
                    destination,
                    detail: error.to_string(),
                }
            }
        });
    });
}
