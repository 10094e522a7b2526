//! One partner's events at a steady rate, delivered to a real Kafka, while another partner's plugin misbehaves. Each
//! misdeed stands beside the same plugin, the same rate and the same events without it, one after the other, so that a
//! slow minute of the machine hits both.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::json;
use tokio::sync::Mutex;

use super::{
    component,
    gateway::{Gateway, PROGRAM},
    kafka, page_view,
};

/// Events a second of each partner.
const RATE: u64 = 200;
/// Of one partner under way; past it an event is left out.
const UNDER_WAY: u64 = 400;

/// What the bad plugin does to an event, and with how much; the first is the one that behaves.
const DEEDS: [(&str, u64); 10] = [
    ("echo", 0),
    ("loop", 0),
    ("loop-in-host", 0),
    ("grow", 0),
    ("recurse", 1_000_000),
    ("panic", 0),
    ("outputs", 1001),
    ("log", 1000),
    ("log-much", 1_000_000),
    ("count", 1000),
];

pub async fn measure(seconds: u64) {
    let broker = kafka::Broker::start();
    for topic in ["good", "bad"] {
        broker.create_topic(topic, 4).await;
    }
    let folder = tempfile::tempdir().expect("a folder can be made");
    let configuration = format!(
        "[plugins]\nrollback_percent = 0\n[[destination]]\nname = \"events\"\nkind = \"kafka\"\nbrokers = \"{}\"\n",
        broker.bootstrap()
    );
    let gateway = Gateway::spawn(Path::new(PROGRAM), folder.path(), &configuration);
    gateway.ready().await;
    let good = Sender::new(&gateway, "good", "plugins/page-view").await;
    let bad = Sender::new(&gateway, "bad", "tests/plugins/hostile").await;
    let event = page_view();
    println!(
        "\nevents of one partner, {RATE} a second through page-view to Kafka, {seconds} s each; the other partner sends \
         as many to a plugin that …"
    );
    let alone = good.send(&event, seconds).await;
    println!(
        "{:<16} p50 {:>9.1?}  p99 {:>9.1?}",
        "(nothing at all)",
        alone.p(50),
        alone.p(99)
    );
    for (what, amount) in &DEEDS[1..] {
        let behaving = beside(&good, &bad, &event, DEEDS[0], seconds).await;
        let misbehaving = beside(&good, &bad, &event, (what, *amount), seconds).await;
        let change = misbehaving.p(99).as_secs_f64() / behaving.p(99).as_secs_f64() - 1.0;
        println!(
            "{what:<16} p50 {:>9.1?}  p99 {:>9.1?}  slowest {:>9.1?}  where it behaves: p50 {:>9.1?}  p99 {:>9.1?}  p99 {:+.0} %",
            misbehaving.p(50),
            misbehaving.p(99),
            misbehaving.p(100),
            behaving.p(50),
            behaving.p(99),
            change * 100.0
        );
    }
    println!(
        "the gateway's process: {} MiB resident",
        gateway.process.resident_mib()
    );
}

async fn beside(good: &Sender, bad: &Sender, event: &str, deed: (&str, u64), seconds: u64) -> Latencies {
    let bad_event = json!({"do": deed.0, "amount": deed.1}).to_string();
    let (latencies, _) = tokio::join!(good.send(event, seconds), bad.send(&bad_event, seconds));
    latencies
}

/// Ascending.
struct Latencies(Vec<Duration>);

impl Latencies {
    fn p(&self, per_cent: usize) -> Duration {
        self.0[((self.0.len() * per_cent).div_ceil(100)).saturating_sub(1)]
    }
}

struct Sender {
    client: reqwest::Client,
    url: String,
    key: String,
}

impl Sender {
    /// A partner with a type, a plugin and a route of its name.
    async fn new(gateway: &Gateway, name: &str, plugin: &str) -> Sender {
        let key = gateway.partner(name).await;
        gateway
            .put(&format!("/v1/schemas/{name}/1"), json!({"type": "object"}))
            .await;
        let request = gateway
            .client
            .post(format!("http://{}/v1/plugins/{name}/versions", gateway.admin))
            .header("content-type", "application/wasm")
            .body(component(plugin));
        gateway.send(request).await.expect("the plugin is taken");
        let path = format!("/v1/plugins/{name}/activate");
        let activated = gateway.call("POST", &path, Some(json!({"version": 1}))).await;
        activated.expect("the version is activated");
        let route = json!({
            "match": {"type": name}, "plugin": name, "to": [{"destination": "events", "topic": name}]
        });
        gateway.put(&format!("/v1/routes/{name}"), route).await;
        Sender {
            client: reqwest::Client::new(),
            url: format!("http://{}/v1/events/{name}", gateway.data),
            key,
        }
    }

    /// Sends at the rate whatever becomes of the events before; a latency counts from when an event was due.
    async fn send(&self, event: &str, seconds: u64) -> Latencies {
        let latencies = Arc::new(Mutex::new(Vec::new()));
        let under_way = Arc::new(AtomicU64::new(0));
        let begun = tokio::time::Instant::now();
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..RATE * seconds {
            let due = begun + Duration::from_secs(number) / u32::try_from(RATE).expect("a rate");
            tokio::time::sleep_until(due).await;
            if under_way.load(Ordering::Relaxed) >= UNDER_WAY {
                continue;
            }
            under_way.fetch_add(1, Ordering::Relaxed);
            let request = self
                .client
                .post(&self.url)
                .bearer_auth(&self.key)
                .header("content-type", "application/json")
                .body(event.to_owned());
            let (latencies, under_way) = (Arc::clone(&latencies), Arc::clone(&under_way));
            let due: Instant = due.into();
            tasks.spawn(async move {
                let answer = request.send().await.expect("the gateway answers");
                assert_eq!(answer.status(), 202, "no event fails");
                latencies.lock().await.push(due.elapsed());
                under_way.fetch_sub(1, Ordering::Relaxed);
            });
        }
        while let Some(sent) = tasks.join_next().await {
            sent.expect("every answer is 202");
        }
        let mut latencies = std::mem::take(&mut *latencies.lock().await);
        latencies.sort_unstable();
        Latencies(latencies)
    }
}
