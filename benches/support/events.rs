//! What is sent: the newest form of the company's page view, alone or with others.

use std::{io::Write as _, sync::Arc};

use flate2::{Compression, write::GzEncoder};

use crate::client::{Requests, Target};

pub const BATCH: usize = 100;

/// How events are packed into requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shape {
    Single,
    /// NDJSON, [`BATCH`] a request.
    Batch,
    /// The same, compressed.
    Gzip,
}

impl Shape {
    pub fn events(self) -> usize {
        match self {
            Shape::Single => 1,
            Shape::Batch | Shape::Gzip => BATCH,
        }
    }

    pub fn connections(self) -> usize {
        match self {
            Shape::Single => 128,
            Shape::Batch | Shape::Gzip => 16,
        }
    }

    /// What a gateway's answer holds where it accepted every event of such a request.
    pub fn accepted(self) -> &'static str {
        match self {
            Shape::Single => "\"status\":\"accepted\"",
            Shape::Batch | Shape::Gzip => "\"accepted\":100,",
        }
    }

    /// One request of this shape.
    pub fn request(self, target: &Target, event: &[u8]) -> Vec<u8> {
        match self {
            Shape::Single => target.request("application/json", event),
            Shape::Batch => target.request("application/x-ndjson", &lines(event)),
            Shape::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
                encoder.write_all(&lines(event)).expect("memory takes it");
                let body = encoder.finish().expect("memory takes it");
                let mut target = target.clone();
                target.headers.push_str("content-encoding: gzip\r\n");
                target.request("application/x-ndjson", &body)
            }
        }
    }

    pub fn requests(self, target: &Target, event: &[u8]) -> Requests {
        Arc::from([self.request(target, event)])
    }
}

fn lines(event: &[u8]) -> Vec<u8> {
    let mut body = Vec::with_capacity((event.len() + 1) * BATCH);
    for _ in 0..BATCH {
        body.extend_from_slice(event);
        body.push(b'\n');
    }
    body
}
