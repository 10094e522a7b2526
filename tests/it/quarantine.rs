//! A quarantine that drains itself: exactly once past kills, in order by key, past what cannot go yet.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::harness::{
    gateway::{Gateway, Options, eventually},
    page_view,
};

const JSON: &str = "application/json";
const KEYS: u64 = 7;
const EVENTS: u64 = 12_000;
const IN_ONE_REQUEST: u64 = 1000;
const KILLS: u64 = 8;

async fn with_route(gateway: &mut Gateway) {
    gateway.partner("late", json!({})).await;
    let route = json!({"match": {"type": "late.*"}, "to": [{"destination": "files", "topic": "late", "key": "/key"}]});
    gateway.put("/v1/routes/late", route).await;
}

async fn post(gateway: &Gateway, event_type: &str, numbers: std::ops::Range<u64>) {
    let events: Vec<Value> = numbers
        .map(|number| {
            let data = json!({"number": number, "key": number % KEYS});
            json!({"id": number.to_string(), "type": event_type, "data": data})
        })
        .collect();
    let answer = gateway
        .post(
            "/v1/events",
            "late",
            JSON,
            Value::from(events.clone()).to_string(),
        )
        .await
        .expect(202);
    assert_eq!(answer["quarantined"], events.len(), "{answer}");
}

fn numbers(records: &[Value]) -> Vec<u64> {
    let number = |record: &Value| record["data"]["number"].as_u64().expect("a number");
    records.iter().map(number).collect()
}

async fn waiting(gateway: &Gateway) -> u64 {
    let counted = gateway
        .admin("POST", "/v1/quarantine/discard", Some(json!({"dry_run": true})))
        .await
        .expect(200);
    counted["total"].as_u64().expect("a count")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waited_goes_out_exactly_once_however_often_it_is_killed() {
    let mut gateway = Gateway::start().await;
    with_route(&mut gateway).await;
    for first in (0..EVENTS).step_by(IN_ONE_REQUEST as usize) {
        post(&gateway, "late.event", first..first + IN_ONE_REQUEST).await;
    }
    assert_eq!(waiting(&gateway).await, EVENTS);
    assert!(gateway.records("late").is_empty());

    gateway
        .put("/v1/schemas/late.event/1", json!({"type": "object"}))
        .await;
    let mut killed_while_draining = 0;
    for kill in 0..KILLS {
        // At another moment each time: before the claim, between two steps, before what went out is noted.
        let begun = gateway.records("late").len() as u64;
        tokio::time::sleep(Duration::from_micros(20_000 + kill * 37_000)).await;
        let mut before = gateway.records("late").len() as u64;
        let patience = Instant::now() + Duration::from_secs(20);
        // Every other time not before it has gone on: a busy machine may need longer than all of these moments.
        while kill % 2 == 1 && before == begun && before < EVENTS && Instant::now() < patience {
            tokio::time::sleep(Duration::from_millis(2)).await;
            before = gateway.records("late").len() as u64;
        }
        killed_while_draining += u64::from(before > 0 && before < EVENTS);
        gateway.kill();
        gateway.start_again().await;
    }
    eventually("nothing waits any more", async || {
        (waiting(&gateway).await == 0).then_some(())
    })
    .await;
    gateway.wait_for_records("late", EVENTS as usize).await;
    // What would come twice comes after.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let records = gateway.records("late");
    let mut seen: HashMap<u64, u64> = HashMap::new();
    for number in numbers(&records) {
        *seen.entry(number).or_default() += 1;
    }
    let twice: Vec<_> = seen.iter().filter(|(_, count)| **count > 1).collect();
    assert!(twice.is_empty(), "{} records came twice: {twice:?}", twice.len());
    assert_eq!(seen.len() as u64, EVENTS);
    in_order_by_key(&numbers(&records));

    let again = gateway
        .admin("POST", "/v1/quarantine/replay", Some(json!({})))
        .await
        .expect(200);
    assert_eq!((&again["matched"], &again["accepted"]), (&json!(0), &json!(0)));
    assert_eq!(
        gateway.records("late").len() as u64,
        EVENTS,
        "a second replay adds none"
    );
    assert!(
        killed_while_draining > 0,
        "no kill came while it drained: the test shows nothing"
    );
}

fn in_order_by_key(numbers: &[u64]) {
    let mut last: HashMap<u64, u64> = HashMap::new();
    for number in numbers {
        if let Some(before) = last.insert(number % KEYS, *number) {
            assert!(before < *number, "{number} came after {before} of the same key");
        }
    }
}

#[tokio::test]
async fn what_cannot_go_yet_hides_nothing() {
    let mut gateway = Gateway::start().await;
    with_route(&mut gateway).await;
    post(&gateway, "late.stuck", 0..50).await;
    post(&gateway, "late.ready", 50..60).await;
    let replay = async |after: Option<&Value>| {
        let mut body = json!({"limit": 20});
        if let Some(after) = after {
            body["after"] = after.clone();
        }
        gateway
            .admin("POST", "/v1/quarantine/replay", Some(body))
            .await
            .expect(200)
    };
    let mut after: Option<Value> = None;
    let mut calls = 0;
    loop {
        let report = replay(after.as_ref()).await;
        calls += 1;
        if after.is_none() {
            assert_eq!(report["total"], 60);
            assert_eq!(report["more"], true);
        }
        match report.get("next") {
            Some(next) => after = Some(next.clone()),
            None => break,
        }
    }
    assert_eq!(calls, 3, "each is looked at once");
    let refused = gateway
        .admin("POST", "/v1/quarantine/replay", Some(json!({"after": "x"})))
        .await
        .expect(422);
    assert_eq!(refused["errors"][0]["pointer"], "/after");

    let before = Instant::now();
    gateway
        .put("/v1/schemas/late.ready/1", json!({"type": "object"}))
        .await;
    let records = gateway.wait_for_records("late", 10).await;
    assert!(before.elapsed() < Duration::from_secs(10));
    assert_eq!(numbers(&records), (50..60).collect::<Vec<_>>());
    let runs = eventually("the replay is shown as done", async || {
        let runs = gateway
            .admin("GET", "/v1/quarantine/replays", None)
            .await
            .expect(200);
        let items = runs["items"].as_array().expect("a list").clone();
        items
            .iter()
            .any(|run| run["cause"] == "change" && run["accepted"] == 10 && run["state"] == "done")
            .then_some(items)
    })
    .await;
    let asked = runs.iter().filter(|run| run["cause"] == "request").count();
    assert_eq!(asked, 3, "{runs:?}");
}

#[tokio::test]
async fn the_command_line_replays_and_discards_all_that_matches() {
    let mut gateway = Gateway::start().await;
    with_route(&mut gateway).await;
    post(&gateway, "late.a", 0..30).await;
    post(&gateway, "late.b", 30..40).await;
    let run = |arguments: &[&str]| {
        let output = gateway.cli(arguments);
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        (
            output.status.code(),
            text,
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let (status, text, _) = run(&["quarantine", "replay", "--dry-run"]);
    assert_eq!(
        (status, text.as_str()),
        (Some(0), "40 events: 0 would go out, 40 would wait on")
    );
    let (status, text, _) = run(&["quarantine", "discard", "--type", "late.b", "--dry-run"]);
    assert_eq!((status, text.as_str()), (Some(0), "10 events would be discarded"));
    let (status, _, complaint) = run(&["quarantine", "discard", "--type", "late.b"]);
    assert_eq!(status, Some(1));
    assert!(complaint.contains("--yes"), "{complaint}");
    let (status, text, _) = run(&["quarantine", "discard", "--type", "late.b", "--yes"]);
    assert_eq!((status, text.as_str()), (Some(0), "10 events discarded"));
    let (status, text, _) = run(&["quarantine", "replay"]);
    assert_eq!(
        (status, text.as_str()),
        (Some(0), "30 events replayed: 0 accepted, 30 back in quarantine")
    );
    let changes = gateway
        .admin("GET", "/v1/changes?limit=1000", None)
        .await
        .expect(200);
    let notes: Vec<_> = changes["items"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|change| change["action"].as_str().or(change["detail"]["action"].as_str()))
        .collect();
    assert!(notes.contains(&"quarantine.discard"), "{changes}");
}

#[tokio::test]
async fn retention_drops_nothing_without_a_word() {
    let mut gateway = Gateway::start_with(Options {
        configuration: "[quarantine]\nmax_bytes = 1\n".to_owned(),
        ..Options::default()
    })
    .await;
    with_route(&mut gateway).await;
    post(&gateway, "late.event", 0..10).await;
    // Into the store, where it counts.
    gateway.terminate().await;
    gateway.start_again().await;
    let metric = async |name: &str| {
        let text = reqwest::get(format!("{}/metrics", gateway.admin_url()))
            .await
            .expect("metrics answer")
            .text()
            .await
            .expect("metrics are text");
        let line = text
            .lines()
            .find(|line| line.starts_with(name))
            .map(str::to_owned);
        line.and_then(|line| line.split(' ').next_back()?.parse::<f64>().ok())
    };
    let warned = eventually("the metric warns", async || {
        metric("headworks_quarantine_expiring")
            .await
            .filter(|events| *events > 0.0)
    })
    .await;
    assert!((warned - 10.0).abs() < f64::EPSILON);
    assert_eq!(
        waiting(&gateway).await,
        10,
        "a warning comes before anything is dropped"
    );
    // Retention is held once a minute.
    let begun = Instant::now();
    while metric("headworks_quarantine_dropped").await != Some(10.0) {
        assert!(begun.elapsed().as_secs() < 180, "what is dropped is counted");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(waiting(&gateway).await, 0);
    let changes = gateway
        .admin("GET", "/v1/changes?limit=1000", None)
        .await
        .expect(200);
    let expired: Vec<&Value> = changes["items"]
        .as_array()
        .expect("a list")
        .iter()
        .filter(|change| change["action"] == "quarantine.expire")
        .collect();
    let [expired] = expired[..] else {
        panic!("the audit trail says it once: {changes}")
    };
    assert_eq!(
        (&expired["by"], &expired["detail"]["too_many"]),
        (&json!("retention"), &json!(10))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_plugin_failed_on_goes_out_when_another_version_is_activated() {
    let mut gateway = Gateway::start().await;
    gateway.partner("late", json!({})).await;
    gateway
        .put("/v1/schemas/late.view/1", json!({"type": "object"}))
        .await;
    let failing = crate::plugins::hostile_component().to_vec();
    assert_eq!(gateway.push_plugin("views", failing).await, 1);
    let route = json!({"plugin": "views", "to": [{"destination": "files", "topic": "late"}]});
    gateway.put("/v1/routes/late", route).await;
    let event = json!({"platform": "ios", "do": "panic"}).to_string();
    let kept = gateway.post("/v1/events/late.view", "late", JSON, event).await;
    assert_eq!(kept.expect(202)["code"], "plugin-failed");
    assert_eq!(waiting(&gateway).await, 1);

    assert_eq!(gateway.push_plugin("views", page_view::component()).await, 2);
    let records = gateway.wait_for_records("late", 1).await;
    assert_eq!(records[0]["hwplugin"], "views@2", "{records:?}");
    eventually("nothing waits any more", async || {
        (waiting(&gateway).await == 0).then_some(())
    })
    .await;
}
