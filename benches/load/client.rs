//! A closed loop of keep-alive connections: each sends, waits for the answer, and sends again.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

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
}

impl Shape {
    pub fn events(self) -> usize {
        match self {
            Shape::Single => 1,
            Shape::Batch(events) => events,
        }
    }

    fn connections(self) -> usize {
        match self {
            Shape::Single => 128,
            Shape::Batch(_) => 16,
        }
    }
}

/// Where events go.
pub struct Target {
    pub address: SocketAddr,
    pub path: String,
    pub headers: String,
}

pub struct Load {
    pub events: u64,
    pub elapsed: Duration,
    /// Ascending.
    pub latencies: Vec<Duration>,
}

/// Loads the target for `duration` and counts what was answered 202.
pub async fn run(target: &Target, shape: Shape, event: &[u8], duration: Duration) -> Load {
    let request = request(target, shape, event);
    let started = Instant::now();
    let end = started + duration;
    let loops: Vec<_> = (0..shape.connections())
        .map(|_| tokio::spawn(connection(target.address, request.clone(), end)))
        .collect();
    let mut latencies = Vec::new();
    for connection in loops {
        latencies.extend(connection.await.expect("a connection's loop does not panic"));
    }
    latencies.sort_unstable();
    Load {
        events: latencies.len() as u64 * shape.events() as u64,
        elapsed: started.elapsed(),
        latencies,
    }
}

fn request(target: &Target, shape: Shape, event: &[u8]) -> Vec<u8> {
    let (content_type, body) = match shape {
        Shape::Single => ("application/json", event.to_vec()),
        Shape::Batch(events) => {
            let mut body = Vec::new();
            for _ in 0..events {
                body.extend_from_slice(event);
                body.push(b'\n');
            }
            ("application/x-ndjson", body)
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

async fn connection(address: SocketAddr, request: Vec<u8>, end: Instant) -> Vec<Duration> {
    let mut stream = TcpStream::connect(address).await.expect("the server listens");
    stream.set_nodelay(true).expect("the socket takes options");
    let mut latencies = Vec::new();
    let mut buffer = Vec::with_capacity(4096);
    while Instant::now() < end {
        let sent = Instant::now();
        stream.write_all(&request).await.expect("the server reads");
        answer(&mut stream, &mut buffer).await;
        latencies.push(sent.elapsed());
    }
    latencies
}

/// Reads one response whole; anything but 202 ends the benchmark: its figures would mean nothing.
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
                text.starts_with("http/1.1 202"),
                "{}",
                String::from_utf8_lossy(buffer)
            );
            return;
        }
    }
}
