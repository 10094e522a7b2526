//! What a build that counts where its code goes is led through, for the profile of a guided build: the paths of this
//! benchmark, and the sample company's own traffic, with its versions, partners, queries and plugins.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use serde_json::{Value, json};

use crate::{
    Bench, client,
    events::Shape,
    mix::{Mix, PARTNERS},
    servers::Gateway,
};

const TOPICS: [&str; 3] = ["bench-validated", "bench-transformed", "bench-mix"];
/// Events of this seed, some of them broken.
const SEED: u64 = 1;
const BROKEN_PER_MILLE: u16 = 5;
const SENDERS: u64 = 32;

/// Ends the gateway in order: only then it writes what it has counted.
pub async fn run(bench: &Bench) {
    for topic in TOPICS {
        bench.broker.create_topic(topic, 4).await;
    }
    let mut gateway = Gateway::start(bench.broker.bootstrap(), &bench.program).await;
    for round in 0..bench.rounds {
        eprintln!("round {} of {}", round + 1, bench.rounds);
        for target in [&gateway.validated, &gateway.transformed] {
            for shape in [Shape::Single, Shape::Batch, Shape::Gzip] {
                let requests = shape.requests(target, &bench.event);
                client::closed_loop(target, shape, &requests, shape.connections(), bench.duration).await;
            }
        }
    }
    mix(bench, &gateway).await;
    gateway.node.gateway.process.end();
}

/// The company's traffic, for as long as one shape was sent on one path; each of its events once.
async fn mix(bench: &Bench, gateway: &Gateway) {
    let node = &gateway.node.gateway;
    for partner in ["haneul-app", "haneul-web"] {
        let route = json!({
            "match": {"partner": partner},
            "to": [{"destination": "events", "topic": "bench-mix"}],
        });
        node.put(&format!("/v1/routes/bench-{partner}"), route).await;
    }
    let mut keys = BTreeMap::new();
    for partner in PARTNERS {
        keys.insert(partner, node.key(partner).await);
    }
    let (keys, next) = (Arc::new(keys), Arc::new(AtomicU64::new(0)));
    let end = Instant::now() + bench.duration * u32::try_from(bench.rounds).unwrap_or(u32::MAX);
    let senders: Vec<_> = (0..SENDERS)
        .map(|_| {
            let (keys, next) = (Arc::clone(&keys), Arc::clone(&next));
            let (client, url) = (node.client.clone(), format!("http://{}", node.data));
            tokio::spawn(async move {
                let mix = Mix::new(SEED).with_broken_per_mille(BROKEN_PER_MILLE);
                while Instant::now() < end {
                    let event = mix.event(next.fetch_add(1, Ordering::Relaxed));
                    let request = event.request();
                    let answer = send(&client, &url, &request, &keys[event.partner]).await;
                    // A broken event is told so, and a partner with a limit meets it.
                    assert!(answer < 500, "{request}: {answer}");
                }
            })
        })
        .collect();
    for sender in senders {
        sender.await.expect("no sender panics");
    }
}

/// The answer's status.
async fn send(client: &reqwest::Client, url: &str, request: &Value, key: &str) -> u16 {
    let text = |member: &str| request[member].as_str().unwrap_or_default();
    let method = text("method").parse().expect("a method");
    let mut sent = client
        .request(method, format!("{url}{}", text("target")))
        .bearer_auth(key);
    for (name, value) in request["headers"].as_object().into_iter().flatten() {
        sent = sent.header(name, value.as_str().unwrap_or_default());
    }
    if let Some(body) = request.get("body") {
        sent = sent.body(body.to_string());
    }
    let answer = sent.send().await.expect("the gateway answers");
    let status = answer.status().as_u16();
    answer.bytes().await.expect("the answer is whole");
    status
}
