//! What a request hands over, held back until all of it has a place: where some destination is strained, a record
//! without a place must not be found out after the others were sent.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use super::{
    Pipeline,
    steps::{into_ticket, quarantine_name},
};
use crate::{
    deliver::{self, Delivery, Destination, Ticket},
    event::{DestinationName, Record},
    limits::{HELD_BACK_BODIES, HELD_BACK_BYTES},
    quarantine::{Kept, Packed},
    spool::{AppendError, Owner, Reservation},
};

/// Bytes that all requests hold back together.
pub(super) type HeldBack = Arc<AtomicUsize>;

/// A request's part of them.
struct Part {
    whole: HeldBack,
    bytes: usize,
}

impl Part {
    fn of(whole: &HeldBack) -> Part {
        Part {
            whole: Arc::clone(whole),
            bytes: 0,
        }
    }

    fn grow(&mut self, bytes: usize) {
        self.bytes += bytes;
        self.whole.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.whole.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Records and events of one request that wait for places.
pub(super) struct Waiting {
    records: Vec<(Arc<dyn Destination>, Record, Ticket)>,
    kept: Vec<(Packed, Ticket)>,
    part: Part,
    /// What came before had no place: what comes now needs none.
    is_refused: bool,
}

/// A record in memory, but for its value.
const RECORD_BYTES: usize = 256;

/// What one destination is to take.
struct Need {
    destination: Arc<dyn Destination>,
    owner: Owner,
    records: usize,
    bytes: usize,
}

impl Waiting {
    pub fn new(all: &HeldBack) -> Waiting {
        Waiting {
            records: Vec::new(),
            kept: Vec::new(),
            part: Part::of(all),
            is_refused: false,
        }
    }

    pub fn record(&mut self, destination: Arc<dyn Destination>, record: Record, ticket: Ticket) {
        if !self.is_refused {
            self.part.grow(RECORD_BYTES + record.value.len());
            self.records.push((destination, record, ticket));
        }
    }

    pub fn keep(&mut self, kept: &Kept, ticket: Ticket) {
        if !self.is_refused {
            let packed = Packed::new(kept);
            self.part.grow(packed.bytes());
            self.kept.push((packed, ticket));
        }
    }

    /// More than one request, or all of them together, may hold back.
    pub fn is_too_much(&self, body_bytes: usize) -> bool {
        let bytes = self.part.bytes;
        let is_past_all = bytes > 0 && self.part.whole.load(Ordering::Relaxed) > HELD_BACK_BYTES;
        is_past_all || bytes > body_bytes.saturating_mul(HELD_BACK_BODIES)
    }

    fn needs(&self) -> Vec<Need> {
        let mut needs: Vec<Need> = Vec::new();
        for (destination, record, _) in &self.records {
            let bytes = deliver::spooled_bytes(record);
            let known = needs
                .iter_mut()
                .find(|need| need.destination.name() == destination.name());
            match known {
                Some(need) => {
                    need.records += 1;
                    need.bytes += bytes;
                }
                None => needs.push(Need {
                    destination: Arc::clone(destination),
                    // All events of a request are one partner's.
                    owner: Arc::clone(record.about.partner.as_shared()),
                    records: 1,
                    bytes,
                }),
            }
        }
        needs
    }

    /// Nothing of it is handed over: every ticket says that there was no place, the first with the cause.
    fn refuse(self, destination: DestinationName, error: &AppendError) {
        let Waiting { records, kept, .. } = self;
        let of_records = records.into_iter().map(|(_, _, ticket)| ticket);
        let mut tickets = of_records.chain(kept.into_iter().map(|(_, ticket)| ticket));
        if let Some(first) = tickets.next() {
            first.complete(Delivery::NoPlace {
                destination,
                detail: error.to_string(),
            });
        }
        tickets.for_each(drop);
    }
}

impl Pipeline {
    /// What is handed over now may find no place.
    pub(super) fn is_strained(&self) -> bool {
        self.destinations.are_strained() || self.quarantine.is_strained()
    }

    /// Hands over all that waits, or nothing where a part of it has no place. Gives what the rest of the request is to
    /// wait in.
    pub(super) fn hand_over(&self, waiting: Waiting) -> Waiting {
        let is_refused = waiting.is_refused || self.place_all(waiting).is_none();
        Waiting {
            is_refused,
            ..Waiting::new(&self.held_back)
        }
    }

    /// None where something has no place.
    fn place_all(&self, waiting: Waiting) -> Option<()> {
        let mut places: Vec<(DestinationName, Option<Arc<Reservation>>)> = Vec::new();
        for need in waiting.needs() {
            let name = need.destination.name().clone();
            match need.destination.reserve(&need.owner, need.records, need.bytes) {
                Ok(place) => places.push((name, place)),
                Err(error) => {
                    need.destination.count_no_place(need.records as u64);
                    waiting.refuse(name, &error);
                    return None;
                }
            }
        }
        let mut room = None;
        if let Some((first, _)) = waiting.kept.first() {
            let bytes = waiting.kept.iter().map(|(packed, _)| packed.bytes()).sum();
            match self.quarantine.reserve(first.owner(), waiting.kept.len(), bytes) {
                Ok(reserved) => room = Some(reserved),
                Err(error) => {
                    waiting.refuse(quarantine_name(), &error);
                    return None;
                }
            }
        }
        for (destination, record, ticket) in waiting.records {
            let place = places.iter().find(|(name, _)| name == destination.name());
            let place = place.and_then(|(_, place)| place.clone());
            destination.send(record, ticket.placed(place));
        }
        for (packed, ticket) in waiting.kept {
            self.quarantine
                .keep_packed(packed, room.as_ref(), into_ticket(ticket));
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::{HELD_BACK_BYTES, HeldBack, Waiting};

    #[test]
    fn what_all_requests_hold_back_is_bounded() {
        let all = HeldBack::default();
        let mut large = Waiting::new(&all);
        let mut small = Waiting::new(&all);
        large.part.grow(HELD_BACK_BYTES);
        assert!(!large.is_too_much(usize::MAX));
        assert!(large.is_too_much(1), "past its own bound");
        assert!(!small.is_too_much(1), "it holds nothing back");
        small.part.grow(1);
        assert!(small.is_too_much(1) && large.is_too_much(usize::MAX));
        drop(large);
        assert!(!small.is_too_much(1), "room is given back");
    }
}
