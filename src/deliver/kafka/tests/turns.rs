//! When the gate turns, with librdkafka's own mock of a cluster in the place of brokers.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use rdkafka::{
    ClientConfig,
    consumer::{BaseConsumer, Consumer as _},
    mocking::MockCluster,
};
use tokio::sync::Notify;

use super::{
    super::{Gate, KafkaDestination, drain::Drain, link::Link, options::options},
    settings,
};
use crate::{
    deliver::{
        Acknowledgement, Counters, Delivery, Destination as _, DestinationState, RefusedHandler, codec,
        tests::{eventually, record},
    },
    spool::{Budget, Entry, Spool, SpoolOptions},
};

const TOPIC: &str = "orders";
const NOBODY: &str = "127.0.0.1:1";

fn open(folder: &Path) -> Spool {
    Spool::open(folder, SpoolOptions::default(), Budget::new(1 << 30)).expect("a spool")
}

fn start(brokers: &str, pairs: &[(&str, &str)], spool: &Spool) -> KafkaDestination {
    let refused: RefusedHandler = Arc::new(|_, _, detail| panic!("refused: {detail}"));
    let name = "events".parse().expect("a name");
    KafkaDestination::start(name, brokers, &settings(pairs), spool.clone(), refused).expect("started")
}

async fn append(spool: &Spool, entry: Bytes) {
    let (sender, appended) = tokio::sync::oneshot::channel();
    spool.append(&Arc::from("shop"), entry, move |result| {
        sender.send(result).expect("the test waits");
    });
    appended.await.expect("answered").expect("appended");
}

async fn deliver(destination: &KafkaDestination, numbers: std::ops::Range<usize>) {
    let acknowledgement = Acknowledgement::new(1);
    for number in numbers {
        destination.send(
            record(TOPIC, &number.to_string(), "{}"),
            acknowledgement.ticket(0),
        );
    }
    assert_eq!(acknowledgement.wait().await, [Delivery::Durable]);
}

/// Messages that stand in the topic's only partition.
fn messages(brokers: &str) -> i64 {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .create()
        .expect("a consumer");
    let watermarks = consumer.fetch_watermarks(TOPIC, 0, Duration::from_secs(30));
    watermarks.expect("the mock answers").1
}

fn direct(destination: &KafkaDestination) -> Option<Arc<Link>> {
    match &*destination.core.gate.lock() {
        Gate::Direct(link) => Some(Arc::clone(link)),
        Gate::Holding { .. } | Gate::Spooling | Gate::Closed => None,
    }
}

fn is_holding(destination: &KafkaDestination) -> bool {
    matches!(*destination.core.gate.lock(), Gate::Holding { .. })
}

async fn ids(spool: &Spool) -> Vec<usize> {
    let (mut entries, mut after): (Vec<Entry>, _) = (Vec::new(), 0);
    while after < spool.last_sequence() {
        let read = spool.read(after, 1 << 20).await.expect("the spool is open");
        after = read.last().expect("an entry").sequence;
        entries.extend(read);
    }
    let id = |entry: &Entry| {
        let record = codec::decode(&entry.payload).expect("a record");
        record.about.attributes.id.parse().expect("a number")
    };
    entries.iter().map(id).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_that_cannot_be_read_stops_the_drain_once_all_before_it_is_delivered() {
    let cluster = MockCluster::new(1).expect("a mock");
    cluster.create_topic(TOPIC, 1, 1).expect("created");
    let folder = tempfile::tempdir().expect("a folder");
    let spool = open(folder.path());
    for number in 0..50 {
        append(&spool, codec::encode(&record(TOPIC, &number.to_string(), "{}"))).await;
    }
    // Of a version that is not known yet.
    append(&spool, Bytes::from_static(&[0xff; 40])).await;
    append(&spool, codec::encode(&record(TOPIC, "50", "{}"))).await;
    let brokers = cluster.bootstrap_servers();
    let destination = start(&brokers, &[], &spool);
    eventually("all before it is delivered", || {
        destination.pending().entries == 2
    })
    .await;
    eventually("the drain has stopped", || {
        destination.state() == DestinationState::Spooling
    })
    .await;
    assert_eq!(spool.committed().0, 50);
    assert_eq!(messages(&brokers), 50, "none came twice");
    let deadline = Instant::now() + Duration::from_secs(10);
    destination.shutdown(deadline).await;
    assert_eq!(messages(&brokers), 50, "nor what came after it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_fatal_error_a_new_producer_goes_on() {
    let cluster = MockCluster::new(1).expect("a mock");
    cluster.create_topic(TOPIC, 1, 1).expect("created");
    let folder = tempfile::tempdir().expect("a folder");
    let spool = open(folder.path());
    let brokers = cluster.bootstrap_servers();
    let destination = start(&brokers, &[], &spool);
    deliver(&destination, 0..3).await;
    let first = direct(&destination).expect("the mock is well");
    first.fail_fatally();
    deliver(&destination, 3..6).await;
    eventually("a new producer sends directly", || {
        direct(&destination).is_some_and(|link| !Arc::ptr_eq(&link, &first))
    })
    .await;
    deliver(&destination, 6..9).await;
    assert_eq!(destination.pending().entries, 0);
    assert_eq!(messages(&brokers), 9, "nothing was on its way when it failed");
    let counts = destination.counts();
    assert_eq!((counts.delivered, counts.in_flight), (9, 0));
}

/// On one thread: the gate turns for no other reason while the test does not wait.
#[tokio::test]
async fn a_full_queue_turns_to_the_spool_in_order() {
    let folder = tempfile::tempdir().expect("a folder");
    let spool = open(folder.path());
    let destination = start(NOBODY, &[("queue.buffering.max.messages", "3")], &spool);
    let acknowledgement = Acknowledgement::new(1);
    let mut sent = 0;
    let mut send = || {
        destination.send(record(TOPIC, &sent.to_string(), "{}"), acknowledgement.ticket(0));
        sent += 1;
        sent
    };
    while direct(&destination).is_some() {
        assert!(send() < 100, "a queue of 3 is full");
    }
    assert!(is_holding(&destination));
    for _ in 0..5 {
        send();
    }
    assert_eq!(acknowledgement.wait().await, [Delivery::Durable]);
    assert_eq!(destination.state(), DestinationState::Spooling);
    assert_eq!(destination.counts().spooled, sent as u64);
    assert_eq!(ids(&spool).await, (0..sent).collect::<Vec<usize>>());
}

#[tokio::test]
async fn where_holding_was_in_vain_the_next_time_comes_later() {
    let folder = tempfile::tempdir().expect("a folder");
    let spool = open(folder.path());
    append(&spool, codec::encode(&record(TOPIC, "0", "{}"))).await;
    let destination = start(NOBODY, &[], &spool);
    let taken = options(NOBODY, &settings(&[])).expect("taken");
    let name = "events".parse().expect("a name");
    let link = Link::new(
        &taken,
        &name,
        &Arc::new(Counters::default()),
        &Arc::new(Notify::new()),
    );
    let mut drain = Drain::new(Arc::clone(&destination.core), link.expect("a producer"), 0);
    let mut now = Instant::now();
    assert!(!drain.hand_over(true, now));
    assert!(
        !is_holding(&destination),
        "a refused record waits for another place"
    );
    let (mut pauses, mut free_since) = (Vec::new(), None);
    while pauses.len() < 5 {
        let was_holding = is_holding(&destination);
        assert!(!drain.hand_over(false, now), "an entry is left");
        match (was_holding, is_holding(&destination)) {
            (true, false) => free_since = Some(now),
            (false, true) => pauses.extend(free_since.map(|since| now - since)),
            _ => {}
        }
        now += Duration::from_millis(100);
    }
    assert_eq!(pauses, [1, 2, 4, 8, 8].map(Duration::from_secs));
}
