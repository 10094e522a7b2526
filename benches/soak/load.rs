//! Senders at a rate that does not wait for answers to keep up: single posts and batches of three types, and clients that
//! do wrong.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt as _, task::JoinHandle};

use crate::process::Gateway;

pub const TOPICS: [&str; 2] = ["soak-plain", "soak-plugin"];
/// Of one batch.
const BATCH: u64 = 20;
const SENDERS: u64 = 24;
/// A sender that waits so long for an answer has met a fault.
const ANSWER_MAX: Duration = Duration::from_secs(30);

#[derive(Clone, Copy)]
pub struct Rate {
    pub events_per_second: u64,
}

/// Which id was answered how; an id is given once.
#[derive(Default)]
struct Shared {
    next: AtomicU64,
    rate: AtomicU64,
    stop: AtomicBool,
    plain: Mutex<Vec<u64>>,
    plugin: Mutex<Vec<u64>>,
    quarantined: AtomicU64,
    requests: AtomicU64,
    refused: AtomicU64,
    failed: Mutex<Vec<String>>,
    slowest_us: AtomicU64,
    wrong: AtomicU64,
}

pub struct Load {
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<()>>,
}

/// What was acknowledged, by the way it went.
pub struct Sent {
    pub plain: Vec<u64>,
    pub plugin: Vec<u64>,
    pub quarantined: u64,
    requests: u64,
    refused: u64,
    failed: Vec<String>,
    slowest: Duration,
    wrong: u64,
}

/// Derived from the id, so that what arrives can be compared.
pub fn data(id: u64) -> String {
    let padding = "x".repeat((id * 7919 % 900) as usize);
    format!(
        "{{\"key\":{},\"number\":{id},\"padding\":\"{padding}\"}}",
        id % 97
    )
}

impl Load {
    pub fn start(gateway: &Arc<Gateway>, events_per_second: u64) -> Load {
        let shared = Arc::new(Shared::default());
        shared.rate.store(events_per_second, Ordering::Relaxed);
        let mut tasks: Vec<_> = (0..SENDERS)
            .map(|sender| tokio::spawn(send(Arc::clone(gateway), Arc::clone(&shared), sender)))
            .collect();
        tasks.push(tokio::spawn(do_wrong(Arc::clone(gateway), Arc::clone(&shared))));
        Load { shared, tasks }
    }

    /// From now on.
    pub fn set(&self, rate: Rate) {
        self.shared.rate.store(rate.events_per_second, Ordering::Relaxed);
    }

    pub async fn stop(self) -> Sent {
        self.shared.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.expect("no sender panics");
        }
        let shared = self.shared;
        let take = |ids: &Mutex<Vec<u64>>| std::mem::take(&mut *ids.lock().expect("no sender panics"));
        Sent {
            plain: take(&shared.plain),
            plugin: take(&shared.plugin),
            quarantined: shared.quarantined.load(Ordering::Relaxed),
            requests: shared.requests.load(Ordering::Relaxed),
            refused: shared.refused.load(Ordering::Relaxed),
            failed: std::mem::take(&mut *shared.failed.lock().expect("no sender panics")),
            slowest: Duration::from_micros(shared.slowest_us.load(Ordering::Relaxed)),
            wrong: shared.wrong.load(Ordering::Relaxed),
        }
    }
}

/// The next request: how many events, and its body.
fn request(shared: &Shared, turn: u64) -> (Kind, Vec<u64>, Vec<Value>) {
    let kind = match turn % 20 {
        0 => Kind::Strict,
        n if n % 3 == 0 => Kind::Plugin,
        _ => Kind::Plain,
    };
    // Half of the requests are single posts, and most of the events come in batches.
    let count = if turn.is_multiple_of(2) || matches!(kind, Kind::Strict) {
        1
    } else {
        BATCH
    };
    let first = shared.next.fetch_add(count, Ordering::Relaxed);
    let ids: Vec<u64> = (first..first + count).collect();
    let events = ids.iter().map(|id| {
        let data: Value = match kind {
            Kind::Plugin => json!({"platform": "ios", "number": id}),
            Kind::Plain | Kind::Strict => serde_json::from_str(&data(*id)).expect("it is JSON"),
        };
        json!({"id": id.to_string(), "type": kind.event_type(), "data": data})
    });
    let events = events.collect();
    (kind, ids, events)
}

#[derive(Clone, Copy)]
enum Kind {
    Plain,
    Plugin,
    Strict,
}

impl Kind {
    fn event_type(self) -> &'static str {
        match self {
            Kind::Plain => "soak.plain",
            Kind::Plugin => "app.page_view",
            Kind::Strict => "soak.strict",
        }
    }
}

async fn send(gateway: Arc<Gateway>, shared: Arc<Shared>, sender: u64) {
    // Half of them keep their connection; the others open one for each request.
    let idle = if sender.is_multiple_of(2) { usize::MAX } else { 0 };
    let client = reqwest::Client::builder()
        .pool_max_idle_per_host(idle)
        .timeout(ANSWER_MAX)
        .build()
        .expect("a client");
    let url = format!("http://{}/v1/events", gateway.data);
    let mut due = Instant::now();
    let mut turn = sender * 7;
    while !shared.stop.load(Ordering::Relaxed) {
        turn += 1;
        let (kind, ids, events) = request(&shared, turn);
        let body = Value::from(events).to_string();
        let begun = Instant::now();
        let sent = client
            .post(&url)
            .bearer_auth(&gateway.key)
            .header("content-type", "application/json")
            .body(body)
            .send()
            .await;
        note(&shared, kind, &ids, sent).await;
        let took = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        shared.slowest_us.fetch_max(took, Ordering::Relaxed);
        let rate = shared.rate.load(Ordering::Relaxed) as f64 / SENDERS as f64;
        due += Duration::from_secs_f64(ids.len() as f64 / rate);
        // Whoever is behind makes up for a second of it at most.
        due = due.max(Instant::now().checked_sub(Duration::from_secs(1)).unwrap_or(due));
        tokio::time::sleep_until(due.into()).await;
    }
}

async fn note(shared: &Shared, kind: Kind, ids: &[u64], sent: Result<reqwest::Response, reqwest::Error>) {
    shared.requests.fetch_add(1, Ordering::Relaxed);
    let fail = |text: String| shared.failed.lock().expect("no sender panics").push(text);
    match sent {
        Ok(answer) if answer.status() == 202 => match kind {
            Kind::Plain => shared.plain.lock().expect("no sender panics").extend(ids),
            Kind::Plugin => shared.plugin.lock().expect("no sender panics").extend(ids),
            Kind::Strict => {
                shared.quarantined.fetch_add(ids.len() as u64, Ordering::Relaxed);
            }
        },
        Ok(answer) if matches!(answer.status().as_u16(), 429 | 503) => {
            shared.refused.fetch_add(1, Ordering::Relaxed);
            let status = answer.status();
            let text = answer.text().await.unwrap_or_default();
            fail(format!("{status}: {text}"));
        }
        Ok(answer) => {
            let status = answer.status();
            let text = answer.text().await.unwrap_or_default();
            fail(format!("{status}: {text}"));
        }
        Err(error) => fail(format!("{error:?}")),
    }
}

/// Requests that must be refused, and connections that are left in the middle of one.
async fn do_wrong(gateway: Arc<Gateway>, shared: Arc<Shared>) {
    let client = reqwest::Client::new();
    let url = format!("http://{}/v1/events/soak.plain", gateway.data);
    while !shared.stop.load(Ordering::Relaxed) {
        let malformed = client
            .post(&url)
            .bearer_auth(&gateway.key)
            .body("{\"a\":")
            .send()
            .await;
        let stranger = client
            .post(&url)
            .bearer_auth("hw_nobody_nothing")
            .body("{}")
            .send()
            .await;
        for (sent, status) in [(malformed, 400), (stranger, 401)] {
            match sent {
                Ok(answer) if answer.status() == status => {}
                other => {
                    let text = format!("a wrong request, {status} expected: {other:?}");
                    shared.failed.lock().expect("no sender panics").push(text);
                }
            }
        }
        if let Ok(mut stream) = tokio::net::TcpStream::connect(gateway.data).await {
            let head =
                "POST /v1/events/soak.plain HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\n{\"half";
            // The other end may have gone first.
            let _ = stream.write_all(head.as_bytes()).await;
        }
        shared.wrong.fetch_add(3, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

impl Sent {
    pub fn print(&self) {
        println!(
            "  {} events acknowledged in {} requests ({} in quarantine), slowest answer {:.2} s; {} requests refused, {} failed",
            self.plain.len() + self.plugin.len() + self.quarantined as usize,
            self.requests,
            self.quarantined,
            self.slowest.as_secs_f64(),
            self.refused,
            self.failed.len() as u64 - self.refused.min(self.failed.len() as u64),
        );
        println!(
            "  {} wrong requests beside them, each answered as it should be",
            self.wrong
        );
        for error in self.failed.iter().take(5) {
            println!("    {error}");
        }
    }

    pub fn is_clean(&self) -> bool {
        self.failed.is_empty() && !self.plain.is_empty() && !self.plugin.is_empty()
    }
}
