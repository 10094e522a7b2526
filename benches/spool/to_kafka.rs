//! A real Kafka: a bare producer, the destination while the broker is well, the same calls to librdkafka without a
//! destination that could spool, and the destination's spool as it drains; the same records, in turn.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use headworks::{
    deliver::{Acknowledgement, Delivery, Ticket},
    event::Record,
};
use rdkafka::{
    ClientConfig, ClientContext,
    message::{DeliveryResult, Header, OwnedHeaders},
    producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer},
};
use serde_json::json;

use crate::{
    NOBODY, Records, VALUE_BYTES,
    gateway::{Gateway, PROGRAM, cpu_time},
    kafka, median, recovery, size, start, verdict,
};

const RECORDS: u64 = 200_000;
const ROUNDS: usize = 5;
/// At once on their way, as the records of many requests are.
const IN_FLIGHT: u64 = 4000;
const DRAIN_GOAL: f64 = 0.7;
/// What having a spool may cost while the broker is well, of what an event costs the gateway as a whole.
const HEALTHY_GOAL: f64 = 0.03;
/// Connections that post one event after the other.
const SENDERS: u64 = 32;
/// A step that takes longer fails.
const PATIENCE: Duration = Duration::from_secs(300);

pub async fn measure() {
    let broker = tokio::task::spawn_blocking(kafka::Broker::start)
        .await
        .expect("started");
    for topic in ["bare", "without", "direct", "drained", "orders"] {
        broker.create_topic(topic, 4).await;
    }
    let count = size("HEADWORKS_BENCH_RECORDS", RECORDS);
    println!("to Kafka: {count} records, acks=all, {ROUNDS} rounds in turn, medians");
    let (mut bare, mut without, mut direct, mut drained) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut drain_ratios, mut costs) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let brokers = broker.bootstrap().to_owned();
        let plain = tokio::task::spawn_blocking(move || produce(&brokers, count))
            .await
            .expect("it does not panic");
        // Each comes first as often as the other.
        let (healthy, unspooled);
        if round % 2 == 0 {
            unspooled = send_without(broker.bootstrap(), count).await;
            healthy = send(broker.bootstrap(), count).await;
        } else {
            healthy = send(broker.bootstrap(), count).await;
            unspooled = send_without(broker.bootstrap(), count).await;
        }
        let drain = drain(broker.bootstrap(), count).await;
        drain_ratios.push(drain.rate / plain.rate);
        costs.push(healthy.cpu_us - unspooled.cpu_us);
        bare.push(plain);
        without.push(unspooled);
        direct.push(healthy);
        drained.push(drain);
    }
    for (name, rounds) in [
        ("bare producer", &bare),
        ("tickets, no spool", &without),
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
    let (cost, whole) = (median(costs), whole(broker.bootstrap(), count / 10).await);
    println!(
        "  a destination that can spool costs {cost:+.2} µs a record beside the same calls without one: {:.1} % of an \
         event's {whole:.1} µs in the gateway  goal {:.0} %: {}",
        cost / whole * 100.0,
        HEALTHY_GOAL * 100.0,
        verdict(cost / whole <= HEALTHY_GOAL)
    );
}

/// CPU time of the gateway for one event, posted alone, in microseconds.
async fn whole(brokers: &str, count: u64) -> f64 {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let configuration =
        format!("[[destination]]\nname = \"events\"\nkind = \"kafka\"\nbrokers = \"{brokers}\"\n");
    let gateway = Gateway::spawn(PROGRAM.as_ref(), folder.path(), &configuration);
    gateway.ready().await;
    let key = recovery::register(&gateway).await;
    let url = format!("http://{}/v1/events/order.placed", gateway.data);
    let body = json!({"text": "abcdefghij".repeat(VALUE_BYTES / 10 - 2)}).to_string();
    let post = async |events: u64| {
        let senders = (0..SENDERS).map(|_| {
            let (client, url, key, body) = (gateway.client.clone(), url.clone(), key.clone(), body.clone());
            tokio::spawn(async move {
                for _ in 0..events / SENDERS {
                    let request = client.post(&url).bearer_auth(&key).body(body.clone());
                    let request = request
                        .header("content-type", "application/json")
                        .timeout(PATIENCE);
                    let answer = request.send().await.expect("the gateway answers");
                    assert_eq!(answer.status(), 202);
                }
            })
        });
        for sent in futures::future::join_all(senders).await {
            sent.expect("every event is taken");
        }
    };
    // The first ones wait for connections.
    post(count / 10 + SENDERS).await;
    let before = gateway.process.cpu_time();
    post(count).await;
    let cpu = gateway.process.cpu_time() - before;
    cpu.as_secs_f64() * 1e6 / (count / SENDERS * SENDERS) as f64
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

/// As many as the destination writes, of the same sizes.
fn headers(record: &Record) -> OwnedHeaders {
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
    named.into_iter().fold(
        OwnedHeaders::new_with_capacity(named.len()),
        |headers, (key, value)| {
            headers.insert(Header {
                key,
                value: Some(value),
            })
        },
    )
}

fn producer<C: ProducerContext + 'static>(brokers: &str, context: C) -> ThreadedProducer<C> {
    ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("linger.ms", "1")
        .create_with_context(context)
        .expect("a producer")
}

/// Hands a record to librdkafka; `opaque` comes back with the broker's report.
fn enqueue<C: ProducerContext + 'static>(
    producer: &ThreadedProducer<C>,
    record: &Record,
    opaque: C::DeliveryOpaque,
) {
    let message = BaseRecord::with_opaque_to(&record.topic, opaque)
        .key(record.key.as_deref().expect("a key"))
        .payload(&record.value[..])
        .headers(headers(record));
    producer
        .send(message)
        .map_err(|(error, _)| error)
        .expect("the queue has room");
}

/// librdkafka with the settings of the destination, key, headers and value of the same sizes, and nothing kept.
fn produce(brokers: &str, count: u64) -> Measured {
    let counting = Arc::new(Counting {
        done: AtomicU64::new(0),
        producer: std::thread::current(),
    });
    let producer = producer(brokers, Context(Arc::clone(&counting)));
    let (records, topic) = (Records::new(), Arc::from("bare"));
    producer
        .client()
        .fetch_metadata(Some("bare"), Duration::from_secs(10))
        .expect("the broker answers");
    let meter = Meter::begin();
    for number in 0..count {
        while number - counting.done.load(Ordering::Acquire) >= IN_FLIGHT {
            assert!(meter.begun.elapsed() < PATIENCE, "{number} records and no more");
            std::thread::park_timeout(Duration::from_millis(10));
        }
        enqueue(&producer, &records.make(number, &topic), ());
    }
    while counting.done.load(Ordering::Acquire) < count {
        assert!(meter.begun.elapsed() < PATIENCE, "not all is acknowledged");
        std::thread::park_timeout(Duration::from_millis(10));
    }
    meter.end(count)
}

/// Hands records on, so many at once, until all are durable.
async fn hand_over(send: impl Fn(Record, Ticket), topic: &str, count: u64) {
    const GROUP: u64 = 100;
    let (records, topic) = (Records::new(), Arc::from(topic));
    let mut waiting = std::collections::VecDeque::new();
    for first in (0..count).step_by(GROUP as usize) {
        if waiting.len() as u64 >= IN_FLIGHT / GROUP {
            durable(waiting.pop_front().expect("it is not empty")).await;
        }
        let acknowledgement = Acknowledgement::new(1);
        for number in first..(first + GROUP).min(count) {
            send(records.make(number, &topic), acknowledgement.ticket(0));
        }
        waiting.push_back(acknowledgement);
    }
    for acknowledgement in waiting {
        durable(acknowledgement).await;
    }
}

async fn durable(acknowledgement: Acknowledgement) {
    let delivered = tokio::time::timeout(PATIENCE, acknowledgement.wait()).await;
    assert_eq!(delivered.expect("the records are taken"), [Delivery::Durable]);
}

/// Completes a record's ticket with the broker's report; keeps nothing of the record itself.
struct Completing;

impl ClientContext for Completing {}

impl ProducerContext for Completing {
    type DeliveryOpaque = Box<Ticket>;

    fn delivery(&self, result: &DeliveryResult<'_>, ticket: Box<Ticket>) {
        assert!(result.is_ok(), "the broker takes every record");
        ticket.complete(Delivery::Durable);
    }
}

/// The calls that the destination makes, for whom there is no spool to turn to: a record is gone once librdkafka has it.
async fn send_without(brokers: &str, count: u64) -> Measured {
    let producer = producer(brokers, Completing);
    let send = |record: Record, ticket: Ticket| enqueue(&producer, &record, Box::new(ticket));
    // The first record waits for the connection.
    hand_over(&send, "without", 100).await;
    let meter = Meter::begin();
    hand_over(&send, "without", count).await;
    let measured = meter.end(count);
    // It blocks until librdkafka has ended.
    tokio::task::block_in_place(|| drop(producer));
    measured
}

async fn send(brokers: &str, count: u64) -> Measured {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let (destinations, events) = start(brokers, folder.path());
    // The first record waits for the connection.
    hand_over(|record, ticket| events.send(record, ticket), "direct", 100).await;
    let meter = Meter::begin();
    hand_over(|record, ticket| events.send(record, ticket), "direct", count).await;
    let measured = meter.end(count);
    assert_eq!(events.counts().spooled, 0, "the broker is well");
    destinations.shutdown(Duration::from_secs(5)).await;
    measured
}

/// From the first record that the broker has to the last.
async fn drain(brokers: &str, count: u64) -> Measured {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let (destinations, events) = start(NOBODY, folder.path());
    hand_over(|record, ticket| events.send(record, ticket), "drained", count).await;
    destinations.shutdown(Duration::ZERO).await;
    drop((destinations, events));
    let (destinations, events) = start(brokers, folder.path());
    let begun = Instant::now();
    while events.counts().delivered == 0 {
        assert!(begun.elapsed() < PATIENCE, "nothing is drained");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let (meter, before) = (Meter::begin(), events.counts().delivered);
    while events.pending().entries > 0 {
        assert!(
            begun.elapsed() < PATIENCE,
            "{} entries are left",
            events.pending().entries
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let measured = meter.end(count - before);
    destinations.shutdown(Duration::from_secs(5)).await;
    measured
}
