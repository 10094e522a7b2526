//! A plugin version with one route's configuration, and the instances that wait for its next call.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use super::{
    PluginFailure,
    account::{PluginHealth, VersionAccount},
    bindings::PluginPre,
    clock::thread_cpu_time,
    core::Core,
    counters::PluginCounters,
    fault::Cause,
    host::State,
    instance::{Call, Instance, StartError},
    kept_log::{KeptLine, KeptLog},
    log::{self, LogLevel, LogLine},
};
use crate::{
    event::{Output, Validated},
    lookup::TableSet,
    problem::{Code, Problem},
};

/// A component, loaded: native code with its imports linked.
pub(super) struct Loaded {
    pub(super) pre: PluginPre<State>,
    /// It imports the interface of the tables.
    pub(super) looks_up: bool,
}

/// One plugin version with one route's configuration.
pub struct Prepared {
    label: Arc<str>,
    /// JSON text.
    config: Box<str>,
    loaded: Arc<Loaded>,
    books: Books,
    core: Arc<Core>,
    slots: Box<[Slot]>,
}

/// Where what a plugin does is written down.
pub(super) struct Books {
    pub(super) counters: Arc<PluginCounters>,
    pub(super) account: Arc<VersionAccount>,
    pub(super) log: Arc<KeptLog>,
}

/// One worker's instance. Apart from its neighbours in the cache: workers share none.
#[derive(Default)]
#[repr(align(128))]
struct Slot {
    instance: Mutex<Option<Box<Instance>>>,
    /// Of the instance that waits.
    memory_bytes: AtomicUsize,
}

/// For whom a call is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// An event passes: the call counts for the version's health.
    Live,
    /// It passed before, or never will.
    Again,
}

/// One call as it is looked at by who tries a plugin out.
#[derive(Clone, Debug)]
pub struct Trial {
    pub result: Result<Vec<Output>, PluginFailure>,
    pub log: Vec<LogLine>,
    pub memory_bytes: usize,
    /// Of the call, not of the making of its instance.
    pub elapsed: Duration,
}

/// An instance that goes from trial to trial.
#[derive(Default)]
pub struct TrialInstance(Option<Box<Instance>>);

impl Prepared {
    /// Makes the first instance, so that a configuration that the plugin refuses is known now.
    pub(super) fn new(
        core: Arc<Core>,
        label: Arc<str>,
        config: Box<str>,
        loaded: Arc<Loaded>,
        books: Books,
    ) -> Result<Prepared, Problem> {
        let prepared = Prepared {
            label,
            config,
            loaded,
            books,
            core,
            slots: (0..slots()).map(|_| Slot::default()).collect(),
        };
        let first = prepared.start().map_err(|error| prepared.refuse(error))?;
        *prepared.slot(0).instance.lock() = Some(first);
        prepared.books.account.made_instance(0);
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

    /// Runs the plugin on this thread for an event that passes, without any table; at most the time limit.
    pub fn transform(&self, event: &Validated) -> Result<Vec<Output>, PluginFailure> {
        self.transform_for(Purpose::Live, event, &Arc::default())
    }

    /// As [`Prepared::transform`], for any purpose, and with tables to look into.
    pub fn transform_for(
        &self,
        purpose: Purpose,
        event: &Validated,
        tables: &Arc<TableSet>,
    ) -> Result<Vec<Output>, PluginFailure> {
        let partner = &event.event().partner;
        if self.books.account.waste.is_over(purpose, partner) {
            return Err(self.hold(purpose));
        }
        let tables = self.loaded.looks_up.then_some(tables);
        let first = thread_index();
        let slots = self.slots.len();
        for offset in 0..slots {
            if let Some(mut held) = self.slot(first + offset).instance.try_lock() {
                return self.transform_in(first + offset, &mut held, event, purpose, tables);
            }
        }
        // More threads than slots call at once: this call's instance lives for it alone.
        self.transform_in(first, &mut None, event, purpose, tables)
    }

    /// Runs the plugin in an instance of its own, without any table, and tells all about it.
    pub fn try_out(&self, event: &Validated) -> Trial {
        self.try_in(&mut TrialInstance::default(), event, &Arc::default())
    }

    /// Runs the plugin in the instance that the calls before left, or in a new one, and tells all about it.
    pub fn try_in(&self, held: &mut TrialInstance, event: &Validated, tables: &Arc<TableSet>) -> Trial {
        let mut log = Vec::new();
        let instance = match held.0.take() {
            Some(instance) => Ok(instance),
            None => self.start().map(|mut instance| {
                log = instance.take_log();
                instance
            }),
        };
        let mut instance = match instance {
            Ok(instance) => instance,
            Err(error) => {
                return Trial {
                    result: Err(start_failure(error)),
                    log,
                    memory_bytes: 0,
                    elapsed: Duration::ZERO,
                };
            }
        };
        let begun = Instant::now();
        let tables = self.loaded.looks_up.then_some(tables);
        let call = instance.transform(&self.core.surroundings, event, tables);
        let elapsed = begun.elapsed();
        log.extend(call.log);
        if call.reusable {
            held.0 = Some(instance);
        }
        Trial {
            result: call.result,
            log,
            memory_bytes: call.memory_bytes,
            elapsed,
        }
    }

    pub fn health(&self) -> PluginHealth {
        self.books.account.health()
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

    #[cold]
    fn hold(&self, purpose: Purpose) -> PluginFailure {
        let account = &self.books.account;
        let failure = PluginFailure::Held(format!(
            "was not called: {} spent more than {} ms on this partner's events in calls that failed, and is tried again \
             now and then",
            self.label,
            account.waste.allowed().as_millis()
        ));
        if purpose == Purpose::Live {
            let index = thread_index();
            account.begin(index);
            account.failed(index, &failure, Cause::Held);
        }
        failure
    }

    /// Counts what a failing call cost, and says so where it is too much.
    #[cold]
    fn charge(&self, event: &Validated, purpose: Purpose, spent: Duration, is_instance_gone: bool) {
        let waste = &self.books.account.waste;
        let partner = &event.event().partner;
        if !waste.charge(purpose, partner, spent, is_instance_gone) {
            return;
        }
        let (plugin, allowed_ms) = (&*self.label, waste.allowed().as_millis());
        if purpose == Purpose::Again {
            tracing::warn!(
                plugin,
                partner = partner.as_str(),
                allowed_ms,
                "this partner's replayed events wait on without a call, but for one now and then: the plugin spent too much \
                 time in calls that failed"
            );
        } else {
            tracing::warn!(
                plugin,
                partner = partner.as_str(),
                allowed_ms,
                "a plugin spends too much time in calls that fail: this partner's events are kept without a call, but for \
                 one now and then"
            );
            let text = "fails at too great a cost: events are kept without a call, but for one now and then";
            self.keep_line(event, LogLevel::Error, text.to_owned());
        }
    }

    fn transform_in(
        &self,
        index: usize,
        held: &mut Option<Box<Instance>>,
        event: &Validated,
        purpose: Purpose,
        tables: Option<&Arc<TableSet>>,
    ) -> Result<Vec<Output>, PluginFailure> {
        let account = &self.books.account;
        let is_live = purpose == Purpose::Live;
        let begun = (is_live && account.begin(index)).then(Instant::now);
        // Taken out for the call: where the host panics, no half-run instance is found here.
        let instance = match held.take() {
            Some(instance) => Ok(instance),
            None => {
                account.made_instance(index);
                self.start()
            }
        };
        let (result, cause) = match instance {
            Ok(mut instance) => {
                let Call {
                    result,
                    log,
                    cause,
                    spent,
                    memory_bytes,
                    reusable,
                } = instance.transform(&self.core.surroundings, event, tables);
                if let Some(begun) = begun {
                    account.timed(index, begun.elapsed(), memory_bytes);
                }
                if matches!(result, Err(PluginFailure::Failed(_) | PluginFailure::Trapped(_))) {
                    self.charge(event, purpose, spent, !reusable);
                }
                if reusable {
                    *held = Some(instance);
                }
                self.slot(index)
                    .memory_bytes
                    .store(memory_bytes, Ordering::Relaxed);
                self.write_log(event, &log);
                (result, cause)
            }
            Err(error) => {
                self.charge(event, purpose, Duration::ZERO, true);
                (Err(start_failure(error)), Cause::Start)
            }
        };
        if is_live {
            match &result {
                Ok(outputs) => account.succeeded(index, outputs.len()),
                Err(failure) => {
                    account.failed(index, failure, cause);
                    self.keep_failure(event, failure);
                }
            }
        }
        result
    }

    /// A configured instance.
    fn start(&self) -> Result<Box<Instance>, StartError> {
        let begun = thread_cpu_time();
        let started = self.make();
        self.books
            .account
            .waste
            .started(thread_cpu_time().saturating_sub(begun));
        started
    }

    fn make(&self) -> Result<Box<Instance>, StartError> {
        let surroundings = &self.core.surroundings;
        let make = || Instance::new(surroundings, &self.loaded.pre, &self.books.counters);
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

    fn keep_line(&self, event: &Validated, level: LogLevel, message: String) {
        let decoded = event.event();
        self.books.log.write(KeptLine {
            sequence: 0,
            at: jiff::Timestamp::now(),
            label: Arc::clone(&self.label),
            partner: decoded.partner.clone(),
            event_id: Arc::clone(&decoded.attributes.id),
            level,
            message,
        });
    }

    #[cold]
    fn keep_failure(&self, event: &Validated, failure: &PluginFailure) {
        let (level, text) = match failure {
            PluginFailure::Rejected(text) => (LogLevel::Warn, format!("rejected the event: {text}")),
            PluginFailure::Unavailable(text) => (LogLevel::Warn, format!("cannot be run: {text}")),
            PluginFailure::Failed(text) | PluginFailure::Trapped(text) | PluginFailure::Held(text) => {
                (LogLevel::Error, format!("failed: {text}"))
            }
        };
        self.keep_line(event, level, log::escaped(&text));
    }

    fn write_log(&self, event: &Validated, log: &[LogLine]) {
        for line in log {
            self.keep_line(event, line.level, line.message.clone());
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

/// Twice the workers: the threads of the control side find a place of their own.
pub(super) fn slots() -> usize {
    2 * thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get)
}

/// A small number for this thread, the same all its life.
fn thread_index() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static INDEX: usize = NEXT.fetch_add(1, Ordering::Relaxed);
    }
    INDEX.with(|index| *index)
}
