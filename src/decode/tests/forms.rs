//! Paths, content types, framing and bounds.

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
        ("/v1/events", "application/x-www-form-urlencoded"),
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
