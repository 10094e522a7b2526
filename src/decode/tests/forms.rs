//! Paths, content types, framing and attributes.

use super::{Code, code, get, post, text};

const JSON: &str = "application/json";
const NDJSON: &str = "application/x-ndjson";

#[test]
fn the_path_and_method_are_checked_first() {
    for (uri, expected) in [
        ("/", Code::PathUnknown),
        ("/v1", Code::PathUnknown),
        ("/v1/events/", Code::PathUnknown),
        ("/v1/events/a/b", Code::PathUnknown),
        ("/v1/eventsx", Code::PathUnknown),
        ("/V1/events", Code::PathUnknown),
    ] {
        assert_eq!(post(uri, JSON, "{}").refused(), expected, "{uri}");
    }
    let refusal = get("/v1/events").batch().unwrap_err();
    assert_eq!(
        (refusal.code, refusal.allow),
        (Code::MethodNotAllowed, Some("POST, OPTIONS"))
    );
    for method in ["PUT", "HEAD", "OPTIONS", "DELETE"] {
        let mut sent = post("/v1/events/a", JSON, "{}");
        sent.method = method;
        let refusal = sent.batch().unwrap_err();
        assert_eq!(
            (refusal.code, refusal.allow),
            (Code::MethodNotAllowed, Some("GET, POST, OPTIONS"))
        );
    }
}

#[test]
fn the_body_under_a_type_is_the_data_as_sent() {
    for (content_type, body) in [
        (JSON, r#"{"a" : 1.50, "b":"\u00e9"}"#),
        (JSON, "[1, 2]"),
        (JSON, "null"),
        ("application/json; charset=utf-8", "\"x\""),
        ("Application/JSON;Charset=\"UTF-8\"", "0"),
        ("text/plain;charset=UTF-8", "true"),
        ("application/vnd.acme.thing+json", "{}"),
        ("", "{}"),
    ] {
        let event = post("/v1/events/order.paid", content_type, body).event();
        assert_eq!(text(&event), body);
        assert_eq!(event.attributes.event_type.as_str(), "order.paid");
        assert_eq!(event.attributes.source, "/partners/acme");
        assert_eq!(event.attributes.time, "2026-05-17T08:30:00.250Z");
        assert_eq!(event.attributes.subject, None);
        assert_eq!(event.attributes.app_version, None);
        assert!(event.id_generated);
        assert_eq!(event.attributes.id.as_bytes()[14], b'7', "a UUIDv7");
        assert_eq!(event.partner.as_str(), "acme");
    }
    assert_eq!(post("/v1/events/a", JSON, " \r\n{} \n").data(), "{}");
}

#[test]
fn unknown_content_types_are_refused_before_the_body() {
    for (uri, content_type) in [
        ("/v1/events/a", "application/xml"),
        ("/v1/events/a", "application/x-www-form-urlencoded"),
        ("/v1/events/a", "application/json; charset=latin1"),
        ("/v1/events/a", "application/cloudevents+json"),
        ("/v1/events/a", "json"),
        ("/v1/events", "application/vnd.acme.thing+json"),
        ("/v1/events", "multipart/form-data; boundary=x"),
    ] {
        let refusal = post(uri, content_type, "{}").head().unwrap_err();
        assert_eq!(refusal.code, Code::ContentTypeUnknown, "{content_type}");
    }
    let twice = post("/v1/events/a", JSON, "{}").with("content-type", JSON);
    assert_eq!(twice.refused(), Code::ContentTypeUnknown);
}

#[test]
fn one_event_brings_its_attributes() {
    let body = r#"{"specversion":"1.0","id":"e-1","source":"/shop","type":"order.paid","subject":"o/7",
        "time":"2026-01-02T03:04:05.678901+09:00","appversion":"5.10.0-rc1","future":{"x":1},
        "traceparent":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01","data":{"total":1e2}}"#;
    for content_type in ["application/cloudevents+json", JSON, "", "text/plain"] {
        let event = post("/v1/events", content_type, body).event();
        assert_eq!(text(&event), r#"{"total":1e2}"#);
        let attributes = &event.attributes;
        assert_eq!(attributes.id, "e-1");
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
    let all = |sent: super::Sent| {
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
    assert_eq!(event.attributes.id, "h");
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
    assert_eq!(event.attributes.id, "own");
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
fn an_array_is_many_events() {
    let body = r#"[{"type":"a","data":{"n":1}}, 7, {"type":"a"}, {"data":1}, {"type":"a","data":{"n":2}}]"#;
    for content_type in ["application/cloudevents-batch+json", JSON] {
        let batch = post("/v1/events", content_type, body).batch().unwrap();
        assert!(!batch.single);
        let codes: Vec<_> = batch.events.iter().map(code).collect();
        assert_eq!(
            codes,
            [
                None,
                Some(Code::EventMalformed),
                Some(Code::DataMissing),
                Some(Code::TypeMissing),
                None
            ]
        );
        assert_eq!(text(batch.events[4].as_ref().unwrap()), r#"{"n":2}"#);
    }
    assert!(
        !post("/v1/events", JSON, r#"[{"type":"a","data":1}]"#)
            .batch()
            .unwrap()
            .single
    );
    for (content_type, body) in [
        ("application/cloudevents+json", "[]"),
        ("application/cloudevents-batch+json", "{}"),
    ] {
        assert_eq!(
            post("/v1/events", content_type, body).refused(),
            Code::EventMalformed
        );
    }
}

#[test]
fn one_broken_event_does_not_take_an_array_with_it() {
    let deep = format!("{}1{}", "[".repeat(65), "]".repeat(65));
    let body = format!(
        r#"[{{"type":"a","data":"]}}\"[,"}},
            {{"type":"a","data":{deep}}},
            {{"type":"a","data":{{"x":1,"x":2}}}},
            {{"type":"a","data":"\ud800"}},
            {{"type":"a","data":1e999}},
            {{"type":"a","data":[1,[2,{{}}]]}}]"#
    );
    let events = post("/v1/events", JSON, body.clone()).events();
    let codes: Vec<_> = events.iter().map(code).collect();
    assert_eq!(
        codes,
        [
            None,
            Some(Code::JsonTooDeep),
            Some(Code::JsonDuplicateMember),
            Some(Code::JsonLoneSurrogate),
            Some(Code::JsonNumberOutOfRange),
            None
        ]
    );
    let detail = &events[2].as_ref().unwrap_err().reason.detail;
    assert!(detail.contains("line 3"), "{detail}");
    let byte = body.find(r#""x":2"#).unwrap();
    assert!(detail.contains(&format!("byte {byte}")), "{detail}");

    let mut bytes = b"[{\"type\":\"a\",\"data\":\"\xff\"},{\"type\":\"a\",\"data\":1}]".to_vec();
    let events = post("/v1/events", JSON, bytes.clone()).events();
    assert_eq!(code(&events[0]), Some(Code::Utf8Invalid));
    assert_eq!(code(&events[1]), None);
    bytes.pop();
    assert_eq!(post("/v1/events", JSON, bytes).refused(), Code::Utf8Invalid);
    for body in [
        r#"[{"type":"a","data":1},]"#,
        r#"[{"type":"a","data":1}"#,
        r#"[{"type":"a","data":tru}]"#,
        "[{\"type\":\"a\",\"data\":\"\\ud800\"},{]",
    ] {
        let refused = post("/v1/events", JSON, body).refused();
        assert!(
            matches!(refused, Code::JsonMalformed | Code::JsonLoneSurrogate),
            "{body}: {refused}"
        );
    }
}

#[test]
fn data_may_nest_as_deep_as_the_limit_wherever_it_stands() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    type Wrap = fn(String) -> String;
    let forms: [(&str, &str, Wrap); 5] = [
        ("/v1/events/a", JSON, |data| data),
        ("/v1/events/a", NDJSON, |data| data + "\n"),
        ("/v1/events", JSON, |data| {
            format!(r#"{{"type":"a","data":{data}}}"#)
        }),
        ("/v1/events", JSON, |data| {
            format!(r#"[{{"type":"a","data":{data}}}]"#)
        }),
        ("/v1/events", NDJSON, |data| {
            format!(r#"{{"type":"a","data":{data}}}"#)
        }),
    ];
    for (uri, content_type, wrap) in forms {
        let fits = post(uri, content_type, wrap(nested(64))).events();
        assert_eq!(code(&fits[0]), None, "{uri} {content_type}");
        let over = post(uri, content_type, wrap(nested(65))).events();
        assert_eq!(code(&over[0]), Some(Code::JsonTooDeep), "{uri} {content_type}");
    }
}

#[test]
fn each_line_is_an_event_in_its_place() {
    let body = "{\"type\":\"a\",\"data\":1}\r\n\n  \t\r\nnonsense\n{\"type\":\"a\",\"data\":2}";
    let batch = post("/v1/events", NDJSON, body).batch().unwrap();
    assert!(!batch.single);
    let codes: Vec<_> = batch.events.iter().map(code).collect();
    assert_eq!(codes, [None, Some(Code::JsonMalformed), None]);
    let detail = &batch.events[1].as_ref().unwrap_err().reason.detail;
    assert!(
        detail.contains("line 4, column 1") || detail.contains("line 4"),
        "{detail}"
    );
    assert_eq!(text(batch.events[2].as_ref().unwrap()), "2");

    let data = post("/v1/events/a", NDJSON, "{\"n\":1}\n{\"n\":2}\n").events();
    assert_eq!(text(data[1].as_ref().unwrap()), "{\"n\":2}");
    let bad_type = post("/v1/events/a%20b", NDJSON, "1\n2\n").events();
    assert_eq!(
        bad_type.iter().map(code).collect::<Vec<_>>(),
        [Some(Code::TypeInvalid); 2]
    );
    let one = post("/v1/events/a", NDJSON, "1").batch().unwrap();
    assert!(!one.single, "lines are many, even where it is one");
}

#[test]
fn a_request_without_events_is_refused() {
    for (uri, content_type, body) in [
        ("/v1/events/a", JSON, ""),
        ("/v1/events/a", JSON, " \n"),
        ("/v1/events", JSON, ""),
        ("/v1/events", JSON, "[]"),
        ("/v1/events", JSON, " [ ] "),
        ("/v1/events", NDJSON, "\n\r\n \n"),
        ("/v1/events/a", NDJSON, ""),
        ("/v1/events/a", "", ""),
    ] {
        assert_eq!(
            post(uri, content_type, body).refused(),
            Code::NoEvents,
            "{body:?}"
        );
    }
}

#[test]
fn one_malformed_event_is_rejected_with_its_place() {
    for (body, expected) in [
        (&b"{\"a\":}"[..], Code::JsonMalformed),
        (b"{\"a\":1,\"a\":2}", Code::JsonDuplicateMember),
        (b"1e999", Code::JsonNumberOutOfRange),
        (b"\"\\ud83d\"", Code::JsonLoneSurrogate),
        (b"\"\xc3\"", Code::Utf8Invalid),
        (b"{} {}", Code::JsonMalformed),
    ] {
        let undecoded = post("/v1/events/a", JSON, body).single().unwrap_err();
        assert_eq!(undecoded.reason.code, expected);
        assert!(undecoded.reason.detail.contains("line 1, column"));
    }
}

#[test]
fn counts_and_sizes_are_bounded() {
    let most = |sent: super::Sent| sent.limited(|limits| limits.events_per_request = 2);
    for (uri, content_type, body) in [
        ("/v1/events/a", NDJSON, "1\n2\n3\n"),
        (
            "/v1/events",
            JSON,
            r#"[{"type":"a","data":1},{"type":"a","data":1},{"type":"a","data":1}]"#,
        ),
        ("/v1/events", JSON, r#"["\ud800","",""]"#),
    ] {
        assert_eq!(most(post(uri, content_type, body)).refused(), Code::TooManyEvents);
    }
    assert_eq!(most(post("/v1/events/a", NDJSON, "1\n2\n\n")).events().len(), 2);

    let small = |sent: super::Sent| sent.limited(|limits| limits.event_bytes = "8B".parse().unwrap());
    let events = small(post("/v1/events/a", NDJSON, "\"123456\"\n\"1234567\"\n")).events();
    assert_eq!(
        events.iter().map(code).collect::<Vec<_>>(),
        [None, Some(Code::EventTooLarge)]
    );
    assert!(events[1].as_ref().unwrap_err().id.is_some());
}

#[test]
fn the_preference_for_every_result_is_read() {
    let wants = |value: &str| {
        post("/v1/events", JSON, "[]")
            .with("prefer", value)
            .head()
            .unwrap()
            .every_result
    };
    assert!(wants("return=representation"));
    assert!(wants("respond-async, Return=\"representation\"; x=y"));
    assert!(!wants("return=minimal"));
    assert!(!wants("representation"));
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
