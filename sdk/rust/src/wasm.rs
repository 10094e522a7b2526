//! The gateway behind the SDK, in a component.

use std::sync::Arc;

use crate::{Body, Plugin, Text, event, host::Level};

/// Apart, since the world has a `Document` as well.
pub mod bindings {
    wit_bindgen::generate!({
        world: "flat-plugin",
        path: "wit",
        ownership: Borrowing { duplicate_if_necessary: false },
        pub_export_macro: true,
        default_bindings_module: "headworks_plugin::__wasm::bindings",
    });
}

pub use bindings::{Document as DocumentHandle, Failure, Guest, Output};

use bindings::headworks::plugin::{flat, host, tables, types};

use crate::flat::Reader;
pub(crate) use crate::flat::{Answer, Edits};

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

    /// Makes `edits`, or none of them, then reads.
    pub(crate) fn exchange(&self, edits: Edits, pointers: &[&str]) -> Result<Answer, String> {
        flat::exchange(&self.0, &edits.request(pointers)).map(Answer::new)
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

pub fn transform<P: Plugin>(
    plugin: Option<&P>,
    attributes: Vec<u8>,
    data: DocumentHandle,
) -> Result<Vec<Output>, Failure> {
    let plugin = plugin.ok_or_else(|| Failure::Broken("`configure` was not called".to_owned()))?;
    let outputs = plugin
        .transform(event_of(attributes, data))
        .map_err(failure_to_host)?;
    outputs
        .into_iter()
        .map(|output| output_to_host(output).map_err(|error| failure_to_host(error.into())))
        .collect()
}

fn event_of(attributes: Vec<u8>, data: DocumentHandle) -> event::Event {
    let whole = Arc::new(attributes);
    let mut reader = Reader::new(&whole);
    let mut next = || {
        let length = reader.text_or_none()?.len();
        let end = whole.len() - reader.left();
        // SAFETY: a text of the contract stands there.
        Some(unsafe { Text::part(&whole, end - length, end) })
    };
    event::Event {
        id: next().unwrap_or_default(),
        source: next().unwrap_or_default(),
        event_type: next().unwrap_or_default(),
        subject: next(),
        time: next().unwrap_or_default(),
        app_version: next(),
        partner: next().unwrap_or_default(),
        schema: next().unwrap_or_default(),
        data: crate::Document::new(Document(data)),
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
