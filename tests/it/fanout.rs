//! One event to several destinations: what one of them does is no matter of the others, and doubles nothing there.

use std::{collections::HashMap, sync::Arc, time::Instant};

use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use crate::{
    harness::{
        gateway::{Answer, Gateway, Options, PATIENCE, eventually},
        kafka::{self, Broker, Message},
    },
    plugins::hostile_component,
};

const JSON: &str = "application/json";
const LINES: &str = "application/x-ndjson";

async fn post(gateway: &Gateway, event_type: &str, id: &str, data: &Value) -> Answer {
    let request = gateway
        .send("POST", &format!("/v1/events/{event_type}"), "shop")
        .header("ce-id", id)
        .json(data);
    Answer::read(request.send().await.expect("the gateway answers")).await
}

fn to(targets: &[(&str, &str)]) -> Value {
    let target = |(destination, topic): &(&str, &str)| json!({"destination": destination, "topic": topic, "key": "/key"});
    targets.iter().map(target).collect()
}

async fn route(gateway: &Gateway, event_type: &str, targets: &[(&str, &str)]) {
    let route = json!({"match": {"type": event_type}, "to": to(targets)});
    let name = event_type.replace('.', "-");
    gateway.put(&format!("/v1/routes/{name}"), route).await;
}

async fn readiness(gateway: &Gateway) -> Value {
    gateway.admin("GET", "/readyz", None).await.json()
}

fn check<'r>(readiness: &'r Value, name: &str) -> &'r Value {
    let checks = readiness["checks"].as_array().expect("checks");
    let found = checks.iter().find(|check| check["name"] == name);
    found.unwrap_or_else(|| panic!("no {name}: {readiness}"))
}

/// How often each id came.
fn counts(ids: impl IntoIterator<Item = String>) -> HashMap<String, u32> {
    let mut counts = HashMap::new();
    for id in ids {
        *counts.entry(id).or_default() += 1;
    }
    counts
}

fn ids(messages: &[Message]) -> HashMap<String, u32> {
    counts(messages.iter().map(|message| message.headers["ce_id"].clone()))
}

fn file_ids(gateway: &Gateway, topic: &str) -> HashMap<String, u32> {
    let records = gateway.records(topic);
    counts(
        records
            .iter()
            .map(|record| record["id"].as_str().expect("an id").to_owned()),
    )
}

/// A configuration with two destinations on this Kafka beside `files`.
fn two_on(broker: &Broker, options: &str) -> Options {
    let more = |name: &str| {
        format!(
            "[[destination]]\nname = \"{name}\"\nkind = \"kafka\"\nbrokers = \"{}\"\n{options}",
            broker.bootstrap()
        )
    };
    Options {
        configuration: more("one") + &more("two"),
        ..Options::default()
    }
}

async fn quarantined_as(gateway: &Gateway, code: &str) -> usize {
    let items = gateway.quarantine().await;
    items.iter().filter(|item| item["code"] == code).count()
}

/// Waits until so many records that a destination refused, and so many events that a plugin rejected, are all there is:
/// what is made of a replayed item is kept before the item itself goes.
async fn only_refused_and_rejected(gateway: &Gateway, refused: usize, rejected: usize) {
    eventually("nothing else is in quarantine", async || {
        let is_refused = quarantined_as(gateway, "delivery-refused").await == refused;
        let is_rejected = quarantined_as(gateway, "plugin-rejected").await == rejected;
        let is_all = gateway.quarantine().await.len() == refused + rejected;
        (is_refused && is_rejected && is_all).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_record_is_replayed_to_its_destination_alone() {
    const SMALL: &str = "options = { \"message.max.bytes\" = \"2000\" }\n";
    let broker = kafka::shared();
    let topic = format!("refused-{}", uuid::Uuid::now_v7());
    broker.create_topic(&topic, 1).await;
    let mut gateway = Gateway::start_with(two_on(broker, SMALL)).await;
    gateway.partner("shop", json!({})).await;
    for event_type in ["fan.plain", "fan.plugged"] {
        gateway
            .put(&format!("/v1/schemas/{event_type}/1"), json!({"type": "object"}))
            .await;
    }
    gateway.push_plugin("moods", hostile_component().to_vec()).await;
    let targets = [("files", "refused"), ("one", &*topic), ("two", &*topic)];
    for event_type in ["fan.plain", "fan.plugged", "fan.later"] {
        route(&gateway, event_type, &targets).await;
    }
    let plugged = json!({
        "match": {"type": "fan.plugged"}, "plugin": "moods", "to": to(&[("files", "moods")])
    });
    gateway.put("/v1/routes/plugged-moods", plugged).await;
    let large = |mood: &str| json!({"do": mood, "padding": "x".repeat(4000)});

    // Both refuse it, and both are named.
    let answer = post(&gateway, "fan.plain", "1", &large("echo")).await.expect(202);
    assert_eq!(
        (&answer["status"], &answer["code"]),
        (&json!("quarantined"), &json!("delivery-refused"))
    );
    let detail = answer["detail"].as_str().expect("a detail");
    for name in ["destination one", "destination two"] {
        assert!(detail.contains(name), "{detail}");
    }
    // Kept already for a route that failed: that is one item, and each refused record another.
    let answer = post(&gateway, "fan.plugged", "2", &large("reject"))
        .await
        .expect(202);
    assert_eq!(answer["code"], "plugin-rejected", "{answer}");
    assert!(
        answer["detail"].to_string().contains("destination two"),
        "{answer}"
    );
    // Refused when it is replayed.
    let answer = post(&gateway, "fan.later", "3", &large("echo")).await.expect(202);
    assert_eq!(answer["code"], "schema-unknown", "{answer}");
    gateway
        .put("/v1/schemas/fan.later/1", json!({"type": "object"}))
        .await;
    only_refused_and_rejected(&gateway, 6, 1).await;
    gateway.wait_for_records("refused", 3).await;
    // As long as nothing is mended a replay changes nothing.
    let report = gateway
        .admin("POST", "/v1/quarantine/replay", Some(json!({})))
        .await
        .expect(200);
    assert_eq!((&report["matched"], &report["accepted"]), (&json!(7), &json!(0)));
    assert_eq!(gateway.quarantine().await.len(), 7);

    gateway.terminate().await;
    let path = gateway.path("headworks.toml");
    let configuration = std::fs::read_to_string(&path).expect("it can be read");
    std::fs::write(&path, configuration.replace(SMALL, "")).expect("it can be written");
    gateway.start_again().await;
    let report = gateway
        .admin("POST", "/v1/quarantine/replay", Some(json!({})))
        .await
        .expect(200);
    assert_eq!((&report["matched"], &report["accepted"]), (&json!(7), &json!(6)));
    let report = gateway
        .admin("POST", "/v1/quarantine/replay", Some(json!({})))
        .await
        .expect(200);
    assert_eq!((&report["matched"], &report["accepted"]), (&json!(1), &json!(0)));

    let each = |times: u32| HashMap::from(["1", "2", "3"].map(|id| (id.to_owned(), times)));
    assert_eq!(ids(&broker.consume_all(&topic).await), each(2), "once from each");
    assert_eq!(file_ids(&gateway, "refused"), each(1));
    gateway.terminate().await;
    gateway.start_again().await;
    assert_eq!(file_ids(&gateway, "refused"), each(1), "what was on its way too");
    assert!(gateway.records("moods").is_empty());
}

/// Fills the spool of `events`, which is away, until not even a small event of this partner has a place there.
async fn fill(gateway: &Gateway, partner: &str, event_type: &str) {
    let begun = Instant::now();
    for bytes in [4_000_000, 100_000, 1000] {
        let lines = format!("{{\"padding\":\"{}\"}}\n", "x".repeat(bytes / 8)).repeat(8);
        let path = format!("/v1/events/{event_type}");
        loop {
            assert!(begun.elapsed() < PATIENCE, "it never gets full");
            let answer = gateway.post(&path, partner, LINES, lines.clone()).await;
            match answer.status {
                202 => {}
                503 => {
                    assert_eq!(answer.json()["code"], "no-durable-place");
                    break;
                }
                status => panic!("{status}: {}", answer.text),
            }
        }
    }
}

/// What goes to `files` alone, and what goes to quarantine.
async fn finds_places(gateway: &Gateway, id: &str, data: &Value) {
    let answer = post(gateway, "well", id, data).await.expect(202);
    assert_eq!(answer["status"], "accepted", "{answer}");
    let answer = post(gateway, "unknown", &format!("{id}-kept"), data)
        .await
        .expect(202);
    assert_eq!(answer["status"], "quarantined", "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_destination_that_is_away_stops_and_doubles_nothing_elsewhere() {
    let mut gateway = Gateway::start_with(Options {
        configuration: "[spool]\nmax_bytes = \"64MiB\"\n".to_owned(),
        kafka: Some("127.0.0.1:1".to_owned()),
        ..Options::default()
    })
    .await;
    for partner in ["shop", "second", "third"] {
        gateway.partner(partner, json!({})).await;
    }
    for event_type in ["away", "well", "both"] {
        gateway
            .put(&format!("/v1/schemas/{event_type}/1"), json!({"type": "object"}))
            .await;
    }
    route(&gateway, "away", &[("events", "away")]).await;
    route(&gateway, "well", &[("files", "well")]).await;
    route(&gateway, "both", &[("files", "both"), ("events", "both")]).await;
    fill(&gateway, "shop", "away").await;

    // Its events for other destinations, and those that are kept, have places of their own.
    let padding = "x".repeat(100_000);
    for id in 0..40 {
        finds_places(&gateway, &id.to_string(), &json!({"padding": padding})).await;
    }
    // What was not accepted was not sent: neither the first events of a request nor the other destinations' records.
    let mixed = json!([
        {"type": "well", "id": "w", "data": {}},
        {"type": "unknown", "id": "u", "data": {}},
        {"type": "both", "id": "b", "data": {"padding": padding}},
    ]);
    let kept = gateway.quarantine().await.len();
    for _ in 0..5 {
        let refused = gateway
            .post("/v1/events", "shop", JSON, mixed.to_string())
            .await
            .expect(503);
        assert_eq!(refused["code"], "no-durable-place");
    }
    let accounts = gateway.accounts("events").await;
    accounts.assert_balanced(0);
    assert!(accounts.get("no_place") >= 5, "{accounts:?}");
    let said = readiness(&gateway).await;
    assert_eq!(said["ready"], true, "{said}");
    assert_eq!(check(&said, "destination:events")["state"], "spooling");
    assert_eq!(check(&said, "destination:files")["state"], "healthy");
    assert_eq!(
        check(&said, "durable-place").get("detail"),
        None,
        "others have room"
    );

    // Nor do many partners together take the last room of the others.
    for partner in ["second", "third"] {
        fill(&gateway, partner, "away").await;
    }
    let said = readiness(&gateway).await;
    let place = check(&said, "durable-place");
    assert_eq!(
        (&said["ready"], &place["ok"]),
        (&json!(true), &json!(true)),
        "{said}"
    );
    let detail = place["detail"].as_str().expect("a detail");
    assert!(detail.contains("no room for events:"), "{detail}");
    finds_places(&gateway, "last", &json!({})).await;

    // At rest nothing more can come.
    gateway.terminate().await;
    gateway.start_again().await;
    assert_eq!(gateway.records("both"), Vec::<Value>::new());
    let wells = file_ids(&gateway, "well");
    assert!(
        wells.len() == 41 && wells.values().all(|times| *times == 1),
        "{wells:?}"
    );
    assert_eq!(gateway.quarantine().await.len(), kept + 1);
}

/// How many keys there are; each one's ids count up.
fn keys_in_order(messages: &[Message]) -> usize {
    let mut last: HashMap<Vec<u8>, u64> = HashMap::new();
    for message in messages {
        let number: u64 = message.headers["ce_id"].parse().expect("a number");
        let before = last.insert(message.key.clone().expect("a key"), number);
        assert!(
            before.is_none_or(|before| before < number),
            "{number} after {before:?}"
        );
    }
    last.len()
}

/// `headworks_destination_state` of a destination.
async fn state(gateway: &Gateway, destination: &str) -> u64 {
    let samples = gateway.metric("headworks_destination_state").await;
    let found = samples
        .iter()
        .find(|sample| sample.labels["destination"] == destination);
    found.expect("every destination has a state").value as u64
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_three_destinations_the_one_that_was_away_gets_all_of_it_later_and_in_order() {
    const EVENTS: u64 = 300;
    const KEYS: u64 = 7;
    let (well, away) = (
        kafka::shared(),
        spawn_blocking(Broker::start).await.expect("started"),
    );
    let topic = format!("three-{}", uuid::Uuid::now_v7());
    well.create_topic(&topic, 2).await;
    away.create_topic(&topic, 2).await;
    away.kill();
    let mut gateway = Gateway::start_with(Options {
        kafka: Some(well.bootstrap().to_owned()),
        // A drain that can be seen: the last batch lingers.
        configuration: format!(
            "[[destination]]\nname = \"away\"\nkind = \"kafka\"\nbrokers = \"{}\"\noptions = {{ \"linger.ms\" = \"1500\" }}\n",
            away.bootstrap()
        ),
        ..Options::default()
    })
    .await;
    gateway.partner("shop", json!({})).await;
    gateway
        .put("/v1/schemas/three/1", json!({"type": "object"}))
        .await;
    let targets = [("files", "three"), ("events", &*topic), ("away", &*topic)];
    route(&gateway, "three", &targets).await;
    for number in 0..EVENTS {
        let data = json!({"key": number % KEYS});
        let answer = post(&gateway, "three", &number.to_string(), &data)
            .await
            .expect(202);
        assert_eq!(answer["status"], "accepted");
    }

    let once: HashMap<String, u32> = (0..EVENTS).map(|number| (number.to_string(), 1)).collect();
    gateway.wait_for_records("three", EVENTS as usize).await;
    assert_eq!(file_ids(&gateway, "three"), once);
    assert_eq!(ids(&well.consume(&topic, EVENTS as usize).await), once);
    assert_eq!(
        (state(&gateway, "events").await, state(&gateway, "away").await),
        (0, 2)
    );
    let said = readiness(&gateway).await;
    assert_eq!(said["ready"], true, "{said}");
    assert_eq!(check(&said, "destination:events")["state"], "healthy");
    let away_check = check(&said, "destination:away");
    assert_eq!(away_check["state"], "spooling");
    assert_eq!(
        away_check["detail"],
        format!("spooling: {EVENTS} records wait in the spool")
    );

    let away = Arc::new(away);
    let restarting = Arc::clone(&away);
    let restarted = spawn_blocking(move || restarting.restart());
    eventually("it is seen to drain", async || {
        let said = readiness(&gateway).await;
        let is_draining = check(&said, "destination:away")["state"] == "draining";
        (is_draining && state(&gateway, "away").await == 1).then_some(())
    })
    .await;
    restarted.await.expect("restarted");
    eventually("it is well again", async || {
        (state(&gateway, "away").await == 0).then_some(())
    })
    .await;
    assert_eq!(
        check(&readiness(&gateway).await, "destination:away")["state"],
        "healthy"
    );

    let messages = away.consume_all(&topic).await;
    assert_eq!(ids(&messages), once);
    assert_eq!(keys_in_order(&messages), KEYS as usize);
    assert_eq!(
        ids(&well.consume_all(&topic).await),
        once,
        "and nothing came twice elsewhere"
    );
    assert_eq!(file_ids(&gateway, "three"), once);
}
