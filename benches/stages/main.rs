//! What each stage of an event's way costs, in CPU time of one thread, beside the same work done with `serde_json`.
//!
//! Each round runs every stage once for a while, in turn, so that a slow minute of the machine hits all alike; the
//! median counts. `cargo bench --bench stages [-- WORD]`, with a word only the stages whose names hold it: for a profiler.

#[path = "../../tests/it/harness/page_view.rs"]
mod page_view;
#[path = "../support/sample.rs"]
mod sample;
#[path = "../load/verdict.rs"]
mod verdict;

use std::{
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

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

use sample::{DEPTH, edit, edit_in_serde_json, event, page_view, schema_text, state, transform};
use verdict::{Bound, Verdict};

const ROUNDS: usize = 15;
const SLICE: Duration = Duration::from_millis(60);
const PLUGIN_STAGE: &str = "plugin: call, six edits, splice";
const PLUGIN_US: f64 = 3.0;

type Stage<'a> = (&'static str, Box<dyn FnMut() + 'a>);

#[expect(clippy::too_many_lines, reason = "one table of all stages")]
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
            PLUGIN_STAGE,
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
    let mut verdict = None;
    for ((name, _), mut costs) in stages.iter().zip(figures) {
        costs.sort_by(f64::total_cmp);
        if *name == PLUGIN_STAGE {
            let goal = format!("{name}, µs");
            verdict = Some(Verdict::new(&goal, costs[ROUNDS / 2], Bound::AtMost(PLUGIN_US)));
        }
        println!(
            "{name:<38} {:>7.2} ({:.2}–{:.2})",
            costs[ROUNDS / 2],
            costs[0],
            costs[ROUNDS - 1]
        );
    }
    if let Some(verdict) = verdict {
        println!("{verdict}");
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

fn serde_json_validator() -> jsonschema::Validator {
    jsonschema::options()
        .should_validate_formats(true)
        .offline()
        .with_pattern_options(jsonschema::PatternOptions::regex())
        .build(&serde_json::from_str(&schema_text()).expect("the schema is JSON"))
        .expect("the schema compiles")
}
