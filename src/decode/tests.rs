//! Whole requests in, batches out.

mod attributes;
mod encodings;
mod envelopes;
mod forms;
mod properties;
mod queries;

use std::{io::Write, sync::Arc};

use bytes::Bytes;
use http::Request;
use jiff::Timestamp;
use serde_json::Value;

use super::{Context, Head, Hints, decode};
use crate::{
    event::{Batch, Decoded, EventType, Undecoded},
    limits::Limits,
    problem::{Code, Problem},
};

/// One schema for every type, or none.
struct OneSchema(Option<Arc<Value>>);

impl Hints for OneSchema {
    fn schema(&self, _: &EventType, _: &str, _: Option<&str>) -> Option<Arc<Value>> {
        self.0.clone()
    }
}

/// A request to be decoded.
struct Sent {
    method: &'static str,
    uri: String,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    limits: Limits,
    schema: Option<Arc<Value>>,
}

fn post(uri: &str, content_type: &str, body: impl Into<Vec<u8>>) -> Sent {
    let sent = Sent {
        method: "POST",
        uri: uri.to_owned(),
        headers: Vec::new(),
        body: body.into(),
        limits: Limits::default(),
        schema: None,
    };
    if content_type.is_empty() {
        return sent;
    }
    sent.with("content-type", content_type)
}

fn get(uri: &str) -> Sent {
    Sent {
        method: "GET",
        ..post(uri, "", "")
    }
}

impl Sent {
    fn with(mut self, name: &'static str, value: &str) -> Sent {
        self.headers.push((name, value.to_owned()));
        self
    }

    fn limited(mut self, change: impl FnOnce(&mut Limits)) -> Sent {
        change(&mut self.limits);
        self
    }

    fn guided(mut self, schema: Value) -> Sent {
        self.schema = Some(Arc::new(schema));
        self
    }

    fn head(&self) -> Result<Head, Problem> {
        let mut request = Request::builder().method(self.method).uri(&self.uri);
        for (name, value) in &self.headers {
            request = request.header(*name, value.as_bytes());
        }
        let head = request.body(()).expect("a test's request is HTTP").into_parts().0;
        Head::read(&head, head.uri.path())
    }

    fn batch(&self) -> Result<Batch, Problem> {
        let context = Context {
            partner: "acme".parse().expect("a name"),
            default_source: "/partners/acme".into(),
            limits: &self.limits,
            received: Timestamp::from_millisecond(1_779_006_600_250).expect("in range"),
            client_ip: None,
            user_agent: None,
            hints: &OneSchema(self.schema.clone()),
        };
        decode(self.head()?, Bytes::from(self.body.clone()), &context)
    }

    fn events(&self) -> Vec<Result<Decoded, Undecoded>> {
        self.batch().expect("the request can be read").events
    }

    /// The one event of the request, which must be answered as one.
    fn event(&self) -> Decoded {
        self.single().expect("the event can be decoded")
    }

    fn single(&self) -> Result<Decoded, Undecoded> {
        let batch = self.batch().expect("the request can be read");
        assert!(batch.single, "one event alone");
        let [event] = <[_; 1]>::try_from(batch.events).expect("one event");
        event
    }

    fn rejected(&self) -> Code {
        let undecoded = self.single().expect_err("the event is rejected");
        assert!(!undecoded.reason.detail.is_empty());
        undecoded.reason.code
    }

    fn refused(&self) -> Code {
        self.batch().expect_err("the request is refused").code
    }

    fn data(&self) -> String {
        text(&self.event())
    }
}

fn text(event: &Decoded) -> String {
    event.data.root().raw().to_owned()
}

fn code(event: &Result<Decoded, Undecoded>) -> Option<Code> {
    event.as_ref().err().map(|undecoded| undecoded.reason.code)
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(plain).expect("memory takes all");
    encoder.finish().expect("memory takes all")
}
