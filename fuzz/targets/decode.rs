//! Bodies in every form and coding. The first byte chooses them.
#![no_main]

use bytes::Bytes;
use headworks_fuzz::{decode_request, head};
use libfuzzer_sys::fuzz_target;

const TYPES: [&str; 8] = [
    "application/json",
    "application/x-ndjson",
    "application/cloudevents+json",
    "application/cloudevents-batch+json",
    "application/x-www-form-urlencoded",
    "text/plain",
    "application/vnd.x+json",
    "",
];
const ENCODINGS: [&str; 5] = ["identity", "gzip", "deflate", "br", "zstd"];

fuzz_target!(|data: &[u8]| {
    let Some((choice, body)) = data.split_first() else { return };
    let choice = usize::from(*choice);
    let path = if choice % 2 == 0 { "/v1/events/t" } else { "/v1/events" };
    let headers = format!(
        "content-type: {}\ncontent-encoding: {}\n",
        TYPES[choice / 2 % TYPES.len()],
        ENCODINGS[choice / 16 % ENCODINGS.len()]
    );
    let Some(head) = head("POST", path, &headers) else { return };
    decode_request(&head, path, Bytes::copy_from_slice(body));
});
