//! The listener over real sockets, with a pipeline that answers what the request asks for.

mod answers;
mod connections;
mod floods;
mod limits;
mod options;
mod tls;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Method, request::Parts};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::oneshot,
    task::JoinHandle,
};

use super::{Admitted, Consent, Ingest, Listener, Peer, Settings};
use crate::{
    event::{Answer, EventResult, Outcome, PartnerName, Reason, Violation},
    limits::Limits,
    problem::{Code, Problem},
    telemetry::Telemetry,
};

/// Answers as the path and the words of the body say.
#[derive(Default)]
struct Probe {
    requests: AtomicUsize,
}

struct Admission {
    single: bool,
    every_result: bool,
}

impl Admitted for Admission {
    fn hold(&mut self, _: u64) -> Result<(), Problem> {
        Ok(())
    }
}

impl Ingest for Probe {
    type Admission = Admission;

    fn admit(&self, head: &Parts, peer: &Peer) -> Result<Admission, Problem> {
        assert!(peer.address.ip().is_loopback());
        let path = head.uri.path();
        if path.starts_with("/refuse/") {
            let code = path.trim_start_matches("/refuse/").parse().expect("a code");
            return Err(Problem::new(code, "as asked for"));
        }
        assert_ne!(path, "/panic-early", "as asked for");
        if head.method != Method::POST && head.method != Method::GET {
            return Err(Problem::method_not_allowed("GET, POST, OPTIONS"));
        }
        Ok(Admission {
            single: path == "/one",
            every_result: head.headers.contains_key("prefer"),
        })
    }

    async fn ingest(&self, admission: Admission, body: Bytes) -> Result<Answer, Problem> {
        self.requests.fetch_add(1, Ordering::SeqCst);
        let text = String::from_utf8_lossy(&body).into_owned();
        if let Some(milliseconds) = text.strip_prefix("sleep ") {
            tokio::time::sleep(Duration::from_millis(milliseconds.parse().expect("a number"))).await;
        }
        assert_ne!(text, "panic", "as asked for");
        if text == "full" {
            return Err(Problem::new(Code::NoDurablePlace, "as asked for"));
        }
        let results = text
            .split(' ')
            .enumerate()
            .map(|(index, word)| EventResult {
                id: (word != "nameless").then(|| format!("e-{index}").into()),
                outcome: outcome(word, body.len()),
            })
            .collect();
        Ok(Answer {
            single: admission.single,
            every_result: admission.every_result,
            dry_run: false,
            instead: None,
            results,
        })
    }

    fn sender(&self, _: &Parts, _: &Peer) -> Result<PartnerName, Problem> {
        Ok("probe".parse().expect("a name"))
    }

    fn allows_origin(&self, origin: &str) -> bool {
        origin == "https://shop.example"
    }

    fn consent(&self, head: &Parts, _: &Peer) -> Consent {
        match head.uri.query() {
            Some("key=known") => Consent::PerMinute(120),
            Some("key=unlimited") => Consent::AnyRate,
            _ => Consent::None,
        }
    }
}

fn outcome(word: &str, body_bytes: usize) -> Outcome {
    let reason = |code, detail: &str| Reason {
        code,
        detail: detail.to_owned(),
        errors: vec![Violation {
            pointer: "/a".to_owned(),
            keyword: "type".to_owned(),
            message: "is no string".to_owned(),
        }],
    };
    match word {
        "duplicate" => Outcome::Duplicate,
        "quarantined" => Outcome::Quarantined(reason(Code::SchemaViolation, "breaks")),
        "rejected" => Outcome::Rejected(reason(Code::SchemaViolation, "breaks")),
        "nameless" => Outcome::Rejected(Reason::new(Code::JsonMalformed, "no JSON")),
        "count" => Outcome::Rejected(Reason::new(Code::EventTooLarge, format!("{body_bytes} bytes"))),
        _ => Outcome::Accepted,
    }
}

fn settings() -> Settings {
    let numbers = Arc::clone(Telemetry::default().http());
    Settings::new(Limits::default(), Duration::from_secs(5), numbers)
}

/// A listener that serves a [`Probe`].
struct Gateway {
    address: SocketAddr,
    probe: Arc<Probe>,
    stop: Option<oneshot::Sender<()>>,
    served: JoinHandle<()>,
}

impl Gateway {
    fn start(settings: Settings) -> Gateway {
        let listener =
            Listener::bind(([127, 0, 0, 1], 0).into(), settings).expect("a loopback port can be bound");
        let probe = Arc::new(Probe::default());
        let (stop, stopped) = oneshot::channel();
        Gateway {
            address: listener.local_addr(),
            probe: Arc::clone(&probe),
            stop: Some(stop),
            served: tokio::spawn(listener.serve(probe, async {
                let _ = stopped.await;
            })),
        }
    }

    async fn connect(&self) -> Client {
        Client {
            stream: TcpStream::connect(self.address)
                .await
                .expect("the gateway accepts"),
            read: Vec::new(),
        }
    }

    /// One request on a connection of its own.
    async fn send(&self, request: &str) -> Response {
        let mut client = self.connect().await;
        client.write(request).await;
        client.response().await
    }

    async fn post(&self, path: &str, body: &str) -> Response {
        self.send(&post(path, body)).await
    }

    fn requests(&self) -> usize {
        self.probe.requests.load(Ordering::SeqCst)
    }

    fn stop(&mut self) {
        let _ = self.stop.take().expect("stopped once").send(());
    }
}

fn post(path: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

struct Client {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Client {
    async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream
            .write_all(bytes.as_ref())
            .await
            .expect("the gateway reads");
    }

    /// Writes as long as the gateway reads.
    async fn try_write(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref()).await;
    }

    async fn fill(&mut self) -> bool {
        tokio::time::timeout(Duration::from_secs(20), self.stream.read_buf(&mut self.read))
            .await
            .expect("the gateway answers or closes")
            .is_ok_and(|read| read > 0)
    }

    /// The next response, told from a following one by its length.
    async fn response(&mut self) -> Response {
        let end = loop {
            if let Some(at) = memchr::memmem::find(&self.read, b"\r\n\r\n") {
                break at + 4;
            }
            assert!(
                self.fill().await,
                "closed without a response: {:?}",
                String::from_utf8_lossy(&self.read)
            );
        };
        let head = String::from_utf8(self.read.drain(..end).collect()).expect("a head is ASCII");
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1));
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let mut response = Response {
            status: status.expect("a status").parse().expect("a number"),
            headers,
            body: Value::Null,
        };
        let len: usize = response
            .header("content-length")
            .map_or(0, |len| len.parse().expect("a length"));
        while self.read.len() < len {
            assert!(self.fill().await, "closed within a body");
        }
        let body: Vec<u8> = self.read.drain(..len).collect();
        if !body.is_empty() {
            response.body = serde_json::from_slice(&body).expect("a body is JSON");
        }
        response
    }

    /// Whether the gateway ends the connection, within some seconds, without another byte.
    async fn is_closed(&mut self) -> bool {
        !self.fill().await
    }
}

#[derive(Debug)]
struct Response {
    status: u16,
    headers: Vec<(String, String)>,
    body: Value,
}

impl Response {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// Checks that this is a whole problem of `code`.
    #[track_caller]
    fn is_problem(&self, code: Code) {
        assert_eq!(self.status, code.status(), "{self:?}");
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        assert_eq!(self.body["code"], code.as_str(), "{self:?}");
        assert_eq!(self.body["status"], code.status());
        assert_eq!(self.body["title"], code.title());
        assert!(
            self.body["type"]
                .as_str()
                .is_some_and(|kind| kind.ends_with(code.as_str()))
        );
        assert!(
            self.body["detail"]
                .as_str()
                .is_some_and(|detail| !detail.is_empty())
        );
        assert_eq!(self.body["request_id"].as_str(), self.header("x-request-id"));
        self.has_request_id();
    }

    #[track_caller]
    fn has_request_id(&self) {
        let id: uuid::Uuid = self
            .header("x-request-id")
            .expect("every response has an id")
            .parse()
            .expect("a UUID");
        assert_eq!(id.get_version_num(), 7);
    }
}
