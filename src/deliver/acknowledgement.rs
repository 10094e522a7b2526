//! The acknowledgement that a request waits for: one counter and one waker for all of its records.

use std::{
    future,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
};

use futures::task::AtomicWaker;
use parking_lot::Mutex;

use super::Delivery;
use crate::{spool::Reservation, telemetry::Stopwatch};

/// Counts down the records of one request: no future per record.
#[derive(Debug)]
pub struct Acknowledgement {
    shared: Arc<Shared>,
    events: usize,
}

/// The claim of one record; dropped unused it counts as [`Delivery::NoPlace`].
#[derive(Debug)]
pub struct Ticket {
    /// Taken when the ticket is used.
    shared: Option<Arc<Shared>>,
    event_index: usize,
    /// Of a request that is looked at closely.
    stopwatch: Option<Box<Stopwatch>>,
    /// Room in the destination's spool, should the record need it.
    place: Option<Arc<Reservation>>,
}

#[derive(Debug)]
struct Shared {
    /// Tickets that are out, and one for the acknowledgement itself until it waits.
    open: AtomicUsize,
    waker: AtomicWaker,
    /// What was not plainly durable, by event.
    failures: Mutex<Vec<(usize, Delivery)>>,
}

impl Acknowledgement {
    /// For a request of `events` events.
    pub fn new(events: usize) -> Acknowledgement {
        Acknowledgement {
            shared: Arc::new(Shared {
                open: AtomicUsize::new(1),
                waker: AtomicWaker::new(),
                failures: Mutex::new(Vec::new()),
            }),
            events,
        }
    }

    /// A ticket for one record of the event at `event_index`.
    pub fn ticket(&self, event_index: usize) -> Ticket {
        self.shared.open.fetch_add(1, Ordering::Relaxed);
        Ticket {
            shared: Some(Arc::clone(&self.shared)),
            event_index,
            stopwatch: None,
            place: None,
        }
    }

    /// Waits for every ticket; the worst delivery of each event's records, `Durable` for an event without any.
    pub async fn wait(self) -> Vec<Delivery> {
        let mut deliveries = vec![Delivery::Durable; self.events];
        for (event_index, failure) in self.failures().await {
            if let Some(delivery) = deliveries.get_mut(event_index)
                && failure.severity() > delivery.severity()
            {
                *delivery = failure;
            }
        }
        deliveries
    }

    /// Waits for every ticket; all that was not plainly durable, in the order in which it became known, each with the
    /// index of its event.
    pub async fn failures(self) -> Vec<(usize, Delivery)> {
        self.shared.close_one();
        future::poll_fn(|context| {
            self.shared.waker.register(context.waker());
            match self.shared.open.load(Ordering::Acquire) {
                0 => Poll::Ready(()),
                _ => Poll::Pending,
            }
        })
        .await;
        std::mem::take(&mut *self.shared.failures.lock())
    }
}

impl Shared {
    fn close_one(&self) {
        if self.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.waker.wake();
        }
    }
}

impl Ticket {
    /// Runs until the record is durable.
    #[must_use]
    pub fn timed_by(mut self, stopwatch: Option<Box<Stopwatch>>) -> Ticket {
        self.stopwatch = stopwatch;
        self
    }

    /// The record finds room in its destination's spool, whatever else waits there.
    #[must_use]
    pub fn placed(mut self, place: Option<Arc<Reservation>>) -> Ticket {
        self.place = place;
        self
    }

    pub(super) fn place(&self) -> Option<Arc<Reservation>> {
        self.place.clone()
    }

    pub fn complete(mut self, delivery: Delivery) {
        self.settle(delivery);
    }

    fn settle(&mut self, delivery: Delivery) {
        if let Some(shared) = self.shared.take() {
            if let Some(stopwatch) = self.stopwatch.take() {
                stopwatch.stop(delivery.fault());
            }
            if delivery != Delivery::Durable {
                shared.failures.lock().push((self.event_index, delivery));
            }
            shared.close_one();
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.shared.is_some() {
            self.settle(Delivery::NoPlace {
                destination: super::nowhere(),
                detail: "the record was dropped before it had a place".to_owned(),
            });
        }
    }
}
