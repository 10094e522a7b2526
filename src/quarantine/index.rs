//! Which items wait, and where their data is.

use std::{
    collections::{BTreeMap, HashSet},
    ops::Bound,
    sync::Arc,
};

use bytes::Bytes;
use uuid::Uuid;

use super::item::{Filter, Item, Kept};
use crate::spool::Sequence;

/// Where an item's data is.
#[derive(Clone)]
pub(super) enum Place {
    /// Not yet in the store.
    Spool { sequence: Sequence, payload: Bytes },
    /// In this object of the store.
    Batch(Arc<str>),
}

struct Entry {
    item: Item,
    place: Place,
    /// Of the spool, where the item came from there: the drain may be quicker than the one who keeps it.
    sequence: Sequence,
}

#[derive(Default)]
pub(super) struct Index {
    entries: BTreeMap<Uuid, Entry>,
    /// Items that wait no longer: a batch that is read later must not bring them back.
    resolved: HashSet<Uuid>,
}

impl Index {
    /// Takes the item as the latest word on its id.
    pub(super) fn insert(&mut self, kept: &Kept, place: Place) {
        if self.resolved.contains(&kept.id) {
            return;
        }
        let sequence = match place {
            Place::Spool { sequence, .. } => sequence,
            Place::Batch(_) => 0,
        };
        if self
            .entries
            .get(&kept.id)
            .is_some_and(|known| sequence != 0 && known.sequence >= sequence)
        {
            return;
        }
        let item = kept.item();
        self.entries.insert(
            kept.id,
            Entry {
                item,
                place,
                sequence,
            },
        );
    }

    /// The item's data went from the spool to `batch`; every entry up to `last` did. An item that was kept anew since
    /// stays where it is.
    pub(super) fn moved(&mut self, kept: &Kept, batch: &Arc<str>, last: Sequence) {
        match self.entries.get_mut(&kept.id) {
            Some(entry) if entry.sequence <= last => {
                entry.place = Place::Batch(Arc::clone(batch));
                entry.sequence = last;
            }
            Some(_) => {}
            None => {
                self.insert(kept, Place::Batch(Arc::clone(batch)));
                if let Some(entry) = self.entries.get_mut(&kept.id) {
                    entry.sequence = last;
                }
            }
        }
    }

    pub(super) fn remove(&mut self, ids: &[Uuid]) {
        for id in ids {
            self.entries.remove(id);
            self.resolved.insert(*id);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn place(&self, id: Uuid) -> Option<Place> {
        self.entries.get(&id).map(|entry| entry.place.clone())
    }

    fn iter<'a>(
        &'a self,
        filter: &'a Filter,
        after: Option<Uuid>,
    ) -> impl Iterator<Item = (&'a Uuid, &'a Entry)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.entries
            .range((from, Bound::Unbounded))
            .filter(|(_, entry)| filter.matches(&entry.item))
    }

    pub(super) fn matching(&self, filter: &Filter, after: Option<Uuid>, limit: usize) -> Vec<Item> {
        self.iter(filter, after)
            .take(limit)
            .map(|(_, entry)| entry.item.clone())
            .collect()
    }

    pub(super) fn places(&self, filter: &Filter, after: Option<Uuid>, limit: usize) -> Vec<(Uuid, Place)> {
        self.iter(filter, after)
            .take(limit)
            .map(|(id, entry)| (*id, entry.place.clone()))
            .collect()
    }
}
