//! A plugin version with one route's configuration, and the instances that wait for its next call.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread,
};

use parking_lot::Mutex;

use super::{
    PluginFailure,
    bindings::PluginPre,
    core::Core,
    counters::PluginCounters,
    host::State,
    instance::{Call, Instance, StartError},
    log::{LogLevel, LogLine},
};
use crate::{
    event::{Output, Validated},
    problem::{Code, Problem},
};

/// A component, loaded: native code with its imports linked.
pub(super) struct Loaded {
    pub(super) pre: PluginPre<State>,
}

/// One plugin version with one route's configuration.
pub struct Prepared {
    label: Arc<str>,
    /// JSON text.
    config: Box<str>,
    loaded: Arc<Loaded>,
    counters: Arc<PluginCounters>,
    core: Arc<Core>,
    slots: Box<[Slot]>,
    last_failure: Mutex<Option<Box<str>>>,
}

/// One worker's instance and its accounts. Apart from its neighbours in the cache: workers share none.
#[derive(Default)]
#[repr(align(128))]
struct Slot {
    instance: Mutex<Option<Box<Instance>>>,
    calls: AtomicU64,
    rejected: AtomicU64,
    failed: AtomicU64,
    instances: AtomicU64,
    /// Of the instance that waits.
    memory_bytes: AtomicUsize,
}

/// How a plugin version fares on a route, since it was prepared on this node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PluginHealth {
    pub calls: u64,
    /// Calls that the plugin answered with `rejected`.
    pub rejected: u64,
    /// Calls that failed by the plugin's fault.
    pub failed: u64,
    /// Instances made; more than a few a worker tell of traps or leaks.
    pub instances: u64,
    pub last_failure: Option<String>,
}

/// One call as it is looked at by who tries a plugin out.
#[derive(Clone, Debug)]
pub struct Trial {
    pub result: Result<Vec<Output>, PluginFailure>,
    pub log: Vec<LogLine>,
    pub memory_bytes: usize,
    pub elapsed: std::time::Duration,
}

impl Prepared {
    /// Makes the first instance, so that a configuration that the plugin refuses is known now.
    pub(super) fn new(
        core: Arc<Core>,
        label: Arc<str>,
        config: Box<str>,
        loaded: Arc<Loaded>,
        counters: Arc<PluginCounters>,
    ) -> Result<Prepared, Problem> {
        let workers = thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
        let prepared = Prepared {
            label,
            config,
            loaded,
            counters,
            core,
            // Twice the workers: the threads of the control side find a place of their own.
            slots: (0..workers * 2).map(|_| Slot::default()).collect(),
            last_failure: Mutex::new(None),
        };
        let first = prepared.start().map_err(|error| prepared.refuse(error))?;
        let slot = prepared.slot(0);
        *slot.instance.lock() = Some(first);
        slot.instances.fetch_add(1, Ordering::Relaxed);
        Ok(prepared)
    }

    fn refuse(&self, error: StartError) -> Problem {
        let label = &self.label;
        match error {
            StartError::NoRoom => Problem::new(
                Code::Overloaded,
                "no room is left for another plugin instance: fewer routes, or fewer workers",
            ),
            StartError::Refused(text) => Problem::new(
                Code::ConfigurationRefused,
                format!("{label} refuses its configuration: {text}"),
            ),
            StartError::Failed(text) => Problem::new(
                Code::ConfigurationRefused,
                format!("{label} fails while it reads its configuration: {text}"),
            ),
        }
    }

    /// `NAME@VERSION`.
    pub fn label(&self) -> &Arc<str> {
        &self.label
    }

    /// Runs the plugin on this thread; at most the time limit.
    pub fn transform(&self, event: &Validated) -> Result<Vec<Output>, PluginFailure> {
        let first = thread_index();
        let slots = self.slots.len();
        for offset in 0..slots {
            let slot = self.slot(first + offset);
            if let Some(mut held) = slot.instance.try_lock() {
                return self.transform_in(slot, &mut held, event);
            }
        }
        // More threads than slots call at once: this call's instance lives for it alone.
        self.transform_in(self.slot(first), &mut None, event)
    }

    /// Runs the plugin in an instance of its own and tells all about it.
    pub fn try_out(&self, event: &Validated) -> Trial {
        let begun = std::time::Instant::now();
        match self.start() {
            Ok(mut instance) => {
                let mut log = instance.take_log();
                let call = instance.transform(&self.core.surroundings, event);
                log.extend(call.log);
                Trial {
                    result: call.result,
                    log,
                    memory_bytes: call.memory_bytes,
                    elapsed: begun.elapsed(),
                }
            }
            Err(error) => Trial {
                result: Err(start_failure(error)),
                log: Vec::new(),
                memory_bytes: 0,
                elapsed: begun.elapsed(),
            },
        }
    }

    pub fn health(&self) -> PluginHealth {
        let sum = |counter: fn(&Slot) -> &AtomicU64| {
            let values = self
                .slots
                .iter()
                .map(|slot| counter(slot).load(Ordering::Relaxed));
            values.sum()
        };
        PluginHealth {
            calls: sum(|slot| &slot.calls),
            rejected: sum(|slot| &slot.rejected),
            failed: sum(|slot| &slot.failed),
            instances: sum(|slot| &slot.instances),
            last_failure: self.last_failure.lock().as_deref().map(str::to_owned),
        }
    }

    /// The memory of the largest of its instances, after its last call.
    pub fn memory_bytes(&self) -> usize {
        let sizes = self
            .slots
            .iter()
            .map(|slot| slot.memory_bytes.load(Ordering::Relaxed));
        sizes.max().unwrap_or_default()
    }

    /// Frees the instances that wait; those that run are left alone.
    pub(super) fn release_idle(&self) {
        for slot in &self.slots {
            if let Some(mut held) = slot.instance.try_lock() {
                *held = None;
            }
        }
    }

    fn slot(&self, index: usize) -> &Slot {
        &self.slots[index % self.slots.len()]
    }

    fn transform_in(
        &self,
        slot: &Slot,
        held: &mut Option<Box<Instance>>,
        event: &Validated,
    ) -> Result<Vec<Output>, PluginFailure> {
        slot.calls.fetch_add(1, Ordering::Relaxed);
        // Taken out for the call: where the host panics, no half-run instance is found here.
        let instance = match held.take() {
            Some(instance) => Ok(instance),
            None => {
                slot.instances.fetch_add(1, Ordering::Relaxed);
                self.start()
            }
        };
        let result = match instance {
            Ok(mut instance) => {
                let Call {
                    result,
                    log,
                    reusable,
                    memory_bytes,
                } = instance.transform(&self.core.surroundings, event);
                if reusable {
                    *held = Some(instance);
                }
                slot.memory_bytes.store(memory_bytes, Ordering::Relaxed);
                self.write_log(event, &log);
                result
            }
            Err(error) => Err(start_failure(error)),
        };
        match &result {
            Ok(_) => {}
            Err(PluginFailure::Rejected(_)) => {
                slot.rejected.fetch_add(1, Ordering::Relaxed);
            }
            Err(PluginFailure::Failed(text) | PluginFailure::Trapped(text)) => {
                slot.failed.fetch_add(1, Ordering::Relaxed);
                *self.last_failure.lock() = Some(text.as_str().into());
            }
        }
        result
    }

    /// A configured instance.
    fn start(&self) -> Result<Box<Instance>, StartError> {
        let surroundings = &self.core.surroundings;
        let make = || Instance::new(surroundings, &self.loaded.pre, &self.counters);
        let mut instance = make().or_else(|error| match error {
            StartError::NoRoom => {
                self.core.release_idle();
                make()
            }
            other => Err(other),
        })?;
        instance.configure(surroundings, &self.config)?;
        Ok(Box::new(instance))
    }

    fn write_log(&self, event: &Validated, log: &[LogLine]) {
        for line in log {
            let decoded = event.event();
            macro_rules! write {
                ($level:ident) => {
                    tracing::$level!(
                        target: "headworks::plugin",
                        plugin = &*self.label,
                        partner = decoded.partner.as_str(),
                        event_id = &*decoded.attributes.id,
                        "{}",
                        line.message
                    )
                };
            }
            match line.level {
                LogLevel::Debug => write!(debug),
                LogLevel::Info => write!(info),
                LogLevel::Warn => write!(warn),
                LogLevel::Error => write!(error),
            }
        }
    }
}

fn start_failure(error: StartError) -> PluginFailure {
    PluginFailure::Failed(match error {
        StartError::NoRoom => "no room is left for another plugin instance".to_owned(),
        StartError::Refused(text) => format!("refused its configuration, which it had taken before: {text}"),
        StartError::Failed(text) => format!("a new instance failed: {text}"),
    })
}

/// A small number for this thread, the same all its life.
fn thread_index() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static INDEX: usize = NEXT.fetch_add(1, Ordering::Relaxed);
    }
    INDEX.with(|index| *index)
}
