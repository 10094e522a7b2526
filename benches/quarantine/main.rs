//! A million events in quarantine: how fast they are kept, found, counted, read at a start, and replayed to a `file`
//! destination, in one process that uses the library as the gateway does. And what a replay costs live traffic, beside
//! which it runs in a gateway.
//!
//! `cargo bench --profile measure --bench quarantine -- [--only million|beside] [--quick]`;
//! `HEADWORKS_BENCH_EVENTS=100000` for fewer than a million.

mod beside;

#[path = "../support/client.rs"]
#[expect(dead_code, reason = "each benchmark asks something else of it")]
mod client;
#[path = "../support/events.rs"]
#[expect(dead_code, reason = "each benchmark asks something else of it")]
mod events;
#[path = "../support/gateway.rs"]
#[expect(dead_code, reason = "each benchmark asks something else of it")]
mod gateway;
#[path = "../support/parts.rs"]
mod parts;
#[path = "../../tests/it/harness/ports.rs"]
mod ports;
#[path = "../support/steady.rs"]
mod steady;
#[path = "../support/verdict.rs"]
mod verdict;

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use clap::ValueEnum;
use headworks::{
    config::{DestinationKind, DestinationSettings, FileRotation, RecentSettings},
    deliver::{Destinations, Recall},
    event::{Attributes, Decoded, Reason},
    json::Document,
    limits::{ByteSize, Limits},
    pipeline::{Lookups, Memory, Pipeline, Preparations, Tables, WebhookIds},
    problem::Code,
    quarantine::{Filter, Kept, Quarantine},
    recent::Recent,
    registry::{
        Registry,
        model::{Change, Digest, Route, RouteMatch, RouteTarget, Schema, SchemaKey},
        now,
        seal::Sealer,
    },
    spool::{Budget, Spool, SpoolOptions},
    store::Store,
    telemetry::Telemetry,
    transform::{TransformSettings, Transformer},
};

use parts::Arguments;
use verdict::Goals;

const EVENTS: usize = 1_000_000;
/// Kept at once, as a large request's events are.
const IN_FLIGHT: usize = 2000;
const TYPES: usize = 20;
const BUDGET_BYTES: u64 = 16 << 30;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// A million events: kept, found, counted, read at a start, replayed; in process.
    Million,
    /// A partner's latencies beside a replay; through a gateway.
    Beside,
}

fn main() {
    let arguments = Arguments::<Part>::read();
    let events = std::env::var("HEADWORKS_BENCH_EVENTS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(EVENTS);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_stack_size(8 << 20)
        .build()
        .expect("a runtime can be made");
    if arguments.asks(Part::Million) {
        runtime.block_on(run(events));
    }
    if arguments.asks(Part::Beside) {
        let verdict = runtime.block_on(beside::measure(arguments.quick));
        print!("\n{}", Goals(&[verdict]));
    }
}

async fn run(events: usize) {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let store = Store::open(&format!("file:{}", folder.path().join("store").display())).expect("a store");
    println!("{events} events of 700 bytes, {TYPES} types, local folder");

    let quarantine = open(folder.path(), &store).await;
    let keeping = Measure::begin();
    for first in (0..events).step_by(IN_FLIGHT) {
        keep(&quarantine, first..(first + IN_FLIGHT).min(events)).await;
    }
    keeping.rate("keep (durable in the spool)", events);
    let storing = Measure::begin();
    quarantine.close().await;
    while quarantine
        .figures(&headworks::quarantine::Retention::default())
        .batches
        == 0
    {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    storing.took("bring the rest to the store");
    drop(quarantine);

    let before = resident_bytes();
    let opening = Measure::begin();
    let quarantine = open(folder.path(), &store).await;
    opening.took("start");
    println!(
        "{:<44} {:>9.1} MiB for {} events",
        "  memory of the index",
        resident_bytes().saturating_sub(before) as f64 / f64::from(1 << 20),
        quarantine.len()
    );
    let figures = quarantine.figures(&headworks::quarantine::Retention::default());
    println!(
        "{:<44} {:>9} objects, {:.0} bytes an event",
        "  in the store",
        figures.batches,
        figures.bytes as f64 / events as f64
    );
    find(&quarantine).await;
    replay(folder.path(), store, quarantine, events).await;
}

async fn open(folder: &Path, store: &Store) -> Arc<Quarantine> {
    let spool = Spool::open(
        &folder.join("spool"),
        SpoolOptions::default(),
        Budget::new(BUDGET_BYTES),
    )
    .expect("a spool");
    Quarantine::open(spool, store.clone())
        .await
        .expect("a quarantine")
}

fn event(number: usize) -> Kept {
    let data = format!(
        "{{\"number\":{number},\"key\":{},\"text\":\"{}\"}}",
        number % 1000,
        "abcdefghij".repeat(65)
    );
    let event = Decoded {
        partner: "haneul-app".parse().expect("a partner's name"),
        attributes: Attributes {
            client_ip: None,
            user_agent: None,
            id: format!("019a4c5e-7b1c-7d2e-9f00-{number:012}").into(),
            source: "/apps/haneul".to_owned(),
            event_type: format!("late.type-{}", number % TYPES)
                .parse()
                .expect("a type's name"),
            time: "2026-11-02T01:15:30.412Z".to_owned(),
            subject: None,
            app_version: Some("5.11.0".to_owned()),
        }
        .into(),
        data: Document::parse(Bytes::from(data), 64).expect("JSON"),
        received: now(),
        id_generated: false,
        traceparent: None,
    };
    Kept::new(
        event,
        Reason::new(Code::SchemaUnknown, "no schema is registered for this type"),
        None,
    )
}

async fn keep(quarantine: &Arc<Quarantine>, numbers: std::ops::Range<usize>) {
    let (done, mut kept) = tokio::sync::mpsc::unbounded_channel();
    let count = numbers.len();
    for number in numbers {
        let done = done.clone();
        quarantine.keep(event(number), move |result| {
            let _ = done.send(result);
        });
    }
    for _ in 0..count {
        kept.recv().await.expect("an answer").expect("it is durable");
    }
}

async fn find(quarantine: &Quarantine) {
    let page = Measure::begin();
    quarantine
        .list(&Filter::default(), None, 100)
        .await
        .expect("a page");
    page.took("list: the first 100");
    let rare = Filter {
        event_type: Some("late.type-7".to_owned()),
        from: Some(now()),
        ..Filter::default()
    };
    let nothing = Measure::begin();
    quarantine.list(&rare, None, 100).await.expect("a page");
    nothing.took("list: a filter that nothing matches");
    let of_type = Filter {
        event_type: Some("late.type-7".to_owned()),
        ..Filter::default()
    };
    let filtered = Measure::begin();
    quarantine.list(&of_type, None, 100).await.expect("a page");
    filtered.took("list: 100 of one type");
    let counting = Measure::begin();
    quarantine.count(&of_type, None).await;
    counting.took("count: one type");
}

async fn replay(folder: &Path, store: Store, quarantine: Arc<Quarantine>, events: usize) {
    let pipeline = pipeline(folder, store, quarantine).await;
    let replaying = Measure::begin();
    let report = pipeline
        .replay_all(&Filter::default())
        .await
        .expect("it goes out");
    assert_eq!(report.accepted, events as u64);
    replaying.rate("replay (durable for the file destination)", events);
    let files = pipeline
        .destinations()
        .get("files")
        .expect("the destination is there");
    while files.pending().entries > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    replaying.rate("replay (written to the files)", events);
    let again = Measure::begin();
    let second = pipeline.replay_all(&Filter::default()).await.expect("it ends");
    assert_eq!(second.accepted, 0, "a second replay adds no record");
    again.took("a second replay, which adds nothing");
    pipeline.destinations().shutdown(Duration::from_secs(5)).await;
}

#[expect(clippy::too_many_lines, reason = "all parts of a pipeline, one after another")]
async fn pipeline(folder: &Path, store: Store, quarantine: Arc<Quarantine>) -> Arc<Pipeline> {
    let registry = Registry::open(store).await.expect("a registry");
    for number in 0..TYPES {
        let text: Arc<str> =
            "{\"type\":\"object\",\"required\":[\"number\",\"key\"],\"properties\":{\"number\":{\"type\":\"integer\"},\
             \"text\":{\"type\":\"string\",\"maxLength\":1000}}}"
                .into();
        let key = SchemaKey {
            event_type: format!("late.type-{number}").parse().expect("a type's name"),
            source: None,
            since: "1".to_owned(),
        };
        let schema = Schema {
            digest: Digest::of(text.as_bytes()),
            text,
            created: now(),
            by: "bench".to_owned(),
        };
        commit(
            &registry,
            Change::PutSchema {
                key,
                schema,
                forced: false,
            },
        )
        .await;
    }
    let route = Route {
        matches: RouteMatch::default(),
        plugin: None,
        config: None,
        isolation: Default::default(),
        to: vec![RouteTarget {
            destination: "files".to_owned(),
            topic: Some("late".to_owned()),
            key: Some("/key".to_owned()),
        }],
        form: Default::default(),
    };
    let name = "all".parse().expect("a route's name");
    commit(&registry, Change::PutRoute { name, route }).await;
    let settings = [DestinationSettings {
        name: "files".parse().expect("a destination's name"),
        kind: DestinationKind::File {
            path: folder.join("out"),
            rotation: FileRotation::default(),
        },
    }];
    let refused =
        Arc::new(|_, _, _| -> futures::future::BoxFuture<'static, bool> { Box::pin(async { false }) });
    let destinations = Destinations::start(
        &settings,
        &folder.join("destinations"),
        Budget::new(BUDGET_BYTES),
        refused,
        &Recall::default(),
    )
    .expect("the destination starts");
    let recent = Recent::new(&RecentSettings {
        events: 100,
        max_bytes: ByteSize(64 << 20),
    });
    let telemetry = Telemetry::new(1000);
    let transformer = Transformer::new(TransformSettings {
        limits: Limits::default(),
        cache_dir: folder.join("cache"),
        compiler: env!("CARGO_BIN_EXE_headworks").into(),
    })
    .expect("the engine starts");
    let webhook_ids = WebhookIds::open(folder).expect("the folder can be written");
    let sealer = Sealer::from_file(&folder.join("sealing-key")).expect("the folder can be written");
    let pipeline = Pipeline::new(
        destinations,
        quarantine,
        recent,
        Memory {
            webhook_ids,
            quotas: Arc::default(),
        },
        Limits::default(),
        Arc::clone(&telemetry),
    );
    let tables = Tables::build(
        registry.state(),
        &Tables::default(),
        &Preparations::new(registry.clone(), transformer),
        &Lookups::new(registry.clone(), Limits::default().tables_memory_bytes),
        &sealer,
        &telemetry,
    )
    .await;
    pipeline.install(tables);
    pipeline
}

async fn commit(registry: &Registry, change: Change) {
    let decide = move |_: &_| Ok((Some(change.clone()), ()));
    registry
        .commit("bench", decide)
        .await
        .expect("the change is made");
}

/// Wall clock and CPU of the whole process.
struct Measure {
    begun: Instant,
    cpu: Duration,
}

impl Measure {
    fn begin() -> Measure {
        Measure {
            begun: Instant::now(),
            cpu: cpu_time(),
        }
    }

    fn rate(&self, what: &str, events: usize) {
        let (wall, cpu) = (self.begun.elapsed(), cpu_time() - self.cpu);
        println!(
            "{what:<44} {:>9.0} events/s, {:.0} events a second of CPU ({:.1} µs each)",
            events as f64 / wall.as_secs_f64(),
            events as f64 / cpu.as_secs_f64(),
            cpu.as_secs_f64() * 1e6 / events as f64
        );
    }

    fn took(&self, what: &str) {
        let (wall, cpu) = (self.begun.elapsed(), cpu_time() - self.cpu);
        println!(
            "{what:<44} {:>9.1} ms, {:.1} ms of CPU",
            wall.as_secs_f64() * 1e3,
            cpu.as_secs_f64() * 1e3
        );
    }
}

fn cpu_time() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(
        now.tv_sec.unsigned_abs(),
        u32::try_from(now.tv_nsec).unwrap_or_default(),
    )
}

fn resident_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or_default() * 4096
}
