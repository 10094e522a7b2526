//! Query strings as events. The input's first byte says whether a schema guides it (`1`) or not; the rest is the query.
#![no_main]

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use headworks::{
    decode::{self, Head},
    json::{Kind, Node},
};
use headworks_fuzz::{Schema, check, context, limits};
use libfuzzer_sys::fuzz_target;
use percent_encoding::percent_decode;
use serde_json::{Value, json};

const PATH: &str = "/v1/events/order.paid";

static SCHEMA: LazyLock<Arc<Value>> = LazyLock::new(|| {
    Arc::new(json!({
        "type": "object",
        "properties": {
            "n": {"type": "integer"},
            "x": {"type": ["number", "null"]},
            "b": {"type": "boolean"},
            "s": {"type": "string"},
            "l": {"type": "array", "items": {"type": "number"}},
            "p": {"type": "array", "prefixItems": [{"type": "boolean"}, {"$ref": "#/$defs/o"}]},
            "o": {"$ref": "#/$defs/o"},
            "a": {"anyOf": [{"type": "integer"}, {"$ref": "#/$defs/o"}]},
        },
        "$defs": {"o": {"type": "object", "properties": {"n": {"type": "integer"}, "o": {"$ref": "#/$defs/o"}}}},
    }))
});

fuzz_target!(|input: &[u8]| {
    let _ = run(input);
});

/// None where the input is no query string.
fn run(input: &[u8]) -> Option<()> {
    let (first, query) = input.split_first()?;
    let query = std::str::from_utf8(query).ok()?;
    let request = http::Request::get(format!("{PATH}?{query}")).body(()).ok()?;
    let head = request.into_parts().0;
    let query = head.uri.query()?;
    let is_guided = *first == b'1';
    let (limits, hints) = (limits(), Schema(is_guided.then(|| Arc::clone(&SCHEMA))));
    let read = match Head::read(&head, PATH) {
        Ok(read) => read,
        Err(problem) => {
            assert!(!problem.detail.is_empty(), "{problem:?}");
            return None;
        }
    };
    let batch = match decode::decode(read, Bytes::new(), &context(&limits, &hints)) {
        Ok(batch) => batch,
        Err(problem) => {
            assert!(!problem.detail.is_empty(), "{problem:?}");
            return None;
        }
    };
    check(&batch, &limits);
    assert!(batch.single);
    let decoded = batch.events.first()?.as_ref().ok()?;
    let data = decoded.data.root();
    if !is_guided {
        assert_eq!(data.kind(), Kind::Object);
        assert_eq!(texts(data), values(query), "{}", data.raw());
    }
    Some(())
}

/// Without a schema every value is a text, and none is lost.
fn texts(node: Node<'_>) -> usize {
    match node.kind() {
        Kind::String => 1,
        Kind::Array => node.elements().map(texts).sum(),
        Kind::Object => node.members().map(|(_, member)| texts(member)).sum(),
        _ => panic!("nobody wrote {}", node.raw()),
    }
}

/// Values that are neither the key nor an attribute.
fn values(query: &str) -> usize {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| pair.split('=').next().unwrap_or_default().replace('+', " "))
        .map(|name| percent_decode(name.as_bytes()).collect::<Vec<u8>>())
        .filter(|name| name != b"key" && !name.starts_with(b"ce-"))
        .count()
}
