//! What each stage of an event's way costs, in CPU time of one thread, beside the same work done with `serde_json`.
//!
//! Each round runs every stage once for a while, in turn, so that a slow minute of the machine hits all alike; the
//! median counts.
//!
//! `cargo bench --bench stages [-- WORD]`, with a word only the stages whose names hold it: for a profiler.

#[path = "../support/cost.rs"]
#[expect(dead_code, reason = "each benchmark asks something else of it")]
mod cost;
#[path = "../../tests/it/harness/page_view.rs"]
mod page_view;
#[path = "../support/sample.rs"]
mod sample;
#[path = "../support/verdict.rs"]
mod verdict;

use std::{hint::black_box, sync::Arc, time::Duration};

use bytes::Bytes;
use headworks::{
    config::RecentSettings,
    event::{Decoded, Outcome},
    json::Document,
    limits::{ByteSize, Limits},
    recent::{Memo, Recent},
    validate::Schemas,
};
use serde_json::Value;
use tikv_jemallocator::Jemalloc;

use cost::{Work, median};
use sample::{DEPTH, edit, edit_in_serde_json, event, page_view, schema_text, state, transform};
use verdict::{Bound, Goals, Verdict};

/// The gateway's own allocator.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

const ROUNDS: usize = 15;
const PLUGIN_STAGE: &str = "plugin: call, six edits, splice";
const PLUGIN_US: f64 = 3.0;

fn main() {
    let text = Bytes::from(page_view());
    let schemas = Schemas::build(&Arc::new(state()), &Schemas::default());
    let cache = tempfile::tempdir().expect("a folder can be made");
    let compiler = env!("CARGO_BIN_EXE_headworks").as_ref();
    let plugin = sample::plugin(page_view::component(), cache.path(), compiler, Limits::default());
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
    let mut stages = vec![
        Work::new("parse", 1, || {
            drop(black_box(Document::parse(black_box(text.clone()), DEPTH)))
        }),
        Work::new("  the same in serde_json", 1, || {
            drop(black_box(serde_json::from_slice::<Value>(black_box(&text))))
        }),
        Work::new("resolve + validate", 1, || {
            drop(black_box(schemas.check(black_box(untouched.clone()))))
        }),
        Work::new("  of which copying the event", 1, || {
            drop(black_box(untouched.clone()))
        }),
        Work::new("  validate on serde_json's tree", 1, || {
            black_box(validator.is_valid(black_box(&value)));
        }),
        Work::new("remember: count one of a busy stream", 1, || {
            black_box(recent.observe(black_box(&untouched), &mut Memo::default()));
        }),
        Work::new("remember: copy an event", 1, || remember(&recent, &mut sampled)),
        Work::new(PLUGIN_STAGE, 1, || {
            drop(black_box(transform(&plugin, &validated)))
        }),
        Work::new("splice: six edits in the host", 1, || {
            drop(black_box(edit(&document)))
        }),
        Work::new("serde_json: parse, six edits, print", 1, || {
            drop(black_box(edit_in_serde_json(&text)))
        }),
    ];
    if let Some(word) = std::env::args()
        .skip(1)
        .find(|argument| !argument.starts_with("--"))
    {
        stages.retain(|stage| stage.name.contains(&word));
    }
    println!(
        "{}-byte event, µs of CPU an event: median of {ROUNDS} rounds (lowest–highest)",
        text.len()
    );
    let costs = cost::measure(&mut stages, ROUNDS);
    for (stage, costs) in stages.iter().zip(&costs) {
        if stage.name == PLUGIN_STAGE {
            let goal = format!("{PLUGIN_STAGE}, µs");
            let verdict = Verdict::new(&goal, median(costs), Bound::AtMost(PLUGIN_US));
            print!("\n{}", Goals(&[verdict]));
        }
    }
}

/// Events so far apart that each is copied.
fn remember(recent: &Recent, event: &mut Decoded) {
    event.received += Duration::from_secs(1);
    if let Some(sample) = recent.observe(event, &mut Memo::default()) {
        recent.remember(sample, &Outcome::Accepted);
    }
}

fn serde_json_validator() -> jsonschema::Validator {
    jsonschema::options()
        .should_validate_formats(true)
        .offline()
        .with_pattern_options(jsonschema::PatternOptions::regex())
        .build(&serde_json::from_str(&schema_text()).expect("the schema is JSON"))
        .expect("the schema compiles")
}
