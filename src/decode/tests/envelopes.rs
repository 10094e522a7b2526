//! Requests as partners' envelopes have them.

use std::sync::Arc;

use http::Request;
use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Bytes, Code, Context, Head, Limits, OneSchema, gzip};
use crate::{
    decode::{Opened, open},
    event::{Batch, Decoded},
    problem::Problem,
    registry::model::envelope::Envelope,
};

struct Sent<'a> {
    envelope: Value,
    method: &'static str,
    uri: &'a str,
    headers: &'a [(&'a str, &'a str)],
    body: Vec<u8>,
}

fn post(envelope: Value, body: impl Into<Vec<u8>>) -> Sent<'static> {
    Sent {
        envelope,
        method: "POST",
        uri: "/x",
        headers: &[],
        body: body.into(),
    }
}

impl Sent<'_> {
    fn open(&self) -> Result<Opened, Problem> {
        let mut request = Request::builder().method(self.method).uri(self.uri);
        for (name, value) in self.headers {
            request = request.header(*name, *value);
        }
        let head = request.body(()).unwrap().into_parts().0;
        let head = Head::enveloped(&head, Envelope::read(&self.envelope).unwrap())?;
        open(head, &Bytes::from(self.body.clone()), &Limits::default())
    }

    fn batch(&self) -> Result<Batch, Problem> {
        let limits = Limits::default();
        self.open()?.decode(&Context {
            partner: "acme".parse().unwrap(),
            default_source: "/partners/acme".into(),
            limits: &limits,
            received: Timestamp::from_millisecond(1_779_006_600_250).unwrap(),
            client_ip: None,
            user_agent: None,
            hints: &OneSchema(Some(Arc::new(json!({"properties": {"n": {"type": "integer"}}})))),
        })
    }

    fn events(&self) -> Vec<Decoded> {
        let batch = self.batch().unwrap();
        batch.events.into_iter().map(Result::unwrap).collect()
    }

    fn refused(&self) -> Code {
        self.batch().unwrap_err().code
    }
}

fn own(more: Value) -> Value {
    let mut envelope = json!({"paths": ["/x"], "type": "/t", "id": "/i", "time": "/at"});
    for (name, value) in more.as_object().unwrap() {
        envelope[name] = value.clone();
    }
    envelope
}

#[test]
fn attributes_come_from_pointers_constants_and_headers() {
    let envelope = own(json!({
        "events": "/a/list", "data": "/d", "source": {"const": "/own"}, "subject": "/u/0",
        "appversion": {"header": "X-App"},
    }));
    let mut sent = post(
        envelope,
        r#"{"a":{"list":[{"t":"one","i":7,"u":["s"],"d":{"n":1.50}},{"t":"two","i":null,"d":null,"at":"2026-01-02T03:04:05Z"}]}}"#,
    );
    sent.headers = &[("x-app", "5.2.0"), ("ce-source", "/header")];
    let events = sent.events();
    let first = &events[0].attributes;
    assert_eq!((first.event_type.as_str(), &*first.id), ("one", "7"));
    assert_eq!(
        (first.source.as_str(), first.subject.as_deref()),
        ("/own", Some("s"))
    );
    assert_eq!(first.app_version.as_deref(), Some("5.2.0"));
    assert_eq!(first.time, "2026-05-17T08:30:00.250Z");
    assert_eq!(events[0].data.root().raw(), r#"{"n":1.50}"#);
    assert!(events[1].id_generated && events[1].attributes.subject.is_none());
    assert_eq!(events[1].attributes.time, "2026-01-02T03:04:05Z");
    assert_eq!(events[1].data.root().raw(), "null");
}

#[test]
fn without_an_array_the_body_is_one_event_and_its_own_data() {
    for envelope in [own(json!({})), own(json!({"events": "/batch"}))] {
        let batch = post(envelope, r#"{"t":"a b/c","i":"x"}"#).batch().unwrap();
        assert!(batch.single);
        let event = batch.events.into_iter().next().unwrap().unwrap();
        assert_eq!(event.attributes.event_type.as_str(), "a-b-c");
        assert_eq!(event.data.root().raw(), r#"{"t":"a b/c","i":"x"}"#);
    }
}

#[test]
fn data_nests_as_deep_as_the_limit_whatever_the_envelope_has_around_it() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let envelope = own(json!({"events": "/a/b/c", "data": "/d"}));
    type Wrap = fn(String) -> String;
    let forms: [(Value, Wrap); 4] = [
        (envelope.clone(), |data| {
            format!(r#"{{"a":{{"b":{{"c":[{{"t":"x","d":{data}}}]}}}}}}"#)
        }),
        // No array where the envelope looks for one: the whole is one event.
        (envelope.clone(), |data| format!(r#"{{"t":"x","d":{data}}}"#)),
        (envelope, |data| {
            format!(r#"{{"t":"x","a":{{"b":{{"c":7}}}},"d":{data}}}"#)
        }),
        (own(json!({"data": "/d"})), |data| {
            format!(r#"{{"t":"x","d":{data}}}"#)
        }),
    ];
    for (envelope, wrap) in forms {
        let fits = post(envelope.clone(), wrap(nested(64)));
        assert_eq!(fits.events()[0].data.root().raw(), nested(64), "{envelope}");
        for depth in [65, 67, 68, 200] {
            let over = post(envelope.clone(), wrap(nested(depth)));
            assert_eq!(over.refused(), Code::JsonTooDeep, "{envelope} {depth}");
        }
    }
    let whole = own(json!({"events": "/a"}));
    let event = |depth| format!(r#"{{"t":"x","d":{}}}"#, nested(depth));
    assert_eq!(post(whole.clone(), event(63)).events().len(), 1);
    assert_eq!(post(whole, event(64)).refused(), Code::JsonTooDeep);
}

#[test]
fn times_of_each_format_are_understood_and_others_left_out() {
    let received = "2026-05-17T08:30:00.250Z";
    for (format, written, expected) in [
        (
            "rfc3339",
            r#""2026-01-02T03:04:05+09:00""#,
            "2026-01-02T03:04:05+09:00",
        ),
        ("rfc3339", r#""yesterday""#, received),
        ("rfc3339", "1700000000", received),
        ("epoch_s", "1700000000", "2023-11-14T22:13:20.000Z"),
        ("epoch_s", r#""1700000000.25""#, "2023-11-14T22:13:20.250Z"),
        ("epoch_s", "1700000000250", "2023-11-14T22:13:20.250Z"),
        ("epoch_ms", r#""1700000000250""#, "2023-11-14T22:13:20.250Z"),
        ("epoch_ms", "1e300", received),
        ("epoch_ms", r#""NaN""#, received),
        ("epoch_ms", "{}", received),
    ] {
        let body = format!(r#"{{"t":"a","at":{written}}}"#);
        let event = &post(own(json!({"time_format": format})), body).events()[0];
        assert_eq!(event.attributes.time, expected, "{format} {written}");
    }
}

#[test]
fn json_travels_in_forms_and_queries() {
    let plain = r#"[{"t":"a","i":"1"},{"t":"a","i":"2"}]"#;
    let percent = |text: &str| {
        percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
    };
    use base64::{Engine as _, engine::general_purpose as forms};
    for (encoding, packed) in [
        ("json", plain.to_owned()),
        ("base64", forms::STANDARD.encode(plain)),
        ("base64", forms::STANDARD_NO_PAD.encode(plain)),
        ("base64", plain.to_owned()),
        ("base64url", forms::URL_SAFE.encode(plain)),
    ] {
        let envelope = own(json!({"events": "", "form_field": "data", "encoding": encoding}));
        let form = format!("x=1&data={}&verbose=1", percent(&packed));
        assert_eq!(
            post(envelope.clone(), form.clone()).events().len(),
            2,
            "{encoding}"
        );
        let uri = format!("/x?{form}");
        let mut get = post(envelope.clone(), "");
        get.method = "GET";
        get.uri = &uri;
        assert_eq!(get.events().len(), 2, "{encoding}");
        let mut json = post(envelope.clone(), plain);
        json.headers = &[("content-type", "application/json")];
        assert_eq!(json.events().len(), 2);
        assert_eq!(post(envelope.clone(), "other=1").refused(), Code::BodyMalformed);
        assert_eq!(post(envelope, "data=").refused(), Code::NoEvents);
    }
    let envelope = own(json!({"form_field": "data", "encoding": "base64"}));
    assert_eq!(post(envelope, "data=!!!").refused(), Code::BodyMalformed);
}

#[test]
fn a_query_is_an_event_whose_texts_follow_its_schema() {
    let mut sent = post(own(json!({})), "");
    sent.method = "GET";
    sent.uri = "/x?t=a&i=1&n=7&m=8&key=hw_x_y";
    let event = &sent.events()[0];
    assert_eq!(event.data.root().raw(), r#"{"t":"a","i":"1","n":7,"m":"8"}"#);
    assert_eq!(&*event.attributes.id, "1");
}

#[test]
fn a_key_in_the_body_is_found_and_two_are_a_conflict() {
    let envelope = own(json!({"events": "/list", "key": {"in": "body", "name": "/p/token"}}));
    let key = |body: &str| {
        let opened = post(envelope.clone(), body).open().unwrap();
        opened.key().map_err(|problem| problem.code)
    };
    assert_eq!(key(r#"{"p":{"token":"k"},"list":[]}"#), Ok(Some("k".to_owned())));
    assert_eq!(
        key(r#"{"list":[{"p":{"token":"k"}},{},{"p":{"token":"k"}}]}"#),
        Ok(Some("k".to_owned()))
    );
    assert_eq!(
        key(r#"{"list":[{"p":{"token":"k"}},{"p":{"token":"l"}}]}"#),
        Err(Code::KeyConflict)
    );
    assert_eq!(key(r#"{"list":[{"p":{"token":7}}]}"#), Ok(None));
}

#[test]
fn what_is_compressed_without_saying_so_is_undone() {
    let body = gzip(br#"{"t":"a"}"#);
    assert_eq!(post(own(json!({})), body).events().len(), 1);
}

#[test]
fn a_challenge_is_read_and_an_event_has_none() {
    let sent = post(json!("slack"), r#"{"type":"url_verification","challenge":"abc"}"#);
    assert_eq!(sent.open().unwrap().challenge().as_deref(), Some("abc"));
    let event = post(json!("slack"), r#"{"event_id":"E","event":{"type":"message"}}"#);
    assert_eq!(event.open().unwrap().challenge(), None);
    assert_eq!(event.events()[0].attributes.event_type.as_str(), "message");
}

#[test]
fn what_is_missing_is_said_for_each_event() {
    let envelope = own(json!({"events": "/list", "data": "/d"}));
    let batch = post(
        envelope.clone(),
        r#"{"list":[{"d":1},{"t":"a"},7,{"t":"a","d":1}]}"#,
    )
    .batch()
    .unwrap();
    let codes: Vec<_> = batch.events.iter().map(super::code).collect();
    assert_eq!(
        codes,
        [
            Some(Code::TypeMissing),
            Some(Code::DataMissing),
            Some(Code::TypeMissing),
            None
        ]
    );
    assert_eq!(post(envelope.clone(), r#"{"list":[]}"#).refused(), Code::NoEvents);
    assert_eq!(post(envelope, r#"{"list":"#).refused(), Code::JsonMalformed);
}

proptest! {
    #[test]
    fn no_body_and_no_query_make_an_envelope_panic(
        name in proptest::sample::select(Envelope::names().collect::<Vec<_>>()),
        parts in proptest::collection::vec(
            prop_oneof![
                "[\\[\\]{},:\"\\\\ 1e.=&%+-]{1,6}".prop_map(String::into_bytes),
                Just(br#"{"batch":[{"type":"a"}]}"#.to_vec()),
                Just(br#""data":["#.to_vec()),
                Just(b"data=".to_vec()),
                proptest::collection::vec(any::<u8>(), 1..4),
            ],
            0..10,
        ),
        query in "[a-e\\[\\]=&%+0-9]{0,30}",
        method in proptest::sample::select(&["GET", "POST"][..]),
    ) {
        let uri = format!("/x?{query}");
        let sent = Sent { envelope: json!(name), method, uri: &uri, headers: &[], body: parts.concat() };
        if let Ok(opened) = sent.open() {
            let _ = (opened.key(), opened.challenge());
        }
        let _ = sent.batch();
    }
}

#[test]
fn what_comes_compressed_holds_no_more_events_than_bytes_however_it_comes() {
    let envelope = own(json!({"events": "/b", "type": {"const": "a"}}));
    let body = |count: usize| format!("{{\"b\":[{}]}}", vec!["1"; count].join(","));
    for headers in [&[][..], &[("content-encoding", "gzip")][..]] {
        let sent = |count| {
            let mut sent = post(envelope.clone(), gzip(body(count).as_bytes()));
            sent.headers = headers;
            sent
        };
        assert_eq!(sent(1000).events().len(), 1000);
        assert_eq!(sent(1001).refused(), Code::TooManyEvents);
    }
    assert_eq!(post(envelope.clone(), body(10_000)).events().len(), 10_000);
}
