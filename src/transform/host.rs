//! What a plugin may call: the functions of the contract, each bounded.

use wasmtime::{ResourceLimiter, component::Resource};

use super::{
    bindings::headworks::plugin::{host, types},
    clock::CallClock,
    counters::InstanceCounters,
    documents::{Documents, HostDocument},
    log::CallLog,
};
use crate::{
    json::{Edit, NewValue},
    limits::ByteSize,
};

/// All that the host keeps for one instance.
pub(super) struct State {
    pub(super) documents: Documents,
    pub(super) memory: MemoryCap,
    pub(super) clock: CallClock,
    pub(super) log: CallLog,
    pub(super) counters: InstanceCounters,
}

impl types::Host for State {}

impl types::HostDocument for State {
    fn from_json(&mut self, json: String) -> wasmtime::Result<Result<Resource<HostDocument>, String>> {
        Ok(self.documents.parse(json)?)
    }

    fn to_json(&mut self, document: Resource<HostDocument>) -> wasmtime::Result<String> {
        let bytes = self.documents.get(&document)?.document.to_bytes();
        Ok(String::from_utf8(bytes.into())?)
    }

    fn copy(&mut self, document: Resource<HostDocument>) -> wasmtime::Result<Resource<HostDocument>> {
        Ok(self.documents.copy(&document)?)
    }

    fn get(
        &mut self,
        document: Resource<HostDocument>,
        pointer: String,
    ) -> wasmtime::Result<Option<types::Value>> {
        let entry = self.documents.get(&document)?;
        Ok(entry.document.get(&pointer).map(to_guest))
    }

    fn get_all(
        &mut self,
        document: Resource<HostDocument>,
        pointers: Vec<String>,
    ) -> wasmtime::Result<Vec<Option<types::Value>>> {
        let entry = self.documents.get(&document)?;
        let mut values = Vec::with_capacity(pointers.len());
        for pointer in &pointers {
            self.clock.check()?;
            values.push(entry.document.get(pointer).map(to_guest));
        }
        Ok(values)
    }

    fn apply(
        &mut self,
        document: Resource<HostDocument>,
        edits: Vec<types::Edit>,
    ) -> wasmtime::Result<Result<(), String>> {
        let edits = edits.into_iter().map(edit_from_guest).collect();
        let clock = &mut self.clock;
        let made = self.documents.apply(&document, edits, || clock.check())?;
        Ok(made.map_err(|error| error.to_string()))
    }

    fn set(
        &mut self,
        document: Resource<HostDocument>,
        pointer: String,
        value: types::Value,
    ) -> wasmtime::Result<Result<(), String>> {
        let made = self
            .documents
            .edit(&document, Edit::Set(pointer, from_guest(value)))?;
        Ok(made.map(|_| ()).map_err(|error| error.to_string()))
    }

    fn remove(&mut self, document: Resource<HostDocument>, pointer: String) -> wasmtime::Result<bool> {
        let made = self.documents.edit(&document, Edit::Remove(pointer))?;
        Ok(made.unwrap_or(false))
    }

    fn move_(
        &mut self,
        document: Resource<HostDocument>,
        source: String,
        target: String,
    ) -> wasmtime::Result<Result<bool, String>> {
        let made = self.documents.edit(&document, Edit::Move(source, target))?;
        Ok(made.map_err(|error| error.to_string()))
    }

    fn drop(&mut self, document: Resource<HostDocument>) -> wasmtime::Result<()> {
        // A handle of an earlier call is dropped late: its document is long gone.
        self.documents.take(&document);
        Ok(())
    }
}

impl host::Host for State {
    fn log(&mut self, level: host::Level, message: String) -> wasmtime::Result<()> {
        self.log.write(level, &message);
        Ok(())
    }

    fn count(&mut self, counter: String, amount: u64) -> wasmtime::Result<()> {
        if let Err(refused) = self.counters.add(counter, amount) {
            self.log.write(host::Level::Warn, &refused.to_string());
        }
        Ok(())
    }
}

fn to_guest(value: NewValue) -> types::Value {
    match value {
        NewValue::Null => types::Value::Null,
        NewValue::Boolean(value) => types::Value::Boolean(value),
        NewValue::Integer(value) => types::Value::Integer(value),
        NewValue::Number(value) => types::Value::Number(value),
        NewValue::Text(value) => types::Value::Text(value),
        NewValue::Json(value) => types::Value::Json(value),
    }
}

fn from_guest(value: types::Value) -> NewValue {
    match value {
        types::Value::Null => NewValue::Null,
        types::Value::Boolean(value) => NewValue::Boolean(value),
        types::Value::Integer(value) => NewValue::Integer(value),
        types::Value::Number(value) => NewValue::Number(value),
        types::Value::Text(value) => NewValue::Text(value),
        types::Value::Json(value) => NewValue::Json(value),
    }
}

fn edit_from_guest(edit: types::Edit) -> Edit {
    match edit {
        types::Edit::Set((pointer, value)) => Edit::Set(pointer, from_guest(value)),
        types::Edit::Remove(pointer) => Edit::Remove(pointer),
        types::Edit::Move((source, target)) => Edit::Move(source, target),
    }
}

/// Counts the memory of one instance, all its linear memories together, against the cap.
pub(super) struct MemoryCap {
    cap: ByteSize,
    pub(super) used_bytes: usize,
    /// The plugin asked for more than the cap in the running call.
    pub(super) denied: bool,
}

impl MemoryCap {
    pub(super) fn new(cap: ByteSize) -> MemoryCap {
        MemoryCap {
            cap,
            used_bytes: 0,
            denied: false,
        }
    }

    pub(super) fn denied_cap(&self) -> Option<ByteSize> {
        self.denied.then_some(self.cap)
    }
}

impl ResourceLimiter for MemoryCap {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let used_bytes = self.used_bytes.saturating_add(desired.saturating_sub(current));
        if used_bytes > self.cap.as_usize() {
            self.denied = true;
            return Ok(false);
        }
        self.used_bytes = used_bytes;
        Ok(true)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        _desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        // The pool's own maximum binds.
        Ok(maximum.is_some())
    }
}

#[cfg(test)]
mod tests;
