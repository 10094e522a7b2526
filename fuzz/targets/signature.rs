//! Signatures of every scheme: lines of headers, an empty line, the body.
#![no_main]

use headworks_fuzz::{
    authenticate::{Caller, Keys, key_id},
    head,
    registry::model::envelope::{Envelope, Signature},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let at = data.windows(2).position(|pair| pair == b"\n\n").unwrap_or(data.len());
    let (Ok(headers), body) = (std::str::from_utf8(&data[..at]), &data[at..]) else { return };
    let Some(head) = head("POST", "/v1/events/t?key_id=abc", headers) else { return };
    let _ = key_id(headers);
    let keys = Keys::default();
    let ready = ["github", "stripe", "slack"].into_iter().filter_map(|name| {
        let envelope = Envelope::read(&serde_json::json!(name)).ok()?;
        envelope.signature.clone()
    });
    for signature in ready.chain([Signature::standard()]) {
        let caller = Caller::new(&head, None);
        if let Ok(signed) = keys.signed(&head, caller, "abc", &signature) {
            assert!(signed.verify(body).is_err(), "nobody has a signing key");
        }
    }
});
