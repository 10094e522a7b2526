//! Why a call was ended, in words for the author of the plugin.

use std::time::Duration;

use wasmtime::{Trap, WasmBacktrace};

use crate::limits::{self, ByteSize};

/// A limit of the host that a plugin ran into; it ends the call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    #[error("ran longer than {} ms", .0.as_millis())]
    Time(Duration),
    #[error("made more than {0} documents for one event")]
    Documents(u32),
    #[error("kept or changed more than {0} in documents for one event")]
    DocumentBytes(ByteSize),
    #[error("used a document that belongs to an earlier event or was given away")]
    DocumentGone,
    #[error("looked more than {0} rows up for one event")]
    Lookups(u32),
    #[error("looked a row up outside of `transform`: a table may be another at the next event")]
    LookupOutside,
    /// Not the plugin's fault.
    #[error("{0}")]
    TableMissing(String),
    #[error("gave more than {0} outputs for one event")]
    Outputs(u32),
    #[error("gave outputs of more than {0} for one event")]
    OutputBytes(ByteSize),
    #[error("gave an output more than {0} headers")]
    Headers(usize),
    #[error("made a request of `flat` that has {0}")]
    Request(&'static str),
}

/// What kind of failure ended a call: few, so that each can be counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    Time,
    Memory,
    /// More documents or outputs than it may have.
    Limit,
    Trap,
    /// The plugin says itself that it is at fault.
    Broken,
    /// It sends to what is no destination of its route.
    Destination,
    /// No instance could be made.
    Start,
    /// It was not called: it had wasted too much time.
    Held,
}

impl Cause {
    pub(super) const ALL: [Cause; 8] = [
        Cause::Time,
        Cause::Memory,
        Cause::Limit,
        Cause::Trap,
        Cause::Broken,
        Cause::Destination,
        Cause::Start,
        Cause::Held,
    ];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Cause::Time => "time",
            Cause::Memory => "memory",
            Cause::Limit => "limit",
            Cause::Trap => "trap",
            Cause::Broken => "broken",
            Cause::Destination => "destination",
            Cause::Start => "start",
            Cause::Held => "held",
        }
    }

    pub(super) fn of(error: &wasmtime::Error, memory_denied: Option<ByteSize>) -> Cause {
        match (error.downcast_ref::<Fault>(), memory_denied) {
            (Some(Fault::Time(_)), _) => Cause::Time,
            (Some(_), _) => Cause::Limit,
            (None, Some(_)) => Cause::Memory,
            (None, None) => Cause::Trap,
        }
    }
}

/// The text of a call that ended in a trap. `memory_denied` tells the cap, where the plugin had asked for more memory
/// than it may have.
pub(super) fn describe(error: &wasmtime::Error, memory_denied: Option<ByteSize>) -> String {
    let mut text = match error.downcast_ref::<Fault>() {
        Some(fault @ Fault::Time(_)) => fault.to_string(),
        // The words say all; where it stood is in the middle of the SDK.
        Some(fault) => return fault.to_string(),
        None => describe_trap(error, memory_denied),
    };
    if let Some(frames) = error.downcast_ref::<WasmBacktrace>().and_then(frame_names) {
        text.push_str(", in ");
        text.push_str(&frames);
    }
    cut(&text)
}

fn describe_trap(error: &wasmtime::Error, memory_denied: Option<ByteSize>) -> String {
    match (error.downcast_ref::<Trap>(), memory_denied) {
        (Some(Trap::StackOverflow), _) => {
            format!(
                "recursed too deeply for its stack of {}",
                ByteSize(limits::PLUGIN_STACK_BYTES as u64)
            )
        }
        (Some(_), Some(cap)) => format!("ran out of memory: it may have {cap}"),
        (Some(Trap::MemoryOutOfBounds), None) => {
            // Most languages keep a stack of their own at the beginning of the memory.
            "trapped: it reached outside of its memory (often because it recursed too deeply)".to_owned()
        }
        (Some(Trap::UnreachableCodeReached), None) => {
            "trapped: it panicked or aborted (`unreachable` was executed)".to_owned()
        }
        (Some(trap), None) => {
            let name = trap.to_string();
            format!("trapped: {}", name.trim_start_matches("wasm trap: "))
        }
        (None, _) => format!("trapped: {}", error.root_cause()),
    }
}

/// The innermost named frames.
fn frame_names(trace: &WasmBacktrace) -> Option<String> {
    let names: Vec<_> = trace
        .frames()
        .iter()
        .filter_map(|frame| frame.func_name())
        // Without the hash that the compiler adds.
        .map(|name| format!("{:#}", rustc_demangle::demangle(name)))
        .skip_while(|name| is_panic_machinery(name))
        .map(|name| name.chars().take(120).collect::<String>())
        .take(4)
        .collect();
    (!names.is_empty()).then(|| names.join(" < "))
}

/// What a Rust panic calls on its way: it tells nobody anything.
fn is_panic_machinery(name: &str) -> bool {
    ["__rustc::", "std::", "core::", "alloc::", "rust_"]
        .iter()
        .any(|prefix| name.starts_with(prefix))
}

/// Bounds a plugin's own text.
pub(super) fn cut(text: &str) -> String {
    match text.char_indices().nth(limits::PLUGIN_FAILURE_CHARACTERS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
