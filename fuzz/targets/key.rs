//! Keys, wherever a request may hold one: none of what is made up is taken, and no refusal shows what was presented.
#![no_main]

use headworks_fuzz::{
    authenticate::{Caller, Keys, Places},
    head,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (target, headers) = text.split_once('\n').unwrap_or((text, ""));
    let Some(head) = head("POST", target, headers) else { return };
    let keys = Keys::default();
    let caller = Caller::new(&head, None);
    let path = head.uri.path().strip_prefix("/k/");
    for path in [None, path] {
        let places = Places {
            path,
            declared: Vec::new(),
        };
        let refused = keys.identify(&head, &caller, &places).expect_err("nobody has a key");
        for secret in head.headers.values().filter(|value| value.len() > 40) {
            assert!(!refused.detail.as_bytes().windows(secret.len()).any(|part| part == secret.as_bytes()));
        }
    }
    let _ = keys.identify_text(text, &caller);
});
