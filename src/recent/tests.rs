use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;

use super::{Memo, Recent, RecentFilter, masked};
use crate::{
    config::RecentSettings,
    event::{Attributes, Decoded, Outcome, Reason},
    json::Document,
    limits::ByteSize,
    problem::Code,
};

fn recent(events: u32, max_bytes: u64) -> Arc<Recent> {
    Recent::new(&RecentSettings {
        events,
        max_bytes: ByteSize(max_bytes),
    })
}

struct Sent<'a> {
    partner: &'a str,
    version: Option<&'a str>,
    id: String,
    data: String,
    at_ms: i64,
}

impl Default for Sent<'_> {
    fn default() -> Self {
        Sent {
            partner: "shop",
            version: Some("5.2"),
            id: "1".to_owned(),
            data: "{}".to_owned(),
            at_ms: 1_000_000,
        }
    }
}

fn event(sent: &Sent<'_>) -> Decoded {
    Decoded {
        partner: sent.partner.parse().unwrap(),
        attributes: Attributes {
            client_ip: None,
            user_agent: None,
            id: sent.id.clone().into(),
            source: "/app".to_owned(),
            event_type: "app.opened".parse().unwrap(),
            time: "2026-11-02T10:00:00Z".to_owned(),
            subject: None,
            app_version: sent.version.map(str::to_owned),
        }
        .into(),
        data: Document::parse(Bytes::from(sent.data.clone()), 64).unwrap(),
        received: Timestamp::from_millisecond(sent.at_ms).unwrap(),
        id_generated: false,
        traceparent: None,
    }
}

/// Whether the event was remembered.
fn pass(recent: &Recent, sent: &Sent<'_>, outcome: &Outcome) -> bool {
    let sample = recent.observe(&event(sent), &mut Memo::default());
    let is_sampled = sample.is_some();
    if let Some(sample) = sample {
        recent.remember(sample, outcome);
    }
    is_sampled
}

fn ids(recent: &Recent, filter: &RecentFilter) -> Vec<String> {
    let events = recent.events(filter, None, 1000);
    events
        .iter()
        .map(|event| event.attributes.id.to_string())
        .collect()
}

#[test]
fn the_last_events_of_each_version_are_kept_and_all_are_counted() {
    let recent = recent(3, 1 << 20);
    for id in 1..=5 {
        let sent = Sent {
            id: id.to_string(),
            ..Sent::default()
        };
        pass(&recent, &sent, &Outcome::Accepted);
    }
    let old = Sent {
        version: None,
        id: "old".to_owned(),
        ..Sent::default()
    };
    let reason = Reason::new(Code::VersionUnknown, "why");
    pass(&recent, &old, &Outcome::Quarantined(reason));
    assert_eq!(ids(&recent, &RecentFilter::default()), ["old", "5", "4", "3"]);
    let seen = recent.versions(&"app.opened".parse().unwrap());
    let counts: Vec<_> = seen
        .iter()
        .map(|seen| (seen.app_version.as_deref(), seen.events))
        .collect();
    assert_eq!(counts, [(Some("5.2"), 5), (None, 1)]);
    assert!(recent.versions(&"app.closed".parse().unwrap()).is_empty());
}

#[test]
fn each_filter_narrows() {
    let recent = recent(10, 1 << 20);
    pass(&recent, &Sent::default(), &Outcome::Accepted);
    let refused = Sent {
        partner: "other",
        version: None,
        id: "2".to_owned(),
        at_ms: 2_000_000,
        ..Sent::default()
    };
    let reason = Reason::new(Code::SchemaViolation, "why");
    pass(&recent, &refused, &Outcome::Rejected(reason));
    let middle = Timestamp::from_millisecond(1_500_000).unwrap();
    let second = [
        RecentFilter {
            partner: Some("other".to_owned()),
            ..RecentFilter::default()
        },
        RecentFilter {
            app_version: Some(String::new()),
            ..RecentFilter::default()
        },
        RecentFilter {
            status: Some("rejected".to_owned()),
            ..RecentFilter::default()
        },
        RecentFilter {
            code: Some(Code::SchemaViolation),
            ..RecentFilter::default()
        },
        RecentFilter {
            from: Some(middle),
            ..RecentFilter::default()
        },
    ];
    for filter in second {
        assert_eq!(ids(&recent, &filter), ["2"], "{filter:?}");
    }
    let first = RecentFilter {
        to: Some(middle),
        ..RecentFilter::default()
    };
    assert_eq!(ids(&recent, &first), ["1"]);
    for filter in [
        RecentFilter {
            source: Some("/web".to_owned()),
            ..RecentFilter::default()
        },
        RecentFilter {
            event_type: Some("app.closed".to_owned()),
            ..RecentFilter::default()
        },
    ] {
        assert!(ids(&recent, &filter).is_empty(), "{filter:?}");
    }
    let newest = recent.events(&RecentFilter::default(), None, 1);
    assert_eq!(&*newest[0].attributes.id, "2");
    let older = recent.events(&RecentFilter::default(), Some(newest[0].sequence), 10);
    assert_eq!(&*older[0].attributes.id, "1");
}

#[test]
fn a_busy_stream_is_sampled_and_counted_whole() {
    let recent = recent(5, 1 << 20);
    let sampled = (0..1000)
        .filter(|_| pass(&recent, &Sent::default(), &Outcome::Accepted))
        .count();
    assert!((5..=21).contains(&sampled), "{sampled}");
    let later = Sent {
        at_ms: 1_000_200,
        ..Sent::default()
    };
    assert!(
        pass(&recent, &later, &Outcome::Accepted),
        "after a while the next one is"
    );
    assert_eq!(recent.versions(&"app.opened".parse().unwrap())[0].events, 1001);
}

#[test]
fn what_is_remembered_holds_no_request() {
    let recent = recent(5, 1 << 20);
    let body = format!("[{{\"a\":1}},\"{}\"]", "x".repeat(100_000));
    let document = Document::parse(Bytes::from(body), 64).unwrap();
    let element = document.root().element(0).unwrap();
    let mut event = event(&Sent::default());
    event.data = document.subdocument(element);
    let whole = document.bytes().as_ptr_range();
    let sample = recent.observe(&event, &mut Memo::default()).unwrap();
    recent.remember(sample, &Outcome::Accepted);
    let kept = recent.events(&RecentFilter::default(), None, 1);
    assert_eq!(&kept[0].data[..], b"{\"a\":1}");
    assert!(
        !whole.contains(&kept[0].data.as_ptr()),
        "a slice would keep the body"
    );
    assert!(recent.bytes() < 10_000);
}

#[test]
fn a_partner_that_floods_takes_no_other_partners_place() {
    let recent = recent(10, 1 << 20);
    for id in 0..10 {
        let sent = Sent {
            partner: "quiet",
            id: id.to_string(),
            ..Sent::default()
        };
        pass(&recent, &sent, &Outcome::Accepted);
    }
    for round in 0..20 {
        for stream in 0..500 {
            let version = format!("{round}.{stream}");
            let sent = Sent {
                partner: "loud",
                version: Some(&version),
                data: format!("\"{}\"", "x".repeat(3000)),
                at_ms: 2_000_000 + round,
                ..Sent::default()
            };
            pass(&recent, &sent, &Outcome::Accepted);
        }
        recent.keep_fair();
    }
    let quiet = RecentFilter {
        partner: Some("quiet".to_owned()),
        ..RecentFilter::default()
    };
    assert_eq!(ids(&recent, &quiet).len(), 10);
    let loud = RecentFilter {
        partner: Some("loud".to_owned()),
        ..RecentFilter::default()
    };
    let kept = recent.events(&loud, None, 100_000);
    assert!(kept.len() > 100, "{}", kept.len());
    assert!(
        kept[0].received.as_millisecond() >= 2_000_018,
        "its newest streams stay"
    );
    assert!(recent.bytes() <= 1 << 20, "{}", recent.bytes());
}

#[test]
fn one_stream_and_one_event_hold_only_their_part() {
    let recent = recent(100, 1 << 20);
    for id in 0..100 {
        let sent = Sent {
            id: id.to_string(),
            data: format!("\"{}\"", "x".repeat(10_000)),
            ..Sent::default()
        };
        pass(&recent, &sent, &Outcome::Accepted);
    }
    let kept = ids(&recent, &RecentFilter::default());
    assert!(kept.len() > 2 && kept.len() * 10_000 <= 1 << 16, "{}", kept.len());
    assert_eq!(kept[0], "99");
    let large = Sent {
        id: "large".to_owned(),
        version: Some("6"),
        data: format!("\"{}\"", "x".repeat(20_000)),
        ..Sent::default()
    };
    pass(&recent, &large, &Outcome::Accepted);
    assert!(!ids(&recent, &RecentFilter::default()).contains(&"large".to_owned()));
}

#[test]
fn none_are_kept_where_none_are_wanted() {
    let recent = recent(0, 1 << 20);
    assert!(!pass(&recent, &Sent::default(), &Outcome::Accepted));
    assert!(ids(&recent, &RecentFilter::default()).is_empty());
}

#[test]
fn workers_and_readers_do_not_wait_for_each_other() {
    let recent = recent(50, 1 << 20);
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let recent = &recent;
            scope.spawn(move || {
                let mut memo = Memo::default();
                for number in 0..2000 {
                    let sent = Sent {
                        id: format!("{worker}-{number}"),
                        at_ms: 1_000_000 + number * 100,
                        ..Sent::default()
                    };
                    if let Some(sample) = recent.observe(&event(&sent), &mut memo) {
                        recent.remember(sample, &Outcome::Accepted);
                    }
                    if number % 100 == 0 {
                        recent.events(&RecentFilter::default(), None, 10);
                    }
                }
            });
        }
    });
    let seen = recent.versions(&"app.opened".parse().unwrap());
    assert_eq!(seen[0].events, 8000);
    assert_eq!(ids(&recent, &RecentFilter::default()).len(), 50);
}

#[test]
fn masked_values_are_hidden_and_all_else_keeps_its_bytes() {
    let data = Bytes::from_static(
        br#"{ "email" : "a@b.c", "n": 1.50, "items": [ {"card": 1, "ok": true}, {"card": {"no": 2}} ], "a/b": 3 }"#,
    );
    let mask = |pointers: &[&str]| {
        let pointers: Vec<String> = pointers.iter().map(|pointer| (*pointer).to_owned()).collect();
        String::from_utf8(masked(&data, &pointers).to_vec()).unwrap()
    };
    assert_eq!(
        mask(&[
            "/email",
            "/items/*/card",
            "/items/1/card/no",
            "/a~1b",
            "/none",
            "/n/x"
        ]),
        r#"{ "email" : "***", "n": 1.50, "items": [ {"card": "***", "ok": true}, {"card": "***"} ], "a/b": "***" }"#
    );
    assert_eq!(mask(&[""]), "\"***\"");
    assert_eq!(mask(&["/*"]).matches("\"***\"").count(), 4);
    assert_eq!(mask(&[]).as_bytes(), data);
    assert_eq!(mask(&["no pointer"]), "\"***\"", "never shown by mistake");
    let broken = Bytes::from_static(b"{");
    assert_eq!(masked(&broken, &["/a".to_owned()]), "\"***\"");
}
