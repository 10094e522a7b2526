//! Envelopes and the requests that they read. The input's first line is what a partner's `envelope` may be, as JSON; then a
//! request follows.
#![no_main]

use std::sync::Arc;

use headworks::{
    decode::{Head, open},
    registry::model::envelope::Envelope,
};
use headworks_fuzz::{Request, Schema, check, context, limits};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|input: &[u8]| {
    let _ = run(input);
});

/// None where the input is no request.
fn run(input: &[u8]) -> Option<()> {
    let end = input.iter().position(|byte| *byte == b'\n')?;
    let value: Value = serde_json::from_slice(&input[..end]).ok()?;
    let envelope = match Envelope::read(&value) {
        Ok(envelope) => envelope,
        Err(faults) => {
            assert!(!faults.0.is_empty() && faults.0.iter().all(|fault| !fault.is_empty()));
            return None;
        }
    };
    let request = Request::parse(&input[end + 1..])?;
    let head = match Head::enveloped(&request.head, Arc::clone(&envelope)) {
        Ok(head) => head,
        Err(problem) => {
            assert!(!problem.detail.is_empty(), "{problem:?}");
            return None;
        }
    };
    assert!(head.is_enveloped());
    let (limits, hints) = (limits(), Schema(None));
    let opened = match open(head, &request.body, &limits) {
        Ok(opened) => opened,
        Err(problem) => {
            assert!(!problem.detail.is_empty(), "{problem:?}");
            return None;
        }
    };
    assert!(opened.is_by(&envelope) && opened.bytes() > 0);
    if opened.challenge().is_some() {
        assert!(envelope.challenge.is_some());
    }
    if let Ok(Some(_)) = opened.key() {
        assert!(envelope.key.is_some());
    }
    match opened.decode(&context(&limits, &hints)) {
        Ok(batch) => check(&batch, &limits),
        Err(problem) => assert!(!problem.detail.is_empty(), "{problem:?}"),
    }
    Some(())
}
