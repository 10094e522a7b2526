//! Events that could not be processed yet: kept with the reason, listed, replayed, discarded.
//!
//! An event is durable once it is in this module's spool; from there it goes to the store in compressed batches that
//! are never rewritten. What is replayed or discarded is noted in objects of its own. In memory is only what it takes to
//! find an item.

mod batch;
mod claims;
mod form;
mod index;
mod item;
mod keep;
mod keeper;
mod stored;

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::{sync::Notify, task::JoinHandle};
use uuid::Uuid;

pub use claims::Claim;
use index::{Found, Index, Place, Scanned};
pub use item::{Filter, Item, Kept, KeptRecord, Report, WholeItem};
pub use keep::Packed;
pub use keeper::{Figures, Retention, Swept};
use stored::Stored;

use crate::{
    background,
    problem::{Code, Problem},
    spool::{Sequence, Spool},
    store::{Store, StoreError},
};

/// Bytes of one batch before compression.
const BATCH_BYTES: usize = 4 << 20;
/// Read from the spool at a time to find items in it.
const LOADED_BYTES: usize = 256 << 10;
/// How long the spool's entries wait for others before they make a small batch.
const LINGER: Duration = Duration::from_secs(10);
/// Other nodes' batches are looked for no more often.
const REFRESH_INTERVAL: Duration = Duration::from_millis(500);
/// After the store failed.
const STORE_RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// For bringing the rest to the store at the end.
const CLOSE_TIME: Duration = Duration::from_secs(5);
/// An entry of the spool that is not read in this time has gone to the store meanwhile.
const SPOOL_READ_TIME: Duration = Duration::from_secs(2);

/// All events of this store that wait, from every node.
pub struct Quarantine {
    /// Tells this node's claims from others', over restarts.
    node: Uuid,
    spool: Spool,
    store: Store,
    index: Mutex<Index>,
    refresh: tokio::sync::Mutex<Refresh>,
    drain: Mutex<Option<JoinHandle<()>>>,
    /// The spool's entries go to the store without waiting for others.
    hurry: AtomicBool,
    hurried: Notify,
    dropped: AtomicU64,
}

#[derive(Default)]
struct Refresh {
    notes: HashSet<String>,
    last: Option<Instant>,
}

impl Quarantine {
    /// [`Quarantine::open_as`] for a node that has left no claims.
    ///
    /// # Errors
    ///
    /// Where the store cannot be read.
    pub async fn open(spool: Spool, store: Store) -> Result<Arc<Quarantine>, StoreError> {
        Quarantine::open_as(Uuid::now_v7(), spool, store).await
    }

    /// Reads what the store and the spool hold, and begins to bring the spool's entries to the store.
    ///
    /// # Errors
    ///
    /// Where the store cannot be read.
    pub async fn open_as(node: Uuid, spool: Spool, store: Store) -> Result<Arc<Quarantine>, StoreError> {
        let quarantine = Arc::new(Quarantine {
            node,
            spool,
            store,
            index: Mutex::default(),
            refresh: tokio::sync::Mutex::default(),
            drain: Mutex::default(),
            hurry: AtomicBool::new(false),
            hurried: Notify::new(),
            dropped: AtomicU64::new(0),
        });
        quarantine.refresh(true).await?;
        quarantine.index_spool().await;
        let draining = Arc::clone(&quarantine);
        *quarantine.drain.lock() = Some(tokio::spawn(async move { draining.drain().await }));
        Ok(quarantine)
    }

    /// What a crash left in the spool.
    async fn index_spool(&self) {
        let mut after = self.spool.committed().0;
        while after < self.spool.last_sequence() {
            let Some(entries) = self.spool.read(after, BATCH_BYTES).await else {
                return;
            };
            for entry in entries {
                after = entry.sequence;
                match form::packing(entry.payload) {
                    Ok(item) => self.index.lock().insert_spooled(
                        item.id,
                        item.group,
                        item.received_us,
                        entry.sequence,
                    ),
                    Err(error) => {
                        tracing::error!(%error, "an entry of the quarantine's spool cannot be read");
                    }
                }
            }
        }
    }

    /// Whose an entry of the quarantine's spool is.
    pub fn owner(entry: &[u8]) -> Option<&str> {
        form::partner(entry)
    }

    /// Events that wait.
    pub fn len(&self) -> usize {
        self.index.lock().len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Items that match, oldest first, those after the id `after`; with the id to go on after where there are more.
    ///
    /// # Errors
    ///
    /// `store-unavailable`.
    pub async fn list(
        &self,
        filter: &Filter,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<Item>, Option<String>), Problem> {
        let after = after.map(cursor).transpose()?;
        let (kept, more) = self.take(filter, after, limit).await?;
        let next = kept.last().filter(|_| more).map(|kept| kept.id.to_string());
        Ok((kept.iter().map(Kept::item).collect(), next))
    }

    /// One item with its data.
    ///
    /// # Errors
    ///
    /// `store-unavailable`.
    pub async fn get(&self, id: &str) -> Result<Option<Kept>, Problem> {
        self.refresh(false).await.map_err(unavailable)?;
        let Ok(id) = id.parse() else { return Ok(None) };
        let found = self.index.lock().find(id);
        let Some(found) = found else { return Ok(None) };
        Ok(self.load(vec![found]).await.map_err(unavailable)?.pop())
    }

    /// Items that match with their data, oldest first, those after `after`, up to `limit`; and whether there are more.
    ///
    /// # Errors
    ///
    /// `store-unavailable`.
    pub async fn take(
        &self,
        filter: &Filter,
        after: Option<Uuid>,
        limit: usize,
    ) -> Result<(Vec<Kept>, bool), Problem> {
        self.refresh(false).await.map_err(unavailable)?;
        let (found, more) = self.search(filter, after, limit).await;
        Ok((self.load(found).await.map_err(unavailable)?, more))
    }

    /// Ids of items that match, oldest first, those after `after`, up to `limit`; and whether there are more.
    ///
    /// # Errors
    ///
    /// `store-unavailable`.
    pub async fn ids(
        &self,
        filter: &Filter,
        after: Option<Uuid>,
        limit: usize,
    ) -> Result<(Vec<Uuid>, bool), Problem> {
        self.refresh(false).await.map_err(unavailable)?;
        let (found, more) = self.search(filter, after, limit).await;
        Ok((found.into_iter().map(|found| found.id).collect(), more))
    }

    /// Those of `ids` that wait, with their data, in order.
    ///
    /// # Errors
    ///
    /// `store-unavailable`.
    pub async fn load_ids(&self, ids: &[Uuid]) -> Result<Vec<Kept>, Problem> {
        let found = {
            let index = self.index.lock();
            ids.iter().filter_map(|id| index.find(*id)).collect()
        };
        self.load(found).await.map_err(unavailable)
    }

    /// The app versions of a type's items, and how many have each.
    pub fn app_versions(&self, event_type: &str) -> BTreeMap<Option<String>, u64> {
        self.index.lock().app_versions(event_type)
    }

    /// How many items match, those after `after`.
    pub async fn count(&self, filter: &Filter, after: Option<Uuid>) -> u64 {
        if after.is_none() && !filter.asks_for_time() {
            return self.index.lock().count_by_group(filter);
        }
        let mut after = after;
        let mut count = 0;
        loop {
            let mut found = Vec::new();
            let scanned = self.index.lock().search(filter, after, usize::MAX, &mut found);
            count += found.len() as u64;
            match scanned {
                Scanned::Until(id) => after = Some(id),
                Scanned::End => return count,
            }
            tokio::task::yield_now().await;
        }
    }

    async fn search(&self, filter: &Filter, after: Option<Uuid>, limit: usize) -> (Vec<Found>, bool) {
        let mut found = Vec::new();
        let mut after = after;
        loop {
            let wanted = limit.saturating_add(1);
            let scanned = self.index.lock().search(filter, after, wanted, &mut found);
            if found.len() > limit {
                found.truncate(limit);
                return (found, true);
            }
            match scanned {
                Scanned::Until(id) => after = Some(id),
                Scanned::End => return (found, false),
            }
            tokio::task::yield_now().await;
        }
    }

    /// The items with their data, in order. What is settled or moved meanwhile is looked up once more, then left out.
    async fn load(&self, found: Vec<Found>) -> Result<Vec<Kept>, StoreError> {
        let wanted: Vec<Uuid> = found.iter().map(|found| found.id).collect();
        let mut loaded = self.load_once(found).await?;
        if loaded.len() < wanted.len() {
            self.refresh(true).await?;
            let missing: Vec<Found> = {
                let index = self.index.lock();
                wanted
                    .iter()
                    .filter(|id| !loaded.contains_key(id))
                    .filter_map(|id| index.find(*id))
                    .collect()
            };
            if !missing.is_empty() {
                loaded.extend(self.load_once(missing).await?);
            }
        }
        Ok(loaded.into_values().collect())
    }

    async fn load_once(&self, found: Vec<Found>) -> Result<BTreeMap<Uuid, Kept>, StoreError> {
        let mut loaded = BTreeMap::new();
        let mut spooled: BTreeMap<Sequence, Uuid> = BTreeMap::new();
        let mut batches: HashMap<u32, BTreeMap<u32, HashSet<Uuid>>> = HashMap::new();
        for Found { id, place } in found {
            match place {
                Place::Spool(sequence) => {
                    spooled.insert(sequence, id);
                }
                Place::Batch { batch, block } => {
                    batches
                        .entry(batch)
                        .or_default()
                        .entry(block)
                        .or_default()
                        .insert(id);
                }
            }
        }
        for (batch, blocks) in batches {
            for payload in self.read_blocks(batch, &blocks).await? {
                match form::decode(&payload) {
                    Ok(kept) => {
                        loaded.insert(kept.id, kept);
                    }
                    Err(error) => tracing::error!(%error, "an item of the quarantine cannot be read"),
                }
            }
        }
        self.load_spooled(spooled, &mut loaded).await;
        Ok(loaded)
    }

    async fn load_spooled(&self, mut wanted: BTreeMap<Sequence, Uuid>, loaded: &mut BTreeMap<Uuid, Kept>) {
        while let Some((first, _)) = wanted.first_key_value() {
            let read = self.spool.read(first - 1, LOADED_BYTES);
            let Ok(Some(entries)) = tokio::time::timeout(SPOOL_READ_TIME, read).await else {
                return;
            };
            let Some(last) = entries.last().map(|entry| entry.sequence) else {
                return;
            };
            for entry in entries {
                if wanted.remove(&entry.sequence).is_some()
                    && let Ok(kept) = form::decode(&entry.payload)
                {
                    loaded.insert(kept.id, kept);
                }
            }
            // What was not among them is in the spool no longer.
            wanted.retain(|sequence, _| *sequence > last);
        }
    }

    /// Notes durably that these items wait no longer: they went out, or were discarded.
    ///
    /// # Errors
    ///
    /// `store-unavailable`; then they still wait.
    pub async fn resolve(&self, ids: &[Uuid]) -> Result<(), Problem> {
        if ids.is_empty() {
            return Ok(());
        }
        let name = self.store_note(ids).await.map_err(unavailable)?;
        self.index.lock().resolve(ids);
        self.refresh.lock().await.notes.insert(name);
        Ok(())
    }

    /// Brings what is in the spool to the store, and ends.
    pub async fn close(&self) {
        self.hurry.store(true, Ordering::Relaxed);
        self.hurried.notify_waiters();
        self.spool.close().await;
        let task = self.drain.lock().take();
        if let Some(mut task) = task {
            // The spool keeps what the store does not take in this time.
            if tokio::time::timeout(CLOSE_TIME, &mut task).await.is_err() {
                task.abort();
                // What the abort makes of it does not matter: nothing after the last commit counts.
                let _ = task.await;
            }
        }
    }

    async fn drain(&self) {
        let mut after = self.spool.committed().0;
        while let Some(mut entries) = self.spool.read(after, BATCH_BYTES).await {
            let bytes: usize = entries.iter().map(|entry| entry.payload.len()).sum();
            if bytes < BATCH_BYTES / 2 && self.linger().await {
                let Some(more) = self.spool.read(after, BATCH_BYTES).await else {
                    return;
                };
                entries = more;
            }
            let Some(last) = entries.last().map(|entry| entry.sequence) else {
                continue;
            };
            let payloads: Vec<Bytes> = entries.into_iter().map(|entry| entry.payload).collect();
            if self.store_batch(payloads, last).await {
                after = last;
            } else {
                tokio::time::sleep(STORE_RETRY_INTERVAL).await;
            }
        }
    }

    /// Whether there may be more entries now.
    async fn linger(&self) -> bool {
        let hurried = self.hurried.notified();
        tokio::pin!(hurried);
        hurried.as_mut().enable();
        if self.hurry.load(Ordering::Relaxed) {
            return false;
        }
        // Either way it is time.
        let _ = tokio::time::timeout(LINGER, hurried).await;
        true
    }

    async fn store_batch(&self, payloads: Vec<Bytes>, last: Sequence) -> bool {
        let entries = payloads.len() as u64;
        let mut latest = match background::run("quarantine", move || latest_of(payloads)).await {
            Ok(latest) => latest,
            Err(error) => {
                tracing::warn!(%error, "quarantined events stay in the spool: they cannot be packed");
                return false;
            }
        };
        {
            let index = self.index.lock();
            latest.retain(|id, _| !index.is_resolved(id));
        }
        let items: Vec<batch::Packing> = latest.into_values().collect();
        if !items.is_empty() {
            // A refresh between the two would take the batch for another node's.
            let _not_refreshing = self.refresh.lock().await;
            match self.put_batch(items).await {
                Ok(Stored { name, bytes, index }) => self.index.lock().add_batch(&name, bytes, index, last),
                Err(error) => {
                    tracing::warn!(%error, "quarantined events stay in the spool: the store does not take them");
                    return false;
                }
            }
        }
        if let Err(error) = self.spool.commit(last, Bytes::new(), entries).await {
            tracing::warn!(%error, "the quarantine's cursor could not be written; its events stand in the store twice");
        }
        true
    }
}

/// The last word on each item.
fn latest_of(payloads: Vec<Bytes>) -> BTreeMap<Uuid, batch::Packing> {
    let mut latest = BTreeMap::new();
    for payload in payloads {
        match form::packing(payload) {
            Ok(item) => {
                latest.insert(item.id, item);
            }
            Err(error) => tracing::error!(%error, "an entry of the quarantine's spool cannot be read"),
        }
    }
    latest
}

fn cursor(text: &str) -> Result<Uuid, Problem> {
    text.parse().map_err(|_| {
        Problem::new(
            Code::InputInvalid,
            "`after` is no cursor: use the `next` of the page before",
        )
    })
}

fn unavailable(error: StoreError) -> Problem {
    tracing::warn!(%error, "the quarantine cannot reach the store");
    Problem::new(
        Code::StoreUnavailable,
        "the store cannot be reached; try again later",
    )
}

/// An entry of the quarantine's spool as the JSON that the admin API shows.
///
/// # Errors
///
/// What is wrong with it, in words.
pub fn export(entry: &Bytes) -> Result<String, String> {
    let kept = form::decode(entry).map_err(|error| error.to_string())?;
    let whole = kept.whole().map_err(|error| error.to_string())?;
    serde_json::to_string(&whole).map_err(|error| error.to_string())
}
