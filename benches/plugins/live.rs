//! From an upload to the first event through it, and a gateway that knows many plugins; each on a real gateway.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{
    LANGUAGES,
    gateway::Gateway,
    numbered, of_language, page_view,
    verdict::{Bound, Verdict},
};

/// From the upload to the first event: the larger the component, the longer the gateway compiles it.
fn live_s(language: &str) -> f64 {
    match language {
        "Rust" => 1.0,
        "JavaScript" => 3.0,
        "Python" => 15.0,
        _ => 5.0,
    }
}

/// A gateway with a thousand plugins starts within …
const START_S: f64 = 5.0;
/// … and, once a hundred of them are active and had an event, has no more than.
const RESIDENT_MIB: f64 = 1024.0;

async fn push(gateway: &Gateway, plugin: &str, component: Vec<u8>) -> u64 {
    let request = gateway
        .client
        .post(format!("http://{}/v1/plugins/{plugin}/versions", gateway.admin))
        .header("content-type", "application/wasm")
        .body(component);
    let text = gateway.send(request).await.expect("the plugin is taken");
    let answer: serde_json::Value = serde_json::from_str(&text).expect("an answer is JSON");
    answer["version"].as_u64().expect("a version is a number")
}

async fn activate(gateway: &Gateway, plugin: &str, version: u64) {
    let path = format!("/v1/plugins/{plugin}/activate");
    let activated = gateway
        .call("POST", &path, Some(json!({"version": version})))
        .await;
    activated.expect("the version is activated");
}

async fn route(gateway: &Gateway, event_type: &str, plugin: &str) {
    gateway
        .put(&format!("/v1/schemas/{event_type}/1"), json!({"type": "object"}))
        .await;
    let route = json!({
        "match": {"type": event_type}, "plugin": plugin, "config": {"edits": true},
        "to": [{"destination": "files", "topic": "bench"}]
    });
    gateway.put(&format!("/v1/routes/{plugin}"), route).await;
}

/// Posts an event, which must be accepted.
async fn post(gateway: &Gateway, key: &str, event_type: &str, event: &str) {
    let request = gateway
        .client
        .post(format!("http://{}/v1/events/{event_type}", gateway.data))
        .bearer_auth(key)
        .header("content-type", "application/json")
        .body(event.to_owned());
    let answer = request.send().await.expect("the gateway answers");
    let text = answer.text().await.expect("the answer is read");
    assert!(text.contains("\"accepted\""), "{text}");
}

/// Push, activation and one event, until it is answered; the version before is there and stays in force until then.
pub async fn first_event(rounds: u32) -> Vec<Verdict> {
    println!(
        "\nfrom the beginning of the upload to the answer to the first event through it, {rounds} rounds"
    );
    let folder = tempfile::tempdir().expect("a folder can be made");
    let gateway = Gateway::to_files(folder.path(), "");
    gateway.ready().await;
    let key = gateway.partner("bench").await;
    let event = page_view();
    let first = of_language("rust");
    let mut verdicts = Vec::new();
    for (number, (language, folder)) in LANGUAGES.into_iter().enumerate() {
        let component = of_language(folder);
        let event_type = format!("live.{folder}");
        let version = push(&gateway, folder, numbered(&first, u32::MAX - number as u32)).await;
        activate(&gateway, folder, version).await;
        route(&gateway, &event_type, folder).await;
        post(&gateway, &key, &event_type, &event).await;
        let mut times: Vec<(Duration, Duration)> = Vec::new();
        for round in 0..rounds {
            let upload = numbered(&component, round);
            let begun = Instant::now();
            let version = push(&gateway, folder, upload).await;
            let pushed = begun.elapsed();
            activate(&gateway, folder, version).await;
            post(&gateway, &key, &event_type, &event).await;
            times.push((begun.elapsed(), pushed));
            let plugin = gateway
                .call("GET", &format!("/v1/plugins/{folder}"), None)
                .await
                .expect("the plugin is known");
            let versions = plugin["versions"].as_array().expect("a list");
            let ours = versions.iter().find(|known| known["version"] == version);
            let calls = ours.and_then(|known| known["health"]["calls"].as_u64());
            assert_eq!(calls, Some(1), "{plugin}: the event went through it");
        }
        times.sort_unstable();
        let (median, pushed) = times[times.len() / 2];
        let (slowest, _) = times[times.len() - 1];
        println!("{language:<11} median {median:.2?} (of it the upload {pushed:.2?}), slowest {slowest:.2?}");
        verdicts.push(Verdict::new(
            &format!("{language}: from the upload to the first event through it, median, s"),
            median.as_secs_f64(),
            Bound::AtMost(live_s(language)),
        ));
    }
    verdicts
}

/// So many plugins registered, so many of them active with a route each: a start from the cache, and what it takes.
pub async fn many(registered: u32, active: u32) -> [Verdict; 2] {
    println!("\n{registered} plugins registered, {active} active with a route each");
    let folder = tempfile::tempdir().expect("a folder can be made");
    let component = of_language("rust");
    let event = page_view();
    let gateway = Gateway::to_files(folder.path(), "");
    gateway.ready().await;
    let empty_mib = gateway.process.resident_mib();
    let key = gateway.partner("bench").await;
    let begun = Instant::now();
    for number in 0..registered {
        let name = format!("plugin-{number}");
        let version = push(&gateway, &name, numbered(&component, number)).await;
        if number < active {
            activate(&gateway, &name, version).await;
            route(&gateway, &format!("many.{number}"), &name).await;
        }
    }
    println!(
        "{:<44} {:>9.1?}",
        "register them, one after another",
        begun.elapsed()
    );
    drop(gateway);

    let begun = Instant::now();
    let gateway = Gateway::to_files(folder.path(), "");
    gateway.ready().await;
    gateway.every_route_within(Duration::from_secs(60)).await;
    let ready = begun.elapsed();
    for number in 0..active {
        post(&gateway, &key, &format!("many.{number}"), &event).await;
    }
    println!(
        "{:<44} {ready:>9.1?}",
        "start from the cache until all can be called"
    );
    println!(
        "{:<44} {:>9.1?}",
        "… and an event through each active one",
        begun.elapsed()
    );
    let resident_mib = gateway.process.resident_mib();
    println!(
        "{:<44} {:>5} MiB (empty: {empty_mib} MiB)",
        "resident then", resident_mib
    );
    let metrics = gateway.metrics().await;
    let unavailable = metrics
        .lines()
        .find(|line| line.starts_with("headworks_plugin_unavailable "));
    assert!(
        unavailable.is_none_or(|line| line.ends_with(" 0")),
        "{unavailable:?}"
    );
    [
        Verdict::new(
            "start from the cache until all can be called, s",
            ready.as_secs_f64(),
            Bound::AtMost(START_S),
        ),
        Verdict::new("resident, MiB", resident_mib as f64, Bound::AtMost(RESIDENT_MIB)),
    ]
}
