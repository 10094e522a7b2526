//! Keys in every place of a request that may hold one. The input is a request.
#![no_main]

use headworks::{
    authenticate::{Caller, Places, key_id},
    problem::Code,
    registry::{
        model::{
            KeyKind,
            envelope::{KeyIn, KeyPlace},
        },
        secret::{KEY_PREFIX, id_of},
    },
};
use headworks_fuzz::{KEYS, PARTNER, PUBLISHABLE, Request, SECRET, SIGNING_SECRET};
use http::request::Parts;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| run(input));

fn run(input: &[u8]) {
    if let Ok(text) = std::str::from_utf8(input) {
        check_id(text);
        check_text(text);
    }
    let Some(request) = Request::parse(input) else {
        return;
    };
    for value in request.head.headers.values() {
        if let Ok(text) = value.to_str() {
            check_id(text);
        }
    }
    let query = request.head.uri.query().unwrap_or_default();
    assert!(key_id(query).is_none() || query.contains("key_id="));
    identify(&request.head, &Places::default());
    let declared = [
        place(KeyIn::BasicUser, None),
        place(KeyIn::Header, Some("x-token")),
        place(KeyIn::Query, Some("token")),
    ];
    let path = request.head.uri.path();
    identify(
        &request.head,
        &Places {
            path: path.strip_prefix("/k/").and_then(|rest| rest.split('/').next()),
            declared: declared.iter().collect(),
        },
    );
}

fn place(place: KeyIn, name: Option<&str>) -> KeyPlace {
    KeyPlace {
        place,
        name: name.map(str::to_owned),
    }
}

fn check_id(text: &str) {
    if let Some(id) = id_of(KEY_PREFIX, text) {
        assert_eq!(id.len(), 16);
        assert!(text.starts_with(&format!("hw_{id}_")));
    }
}

/// Only the very text of a key is that key.
fn check_text(text: &str) {
    let caller = Caller::default();
    let is_key = [SECRET, PUBLISHABLE].contains(&text);
    assert_eq!(KEYS.identify_text(text, &caller).is_ok(), is_key);
}

fn identify(head: &Parts, places: &Places<'_>) {
    match KEYS.identify(head, &Caller::new(head, None), places) {
        Ok(identity) => {
            assert_eq!(identity.partner.as_str(), PARTNER);
            assert_ne!(identity.kind, KeyKind::Signing);
            let query = head.uri.query().unwrap_or_default();
            let is_in_url = query.split('&').any(|pair| pair == format!("key={SECRET}"));
            assert!(!is_in_url, "a secret key was taken from a URL");
        }
        Err(problem) => {
            let is_known = matches!(
                problem.code,
                Code::KeyMissing | Code::KeyInvalid | Code::KeyForbidden | Code::KeyConflict
            );
            assert!(is_known, "{problem:?}");
            let shown = problem.to_string();
            for secret in [SECRET, PUBLISHABLE, SIGNING_SECRET] {
                assert!(!shown.contains(secret), "a problem shows a key");
            }
        }
    }
}
