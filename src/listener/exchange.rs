//! What a connection's requests tell the socket under them.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU32, Ordering},
};

use futures::task::AtomicWaker;

#[derive(Debug, Default)]
pub(super) struct Exchange {
    pub(super) in_flight: AtomicU32,
    /// Requests answered so far, wrapping.
    pub(super) answered: AtomicU32,
    pub(super) unread: AtomicBool,
    /// Waits for an answer before it ends the connection.
    pub(super) waiting: AtomicWaker,
}

/// One request in flight, until it is dropped.
#[derive(Debug)]
pub(super) struct InFlight(Arc<Exchange>);

impl Exchange {
    pub(super) fn begin(self: &Arc<Exchange>) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        InFlight(Arc::clone(self))
    }

    /// The peer may still be sending a body that nobody reads: the connection must not end with a reset, which would
    /// take the response with it.
    pub(super) fn leave_unread(&self) {
        self.unread.store(true, Ordering::Release);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.answered.fetch_add(1, Ordering::AcqRel);
        self.0.in_flight.fetch_sub(1, Ordering::AcqRel);
        self.0.waiting.wake();
    }
}
