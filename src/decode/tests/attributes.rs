//! What an event's attributes may be, and where they come from.

use super::{Code, Sent, post, text};

const JSON: &str = "application/json";
const NDJSON: &str = "application/x-ndjson";

#[test]
fn one_event_brings_its_attributes() {
    let body = r#"{"specversion":"1.0","id":"e-1","source":"/shop","type":"order.paid","subject":"o/7",
        "time":"2026-01-02T03:04:05.678901+09:00","appversion":"5.10.0-rc1","future":{"x":1},
        "traceparent":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01","data":{"total":1e2}}"#;
    for content_type in ["application/cloudevents+json", JSON, "", "text/plain"] {
        let event = post("/v1/events", content_type, body).event();
        assert_eq!(text(&event), r#"{"total":1e2}"#);
        let attributes = &event.attributes;
        assert_eq!(&*attributes.id, "e-1");
        assert_eq!(attributes.source, "/shop");
        assert_eq!(attributes.event_type.as_str(), "order.paid");
        assert_eq!(attributes.subject.as_deref(), Some("o/7"));
        assert_eq!(attributes.time, "2026-01-02T03:04:05.678901+09:00");
        assert_eq!(attributes.app_version.as_deref(), Some("5.10.0-rc1"));
        assert!(!event.id_generated);
        assert!(
            event
                .traceparent
                .is_some_and(|trace| trace.starts_with("00-4bf9"))
        );
    }
}

#[test]
fn attributes_are_checked() {
    for (members, expected) in [
        (r#""type":"a""#, Code::DataMissing),
        (r#""data":1"#, Code::TypeMissing),
        (r#""type":null,"data":1"#, Code::TypeMissing),
        (r#""type":"a b","data":1"#, Code::TypeInvalid),
        (r#""type":"","data":1"#, Code::TypeInvalid),
        (r#""type":"..","data":1"#, Code::TypeInvalid),
        (r#""type":7,"data":1"#, Code::AttributeInvalid),
        (r#""type":"a","data":1,"id":7"#, Code::AttributeInvalid),
        (r#""type":"a","data":1,"id":"""#, Code::AttributeInvalid),
        (r#""type":"a","data":1,"id":"a\nb""#, Code::AttributeInvalid),
        (
            r#""type":"a","data":1,"specversion":"0.3""#,
            Code::AttributeInvalid,
        ),
        (r#""type":"a","data":1,"specversion":1.0"#, Code::AttributeInvalid),
        (
            r#""type":"a","data":1,"time":"yesterday""#,
            Code::AttributeInvalid,
        ),
        (r#""type":"a","data":1,"time":1779006600"#, Code::AttributeInvalid),
        (r#""type":"a","data_base64":"AA==""#, Code::EventMalformed),
        (r#""type":"a","data":1,"type":"b""#, Code::JsonDuplicateMember),
    ] {
        let sent = post("/v1/events", JSON, format!("{{{members}}}"));
        assert_eq!(sent.rejected(), expected, "{members}");
    }
    let long = format!(r#"{{"type":"a","data":1,"subject":"{}"}}"#, "x".repeat(1025));
    assert_eq!(post("/v1/events", JSON, long).rejected(), Code::AttributeInvalid);
    assert_eq!(post("/v1/events", JSON, "7").rejected(), Code::EventMalformed);
}

#[test]
fn lenient_where_nothing_is_lost() {
    let body =
        r#"{"type":"a","data":null,"appversion":5.10,"subject":"","id":null,"datacontenttype":"text/x"}"#;
    let event = post("/v1/events", JSON, body).event();
    assert_eq!(event.attributes.app_version.as_deref(), Some("5.10"));
    assert_eq!(event.attributes.subject, None);
    assert!(event.id_generated);
    assert_eq!(text(&event), "null");
    let body = r#"{"type":"a","data":1,"appversion":"","traceparent":"nonsense"}"#;
    let event = post("/v1/events", JSON, body).event();
    assert_eq!(event.attributes.app_version, None);
    assert_eq!(event.traceparent, None);
}

#[test]
fn times_are_rfc_3339() {
    let is_taken = |time: &str| {
        post("/v1/events/a", JSON, "1")
            .with("ce-time", time)
            .batch()
            .is_ok()
    };
    for time in [
        "2026-05-17T08:30:00Z",
        "2026-05-17t08:30:00z",
        "2026-05-17 08:30:00.1-00:00",
        "2024-02-29T23:59:60.123456789012+23:59",
        "0000-01-01T00:00:00Z",
    ] {
        assert!(is_taken(time), "{time}");
    }
    for time in [
        "2026-05-17",
        "2026-05-17T08:30Z",
        "2026-05-17T08:30:00",
        "2026-05-17T08:30:00.Z",
        "2026-05-17T08:30:00+0900",
        "2026-05-17T08:30:00+24:00",
        "2026-02-29T08:30:00Z",
        "2026-13-01T08:30:00Z",
        "2026-05-17T24:00:00Z",
        "20260517T083000Z",
        "2026-05-17T08:30:00Z[UTC]",
        "+2026-05-17T08:30:00Z",
        "2026-05-17T08:30:0éZ",
    ] {
        assert!(!is_taken(&time.replace('é', "%C3%A9")), "{time}");
    }
}

#[test]
fn attributes_come_from_the_event_then_headers_then_the_path() {
    let all = |sent: Sent| {
        sent.with("ce-id", "h")
            .with("ce-source", "/h")
            .with("ce-type", "h.type")
            .with("ce-subject", "h%20s%C3%A9")
            .with("ce-appversion", "\"1 \\\"2\"")
            .with("ce-specversion", "1.0")
            .with("ce-unknown", "x")
    };
    let event = all(post("/v1/events/path.type", JSON, r#"{"id":"data"}"#)).event();
    assert_eq!(event.attributes.event_type.as_str(), "h.type");
    assert_eq!(&*event.attributes.id, "h");
    assert_eq!(event.attributes.source, "/h");
    assert_eq!(event.attributes.subject.as_deref(), Some("h sé"));
    assert_eq!(event.attributes.app_version.as_deref(), Some("1 \"2"));
    assert_eq!(text(&event), r#"{"id":"data"}"#);

    // CloudEvents' binary mode.
    let event = all(post("/v1/events", "application/vnd.x+json", "[1]")).event();
    assert_eq!(event.attributes.event_type.as_str(), "h.type");
    assert_eq!(text(&event), "[1]");

    // The structured mode wins over it.
    let body = r#"{"type":"own","id":"own","data":1}"#;
    let event = all(post("/v1/events", "application/cloudevents+json", body)).event();
    assert_eq!(event.attributes.event_type.as_str(), "own");
    assert_eq!(&*event.attributes.id, "own");
    assert_eq!(event.attributes.source, "/h");

    let path = post("/v1/events/a%2Eb", JSON, "1").event();
    assert_eq!(path.attributes.event_type.as_str(), "a.b");
    assert_eq!(post("/v1/events/a%2Fb", JSON, "1").rejected(), Code::TypeInvalid);
    assert_eq!(post("/v1/events/%FF", JSON, "1").rejected(), Code::TypeInvalid);
}

#[test]
fn headers_that_are_not_in_order_refuse_the_request() {
    for (name, value) in [
        ("ce-specversion", "0.3"),
        ("ce-time", "now"),
        ("ce-id", ""),
        ("ce-id", "%FF"),
        ("ce-id", "a%0Ab"),
    ] {
        let sent = post("/v1/events/a", JSON, "1").with(name, value);
        assert_eq!(sent.refused(), Code::AttributeInvalid, "{name}: {value}");
    }
    let twice = post("/v1/events/a", JSON, "1")
        .with("ce-id", "a")
        .with("ce-id", "b");
    assert_eq!(twice.refused(), Code::AttributeInvalid);
}

#[test]
fn one_id_in_a_header_is_not_given_to_several_events() {
    let lines = |body: &str| post("/v1/events/a", NDJSON, body).with("ce-id", "h");
    assert_eq!(lines("1\n2\n").refused(), Code::AttributeInvalid);
    assert_eq!(lines("1\n").events().len(), 1);
    let own = post(
        "/v1/events",
        JSON,
        r#"[{"type":"a","id":"1","data":1},{"type":"a","id":"2","data":1}]"#,
    );
    assert_eq!(own.with("ce-id", "h").events().len(), 2);
}

#[test]
fn an_event_that_cannot_be_decoded_keeps_the_id_it_has() {
    let events = post(
        "/v1/events",
        JSON,
        r#"[{"time":7,"id":"e-1","type":"a","data":1}]"#,
    )
    .events();
    assert_eq!(events[0].as_ref().unwrap_err().id.as_deref(), Some("e-1"));
}
