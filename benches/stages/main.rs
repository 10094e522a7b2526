//! What each stage of an event's way costs, in CPU time of one thread, beside the same work done with `serde_json`.
//!
//! Each round runs every stage once for a while, in turn, so that a slow minute of the machine hits all alike; the
//! median counts. `cargo bench --bench stages [-- WORD]`, with a word only the stages whose names hold it: for a profiler.

#[path = "../../tests/it/harness/page_view.rs"]
mod page_view;

use std::{
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use headworks::{
    config::RecentSettings,
    event::{Attributes, Body, Decoded, EventType, Outcome, Validated},
    json::{Document, Edit, EditedDocument, NewValue},
    limits::{ByteSize, Limits},
    recent::{Memo, Recent},
    registry::model::{Digest, Schema, SchemaKey, State, TypeSchemas, Versioned},
    transform::{Prepared, TransformSettings, Transformer},
    validate::Schemas,
};
use jiff::Timestamp;
use serde_json::Value;

const ROUNDS: usize = 15;
const SLICE: Duration = Duration::from_millis(60);
const DEPTH: u32 = 64;
const ROOT: &str = env!("CARGO_MANIFEST_DIR");

type Stage<'a> = (&'static str, Box<dyn FnMut() + 'a>);

#[expect(clippy::too_many_lines, reason = "one table of all stages")]
fn main() {
    let text = Bytes::from(page_view());
    let schemas = Schemas::build(&Arc::new(state()), &Schemas::default());
    let plugin = plugin();
    let validator = serde_json_validator();
    let document = Document::parse(text.clone(), DEPTH).expect("the sample is JSON");
    let value: Value = serde_json::from_slice(&text).expect("the sample is JSON");
    let untouched = event(document.clone());
    let validated = schemas.check(untouched.clone()).expect("the sample is valid");

    let recent = Recent::new(&RecentSettings {
        events: 100,
        max_bytes: ByteSize(64 << 20),
    });
    let mut sampled = untouched.clone();
    Arc::make_mut(&mut sampled.attributes).app_version = Some("5.12.0".to_owned());
    let mut stages: Vec<Stage<'_>> = vec![
        (
            "parse",
            Box::new(|| drop(black_box(Document::parse(black_box(text.clone()), DEPTH)))),
        ),
        (
            "  the same in serde_json",
            Box::new(|| drop(black_box(serde_json::from_slice::<Value>(black_box(&text))))),
        ),
        (
            "resolve + validate",
            Box::new(|| drop(black_box(schemas.check(black_box(untouched.clone()))))),
        ),
        (
            "  of which copying the event",
            Box::new(|| drop(black_box(untouched.clone()))),
        ),
        (
            "  validate on serde_json's tree",
            Box::new(|| {
                black_box(validator.is_valid(black_box(&value)));
            }),
        ),
        (
            "remember: count one of a busy stream",
            Box::new(|| {
                black_box(recent.observe(black_box(&untouched), &mut Memo::default()));
            }),
        ),
        (
            "remember: copy an event",
            Box::new(|| remember(&recent, &mut sampled)),
        ),
        (
            "plugin: call, six edits, splice",
            Box::new(|| drop(black_box(transform(&plugin, &validated)))),
        ),
        (
            "splice: six edits in the host",
            Box::new(|| drop(black_box(edit(&document)))),
        ),
        (
            "serde_json: parse, six edits, print",
            Box::new(|| drop(black_box(edit_in_serde_json(&text)))),
        ),
    ];
    if let Some(word) = std::env::args()
        .skip(1)
        .find(|argument| !argument.starts_with("--"))
    {
        stages.retain(|(name, _)| name.contains(&word));
    }
    let mut figures: Vec<Vec<f64>> = stages.iter().map(|_| Vec::new()).collect();
    for _ in 0..ROUNDS {
        for ((_, stage), costs) in stages.iter_mut().zip(&mut figures) {
            costs.push(cost_us(stage));
        }
    }
    println!(
        "{}-byte event, µs of CPU an event: median of {ROUNDS} rounds (lowest–highest)",
        text.len()
    );
    for ((name, _), mut costs) in stages.iter().zip(figures) {
        costs.sort_by(f64::total_cmp);
        println!(
            "{name:<38} {:>7.2} ({:.2}–{:.2})",
            costs[ROUNDS / 2],
            costs[0],
            costs[ROUNDS - 1]
        );
    }
}

/// Events so far apart that each is copied.
fn remember(recent: &Recent, event: &mut Decoded) {
    event.received += Duration::from_secs(1);
    if let Some(sample) = recent.observe(event, &mut Memo::default()) {
        recent.remember(sample, &Outcome::Accepted);
    }
}

fn thread_time() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(
        now.tv_sec.unsigned_abs(),
        u32::try_from(now.tv_nsec).unwrap_or_default(),
    )
}

fn cost_us(stage: &mut dyn FnMut()) -> f64 {
    let (started, before) = (Instant::now(), thread_time());
    let mut runs = 0_u32;
    while started.elapsed() < SLICE {
        for _ in 0..50 {
            stage();
        }
        runs += 50;
    }
    (thread_time() - before).as_secs_f64() * 1e6 / f64::from(runs)
}

/// The newest form of the company's page view, in full and without white space.
fn page_view() -> Vec<u8> {
    let path = format!("{ROOT}/schemas/app.page_view/samples/5.10.0/valid-full.json");
    let text = std::fs::read_to_string(path).expect("the sample is there");
    let sample: Value = serde_json::from_str(&text).expect("a sample is JSON");
    sample["data"].to_string().into_bytes()
}

fn schema_text() -> String {
    std::fs::read_to_string(format!("{ROOT}/schemas/app.page_view/5.10.0.json")).expect("the schema is there")
}

fn serde_json_validator() -> jsonschema::Validator {
    jsonschema::options()
        .should_validate_formats(true)
        .offline()
        .with_pattern_options(jsonschema::PatternOptions::regex())
        .build(&serde_json::from_str(&schema_text()).expect("the schema is JSON"))
        .expect("the schema compiles")
}

fn event_type() -> EventType {
    "app.page_view".parse().expect("the name is a type's")
}

fn state() -> State {
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

fn event(data: Document) -> Decoded {
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

fn plugin() -> Arc<Prepared> {
    let component = page_view::component();
    let cache = tempfile::tempdir().expect("a folder can be made");
    let transformer = Transformer::new(TransformSettings {
        limits: Limits::default(),
        cache_dir: cache.path().join("cache"),
        compiler: env!("CARGO_BIN_EXE_headworks").into(),
    })
    .expect("the engine starts");
    let name = "page-view".parse().expect("the name is a plugin's");
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be made")
        .block_on(async {
            transformer
                .compile(component.clone().into())
                .await
                .expect("the plugin compiles");
            transformer
                .prepare(&name, 1, component.into(), None)
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

fn edit_in_serde_json(text: &[u8]) -> Vec<u8> {
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
