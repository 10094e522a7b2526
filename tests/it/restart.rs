//! Restarts under load, by a supervisor that holds the sockets: no request fails.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use crate::{
    faults::{Oracle, numbers, send, set_up},
    harness::{
        gateway::{Gateway, Options, eventually},
        kafka::Broker,
        long,
    },
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restarts_under_load_fail_no_request_and_double_no_event() {
    let mut gateway = Gateway::start_supervised().await;
    let key = gateway.partner("steady", json!({})).await;
    gateway
        .put("/v1/schemas/steady.test/1", json!({"type": "object"}))
        .await;
    let route = json!({"match": {"type": "steady.*"}, "to": [{"destination": "files", "topic": "steady"}]});
    gateway.put("/v1/routes/steady", route).await;

    let url = format!("http://{}/v1/events/steady.test", gateway.data_address());
    let (next, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let accepted: Arc<Mutex<HashSet<u64>>> = Arc::default();
    let senders: Vec<_> = (0..8)
        .map(|sender| {
            let (next, stop, accepted) = (Arc::clone(&next), Arc::clone(&stop), Arc::clone(&accepted));
            let (url, key) = (url.clone(), key.clone());
            // Half of them keep their connection; the others open one for each request.
            let idle = if sender % 2 == 0 { usize::MAX } else { 0 };
            let client = reqwest::Client::builder()
                .pool_max_idle_per_host(idle)
                .build()
                .expect("a client");
            tokio::spawn(async move {
                while !stop.load(Ordering::SeqCst) {
                    let number = next.fetch_add(1, Ordering::SeqCst);
                    let request = client
                        .post(&url)
                        .bearer_auth(&key)
                        .json(&json!({"number": number}));
                    let answer = request.send().await.expect("no request fails");
                    assert_eq!(answer.status(), 202, "{:?}", answer.text().await);
                    accepted.lock().expect("no sender panics").insert(number);
                }
            })
        })
        .collect();
    let restarts = if long() { 50 } else { 4 };
    for _ in 0..restarts {
        let before = accepted.lock().expect("no sender panics").len();
        eventually("events flow", async || {
            (accepted.lock().expect("no sender panics").len() > before + 100).then_some(())
        })
        .await;
        assert!(gateway.terminate().await.success(), "{}", gateway.log());
        gateway.start_again().await;
    }
    stop.store(true, Ordering::SeqCst);
    for sender in senders {
        sender.await.expect("no request fails");
    }
    let accepted = accepted.lock().expect("no sender panics").clone();
    let numbers = |records: Vec<Value>| -> Vec<u64> {
        let number = |record: Value| record["data"]["number"].as_u64().expect("a number");
        records.into_iter().map(number).collect()
    };
    let found = eventually("all are in the files", async || {
        let found = numbers(gateway.records("steady"));
        accepted
            .is_subset(&found.iter().copied().collect())
            .then_some(found)
    })
    .await;
    assert_eq!(found.len(), accepted.len(), "none is there twice");
    println!(
        "{} requests over {restarts} restarts, none failed",
        accepted.len()
    );
}

/// Whoever asks for readiness is told before anything else happens.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readiness_says_no_while_requests_are_still_taken() {
    let wrapper = ["env", "HEADWORKS__SERVER__SHUTDOWN_DELAY_S=2"];
    let mut gateway = Gateway::start_with(Options {
        wrapper: wrapper.map(str::to_owned).to_vec(),
        ..Options::default()
    })
    .await;
    gateway.partner("steady", json!({})).await;
    gateway
        .put("/v1/schemas/steady.test/1", json!({"type": "object"}))
        .await;
    gateway
        .put(
            "/v1/routes/steady",
            json!({"to": [{"destination": "files", "topic": "steady"}]}),
        )
        .await;
    gateway.signal_to_stop();
    let ready = format!("{}/readyz", gateway.admin_url());
    eventually("readiness says no", async || {
        let answer = reqwest::get(&ready).await.expect("the admin port answers");
        (answer.status() == 503).then_some(())
    })
    .await;
    let answer = gateway
        .post("/v1/events/steady.test", "steady", "application/json", "{}")
        .await;
    assert_eq!(answer.expect(202)["status"], "accepted");
    assert!(gateway.ended().await.success());
    gateway.start_again().await;
    eventually("it is in the file", async || {
        (gateway.records("steady").len() == 1).then_some(())
    })
    .await;
}

/// A broker that stands still must not keep the gateway from leaving, nor take anything with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_leaves_in_time_though_its_broker_stands_still() {
    const TIMEOUT: Duration = Duration::from_secs(6);
    let broker = spawn_blocking(Broker::start).await.expect("started");
    broker.create_topic("stopped", 1).await;
    let timeout = format!("HEADWORKS__SERVER__SHUTDOWN_TIMEOUT_S={}", TIMEOUT.as_secs());
    let mut gateway = Gateway::start_with(Options {
        kafka: Some(broker.bootstrap().to_owned()),
        wrapper: vec!["env".to_owned(), timeout],
        ..Options::default()
    })
    .await;
    let to = json!([{"destination": "events", "topic": "stopped"}]);
    let key = set_up(&mut gateway, to).await;
    let oracle = Arc::new(Oracle::default());
    // Told to stop while what it sent is not acknowledged, and while it looks for the broker.
    for is_spooling in [false, true] {
        let accepted = oracle.accepted();
        let senders: Vec<_> = (0..4).map(|_| send(&gateway, &key, &oracle, 200, true)).collect();
        let more = async |than: usize| {
            eventually("events are accepted", async || {
                (oracle.accepted() > than + 50).then_some(())
            })
            .await;
        };
        more(accepted).await;
        broker.pause();
        if is_spooling {
            more(oracle.accepted()).await;
        }
        let begun = Instant::now();
        gateway.signal_to_stop();
        assert!(gateway.ended().await.success(), "{}", gateway.log());
        let took = begun.elapsed();
        // Beyond the time itself only the end of the process.
        assert!(took < TIMEOUT + Duration::from_secs(1), "it took {took:?}");
        for sender in senders {
            sender.await.expect("only answers of the contract");
        }
        broker.go_on();
        gateway.start_again().await;
        let owed = oracle.owed();
        eventually("all that was acknowledged is in Kafka", async || {
            let messages = broker.consume_all("stopped").await;
            let values = messages.into_iter().map(|message| {
                let value: Value = serde_json::from_slice(&message.value).expect("a value is JSON");
                value
            });
            owed.is_subset(&numbers(values)).then_some(())
        })
        .await;
    }
}
