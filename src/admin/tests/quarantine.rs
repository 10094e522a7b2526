//! Quarantine: lists and items of the real one, and what replay and discard are asked for.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};

use super::{Api, Sweep, send};
use crate::{
    event::{Attributes, Decoded, Reason, Violation},
    json::Document,
    problem::Code,
    quarantine::{Filter, Kept},
    registry::{model::Role, now},
};

fn kept(number: usize, event_type: &str, code: Code) -> Kept {
    let text = format!("{{ \"n\": {number} }}");
    let event = Decoded {
        partner: "shop".parse().expect("a name"),
        attributes: Arc::new(Attributes {
            client_ip: None,
            user_agent: None,
            id: format!("event-{number}").into(),
            source: "/shop".to_owned(),
            event_type: event_type.parse().expect("a type"),
            time: "2026-01-02T03:04:05Z".to_owned(),
            subject: None,
            app_version: Some("5.2".to_owned()),
        }),
        data: Document::parse(Bytes::from(text), 64).expect("JSON"),
        received: now(),
        id_generated: false,
        traceparent: None,
    };
    let mut reason = Reason::new(code, "it cannot be processed");
    reason.errors.push(Violation {
        pointer: "/n".to_owned(),
        keyword: "maximum".to_owned(),
        message: "too large".to_owned(),
    });
    Kept::new(event, reason, None)
}

async fn keep(api: &Api, kept: Kept) {
    let (done, durable) = tokio::sync::oneshot::channel();
    api.quarantine.keep(kept, move |result| {
        let _ = done.send(result);
    });
    durable.await.expect("answered").expect("durable");
}

fn ids(listing: &Value) -> Vec<String> {
    let items = listing["items"].as_array().expect("items");
    items
        .iter()
        .map(|item| item["event_id"].as_str().expect("an id").to_owned())
        .collect()
}

#[tokio::test]
async fn items_are_listed_filtered_and_shown() {
    let api = Api::start().await;
    for number in 0..4 {
        let (event_type, code) = match number % 2 {
            0 => ("order.created", Code::SchemaViolation),
            _ => ("page.viewed", Code::RouteUnknown),
        };
        keep(&api, kept(number, event_type, code)).await;
    }
    let all = api.get("/v1/quarantine").await.json();
    assert_eq!(ids(&all), ["event-0", "event-1", "event-2", "event-3"]);
    let first = api.get("/v1/quarantine?limit=3").await.json();
    assert_eq!(ids(&first).len(), 3);
    let next = first["next"].as_str().expect("a cursor");
    assert_eq!(
        ids(&api.get(&format!("/v1/quarantine?after={next}")).await.json()),
        ["event-3"]
    );
    for (query, expected) in [
        ("type=order.created", &["event-0", "event-2"][..]),
        ("code=route-unknown", &["event-1", "event-3"]),
        ("partner=nobody", &[]),
        ("appversion=5.2&type=page.viewed", &["event-1", "event-3"]),
        ("to=2001-01-01T00:00:00Z", &[]),
    ] {
        assert_eq!(
            ids(&api.get(&format!("/v1/quarantine?{query}")).await.json()),
            expected,
            "{query}"
        );
    }
    let refused = api
        .get("/v1/quarantine?code=no-code&from=yesterday&colour=red")
        .await;
    assert_eq!(
        (refused.status, refused.code().as_str(), refused.pointers().len()),
        (422, "input-invalid", 3)
    );

    let item = &all["items"][0];
    let members: Vec<&str> = item
        .as_object()
        .expect("an object")
        .keys()
        .map(String::as_str)
        .collect();
    let contract = [
        "appversion",
        "code",
        "detail",
        "errors",
        "event_id",
        "id",
        "partner",
        "received",
        "size",
        "source",
        "type",
    ];
    assert_eq!(members, contract);
    let id = item["id"].as_str().expect("an id");
    let whole = api.get(&format!("/v1/quarantine/{id}")).await;
    assert!(
        String::from_utf8_lossy(&whole.body).contains("{ \"n\": 0 }"),
        "the data as sent"
    );
    let whole = whole.json();
    assert_eq!(
        (&whole["attributes"]["id"], &whole["errors"][0]["pointer"]),
        (&json!("event-0"), &json!("/n"))
    );
    for id in ["no-such", "00000000-0000-0000-0000-000000000000"] {
        assert_eq!(
            api.get(&format!("/v1/quarantine/{id}")).await.code(),
            "not-found",
            "{id}"
        );
    }
}

#[tokio::test]
async fn replay_and_discard_pass_on_what_is_asked() {
    let api = Api::start().await;
    let post = |path: &'static str, body: Value| {
        send(
            api.request(Role::Operator, "POST", &format!("/v1/quarantine/{path}"))
                .json(&body),
        )
    };
    let replayed = post(
        "replay",
        json!({ "partner": "shop", "code": "route-unknown", "limit": 5 }),
    )
    .await;
    let report =
        json!({ "matched": 3, "accepted": 2, "quarantined": 1, "discarded": 0, "more": false, "total": 0 });
    assert_eq!((replayed.status, replayed.json()), (200, report));
    let discarded = post(
        "discard",
        json!({ "from": "2026-01-01T00:00:00Z", "dry_run": true }),
    )
    .await;
    assert_eq!(
        (discarded.status, &discarded.json()["discarded"]),
        (200, &json!(3))
    );
    let shop = Filter {
        partner: Some("shop".to_owned()),
        code: Some(Code::RouteUnknown),
        ..Filter::default()
    };
    let from = Filter {
        from: Some("2026-01-01T00:00:00Z".parse().expect("a time")),
        ..Filter::default()
    };
    let expected = [
        (
            "replay",
            Sweep {
                filter: shop,
                limit: 5,
                dry_run: false,
                after: None,
            },
        ),
        (
            "discard",
            Sweep {
                filter: from,
                limit: 10_000,
                dry_run: true,
                after: None,
            },
        ),
    ];
    assert_eq!(api.calls.lock().swept, expected);

    // The trail says who did it; what was only counted leaves none.
    let changes = api.get("/v1/changes").await.json();
    let notes: Vec<&Value> = changes["items"]
        .as_array()
        .expect("items")
        .iter()
        .filter(|change| change["change"] == "note")
        .collect();
    assert_eq!(notes.len(), 1);
    assert_eq!(
        (&notes[0]["by"], &notes[0]["action"]),
        (&json!("operator"), &json!("quarantine.replay"))
    );
    assert_eq!(notes[0]["detail"]["filter"]["partner"], "shop");
}

#[tokio::test]
async fn faults_of_a_sweep_are_listed_together() {
    let api = Api::start().await;
    let body =
        json!({ "partner": 7, "code": "no-code", "to": "x", "dry_run": "yes", "limit": 10_001, "all": true });
    for path in ["replay", "discard"] {
        let refused = api.post(&format!("/v1/quarantine/{path}"), body.clone()).await;
        assert_eq!((refused.status, refused.code().as_str()), (422, "input-invalid"));
        let mut pointers = refused.pointers();
        pointers.sort();
        assert_eq!(
            pointers,
            ["/all", "/code", "/dry_run", "/limit", "/partner", "/to"]
        );
        let empty = send(api.request(Role::Operator, "POST", &format!("/v1/quarantine/{path}"))).await;
        assert_eq!(
            (empty.status, empty.code().as_str()),
            (400, "json-malformed"),
            "nothing said is not everything"
        );
    }
    assert!(api.calls.lock().swept.is_empty());
}
