//! A real Kafka: a bare producer, the destination while the broker is well, and the destination's spool as it drains;
//! the same records, in turn.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use headworks::deliver::{Acknowledgement, Delivery};
use rdkafka::{
    ClientConfig, ClientContext,
    message::{DeliveryResult, Header, OwnedHeaders},
    producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer},
};

use crate::{NOBODY, Records, gateway::cpu_time, kafka, median, size, start, verdict};

const RECORDS: u64 = 200_000;
const ROUNDS: usize = 5;
/// At once on their way, as the records of many requests are.
const IN_FLIGHT: u64 = 4000;
const DRAIN_GOAL: f64 = 0.7;

pub async fn measure() {
    let broker = tokio::task::spawn_blocking(kafka::Broker::start)
        .await
        .expect("started");
    for topic in ["bare", "direct", "drained"] {
        broker.create_topic(topic, 4).await;
    }
    let count = size("HEADWORKS_BENCH_RECORDS", RECORDS);
    println!("to Kafka: {count} records, acks=all, {ROUNDS} rounds in turn, medians");
    let (mut bare, mut direct, mut drained) = (Vec::new(), Vec::new(), Vec::new());
    let (mut drain_ratios, mut costs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let brokers = broker.bootstrap().to_owned();
        let plain = tokio::task::spawn_blocking(move || produce(&brokers, count))
            .await
            .expect("it does not panic");
        let healthy = send(broker.bootstrap(), count).await;
        let drain = drain(broker.bootstrap(), count).await;
        drain_ratios.push(drain.rate / plain.rate);
        costs.push(healthy.cpu_us - plain.cpu_us);
        bare.push(plain);
        direct.push(healthy);
        drained.push(drain);
    }
    for (name, rounds) in [
        ("bare producer", &bare),
        ("destination, healthy", &direct),
        ("destination, draining", &drained),
    ] {
        println!(
            "  {name:<24} {:>9.0} records/s {:>7.2} µs of CPU a record",
            median(rounds.iter().map(|round| round.rate).collect()),
            median(rounds.iter().map(|round| round.cpu_us).collect()),
        );
    }
    let ratio = median(drain_ratios);
    println!(
        "  drain beside the bare producer: {ratio:.2}  goal {DRAIN_GOAL}: {}",
        verdict(ratio >= DRAIN_GOAL)
    );
    println!(
        "  a destination that keeps each record until it is acknowledged costs {:+.2} µs a record beside a bare producer",
        median(costs)
    );
}

struct Measured {
    rate: f64,
    cpu_us: f64,
}

struct Meter {
    begun: Instant,
    cpu: Duration,
}

impl Meter {
    fn begin() -> Meter {
        Meter {
            begun: Instant::now(),
            cpu: cpu_time("self"),
        }
    }

    fn end(&self, records: u64) -> Measured {
        Measured {
            rate: records as f64 / self.begun.elapsed().as_secs_f64(),
            cpu_us: (cpu_time("self") - self.cpu).as_secs_f64() * 1e6 / records as f64,
        }
    }
}

/// Counts what is acknowledged and wakes who produces.
struct Counting {
    done: AtomicU64,
    producer: std::thread::Thread,
}

#[derive(Clone)]
struct Context(Arc<Counting>);

impl ClientContext for Context {}

impl ProducerContext for Context {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        assert!(result.is_ok(), "the broker takes every record");
        let done = self.0.done.fetch_add(1, Ordering::AcqRel) + 1;
        if done.is_multiple_of(IN_FLIGHT / 2) {
            self.0.producer.unpark();
        }
    }
}

/// librdkafka with the settings of the destination, key, headers and value of the same sizes, and nothing kept.
fn produce(brokers: &str, count: u64) -> Measured {
    let counting = Arc::new(Counting {
        done: AtomicU64::new(0),
        producer: std::thread::current(),
    });
    let producer: ThreadedProducer<Context> = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("linger.ms", "1")
        .create_with_context(Context(Arc::clone(&counting)))
        .expect("a producer");
    let (records, topic) = (Records::new(), Arc::from("bare"));
    producer
        .client()
        .fetch_metadata(Some("bare"), Duration::from_secs(10))
        .expect("the broker answers");
    let meter = Meter::begin();
    for number in 0..count {
        while number - counting.done.load(Ordering::Acquire) >= IN_FLIGHT {
            std::thread::park_timeout(Duration::from_millis(10));
        }
        let record = records.make(number, &topic);
        let about = &record.about;
        let named = [
            ("content-type", "application/json"),
            ("ce_specversion", "1.0"),
            ("ce_id", &*about.attributes.id),
            ("ce_source", &about.attributes.source),
            ("ce_type", about.attributes.event_type.as_str()),
            ("ce_time", &about.attributes.time),
            ("ce_appversion", "5.10.0"),
            ("hw_partner", about.partner.as_str()),
            ("hw_schema", &about.schema),
            ("hw_received", "2026-03-04T05:06:07.891Z"),
        ];
        let headers = named.into_iter().fold(
            OwnedHeaders::new_with_capacity(named.len()),
            |headers, (key, value)| {
                headers.insert(Header {
                    key,
                    value: Some(value),
                })
            },
        );
        let message = BaseRecord::to("bare")
            .key(record.key.as_deref().expect("a key"))
            .payload(&record.value[..])
            .headers(headers);
        producer
            .send(message)
            .map_err(|(error, _)| error)
            .expect("the queue has room");
    }
    while counting.done.load(Ordering::Acquire) < count {
        std::thread::park_timeout(Duration::from_millis(10));
    }
    meter.end(count)
}

/// Hands records to a destination, so many at once, until all are durable.
async fn hand_over(events: &dyn headworks::deliver::Destination, topic: &str, count: u64) {
    const GROUP: u64 = 100;
    let (records, topic) = (Records::new(), Arc::from(topic));
    let mut waiting = std::collections::VecDeque::new();
    for first in (0..count).step_by(GROUP as usize) {
        if waiting.len() as u64 >= IN_FLIGHT / GROUP {
            let acknowledgement: Acknowledgement = waiting.pop_front().expect("it is not empty");
            assert_eq!(acknowledgement.wait().await, [Delivery::Durable]);
        }
        let acknowledgement = Acknowledgement::new(1);
        for number in first..(first + GROUP).min(count) {
            events.send(records.make(number, &topic), acknowledgement.ticket(0));
        }
        waiting.push_back(acknowledgement);
    }
    for acknowledgement in waiting {
        assert_eq!(acknowledgement.wait().await, [Delivery::Durable]);
    }
}

async fn send(brokers: &str, count: u64) -> Measured {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let (destinations, events) = start(brokers, folder.path());
    // The first record waits for the connection.
    hand_over(&*events, "direct", 100).await;
    let meter = Meter::begin();
    hand_over(&*events, "direct", count).await;
    let measured = meter.end(count);
    assert_eq!(events.counts().spooled, 0, "the broker is well");
    destinations.shutdown(Duration::from_secs(5)).await;
    measured
}

/// From the first record that the broker has to the last.
async fn drain(brokers: &str, count: u64) -> Measured {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let (destinations, events) = start(NOBODY, folder.path());
    hand_over(&*events, "drained", count).await;
    destinations.shutdown(Duration::ZERO).await;
    drop((destinations, events));
    let (destinations, events) = start(brokers, folder.path());
    while events.counts().delivered == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let (meter, before) = (Meter::begin(), events.counts().delivered);
    while events.pending().entries > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let measured = meter.end(count - before);
    destinations.shutdown(Duration::from_secs(5)).await;
    measured
}
