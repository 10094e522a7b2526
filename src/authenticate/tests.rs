mod signatures;

use std::sync::Arc;

use http::{Request, request::Parts};
use jiff::Timestamp;

use super::{Caller, Identity, Keys, Places};
use crate::{
    problem::Code,
    registry::model::{Digest, Key, KeyKind, Partner, State, Versioned},
};

const SECRET: &str = "hw_k1_s3cret_with_underscore";
const PUBLISHABLE: &str = "hw_k2_public";
const SIGNING: &str = "hw_k3_sign";
const ORPHAN: &str = "hw_k4_orphan";

fn state() -> State {
    let mut state = State::default();
    let partner = Partner {
        origins: vec!["https://shop.example".to_owned()],
        ..Partner::default()
    };
    state.partners.insert(
        "acme".parse().unwrap(),
        Arc::new(Versioned {
            sequence: 1,
            value: partner,
        }),
    );
    for (text, kind, owner) in [
        (SECRET, KeyKind::Secret, "acme"),
        (PUBLISHABLE, KeyKind::Publishable, "acme"),
        (SIGNING, KeyKind::Signing, "acme"),
        (ORPHAN, KeyKind::Secret, "gone"),
    ] {
        let id = text.split('_').nth(1).unwrap().to_owned();
        let key = Key {
            id: id.clone(),
            partner: owner.parse().unwrap(),
            kind,
            sha256: Digest::of(text.as_bytes()),
            signing_secret: None,
            expires: None,
            types: Vec::new(),
            created: Timestamp::UNIX_EPOCH,
        };
        state.keys.insert(
            id,
            Arc::new(Versioned {
                sequence: 2,
                value: key,
            }),
        );
    }
    state
}

fn head(uri: &str, headers: &[(&str, &str)]) -> Parts {
    let mut request = Request::builder().uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

fn keys() -> Keys {
    Keys::build(&state(), &Keys::default(), |_| None)
}

fn identify(uri: &str, headers: &[(&str, &str)]) -> Result<Identity, Code> {
    let head = head(uri, headers);
    keys()
        .identify(&head, &Caller::new(&head, None), &Places::default())
        .map_err(|problem| {
            for key in [SECRET, PUBLISHABLE, SIGNING, ORPHAN] {
                assert!(!problem.to_string().contains(key), "a problem shows the key");
            }
            problem.code
        })
}

fn basic(user: &str, password: &str) -> String {
    use base64::Engine as _;
    let credentials = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    format!("Basic {credentials}")
}

#[test]
fn takes_a_secret_key_in_every_place_that_may_hold_one() {
    let bearer = format!("bearer  {SECRET}");
    for headers in [
        vec![("authorization", bearer.as_str())],
        vec![("x-api-key", SECRET)],
        vec![("authorization", &*basic("any one", SECRET))],
        vec![("authorization", &*basic("", SECRET)), ("x-api-key", SECRET)],
        vec![("authorization", "AWS4 whatever"), ("x-api-key", SECRET)],
    ] {
        let identity = identify("/v1/events", &headers).unwrap();
        assert_eq!(identity.partner.as_str(), "acme");
        assert_eq!(identity.kind, KeyKind::Secret);
        assert_eq!(&*identity.key_id, "k1");
    }
}

#[test]
fn takes_a_publishable_key_in_the_query_and_no_secret_one() {
    let identity = identify(&format!("/v1/events/a?x=1&key={PUBLISHABLE}"), &[]).unwrap();
    assert_eq!(identity.kind, KeyKind::Publishable);
    let encoded = PUBLISHABLE.replace('_', "%5F");
    assert!(identify(&format!("/v1/events/a?key={encoded}"), &[]).is_ok());
    assert_eq!(
        identify(&format!("/v1/events?key={SECRET}"), &[]),
        Err(Code::KeyForbidden)
    );
    assert_eq!(
        identify(&format!("/v1/events?key={SECRET}"), &[("x-api-key", SECRET)]),
        Err(Code::KeyForbidden)
    );
}

#[test]
fn two_places_must_agree() {
    let bearer = format!("Bearer {SECRET}");
    assert_eq!(
        identify(
            "/v1/events",
            &[("authorization", &bearer), ("x-api-key", PUBLISHABLE)]
        ),
        Err(Code::KeyConflict)
    );
    assert_eq!(
        identify("/v1/events", &[("x-api-key", SECRET), ("x-api-key", PUBLISHABLE)]),
        Err(Code::KeyConflict)
    );
    assert_eq!(
        identify(&format!("/v1/events?key={PUBLISHABLE}&key=hw_k2_other"), &[]),
        Err(Code::KeyConflict)
    );
}

#[test]
fn refuses_what_is_no_live_key() {
    let wrong = format!("{SECRET}x");
    let long = format!("hw_k1_{}", "x".repeat(5000));
    for key in [
        "",
        "hw_",
        "hw_k1",
        "hw_k1_",
        "hw_k9_public",
        ORPHAN,
        &wrong,
        &long,
        "k1",
    ] {
        let refused = identify("/v1/events", &[("x-api-key", key)]);
        assert_eq!(refused, Err(Code::KeyInvalid), "{key}");
    }
    for authorization in ["Basic ???", "Basic aGVsbG8=", "Bearer", "Basic"] {
        let refused = identify("/v1/events", &[("authorization", authorization)]);
        assert_eq!(refused, Err(Code::KeyInvalid), "{authorization}");
    }
    assert_eq!(identify("/v1/events", &[]), Err(Code::KeyMissing));
    assert_eq!(
        identify("/v1/events", &[("authorization", "Digest x")]),
        Err(Code::KeyMissing)
    );
}

#[test]
fn a_signing_key_is_never_sent() {
    for key in [SIGNING, "whsec_c2VjcmV0"] {
        assert_eq!(
            identify("/v1/events", &[("x-api-key", key)]),
            Err(Code::KeyForbidden)
        );
    }
    assert_eq!(
        identify("/v1/events", &[("x-api-key", "hw_k3_wrong")]),
        Err(Code::KeyInvalid)
    );
}

#[test]
fn a_publishable_key_is_held_to_its_origins() {
    let from = |origin| identify(&format!("/v1/events?key={PUBLISHABLE}"), &[("origin", origin)]).map(|_| ());
    assert_eq!(from("https://shop.example"), Ok(()));
    assert_eq!(from("HTTPS://shop.example"), Ok(()));
    assert_eq!(from("https://shop.example.evil"), Err(Code::KeyForbidden));
    assert_eq!(from("null"), Err(Code::KeyForbidden));
    // A secret key is no browser's.
    assert!(
        identify(
            "/v1/events",
            &[("x-api-key", SECRET), ("origin", "https://evil.example")]
        )
        .is_ok()
    );
}

#[test]
fn a_key_ends_when_it_says_and_no_earlier() {
    let mut state = state();
    let mut expire = |seconds: i64| {
        let key = Arc::make_mut(state.keys.get_mut("k1").unwrap());
        key.value.expires = Some(Timestamp::from_second(Timestamp::now().as_second() + seconds).unwrap());
        let head = head("/v1/events", &[("x-api-key", SECRET)]);
        let keys = Keys::build(&state, &Keys::default(), |_| None);
        keys.identify(&head, &Caller::default(), &Places::default())
            .map_err(|problem| problem.code)
    };
    assert!(expire(60).is_ok());
    assert_eq!(expire(-1), Err(Code::KeyInvalid));
}

#[test]
fn a_key_is_held_to_its_types() {
    let mut state = state();
    let key = Arc::make_mut(state.keys.get_mut("k1").unwrap());
    key.value.types = vec!["order.*".to_owned(), "ping".to_owned()];
    let keys = Keys::build(&state, &Keys::default(), |_| None);
    let head = head("/v1/events", &[("x-api-key", SECRET)]);
    let identity = keys
        .identify(&head, &Caller::default(), &Places::default())
        .unwrap();
    for (event_type, expected) in [
        ("order.paid", true),
        ("ping", true),
        ("order", false),
        ("pings", false),
    ] {
        assert_eq!(
            identity.may_send(&event_type.parse().unwrap()),
            expected,
            "{event_type}"
        );
    }
    assert!(!identity.may_send_all());
}

#[test]
fn the_last_use_is_seen_and_outlives_a_change_of_the_registry() {
    let keys = keys();
    assert_eq!(keys.last_used("k1"), None);
    let head = head("/v1/events", &[("x-api-key", SECRET)]);
    keys.identify(&head, &Caller::default(), &Places::default())
        .unwrap();
    let used = keys.last_used("k1").unwrap();
    assert!(Timestamp::now().as_second() - used.as_second() <= 1);
    let next = Keys::build(&state(), &keys, |_| None);
    assert!(next.last_used("k1") >= Some(used));
    assert_eq!(next.last_used("k2"), None);
}

#[test]
fn a_partner_with_certificates_is_served_with_one_of_them_alone() {
    let mut state = state();
    let partner = Arc::make_mut(state.partners.get_mut("acme").unwrap());
    partner.value.client_certificates = vec![Digest([7; 32])];
    let keys = Keys::build(&state, &Keys::default(), |_| None);
    let head = head("/v1/events", &[("x-api-key", SECRET)]);
    for (certificate, expected) in [(None, false), (Some([8; 32]), false), (Some([7; 32]), true)] {
        let identity = keys.identify(&head, &Caller::new(&head, certificate), &Places::default());
        assert_eq!(identity.is_ok(), expected);
    }
}

#[test]
fn the_user_of_basic_is_a_key_only_where_an_envelope_says_so() {
    use crate::registry::model::envelope::{KeyIn, KeyPlace};
    let place = KeyPlace {
        place: KeyIn::BasicUser,
        name: None,
    };
    let credentials = basic(SECRET, "");
    let head = head("/v1/batch", &[("authorization", &credentials)]);
    let declared = Places {
        path: None,
        declared: vec![&place],
    };
    assert!(keys().identify(&head, &Caller::default(), &declared).is_ok());
    let refused = keys().identify(&head, &Caller::default(), &Places::default());
    assert_eq!(refused.unwrap_err().code, Code::KeyInvalid);
}
