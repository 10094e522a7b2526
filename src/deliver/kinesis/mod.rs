//! Records to Kinesis streams: straight to the service while it answers, else through the spool.
//!
//! Every record passes one gate, under a lock that is held for a moment. Queueing: it waits in memory for the next
//! call, and its ticket completes with the service's answer. Spooling: it goes to the spool, and its ticket completes
//! when it is on the disk. One task (`control`) makes the calls and turns the gate, in such a way that no record comes
//! before one that was there earlier.

mod aggregate;
mod client;
mod control;
mod message;
mod queue;
mod shards;
#[cfg(test)]
mod tests;

use std::{
    mem,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Instant,
};

use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
};

use self::{
    control::Control,
    message::Message,
    queue::{Item, Origin},
};
use super::{
    Counters, Counts, Delivery, Destination, DestinationState, RefusedHandler, Ticket, bring_to_rest, count,
    spool_record, state::SharedState,
};
use crate::{
    config::KinesisSettings,
    event::{DestinationName, Record},
    spool::{Damage, Pending, Spool},
};

/// Waiting in memory: from here on the destination spools …
const QUEUE_BYTES_MAX: usize = 32 << 20;
/// … and beyond this, while it turns, there is no place.
const HELD_BYTES_MAX: usize = 2 * QUEUE_BYTES_MAX;

pub(super) struct KinesisDestination {
    core: Arc<Core>,
    stop: watch::Sender<Option<Instant>>,
    control: Mutex<Option<JoinHandle<()>>>,
}

/// What the destination and its task share.
struct Core {
    name: DestinationName,
    settings: KinesisSettings,
    spool: Spool,
    counters: Arc<Counters>,
    state: SharedState,
    gate: Mutex<Gate>,
    /// Of the records that wait in memory, in the gate and in the task.
    queued_bytes: AtomicUsize,
    /// Appends to the spool that are not yet on the disk.
    appending: Arc<AtomicU64>,
    wake: Notify,
}

enum Gate {
    /// For the task to take.
    Queueing(Vec<Item>),
    Spooling,
    Closed,
}

impl KinesisDestination {
    /// A service that is away is no error.
    pub(super) fn start(
        name: DestinationName,
        settings: &KinesisSettings,
        spool: Spool,
        refused: RefusedHandler,
    ) -> KinesisDestination {
        let backlog = spool.pending().entries > 0;
        let (gate, state) = if backlog {
            (Gate::Spooling, DestinationState::Spooling)
        } else {
            (Gate::Queueing(Vec::new()), DestinationState::Healthy)
        };
        let core = Arc::new(Core {
            name,
            settings: settings.clone(),
            spool,
            counters: Arc::new(Counters::default()),
            state: SharedState::new(state),
            gate: Mutex::new(gate),
            queued_bytes: AtomicUsize::new(0),
            appending: Arc::new(AtomicU64::new(0)),
            wake: Notify::new(),
        });
        let (stop, stopped) = watch::channel(None);
        let control = Control::start(Arc::clone(&core), refused, stopped, backlog);
        KinesisDestination {
            core,
            stop,
            control: Mutex::new(Some(tokio::spawn(control))),
        }
    }
}

impl Destination for KinesisDestination {
    fn name(&self) -> &DestinationName {
        &self.core.name
    }

    fn kind(&self) -> &'static str {
        "kinesis"
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

impl Drop for KinesisDestination {
    fn drop(&mut self) {
        if let Some(control) = self.control.get_mut() {
            control.abort();
        }
    }
}

impl Core {
    fn send(&self, record: Record, ticket: Ticket) {
        count(&self.counters.accepted, 1);
        let message = Message::new(&record);
        if let Err(detail) = message.check(self.settings.record_bytes) {
            return self.refuse(record, ticket, detail);
        }
        let mut gate = self.gate.lock();
        match &mut *gate {
            Gate::Queueing(items) => {
                let bytes = message.bytes();
                let is_too_much = self.queued_bytes.load(Ordering::Relaxed) + bytes > HELD_BYTES_MAX;
                // What has a place in the spool may wait for it here.
                if is_too_much && ticket.place().is_none() {
                    drop(gate);
                    return self.no_place(ticket, "too much waits for Kinesis");
                }
                self.queued_bytes.fetch_add(bytes, Ordering::Relaxed);
                items.push(Item {
                    record,
                    message,
                    origin: Origin::Direct(ticket),
                    since: Instant::now(),
                    alone: false,
                });
                if items.len() == 1 {
                    self.wake.notify_one();
                }
            }
            Gate::Spooling => self.append(&record, ticket),
            Gate::Closed => {
                drop(gate);
                self.no_place(ticket, "the gateway is shutting down");
            }
        }
    }

    fn refuse(&self, record: Record, ticket: Ticket, detail: String) {
        count(&self.counters.refused, 1);
        ticket.complete(Delivery::Refused {
            destination: self.name.clone(),
            detail,
            record: Box::new(record),
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

    /// What has come in since the last time.
    fn take_incoming(&self) -> Vec<Item> {
        match &mut *self.gate.lock() {
            Gate::Queueing(items) => mem::take(items),
            Gate::Spooling | Gate::Closed => Vec::new(),
        }
    }

    fn is_overfull(&self) -> bool {
        self.queued_bytes.load(Ordering::Relaxed) > QUEUE_BYTES_MAX
    }

    /// An item has left the memory.
    fn forget(&self, item: &Item) {
        if matches!(item.origin, Origin::Direct(_)) {
            self.queued_bytes
                .fetch_sub(item.message.bytes(), Ordering::Relaxed);
        }
    }

    /// From now on records wait in memory.
    fn hold(&self) {
        *self.gate.lock() = Gate::Queueing(Vec::new());
    }

    /// Puts `first` and then what waits at the gate into the spool, and everything later behind it.
    fn turn_to_spool(&self, first: impl IntoIterator<Item = Item>) {
        let mut gate = self.gate.lock();
        let incoming = match mem::replace(&mut *gate, Gate::Spooling) {
            Gate::Queueing(items) => items,
            Gate::Spooling | Gate::Closed => Vec::new(),
        };
        for item in first.into_iter().chain(incoming) {
            self.forget(&item);
            if let Origin::Direct(ticket) = item.origin {
                self.append(&item.record, ticket);
            }
        }
    }

    fn close_gate(&self) {
        *self.gate.lock() = Gate::Closed;
    }
}
