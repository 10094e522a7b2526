//! One event's whole way through a real gateway: checked by app version, transformed, delivered, or kept.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{
    gateway::{Answer, Gateway, Options, eventually},
    kafka,
};

const JSON: &str = "application/json";

/// `note.taken`: until 2.0.0 `text` is a string, from then on an object. All of it goes to the topic `notes`.
async fn with_notes(gateway: &mut Gateway) {
    gateway.partner("writer", json!({"source": "/writer"})).await;
    let version = |text: Value| json!({"type": "object", "required": ["text"], "properties": {"text": text}});
    gateway
        .put("/v1/schemas/note.taken/1.0.0", version(json!({"type": "string"})))
        .await;
    gateway
        .put("/v1/schemas/note.taken/2.0.0", version(json!({"type": "object"})))
        .await;
    let route = json!({"match": {"type": "note.*"}, "to": [{"destination": "files", "topic": "notes"}]});
    gateway.put("/v1/routes/notes", route).await;
}

async fn take_note(gateway: &Gateway, version: &str, id: &str, data: &str) -> Answer {
    let request = gateway
        .send("POST", "/v1/events/note.taken", "writer")
        .header("content-type", JSON)
        .header("ce-id", id)
        .header("ce-appversion", version)
        .body(data.to_owned());
    Answer::read(request.send().await.expect("the gateway answers")).await
}

#[tokio::test]
async fn the_schema_of_the_app_version_decides() {
    let mut gateway = Gateway::start().await;
    with_notes(&mut gateway).await;
    let old = r#"{ "text":"milk",  "amount": 1.50 }"#;
    let answer = take_note(&gateway, "1.9.3", "a", old).await;
    assert_eq!(answer.expect(202), json!({"id": "a", "status": "accepted"}));
    assert!(answer.headers.contains_key("x-request-id"));

    let refused = take_note(&gateway, "2.0.0", "b", old).await.expect(202);
    assert_eq!(
        (&refused["status"], &refused["code"]),
        (&json!("quarantined"), &json!("schema-violation"))
    );
    assert_eq!(refused["errors"][0]["pointer"], "/text");
    assert_eq!(refused["errors"][0]["keyword"], "type");

    let below = take_note(&gateway, "0.9", "c", old).await.expect(202);
    assert_eq!(below["code"], "version-unknown");
    let latest = take_note(&gateway, "99", "d", r#"{"text":{"lines":2}}"#)
        .await
        .expect(202);
    assert_eq!(latest["status"], "accepted");

    let records = gateway.wait_for_records("notes", 2).await;
    let first = &records[0];
    assert_eq!(first["specversion"], "1.0");
    assert_eq!(first["id"], "a");
    assert_eq!(first["type"], "note.taken");
    assert_eq!(first["source"], "/writer");
    assert_eq!(first["appversion"], "1.9.3");
    assert_eq!(first["hwpartner"], "writer");
    assert_eq!(first["hwschema"], "note.taken@1.0.0");
    assert_eq!(records[1]["hwschema"], "note.taken@2.0.0");
    let text = std::fs::read_to_string(newest_file(&gateway, "notes")).expect("the file is there");
    assert!(text.contains(old), "data keeps its bytes: {text}");
}

fn newest_file(gateway: &Gateway, topic: &str) -> std::path::PathBuf {
    let day = std::fs::read_dir(gateway.path("out").join(topic))
        .expect("the topic has a folder")
        .flatten()
        .map(|entry| entry.path())
        // Beside the days stands a link to the newest file.
        .filter(|path| path.is_dir())
        .max()
        .expect("the topic has a day");
    std::fs::read_dir(day)
        .expect("the day is a folder")
        .flatten()
        .map(|entry| entry.path())
        .max()
        .expect("the day has a file")
}

#[tokio::test]
async fn what_passed_is_remembered_with_its_outcome() {
    let mut gateway = Gateway::start().await;
    with_notes(&mut gateway).await;
    gateway
        .put("/v1/types/note.taken", json!({"mask": ["/secret"]}))
        .await;
    let good = r#"{"text":"milk", "secret": "s3cr3t"}"#;
    take_note(&gateway, "1.9.3", "a", good).await.expect(202);
    take_note(&gateway, "2.0.0", "b", good).await.expect(202);
    take_note(&gateway, "2.0.0", "b", good).await.expect(202);
    let recent = gateway
        .admin("GET", "/v1/recent?type=note.taken", None)
        .await
        .expect(200);
    let items = recent["items"].as_array().expect("items");
    let seen: Vec<_> = items
        .iter()
        .map(|item| {
            (
                item["attributes"]["id"].as_str(),
                item["status"].as_str(),
                &item["data"]["secret"],
            )
        })
        .collect();
    let masked = json!("***");
    assert_eq!(
        seen,
        [
            (Some("b"), Some("quarantined"), &masked),
            (Some("a"), Some("accepted"), &masked)
        ],
        "a duplicate is not remembered again"
    );
    assert_eq!(items[0]["code"], "schema-violation");
}

#[tokio::test]
async fn many_events_are_answered_one_by_one() {
    let mut gateway = Gateway::start().await;
    with_notes(&mut gateway).await;
    let events = json!([
        {"id": "1", "type": "note.taken", "appversion": "1", "data": {"text": "ok"}},
        {"id": "2", "type": "no such type!", "data": 1},
        {"id": "3", "type": "note.unheard", "data": 1},
        {"id": "1", "type": "note.taken", "appversion": "1", "data": {"text": "ok"}},
        {"id": "5", "type": "note.taken"},
    ]);
    let answer = gateway
        .post("/v1/events", "writer", JSON, events.to_string())
        .await
        .expect(207);
    assert_eq!(answer["accepted"], 1);
    assert_eq!(answer["duplicate"], 1);
    assert_eq!(answer["quarantined"], 1);
    assert_eq!(answer["rejected"], 2);
    let codes: Vec<_> = answer["results"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|result| {
            (
                result["index"].as_u64(),
                result["status"].as_str(),
                result["code"].as_str(),
            )
        })
        .collect();
    assert_eq!(
        codes,
        [
            (Some(1), Some("rejected"), Some("type-invalid")),
            (Some(2), Some("quarantined"), Some("schema-unknown")),
            (Some(3), Some("duplicate"), None),
            (Some(4), Some("rejected"), Some("data-missing")),
        ]
    );
    let again = gateway
        .post("/v1/events", "writer", JSON, events[0].to_string())
        .await
        .expect(202);
    assert_eq!(again["status"], "duplicate");
    let lines = "{\"text\":\"a\"}\n\n{\"text\":\"b\"}";
    let answer = gateway
        .post("/v1/events/note.taken?", "writer", "application/x-ndjson", lines)
        .await
        .expect(202);
    assert_eq!(
        (&answer["accepted"], &answer["quarantined"]),
        (&json!(0), &json!(2)),
        "without a version the latest"
    );
    let none = gateway
        .post("/v1/events", "writer", JSON, "[{\"type\":\"..\",\"data\":1}]")
        .await
        .expect(422);
    assert_eq!(none["rejected"], 1);
}

#[tokio::test]
async fn the_partners_policy_decides_what_a_violation_is() {
    let mut gateway = Gateway::start().await;
    with_notes(&mut gateway).await;
    gateway.partner("strict", json!({"policy": "reject"})).await;
    let answer = gateway
        .post("/v1/events/note.taken", "strict", JSON, "{\"text\":1}")
        .await;
    let problem = answer.expect(422);
    assert_eq!(problem["code"], "schema-violation");
    assert_eq!(problem["errors"][0]["pointer"], "/text");
    assert_eq!(answer.headers["content-type"], "application/problem+json");
    let kept = gateway
        .post("/v1/events/note.unheard", "strict", JSON, "1")
        .await
        .expect(202);
    assert_eq!(
        kept["code"], "schema-unknown",
        "no app version and no type is refused for being unknown"
    );
    assert_eq!(gateway.quarantine().await.len(), 1);
}

#[tokio::test]
async fn what_came_too_early_goes_out_when_its_schema_is_there() {
    let mut gateway = Gateway::start().await;
    with_notes(&mut gateway).await;
    for id in ["1", "2", "3"] {
        let event = json!({"id": id, "type": "note.shared", "data": {"n": 1}});
        let answer = gateway
            .post("/v1/events", "writer", JSON, event.to_string())
            .await
            .expect(202);
        assert_eq!(answer["code"], "schema-unknown");
    }
    let items = gateway.quarantine().await;
    assert_eq!(items.len(), 3);
    let id = items[0]["id"].as_str().expect("an id");
    let whole = gateway
        .admin("GET", &format!("/v1/quarantine/{id}"), None)
        .await
        .expect(200);
    assert_eq!(
        (&whole["data"], &whole["attributes"]["id"]),
        (&json!({"n": 1}), &json!("1"))
    );

    let dry = gateway
        .admin("POST", "/v1/quarantine/replay", Some(json!({"dry_run": true})))
        .await
        .expect(200);
    assert_eq!(
        (&dry["matched"], &dry["accepted"], &dry["quarantined"]),
        (&json!(3), &json!(0), &json!(3))
    );

    gateway
        .put("/v1/schemas/note.shared/1", json!({"type": "object"}))
        .await;
    let records = gateway.wait_for_records("notes", 3).await;
    let ids: Vec<_> = records
        .iter()
        .map(|record| record["id"].as_str().expect("an id"))
        .collect();
    assert_eq!(ids, ["1", "2", "3"], "in the order in which they came");
    eventually("the quarantine is empty", async || {
        gateway.quarantine().await.is_empty().then_some(())
    })
    .await;
    let again = gateway
        .admin("POST", "/v1/quarantine/replay", Some(json!({})))
        .await
        .expect(200);
    assert_eq!(again["matched"], 0, "a second replay adds none");
    assert_eq!(gateway.records("notes").len(), 3);
}

#[tokio::test]
async fn a_replay_by_hand_sends_what_a_mended_route_lets_through() {
    let mut gateway = Gateway::start().await;
    with_notes(&mut gateway).await;
    gateway.put("/v1/schemas/memo/1", json!(true)).await;
    let answer = gateway
        .post("/v1/events/memo", "writer", JSON, "[1, 2]")
        .await
        .expect(202);
    assert_eq!(answer["code"], "route-unknown");
    let discard = gateway
        .admin("POST", "/v1/quarantine/discard", Some(json!({"type": "other"})))
        .await
        .expect(200);
    assert_eq!(discard["discarded"], 0);
    let route = json!({"match": {"type": "memo"}, "to": [{"destination": "files"}]});
    gateway.put("/v1/routes/memos", route).await;
    let records = gateway.wait_for_records("memo", 1).await;
    assert_eq!(records[0]["data"], json!([1, 2]));
}

#[tokio::test]
async fn a_query_string_becomes_json_as_its_schema_says() {
    let mut gateway = Gateway::start().await;
    gateway.partner("adlink", json!({})).await;
    let schema = json!({
        "type": "object",
        "properties": {
            "clicks": {"type": "integer"},
            "first": {"type": "boolean"},
            "zip": {"type": "string"},
            "user": {"type": "object", "properties": {"id": {"type": "integer"}}},
            "tag": {"type": "array", "items": {"type": "string"}},
        },
    });
    gateway.put("/v1/schemas/ad.click/1", schema).await;
    gateway
        .put(
            "/v1/routes/ads",
            json!({"to": [{"destination": "files", "topic": "ads"}]}),
        )
        .await;
    let path = "/v1/events/ad.click?clicks=3&first=true&zip=04524&user[id]=7&tag=a&tag=b&ce-id=click-1";
    let request = gateway.send("GET", path, "adlink");
    let answer = Answer::read(request.send().await.expect("the gateway answers"))
        .await
        .expect(202);
    assert_eq!(answer, json!({"id": "click-1", "status": "accepted"}));
    let records = gateway.wait_for_records("ads", 1).await;
    let expected = json!({"clicks": 3, "first": true, "zip": "04524", "user": {"id": 7}, "tag": ["a", "b"]});
    assert_eq!(records[0]["data"], expected);
}

#[tokio::test]
async fn strangers_and_revoked_keys_get_nothing() {
    let mut gateway = Gateway::start().await;
    with_notes(&mut gateway).await;
    let url = format!("http://{}/v1/events/note.taken", gateway.data_address());
    let client = crate::harness::client();
    let without = Answer::read(client.post(&url).body("1").send().await.expect("an answer")).await;
    assert_eq!(without.expect(401)["code"], "key-missing");
    let wrong = client
        .post(&url)
        .bearer_auth("hw_0123_wrong")
        .body("1")
        .send()
        .await
        .expect("an answer");
    assert_eq!(Answer::read(wrong).await.expect(401)["code"], "key-invalid");

    let keys = gateway
        .admin("GET", "/v1/partners/writer/keys", None)
        .await
        .expect(200);
    let id = keys["items"][0]["id"].as_str().expect("an id");
    gateway
        .admin("DELETE", &format!("/v1/partners/writer/keys/{id}"), None)
        .await
        .expect(204);
    let revoked = gateway.post("/v1/events/note.taken", "writer", JSON, "{}").await;
    assert_eq!(revoked.expect(401)["code"], "key-invalid");
}

#[tokio::test]
async fn sigterm_ends_it_cleanly_and_all_is_there_again() {
    let mut gateway = Gateway::start().await;
    with_notes(&mut gateway).await;
    take_note(&gateway, "1", "kept", "{\"text\":1}").await.expect(202);
    take_note(&gateway, "1", "sent", "{\"text\":\"1\"}")
        .await
        .expect(202);
    let status = gateway.terminate().await;
    assert_eq!(status.code(), Some(0), "{}", gateway.log());
    gateway.start_again().await;
    assert_eq!(gateway.quarantine().await[0]["event_id"], "kept");
    take_note(&gateway, "1", "later", "{\"text\":\"2\"}")
        .await
        .expect(202);
    let records = gateway.wait_for_records("notes", 2).await;
    let ids: Vec<_> = records
        .iter()
        .map(|record| record["id"].as_str().expect("an id"))
        .collect();
    assert_eq!(ids, ["sent", "later"]);
}

#[tokio::test]
async fn records_in_kafka_have_key_headers_and_the_data_as_sent() {
    let broker = kafka::shared();
    let topic = format!("notes-{}", uuid::Uuid::now_v7());
    broker.create_topic(&topic, 1).await;
    let mut gateway = Gateway::start_with(Options {
        kafka: Some(broker.bootstrap().to_owned()),
        ..Options::default()
    })
    .await;
    with_notes(&mut gateway).await;
    let to = json!([{"destination": "events", "topic": topic, "key": "/text"}, {"destination": "files", "topic": "notes"}]);
    gateway
        .put("/v1/routes/notes", json!({"match": {"type": "note.*"}, "to": to}))
        .await;
    let sent = "{ \"text\" :\n \"milk\" }";
    take_note(&gateway, "1", "n-1", sent).await.expect(202);
    let messages = broker.consume(&topic, 1).await;
    let message = &messages[0];
    assert_eq!(
        message.value,
        sent.as_bytes(),
        "the answer came after the broker had it, as it was sent"
    );
    assert_eq!(message.key.as_deref(), Some(&b"milk"[..]));
    for (name, value) in [
        ("ce_specversion", "1.0"),
        ("ce_id", "n-1"),
        ("ce_type", "note.taken"),
        ("ce_source", "/writer"),
        ("ce_appversion", "1"),
        ("content-type", JSON),
        ("hw_partner", "writer"),
        ("hw_schema", "note.taken@1.0.0"),
    ] {
        assert_eq!(
            message.headers.get(name).map(String::as_str),
            Some(value),
            "{name}"
        );
    }
    gateway.wait_for_records("notes", 1).await;
}

#[tokio::test]
async fn two_gateways_on_one_store_follow_each_other() {
    let shared = tempfile::tempdir().expect("a folder can be made");
    let options = || Options {
        configuration: format!("[store]\nurl = \"file:{}\"\n", shared.path().display()),
        ..Options::default()
    };
    let mut one = Gateway::start_with(options()).await;
    let two = Gateway::start_with(options()).await;
    with_notes(&mut one).await;
    let key = one.partner("late", json!({})).await;
    let changed = Instant::now();
    let url = format!("http://{}/v1/events/note.taken", two.data_address());
    let client = crate::harness::client();
    eventually("the other node knows the key", async || {
        let request = client
            .post(&url)
            .bearer_auth(&key)
            .header("ce-appversion", "1")
            .body("{\"text\":\"x\"}");
        let answer = request.send().await.expect("the gateway answers");
        (answer.status() == 202).then_some(())
    })
    .await;
    assert!(
        changed.elapsed() < Duration::from_secs(2),
        "{:?}",
        changed.elapsed()
    );
    assert_eq!(two.wait_for_records("notes", 1).await[0]["hwpartner"], "late");
}

#[tokio::test]
async fn health_metrics_and_documentation_are_open_and_the_rest_is_not() {
    let mut gateway = Gateway::start().await;
    with_notes(&mut gateway).await;
    take_note(&gateway, "1", "m", "{\"text\":\"x\"}")
        .await
        .expect(202);
    let client = crate::harness::client();
    let get = async |path: &str| {
        let answer = client
            .get(format!("{}{path}", gateway.admin_url()))
            .send()
            .await
            .expect("an answer");
        Answer::read(answer).await
    };
    get("/healthz").await.expect(200);
    get("/readyz").await.expect(200);
    let metrics = get("/metrics").await;
    assert_eq!(metrics.status, 200);
    let line = metrics
        .text
        .lines()
        .find(|line| line.starts_with("headworks_events_total{") && line.contains("status=\"accepted\""))
        .unwrap_or_else(|| panic!("{}", metrics.text));
    assert!(
        line.contains("partner=\"writer\"") && line.ends_with(" 1"),
        "{line}"
    );
    assert_eq!(get("/openapi.json").await.expect(200)["openapi"], "3.1.0");
    assert!(get("/docs/").await.text.contains("swagger"));
    assert_eq!(get("/v1/partners").await.expect(401)["code"], "token-missing");
}
