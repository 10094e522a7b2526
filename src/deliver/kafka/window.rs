use std::collections::VecDeque;

use crate::spool::Sequence;

/// Records of the spool that are on their way, in order.
#[derive(Default)]
pub(super) struct Window {
    entries: VecDeque<InFlight>,
    bytes: usize,
    /// Everything up to here is acknowledged.
    contiguous: Sequence,
}

struct InFlight {
    sequence: Sequence,
    bytes: usize,
    done: bool,
}

impl Window {
    pub(super) fn begin(&mut self, sequence: Sequence, bytes: usize) {
        self.bytes += bytes;
        self.entries.push_back(InFlight {
            sequence,
            bytes,
            done: false,
        });
    }

    /// The newest entry did not go out after all.
    pub(super) fn take_back(&mut self) {
        if let Some(entry) = self.entries.pop_back() {
            self.bytes -= entry.bytes;
        }
    }

    pub(super) fn acknowledge(&mut self, sequence: Sequence) {
        let index = self.entries.partition_point(|entry| entry.sequence < sequence);
        if let Some(entry) = self.entries.get_mut(index)
            && entry.sequence == sequence
        {
            entry.done = true;
        }
        while self.entries.front().is_some_and(|entry| entry.done)
            && let Some(entry) = self.entries.pop_front()
        {
            self.bytes -= entry.bytes;
            self.contiguous = entry.sequence;
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// 0 before the first.
    pub(super) fn contiguous(&self) -> Sequence {
        self.contiguous
    }
}
