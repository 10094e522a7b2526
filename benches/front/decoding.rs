//! What it costs to read requests: in another service's form beside our own, and compressed beside plain.

use std::{hint::black_box, io::Write as _, sync::Arc};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use headworks::{
    decode::{self, Context, Head},
    event::Batch,
    limits::Limits,
    registry::model::envelope::Envelope,
    validate::Schemas,
};
use http::{Request, request::Parts};
use serde_json::{Value, json};

use crate::{
    context::context,
    cost::{self, Range, Work, median, more},
    events::BATCH,
    sample,
    verdict::{Bound, Verdict},
};

const APP_VERSION: &str = "5.10.0";
const PATH: &str = "/v1/events";
const TYPE_PATH: &str = "/v1/events/app.page_view";
const ENVELOPE_US_MAX: f64 = 1.0;
const GZIP_US_MAX: f64 = 5.0;

fn post(path: &str, headers: &[(&str, &str)]) -> Parts {
    let mut request = Request::post(path).header("host", "events.example");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).expect("the request is one").into_parts().0
}

/// Page views of different visitors.
fn page_views() -> Vec<Value> {
    let sample: Value = serde_json::from_slice(&sample::page_view()).expect("the sample is JSON");
    let other = |number: usize| {
        let mut view = sample.clone();
        view["anonymous_id"] = uuid::Uuid::new_v4().to_string().into();
        view["session"]["id"] = uuid::Uuid::new_v4().to_string().into();
        // The schema counts from 1.
        view["sequence"] = (number + 1).into();
        view
    };
    (0..BATCH).map(other).collect()
}

/// A request that is decoded again and again.
struct Decoding<'a> {
    head: Parts,
    body: Bytes,
    envelope: Option<Arc<Envelope>>,
    context: &'a Context<'a>,
}

impl Decoding<'_> {
    fn run(&self) -> Batch {
        let head = match &self.envelope {
            None => Head::read(&self.head, self.head.uri.path()),
            Some(envelope) => Head::enveloped(&self.head, Arc::clone(envelope)),
        };
        let head = head.expect("the head is in order");
        decode::decode(head, self.body.clone(), self.context).expect("the body is in order")
    }

    /// A measure of something that is refused would be none.
    fn check(&self, events: usize) {
        let batch = self.run();
        assert_eq!(batch.events.len(), events);
        for event in batch.events {
            event.expect("every event can be decoded");
        }
    }
}

/// The same events, as data with attributes around it and as Segment's SDKs send them.
pub fn envelope(rounds: usize) -> [Verdict; 2] {
    println!("\nan event in Segment's form and the same without an envelope, µs of CPU an event, in process");
    let enveloped: Vec<Value> = page_views().into_iter().zip(0..).map(tracked).collect();
    let plain: Vec<Value> = enveloped.iter().map(with_attributes).collect();
    let segment = Envelope::read(&json!("segment")).expect("it is a ready one");
    let (limits, json_type) = (Limits::default(), [("content-type", "application/json")]);
    let context = context(&limits);
    let without = |body: &Value| Decoding {
        head: post(PATH, &json_type),
        body: body.to_string().into(),
        envelope: None,
        context: &context,
    };
    let within = |body: &Value| Decoding {
        head: post("/v1/batch", &json_type),
        body: body.to_string().into(),
        envelope: Some(Arc::clone(&segment)),
        context: &context,
    };
    let ones = [without(&plain[0]), within(&enveloped[0])];
    let many = [without(&json!(plain)), within(&json!({"batch": enveloped}))];
    for (one, many) in ones.iter().zip(&many) {
        one.check(1);
        many.check(BATCH);
    }
    let mut works = [
        Work::new("one event, plain", 1, || drop(black_box(ones[0].run()))),
        Work::new("one event, enveloped", 1, || drop(black_box(ones[1].run()))),
        Work::new("100 events, plain", BATCH, || drop(black_box(many[0].run()))),
        Work::new("100 events, enveloped", BATCH, || drop(black_box(many[1].run()))),
    ];
    let costs = cost::measure(&mut works, rounds);
    let [one, many] = [more(&costs[1], &costs[0]), more(&costs[3], &costs[2])];
    println!("{:<44} {}", "  more of one event", Range(&one));
    println!("{:<44} {}", "  more of 100 events", Range(&many));
    [
        Verdict::new(
            "an envelope around one event, µs more",
            median(&one),
            Bound::AtMost(ENVELOPE_US_MAX),
        ),
        Verdict::new(
            "an envelope around 100 events, µs more an event",
            median(&many),
            Bound::AtMost(ENVELOPE_US_MAX),
        ),
    ]
}

fn tracked((properties, number): (Value, u32)) -> Value {
    json!({
        "type": "track",
        "event": "Page Viewed",
        "messageId": format!("ajs-next-{number:08}-5f1c-4d2b"),
        "userId": format!("u_{number:010}"),
        "timestamp": "2026-11-02T01:15:30.412Z",
        "context": {"app": {"version": APP_VERSION}, "library": {"name": "analytics.js", "version": "next-1.70.0"}},
        "properties": properties,
    })
}

/// The event without an envelope; the data is the same.
fn with_attributes(event: &Value) -> Value {
    json!({
        "type": event["type"],
        "id": event["messageId"],
        "time": event["timestamp"],
        "subject": event["userId"],
        "appversion": APP_VERSION,
        "data": event,
    })
}

/// Lines of data, compressed and not, decoded and validated.
pub fn gzip(rounds: usize) -> [Verdict; 1] {
    println!(
        "\nbatches of {BATCH} events, decompressed, decoded and validated, µs of CPU an event, in process"
    );
    let lines: String = page_views().iter().map(|view| format!("{view}\n")).collect();
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(lines.as_bytes()).expect("memory takes it");
    let compressed = encoder.finish().expect("memory takes it");
    println!(
        "{} bytes an event, {} of them compressed",
        lines.len() / BATCH,
        compressed.len() / BATCH
    );
    let schemas = Schemas::build(&Arc::new(sample::state()), &Schemas::default());
    let limits = Limits::default();
    let context = context(&limits);
    let lines_type = ("content-type", "application/x-ndjson");
    let version = ("ce-appversion", APP_VERSION);
    let plain = Decoding {
        head: post(TYPE_PATH, &[lines_type, version]),
        body: lines.into(),
        envelope: None,
        context: &context,
    };
    let gzip = Decoding {
        head: post(TYPE_PATH, &[lines_type, version, ("content-encoding", "gzip")]),
        body: compressed.into(),
        envelope: None,
        context: &context,
    };
    plain.check(BATCH);
    gzip.check(BATCH);
    let validated = |decoding: &Decoding<'_>| {
        for event in decoding.run().events {
            let event = event.expect("every event can be decoded");
            black_box(schemas.check(event).expect("the event is valid"));
        }
    };
    let mut works = [
        Work::new("plain", BATCH, || validated(&plain)),
        Work::new("gzip", BATCH, || validated(&gzip)),
        Work::new("gzip, not validated", BATCH, || drop(black_box(gzip.run()))),
    ];
    let costs = cost::measure(&mut works, rounds);
    println!("{:<44} {}", "  more of gzip", Range(&more(&costs[1], &costs[0])));
    [Verdict::new(
        "an event of a gzip batch, decompressed, decoded and validated, µs",
        median(&costs[1]),
        Bound::AtMost(GZIP_US_MAX),
    )]
}
