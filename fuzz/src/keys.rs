//! A partner and its keys.

use std::sync::{Arc, LazyLock};

use headworks::{
    authenticate::Keys,
    registry::model::{Digest, Key, KeyKind, Partner, SigningSecret, State, Versioned},
};
use jiff::Timestamp;

pub const PARTNER: &str = "acme";
pub const SECRET: &str = "hw_0123456789abcdef_s3cret_with_underscore";
pub const PUBLISHABLE: &str = "hw_fedcba9876543210_public";
pub const SIGNING_ID: &str = "00112233445566aa";
pub const SIGNING_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

pub static KEYS: LazyLock<Keys> = LazyLock::new(|| {
    Keys::build(&state(), &Keys::default(), |_| {
        Some(SigningSecret::new(SIGNING_SECRET.to_owned()))
    })
});

fn state() -> State {
    let mut state = State::default();
    let partner = Partner {
        origins: vec!["https://shop.example".to_owned()],
        ..Partner::default()
    };
    let name = PARTNER.parse().expect("the name is a partner's");
    state.partners.insert(name, versioned(partner));
    for (id, text, kind) in [
        ("0123456789abcdef", SECRET, KeyKind::Secret),
        ("fedcba9876543210", PUBLISHABLE, KeyKind::Publishable),
        (SIGNING_ID, SIGNING_SECRET, KeyKind::Signing),
    ] {
        let key = Key {
            id: id.to_owned(),
            partner: PARTNER.parse().expect("the name is a partner's"),
            kind,
            sha256: Digest::of(text.as_bytes()),
            signing_secret: None,
            created: Timestamp::UNIX_EPOCH,
            expires: None,
            types: Vec::new(),
        };
        state.keys.insert(id.to_owned(), versioned(key));
    }
    state
}

fn versioned<T>(value: T) -> Arc<Versioned<T>> {
    Arc::new(Versioned { sequence: 1, value })
}
