//! What the calls of one plugin version came to on this node, all its routes together.

use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
    time::Duration,
};

use parking_lot::Mutex;

use super::{PluginFailure, aside::Aside, fault::Cause, waste::Waste};

/// Of so many calls one is timed: a look at the clock costs as much as a host call.
const TIMED: u64 = 16;
/// Times are kept by their power of two, in four steps each, from 1 µs to 8 s.
const STEPS: usize = 4;
const BUCKETS: usize = 24 * STEPS;

/// How a plugin version fares on this node since it started. Calls that replay or try are not counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PluginHealth {
    pub calls: u64,
    /// Calls that the plugin answered with `rejected`.
    pub rejected: u64,
    /// Calls that failed by the plugin's fault.
    pub failed: u64,
    /// Of them, by cause.
    pub causes: Vec<(&'static str, u64)>,
    pub outputs: u64,
    /// Instances made; more than a few a worker tell of traps or leaks.
    pub instances: u64,
    /// Of a sample of the calls; absent where none was timed.
    pub time_p50: Option<Duration>,
    pub time_p99: Option<Duration>,
    /// The most that an instance of the sample had.
    pub memory_bytes: u64,
    pub last_failure: Option<String>,
}

/// Live calls of a version, and those that failed by its fault.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallCount {
    pub calls: u64,
    pub failed: u64,
}

impl CallCount {
    #[must_use]
    pub fn since(self, before: CallCount) -> CallCount {
        CallCount {
            calls: self.calls.saturating_sub(before.calls),
            failed: self.failed.saturating_sub(before.failed),
        }
    }
}

pub(super) struct VersionAccount {
    slots: Box<[Slot]>,
    last_failure: Mutex<Option<Box<str>>>,
    pub(super) waste: Waste,
    pub(super) aside: Aside,
}

/// One worker's part, apart from its neighbours in the cache: workers share none.
#[repr(align(128))]
struct Slot {
    calls: AtomicU64,
    rejected: AtomicU64,
    outputs: AtomicU64,
    instances: AtomicU64,
    memory_bytes: AtomicU64,
    failed: [AtomicU64; Cause::ALL.len()],
    times: [AtomicU32; BUCKETS],
}

impl VersionAccount {
    pub(super) fn new(slots: usize, plugin_time_ms: u32) -> VersionAccount {
        let slot = || Slot {
            calls: AtomicU64::new(0),
            rejected: AtomicU64::new(0),
            outputs: AtomicU64::new(0),
            instances: AtomicU64::new(0),
            memory_bytes: AtomicU64::new(0),
            failed: std::array::from_fn(|_| AtomicU64::new(0)),
            times: std::array::from_fn(|_| AtomicU32::new(0)),
        };
        VersionAccount {
            slots: (0..slots).map(|_| slot()).collect(),
            last_failure: Mutex::new(None),
            waste: Waste::new(plugin_time_ms),
            aside: Aside::default(),
        }
    }

    fn slot(&self, index: usize) -> &Slot {
        &self.slots[index % self.slots.len()]
    }

    /// Counts a call that begins; whether it is to be timed.
    pub(super) fn begin(&self, index: usize) -> bool {
        self.slot(index)
            .calls
            .fetch_add(1, Ordering::Relaxed)
            .is_multiple_of(TIMED)
    }

    pub(super) fn made_instance(&self, index: usize) {
        self.slot(index).instances.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn succeeded(&self, index: usize, outputs: usize) {
        self.slot(index)
            .outputs
            .fetch_add(outputs as u64, Ordering::Relaxed);
    }

    pub(super) fn timed(&self, index: usize, time: Duration, memory_bytes: usize) {
        let slot = self.slot(index);
        slot.times[bucket(time)].fetch_add(1, Ordering::Relaxed);
        slot.memory_bytes
            .fetch_max(memory_bytes as u64, Ordering::Relaxed);
    }

    #[cold]
    pub(super) fn failed(&self, index: usize, failure: &PluginFailure, cause: Cause) {
        let slot = self.slot(index);
        match failure {
            PluginFailure::Rejected(_) => {
                slot.rejected.fetch_add(1, Ordering::Relaxed);
            }
            PluginFailure::Unavailable(_) => {}
            PluginFailure::Failed(text) | PluginFailure::Trapped(text) => {
                slot.failed[cause as usize].fetch_add(1, Ordering::Relaxed);
                *self.last_failure.lock() = Some(text.as_str().into());
            }
            // Why it came to that says the failure before.
            PluginFailure::Held(_) => {
                slot.failed[cause as usize].fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    pub(super) fn count(&self) -> CallCount {
        let failed = |slot: &Slot| slot.failed.iter().map(load).sum::<u64>();
        CallCount {
            // First, so that there are never more failures than calls.
            failed: self.slots.iter().map(failed).sum(),
            calls: self.slots.iter().map(|slot| load(&slot.calls)).sum(),
        }
    }

    pub(super) fn health(&self) -> PluginHealth {
        let sum = |read: fn(&Slot) -> &AtomicU64| self.slots.iter().map(|slot| load(read(slot))).sum();
        let causes: Vec<_> = Cause::ALL
            .iter()
            .map(|cause| {
                let failed = self.slots.iter().map(|slot| load(&slot.failed[*cause as usize]));
                (cause.as_str(), failed.sum())
            })
            .filter(|(_, failed)| *failed > 0)
            .collect();
        let times: [u64; BUCKETS] = std::array::from_fn(|bucket| {
            let of_slot = |slot: &Slot| u64::from(slot.times[bucket].load(Ordering::Relaxed));
            self.slots.iter().map(of_slot).sum()
        });
        PluginHealth {
            calls: sum(|slot| &slot.calls),
            rejected: sum(|slot| &slot.rejected),
            failed: causes.iter().map(|(_, failed)| failed).sum(),
            causes,
            outputs: sum(|slot| &slot.outputs),
            instances: sum(|slot| &slot.instances),
            time_p50: quantile(&times, 50),
            time_p99: quantile(&times, 99),
            memory_bytes: self
                .slots
                .iter()
                .map(|slot| load(&slot.memory_bytes))
                .max()
                .unwrap_or(0),
            last_failure: self.last_failure.lock().as_deref().map(str::to_owned),
        }
    }
}

fn load(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

/// The bucket of times up to its bound.
fn bucket(time: Duration) -> usize {
    (0..BUCKETS - 1)
        .find(|bucket| time <= bound(*bucket))
        .unwrap_or(BUCKETS - 1)
}

fn bound(bucket: usize) -> Duration {
    let octave = Duration::from_micros(1 << (bucket / STEPS));
    octave + octave * u32::try_from(bucket % STEPS).unwrap_or(0) / u32::try_from(STEPS).unwrap_or(1)
}

fn quantile(times: &[u64; BUCKETS], per_cent: u64) -> Option<Duration> {
    let total: u64 = times.iter().sum();
    let wanted = (total * per_cent).div_ceil(100);
    let mut seen = 0;
    times
        .iter()
        .position(|count| {
            seen += count;
            seen >= wanted && seen > 0
        })
        .map(bound)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{BUCKETS, VersionAccount, bound, bucket};
    use crate::transform::{PluginFailure, fault::Cause};

    #[test]
    fn a_time_is_told_within_a_quarter() {
        for us in [1, 2, 3, 5, 7, 10, 100, 1234, 50_000, 3_000_000] {
            let time = Duration::from_micros(us);
            let told = bound(bucket(time));
            assert!(
                told >= time && told <= time * 5 / 4 + Duration::from_micros(1),
                "{us} µs: {told:?}"
            );
        }
        assert_eq!(bucket(Duration::from_secs(100)), BUCKETS - 1);
    }

    #[test]
    fn workers_add_up() {
        let account = VersionAccount::new(2, 10);
        assert_eq!(account.health().time_p50, None);
        for call in 0..100 {
            let worker = call % 2;
            if account.begin(worker) {
                account.timed(worker, Duration::from_micros(8), 1000 + call);
            }
            account.succeeded(worker, 2);
        }
        account.failed(0, &PluginFailure::Rejected("no".to_owned()), Cause::Broken);
        account.failed(1, &PluginFailure::Failed("out".to_owned()), Cause::Memory);
        let health = account.health();
        assert_eq!(
            (health.calls, health.outputs, health.rejected, health.failed),
            (100, 200, 1, 1)
        );
        assert_eq!(health.causes, [("memory", 1)]);
        assert_eq!(health.time_p99, Some(Duration::from_micros(8)));
        assert_eq!(health.memory_bytes, 1097);
        assert_eq!(health.last_failure.as_deref(), Some("out"));
    }
}
