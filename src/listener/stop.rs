//! How a listener ends.

use std::sync::atomic::{AtomicU8, Ordering};

use tokio::sync::Notify;

/// How far shutdown has come, told to all connections.
#[derive(Default)]
pub(super) struct Stop {
    pub(super) stage: AtomicU8,
    pub(super) draining: Notify,
    pub(super) aborting: Notify,
}

pub(super) const RUNNING: u8 = 0;
/// No new connection; on those that there are each request is answered and is the last.
pub(super) const LEAVING: u8 = 1;
pub(super) const DRAINING: u8 = 2;
pub(super) const ABORTING: u8 = 3;

impl Stop {
    pub(super) fn advance(&self, stage: u8) {
        self.stage.store(stage, Ordering::Release);
        match stage {
            DRAINING => self.draining.notify_waiters(),
            ABORTING => self.aborting.notify_waiters(),
            _ => {}
        }
    }
}
