//! One partner's events at a steady rate, delivered to a real Kafka, while another partner's plugin misbehaves. Each
//! misdeed stands beside the same plugin, the same rate and the same events without it, in turns, so that a slow minute
//! of the machine hits both. What the misdeed wastes is its own plugin's: the neighbour's events must all pass, and its
//! p99 may grow by [`GROWTH_MAX`]. Those of the plugin that behaves must all pass too: beside one that is not called there
//! is nothing to compare.

use std::{
    fmt,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::json;

use super::{
    component,
    gateway::{Gateway, PROGRAM},
    kafka, numbered, page_view,
};

/// Events a second of each partner.
const RATE: u64 = 200;
/// Part by which a neighbour's p99 may grow.
const GROWTH_MAX: f64 = 0.1;
/// Of one partner under way; past it an event is left out.
const UNDER_WAY: u64 = 400;

/// What the bad plugin does to an event, and with how much; the first is the one that behaves.
const DEEDS: [(&str, u64); 11] = [
    ("echo", 0),
    ("loop", 0),
    ("loop-in-host", 0),
    ("grow", 0),
    ("recurse", 1_000_000),
    ("panic", 0),
    ("outputs", 1001),
    ("headers", 5000),
    ("log", 1000),
    ("log-much", 1_000_000),
    ("count", 1000),
];

/// Each misdeed takes so many turns of so many seconds, and as many without it between them.
pub struct Turns {
    pub count: u32,
    pub seconds: u64,
}

pub async fn measure(turns: Turns) {
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
    let good = Sender::new(&gateway, "good", "good", component("plugins/page-view")).await;
    // A plugin for each deed: what one has wasted is held against it for a while, and must not be against the next.
    let hostile = component("tests/plugins/hostile");
    let mut bad = Vec::new();
    for (number, (what, _)) in (0..).zip(DEEDS) {
        let component = numbered(&hostile, number);
        bad.push(Sender::new(&gateway, &format!("bad-{what}"), "bad", component).await);
    }
    let event = page_view();
    println!(
        "\nevents of one partner, {RATE} a second through page-view to Kafka, {} turns of {} s each; the other partner \
         sends as many to a plugin that …",
        turns.count, turns.seconds
    );
    let alone = good.send(&event, turns.seconds).await;
    println!(
        "{:<16} p50 {:>9.1?}  p99 {:>9.1?}",
        "(nothing at all)",
        alone.p(50),
        alone.p(99)
    );
    let mut missed = Vec::new();
    for (deed, sender) in DEEDS.into_iter().zip(&bad).skip(1) {
        let turn = [(DEEDS[0], &bad[0]), (deed, sender)];
        if !beside(&good, &event, turn, &turns).await {
            missed.push(deed.0);
        }
    }
    println!(
        "the gateway's process: {} MiB resident",
        gateway.process.resident_mib()
    );
    println!(
        "goal: beside each misdeed every event passes, and p99 grows by less than {:.0} %: {}",
        GROWTH_MAX * 100.0,
        if missed.is_empty() {
            "reached".to_owned()
        } else {
            format!("missed beside {}", missed.join(", "))
        }
    );
}

/// What is done, with how much, and who sends the events for it.
type Deed<'a> = ((&'static str, u64), &'a Sender);

/// Turns beside a plugin that behaves and one that misbehaves; whether the goal was reached.
async fn beside(good: &Sender, event: &str, deeds: [Deed<'_>; 2], turns: &Turns) -> bool {
    let (what, _) = deeds[1].0;
    let mut behaving = [Sent::default(), Sent::default()];
    let mut misbehaving = [Sent::default(), Sent::default()];
    for _ in 0..turns.count {
        for (((what, amount), bad), sums) in deeds.into_iter().zip([&mut behaving, &mut misbehaving]) {
            let bad_event = json!({"do": what, "amount": amount}).to_string();
            let (of_good, of_bad) = tokio::join!(
                good.send(event, turns.seconds),
                bad.send(&bad_event, turns.seconds)
            );
            sums[0].add(of_good);
            sums[1].add(of_bad);
        }
    }
    let ([before, harmless], [now, harmful]) = (behaving, misbehaving);
    let growth = now.p(99).as_secs_f64() / before.p(99).as_secs_f64() - 1.0;
    let is_reached = growth < GROWTH_MAX
        && [&now, &before, &harmless]
            .iter()
            .all(|sent| sent.have_all_passed());
    println!(
        "{what:<16} p50 {:>9.1?}  p99 {:>9.1?}  slowest {:>9.1?}  where it behaves: p50 {:>9.1?}  p99 {:>9.1?}  p99 {:+.0} %: {}",
        now.p(50),
        now.p(99),
        now.p(100),
        before.p(50),
        before.p(99),
        growth * 100.0,
        if is_reached { "reached" } else { "missed" }
    );
    println!(
        "{:<16} passed {now}, of the plugin that misbehaves {harmful}; where it behaves {before} and {harmless}",
        ""
    );
    is_reached
}

/// What became of one partner's events.
#[derive(Default)]
struct Sent {
    /// Ascending.
    latencies: Vec<Duration>,
    passed: u64,
    /// With those that were left out, since too many were under way.
    due: u64,
}

impl Sent {
    fn add(&mut self, more: Sent) {
        self.latencies.extend(more.latencies);
        self.latencies.sort_unstable();
        self.passed += more.passed;
        self.due += more.due;
    }

    fn have_all_passed(&self) -> bool {
        self.passed == self.due
    }

    fn p(&self, per_cent: usize) -> Duration {
        let index = (self.latencies.len() * per_cent).div_ceil(100).saturating_sub(1);
        self.latencies.get(index).copied().unwrap_or(Duration::MAX)
    }
}

impl fmt::Display for Sent {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} of {}", self.passed, self.due)
    }
}

struct Sender {
    client: reqwest::Client,
    url: String,
    key: String,
}

impl Sender {
    /// A partner with a type, a plugin and a route of its name.
    async fn new(gateway: &Gateway, name: &str, topic: &str, component: Vec<u8>) -> Sender {
        let key = gateway.partner(name).await;
        gateway
            .put(&format!("/v1/schemas/{name}/1"), json!({"type": "object"}))
            .await;
        let request = gateway
            .client
            .post(format!("http://{}/v1/plugins/{name}/versions", gateway.admin))
            .header("content-type", "application/wasm")
            .body(component);
        gateway.send(request).await.expect("the plugin is taken");
        let path = format!("/v1/plugins/{name}/activate");
        let activated = gateway.call("POST", &path, Some(json!({"version": 1}))).await;
        activated.expect("the version is activated");
        let route = json!({
            "match": {"type": name}, "plugin": name, "to": [{"destination": "events", "topic": topic}]
        });
        gateway.put(&format!("/v1/routes/{name}"), route).await;
        Sender {
            client: reqwest::Client::new(),
            url: format!("http://{}/v1/events/{name}", gateway.data),
            key,
        }
    }

    /// Sends at the rate whatever becomes of the events before; a latency counts from when an event was due.
    async fn send(&self, event: &str, seconds: u64) -> Sent {
        let under_way = Arc::new(AtomicU64::new(0));
        let begun = tokio::time::Instant::now();
        let mut tasks = tokio::task::JoinSet::new();
        let mut sent = Sent {
            due: RATE * seconds,
            ..Sent::default()
        };
        for number in 0..sent.due {
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
            let under_way = Arc::clone(&under_way);
            let due: Instant = due.into();
            tasks.spawn(async move {
                let answer = request.send().await.expect("the gateway answers");
                assert_eq!(answer.status(), 202, "no request fails");
                let text = answer.text().await.expect("the answer is read");
                under_way.fetch_sub(1, Ordering::Relaxed);
                (due.elapsed(), text.contains("\"status\":\"accepted\""))
            });
        }
        while let Some(answered) = tasks.join_next().await {
            let (latency, has_passed) = answered.expect("every answer is 202");
            sent.latencies.push(latency);
            sent.passed += u64::from(has_passed);
        }
        sent.latencies.sort_unstable();
        sent
    }
}
