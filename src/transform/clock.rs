//! How long one call has run: CPU time of its thread, so that a busy machine makes no honest plugin fail.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::{engine::TickReader, fault::Fault};

/// Ticks until the first look at the clock: nearly every call is over by then and pays no system call.
pub(super) const FIRST_LOOK_TICKS: u64 = 2;

/// The time of one call.
pub(super) struct CallClock {
    ticks: TickReader,
    started_tick: u64,
    limit: Duration,
    /// The thread's CPU time at the first look.
    first_look: Option<Duration>,
}

impl CallClock {
    pub(super) fn new(ticks: TickReader) -> CallClock {
        CallClock {
            ticks,
            started_tick: 0,
            limit: Duration::ZERO,
            first_look: None,
        }
    }

    /// Begins a call on this thread.
    pub(super) fn start(&mut self, limit: Duration) {
        self.ticks.wake();
        self.started_tick = self.ticks.now();
        self.limit = limit;
        self.first_look = None;
    }

    /// Processor time of the call so far; none where it was over before the first look.
    pub(super) fn spent(&self) -> Duration {
        let before = Duration::from_millis(FIRST_LOOK_TICKS);
        self.first_look.map_or(Duration::ZERO, |first| {
            thread_cpu_time().saturating_sub(first) + before
        })
    }

    /// Ticks after which to look again, or the fault that ends the call. What ran before the first look, about a
    /// millisecond, is not counted.
    pub(super) fn look(&mut self) -> Result<u64, Fault> {
        let now = thread_cpu_time();
        let first = *self.first_look.get_or_insert(now);
        let left = self.limit.saturating_sub(now.saturating_sub(first));
        if left.is_zero() {
            return Err(Fault::Time(self.limit));
        }
        self.ticks.wake();
        Ok(u64::try_from(left.as_millis()).unwrap_or(u64::MAX / 4).max(1))
    }

    /// For loops in host functions, which no epoch interrupts.
    pub(super) fn check(&mut self) -> Result<(), Fault> {
        if self.ticks.now().saturating_sub(self.started_tick) >= FIRST_LOOK_TICKS {
            self.look()?;
        }
        Ok(())
    }
}

pub(super) fn thread_cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        time.tv_sec.unsigned_abs(),
        u32::try_from(time.tv_nsec).unwrap_or_default(),
    )
}
