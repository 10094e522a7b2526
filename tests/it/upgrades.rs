//! Older versions' events in the latest version's form, through a real gateway; and versions that cannot be read.

use serde_json::{Value, json};

use crate::harness::gateway::{Gateway, eventually, repository};

const JSON: &str = "application/json";

async fn send(gateway: &Gateway, event_type: &str, version: &str, id: &str, data: &Value) -> Value {
    let request = gateway
        .send("POST", &format!("/v1/events/{event_type}"), "app")
        .header("content-type", JSON)
        .header("ce-id", id)
        .header("ce-appversion", version)
        .body(data.to_string());
    let answer = request.send().await.expect("the gateway answers");
    assert_eq!(answer.status(), 202);
    answer.json().await.expect("an answer is JSON")
}

/// Routes the type's events to the topics `sent` and `latest`, in the form that each is named after.
async fn with_routes(gateway: &mut Gateway, event_type: &str) {
    gateway.partner("app", json!({})).await;
    for form in ["sent", "latest"] {
        let route = json!({
            "match": {"type": event_type},
            "form": form,
            "to": [{"destination": "files", "topic": form}],
        });
        gateway.put(&format!("/v1/routes/{form}"), route).await;
    }
}

#[tokio::test]
async fn the_sample_companys_page_views_reach_the_latest_form() {
    let mut gateway = Gateway::start().await;
    let folder = tempfile::tempdir().expect("a folder can be made");
    let schemas = folder.path().join("schemas/app.page_view");
    std::fs::create_dir_all(&schemas).expect("a folder can be made");
    let ours = repository().join("schemas/app.page_view");
    for since in ["5.0.0", "5.9.0", "5.9.0.upgrade", "5.10.0", "5.10.0.upgrade"] {
        let file = format!("{since}.json");
        std::fs::copy(ours.join(&file), schemas.join(&file)).expect("the sample company has it");
    }
    let path = folder.path().to_str().expect("the path is text");
    let applied = gateway.cli(&["apply", path]);
    assert!(applied.status.success(), "{applied:?}");
    let shown = gateway.cli(&["schema", "upgrade", "app.page_view", "5.9.0"]);
    assert!(
        String::from_utf8_lossy(&shown.stdout).contains("/session/id"),
        "{shown:?}"
    );
    let again = gateway.cli(&["apply", path, "--dry-run"]);
    assert!(
        String::from_utf8_lossy(&again.stdout).contains("nothing to change: 5 resources"),
        "{again:?}"
    );
    with_routes(&mut gateway, "app.page_view").await;

    let text =
        std::fs::read_to_string(ours.join("samples/5.0.0/valid-member.json")).expect("the sample is there");
    let sample: Value = serde_json::from_str(&text).expect("a sample is JSON");
    let answer = send(&gateway, "app.page_view", "5.4.1", "old", &sample["data"]).await;
    assert_eq!(answer["status"], "accepted", "{answer}");
    let sent = gateway.wait_for_records("sent", 1).await;
    assert_eq!(sent[0]["data"], sample["data"]);
    assert_eq!(sent[0]["hwschema"], "app.page_view@5.0.0");
    let latest = gateway.wait_for_records("latest", 1).await;
    assert_eq!(latest[0]["hwschema"], "app.page_view@5.10.0");
    assert_eq!(
        latest[0]["appversion"], "5.4.1",
        "what the event said of itself stays"
    );
    let data = &latest[0]["data"];
    assert_eq!(data["session"]["id"], sample["data"]["session_id"]);
    assert_eq!(data.get("session_id"), None);
    assert_eq!(data["consent"], json!({"analytics": false, "marketing": false}));
    assert_eq!(data["experiments"], json!([]));
    assert_eq!(data["device"]["model"], sample["data"]["device"]["model"]);
}

#[tokio::test]
async fn what_no_upgrade_brings_there_waits_for_one_that_does() {
    let mut gateway = Gateway::start().await;
    let version = |member: &str, kind: &str| json!({"type": "object", "properties": {member: {"type": kind}}, "required": [member], "additionalProperties": false});
    gateway
        .put("/v1/schemas/note.taken/1", version("uid", "integer"))
        .await;
    gateway
        .put("/v1/schemas/note.taken/2", version("user_id", "string"))
        .await;
    with_routes(&mut gateway, "note.taken").await;
    let answer = send(&gateway, "note.taken", "1.5", "a", &json!({"uid": 7})).await;
    assert_eq!(
        (&answer["status"], &answer["code"]),
        (&json!("quarantined"), &json!("upgrade-failed"))
    );
    gateway.wait_for_records("sent", 1).await;
    assert!(gateway.records("latest").is_empty());

    let upgrade =
        json!({"steps": [{"rename": "/uid", "to": "user_id"}, {"cast": "/user_id", "to": "string"}]});
    let registered = gateway.put("/v1/schemas/note.taken/2/upgrade", upgrade).await;
    assert_eq!(registered["from"], "1");
    assert!(
        registered["checked"].as_u64().is_some_and(|checked| checked > 20),
        "{registered}"
    );
    let latest = gateway.wait_for_records("latest", 1).await;
    assert_eq!(latest[0]["data"], json!({"user_id": "7"}));
    eventually("the quarantine is empty", async || {
        gateway.quarantine().await.is_empty().then_some(())
    })
    .await;
    assert_eq!(gateway.records("sent").len(), 1, "the other route had it already");
}

#[tokio::test]
async fn an_upgrade_is_tried_on_recent_events_and_shows_them_masked() {
    let mut gateway = Gateway::start().await;
    let open = json!({"type": "object", "properties": {"uid": {"type": "integer"}}, "required": ["uid"]});
    let closed = json!({
        "type": "object",
        "properties": {"id": {"type": "integer"}},
        "required": ["id"],
        "additionalProperties": false,
    });
    gateway.put("/v1/schemas/note.taken/1", open).await;
    gateway.put("/v1/schemas/note.taken/2", closed).await;
    gateway
        .put("/v1/types/note.taken", json!({"mask": ["/phone"]}))
        .await;
    with_routes(&mut gateway, "note.taken").await;
    let data = json!({"uid": 7, "phone": "010-0000-1234", "extra": true});
    send(&gateway, "note.taken", "1.5", "a", &data).await;
    // The newest form, which the upgrade is not for.
    send(&gateway, "note.taken", "2.0", "b", &json!({"id": 7})).await;

    let path = "/v1/schemas/note.taken/2/upgrade";
    let rename = json!({"rename": "/uid", "to": "id"});
    let refused = eventually("the event is remembered", async || {
        let answer = gateway.admin("PUT", path, Some(json!({"steps": [rename]}))).await;
        (answer.status == 422).then_some(answer)
    })
    .await;
    assert_eq!(refused.json()["code"], "upgrade-refused");
    assert!(
        refused.text.contains("recent event") && refused.text.contains("***"),
        "{}",
        refused.text
    );
    assert!(!refused.text.contains("010-0000-1234"), "{}", refused.text);
    let steps = json!({"steps": [rename, {"remove": "/phone"}, {"remove": "/extra"}]});
    gateway.put(path, steps).await;
    let latest = gateway.wait_for_records("latest", 2).await;
    assert!(
        latest.iter().any(|record| record["id"] == "a"),
        "the one that had waited: {latest:?}"
    );
}

#[tokio::test]
async fn a_version_that_cannot_be_read_is_counted_and_kept_where_the_type_says_so() {
    let mut gateway = Gateway::start().await;
    gateway
        .put("/v1/schemas/note.taken/1", json!({"type": "object"}))
        .await;
    with_routes(&mut gateway, "note.taken").await;
    let answer = send(&gateway, "note.taken", "nightly", "a", &json!({})).await;
    assert_eq!(answer["status"], "accepted");
    let metrics = gateway.admin("GET", "/metrics", None).await;
    let text = metrics.text;
    let counted = text
        .lines()
        .find(|line| line.starts_with("headworks_events_version_unreadable_total"))
        .unwrap_or_else(|| panic!("{text}"));
    assert!(
        counted.contains("partner=\"app\"") && counted.ends_with(" 1"),
        "{counted}"
    );

    gateway
        .put(
            "/v1/types/note.taken",
            json!({"unreadable_version": "quarantine"}),
        )
        .await;
    let answer = send(&gateway, "note.taken", "nightly", "b", &json!({})).await;
    assert_eq!(answer["code"], "version-unreadable");
    let readable = send(&gateway, "note.taken", "v2 (build 7)", "c", &json!({})).await;
    assert_eq!(readable["status"], "accepted");
    gateway
        .put("/v1/types/note.taken", json!({"unreadable_version": "latest"}))
        .await;
    gateway.wait_for_records("sent", 3).await;
}
