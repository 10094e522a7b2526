//! Keeping an event: encoded, then durable in the spool, then in the index.

use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use super::{Kept, Quarantine, batch::Group, form};
use crate::spool::{AppendError, Owner, Reservation};

/// An event on its way into quarantine, as it will lie there.
pub struct Packed {
    id: Uuid,
    group: Group,
    received_us: i64,
    owner: Owner,
    payload: Bytes,
}

impl Packed {
    pub fn new(kept: &Kept) -> Packed {
        Packed {
            id: kept.id,
            group: kept.group(),
            received_us: kept.event.received.as_microsecond(),
            owner: Arc::clone(kept.event.partner.as_shared()),
            payload: form::encode(kept),
        }
    }

    pub fn owner(&self) -> &Owner {
        &self.owner
    }

    /// In the quarantine's spool, but for what the spool adds to each.
    pub fn bytes(&self) -> usize {
        self.payload.len()
    }
}

impl Quarantine {
    /// Keeps an event; `done` is called once it is durable, or cannot be.
    pub fn keep(self: &Arc<Self>, kept: Kept, done: impl FnOnce(Result<(), AppendError>) + Send + 'static) {
        self.keep_packed(Packed::new(&kept), None, done);
    }

    /// The same in room that was reserved.
    pub fn keep_packed(
        self: &Arc<Self>,
        packed: Packed,
        place: Option<&Reservation>,
        done: impl FnOnce(Result<(), AppendError>) + Send + 'static,
    ) {
        let Packed {
            id,
            group,
            received_us,
            owner,
            payload,
        } = packed;
        let this = Arc::clone(self);
        self.spool.append_to(place, &owner, payload, move |result| {
            done(result.map(|sequence| {
                this.index.lock().insert_spooled(id, group, received_us, sequence);
            }));
        });
    }

    /// Room for so many events of `owner`, of so many bytes together.
    ///
    /// # Errors
    ///
    /// Where there is none now.
    pub fn reserve(&self, owner: &Owner, events: usize, bytes: usize) -> Result<Reservation, AppendError> {
        self.spool.reserve(owner, events, bytes)
    }

    /// What is kept now may find no place: who has more to do than keep one event reserves it first.
    pub fn is_strained(&self) -> bool {
        self.spool.is_strained()
    }
}
