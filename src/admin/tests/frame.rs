//! What all answers have in common.

use serde_json::json;

use super::{Api, not_ready, send};
use crate::registry::model::Role;

#[tokio::test]
async fn unknown_paths_and_methods_are_problems() {
    let api = Api::start().await;
    for path in ["/", "/v1", "/v1/nothing", "/v1/partners/", "/v1/partners/a/b/c/d"] {
        let answered = api.get(path).await;
        assert_eq!(
            (answered.status, answered.code().as_str()),
            (404, "path-unknown"),
            "{path}"
        );
    }
    let answered = send(api.request(Role::Admin, "PATCH", "/v1/partners/shop")).await;
    assert_eq!(
        (answered.status, answered.code().as_str()),
        (405, "method-not-allowed")
    );
    let allow = answered.header("allow").expect("what is allowed");
    for method in ["GET", "PUT", "DELETE"] {
        assert!(allow.contains(method), "{allow}");
    }
    // Names that cannot be decoded name nothing.
    assert_eq!(api.get("/v1/partners/%ff").await.code(), "path-unknown");
}

#[tokio::test]
async fn each_response_has_an_id_of_its_own() {
    let api = Api::start().await;
    let one = api.get("/v1/partners").await;
    let two = api.get("/v1/partners").await;
    assert_ne!(one.header("x-request-id"), two.header("x-request-id"));
}

#[tokio::test]
async fn malformed_json_says_where() {
    let api = Api::start().await;
    let put = |body: &'static [u8]| send(api.request(Role::Admin, "PUT", "/v1/partners/shop").body(body));
    for (body, code, place) in [
        (&b"{\"description\": }"[..], "json-malformed", "line 1, column 17"),
        (b"{\n\"description\": \"x\"", "json-malformed", "line 2"),
        (b"", "json-malformed", "line 1, column 1"),
        (
            b"{\"description\": \"a\", \"description\": \"b\"}",
            "json-duplicate-member",
            "line 1, column 22",
        ),
        (b"{\"description\": \"\xff\"}", "utf8-invalid", "line 1"),
        (b"{\"description\": 1e999}", "json-number-out-of-range", "line 1"),
        (b"{\"description\": \"\\ud800\"}", "json-lone-surrogate", "line 1"),
    ] {
        let answered = put(body).await;
        assert_eq!((answered.status, answered.code().as_str()), (400, code));
        let detail = answered.json()["detail"].to_string();
        assert!(detail.contains(place), "{detail}");
    }
    let deep = "[".repeat(200) + &"]".repeat(200);
    let answered = send(api.request(Role::Admin, "PUT", "/v1/partners/shop").body(deep)).await;
    assert_eq!(answered.code(), "json-too-deep");
    let detail = answered.json()["detail"].to_string();
    assert!(detail.contains("/0/0/0"), "{detail}");
}

#[tokio::test]
async fn a_body_over_its_limit_is_refused() {
    let api = Api::start().await;
    let large = format!("{{\"description\": \"{}\"}}", "x".repeat(2 << 20));
    let answered = send(api.request(Role::Admin, "PUT", "/v1/partners/shop").body(large)).await;
    assert_eq!(
        (answered.status, answered.code().as_str()),
        (413, "body-too-large")
    );
    let schema = format!("{{\"description\": \"{}\"}}", "x".repeat(20_000));
    let answered = send(api.request(Role::Admin, "PUT", "/v1/schemas/a.b/1").body(schema)).await;
    assert_eq!(
        (answered.status, answered.code().as_str()),
        (413, "body-too-large")
    );
    let component = vec![0_u8; 4 << 20];
    let answered = send(
        api.request(Role::Admin, "POST", "/v1/plugins/p/versions")
            .body(component),
    )
    .await;
    assert_eq!(
        (answered.status, answered.code().as_str()),
        (413, "body-too-large")
    );
}

#[tokio::test]
async fn probes_are_open() {
    let api = Api::start().await;
    let health = send(api.bare("GET", "/healthz")).await;
    assert_eq!((health.status, &health.json()["status"]), (200, &json!("ok")));
    let ready = send(api.bare("GET", "/readyz")).await;
    assert_eq!(
        (ready.status, ready.json()),
        (200, json!({ "ready": true, "checks": [] }))
    );
    *api.readiness.lock() = not_ready();
    let ready = send(api.bare("GET", "/readyz")).await;
    assert_eq!(
        (ready.status, ready.header("content-type")),
        (503, Some("application/json"))
    );
    let check = json!({ "name": "registry", "ok": false, "detail": "the log cannot be read" });
    assert_eq!(ready.json(), json!({ "ready": false, "checks": [check] }));
    let metrics = send(api.bare("GET", "/metrics")).await;
    assert_eq!(
        (metrics.status, &metrics.body[..]),
        (200, &b"headworks_up 1\n"[..])
    );
    assert!(
        metrics
            .header("content-type")
            .is_some_and(|kind| kind.starts_with("text/plain; version=0.0.4"))
    );
}

#[tokio::test]
async fn query_strings_are_checked_whole() {
    let api = Api::start().await;
    let answered = api.get("/v1/partners?limit=0&aftr=x&limit=7").await;
    assert_eq!(
        (answered.status, answered.code().as_str()),
        (422, "input-invalid")
    );
    let errors = answered.json()["errors"].to_string();
    for part in ["1 to 1000", "did you mean \\\"after\\\"", "twice"] {
        assert!(errors.contains(part), "{part} in {errors}");
    }
    for limit in ["1001", "-1", "x", ""] {
        assert_eq!(
            api.get(&format!("/v1/partners?limit={limit}")).await.status,
            422,
            "{limit}"
        );
    }
}

#[tokio::test]
async fn a_store_that_fails_is_503_and_reads_go_on() {
    let api = Api::start().await;
    assert_eq!(api.put("/v1/partners/shop", json!({})).await.status, 201);
    let next = api.registry.state().sequence + 1;
    let torn = api
        .directory
        .path()
        .join(format!("store/registry/log/{next:020}.json"));
    std::fs::write(torn, "{").expect("written");
    let answered = api.put("/v1/partners/other", json!({})).await;
    assert_eq!(
        (answered.status, answered.code().as_str()),
        (503, "store-unavailable")
    );
    assert_eq!(answered.header("retry-after"), Some("1"));
    assert_eq!(api.get("/v1/partners/shop").await.status, 200);
}
