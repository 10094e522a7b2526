//! How long a gateway with a full spool needs from its start until it accepts an event.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use headworks::deliver::{Acknowledgement, Delivery};
use serde_json::json;

use crate::{
    NOBODY, Records,
    gateway::{Gateway, PROGRAM},
    median, size, start, verdict,
};

const SPOOL_BYTES: u64 = 1 << 30;
const GOAL: Duration = Duration::from_secs(5);
/// A start that takes longer fails; far above the goal, for a slow machine.
const ACCEPTS_MAX: Duration = Duration::from_secs(120);
/// Of one group of records into the spool.
const SPOOLED_MAX: Duration = Duration::from_secs(120);
const ROUNDS: usize = 3;
const GROUP: u64 = 10_000;

/// With one destination, whose broker is away.
fn spawn(folder: &Path) -> Gateway {
    let configuration =
        format!("[[destination]]\nname = \"events\"\nkind = \"kafka\"\nbrokers = \"{NOBODY}\"\n");
    Gateway::spawn(PROGRAM.as_ref(), folder, &configuration)
}

/// Sends events until one is taken, since the start at `begun`.
async fn accepts(gateway: &Gateway, key: &str, begun: Instant) {
    let url = format!("http://{}/v1/events/order.placed", gateway.data);
    loop {
        let request = gateway.client.post(&url).bearer_auth(key).json(&json!({}));
        let answered = match request.timeout(ACCEPTS_MAX).send().await {
            Ok(answer) if answer.status() == 202 => return,
            Ok(answer) => answer.status().to_string(),
            Err(error) => error.to_string(),
        };
        assert!(
            begun.elapsed() < ACCEPTS_MAX,
            "the gateway accepts no event within {} s: {answered}",
            ACCEPTS_MAX.as_secs()
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub async fn measure() {
    let bytes = size("HEADWORKS_BENCH_SPOOL_BYTES", SPOOL_BYTES);
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let gateway = spawn(folder.path());
    gateway.ready().await;
    let key = register(&gateway).await;
    drop(gateway);
    let records = fill(&folder.path().join("data/spool/destinations"), bytes).await;
    println!(
        "recovery: a spool of {:.2} GiB, {records} records, {ROUNDS} starts after a kill; the files are in the page cache",
        bytes as f64 / f64::from(1 << 30)
    );
    let mut seconds = Vec::new();
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        let gateway = spawn(folder.path());
        accepts(&gateway, &key, begun).await;
        let took = begun.elapsed();
        println!(
            "  accepts after {:.2} s, of which it had a processor for {:.2} s; {} MiB resident",
            took.as_secs_f64(),
            gateway.process.cpu_time().as_secs_f64(),
            gateway.process.resident_mib()
        );
        seconds.push(took.as_secs_f64());
    }
    let median = median(seconds);
    println!(
        "  median {median:.2} s  goal {} s: {}",
        GOAL.as_secs(),
        verdict(median <= GOAL.as_secs_f64())
    );
}

/// A partner whose events go to Kafka; gives its key.
pub async fn register(gateway: &Gateway) -> String {
    let key = gateway.partner("shop").await;
    gateway
        .put("/v1/schemas/order.placed/1", json!({"type": "object"}))
        .await;
    let route = json!({"to": [{"destination": "events", "topic": "orders"}]});
    gateway.put("/v1/routes/orders", route).await;
    key
}

/// Records of a destination whose broker is away, until the spool is so large.
async fn fill(folder: &Path, bytes: u64) -> u64 {
    let (destinations, events) = start(NOBODY, folder);
    let (records, topic) = (Records::new(), Arc::from("orders"));
    let mut number = 0;
    while events.pending().bytes < bytes {
        let acknowledgement = Acknowledgement::new(1);
        for _ in 0..GROUP {
            events.send(records.make(number, &topic), acknowledgement.ticket(0));
            number += 1;
        }
        let delivered = tokio::time::timeout(SPOOLED_MAX, acknowledgement.wait()).await;
        let delivered = delivered.unwrap_or_else(|_| {
            panic!(
                "{GROUP} records are not in the spool within {} s",
                SPOOLED_MAX.as_secs()
            )
        });
        assert_eq!(delivered, [Delivery::Durable], "the spool takes every record");
    }
    destinations.shutdown(Duration::ZERO).await;
    number
}
