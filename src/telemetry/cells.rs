//! Numbers that every worker adds to and nobody waits for: each worker has its own copy, and a reader adds them up.

use std::{
    cell::Cell,
    sync::{
        OnceLock,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread,
};

use crate::limits::METRIC_STRIPES;

const PER_LINE: usize = 16;

/// As much as two neighbouring cache lines, which processors fetch together.
#[derive(Default)]
#[repr(align(128))]
struct Line([AtomicU64; PER_LINE]);

/// A row of numbers, each modulo 2⁶⁴.
pub(super) struct Cells {
    lines: Box<[Line]>,
    lines_per_stripe: usize,
}

impl Cells {
    pub fn new(numbers: usize) -> Cells {
        let lines_per_stripe = numbers.div_ceil(PER_LINE).max(1);
        Cells {
            lines: (0..lines_per_stripe * stripes())
                .map(|_| Line::default())
                .collect(),
            lines_per_stripe,
        }
    }

    pub fn add(&self, index: usize, amount: u64) {
        if let Some(cell) = self.cell(stripe(), index) {
            cell.fetch_add(amount, Ordering::Relaxed);
        }
    }

    pub fn sum(&self, index: usize) -> u64 {
        (0..stripes())
            .filter_map(|stripe| self.cell(stripe, index))
            .fold(0, |sum, cell| sum.wrapping_add(cell.load(Ordering::Relaxed)))
    }

    fn cell(&self, stripe: usize, index: usize) -> Option<&AtomicU64> {
        let line = self
            .lines
            .get(stripe * self.lines_per_stripe + index / PER_LINE)?;
        line.0.get(index % PER_LINE)
    }
}

/// A power of two.
fn stripes() -> usize {
    static STRIPES: OnceLock<usize> = OnceLock::new();
    *STRIPES.get_or_init(|| {
        let workers = thread::available_parallelism().map_or(1, std::num::NonZero::get);
        workers.next_power_of_two().min(METRIC_STRIPES)
    })
}

fn stripe() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static INDEX: usize = NEXT.fetch_add(1, Ordering::Relaxed);
    }
    INDEX.with(|index| *index) & (stripes() - 1)
}

/// True once in `one_in` calls of this thread; never where it is 0.
pub(super) fn every(counter: &'static thread::LocalKey<Cell<u32>>, one_in: u32) -> bool {
    if one_in == 0 {
        return false;
    }
    counter.with(|count| {
        let next = count.get() + 1;
        let is_due = next >= one_in;
        count.set(if is_due { 0 } else { next });
        is_due
    })
}

/// Upper bounds of a histogram's buckets, ascending; the last bucket has none.
pub(super) type Bounds = &'static [u64];

/// Where a histogram stands in a row: its buckets, then the sum.
#[derive(Clone, Copy)]
pub(super) struct Buckets {
    pub first: usize,
    pub bounds: Bounds,
}

impl Buckets {
    /// Numbers that it takes.
    pub const fn width(bounds: Bounds) -> usize {
        bounds.len() + 2
    }

    /// `times` values of this size.
    pub fn record(self, cells: &Cells, value: u64, times: u64) {
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        cells.add(self.first + bucket, times);
        cells.add(self.first + self.bounds.len() + 1, value.saturating_mul(times));
    }

    pub fn read(self, cells: &Cells) -> Distribution {
        Distribution {
            bounds: self.bounds,
            counts: (0..=self.bounds.len())
                .map(|bucket| cells.sum(self.first + bucket))
                .collect(),
            sum: cells.sum(self.first + self.bounds.len() + 1),
        }
    }
}

/// What a histogram has seen; not cumulated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Distribution {
    pub bounds: &'static [u64],
    /// One more than bounds.
    pub counts: Vec<u64>,
    pub sum: u64,
}

impl Distribution {
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_add_up() {
        let cells = Cells::new(40);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..1000).for_each(|_| cells.add(39, 2)));
            }
        });
        assert_eq!(cells.sum(39), 16_000);
        assert_eq!(cells.sum(38), 0);
        cells.add(38, u64::MAX);
        cells.add(38, 1);
        assert_eq!(cells.sum(38), 0, "what is added can be taken away");
    }

    #[test]
    fn a_value_counts_in_the_bucket_that_it_does_not_exceed() {
        const BOUNDS: Bounds = &[10, 100];
        let buckets = Buckets {
            first: 3,
            bounds: BOUNDS,
        };
        let cells = Cells::new(3 + Buckets::width(BOUNDS));
        for (value, times) in [(0, 1), (10, 1), (11, 5), (100, 1), (101, 2)] {
            buckets.record(&cells, value, times);
        }
        let seen = buckets.read(&cells);
        assert_eq!(seen.counts, [2, 6, 2]);
        assert_eq!(seen.count(), 10);
        assert_eq!(seen.sum, 10 + 55 + 100 + 202);
    }

    #[test]
    fn one_in_so_many_is_due() {
        thread_local! {
            static COUNT: Cell<u32> = const { Cell::new(0) };
        }
        let due = |one_in| (0..64).filter(|_| every(&COUNT, one_in)).count();
        assert_eq!(due(16), 4);
        assert_eq!(due(1), 64);
        assert_eq!(due(0), 0);
    }
}
