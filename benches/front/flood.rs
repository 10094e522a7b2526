//! One partner's latencies at a modest rate, alone and beside a partner that sends at many times its rate limit, in turns.

use std::{ops::AddAssign, time::Duration};

use serde_json::json;
use tokio::{
    net::TcpStream,
    time::{Instant, interval},
};

use crate::{
    client::{Load, Target, open_loop},
    events::Shape,
    exchange::exchange,
    sample,
    server::Server,
    steady::{ratio, summary},
    verdict::{Bound, Verdict},
};

/// Requests a second of the modest partner, over so many connections.
const RATE: f64 = 200.0;
const CONNECTIONS: usize = 32;
/// Events a second that the greedy partner may send, and how many times as many it sends, over so many connections.
const GREEDY_LIMIT: u32 = 100;
const GREEDY_FACTOR: u32 = 20;
const GREEDY_CONNECTIONS: u32 = 16;
const P99_RATIO_MAX: f64 = 2.0;

/// What the greedy partner was told.
#[derive(Clone, Copy, Default)]
struct Told {
    taken: u64,
    limited: u64,
    others: u64,
}

impl AddAssign for Told {
    fn add_assign(&mut self, more: Told) {
        self.taken += more.taken;
        self.limited += more.limited;
        self.others += more.others;
    }
}

pub async fn measure(quick: bool) -> [Verdict; 2] {
    let (turns, seconds) = if quick { (1_u32, 2) } else { (5, 10) };
    let duration = Duration::from_secs(seconds);
    println!(
        "\none partner sends {RATE} events a second, {turns} turns of {seconds} s alone and beside one that may send \
         {GREEDY_LIMIT} and sends {}; through a gateway to files",
        GREEDY_LIMIT * GREEDY_FACTOR
    );
    let server = Server::start("").await;
    let modest = server.partner("modest").await;
    let greedy = server.partner("greedy").await;
    let limit = json!({"rate_limit": {"events_per_s": GREEDY_LIMIT, "burst": GREEDY_LIMIT}});
    server.gateway.put("/v1/partners/greedy", limit).await;
    let event = sample::page_view();
    let requests = Shape::Single.requests(&modest, &event);
    let modest_load = || open_loop(&modest, Shape::Single, &requests, CONNECTIONS, RATE, duration);
    let flooding = Shape::Single.request(&greedy, &event);
    let (mut alone, mut beside): (Vec<Load>, Vec<Load>) = (Vec::new(), Vec::new());
    let mut told = Told::default();
    // What the first requests take once belongs to neither.
    modest_load().await;
    for _ in 0..turns {
        alone.push(modest_load().await);
        let (load, more) = tokio::join!(modest_load(), flood(&greedy, &flooding, duration));
        beside.push(load);
        told += more;
    }
    let before = summary("alone", &alone);
    let now = summary("beside the greedy partner", &beside);
    println!(
        "the greedy partner: {} taken, {} told 429, {} otherwise refused or broken off",
        told.taken, told.limited, told.others
    );
    assert!(told.limited > told.taken, "it was limited");
    let ratio = ratio(&now, &before, 0.99);
    println!("p99 beside it {ratio:.2} times what it is alone");
    let due = RATE * duration.as_secs_f64() * f64::from(turns);
    [
        Verdict::new(
            "p99 beside a flood, times what it is alone",
            ratio,
            Bound::AtMost(P99_RATIO_MAX),
        ),
        Verdict::new(
            "requests of the modest partner that were lost",
            due - now.len() as f64,
            Bound::AtMost(0.0),
        ),
    ]
}

/// Posts at the greedy partner's rate, whatever the answers say.
async fn flood(target: &Target, request: &[u8], duration: Duration) -> Told {
    let until = Instant::now() + duration;
    let period = Duration::from_secs(1) * GREEDY_CONNECTIONS / (GREEDY_LIMIT * GREEDY_FACTOR);
    let senders: Vec<_> = (0..GREEDY_CONNECTIONS)
        .map(|_| {
            let (target, request) = (target.clone(), request.to_vec());
            tokio::spawn(async move {
                let (mut told, mut ticks, mut open) = (Told::default(), interval(period), None);
                while ticks.tick().await < until {
                    send(&target, &request, &mut open, &mut told).await;
                }
                told
            })
        })
        .collect();
    let mut told = Told::default();
    for sender in senders {
        told += sender.await.expect("a sender does not panic");
    }
    told
}

/// One request, on the connection that is open or a new one.
async fn send(target: &Target, request: &[u8], open: &mut Option<TcpStream>, told: &mut Told) {
    let mut stream = match open.take() {
        Some(stream) => stream,
        None => TcpStream::connect(target.address)
            .await
            .expect("the gateway listens"),
    };
    match exchange(&mut stream, request).await {
        Ok(answer) => {
            match answer.status {
                202 => told.taken += 1,
                429 => told.limited += 1,
                _ => told.others += 1,
            }
            *open = (!answer.is_last).then_some(stream);
        }
        Err(_) => told.others += 1,
    }
}
