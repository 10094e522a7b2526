//! One instance of a plugin: made, configured, called, and thrown away after a fault.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use wasmtime::{Engine, PoolConcurrencyLimitError, Store, UpdateDeadline};

use super::{
    PluginFailure,
    bindings::{self, Exports, Linked, headworks::plugin::types},
    clock::{CallClock, FIRST_LOOK_TICKS},
    counters::{Counting, InstanceCounters, PluginCounters},
    documents::Documents,
    engine::Ticker,
    fault::{self, Cause, Fault},
    host::{MemoryCap, State},
    log::{CallLog, LogLine},
    lookups::Lookups,
};
use crate::{
    event::{Body, Output, Validated},
    limits::{self, Limits},
    lookup::TableSet,
};

/// What is the same for all instances of one transformer.
pub(super) struct Surroundings {
    pub(super) engine: Engine,
    pub(super) ticker: Ticker,
    pub(super) limits: Limits,
}

pub(super) struct Instance {
    store: Store<State>,
    exports: Exports,
    calls: u32,
}

/// Why an instance could not be made.
#[derive(Debug)]
pub(super) enum StartError {
    /// All of the pool is taken.
    NoRoom,
    /// It is at fault itself.
    Failed(String),
    /// `configure` gave this text.
    Refused(String),
}

/// What one call gave.
pub(super) struct Call {
    pub(super) result: Result<Vec<Output>, PluginFailure>,
    pub(super) log: Vec<LogLine>,
    /// Of a failure.
    pub(super) cause: Cause,
    pub(super) spent: Duration,
    pub(super) memory_bytes: usize,
    /// What was counted apart from the plugin's counters.
    pub(super) counters: BTreeMap<String, u64>,
    /// The instance may be called again.
    pub(super) reusable: bool,
}

impl Instance {
    /// Makes an instance; `configure` is not yet called.
    pub(super) fn new(
        surroundings: &Surroundings,
        linked: &Linked,
        counters: &Arc<PluginCounters>,
    ) -> Result<Instance, StartError> {
        let limits = &surroundings.limits;
        let state = State {
            documents: Documents::new(limits.plugin_memory_bytes, limits.depth),
            memory: MemoryCap::new(limits.plugin_memory_bytes),
            clock: CallClock::new(surroundings.ticker.reader()),
            log: CallLog::default(),
            counters: InstanceCounters::new(Arc::clone(counters)),
            lookups: Lookups::default(),
            pointers: String::new(),
            request: Vec::new(),
            host_calls: 0,
        };
        let mut store = Store::new(&surroundings.engine, state);
        store.limiter(|state| &mut state.memory);
        store.set_hostcall_fuel(limits.plugin_memory_bytes.as_usize());
        store.epoch_deadline_callback(|mut context| {
            let ticks = context.data_mut().clock.look()?;
            Ok(UpdateDeadline::Continue(ticks))
        });
        begin(&mut store, start_time(limits));
        match linked.instantiate(&mut store) {
            Ok(exports) => Ok(Instance {
                store,
                exports,
                calls: 0,
            }),
            Err(error) if error.is::<PoolConcurrencyLimitError>() => Err(StartError::NoRoom),
            Err(error) => Err(StartError::Failed(failure_text(&store, &error))),
        }
    }

    /// Calls `configure`, which each new instance needs once. What it writes to the log is given back.
    pub(super) fn configure(&mut self, surroundings: &Surroundings, config: &str) -> Result<(), StartError> {
        begin(&mut self.store, start_time(&surroundings.limits));
        match self.exports.configure(&mut self.store, config) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(text)) => Err(StartError::Refused(fault::cut(&text))),
            Err(error) => Err(StartError::Failed(failure_text(&self.store, &error))),
        }
    }

    /// Calls of the host since it was made.
    pub(super) fn host_calls(&self) -> u64 {
        self.store.data().host_calls
    }

    pub(super) fn take_log(&mut self) -> Vec<LogLine> {
        self.store.data_mut().log.take()
    }

    /// Calls `transform`; `tables` are absent where the plugin looks nothing up. What it counts goes to `counting`.
    pub(super) fn transform(
        &mut self,
        surroundings: &Surroundings,
        event: &Validated,
        tables: Option<&Arc<TableSet>>,
        counting: Counting,
    ) -> Call {
        let limits = &surroundings.limits;
        let time = Duration::from_millis(limits.plugin_time_ms.into());
        begin(&mut self.store, time);
        self.calls += 1;
        self.store.data_mut().counters.begin(counting);
        if let Some(tables) = tables {
            self.store.data_mut().lookups.start(tables);
        }
        let called = self.call_transform(event);
        let state = self.store.data_mut();
        let used = tables.and_then(|_| state.lookups.end());
        let mut cause = Cause::Limit;
        let (result, sound) = match called {
            Ok(Ok(outputs)) => match collect(state, limits, outputs, used.as_ref()) {
                Ok(outputs) => (Ok(outputs), true),
                Err(fault) => (Err(PluginFailure::Failed(fault.to_string())), true),
            },
            Ok(Err(bindings::Failure::Rejected(text))) => {
                (Err(PluginFailure::Rejected(fault::cut(&text))), true)
            }
            Ok(Err(bindings::Failure::Broken(text))) => {
                cause = Cause::Broken;
                (Err(PluginFailure::Failed(fault::cut(&text))), true)
            }
            Err(error) => {
                cause = Cause::of(&error, self.store.data().memory.denied_cap());
                let failure = match error.downcast_ref::<Fault>() {
                    Some(Fault::TableMissing(text)) => PluginFailure::Unavailable(text.clone()),
                    _ => PluginFailure::Trapped(failure_text(&self.store, &error)),
                };
                (Err(failure), false)
            }
        };
        let state = self.store.data_mut();
        let memory_bytes = state.memory.used_bytes;
        // The last quarter of the memory is for one event's own needs, not for what leaks.
        let roomy = memory_bytes <= limits.plugin_memory_bytes.as_usize() / 4 * 3;
        Call {
            result,
            log: state.log.take(),
            cause,
            spent: state.clock.spent(),
            memory_bytes,
            counters: state.counters.end(),
            reusable: sound && roomy && self.calls < limits::PLUGIN_CALLS_PER_INSTANCE,
        }
    }

    fn call_transform(
        &mut self,
        event: &Validated,
    ) -> wasmtime::Result<Result<Vec<bindings::Output>, bindings::Failure>> {
        let data = &event.event().data;
        let data = self.store.data_mut().documents.insert_event(data)?;
        self.exports.transform(&mut self.store, event, data)
    }
}

fn start_time(limits: &Limits) -> Duration {
    let time_ms = u64::from(limits.plugin_time_ms) * u64::from(limits::PLUGIN_START_TIME_FACTOR);
    Duration::from_millis(time_ms)
}

fn begin(store: &mut Store<State>, time: Duration) {
    store.set_epoch_deadline(FIRST_LOOK_TICKS);
    let state = store.data_mut();
    state.documents.begin();
    state.memory.denied = false;
    state.clock.start(time);
}

/// The cause of a trap, with the plugin's own last words where it wrote an error to the log.
fn failure_text(store: &Store<State>, error: &wasmtime::Error) -> String {
    let state = store.data();
    let text = fault::describe(error, state.memory.denied_cap());
    match state.log.last_error() {
        Some(words) if !error.is::<Fault>() => fault::cut(&format!("{text}: {words}")),
        _ => text,
    }
}

/// The outputs of a call, held to the limits.
fn collect(
    state: &mut State,
    limits: &Limits,
    outputs: Vec<bindings::Output>,
    tables: Option<&Arc<str>>,
) -> Result<Vec<Output>, Fault> {
    if outputs.len() > usize::try_from(limits.plugin_outputs).unwrap_or(usize::MAX) {
        return Err(Fault::Outputs(limits.plugin_outputs));
    }
    let bytes_max = limits.plugin_output_bytes;
    let mut bytes_left = bytes_max.as_usize();
    let mut spend = |bytes: usize| match bytes_left.checked_sub(bytes) {
        Some(left) => {
            bytes_left = left;
            Ok(())
        }
        None => Err(Fault::OutputBytes(bytes_max)),
    };
    outputs
        .into_iter()
        .map(|output| {
            let texts = [&output.destination, &output.topic, &output.key];
            spend(texts.into_iter().flatten().map(String::len).sum())?;
            if output.headers.len() > limits::PLUGIN_HEADERS {
                return Err(Fault::Headers(limits::PLUGIN_HEADERS));
            }
            spend(
                output
                    .headers
                    .iter()
                    .map(|(name, value)| name.len() + value.len())
                    .sum(),
            )?;
            let body = match output.body {
                types::Body::Bytes(bytes) => {
                    spend(bytes.len())?;
                    Body::Bytes(Bytes::from(bytes))
                }
                types::Body::Document(handle) => {
                    let entry = state.documents.take(&handle).ok_or(Fault::DocumentGone)?;
                    if spend(entry.text_bytes_bound).is_err() {
                        // The bound is generous: only where it is too much is the length worth writing the text for.
                        spend(entry.document.to_bytes().len())?;
                    }
                    Body::Document(entry.document)
                }
            };
            Ok(Output {
                destination: output.destination,
                topic: output.topic,
                key: output.key,
                headers: output.headers,
                tables: tables.cloned(),
                body,
            })
        })
        .collect()
}
