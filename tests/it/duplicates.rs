//! Which events are known after a crash: those that the spool holds whole, and no other.

use serde_json::json;

use crate::harness::gateway::{Gateway, Options, eventually};

async fn post(gateway: &Gateway, event_type: &str, id: &str) -> String {
    let request = gateway
        .send("POST", &format!("/v1/events/{event_type}"), "shop")
        .header("ce-id", id)
        .json(&json!({"n": 1}));
    let answer = request.send().await.expect("the gateway answers");
    assert_eq!(answer.status(), 202);
    let body: serde_json::Value = answer.json().await.expect("JSON");
    body["status"].as_str().expect("a status").to_owned()
}

#[tokio::test]
async fn what_the_spool_holds_whole_is_known_after_a_crash() {
    let mut gateway = Gateway::start_with(Options {
        kafka: Some("127.0.0.1:1".to_owned()),
        ..Options::default()
    })
    .await;
    gateway.partner("shop", json!({})).await;
    for event_type in ["order.placed", "order.both"] {
        gateway
            .put(&format!("/v1/schemas/{event_type}/1"), json!({"type": "object"}))
            .await;
    }
    let one = json!({"match": {"type": "order.placed"}, "to": [{"destination": "events", "topic": "one"}]});
    gateway.put("/v1/routes/one", one).await;
    let both = json!([{"destination": "events", "topic": "both"}, {"destination": "files", "topic": "both"}]);
    gateway
        .put(
            "/v1/routes/both",
            json!({"match": {"type": "order.both"}, "to": both}),
        )
        .await;
    for (event_type, id) in [("order.placed", "a"), ("order.placed", "b"), ("order.both", "c")] {
        assert_eq!(post(&gateway, event_type, id).await, "accepted");
    }
    assert_eq!(post(&gateway, "order.placed", "a").await, "duplicate");
    gateway.kill();
    gateway.start_again().await;
    assert_eq!(post(&gateway, "order.placed", "a").await, "duplicate");
    assert_eq!(post(&gateway, "order.placed", "b").await, "duplicate");
    assert_eq!(post(&gateway, "order.placed", "d").await, "accepted");
    // It went to two destinations: one spool alone does not say that both have it.
    assert_eq!(post(&gateway, "order.both", "c").await, "accepted");
}

/// Of what was sent only the latest is known, and not for ever, as the configuration has it; after a restart too.
#[tokio::test]
async fn how_long_and_how_many_duplicates_are_known_can_be_set() {
    let mut gateway = Gateway::start_with(Options {
        kafka: Some("127.0.0.1:1".to_owned()),
        configuration: "[limits]\nduplicate_events = 2\n".to_owned(),
        ..Options::default()
    })
    .await;
    gateway.partner("shop", json!({})).await;
    gateway
        .put("/v1/schemas/order.placed/1", json!({"type": "object"}))
        .await;
    let one = json!({"match": {"type": "order.placed"}, "to": [{"destination": "events", "topic": "one"}]});
    gateway.put("/v1/routes/one", one).await;
    for id in ["a", "b", "c"] {
        assert_eq!(post(&gateway, "order.placed", id).await, "accepted");
    }
    gateway.kill();
    gateway.start_again().await;
    for (id, status) in [("b", "duplicate"), ("c", "duplicate"), ("a", "accepted")] {
        assert_eq!(post(&gateway, "order.placed", id).await, status, "{id}");
    }
    gateway.kill();
    gateway.wrap(&["env", "HEADWORKS__LIMITS__DUPLICATE_WINDOW_S=1"]);
    gateway.start_again().await;
    assert_eq!(post(&gateway, "order.placed", "d").await, "accepted");
    eventually("what was sent is not known any more", async || {
        (post(&gateway, "order.placed", "d").await == "accepted").then_some(())
    })
    .await;
}
