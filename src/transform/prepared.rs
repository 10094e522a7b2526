//! A plugin version with one route's configuration, and the instances that wait for its next call.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    PluginFailure, PluginUse,
    account::{PluginHealth, VersionAccount},
    aside::Crowded,
    bindings::Linked,
    clock::thread_cpu_time,
    core::Core,
    counters::{Counting, PluginCounters},
    fault::Cause,
    instance::{Call, Instance, StartError},
    kept_log::{KeptLine, KeptLog},
    log::{self, LogLevel, LogLine},
    slots::{Slots, thread_index},
    waste::{Failed, Standing},
};
use crate::{
    event::{Output, Validated},
    lookup::TableSet,
    problem::{Code, Problem},
    registry::model::Isolation,
};

/// A component, loaded: native code with its imports linked.
pub(super) struct Loaded {
    pub(super) linked: Linked,
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
    isolation: Isolation,
    slots: Slots,
}

/// Where what a plugin does is written down.
pub(super) struct Books {
    pub(super) counters: Arc<PluginCounters>,
    pub(super) account: Arc<VersionAccount>,
    pub(super) log: Arc<KeptLog>,
}

/// For whom a call is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// An event passes: the call counts for the version's health, and what the plugin counts for its counters.
    Live,
    /// It passes, and what becomes of it here is only compared.
    Shadow,
    /// It passed before, or never will.
    Again,
}

/// One call as it is looked at by who tries a plugin out.
#[derive(Clone, Debug)]
pub struct Trial {
    pub result: Result<Vec<Output>, PluginFailure>,
    pub log: Vec<LogLine>,
    /// What the plugin counted in the call, by counter.
    pub counters: BTreeMap<String, u64>,
    /// Functions of the contract that it called, a handle's end included.
    pub host_calls: u64,
    pub memory_bytes: usize,
    /// Of the call, not of the making of its instance.
    pub elapsed: Duration,
}

/// An instance that goes from trial to trial, unless each event is to have its own.
#[derive(Default)]
pub struct TrialInstance(Option<Box<Instance>>);

impl Prepared {
    /// Makes the first instance, so that a configuration that the plugin refuses is known now.
    pub(super) fn new(
        core: Arc<Core>,
        label: Arc<str>,
        of: &PluginUse,
        loaded: Arc<Loaded>,
        books: Books,
    ) -> Result<Prepared, Problem> {
        let isolation = of.isolation;
        let prepared = Prepared {
            label,
            config: of.config.clone(),
            loaded,
            books,
            core,
            isolation,
            slots: Slots::new(),
        };
        let first = prepared.start().map_err(|error| prepared.refuse(error))?;
        if isolation == Isolation::Shared {
            prepared.books.account.made_instance(0);
            prepared.slots.put(first);
        }
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

    /// Runs the plugin for an event that passes, without any table; at most the time limit. On this thread, but where the
    /// version ran out of its time on this partner's events a moment ago: then on one of low priority, while this one
    /// waits, and its runtime gives its other tasks to another.
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
        let account = &self.books.account;
        let standing = || account.waste.standing(purpose, &event.event().partner);
        match standing() {
            Standing::Good => self.transform_here(purpose, event, tables),
            Standing::Over => Err(self.hold_over(purpose)),
            Standing::Doubtful => account
                .aside
                .run(|| match standing() {
                    // Those that had their turn before may have spent what was free.
                    Standing::Over => Err(self.hold_over(purpose)),
                    Standing::Good | Standing::Doubtful => self.transform_here(purpose, event, tables),
                })
                .unwrap_or_else(|Crowded| {
                    let why = format!(
                        "{} runs out of its time, and calls before this one wait",
                        self.label
                    );
                    Err(self.hold(purpose, &why))
                }),
        }
    }

    /// Runs the plugin on this thread.
    fn transform_here(
        &self,
        purpose: Purpose,
        event: &Validated,
        tables: &Arc<TableSet>,
    ) -> Result<Vec<Output>, PluginFailure> {
        let tables = self.loaded.looks_up.then_some(tables);
        let first = thread_index();
        if self.isolation == Isolation::Event {
            return self.transform_in(first, &mut None, event, purpose, tables);
        }
        match self.slots.enter(first) {
            Some((index, mut held)) => self.transform_in(index, &mut held, event, purpose, tables),
            // This call's instance lives for it alone.
            None => self.transform_in(first, &mut None, event, purpose, tables),
        }
    }

    /// What the call gave for an event goes to a destination that the event's route does not have: the version is at fault
    /// as if it had failed, and gave nothing.
    #[cold]
    pub fn misaddressed(
        &self,
        purpose: Purpose,
        event: &Validated,
        destination: &str,
        route: &str,
    ) -> PluginFailure {
        let failure = PluginFailure::misaddressed(destination, route);
        if purpose == Purpose::Live {
            self.books
                .account
                .failed(thread_index(), &failure, Cause::Destination);
            self.keep_failure(event, &failure);
        }
        failure
    }

    /// Runs the plugin in an instance of its own, without any table, and tells all about it.
    pub fn try_out(&self, event: &Validated) -> Trial {
        self.try_in(&mut TrialInstance::default(), event, &Arc::default())
    }

    /// Runs the plugin in the instance that the calls before left, or in a new one, and tells all about it.
    pub fn try_in(&self, held: &mut TrialInstance, event: &Validated, tables: &Arc<TableSet>) -> Trial {
        let mut log = Vec::new();
        let left = held.0.take().filter(|_| self.isolation == Isolation::Shared);
        let instance = match left {
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
                    counters: BTreeMap::new(),
                    host_calls: 0,
                    memory_bytes: 0,
                    elapsed: Duration::ZERO,
                };
            }
        };
        let before = instance.host_calls();
        let begun = Instant::now();
        let tables = self.loaded.looks_up.then_some(tables);
        let call = instance.transform(&self.core.surroundings, event, tables, Counting::Apart);
        let elapsed = begun.elapsed();
        log.extend(call.log);
        let host_calls = instance.host_calls().wrapping_sub(before);
        if call.reusable {
            held.0 = Some(instance);
        }
        Trial {
            result: call.result,
            log,
            counters: call.counters,
            host_calls,
            memory_bytes: call.memory_bytes,
            elapsed,
        }
    }

    pub fn health(&self) -> PluginHealth {
        self.books.account.health()
    }

    /// The memory of the largest of its instances, after its last call.
    pub fn memory_bytes(&self) -> usize {
        self.slots.memory_bytes()
    }

    /// Frees the instances that wait; those that run are left alone.
    pub(super) fn release_idle(&self) {
        self.slots.release_idle();
    }

    /// Frees the instances that wait, and had no call since this was called before; gives how many.
    pub(super) fn release_unused(&self) -> usize {
        self.slots.release_unused()
    }

    #[cold]
    fn hold_over(&self, purpose: Purpose) -> PluginFailure {
        let why = format!(
            "{} spent more than {} ms on this partner's events in calls that failed",
            self.label,
            self.books.account.waste.allowed().as_millis()
        );
        self.hold(purpose, &why)
    }

    #[cold]
    fn hold(&self, purpose: Purpose, why: &str) -> PluginFailure {
        let account = &self.books.account;
        let failure = PluginFailure::Held(format!("was not called: {why}, and is tried again now and then"));
        if purpose == Purpose::Live {
            let index = thread_index();
            account.begin(index);
            account.failed(index, &failure, Cause::Held);
        }
        failure
    }

    /// Counts what a failing call cost, and says so where it is too much.
    #[cold]
    fn charge(&self, event: &Validated, purpose: Purpose, failed: Failed) {
        let waste = &self.books.account.waste;
        let partner = &event.event().partner;
        if !waste.charge(purpose, partner, failed) {
            return;
        }
        let (plugin, allowed_ms) = (&*self.label, waste.allowed().as_millis());
        match purpose {
            Purpose::Again => tracing::warn!(
                plugin,
                partner = partner.as_str(),
                allowed_ms,
                "this partner's replayed events wait on without a call, but for one now and then: the plugin spent too much \
                 time in calls that failed"
            ),
            Purpose::Shadow => tracing::warn!(
                plugin,
                partner = partner.as_str(),
                allowed_ms,
                "a shadow version spends too much time in calls that fail: it is given one of this partner's events now and \
                 then"
            ),
            Purpose::Live => {
                tracing::warn!(
                    plugin,
                    partner = partner.as_str(),
                    allowed_ms,
                    "a plugin spends too much time in calls that fail: this partner's events are kept without a call, but \
                     for one now and then"
                );
                let text =
                    "fails at too great a cost: events are kept without a call, but for one now and then";
                self.keep_line(event, LogLevel::Error, text.to_owned());
            }
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
                if is_live {
                    account.made_instance(index);
                }
                self.start()
            }
        };
        let counting = if is_live {
            Counting::Shared
        } else {
            Counting::Apart
        };
        let (result, cause) = match instance {
            Ok(mut instance) => {
                let Call {
                    result,
                    log,
                    cause,
                    spent,
                    memory_bytes,
                    counters: _,
                    reusable,
                } = instance.transform(&self.core.surroundings, event, tables, counting);
                if let Some(begun) = begun {
                    account.timed(index, begun.elapsed(), memory_bytes);
                }
                if matches!(result, Err(PluginFailure::Failed(_) | PluginFailure::Trapped(_))) {
                    let failed = Failed {
                        spent,
                        is_instance_gone: !reusable,
                        has_timed_out: cause == Cause::Time,
                    };
                    self.charge(event, purpose, failed);
                }
                if reusable {
                    *held = Some(instance);
                }
                self.slots
                    .note_call(index, if reusable { memory_bytes } else { 0 });
                self.write_log(event, &log);
                (result, cause)
            }
            Err(error) => {
                let failed = Failed {
                    spent: Duration::ZERO,
                    is_instance_gone: true,
                    has_timed_out: false,
                };
                self.charge(event, purpose, failed);
                (Err(start_failure(error)), Cause::Start)
            }
        };
        match &result {
            Ok(outputs) if is_live => account.succeeded(index, outputs.len()),
            Err(failure) if purpose != Purpose::Again => {
                if is_live {
                    account.failed(index, failure, cause);
                }
                self.keep_failure(event, failure);
            }
            _ => {}
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
        let make = || Instance::new(surroundings, &self.loaded.linked, &self.books.counters);
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
