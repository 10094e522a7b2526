//! Load over keep-alive connections. Closed loop: each sends, waits for the answer, and sends again; the server sets the
//! pace. Open loop: requests are due at fixed times, whatever the server does, and each one's latency counts from when it
//! was due; what a slow server keeps from being sent in time is not left out (coordinated omission).

use std::{
    io::Write as _,
    net::SocketAddr,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// How events are packed into requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shape {
    Single,
    /// NDJSON, so many a request.
    Batch(usize),
    /// The same, compressed.
    Gzip(usize),
}

impl Shape {
    pub fn events(self) -> usize {
        match self {
            Shape::Single => 1,
            Shape::Batch(events) | Shape::Gzip(events) => events,
        }
    }

    pub fn name(self) -> String {
        match self {
            Shape::Single => "single".to_owned(),
            Shape::Batch(events) => format!("batch {events}"),
            Shape::Gzip(events) => format!("gzip {events}"),
        }
    }

    fn connections(self) -> usize {
        match self {
            Shape::Single => 128,
            Shape::Batch(_) | Shape::Gzip(_) => 16,
        }
    }
}

/// Where events go.
#[derive(Clone)]
pub struct Target {
    pub address: SocketAddr,
    pub path: String,
    pub headers: String,
}

pub struct Load {
    pub events: u64,
    pub elapsed: Duration,
    /// Microseconds.
    pub latencies: Histogram<u64>,
}

/// Up to a minute, in three digits.
fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000, 3).expect("the bounds are in order")
}

/// Loads the target for `duration`, in a closed loop or, with so many requests a second, in an open one.
pub async fn run(
    target: &Target,
    shape: Shape,
    event: &[u8],
    duration: Duration,
    requests_per_s: Option<f64>,
) -> Load {
    let request = request(target, shape, event);
    let started = Instant::now();
    let end = started + duration;
    let connections = shape.connections();
    let loops: Vec<_> = (0..connections)
        .map(|index| {
            let schedule = requests_per_s.map(|rate| {
                let between = Duration::from_secs_f64(connections as f64 / rate);
                // Connections take turns.
                (
                    started + between.mul_f64(index as f64 / connections as f64),
                    between,
                )
            });
            tokio::spawn(connection(target.address, request.clone(), end, schedule))
        })
        .collect();
    let mut latencies = histogram();
    for connection in loops {
        let seen = connection.await.expect("a connection's loop does not panic");
        latencies.add(seen).expect("both have the same bounds");
    }
    Load {
        events: latencies.len() * shape.events() as u64,
        elapsed: started.elapsed(),
        latencies,
    }
}

fn request(target: &Target, shape: Shape, event: &[u8]) -> Vec<u8> {
    let lines = |events: usize| {
        let mut body = Vec::new();
        for _ in 0..events {
            body.extend_from_slice(event);
            body.push(b'\n');
        }
        body
    };
    let (content_type, body) = match shape {
        Shape::Single => ("application/json", event.to_vec()),
        Shape::Batch(events) => ("application/x-ndjson", lines(events)),
        Shape::Gzip(events) => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(&lines(events)).expect("memory takes all");
            let body = encoder.finish().expect("memory takes all");
            ("application/x-ndjson\r\ncontent-encoding: gzip", body)
        }
    };
    let mut request = format!(
        "POST {} HTTP/1.1\r\nhost: {}\r\ncontent-type: {content_type}\r\n{}content-length: {}\r\n\r\n",
        target.path,
        target.address,
        target.headers,
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(&body);
    request
}

async fn connection(
    address: SocketAddr,
    request: Vec<u8>,
    end: Instant,
    schedule: Option<(Instant, Duration)>,
) -> Histogram<u64> {
    let mut stream = TcpStream::connect(address).await.expect("the server listens");
    stream.set_nodelay(true).expect("the socket takes options");
    let mut latencies = histogram();
    let mut buffer = Vec::with_capacity(4096);
    let mut due = schedule.map(|(first, _)| first);
    while due.unwrap_or_else(Instant::now) < end {
        let sent = match due {
            None => Instant::now(),
            Some(due) => {
                tokio::time::sleep_until(due.into()).await;
                due
            }
        };
        stream.write_all(&request).await.expect("the server reads");
        answer(&mut stream, &mut buffer).await;
        let latency = u64::try_from(sent.elapsed().as_micros()).unwrap_or(u64::MAX);
        latencies.saturating_record(latency);
        due = due.zip(schedule).map(|(due, (_, between))| due + between);
    }
    latencies
}

/// Reads one response whole; anything but 2xx ends the benchmark: its figures would mean nothing.
async fn answer(stream: &mut TcpStream, buffer: &mut Vec<u8>) {
    buffer.clear();
    loop {
        assert_ne!(
            stream.read_buf(buffer).await.expect("the server answers"),
            0,
            "the server hung up"
        );
        let Some(head) = memchr::memmem::find(buffer, b"\r\n\r\n") else {
            continue;
        };
        let text = std::str::from_utf8(&buffer[..head])
            .expect("a head is text")
            .to_ascii_lowercase();
        let length: usize = text
            .lines()
            .find_map(|line| line.strip_prefix("content-length:"))
            .map_or(0, |length| length.trim().parse().expect("a length is a number"));
        if buffer.len() >= head + 4 + length {
            assert!(
                text.starts_with("http/1.1 20"),
                "{}",
                String::from_utf8_lossy(buffer)
            );
            return;
        }
    }
}
