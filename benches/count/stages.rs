//! What is counted.

use std::{hint::black_box, path::Path, sync::Arc};

use bytes::Bytes;
use headworks::{
    decode::{self, Head},
    event::Outcome,
    json::Document,
    limits::Limits,
    telemetry::{CallOutcome, Tally, Telemetry},
    validate::Schemas,
};
use http::request::Parts;

use crate::{
    callgrind::{COMPILER, COMPONENT},
    callgrind_collects,
    context::context,
    path::{self, Batch, Seeing},
    sample::{self, DEPTH},
};

/// Events of one request with many.
pub const BATCH: u32 = 100;
/// Of a stage alone. Requests are timed one in sixteen: as many of them as of others must be counted each time.
const TIMES: u32 = 1600;
/// Before anything is counted: allocators, caches and tables are warm.
const WARM_UP: u32 = 320;

pub struct Stage {
    pub name: &'static str,
    work: Work,
}

enum Work {
    Parse,
    Decode(Batch),
    Validate,
    Plugin,
    Splice,
    SerdeJson,
    Metrics,
    Path {
        batch: Batch,
        plugin: bool,
        seeing: Seeing,
    },
}

const fn path(name: &'static str, batch: Batch, plugin: bool) -> Stage {
    seen(name, batch, plugin, Seeing::Nothing)
}

const fn seen(name: &'static str, batch: Batch, plugin: bool, seeing: Seeing) -> Stage {
    Stage {
        name,
        work: Work::Path {
            batch,
            plugin,
            seeing,
        },
    }
}

const fn alone(name: &'static str, work: Work) -> Stage {
    Stage { name, work }
}

/// The whole way that what seeing costs is measured against.
pub const UNSEEN: &str = "path: single, plugin";
pub const METRICS: &str = "metrics of a single post";
pub const SEEN: [&str; 4] = [
    "path: single, plugin; traces 0 %",
    "path: single, plugin; traces 1 %",
    "path: single, plugin; traces 100 %",
    "path: single, plugin; one tail",
];

pub static ALL: &[Stage] = &[
    alone("parse", Work::Parse),
    alone("decode: single", Work::Decode(Batch::Single)),
    alone("decode: batch", Work::Decode(Batch::Lines)),
    alone("decode: batch, gzip", Work::Decode(Batch::Gzip)),
    alone("validate", Work::Validate),
    alone("plugin: call, six edits, splice", Work::Plugin),
    alone("splice: six edits in the host", Work::Splice),
    alone("serde_json: parse, six edits, print", Work::SerdeJson),
    path("path: single, validate", Batch::Single, false),
    path(UNSEEN, Batch::Single, true),
    path("path: batch, validate", Batch::Lines, false),
    path("path: batch, plugin", Batch::Lines, true),
    path("path: batch, gzip, plugin", Batch::Gzip, true),
    alone(METRICS, Work::Metrics),
    seen(SEEN[0], Batch::Single, true, Seeing::Traces { one_in: 0 }),
    seen(SEEN[1], Batch::Single, true, Seeing::Traces { one_in: 100 }),
    seen(SEEN[2], Batch::Single, true, Seeing::Traces { one_in: 1 }),
    seen(SEEN[3], Batch::Single, true, Seeing::Tail),
];

pub fn find(name: &str) -> &'static Stage {
    ALL.iter()
        .find(|stage| stage.name == name)
        .unwrap_or_else(|| panic!("there is no stage {name}"))
}

impl Stage {
    /// So many are counted.
    pub fn events(&self) -> u32 {
        match self.work {
            Work::Decode(batch) => batch.events() * times(batch),
            Work::Path { batch, .. } => path::events(batch),
            _ => TIMES,
        }
    }

    /// In the process that callgrind looks at.
    pub fn run(&self, folder: &Path) {
        let text = Bytes::from(sample::page_view());
        let document = Document::parse(text.clone(), DEPTH).expect("the sample is JSON");
        match &self.work {
            Work::Parse => measure(|| drop(black_box(Document::parse(black_box(text.clone()), DEPTH)))),
            Work::Decode(batch) => decode_request(*batch, &text),
            Work::Validate => {
                let schemas = Schemas::build(&Arc::new(sample::state()), &Schemas::default());
                let event = sample::event(document);
                measure(|| drop(black_box(schemas.check(black_box(event.clone())))));
            }
            Work::Plugin => {
                let schemas = Schemas::build(&Arc::new(sample::state()), &Schemas::default());
                let validated = schemas
                    .check(sample::event(document))
                    .expect("the sample is valid");
                let component = std::fs::read(folder.join(COMPONENT)).expect("the component is there");
                let plugin = sample::plugin(component, folder, &folder.join(COMPILER), limits());
                measure(|| drop(black_box(sample::transform(&plugin, &validated))));
            }
            Work::Splice => measure(|| drop(black_box(sample::edit(&document)))),
            Work::SerdeJson => measure(|| drop(black_box(sample::edit_in_serde_json(&text)))),
            Work::Metrics => metrics(text.len()),
            Work::Path {
                batch,
                plugin,
                seeing,
            } => path::run(folder, *batch, *plugin, *seeing),
        }
    }
}

/// Under valgrind all takes many times as long as a plugin may otherwise.
pub fn limits() -> Limits {
    Limits {
        plugin_time_ms: 1000,
        ..Limits::default()
    }
}

fn measure(mut work: impl FnMut()) {
    for _ in 0..WARM_UP {
        work();
    }
    callgrind_collects(&mut work, TIMES);
}

fn times(batch: Batch) -> u32 {
    TIMES / batch.events()
}

fn decode_request(batch: Batch, event: &[u8]) {
    let head: Parts = batch
        .request(event.len())
        .body(())
        .expect("the request is one")
        .into_parts()
        .0;
    let body = Bytes::from(batch.body(event));
    let limits = limits();
    let context = context(&limits);
    let mut work = || {
        let read = Head::read(&head, head.uri.path()).expect("the head is in order");
        let decoded = decode::decode(read, body.clone(), &context).expect("the body is in order");
        assert_eq!(black_box(decoded).events.len(), batch.events() as usize);
    };
    for _ in 0..WARM_UP / batch.events().min(WARM_UP) {
        work();
    }
    callgrind_collects(&mut work, times(batch));
}

/// All that a single post with a plugin adds to: the same calls in the same order as its way makes.
fn metrics(bytes: usize) {
    let telemetry = Telemetry::new(1000);
    let (partner, plugin) = (telemetry.partner("bench"), telemetry.plugin("page-view@1"));
    let (destination, http) = (telemetry.destination("events"), Arc::clone(telemetry.http()));
    measure(|| {
        let active = http.active();
        let observation = telemetry.observation(|| None);
        let started = std::time::Instant::now();
        let mut tally = Tally::new(telemetry.events("bench", "app.page_view", "5.10.0"));
        plugin.numbers.call(CallOutcome::Made);
        destination.numbers.sent(bytes);
        tally.count(&Outcome::Accepted, bytes as u64);
        let duration = started.elapsed();
        tally.close(duration);
        partner.numbers.record(duration);
        telemetry.key_used("bench", "0123456789abcdef");
        http.request("POST", 202, duration, Some(bytes));
        drop(black_box((active, observation)));
    });
}
