//! The one thread that appends: it takes all that is queued, writes it with one `fdatasync` and tells those who wait.
//! Under load [`super::aide`] makes the next batch ready, and tells, while this one waits for the disk.

use std::{
    io, mem,
    sync::{Arc, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

use super::{
    AppendError, Entry, Owner, Queued, Segment, Sequence, Shared, State, doubt,
    frame::{self, frame_bytes},
    storage::{Lock, StorageAppend},
};

/// Written with one `fdatasync`.
pub(super) const BATCH_BYTES: u64 = 8 << 20;
/// Appends are refused for so long after the disk was full: each attempt costs it a file.
const FULL_PAUSE: Duration = Duration::from_millis(250);
/// Newest entries that are kept in memory for the reader.
const TAIL_BYTES: usize = 4 << 20;

pub(super) struct Writer {
    shared: Arc<Shared>,
    active: Option<Active>,
    _lock: Lock,
}

/// Entries that are written together.
pub(super) struct Batch {
    first_sequence: Sequence,
    entries: Vec<Queued>,
    /// Of all frames.
    bytes: u64,
    /// What was made of the first `encoded` entries, for the segment with this id.
    segment: u64,
    encoded: usize,
    frames: Vec<u8>,
    /// The same entries for the reader, and the bytes of their payloads.
    tail: Vec<Entry>,
    tail_bytes: usize,
    /// Bytes of the frames by owner, an owner once for each run of its entries.
    shares: Vec<(Owner, u64)>,
    /// What the reader's memory has no room for any more: given up beside the disk's work.
    stale: Vec<Entry>,
}

impl Batch {
    /// Of no entries; `buffer` is for its frames.
    pub(super) fn new(first_sequence: Sequence, buffer: Vec<u8>) -> Batch {
        Batch {
            first_sequence,
            entries: Vec::new(),
            bytes: 0,
            segment: 0,
            encoded: 0,
            frames: buffer,
            tail: Vec::new(),
            tail_bytes: 0,
            shares: Vec::new(),
            stale: Vec::new(),
        }
    }

    /// Adds what was queued behind it.
    pub(super) fn extend(&mut self, entries: Vec<Queued>, bytes: u64) {
        if self.entries.is_empty() {
            self.entries = entries;
        } else {
            self.entries.extend(entries);
        }
        self.bytes += bytes;
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Makes the frames of all entries that have none yet for this segment, and what else is to be known of them.
    pub(super) fn encode(&mut self, segment: u64) {
        if self.segment != segment {
            self.segment = segment;
            self.encoded = 0;
            self.frames.clear();
            self.tail.clear();
            self.tail_bytes = 0;
            self.shares.clear();
        }
        let sequences = self.first_sequence + self.encoded as u64..;
        let entries = &self.entries[self.encoded..];
        self.tail.reserve(entries.len());
        for (queued, sequence) in entries.iter().zip(sequences) {
            frame::encode(&mut self.frames, segment, sequence, &queued.payload);
            self.tail_bytes += queued.payload.len();
            self.tail.push(Entry {
                sequence,
                payload: queued.payload.clone(),
            });
            let bytes = frame_bytes(queued.payload.len());
            match self.shares.last_mut() {
                Some((owner, held)) if *owner == queued.owner => *held += bytes,
                _ => self.shares.push((Arc::clone(&queued.owner), bytes)),
            }
        }
        self.encoded = self.entries.len();
    }

    /// Tells all who wait that their entry is on the disk.
    pub(super) fn tell(self) {
        for (queued, sequence) in self.entries.into_iter().zip(self.first_sequence..) {
            (queued.done)(Ok(sequence));
        }
    }
}

struct Active {
    file: Box<dyn StorageAppend>,
    segment: Segment,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, lock: Lock) -> Writer {
        Writer {
            shared,
            active: None,
            _lock: lock,
        }
    }

    pub(super) fn run(mut self) {
        let _end = End::of_writer(&self.shared);
        while let Some(batch) = self.wait() {
            self.write(batch);
            self.shared.state.lock().writing = false;
            self.shared.progress.notify_waiters();
        }
    }

    /// What was made ready and what is queued behind it, up to what one write takes.
    fn wait(&mut self) -> Option<Batch> {
        let most_bytes = self.shared.options.batch_bytes_max();
        let mut state = self.shared.state.lock();
        loop {
            if state.active.is_none() && self.active.take().is_some() {
                // All of it is delivered; it is removed once nobody has it open.
                state.open_segment = None;
                self.shared.commit_work.notify_one();
            }
            // What is queued comes after what is being made ready.
            if !state.is_preparing
                && let Some(batch) = state.take_batch(most_bytes)
            {
                state.writing = true;
                if state.queue_bytes >= self.shared.options.prepare_bytes {
                    self.shared.aide_work.notify_one();
                }
                return Some(batch);
            }
            if state.ended || (state.abandoned && !state.is_preparing) {
                return None;
            }
            self.shared.work.wait(&mut state);
        }
    }

    fn write(&mut self, mut batch: Batch) {
        let written = self
            .activate(batch.first_sequence, batch.bytes)
            .and_then(|()| self.write_frames(&mut batch));
        match written {
            Ok(segment) => {
                self.publish(segment, &mut batch);
                if batch.bytes < self.shared.options.prepare_bytes as u64 {
                    // Waking another thread would take longer.
                    batch.tell();
                } else {
                    self.shared.state.lock().told_apart.push_back(batch);
                    self.shared.aide_work.notify_one();
                }
            }
            Err(error) => {
                self.seal_failed();
                self.shared.note_failure();
                tracing::error!(directory = %self.shared.directory.display(), %error, "the spool's disk failed");
                let error = if is_full(&error) {
                    self.shared.state.lock().full_until = Some(Instant::now() + FULL_PAUSE);
                    AppendError::DiskFull
                } else {
                    AppendError::Disk(error.to_string())
                };
                for queued in batch.entries {
                    let bytes = frame_bytes(queued.payload.len());
                    self.shared
                        .budget
                        .release(self.shared.account, &queued.owner, bytes);
                    (queued.done)(Err(error.clone()));
                }
            }
        }
    }

    /// Begins a new segment where the last one is full or there is none.
    fn activate(&mut self, first_sequence: Sequence, batch_bytes: u64) -> io::Result<()> {
        let shared = &self.shared;
        if let Some(active) = &self.active {
            let length = active.segment.length;
            if length == 0 || length + batch_bytes <= shared.options.segment_bytes {
                return Ok(());
            }
        }
        self.active = None;
        let segment = Segment {
            first_sequence,
            id: getrandom::u64().map_err(io::Error::other)?,
            length: 0,
            last_sequence: 0,
            unreadable: false,
        };
        let file = shared.storage.create(&shared.directory.join(segment.name()))?;
        self.active = Some(Active { file, segment });
        shared.state.lock().open_segment = Some(segment.id);
        shared.storage.sync_directory(&shared.directory)
    }

    fn write_frames(&mut self, batch: &mut Batch) -> io::Result<Segment> {
        let Some(active) = &mut self.active else {
            return Err(io::Error::other("no segment is open"));
        };
        batch.encode(active.segment.id);
        active.file.append(&batch.frames)?;
        active.file.sync()?;
        active.segment.length += batch.frames.len() as u64;
        active.segment.last_sequence = batch.first_sequence + batch.entries.len() as u64 - 1;
        Ok(active.segment)
    }

    /// After a failure the file is never written again: what the kernel still holds of it is unknown. What was refused
    /// must not be read from it by a later life.
    fn seal_failed(&mut self) {
        let Some(active) = self.active.take() else {
            return;
        };
        let shared = &self.shared;
        if active.segment.length == 0 {
            let path = shared.directory.join(active.segment.name());
            match shared.storage.remove(&path) {
                Ok(()) => return shared.state.lock().begin_anew(),
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "a failed segment could not be removed");
                }
            }
        }
        doubt::cut_or_note(&*shared.storage, &shared.directory, &active.segment);
        shared.state.lock().begin_anew();
    }

    fn publish(&self, segment: Segment, batch: &mut Batch) {
        self.shared.strained.store(false, Ordering::Relaxed);
        self.shared.failed_until_ms.store(0, Ordering::Relaxed);
        let mut buffer = mem::take(&mut batch.frames);
        buffer.clear();
        buffer.shrink_to(BATCH_BYTES as usize);
        let mut state = self.shared.state.lock();
        state.spare_buffer = buffer;
        state.full_until = None;
        match state.segments.back_mut() {
            Some(last) if last.id == segment.id => {
                *last = Segment {
                    unreadable: last.unreadable,
                    ..segment
                };
            }
            _ => state.segments.push_back(segment),
        }
        state.active = Some((segment.id, segment.length));
        state.last_sequence = segment.last_sequence;
        state.appended += batch.entries.len() as u64;
        state.syncs += 1;
        state.pending.entries += batch.entries.len() as u64;
        state.pending.bytes += batch.bytes;
        let shares = state.shares.entry(segment.id).or_default();
        for (owner, bytes) in batch.shares.drain(..) {
            *shares.entry(owner).or_default() += bytes;
        }
        batch.stale = state.remember(mem::take(&mut batch.tail), batch.tail_bytes);
        drop(state);
        self.shared.progress.notify_waiters();
    }
}

impl State {
    /// Keeps the newest entries for the reader; gives back the oldest ones, for which there is no room.
    fn remember(&mut self, newest: Vec<Entry>, newest_bytes: usize) -> Vec<Entry> {
        self.tail.extend(newest);
        self.tail_bytes += newest_bytes;
        let mut count = 0;
        for entry in &self.tail {
            if self.tail_bytes <= TAIL_BYTES {
                break;
            }
            self.tail_bytes -= entry.payload.len();
            self.tail_floor = entry.sequence;
            count += 1;
        }
        self.tail.drain(..count).collect()
    }
}

pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// Tells everyone that no more is appended; where a thread of the spool panics, that nothing is done any more.
pub(super) struct End {
    shared: Arc<Shared>,
    is_writer: bool,
}

impl End {
    fn of_writer(shared: &Arc<Shared>) -> End {
        End {
            shared: Arc::clone(shared),
            is_writer: true,
        }
    }

    pub(super) fn of_helper(shared: &Arc<Shared>) -> End {
        End {
            shared: Arc::clone(shared),
            is_writer: false,
        }
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let mut state = self.shared.state.lock();
        let has_panicked = thread::panicking();
        state.ended |= self.is_writer || has_panicked;
        if !state.ended {
            return;
        }
        let mut unwritten = state.ready.take().map_or_else(Vec::new, |batch| batch.entries);
        unwritten.append(&mut state.queue);
        let (durable, commits) = if has_panicked {
            (mem::take(&mut state.told_apart), mem::take(&mut state.commits))
        } else {
            Default::default()
        };
        drop(state);
        durable.into_iter().for_each(Batch::tell);
        for queued in unwritten {
            let bytes = frame_bytes(queued.payload.len());
            self.shared
                .budget
                .release(self.shared.account, &queued.owner, bytes);
            (queued.done)(Err(AppendError::Closed));
        }
        drop(commits);
        self.shared.progress.notify_waiters();
        self.shared.aide_work.notify_one();
        self.shared.commit_work.notify_one();
        self.shared.work.notify_one();
    }
}
