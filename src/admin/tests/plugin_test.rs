//! What a test of a plugin version asks for.

use serde_json::{Value, json};

use super::{Api, send};
use crate::registry::model::Role;

const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

async fn api() -> Api {
    let api = Api::start().await;
    api.upload("calls", COMPONENT).await;
    api.post("/v1/plugins/calls/activate", json!({ "version": 1 }))
        .await;
    let route =
        json!({ "plugin": "calls", "config": { "region": "kr" }, "to": [{ "destination": "files" }] });
    assert_eq!(api.put("/v1/routes/calls", route).await.status, 201);
    api
}

#[tokio::test]
async fn it_names_the_version_the_routes_and_the_events() {
    let api = api().await;
    let body = r#"{"version": 1, "config": {"region": "de"}, "events": [
        {"type": "call.ended", "id": "one", "partner": "bridge", "appversion": "5.10", "data": {"n": 1.50}},
        {"type": "call.ended", "data": [ 2 ]}]}"#;
    let request = api.request(Role::Publisher, "POST", "/v1/plugins/calls/test");
    let answered = send(request.body(body)).await;
    assert_eq!(answered.status, 200, "{}", answered.json());
    assert_eq!(answered.json()["tried"], 0, "what the pipeline said");
    let test = api.calls.lock().tested.remove(0);
    assert_eq!(
        (test.version.version, test.active.map(|active| active.version)),
        (1, Some(1))
    );
    assert_eq!(test.config, Some(json!({ "region": "de" })));
    assert_eq!(test.routes.len(), 1);
    assert_eq!(test.routes[0].1, Some(json!({ "region": "kr" })));
    let events = test.events.expect("they were given");
    assert_eq!(&*events[0].attributes.id, "one");
    assert_eq!(
        (events[0].partner.as_str(), events[1].partner.as_str()),
        ("bridge", "test")
    );
    assert_eq!(events[0].data.bytes(), r#"{"n": 1.50}"#, "byte for byte");
    assert_eq!(events[1].data.bytes(), "[ 2 ]");
    assert_eq!(test.attested, None, "schemas and routes decide");

    let body = r#"{"version": 1, "config": {"region": "de"}, "cases": [
        {"type": "example", "schema": "example@2", "data": {"n": 1.50}}, {"type": "call.ended", "data": 1}]}"#;
    let request = api.request(Role::Publisher, "POST", "/v1/plugins/calls/test");
    let answered = send(request.body(body)).await;
    assert_eq!(answered.status, 200, "{}", answered.json());
    let test = api.calls.lock().tested.remove(0);
    let events = test.events.expect("they were given");
    assert_eq!(events[0].data.bytes(), r#"{"n": 1.50}"#, "byte for byte");
    let attested = test.attested.expect("they are cases");
    assert_eq!(
        attested.iter().map(|schema| &**schema).collect::<Vec<_>>(),
        ["example@2", "call.ended@1"]
    );

    let recent = api
        .post("/v1/plugins/calls/test", json!({ "version": 1, "recent": 7 }))
        .await;
    assert_eq!(recent.status, 200);
    assert_eq!(api.calls.lock().tested.remove(0).events.err(), Some(7));
    api.post("/v1/plugins/calls/test", json!({ "version": 1 })).await;
    assert_eq!(api.calls.lock().tested.remove(0).events.err(), Some(100));
}

#[tokio::test]
async fn faults_are_named_all_at_once() {
    let api = api().await;
    let test = |body: Value| api.post("/v1/plugins/calls/test", body);
    for (body, pointers) in [
        (json!({}), &["/version"][..]),
        (
            json!({ "version": 2, "recent": 0, "what": 1 }),
            &["/recent", "/version", "/what"],
        ),
        (json!({ "version": 1, "events": [] }), &["/events"]),
        (
            json!({ "version": 1, "events": [{ "type": "a", "data": 1 }], "recent": 5 }),
            &["/recent"],
        ),
        (
            json!({ "version": 1, "events": [{ "type": "a", "data": 1 }], "cases": [], "recent": 5 }),
            &["/cases", "/recent"],
        ),
        (
            json!({ "version": 1, "cases": [{ "data": 1, "specversion": "1.0" }] }),
            &["/cases/0/specversion", "/cases/0/type"],
        ),
        (
            json!({ "version": 1, "events": [{ "data": 1, "typ": "a" }, { "type": "a" }, 7] }),
            &["/events/0/typ", "/events/0/type", "/events/1/data", "/events/2"],
        ),
    ] {
        let refused = test(body.clone()).await;
        assert_eq!(
            (refused.status, refused.code().as_str()),
            (422, "input-invalid"),
            "{body}"
        );
        let mut found = refused.pointers();
        found.sort();
        assert_eq!(found, pointers, "{body}");
    }
    let viewer = api.request(Role::Viewer, "POST", "/v1/plugins/calls/test");
    assert_eq!(send(viewer.json(&json!({ "version": 1 }))).await.status, 403);
    assert_eq!(
        api.post("/v1/plugins/other/test", json!({ "version": 1 }))
            .await
            .code(),
        "not-found"
    );
}
