use std::collections::VecDeque;

use crate::spool::Sequence;

/// How a record of the spool came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Delivered,
    /// The broker will never take it; it is kept elsewhere.
    Refused,
}

/// Records of the spool that are on their way, in order.
#[derive(Default)]
pub(super) struct Window {
    entries: VecDeque<InFlight>,
    bytes: usize,
    /// Everything up to here is acknowledged.
    contiguous: Sequence,
    /// Entries up to there, and those among them that were refused.
    settled: u64,
    refused: u64,
    /// What has become free since somebody was last told of it.
    free_records: usize,
    free_bytes: usize,
}

struct InFlight {
    sequence: Sequence,
    bytes: usize,
    end: Option<End>,
}

impl Window {
    pub(super) fn begin(&mut self, sequence: Sequence, bytes: usize) {
        self.bytes += bytes;
        self.entries.push_back(InFlight {
            sequence,
            bytes,
            end: None,
        });
    }

    /// The newest entry did not go out after all.
    pub(super) fn take_back(&mut self) {
        if let Some(entry) = self.entries.pop_back() {
            self.bytes -= entry.bytes;
        }
    }

    pub(super) fn acknowledge(&mut self, sequence: Sequence, end: End) {
        let index = self.entries.partition_point(|entry| entry.sequence < sequence);
        if let Some(entry) = self.entries.get_mut(index)
            && entry.sequence == sequence
        {
            entry.end = Some(end);
        }
        while let Some(InFlight { end: Some(end), .. }) = self.entries.front() {
            self.settled += 1;
            self.refused += u64::from(*end == End::Refused);
            if let Some(entry) = self.entries.pop_front() {
                self.bytes -= entry.bytes;
                self.free_records += 1;
                self.free_bytes += entry.bytes;
                self.contiguous = entry.sequence;
            }
        }
    }

    /// Nothing is in flight, or so much has become free since the last time this was true.
    pub(super) fn is_worth_a_turn(&mut self, records: usize, bytes: usize) -> bool {
        let is_worth = self.entries.is_empty() || self.free_records >= records || self.free_bytes >= bytes;
        if is_worth {
            (self.free_records, self.free_bytes) = (0, 0);
        }
        is_worth
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The last one of the entries that are acknowledged without a gap (0 before the first), how many they are, and
    /// how many of them were refused.
    pub(super) fn contiguous(&self) -> (Sequence, u64, u64) {
        (self.contiguous, self.settled, self.refused)
    }
}
