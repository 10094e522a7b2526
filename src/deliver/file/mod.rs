//! Records as lines of CloudEvents JSON in `PATH/TOPIC/DATE/NAME.ndjson`. A record is taken when it is in the spool;
//! one task writes what the spool holds to the files.

mod compress;
mod folder;
mod latest;
mod output;
mod retention;
#[cfg(test)]
mod tests;

use std::{
    collections::HashSet,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use futures::future::BoxFuture;
use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::task::{JoinHandle, JoinSet, spawn_blocking};

use self::output::{Output, Rotation};
use super::{
    Counters, Counts, Destination, DestinationState, Ticket, codec, count, spool_record, state::SharedState,
};
use crate::{
    background::Lane,
    config::FileRotation,
    event::{DestinationName, Record},
    spool::{AppendError, Damage, Entry, Pending, Sequence, Spool},
};

/// Read from the spool and written with one sync a file.
const BATCH_BYTES: usize = 4 << 20;
/// Up to so much in the spool is written at low priority: its senders have their answers, and whoever waits for one needs the
/// core more.
const AT_LEISURE_BYTES: u64 = 16 << 20;
/// After a batch smaller than [`SMALL_BATCH`] entries, so that single records share a sync.
const GATHER: Duration = Duration::from_millis(20);
const SMALL_BATCH: usize = 256;
/// Between two looks for files to close.
const HOUSEKEEPING: Duration = Duration::from_secs(1);
/// Between two looks for files that are older than they are kept.
const RETENTION: Duration = Duration::from_secs(3600);
/// Between two tries of a disk that refuses.
const RETRY_MIN: Duration = Duration::from_millis(250);
const RETRY_MAX: Duration = Duration::from_secs(10);
/// Between two tries to compress a file.
const COMPRESS_RETRY: Duration = Duration::from_secs(60);

pub(super) struct FileDestination {
    name: DestinationName,
    spool: Spool,
    counters: Arc<Counters>,
    state: Arc<SharedState>,
    drain: Mutex<Option<JoinHandle<()>>>,
}

impl FileDestination {
    pub(super) fn start(
        name: DestinationName,
        root: &Path,
        spool: Spool,
        settings: &FileRotation,
    ) -> FileDestination {
        let rotation = Rotation {
            file_bytes: settings.file_bytes.0,
            age: Duration::from_secs(settings.file_time_s.into()),
            ..Rotation::default()
        };
        FileDestination::start_with(name, root, spool, rotation, settings.retention_days)
    }

    fn start_with(
        name: DestinationName,
        root: &Path,
        spool: Spool,
        rotation: Rotation,
        retention_days: Option<u32>,
    ) -> FileDestination {
        let counters = Arc::new(Counters::default());
        let state = Arc::new(SharedState::new(if spool.pending().entries > 0 {
            DestinationState::Draining
        } else {
            DestinationState::Healthy
        }));
        let drain = Drain {
            name: name.clone(),
            root: root.to_owned(),
            rotation,
            retention_days,
            spool: spool.clone(),
            state: Arc::clone(&state),
            leisure: Lane::start("files").ok(),
        };
        FileDestination {
            name,
            spool,
            counters,
            state,
            drain: Mutex::new(Some(tokio::spawn(drain.run()))),
        }
    }
}

impl Destination for FileDestination {
    fn name(&self) -> &DestinationName {
        &self.name
    }

    fn kind(&self) -> &'static str {
        "file"
    }

    fn state(&self) -> DestinationState {
        self.state.get()
    }

    fn send(&self, record: Record, ticket: Ticket) {
        count(&self.counters.accepted, 1);
        spool_record(&self.spool, &self.name, &self.counters, &record, ticket, || {});
    }

    fn needs_spool(&self) -> bool {
        true
    }

    fn count_no_place(&self, records: u64) {
        self.counters.count_no_place(records);
    }

    fn counts(&self) -> Counts {
        self.counters.read(&self.spool)
    }

    fn pending(&self) -> Pending {
        self.spool.pending()
    }

    fn damage(&self) -> Damage {
        self.spool.damage()
    }

    fn spool(&self) -> Option<&Spool> {
        Some(&self.spool)
    }

    fn shutdown(&self, deadline: Instant) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.spool.close().await;
            let drain = self.drain.lock().take();
            if let Some(mut drain) = drain
                && tokio::time::timeout_at(deadline.into(), &mut drain)
                    .await
                    .is_err()
            {
                drain.abort();
                // What the abort makes of it does not matter: nothing after the last commit counts.
                let _ = drain.await;
            }
        })
    }
}

impl Drop for FileDestination {
    fn drop(&mut self) {
        if let Some(drain) = self.drain.get_mut() {
            drain.abort();
        }
    }
}

/// Why a batch was not written.
#[derive(Debug, thiserror::Error)]
enum DrainError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("entry {0} of the spool: {1}")]
    Decode(Sequence, codec::DecodeError),
    #[error("spool: {0}")]
    Commit(#[from] AppendError),
}

struct Drain {
    name: DestinationName,
    root: PathBuf,
    rotation: Rotation,
    retention_days: Option<u32>,
    spool: Spool,
    state: Arc<SharedState>,
    /// Writes what waits in a spool that is nearly empty; absent where the system gave no thread.
    leisure: Option<Lane>,
}

impl Drain {
    async fn run(self) {
        let mut retry = RETRY_MIN;
        loop {
            let begun = Instant::now();
            match self.write_all().await {
                Ok(()) => return,
                Err(error) => {
                    self.state.set(DestinationState::Spooling);
                    tracing::error!(destination = %self.name, %error, "the output files cannot be written");
                }
            }
            if begun.elapsed() > RETRY_MAX {
                retry = RETRY_MIN;
            }
            tokio::time::sleep(retry).await;
            retry = (retry * 2).min(RETRY_MAX);
        }
    }

    /// Until the spool is closed and all of it is written.
    async fn write_all(&self) -> Result<(), DrainError> {
        let (mut position, mut output) = self.restore().await?;
        let mut compressing = Compressing::default();
        let mut housekeeping = tokio::time::interval(HOUSEKEEPING);
        housekeeping.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut retention = tokio::time::interval(RETENTION);
        retention.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            if position >= self.spool.last_sequence() {
                self.state.set(DestinationState::Healthy);
            }
            compressing.begin(&self.root, &output);
            tokio::select! {
                entries = self.spool.read(position, BATCH_BYTES) => {
                    let Some(entries) = entries else { return Ok(()) };
                    let records = entries.len();
                    let Some(last) = entries.last().map(|entry| entry.sequence) else { continue };
                    output = self.write(output, entries).await?;
                    self.commit(last, &output, records as u64).await?;
                    position = last;
                    if records < SMALL_BATCH {
                        tokio::time::sleep(GATHER).await;
                    }
                }
                _ = housekeeping.tick() => {
                    if output.close_idle(Timestamp::now())? {
                        self.commit(position, &output, 0).await?;
                    }
                }
                _ = retention.tick(), if self.retention_days.is_some() => self.remove_old().await,
                Some(path) = compressing.finished() => output.forget_closed(&path),
            }
        }
    }

    /// Tries until it is durable. A commit that failed can be found after a crash all the same: whoever cut the files
    /// back to the one before it would leave less in them than that one says. So nothing else is done meanwhile.
    async fn commit(&self, position: Sequence, output: &Output, records: u64) -> Result<(), DrainError> {
        let mut retry = RETRY_MIN;
        loop {
            match self.spool.commit(position, output.note(), records).await {
                Err(AppendError::Disk(error)) => {
                    self.state.set(DestinationState::Spooling);
                    tracing::error!(destination = %self.name, error, "what the output files hold cannot be noted");
                    tokio::time::sleep(retry).await;
                    retry = (retry * 2).min(RETRY_MAX);
                }
                committed => return Ok(committed?),
            }
        }
    }

    async fn remove_old(&self) {
        let today = jiff::tz::TimeZone::UTC.to_datetime(Timestamp::now()).date();
        let days = i64::from(self.retention_days.unwrap_or(u32::MAX));
        let age = jiff::Span::new().try_days(days);
        let Ok(first_kept) = age.and_then(|age| today.checked_sub(age)) else {
            return;
        };
        let root = self.root.clone();
        match blocking(move || retention::remove_before(&root, first_kept)).await {
            Ok(0) => {}
            Ok(files) => {
                tracing::info!(destination = %self.name, files, %first_kept, "old files were removed")
            }
            Err(error) => {
                tracing::warn!(destination = %self.name, %error, "old files could not all be removed");
            }
        }
    }

    /// What the last commit says, or a new beginning.
    async fn restore(&self) -> Result<(Sequence, Output), DrainError> {
        let (position, note) = self.spool.committed();
        let (root, rotation, spool) = (self.root.clone(), self.rotation, self.spool.clone());
        let fresh = note.is_empty();
        let output = blocking(move || {
            // The spool's lock must outlive every write, even when the task is aborted.
            let _spool = spool;
            if fresh {
                Output::new(&root, rotation)
            } else {
                Output::restore(&root, rotation, &note)
            }
        })
        .await?;
        if fresh {
            // From here on replayed records come to the same names.
            self.commit(position, &output, 0).await?;
        }
        Ok((position, output))
    }

    async fn write(&self, mut output: Output, entries: Vec<Entry>) -> Result<Output, DrainError> {
        let spool = self.spool.clone();
        let is_behind = spool.pending().bytes > AT_LEISURE_BYTES;
        let work = move || {
            let _spool = spool;
            let mut records = Vec::with_capacity(entries.len());
            for entry in &entries {
                let record = codec::decode(&entry.payload)
                    .map_err(|error| DrainError::Decode(entry.sequence, error))?;
                records.push((entry.sequence, record));
            }
            output.write(&records)?;
            Ok(output)
        };
        match self.leisure.as_ref().filter(|_| !is_behind) {
            Some(leisure) => leisure.run(work).await?,
            None => blocking(work).await,
        }
    }
}

async fn blocking<T: Send + 'static, E: From<io::Error> + Send + 'static>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, E> {
    spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(io::Error::other(error).into()))
}

/// Closed files on their way to `.zst`, beside the writing.
#[derive(Default)]
struct Compressing {
    tasks: JoinSet<(Arc<str>, bool)>,
    known: HashSet<Arc<str>>,
}

impl Compressing {
    fn begin(&mut self, root: &Path, output: &Output) {
        for path in output.closed() {
            if self.known.insert(Arc::clone(path)) {
                let (path, root) = (Arc::clone(path), root.to_owned());
                self.tasks.spawn(async move {
                    let done = compress::compress_beside(root.clone(), path.to_string()).await;
                    if let Err(error) = &done {
                        tracing::error!(path = %root.join(&*path).display(), %error, "a closed file could not be compressed");
                        tokio::time::sleep(COMPRESS_RETRY).await;
                    }
                    (path, done.is_ok())
                });
            }
        }
    }

    /// The next file that is compressed; None where none is on its way.
    async fn finished(&mut self) -> Option<Arc<str>> {
        while let Some(ended) = self.tasks.join_next().await {
            if let Ok((path, done)) = ended {
                self.known.remove(&path);
                if done {
                    return Some(path);
                }
                // Comes again with the next begin.
            }
        }
        None
    }
}
