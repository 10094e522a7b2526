//! The event that benchmarks send, what checks and transforms it, and the same six edits by other means.

use std::{path::Path, sync::Arc};

use bytes::Bytes;
use headworks::{
    event::{Attributes, Body, Decoded, EventType, Validated},
    json::{Document, Edit, EditedDocument, NewValue},
    limits::Limits,
    registry::model::{Digest, Schema, SchemaKey, State, TypeSchemas, Versioned},
    transform::{Prepared, TransformSettings, Transformer},
};
use jiff::Timestamp;
use serde_json::Value;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
pub const DEPTH: u32 = 64;

/// The newest form of the company's page view, in full and without white space.
pub fn page_view() -> Vec<u8> {
    let path = format!("{ROOT}/schemas/app.page_view/samples/5.10.0/valid-full.json");
    let text = std::fs::read_to_string(path).expect("the sample is there");
    let sample: Value = serde_json::from_str(&text).expect("a sample is JSON");
    sample["data"].to_string().into_bytes()
}

pub fn schema_text() -> String {
    std::fs::read_to_string(format!("{ROOT}/schemas/app.page_view/5.10.0.json")).expect("the schema is there")
}

pub fn event_type() -> EventType {
    "app.page_view".parse().expect("the name is a type's")
}

pub fn state() -> State {
    let text = schema_text();
    let key = SchemaKey {
        event_type: event_type(),
        source: None,
        since: "5.10.0".to_owned(),
    };
    let schema = Schema {
        digest: Digest::of(text.as_bytes()),
        text: text.into(),
        created: Timestamp::UNIX_EPOCH,
        by: "bench".to_owned(),
    };
    let mut state = State::default();
    let schemas = TypeSchemas {
        schemas: vec![Arc::new(Versioned {
            sequence: 1,
            value: (key, schema),
        })],
        ..TypeSchemas::default()
    };
    state.schemas.insert(event_type(), Arc::new(schemas));
    state
}

pub fn event(data: Document) -> Decoded {
    Decoded {
        partner: "haneul-app".parse().expect("the name is a partner's"),
        attributes: Arc::new(Attributes {
            client_ip: None,
            user_agent: None,
            id: "019a4c5e-7b1c-7d2e-9f00-0123456789ab".into(),
            source: "/apps/haneul".to_owned(),
            event_type: event_type(),
            time: "2026-11-02T01:15:30.412Z".to_owned(),
            subject: None,
            app_version: Some("5.11.0".to_owned()),
        }),
        data,
        received: Timestamp::UNIX_EPOCH,
        id_generated: false,
        traceparent: None,
    }
}

/// The sample company's plugin for page views, ready to be called; its compiled form is kept under `folder`.
pub fn plugin(component: Vec<u8>, folder: &Path, compiler: &Path, limits: Limits) -> Arc<Prepared> {
    let transformer = Transformer::new(TransformSettings {
        limits,
        cache_dir: folder.join("cache"),
        compiler: compiler.to_owned(),
    })
    .expect("the engine starts");
    let name = "page-view".parse().expect("the name is a plugin's");
    let prepare = transformer.prepare(&name, 1, component.into(), None);
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be made")
        .block_on(prepare)
        .expect("the plugin runs")
}

pub fn transform(plugin: &Prepared, event: &Validated) -> Bytes {
    let outputs = plugin.transform(event).expect("the plugin takes the sample");
    match &outputs[0].body {
        Body::Document(document) => document.to_bytes(),
        Body::Bytes(bytes) => bytes.clone(),
    }
}

/// The plugin's edits, without a plugin.
pub fn edit(document: &Document) -> Bytes {
    let mut edited = EditedDocument::new(document.clone());
    let edits = [
        Edit::Move("/occurred_at".to_owned(), "/viewed_at".to_owned()),
        Edit::Move("/anonymous_id".to_owned(), "/visitor_id".to_owned()),
        Edit::Remove("/consent".to_owned()),
        Edit::Set("/page_path".to_owned(), NewValue::Text("/s/8812".to_owned())),
        Edit::Set("/os".to_owned(), NewValue::Text("web 14".to_owned())),
        Edit::Set("/is_first_session".to_owned(), NewValue::Boolean(false)),
    ];
    edited.apply(&edits).expect("the edits fit the sample");
    edited.to_bytes()
}

pub fn edit_in_serde_json(text: &[u8]) -> Vec<u8> {
    let mut value: Value = serde_json::from_slice(text).expect("the sample is JSON");
    let view = value.as_object_mut().expect("the sample is an object");
    for (from, to) in [("occurred_at", "viewed_at"), ("anonymous_id", "visitor_id")] {
        if let Some(moved) = view.remove(from) {
            view.insert(to.to_owned(), moved);
        }
    }
    view.remove("consent");
    view.insert("page_path".to_owned(), "/s/8812".into());
    view.insert("os".to_owned(), "web 14".into());
    view.insert("is_first_session".to_owned(), false.into());
    serde_json::to_vec(&value).expect("a value is JSON")
}
