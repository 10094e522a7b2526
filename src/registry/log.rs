//! What the registry keeps in the store: `registry/log/{sequence}.json`, an entry each and never changed;
//! `registry/snapshots/{sequence}.json`, a state each, only to make start-up short; `registry/blobs/{sha256}`, schemas
//! and plugins.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde::{Deserialize, Serialize};

use super::{
    RegistryError,
    model::{Change, Digest, Entry, State},
};
use crate::store::Store;

const LOG: &str = "registry/log";
const SNAPSHOTS: &str = "registry/snapshots";
const BLOBS: &str = "registry/blobs";
/// Reads under way at once while the log is loaded.
const READS_AT_ONCE: usize = 16;
const SNAPSHOTS_KEPT: usize = 2;
/// The form of snapshots that this version writes and reads; others are passed over.
const SNAPSHOT_FORMAT: u32 = 1;

#[derive(Serialize)]
struct SnapshotOut<'a> {
    format: u32,
    state: &'a State,
}

/// An entry as it is written: no two writers write the same bytes.
#[derive(Serialize)]
struct Attempt<'a> {
    #[serde(flatten)]
    entry: &'a Entry,
    attempt: uuid::Uuid,
}

#[derive(Deserialize)]
struct SnapshotIn {
    format: u32,
    state: State,
}

#[derive(Clone, Debug)]
pub(super) struct Log {
    store: Store,
}

fn entry_path(sequence: u64) -> String {
    format!("{LOG}/{sequence:020}.json")
}

fn snapshot_path(sequence: u64) -> String {
    format!("{SNAPSHOTS}/{sequence:020}.json")
}

fn sequence_of(path: &str) -> Option<u64> {
    path.rsplit('/').next()?.strip_suffix(".json")?.parse().ok()
}

impl Log {
    pub(super) fn new(store: Store) -> Log {
        Log { store }
    }

    /// The newest snapshot that can be read, then all entries after it; and how many those were.
    pub(super) async fn load(&self) -> Result<(State, u64), RegistryError> {
        let mut state = self.newest_snapshot().await?;
        let from = state.sequence;
        let paths = self.store.list(LOG, Some(&entry_path(from))).await?;
        for (expected, path) in (from + 1..).zip(&paths) {
            if sequence_of(path) != Some(expected) {
                return Err(RegistryError::EntryMissing { sequence: expected });
            }
        }
        let last = from + paths.len() as u64;
        let mut entries = stream::iter(from + 1..=last)
            .map(|sequence| self.expect_entry(sequence))
            .buffered(READS_AT_ONCE);
        while let Some(entry) = entries.try_next().await? {
            state.apply_in_place(&entry);
        }
        Ok((state, last - from))
    }

    /// The entry with its schema text; none where the log ends before it.
    pub(super) async fn entry(&self, sequence: u64) -> Result<Option<Entry>, RegistryError> {
        let Some(mut entry) = self.bare_entry(sequence).await? else {
            return Ok(None);
        };
        match &mut entry.change {
            Change::PutSchema { schema, .. } => schema.text = self.text(schema.digest).await?,
            Change::PutSchemas { schemas, .. } => {
                for keyed in schemas {
                    keyed.schema.text = self.text(keyed.schema.digest).await?;
                }
            }
            _ => {}
        }
        Ok(Some(entry))
    }

    async fn expect_entry(&self, sequence: u64) -> Result<Entry, RegistryError> {
        self.entry(sequence)
            .await?
            .ok_or(RegistryError::EntryMissing { sequence })
    }

    async fn bare_entry(&self, sequence: u64) -> Result<Option<Entry>, RegistryError> {
        let Some(bytes) = self.store.get(&entry_path(sequence)).await? else {
            return Ok(None);
        };
        let unreadable = |cause: String| RegistryError::EntryUnreadable { sequence, cause };
        let entry: Entry = serde_json::from_slice(&bytes).map_err(|error| unreadable(error.to_string()))?;
        if entry.sequence != sequence {
            return Err(unreadable(format!("it says that it is entry {}", entry.sequence)));
        }
        Ok(Some(entry))
    }

    /// Entries from `first` to `last` without schema texts.
    pub(super) async fn bare_entries(&self, first: u64, last: u64) -> Result<Vec<Entry>, RegistryError> {
        stream::iter(first..=last)
            .map(|sequence| async move {
                self.bare_entry(sequence)
                    .await?
                    .ok_or(RegistryError::EntryMissing { sequence })
            })
            .buffered(READS_AT_ONCE)
            .try_collect()
            .await
    }

    /// Writes the entry, unless another has its place. After an error it may be there or not.
    pub(super) async fn append(&self, entry: &Entry) -> Result<bool, RegistryError> {
        let texts: Vec<&Arc<str>> = match &entry.change {
            Change::PutSchema { schema, .. } => vec![&schema.text],
            Change::PutSchemas { schemas, .. } => schemas.iter().map(|keyed| &keyed.schema.text).collect(),
            _ => Vec::new(),
        };
        for text in texts {
            self.put_blob(Bytes::copy_from_slice(text.as_bytes())).await?;
        }
        let bytes = encode(&Attempt {
            entry,
            attempt: uuid::Uuid::new_v4(),
        })?;
        let path = entry_path(entry.sequence);
        if self.store.put_if_absent(&path, bytes.clone()).await? {
            return Ok(true);
        }
        // A try whose answer was lost on its way may have written it; two nodes may want the very same change.
        Ok(self.store.get(&path).await? == Some(bytes))
    }

    async fn newest_snapshot(&self) -> Result<State, RegistryError> {
        for path in self.store.list(SNAPSHOTS, None).await?.iter().rev() {
            match self.snapshot(path).await {
                Ok(Some(state)) => return Ok(state),
                Ok(None) => {}
                Err(RegistryError::Store(error)) => return Err(RegistryError::Store(error)),
                Err(error) => tracing::warn!(path, %error, "a registry snapshot is passed over"),
            }
        }
        Ok(State::default())
    }

    /// None where another process has removed it meanwhile.
    async fn snapshot(&self, path: &str) -> Result<Option<State>, RegistryError> {
        let Some(bytes) = self.store.get(path).await? else {
            return Ok(None);
        };
        let unreadable = |cause: String| RegistryError::SnapshotUnreadable {
            path: path.to_owned(),
            cause,
        };
        let SnapshotIn { format, mut state } =
            serde_json::from_slice(&bytes).map_err(|error| unreadable(error.to_string()))?;
        if format != SNAPSHOT_FORMAT {
            return Err(unreadable(format!(
                "its format is {format}, not {SNAPSHOT_FORMAT}"
            )));
        }
        self.load_texts(&mut state).await?;
        Ok(Some(state))
    }

    async fn load_texts(&self, state: &mut State) -> Result<(), RegistryError> {
        let mut digests: Vec<Digest> = state
            .schemas
            .values()
            .flat_map(|of_type| of_type.schemas.iter().map(|known| known.value.1.digest))
            .collect();
        digests.sort_unstable();
        digests.dedup();
        let texts: HashMap<Digest, Arc<str>> = stream::iter(digests)
            .map(|digest| async move { Ok::<_, RegistryError>((digest, self.text(digest).await?)) })
            .buffer_unordered(READS_AT_ONCE)
            .try_collect()
            .await?;
        for of_type in state.schemas.values_mut() {
            for known in &mut Arc::make_mut(of_type).schemas {
                let schema = &mut Arc::make_mut(known).value.1;
                if let Some(text) = texts.get(&schema.digest) {
                    schema.text = text.clone();
                }
            }
        }
        Ok(())
    }

    /// Writes a snapshot and removes those that are no longer needed.
    pub(super) async fn write_snapshot(&self, state: &State) -> Result<(), RegistryError> {
        let bytes = encode(&SnapshotOut {
            format: SNAPSHOT_FORMAT,
            state,
        })?;
        self.store.put(&snapshot_path(state.sequence), bytes).await?;
        let paths = self.store.list(SNAPSHOTS, None).await?;
        for path in paths.iter().rev().skip(SNAPSHOTS_KEPT) {
            self.store.delete(path).await?;
        }
        Ok(())
    }

    pub(super) async fn put_blob(&self, bytes: Bytes) -> Result<Digest, RegistryError> {
        let digest = Digest::of(&bytes);
        let path = blob_path(digest);
        if !self.store.put_if_absent(&path, bytes.clone()).await? && self.blob(digest).await.is_err() {
            self.store.put(&path, bytes).await?;
        }
        Ok(digest)
    }

    pub(super) async fn blob(&self, digest: Digest) -> Result<Bytes, RegistryError> {
        match self.store.get(&blob_path(digest)).await? {
            None => Err(RegistryError::BlobMissing { digest }),
            Some(bytes) if Digest::of(&bytes) != digest => Err(RegistryError::BlobDamaged { digest }),
            Some(bytes) => Ok(bytes),
        }
    }

    async fn text(&self, digest: Digest) -> Result<Arc<str>, RegistryError> {
        let bytes = self.blob(digest).await?;
        let text = std::str::from_utf8(&bytes).map_err(|_| RegistryError::BlobDamaged { digest })?;
        Ok(text.into())
    }
}

fn blob_path(digest: Digest) -> String {
    format!("{BLOBS}/{digest}")
}

fn encode(value: &impl Serialize) -> Result<Bytes, RegistryError> {
    let text = serde_json::to_vec(value).map_err(|error| RegistryError::Encode(error.to_string()))?;
    Ok(text.into())
}
