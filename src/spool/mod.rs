//! The spool: a segmented, checksummed, append-only log with one cursor, on the local disk. What it has acknowledged
//! survives a crash.

use std::{path::Path, sync::Arc};

use bytes::Bytes;

/// Position of an entry; grows by one an entry, begins at 1, never used twice in one spool.
pub type Sequence = u64;

/// Bytes that all spools of the gateway may take together.
#[derive(Debug)]
pub struct Budget {}

impl Budget {
    pub fn new(_max_bytes: u64) -> Arc<Budget> {
        todo!()
    }
}

#[derive(Clone, Debug)]
pub struct SpoolOptions {
    pub segment_bytes: u64,
    /// A larger entry is refused.
    pub entry_bytes_max: usize,
}

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("{path}: {cause}")]
    Io { path: String, cause: std::io::Error },
    #[error("{path} is in use by another process")]
    InUse { path: String },
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    #[error("the spool is full")]
    Full,
    #[error("an entry of {0} bytes is too large")]
    TooLarge(usize),
    #[error("the disk failed: {0}")]
    Disk(String),
    #[error("the spool is closed")]
    Closed,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub sequence: Sequence,
    pub payload: Bytes,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pending {
    pub entries: u64,
    pub bytes: u64,
}

/// One spool in one folder. Cheap to clone.
#[derive(Clone)]
pub struct Spool {}

impl Spool {
    /// Opens or makes the spool in `directory` and recovers what is in it.
    pub fn open(_directory: &Path, _options: SpoolOptions, _budget: Arc<Budget>) -> Result<Spool, OpenError> {
        todo!()
    }
    /// Queues one entry; `done` is called once, after the entry is on the disk (`fdatasync`) or has failed. Entries
    /// keep the order of the calls.
    pub fn append(
        &self,
        _payload: Bytes,
        _done: impl FnOnce(Result<Sequence, AppendError>) + Send + 'static,
    ) {
        todo!()
    }
    /// Entries after `after`, in order, up to about `max_bytes`; waits until there is at least one. None when closed.
    pub async fn read(&self, _after: Sequence, _max_bytes: usize) -> Option<Vec<Entry>> {
        todo!()
    }
    /// Durable: everything up to `sequence` is delivered; `note` is given back by [`Spool::committed`].
    pub async fn commit(&self, _sequence: Sequence, _note: Bytes) -> Result<(), AppendError> {
        todo!()
    }
    /// The last commit.
    pub fn committed(&self) -> (Sequence, Bytes) {
        todo!()
    }
    /// What is appended and not committed.
    pub fn pending(&self) -> Pending {
        todo!()
    }
    /// Finishes what is queued; later appends fail.
    pub async fn close(&self) {
        todo!()
    }
}
impl Default for SpoolOptions {
    fn default() -> Self {
        todo!()
    }
}
