//! What a plugin of one partner, and uploads made to harm, do to the events of another: nothing that a sender sees.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::harness::{
    gateway::{Answer, Gateway, Options, eventually},
    long, page_view,
};

const GOOD: &str = "app.page_view";
const BAD: &str = "bad.thing";

/// Partner `good` with `page-view`, partner `bad` with the plugin that does what its events say.
async fn gateway(plugin_time_ms: u32) -> Gateway {
    // The host of these tests is built without optimisation; a version that is left by itself would end the test.
    let configuration =
        format!("[plugins]\nrollback_percent = 0\n[limits]\nplugin_time_ms = {plugin_time_ms}\n");
    let mut gateway = Gateway::start_with(Options {
        configuration,
        ..Options::default()
    })
    .await;
    for (partner, event_type, component) in [
        ("good", GOOD, page_view::component()),
        ("bad", BAD, crate::plugins::hostile_component().to_vec()),
    ] {
        gateway.partner(partner, json!({})).await;
        let path = format!("/v1/schemas/{event_type}/1");
        gateway.put(&path, json!({"type": "object"})).await;
        gateway.push_plugin(partner, component).await;
        let route = json!({
            "match": {"type": event_type}, "plugin": partner, "to": [{"destination": "files", "topic": partner}]
        });
        gateway.put(&format!("/v1/routes/{partner}"), route).await;
    }
    gateway
}

/// Senders of the good partner, until they are told to stop.
struct Load {
    stop: Arc<AtomicBool>,
    senders: Vec<tokio::task::JoinHandle<Vec<Duration>>>,
}

impl Load {
    fn start(gateway: &Gateway, senders: usize) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let url = format!("http://{}/v1/events/{GOOD}", gateway.data_address());
        let key = gateway.key("good");
        let sender = |_| {
            let (stop, url, key) = (Arc::clone(&stop), url.clone(), key.clone());
            tokio::spawn(async move {
                let client = crate::harness::client();
                let mut latencies = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let begun = Instant::now();
                    let body = json!({"platform": "ios"});
                    let answer = client.post(&url).bearer_auth(&key).json(&body).send().await;
                    let answer = answer.expect("no request fails");
                    assert_eq!(answer.status(), 202);
                    let body: Value = answer.json().await.expect("an answer is JSON");
                    assert_eq!(body["status"], "accepted", "{body}");
                    latencies.push(begun.elapsed());
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                latencies
            })
        };
        Load {
            senders: (0..senders).map(sender).collect(),
            stop,
        }
    }

    /// How long each event took; all of them are delivered, after those that were before.
    async fn stop(self, gateway: &Gateway, delivered: usize) -> Vec<Duration> {
        self.stop.store(true, Ordering::Relaxed);
        let mut latencies = Vec::new();
        for sender in self.senders {
            latencies.extend(sender.await.expect("every answer is 202 and accepted"));
        }
        latencies.sort_unstable();
        let expected = delivered + latencies.len();
        let records = gateway.wait_for_records("good", expected).await;
        assert_eq!(records.len(), expected, "each once");
        latencies
    }
}

fn p99(latencies: &[Duration]) -> Duration {
    latencies[latencies.len() * 99 / 100]
}

fn lives(gateway: &mut Gateway) {
    assert_eq!(gateway.exited(), None, "the process lives");
}

/// What the bad plugin does to an event, and with how much.
const MISDEEDS: [(&str, u64); 10] = [
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_that_misbehaves_costs_its_partner_alone() {
    let mut gateway = gateway(100).await;
    let seconds = if long() { 20 } else { 2 };
    let mut delivered = 0;
    for (what, amount) in MISDEEDS {
        let load = Load::start(&gateway, 4);
        let end = Instant::now() + Duration::from_secs(seconds);
        let mut sent = 0;
        while Instant::now() < end {
            let event = json!({"do": what, "amount": amount});
            let path = format!("/v1/events/{BAD}");
            let posts = (0..4).map(|_| gateway.post(&path, "bad", "application/json", event.to_string()));
            for answer in futures::future::join_all(posts).await {
                assert_eq!(answer.status, 202, "{what}: {}", answer.text);
                sent += 1;
            }
        }
        let latencies = load.stop(&gateway, delivered).await;
        delivered += latencies.len();
        lives(&mut gateway);
        let slowest = latencies.last().expect("there were events");
        println!(
            "{what}: {sent} of the bad partner; {} of the good one, p99 {:.1?}, slowest {slowest:.1?}",
            latencies.len(),
            p99(&latencies)
        );
        assert!(*slowest < Duration::from_secs(5), "{what}: {slowest:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_that_only_times_out_is_hardly_called_and_told() {
    let gateway = gateway(10).await;
    let path = format!("/v1/events/{BAD}");
    let post = async |partner: &str, what: &str| -> Value {
        let event = json!({"do": what}).to_string();
        let answer = gateway.post(&path, partner, "application/json", event).await;
        assert_eq!(answer.status, 202, "{}", answer.text);
        answer.json()
    };
    let mut details: Vec<String> = Vec::new();
    let begun = Instant::now();
    while !details
        .last()
        .is_some_and(|detail| detail.contains("was not called"))
    {
        assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", details.last());
        let answer = post("bad", "loop").await;
        assert_eq!(answer["code"], "plugin-failed", "{answer}");
        details.push(answer["detail"].to_string());
    }
    assert!(details.len() > 5, "some limits are free: {}", details.len());
    assert!(details[0].contains("ran longer than 10 ms"), "{}", details[0]);
    // From here on nearly no call: what each would cost is known.
    let begun = Instant::now();
    let mut called = 0;
    for _ in 0..200 {
        let answer = post("bad", "loop").await;
        called += u32::from(!answer["detail"].to_string().contains("was not called"));
    }
    let allowed = 2 + u32::try_from(begun.elapsed().as_millis() / 400).expect("seconds");
    assert!(called <= allowed, "{called} calls in {:?}", begun.elapsed());
    // Another partner's events pass through the same plugin.
    assert_eq!(post("good", "echo").await["status"], "accepted");
    // And this one's, when the time is paid.
    eventually("it is called again", async || {
        (post("bad", "echo").await["status"] == "accepted").then_some(())
    })
    .await;

    let log = gateway.log();
    let told = log
        .matches("a plugin spends too much time in calls that fail")
        .count();
    assert_eq!(told, 1, "{log}");
    let plugin = gateway.admin("GET", "/v1/plugins/bad", None).await.expect(200);
    let causes = &plugin["versions"][0]["health"]["causes"];
    assert!(causes["held"].as_u64() > Some(150), "{plugin}");
    let metrics = gateway.admin("GET", "/metrics", None).await.text;
    let held = metrics
        .lines()
        .find(|line| line.starts_with("headworks_plugin_calls_total{") && line.contains("outcome=\"held\""));
    assert!(held.is_some_and(|line| !line.ends_with(" 0")), "{held:?}");
}

/// Calls of the bad partner's version on this node.
async fn calls(gateway: &Gateway) -> u64 {
    let plugin = gateway.admin("GET", "/v1/plugins/bad", None).await.expect(200);
    plugin["versions"][0]["health"]["calls"]
        .as_u64()
        .unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_ran_out_of_its_time_keeps_no_worker() {
    // Two workers would be kept by two of them.
    const LOOPS: u64 = 4;
    let gateway = gateway(500).await;
    let path = format!("/v1/events/{BAD}");
    let event = json!({"do": "loop"}).to_string();
    let first = gateway
        .post(&path, "bad", "application/json", event.clone())
        .await;
    assert!(
        first.json()["detail"].to_string().contains("ran longer than"),
        "{}",
        first.text
    );
    let before = calls(&gateway).await;
    let client = crate::harness::client();
    let loops: Vec<_> = (0..LOOPS)
        .map(|_| {
            let post = client
                .post(format!("http://{}{path}", gateway.data_address()))
                .bearer_auth(gateway.key("bad"))
                .header("content-type", "application/json")
                .body(event.clone());
            tokio::spawn(async move { Answer::read(post.send().await.expect("it is answered")).await })
        })
        .collect();
    eventually("one of them loops", async || {
        (calls(&gateway).await > before).then_some(())
    })
    .await;
    for _ in 0..5 {
        let body = json!({"platform": "ios"}).to_string();
        let path = format!("/v1/events/{GOOD}");
        let answer = gateway.post(&path, "good", "application/json", body).await;
        assert_eq!(answer.json()["status"], "accepted", "{}", answer.text);
    }
    // Each takes half a second of a core, one after the other.
    let ended = loops.iter().filter(|post| post.is_finished()).count();
    assert!(
        ended <= 1,
        "{ended} of {LOOPS} ended before the good ones were answered"
    );
    for post in loops {
        let answer = post.await.expect("it is answered");
        assert_eq!(answer.json()["code"], "plugin-failed", "{}", answer.text);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_of_what_failed_keeps_the_plugin_from_nothing_that_passes() {
    // Little, since its calls are of low priority: beside other tests a core's time comes slowly.
    let gateway = gateway(10).await;
    let post = async |what: &str| -> Value {
        let event = json!({"do": what}).to_string();
        let path = format!("/v1/events/{BAD}");
        let answer = gateway.post(&path, "bad", "application/json", event).await;
        assert_eq!(answer.status, 202, "{}", answer.text);
        answer.json()
    };
    let mut failed = 0;
    let begun = Instant::now();
    while !post("loop").await["detail"]
        .to_string()
        .contains("was not called")
    {
        assert!(begun.elapsed() < Duration::from_secs(60), "after {failed} calls");
        failed += 1;
    }
    eventually("it is called again", async || {
        (post("echo").await["status"] == "accepted").then_some(())
    })
    .await;
    // All that has failed until now is to fail again, and each time at its full cost.
    for dry_run in [true, false] {
        let body = json!({"code": "plugin-failed", "dry_run": dry_run});
        let again = gateway.admin("POST", "/v1/quarantine/replay", Some(body)).await;
        let again = again.expect(200);
        assert!(again["matched"].as_u64() > Some(failed), "{again}");
        assert!(again["quarantined"].as_u64() >= Some(failed), "{again}");
        let passes = post("echo").await;
        let text = passes.to_string();
        assert!(!text.contains("was not called"), "dry_run {dry_run}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uploads_made_to_harm_fail_no_event() {
    let mut gateway = gateway(1000).await;
    let pid = gateway.pid();
    let load = Load::start(&gateway, 3);
    let scale = if long() { 10 } else { 1 };
    let bombs = crate::plugins::bombs::all(scale);
    let mut uploads: Vec<(String, bytes::Bytes)> = bombs
        .into_iter()
        .map(|(what, bomb)| (what.to_owned(), bomb))
        .collect();
    uploads.extend(crate::plugins::bombs::generated(
        1000,
        if long() { 100 } else { 4 },
    ));
    let client = crate::harness::client();
    let (mut taken, mut refused) = (0, 0);
    for pair in uploads.chunks(2) {
        let posts = pair.iter().map(|(what, upload)| {
            let request = client
                .post(format!("{}/v1/plugins/bomb/versions", gateway.admin_url()))
                .bearer_auth(gateway.token())
                .header("content-type", "application/wasm")
                .body(upload.clone());
            async move {
                (
                    what,
                    Answer::read(request.send().await.expect("it is answered")).await,
                )
            }
        });
        for (what, answer) in futures::future::join_all(posts).await {
            match answer.status {
                200 | 201 => taken += 1,
                422 => {
                    let code = answer.json()["code"].to_string();
                    assert!(code.contains("component-"), "{what}: {}", answer.text);
                    refused += 1;
                }
                status => panic!("{what}: {status} {}", answer.text),
            }
        }
        lives(&mut gateway);
    }
    let latencies = load.stop(&gateway, 0).await;
    assert_eq!(gateway.pid(), pid);
    println!(
        "{taken} taken, {refused} refused; {} events meanwhile, p99 {:.1?}, slowest {:.1?}",
        latencies.len(),
        p99(&latencies),
        latencies.last().expect("there were events")
    );
    assert!(refused > 8, "{taken} taken, {refused} refused");
    assert!(latencies.len() > 100, "{} events", latencies.len());
    assert!(gateway.quarantine().await.is_empty());
}
