//! Destinations on their own: a real Kafka that dies and comes back, and files.

use std::{
    collections::{BTreeMap, HashSet},
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use headworks::{
    config::{DestinationKind, DestinationSettings, FileRotation, Secret},
    deliver::{
        Acknowledgement, Delivery, Destination, DestinationState, Destinations, Recall, RefusedHandler,
    },
    event::{Attributes, Record, RecordAttributes},
    spool::Budget,
};
use tempfile::TempDir;

use crate::harness::{
    kafka::{self, Broker, Message},
    long,
};

pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `condition` holds; the state decides, the bound only ends a broken test.
pub async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "never: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub fn record(topic: &str, key: Option<&str>, id: &str, value: impl Into<Bytes>) -> Record {
    Record {
        about: Arc::new(RecordAttributes {
            attributes: Arc::new(Attributes {
                client_ip: None,
                user_agent: None,
                id: id.into(),
                source: "/partners/shop".to_owned(),
                event_type: "order.placed".parse().expect("a type"),
                time: "2026-03-04T05:06:07Z".to_owned(),
                subject: None,
                app_version: Some("5.2.0".to_owned()),
            }),
            partner: "shop".parse().expect("a name"),
            schema: "order.placed@5.0.0".into(),
            plugin: None,
            route: "orders".parse().expect("a name"),
            received: "2026-03-04T05:06:07.891234Z".parse().expect("a time"),
            traceparent: None,
        }),
        topic: topic.into(),
        key: key.map(Into::into),
        headers: Arc::new([("campaign".to_owned(), "spring".to_owned())]),
        value: value.into(),
        value_is_json: true,
        is_alone: false,
        item: None,
    }
}

/// What was handed to the handler for refused records, which refuses itself at first.
#[derive(Clone, Default)]
pub struct Refusals(Arc<Mutex<Vec<(String, String)>>>);

impl Refusals {
    pub fn handler(&self) -> RefusedHandler {
        let (refusals, tried) = (self.clone(), Arc::new(AtomicBool::new(false)));
        Arc::new(move |_, record, detail| {
            let (refusals, tried) = (refusals.clone(), Arc::clone(&tried));
            Box::pin(async move {
                if !tried.swap(true, Ordering::SeqCst) {
                    return false;
                }
                refusals
                    .lock()
                    .push((record.about.attributes.id.to_string(), detail));
                true
            })
        })
    }

    pub fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(String, String)>> {
        self.0.lock().expect("no panic")
    }
}

pub fn kafka_settings(broker: &Broker, options: &[(&str, &str)]) -> DestinationSettings {
    DestinationSettings {
        name: "events".parse().expect("a name"),
        kind: DestinationKind::Kafka {
            brokers: broker.bootstrap().to_owned(),
            options: secrets(options),
        },
    }
}

pub fn secrets(options: &[(&str, &str)]) -> BTreeMap<String, Secret> {
    options
        .iter()
        .map(|(name, value)| ((*name).to_owned(), Secret::new((*value).to_owned())))
        .collect()
}

pub fn start(settings: &[DestinationSettings], spool: &Path, refusals: &Refusals) -> Destinations {
    Destinations::start(
        settings,
        spool,
        Budget::new(1 << 30),
        refusals.handler(),
        &Recall::default(),
    )
    .expect("started")
}

pub fn events(destinations: &Destinations) -> Arc<dyn Destination> {
    Arc::clone(destinations.get("events").expect("it is configured"))
}

pub async fn deliver(
    destination: &Arc<dyn Destination>,
    records: impl IntoIterator<Item = Record>,
) -> Vec<Delivery> {
    let records: Vec<_> = records.into_iter().collect();
    let acknowledgement = Acknowledgement::new(records.len());
    for (index, record) in records.into_iter().enumerate() {
        destination.send(record, acknowledgement.ticket(index));
    }
    tokio::time::timeout(3 * PATIENCE, acknowledgement.wait())
        .await
        .expect("every record is answered for")
}

pub fn numbered(topic: &str, numbers: std::ops::Range<usize>) -> Vec<Record> {
    numbers
        .map(|number| {
            record(
                topic,
                Some(&format!("k{}", number % 5)),
                &number.to_string(),
                "{\"a\": 1}",
            )
        })
        .collect()
}

/// Ids in order of each key; of a doubled one only the first counts.
fn ids_by_key(messages: &[Message]) -> BTreeMap<Vec<u8>, Vec<usize>> {
    let mut ids: BTreeMap<Vec<u8>, Vec<usize>> = BTreeMap::new();
    let mut seen = HashSet::new();
    for message in messages {
        let id = message.headers["ce_id"].parse().expect("a number");
        if seen.insert(id) {
            ids.entry(message.key.clone().unwrap_or_default())
                .or_default()
                .push(id);
        }
    }
    ids
}

/// At rest: nothing is on its way, and nothing is missing.
pub fn assert_balanced(destination: &Arc<dyn Destination>) {
    let counts = destination.counts();
    let ended = counts.delivered + counts.waiting + counts.refused + counts.no_place;
    assert_eq!(counts.accepted + counts.recovered, ended, "{counts:?}");
    assert_eq!((counts.in_flight, counts.unaccounted), (0, 0), "{counts:?}");
}

pub fn assert_ordered_and_whole(messages: &[Message], count: usize) {
    let ids = ids_by_key(messages);
    for (key, ids) in &ids {
        assert!(ids.is_sorted(), "{}: {ids:?}", String::from_utf8_lossy(key));
    }
    assert_eq!(ids.values().map(Vec::len).sum::<usize>(), count, "none is lost");
}

#[tokio::test]
async fn a_healthy_broker_gets_key_headers_and_value_and_the_disk_nothing() {
    let broker = kafka::shared();
    broker.create_topic("happy", 3).await;
    let directory = TempDir::new().expect("a temporary folder");
    let options = [("compression.type", "zstd")];
    let destinations = start(
        &[kafka_settings(broker, &options)],
        directory.path(),
        &Refusals::default(),
    );
    let destination = events(&destinations);
    assert_eq!(
        (destination.name().as_str(), destination.kind()),
        ("events", "kafka")
    );
    let value = "{ \"total\": 1.50,\n \"id\": 12345678901234567890 }";
    let sent = [
        record("happy", Some("k1"), "1", value),
        Record {
            value_is_json: false,
            ..record("happy", None, "2", vec![0, 159, 146, 150])
        },
    ];
    assert_eq!(
        deliver(&destination, sent).await,
        [Delivery::Durable, Delivery::Durable]
    );
    let mut messages = broker.consume("happy", 2).await;
    messages.sort_by_key(|message| message.headers["ce_id"].clone());
    let headers = |id: &str, content_type: &str| {
        [
            ("content-type", content_type),
            ("ce_specversion", "1.0"),
            ("ce_id", id),
            ("ce_source", "/partners/shop"),
            ("ce_type", "order.placed"),
            ("ce_time", "2026-03-04T05:06:07Z"),
            ("ce_appversion", "5.2.0"),
            ("hw_partner", "shop"),
            ("hw_schema", "order.placed@5.0.0"),
            ("hw_received", "2026-03-04T05:06:07.891Z"),
            ("campaign", "spring"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
    };
    let (first, second) = (&messages[0], &messages[1]);
    assert_eq!(
        (first.key.as_deref(), &*first.value),
        (Some(&b"k1"[..]), value.as_bytes())
    );
    assert_eq!(first.headers, headers("1", "application/json"));
    assert_eq!(
        (second.key.as_deref(), &*second.value),
        (None, &[0, 159, 146, 150][..])
    );
    assert_eq!(second.headers, headers("2", "application/octet-stream"));
    let counts = destination.counts();
    assert_eq!((counts.accepted, counts.delivered, counts.spooled), (2, 2, 0));
    assert_eq!(
        (destination.state(), destination.pending().entries),
        (DestinationState::Healthy, 0)
    );
    destinations.shutdown(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_killed_under_load_costs_no_record_and_no_order() {
    let broker = Arc::new(Broker::start());
    broker.create_topic("load", 4).await;
    let directory = TempDir::new().expect("a temporary folder");
    let destinations = start(
        &[kafka_settings(&broker, &[])],
        directory.path(),
        &Refusals::default(),
    );
    let destination = events(&destinations);
    let stop = Arc::new(AtomicBool::new(false));
    let sender = tokio::spawn({
        let (destination, stop) = (Arc::clone(&destination), Arc::clone(&stop));
        async move {
            let mut next = 0;
            while !stop.load(Ordering::SeqCst) {
                let deliveries = deliver(&destination, numbered("load", next..next + 20)).await;
                assert!(
                    deliveries.iter().all(|delivery| *delivery == Delivery::Durable),
                    "{deliveries:?}"
                );
                next += 20;
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            next
        }
    });
    for _ in 0..if long() { 20 } else { 2 } {
        let delivered = destination.counts().delivered;
        eventually("records flow", || {
            destination.counts().delivered > delivered + 500
        })
        .await;
        let killed = Arc::clone(&broker);
        tokio::task::spawn_blocking(move || killed.kill())
            .await
            .expect("killed");
        eventually("records go to the spool", || {
            destination.state() == DestinationState::Spooling
        })
        .await;
        let spooled = destination.counts().spooled;
        eventually("senders are still answered", || {
            destination.counts().spooled > spooled + 500
        })
        .await;
        let restarted = Arc::clone(&broker);
        tokio::task::spawn_blocking(move || restarted.restart())
            .await
            .expect("restarted");
        // The load goes on: the switch back to the broker must come about all the same.
        eventually("the spool is drained", || {
            destination.state() == DestinationState::Healthy
        })
        .await;
    }
    let delivered = destination.counts().delivered;
    eventually("records flow", || {
        destination.counts().delivered > delivered + 500
    })
    .await;
    stop.store(true, Ordering::SeqCst);
    let sent = sender.await.expect("every record was taken");
    assert_eq!(destination.pending().entries, 0);
    let messages = broker.consume_all("load").await;
    assert_ordered_and_whole(&messages, sent);
    let doubled = messages.len() - sent;
    assert_eq!(
        destination.counts().delivered as usize,
        sent,
        "what is sent again counts once"
    );
    assert_balanced(&destination);
    // A sender has 20 records out at a time, and the window of a drain that was cut short is sent again.
    assert!(doubled <= 20_000, "{doubled} of {sent} doubled");
    destinations.shutdown(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_spooled_before_a_restart_of_the_gateway_is_drained_after_it() {
    let broker = Arc::new(Broker::start());
    broker.create_topic("later", 2).await;
    broker.kill();
    let directory = TempDir::new().expect("a temporary folder");
    let settings = [kafka_settings(&broker, &[])];
    let refusals = Refusals::default();
    // No broker at the start is no error, and senders are answered.
    let destinations = start(&settings, directory.path(), &refusals);
    let destination = events(&destinations);
    let deliveries = deliver(&destination, numbered("later", 0..500)).await;
    assert!(
        deliveries.iter().all(|delivery| *delivery == Delivery::Durable),
        "{deliveries:?}"
    );
    assert_eq!(destination.pending().entries, 500);
    destinations.shutdown(Duration::from_secs(1)).await;
    drop((destination, destinations));

    let destinations = start(&settings, directory.path(), &refusals);
    let destination = events(&destinations);
    assert_eq!(destination.pending().entries, 500);
    assert_ne!(destination.state(), DestinationState::Healthy);
    deliver(&destination, numbered("later", 500..600)).await;
    assert_eq!(
        destination.pending().entries,
        600,
        "later records go behind the spooled ones"
    );
    let restarted = Arc::clone(&broker);
    tokio::task::spawn_blocking(move || restarted.restart())
        .await
        .expect("restarted");
    eventually("the spool is drained", || {
        destination.state() == DestinationState::Healthy
    })
    .await;
    deliver(&destination, numbered("later", 600..700)).await;
    assert_ordered_and_whole(&broker.consume_all("later").await, 700);
    let counts = destination.counts();
    assert_eq!(
        (counts.recovered, counts.accepted, counts.delivered),
        (500, 200, 700)
    );
    assert_balanced(&destination);
    assert_eq!(destination.pending().entries, 0);
    destinations.shutdown(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_broker_never_takes_is_refused_and_holds_nothing_up() {
    let broker = kafka::shared();
    broker
        .create_topic_with("small", 1, &[("max.message.bytes", "5000")])
        .await;
    let directory = TempDir::new().expect("a temporary folder");
    let refusals = Refusals::default();
    let destinations = start(&[kafka_settings(broker, &[])], directory.path(), &refusals);
    let destination = events(&destinations);

    // Known without the broker.
    let deliveries = deliver(
        &destination,
        [
            record("small", None, "too-large", vec![b'1'; 1_100_000]),
            record("no/topic", None, "bad-topic", "{}"),
        ],
    )
    .await;
    for (delivery, words) in deliveries.iter().zip(["message.max.bytes", "no topic"]) {
        let Delivery::Refused { detail, .. } = delivery else {
            panic!("{delivery:?}")
        };
        assert!(detail.contains(words), "{detail}");
    }
    assert_eq!(destination.state(), DestinationState::Healthy);

    // Only the broker knows: the large one among small ones of one batch, and a topic that is not there.
    let noise = |index: usize| -> Vec<u8> {
        (0..6000)
            .map(|at| b'a' + ((at * at + index) % 26) as u8)
            .collect()
    };
    let mut sent: Vec<_> = (0..10)
        .map(|number| record("small", None, &number.to_string(), "{}"))
        .collect();
    sent.insert(5, record("small", None, "larger", noise(1)));
    sent.push(record("nowhere", None, "unknown-topic", "{}"));
    let deliveries = deliver(&destination, sent).await;
    assert!(
        deliveries.iter().all(|delivery| *delivery == Delivery::Durable),
        "{deliveries:?}"
    );
    eventually("both are kept elsewhere", || refusals.lock().len() == 2).await;
    eventually("all is well again", || {
        destination.state() == DestinationState::Healthy
    })
    .await;
    let mut refused = refusals.lock().clone();
    refused.sort();
    assert_eq!(refused[0].0, "larger", "{refused:?}");
    assert!(refused[0].1.contains("too large"), "{refused:?}");
    assert_eq!(refused[1].0, "unknown-topic");
    assert!(
        refused[1].1.to_lowercase().contains("unknown topic"),
        "{refused:?}"
    );
    let mut delivered: Vec<usize> = ids_by_key(&broker.consume_all("small").await)
        .remove(&[][..])
        .expect("messages");
    delivered.sort_unstable();
    assert_eq!(delivered, (0..10).collect::<Vec<_>>());
    assert_eq!(destination.pending().entries, 0);

    // By now the producer knows that the topic is not there.
    let deliveries = deliver(&destination, [record("nowhere", None, "again", "{}")]).await;
    assert!(
        matches!(&deliveries[..], [Delivery::Refused { .. }]),
        "{deliveries:?}"
    );
    let counts = destination.counts();
    assert_eq!((counts.accepted, counts.delivered, counts.refused), (15, 10, 5));
    assert_balanced(&destination);
    destinations.shutdown(PATIENCE).await;
}

#[tokio::test]
async fn settings_that_break_the_promise_stop_the_start() {
    let settings = DestinationSettings {
        name: "events".parse().expect("a name"),
        kind: DestinationKind::Kafka {
            brokers: "127.0.0.1:1".to_owned(),
            options: BTreeMap::from([("acks".to_owned(), Secret::new("1".to_owned()))]),
        },
    };
    let directory = TempDir::new().expect("a temporary folder");
    let refused = Refusals::default().handler();
    let error = Destinations::start(
        &[settings],
        directory.path(),
        Budget::new(1 << 20),
        refused,
        &Recall::default(),
    );
    let text = error.err().expect("refused").to_string();
    assert!(
        text.contains("destination events") && text.contains("acks"),
        "{text}"
    );
}

#[tokio::test]
async fn files_and_kafka_stand_side_by_side_with_a_spool_each() {
    let broker = kafka::shared();
    broker.create_topic("both", 1).await;
    let directory = TempDir::new().expect("a temporary folder");
    let (spool, out) = (directory.path().join("spool"), directory.path().join("out"));
    let settings = [
        kafka_settings(broker, &[]),
        DestinationSettings {
            name: "files".parse().expect("a name"),
            kind: DestinationKind::File {
                path: out.clone(),
                rotation: FileRotation::default(),
            },
        },
    ];
    let destinations = start(&settings, &spool, &Refusals::default());
    let names: Vec<_> = destinations
        .iter()
        .map(|destination| destination.name().to_string())
        .collect();
    assert_eq!(names, ["events", "files"]);
    let acknowledgement = Acknowledgement::new(1);
    for destination in destinations.iter() {
        destination.send(
            record("both", None, "1", "{\"n\":\n1}"),
            acknowledgement.ticket(0),
        );
    }
    assert_eq!(acknowledgement.wait().await, [Delivery::Durable]);
    destinations.shutdown(PATIENCE).await;
    assert_eq!(broker.consume_all("both").await.len(), 1);
    let day = out.join("both").join("2026-03-04");
    let file = std::fs::read_dir(day)
        .expect("the day's folder")
        .next()
        .expect("a file")
        .expect("an entry");
    let line = std::fs::read_to_string(file.path()).expect("the file");
    assert_eq!(line.lines().count(), 1);
    let value: serde_json::Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!(
        (&value["id"], &value["data"]),
        (&"1".into(), &serde_json::json!({"n": 1}))
    );
    for name in ["events", "files"] {
        assert!(spool.join(name).is_dir());
    }
}
