//! The one thread that commits: it moves the cursor and removes the segments that it has passed. Appends do not wait for
//! it.

use std::{
    io, mem,
    sync::{Arc, atomic::Ordering},
};

use bytes::Bytes;

use super::{
    AppendError, CommitRequest, Sequence, Shared,
    cursor::Cursor,
    reader, recovery,
    storage::Lock,
    writer::{End, is_full},
};
use crate::limits::SPOOL_HEADROOM_BYTES;

pub(super) const HEADROOM_NAME: &str = "headroom";

pub(super) struct Committer {
    shared: Arc<Shared>,
    cursor: Cursor,
    /// The headroom file is there.
    headroom: bool,
    _lock: Lock,
}

impl Committer {
    pub(super) fn new(shared: Arc<Shared>, cursor: Cursor, lock: Lock) -> Committer {
        Committer {
            shared,
            cursor,
            headroom: true,
            _lock: lock,
        }
    }

    /// Makes what the last life committed durable (it may have died before its own sync) and removes what it leaves
    /// to remove. A disk that refuses is no reason not to start: what is delivered then stays a while longer.
    pub(super) fn prepare(mut self) -> Committer {
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
        let _end = End::of_helper(&self.shared);
        while let Some(requests) = self.wait() {
            self.commit(requests);
        }
    }

    fn wait(&self) -> Option<Vec<CommitRequest>> {
        let mut state = self.shared.state.lock();
        loop {
            if !state.commits.is_empty() {
                return Some(mem::take(&mut state.commits));
            }
            if state.abandoned {
                return None;
            }
            self.shared.commit_work.wait(&mut state);
        }
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
        let is_idle = sequence == state.last_sequence && !state.writing;
        let is_long = |(_, length): &(u64, u64)| *length > self.shared.options.segment_bytes / 4;
        if let Some((id, _)) = state.active.filter(|active| is_idle && is_long(active)) {
            state.active = None;
            // The writer closes it before it writes again, and at once where it waits.
            self.shared.work.notify_one();
            while state.open_segment == Some(id) && !state.ended {
                self.shared.commit_work.wait(&mut state);
            }
        }
        drop(state);
        self.remove_committed();
        Ok(())
    }

    /// Removes the segments that the durable cursor has passed.
    fn remove_committed(&mut self) {
        let mut removed = Vec::new();
        {
            let mut state = self.shared.state.lock();
            let active = state.active.map(|(id, _)| id);
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
