//! The stages, each as a loop over one fixed input.

use std::{hint::black_box, process::Command, sync::Arc};

use bytes::Bytes;
use headworks::{
    decode::{self, Context, Head, Hints},
    event::{Attributes, Body, Decoded, EventType, Validated},
    json::{Document, Edit, EditedDocument, NewValue},
    limits::Limits,
    registry::model::{Digest, Schema, SchemaKey, State, TypeSchemas, Versioned},
    transform::{Allocation, Prepared, TransformSettings, Transformer},
    validate::Schemas,
};
use jiff::Timestamp;
use serde_json::Value;

const DEPTH: u32 = 64;
const BATCH: u32 = 100;
const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Names, and how many events one turn takes.
pub const ALL: [(&str, u32); 7] = [
    ("parse", 1),
    ("validate", 1),
    ("plugin", 1),
    ("splice", 1),
    ("decode single", 1),
    ("decode batch", BATCH),
    ("bytes to records", BATCH),
];

pub fn run(stage: &str, times: u32) {
    let text = Bytes::from(page_view());
    let document = Document::parse(text.clone(), DEPTH).expect("the sample is JSON");
    let turn: Box<dyn FnMut()> = match stage {
        "parse" => Box::new(move || drop(black_box(Document::parse(black_box(text.clone()), DEPTH)))),
        "validate" => {
            let (schemas, event) = (schemas(), event(document));
            Box::new(move || drop(black_box(schemas.check(black_box(event.clone())))))
        }
        "plugin" => {
            let plugin = plugin();
            let validated = schemas().check(event(document)).expect("the sample is valid");
            Box::new(move || drop(black_box(transform(&plugin, &validated))))
        }
        "splice" => Box::new(move || drop(black_box(edit(&document)))),
        "decode single" => {
            let decoder = Decoder::new("application/json");
            Box::new(move || drop(black_box(decoder.decode(text.clone()))))
        }
        "decode batch" => {
            let decoder = Decoder::new("application/x-ndjson");
            let body = batch(&text);
            Box::new(move || drop(black_box(decoder.decode(body.clone()))))
        }
        "bytes to records" => {
            let decoder = Decoder::new("application/x-ndjson");
            let (body, schemas, plugin) = (batch(&text), schemas(), plugin());
            Box::new(move || {
                for decoded in decoder.decode(body.clone()) {
                    let validated = schemas.check(decoded).expect("the sample is valid");
                    black_box(transform(&plugin, &validated));
                }
            })
        }
        other => panic!("{other} is no stage"),
    };
    repeat(turn, times);
}

fn repeat(mut turn: Box<dyn FnMut()>, times: u32) {
    for _ in 0..times {
        turn();
    }
}

struct Unhinted;

impl Hints for Unhinted {
    fn schema(&self, _: &EventType, _: &str, _: Option<&str>) -> Option<Arc<Value>> {
        None
    }
}

struct Decoder {
    parts: http::request::Parts,
    limits: Limits,
}

impl Decoder {
    fn new(content_type: &str) -> Decoder {
        let request = http::Request::builder()
            .method("POST")
            .uri("/v1/events/app.page_view")
            .header("content-type", content_type)
            .header("ce-appversion", "5.11.0")
            .body(())
            .expect("a request");
        Decoder {
            parts: request.into_parts().0,
            limits: Limits::default(),
        }
    }

    fn decode(&self, body: Bytes) -> Vec<Decoded> {
        let head = Head::read(&self.parts, "/v1/events/app.page_view").expect("the head is in order");
        let context = Context {
            partner: "haneul-app".parse().expect("the name is a partner's"),
            default_source: "/apps/haneul".into(),
            limits: &self.limits,
            received: Timestamp::UNIX_EPOCH,
            hints: &Unhinted,
        };
        let batch = decode::decode(head, body, &context).expect("the body is in order");
        let events = batch.events.into_iter();
        events
            .map(|event| event.expect("every line is an event"))
            .collect()
    }
}

fn batch(text: &Bytes) -> Bytes {
    let mut body = Vec::new();
    for _ in 0..BATCH {
        body.extend_from_slice(text);
        body.push(b'\n');
    }
    body.into()
}

/// The newest form of the company's page view, in full and without white space.
fn page_view() -> Vec<u8> {
    let path = format!("{ROOT}/schemas/app.page_view/samples/5.10.0/valid-full.json");
    let text = std::fs::read_to_string(path).expect("the sample is there");
    let sample: Value = serde_json::from_str(&text).expect("a sample is JSON");
    sample["data"].to_string().into_bytes()
}

fn schemas() -> Schemas {
    let text = std::fs::read_to_string(format!("{ROOT}/schemas/app.page_view/5.10.0.json"))
        .expect("the schema is there");
    let event_type: EventType = "app.page_view".parse().expect("the name is a type's");
    let key = SchemaKey {
        event_type: event_type.clone(),
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
    state.schemas.insert(event_type, Arc::new(schemas));
    Schemas::build(&Arc::new(state), &Schemas::default())
}

fn event(data: Document) -> Decoded {
    Decoded {
        partner: "haneul-app".parse().expect("the name is a partner's"),
        attributes: Arc::new(Attributes {
            id: "019a4c5e-7b1c-7d2e-9f00-0123456789ab".into(),
            source: "/apps/haneul".to_owned(),
            event_type: "app.page_view".parse().expect("the name is a type's"),
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

/// Compiled once for all processes; the compiling child is not counted.
fn plugin() -> Arc<Prepared> {
    let component_path = format!("{ROOT}/plugins/target/page-view.wasm");
    if !std::path::Path::new(&component_path).exists() {
        let built = Command::new(env!("CARGO_BIN_EXE_headworks"))
            .args(["plugin", "build"])
            .arg(format!("{ROOT}/plugins/page-view"))
            .output()
            .expect("the program runs");
        assert!(
            built.status.success(),
            "{}",
            String::from_utf8_lossy(&built.stderr)
        );
    }
    let component = Bytes::from(std::fs::read(component_path).expect("the component is there"));
    let transformer = Transformer::new(TransformSettings {
        limits: Limits {
            // Under valgrind a call takes many times as long as it does.
            plugin_time_ms: 60_000,
            ..Limits::default()
        },
        cache_dir: std::env::temp_dir().join("headworks-count-cache"),
        compiler: env!("CARGO_BIN_EXE_headworks").into(),
        allocation: Allocation::OnDemand,
    })
    .expect("the engine starts");
    let name = "page-view".parse().expect("the name is a plugin's");
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be made")
        .block_on(async {
            transformer
                .compile(component.clone())
                .await
                .expect("the plugin compiles");
            transformer
                .prepare(&name, 1, component, None)
                .await
                .expect("the plugin runs")
        })
}

fn transform(plugin: &Prepared, event: &Validated) -> Bytes {
    let outputs = plugin.transform(event).expect("the plugin takes the sample");
    match &outputs[0].body {
        Body::Document(document) => document.to_bytes(),
        Body::Bytes(bytes) => bytes.clone(),
    }
}

/// The plugin's edits, without a plugin.
fn edit(document: &Document) -> Bytes {
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
