//! Bodies of every content type and encoding. The input's first byte, counted from `0`, says which; the rest is the body.
#![no_main]

use bytes::Bytes;
use headworks::{
    decode::{self, Head},
    event::Batch,
};
use headworks_fuzz::{Schema, check, context, limits};
use http::Request;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

const TYPED: &str = "/v1/events/order.paid";
const UNTYPED: &str = "/v1/events";

/// Path, content type and content encoding.
const FORMS: [(&str, &str, &str); 11] = [
    (TYPED, "application/json", "identity"),
    (TYPED, "application/x-ndjson", "identity"),
    (UNTYPED, "application/json", "identity"),
    (UNTYPED, "application/x-ndjson", "identity"),
    (UNTYPED, "application/cloudevents+json", "identity"),
    (UNTYPED, "application/cloudevents-batch+json", "identity"),
    (TYPED, "application/x-www-form-urlencoded", "identity"),
    (UNTYPED, "application/json", "gzip"),
    (UNTYPED, "application/json", "deflate"),
    (UNTYPED, "application/json", "zstd"),
    (UNTYPED, "application/json", "br"),
];

fuzz_target!(|input: &[u8]| run(input));

fn run(input: &[u8]) {
    let Some((first, body)) = input.split_first() else {
        return;
    };
    let form = usize::from(first.wrapping_sub(b'0')) % FORMS.len();
    let (path, content_type, encoding) = FORMS[form];
    let request = Request::post(path)
        .header("content-type", content_type)
        .header("content-encoding", encoding)
        .body(())
        .expect("the request is HTTP");
    let head = request.into_parts().0;
    let head = Head::read(&head, path).expect("the head is in order");
    let (limits, hints) = (limits(), Schema(None));
    let context = context(&limits, &hints);
    match decode::decode(head, Bytes::copy_from_slice(body), &context) {
        Ok(batch) => {
            check(&batch, &limits);
            match form {
                0 => is_the_body(&batch, body),
                1 | 3 => assert_eq!(batch.events.len(), lines(body)),
                2 | 4 | 5 => has_all_elements(&batch, body),
                _ => {}
            }
        }
        Err(problem) => assert!(!problem.detail.is_empty(), "{problem:?}"),
    }
}

/// What nobody edited keeps its bytes.
fn is_the_body(batch: &Batch, body: &[u8]) {
    let [event] = batch.events.as_slice() else {
        panic!("one event: {batch:?}");
    };
    if let Ok(decoded) = event {
        assert_eq!(decoded.data.root().raw().as_bytes(), without_space(body));
    }
}

fn without_space(text: &[u8]) -> &[u8] {
    let is_other = |byte: &u8| !matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
    let start = text.iter().position(is_other).unwrap_or(text.len());
    let end = text.iter().rposition(is_other).map_or(start, |last| last + 1);
    &text[start..end]
}

fn lines(body: &[u8]) -> usize {
    body.split(|byte| *byte == b'\n')
        .filter(|line| !without_space(line).is_empty())
        .count()
}

/// Each element has a result in its place, whatever is wrong with its neighbours.
fn has_all_elements(batch: &Batch, body: &[u8]) {
    match serde_json::from_slice::<Value>(body) {
        Ok(Value::Array(elements)) => {
            assert!(!batch.single);
            assert_eq!(batch.events.len(), elements.len());
        }
        Ok(_) => assert!(batch.single),
        // Not JSON as a whole, or deeper than `serde_json` reads.
        Err(_) => {}
    }
}
