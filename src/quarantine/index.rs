//! Which items wait, and where their data is. Of an item no more is in memory than it takes to find it.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    ops::Bound,
    sync::Arc,
};

use uuid::Uuid;

use super::{
    batch::{BatchIndex, Block, Group},
    item::Filter,
};
use crate::spool::Sequence;

/// Entries looked at before the index is given free: what keeps an event waits for it.
const SCAN_MAX: usize = 20_000;

/// Where an item's data is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Not yet in the store.
    Spool(Sequence),
    Batch {
        batch: u32,
        block: u32,
    },
}

#[derive(Clone, Copy)]
struct Entry {
    group: u32,
    place: Place,
    received_us: i64,
    /// Of the spool, where the item came from there: the drain may be quicker than the one who keeps it.
    sequence: Sequence,
}

/// An item that was looked up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub id: Uuid,
    pub place: Place,
}

pub(super) struct Batch {
    pub name: Arc<str>,
    pub bytes: u64,
    pub blocks: Arc<[Block]>,
    /// Items whose latest word stands here.
    live: usize,
}

struct KnownGroup {
    group: Group,
    items: u64,
}

/// Where a search ended.
pub(super) enum Scanned {
    /// The limit was reached, or enough was looked at: go on after this id.
    Until(Uuid),
    End,
}

#[derive(Default)]
pub(super) struct Index {
    entries: BTreeMap<Uuid, Entry>,
    groups: Vec<KnownGroup>,
    group_numbers: HashMap<Group, u32>,
    /// None: the object is gone.
    batches: Vec<Option<Batch>>,
    batch_numbers: HashMap<Arc<str>, u32>,
    /// Items that wait no longer: a batch that is read later must not bring them back.
    resolved: HashSet<Uuid>,
}

impl Index {
    /// Takes the item, which stands in the spool, as the latest word on its id.
    pub(super) fn insert_spooled(&mut self, id: Uuid, group: Group, received_us: i64, sequence: Sequence) {
        let is_late = self
            .entries
            .get(&id)
            .is_some_and(|known| known.sequence >= sequence);
        if is_late || self.resolved.contains(&id) {
            return;
        }
        let group = self.group_number(group);
        self.put(
            id,
            Entry {
                group,
                place: Place::Spool(sequence),
                received_us,
                sequence,
            },
        );
    }

    /// Takes a batch. `last` is the last entry of the spool that went into it; 0 where it came from elsewhere: then it
    /// is the latest word on its items where no batch with a later name is.
    pub(super) fn add_batch(&mut self, name: &Arc<str>, bytes: u64, index: BatchIndex, last: Sequence) {
        if self.batch_numbers.contains_key(name) {
            return;
        }
        let batch = number(self.batches.len());
        self.batches.push(Some(Batch {
            name: Arc::clone(name),
            bytes,
            blocks: index.blocks.into(),
            live: 0,
        }));
        self.batch_numbers.insert(Arc::clone(name), batch);
        let groups: Vec<u32> = index
            .groups
            .into_iter()
            .map(|group| self.group_number(group))
            .collect();
        for item in index.items {
            if self.resolved.contains(&item.id) {
                continue;
            }
            let is_newer = match self.entries.get(&item.id) {
                None => true,
                Some(known) if last > 0 => known.sequence <= last,
                Some(known) => match known.place {
                    Place::Spool(_) => false,
                    Place::Batch { batch, .. } => self.batch(batch).is_none_or(|known| known.name < *name),
                },
            };
            if is_newer {
                let group = groups.get(item.group as usize).copied().unwrap_or_default();
                let place = Place::Batch {
                    batch,
                    block: item.block,
                };
                self.put(
                    item.id,
                    Entry {
                        group,
                        place,
                        received_us: item.received_us,
                        sequence: last,
                    },
                );
            }
        }
    }

    /// The batch's object is gone, and what only it held.
    pub(super) fn remove_batch(&mut self, name: &str) {
        let Some(batch) = self.batch_numbers.remove(name) else {
            return;
        };
        let live = self.batch(batch).map_or(0, |batch| batch.live);
        if live > 0 {
            let is_there = |place| matches!(place, Place::Batch { batch: of, .. } if of == batch);
            let gone: Vec<Uuid> = self
                .entries
                .iter()
                .filter(|(_, entry)| is_there(entry.place))
                .map(|(id, _)| *id)
                .collect();
            for id in gone {
                self.take(id);
            }
        }
        if let Some(batch) = self.batches.get_mut(batch as usize) {
            *batch = None;
        }
    }

    pub(super) fn resolve(&mut self, ids: &[Uuid]) {
        for id in ids {
            self.take(*id);
            self.resolved.insert(*id);
        }
    }

    /// No batch holds these any more.
    pub(super) fn forget_resolved(&mut self, ids: &[Uuid]) {
        for id in ids {
            self.resolved.remove(id);
        }
    }

    pub(super) fn is_resolved(&self, id: &Uuid) -> bool {
        self.resolved.contains(id)
    }

    fn put(&mut self, id: Uuid, entry: Entry) {
        self.take(id);
        self.counted(&entry, 1);
        self.entries.insert(id, entry);
    }

    fn take(&mut self, id: Uuid) {
        if let Some(entry) = self.entries.remove(&id) {
            self.counted(&entry, -1);
        }
    }

    fn counted(&mut self, entry: &Entry, change: i8) {
        if let Some(group) = self.groups.get_mut(entry.group as usize) {
            group.items = group.items.saturating_add_signed(change.into());
        }
        if let Place::Batch { batch, .. } = entry.place
            && let Some(Some(batch)) = self.batches.get_mut(batch as usize)
        {
            batch.live = batch.live.saturating_add_signed(change.into());
        }
    }

    fn group_number(&mut self, group: Group) -> u32 {
        if let Some(known) = self.group_numbers.get(&group) {
            return *known;
        }
        let new = number(self.groups.len());
        self.groups.push(KnownGroup {
            group: group.clone(),
            items: 0,
        });
        self.group_numbers.insert(group, new);
        new
    }

    pub(super) fn batch(&self, number: u32) -> Option<&Batch> {
        self.batches.get(number as usize)?.as_ref()
    }

    pub(super) fn knows_batch(&self, name: &str) -> bool {
        self.batch_numbers.contains_key(name)
    }

    /// The batches that are there, each with its live items.
    pub(super) fn batches(&self) -> impl Iterator<Item = (&Batch, usize)> {
        self.batches.iter().flatten().map(|batch| (batch, batch.live))
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn oldest(&self) -> Option<Uuid> {
        self.entries.first_key_value().map(|(id, _)| *id)
    }

    pub(super) fn count_before(&self, id: Uuid, limit: usize) -> usize {
        self.entries.range(..id).take(limit).count()
    }

    pub(super) fn ids_before(&self, id: Uuid, limit: usize) -> Vec<Uuid> {
        self.entries.range(..id).take(limit).map(|(id, _)| *id).collect()
    }

    /// The items whose latest word stands in these batches.
    pub(super) fn ids_in(&self, names: &HashSet<Arc<str>>, limit: usize) -> Vec<Uuid> {
        let numbers: HashSet<u32> = names
            .iter()
            .filter_map(|name| self.batch_numbers.get(name))
            .copied()
            .collect();
        let is_there = |entry: &Entry| match entry.place {
            Place::Batch { batch, .. } => numbers.contains(&batch),
            Place::Spool(_) => false,
        };
        self.entries
            .iter()
            .filter(|(_, entry)| is_there(entry))
            .take(limit)
            .map(|(id, _)| *id)
            .collect()
    }

    pub(super) fn find(&self, id: Uuid) -> Option<Found> {
        self.entries.get(&id).map(|entry| Found {
            id,
            place: entry.place,
        })
    }

    /// Adds items that match, in order, those after `after`, until `found` has `limit`. May end early.
    pub(super) fn search(
        &self,
        filter: &Filter,
        after: Option<Uuid>,
        limit: usize,
        found: &mut Vec<Found>,
    ) -> Scanned {
        let mut taken: HashMap<u32, bool> = HashMap::new();
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut entries = self.entries.range((from, Bound::Unbounded));
        let mut last = after;
        for (id, entry) in entries.by_ref().take(SCAN_MAX) {
            if found.len() == limit {
                return last.map_or(Scanned::End, Scanned::Until);
            }
            last = Some(*id);
            let is_taken = *taken.entry(entry.group).or_insert_with(|| {
                self.groups
                    .get(entry.group as usize)
                    .is_some_and(|known| filter.takes(&known.group))
            });
            if is_taken && filter.is_in_time(entry.received_us) {
                found.push(Found {
                    id: *id,
                    place: entry.place,
                });
            }
        }
        match (entries.next(), last) {
            (Some(_), Some(last)) => Scanned::Until(last),
            _ => Scanned::End,
        }
    }

    /// The app versions of a type's items, and how many have each.
    pub(super) fn app_versions(&self, event_type: &str) -> BTreeMap<Option<String>, u64> {
        let mut versions = BTreeMap::new();
        for known in &self.groups {
            if known.items > 0 && known.group.event_type == event_type {
                *versions.entry(known.group.app_version.clone()).or_default() += known.items;
            }
        }
        versions
    }

    /// Items of these groups; without a look at each, so never for a filter by time.
    pub(super) fn count_by_group(&self, filter: &Filter) -> u64 {
        self.groups
            .iter()
            .filter(|known| known.items > 0 && filter.takes(&known.group))
            .map(|known| known.items)
            .sum()
    }
}

fn number(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
