//! What waits for Kinesis, in order, and the calls that are made of it.
//!
//! A key has at most one record on its way: Kinesis may take the second record of a call and refuse the first, and the
//! order of the key would be gone.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::Instant,
};

use bytes::Bytes;

use super::{
    aggregate::{self, OVERHEAD_BYTES, RECORD_OVERHEAD_BYTES},
    message::Message,
    shards::Shards,
};
use crate::{deliver::Ticket, event::Record, spool::Sequence};

/// Of one PutRecords call; `docs/destinations/kinesis.md` says where these were read.
pub(super) const CALL_RECORDS_MAX: usize = 500;
pub(super) const CALL_BYTES_MAX: usize = 5 << 20;
/// Records of one key that share a record of Kinesis.
const AGGREGATE_BYTES_MAX: usize = 50 << 10;
/// Looked through for one call.
const SCAN_MAX: usize = 5000;

pub(super) enum Origin {
    /// Straight from the sender, who waits.
    Direct(Ticket),
    Spooled(Sequence),
}

pub(super) struct Item {
    pub(super) record: Record,
    pub(super) message: Message,
    pub(super) origin: Origin,
    pub(super) since: Instant,
    /// Something of a call was invalid: each of its records goes alone, to see which.
    pub(super) alone: bool,
}

/// An item with its place in the order.
pub(super) type Placed = (u64, Item);

/// One PutRecords call.
pub(super) struct Call {
    pub(super) stream: Arc<str>,
    pub(super) entries: Vec<CallEntry>,
}

/// One record of Kinesis.
pub(super) struct CallEntry {
    pub(super) key: Arc<str>,
    /// Several where they are aggregated.
    pub(super) items: Vec<Placed>,
    bytes: usize,
}

impl CallEntry {
    pub(super) fn data(&self) -> Bytes {
        match &self.items[..] {
            [(_, item)] => item.message.data.clone(),
            items => {
                let records = items.iter().map(|(_, item)| item.message.data.clone());
                aggregate::aggregate(&self.key, records).into()
            }
        }
    }
}

/// A stream and a key in it.
type Lane = (Arc<str>, Arc<str>);

pub(super) struct Queue {
    next: u64,
    waiting: BTreeMap<u64, Item>,
    busy: HashSet<Lane>,
    shards: HashMap<Arc<str>, Shards>,
    aggregation: bool,
    call_bytes_max: usize,
}

impl Queue {
    pub(super) fn new(aggregation: bool, record_bytes_max: usize) -> Queue {
        Queue {
            next: 0,
            waiting: BTreeMap::new(),
            busy: HashSet::new(),
            shards: HashMap::new(),
            aggregation,
            call_bytes_max: CALL_BYTES_MAX.max(record_bytes_max),
        }
    }

    pub(super) fn push(&mut self, item: Item) {
        self.waiting.insert(self.next, item);
        self.next += 1;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn oldest(&self) -> Option<Instant> {
        self.waiting.first_key_value().map(|(_, item)| item.since)
    }

    /// Everything that waits, in order.
    pub(super) fn take_all(&mut self) -> impl Iterator<Item = Item> + use<> {
        std::mem::take(&mut self.waiting).into_values()
    }

    pub(super) fn shards(&mut self, stream: &Arc<str>) -> &mut Shards {
        self.shards.entry(Arc::clone(stream)).or_default()
    }

    /// The streams whose map of shards is wanted.
    pub(super) fn unmapped(&self, now: Instant) -> Option<Arc<str>> {
        let mut wanted = self.shards.iter().filter(|(_, shards)| shards.wants_map(now));
        wanted.next().map(|(stream, _)| Arc::clone(stream))
    }

    pub(super) fn next_pause_end(&self, now: Instant) -> Option<Instant> {
        self.shards
            .values()
            .filter_map(|shards| shards.next_end(now))
            .min()
    }

    /// Its keys are free again; what is to be sent again comes back to its place.
    pub(super) fn end_call(&mut self, stream: &Arc<str>, keys: impl IntoIterator<Item = Arc<str>>) {
        for key in keys {
            self.busy.remove(&(Arc::clone(stream), key));
        }
    }

    pub(super) fn give_back(&mut self, placed: Placed) {
        self.waiting.insert(placed.0, placed.1);
    }

    /// The next call, oldest records first.
    pub(super) fn next_call(&mut self, now: Instant) -> Option<Call> {
        let mut plan: Plan = Plan::default();
        for (order, item) in self.waiting.iter().take(SCAN_MAX) {
            let message = &item.message;
            if plan
                .stream
                .as_ref()
                .is_some_and(|stream| *stream != message.stream)
            {
                continue;
            }
            let lane: Lane = (Arc::clone(&message.stream), Arc::clone(&message.key));
            if plan.passed_over.contains(&lane) {
                continue;
            }
            let paused = self
                .shards
                .get(&message.stream)
                .is_some_and(|shards| shards.is_paused(&message.key, now));
            let waits = paused || self.busy.contains(&lane) || (item.alone && !plan.entries.is_empty());
            if waits {
                plan.passed_over.insert(lane);
                continue;
            }
            if !plan.take(*order, message, self.aggregation, self.call_bytes_max) {
                if plan.is_full(self.call_bytes_max) {
                    break;
                }
                plan.passed_over.insert(lane);
            }
            if item.alone {
                break;
            }
        }
        let stream = plan.stream?;
        let mut entries = Vec::with_capacity(plan.entries.len());
        for (key, orders, bytes) in plan.entries {
            self.busy.insert((Arc::clone(&stream), Arc::clone(&key)));
            let items = orders
                .into_iter()
                .filter_map(|order| self.waiting.remove(&order).map(|item| (order, item)));
            entries.push(CallEntry {
                key,
                items: items.collect(),
                bytes,
            });
        }
        Some(Call { stream, entries })
    }
}

/// A call while it is put together.
#[derive(Default)]
struct Plan {
    stream: Option<Arc<str>>,
    entries: Vec<(Arc<str>, Vec<u64>, usize)>,
    by_key: HashMap<Arc<str>, usize>,
    /// A key of which one record was left out takes none after it.
    passed_over: HashSet<Lane>,
    bytes: usize,
}

impl Plan {
    fn is_full(&self, call_bytes_max: usize) -> bool {
        self.entries.len() >= CALL_RECORDS_MAX || self.bytes >= call_bytes_max / 2
    }

    /// False where it does not go into this call.
    fn take(&mut self, order: u64, message: &Message, aggregation: bool, call_bytes_max: usize) -> bool {
        let known = self.by_key.get(&message.key).copied();
        let added = match known {
            Some(_) => message.data.len() + RECORD_OVERHEAD_BYTES,
            None => message.bytes(),
        };
        if self.bytes + added > call_bytes_max {
            return false;
        }
        match known.and_then(|index| self.entries.get_mut(index)) {
            Some((_, orders, bytes)) => {
                if !aggregation || *bytes + added + OVERHEAD_BYTES > AGGREGATE_BYTES_MAX {
                    return false;
                }
                orders.push(order);
                *bytes += added;
            }
            None => {
                if self.entries.len() >= CALL_RECORDS_MAX {
                    return false;
                }
                self.by_key.insert(Arc::clone(&message.key), self.entries.len());
                self.entries.push((Arc::clone(&message.key), vec![order], added));
            }
        }
        self.stream.get_or_insert_with(|| Arc::clone(&message.stream));
        self.bytes += added;
        true
    }
}

impl Call {
    pub(super) fn items(&self) -> usize {
        self.entries.iter().map(|entry| entry.items.len()).sum()
    }

    pub(super) fn bytes(&self) -> usize {
        self.entries.iter().map(|entry| entry.bytes).sum()
    }
}
