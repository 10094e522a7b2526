//! Schemas and what is enforced between them.

use serde_json::{Value, json};

use super::{Answered, Api, send};
use crate::registry::model::{Change, Role};

async fn put(api: &Api, role: Role, path: &str, text: &'static str) -> Answered {
    send(
        api.request(role, "PUT", &format!("/v1/schemas/{path}"))
            .body(text),
    )
    .await
}

async fn listed(api: &Api, path: &str) -> Vec<(String, Option<String>)> {
    let listing = api.get(path).await.json();
    let of = |item: &Value| {
        let since = item["since"].as_str().expect("since").to_owned();
        (since, item["source"].as_str().map(str::to_owned))
    };
    listing["items"]
        .as_array()
        .expect("items")
        .iter()
        .map(of)
        .collect()
}

#[tokio::test]
async fn a_schema_is_registered_read_and_deleted() {
    let api = Api::start().await;
    let text = "{ \"type\":\n \"object\" }";
    let made = put(&api, Role::Publisher, "order.created/5.2", text).await;
    assert_eq!(made.status, 201);
    let body = made.json();
    assert_eq!(body["type"], "order.created");
    assert_eq!((&body["since"], body.get("source")), (&json!("5.2"), None));
    assert_eq!(body["digest"].as_str().map(str::len), Some(64));
    assert_eq!(body["compatibility"], json!([]));

    let read = api.get("/v1/schemas/order.created/5.2").await;
    assert_eq!(
        (read.status, &read.body[..], read.etag()),
        (200, text.as_bytes(), made.etag())
    );
    assert_eq!(read.header("content-type"), Some("application/schema+json"));
    assert_eq!(
        api.get("/v1/schemas/order.created/v5.2.0").await.status,
        200,
        "the same version"
    );
    assert_eq!(api.get("/v1/schemas/order.created/5.3").await.code(), "not-found");
    assert_eq!(
        api.get("/v1/schemas/order.created/5.2?source=/x").await.code(),
        "not-found"
    );

    let again = put(
        &api,
        Role::Publisher,
        "order.created/5.2.0",
        "{\"type\":\"object\"}",
    )
    .await;
    assert_eq!(
        (again.status, again.etag()),
        (200, made.etag()),
        "the same JSON in another spelling"
    );
    assert_eq!(again.json()["since"], "5.2");
    let compared = json!([{ "with": "5.2", "backward": "yes", "forward": "yes" }]);
    assert_eq!(again.json()["compatibility"], compared);

    assert_eq!(api.delete("/v1/schemas/order.created/5.2.0").await.status, 204);
    assert_eq!(
        api.delete("/v1/schemas/order.created/5.2").await.code(),
        "not-found"
    );
    assert_eq!(listed(&api, "/v1/schemas").await, []);
}

#[tokio::test]
async fn schemas_are_listed_by_type_source_and_version() {
    let api = Api::start().await;
    for path in [
        "b/5.10",
        "b/5.9",
        "b/v1",
        "b/2?source=/web",
        "b/1.5?source=/web",
        "a/7",
    ] {
        assert_eq!(
            put(&api, Role::Publisher, path, "true").await.status,
            201,
            "{path}"
        );
    }
    let web = || Some("/web".to_owned());
    let of_b = [
        ("v1".to_owned(), None),
        ("5.9".to_owned(), None),
        ("5.10".to_owned(), None),
        ("1.5".to_owned(), web()),
        ("2".to_owned(), web()),
    ];
    assert_eq!(listed(&api, "/v1/schemas/b").await, of_b);
    assert_eq!(listed(&api, "/v1/schemas/none").await, []);
    let mut seen = Vec::new();
    let mut path = "/v1/schemas?limit=1".to_owned();
    loop {
        seen.extend(listed(&api, &path).await);
        let page = api.get(&path).await.json();
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/v1/schemas?limit=1&after={next}");
    }
    assert_eq!(seen[0], ("7".to_owned(), None));
    assert_eq!(seen[1..], of_b);
    assert_eq!(api.get("/v1/schemas?after=xyz").await.code(), "input-invalid");
}

#[tokio::test]
async fn what_is_no_schema_is_refused_with_the_place() {
    let api = Api::start().await;
    let refused = put(
        &api,
        Role::Publisher,
        "a.b/1",
        r#"{"properties": {"id": {"type": "strnig"}}}"#,
    )
    .await;
    assert_eq!((refused.status, refused.code().as_str()), (422, "schema-invalid"));
    assert_eq!(refused.pointers(), ["/properties/id/type"]);
    for text in [
        r#"{"$ref": "https://elsewhere.example/schema.json"}"#,
        r#"{"$ref": "file:///etc/passwd"}"#,
        r#"{"$schema": "https://elsewhere.example/draft"}"#,
        "7",
    ] {
        let refused = put(&api, Role::Publisher, "a.b/1", text).await;
        assert_eq!(
            (refused.status, refused.code().as_str()),
            (422, "schema-invalid"),
            "{text}"
        );
    }
    assert_eq!(
        put(&api, Role::Publisher, "a.b/1", "{").await.code(),
        "json-malformed"
    );
    for path in [
        "a.b/beta",
        "a.b/v",
        "a%20b/1",
        "a.b/1?forse=true",
        "a.b/1?force=yes",
        "a.b/1?source=",
    ] {
        let refused = put(&api, Role::Publisher, path, "true").await;
        assert_eq!(
            (refused.status, refused.code().as_str()),
            (422, "input-invalid"),
            "{path}"
        );
    }
    assert_eq!(listed(&api, "/v1/schemas").await, []);
}

#[tokio::test]
async fn a_text_is_replaced_by_force_only() {
    let api = Api::start().await;
    put(&api, Role::Publisher, "a.b/1", "true").await;
    let other = r#"{"type": "object"}"#;
    let refused = put(&api, Role::Admin, "a.b/1.0", other).await;
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (409, "schema-incompatible")
    );
    let why = &refused.json()["compatibility"][0];
    assert_eq!((&why["with"], &why["backward"]), (&json!("1"), &json!("no")));
    assert!(!why["refuses"]["backward"]["example"].is_object(), "{why}");
    let refused = put(&api, Role::Publisher, "a.b/1?force=true", other).await;
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (403, "role-insufficient")
    );
    let forced = put(&api, Role::Operator, "a.b/1.0?force=true", other).await;
    assert_eq!(forced.status, 200);
    let compared = &forced.json()["compatibility"][0];
    assert_eq!(
        (
            &forced.json()["since"],
            &compared["backward"],
            &compared["forward"]
        ),
        (&json!("1"), &json!("no"), &json!("yes"))
    );
    assert_eq!(api.get("/v1/schemas/a.b/1").await.body, other);
    let (entries, _) = api
        .registry
        .changes(
            forced.etag().trim_matches('"').parse::<u64>().expect("a number") - 1,
            1,
        )
        .await
        .expect("the change");
    assert!(matches!(
        &entries[0].change,
        Change::PutSchema { forced: true, .. }
    ));
}

#[tokio::test]
async fn neighbours_are_compared_and_enforced() {
    let api = Api::start().await;
    for path in ["a.b/1", "a.b/2", "a.b/4", "a.b/9", "a.b/2.5?source=/web"] {
        put(&api, Role::Publisher, path, "true").await;
    }
    let yes = |with: &str| json!({ "with": with, "backward": "yes", "forward": "yes" });
    let added = put(&api, Role::Publisher, "a.b/3", r#"{"type": "object"}"#).await;
    let verdicts: Vec<(Value, Value, Value)> = added.json()["compatibility"]
        .as_array()
        .expect("two neighbours")
        .iter()
        .map(|one| {
            (
                one["with"].clone(),
                one["backward"].clone(),
                one["forward"].clone(),
            )
        })
        .collect();
    let (no, yes_word) = (json!("no"), json!("yes"));
    assert_eq!(added.status, 201, "a type enforces nothing unless it says so");
    assert_eq!(
        verdicts,
        [
            (json!("2"), no.clone(), yes_word.clone()),
            (json!("4"), yes_word, no)
        ]
    );
    let last = put(&api, Role::Publisher, "a.b/10", "true").await;
    assert_eq!(last.json()["compatibility"], json!([yes("9")]));
    let first = put(&api, Role::Publisher, "a.b/0.1", "true").await;
    assert_eq!(first.json()["compatibility"], json!([yes("1")]));

    let texts = [
        ("backward", r#"{"type": "string"}"#),
        ("forward", "true"),
        ("full", "true"),
    ];
    for (compatibility, text) in texts {
        api.put("/v1/types/a.b", json!({ "compatibility": compatibility }))
            .await;
        let refused = put(&api, Role::Publisher, "a.b/3.5", text).await;
        assert_eq!(
            (refused.status, refused.code().as_str()),
            (409, "schema-incompatible"),
            "{compatibility}"
        );
        assert!(
            refused.json()["detail"]
                .to_string()
                .contains(&format!("{compatibility} compatibility"))
        );
    }
    assert_eq!(
        put(&api, Role::Publisher, "a.b/5", "true").await.status,
        201,
        "the same as both neighbours"
    );
    assert_eq!(
        put(&api, Role::Publisher, "a.b/1?source=/app", "{}").await.status,
        201,
        "no neighbour at all"
    );
    assert_eq!(
        put(&api, Role::Operator, "a.b/3.5?force=true", "true")
            .await
            .status,
        201
    );
}

#[tokio::test]
async fn if_match_guards_schemas() {
    let api = Api::start().await;
    let made = put(&api, Role::Publisher, "a.b/1", "true").await;
    put(&api, Role::Publisher, "a.b/2", "true").await;
    let delete = |etag: &str| {
        send(
            api.request(Role::Publisher, "DELETE", "/v1/schemas/a.b/1")
                .header("if-match", etag.to_owned()),
        )
    };
    assert_eq!(delete("\"999\"").await.code(), "precondition-failed");
    assert_eq!(delete(made.etag()).await.status, 204);
}

#[tokio::test]
async fn a_compatible_text_replaces_another_in_place() {
    let api = Api::start().await;
    let old = r#"{"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}"#;
    let new = r#"{"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "integer"}}}"#;
    put(&api, Role::Publisher, "a.b/1", old).await;
    let replaced = put(&api, Role::Publisher, "a.b/1", new).await;
    assert_eq!(replaced.status, 200, "{:?}", replaced.body);
    let compared = &replaced.json()["compatibility"][0];
    assert_eq!(
        (&compared["backward"], &compared["forward"]),
        (&json!("yes"), &json!("no"))
    );
    assert_eq!(compared["refuses"]["forward"]["example"], json!({}));
    assert_eq!(api.get("/v1/schemas/a.b/1").await.body, new);
    // And back again it would refuse what it accepts now.
    assert_eq!(
        put(&api, Role::Publisher, "a.b/1", old).await.code(),
        "schema-incompatible"
    );
}

#[tokio::test]
async fn what_cannot_be_decided_counts_as_no_where_it_is_enforced() {
    let api = Api::start().await;
    put(&api, Role::Publisher, "a.b/1", r#"{"pattern": "^(a|b)+$"}"#).await;
    let refused = put(&api, Role::Publisher, "a.b/1", r#"{"pattern": "^[ab]+$"}"#).await;
    assert_eq!(refused.code(), "compatibility-unknown");
    let why = &refused.json()["compatibility"][0];
    assert_eq!(
        why["undecided"]["backward"],
        json!("`pattern` at the whole value could not be decided")
    );
}

#[tokio::test]
async fn a_check_says_what_registering_would_do_and_changes_nothing() {
    let api = Api::start().await;
    let check = |path: &'static str, text: &'static str| {
        send(
            {
                let (path, query) = path.split_once('?').unwrap_or((path, ""));
                api.request(
                    Role::Publisher,
                    "POST",
                    &format!("/v1/schemas/{path}/check?{query}"),
                )
            }
            .body(text),
        )
    };
    api.put(
        "/v1/types/a.b",
        json!({ "compatibility": "backward", "mask": ["/a"] }),
    )
    .await;
    put(
        &api,
        Role::Publisher,
        "a.b/1",
        r#"{"type": "object", "properties": {"a": {"type": "string"}}}"#,
    )
    .await;
    let narrower = r#"{"type": "object", "properties": {"a": {"type": "string", "maxLength": 2}}}"#;
    let checked = check("a.b/2", narrower).await;
    assert_eq!(checked.status, 200, "{:?}", checked.body);
    let body = checked.json();
    assert_eq!(
        (&body["registers"], &body["code"]),
        (&json!(false), &json!("schema-incompatible"))
    );
    let refused = &body["compatibility"][0]["refuses"]["backward"];
    let example = refused["example"]["a"].as_str().expect("a string");
    assert!(example.chars().count() > 2, "{refused}");
    assert_eq!(
        body["changes"],
        json!([{ "pointer": "/a", "keyword": "maxLength", "after": "2" }])
    );
    assert_eq!(
        listed(&api, "/v1/schemas").await.len(),
        1,
        "nothing is registered"
    );
    assert_eq!(check("a.b/2", "{").await.status, 400);
    let other = check("a.b/2?with=9", narrower).await;
    assert_eq!(other.code(), "not-found");
}

#[tokio::test]
async fn a_check_tries_recent_events_of_the_versions_that_would_come_to_it() {
    let api = Api::start().await;
    for (number, version) in [(0, "5.2"), (1, "6.0"), (2, "6.1")] {
        super::recent::pass(&api, number, version, &crate::event::Outcome::Accepted);
    }
    let path = "/v1/schemas/order.paid/6/check";
    let checked = send(
        api.request(Role::Publisher, "POST", path)
            .body(r#"{"type": "string"}"#),
    )
    .await
    .json();
    assert_eq!(checked["recent"]["accepted"], 0, "{checked}");
    assert_eq!(checked["recent"]["refused"], 2, "5.2 is below it");
    let failure = &checked["recent"]["failures"][0];
    assert_eq!(
        (&failure["pointer"], &failure["keyword"], &failure["count"]),
        (&json!(""), &json!("type"), &json!(2))
    );
    assert!(failure["example"].is_object());
    let checked = send(api.request(Role::Publisher, "POST", path).body("true"))
        .await
        .json();
    assert_eq!(checked["recent"]["accepted"], 2);
}

#[tokio::test]
async fn a_deletion_says_first_which_app_versions_fall_to_what() {
    let api = Api::start().await;
    for path in ["order.paid/5", "order.paid/6"] {
        put(&api, Role::Publisher, path, "true").await;
    }
    for (number, version) in [(0, "5.2"), (1, "6.0"), (2, "6.0")] {
        super::recent::pass(&api, number, version, &crate::event::Outcome::Accepted);
    }
    let falls = |path: &'static str| api.delete(path);
    let answered = falls("/v1/schemas/order.paid/6?dry_run=true").await;
    let expected = json!([{ "partner": "shop", "appversion": "6.0", "events": 2, "to": "5" }]);
    assert_eq!((answered.status, &answered.json()["falls"]), (200, &expected));
    let answered = falls("/v1/schemas/order.paid/5?dry_run=true").await.json();
    assert_eq!(
        answered["falls"],
        json!([{ "partner": "shop", "appversion": "5.2", "events": 1, "code": "version-unknown" }])
    );
    assert_eq!(listed(&api, "/v1/schemas").await.len(), 2);
    assert_eq!(falls("/v1/schemas/order.paid/6").await.status, 204);
}
