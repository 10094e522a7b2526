//! What decoding needs beside the request, and what holds for every batch that comes out.

use std::sync::Arc;

use headworks::{
    decode::{Context, Hints},
    event::{Batch, EventType},
    limits::{ByteSize, Limits},
};
use jiff::Timestamp;
use serde_json::Value;

use crate::{PARTNER, compare};

/// The schema of every type, or none.
pub struct Schema(pub Option<Arc<Value>>);

impl Hints for Schema {
    fn schema(&self, _: &EventType, _: &str, _: Option<&str>) -> Option<Arc<Value>> {
        self.0.clone()
    }
}

/// Smaller than the defaults where those only make inputs slow.
pub fn limits() -> Limits {
    Limits {
        body_bytes: ByteSize(256 << 10),
        event_bytes: ByteSize(4 << 10),
        events_per_request: 100,
        ..Limits::default()
    }
}

pub fn context<'a>(limits: &'a Limits, hints: &'a dyn Hints) -> Context<'a> {
    Context {
        partner: PARTNER.parse().expect("the name is a partner's"),
        default_source: "/partners/acme".into(),
        limits,
        received: Timestamp::UNIX_EPOCH,
        client_ip: None,
        user_agent: None,
        hints,
    }
}

/// Every event stands in its place, decoded or with a reason, and what was decoded is JSON for others too.
pub fn check(batch: &Batch, limits: &Limits) {
    assert!(!batch.events.is_empty(), "a batch holds an event");
    assert!(
        !batch.single || batch.events.len() == 1,
        "one alone is one: {batch:?}"
    );
    assert!(batch.events.len() <= limits.events_per_request as usize);
    for event in &batch.events {
        let decoded = match event {
            Ok(decoded) => decoded,
            Err(undecoded) => {
                assert!(!undecoded.reason.detail.is_empty(), "{undecoded:?}");
                continue;
            }
        };
        assert!(!decoded.attributes.id.is_empty(), "{decoded:?}");
        let data = decoded.data.root();
        assert!(data.raw().len() as u64 <= limits.event_bytes.0);
        match serde_json::from_str(data.raw()) {
            Ok(value) => assert!(compare::same(data, &value), "{} is not {value}", data.raw()),
            Err(error) => assert!(compare::is_own_limit(&error), "{error}: {}", data.raw()),
        }
    }
}
