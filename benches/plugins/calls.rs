//! One call, in this process and through the library, as a worker makes it.

use std::{
    hint::black_box,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use headworks::{
    event::{Attributes, Body, Decoded, Validated},
    json::Document,
    limits::Limits,
    transform::{Prepared, TransformSettings, Transformer, TrialInstance},
};
use serde_json::{Value, json};

use super::{
    LANGUAGES, of_language, page_view,
    verdict::{Bound, Verdict},
};

/// Instances that are held at once to see what they take.
const HELD: usize = 40;

/// Times of a language, each the median of its rounds.
struct Figures {
    size: usize,
    compile: Duration,
    load: Duration,
    empty: Duration,
    edits: Duration,
    /// Of the contract's functions, for the reads and edits.
    host_calls: u64,
    one_by_one: Option<OneByOne>,
    instance: Duration,
    memory_bytes: usize,
    resident_bytes: usize,
}

/// The same reads and edits, each by a call of its own.
struct OneByOne {
    time: Duration,
    host_calls: u64,
}

pub async fn measure(quick: bool) -> Vec<Verdict> {
    let text = page_view();
    let event = event(&text);
    let rounds = if quick { 1 } else { 9 };
    let calls = if quick { 200 } else { 20_000 };
    println!("\n{}-byte event; medians of {rounds} rounds", text.len());
    let native = median(rounds, calls, || {
        drop(black_box(edit_in_serde_json(black_box(&text))))
    });
    println!("eight reads and six edits with serde_json, no plugin: {native:.1?}");
    println!(
        "{:<11} {:>10} {:>10} {:>10} {:>10} {:>10} {:>12} {:>12} {:>12}",
        "", "empty", "edits", "instance", "compile", "load", "component", "its memory", "resident"
    );
    let mut verdicts = Vec::new();
    for (language, folder) in LANGUAGES {
        let figures = of(
            folder,
            &event,
            rounds,
            calls / if folder == "rust" { 1 } else { 5 },
        )
        .await;
        let mib = |bytes: usize| format!("{:.2} MiB", bytes as f64 / f64::from(1 << 20));
        let time = |time: Duration| format!("{time:.1?}");
        println!(
            "{language:<11} {:>10} {:>10} {:>10} {:>10} {:>10} {:>12} {:>12} {:>12}",
            time(figures.empty),
            time(figures.edits),
            time(figures.instance),
            time(figures.compile),
            time(figures.load),
            mib(figures.size),
            mib(figures.memory_bytes),
            mib(figures.resident_bytes)
        );
        println!(
            "{:<11} {:>10.0} instances a second, made, configured and called once",
            "",
            1.0 / figures.instance.as_secs_f64()
        );
        print_calls(&figures);
        if folder == "rust" {
            let micros = figures.edits.as_secs_f64() * 1e6;
            verdicts.push(Verdict::new(
                "Rust: call, eight reads, six edits and splice, µs",
                micros,
                Bound::AtMost(3.0),
            ));
        }
    }
    verdicts
}

fn print_calls(figures: &Figures) {
    println!(
        "{:<11} {:>10} calls of the host: all reads by one, all edits by another",
        "", figures.host_calls
    );
    if let Some(single) = &figures.one_by_one {
        println!(
            "{:<11} {:>10} calls of the host where each read and each edit is one: {:.1?} in the place of {:.1?}",
            "", single.host_calls, single.time, figures.edits
        );
    }
}

async fn of(folder: &str, event: &Validated, rounds: usize, calls: usize) -> Figures {
    let component = Bytes::from(of_language(folder));
    let cache = tempfile::tempdir().expect("a folder can be made");
    let transformer = transformer(cache.path());
    let begun = Instant::now();
    let compiled = transformer.compile(component.clone()).await;
    compiled.unwrap_or_else(|problem| panic!("{folder}: {}", problem.detail));
    let compile = begun.elapsed();
    drop(transformer);

    let transformer = self::transformer(cache.path());
    let begun = Instant::now();
    let empty = prepare(&transformer, component.clone(), None).await;
    let load = begun.elapsed();
    let edits = prepare(&transformer, component.clone(), Some(json!({"edits": true}))).await;
    assert_edits(&edits, event, folder);
    let mut one_by_one = None;
    if folder == "rust" {
        let config = json!({"edits": true, "one_by_one": true});
        let plugin = prepare(&transformer, component.clone(), Some(config)).await;
        assert_edits(&plugin, event, folder);
        one_by_one = Some(OneByOne {
            time: median(rounds, calls, || drop(black_box(transform(&plugin, event)))),
            host_calls: plugin.try_out(event).host_calls,
        });
    }

    let instance = median(rounds, (calls / 100).max(5), || {
        drop(black_box(
            edits.try_out(event).result.expect("the plugin takes the sample"),
        ));
    });
    let before = resident_bytes();
    let mut held: Vec<TrialInstance> = Vec::new();
    let mut memory_bytes = 0;
    for _ in 0..HELD {
        let mut instance = TrialInstance::default();
        memory_bytes = edits
            .try_in(&mut instance, event, &Default::default())
            .memory_bytes;
        held.push(instance);
    }
    let resident_bytes = resident_bytes().saturating_sub(before) / HELD;
    drop(held);
    Figures {
        size: component.len(),
        compile,
        load,
        empty: median(rounds, calls, || drop(black_box(transform(&empty, event)))),
        edits: median(rounds, calls, || drop(black_box(transform(&edits, event)))),
        host_calls: edits.try_out(event).host_calls,
        one_by_one,
        instance,
        memory_bytes,
        resident_bytes,
    }
}

fn assert_edits(plugin: &Prepared, event: &Validated, folder: &str) {
    let edited: Value = serde_json::from_slice(&transform(plugin, event)).expect("a record is JSON");
    let expected: Value = serde_json::from_slice(&edit_in_serde_json(&page_view())).expect("a value is JSON");
    assert_eq!(edited, expected, "{folder} makes the same edits");
}

fn transformer(cache: &Path) -> Arc<Transformer> {
    let settings = TransformSettings {
        limits: Limits::default(),
        cache_dir: cache.join("compiled"),
        compiler: env!("CARGO_BIN_EXE_headworks").into(),
    };
    Transformer::new(settings).expect("the engine starts")
}

async fn prepare(transformer: &Transformer, component: Bytes, config: Option<Value>) -> Arc<Prepared> {
    let name = "edits".parse().expect("a plugin's name");
    let prepared = transformer.prepare(&name, 1, component, config.as_ref()).await;
    prepared.unwrap_or_else(|problem| panic!("{}", problem.detail))
}

fn transform(plugin: &Prepared, event: &Validated) -> Bytes {
    let outputs = plugin.transform(event).expect("the plugin takes the sample");
    match &outputs[0].body {
        Body::Document(document) => document.to_bytes(),
        Body::Bytes(bytes) => bytes.clone(),
    }
}

fn event(text: &str) -> Validated {
    let decoded = Decoded {
        partner: "haneul-app".parse().expect("the name is a partner's"),
        attributes: Arc::new(Attributes {
            client_ip: None,
            user_agent: None,
            id: "019a4c5e-7b1c-7d2e-9f00-0123456789ab".into(),
            source: "/apps/haneul".to_owned(),
            event_type: "app.page_view".parse().expect("the name is a type's"),
            time: "2026-11-02T01:15:30.412Z".to_owned(),
            subject: None,
            app_version: Some("5.11.0".to_owned()),
        }),
        data: Document::parse(Bytes::from(text.to_owned()), 64).expect("the sample is JSON"),
        received: jiff::Timestamp::UNIX_EPOCH,
        id_generated: false,
        traceparent: None,
    };
    Validated::attest(decoded, "app.page_view@5.10.0".into())
}

/// What the plugins do, by a tree of the event.
fn edit_in_serde_json(text: &str) -> Vec<u8> {
    let mut value: Value = serde_json::from_str(text).expect("the sample is JSON");
    let read = |pointer| value.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let number = |pointer| value.pointer(pointer).and_then(Value::as_i64).unwrap_or_default();
    let page = format!("{} {}", read("/screen/name"), read("/url"));
    let os = format!(
        "{} {} {}",
        read("/platform"),
        read("/device/os_version"),
        read("/network/type")
    );
    let is_slow = number("/session/number") > 1 && number("/load_ms") > 400 && !read("/user_id").is_empty();
    let view = value.as_object_mut().expect("the sample is an object");
    for (from, to) in [("occurred_at", "viewed_at"), ("anonymous_id", "visitor_id")] {
        if let Some(moved) = view.remove(from) {
            view.insert(to.to_owned(), moved);
        }
    }
    view.remove("consent");
    view.insert("page".to_owned(), page.into());
    view.insert("os".to_owned(), os.into());
    view.insert("is_slow".to_owned(), is_slow.into());
    serde_json::to_vec(&value).expect("a value is JSON")
}

/// The median of the rounds' mean times.
fn median(rounds: usize, calls: usize, mut call: impl FnMut()) -> Duration {
    (0..calls.div_ceil(10)).for_each(|_| call());
    let mut times: Vec<Duration> = (0..rounds)
        .map(|_| {
            let begun = Instant::now();
            (0..calls).for_each(|_| call());
            begun.elapsed() / u32::try_from(calls).expect("a number of calls")
        })
        .collect();
    times.sort_unstable();
    times[rounds / 2]
}

fn resident_bytes() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = text
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse::<usize>().ok());
    pages.unwrap_or_default() * rustix::param::page_size()
}
