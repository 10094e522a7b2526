//! When a record is handed to librdkafka.
//!
//! Its broker thread spins for as long as a partition has five messages on their way and others whose `linger.ms` is
//! over: under load that cost more CPU than the rest of a post. So what comes too late for the messages that are about
//! to leave waits here until about half of them are acknowledged, and then leaves together.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::{deliver::Ticket, event::Record};

/// So few messages on their way keep nothing back: librdkafka sends a partition's next ones beside them.
const UNHINDERED: usize = 5;
/// The shortest time for which records may join those that are about to leave.
const BOARDING_MIN: Duration = Duration::from_micros(200);

/// A record that has not been handed on.
pub(super) struct Waiting {
    /// Counts the records of the destination.
    pub(super) order: u64,
    pub(super) record: Record,
    pub(super) ticket: Ticket,
}

/// The records of one producer that wait, and those that they wait for. Knows no clock and no producer.
pub(super) struct Flights {
    boarding: Duration,
    waiting: VecDeque<Waiting>,
    bytes: usize,
    bytes_max: usize,
    /// Until then librdkafka lingers: what comes now still leaves with the rest.
    departure: Instant,
    /// Messages that were on their way when the last of them left.
    size: usize,
    is_closed: bool,
}

impl Flights {
    pub(super) fn new(linger: Duration, bytes_max: usize, now: Instant) -> Flights {
        Flights {
            boarding: linger.max(BOARDING_MIN),
            waiting: VecDeque::new(),
            bytes: 0,
            bytes_max,
            departure: now,
            size: 0,
            is_closed: false,
        }
    }

    /// Whether a record that comes now is handed on at once. `on_way`: messages that are not yet acknowledged.
    pub(super) fn take_at_once(&mut self, on_way: usize, now: Instant) -> bool {
        self.waiting.is_empty() && !self.is_closed && self.board(on_way, now)
    }

    /// Keeps a record until there is room. Gives it back where too much waits already, or for ever.
    #[expect(
        clippy::result_large_err,
        reason = "the record is moved either way; a box would cost those that find room"
    )]
    pub(super) fn wait(&mut self, record: Waiting) -> Result<(), Waiting> {
        let bytes = self.bytes + record.record.value.len();
        if self.is_closed || bytes > self.bytes_max {
            return Err(record);
        }
        self.bytes = bytes;
        self.waiting.push_back(record);
        Ok(())
    }

    /// The next record that leaves now.
    pub(super) fn next(&mut self, on_way: usize, now: Instant) -> Option<Waiting> {
        if self.waiting.is_empty() || self.is_closed || !self.board(on_way, now) {
            return None;
        }
        let next = self.waiting.pop_front()?;
        self.bytes -= next.record.value.len();
        Some(next)
    }

    fn board(&mut self, on_way: usize, now: Instant) -> bool {
        if now >= self.departure {
            if on_way >= self.landed_below() {
                return false;
            }
            self.departure = now + self.boarding;
        }
        self.size = on_way + 1;
        true
    }

    /// With fewer messages on their way than this, the next ones leave.
    fn landed_below(&self) -> usize {
        UNHINDERED.max(self.size / 2 + 1)
    }

    /// The same, where something waits; 0 where nothing does.
    pub(super) fn wake_below(&self) -> usize {
        if self.waiting.is_empty() || self.is_closed {
            0
        } else {
            self.landed_below()
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Nothing leaves any more; gives back what waits, in its order.
    pub(super) fn close(&mut self) -> VecDeque<Waiting> {
        self.is_closed = true;
        self.bytes = 0;
        std::mem::take(&mut self.waiting)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Flights, UNHINDERED, Waiting};
    use crate::deliver::{Acknowledgement, tests::record};

    const LINGER: Duration = Duration::from_millis(1);
    const BYTES_MAX: usize = 100;

    fn waiting(order: u64) -> Waiting {
        Waiting {
            order,
            record: record("t", "i", "0123456789"),
            ticket: Acknowledgement::new(1).ticket(0),
        }
    }

    #[test]
    fn what_comes_while_the_first_lingers_leaves_with_it() {
        let now = Instant::now();
        let mut flights = Flights::new(LINGER, BYTES_MAX, now);
        for on_way in 0..100 {
            assert!(flights.take_at_once(on_way, now + LINGER / 2 * u32::from(on_way > 0)));
        }
        assert!(!flights.take_at_once(100, now + LINGER));
    }

    #[test]
    fn what_comes_later_waits_until_half_has_landed_and_leaves_in_its_order() {
        let now = Instant::now();
        let mut flights = Flights::new(LINGER, BYTES_MAX, now);
        for on_way in 0..20 {
            assert!(flights.take_at_once(on_way, now));
        }
        let later = now + LINGER * 2;
        assert!(!flights.take_at_once(20, later));
        assert_eq!(flights.wake_below(), 0);
        for order in 20..23 {
            assert!(flights.wait(waiting(order)).is_ok());
        }
        assert_eq!(flights.wake_below(), 11);
        assert!(flights.next(11, later).is_none());
        // Room, but not past those that came before.
        assert!(!flights.take_at_once(10, later));
        for (on_way, order) in (10..).zip(20..23) {
            assert_eq!(flights.next(on_way, later).map(|next| next.order), Some(order));
        }
        assert!(flights.is_empty() && flights.next(0, later).is_none());
        assert!(flights.take_at_once(13, later), "the new flight still boards");
    }

    #[test]
    fn few_on_their_way_keep_nothing_back() {
        let now = Instant::now();
        let mut flights = Flights::new(LINGER, BYTES_MAX, now);
        let mut later = now;
        for on_way in 0..UNHINDERED {
            later += LINGER * 2;
            assert!(flights.take_at_once(on_way, later));
        }
        assert!(!flights.take_at_once(UNHINDERED, later + LINGER * 2));
    }

    #[test]
    fn no_more_waits_than_may_and_nothing_once_it_is_closed() {
        let now = Instant::now();
        let mut flights = Flights::new(LINGER, BYTES_MAX, now);
        for order in 0..10 {
            assert!(flights.wait(waiting(order)).is_ok());
        }
        assert!(
            flights
                .wait(waiting(10))
                .is_err_and(|refused| refused.order == 10)
        );
        assert!(flights.next(0, now).is_some());
        assert!(flights.wait(waiting(11)).is_ok());
        let left: Vec<u64> = flights.close().into_iter().map(|left| left.order).collect();
        assert_eq!(left, [1, 2, 3, 4, 5, 6, 7, 8, 9, 11]);
        assert!(flights.wait(waiting(12)).is_err() && !flights.take_at_once(0, now + LINGER));
        assert_eq!(flights.wake_below(), 0);
    }
}
