//! What decoding needs beside a request: what the benchmarks that decode share.

use std::sync::Arc;

use headworks::{
    decode::{Context, Hints},
    event::EventType,
    limits::Limits,
};
use jiff::Timestamp;
use serde_json::Value;

/// The types of events are known, and none of them is a query's.
struct NoHints;

impl Hints for NoHints {
    fn schema(&self, _: &EventType, _: &str, _: Option<&str>) -> Option<Arc<Value>> {
        None
    }
}

pub fn context(limits: &Limits) -> Context<'_> {
    Context {
        partner: "bench".parse().expect("the name is a partner's"),
        default_source: "/partners/bench".into(),
        limits,
        received: Timestamp::UNIX_EPOCH,
        client_ip: None,
        user_agent: None,
        hints: &NoHints,
    }
}
