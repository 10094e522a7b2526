//! The generator: keep-alive connections in a closed loop, each of which sends, waits for the answer, and sends again;
//! or in an open loop, where requests are due at a rate, whatever the answers do.
//!
//! Latencies go into HDR histograms, and none is left out because the server was slow (coordinated omission): in an open
//! loop they run from the moment when the request was due, in a closed loop those that a slow answer kept from being sent
//! are added.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::Semaphore,
};

use crate::events::Shape;

/// What answers when every event of a request is durable.
const ACCEPTED: u16 = 202;
/// Longer answers count as this.
const LATENCY_US_MAX: u64 = 120_000_000;
/// Between the making of an open loop's connections and its first request.
const LEAD: Duration = Duration::from_millis(100);

/// Where events go.
#[derive(Clone)]
pub struct Target {
    pub address: SocketAddr,
    pub path: String,
    /// Each with its line end.
    pub headers: String,
    pub kind: Kind,
}

/// What a target's answers must say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// 202, and that every event was accepted.
    Gateway,
    /// 202: it takes requests, not events.
    Ceiling,
    /// Any of 200 to 204.
    Peer,
}

impl Kind {
    fn is_accepted(self, shape: Shape, status: u16, body: &[u8]) -> bool {
        match self {
            Kind::Gateway => {
                status == ACCEPTED && memchr::memmem::find(body, shape.accepted().as_bytes()).is_some()
            }
            Kind::Ceiling => status == ACCEPTED,
            Kind::Peer => (200..=204).contains(&status),
        }
    }
}

/// Requests of one shape that are sent again and again, in their order.
pub type Requests = Arc<[Vec<u8>]>;

impl Target {
    pub fn request(&self, content_type: &str, body: &[u8]) -> Vec<u8> {
        let Target {
            address,
            path,
            headers,
            ..
        } = self;
        let mut request = format!(
            "POST {path} HTTP/1.1\r\nhost: {address}\r\ncontent-type: {content_type}\r\n{headers}content-length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        request.extend_from_slice(body);
        request
    }
}

pub struct Load {
    pub requests: u64,
    pub elapsed: Duration,
    /// Microseconds, corrected.
    pub latencies: Histogram<u64>,
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_US_MAX, 3).expect("the bounds are in order")
}

fn microseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(LATENCY_US_MAX)
}

/// Sends one request, whose events must all be accepted.
pub async fn once(target: &Target, shape: Shape, request: &[u8]) {
    let mut connection = Connection::open(target, shape).await;
    connection.exchange(request).await;
}

/// Loads the target over so many connections for `duration`.
pub async fn closed_loop(
    target: &Target,
    shape: Shape,
    requests: &Requests,
    connections: usize,
    duration: Duration,
) -> Load {
    let started = Instant::now();
    let end = started + duration;
    let loops: Vec<_> = (0..connections)
        .map(|number| {
            let (target, requests) = (target.clone(), Arc::clone(requests));
            tokio::spawn(async move {
                let mut connection = Connection::open(&target, shape).await;
                let mut latencies = histogram();
                // Each begins elsewhere, so that together they send all of them evenly.
                let mut next = number * requests.len() / connections;
                while Instant::now() < end {
                    let sent = Instant::now();
                    connection.exchange(&requests[next % requests.len()]).await;
                    latencies.saturating_record(microseconds(sent.elapsed()));
                    next += 1;
                }
                latencies
            })
        })
        .collect();
    let mut latencies = histogram();
    for connection in loops {
        let part = connection.await.expect("a connection's loop does not panic");
        latencies.add(part).expect("the bounds are the same");
    }
    let (elapsed, requests) = (started.elapsed(), latencies.len());
    let interval = elapsed * u32::try_from(connections).unwrap_or(u32::MAX)
        / u32::try_from(requests.max(1)).unwrap_or(u32::MAX);
    Load {
        requests,
        elapsed,
        latencies: latencies.clone_correct(microseconds(interval).max(1)),
    }
}

/// Sends `rate` requests a second for `duration`; a request that finds no free connection waits, and its latency runs.
pub async fn open_loop(
    target: &Target,
    shape: Shape,
    requests: &Requests,
    connections: usize,
    rate: f64,
    duration: Duration,
) -> Load {
    let count = (rate * duration.as_secs_f64()) as u64;
    let (due, next) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicU64::new(0)));
    let begin = Instant::now() + LEAD;
    let moment = move |number: u64| begin + Duration::from_secs_f64(number as f64 / rate);
    let loops: Vec<_> = (0..connections)
        .map(|_| {
            let (target, requests) = (target.clone(), Arc::clone(requests));
            let (due, next) = (Arc::clone(&due), Arc::clone(&next));
            tokio::spawn(async move {
                let mut connection = Connection::open(&target, shape).await;
                let mut latencies = histogram();
                loop {
                    due.acquire().await.expect("it is never closed").forget();
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return latencies;
                    }
                    let index = usize::try_from(number).unwrap_or_default() % requests.len();
                    connection.exchange(&requests[index]).await;
                    latencies.saturating_record(microseconds(moment(number).elapsed()));
                }
            })
        })
        .collect();
    let pace = Arc::clone(&due);
    // A thread sleeps more exactly than the runtime, whose clock ticks once a millisecond.
    let pacer = std::thread::spawn(move || {
        for number in 0..count {
            std::thread::sleep(moment(number).saturating_duration_since(Instant::now()));
            pace.add_permits(1);
        }
        // One more for each connection, which ends it.
        pace.add_permits(connections);
    });
    let mut latencies = histogram();
    for connection in loops {
        let part = connection.await.expect("a connection's loop does not panic");
        latencies.add(part).expect("the bounds are the same");
    }
    pacer.join().expect("the pacer does not panic");
    Load {
        requests: latencies.len(),
        elapsed: begin.elapsed(),
        latencies,
    }
}

struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    kind: Kind,
    shape: Shape,
}

impl Connection {
    async fn open(target: &Target, shape: Shape) -> Connection {
        let stream = TcpStream::connect(target.address)
            .await
            .expect("the server listens");
        stream.set_nodelay(true).expect("the socket takes options");
        Connection {
            stream,
            buffer: Vec::with_capacity(16 << 10),
            kind: target.kind,
            shape,
        }
    }

    /// Any other answer than the expected ends the benchmark: its figures would mean nothing.
    async fn exchange(&mut self, request: &[u8]) {
        self.stream.write_all(request).await.expect("the server reads");
        self.buffer.clear();
        loop {
            let read = self.stream.read_buf(&mut self.buffer).await;
            assert_ne!(read.expect("the server answers"), 0, "the server hung up");
            if let Some(answer) = complete(&self.buffer) {
                assert!(
                    self.kind.is_accepted(self.shape, answer.status, answer.body),
                    "not every event was accepted:\n{}",
                    String::from_utf8_lossy(&self.buffer)
                );
                return;
            }
        }
    }
}

pub struct Answer<'a> {
    pub status: u16,
    head: &'a str,
    pub body: &'a [u8],
}

impl<'a> Answer<'a> {
    /// The value of a header field.
    pub fn field(&self, wanted: &str) -> Option<&'a str> {
        let mut fields = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        fields
            .find(|(name, _)| name.eq_ignore_ascii_case(wanted))
            .map(|(_, value)| value.trim())
    }
}

/// An answer that has come whole.
pub fn complete(bytes: &[u8]) -> Option<Answer<'_>> {
    let end = memchr::memmem::find(bytes, b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).expect("a head is text");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let answer = Answer {
        status: status.expect("an answer has a status"),
        head,
        body: &bytes[end + 4..],
    };
    let is_whole = match answer.field("content-length") {
        Some(length) => answer.body.len() >= length.parse().expect("a length is a number"),
        None if answer.field("transfer-encoding").is_some() => answer.body.ends_with(b"0\r\n\r\n"),
        None => true,
    };
    is_whole.then_some(answer)
}
