//! Kinesis: the emulator for what works, a stub for all that fails.

use std::{
    collections::HashSet,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use headworks::{
    deliver::{Delivery, Destination, DestinationState, Destinations},
    event::Record,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    delivery::{PATIENCE, Refusals, assert_balanced, deliver, events, eventually, record, start},
    harness::{
        gateway,
        kinesis::{self, Fault, Put, Stub, Taken, ids_by_key, is_in_upper_shard},
        long,
    },
};

/// Ids count up; the key is one of `keys`.
fn keyed(stream: &str, keys: usize, numbers: std::ops::Range<usize>) -> Vec<Record> {
    numbers
        .map(|number| {
            let data = format!("{{\"n\": {number}}}");
            record(
                stream,
                Some(&format!("k{}", number % keys)),
                &number.to_string(),
                data,
            )
        })
        .collect()
}

fn on_stub(stub: &Stub, spool: &Path, refusals: &Refusals) -> (Destinations, Arc<dyn Destination>) {
    let destinations = start(&[kinesis::destination(stub.address(), false)], spool, refusals);
    let destination = events(&destinations);
    (destinations, destination)
}

fn all_durable(deliveries: &[Delivery]) -> bool {
    deliveries.iter().all(|delivery| *delivery == Delivery::Durable)
}

/// Every id once (doubles aside), each key's in order.
fn assert_whole_and_ordered(taken: &[Taken], count: usize) {
    let ids = ids_by_key(taken.iter().map(|taken| (taken.key.as_str(), &taken.data[..])));
    for (key, ids) in &ids {
        assert!(ids.is_sorted(), "{key}: {ids:?}");
    }
    assert_eq!(ids.values().map(Vec::len).sum::<usize>(), count, "none is lost");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_emulator_gets_cloudevents_under_the_records_key() {
    let emulator = kinesis::emulator().await;
    emulator.create_stream("plain", 2).await;
    let directory = TempDir::new().expect("a temporary folder");
    let settings = [kinesis::destination(emulator.address(), false)];
    let destinations = start(&settings, directory.path(), &Refusals::default());
    let destination = events(&destinations);
    assert_eq!(destination.kind(), "kinesis");
    let deliveries = deliver(&destination, keyed("plain", 7, 0..100)).await;
    assert!(all_durable(&deliveries), "{deliveries:?}");
    let no_key = record("plain", None, "100", "{\"n\": 100}");
    assert!(all_durable(&deliver(&destination, [no_key]).await));

    let taken = emulator.read("plain").await;
    // On a machine so busy that the emulator takes seconds for a call, the spool takes over, and may send again.
    let spooled = destination.counts().spooled;
    assert!(taken.len() == 101 || spooled > 0, "nothing is doubled");
    assert_whole_and_ordered(&taken, 101);
    let last = taken
        .iter()
        .find(|taken| taken.key == "100")
        .expect("its key is the id");
    let event: Value = serde_json::from_slice(&last.data).expect("JSON");
    assert_eq!(event["specversion"], "1.0");
    assert_eq!(event["type"], "order.placed");
    assert_eq!(event["appversion"], "5.2.0");
    assert_eq!(event["hwschema"], "order.placed@5.0.0");
    assert_eq!(event["data"]["n"], 100);
    let counts = destination.counts();
    assert_eq!(counts.delivered, 101);
    assert_balanced(&destination);
    destinations.shutdown(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aggregated_records_are_taken_apart_by_the_library_of_aws() {
    let emulator = kinesis::emulator().await;
    emulator.create_stream("aggregated", 2).await;
    let directory = TempDir::new().expect("a temporary folder");
    let settings = [kinesis::destination(emulator.address(), true)];
    let destinations = start(&settings, directory.path(), &Refusals::default());
    let destination = events(&destinations);
    let deliveries = deliver(&destination, keyed("aggregated", 5, 0..400)).await;
    assert!(all_durable(&deliveries), "{deliveries:?}");
    let taken = emulator.read("aggregated").await;
    assert!(taken.len() < 100, "{} records of Kinesis for 400", taken.len());
    let apart = kinesis::deaggregate(&taken);
    assert_eq!(apart.len(), 400);
    let ids = ids_by_key(apart.iter().map(|(key, data)| (key.as_str(), data.as_bytes())));
    assert_eq!(ids.len(), 5);
    assert!(
        ids.values().all(|ids| ids.len() == 80 && ids.is_sorted()),
        "{ids:?}"
    );
    destinations.shutdown(PATIENCE).await;
}

/// Every call loses some of its records, for either reason there is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partial_failures_are_sent_again_in_order() {
    let stub = Stub::start(|put: &Put| {
        let code = ["ProvisionedThroughputExceededException", "InternalFailure"][put.number % 2];
        let refused = (0..put.keys.len()).filter(|index| (index + put.number).is_multiple_of(3));
        Some(Fault::Entries(refused.collect(), code))
    })
    .await;
    let directory = TempDir::new().expect("a temporary folder");
    let (destinations, destination) = on_stub(&stub, directory.path(), &Refusals::default());
    let records = if long() { 3000 } else { 1200 };
    let deliveries = deliver(&destination, keyed("orders", 40, 0..records)).await;
    assert!(all_durable(&deliveries), "{deliveries:?}");
    // Where it took too long the rest goes through the spool.
    let all = || destination.counts().delivered as usize == records;
    eventually("all is delivered", all).await;
    assert_whole_and_ordered(&stub.taken(), records);
    for put in stub.puts() {
        let keys: HashSet<_> = put.keys.iter().collect();
        assert_eq!(keys.len(), put.keys.len(), "a key is in a call once");
        assert!(put.keys.len() <= 500 && put.bytes <= 5 << 20);
    }
    assert_balanced(&destination);
    destinations.shutdown(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_that_throttles_is_left_alone_and_holds_up_no_other() {
    let begun = Instant::now();
    let throttles = Duration::from_millis(1500);
    let stub = Stub::start(move |put: &Put| {
        let upper = put
            .keys
            .iter()
            .enumerate()
            .filter(|(_, key)| is_in_upper_shard(key));
        let refused: Vec<usize> = upper.map(|(index, _)| index).collect();
        (begun.elapsed() < throttles && !refused.is_empty())
            .then_some(Fault::Entries(refused, "ProvisionedThroughputExceededException"))
    })
    .await;
    let directory = TempDir::new().expect("a temporary folder");
    let (destinations, destination) = on_stub(&stub, directory.path(), &Refusals::default());
    let deliveries = deliver(&destination, keyed("orders", 30, 0..300)).await;
    assert!(all_durable(&deliveries), "{deliveries:?}");
    eventually("all is delivered", || destination.counts().delivered == 300).await;
    assert_whole_and_ordered(&stub.taken(), 300);
    let asked = stub
        .puts()
        .iter()
        .filter(|put| put.at < begun + throttles && put.keys.iter().any(|key| is_in_upper_shard(key)))
        .count();
    // 100, 200, 400, 800 ms apart, halved at most by jitter; a few calls were under way before the first refusal.
    assert!(asked <= 20, "{asked} calls to a shard that throttles");
    let lower: usize = (0..30)
        .filter(|key| !is_in_upper_shard(&format!("k{key}")))
        .count()
        * 10;
    let early = stub
        .puts()
        .iter()
        .filter(|put| put.at < begun + throttles)
        .map(|put| put.keys.iter().filter(|key| !is_in_upper_shard(key)).count())
        .sum::<usize>();
    assert!(
        early >= lower / 2,
        "the other shard went on meanwhile: {early} of {lower}"
    );
    destinations.shutdown(PATIENCE).await;
}

/// 5xx, resets and time-outs: the spool takes over, and gives back in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_goes_to_the_spool_and_comes_back_in_order() {
    let stub = Stub::start(|_| None).await;
    let directory = TempDir::new().expect("a temporary folder");
    let (destinations, destination) = on_stub(&stub, directory.path(), &Refusals::default());
    let mut sent = 0;
    let faults = [
        Fault::Call(500, "InternalFailure"),
        Fault::Call(503, "ServiceUnavailable"),
        Fault::Reset,
        Fault::Hang,
        Fault::Call(400, "ExpiredTokenException"),
    ];
    let rounds = if long() { 5 } else { 1 };
    for fault in (0..rounds).flat_map(|_| faults.clone()) {
        assert!(all_durable(
            &deliver(&destination, keyed("orders", 9, sent..sent + 50)).await
        ));
        sent += 50;
        let failing = fault.clone();
        stub.decide(move |_| Some(failing.clone()));
        // The answer comes all the same: from the spool.
        for _ in 0..3 {
            assert!(all_durable(
                &deliver(&destination, keyed("orders", 9, sent..sent + 50)).await
            ));
            sent += 50;
        }
        assert_ne!(destination.state(), DestinationState::Healthy, "{fault:?}");
        assert!(
            destination.counts().waiting >= 50,
            "{fault:?}: {:?}",
            destination.counts()
        );
        stub.decide(|_| None);
        eventually("the spool is drained", || {
            destination.state() == DestinationState::Healthy
        })
        .await;
        assert_eq!(destination.counts().delivered as usize, sent, "{fault:?}");
    }
    assert_whole_and_ordered(&stub.taken(), sent);
    assert_balanced(&destination);
    destinations.shutdown(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_spooled_before_a_restart_is_drained_after_it() {
    let stub = Stub::start(|_| Some(Fault::Reset)).await;
    let directory = TempDir::new().expect("a temporary folder");
    let refusals = Refusals::default();
    let (destinations, destination) = on_stub(&stub, directory.path(), &refusals);
    assert!(all_durable(
        &deliver(&destination, keyed("orders", 9, 0..300)).await
    ));
    assert_eq!(destination.pending().entries, 300);
    destinations.shutdown(Duration::from_secs(1)).await;
    drop((destination, destinations));

    let (destinations, destination) = on_stub(&stub, directory.path(), &refusals);
    assert_ne!(destination.state(), DestinationState::Healthy);
    assert!(all_durable(
        &deliver(&destination, keyed("orders", 9, 300..400)).await
    ));
    assert_eq!(
        destination.pending().entries,
        400,
        "later records go behind the spooled ones"
    );
    stub.decide(|_| None);
    eventually("the spool is drained", || {
        destination.state() == DestinationState::Healthy
    })
    .await;
    assert!(all_durable(
        &deliver(&destination, keyed("orders", 9, 400..450)).await
    ));
    assert_whole_and_ordered(&stub.taken(), 450);
    let counts = destination.counts();
    assert_eq!((counts.recovered, counts.delivered), (300, 450));
    assert_balanced(&destination);
    destinations.shutdown(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_kinesis_never_takes_is_refused_and_holds_nothing_up() {
    let invalid = |put: &Put| {
        let refused = put.keys.iter().any(|key| key == "broken");
        match &*put.stream {
            "nowhere" => Some(Fault::Call(400, "ResourceNotFoundException")),
            "forbidden" => Some(Fault::Call(400, "AccessDeniedException")),
            _ => refused.then_some(Fault::Call(400, "InvalidArgumentException")),
        }
    };
    let stub = Stub::start(invalid).await;
    let directory = TempDir::new().expect("a temporary folder");
    let refusals = Refusals::default();
    let (destinations, destination) = on_stub(&stub, directory.path(), &refusals);
    let mut sent = keyed("orders", 100, 0..20);
    sent.insert(7, record("orders", Some("broken"), "20", "{}"));
    sent.push(record("nowhere", None, "21", "{}"));
    sent.push(record("forbidden", None, "22", "{}"));
    sent.push(record("orders", None, "23", vec![b'1'; 1_100_000]));
    sent.push(record("no/stream", None, "24", "{}"));
    let deliveries = deliver(&destination, sent).await;
    let words = [
        (7, "InvalidArgumentException"),
        (21, "ResourceNotFoundException"),
        (22, "AccessDeniedException"),
        (23, "record_bytes"),
        (24, "no stream"),
    ];
    for (index, delivery) in deliveries.iter().enumerate() {
        match (words.iter().find(|(refused, _)| *refused == index), delivery) {
            (Some((_, words)), Delivery::Refused { detail, .. }) => {
                assert!(detail.contains(words), "{detail}")
            }
            (None, Delivery::Durable) => {}
            other => panic!("{index}: {other:?}"),
        }
    }
    assert_eq!(destination.state(), DestinationState::Healthy);

    // The same out of the spool: they are kept elsewhere, and what comes behind them goes on.
    stub.decide(|_| Some(Fault::Call(500, "InternalFailure")));
    let mut sent = keyed("orders", 100, 30..40);
    sent.insert(5, record("nowhere", None, "40", "{}"));
    sent.insert(2, record("orders", Some("broken"), "41", "{}"));
    assert!(all_durable(&deliver(&destination, sent).await));
    stub.decide(invalid);
    eventually("all is well again", || {
        destination.state() == DestinationState::Healthy
    })
    .await;
    let mut refused: Vec<String> = refusals.lock().iter().map(|(id, _)| id.clone()).collect();
    refused.sort();
    assert_eq!(refused, ["40", "41"]);
    let counts = destination.counts();
    assert_eq!((counts.delivered, counts.refused), (30, 7));
    assert_whole_and_ordered(&stub.taken(), 30);
    assert_balanced(&destination);
    destinations.shutdown(PATIENCE).await;
}

/// Kinesis is away, so a replay of the quarantine goes to the spool; the gateway is killed in the middle of it, and sends
/// no record twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_that_was_cut_short_sends_each_record_once() {
    const EVENTS: usize = 4000;
    let stub = Stub::start(|_| Some(Fault::Call(503, "ServiceUnavailable"))).await;
    let configuration = format!(
        "[[destination]]\nname = \"events\"\nkind = \"kinesis\"\nregion = \"us-east-1\"\n\
         endpoint_url = \"http://{}\"\naccess_key_id = \"AKIDTEST\"\nsecret_access_key = \"no secret\"\n",
        stub.address()
    );
    let options = gateway::Options {
        configuration,
        ..gateway::Options::default()
    };
    let mut gateway = gateway::Gateway::start_with(options).await;
    gateway.partner("late", json!({})).await;
    let route = json!({"match": {"type": "late.*"}, "to": [{"destination": "events", "topic": "late"}]});
    gateway.put("/v1/routes/late", route).await;
    gateway
        .put("/v1/schemas/late.first/1", json!({"type": "object"}))
        .await;
    // With this one the destination turns to its spool.
    let first = gateway
        .post("/v1/events/late.first", "late", "application/json", "{}")
        .await;
    first.expect(202);
    for start in (0..EVENTS).step_by(1000) {
        let events =
            (start..start + 1000).map(|id| json!({"id": id.to_string(), "type": "late.event", "data": {}}));
        let body = Value::from_iter(events).to_string();
        let answer = gateway.post("/v1/events", "late", "application/json", body).await;
        assert_eq!(answer.expect(202)["quarantined"], 1000);
    }
    gateway
        .put("/v1/schemas/late.event/1", json!({"type": "object"}))
        .await;
    let spooled = async |gateway: &gateway::Gateway| gateway.accounts("events").await.get("waiting") as usize;
    let mut cut_short = 0;
    for kill in 0..4 {
        let least = kill * EVENTS / 5;
        let there = gateway::eventually("the replay goes on", async || {
            Some(spooled(&gateway).await).filter(|there| *there > least)
        })
        .await;
        gateway.kill();
        // One more than these is all there is.
        cut_short += usize::from(there <= EVENTS);
        gateway.start_again().await;
    }
    assert!(
        cut_short > 0,
        "no kill came while it was replayed: the test shows nothing"
    );
    gateway::eventually("nothing waits in quarantine", async || {
        gateway.quarantine().await.is_empty().then_some(())
    })
    .await;
    stub.decide(|_| None);
    gateway::eventually("the spool is drained", async || {
        (spooled(&gateway).await == 0).then_some(())
    })
    .await;
    let ids: Vec<String> = stub
        .taken()
        .iter()
        .map(|taken| serde_json::from_slice::<Value>(&taken.data).expect("JSON"))
        .filter(|event| event["type"] == "late.event")
        .map(|event| event["id"].as_str().expect("an id").to_owned())
        .collect();
    assert_eq!(ids.len(), EVENTS, "none is sent twice");
    assert_eq!(ids.iter().collect::<HashSet<_>>().len(), EVENTS);
}
