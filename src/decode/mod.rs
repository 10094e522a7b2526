//! From a request to its events: framing, attributes, capped decompression, query strings.
//!
//! In two steps, so that what cannot be read is refused before its body is: [`Head::read`], then [`decode`].

mod attributes;
mod coerce;
mod encoding;
mod envelope;
mod framing;
mod guide;
mod head;
mod query;
mod split;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::Value;

pub use envelope::Opened;
pub use head::Head;

use crate::{
    event::{Batch, EventType, PartnerName},
    limits::Limits,
    problem::{Code, Problem},
};

/// What decoding needs to know besides the request.
pub struct Context<'a> {
    pub partner: PartnerName,
    /// The `source` of events that bring none.
    pub default_source: Arc<str>,
    pub limits: &'a Limits,
    /// The `time` of events that bring none.
    pub received: Timestamp,
    /// Added to every event.
    pub client_ip: Option<Arc<str>>,
    /// Likewise.
    pub user_agent: Option<Arc<str>>,
    pub hints: &'a dyn Hints,
}

/// What the registry knows of an event's data before it is read.
pub trait Hints {
    /// The schema that the event will be checked against. A query string's values are only text; they become numbers
    /// and booleans where this says so.
    fn schema(&self, event_type: &EventType, source: &str, app_version: Option<&str>) -> Option<Arc<Value>>;
}

/// All events of a request, each decoded or rejected in its place, in the order sent. `body` is as sent, within
/// `limits.body_bytes`, and at least one event comes out. An error refuses the whole request.
pub fn decode(mut head: Head, body: Bytes, context: &Context<'_>) -> Result<Batch, Problem> {
    if head.is_enveloped() {
        return open(head, &body, context.limits)?.decode(context);
    }
    let body = head.decompress(body, context.limits)?;
    framing::frame(head, &body, context)
}

impl Head {
    /// The body as it was before it was compressed; [`decode`] takes it as it is from here on.
    ///
    /// # Errors
    ///
    /// Where it is no whole stream of its coding, or too large.
    pub fn decompress(&mut self, body: Bytes, limits: &Limits) -> Result<Bytes, Problem> {
        let encoding = std::mem::replace(&mut self.encoding, encoding::Encoding::Identity);
        self.events_max = self.events_max.min(encoding::events_max(encoding, body.len()));
        encoding::decompress(encoding, body, limits.body_bytes)
    }
}

/// An enveloped request as far as it can be read before the sender is known.
///
/// # Errors
///
/// The whole request is refused: its compression, form or JSON is not in order.
pub fn open(head: Head, body: &Bytes, limits: &Limits) -> Result<Opened, Problem> {
    match head.form {
        head::Form::Enveloped(sealed) => sealed.open(head.given, head.encoding, body, limits),
        _ => Err(Problem::new(Code::Internal, "the request has no envelope")),
    }
}
