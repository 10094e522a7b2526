//! Records to a Kafka cluster: straight to the brokers while they answer, else through the spool.
//!
//! Every record passes one gate, under a lock that is held for the moment of handing it on. Direct: the record goes
//! to the producer, and its ticket completes with the broker's acknowledgement. Spooling: it goes to the spool, and
//! its ticket completes when it is on the disk. Holding, for the moment between the two: it waits in memory. One
//! task (`control`) turns the gate, in such a way that no record comes before one that was there earlier.

mod control;
mod drain;
mod flights;
mod link;
mod message;
mod options;
mod probe;
#[cfg(test)]
mod tests;
mod tokens;

use std::{
    collections::BTreeMap,
    mem,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
};

use self::{
    control::Control,
    link::{Failed, Link, SendError},
    options::Options,
};
pub(super) use self::{options::faults, probe::brokers_seen};
use super::{
    Counters, Counts, Delivery, Destination, DestinationState, RefusedHandler, Ticket, bring_to_rest, count,
    spool_record, state::SharedState, window,
};
use crate::{
    config::Secret,
    event::{DestinationName, Record},
    spool::{Damage, Pending, Spool},
};

/// A record that the brokers have not acknowledged for so long makes the destination spool.
const DIRECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Held in memory while the gate turns; beyond it there is no place.
const HELD_BYTES_MAX: usize = 64 << 20;

pub(super) struct KafkaDestination {
    core: Arc<Core>,
    stop: watch::Sender<Option<Instant>>,
    control: Mutex<Option<JoinHandle<()>>>,
}

/// What the destination and its task share.
struct Core {
    name: DestinationName,
    options: Options,
    spool: Spool,
    counters: Arc<Counters>,
    state: SharedState,
    gate: Mutex<Gate>,
    /// Records that were handed to a producer directly, ever.
    order: AtomicU64,
    /// Appends to the spool that are not yet on the disk.
    appending: Arc<AtomicU64>,
    wake: Arc<Notify>,
}

enum Gate {
    Direct(Arc<Link>),
    Holding {
        held: Vec<(Record, Ticket)>,
        bytes: usize,
    },
    Spooling,
    Closed,
}

impl KafkaDestination {
    /// A broker that is down is no error; settings that librdkafka does not take are.
    pub(super) fn start(
        name: DestinationName,
        brokers: &str,
        settings: &BTreeMap<String, Secret>,
        spool: Spool,
        refused: RefusedHandler,
    ) -> Result<KafkaDestination, String> {
        let options = options::options(brokers, settings)?;
        let counters = Arc::new(Counters::default());
        let wake = Arc::new(Notify::new());
        let link = Link::new(&options, &name, &counters, &wake).map_err(|error| options::explain(&error))?;
        if let Some(tokens) = &options.tokens {
            tokens.keep_fresh(name.clone());
        }
        let backlog = spool.pending().entries > 0;
        let (gate, state) = if backlog {
            (Gate::Spooling, DestinationState::Spooling)
        } else {
            (Gate::Direct(Arc::clone(&link)), DestinationState::Healthy)
        };
        let core = Arc::new(Core {
            name,
            options,
            spool,
            counters,
            state: SharedState::new(state),
            gate: Mutex::new(gate),
            order: AtomicU64::new(0),
            appending: Arc::new(AtomicU64::new(0)),
            wake,
        });
        let (stop, stopped) = watch::channel(None);
        let control = Control::new(Arc::clone(&core), refused, stopped);
        Ok(KafkaDestination {
            core,
            stop,
            control: Mutex::new(Some(tokio::spawn(control.run(link, !backlog)))),
        })
    }
}

impl Destination for KafkaDestination {
    fn name(&self) -> &DestinationName {
        &self.core.name
    }

    fn kind(&self) -> &'static str {
        "kafka"
    }

    fn state(&self) -> DestinationState {
        self.core.state.get()
    }

    fn send(&self, record: Record, ticket: Ticket) {
        self.core.send(record, ticket);
    }

    fn count_no_place(&self, records: u64) {
        self.core.counters.count_no_place(records);
    }

    fn counts(&self) -> Counts {
        self.core.counters.read(&self.core.spool)
    }

    fn pending(&self) -> Pending {
        self.core.spool.pending()
    }

    fn damage(&self) -> Damage {
        self.core.spool.damage()
    }

    fn spool(&self) -> Option<&Spool> {
        Some(&self.core.spool)
    }

    fn shutdown(&self, deadline: Instant) -> BoxFuture<'_, ()> {
        Box::pin(bring_to_rest(
            &self.core.name,
            &self.stop,
            &self.control,
            deadline,
        ))
    }
}

impl Drop for KafkaDestination {
    fn drop(&mut self) {
        if let Some(control) = self.control.get_mut() {
            control.abort();
        }
    }
}

impl Core {
    fn send(&self, record: Record, ticket: Ticket) {
        count(&self.counters.accepted, 1);
        if let Err(detail) = message::check(&record, self.options.message_bytes_max) {
            return self.refuse(Box::new(record), ticket, detail);
        }
        let mut gate = self.gate.lock();
        match &mut *gate {
            Gate::Direct(link) => {
                // A record that fails makes all later ones wait behind it.
                let sent = if link.shared.is_broken() {
                    Err(SendError::Later(Box::new((record, ticket))))
                } else {
                    link.send(self.order.fetch_add(1, Ordering::Relaxed), record, ticket)
                };
                match sent {
                    Ok(()) => {}
                    Err(SendError::Refused(record, ticket, detail)) => {
                        drop(gate);
                        self.refuse(record, ticket, detail);
                    }
                    Err(SendError::Later(parked)) => {
                        self.state.set(DestinationState::Spooling);
                        *gate = Gate::Holding {
                            bytes: parked.0.value.len(),
                            held: vec![*parked],
                        };
                        self.wake.notify_one();
                    }
                }
            }
            // What has a place in the spool may wait for it here.
            Gate::Holding { bytes, .. }
                if *bytes + record.value.len() > HELD_BYTES_MAX && ticket.place().is_none() =>
            {
                drop(gate);
                self.no_place(ticket, "too much waits for the broker");
            }
            Gate::Holding { held, bytes } => {
                *bytes += record.value.len();
                held.push((record, ticket));
            }
            Gate::Spooling => self.append(&record, ticket),
            Gate::Closed => {
                drop(gate);
                self.no_place(ticket, "the gateway is shutting down");
            }
        }
    }

    fn refuse(&self, record: Box<Record>, ticket: Ticket, detail: String) {
        count(&self.counters.refused, 1);
        ticket.complete(Delivery::Refused {
            destination: self.name.clone(),
            detail,
            record,
        });
    }

    fn no_place(&self, ticket: Ticket, detail: &str) {
        count(&self.counters.no_place, 1);
        ticket.complete(Delivery::NoPlace {
            destination: self.name.clone(),
            detail: detail.to_owned(),
        });
    }

    /// Only under the gate's lock: the spool keeps the order of the calls.
    fn append(&self, record: &Record, ticket: Ticket) {
        let appending = Arc::clone(&self.appending);
        appending.fetch_add(1, Ordering::AcqRel);
        let settled = move || {
            appending.fetch_sub(1, Ordering::AcqRel);
        };
        spool_record(&self.spool, &self.name, &self.counters, record, ticket, settled);
    }

    /// From now on records wait in memory, unless they do so already.
    fn hold(&self) {
        let mut gate = self.gate.lock();
        if !matches!(*gate, Gate::Holding { .. }) {
            *gate = Gate::Holding {
                held: Vec::new(),
                bytes: 0,
            };
        }
    }

    /// Puts what failed and then what was held into the spool, and everything later behind it.
    fn turn_to_spool(&self, failed: Vec<Failed>) {
        let mut gate = self.gate.lock();
        let held = match mem::replace(&mut *gate, Gate::Spooling) {
            Gate::Holding { held, .. } => held,
            Gate::Direct(_) | Gate::Spooling | Gate::Closed => Vec::new(),
        };
        for failed in failed {
            self.append(&failed.record, failed.ticket);
        }
        for (record, ticket) in held {
            self.append(&record, ticket);
        }
    }

    /// Sends what was held, and everything later after it.
    fn turn_to_direct(&self, link: &Arc<Link>) {
        let mut gate = self.gate.lock();
        let held = match mem::replace(&mut *gate, Gate::Direct(Arc::clone(link))) {
            Gate::Holding { held, .. } => held,
            Gate::Direct(_) | Gate::Spooling | Gate::Closed => Vec::new(),
        };
        let mut left = held.into_iter();
        while let Some((record, ticket)) = left.next() {
            match link.send(self.order.fetch_add(1, Ordering::Relaxed), record, ticket) {
                Ok(()) => {}
                Err(SendError::Refused(record, ticket, detail)) => self.refuse(record, ticket, detail),
                Err(SendError::Later(parked)) => {
                    self.state.set(DestinationState::Spooling);
                    let held: Vec<_> = std::iter::once(*parked).chain(left).collect();
                    let bytes = held.iter().map(|(record, _)| record.value.len()).sum();
                    *gate = Gate::Holding { held, bytes };
                    self.wake.notify_one();
                    return;
                }
            }
        }
    }

    fn close_gate(&self) {
        *self.gate.lock() = Gate::Closed;
    }
}
