mod store;

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;

use super::{Filter, Kept, Quarantine};
use crate::{
    event::{Attributes, Decoded, Reason, Record, RecordAttributes},
    json::Document,
    problem::Code,
    spool::{Budget, Spool, SpoolOptions},
    store::Store,
};

const DATA: &str = "{ \"a\" :\n 1.50 }";

fn kept(id: &str, code: Code) -> Kept {
    let event = Decoded {
        partner: "haneul-app".parse().unwrap(),
        attributes: Arc::new(Attributes {
            client_ip: None,
            user_agent: None,
            id: id.into(),
            source: "/app".to_owned(),
            event_type: "app.opened".parse().unwrap(),
            time: "2026-11-02T10:00:00Z".to_owned(),
            subject: None,
            app_version: Some("5.2".to_owned()),
        }),
        data: Document::parse(Bytes::from_static(DATA.as_bytes()), 64).unwrap(),
        received: Timestamp::UNIX_EPOCH,
        id_generated: false,
        traceparent: None,
    };
    Kept::new(
        event,
        Reason::new(code, "why"),
        Some(vec!["one".parse().unwrap()]),
    )
}

async fn open(folder: &std::path::Path) -> Arc<Quarantine> {
    open_as(folder, "spool", uuid::Uuid::now_v7()).await
}

async fn open_as(folder: &std::path::Path, spool: &str, node: uuid::Uuid) -> Arc<Quarantine> {
    let budget = Budget::new(1 << 30);
    let spool = Spool::open(&folder.join(spool), SpoolOptions::default(), budget).unwrap();
    let store = Store::open(&format!("file:{}", folder.join("store").display())).unwrap();
    Quarantine::open_as(node, spool, store).await.unwrap()
}

async fn keep(quarantine: &Arc<Quarantine>, kept: Kept) {
    let (done, result) = tokio::sync::oneshot::channel();
    quarantine.keep(kept, move |result| done.send(result).unwrap());
    result.await.unwrap().unwrap();
}

async fn ids(quarantine: &Quarantine, filter: &Filter) -> Vec<String> {
    let (items, _) = quarantine.list(filter, None, 100).await.unwrap();
    items.into_iter().map(|item| item.event_id).collect()
}

#[tokio::test]
async fn what_is_kept_is_listed_at_once_and_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let quarantine = open(folder.path()).await;
    keep(&quarantine, kept("1", Code::SchemaUnknown)).await;
    keep(&quarantine, kept("2", Code::RouteUnknown)).await;
    let all = Filter::default();
    assert_eq!(ids(&quarantine, &all).await, ["1", "2"]);
    quarantine.close().await;
    drop(quarantine);
    let quarantine = open(folder.path()).await;
    assert_eq!(ids(&quarantine, &all).await, ["1", "2"]);
    let (taken, more) = quarantine.take(&all, None, 1).await.unwrap();
    assert!(more);
    assert_eq!(
        taken[0].event.data.bytes(),
        DATA.as_bytes(),
        "data keeps its bytes"
    );
    assert_eq!(
        taken[0].event.attributes,
        kept("1", Code::Internal).event.attributes
    );
    assert_eq!(taken[0].routes.as_deref(), Some(&["one".parse().unwrap()][..]));
}

#[tokio::test]
async fn what_is_resolved_stays_away() {
    let folder = tempfile::tempdir().unwrap();
    let quarantine = open(folder.path()).await;
    let (one, two) = (kept("1", Code::SchemaUnknown), kept("2", Code::SchemaUnknown));
    keep(&quarantine, one.clone()).await;
    keep(&quarantine, two).await;
    quarantine.resolve(&[one.id]).await.unwrap();
    assert_eq!(ids(&quarantine, &Filter::default()).await, ["2"]);
    assert!(quarantine.get(&one.id.to_string()).await.unwrap().is_none());
    quarantine.close().await;
    drop(quarantine);
    assert_eq!(ids(&*open(folder.path()).await, &Filter::default()).await, ["2"]);
}

#[tokio::test]
async fn an_item_kept_anew_has_its_latest_reason_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let quarantine = open(folder.path()).await;
    let first = kept("1", Code::SchemaUnknown);
    keep(&quarantine, first.clone()).await;
    let second = Kept {
        reason: Reason::new(Code::SchemaViolation, "now this"),
        ..first
    };
    keep(&quarantine, second).await;
    quarantine.close().await;
    drop(quarantine);
    let (items, _) = open(folder.path())
        .await
        .list(&Filter::default(), None, 9)
        .await
        .unwrap();
    assert_eq!(items.len(), 1);
    assert_eq!(items[0].code, Code::SchemaViolation);
}

#[tokio::test]
async fn filters_choose_and_pages_follow_one_another() {
    let folder = tempfile::tempdir().unwrap();
    let quarantine = open(folder.path()).await;
    for id in ["1", "2", "3"] {
        keep(&quarantine, kept(id, Code::SchemaUnknown)).await;
    }
    keep(&quarantine, kept("4", Code::RouteUnknown)).await;
    let by_code = Filter {
        code: Some(Code::SchemaUnknown),
        ..Filter::default()
    };
    let (page, next) = quarantine.list(&by_code, None, 2).await.unwrap();
    assert_eq!(page.len(), 2);
    let (page, next) = quarantine.list(&by_code, next.as_deref(), 2).await.unwrap();
    assert_eq!((page[0].event_id.as_str(), page.len(), next), ("3", 1, None));
    for filter in [
        Filter {
            partner: Some("other".to_owned()),
            ..Filter::default()
        },
        Filter {
            event_type: Some("app.closed".to_owned()),
            ..Filter::default()
        },
        Filter {
            app_version: Some("5.3".to_owned()),
            ..Filter::default()
        },
        Filter {
            to: Some(Timestamp::UNIX_EPOCH),
            ..Filter::default()
        },
    ] {
        assert!(ids(&quarantine, &filter).await.is_empty(), "{filter:?}");
    }
    assert!(quarantine.list(&by_code, Some("no cursor"), 2).await.is_err());
}

/// A record that is no JSON, of the event `1`.
fn refused_record() -> Record {
    let event = kept("1", Code::Internal).event;
    Record {
        about: Arc::new(RecordAttributes {
            attributes: event.attributes,
            partner: event.partner,
            schema: "app.opened@1".into(),
            plugin: Some("p@1".into()),
            route: "one".parse().unwrap(),
            received: event.received,
            traceparent: None,
        }),
        topic: "t".into(),
        key: Some("k".into()),
        headers: Arc::from([("h".to_owned(), "v".to_owned())]),
        value: Bytes::from_static(b"\x00\xff"),
        value_is_json: false,
        is_alone: false,
        item: None,
    }
}

#[tokio::test]
async fn a_refused_record_comes_back_as_it_was() {
    let record = refused_record();
    let refused = Kept::refused("events".to_owned(), record.clone(), "too large".to_owned()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let quarantine = open(folder.path()).await;
    let id = refused.id.to_string();
    keep(&quarantine, refused).await;
    quarantine.close().await;
    drop(quarantine);
    let kept = open(folder.path()).await.get(&id).await.unwrap().unwrap();
    assert_eq!(kept.record.unwrap().record, record);
    assert_eq!(kept.reason.code, Code::DeliveryRefused);
}

/// A replay that is refused, and dies before it is noted, is refused again.
#[tokio::test]
async fn a_refusal_that_is_kept_again_is_the_same_item() {
    let folder = tempfile::tempdir().unwrap();
    let quarantine = open(folder.path()).await;
    let item = kept("1", Code::SchemaUnknown);
    for _ in 0..2 {
        for (destination, number) in [("events", 0), ("events", 1), ("others", 0)] {
            let (name, detail) = (destination.to_owned(), "too large".to_owned());
            let refused = item
                .refused_again(name, refused_record(), number, detail)
                .unwrap();
            assert_eq!(
                refused.id.as_bytes()[..12],
                item.id.as_bytes()[..12],
                "its place in time"
            );
            keep(&quarantine, refused).await;
        }
    }
    assert_eq!(quarantine.len(), 3);
}

/// The item stays where a route failed, and the next replay counts its refusals from 0 again.
#[test]
fn refusals_of_different_records_are_different_items() {
    let item = kept("1", Code::SchemaUnknown);
    let record = refused_record();
    let mut about = (*record.about).clone();
    about.route = "another".parse().unwrap();
    let records = [
        Record {
            topic: "another".into(),
            ..record.clone()
        },
        Record {
            key: Some("another".into()),
            ..record.clone()
        },
        Record {
            value: Bytes::from_static(b"another"),
            ..record.clone()
        },
        Record {
            about: Arc::new(about),
            ..record.clone()
        },
        record,
    ];
    let ids: std::collections::BTreeSet<_> = records
        .iter()
        .map(|record| {
            let refused = item.refused_again("events".to_owned(), record.clone(), 0, "too large".to_owned());
            refused.unwrap().id
        })
        .collect();
    assert_eq!(ids.len(), records.len());
}
