//! Schemas that refer to each other.

use serde_json::{Value, json};

use super::{Answered, Api, send};
use crate::registry::model::{Change, Role};

async fn put(api: &Api, path: &str, schema: Value) -> Answered {
    api.put(&format!("/v1/schemas/{path}"), schema).await
}

async fn referring(api: &Api) {
    let address = json!({"$id": "https://acme.example/address", "type": "object", "properties": {"street": {"type": "string"}}});
    assert_eq!(put(api, "address/1", address).await.status, 201);
    let user = json!({"type": "object", "properties": {"home": {"$ref": "https://acme.example/address"}}});
    assert_eq!(put(api, "user/1", user).await.status, 201);
    let order = json!({"type": "object", "properties": {"by": {"$ref": "headworks:user@1"}}});
    assert_eq!(put(api, "order/1", order).await.status, 201);
}

#[tokio::test]
async fn what_is_not_registered_is_refused_with_its_place() {
    let api = Api::start().await;
    for uri in [
        "headworks:user@1",
        "http://127.0.0.1:1/user.json",
        "file:///etc/passwd",
        "user.json",
    ] {
        let refused = put(&api, "order/1", json!({"properties": {"by": {"$ref": uri}}})).await;
        assert_eq!(
            (refused.status, refused.code()),
            (422, "schema-invalid".to_owned()),
            "{uri}"
        );
        assert_eq!(refused.pointers(), ["/properties/by/$ref"], "{uri}");
    }
}

#[tokio::test]
async fn what_refers_to_what_is_shown() {
    let api = Api::start().await;
    referring(&api).await;
    let bonds = api.get("/v1/schemas/user/1/references").await.json();
    let expected = json!({"refers_to": ["https://acme.example/address"], "referred_by": [{"type": "order", "since": "1"}]});
    assert_eq!(bonds, expected);
    let listed = api.get("/v1/schemas/user").await.json();
    assert_eq!(
        listed["items"][0]["referred_by"],
        json!([{"type": "order", "since": "1"}])
    );
    assert_eq!(api.get("/v1/schemas/none/1/references").await.code(), "not-found");
}

#[tokio::test]
async fn a_change_is_checked_for_all_that_refer_to_it() {
    let api = Api::start().await;
    referring(&api).await;
    let narrower = json!({"$id": "https://acme.example/address", "type": "object", "properties": {"street": {"type": "string", "maxLength": 3}}});
    let checked = api
        .post("/v1/schemas/address/1/check", narrower.clone())
        .await
        .json();
    let names: Vec<&str> = checked["dependents"]
        .as_array()
        .expect("dependents")
        .iter()
        .map(|one| one["type"].as_str().expect("a type"))
        .collect();
    assert_eq!(
        (names, &checked["registers"]),
        (vec!["order", "user"], &json!(false))
    );
    let refused = put(&api, "address/1", narrower.clone()).await;
    assert_eq!(refused.code(), "schema-incompatible");
    // Where nothing is lost for itself, it still is for what refers to it the other way round.
    let negated = json!({"not": {"$ref": "headworks:address@1"}});
    assert_eq!(put(&api, "odd/1", negated).await.status, 201);
    let wider = json!({"$id": "https://acme.example/address"});
    let refused = put(&api, "address/1", wider.clone()).await;
    assert_eq!(
        (refused.status, refused.code()),
        (409, "schema-incompatible".to_owned())
    );
    let detail = refused.json()["detail"].as_str().expect("a detail").to_owned();
    assert!(
        detail.starts_with("odd@1 refers to it, and would refuse what it accepts now"),
        "{detail}"
    );
    let refuses = refused.json()["compatibility"][0]["refuses"]["backward"].clone();
    let example = refuses.get("example").expect("an example");
    assert!(!example.is_object(), "odd@1 took no objects: {example}");
    let forced = put(&api, "address/1?force=true", wider).await;
    assert_eq!(forced.status, 200);
    let dependents = forced.json()["dependents"].clone();
    assert_eq!(dependents.as_array().map(Vec::len), Some(3), "{dependents}");
    // Without its $id what refers to it by that would lead nowhere: no force helps.
    let refused = put(&api, "address/1?force=true", json!({"type": "object"})).await;
    assert_eq!(refused.code(), "schema-referenced");
    assert!(
        refused.json()["detail"]
            .as_str()
            .expect("a detail")
            .contains("refers to it, and could not be used any more")
    );
}

#[tokio::test]
async fn a_dependents_own_versions_and_upgrades_are_checked_too() {
    let api = Api::start().await;
    assert_eq!(put(&api, "name/1", json!({"type": "string"})).await.status, 201);
    let user = |extra: Value| json!({"type": "object", "properties": {"name": {"$ref": "headworks:name@1"}, "extra": extra}, "required": ["name"], "additionalProperties": false});
    assert_eq!(put(&api, "user/1", user(json!(true))).await.status, 201);
    let two = json!({"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"], "additionalProperties": false});
    assert_eq!(put(&api, "user/2", two).await.status, 201);
    let upgrade = json!({"steps": [{"remove": "/extra"}]});
    let registered = api.put("/v1/schemas/user/2/upgrade", upgrade).await;
    assert_eq!(registered.status, 201, "{}", registered.json());
    assert!(
        registered.json()["checked"].as_u64() > Some(10),
        "{}",
        registered.json()
    );
    // All that name@1 took it takes still, and user@1 through it; but user@2 takes no numbers.
    let wider = json!({"type": ["string", "integer"]});
    let refused = put(&api, "name/1", wider.clone()).await;
    assert_eq!(
        (refused.status, refused.code()),
        (422, "upgrade-refused".to_owned()),
        "{}",
        refused.json()
    );
    assert!(
        refused.json()["detail"]
            .as_str()
            .expect("a detail")
            .starts_with("the upgrade to user@2")
    );
    api.delete("/v1/schemas/user/2/upgrade").await;
    api.put("/v1/types/user", json!({"compatibility": "backward"}))
        .await;
    let refused = put(&api, "name/1", wider.clone()).await;
    assert_eq!(
        (refused.status, refused.code()),
        (409, "schema-incompatible".to_owned()),
        "{}",
        refused.json()
    );
    assert!(
        refused.json()["detail"]
            .as_str()
            .expect("a detail")
            .contains("would lose the backward compatibility with user@2")
    );
    api.put("/v1/types/user", json!({})).await;
    assert_eq!(put(&api, "name/1", wider).await.status, 200);
}

#[tokio::test]
async fn what_others_refer_to_is_deleted_only_by_force() {
    let api = Api::start().await;
    referring(&api).await;
    let said = api.delete("/v1/schemas/user/1?dry_run=true").await.json();
    assert_eq!(said["referred_by"], json!([{"type": "order", "since": "1"}]));
    let refused = api.delete("/v1/schemas/user/1").await;
    assert_eq!(
        (refused.status, refused.code()),
        (409, "schema-referenced".to_owned())
    );
    assert!(
        refused.json()["detail"]
            .as_str()
            .expect("a detail")
            .starts_with("order@1 refers to it")
    );
    let publisher = api.request(Role::Publisher, "DELETE", "/v1/schemas/user/1?force=true");
    assert_eq!(send(publisher).await.status, 403);
    assert_eq!(api.delete("/v1/schemas/user/1?force=true").await.status, 204);
    let last = api.registry.state().sequence;
    let (entries, _) = api.registry.changes(last - 1, 1).await.expect("the log is read");
    assert!(
        matches!(entries[0].change, Change::DeleteSchema { forced: true, .. }),
        "{entries:?}"
    );
    assert_eq!(
        api.delete("/v1/schemas/order/1").await.status,
        204,
        "nothing refers to it"
    );
}

#[tokio::test]
async fn schemas_that_refer_to_each_other_are_registered_at_once() {
    let api = Api::start().await;
    let schema = |event_type: &str, other: &str| {
        let text =
            json!({"type": "object", "properties": {"other": {"$ref": format!("headworks:{other}@1")}}});
        json!({"type": event_type, "since": "1", "text": format!("{text}\n")})
    };
    let alone = put(&api, "a/1", json!({"items": {"$ref": "headworks:b@1"}})).await;
    assert_eq!(alone.code(), "schema-invalid", "neither can come first");
    let both = json!({"schemas": [schema("a", "b"), schema("b", "a")]});
    let made = api.post("/v1/schemas", both.clone()).await;
    assert_eq!(made.status, 200, "{}", made.json());
    assert_eq!(made.json()["schemas"].as_array().map(Vec::len), Some(2));
    let text = api.get("/v1/schemas/a/1").await.body;
    assert!(text.ends_with(b"\n"), "the text is kept to the byte");
    let before = api.registry.state().sequence;
    assert_eq!(api.post("/v1/schemas", both).await.status, 200);
    assert_eq!(
        api.registry.state().sequence,
        before,
        "the same again changes nothing"
    );
    let half = json!({"schemas": [schema("c", "d"), {"type": "d", "since": "1", "text": "{\"type\": 1}"}]});
    let refused = api.post("/v1/schemas", half).await;
    assert_eq!(refused.code(), "schema-invalid");
    assert_eq!(refused.pointers(), ["/schemas/1/text/type"]);
    assert_eq!(api.get("/v1/schemas/c/1").await.status, 404, "all or none");
    let twice = json!({"schemas": [schema("a", "b"), schema("a", "b"), {"type": "e"}]});
    let refused = api.post("/v1/schemas", twice).await;
    assert_eq!(
        refused.pointers(),
        ["/schemas/1", "/schemas/2/since", "/schemas/2/text"]
    );
    // The state that is read again from the log knows all of it.
    let again = crate::registry::Registry::open(api.store())
        .await
        .expect("the log is read");
    assert_eq!(again.state().schemas, api.registry.state().schemas);
}
