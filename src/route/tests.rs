use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;

use super::Routes;
use crate::{
    event::{Attributes, Body, Decoded, Record, RecordAttributes},
    json::{Document, EditedDocument},
    registry::model::{Route, State, Versioned},
};

fn routes(list: &[(&str, serde_json::Value)]) -> Routes {
    let mut state = State::default();
    for (name, route) in list {
        let value: Route = serde_json::from_value(route.clone()).unwrap();
        state
            .routes
            .insert(name.parse().unwrap(), Arc::new(Versioned { sequence: 1, value }));
    }
    Routes::build(&state)
}

fn event(event_type: &str) -> Decoded {
    Decoded {
        partner: "haneul-app".parse().unwrap(),
        attributes: Arc::new(Attributes {
            client_ip: None,
            user_agent: None,
            id: "e-1".into(),
            source: "/app/ios".to_owned(),
            event_type: event_type.parse().unwrap(),
            time: "2026-11-02T10:00:00Z".to_owned(),
            subject: None,
            app_version: Some("5.2".to_owned()),
        }),
        data: Document::parse(Bytes::from_static(br#"{"user":{"id":7},"list":[1]}"#), 64).unwrap(),
        received: Timestamp::UNIX_EPOCH,
        id_generated: false,
        traceparent: None,
    }
}

fn names(routes: &Routes, event_type: &str) -> Vec<String> {
    routes
        .matching(&event(event_type))
        .iter()
        .map(|route| route.name.to_string())
        .collect()
}

#[test]
fn an_event_goes_to_every_route_that_matches_it() {
    let to = serde_json::json!([{"destination": "files"}]);
    let routes = routes(&[
        ("all", serde_json::json!({"to": to})),
        (
            "exact",
            serde_json::json!({"match": {"type": "order.created"}, "to": to}),
        ),
        (
            "prefix",
            serde_json::json!({"match": {"type": "order.*", "source": "/app/*"}, "to": to}),
        ),
        (
            "other",
            serde_json::json!({"match": {"partner": "adlink"}, "to": to}),
        ),
        (
            "elsewhere",
            serde_json::json!({"match": {"type": "order.created", "source": "/web"}, "to": to}),
        ),
    ]);
    assert_eq!(names(&routes, "order.created"), ["exact", "all", "prefix"]);
    assert_eq!(names(&routes, "order.paid"), ["all", "prefix"]);
    assert_eq!(names(&routes, "orders"), ["all"]);
}

fn record(target: serde_json::Value, topic: Option<&str>, key: Option<&str>) -> Record {
    let routes = routes(&[("one", serde_json::json!({"to": [target]}))]);
    let event = event("order.created");
    let about = Arc::new(RecordAttributes {
        attributes: event.attributes.clone(),
        partner: event.partner.clone(),
        schema: "order.created@1".into(),
        plugin: None,
        route: "one".parse().unwrap(),
        received: event.received,
        traceparent: None,
    });
    let body = Body::Document(EditedDocument::new(event.data.clone()));
    routes.matching(&event)[0].targets[0].record(
        &about,
        topic.map(Arc::from).as_ref(),
        key.map(Arc::from).as_ref(),
        &Arc::from([]),
        &body,
        &event.data.bytes(),
    )
}

#[test]
fn what_the_plugin_leaves_open_the_route_decides() {
    let open = record(serde_json::json!({"destination": "files"}), None, None);
    assert_eq!((&*open.topic, open.key.as_deref()), ("order.created", None));
    let target = serde_json::json!({"destination": "files", "topic": "orders", "key": "/user/id"});
    let routed = record(target.clone(), None, None);
    assert_eq!((&*routed.topic, routed.key.as_deref()), ("orders", Some("7")));
    let said = record(target, Some("vip"), Some("k"));
    assert_eq!((&*said.topic, said.key.as_deref()), ("vip", Some("k")));
}

#[test]
fn a_key_is_a_scalar_or_an_attribute() {
    for (key, expected) in [
        ("/list", None),
        ("/nothing", None),
        ("/list/0", Some("1")),
        ("id", Some("e-1")),
        ("appversion", Some("5.2")),
        ("partner", Some("haneul-app")),
        ("subject", None),
    ] {
        let target = serde_json::json!({"destination": "files", "key": key});
        assert_eq!(record(target, None, None).key.as_deref(), expected, "{key}");
    }
}
