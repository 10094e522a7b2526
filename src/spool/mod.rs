//! The spool: a segmented, checksummed, append-only log with one cursor, on the local disk. What it has acknowledged
//! survives a crash.
//!
//! A folder holds `SEQUENCE-ID.segment` files (frames, see `frame`), the `cursor` (see `cursor`), a `lock` file, the
//! `headroom` that is given up for the cursor when the disk is full, and `damaged/` with copies of bytes that were no
//! frames, and with files that the disk could not give back. Nothing is ever written over: a segment only grows while
//! the process that made it lives and its disk does not fail; then it is cut to what was acknowledged (see `doubt`),
//! after that only read and, once all of it is committed, removed.

mod aide;
mod budget;
mod committer;
mod cursor;
mod doubt;
mod frame;
mod inspect;
mod queue;
mod reader;
mod recovery;
mod reservation;
mod storage;
#[cfg(test)]
mod tests;
mod writer;

use std::{
    collections::{HashMap, VecDeque},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Instant,
};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use tokio::sync::{Notify, oneshot};

use aide::Aide;
pub use budget::Budget;
use budget::{AccountNumber, Shares};
use committer::Committer;
pub use inspect::{DamagedRegion, InspectedSegment, Inspection, inspect, is_spool};
pub use reservation::Reservation;
use storage::{Disk, Lock, Storage};
use writer::{Batch, Writer};

/// Position of an entry; grows by at least one an entry, begins at 1, never used twice in one spool.
pub type Sequence = u64;

#[derive(Clone, Debug)]
pub struct SpoolOptions {
    pub segment_bytes: u64,
    /// A larger entry is refused.
    pub entry_bytes_max: usize,
    /// Appended and not yet written, in memory; beyond it appends fail as [`AppendError::Full`].
    pub queue_bytes_max: usize,
    /// With so much queued, part after part of the next write is made ready while the one before waits for the disk.
    pub prepare_bytes: usize,
    /// Entries after this one are kept, committed or not, until [`Spool::retain_after`] lets them go.
    pub retain_after: Option<Sequence>,
    /// Of the budget, for this spool alone.
    pub own_bytes: u64,
    /// Reads the owner from an entry's payload, for what the spool holds when it is opened.
    pub owner: fn(&[u8]) -> Option<&str>,
}

/// Whose an entry is: see [`Budget`].
pub type Owner = Arc<str>;

impl Default for SpoolOptions {
    fn default() -> SpoolOptions {
        SpoolOptions {
            segment_bytes: 64 << 20,
            entry_bytes_max: 32 << 20,
            queue_bytes_max: 64 << 20,
            prepare_bytes: 64 << 10,
            retain_after: None,
            own_bytes: 0,
            owner: |_| None,
        }
    }
}

impl SpoolOptions {
    /// Of the frames that one write takes.
    fn batch_bytes_max(&self) -> u64 {
        self.segment_bytes.min(writer::BATCH_BYTES)
    }
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
    #[error("the partner {0} has filled its share of the spool")]
    ShareFull(Owner),
    #[error("no space is left on the spool's disk")]
    DiskFull,
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
    /// On the disk, frames included.
    pub bytes: u64,
}

/// What went in and came out since the spool was opened; read at one moment, so that
/// `recovered + appended - settled = pending.entries` unless bytes on the disk have rotted since.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Entries that were pending when the spool was opened.
    pub recovered: u64,
    pub appended: u64,
    /// How often entries were made durable, all that waited at once: `appended / syncs` is how many shared one.
    pub syncs: u64,
    /// As those who committed have counted them.
    pub settled: u64,
    pub pending: Pending,
}

/// What was found damaged since the spool was opened. Each place counts once, over restarts too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Damage {
    pub regions: u64,
    pub bytes: u64,
    /// At the end of the segment that was being written when the process died; never acknowledged.
    pub torn_bytes: u64,
}

/// One spool in one folder. Cheap to clone; closed when the last clone is dropped.
#[derive(Clone)]
pub struct Spool {
    handle: Arc<Handle>,
}

/// Ends the spool's threads when its last user is gone.
struct Handle {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

type Done = Box<dyn FnOnce(Result<Sequence, AppendError>) + Send>;

struct Queued {
    owner: Owner,
    payload: Bytes,
    done: Done,
}

struct CommitRequest {
    sequence: Sequence,
    note: Bytes,
    settled: u64,
    reply: oneshot::Sender<Result<(), AppendError>>,
}

/// One segment as far as it is acknowledged.
#[derive(Clone, Copy, Debug)]
struct Segment {
    first_sequence: Sequence,
    id: u64,
    length: u64,
    /// 0 before the first entry.
    last_sequence: Sequence,
    /// The disk could not give back a part of it: it is never removed, but set aside.
    unreadable: bool,
}

impl Segment {
    fn name(&self) -> String {
        format!("{:020}-{:016x}.segment", self.first_sequence, self.id)
    }

    fn parse_name(name: &str) -> Option<Segment> {
        let (first_sequence, id) = name.strip_suffix(".segment")?.split_once('-')?;
        Some(Segment {
            first_sequence: first_sequence.parse().ok()?,
            id: u64::from_str_radix(id, 16).ok()?,
            length: 0,
            last_sequence: 0,
            unreadable: false,
        })
    }
}

struct State {
    queue: Vec<Queued>,
    queue_bytes: usize,
    /// Promised to whoever holds a [`Reservation`].
    reserved_bytes: usize,
    commits: Vec<CommitRequest>,
    /// Of the next entry that is taken from the queue.
    next_sequence: Sequence,
    /// The writer holds entries that it took from the queue.
    writing: bool,
    /// For the frames of the next batch.
    spare_buffer: Vec<u8>,
    /// What the writer writes next.
    ready: Option<Batch>,
    /// The aide makes it ready.
    is_preparing: bool,
    /// On the disk, and those who wait are still to be told.
    told_apart: VecDeque<Batch>,
    is_telling: bool,
    /// The segment that the writer goes on with, and its length. None where it is to begin a new one.
    active: Option<(u64, u64)>,
    /// The segment that the writer has open.
    open_segment: Option<u64>,
    /// No more appends.
    closing: bool,
    /// Nobody is left who could read or commit.
    abandoned: bool,
    /// The writer is gone.
    ended: bool,
    segments: VecDeque<Segment>,
    /// Bytes by owner, of each segment, by its id.
    shares: HashMap<u64, Shares>,
    /// The disk was full: until then appends are refused without asking it again.
    full_until: Option<Instant>,
    /// Of the last acknowledged entry.
    last_sequence: Sequence,
    /// The newest entries, all of those after `tail_floor`.
    tail: VecDeque<Entry>,
    tail_bytes: usize,
    tail_floor: Sequence,
    committed: (Sequence, Bytes),
    pending: Pending,
    recovered: u64,
    appended: u64,
    syncs: u64,
    settled: u64,
    /// Frame sizes of the entries after the commit that were read, without a gap up to `handed_to`.
    handed: VecDeque<(Sequence, u64)>,
    handed_to: Sequence,
}

struct Shared {
    storage: Arc<dyn Storage>,
    directory: PathBuf,
    options: SpoolOptions,
    budget: Arc<Budget>,
    account: AccountNumber,
    state: Mutex<State>,
    /// The queue is half full.
    strained: AtomicBool,
    /// For how many milliseconds from `opened_at` on a failure of the disk counts.
    failed_until_ms: AtomicU64,
    opened_at: Instant,
    /// There is work for the writer.
    work: Condvar,
    /// There is work for the committer.
    commit_work: Condvar,
    /// There is work for the aide.
    aide_work: Condvar,
    /// There is something to read, or nothing to wait for any more.
    progress: Notify,
    positions: Mutex<reader::Positions>,
    read_failures: Mutex<reader::Failures>,
    /// [`SpoolOptions::retain_after`]; the greatest number where nothing is retained.
    retain_after: AtomicU64,
    damage: DamageCounters,
}

#[derive(Default)]
struct DamageCounters {
    regions: AtomicU64,
    bytes: AtomicU64,
    torn_bytes: AtomicU64,
}

impl Spool {
    /// Opens or makes the spool in `directory` and recovers what is in it. Reads all that is not committed: call it
    /// where blocking is allowed.
    pub fn open(directory: &Path, options: SpoolOptions, budget: Arc<Budget>) -> Result<Spool, OpenError> {
        Spool::open_visiting(directory, options, budget, &mut |_| {})
    }

    /// The same; shows `visit` the payload of every entry that is still there, delivered or not.
    pub fn open_visiting(
        directory: &Path,
        options: SpoolOptions,
        budget: Arc<Budget>,
        visit: &mut dyn FnMut(&[u8]),
    ) -> Result<Spool, OpenError> {
        Spool::open_on(Arc::new(Disk), directory, options, budget, visit)
    }

    fn open_on(
        storage: Arc<dyn Storage>,
        directory: &Path,
        mut options: SpoolOptions,
        budget: Arc<Budget>,
        visit: &mut dyn FnMut(&[u8]),
    ) -> Result<Spool, OpenError> {
        // A segment gives its room back only as a whole.
        options.segment_bytes = options
            .segment_bytes
            .min((budget.max_bytes() / 16).max(SEGMENT_BYTES_MIN));
        let retain_after = options.retain_after.unwrap_or(Sequence::MAX);
        let recovered = recovery::recover(&*storage, directory, retain_after, options.owner, visit)?;
        let cursor = cursor::Cursor::new(Arc::clone(&storage), directory);
        let account = budget.open(options.own_bytes);
        for segment in &recovered.state.segments {
            let none = Shares::default();
            let shares = recovered.state.shares.get(&segment.id).unwrap_or(&none);
            budget.take(account, segment.length, shares);
        }
        let shared = Arc::new(Shared {
            storage,
            directory: directory.to_owned(),
            options,
            budget,
            account,
            state: Mutex::new(recovered.state),
            strained: AtomicBool::new(false),
            failed_until_ms: AtomicU64::new(0),
            opened_at: Instant::now(),
            work: Condvar::new(),
            commit_work: Condvar::new(),
            aide_work: Condvar::new(),
            progress: Notify::new(),
            positions: Mutex::default(),
            read_failures: Mutex::default(),
            retain_after: AtomicU64::new(retain_after),
            damage: recovered.damage,
        });
        let io = |cause| OpenError::Io {
            path: directory.display().to_string(),
            cause,
        };
        let lock: Lock = recovered.lock.into();
        let committer = Committer::new(Arc::clone(&shared), cursor, Arc::clone(&lock)).prepare();
        let writer = Writer::new(Arc::clone(&shared), lock);
        let aide = Aide::new(Arc::clone(&shared));
        let name = directory
            .file_name()
            .map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let mut handle = Handle {
            shared,
            threads: Vec::new(),
        };
        let thread = |name: String, run: Box<dyn FnOnce() + Send>| {
            thread::Builder::new().name(name).spawn(run).map_err(io)
        };
        let appends = thread(format!("spool {name}"), Box::new(move || writer.run()))?;
        handle.threads.push(appends);
        let commits = thread(format!("cursor {name}"), Box::new(move || committer.run()))?;
        handle.threads.push(commits);
        let aids = thread(format!("aide {name}"), Box::new(move || aide.run()))?;
        handle.threads.push(aids);
        Ok(Spool {
            handle: Arc::new(handle),
        })
    }

    /// Queues one entry; `done` is called once, after the entry is on the disk (`fdatasync`) or has failed. Entries
    /// keep the order of the calls; of what is called when, only the entries of one write.
    pub fn append(
        &self,
        owner: &Owner,
        payload: Bytes,
        done: impl FnOnce(Result<Sequence, AppendError>) + Send + 'static,
    ) {
        self.append_to(None, owner, payload, done);
    }

    /// The same into room that was reserved in this spool, where there is such.
    pub fn append_to(
        &self,
        place: Option<&Reservation>,
        owner: &Owner,
        payload: Bytes,
        done: impl FnOnce(Result<Sequence, AppendError>) + Send + 'static,
    ) {
        let shared = &self.handle.shared;
        let queued = Queued {
            owner: Arc::clone(owner),
            payload,
            done: Box::new(done),
        };
        let refused = shared.enqueue(&mut shared.state.lock(), queued, place);
        if let Err((queued, error)) = refused {
            (queued.done)(Err(error));
        }
    }

    /// A larger entry is refused.
    pub fn entry_bytes_max(&self) -> usize {
        self.handle.shared.options.entry_bytes_max
    }

    /// Entries after `after`, in order, up to about `max_bytes`; waits until there is at least one. None when closed
    /// and all was read.
    pub async fn read(&self, after: Sequence, max_bytes: usize) -> Option<Vec<Entry>> {
        reader::read(&self.handle.shared, after, max_bytes).await
    }

    /// Durable: everything up to `sequence` is delivered; `note` is given back by [`Spool::committed`]. `settled` says
    /// how many entries the caller brought to their end since its last commit. Works on a closed spool too. Going back
    /// is not possible; the same sequence with another note is.
    pub async fn commit(&self, sequence: Sequence, note: Bytes, settled: u64) -> Result<(), AppendError> {
        let (reply, answer) = oneshot::channel();
        {
            let mut state = self.handle.shared.state.lock();
            if state.ended {
                return Err(AppendError::Closed);
            }
            state.commits.push(CommitRequest {
                sequence,
                note,
                settled,
                reply,
            });
            self.handle.shared.commit_work.notify_one();
        }
        answer.await.unwrap_or(Err(AppendError::Closed))
    }

    /// The last commit.
    pub fn committed(&self) -> (Sequence, Bytes) {
        self.handle.shared.state.lock().committed.clone()
    }

    /// What is appended and not committed.
    pub fn pending(&self) -> Pending {
        self.handle.shared.state.lock().pending
    }

    /// From now on entries after `sequence` can be read even when they are committed; without one, no longer.
    pub fn retain_after(&self, sequence: Option<Sequence>) {
        let retained = sequence.unwrap_or(Sequence::MAX);
        self.handle.shared.retain_after.store(retained, Ordering::Relaxed);
    }

    pub fn tally(&self) -> Tally {
        let state = self.handle.shared.state.lock();
        Tally {
            recovered: state.recovered,
            appended: state.appended,
            syncs: state.syncs,
            settled: state.settled,
            pending: state.pending,
        }
    }

    /// Sequence of the last entry that is on the disk; 0 before the first.
    pub fn last_sequence(&self) -> Sequence {
        self.handle.shared.state.lock().last_sequence
    }

    pub fn damage(&self) -> Damage {
        let counters = &self.handle.shared.damage;
        Damage {
            regions: counters.regions.load(Ordering::Relaxed),
            bytes: counters.bytes.load(Ordering::Relaxed),
            torn_bytes: counters.torn_bytes.load(Ordering::Relaxed),
        }
    }

    /// Finishes what is queued; later appends fail. What is there can still be read and committed.
    pub async fn close(&self) {
        let shared = &self.handle.shared;
        shared.state.lock().closing = true;
        loop {
            let progress = shared.progress.notified();
            tokio::pin!(progress);
            progress.as_mut().enable();
            {
                let state = shared.state.lock();
                if state.is_settled() {
                    // Readers wait for more until they are told that there is none.
                    shared.progress.notify_waiters();
                    return;
                }
            }
            progress.await;
        }
    }
}

/// Smallest segment that a small budget leads to.
const SEGMENT_BYTES_MIN: u64 = 64 << 10;

impl Drop for Handle {
    fn drop(&mut self) {
        {
            let mut state = self.shared.state.lock();
            state.closing = true;
            state.abandoned = true;
        }
        self.shared.work.notify_one();
        self.shared.commit_work.notify_one();
        for ended in self.threads.drain(..) {
            if ended.thread().id() != thread::current().id() {
                // One that panicked has said so itself.
                let _ = ended.join();
            }
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let state = self.state.get_mut();
        for segment in &state.segments {
            let shares = state.shares.remove(&segment.id).unwrap_or_default();
            self.budget.release_all(self.account, segment.length, &shares);
        }
    }
}
