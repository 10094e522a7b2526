//! The objects in the store: batches of items, and notes of what waits no longer.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::Instant,
};

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use uuid::Uuid;

use super::{
    Quarantine, REFRESH_INTERVAL,
    batch::{self, BatchIndex, Packing},
    form::FormError,
};
use crate::{background, store::StoreError};

const BATCHES: &str = "quarantine/batches";
pub(super) const NOTES: &str = "quarantine/resolved";
/// Objects that are read at the same time.
const READS_AT_ONCE: usize = 16;
const ID_BYTES: usize = 16;

/// A batch that is in the store now.
pub(super) struct Stored {
    pub name: Arc<str>,
    pub bytes: u64,
    pub index: BatchIndex,
}

fn broken(path: &str) -> impl FnOnce(FormError) -> StoreError {
    move |cause| StoreError {
        action: "read",
        path: path.to_owned(),
        cause: cause.to_string(),
    }
}

impl Quarantine {
    pub(super) async fn put_batch(&self, items: Vec<Packing>) -> Result<Stored, StoreError> {
        let name: Arc<str> = format!("{BATCHES}/{}.hwq", Uuid::now_v7()).into();
        let fault = |cause: String| StoreError {
            action: "pack",
            path: name.to_string(),
            cause,
        };
        let (object, index) = background::run("quarantine", move || batch::pack(&items))
            .await
            .map_err(|error| fault(error.to_string()))?
            .map_err(|error| fault(error.to_string()))?;
        let bytes = object.len() as u64;
        self.store.put(&name, object).await?;
        Ok(Stored { name, bytes, index })
    }

    /// Ids as they are: sixteen bytes each.
    pub(super) async fn store_note(&self, ids: &[Uuid]) -> Result<String, StoreError> {
        let name = format!("{NOTES}/{}.ids", Uuid::now_v7());
        let body: Vec<u8> = ids.iter().flat_map(|id| *id.as_bytes()).collect();
        self.store.put(&name, body.into()).await?;
        Ok(name)
    }

    pub(super) async fn read_note(&self, name: &str) -> Result<Vec<Uuid>, StoreError> {
        let body = self.store.get(name).await?.unwrap_or_default();
        let ids = body.as_chunks::<ID_BYTES>().0.iter();
        Ok(ids.map(|id| Uuid::from_bytes(*id)).collect())
    }

    /// Reads what other nodes have added or resolved since.
    pub(super) async fn refresh(&self, now: bool) -> Result<(), StoreError> {
        let mut refresh = self.refresh.lock().await;
        if !now && refresh.last.is_some_and(|last| last.elapsed() < REFRESH_INTERVAL) {
            return Ok(());
        }
        // Notes first: a batch must not bring back what waits no longer.
        let mut new_notes = self.store.list(NOTES, None).await?;
        let there: HashSet<String> = new_notes.iter().cloned().collect();
        new_notes.retain(|name| !refresh.notes.contains(name));
        let mut notes = futures::stream::iter(new_notes)
            .map(|name| async move { self.read_note(&name).await.map(|ids| (name, ids)) })
            .buffered(READS_AT_ONCE);
        while let Some((name, ids)) = notes.try_next().await? {
            self.index.lock().resolve(&ids);
            refresh.notes.insert(name);
        }
        refresh.notes.retain(|name| there.contains(name));
        // Before the list is made: what is written meanwhile does not stand in it.
        let known: Vec<Arc<str>> = {
            let index = self.index.lock();
            index
                .batches()
                .map(|(batch, _)| Arc::clone(&batch.name))
                .collect()
        };
        let objects = self.store.list_sized(BATCHES).await?;
        self.forget_batches(&known, &objects);
        let new_batches: Vec<(String, u64)> = {
            let index = self.index.lock();
            objects
                .into_iter()
                .filter(|(name, _)| !index.knows_batch(name))
                .collect()
        };
        let mut indexes = futures::stream::iter(new_batches)
            .map(|(name, bytes)| async move {
                let index = self.read_index(&name, bytes).await;
                (name, bytes, index)
            })
            .buffered(READS_AT_ONCE);
        while let Some((name, bytes, index)) = indexes.next().await {
            match index {
                Ok(Some(index)) => self
                    .index
                    .lock()
                    .add_batch(&name.as_str().into(), bytes, index, 0),
                // Removed since it was listed.
                Ok(None) => {}
                Err(error) if error.action == "read" => {
                    tracing::error!(%error, "an object of the quarantine is damaged and left where it is");
                }
                Err(error) => return Err(error),
            }
        }
        refresh.last = Some(Instant::now());
        Ok(())
    }

    /// Takes out of the index what others have removed from the store.
    fn forget_batches(&self, known: &[Arc<str>], there: &[(String, u64)]) {
        let mut index = self.index.lock();
        for name in known {
            if there
                .binary_search_by(|(listed, _)| listed.as_str().cmp(name))
                .is_err()
            {
                index.remove_batch(name);
            }
        }
    }

    async fn read_index(&self, name: &str, bytes: u64) -> Result<Option<BatchIndex>, StoreError> {
        let read = async |end: u64| -> Result<Option<Bytes>, StoreError> {
            let parts = self
                .store
                .get_ranges(name, std::slice::from_ref(&(0..end)))
                .await?;
            Ok(parts.and_then(|mut parts| parts.pop()))
        };
        let Some(mut beginning) = read(bytes.min(batch::BEGINNING_BYTES)).await? else {
            return Ok(None);
        };
        let end = batch::index_end(&beginning).map_err(broken(name))?;
        if end > bytes {
            return Err(broken(name)(FormError::Short));
        }
        if end > beginning.len() as u64 {
            let Some(whole) = read(end).await? else {
                return Ok(None);
            };
            beginning = whole;
        }
        batch::read_index(&beginning).map(Some).map_err(broken(name))
    }

    /// The encoded items of these blocks that are wanted; of each block only its own, by their place in it.
    pub(super) async fn read_blocks(
        &self,
        batch: u32,
        wanted: &BTreeMap<u32, HashSet<Uuid>>,
    ) -> Result<Vec<Bytes>, StoreError> {
        let known = {
            let index = self.index.lock();
            index
                .batch(batch)
                .map(|batch| (Arc::clone(&batch.name), Arc::clone(&batch.blocks)))
        };
        let Some((name, blocks)) = known else {
            return Ok(Vec::new());
        };
        let blocks: Vec<&batch::Block> = wanted
            .keys()
            .filter_map(|block| blocks.get(*block as usize))
            .collect();
        let ranges: Vec<_> = blocks.iter().map(|block| block.range.clone()).collect();
        let Some(parts) = self.store.get_ranges(&name, &ranges).await? else {
            return Ok(Vec::new());
        };
        let mut payloads = Vec::new();
        for ((block, part), ids) in blocks.into_iter().zip(parts).zip(wanted.values()) {
            let items = batch::unpack_block(&part, block.plain_bytes).map_err(broken(&name))?;
            payloads.extend(
                items
                    .into_iter()
                    .filter(|payload| super::form::id(payload).is_some_and(|id| ids.contains(&id))),
            );
        }
        Ok(payloads)
    }
}
