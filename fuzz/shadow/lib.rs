//! The modules under test, as they stand in the gateway, and what the targets share.
#![expect(dead_code, reason = "what other modules of the gateway call is not called here")]

pub mod authenticate;
pub mod decode;
pub mod event;
pub mod json;
pub mod limits;
pub mod problem;
pub mod registry {
    pub mod model;
}

use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;

/// No schema, or the same one for every type.
pub struct Hints(pub Option<Arc<serde_json::Value>>);

impl decode::Hints for Hints {
    fn schema(&self, _: &event::EventType, _: &str, _: Option<&str>) -> Option<Arc<serde_json::Value>> {
        self.0.clone()
    }
}

/// Reads a request as the gateway does, and holds what must be true of whatever comes out.
pub fn decode_request(head: &Parts, path: &str, body: Bytes) {
    let limits = limits::Limits {
        body_bytes: limits::ByteSize(1 << 20),
        event_bytes: limits::ByteSize(1 << 18),
        events_per_request: 100,
        ..limits::Limits::default()
    };
    let schema = serde_json::json!({"properties": {"n": {"type": "number"}, "b": {"type": "boolean"},
        "l": {"type": "array", "items": {"type": "integer"}}}});
    let hints = Hints(Some(Arc::new(schema)));
    let context = decode::Context {
        partner: "p".parse().expect("a name"),
        default_source: "/partners/p".into(),
        limits: &limits,
        received: jiff::Timestamp::UNIX_EPOCH,
        client_ip: None,
        user_agent: None,
        hints: &hints,
    };
    let Ok(read) = decode::Head::read(head, path) else {
        return;
    };
    if let Ok(batch) = decode::decode(read, body, &context) {
        check(&batch, &limits);
    }
}

/// Within the limits, and JSON to any other reader.
pub fn check(batch: &event::Batch, limits: &limits::Limits) {
    assert!(!batch.events.is_empty() && batch.events.len() <= limits.events_per_request as usize);
    for event in batch.events.iter().flatten() {
        let raw = event.data.root().raw();
        assert!(raw.len() as u64 <= limits.event_bytes.0);
        serde_json::from_slice::<&serde_json::value::RawValue>(raw.as_ref()).expect("an event's data is JSON");
        assert!(!event.attributes.id.is_empty() && !event.attributes.source.is_empty());
    }
}

/// A request of this method, target and header lines; none where they are none.
pub fn head(method: &str, target: &str, headers: &str) -> Option<Parts> {
    let mut request = http::Request::builder().method(method).uri(target);
    for line in headers.lines().take(32) {
        let (name, value) = line.split_once(':')?;
        request = request.header(name.trim(), value.trim());
    }
    Some(request.body(()).ok()?.into_parts().0)
}
