//! Outcomes and problems as responses.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use serde_json::json;

use super::{Code, Gateway, settings};

#[tokio::test]
async fn one_event_is_answered_alone() {
    let gateway = Gateway::start(settings());
    for status in ["accepted", "duplicate"] {
        let response = gateway.post("/one", status).await;
        assert_eq!(response.status, 202);
        assert_eq!(response.header("content-type"), Some("application/json"));
        assert_eq!(response.body, json!({"id": "e-0", "status": status}));
        response.has_request_id();
    }
    let response = gateway.post("/one", "quarantined").await;
    assert_eq!(response.status, 202);
    assert_eq!(
        response.body,
        json!({"id": "e-0", "status": "quarantined", "code": "schema-violation", "detail": "breaks",
               "errors": [{"pointer": "/a", "keyword": "type", "message": "is no string"}]})
    );
}

#[tokio::test]
async fn one_rejected_event_is_a_problem_of_its_code() {
    let gateway = Gateway::start(settings());
    let response = gateway.post("/one", "rejected").await;
    response.is_problem(Code::SchemaViolation);
    assert_eq!(response.body["errors"][0]["pointer"], "/a");
    gateway
        .post("/one", "nameless")
        .await
        .is_problem(Code::JsonMalformed);
}

#[tokio::test]
async fn many_events_are_counted_and_only_the_notable_listed() {
    let gateway = Gateway::start(settings());
    let response = gateway.post("/many", "accepted accepted").await;
    assert_eq!(response.status, 202);
    assert_eq!(
        response.body,
        json!({"accepted": 2, "duplicate": 0, "quarantined": 0, "rejected": 0, "results": []})
    );
    let response = gateway.post("/many", "accepted duplicate quarantined").await;
    assert_eq!(response.status, 202);
    assert_eq!(response.body["results"].as_array().map(Vec::len), Some(2));
    assert_eq!(
        response.body["results"][0],
        json!({"index": 1, "id": "e-1", "status": "duplicate"})
    );

    let response = gateway.post("/many", "accepted nameless rejected").await;
    assert_eq!(response.status, 207);
    assert_eq!(response.header("content-type"), Some("application/json"));
    assert_eq!(
        response.body,
        json!({"accepted": 1, "duplicate": 0, "quarantined": 0, "rejected": 2, "results": [
            {"index": 1, "status": "rejected", "code": "json-malformed", "detail": "no JSON"},
            {"index": 2, "id": "e-2", "status": "rejected", "code": "schema-violation", "detail": "breaks",
             "errors": [{"pointer": "/a", "keyword": "type", "message": "is no string"}]}]})
    );
}

#[tokio::test]
async fn many_events_all_rejected_are_a_problem_with_results() {
    let gateway = Gateway::start(settings());
    for body in ["rejected", "rejected nameless"] {
        let response = gateway.post("/many", body).await;
        response.is_problem(Code::AllRejected);
        assert_eq!(response.status, 422);
        assert_eq!(response.body["accepted"], 0);
        let count = body.split(' ').count();
        assert_eq!(response.body["rejected"], count);
        assert_eq!(response.body["results"].as_array().map(Vec::len), Some(count));
    }
}

#[tokio::test]
async fn every_result_is_listed_where_the_sender_prefers_so() {
    let gateway = Gateway::start(settings());
    let response = gateway
        .send(
            "POST /many HTTP/1.1\r\nHost: x\r\nPrefer: return=representation\r\nContent-Length: 17\r\n\r\n\
             accepted accepted",
        )
        .await;
    assert_eq!(response.status, 202);
    assert_eq!(
        response.header("preference-applied"),
        Some("return=representation")
    );
    assert_eq!(
        response.body["results"][1],
        json!({"index": 1, "id": "e-1", "status": "accepted"})
    );
}

#[tokio::test]
async fn every_refusal_is_a_problem() {
    let gateway = Gateway::start(settings());
    for code in Code::ALL {
        let response = gateway.post(&format!("/refuse/{code}"), "body").await;
        response.is_problem(*code);
        let waits = response.header("retry-after");
        assert_eq!(
            waits.is_some(),
            matches!(code.status(), 408 | 429 | 500 | 503),
            "{code}"
        );
        assert_eq!(
            response.header("www-authenticate").is_some(),
            code.status() == 401
        );
    }
    let response = gateway.post("/many", "full").await;
    response.is_problem(Code::NoDurablePlace);
    assert_eq!(response.header("retry-after"), Some("1"));
}

#[tokio::test]
async fn methods_are_told() {
    let gateway = Gateway::start(settings());
    let response = gateway.send("PUT /one HTTP/1.1\r\nHost: x\r\n\r\n").await;
    response.is_problem(Code::MethodNotAllowed);
    assert_eq!(response.header("allow"), Some("GET, POST, OPTIONS"));
    let response = gateway.send("OPTIONS /one HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(response.status, 204);
    assert_eq!(response.header("allow"), Some("GET, POST, OPTIONS"));
    response.has_request_id();
    let response = gateway
        .send("OPTIONS /refuse/path-unknown HTTP/1.1\r\nHost: x\r\n\r\n")
        .await;
    response.is_problem(Code::PathUnknown);
    let response = gateway.send("GET /one?a=1 HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(response.status, 202);
    assert_eq!(response.header("cache-control"), Some("no-store"));
}

#[tokio::test]
async fn a_panic_costs_one_request() {
    let gateway = Gateway::start(settings());
    let mut client = gateway.connect().await;
    client.write(super::post("/one", "panic")).await;
    client.response().await.is_problem(Code::Internal);
    client.write(super::post("/one", "accepted")).await;
    assert_eq!(client.response().await.status, 202, "the connection goes on");
    gateway.post("/panic-early", "x").await.is_problem(Code::Internal);
    assert_eq!(gateway.post("/one", "accepted").await.status, 202);
}

#[tokio::test]
async fn the_request_id_is_always_the_gateways_own() {
    let gateway = Gateway::start(settings());
    let request = "POST /one HTTP/1.1\r\nHost: x\r\nX-Request-Id: mine\r\nContent-Length: 1\r\n\r\nx";
    let (one, two) = (gateway.send(request).await, gateway.send(request).await);
    one.has_request_id();
    assert_ne!(one.header("x-request-id"), two.header("x-request-id"));
}

/// A log that is kept.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// The summaries so far: code and count of each.
    fn summaries(&self) -> Vec<(String, u64)> {
        let text = String::from_utf8(self.0.lock().clone()).expect("text");
        let lines = text.lines().filter(|line| line.contains("requests were refused"));
        let word = |line: &str, name: &str| {
            let (_, rest) = line.split_once(name).expect(name);
            let end = rest.find(' ').unwrap_or(rest.len());
            rest[..end].trim_matches('"').to_owned()
        };
        lines
            .map(|line| {
                (
                    word(line, "code="),
                    word(line, "requests=").parse().expect("a number"),
                )
            })
            .collect()
    }
}

#[tokio::test]
async fn what_was_refused_is_summed_up_in_the_log() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(move || writer.clone())
        .with_ansi(false)
        .finish();
    let _kept = tracing::subscriber::set_default(subscriber);
    let mut settings = settings();
    settings.summary_interval = Duration::from_millis(200);
    let gateway = Gateway::start(settings);
    let sums = |code: Code| -> u64 {
        let of_code = |(found, count): &(String, u64)| (found == code.as_str()).then_some(*count);
        log.summaries().iter().filter_map(of_code).sum()
    };
    for (code, times) in [(Code::KeyMissing, 3), (Code::RateLimited, 2)] {
        for _ in 0..times {
            gateway
                .post(&format!("/refuse/{code}"), "x")
                .await
                .is_problem(code);
        }
    }
    assert_eq!(gateway.post("/one", "accepted").await.status, 202);
    let began = Instant::now();
    while (sums(Code::KeyMissing), sums(Code::RateLimited)) != (3, 2) {
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", log.summaries());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // What has been said is not said again, and nothing else is.
    gateway
        .post("/one", "rejected")
        .await
        .is_problem(Code::SchemaViolation);
    while sums(Code::SchemaViolation) == 0 {
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", log.summaries());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!((sums(Code::KeyMissing), sums(Code::RateLimited)), (3, 2));
}
