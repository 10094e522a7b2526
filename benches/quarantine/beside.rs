//! A partner's latencies at a modest rate, alone and beside a replay of very many events, in turns, through a gateway to
//! files. The replay is the one that a schema starts, on the same node.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    client::{Load, open_loop},
    events::Shape,
    gateway::Gateway,
    steady::{self, ratio, summary},
    verdict::{Bound, Verdict},
};

/// Requests a second of the modest partner, over so many connections.
const RATE: f64 = 500.0;
const CONNECTIONS: usize = 32;
const LIVE: &str = "live.event";
/// What is kept lies in the spool for ten seconds before it is brought to the store.
const PACKED_AFTER: Duration = Duration::from_secs(12);
/// Within it a gateway that rests has next to no processor time.
const REST: Duration = Duration::from_millis(500);
/// In one request that fills the quarantine.
const BATCH: u64 = 500;
/// Promised: live traffic's p99 moves by no more than a tenth.
const P99_RATIO_MAX: f64 = 1.1;

pub async fn measure(quick: bool) -> Verdict {
    let (turns, seconds, late) = if quick { (1, 2, 5_000) } else { (7, 10, 200_000) };
    println!(
        "\none partner sends {RATE} events a second, {turns} turns of {seconds} s alone and beside the replay of {late}"
    );
    let folder = tempfile::tempdir().expect("a folder can be made");
    let gateway = Gateway::to_files(folder.path(), "");
    gateway.ready().await;
    gateway
        .put(&format!("/v1/schemas/{LIVE}/1"), json!({"type": "object"}))
        .await;
    let route = json!({"to": [{"destination": "files", "topic": "all", "key": "/key"}]});
    gateway.put("/v1/routes/all", route).await;
    let modest = steady::partner(&gateway, "modest", LIVE).await;
    let filler = gateway.partner("late").await;
    let requests = Shape::Single.requests(&modest, data(0).to_string().as_bytes());
    let duration = Duration::from_secs(seconds);
    let load = || open_loop(&modest, Shape::Single, &requests, CONNECTIONS, RATE, duration);
    let (mut alone, mut beside): (Vec<Load>, Vec<Load>) = (Vec::new(), Vec::new());
    let mut is_whole = true;
    // What the first requests take once belongs to neither.
    load().await;
    for turn in 0..turns {
        come_to_rest(&gateway).await;
        alone.push(load().await);
        let event_type = format!("late.turn-{turn}");
        fill(&gateway, &filler, &event_type, late).await;
        assert_eq!(waiting(&gateway, &event_type).await, late, "all of them wait");
        // What brings them to the store is no replay.
        tokio::time::sleep(PACKED_AFTER).await;
        come_to_rest(&gateway).await;
        let schema = json!({"type": "object"});
        gateway.put(&format!("/v1/schemas/{event_type}/1"), schema).await;
        beside.push(load().await);
        let left = waiting(&gateway, &event_type).await;
        assert!(left < late, "the replay went on beside it");
        println!("turn {turn}: {} events were replayed beside it", late - left);
        if left == 0 {
            is_whole = false;
            println!("turn {turn}: missed: not measured: the replay ended before the turn did");
        }
        while waiting(&gateway, &event_type).await > 0 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    summary("alone", &alone);
    summary("beside a replay", &beside);
    // Of each turn for itself: a disk that stalls now and then would else be all that is measured.
    let turns = alone.iter().zip(&beside);
    let mut ratios: Vec<f64> = turns
        .map(|(before, now)| ratio(&now.latencies, &before.latencies, 0.99))
        .collect();
    println!("p99 beside a replay, times what it is alone, turn by turn: {ratios:.2?}");
    ratios.sort_by(f64::total_cmp);
    let ratio = ratios[ratios.len() / 2];
    Verdict::new(
        "p99 beside a replay, times what it is alone, median of the turns",
        // A turn that was partly without a replay says less than was promised.
        if is_whole { ratio } else { f64::NAN },
        Bound::AtMost(P99_RATIO_MAX),
    )
}

fn data(number: u64) -> Value {
    json!({"number": number, "key": number % 1000, "text": "abcdefghij".repeat(65)})
}

/// Brings `count` events into quarantine: no schema is registered for their type.
async fn fill(gateway: &Gateway, key: &str, event_type: &str, count: u64) {
    for first in (0..count).step_by(BATCH as usize) {
        let lines: Vec<String> = (first..count.min(first + BATCH))
            .map(|number| json!({"type": event_type, "data": data(number)}).to_string())
            .collect();
        let request = gateway
            .client
            .post(format!("http://{}/v1/events", gateway.data))
            .bearer_auth(key)
            .header("content-type", "application/x-ndjson")
            .body(lines.join("\n"));
        let answer = request.send().await.expect("the gateway answers");
        assert_eq!(answer.status(), 202);
    }
}

/// Waits until the gateway does nothing more.
async fn come_to_rest(gateway: &Gateway) {
    loop {
        let before = gateway.process.cpu_time();
        tokio::time::sleep(REST).await;
        if gateway.process.cpu_time() - before < REST / 25 {
            return;
        }
    }
}

async fn waiting(gateway: &Gateway, event_type: &str) -> u64 {
    let body = json!({"type": event_type, "dry_run": true});
    let counted = gateway.call("POST", "/v1/quarantine/discard", Some(body)).await;
    counted.expect("it is counted")["total"]
        .as_u64()
        .expect("a number")
}
