//! Kafka clusters of other kinds: with TLS and SASL, with two brokers, paused, and a topic that goes away.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use headworks::{
    config::{DestinationKind, DestinationSettings},
    deliver::{Delivery, Destination, DestinationState},
};
use tempfile::TempDir;
use tokio::task::spawn_blocking;

use crate::{
    delivery::{
        PATIENCE, Refusals, assert_balanced, assert_ordered_and_whole, deliver, events, eventually,
        kafka_settings, numbered, record, secrets, start,
    },
    harness::{
        kafka::{Broker, USER},
        long,
    },
};

fn secure(broker: &Broker, mechanism: &str, password: &str) -> DestinationSettings {
    secure_with(
        broker,
        mechanism,
        &[("sasl.username", USER.0), ("sasl.password", password)],
    )
}

/// A destination `events` on the broker's secure listener, with what the mechanism needs.
pub fn secure_with(broker: &Broker, mechanism: &str, more: &[(&str, &str)]) -> DestinationSettings {
    let certificate = broker.certificate();
    let mut options = secrets(&[
        ("security.protocol", "sasl_ssl"),
        ("ssl.ca.location", certificate.to_str().expect("a text")),
        ("sasl.mechanism", mechanism),
    ]);
    options.extend(secrets(more));
    DestinationSettings {
        name: "events".parse().expect("a name"),
        kind: DestinationKind::Kafka {
            brokers: broker.secure().to_owned(),
            options,
        },
    }
}

pub fn all_durable(deliveries: &[Delivery]) -> bool {
    deliveries.iter().all(|delivery| *delivery == Delivery::Durable)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_and_sasl_let_in_who_may_and_keep_the_rest_in_the_spool() {
    let broker = spawn_blocking(Broker::start_secure).await.expect("started");
    broker.create_topic("private", 1).await;
    let directory = TempDir::new().expect("a temporary folder");
    let mut count = 0;
    for mechanism in ["SCRAM-SHA-512", "PLAIN"] {
        let settings = [secure(&broker, mechanism, USER.1)];
        let destinations = start(&settings, directory.path(), &Refusals::default());
        let destination = events(&destinations);
        let deliveries = deliver(&destination, numbered("private", count..count + 50)).await;
        assert!(all_durable(&deliveries), "{mechanism}: {deliveries:?}");
        count += 50;
        eventually("it is delivered", || destination.counts().waiting == 0).await;
        destinations.shutdown(PATIENCE).await;
    }
    assert_ordered_and_whole(&broker.consume_all("private").await, count);

    // A wrong password is the operator's to repair: senders are answered, and all of it waits.
    let wrong = [secure(&broker, "SCRAM-SHA-512", "wrong")];
    let destinations = start(&wrong, directory.path(), &Refusals::default());
    let destination = events(&destinations);
    assert!(all_durable(
        &deliver(&destination, numbered("private", count..count + 50)).await
    ));
    assert_eq!(destination.pending().entries, 50);
    destinations.shutdown(Duration::from_secs(1)).await;
    drop((destination, destinations));
    let right = [secure(&broker, "SCRAM-SHA-512", USER.1)];
    let refusals = Refusals::default();
    let destinations = start(&right, directory.path(), &refusals);
    let destination = events(&destinations);
    eventually("the spool is drained", || {
        destination.state() == DestinationState::Healthy
    })
    .await;
    count += 50;
    assert_ordered_and_whole(&broker.consume_all("private").await, count);

    // What this user may not write goes to quarantine with the broker's words, whether it is found out now or later.
    broker.create_topic("forbidden", 1).await;
    let broker = Arc::new(broker);
    let denying = Arc::clone(&broker);
    spawn_blocking(move || denying.deny("forbidden"))
        .await
        .expect("denied");
    let deliveries = deliver(&destination, [record("forbidden", None, "9000", "{}")]).await;
    match &deliveries[..] {
        [Delivery::Refused { detail, .. }] => assert!(detail.contains("authorization"), "{detail}"),
        [Delivery::Durable] => {
            eventually("it is kept elsewhere", || refusals.lock().len() == 1).await;
            assert!(
                refusals.lock()[0].1.to_lowercase().contains("authorization"),
                "{refusals:?}",
                refusals = refusals.lock()
            );
        }
        other => panic!("{other:?}"),
    }
    assert!(all_durable(
        &deliver(&destination, numbered("private", count..count + 10)).await
    ));
    destinations.shutdown(PATIENCE).await;
}

/// Sends until it is told to stop; every record must be taken.
pub fn load(
    destination: &Arc<dyn Destination>,
    topic: &'static str,
    stop: &Arc<AtomicBool>,
) -> tokio::task::JoinHandle<usize> {
    let (destination, stop) = (Arc::clone(destination), Arc::clone(stop));
    tokio::spawn(async move {
        let mut next = 0;
        while !stop.load(Ordering::SeqCst) {
            let deliveries = deliver(&destination, numbered(topic, next..next + 20)).await;
            assert!(all_durable(&deliveries), "{deliveries:?}");
            next += 20;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        next
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_two_brokers_may_die_and_come_back() {
    let first = spawn_blocking(Broker::start).await.expect("started");
    let first = Arc::new(first);
    let joining = Arc::clone(&first);
    let second = Arc::new(spawn_blocking(move || joining.join()).await.expect("started"));
    first.create_replicated_topic("both", 4).await;
    let directory = TempDir::new().expect("a temporary folder");
    let settings = [kafka_settings(&first, &[])];
    let destinations = start(&settings, directory.path(), &Refusals::default());
    let destination = events(&destinations);
    let stop = Arc::new(AtomicBool::new(false));
    let sender = load(&destination, "both", &stop);
    eventually("records flow", || destination.counts().delivered > 200).await;
    for _ in 0..if long() { 5 } else { 1 } {
        let killed = Arc::clone(&second);
        spawn_blocking(move || killed.kill()).await.expect("killed");
        // The other broker becomes the leader of all partitions.
        let delivered = destination.counts().delivered;
        eventually("records flow to the broker that is left", || {
            destination.counts().delivered > delivered + 500
                && destination.state() == DestinationState::Healthy
        })
        .await;
        let restarted = Arc::clone(&second);
        spawn_blocking(move || restarted.restart())
            .await
            .expect("restarted");
        let delivered = destination.counts().delivered;
        eventually("records still flow", || {
            destination.counts().delivered > delivered + 500
        })
        .await;
    }
    stop.store(true, Ordering::SeqCst);
    let sent = sender.await.expect("every record was taken");
    eventually("all is delivered", || destination.counts().waiting == 0).await;
    assert_ordered_and_whole(&first.consume_all("both").await, sent);
    assert_eq!(destination.counts().delivered as usize, sent);
    assert_balanced(&destination);
    destinations.shutdown(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_stands_still_is_an_outage_like_any_other() {
    let broker = Arc::new(spawn_blocking(Broker::start).await.expect("started"));
    broker.create_topic("paused", 2).await;
    let directory = TempDir::new().expect("a temporary folder");
    let settings = [kafka_settings(&broker, &[])];
    let destinations = start(&settings, directory.path(), &Refusals::default());
    let destination = events(&destinations);
    let stop = Arc::new(AtomicBool::new(false));
    let sender = load(&destination, "paused", &stop);
    for _ in 0..if long() { 10 } else { 2 } {
        let delivered = destination.counts().delivered;
        eventually("records flow", || {
            destination.counts().delivered > delivered + 200
        })
        .await;
        broker.pause();
        eventually("records go to the spool", || {
            destination.state() == DestinationState::Spooling
        })
        .await;
        let spooled = destination.counts().spooled;
        eventually("senders are answered", || {
            destination.counts().spooled > spooled + 200
        })
        .await;
        broker.go_on();
        eventually("the spool is drained", || {
            destination.state() == DestinationState::Healthy
        })
        .await;
    }
    stop.store(true, Ordering::SeqCst);
    let sent = sender.await.expect("every record was taken");
    assert_ordered_and_whole(&broker.consume_all("paused").await, sent);
    assert_balanced(&destination);
    destinations.shutdown(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_is_deleted_under_load_holds_up_no_other() {
    let broker = Arc::new(spawn_blocking(Broker::start).await.expect("started"));
    broker.create_topic("kept", 1).await;
    broker.create_topic("deleted", 1).await;
    let directory = TempDir::new().expect("a temporary folder");
    let refusals = Refusals::default();
    let settings = [kafka_settings(
        &broker,
        &[("topic.metadata.refresh.interval.ms", "1000")],
    )];
    let destinations = start(&settings, directory.path(), &refusals);
    let destination = events(&destinations);
    assert!(all_durable(
        &deliver(&destination, [record("deleted", None, "1", "{}")]).await
    ));
    let stop = Arc::new(AtomicBool::new(false));
    let sender = load(&destination, "kept", &stop);
    broker.delete_topic("deleted").await;
    let mut last = 1;
    // Accepted and kept elsewhere, or refused at once: never lost, and not held on to for ever.
    let begun = Instant::now();
    loop {
        assert!(begun.elapsed() < PATIENCE, "nothing says that the topic is gone");
        last += 1;
        let id = format!("{last}");
        match &deliver(&destination, [record("deleted", None, &id, "{}")]).await[..] {
            [Delivery::Refused { detail, .. }] => {
                assert!(detail.to_lowercase().contains("unknown"), "{detail}");
                break;
            }
            [Delivery::Durable] => tokio::time::sleep(Duration::from_millis(200)).await,
            other => panic!("{other:?}"),
        }
    }
    let delivered = destination.counts().delivered;
    eventually("the other topic flows", || {
        destination.counts().delivered > delivered + 200
    })
    .await;
    stop.store(true, Ordering::SeqCst);
    let sent = sender.await.expect("every record was taken");
    eventually("nothing waits", || destination.counts().waiting == 0).await;
    assert_ordered_and_whole(&broker.consume_all("kept").await, sent);
    assert_balanced(&destination);
    destinations.shutdown(PATIENCE).await;
}
