//! What waits for the writer: taken in, or refused, at once.

use std::{mem, sync::atomic::Ordering, time::Instant};

use super::{AppendError, Queued, Reservation, Shared, State, frame::frame_bytes, writer::Batch};

impl Shared {
    pub(super) fn enqueue(
        &self,
        state: &mut State,
        queued: Queued,
        place: Option<&Reservation>,
    ) -> Result<(), (Queued, AppendError)> {
        let length = queued.payload.len();
        let bytes = frame_bytes(length);
        let found = if length > self.options.entry_bytes_max {
            Err(AppendError::TooLarge(length))
        } else if let Err(error) = state.takes_appends() {
            Err(error)
        } else if place.is_some_and(|place| place.spend(bytes, length)) {
            state.reserved_bytes = state.reserved_bytes.saturating_sub(length);
            Ok(())
        } else if state.is_too_much(length, self.options.queue_bytes_max) {
            Err(AppendError::Full)
        } else {
            self.budget.reserve(self.account, &queued.owner, bytes)
        };
        if let Err(error) = found {
            return Err((queued, error));
        }
        let before = state.queue_bytes;
        state.queue_bytes += length;
        if state.queue_bytes > self.options.queue_bytes_max / 2 {
            self.strained.store(true, Ordering::Relaxed);
        }
        state.queue.push(queued);
        if state.queue.len() == 1 {
            self.work.notify_one();
        }
        let prepare_bytes = self.options.prepare_bytes;
        if state.writing && before < prepare_bytes && state.queue_bytes >= prepare_bytes {
            self.aide_work.notify_one();
        }
        Ok(())
    }
}

impl State {
    pub(super) fn takes_appends(&self) -> Result<(), AppendError> {
        if self.closing || self.ended {
            Err(AppendError::Closed)
        } else if self.full_until.is_some_and(|until| Instant::now() < until) {
            Err(AppendError::DiskFull)
        } else {
            Ok(())
        }
    }

    /// What is alone in memory passes, however large.
    pub(super) fn is_too_much(&self, length: usize, queue_bytes_max: usize) -> bool {
        let there = self.queue_bytes + self.reserved_bytes;
        there > 0 && there + length > queue_bytes_max
    }

    pub(super) fn is_settled(&self) -> bool {
        let is_written = self.queue.is_empty() && self.ready.is_none() && !self.is_preparing && !self.writing;
        self.ended || (is_written && self.told_apart.is_empty() && !self.is_telling)
    }

    /// The writer has no segment any more.
    pub(super) fn begin_anew(&mut self) {
        self.active = None;
        self.open_segment = None;
    }

    /// What was made ready and what is queued behind it, up to so many bytes of frames but one entry at least.
    pub(super) fn take_batch(&mut self, most_bytes: u64) -> Option<Batch> {
        let mut ready = self.ready.take();
        let begun_bytes = ready.as_ref().map_or(0, Batch::bytes);
        let (mut bytes, mut taken) = (0, 0);
        for queued in &self.queue {
            let frame = frame_bytes(queued.payload.len());
            if begun_bytes + bytes > 0 && begun_bytes + bytes + frame > most_bytes {
                break;
            }
            bytes += frame;
            taken += 1;
            self.queue_bytes -= queued.payload.len();
        }
        if taken > 0 {
            let entries = if taken == self.queue.len() {
                mem::take(&mut self.queue)
            } else {
                self.queue.drain(..taken).collect()
            };
            let first_sequence = self.next_sequence;
            self.next_sequence += taken as u64;
            let buffer = &mut self.spare_buffer;
            ready
                .get_or_insert_with(|| Batch::new(first_sequence, mem::take(buffer)))
                .extend(entries, bytes);
        }
        ready
    }
}
