//! Many nodes, one store: a folder, and S3. The log stays one line whoever writes and whoever is killed.
//!
//! With `HEADWORKS_TEST_LONG=1` (`make test-long`) more changes are made, and the same tests run against MinIO too.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::harness::{
    gateway::{Gateway, Options, eventually},
    long,
    s3::{Kind, S3},
};

const WRITERS: u64 = 8;
const NODES: usize = 3;
/// A change made on one node is in force on the others in this time.
const PROPAGATION: Duration = Duration::from_secs(2);

/// MinIO is built for the long tests alone.
fn kinds() -> &'static [Kind] {
    if long() {
        &[Kind::Moto, Kind::Minio]
    } else {
        &[Kind::Moto]
    }
}

async fn node(store: &str) -> Gateway {
    Gateway::start_with(Options {
        configuration: store.to_owned(),
        ..Options::default()
    })
    .await
}

fn folder() -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let store = format!("[store]\nurl = \"file:{}\"\n", folder.path().display());
    (folder, store)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_share_a_folder() {
    let (_folder, store) = folder();
    nodes_see_each_other(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_share_a_bucket() {
    for kind in kinds() {
        let s3 = S3::start(*kind).await;
        nodes_see_each_other(&s3.store("one/two")).await;
    }
}

/// Tokens and keys of one node hold on the other; what one keeps in quarantine, the other lists and sends.
async fn nodes_see_each_other(store: &str) {
    let mut one = node(store).await;
    let mut other = node(store).await;
    // The first node of a store makes the token; it holds on all.
    std::fs::copy(one.path("data/admin-token"), other.path("data/admin-token")).expect("the token is there");
    let key = one.partner("shop", json!({})).await;
    other.know_key("shop", &key);
    let route = json!({"match": {"type": "shop.*"}, "to": [{"destination": "files", "topic": "shop"}]});
    one.put("/v1/routes/shop", route).await;
    let made = Instant::now();
    eventually("the other node has the change", async || {
        let answer = other.admin("GET", "/v1/routes/shop", None).await;
        (answer.status == 200).then_some(())
    })
    .await;
    assert!(made.elapsed() < PROPAGATION, "{:?}", made.elapsed());
    let event = |id: &str| json!({"id": id, "type": "shop.order", "data": {"id": id}}).to_string();
    let sent = eventually("the key holds on the other node", async || {
        let answer = other
            .post("/v1/events", "shop", "application/json", event("a"))
            .await;
        (answer.status == 202).then(|| answer.json())
    })
    .await;
    assert_eq!(sent["code"], "schema-unknown");
    // A node that ends brings all that it keeps to the store.
    other.terminate().await;
    eventually("the first node lists it", async || {
        (one.quarantine().await.len() == 1).then_some(())
    })
    .await;
    one.put("/v1/schemas/shop.order/1", json!({"type": "object"}))
        .await;
    let records = one.wait_for_records("shop", 1).await;
    assert_eq!(records[0]["id"], "a");
    other.start_again().await;
    assert!(
        other.quarantine().await.is_empty(),
        "what one sent, the other sends no more"
    );
    assert!(other.records("shop").is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_never_fork_the_log_of_a_folder() {
    let (_folder, store) = folder();
    writers_never_fork(&store, if long() { 2000 } else { 400 }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_never_fork_the_log_of_a_bucket() {
    for kind in kinds() {
        let s3 = S3::start(*kind).await;
        writers_never_fork(&s3.store("log"), if long() { 2000 } else { 200 }).await;
    }
}

/// Eight writers on three nodes, of which one or the other is killed now and then.
async fn writers_never_fork(store: &str, changes: u64) {
    let mut nodes = Vec::new();
    for _ in 0..NODES {
        nodes.push(node(store).await);
    }
    let token = nodes[0].token();
    let urls: Arc<Vec<String>> = Arc::new(nodes.iter().map(Gateway::admin_url).collect());
    let next = Arc::new(AtomicU64::new(0));
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            tokio::spawn(write(
                writer,
                Arc::clone(&urls),
                token.clone(),
                Arc::clone(&next),
                changes,
            ))
        })
        .collect();
    let waiting = tokio::spawn(async move {
        let mut acknowledged = Vec::new();
        for writer in writers {
            acknowledged.extend(writer.await.expect("a writer sees only answers of the contract"));
        }
        acknowledged
    });
    let mut kills = 0;
    while !waiting.is_finished() {
        tokio::time::sleep(Duration::from_millis(700 + kills * 131 % 500)).await;
        // The first stays, so that all others can be compared with it at the end.
        let victim = 1 + usize::try_from(kills).expect("few") % (NODES - 1);
        nodes[victim].kill();
        nodes[victim].start_again().await;
        kills += 1;
    }
    let acknowledged = waiting.await.expect("the writers have ended");
    assert!(kills >= 2, "{kills} kills");
    assert_eq!(acknowledged.len() as u64, changes);
    let token = nodes[0].token();
    // A node that did not make a change itself learns of it a moment later.
    let log = eventually("all that was acknowledged is in the log", async || {
        let log = log_of(&nodes[0], &token).await;
        let names: BTreeSet<&str> = log.iter().filter_map(|entry| entry["name"].as_str()).collect();
        let lost = acknowledged.iter().any(|name| !names.contains(name.as_str()));
        (!lost).then_some(log)
    })
    .await;
    for (expected, entry) in (1..).zip(&log) {
        assert_eq!(entry["sequence"], expected, "the log is one line");
    }
    for node in &nodes[1..] {
        eventually("each node has the same log", async || {
            (log_of(node, &token).await == log).then_some(())
        })
        .await;
    }
}

/// Makes partners until all are made; gives those that were acknowledged.
async fn write(
    writer: u64,
    urls: Arc<Vec<String>>,
    token: String,
    next: Arc<AtomicU64>,
    changes: u64,
) -> Vec<String> {
    let client = crate::harness::client();
    let mut acknowledged = Vec::new();
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= changes {
            return acknowledged;
        }
        let name = format!("p{number}-of-{writer}");
        for attempt in 0.. {
            // The next node, where this one is just being killed.
            let node = usize::try_from(writer + attempt).expect("few") % urls.len();
            let sent = client
                .put(format!("{}/v1/partners/{name}", urls[node]))
                .bearer_auth(&token)
                .json(&json!({"description": name}))
                .send()
                .await;
            match sent {
                Ok(answer) if answer.status().is_success() => break,
                Ok(answer) if answer.status() == StatusCode::SERVICE_UNAVAILABLE => {}
                Ok(answer) => panic!("{}: {:?}", answer.status(), answer.text().await),
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
            assert!(attempt < 5000, "{name} is never taken");
        }
        acknowledged.push(name);
    }
}

async fn log_of(node: &Gateway, token: &str) -> Vec<Value> {
    let client = crate::harness::client();
    let mut log = Vec::new();
    let mut after = "0".to_owned();
    loop {
        let url = format!("{}/v1/changes?limit=1000&after={after}", node.admin_url());
        let answer = client
            .get(url)
            .bearer_auth(token)
            .send()
            .await
            .expect("it answers");
        let page: Value = answer.json().await.expect("a page");
        log.extend(page["items"].as_array().expect("a list").iter().cloned());
        match page["next"].as_str() {
            Some(next) => after = next.to_owned(),
            None => return log,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_its_store_serves_on_and_says_so() {
    for kind in kinds() {
        serves_on_without_its_store(*kind).await;
    }
}

async fn serves_on_without_its_store(kind: Kind) {
    let s3 = S3::start(kind).await;
    let mut gateway = node(&s3.store("away")).await;
    gateway.partner("shop", json!({})).await;
    gateway
        .put("/v1/schemas/shop.order/1", json!({"type": "object"}))
        .await;
    let route = json!({"match": {"type": "shop.*"}, "to": [{"destination": "files", "topic": "shop"}]});
    gateway.put("/v1/routes/shop", route).await;
    s3.kill();
    eventually("readiness says that the store is away", async || {
        let ready = readiness(&gateway).await;
        let registry = check(&ready, "registry");
        let says_so = registry["detail"]
            .as_str()
            .is_some_and(|detail| detail.contains("the store cannot be read"));
        (ready["ready"] == true && registry["ok"] == true && says_so).then_some(())
    })
    .await;
    let metrics = metrics(&gateway).await;
    let failing = metrics
        .lines()
        .find(|line| line.starts_with("headworks_registry_store_failing"));
    assert!(failing.is_some_and(|line| line.ends_with(" 1")), "{failing:?}");
    let event = |data: Value| json!({"type": "shop.order", "data": data}).to_string();
    let taken = gateway
        .post("/v1/events", "shop", "application/json", event(json!({})))
        .await;
    assert_eq!(taken.expect(202)["status"], "accepted", "events go on");
    let kept = gateway
        .post("/v1/events", "shop", "application/json", event(json!(1)))
        .await;
    assert_eq!(kept.expect(202)["status"], "quarantined", "and are kept");
    gateway.wait_for_records("shop", 1).await;
    let change = gateway.admin("PUT", "/v1/partners/new", Some(json!({}))).await;
    assert_eq!(change.expect(503)["code"], "store-unavailable");
}

async fn readiness(gateway: &Gateway) -> Value {
    let answer = reqwest::get(format!("{}/readyz", gateway.admin_url())).await;
    answer
        .expect("it answers")
        .json()
        .await
        .expect("readiness is JSON")
}

fn check<'r>(ready: &'r Value, name: &str) -> &'r Value {
    let checks = ready["checks"].as_array().expect("checks");
    checks
        .iter()
        .find(|check| check["name"] == name)
        .expect("the check is there")
}

async fn metrics(gateway: &Gateway) -> String {
    let answer = reqwest::get(format!("{}/metrics", gateway.admin_url())).await;
    answer
        .expect("it answers")
        .text()
        .await
        .expect("metrics are text")
}

/// For a release build it is 1 s; a debug build reads JSON many times slower.
const START: Duration = Duration::from_secs(if cfg!(debug_assertions) { 6 } else { 1 });

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_keeps_the_start_short() {
    let entries = if long() { 100_000 } else { 5000 };
    let (folder, _) = folder();
    write_old_log(folder.path(), entries);
    let url = format!("file:{}", folder.path().display());
    let store = headworks::store::Store::open(&url).expect("the store opens");
    let first = Instant::now();
    let registry = headworks::registry::Registry::open(store.clone())
        .await
        .expect("the log is read");
    assert_eq!(registry.state().sequence, entries);
    println!("{entries} entries without a snapshot: {:?}", first.elapsed());
    eventually("a snapshot is written", async || {
        let snapshots = store
            .list("registry/snapshots", None)
            .await
            .expect("it is listed");
        (!snapshots.is_empty()).then_some(())
    })
    .await;
    drop(registry);
    let again = Instant::now();
    let registry = headworks::registry::Registry::open(store)
        .await
        .expect("the log is read");
    let took = again.elapsed();
    assert_eq!(registry.state().sequence, entries);
    println!("{entries} entries with a snapshot: {took:?}");
    assert!(took < START, "{took:?}");
}

/// As the registry writes it: a thousand partners, changed again and again.
fn write_old_log(folder: &std::path::Path, entries: u64) {
    let log = folder.join("registry/log");
    std::fs::create_dir_all(&log).expect("the folder is made");
    for sequence in 1..=entries {
        let name = format!("p{}", sequence % 1000);
        let entry = json!({
            "sequence": sequence, "at": "2026-01-02T03:04:05Z", "by": "test", "change": "put_partner",
            "name": name, "partner": {"description": format!("change {sequence}")},
        });
        std::fs::write(log.join(format!("{sequence:020}.json")), entry.to_string())
            .expect("an entry is written");
    }
}
