//! What was answered 202 is in every destination, however often the process is killed: in the order of its key, and
//! hardly ever twice.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};

use crate::harness::{
    gateway::{Gateway, Options, eventually},
    kafka, long,
};

const SENDERS: u64 = 6;
const DESTINATIONS: [&str; 2] = ["files", "events"];
const TOPIC: &str = "crash";
/// Of each sender: who sends one request after the other has an order for each.
const KEYS: u64 = 3;

/// How much of it: 22 kills, or with `HEADWORKS_TEST_LONG` more than 200 and a million events.
struct Size {
    kills: u64,
    events_per_request: u64,
    accepted_between_kills: usize,
    padding_max: u64,
}

fn size() -> Size {
    if long() {
        Size {
            kills: 210,
            events_per_request: 100,
            accepted_between_kills: 5000,
            padding_max: 20,
        }
    } else {
        Size {
            kills: 22,
            events_per_request: 3,
            accepted_between_kills: 20,
            padding_max: 700,
        }
    }
}

/// Issues ids, and keeps each that was answered 202 as a debt.
#[derive(Default)]
struct Oracle {
    /// How many each sender has had.
    next: [AtomicU64; SENDERS as usize],
    owed: Mutex<HashSet<u64>>,
}

impl Oracle {
    /// A sender's next ones. From an id both the sender and the place in its order can be read.
    fn issue(&self, sender: u64, count: u64) -> Vec<u64> {
        let first = self.next[sender as usize].fetch_add(count, Ordering::Relaxed);
        (first..first + count)
            .map(|number| number * SENDERS + sender)
            .collect()
    }
}

fn key(id: u64) -> String {
    format!("{}-{}", id % SENDERS, id / SENDERS % KEYS)
}

/// The data is derived from the id, so that what arrives can be compared.
fn data(id: u64) -> Value {
    json!({
        "number": id, "key": key(id), "text": format!("event {id} \u{1f4e6}"),
        "padding": "x".repeat((id % size().padding_max) as usize)
    })
}

async fn send_until_refused(
    oracle: Arc<Oracle>,
    sender: u64,
    client: reqwest::Client,
    url: String,
    key: String,
) {
    loop {
        let ids = oracle.issue(sender, size().events_per_request);
        let events: Vec<Value> = ids
            .iter()
            .map(|id| json!({"id": id.to_string(), "type": "crash.test", "data": data(*id)}))
            .collect();
        let sent = client.post(&url).bearer_auth(&key).json(&events).send().await;
        match sent {
            Ok(answer) if answer.status() == 202 => {
                oracle.owed.lock().expect("no sender panics").extend(ids);
            }
            Ok(answer) if answer.status() == 503 => {}
            Ok(answer) => panic!("{}: {:?}", answer.status(), answer.text().await),
            Err(_) => return,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::too_many_lines, reason = "one life of a gateway and its oracle")]
async fn what_was_answered_202_survives_kills() {
    let broker = kafka::shared();
    let topic = format!("{TOPIC}-{}", uuid::Uuid::now_v7());
    broker.create_topic(&topic, 2).await;
    let mut gateway = Gateway::start_with(Options {
        kafka: Some(broker.bootstrap().to_owned()),
        ..Options::default()
    })
    .await;
    let key = gateway.partner("crash", json!({})).await;
    gateway
        .put(
            "/v1/schemas/crash.test/1",
            json!({"type": "object", "required": ["number"]}),
        )
        .await;
    let to = json!([
        {"destination": "files", "topic": TOPIC, "key": "/key"},
        {"destination": "events", "topic": topic, "key": "/key"},
    ]);
    gateway
        .put(
            "/v1/routes/crash",
            json!({"match": {"type": "crash.*"}, "to": to}),
        )
        .await;

    let oracle = Arc::new(Oracle::default());
    let url = format!("http://{}/v1/events", gateway.data_address());
    let Size {
        kills,
        accepted_between_kills,
        ..
    } = size();
    for kill in 0..kills {
        let before = oracle.owed.lock().expect("no sender panics").len();
        let senders: Vec<_> = (0..SENDERS)
            .map(|sender| {
                let client = crate::harness::client();
                tokio::spawn(send_until_refused(
                    Arc::clone(&oracle),
                    sender,
                    client,
                    url.clone(),
                    key.clone(),
                ))
            })
            .collect();
        eventually("events are accepted", async || {
            balance(&gateway).await;
            (oracle.owed.lock().expect("no sender panics").len() > before + accepted_between_kills)
                .then_some(())
        })
        .await;
        // At another moment each time: between two acknowledgements, in a group commit, in a file's sync.
        tokio::time::sleep(Duration::from_micros(kill * 4_711 % 90_000)).await;
        gateway.kill();
        for sender in senders {
            sender.await.expect("a sender sees only answers of the contract");
        }
        gateway.start_again().await;
    }

    let owed = oracle.owed.lock().expect("no sender panics").clone();
    assert!(
        owed.len() >= kills as usize * accepted_between_kills,
        "{} events",
        owed.len()
    );
    let in_files = eventually("every acknowledged event is in the files", async || {
        let records = gateway.records(TOPIC).into_iter();
        let found = Arrived::of(records.map(|mut record| (record["id"].take(), record["data"].take())));
        owed.iter().all(|id| found.holds(*id)).then_some(found)
    })
    .await;
    let in_kafka = eventually("every acknowledged event is in Kafka", async || {
        let messages = broker.consume_all(&topic).await.into_iter();
        let found = Arrived::of(messages.map(|message| {
            let data = serde_json::from_slice(&message.value).expect("a value is JSON");
            (Value::from(message.headers["ce_id"].as_str()), data)
        }));
        owed.iter().all(|id| found.holds(*id)).then_some(found)
    })
    .await;
    // What a kill may double is what was on its way then.
    let on_way_max = kills * SENDERS * size().events_per_request;
    for (destination, arrived) in [("files", &in_files), ("Kafka", &in_kafka)] {
        arrived.assert_ordered(destination);
        let doubled = arrived.ids.len() - arrived.known.len();
        println!("{destination}: {} events, {doubled} doubled", arrived.known.len());
        assert!(doubled as u64 <= on_way_max, "{destination}: {doubled} doubled");
    }
    assert!(gateway.quarantine().await.is_empty());
    assert_all_arrived(&gateway, &key).await;
    println!("{} acknowledged events over {kills} kills, none lost", owed.len());
}

/// Read while senders send and the process is about to be killed.
async fn balance(gateway: &Gateway) {
    for destination in DESTINATIONS {
        gateway
            .accounts(destination)
            .await
            .assert_balanced(SENDERS * size().events_per_request);
    }
}

/// A counted number of events after all kills: each destination has taken exactly those and what it found in its spool.
async fn assert_all_arrived(gateway: &Gateway, key: &str) {
    const REQUESTS: u64 = 40;
    let client = crate::harness::client();
    let events = format!("http://{}/v1/events/crash.test", gateway.data_address());
    for number in 0..REQUESTS {
        let sent = client
            .post(&events)
            .bearer_auth(key)
            .json(&json!({"number": number}));
        assert_eq!(sent.send().await.expect("answered").status(), 202);
    }
    for destination in DESTINATIONS {
        let accounts = eventually("all is delivered", async || {
            let accounts = gateway.accounts(destination).await;
            (accounts.get("waiting") == 0).then_some(accounts)
        })
        .await;
        accounts.assert_balanced(0);
        assert_eq!(accounts.get("accepted"), REQUESTS, "{accounts:?}");
        assert_eq!(
            accounts.get("delivered"),
            REQUESTS + accounts.get("recovered"),
            "{accounts:?}"
        );
    }
    let answered: f64 = gateway
        .metric("headworks_events_total")
        .await
        .iter()
        .filter(|sample| sample.labels["status"] == "accepted")
        .map(|sample| sample.value)
        .sum();
    assert_eq!(answered as u64, REQUESTS);
}

/// What stands in a destination.
struct Arrived {
    /// In their order there, those that came twice too.
    ids: Vec<u64>,
    known: HashSet<u64>,
}

impl Arrived {
    fn of(records: impl Iterator<Item = (Value, Value)>) -> Arrived {
        let ids: Vec<u64> = records
            .map(|(id, found)| {
                let id = id.as_str().and_then(|id| id.parse().ok());
                let id = id.expect("ids are numbers here");
                assert_eq!(found, data(id), "what arrives is what was sent");
                id
            })
            .collect();
        let known = ids.iter().copied().collect();
        Arrived { ids, known }
    }

    fn holds(&self, id: u64) -> bool {
        self.known.contains(&id)
    }

    /// Each key's events came in the order in which they were sent; of one that came twice the first counts.
    fn assert_ordered(&self, destination: &str) {
        let mut last: HashMap<String, u64> = HashMap::new();
        let mut seen = HashSet::new();
        for id in self.ids.iter().filter(|id| seen.insert(**id)) {
            let before = last.insert(key(*id), *id);
            assert!(
                before.is_none_or(|before| before < *id),
                "{destination}: {id} came after {before:?} of the same key"
            );
        }
        assert_eq!(last.len() as u64, SENDERS * KEYS, "{destination}");
    }
}
