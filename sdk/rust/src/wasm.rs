//! The gateway behind the SDK, in a component.

use crate::{Body, Plugin, Value, document::Edit, event, host::Level};

wit_bindgen::generate!({
    world: "plugin",
    path: "wit",
    ownership: Borrowing { duplicate_if_necessary: false },
    pub_export_macro: true,
    default_bindings_module: "headworks_plugin::__wasm",
});

use headworks::plugin::{host, tables, types};

#[cfg(feature = "allocator")]
#[global_allocator]
static ALLOCATOR: crate::allocator::Sizes<talc::wasm::WasmDynamicTalc> =
    crate::allocator::Sizes::new(talc::wasm::new_wasm_dynamic_allocator());

#[derive(Debug)]
pub(crate) struct Document(types::Document);

impl Document {
    pub(crate) fn from_json(json: &str) -> Result<Document, String> {
        types::Document::from_json(json).map(Document)
    }

    pub(crate) fn to_json(&self) -> String {
        self.0.to_json()
    }

    pub(crate) fn copy(&self) -> Document {
        Document(self.0.copy())
    }

    pub(crate) fn get_all(&self, pointers: &[&str]) -> Vec<Option<Value>> {
        if let [pointer] = pointers {
            return vec![self.0.get(pointer).map(from_host)];
        }
        let values = self.0.get_all(pointers);
        values.into_iter().map(|value| value.map(from_host)).collect()
    }

    pub(crate) fn apply(&self, edits: Vec<Edit>) -> Result<(), String> {
        let edits: Vec<_> = edits.into_iter().map(HostEdit::from).collect();
        let borrowed: Vec<_> = edits.iter().map(HostEdit::borrow).collect();
        self.0.apply(&borrowed)
    }
}

pub(crate) fn lookup(table: &str, key: &str) -> Option<Document> {
    tables::lookup(table, key).map(Document)
}

pub(crate) fn log(level: Level, message: &str) {
    let level = match level {
        Level::Debug => host::Level::Debug,
        Level::Info => host::Level::Info,
        Level::Warn => host::Level::Warn,
        Level::Error => host::Level::Error,
    };
    host::log(level, message);
}

pub(crate) fn count(counter: &str, amount: u64) {
    host::count(counter, amount);
}

pub fn configure<P: Plugin>(config: &str) -> Result<P, String> {
    // A panic becomes a trap, which has no text of its own.
    std::panic::set_hook(Box::new(|panic| {
        host::log(host::Level::Error, &panic.to_string())
    }));
    crate::plugin::configure(config)
}

pub fn transform<P: Plugin>(plugin: Option<&P>, event: Event) -> Result<Vec<Output>, Failure> {
    let plugin = plugin.ok_or_else(|| Failure::Broken("`configure` was not called".to_owned()))?;
    let outputs = plugin
        .transform(from_host_event(event))
        .map_err(failure_to_host)?;
    outputs
        .into_iter()
        .map(|output| output_to_host(output).map_err(|error| failure_to_host(error.into())))
        .collect()
}

fn from_host(value: types::Value) -> Value {
    match value {
        types::Value::Null => Value::Null,
        types::Value::Boolean(value) => Value::Boolean(value),
        types::Value::Integer(value) => Value::Integer(value),
        types::Value::Number(value) => Value::Number(value),
        types::Value::Text(value) => Value::Text(value),
        types::Value::Json(value) => Value::Json(value),
    }
}

/// An edit whose value is the host's already; the contract's own only borrows.
enum HostEdit {
    Set(String, types::Value),
    Remove(String),
    Move(String, String),
}

impl From<Edit> for HostEdit {
    fn from(edit: Edit) -> HostEdit {
        match edit {
            Edit::Set(pointer, value) => HostEdit::Set(pointer, to_host(value)),
            Edit::Remove(pointer) => HostEdit::Remove(pointer),
            Edit::Move(from, to) => HostEdit::Move(from, to),
        }
    }
}

impl HostEdit {
    fn borrow(&self) -> types::Edit<'_> {
        match self {
            HostEdit::Set(pointer, value) => types::Edit::Set((pointer, value)),
            HostEdit::Remove(pointer) => types::Edit::Remove(pointer),
            HostEdit::Move(from, to) => types::Edit::Move((from, to)),
        }
    }
}

fn to_host(value: Value) -> types::Value {
    match value {
        Value::Null => types::Value::Null,
        Value::Boolean(value) => types::Value::Boolean(value),
        Value::Integer(value) => types::Value::Integer(value),
        Value::Number(value) => types::Value::Number(value),
        Value::Text(value) => types::Value::Text(value),
        Value::Json(value) => types::Value::Json(value),
    }
}

fn from_host_event(event: Event) -> event::Event {
    event::Event {
        id: event.id,
        source: event.source,
        event_type: event.type_,
        subject: event.subject,
        time: event.time,
        app_version: event.app_version,
        partner: event.partner,
        schema: event.schema,
        data: crate::Document::new(Document(event.data)),
    }
}

fn output_to_host(output: event::Output) -> Result<Output, crate::Error> {
    Ok(Output {
        destination: output.destination,
        topic: output.topic,
        key: output.key,
        headers: output.headers,
        body: match output.body {
            Body::Document(document) => types::Body::Document(document.into_kept()?.0),
            Body::Bytes(bytes) => types::Body::Bytes(bytes),
        },
    })
}

fn failure_to_host(failure: event::Failure) -> Failure {
    match failure {
        event::Failure::Rejected(reason) => Failure::Rejected(reason),
        event::Failure::Broken(reason) => Failure::Broken(reason),
    }
}
