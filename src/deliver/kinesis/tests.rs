//! The order of calls, and the form of what they carry. What the service answers is tested in `tests/it/kinesis.rs`.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use proptest::prelude::*;

use super::{
    aggregate::aggregate,
    message::Message,
    queue::{CALL_BYTES_MAX, CALL_RECORDS_MAX, Item, Origin, Queue},
    shards::Shards,
};
use crate::{deliver::tests::record, event::Record};

fn keyed(key: Option<&str>, id: &str, value: &str) -> Record {
    Record {
        key: key.map(Into::into),
        ..record("orders", id, value)
    }
}

fn item(key: &str, number: u64, bytes: usize) -> Item {
    let record = keyed(
        Some(key),
        &number.to_string(),
        &format!("\"{}\"", "x".repeat(bytes)),
    );
    Item {
        message: Message::new(&record),
        record,
        origin: Origin::Spooled(number),
        since: Instant::now(),
        alone: false,
    }
}

#[test]
fn a_record_is_cloudevents_json_under_its_key() {
    let message = Message::new(&keyed(Some("customer-7"), "o-1", "{\"total\":\n1.50}"));
    let value: serde_json::Value = serde_json::from_slice(&message.data).expect("JSON");
    assert_eq!((&*message.stream, &*message.key), ("orders", "customer-7"));
    assert_eq!(
        (&value["id"], &value["hwpartner"]),
        (&"o-1".into(), &"shop".into())
    );
    assert_eq!(value["data"]["total"], 1.5);
    assert!(!message.data.contains(&b'\n'));
    for (key, expected) in [(None, "o-1"), (Some(""), "o-1")] {
        assert_eq!(&*Message::new(&keyed(key, "o-1", "{}")).key, expected);
    }
    let long = "k".repeat(300);
    let hashed = Message::new(&keyed(Some(&long), "o-1", "{}")).key;
    assert_eq!(hashed.len(), 64, "a key that is too long becomes its hash");
    assert_eq!(hashed, Message::new(&keyed(Some(&long), "o-2", "{}")).key);
}

#[test]
fn what_kinesis_never_takes_is_known_before_it_is_sent() {
    let mut record = keyed(None, "o-1", "{}");
    assert_eq!(Message::new(&record).check(1 << 20), Ok(()));
    record.topic = "no/stream".into();
    let refused = Message::new(&record).check(1 << 20).expect_err("refused");
    assert!(refused.contains("no stream of Kinesis"), "{refused}");
    let large = keyed(None, "o-1", &format!("\"{}\"", "x".repeat(1 << 20)));
    let refused = Message::new(&large).check(1 << 20).expect_err("refused");
    assert!(refused.contains("record_bytes (1048576)"), "{refused}");
}

#[test]
fn calls_keep_to_the_limits_of_the_service() {
    let mut queue = Queue::new(false, 1 << 20);
    for number in 0..1200 {
        queue.push(item(&format!("k{number}"), number, 10));
    }
    for number in 1200..1220 {
        queue.push(item(&format!("k{number}"), number, 900_000));
    }
    let mut records = 0;
    while let Some(call) = queue.next_call(Instant::now()) {
        assert!(call.entries.len() <= CALL_RECORDS_MAX && call.bytes() <= CALL_BYTES_MAX);
        records += call.items();
        queue.end_call(
            &call.stream,
            call.entries.iter().map(|entry| Arc::clone(&entry.key)),
        );
    }
    assert_eq!(records, 1220);
}

#[test]
fn records_of_one_key_share_a_record_where_they_are_aggregated() {
    let mut queue = Queue::new(true, 1 << 20);
    for number in 0..400 {
        queue.push(item(if number % 2 == 0 { "even" } else { "odd" }, number, 300));
    }
    let call = queue.next_call(Instant::now()).expect("a call");
    assert_eq!(call.entries.len(), 2);
    assert!(call.items() > 100, "{}", call.items());
    for entry in &call.entries {
        let data = entry.data();
        assert_eq!(data[..4], [0xf3, 0x89, 0x9a, 0xc2]);
        assert!(data.len() <= 52 << 10, "{}", data.len());
    }
    // One alone stays as it is.
    let mut queue = Queue::new(true, 1 << 20);
    queue.push(item("one", 1, 10));
    let call = queue.next_call(Instant::now()).expect("a call");
    assert_eq!(call.entries[0].data()[0], b'{');
}

#[test]
fn an_aggregate_ends_with_the_md5_of_its_protobuf() {
    let bytes = aggregate("k", [Bytes::from_static(b"one")]);
    // Table of keys: field 1, "k"; record: field 3, of index 0 and the data.
    let protobuf = [0x0a, 1, b'k', 0x1a, 7, 0x08, 0, 0x1a, 3, b'o', b'n', b'e'];
    assert_eq!(bytes[4..16], protobuf);
    assert_eq!(bytes.len(), 4 + protobuf.len() + 16);
}

#[test]
fn a_shard_that_throttles_pauses_alone_once_the_map_is_known() {
    let (mut shards, now) = (Shards::default(), Instant::now());
    // MD5 of "a" begins with 0c, of "b" with 92.
    shards.throttled("a", now);
    assert!(
        shards.is_paused("b", now),
        "without a map the whole stream pauses"
    );
    assert!(shards.wants_map(now));
    shards.succeeded("a");
    assert!(!shards.is_paused("b", now));
    shards.set_map(vec![(1 << 127, "high".into()), (0, "low".into())], now);
    shards.throttled("a", now);
    assert!(shards.is_paused("a", now) && !shards.is_paused("b", now));
    let first = shards.next_end(now).expect("a pause");
    shards.throttled("a", now);
    assert_eq!(
        shards.next_end(now),
        Some(first),
        "records of one call count once"
    );
    let mut at = first;
    for _ in 0..12 {
        shards.throttled("a", at);
        let end = shards.next_end(at).expect("a pause");
        assert!(end - at <= Duration::from_secs(5));
        at = end;
    }
    shards.throttled("a", at);
    assert!(
        shards.next_end(at).expect("a pause") - at >= Duration::from_millis(2500),
        "pauses grow"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    /// Whatever part of which call is refused for now, each key's records are taken in order, each of them once.
    #[test]
    fn partial_failures_keep_the_order_of_each_key(
        keys in proptest::collection::vec(0_usize..6, 1..150),
        aggregation: bool,
        seed: u64,
    ) {
        let mut queue = Queue::new(aggregation, 1 << 20);
        for (number, key) in keys.iter().enumerate() {
            queue.push(item(&format!("k{key}"), number as u64, 20));
        }
        let mut state = seed;
        let mut random = |bound: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(state >> 33).expect("31 bits") % bound
        };
        let mut taken: BTreeMap<Arc<str>, Vec<u64>> = BTreeMap::new();
        let mut calls = Vec::new();
        for _ in 0..100_000 {
            // Several calls are on their way, and end in any order.
            if random(2) == 0 && let Some(call) = queue.next_call(Instant::now()) {
                let keys: HashSet<_> = call.entries.iter().map(|entry| &entry.key).collect();
                prop_assert_eq!(keys.len(), call.entries.len(), "a key is in a call once");
                calls.push(call);
            }
            if calls.is_empty() {
                if queue.is_empty() {
                    break;
                }
                continue;
            }
            if random(2) == 0 {
                let call = calls.swap_remove(random(calls.len()));
                queue.end_call(&call.stream, call.entries.iter().map(|entry| Arc::clone(&entry.key)));
                for entry in call.entries {
                    let refused = random(3) == 0;
                    for (order, item) in entry.items {
                        if refused {
                            queue.give_back((order, item));
                        } else if let Origin::Spooled(number) = item.origin {
                            taken.entry(Arc::clone(&entry.key)).or_default().push(number);
                        }
                    }
                }
            }
        }
        prop_assert!(taken.values().all(|numbers| numbers.is_sorted()), "{:?}", taken);
        prop_assert_eq!(taken.values().map(Vec::len).sum::<usize>(), keys.len());
    }
}
