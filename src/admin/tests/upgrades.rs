//! Upgrades between a type's versions.

use serde_json::{Value, json};

use super::Api;

async fn with_versions() -> Api {
    let api = Api::start().await;
    for (since, member, kind) in [("1", "uid", "integer"), ("2.0", "user_id", "string")] {
        let schema = json!({
            "type": "object",
            "properties": {member: {"type": kind}},
            "required": [member],
            "additionalProperties": false,
        });
        assert_eq!(
            api.put(&format!("/v1/schemas/note.taken/{since}"), schema)
                .await
                .status,
            201
        );
    }
    api
}

const PATH: &str = "/v1/schemas/note.taken/2/upgrade";

fn good() -> Value {
    json!({"steps": [{"rename": "/uid", "to": "user_id"}, {"cast": "/user_id", "to": "string"}]})
}

#[tokio::test]
async fn an_upgrade_is_registered_read_and_deleted() {
    let api = with_versions().await;
    assert_eq!(api.get(PATH).await.code(), "not-found");
    let made = api.put(PATH, good()).await;
    assert_eq!(made.status, 201);
    let body = made.json();
    assert_eq!((&body["from"], &body["steps"]), (&json!("1"), &good()["steps"]));
    let read = api.get(PATH).await;
    assert_eq!((read.json(), read.etag()), (good(), made.etag()));
    let again = api.put(PATH, good()).await;
    assert_eq!((again.status, again.etag()), (200, made.etag()));
    let listed = api.get("/v1/schemas/note.taken").await.json();
    assert_eq!(listed["items"][0].get("upgrade"), None);
    assert_eq!(listed["items"][1]["upgrade"], good());

    assert_eq!(api.delete(PATH).await.status, 204);
    assert_eq!(api.delete(PATH).await.code(), "not-found");
    api.put(PATH, good()).await;
    assert_eq!(api.delete("/v1/schemas/note.taken/2").await.status, 204);
    assert_eq!(api.get(PATH).await.code(), "not-found");
    let schema = json!({"type": "object"});
    api.put("/v1/schemas/note.taken/2", schema).await;
    assert_eq!(api.get(PATH).await.code(), "not-found", "it went with its schema");
}

#[tokio::test]
async fn what_does_not_lead_to_the_newer_schema_is_refused_with_the_event() {
    let api = with_versions().await;
    let refused = api
        .put(PATH, json!({"steps": [{"rename": "/uid", "to": "user_id"}]}))
        .await;
    assert_eq!(
        (refused.status, refused.code()),
        (422, "upgrade-refused".to_owned())
    );
    assert_eq!(refused.pointers(), ["/user_id"]);
    let detail = refused.json()["detail"].as_str().expect("a detail").to_owned();
    assert!(
        detail.contains("{\"uid\":") && detail.contains("{\"user_id\":"),
        "{detail}"
    );
    assert_eq!(api.get(PATH).await.code(), "not-found");
}

#[tokio::test]
async fn faults_are_named_all_at_once() {
    let api = with_versions().await;
    let steps = json!({"steps": [
        {"rename": "/uid"},
        {"move": "/a/*", "to": "/b"},
        {"cast": "/uid", "to": "text"},
        {"remove": "/a", "to": "/b"},
        {"remove": "a"},
        {"set": "/a"},
        {"default": "/a"},
    ]});
    let refused = api.put(PATH, steps).await;
    assert_eq!(refused.code(), "input-invalid");
    assert_eq!(
        refused.pointers(),
        [
            "/steps/0/to",
            "/steps/1",
            "/steps/2/to",
            "/steps/3/to",
            "/steps/4",
            "/steps/5",
            "/steps/6"
        ]
    );
    let first = api.put("/v1/schemas/note.taken/1/upgrade", good()).await;
    assert_eq!(first.code(), "input-invalid");
    assert!(
        first.json()["detail"]
            .as_str()
            .is_some_and(|detail| detail.contains("first of its versions"))
    );
    assert_eq!(
        api.put("/v1/schemas/note.taken/7/upgrade", good()).await.code(),
        "not-found"
    );
}

#[tokio::test]
async fn an_upgrade_is_tried_again_when_the_version_that_it_begins_at_changes() {
    let api = with_versions().await;
    assert_eq!(api.put(PATH, good()).await.status, 201);
    let between = "/v1/schemas/note.taken/1.5";
    let schema = json!({
        "type": "object",
        "properties": {"user": {"type": "integer"}},
        "required": ["user"],
        "additionalProperties": false,
    });
    let refused = api.put(between, schema.clone()).await;
    assert_eq!(refused.code(), "upgrade-refused", "a version between");
    let detail = refused.json()["detail"].to_string();
    assert!(detail.contains("note.taken@2.0"), "{detail}");
    assert_eq!(
        api.put(&format!("{between}?force=true"), schema).await.status,
        201
    );

    let steps =
        json!({"steps": [{"rename": "/user", "to": "user_id"}, {"cast": "/user_id", "to": "string"}]});
    assert_eq!(api.put(PATH, steps).await.status, 200);
    let told = api.delete(&format!("{between}?dry_run=true")).await.json();
    let detail = told["upgrade_refused"].as_str().expect("a sentence");
    assert!(
        detail.contains("the upgrade to note.taken@2.0 would begin at 1"),
        "{detail}"
    );
    let refused = api.delete(between).await;
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (422, "upgrade-refused"),
        "a version that goes"
    );
    assert_eq!(api.get(between).await.status, 200);
    assert_eq!(api.delete(&format!("{between}?force=true")).await.status, 204);
    // The first version has none before it that the upgrade could begin at.
    let told = api.delete("/v1/schemas/note.taken/1?dry_run=true").await.json();
    assert_eq!(told.get("upgrade_refused"), None);
}
