//! Tokens and roles.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};

use super::{Api, send};
use crate::{
    admin::document,
    registry::{
        model::{Change, Role, Token},
        now,
        secret::{NewSecret, TOKEN_PREFIX},
    },
};

/// The least role of each operation, by its id.
const ROLES: [(&str, Option<Role>); 33] = [
    ("activate_plugin", Some(Role::Operator)),
    ("create_key", Some(Role::Operator)),
    ("create_token", Some(Role::Admin)),
    ("delete_partner", Some(Role::Operator)),
    ("delete_route", Some(Role::Publisher)),
    ("delete_schema", Some(Role::Publisher)),
    ("delete_token", Some(Role::Admin)),
    ("discard_quarantine", Some(Role::Operator)),
    ("get_partner", Some(Role::Viewer)),
    ("get_plugin", Some(Role::Viewer)),
    ("get_quarantined", Some(Role::Viewer)),
    ("get_route", Some(Role::Viewer)),
    ("get_schema", Some(Role::Viewer)),
    ("get_type", Some(Role::Viewer)),
    ("healthz", None),
    ("list_changes", Some(Role::Viewer)),
    ("list_keys", Some(Role::Viewer)),
    ("list_partners", Some(Role::Viewer)),
    ("list_plugins", Some(Role::Viewer)),
    ("list_quarantine", Some(Role::Viewer)),
    ("list_routes", Some(Role::Viewer)),
    ("list_schemas", Some(Role::Viewer)),
    ("list_schemas_of_type", Some(Role::Viewer)),
    ("list_tokens", Some(Role::Admin)),
    ("list_types", Some(Role::Viewer)),
    ("metrics", None),
    ("put_partner", Some(Role::Operator)),
    ("put_route", Some(Role::Publisher)),
    ("put_schema", Some(Role::Publisher)),
    ("put_type", Some(Role::Publisher)),
    ("readyz", None),
    ("replay_quarantine", Some(Role::Operator)),
    ("revoke_key", Some(Role::Operator)),
];
const MORE_ROLES: [(&str, Option<Role>); 19] = [
    ("list_tables", Some(Role::Viewer)),
    ("get_table", Some(Role::Viewer)),
    ("get_table_row", Some(Role::Viewer)),
    ("put_table", Some(Role::Publisher)),
    ("delete_table", Some(Role::Publisher)),
    ("check_schema", Some(Role::Publisher)),
    ("delete_upgrade", Some(Role::Publisher)),
    ("get_references", Some(Role::Viewer)),
    ("get_upgrade", Some(Role::Viewer)),
    ("put_schemas", Some(Role::Publisher)),
    ("put_upgrade", Some(Role::Publisher)),
    ("list_replays", Some(Role::Viewer)),
    ("list_recent", Some(Role::Viewer)),
    ("tail", Some(Role::Viewer)),
    ("roll_back_plugin", Some(Role::Operator)),
    ("end_plugin_shadow", Some(Role::Operator)),
    ("test_plugin_version", Some(Role::Publisher)),
    ("list_plugin_logs", Some(Role::Publisher)),
    ("upload_plugin_version", Some(Role::Publisher)),
];

#[tokio::test]
async fn every_operation_asks_for_its_role() {
    let api = Api::start().await;
    let mut roles: BTreeMap<&str, Option<Role>> = ROLES.into_iter().chain(MORE_ROLES).collect();
    let document = serde_json::to_value(document()).expect("the document is JSON");
    for (path, operations) in document["paths"].as_object().expect("paths") {
        // No name that a template stands for is there, so that nothing is changed by who is let in.
        let filled = path.replace('{', "no-such-").replace('}', "");
        for (method, operation) in operations.as_object().expect("operations") {
            let id = operation["operationId"].as_str().expect("an operation has an id");
            let least = roles
                .remove(id)
                .unwrap_or_else(|| panic!("{id} stands in no table of roles"));
            assert_eq!(
                operation["security"] == json!([{}]),
                least.is_none(),
                "{id}: {}",
                operation["security"]
            );
            let method = method.to_uppercase();
            // What it streams has no end; a question that cannot be asked is answered at once.
            let filled = if id == "tail" {
                format!("{filled}?where=none")
            } else {
                filled.clone()
            };
            let bare = send(api.bare(&method, &filled)).await;
            let Some(least) = least else {
                assert_eq!(bare.status, 200, "{id} is open");
                continue;
            };
            assert_eq!(
                (bare.status, bare.code().as_str()),
                (401, "token-missing"),
                "{id}"
            );
            assert_eq!(bare.header("www-authenticate"), Some("Bearer"));
            for role in [Role::Viewer, Role::Publisher, Role::Operator, Role::Admin] {
                let answered = send(api.request(role, &method, &filled)).await;
                if role < least {
                    assert_eq!(
                        (answered.status, answered.code().as_str()),
                        (403, "role-insufficient"),
                        "{id} {role:?}"
                    );
                } else {
                    assert!(
                        ![401, 403].contains(&answered.status),
                        "{id} {role:?}: {}",
                        answered.status
                    );
                }
            }
        }
    }
    assert!(roles.is_empty(), "no operation has the id {roles:?}");
}

#[tokio::test]
async fn bad_tokens_are_refused() {
    let api = Api::start().await;
    let good = api.token(Role::Viewer);
    let (start, last) = good.split_at(good.len() - 1);
    let other_secret = format!("{start}{}", if last == "x" { "y" } else { "x" });
    let unknown = "hwt_0000000000000000_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    for header in [
        format!("Bearer {other_secret}"),
        format!("Bearer {unknown}"),
        "Bearer ".to_owned(),
        "Bearer".to_owned(),
        format!("Basic {good}"),
        good.to_owned(),
    ] {
        let answered = send(api.bare("GET", "/v1/partners").header("authorization", &header)).await;
        assert_eq!(
            (answered.status, answered.code().as_str()),
            (401, "token-invalid"),
            "{header}"
        );
        assert!(
            !String::from_utf8_lossy(&answered.body).contains(good),
            "the token is not shown"
        );
    }
    let twice = api
        .bare("GET", "/v1/partners")
        .bearer_auth(good)
        .header("authorization", "Bearer x");
    assert_eq!(send(twice).await.code(), "token-invalid");
    for scheme in ["bearer", "BEARER"] {
        let header = format!("{scheme} {good}");
        assert_eq!(
            send(api.bare("GET", "/v1/partners").header("authorization", header))
                .await
                .status,
            200
        );
    }
}

#[tokio::test]
async fn an_expired_token_is_refused() {
    let api = Api::start().await;
    let secret = NewSecret::generate(TOKEN_PREFIX).expect("a secret");
    let token = Token {
        id: secret.id,
        name: "old".to_owned(),
        role: Role::Admin,
        sha256: secret.sha256,
        created: now(),
        expires: Some(now() - Duration::from_secs(1)),
    };
    let change = move |_: &_| Ok((Some(Change::CreateToken { token: token.clone() }), ()));
    api.registry.commit("test", change).await.expect("made");
    let answered = send(api.bare("GET", "/v1/partners").bearer_auth(&secret.text)).await;
    assert_eq!(
        (answered.status, answered.code().as_str()),
        (401, "token-invalid")
    );
}

#[tokio::test]
async fn tokens_are_made_listed_and_deleted() {
    let api = Api::start().await;
    let expires = "2999-01-01T00:00:00Z";
    let body = json!({ "name": "ci", "role": "publisher", "expires": expires });
    let made = api.post("/v1/tokens", body).await;
    assert_eq!(made.status, 201);
    let made = made.json();
    let text = made["token"].as_str().expect("the token");
    let id = made["id"].as_str().expect("its id");
    assert!(text.starts_with(&format!("hwt_{id}_")));
    assert_eq!(
        (&made["name"], &made["role"], &made["expires"]),
        (&json!("ci"), &json!("publisher"), &json!(expires))
    );
    let with = |path: &str| api.bare("GET", path).bearer_auth(text);
    assert_eq!(send(with("/v1/partners")).await.status, 200);
    assert_eq!(send(with("/v1/tokens")).await.status, 403);

    let listed = api.get("/v1/tokens").await.json();
    let listed = listed["items"].as_array().expect("items");
    assert_eq!(listed.len(), 5);
    let shown = listed
        .iter()
        .find(|token| token["id"] == id)
        .expect("it is listed");
    assert_eq!(
        (&shown["name"], &shown["expires"]),
        (&json!("ci"), &json!(expires))
    );
    for token in listed {
        assert!(
            token.get("sha256").is_none() && token.get("token").is_none(),
            "{token}"
        );
    }

    assert_eq!(api.delete(&format!("/v1/tokens/{id}")).await.status, 204);
    assert_eq!(api.delete(&format!("/v1/tokens/{id}")).await.code(), "not-found");
    assert_eq!(send(with("/v1/partners")).await.code(), "token-invalid");
}

#[tokio::test]
async fn faults_of_a_token_are_listed_together() {
    let api = Api::start().await;
    let body = json!({ "role": "root", "expires": "2001-01-01T00:00:00Z", "scope": [] });
    let refused = api.post("/v1/tokens", body).await;
    assert_eq!((refused.status, refused.code().as_str()), (422, "input-invalid"));
    let mut pointers = refused.pointers();
    pointers.sort();
    assert_eq!(pointers, ["/expires", "/name", "/role", "/scope"]);
}

#[tokio::test]
async fn the_last_admin_token_stays() {
    let api = Api::start().await;
    let tokens = api.get("/v1/tokens").await.json();
    let admin: Vec<&Value> = tokens["items"]
        .as_array()
        .expect("items")
        .iter()
        .filter(|token| token["role"] == "admin")
        .collect();
    let path = format!("/v1/tokens/{}", admin[0]["id"].as_str().expect("an id"));
    let refused = api.delete(&path).await;
    assert_eq!((refused.status, refused.code().as_str()), (409, "conflict"));
    assert_eq!(
        api.post("/v1/tokens", json!({ "name": "two", "role": "admin" }))
            .await
            .status,
        201
    );
    assert_eq!(api.delete(&path).await.status, 204);
}
