//! Many schemas: what resolving costs an event, what a change costs, and what a gateway's cold start costs in time and
//! memory. `cargo bench --profile measure --bench schemas`

#[path = "../support/gateway.rs"]
#[expect(dead_code, reason = "each benchmark asks something else of it")]
mod gateway;
#[path = "../../tests/it/harness/ports.rs"]
mod ports;

use std::{
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use chacha20::ChaCha8Rng;
use headworks::{
    event::EventType,
    registry::{
        Registry,
        model::{Change, Digest, Entry, Schema, SchemaKey, State},
    },
    store::Store,
    validate::{Resolution, Schemas},
};
use jiff::Timestamp;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::json;

use gateway::Gateway;

const TYPES: usize = 10_000;
const VERSIONS: [&str; 3] = ["3.0.0", "5.2", "5.10.0"];
/// Every so-manieth type has schemas for a source of its own too.
const OWN_SOURCE_EVERY: usize = 10;
const SCHEMAS_OF_COLD_START: usize = 10_000;

fn main() {
    resolve_and_change();
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime can be made")
        .block_on(cold_start());
}

/// The schema texts of the sample company, so that sizes are real; each is made another by its title.
fn texts() -> Vec<serde_json::Value> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/schemas");
    let mut files: Vec<_> = walk(root.as_ref());
    files.sort();
    files
        .iter()
        .map(|file| {
            let text = std::fs::read_to_string(file).expect("the schema is there");
            serde_json::from_str(&text).expect("a schema is JSON")
        })
        .collect()
}

/// `schemas/TYPE/SINCE.json`.
fn walk(root: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = |folder: &std::path::Path| -> Vec<std::path::PathBuf> {
        std::fs::read_dir(folder)
            .expect("the folder is there")
            .map(|entry| entry.expect("it can be listed").path())
            .collect()
    };
    entries(root)
        .iter()
        .filter(|path| path.is_dir())
        .flat_map(|folder| entries(folder))
        .filter(|path| path.is_file() && !path.to_string_lossy().ends_with(".upgrade.json"))
        .collect()
}

fn event_type(index: usize) -> EventType {
    format!("team_{}.event_{index}", index % 97)
        .parse()
        .expect("it is a type")
}

fn put(
    texts: &[serde_json::Value],
    index: usize,
    since: &str,
    source: Option<&str>,
    name: EventType,
) -> Change {
    let mut schema = texts[index % texts.len()].clone();
    schema["title"] = format!("{name} {since} {}", source.unwrap_or("any")).into();
    let text = serde_json::to_string_pretty(&schema).expect("a value is JSON");
    Change::PutSchema {
        key: SchemaKey {
            event_type: name,
            source: source.map(str::to_owned),
            since: since.to_owned(),
        },
        schema: Schema {
            digest: Digest::of(text.as_bytes()),
            text: text.into(),
            created: Timestamp::UNIX_EPOCH,
            by: "bench".to_owned(),
        },
        forced: false,
    }
}

fn entry(sequence: u64, change: Change) -> Entry {
    Entry {
        sequence,
        at: Timestamp::UNIX_EPOCH,
        by: "bench".to_owned(),
        change,
    }
}

fn resolve_and_change() {
    let texts = texts();
    let mut state = State::default();
    for index in 0..TYPES {
        for since in VERSIONS {
            let change = put(&texts, index, since, None, event_type(index));
            state.apply_in_place(&entry(state.sequence + 1, change));
            if index % OWN_SOURCE_EVERY == 0 {
                let change = put(&texts, index, since, Some("/kiosk"), event_type(index));
                state.apply_in_place(&entry(state.sequence + 1, change));
            }
        }
    }
    let count = state.sequence;
    let state = Arc::new(state);
    let started = Instant::now();
    let schemas = Schemas::build(&state, &Schemas::default());
    println!(
        "{TYPES} types, {count} schemas: the table from nothing {:.1} ms",
        started.elapsed().as_secs_f64() * 1e3
    );
    resolve(&schemas);
    let mut before = (state, schemas);
    let mut costs = Vec::new();
    for round in 0..50 {
        let change = put(&texts, round, "6.0", None, event_type(round * 7));
        let started = thread_time();
        let after = Arc::new(before.0.apply(&entry(before.0.sequence + 1, change)));
        let schemas = Schemas::build(&after, &before.1);
        before = (after, schemas);
        costs.push(thread_time() - started);
    }
    println!(
        "one schema registered, state and table: CPU {}",
        spread(&mut costs)
    );
}

/// In CPU time of this thread, since other work shares the machine; with all types in turn hardly anything of the table is
/// in the processor's caches, with a few hundred all is. What is asked for is in them, as what was just decoded is.
fn resolve(schemas: &Schemas) {
    let versions = [
        None,
        Some("5.10.0"),
        Some("v5.10.3"),
        Some("4.2.1"),
        Some("5.10.0-rc.1"),
        Some("5.11 (build 812)"),
    ];
    let mut random = ChaCha8Rng::seed_from_u64(7);
    for types in [200, TYPES] {
        let asked: Vec<_> = (0..200_000)
            .map(|_| {
                let source = if random.random_range(0..10) == 0 {
                    "/kiosk"
                } else {
                    "/apps/haneul"
                };
                let version = versions[random.random_range(0..versions.len())];
                (event_type(random.random_range(0..types)), source, version)
            })
            .collect();
        let mut costs = Vec::new();
        for _ in 0..9 {
            let started = thread_time();
            for (name, source, version) in &asked {
                let found = schemas.resolve(name, source, *version);
                assert!(matches!(black_box(found), Resolution::Found(..)));
            }
            costs.push((thread_time() - started) / u32::try_from(asked.len()).unwrap_or(u32::MAX));
        }
        costs.sort();
        println!(
            "resolve, any of {types} types in turn: {} ns of CPU (lowest {}, highest {})",
            costs[4].as_nanos(),
            costs[0].as_nanos(),
            costs[8].as_nanos()
        );
    }
}

fn thread_time() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(
        now.tv_sec.unsigned_abs(),
        u32::try_from(now.tv_nsec).unwrap_or_default(),
    )
}

async fn cold_start() {
    // In memory where there is such a folder: what syncing costs is not what is measured.
    let folder = tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .expect("a folder can be made");
    let texts = texts();
    fill_store(folder.path(), &texts).await;
    let started = Instant::now();
    let gateway = start(folder.path());
    gateway.ready().await;
    println!(
        "cold start: ready after {:.2} s, {} MiB",
        started.elapsed().as_secs_f64(),
        gateway.process.resident_mib()
    );
    let key = gateway.partner("bench").await;
    let route = json!({"to": [{"destination": "files", "topic": "bench"}]});
    gateway.put("/v1/routes/bench", route).await;
    // The type whose schema the background comes to last: a request waits for that one alone.
    let last = event_type((SCHEMAS_OF_COLD_START - 1) / VERSIONS.len());
    let uncompiled = metric(&gateway, "headworks_schemas_uncompiled").await;
    let started = Instant::now();
    send(&gateway, &key, last.as_str(), "3.1").await;
    println!(
        "first event of an uncompiled schema, {uncompiled} others waiting: {:.1} ms",
        started.elapsed().as_secs_f64() * 1e3
    );
    let started = Instant::now();
    let mut before = uncompiled;
    loop {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let now = metric(&gateway, "headworks_schemas_uncompiled").await;
        if now == before {
            break;
        }
        before = now;
    }
    println!(
        "background compilation ended after {:.1} s, {before} schemas left to their first event, {} MiB",
        started.elapsed().as_secs_f64(),
        gateway.process.resident_mib()
    );
    for index in 0..SCHEMAS_OF_COLD_START / VERSIONS.len() {
        for version in VERSIONS {
            send(&gateway, &key, event_type(index).as_str(), version).await;
        }
    }
    println!(
        "after an event for each schema: {} MiB, {} compilations",
        gateway.process.resident_mib(),
        metric(&gateway, "headworks_schemas_compilations_total").await
    );
    let mut costs = Vec::new();
    for round in 0..50 {
        let path = format!("/v1/schemas/{}/7.0", event_type(round * 31));
        let text = texts[round % texts.len()].clone();
        let started = Instant::now();
        gateway.put(&path, text).await;
        costs.push(started.elapsed());
    }
    println!(
        "one schema registered over the API, until in force: {}",
        spread(&mut costs)
    );
}

/// Over a store that is there already.
fn start(folder: &std::path::Path) -> Gateway {
    let configuration = format!(
        "[store]\nurl = \"file:{}\"\n\
         [[destination]]\nname = \"files\"\nkind = \"file\"\npath = {:?}\n",
        folder.join("store").display(),
        folder.join("data/out")
    );
    Gateway::spawn(gateway::PROGRAM.as_ref(), folder, &configuration)
}

/// Sends an event that is checked, whatever the check says.
async fn send(gateway: &Gateway, key: &str, event_type: &str, app_version: &str) {
    let answer = gateway
        .client
        .post(format!("http://{}/v1/events/{event_type}", gateway.data))
        .bearer_auth(key)
        .header("ce-appversion", app_version)
        .json(&json!({}))
        .send()
        .await
        .expect("the gateway answers");
    assert_eq!(answer.status(), 202);
    let text = answer.text().await.expect("an answer is text");
    assert!(
        text.contains("schema-violation") || text.contains("accepted"),
        "{text}"
    );
}

async fn metric(gateway: &Gateway, name: &str) -> u64 {
    let text = gateway.metrics().await;
    text.lines()
        .filter(|line| line.starts_with(name))
        .find_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .map_or_else(|| panic!("no metric {name}"), |value| value as u64)
}

/// The schemas that the gateway is to find.
async fn fill_store(folder: &std::path::Path, texts: &[serde_json::Value]) {
    let store = Store::open(&format!("file:{}", folder.join("store").display())).expect("a store opens");
    let registry = Registry::open(store).await.expect("an empty store is a registry");
    let started = Instant::now();
    let mut bytes = 0;
    for index in 0..SCHEMAS_OF_COLD_START {
        let since = VERSIONS[index % VERSIONS.len()];
        let change = put(texts, index, since, None, event_type(index / VERSIONS.len()));
        if let Change::PutSchema { schema, .. } = &change {
            bytes += schema.text.len();
        }
        registry
            .commit("bench", move |_| Ok((Some(change.clone()), ())))
            .await
            .expect("the store takes it");
    }
    drop(registry);
    println!(
        "{SCHEMAS_OF_COLD_START} schemas, {} KiB of text, written in {:.1} s",
        bytes / 1024,
        started.elapsed().as_secs_f64()
    );
}

fn spread(costs: &mut [Duration]) -> String {
    costs.sort();
    let at = |index: usize| costs.get(index).copied().unwrap_or_default().as_secs_f64() * 1e3;
    format!(
        "median {:.2} ms, highest {:.2} ms",
        at(costs.len() / 2),
        at(costs.len() - 1)
    )
}
