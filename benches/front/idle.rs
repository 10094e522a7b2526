//! Connections that were used once and then only wait: what they take of memory, and of another's time.

use std::{
    io::ErrorKind,
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::{TcpSocket, TcpStream};

use crate::{
    client::open_loop,
    events::Shape,
    exchange::exchange,
    sample,
    server::Server,
    steady::{ratio, summary},
    verdict::{Bound, Verdict},
};

const CONNECTIONS: usize = 20_000;
/// They come from so many addresses: the gateway bounds those of each.
const SOURCES: usize = 8;
/// Opened at the same time.
const OPENERS: usize = 64;
/// Descriptors that a process needs beside them.
const DESCRIPTORS_BESIDE: usize = 512;
/// After this time without a request the gateway closes a connection.
const KEEP_ALIVE: Duration = Duration::from_secs(60);
const MEMORY_MIB_MAX: f64 = 300.0;
const P50_RATIO_MAX: f64 = 1.25;
/// Of the partner that posts meanwhile.
const RATE: f64 = 200.0;
const SENDERS: usize = 16;

pub async fn measure(quick: bool) -> Vec<Verdict> {
    let wanted = if quick { 500 } else { CONNECTIONS };
    let duration = Duration::from_secs(if quick { 2 } else { 10 });
    let count = wanted.min(descriptors(wanted + DESCRIPTORS_BESIDE).saturating_sub(DESCRIPTORS_BESIDE));
    println!(
        "\n{count} connections that wait, from {SOURCES} addresses, beside a partner that posts {RATE} events a second"
    );
    if count < wanted {
        println!("{wanted} were to wait: this system's hard limit of open files allows no more (ulimit -Hn)");
    }
    // Both processes have their limit from this one.
    let server = Server::start("[limits]\nconnections = 30000\n").await;
    let target = server.partner("posting").await;
    let event = sample::page_view();
    let requests = Shape::Single.requests(&target, &event);
    let load = || open_loop(&target, Shape::Single, &requests, SENDERS, RATE, duration);
    // What the first requests take once is nobody's who waits.
    load().await;
    let without = load().await;
    let before = server.gateway.process.status("VmRSS");
    let begun = Instant::now();
    let waiting = open_all(target.address, &requests[0], count).await;
    println!("opened, with one event each, in {:.1?}", begun.elapsed());
    let more = || server.gateway.process.status("VmRSS").saturating_sub(before) as f64 / 1024.0;
    let at_once_mib = more();
    let with = load().await;
    let more_mib = more();
    let held = waiting.iter().filter(|stream| is_open(stream)).count();
    let took = begun.elapsed();
    drop(waiting);
    assert!(
        took < KEEP_ALIVE,
        "{took:.1?} is longer than the gateway keeps a connection that waits: the figures mean nothing"
    );
    let before = summary("without them", &[without]);
    let now = summary("with them", &[with]);
    let ratio = ratio(&now, &before, 0.5);
    println!(
        "{at_once_mib:.0} MiB resident more at once, {more_mib:.0} once they had waited, {:.1} KiB a connection; p50 {ratio:.2} times what it is without",
        more_mib * 1024.0 / count as f64
    );
    vec![
        Verdict::new(
            "connections that wait and were kept",
            held as f64,
            Bound::AtLeast(count as f64),
        ),
        Verdict::new(
            &format!("memory of {count} connections that wait, MiB"),
            more_mib,
            Bound::AtMost(MEMORY_MIB_MAX),
        ),
        Verdict::new(
            &format!("p50 beside {count} connections that wait, times what it is without"),
            ratio,
            Bound::AtMost(P50_RATIO_MAX),
        ),
    ]
}

/// As many descriptors as wanted, for this process and those that it starts, or as many as the system allows.
fn descriptors(wanted: usize) -> usize {
    let wanted = wanted as u64;
    let now = getrlimit(Resource::Nofile);
    let suffices = |limit: Option<u64>| limit.is_none_or(|most| most >= wanted);
    let maximum = if suffices(now.maximum) {
        now.maximum
    } else {
        Some(wanted)
    };
    let raised = Rlimit {
        current: Some(wanted),
        maximum,
    };
    let most = if suffices(now.current) || setrlimit(Resource::Nofile, raised).is_ok() {
        wanted
    } else {
        // Only the administrator raises a hard limit; up to it anybody may go.
        let up_to_hard = Rlimit {
            current: now.maximum,
            maximum: now.maximum,
        };
        let reached = setrlimit(Resource::Nofile, up_to_hard);
        let limit = reached.map_or(now.current, |()| now.maximum);
        limit.unwrap_or(wanted)
    };
    usize::try_from(most).unwrap_or(usize::MAX)
}

async fn open_all(address: SocketAddr, request: &[u8], count: usize) -> Vec<TcpStream> {
    let openers: Vec<_> = (0..OPENERS)
        .map(|opener| {
            let request = request.to_vec();
            tokio::spawn(async move {
                let mut opened = Vec::with_capacity(count / OPENERS + 1);
                for number in (opener..count).step_by(OPENERS) {
                    opened.push(open(address, source(number), &request).await);
                }
                opened
            })
        })
        .collect();
    let mut waiting = Vec::with_capacity(count);
    for opener in openers {
        waiting.extend(opener.await.expect("an opener does not panic"));
    }
    waiting
}

fn source(number: usize) -> Ipv4Addr {
    let last = u8::try_from(number % SOURCES).expect("few addresses");
    Ipv4Addr::new(127, 0, 0, 10 + last)
}

async fn open(address: SocketAddr, source: Ipv4Addr, request: &[u8]) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("there are descriptors left");
    socket
        .bind((source, 0).into())
        .expect("the address has a port left");
    let mut stream = socket.connect(address).await.expect("the gateway listens");
    let answer = exchange(&mut stream, request).await.expect("the gateway answers");
    assert!(
        answer.status == 202 && !answer.is_last,
        "it was answered {}",
        answer.status
    );
    stream
}

/// The gateway has neither ended it nor sent anything more.
fn is_open(stream: &TcpStream) -> bool {
    stream
        .try_read(&mut [0])
        .is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}
