//! Every refusal that a sender can meet, over a real socket: its status, its code, and that it is a whole problem. A code
//! of the catalogue that is missing here fails the test.

use std::{
    collections::BTreeSet,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use headworks::problem::{Code, Retry};
use serde_json::{Value, json};

use crate::harness::gateway::{Gateway, Options, PATIENCE, eventually};

/// What one request is answered.
struct Answer {
    status: u16,
    head: String,
    body: Value,
}

impl Answer {
    fn parse(text: &str) -> Answer {
        let (head, body) = text
            .split_once("\r\n\r\n")
            .unwrap_or_else(|| panic!("no answer: {text:?}"));
        Answer {
            status: head
                .split(' ')
                .nth(1)
                .and_then(|text| text.parse().ok())
                .expect("a status"),
            head: head.to_ascii_lowercase(),
            body: serde_json::from_str(body).unwrap_or(Value::Null),
        }
    }

    #[track_caller]
    fn is(&self, code: Code) {
        assert_eq!(self.body["code"], code.as_str(), "{} {}", self.head, self.body);
        assert_eq!(self.status, code.status(), "{}", self.head);
        assert_eq!(self.body["status"], code.status());
        assert!(
            self.head.contains("content-type: application/problem+json"),
            "{}",
            self.head
        );
        let id = self.body["request_id"].as_str().expect("an id");
        assert!(
            self.head.contains(&format!("x-request-id: {id}")),
            "{}",
            self.head
        );
        let detail = self.body["detail"].as_str().expect("a detail");
        assert!(detail.len() > 20, "{detail}");
        let is_later = code.retry() == Retry::Later && code != Code::RequestTimeout;
        assert!(!is_later || self.head.contains("retry-after: "), "{}", self.head);
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("connected");
    let limit = Some(Duration::from_secs(30));
    stream.set_read_timeout(limit).expect("set");
    stream
}

fn read(mut stream: &TcpStream) -> Answer {
    let mut answer = Vec::new();
    let mut chunk = [0; 4096];
    while let Ok(count) = stream.read(&mut chunk) {
        answer.extend_from_slice(&chunk[..count]);
        if count == 0 {
            break;
        }
    }
    Answer::parse(&String::from_utf8_lossy(&answer))
}

fn exchange(address: SocketAddr, request: &[u8]) -> Answer {
    let mut stream = connect(address);
    // Where it is refused early, the rest is not read.
    let _ = stream.write_all(request);
    read(&stream)
}

/// What a case sends: head lines after the first, and a body.
struct Request {
    line: String,
    fields: String,
    body: Vec<u8>,
}

fn post(path: &str, fields: &str, body: impl Into<Vec<u8>>) -> Request {
    Request {
        line: format!("POST {path} HTTP/1.1"),
        fields: fields.to_owned(),
        body: body.into(),
    }
}

fn other(line: &str, fields: &str) -> Request {
    Request {
        line: line.to_owned(),
        fields: fields.to_owned(),
        body: Vec::new(),
    }
}

impl Request {
    fn bytes(&self, key: &str) -> Vec<u8> {
        let fields = self.fields.replace("KEY", key);
        let host = if fields.contains("Host:") {
            ""
        } else {
            "Host: x\r\n"
        };
        let length = if fields.contains("Content-Length") || self.line.starts_with("GET") {
            String::new()
        } else {
            format!("Content-Length: {}\r\n", self.body.len())
        };
        let line = self.line.replace("KEY", key);
        let head = format!("{line}\r\n{host}{fields}{length}Connection: close\r\n\r\n");
        [head.as_bytes(), &self.body].concat()
    }
}

const KEY: &str = "X-API-Key: KEY\r\n";
const LINES: &str = "X-API-Key: KEY\r\nContent-Type: application/x-ndjson\r\n";

/// What one request alone shows.
fn cases() -> Vec<(Code, Request)> {
    let one = |body: &str| post("/v1/events/t", KEY, body);
    let event = |body: &str| post("/v1/events", KEY, body);
    let with = |field: &str, body: &str| post("/v1/events/t", &format!("{KEY}{field}\r\n"), body);
    vec![
        (Code::NoEvents, post("/v1/events/t", LINES, "\n\n")),
        (Code::JsonMalformed, one("{")),
        (Code::JsonDuplicateMember, one("{\"a\":1,\"a\":2}")),
        (Code::JsonTooDeep, one(&"[".repeat(100))),
        (Code::JsonNumberOutOfRange, one("1e999")),
        (Code::JsonLoneSurrogate, one("\"\\ud800\"")),
        (Code::Utf8Invalid, post("/v1/events/t", KEY, *b"\"\xff\"")),
        (Code::BodyMalformed, with("Content-Encoding: gzip", "x")),
        (Code::EventMalformed, event("1")),
        (Code::AttributeInvalid, with("ce-time: yesterday", "1")),
        (
            Code::QueryMalformed,
            other("GET /v1/events/t?a=1&a[b]=2 HTTP/1.1", KEY),
        ),
        (Code::TypeMissing, event("{\"data\":1}")),
        (Code::TypeInvalid, event("{\"type\":\"a b\",\"data\":1}")),
        (Code::DataMissing, event("{\"type\":\"t\"}")),
        (Code::HttpMalformed, with("Host: x\r\nHost: y", "1")),
        (Code::KeyMissing, post("/v1/events/t", "", "1")),
        (
            Code::KeyInvalid,
            post("/v1/events/t", "X-API-Key: hw_0_0\r\n", "1"),
        ),
        (Code::KeyConflict, with("Authorization: Bearer hw_0_0", "1")),
        (
            Code::SignatureInvalid,
            post("/v1/events/t?key_id=0123456789abcdef", "", "1"),
        ),
        (Code::KeyForbidden, post("/v1/events/t?key=KEY", "", "1")),
        (Code::PathUnknown, other("GET /nothing HTTP/1.1", KEY)),
        (Code::MethodNotAllowed, other("DELETE /v1/events/t HTTP/1.1", KEY)),
        (Code::BodyTooLarge, with("Content-Length: 17000000", "")),
        (Code::EventTooLarge, one(&format!("\"{}\"", "x".repeat(1 << 20)))),
        (
            Code::TooManyEvents,
            post("/v1/events/t", LINES, "1\n".repeat(10_001)),
        ),
        (
            Code::UriTooLong,
            other(&format!("GET /v1/events/t?a={} HTTP/1.1", "x".repeat(9000)), KEY),
        ),
        (Code::ContentTypeUnknown, with("Content-Type: image/png", "1")),
        (Code::ContentEncodingUnknown, with("Content-Encoding: lzma", "1")),
        (Code::AllRejected, post("/v1/events/t", LINES, "{\n}\n")),
        (
            Code::HeadersTooLarge,
            with(&format!("x-large: {}", "x".repeat(45_000)), "1"),
        ),
    ]
}

/// What only the state of the gateway shows; each has its part in the test.
const BY_STATE: [Code; 4] = [
    Code::RequestTimeout,
    Code::RateLimited,
    Code::Overloaded,
    Code::NoDurablePlace,
];

/// No request from outside leads to them at will: a fault of the gateway, and what outlives its shutdown.
/// `src/listener/tests/answers.rs` shows them over a socket, with a pipeline that refuses as it is told.
const NEVER: [Code; 2] = [Code::Internal, Code::ShuttingDown];

/// What stands before this one in the catalogue is of requests; behind it are codes of events and of the admin port.
const FIRST_OF_EVENTS: Code = Code::SchemaViolation;

#[test]
fn no_code_of_requests_is_missing() {
    let of_requests: BTreeSet<Code> = Code::ALL
        .iter()
        .copied()
        .take_while(|code| *code != FIRST_OF_EVENTS)
        .collect();
    let shown: BTreeSet<Code> = cases()
        .iter()
        .map(|(code, _)| *code)
        .chain(BY_STATE)
        .chain(NEVER)
        .collect();
    assert_eq!(shown, of_requests);
    let statuses: BTreeSet<u16> = shown.iter().map(|code| code.status()).collect();
    let promised = [
        400, 401, 403, 404, 405, 408, 413, 414, 415, 422, 429, 431, 500, 503,
    ];
    assert_eq!(statuses, BTreeSet::from(promised));
}

const CONNECTIONS: usize = 24;

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::too_many_lines, reason = "one life of a gateway, state by state")]
async fn every_refusal_is_answered_with_its_status() {
    let mut gateway = Gateway::start_with(Options {
        configuration: format!(
            "[limits]\nheader_time_s = 4\nconnections_per_address = {CONNECTIONS}\n[spool]\nmax_bytes = \"64MiB\"\n"
        ),
        kafka: Some("127.0.0.1:1".to_owned()),
        ..Options::default()
    })
    .await;
    let key = gateway.partner("p", json!({})).await;
    let limited = gateway
        .partner("limited", json!({"rate_limit": {"events_per_s": 1, "burst": 1}}))
        .await;
    gateway.put("/v1/schemas/t/1.0.0", json!({})).await;
    gateway.put("/v1/schemas/stuck/1.0.0", json!({})).await;
    let to = |destination: &str| json!([{"destination": destination, "topic": "t"}]);
    gateway
        .put("/v1/routes/t", json!({"match": {"type": "t"}, "to": to("files")}))
        .await;
    gateway
        .put(
            "/v1/routes/stuck",
            json!({"match": {"type": "stuck"}, "to": to("events")}),
        )
        .await;
    let address = gateway.data_address();
    let admin = gateway.admin_address();
    let open = tokio::task::spawn_blocking(move || {
        for (code, request) in cases() {
            exchange(address, &request.bytes(&key)).is(code);
        }
        let taken = exchange(address, &post("/v1/events/t", KEY, "1").bytes(&key));
        assert_eq!((taken.status, &taken.body["status"]), (202, &json!("accepted")));
        let mixed = exchange(address, &post("/v1/events/t", LINES, "1\n{\n").bytes(&key));
        assert_eq!((mixed.status, &mixed.body["rejected"]), (207, &json!(1)));

        let mut slow = connect(address);
        slow.write_all(b"POST /v1/events/t HTTP/1.1\r\nHost:")
            .expect("sent");
        read(&slow).is(Code::RequestTimeout);

        let burst = post("/v1/events/t", LINES, "1\n1\n1\n1\n1\n");
        assert_eq!(exchange(address, &burst.bytes(&limited)).status, 202);
        let refused = exchange(address, &burst.bytes(&limited));
        refused.is(Code::RateLimited);
        assert!(refused.head.contains("\r\nratelimit: "), "{}", refused.head);

        // Its destination is away, and its spool ends at 64 MiB.
        let large = format!("\"{}\"\n", "x".repeat(900_000)).repeat(15);
        let large = post("/v1/events/stuck", LINES, large).bytes(&key);
        let full = (0..8)
            .map(|_| exchange(address, &large))
            .find(|answer| answer.status != 202);
        full.expect("the spool is full at some time")
            .is(Code::NoDurablePlace);
        // One partner's share is full: others are taken, and so is what goes elsewhere.
        let ready = exchange(
            admin,
            b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        );
        assert_eq!(
            (ready.status, &ready.body["ready"]),
            (200, &json!(true)),
            "{}",
            ready.body
        );
        let checks = ready.body["checks"].as_array().expect("checks");
        let stuck = checks.iter().find(|check| check["name"] == "destination:events");
        assert_eq!(stuck.expect("named")["state"], "spooling", "{}", ready.body);
        let taken = exchange(address, &post("/v1/events/t", KEY, "1").bytes(&key));
        assert_eq!(taken.status, 202, "{}", taken.body);

        let held: Vec<TcpStream> = (0..CONNECTIONS).map(|_| connect(address)).collect();
        // They hold their places for as long as their heads may take.
        exchange(address, &post("/v1/events/t", KEY, "1").bytes(&key)).is(Code::Overloaded);
        drop(held);
        key
    })
    .await
    .expect("ran");
    let key = open;
    let request = post("/v1/events/t", KEY, "1").bytes(&key);
    let half = eventually("a place is free again", async || {
        let stream = connect(address);
        (&stream).write_all(&request[..request.len() / 2]).ok()?;
        // Who is past the cap is told so at once.
        stream
            .set_read_timeout(Some(Duration::from_millis(100)))
            .expect("set");
        let told = (&stream).read(&mut [0; 1]);
        told.is_err().then_some(stream)
    })
    .await;
    let log = gateway.path("log");
    let (ended, answer) = tokio::join!(
        gateway.terminate(),
        tokio::task::spawn_blocking(move || {
            let began = std::time::Instant::now();
            while !std::fs::read_to_string(&log).is_ok_and(|log| log.contains("stopping: ")) {
                assert!(began.elapsed() < PATIENCE, "it does not say that it stops");
                std::thread::sleep(Duration::from_millis(10));
            }
            half.set_read_timeout(Some(Duration::from_secs(20))).expect("set");
            (&half).write_all(&request[request.len() / 2..]).expect("sent");
            read(&half)
        })
    );
    let answer = answer.expect("ran");
    assert_eq!(
        answer.status, 202,
        "what is on its way when the gateway is told to stop is taken: {}",
        answer.head
    );
    assert!(ended.success());
}

/// With the limits as they are by default: a head that does not end, a body that stops, one that trickles and one that
/// trickles in chunks are all answered 408, and closed, within 15 s.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_slow_is_gone_within_fifteen_seconds() {
    let mut gateway = Gateway::start().await;
    let key = gateway.partner("p", json!({})).await;
    let address = gateway.data_address();
    let opening =
        |fields: &str| format!("POST /v1/events/t HTTP/1.1\r\nHost: x\r\nX-API-Key: {key}\r\n{fields}");
    let slow = [
        (opening("x-slow: "), "a"),
        (opening("Content-Length: 100000\r\n\r\n1"), ""),
        (opening("Content-Length: 100000\r\n\r\n1"), "1"),
        (opening("Transfer-Encoding: chunked\r\n\r\n"), "1\r\n1\r\n"),
    ]
    .map(|(opening, drop)| {
        tokio::task::spawn_blocking(move || {
            let began = std::time::Instant::now();
            let mut stream = connect(address);
            stream.write_all(opening.as_bytes()).expect("sent");
            stream
                .set_read_timeout(Some(Duration::from_millis(200)))
                .expect("set");
            let mut answer = Vec::new();
            let mut chunk = [0; 4096];
            loop {
                // A byte now and then, as long as it is taken.
                let _ = stream.write_all(drop.as_bytes());
                match stream.read(&mut chunk) {
                    Ok(0) => break,
                    Ok(count) => answer.extend_from_slice(&chunk[..count]),
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                    Err(_) => break,
                }
                assert!(began.elapsed() < Duration::from_secs(15), "still there");
            }
            Answer::parse(&String::from_utf8_lossy(&answer)).is(Code::RequestTimeout);
        })
    });
    for slow in slow {
        slow.await.expect("answered");
    }
}

/// Requests made for another service are refused likewise, before any of their events is.
#[tokio::test(flavor = "multi_thread")]
async fn an_envelope_that_cannot_be_read_is_a_problem() {
    let mut gateway = Gateway::start().await;
    for (partner, envelope) in [("web", "segment"), ("app", "mixpanel")] {
        gateway.partner(partner, json!({"envelope": envelope})).await;
    }
    let (web, app) = (gateway.key("web"), gateway.key("app"));
    let address = gateway.data_address();
    let batch = |body: &str| post("/v1/batch", KEY, body);
    let deep = format!("{{\"batch\":[{}]}}", "[".repeat(100));
    let deep_alone = format!("{{\"x\":{}{}}}", "[".repeat(64), "]".repeat(64));
    let form = |body: &str| {
        let fields = format!("{KEY}Content-Type: application/x-www-form-urlencoded\r\n");
        post("/track", &fields, body)
    };
    let of_web = [
        (Code::JsonMalformed, batch("{\"batch\":[")),
        (Code::JsonDuplicateMember, batch("{\"batch\":[],\"batch\":[]}")),
        (Code::JsonTooDeep, batch(&deep)),
        (Code::JsonTooDeep, batch(&deep_alone)),
        (
            Code::Utf8Invalid,
            post("/v1/batch", KEY, *b"{\"batch\":[\"\xff\"]}"),
        ),
        (Code::NoEvents, batch("{\"batch\":[]}")),
        (Code::NoEvents, batch(" ")),
        // Compressed, as its first bytes say, and not to its end.
        (Code::BodyMalformed, post("/v1/batch", KEY, *b"\x1f\x8b\x08")),
        (Code::MethodNotAllowed, other("PUT /v1/batch HTTP/1.1", KEY)),
    ];
    let of_app = [
        (Code::BodyMalformed, form("other=1")),
        (Code::BodyMalformed, form("data=%2A%2A%2A")),
        (Code::JsonMalformed, form("data=e30x")),
    ];
    tokio::task::spawn_blocking(move || {
        for (key, cases) in [
            (web, of_web.into_iter().collect::<Vec<_>>()),
            (app, of_app.into_iter().collect()),
        ] {
            for (code, request) in cases {
                exchange(address, &request.bytes(&key)).is(code);
            }
        }
    })
    .await
    .expect("ran");
    assert!(gateway.quarantine().await.is_empty());
}
