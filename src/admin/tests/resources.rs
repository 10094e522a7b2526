//! Partners, keys, types, changes, ETags and pages.

use serde_json::{Value, json};

use super::{Api, send};
use crate::registry::{
    model::{KeyKind, Role},
    secret::{KEY_PREFIX, id_of},
};

fn items(listing: &Value) -> &Vec<Value> {
    listing["items"].as_array().expect("items")
}

#[tokio::test]
async fn a_partner_is_made_changed_and_deleted() {
    let api = Api::start().await;
    let whole = json!({
        "description": "a shop",
        "source": "/shop",
        "policy": "reject",
        "rate_limit": { "events_per_s": 100, "bytes_per_s": 1_000_000, "burst": 10 },
        "origins": ["https://shop.example", "http://localhost:3000"],
    });
    assert_eq!(api.get("/v1/partners/shop").await.code(), "not-found");
    let made = api.put("/v1/partners/shop", whole.clone()).await;
    assert_eq!((made.status, made.json()), (201, whole.clone()));
    let read = api.get("/v1/partners/shop").await;
    assert_eq!(
        (read.status, read.json(), read.etag()),
        (200, whole.clone(), made.etag())
    );

    let same = api.put("/v1/partners/shop", whole.clone()).await;
    assert_eq!(
        (same.status, same.etag()),
        (200, made.etag()),
        "the same again changes nothing"
    );
    let changed = api.put("/v1/partners/shop", json!({})).await;
    assert_eq!(
        (changed.status, changed.json()),
        (200, json!({ "description": "", "policy": "quarantine" }))
    );
    assert_ne!(changed.etag(), made.etag());
    assert_eq!(api.get("/v1/partners/shop").await.etag(), changed.etag());

    let deleted = api.delete("/v1/partners/shop").await;
    assert_eq!((deleted.status, deleted.body.len()), (204, 0));
    for answered in [
        api.get("/v1/partners/shop").await,
        api.delete("/v1/partners/shop").await,
    ] {
        assert_eq!((answered.status, answered.code().as_str()), (404, "not-found"));
    }
}

#[tokio::test]
async fn faults_of_a_partner_are_listed_together() {
    let api = Api::start().await;
    let body = json!({
        "descripton": "a typing error",
        "description": 7,
        "source": "",
        "policy": "keep",
        "envelope": "segmnet",
        "rate_limit": { "events_per_s": 0, "bytes_per_s": -1, "burst": 1.5, "per": "day" },
        "origins": ["https://shop.example/path", "shop.example", 7],
        "a/b~c": true,
    });
    let refused = api.put("/v1/partners/shop", body).await;
    assert_eq!((refused.status, refused.code().as_str()), (422, "input-invalid"));
    let mut pointers = refused.pointers();
    pointers.sort();
    assert_eq!(
        pointers,
        [
            "/a~1b~0c",
            "/description",
            "/descripton",
            "/envelope",
            "/origins/0",
            "/origins/1",
            "/origins/2",
            "/policy",
            "/rate_limit/burst",
            "/rate_limit/bytes_per_s",
            "/rate_limit/events_per_s",
            "/rate_limit/per",
            "/source",
        ]
    );
    assert!(
        refused.json()["errors"]
            .to_string()
            .contains("did you mean \\\"description\\\"")
    );
    for body in [json!([]), json!("x"), json!(null), json!(7)] {
        let refused = api.put("/v1/partners/shop", body.clone()).await;
        assert_eq!(refused.status, 422, "{body}");
        assert_eq!(refused.pointers(), [""], "{body}");
    }
    assert_eq!(api.get("/v1/partners/shop").await.status, 404, "nothing was made");
}

#[tokio::test]
async fn names_are_checked() {
    let api = Api::start().await;
    for name in ["Shop", "a_b", "-a", "a%2Fb", "%C3%A9", &"x".repeat(64)] {
        let path = format!("/v1/partners/{name}");
        let refused = api.put(&path, json!({})).await;
        assert_eq!(
            (refused.status, refused.code().as_str()),
            (422, "input-invalid"),
            "{name}"
        );
        assert_eq!(api.get(&path).await.code(), "not-found", "{name}");
        assert_eq!(api.delete(&path).await.code(), "not-found", "{name}");
    }
}

#[tokio::test]
async fn if_match_and_if_none_match_are_honoured() {
    let api = Api::start().await;
    let put = |header: &'static str, value: String, body: Value| {
        send(
            api.request(Role::Operator, "PUT", "/v1/partners/shop")
                .header(header, value)
                .json(&body),
        )
    };
    let refused = put("if-match", "*".to_owned(), json!({})).await;
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (412, "precondition-failed"),
        "it is not there"
    );
    let made = put("if-none-match", "*".to_owned(), json!({})).await;
    assert_eq!(made.status, 201);
    assert_eq!(
        put("if-none-match", "*".to_owned(), json!({})).await.status,
        412,
        "it is there"
    );
    let old = made.etag().to_owned();
    let changed = put("if-match", old.clone(), json!({ "description": "x" })).await;
    assert_eq!(changed.status, 200);
    let stale = put("if-match", old.clone(), json!({ "description": "y" })).await;
    assert_eq!(
        (stale.status, stale.code().as_str()),
        (412, "precondition-failed")
    );
    assert!(
        stale.json()["detail"]
            .to_string()
            .contains(changed.etag().trim_matches('"'))
    );
    let one_of = format!("{old}, {}", changed.etag());
    assert_eq!(
        put("if-match", one_of, json!({ "description": "z" }))
            .await
            .status,
        200
    );
    let delete = |value: &str| {
        send(
            api.request(Role::Operator, "DELETE", "/v1/partners/shop")
                .header("if-match", value.to_owned()),
        )
    };
    assert_eq!(delete(&old).await.status, 412);
    let now = api.get("/v1/partners/shop").await;
    assert_eq!(delete(now.etag()).await.status, 204);
}

#[tokio::test]
async fn lists_are_paged() {
    let api = Api::start().await;
    for name in ["e", "a", "d", "b", "c"] {
        assert_eq!(
            api.put(&format!("/v1/partners/{name}"), json!({ "description": name }))
                .await
                .status,
            201
        );
    }
    let mut seen = Vec::new();
    let mut path = "/v1/partners?limit=2".to_owned();
    loop {
        let page = api.get(&path).await.json();
        assert!(items(&page).len() <= 2);
        for item in items(&page) {
            assert_eq!(item["name"], item["description"]);
            seen.push(item["name"].as_str().expect("a name").to_owned());
        }
        let Some(next) = page.get("next") else { break };
        path = format!("/v1/partners?limit=2&after={}", next.as_str().expect("a cursor"));
    }
    assert_eq!(seen, ["a", "b", "c", "d", "e"]);
    let all = api.get("/v1/partners").await.json();
    assert_eq!((items(&all).len(), all.get("next")), (5, None));
    assert_eq!(
        api.get("/v1/partners?after=e").await.json(),
        json!({ "items": [] })
    );
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one life of one partner's keys")]
async fn keys_of_all_kinds_are_made_listed_and_revoked() {
    let api = Api::start().await;
    assert_eq!(
        api.post("/v1/partners/shop/keys", json!({ "kind": "secret" }))
            .await
            .code(),
        "not-found"
    );
    assert_eq!(api.get("/v1/partners/shop/keys").await.code(), "not-found");
    for partner in ["shop", "other"] {
        api.put(&format!("/v1/partners/{partner}"), json!({})).await;
    }
    let mut secrets = Vec::new();
    let mut ids = Vec::new();
    for kind in ["secret", "publishable", "signing"] {
        let made = api.post("/v1/partners/shop/keys", json!({ "kind": kind })).await;
        assert_eq!(made.status, 201, "{kind}");
        let made = made.json();
        let id = made["id"].as_str().expect("an id").to_owned();
        let (shown, hidden) = if kind == "signing" {
            ("secret", "key")
        } else {
            ("key", "secret")
        };
        let text = made[shown].as_str().expect("the secret").to_owned();
        assert!(made.get(hidden).is_none() && made["kind"] == kind, "{made}");
        match kind {
            "signing" => assert!(text.starts_with("whsec_")),
            _ => assert_eq!(id_of(KEY_PREFIX, &text), Some(id.as_str())),
        }
        secrets.push(text);
        ids.push(id);
    }
    api.post("/v1/partners/other/keys", json!({ "kind": "secret" }))
        .await;
    let state = api.registry.state();
    let signing = &state.keys[&ids[2]].value;
    assert_eq!(signing.kind, KeyKind::Signing);
    assert_eq!(
        signing
            .signing_secret
            .as_ref()
            .and_then(|sealed| api.sealer.open(&ids[2], sealed))
            .map(|secret| secret.reveal().to_owned())
            .as_deref(),
        Some(secrets[2].as_str())
    );
    assert!(
        ids[..2]
            .iter()
            .all(|id| state.keys[id].value.signing_secret.is_none())
    );

    let listed = api.get("/v1/partners/shop/keys").await;
    for secret in &secrets {
        assert!(
            !String::from_utf8_lossy(&listed.body).contains(secret),
            "no secret is listed"
        );
    }
    let listed = listed.json();
    let mut listed_ids: Vec<_> = items(&listed).iter().map(|key| key["id"].clone()).collect();
    let mut expected = ids.clone();
    expected.sort();
    listed_ids.sort_by_key(ToString::to_string);
    assert_eq!(listed_ids, expected);
    assert!(
        items(&listed).iter().all(|key| key
            .as_object()
            .is_some_and(|key| key.len() == 4 && key.contains_key("last_used"))),
        "{listed}"
    );

    let path = |partner: &str, id: &str| format!("/v1/partners/{partner}/keys/{id}");
    assert_eq!(
        api.delete(&path("other", &ids[0])).await.code(),
        "not-found",
        "it is another's"
    );
    assert_eq!(api.delete(&path("shop", &ids[0])).await.status, 204);
    assert_eq!(api.delete(&path("shop", &ids[0])).await.code(), "not-found");
    assert_eq!(items(&api.get("/v1/partners/shop/keys").await.json()).len(), 2);

    // With the partner go its keys, and no other's.
    assert_eq!(api.delete("/v1/partners/shop").await.status, 204);
    api.put("/v1/partners/shop", json!({})).await;
    assert_eq!(items(&api.get("/v1/partners/shop/keys").await.json()).len(), 0);
    assert_eq!(items(&api.get("/v1/partners/other/keys").await.json()).len(), 1);
}

#[tokio::test]
async fn faults_of_a_key_are_named() {
    let api = Api::start().await;
    api.put("/v1/partners/shop", json!({})).await;
    for (body, pointers) in [
        (json!({}), vec!["/kind"]),
        (json!({ "kind": "master" }), vec!["/kind"]),
        (json!({ "kind": null, "name": "x" }), vec!["/name", "/kind"]),
    ] {
        let refused = api.post("/v1/partners/shop/keys", body).await;
        assert_eq!(
            (refused.status, refused.pointers()),
            (422, pointers.into_iter().map(str::to_owned).collect())
        );
    }
}

#[tokio::test]
async fn a_type_is_described() {
    let api = Api::start().await;
    assert_eq!(api.get("/v1/types/order.created").await.code(), "not-found");
    let entry = json!({ "description": "an order", "compatibility": "backward" });
    let made = api.put("/v1/types/order.created", entry.clone()).await;
    assert_eq!((made.status, made.json()), (201, entry.clone()));
    assert_eq!(
        api.put("/v1/types/order.created", entry.clone()).await.status,
        200
    );
    let read = api.get("/v1/types/order.created").await;
    assert_eq!((read.json(), read.etag()), (entry, made.etag()));
    let listed = api.get("/v1/types").await.json();
    let expected =
        json!([{ "type": "order.created", "description": "an order", "compatibility": "backward" }]);
    assert_eq!(listed["items"], expected);
    let refused = api
        .put(
            "/v1/types/order.created",
            json!({ "compatibility": "both", "x": 1 }),
        )
        .await;
    assert_eq!((refused.status, refused.pointers().len()), (422, 2));
    assert_eq!(
        api.put("/v1/types/a%20b", json!({})).await.code(),
        "input-invalid"
    );
    assert_eq!(
        api.delete("/v1/types/order.created").await.code(),
        "method-not-allowed"
    );
}

#[tokio::test]
async fn every_change_is_kept_without_secrets() {
    let api = Api::start().await;
    let before = api.registry.state().sequence;
    send(
        api.request(Role::Operator, "PUT", "/v1/partners/shop")
            .json(&json!({ "description": "a shop" })),
    )
    .await;
    let mut secrets = Vec::new();
    for kind in ["secret", "signing"] {
        let made = api
            .post("/v1/partners/shop/keys", json!({ "kind": kind }))
            .await
            .json();
        secrets.extend(
            ["key", "secret"]
                .iter()
                .filter_map(|name| made[name].as_str().map(str::to_owned)),
        );
    }
    api.post("/v1/tokens", json!({ "name": "ci", "role": "viewer" }))
        .await;
    api.delete("/v1/partners/shop").await;

    let listed = api.get(&format!("/v1/changes?after={before}")).await;
    let text = String::from_utf8_lossy(&listed.body).into_owned();
    assert_eq!(secrets.len(), 2);
    for hidden in secrets
        .iter()
        .map(String::as_str)
        .chain(["sha256", "whsec_", "signing_secret"])
    {
        assert!(!text.contains(hidden), "{hidden} in {text}");
    }
    for digest in api
        .registry
        .state()
        .tokens
        .values()
        .map(|token| token.value.sha256.to_string())
    {
        assert!(!text.contains(&digest));
    }
    let listed = listed.json();
    let told: Vec<(&str, &str)> = items(&listed)
        .iter()
        .map(|item| {
            (
                item["by"].as_str().expect("who"),
                item["change"].as_str().expect("what"),
            )
        })
        .collect();
    let expected = [
        ("operator", "put_partner"),
        ("admin", "create_key"),
        ("admin", "create_key"),
        ("admin", "create_token"),
        ("admin", "delete_partner"),
    ];
    assert_eq!(told, expected);
    let first = &items(&listed)[0];
    assert_eq!(
        (&first["name"], &first["partner"]["description"]),
        (&json!("shop"), &json!("a shop"))
    );
    assert_eq!(first["sequence"], before + 1);
    assert!(
        first["at"]
            .as_str()
            .is_some_and(|at| at.parse::<jiff::Timestamp>().is_ok())
    );

    let page = api
        .get(&format!("/v1/changes?after={before}&limit=2"))
        .await
        .json();
    assert_eq!(
        (items(&page).len(), &page["next"]),
        (2, &json!((before + 2).to_string()))
    );
    assert_eq!(api.get("/v1/changes?after=x").await.code(), "input-invalid");
}
