//! What the spool costs and gives: appends beside a plain write and sync of the same bytes, the time until a gateway
//! with a full spool accepts, the rate at which a spool drains to a real Kafka beside a bare producer, and what the
//! destination that has a spool costs while the broker is well.
//!
//! `cargo bench --profile measure --bench spool -- [append] [recovery] [kafka]`; all three without a name.
//! `HEADWORKS_BENCH_SPOOL_BYTES` for another size of the spool that is recovered, `HEADWORKS_BENCH_RECORDS` for more or
//! fewer records to Kafka.

mod append;
mod recovery;
mod to_kafka;

#[path = "../support/gateway.rs"]
#[expect(dead_code, reason = "each benchmark asks something else of it")]
mod gateway;
#[path = "../../tests/it/harness/kafka.rs"]
#[expect(dead_code, reason = "tests read from the broker, the benchmark does not")]
mod kafka;
#[path = "../../tests/it/harness/ports.rs"]
mod ports;

use std::{path::Path, sync::Arc};

use headworks::{
    config::{DestinationKind, DestinationSettings},
    deliver::{Destination, Destinations, Recall, RefusedHandler},
    event::{Attributes, Record, RecordAttributes},
    spool::Budget,
};
use tikv_jemallocator::Jemalloc;

/// Of each record.
const VALUE_BYTES: usize = 700;
/// Where no broker is.
const NOBODY: &str = "127.0.0.1:1";

/// The gateway's own allocator.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() {
    let named: Vec<String> = std::env::args().skip(1).collect();
    let parts = ["append", "recovery", "kafka"];
    let wanted = |part: &str| {
        !named.iter().any(|name| parts.contains(&&**name)) || named.iter().any(|name| name == part)
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime can be made");
    let busy = std::fs::read_to_string("/proc/loadavg").expect("the kernel says");
    println!("load of the machine before: {}", busy.trim());
    if wanted("append") {
        append::measure();
    }
    if wanted("recovery") {
        runtime.block_on(recovery::measure());
    }
    if wanted("kafka") {
        runtime.block_on(to_kafka::measure());
    }
}

/// A whole number from the environment.
fn size(name: &str, otherwise: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(otherwise)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn verdict(reached: bool) -> &'static str {
    if reached { "reached" } else { "NOT reached" }
}

/// One of many records alike, as a route to Kafka makes them.
struct Records {
    value: bytes::Bytes,
    received: jiff::Timestamp,
}

impl Records {
    fn new() -> Records {
        let text = "abcdefghij".repeat(VALUE_BYTES / 10 - 2);
        Records {
            value: format!("{{\"text\":\"{text}\"}}").into(),
            received: jiff::Timestamp::now(),
        }
    }

    fn make(&self, number: u64, topic: &Arc<str>) -> Record {
        let id = format!("019a4c5e-7b1c-7d2e-9f00-{number:012}");
        Record {
            about: Arc::new(RecordAttributes {
                attributes: Arc::new(Attributes {
                    client_ip: None,
                    user_agent: None,
                    id: id.into(),
                    source: "/partners/haneul-app".to_owned(),
                    event_type: "app.page_view".parse().expect("a type"),
                    time: "2026-03-04T05:06:07Z".to_owned(),
                    subject: None,
                    app_version: Some("5.10.0".to_owned()),
                }),
                partner: "haneul-app".parse().expect("a name"),
                schema: "app.page_view@5.10.0".into(),
                plugin: None,
                route: "page-views".parse().expect("a name"),
                received: self.received,
                traceparent: None,
            }),
            topic: Arc::clone(topic),
            key: Some(format!("user-{}", number % 1000).into()),
            headers: Arc::new([]),
            value: self.value.clone(),
            value_is_json: true,
            is_alone: true,
            item: None,
        }
    }
}

/// A destination `events` of Kafka, with its spool in `folder`.
fn start(brokers: &str, folder: &Path) -> (Destinations, Arc<dyn Destination>) {
    let settings = [DestinationSettings {
        name: "events".parse().expect("a name"),
        kind: DestinationKind::Kafka {
            brokers: brokers.to_owned(),
            options: std::collections::BTreeMap::new(),
        },
    }];
    let refused: RefusedHandler = Arc::new(|_, _, detail| panic!("refused: {detail}"));
    let destinations = Destinations::start(
        &settings,
        folder,
        Budget::new(64 << 30),
        refused,
        &Recall::default(),
    )
    .expect("the destination starts");
    let events = Arc::clone(destinations.get("events").expect("it is there"));
    (destinations, events)
}
