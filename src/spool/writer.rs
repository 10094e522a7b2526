//! The one thread that writes: it takes all that is queued, writes it with one `fdatasync` and tells those who wait.

use std::{
    io, mem,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::{
    AppendError, CommitRequest, Entry, Queued, Segment, Sequence, Shared,
    cursor::Cursor,
    doubt,
    frame::{self, frame_bytes},
    reader, recovery,
    storage::StorageAppend,
};
use crate::limits::SPOOL_HEADROOM_BYTES;

/// Written with one `fdatasync`.
pub(super) const BATCH_BYTES: u64 = 8 << 20;
/// Appends are refused for so long after the disk was full: each attempt costs it a file.
const FULL_PAUSE: Duration = Duration::from_millis(250);
pub(super) const HEADROOM_NAME: &str = "headroom";
/// Newest entries that are kept in memory for the reader.
const TAIL_BYTES: usize = 4 << 20;

pub(super) struct Writer {
    shared: Arc<Shared>,
    cursor: Cursor,
    next_sequence: Sequence,
    active: Option<Active>,
    buffer: Vec<u8>,
    /// The headroom file is there.
    headroom: bool,
    _lock: Box<dyn Send + Sync>,
}

struct Active {
    file: Box<dyn StorageAppend>,
    segment: Segment,
}

struct Work {
    appends: Vec<Queued>,
    commits: Vec<CommitRequest>,
}

impl Writer {
    pub(super) fn new(
        shared: Arc<Shared>,
        cursor: Cursor,
        next_sequence: Sequence,
        lock: Box<dyn Send + Sync>,
    ) -> Writer {
        Writer {
            shared,
            cursor,
            next_sequence,
            active: None,
            buffer: Vec::new(),
            headroom: true,
            _lock: lock,
        }
    }

    /// Makes what the last life committed durable (it may have died before its own sync) and removes what it leaves
    /// to remove. A disk that refuses is no reason not to start: what is delivered then stays a while longer.
    pub(super) fn prepare(mut self) -> Writer {
        let (sequence, note) = self.shared.state.lock().committed.clone();
        if sequence > 0 || !note.is_empty() {
            match self.write_cursor(sequence, &note) {
                Ok(()) => self.remove_committed(),
                Err(error) => {
                    tracing::warn!(directory = %self.shared.directory.display(), %error, "the spool's cursor cannot be written");
                }
            }
        }
        self.keep_headroom();
        self
    }

    fn keep_headroom(&mut self) {
        let path = self.shared.directory.join(HEADROOM_NAME);
        match self.shared.storage.allocate(&path, SPOOL_HEADROOM_BYTES) {
            Ok(()) => self.headroom = true,
            Err(error) => {
                self.headroom = false;
                tracing::debug!(path = %path.display(), %error, "there is no room for the spool's headroom");
            }
        }
    }

    /// On a full disk the headroom is given up for the cursor: only a cursor that moves lets segments be removed.
    fn write_cursor(&mut self, sequence: Sequence, note: &[u8]) -> io::Result<()> {
        match self.cursor.write(sequence, note) {
            Err(error) if is_full(&error) => {
                let path = self.shared.directory.join(HEADROOM_NAME);
                self.shared.storage.remove(&path)?;
                self.headroom = false;
                self.cursor.write(sequence, note)
            }
            written => written,
        }
    }

    pub(super) fn run(mut self) {
        let _end = End(Arc::clone(&self.shared));
        while let Some(work) = self.wait() {
            let mut batch = Vec::new();
            let mut batch_bytes = 0;
            for queued in work.appends {
                let bytes = frame_bytes(queued.payload.len());
                if !batch.is_empty() && batch_bytes + bytes > self.room() {
                    self.write(mem::take(&mut batch), batch_bytes);
                    batch_bytes = 0;
                }
                batch_bytes += bytes;
                batch.push(queued);
            }
            if !batch.is_empty() {
                self.write(batch, batch_bytes);
            }
            if !work.commits.is_empty() {
                self.commit(work.commits);
            }
            self.shared.state.lock().writing = false;
            self.shared.progress.notify_waiters();
        }
    }

    fn wait(&self) -> Option<Work> {
        let mut state = self.shared.state.lock();
        loop {
            if !state.queue.is_empty() || !state.commits.is_empty() {
                state.queue_bytes = 0;
                state.writing = true;
                return Some(Work {
                    appends: mem::take(&mut state.queue),
                    commits: mem::take(&mut state.commits),
                });
            }
            if state.abandoned {
                return None;
            }
            self.shared.work.wait(&mut state);
        }
    }

    /// Bytes of the next batch.
    fn room(&self) -> u64 {
        let segment_bytes = self.shared.options.segment_bytes;
        let left = self.active.as_ref().map_or(segment_bytes, |active| {
            segment_bytes.saturating_sub(active.segment.length)
        });
        // Less than one batch of room: the segment is as good as full, and the next one is empty.
        if left < BATCH_BYTES {
            segment_bytes.min(BATCH_BYTES)
        } else {
            BATCH_BYTES
        }
    }

    fn write(&mut self, batch: Vec<Queued>, batch_bytes: u64) {
        let first_sequence = self.next_sequence;
        self.next_sequence += batch.len() as u64;
        let written = self
            .activate(first_sequence, batch_bytes)
            .and_then(|()| self.write_frames(first_sequence, &batch));
        match written {
            Ok(segment) => {
                self.publish(segment, &batch, first_sequence, batch_bytes);
                for (queued, sequence) in batch.into_iter().zip(first_sequence..) {
                    (queued.done)(Ok(sequence));
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
                for queued in batch {
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
        shared.storage.sync_directory(&shared.directory)
    }

    fn write_frames(&mut self, first_sequence: Sequence, batch: &[Queued]) -> io::Result<Segment> {
        let Some(active) = &mut self.active else {
            return Err(io::Error::other("no segment is open"));
        };
        self.buffer.clear();
        self.buffer.shrink_to(BATCH_BYTES as usize);
        let mut last_sequence = 0;
        for (queued, sequence) in batch.iter().zip(first_sequence..) {
            frame::encode(&mut self.buffer, active.segment.id, sequence, &queued.payload);
            last_sequence = sequence;
        }
        active.file.append(&self.buffer)?;
        active.file.sync()?;
        active.segment.length += self.buffer.len() as u64;
        active.segment.last_sequence = last_sequence;
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
                Ok(()) => return,
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "a failed segment could not be removed");
                }
            }
        }
        doubt::cut_or_note(&*shared.storage, &shared.directory, &active.segment);
    }

    fn publish(&self, segment: Segment, batch: &[Queued], first_sequence: Sequence, bytes: u64) {
        self.shared.strained.store(false, Ordering::Relaxed);
        self.shared.failed_until_ms.store(0, Ordering::Relaxed);
        let mut state = self.shared.state.lock();
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
        state.last_sequence = segment.last_sequence;
        state.appended += batch.len() as u64;
        state.pending.entries += batch.len() as u64;
        state.pending.bytes += bytes;
        for (queued, sequence) in batch.iter().zip(first_sequence..) {
            state.tail_bytes += queued.payload.len();
            state.tail.push_back(Entry {
                sequence,
                payload: queued.payload.clone(),
            });
        }
        let shares = state.shares.entry(segment.id).or_default();
        for queued in batch {
            let bytes = frame_bytes(queued.payload.len());
            match shares.get_mut(&queued.owner) {
                Some(held) => *held += bytes,
                None => {
                    shares.insert(Arc::clone(&queued.owner), bytes);
                }
            }
        }
        while state.tail_bytes > TAIL_BYTES
            && let Some(entry) = state.tail.pop_front()
        {
            state.tail_bytes -= entry.payload.len();
            state.tail_floor = entry.sequence;
        }
        drop(state);
        self.shared.progress.notify_waiters();
    }

    fn commit(&mut self, requests: Vec<CommitRequest>) {
        let (mut sequence, last_sequence) = {
            let state = self.shared.state.lock();
            (state.committed.0, state.last_sequence)
        };
        let mut note = None;
        let mut settled = 0;
        for request in &requests {
            let asked = request.sequence.min(last_sequence);
            if asked >= sequence {
                sequence = asked;
                note = Some(request.note.clone());
                settled += request.settled;
            }
        }
        let written = note.map_or(Ok(()), |note| self.write_commit(sequence, note, settled));
        let answer = written.map_err(|error| {
            tracing::error!(directory = %self.shared.directory.display(), %error, "the spool's cursor failed");
            AppendError::Disk(error.to_string())
        });
        for request in requests {
            // Who no longer waits needs no answer.
            let _ = request.reply.send(answer.clone());
        }
    }

    fn write_commit(&mut self, sequence: Sequence, note: Bytes, settled: u64) -> io::Result<()> {
        self.write_cursor(sequence, &note)?;
        let uncounted = {
            let state = self.shared.state.lock();
            let behind = state.handed_to < sequence && sequence < state.last_sequence;
            behind.then_some(state.handed_to)
        };
        let uncounted = uncounted.map(|after| reader::count(&self.shared, after, sequence));
        let mut state = self.shared.state.lock();
        state.committed = (sequence, note);
        state.settled += settled;
        let mut done = uncounted.unwrap_or_default();
        while let Some((handed, bytes)) = state.handed.pop_front() {
            if handed > sequence {
                state.handed.push_front((handed, bytes));
                break;
            }
            done.entries += 1;
            done.bytes += bytes;
        }
        state.handed_to = state.handed_to.max(sequence);
        if sequence == state.last_sequence {
            state.pending = super::Pending::default();
        } else {
            state.pending.entries = state.pending.entries.saturating_sub(done.entries);
            state.pending.bytes = state.pending.bytes.saturating_sub(done.bytes);
        }
        while state.tail.front().is_some_and(|entry| entry.sequence <= sequence)
            && let Some(entry) = state.tail.pop_front()
        {
            state.tail_bytes -= entry.payload.len();
            state.tail_floor = entry.sequence;
        }
        let idle = sequence == state.last_sequence;
        drop(state);
        if idle
            && self
                .active
                .as_ref()
                .is_some_and(|active| active.segment.length > self.shared.options.segment_bytes / 4)
        {
            self.active = None;
        }
        self.remove_committed();
        Ok(())
    }

    /// Removes the segments that the durable cursor has passed.
    fn remove_committed(&mut self) {
        let active = self.active.as_ref().map(|active| active.segment.id);
        let mut removed = Vec::new();
        {
            let mut state = self.shared.state.lock();
            let retained = self.shared.retain_after.load(Ordering::Relaxed);
            let committed = state.committed.0.min(retained);
            while state
                .segments
                .front()
                .is_some_and(|segment| segment.last_sequence <= committed && Some(segment.id) != active)
                && let Some(segment) = state.segments.pop_front()
            {
                let shares = state.shares.remove(&segment.id).unwrap_or_default();
                removed.push((segment, shares));
            }
        }
        if removed.is_empty() {
            return;
        }
        self.shared.close_removed();
        for (segment, shares) in &removed {
            let path = self.shared.directory.join(segment.name());
            let gone = if segment.unreadable {
                recovery::set_aside(&*self.shared.storage, &self.shared.directory, &segment.name())
            } else {
                self.shared.storage.remove(&path)
            };
            match gone {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!(path = %path.display(), %error, "a delivered segment could not be removed");
                }
                _ => self
                    .shared
                    .budget
                    .release_all(self.shared.account, segment.length, shares),
            }
        }
        if let Err(error) = self.shared.storage.sync_directory(&self.shared.directory) {
            tracing::warn!(directory = %self.shared.directory.display(), %error, "sync of the spool's folder failed");
        }
        if !self.headroom {
            self.keep_headroom();
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// Tells everyone that the writer is gone, even where it panicked.
struct End(Arc<Shared>);

impl Drop for End {
    fn drop(&mut self) {
        let (queue, commits) = {
            let mut state = self.0.state.lock();
            state.ended = true;
            (mem::take(&mut state.queue), mem::take(&mut state.commits))
        };
        for queued in queue {
            let bytes = frame_bytes(queued.payload.len());
            self.0.budget.release(self.0.account, &queued.owner, bytes);
            (queued.done)(Err(AppendError::Closed));
        }
        drop(commits);
        self.0.progress.notify_waiters();
    }
}
