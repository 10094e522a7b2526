use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use proptest::prelude::*;
use uuid::Uuid;

use super::{
    Acknowledgement, Delivery, KnownEvent, RecordIdentity, attributes, codec, nowhere, records_after,
};
use crate::{
    event::{Attributes, Record, RecordAttributes},
    spool::{Budget, Spool, SpoolOptions},
};

/// A record as the pipeline makes it, with every attribute set.
pub(super) fn record(topic: &str, id: &str, value: &str) -> Record {
    Record {
        about: Arc::new(RecordAttributes {
            attributes: Arc::new(Attributes {
                client_ip: None,
                user_agent: None,
                id: id.into(),
                source: "/partners/shop".to_owned(),
                event_type: "order.placed".parse().expect("a type"),
                time: "2026-03-04T05:06:07Z".to_owned(),
                subject: Some("customer \"7\"".to_owned()),
                app_version: Some("5.2.0".to_owned()),
            }),
            partner: "shop".parse().expect("a name"),
            schema: "order.placed@5.0.0".into(),
            plugin: Some("orders@3".into()),
            route: "orders".parse().expect("a name"),
            received: "2026-03-04T05:06:07.891234Z".parse().expect("a time"),
            traceparent: Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned()),
        }),
        topic: topic.into(),
        key: Some("customer-7".into()),
        headers: Arc::new([]),
        value: Bytes::copy_from_slice(value.as_bytes()),
        value_is_json: true,
        is_alone: false,
        item: None,
    }
}

/// Waits until `condition` holds; the state decides, the bound only ends a broken test.
pub(super) async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let end = std::time::Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(std::time::Instant::now() < end, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn an_acknowledgement_waits_for_every_ticket_and_tells_the_worst() {
    let acknowledgement = Acknowledgement::new(4);
    let durable = [
        acknowledgement.ticket(0),
        acknowledgement.ticket(1),
        acknowledgement.ticket(2),
    ];
    let (refused, no_place) = (acknowledgement.ticket(1), acknowledgement.ticket(1));
    let dropped = acknowledgement.ticket(2);
    let waiting = tokio::spawn(acknowledgement.wait());
    let refusal = Delivery::Refused {
        destination: nowhere(),
        detail: "too large".to_owned(),
        record: Box::new(record("orders", "1", "{}")),
    };
    let full = Delivery::NoPlace {
        destination: nowhere(),
        detail: "full".to_owned(),
    };
    no_place.complete(full.clone());
    refused.complete(refusal);
    drop(dropped);
    for ticket in durable {
        assert!(!waiting.is_finished());
        ticket.complete(Delivery::Durable);
    }
    let deliveries = waiting.await.expect("no panic");
    assert_eq!(deliveries[0], Delivery::Durable);
    assert_eq!(deliveries[1], full);
    assert!(matches!(&deliveries[2], Delivery::NoPlace { .. }));
    assert_eq!(deliveries[3], Delivery::Durable);
}

#[tokio::test]
async fn an_acknowledgement_tells_every_refusal_of_an_event() {
    let acknowledgement = Acknowledgement::new(2);
    let refusal = |destination: &str| Delivery::Refused {
        destination: destination.parse().expect("a name"),
        detail: "no such topic".to_owned(),
        record: Box::new(record("orders", destination, "{}")),
    };
    for name in ["one", "two"] {
        acknowledgement.ticket(1).complete(refusal(name));
    }
    acknowledgement.ticket(0).complete(Delivery::Durable);
    assert_eq!(
        acknowledgement.failures().await,
        [(1, refusal("one")), (1, refusal("two"))]
    );
}

#[tokio::test]
async fn an_acknowledgement_without_tickets_is_there_at_once() {
    assert_eq!(
        Acknowledgement::new(2).wait().await,
        [Delivery::Durable, Delivery::Durable]
    );
}

proptest! {
    #[test]
    fn a_record_comes_out_of_the_spool_as_it_went_in(
        texts in proptest::array::uniform6(".*"),
        optional in proptest::array::uniform5(proptest::option::of(".*")),
        headers in proptest::collection::vec((".*", ".*"), 0..4),
        value in proptest::collection::vec(any::<u8>(), 0..300),
        value_is_json: bool,
        is_alone: bool,
        item: Option<u128>,
        second in -1_000_000_000_000_i64..1_000_000_000_000 / 10,
        nanosecond in 0..1_000_000_000_i32,
    ) {
        let [id, source, time, schema, topic, _] = texts;
        let [subject, app_version, plugin, traceparent, key] = optional;
        let mut record = record("t", "i", "");
        record.about = Arc::new(RecordAttributes {
            attributes: Arc::new(Attributes {
                client_ip: None,
                user_agent: None,
                id: id.into(),
                source,
                time,
                subject,
                app_version,
                ..(*record.about.attributes).clone()
            }),
            schema: schema.into(),
            plugin: plugin.map(Into::into),
            received: jiff::Timestamp::new(second / 100, nanosecond).expect("in range"),
            traceparent,
            ..(*record.about).clone()
        });
        record.topic = topic.into();
        record.key = key.map(Into::into);
        record.headers = headers.into();
        record.value = value.into();
        record.value_is_json = value_is_json;
        record.is_alone = is_alone;
        record.item = item.map(Uuid::from_u128);
        let entry = codec::encode(&record);
        prop_assert_eq!(codec::encoded_bytes(&record), entry.len());
        let about = &record.about;
        let known = is_alone.then(|| KnownEvent {
            partner: about.partner.as_str().into(),
            source: about.attributes.source.as_str().into(),
            id: (*about.attributes.id).into(),
        });
        prop_assert_eq!(codec::known(&entry, jiff::Timestamp::MIN), known);
        prop_assert_eq!(codec::known(&entry, jiff::Timestamp::MAX), None);
        prop_assert_eq!(codec::partner(&entry), Some(record.about.partner.as_str()));
        prop_assert_eq!(codec::decode(&entry), Ok(record));
        for length in 0..entry.len() {
            prop_assert!(codec::decode(&entry.slice(..length)).is_err());
        }
    }
}

/// Of two records of one event and route, each an item in quarantine, the spool took one before the node died.
#[tokio::test]
async fn a_spool_tells_the_records_of_one_event_apart() {
    let folder = tempfile::tempdir().expect("a folder");
    let spool = Spool::open(folder.path(), SpoolOptions::default(), Budget::new(1 << 30)).expect("opens");
    let item = |number, value| Record {
        item: Some(Uuid::from_u128(number)),
        ..record("t", "1", value)
    };
    let whole = |value| record("t", "1", value);
    for taken in [item(1, "{}"), whole("[]"), whole("[]")] {
        let (done, durable) = tokio::sync::oneshot::channel();
        spool.append(&"shop".into(), codec::encode(&taken), |result| {
            done.send(result).expect("the test waits");
        });
        durable.await.expect("an answer").expect("durable");
    }
    let had = records_after(&spool, 0).await;
    let count = |record: &Record| had.get(&RecordIdentity::of(record)).copied();
    assert_eq!(count(&item(1, "{}")), Some(1));
    assert_eq!(count(&item(2, "{}")), None, "it says the same and is another");
    assert_eq!(count(&item(2, "[1]")), None);
    assert_eq!(count(&whole("[]")), Some(2));
    assert_eq!(count(&whole("{}")), None, "a sibling of what it took");
}

#[test]
fn a_record_of_a_later_version_is_named_as_such() {
    let mut entry = codec::encode(&record("t", "1", "{}")).to_vec();
    entry[0] = 9;
    assert_eq!(codec::decode(&entry.into()), Err(codec::DecodeError::Version(9)));
}

#[test]
fn a_line_is_cloudevents_json_with_all_attributes() {
    let mut record = record("orders", "o-1", "{\n \"total\": 1.50,\r\n \"note\": \"a\\nb\"\n}");
    record.headers = Arc::new([
        ("campaign".to_owned(), "spring".to_owned()),
        ("hwpartner".to_owned(), "forged".to_owned()),
        ("X-Other".to_owned(), "no CloudEvents name".to_owned()),
    ]);
    let mut line = Vec::new();
    attributes::write_json_line(&mut line, &record);
    let line = String::from_utf8(line).expect("UTF-8");
    assert_eq!(line.find('\n'), Some(line.len() - 1));
    assert!(
        line.contains("\"total\": 1.50"),
        "numbers keep their bytes: {line}"
    );
    let value: serde_json::Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!(
        value,
        serde_json::json!({
            "specversion": "1.0", "id": "o-1", "source": "/partners/shop", "type": "order.placed",
            "time": "2026-03-04T05:06:07Z", "subject": "customer \"7\"", "appversion": "5.2.0",
            "hwpartner": "shop", "hwschema": "order.placed@5.0.0", "hwplugin": "orders@3",
            "hwreceived": "2026-03-04T05:06:07.891Z",
            "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "campaign": "spring", "datacontenttype": "application/json",
            "data": {"total": 1.50, "note": "a\nb"},
        })
    );
}

#[test]
fn bytes_that_are_no_json_stand_in_base64() {
    let mut record = record("orders", "o-1", "");
    record.value = Bytes::from_static(&[0, 255, b'\n']);
    record.value_is_json = false;
    let mut line = Vec::new();
    attributes::write_json_line(&mut line, &record);
    let value: serde_json::Value = serde_json::from_slice(&line).expect("JSON");
    assert_eq!(value["datacontenttype"], "application/octet-stream");
    assert_eq!(value["data_base64"], "AP8K");
    assert_eq!(value.get("data"), None);
}
