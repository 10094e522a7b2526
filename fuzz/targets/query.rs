//! Query strings, paths and attributes in headers: the first line is the target, the next are headers, after an empty
//! line stands a form.
#![no_main]

use bytes::Bytes;
use headworks_fuzz::{decode_request, head};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (top, body) = text.split_once("\n\n").unwrap_or((text, ""));
    let (target, headers) = top.split_once('\n').unwrap_or((top, ""));
    for (method, more) in [("GET", ""), ("POST", "content-type: application/x-www-form-urlencoded\n")] {
        let Some(head) = head(method, target, &format!("{more}{headers}")) else { continue };
        let path = head.uri.path().to_owned();
        decode_request(&head, &path, Bytes::copy_from_slice(body.as_bytes()));
    }
});
