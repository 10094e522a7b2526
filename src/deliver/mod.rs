//! Records to destinations, each with a spool and a cursor of its own, and the acknowledgement that a request waits
//! for.

use std::{path::Path, sync::Arc, time::Duration};

use crate::{
    config::DestinationSettings,
    event::{DestinationName, Record},
    spool::Budget,
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
    },
    /// Neither the destination nor its spool could take it now.
    NoPlace {
        destination: DestinationName,
        detail: String,
    },
}

/// Counts down the records of one request: no future per record.
#[derive(Debug)]
pub struct Acknowledgement {}

impl Acknowledgement {
    /// For a request of `events` events.
    pub fn new(_events: usize) -> Acknowledgement {
        todo!()
    }
    /// A ticket for one record of the event at `event_index`.
    pub fn ticket(&self, _event_index: usize) -> Ticket {
        todo!()
    }
    /// Waits for every ticket; the worst delivery of each event's records, `Durable` for an event without any.
    pub async fn wait(self) -> Vec<Delivery> {
        todo!()
    }
}

/// The claim of one record; dropped unused it counts as `NoPlace`.
#[derive(Debug)]
pub struct Ticket {}

impl Ticket {
    pub fn complete(self, _delivery: Delivery) {
        todo!()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DestinationState {
    Healthy,
    Spooling,
    Draining,
}

/// One place that records go to.
pub trait Destination: Send + Sync {
    fn name(&self) -> &DestinationName;
    /// `kafka`, `file`.
    fn kind(&self) -> &'static str;
    fn state(&self) -> DestinationState;
    /// Takes a record and completes its ticket, later, once. Never blocks. Records with the same topic and key keep
    /// the order of the calls.
    fn send(&self, record: Record, ticket: Ticket);
}

/// Called with each record that a destination refused for good after it had been acknowledged; returns when the
/// record is durable elsewhere (quarantine).
pub type RefusedHandler =
    Arc<dyn Fn(DestinationName, Record, String) -> futures::future::BoxFuture<'static, bool> + Send + Sync>;

#[derive(Debug, thiserror::Error)]
#[error("destination {destination}: {cause}")]
pub struct StartError {
    pub destination: DestinationName,
    pub cause: String,
}

/// All destinations of the configuration.
pub struct Destinations {}

impl Destinations {
    /// Opens each destination's spool under `spool_directory` and starts to drain what is in it.
    pub fn start(
        _settings: &[DestinationSettings],
        _spool_directory: &Path,
        _budget: Arc<Budget>,
        _refused: RefusedHandler,
    ) -> Result<Destinations, StartError> {
        todo!()
    }
    pub fn get(&self, _name: &str) -> Option<&Arc<dyn Destination>> {
        todo!()
    }
    pub fn iter(&self) -> impl Iterator<Item = &Arc<dyn Destination>> {
        std::iter::empty()
    }
    /// Waits for what is in flight, up to `timeout`; what is not delivered stays in the spools.
    pub async fn shutdown(&self, _timeout: Duration) {
        todo!()
    }
}
