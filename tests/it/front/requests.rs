//! The forms that a request may have.

use std::io::Write as _;

use serde_json::json;

use crate::harness::gateway::{Answer, Gateway};

const FORM: &str = "application/x-www-form-urlencoded";

async fn with_clicks() -> Gateway {
    let mut gateway = Gateway::start().await;
    gateway
        .partner("site", json!({"origins": ["https://shop.example"]}))
        .await;
    let schema = json!({"properties": {"n": {"type": "integer"}, "ok": {"type": "boolean"}}});
    gateway.put("/v1/schemas/click/1.0.0", schema).await;
    let route = json!({"match": {"type": "click"}, "to": [{"destination": "files", "topic": "clicks"}]});
    gateway.put("/v1/routes/clicks", route).await;
    gateway
}

#[tokio::test]
async fn a_form_a_beacon_and_a_query_become_the_same_json() {
    let gateway = with_clicks().await;
    let form = gateway
        .post(
            "/v1/events/click",
            "site",
            FORM,
            "n=7&ok=true&tag=a&tag=b&user[id]=x",
        )
        .await;
    assert_eq!(form.expect(202)["status"], "accepted");
    let json = r#"{"n":7,"ok":true,"tag":["a","b"],"user":{"id":"x"}}"#;
    let beacon = gateway
        .post("/v1/events/click", "site", "text/plain;charset=UTF-8", json)
        .await;
    assert_eq!(beacon.expect(202)["status"], "accepted");
    let query = gateway.send(
        "GET",
        "/v1/events/click?n=7&ok=true&tag=a&tag=b&user[id]=x",
        "site",
    );
    let query = Answer::read(query.send().await.expect("answered")).await;
    assert_eq!(query.expect(202)["status"], "accepted");
    let records = gateway.wait_for_records("clicks", 3).await;
    for record in records {
        assert_eq!(
            record["data"],
            serde_json::from_str::<serde_json::Value>(json).expect("JSON")
        );
    }
}

#[tokio::test]
async fn every_coding_is_undone() {
    let gateway = with_clicks().await;
    let plain = br#"{"n":7}"#;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(plain).expect("memory takes all");
    let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    zlib.write_all(plain).expect("memory takes all");
    let brotli = hex::decode("0b03807b226e223a377d03").expect("hexadecimal");
    for (coding, body) in [
        ("gzip", gzip.finish().expect("memory takes all")),
        ("deflate", zlib.finish().expect("memory takes all")),
        ("br", brotli),
        ("zstd", zstd::encode_all(&plain[..], 3).expect("compressed")),
    ] {
        let request = gateway
            .send("POST", "/v1/events/click", "site")
            .header("content-type", "application/json")
            .header("content-encoding", coding)
            .body(body);
        let answer = Answer::read(request.send().await.expect("answered")).await;
        assert_eq!(answer.status, 202, "{coding}: {}", answer.text);
        assert_eq!(answer.json()["status"], "accepted", "{coding}");
    }
    let request = gateway
        .send("POST", "/v1/events/click", "site")
        .header("content-encoding", "compress")
        .body("x");
    let refused = Answer::read(request.send().await.expect("answered")).await;
    assert_eq!(refused.expect(415)["code"], "content-encoding-unknown");
}

#[tokio::test]
async fn a_pixel_is_an_image_and_a_rejected_one_a_problem() {
    let gateway = with_clicks().await;
    let pixel = |query: &str| {
        gateway
            .send("GET", &format!("/v1/events/click?{query}"), "site")
            .header("accept", "image/avif,image/webp,image/*,*/*;q=0.8")
    };
    let response = pixel("n=1").send().await.expect("answered");
    assert_eq!(response.status(), 202);
    assert_eq!(response.headers()["content-type"], "image/gif");
    assert_eq!(response.headers()["cache-control"], "no-store");
    let body = response.bytes().await.expect("read");
    assert!(body.starts_with(b"GIF89a") && body.ends_with(b";"));
    let refused = Answer::read(pixel("n=1&n[x]=2").send().await.expect("answered")).await;
    assert_eq!(refused.expect(400)["code"], "query-malformed");
}

#[tokio::test]
async fn every_result_is_listed_where_it_is_preferred() {
    let gateway = with_clicks().await;
    let request = gateway
        .send("POST", "/v1/events/click", "site")
        .header("content-type", "application/x-ndjson")
        .header("prefer", "return=representation")
        .body("{\"n\":1}\n{\"n\":2}\n");
    let answer = Answer::read(request.send().await.expect("answered")).await;
    assert_eq!(answer.headers["preference-applied"], "return=representation");
    let answer = answer.expect(202);
    assert_eq!(answer["accepted"], 2);
    assert_eq!(answer["results"].as_array().map(Vec::len), Some(2));
}

#[tokio::test]
async fn browsers_are_told_what_the_keys_origins_say() {
    let gateway = with_clicks().await;
    let preflight = async |origin: &str| {
        let request = crate::harness::client()
            .request(
                reqwest::Method::OPTIONS,
                format!("http://{}/v1/events/click", gateway.data_address()),
            )
            .header("origin", origin)
            .header("access-control-request-method", "POST");
        Answer::read(request.send().await.expect("answered")).await
    };
    // No publishable key is there yet.
    let early = preflight("https://shop.example").await;
    assert_eq!(early.status, 204);
    assert!(!early.headers.contains_key("access-control-allow-origin"));
    let made = gateway
        .admin(
            "POST",
            "/v1/partners/site/keys",
            Some(json!({"kind": "publishable"})),
        )
        .await
        .expect(201);
    let key = made["key"].as_str().expect("a key").to_owned();
    let allowed = preflight("https://shop.example").await;
    assert_eq!(
        allowed.headers["access-control-allow-origin"],
        "https://shop.example"
    );
    let other = preflight("https://evil.example").await;
    assert!(!other.headers.contains_key("access-control-allow-origin"));

    let url = format!("http://{}/v1/events/click?key={key}", gateway.data_address());
    for (origin, status) in [("https://shop.example", 202), ("https://evil.example", 403)] {
        let request = crate::harness::client()
            .post(&url)
            .header("origin", origin)
            .header("content-type", "text/plain")
            .body("{\"n\":1}");
        let answer = Answer::read(request.send().await.expect("answered")).await;
        assert_eq!(answer.status, status, "{}", answer.text);
        let shared = answer.headers.contains_key("access-control-allow-origin");
        assert_eq!(shared, status == 202);
    }
}

#[tokio::test]
async fn a_webhook_sender_gets_consent_with_a_key_alone() {
    let mut gateway = with_clicks().await;
    gateway
        .partner("hooks", json!({"rate_limit": {"events_per_s": 5}}))
        .await;
    let ask = |request: reqwest::RequestBuilder| {
        request
            .header("webhook-request-origin", "events.example.com")
            .header("webhook-request-rate", "120")
            .send()
    };
    for (partner, rate) in [("site", "*"), ("hooks", "300")] {
        let request = gateway.send("OPTIONS", "/v1/events/click", partner);
        let answer = ask(request).await.expect("answered");
        assert_eq!(answer.headers()["webhook-allowed-origin"], "events.example.com");
        assert_eq!(answer.headers()["webhook-allowed-rate"], rate);
    }
    let stranger = crate::harness::client().request(
        reqwest::Method::OPTIONS,
        format!("http://{}/v1/events/click", gateway.data_address()),
    );
    let answer = ask(stranger).await.expect("answered");
    assert_eq!(answer.status(), 204);
    assert!(!answer.headers().contains_key("webhook-allowed-origin"));
}

#[tokio::test]
async fn a_dry_run_says_what_would_happen_and_keeps_nothing() {
    let gateway = with_clicks().await;
    let send = async |path: &str, body: &str| {
        let request = gateway
            .send("POST", path, "site")
            .header("content-type", "application/json")
            .header("ce-id", "e-1")
            .body(body.to_owned());
        Answer::read(request.send().await.expect("answered")).await
    };
    let good = send("/v1/events/click?dry_run=true", r#"{"n":1}"#).await;
    assert_eq!(good.expect(200), json!({"id": "e-1", "status": "accepted"}));
    let broken = send("/v1/events/click?dry_run=true", r#"{"n":"one"}"#)
        .await
        .expect(200);
    assert_eq!(
        (&broken["status"], &broken["code"]),
        (&json!("quarantined"), &json!("schema-violation"))
    );
    assert_eq!(broken["errors"][0]["pointer"], "/n");
    let unknown = send("/v1/events/other?dry_run=true", "{}").await.expect(200);
    assert_eq!(unknown["code"], "schema-unknown");
    let malformed = send("/v1/events/click?dry_run=true", "{").await;
    assert_eq!(malformed.expect(400)["code"], "json-malformed");
    let taken = send("/v1/events/click", r#"{"n":1}"#).await;
    assert_eq!(
        taken.expect(202)["status"],
        "accepted",
        "the dry run was not remembered"
    );
    let again = send("/v1/events/click?dry_run=true", r#"{"n":1}"#).await;
    assert_eq!(again.expect(200)["status"], "duplicate");
    assert_eq!(gateway.wait_for_records("clicks", 1).await.len(), 1);
    assert!(gateway.quarantine().await.is_empty());
}
