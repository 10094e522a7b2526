//! Events that could not be processed yet: kept with the reason, listed, replayed, discarded.
//!
//! An event is durable once it is in this module's spool; from there it goes to the store in compressed batches that
//! are never rewritten. What is replayed or discarded is noted in objects of its own.

mod form;
mod index;
mod item;

#[cfg(test)]
mod tests;

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::task::JoinHandle;
use uuid::Uuid;

use index::{Index, Place};
pub use item::{Filter, Item, Kept, KeptRecord, Report, WholeItem};

use crate::{
    problem::{Code, Problem},
    spool::{AppendError, Sequence, Spool},
    store::{Store, StoreError},
};

const BATCHES: &str = "quarantine/batches";
const RESOLVED: &str = "quarantine/resolved";
/// Bytes of one batch before compression.
const BATCH_BYTES: usize = 4 << 20;
/// Other nodes' batches are looked for no more often.
const REFRESH_INTERVAL: Duration = Duration::from_millis(500);
/// After the store failed.
const STORE_RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// All events of this store that wait, from every node.
pub struct Quarantine {
    spool: Spool,
    store: Store,
    index: Mutex<Index>,
    refresh: tokio::sync::Mutex<Refresh>,
    drain: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Refresh {
    batches: HashSet<String>,
    resolved: HashSet<String>,
    last: Option<Instant>,
}

impl Quarantine {
    /// Reads what the store and the spool hold, and begins to bring the spool's entries to the store.
    ///
    /// # Errors
    ///
    /// Where the store cannot be read.
    pub async fn open(spool: Spool, store: Store) -> Result<Arc<Quarantine>, StoreError> {
        let quarantine = Arc::new(Quarantine {
            spool,
            store,
            index: Mutex::default(),
            refresh: tokio::sync::Mutex::default(),
            drain: Mutex::default(),
        });
        quarantine.refresh(true).await?;
        let draining = Arc::clone(&quarantine);
        *quarantine.drain.lock() = Some(tokio::spawn(async move { draining.drain().await }));
        Ok(quarantine)
    }

    /// Keeps an event; `done` is called once it is durable, or cannot be.
    pub fn keep(self: &Arc<Self>, kept: Kept, done: impl FnOnce(Result<(), AppendError>) + Send + 'static) {
        let payload = form::encode(&kept);
        let this = Arc::clone(self);
        let waiting = payload.clone();
        let owner = Arc::clone(kept.event.partner.as_shared());
        self.spool.append(&owner, payload, move |result| {
            let result = result.map(|sequence| {
                this.index.lock().insert(
                    &kept,
                    Place::Spool {
                        sequence,
                        payload: waiting,
                    },
                );
            });
            done(result);
        });
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
        self.refresh(false).await.map_err(unavailable)?;
        let after = match after {
            None => None,
            Some(text) => Some(text.parse::<Uuid>().map_err(|_| {
                Problem::new(
                    Code::InputInvalid,
                    "`after` is no cursor: use the `next` of the page before",
                )
            })?),
        };
        let mut items = self.index.lock().matching(filter, after, limit + 1);
        let next = (items.len() > limit)
            .then(|| {
                items.truncate(limit);
                items.last().map(|item| item.id.clone())
            })
            .flatten();
        Ok((items, next))
    }

    /// One item with its data.
    ///
    /// # Errors
    ///
    /// `store-unavailable`.
    pub async fn get(&self, id: &str) -> Result<Option<Kept>, Problem> {
        self.refresh(false).await.map_err(unavailable)?;
        let Ok(id) = id.parse() else { return Ok(None) };
        let place = self.index.lock().place(id);
        match place {
            None => Ok(None),
            Some(Place::Spool { payload, .. }) => Ok(form::decode(&payload).ok()),
            Some(Place::Batch(name)) => {
                let batch = self.batch(&name).await.map_err(unavailable)?;
                Ok(batch.into_iter().find(|kept| kept.id == id))
            }
        }
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
        let mut wanted: Vec<(Uuid, Place)> = self.index.lock().places(filter, after, limit + 1);
        let more = wanted.len() > limit;
        wanted.truncate(limit);
        let mut taken = Vec::with_capacity(wanted.len());
        let mut batches: Vec<(Arc<str>, HashSet<Uuid>)> = Vec::new();
        for (id, place) in wanted {
            match place {
                Place::Spool { payload, .. } => taken.extend(form::decode(&payload)),
                Place::Batch(name) => match batches.iter_mut().find(|(known, _)| *known == name) {
                    Some((_, ids)) => {
                        ids.insert(id);
                    }
                    None => batches.push((name, HashSet::from([id]))),
                },
            }
        }
        for (name, ids) in batches {
            let batch = self.batch(&name).await.map_err(unavailable)?;
            taken.extend(batch.into_iter().filter(|kept| ids.contains(&kept.id)));
        }
        taken.sort_by_key(|kept| kept.id);
        Ok((taken, more))
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
        let name = format!("{RESOLVED}/{}.json", Uuid::now_v7());
        let body = serde_json::to_vec(ids).map_err(|error| {
            Problem::new(Code::Internal, format!("resolved ids cannot be written: {error}"))
        })?;
        self.store.put(&name, body.into()).await.map_err(unavailable)?;
        self.index.lock().remove(ids);
        Ok(())
    }

    /// Brings what is in the spool to the store, and ends.
    pub async fn close(&self) {
        self.spool.close().await;
        let task = self.drain.lock().take();
        if let Some(task) = task {
            // The spool keeps what the store does not take in this time.
            let abort = task.abort_handle();
            if tokio::time::timeout(Duration::from_secs(5), task).await.is_err() {
                abort.abort();
            }
        }
    }

    async fn drain(&self) {
        let mut after = self.spool.committed().0;
        while let Some(entries) = self.spool.read(after, BATCH_BYTES).await {
            let Some(last) = entries.last().map(|entry| entry.sequence) else {
                continue;
            };
            let payloads: Vec<Bytes> = entries.into_iter().map(|entry| entry.payload).collect();
            if payloads.is_empty() || self.store_batch(&payloads, last).await {
                after = last;
            } else {
                tokio::time::sleep(STORE_RETRY_INTERVAL).await;
            }
        }
    }

    async fn store_batch(&self, payloads: &[Bytes], last: Sequence) -> bool {
        let name: Arc<str> = format!("{BATCHES}/{}.zst", Uuid::now_v7()).into();
        let stored = match form::pack(payloads) {
            Ok(body) => self
                .store
                .put(&name, body)
                .await
                .map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        if let Err(error) = stored {
            tracing::warn!(%error, "quarantined events stay in the spool: the store does not take them");
            return false;
        }
        self.refresh.lock().await.batches.insert(name.to_string());
        if let Err(error) = self.spool.commit(last, Bytes::new(), payloads.len() as u64).await {
            tracing::warn!(%error, "the quarantine's cursor could not be written; its events stand in the store twice");
        }
        let mut index = self.index.lock();
        for payload in payloads {
            match form::decode(payload) {
                Ok(kept) => index.moved(&kept, &name, last),
                Err(error) => tracing::error!(%error, "an entry of the quarantine's spool cannot be read"),
            }
        }
        true
    }

    /// Reads what other nodes have added or resolved since.
    async fn refresh(&self, now: bool) -> Result<(), StoreError> {
        let mut refresh = self.refresh.lock().await;
        if !now && refresh.last.is_some_and(|last| last.elapsed() < REFRESH_INTERVAL) {
            return Ok(());
        }
        for name in self.store.list(BATCHES, None).await? {
            if refresh.batches.contains(&name) {
                continue;
            }
            let shared: Arc<str> = name.as_str().into();
            let batch = self.batch(&name).await?;
            let mut index = self.index.lock();
            for kept in &batch {
                index.insert(kept, Place::Batch(Arc::clone(&shared)));
            }
            drop(index);
            refresh.batches.insert(name);
        }
        for name in self.store.list(RESOLVED, None).await? {
            if refresh.resolved.contains(&name) {
                continue;
            }
            if let Some(body) = self.store.get(&name).await? {
                match serde_json::from_slice::<Vec<Uuid>>(&body) {
                    Ok(ids) => self.index.lock().remove(&ids),
                    Err(error) => {
                        tracing::error!(object = name, %error, "an object of the quarantine cannot be read")
                    }
                }
            }
            refresh.resolved.insert(name);
        }
        refresh.last = Some(Instant::now());
        Ok(())
    }

    async fn batch(&self, name: &str) -> Result<Vec<Kept>, StoreError> {
        let Some(body) = self.store.get(name).await? else {
            return Ok(Vec::new());
        };
        form::unpack(&body).map_err(|cause| StoreError {
            action: "read",
            path: name.to_owned(),
            cause: cause.to_string(),
        })
    }
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
