//! What a plugin may call: the functions of the contract, each bounded.

use wasmtime::{ResourceLimiter, component::Resource};

use super::{
    bindings::headworks::plugin::{host, types},
    clock::CallClock,
    counters::InstanceCounters,
    documents::{Documents, EditRef, HostDocument},
    flat::{self, Request},
    log::CallLog,
    lookups::Lookups,
};
use crate::{json::NewValue, limits::ByteSize};

/// All that the host keeps for one instance.
pub(super) struct State {
    pub(super) documents: Documents,
    pub(super) memory: MemoryCap,
    pub(super) clock: CallClock,
    pub(super) log: CallLog,
    pub(super) counters: InstanceCounters,
    pub(super) lookups: Lookups,
    /// Room for the pointers of one edit, used again and again.
    pub(super) pointers: String,
    /// Room for what one call of `exchange` asks for, likewise.
    pub(super) request: Vec<u8>,
    /// Calls of the contract's functions since the instance was made, a handle's end included.
    pub(super) host_calls: u64,
}

/// What a few values take.
const ANSWER_BYTES: usize = 256;

/// One change whose pointers stand in a text beside it.
#[derive(Debug)]
pub(super) enum Change {
    Set(NewValue),
    Remove,
    /// The first bytes of the text are the source, the rest is the target.
    Move {
        source_bytes: usize,
    },
}

impl State {
    pub(super) fn parse(&mut self, json: String) -> wasmtime::Result<Result<Resource<HostDocument>, String>> {
        Ok(self.documents.parse(json)?)
    }

    pub(super) fn text(&mut self, document: &Resource<HostDocument>) -> wasmtime::Result<String> {
        let bytes = self.documents.get(document)?.document.to_bytes();
        Ok(String::from_utf8(bytes.into())?)
    }

    pub(super) fn copy(
        &mut self,
        document: &Resource<HostDocument>,
    ) -> wasmtime::Result<Resource<HostDocument>> {
        Ok(self.documents.copy(document)?)
    }

    pub(super) fn get(
        &self,
        document: &Resource<HostDocument>,
        pointer: &str,
    ) -> wasmtime::Result<Option<types::Value>> {
        let entry = self.documents.get(document)?;
        Ok(entry.document.get(pointer).map(to_guest))
    }

    /// Makes all of the edits or none. `read` makes a change of one and writes its pointers; `context` is what it reads
    /// from, and holds the state.
    pub(super) fn apply<C, E>(
        context: &mut C,
        state: fn(&mut C) -> &mut State,
        document: &Resource<HostDocument>,
        edits: Vec<E>,
        read: impl Fn(&mut C, E, &mut String) -> wasmtime::Result<Change>,
    ) -> wasmtime::Result<Result<(), String>> {
        let before = state(context).documents.before(document)?;
        // The guest's memory cannot be read while the host's documents change, so pointers come by way of this text.
        let mut pointers = std::mem::take(&mut state(context).pointers);
        let mut made = Ok(true);
        for edit in edits {
            state(context).clock.check()?;
            pointers.clear();
            let change = read(context, edit, &mut pointers)?;
            let edit = match change {
                Change::Set(value) => EditRef::Set(&pointers, value),
                Change::Remove => EditRef::Remove(&pointers),
                Change::Move { source_bytes } => {
                    let (source, target) = pointers.split_at(source_bytes);
                    EditRef::Move(source, target)
                }
            };
            made = state(context).documents.edit(document, edit)?;
            if made.is_err() {
                break;
            }
        }
        let state = state(context);
        state.pointers = pointers;
        match made {
            Ok(_) => Ok(Ok(())),
            Err(error) => {
                state.documents.restore(document, before)?;
                Ok(Err(error.to_string()))
            }
        }
    }

    /// Makes all edits of `request` or none, then reads.
    pub(super) fn exchange(
        &mut self,
        document: &Resource<HostDocument>,
        request: &[u8],
    ) -> wasmtime::Result<Result<Vec<u8>, String>> {
        let mut request = Request::new(request);
        let edits = request.count()?;
        // One edit alone changes nothing where it fails.
        let before = (edits > 1).then(|| self.documents.before(document)).transpose()?;
        for _ in 0..edits {
            self.clock.check()?;
            if let Err(error) = self.documents.edit(document, request.edit()?)? {
                if let Some(before) = before {
                    self.documents.restore(document, before)?;
                }
                return Ok(Err(error.to_string()));
            }
        }
        let mut answer = Vec::with_capacity(if request.is_at_end() { 0 } else { ANSWER_BYTES });
        while !request.is_at_end() {
            self.clock.check()?;
            let value = self.documents.get(document)?.document.find_value(request.text()?);
            flat::write_value(&mut answer, value.as_ref());
            self.documents.bound(answer.len())?;
        }
        Ok(Ok(answer))
    }

    pub(super) fn set(
        &mut self,
        document: &Resource<HostDocument>,
        pointer: &str,
        value: types::Value,
    ) -> wasmtime::Result<Result<(), String>> {
        let made = self
            .documents
            .edit(document, EditRef::Set(pointer, from_guest(value)))?;
        Ok(made.map(|_| ()).map_err(|error| error.to_string()))
    }

    pub(super) fn remove(
        &mut self,
        document: &Resource<HostDocument>,
        pointer: &str,
    ) -> wasmtime::Result<bool> {
        let made = self.documents.edit(document, EditRef::Remove(pointer))?;
        Ok(made.unwrap_or(false))
    }

    pub(super) fn move_value(
        &mut self,
        document: &Resource<HostDocument>,
        source: &str,
        target: &str,
    ) -> wasmtime::Result<Result<bool, String>> {
        let made = self.documents.edit(document, EditRef::Move(source, target))?;
        Ok(made.map_err(|error| error.to_string()))
    }

    /// The guest has dropped its handle. One of an earlier call may be dropped late: its document is long gone.
    pub(super) fn drop_document(&mut self, document: &Resource<HostDocument>) {
        self.documents.take(document);
    }

    pub(super) fn write_log(&mut self, level: host::Level, message: &str) {
        self.log.write(level, message);
    }

    pub(super) fn count(&mut self, counter: String, amount: u64) {
        if let Err(refused) = self.counters.add(counter, amount) {
            self.log.write(host::Level::Warn, &refused.to_string());
        }
    }
}

pub(super) fn to_guest(value: NewValue) -> types::Value {
    match value {
        NewValue::Null => types::Value::Null,
        NewValue::Boolean(value) => types::Value::Boolean(value),
        NewValue::Integer(value) => types::Value::Integer(value),
        NewValue::Number(value) => types::Value::Number(value),
        NewValue::Text(value) => types::Value::Text(value),
        NewValue::Json(value) => types::Value::Json(value),
    }
}

pub(super) fn from_guest(value: types::Value) -> NewValue {
    match value {
        types::Value::Null => NewValue::Null,
        types::Value::Boolean(value) => NewValue::Boolean(value),
        types::Value::Integer(value) => NewValue::Integer(value),
        types::Value::Number(value) => NewValue::Number(value),
        types::Value::Text(value) => NewValue::Text(value),
        types::Value::Json(value) => NewValue::Json(value),
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
