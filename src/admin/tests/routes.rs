//! Routes, and what they refer to.

use serde_json::json;

use super::{Api, send};
use crate::registry::model::{Isolation, Role};

#[tokio::test]
async fn a_route_is_made_changed_and_deleted() {
    let api = Api::start().await;
    let route = json!({
        "match": { "partner": "shop", "type": "order.*", "source": "*" },
        "to": [{ "destination": "events", "topic": "orders", "key": "/customer/id" }, { "destination": "files", "key": "id" }],
    });
    let made = api.put("/v1/routes/orders", route.clone()).await;
    assert_eq!((made.status, made.json()), (201, route.clone()));
    let read = api.get("/v1/routes/orders").await;
    assert_eq!((read.json(), read.etag()), (route.clone(), made.etag()));
    assert_eq!(api.put("/v1/routes/orders", route).await.status, 200);
    let least = api
        .put("/v1/routes/orders", json!({ "to": [{ "destination": "files" }] }))
        .await;
    let any = json!({ "partner": "*", "type": "*", "source": "*" });
    assert_eq!(
        (least.status, least.json()),
        (200, json!({ "match": any, "to": [{ "destination": "files" }] }))
    );
    let listed = api.get("/v1/routes").await.json();
    assert_eq!(
        (&listed["items"][0]["name"], &listed["items"][0]["match"]),
        (&json!("orders"), &any)
    );
    assert_eq!(api.delete("/v1/routes/orders").await.status, 204);
    assert_eq!(api.delete("/v1/routes/orders").await.code(), "not-found");
    assert_eq!(api.get("/v1/routes/orders").await.code(), "not-found");
}

#[tokio::test]
async fn faults_of_a_route_are_listed_together() {
    let api = Api::start().await;
    let body = json!({
        "match": { "type": "*.created", "partner": "", "topic": "x" },
        "plugin": "no-such-plugin",
        "to": [
            { "destination": "nowhere" },
            { "topic": "a b", "destination": "events" },
            { "destination": "events", "key": "customer" },
            { "destination": "files", "key": "/a~2" },
            { "destination": "files" },
            { "destination": "files" },
            { "destination": "files", "topic": "..", "partition": 1 },
            {},
            "files",
        ],
        "priority": 1,
    });
    let refused = api.put("/v1/routes/orders", body).await;
    assert_eq!((refused.status, refused.code().as_str()), (422, "input-invalid"));
    let mut pointers = refused.pointers();
    pointers.sort();
    assert_eq!(
        pointers,
        [
            "/match/partner",
            "/match/topic",
            "/match/type",
            "/plugin",
            "/priority",
            "/to/0/destination",
            "/to/1/topic",
            "/to/2/key",
            "/to/3/key",
            "/to/5",
            "/to/6/partition",
            "/to/6/topic",
            "/to/7/destination",
            "/to/8",
        ]
    );
    let detail = refused.json()["errors"].to_string();
    assert!(
        detail.contains("events, files"),
        "the destinations that there are: {detail}"
    );
    for (body, pointer) in [
        (json!({}), "/to"),
        (json!({ "to": [] }), "/to"),
        (json!({ "to": {} }), "/to"),
        (
            json!({ "to": [{ "destination": "files" }], "config": { "salt": 1 } }),
            "/config",
        ),
    ] {
        let refused = api.put("/v1/routes/orders", body.clone()).await;
        assert_eq!(
            (refused.status, refused.pointers()),
            (422, vec![pointer.to_owned()]),
            "{body}"
        );
    }
}

#[tokio::test]
async fn a_configuration_is_tried_with_the_active_version() {
    let api = Api::start().await;
    api.upload("calls", b"\0asm\x0d\0\x01\0\0\x02\x01a").await;
    api.upload("calls", b"\0asm\x0d\0\x01\0\0\x02\x01b").await;
    let route = |refuse: u32| json!({ "plugin": "calls", "config": { "refuse": refuse }, "to": [{ "destination": "files" }] });
    // No version is active: there is nothing to try, and events will wait.
    assert_eq!(api.put("/v1/routes/calls", route(1)).await.status, 201);
    assert!(api.calls.lock().prepared.is_empty());

    assert_eq!(
        api.post("/v1/plugins/calls/activate", json!({ "version": 2 }))
            .await
            .status,
        200
    );
    let refused = api.put("/v1/routes/more", route(2)).await;
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (422, "configuration-refused")
    );
    assert_eq!(api.get("/v1/routes/more").await.status, 404);
    assert_eq!(api.put("/v1/routes/more", route(7)).await.status, 201);
    let tried = api.calls.lock().prepared.last().cloned();
    let config = |refuse: u32| Some(json!({ "refuse": refuse }));
    assert_eq!(tried, Some(("calls".to_owned(), 2, config(7), Isolation::Shared)));
    let mut isolated = route(8);
    isolated["isolation"] = json!("event");
    assert_eq!(api.put("/v1/routes/more", isolated).await.status, 200);
    let tried = api.calls.lock().prepared.last().cloned();
    assert_eq!(
        tried,
        Some(("calls".to_owned(), 2, config(8), Isolation::Event)),
        "as the route runs it"
    );
}

#[tokio::test]
async fn a_publisher_makes_routes() {
    let api = Api::start().await;
    let body = json!({ "to": [{ "destination": "files" }] });
    assert_eq!(
        send(api.request(Role::Publisher, "PUT", "/v1/routes/all").json(&body))
            .await
            .status,
        201
    );
}
