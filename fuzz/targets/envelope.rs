//! Envelopes, and what comes in them: a line with the envelope (a name or JSON), a line with the target, the body.
#![no_main]

use bytes::Bytes;
use headworks_fuzz::{
    Hints, check,
    decode::{self, Context, Head},
    head, limits,
    registry::model::envelope::Envelope,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some(at) = data.iter().position(|byte| *byte == b'\n') else { return };
    let (declared, rest) = (&data[..at], &data[at + 1..]);
    let Ok(declared) = serde_json::from_slice::<serde_json::Value>(declared) else { return };
    let Ok(envelope) = Envelope::read(&declared) else { return };
    let Some(at) = rest.iter().position(|byte| *byte == b'\n') else { return };
    let (Ok(target), body) = (std::str::from_utf8(&rest[..at]), &rest[at + 1..]) else { return };
    let limits = limits::Limits {
        events_per_request: 100,
        ..limits::Limits::default()
    };
    let hints = Hints(None);
    let context = Context {
        partner: "p".parse().expect("a name"),
        default_source: "/partners/p".into(),
        limits: &limits,
        received: jiff::Timestamp::UNIX_EPOCH,
        client_ip: None,
        user_agent: None,
        hints: &hints,
    };
    for method in ["GET", "POST"] {
        let Some(head) = head(method, target, "") else { continue };
        let Ok(head) = Head::enveloped(&head, envelope.clone()) else { continue };
        let Ok(opened) = decode::open(head, &Bytes::copy_from_slice(body), &limits) else { continue };
        let _ = (opened.key(), opened.challenge());
        if let Ok(batch) = opened.decode(&context) {
            check(&batch, &limits);
        }
    }
});
