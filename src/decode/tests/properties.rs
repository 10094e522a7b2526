//! What holds for any request.

use proptest::prelude::*;

use super::{Code, get, gzip, post};

const CONTENT_TYPES: [&str; 5] = [
    "",
    "application/json",
    "application/x-ndjson",
    "application/cloudevents+json",
    "application/cloudevents-batch+json",
];

fn jsonish() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        "[\\[\\]{},:\"\\\\ \n1e.-]{1,6}".prop_map(String::into_bytes),
        Just(br#"{"type":"a","data":1}"#.to_vec()),
        Just(br#""\ud800""#.to_vec()),
        Just(b"\n".to_vec()),
        proptest::collection::vec(any::<u8>(), 1..4),
    ];
    proptest::collection::vec(part, 0..12).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn no_body_makes_decoding_panic(
        body in jsonish(),
        content_type in proptest::sample::select(&CONTENT_TYPES[..]),
        typed in any::<bool>(),
        encoding in proptest::sample::select(&["identity", "gzip", "deflate", "zstd"][..]),
    ) {
        let uri = if typed { "/v1/events/a" } else { "/v1/events" };
        let sent = post(uri, content_type, body).with("content-encoding", encoding);
        if let Ok(batch) = sent.batch() {
            prop_assert!(!batch.events.is_empty());
            prop_assert!(!batch.single || batch.events.len() == 1);
        }
    }

    #[test]
    fn no_query_makes_decoding_panic(query in "[a-c\\[\\]=&%+0-9.e-]{0,40}") {
        let _ = get(&format!("/v1/events/a?{query}")).batch();
    }

    #[test]
    fn a_batch_has_a_result_for_each_event_in_its_order(
        events in proptest::collection::vec((any::<u16>(), 0..4_u8), 1..40),
        blank in any::<bool>(),
        as_lines in any::<bool>(),
        compressed in any::<bool>(),
    ) {
        let texts: Vec<String> = events
            .iter()
            .map(|(number, fault)| match fault {
                0 => format!(r#"{{"type":"a","data":{number}}}"#),
                1 => format!(r#"{{"type":"no type","data":{number}}}"#),
                2 => r#"{"type":"a"}"#.to_owned(),
                _ => r#"{"type":"a","data":"\udc00"}"#.to_owned(),
            })
            .collect();
        let body = match (as_lines, blank) {
            (true, true) => texts.join("\r\n\r\n"),
            (true, false) => texts.join("\n") + "\n",
            (false, _) => format!("[{}]", texts.join(" , ")),
        };
        let content_type = if as_lines { "application/x-ndjson" } else { "application/json" };
        let sent = if compressed {
            post("/v1/events", content_type, gzip(body.as_bytes())).with("content-encoding", "gzip")
        } else {
            post("/v1/events", content_type, body)
        };
        let decoded = sent.events();
        prop_assert_eq!(decoded.len(), events.len());
        for (event, (number, fault)) in decoded.iter().zip(&events) {
            match (event, fault) {
                (Ok(event), 0) => prop_assert_eq!(event.data.root().raw(), number.to_string()),
                (Err(undecoded), 1) => prop_assert_eq!(undecoded.reason.code, Code::TypeInvalid),
                (Err(undecoded), 2) => prop_assert_eq!(undecoded.reason.code, Code::DataMissing),
                (Err(undecoded), 3) => prop_assert_eq!(undecoded.reason.code, Code::JsonLoneSurrogate),
                _ => prop_assert!(false, "{event:?}"),
            }
        }
    }

    #[test]
    fn any_attributes_come_through(id in "[^\\p{Cc}]{1,60}", subject in "[^\\p{Cc}]{1,60}") {
        let body = serde_json::json!({"type": "a", "id": id, "subject": subject, "data": 1}).to_string();
        let event = post("/v1/events", "application/json", body).event();
        prop_assert_eq!(&*event.attributes.id, id.as_str());
        let encoded: String = percent_encoding::utf8_percent_encode(&subject, percent_encoding::NON_ALPHANUMERIC)
            .collect();
        let event = post("/v1/events/a", "application/json", "1").with("ce-subject", &encoded).event();
        prop_assert_eq!(event.attributes.subject.as_deref(), Some(subject.as_str()));
    }
}
