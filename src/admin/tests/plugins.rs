//! Uploads, activation and rollback.

use serde_json::{Value, json};

use super::{Api, send};
use crate::registry::model::{Digest, Role};

/// Components without a section; what stands behind the version is no part of them.
const ONE: &[u8] = b"\0asm\x0d\0\x01\0\0\x05\x03one\x01";
const TWO: &[u8] = b"\0asm\x0d\0\x01\0\0\x05\x03two\x01";

async fn versions(api: &Api) -> (Value, Value, Value) {
    let plugin = api.get("/v1/plugins/calls").await.json();
    (
        plugin["active"].clone(),
        plugin["previous"].clone(),
        plugin["share"].clone(),
    )
}

#[tokio::test]
async fn uploads_are_numbered_and_the_same_bytes_once() {
    let api = Api::start().await;
    assert_eq!(api.get("/v1/plugins/calls").await.code(), "not-found");
    let one = api.upload("calls", ONE).await;
    assert_eq!(one.status, 201);
    let facts = json!({
        "version": 1,
        "digest": Digest::of(ONE),
        "size": ONE.len(),
        "imports": ["headworks:plugin/document@0.1.0"],
    });
    assert_eq!(one.json(), facts);
    assert_eq!(api.upload("calls", TWO).await.json()["version"], 2);
    let again = api.upload("calls", ONE).await;
    assert_eq!((again.status, again.json()), (200, facts));
    assert_eq!(
        api.calls.lock().compiled,
        2,
        "what is known is not compiled again"
    );
    assert_eq!(
        api.upload("other", ONE).await.json()["version"],
        1,
        "each plugin counts for itself"
    );
    assert_eq!(api.registry.blob(Digest::of(ONE)).await.expect("kept"), ONE);

    let plugin = api.get("/v1/plugins/calls").await.json();
    assert_eq!(plugin["name"], "calls");
    for absent in ["active", "previous", "share", "shadow"] {
        assert_eq!(plugin[absent], Value::Null, "{absent}");
    }
    assert_eq!(plugin["health"]["status"], "inactive");
    let shown = &plugin["versions"][1];
    assert_eq!(
        (&shown["version"], &shown["by"], &shown["size"]),
        (&json!(2), &json!("admin"), &json!(TWO.len()))
    );
    assert_eq!(
        (&shown["language"], &shown["sdk"]),
        (
            &json!("Rust"),
            &json!({"name": "headworks-plugin", "version": "0.1.0"})
        )
    );
    let listed = api.get("/v1/plugins?limit=1").await.json();
    assert_eq!(
        (&listed["items"][0]["name"], &listed["next"]),
        (&json!("calls"), &json!("calls"))
    );
}

#[tokio::test]
async fn what_is_no_component_is_refused() {
    let api = Api::start().await;
    for body in [&b"no component"[..], b""] {
        let refused = api.upload("calls", body).await;
        assert_eq!(
            (refused.status, refused.code().as_str()),
            (422, "component-invalid")
        );
    }
    assert_eq!(
        api.get("/v1/plugins/calls").await.code(),
        "not-found",
        "no version, no plugin"
    );
    assert_eq!(api.upload("No_Name", ONE).await.code(), "input-invalid");
}

#[tokio::test]
async fn a_version_is_activated_and_rolled_back() {
    let api = Api::start().await;
    api.upload("calls", ONE).await;
    api.upload("calls", TWO).await;
    let activate = |version: u32| api.post("/v1/plugins/calls/activate", json!({ "version": version }));
    let roll_back = || send(api.request(Role::Operator, "POST", "/v1/plugins/calls/rollback"));

    assert_eq!(roll_back().await.code(), "conflict", "nothing is active");
    let activated = activate(1).await;
    assert_eq!((activated.status, &activated.json()["active"]), (200, &json!(1)));
    assert_eq!(activated.etag(), api.get("/v1/plugins/calls").await.etag());
    let refused = roll_back().await;
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (409, "conflict"),
        "there is none before"
    );
    assert_eq!(activate(2).await.status, 200);
    assert_eq!(versions(&api).await, (json!(2), json!(1), json!(100)));
    let again = activate(2).await;
    assert_eq!(
        (again.status, versions(&api).await),
        (200, (json!(2), json!(1), json!(100)))
    );

    let back = roll_back().await;
    assert_eq!((back.status, &back.json()["active"]), (200, &json!(1)));
    assert_eq!(
        roll_back().await.code(),
        "conflict",
        "a second rollback does not bring the bad version back"
    );
    assert_eq!(versions(&api).await, (json!(1), Value::Null, json!(100)));
}

#[tokio::test]
async fn a_rollback_waits_for_no_endless_preparation() {
    let api = Api::start().await;
    for component in [ONE, TWO] {
        api.upload("calls", component).await;
    }
    let route = json!({ "plugin": "calls", "to": [{ "destination": "files" }] });
    assert_eq!(api.put("/v1/routes/calls", route).await.status, 201);
    for version in [1, 2] {
        let activated = api.post("/v1/plugins/calls/activate", json!({ "version": version }));
        assert_eq!(activated.await.status, 200);
    }
    api.calls.lock().prepares_endlessly = true;
    let back = api.post("/v1/plugins/calls/rollback", json!({})).await;
    assert_eq!((back.status, &back.json()["active"]), (200, &json!(1)));
    let tried = api.calls.lock().prepared.last().map(|(_, version, ..)| *version);
    assert_eq!(tried, Some(1), "it was tried first");
}

#[tokio::test]
async fn faults_of_an_activation_are_named() {
    let api = Api::start().await;
    let activate = |body: Value| api.post("/v1/plugins/calls/activate", body);
    assert_eq!(activate(json!({ "version": 1 })).await.code(), "not-found");
    assert_eq!(
        api.post("/v1/plugins/calls/rollback", json!({})).await.code(),
        "not-found"
    );
    api.upload("calls", ONE).await;
    for (body, pointers) in [
        (json!({}), &["/version"][..]),
        (json!({ "version": 2 }), &["/version"]),
        (
            json!({ "version": "1", "share": 101, "when": "now" }),
            &["/share", "/version", "/when"],
        ),
        // There is no other version that could take the rest, and none to be compared with.
        (json!({ "version": 1, "share": 50 }), &["/share"]),
        (json!({ "version": 1, "share": "shadow" }), &["/share"]),
        (json!({ "version": 1, "share": "half" }), &["/share"]),
        (json!({ "version": 1, "share": 0 }), &["/share"]),
    ] {
        let refused = activate(body.clone()).await;
        assert_eq!(
            (refused.status, refused.code().as_str()),
            (422, "input-invalid"),
            "{body}"
        );
        let mut found = refused.pointers();
        found.sort();
        assert_eq!(found, pointers, "{body}");
    }
    assert_eq!(activate(json!({ "version": 1, "share": 100 })).await.status, 200);
}

#[tokio::test]
async fn a_version_that_refuses_a_route_is_not_activated() {
    let api = Api::start().await;
    api.upload("calls", ONE).await;
    api.upload("calls", TWO).await;
    let route = json!({ "plugin": "calls", "config": { "refuse": 2 }, "to": [{ "destination": "files" }] });
    assert_eq!(api.put("/v1/routes/calls", route).await.status, 201);
    assert_eq!(
        api.post("/v1/plugins/calls/activate", json!({ "version": 1 }))
            .await
            .status,
        200
    );
    let refused = api
        .post("/v1/plugins/calls/activate", json!({ "version": 2 }))
        .await;
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (422, "configuration-refused")
    );
    assert!(
        refused.json()["detail"].to_string().contains("route calls"),
        "it says which"
    );
    assert_eq!(versions(&api).await.0, json!(1));
}

#[tokio::test]
async fn if_match_guards_activation() {
    let api = Api::start().await;
    let one = api.upload("calls", ONE).await;
    api.upload("calls", TWO).await;
    let activate = |etag: String| {
        let request = api.request(Role::Operator, "POST", "/v1/plugins/calls/activate");
        send(request.header("if-match", etag).json(&json!({ "version": 1 })))
    };
    assert_eq!(
        activate(one.etag().to_owned()).await.code(),
        "precondition-failed"
    );
    let current = api.get("/v1/plugins/calls").await.etag().to_owned();
    assert_eq!(activate(current).await.status, 200);
}

#[tokio::test]
async fn a_share_and_a_shadow_are_set_and_end() {
    let api = Api::start().await;
    api.upload("calls", ONE).await;
    api.upload("calls", TWO).await;
    let activate = |body: Value| api.post("/v1/plugins/calls/activate", body);
    assert_eq!(activate(json!({ "version": 1 })).await.status, 200);
    let shared = activate(json!({ "version": 2, "share": 5 })).await;
    assert_eq!(shared.status, 200, "{}", shared.json());
    assert_eq!(versions(&api).await, (json!(2), json!(1), json!(5)));
    assert!(shared.json()["activated"].is_string());
    let raised = activate(json!({ "version": 2, "share": 50 })).await.json();
    assert_eq!((&raised["share"], &raised["previous"]), (&json!(50), &json!(1)));

    let shadow = activate(json!({ "version": 1, "share": "shadow" })).await.json();
    assert_eq!(
        (&shadow["shadow"], &shadow["active"], &shadow["share"]),
        (&json!(1), &json!(2), &json!(50))
    );
    let own = activate(json!({ "version": 2, "share": "shadow" })).await;
    assert_eq!((own.status, own.pointers()), (422, vec!["/share".to_owned()]));
    let ended = api.delete("/v1/plugins/calls/shadow").await;
    assert_eq!((ended.status, &ended.json()["shadow"]), (200, &Value::Null));
    assert_eq!(api.delete("/v1/plugins/other/shadow").await.code(), "not-found");

    activate(json!({ "version": 1, "share": "shadow" })).await;
    let back = api.post("/v1/plugins/calls/rollback", json!({})).await.json();
    for (member, expected) in [
        ("active", json!(1)),
        ("previous", Value::Null),
        ("share", json!(100)),
    ] {
        assert_eq!(back[member], expected, "{member}");
    }
    assert_eq!(back["shadow"], Value::Null, "a rollback ends it");

    let changes = api.get("/v1/changes?limit=1000").await.json();
    let changes = changes["items"].as_array().expect("a list").iter();
    let told: Vec<(&str, u64)> = changes
        .filter(|entry| entry["plugin"] == "calls")
        .map(|entry| {
            assert_eq!(entry["by"], "admin");
            assert!(entry["at"].is_string() && entry["sequence"].is_u64(), "{entry}");
            let version = &entry["version"];
            let number = version.get("version").unwrap_or(version).as_u64();
            (entry["change"].as_str().expect("a name"), number.unwrap_or(0))
        })
        .collect();
    assert_eq!(
        told,
        [
            ("add_plugin_version", 1),
            ("add_plugin_version", 2),
            ("activate_plugin", 1),
            ("activate_plugin", 2),
            ("activate_plugin", 2),
            ("shadow_plugin", 1),
            ("shadow_plugin", 0),
            ("shadow_plugin", 1),
            ("roll_back_plugin", 0),
        ],
        "a shadow's end has no version"
    );
}

#[tokio::test]
async fn a_configuration_is_held_to_the_schema_in_the_component() {
    let api = Api::start().await;
    let schema =
        br#"{"type": "object", "properties": {"region": {"type": "string"}}, "additionalProperties": false}"#;
    let with_schema = |schema: &[u8]| {
        let mut component = ONE.to_vec();
        let name = b"config.schema.json";
        let length = 1 + name.len() + schema.len();
        assert!(length < 128, "written in one byte");
        component.extend_from_slice(&[0, u8::try_from(length).expect("short")]);
        component.push(u8::try_from(name.len()).expect("short"));
        component.extend_from_slice(name);
        component.extend_from_slice(schema);
        Vec::leak(component)
    };
    assert_eq!(api.upload("calls", with_schema(schema)).await.status, 201);
    let mut broken = schema.to_vec();
    broken[10..16].copy_from_slice(b"nonono");
    let refused = api.upload("calls", with_schema(&broken)).await;
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (422, "component-invalid"),
        "{}",
        refused.json()
    );

    api.post("/v1/plugins/calls/activate", json!({ "version": 1 }))
        .await;
    let route = |config: Value| {
        let route = json!({ "plugin": "calls", "config": config, "to": [{ "destination": "files" }] });
        api.put("/v1/routes/calls", route)
    };
    let refused = route(json!({ "region": 7, "more": 1 })).await;
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (422, "configuration-refused")
    );
    let pointers = refused.pointers();
    assert!(
        pointers.contains(&"/config/region".to_owned()) && pointers.contains(&"/config".to_owned()),
        "{pointers:?}"
    );
    assert_eq!(route(json!({ "region": "kr" })).await.status, 201);
}

#[tokio::test]
async fn uploads_at_once_get_numbers_of_their_own() {
    let api = Api::start().await;
    let components: [&'static [u8]; 4] = [
        b"\0asm\x0d\0\x01\0\0\x02\x01a",
        b"\0asm\x0d\0\x01\0\0\x02\x01b",
        b"\0asm\x0d\0\x01\0\0\x02\x01c",
        b"\0asm\x0d\0\x01\0\0\x02\x01d",
    ];
    let answered =
        futures::future::join_all(components.map(|component| api.upload("calls", component))).await;
    let mut numbers: Vec<u64> = answered
        .iter()
        .map(|answered| answered.json()["version"].as_u64().expect("a number"))
        .collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2, 3, 4]);
}

#[tokio::test]
async fn logs_are_found_by_what_they_are_about() {
    let api = Api::start().await;
    assert_eq!(api.get("/v1/plugins/calls/logs").await.code(), "not-found");
    api.upload("calls", ONE).await;
    let found = async |query: &str| {
        let answered = api.get(&format!("/v1/plugins/calls/logs{query}")).await;
        assert_eq!(answered.status, 200, "{}", answered.json());
        let body = answered.json();
        let sequences = body["items"].as_array().expect("a list").iter();
        sequences
            .map(|line| line["sequence"].as_u64().expect("a number"))
            .collect::<Vec<_>>()
    };
    assert_eq!(found("").await, [1, 2, 3]);
    assert_eq!(found("?version=2").await, [2, 3]);
    assert_eq!(found("?level=warn").await, [2]);
    assert_eq!(found("?event=event-1&partner=bridge").await, [1]);
    assert_eq!(found("?partner=other").await, [0; 0]);
    assert_eq!(found("?limit=1").await, [3], "the last ones");
    assert_eq!(found("?after=1&limit=1").await, [2], "from there on");
    assert_eq!(
        api.get("/v1/plugins/calls/logs?after=1&limit=1").await.json()["next"],
        "2"
    );
    assert_eq!(api.get("/v1/plugins/calls/logs?level=loud").await.status, 422);
    let viewer = api.request(Role::Viewer, "GET", "/v1/plugins/calls/logs");
    assert_eq!(send(viewer).await.status, 403, "lines may hold what events hold");
}
