use std::sync::atomic::{AtomicU8, Ordering};

use super::DestinationState;

/// A destination's state, readable without a lock.
pub(super) struct SharedState(AtomicU8);

impl SharedState {
    pub(super) fn new(state: DestinationState) -> SharedState {
        SharedState(AtomicU8::new(state as u8))
    }

    pub(super) fn get(&self) -> DestinationState {
        match self.0.load(Ordering::Acquire) {
            0 => DestinationState::Healthy,
            1 => DestinationState::Spooling,
            _ => DestinationState::Draining,
        }
    }

    pub(super) fn set(&self, state: DestinationState) {
        self.0.store(state as u8, Ordering::Release);
    }
}
