//! Signatures of requests. The input is a request; its path says the scheme. In its headers `{now}` becomes the time, and
//! `{tag}` what the secret makes of what they say is signed.
#![no_main]

use base64::{Engine as _, engine::general_purpose::STANDARD};
use headworks::{
    authenticate::Caller,
    problem::Code,
    registry::model::{
        KeyKind,
        envelope::{Scheme, Signature},
    },
};
use headworks_fuzz::{KEYS, Request, SIGNING_ID, SIGNING_SECRET};
use http::{HeaderMap, HeaderValue};
use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;
use ring::hmac;

fuzz_target!(|input: &[u8]| run(input));

fn run(input: &[u8]) {
    let Some(mut request) = Request::parse(input) else {
        return;
    };
    let signature = signature(request.head.uri.path());
    let headers = &mut request.head.headers;
    fill(headers, "{now}", &Timestamp::now().as_second().to_string());
    let tag = tag(headers, signature.scheme, &request.body);
    fill(headers, "{tag}", &tag);
    let is_signed = headers
        .get_all(&signature.header)
        .iter()
        .any(|value| holds(value, &tag, signature.scheme));
    let verified = KEYS
        .signed(&request.head, Caller::default(), SIGNING_ID, &signature)
        .and_then(|signed| signed.verify(&request.body));
    match verified {
        Ok(identity) => {
            assert!(is_signed, "a forged signature was taken");
            assert_eq!(identity.kind, KeyKind::Signing);
            let has_id = signature.scheme == Scheme::StandardWebhooks;
            assert_eq!(identity.webhook_id.is_some(), has_id);
        }
        Err(problem) => {
            assert_eq!(problem.code, Code::SignatureInvalid);
            assert!(
                signature.scheme != Scheme::Github || !is_plain(&request.head.headers, &tag),
                "a signature was not taken"
            );
        }
    }
    let unknown = KEYS
        .signed(&request.head, Caller::default(), "unknown", &signature)
        .and_then(|signed| signed.verify(&request.body));
    assert_eq!(
        unknown.err().map(|problem| problem.code),
        Some(Code::SignatureInvalid)
    );
}

fn signature(path: &str) -> Signature {
    let (scheme, header) = match path {
        "/github" => (Scheme::Github, "x-hub-signature-256"),
        "/stripe" => (Scheme::Stripe, "stripe-signature"),
        "/slack" => (Scheme::Slack, "x-slack-signature"),
        _ => return Signature::standard(),
    };
    Signature {
        header: header.to_owned(),
        scheme,
    }
}

fn fill(headers: &mut HeaderMap, place: &str, text: &str) {
    for value in headers.values_mut() {
        let filled = value
            .to_str()
            .ok()
            .filter(|value| value.contains(place))
            .map(|value| value.replace(place, text));
        if let Some(filled) = filled.and_then(|filled| HeaderValue::from_str(&filled).ok()) {
            *value = filled;
        }
    }
}

fn header<'h>(headers: &'h HeaderMap, name: &str) -> &'h str {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .map(str::trim)
        .unwrap_or_default()
}

/// As the services tell it, not as the gateway does it.
fn tag(headers: &HeaderMap, scheme: Scheme, body: &[u8]) -> String {
    let before = match scheme {
        Scheme::StandardWebhooks => format!(
            "{}.{}.",
            header(headers, "webhook-id"),
            header(headers, "webhook-timestamp")
        ),
        Scheme::Github => String::new(),
        Scheme::Stripe => {
            let mut parts = header(headers, "stripe-signature").split(',').map(str::trim);
            let time = parts.find_map(|part| part.strip_prefix("t="));
            format!("{}.", time.unwrap_or_default())
        }
        Scheme::Slack => format!("v0:{}:", header(headers, "x-slack-request-timestamp")),
    };
    let secret = match scheme {
        Scheme::StandardWebhooks => STANDARD
            .decode(SIGNING_SECRET.trim_start_matches("whsec_"))
            .expect("the secret is base64"),
        _ => SIGNING_SECRET.as_bytes().to_vec(),
    };
    let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
    let tag = hmac::sign(&key, &[before.as_bytes(), body].concat());
    match scheme {
        Scheme::StandardWebhooks => STANDARD.encode(tag),
        _ => hex::encode(tag),
    }
}

fn holds(value: &HeaderValue, tag: &str, scheme: Scheme) -> bool {
    let Ok(text) = value.to_str() else {
        return false;
    };
    match scheme {
        Scheme::StandardWebhooks => text.contains(tag),
        _ => text.to_ascii_lowercase().contains(tag),
    }
}

/// The one header that GitHub sends, as it sends it.
fn is_plain(headers: &HeaderMap, tag: &str) -> bool {
    let mut values = headers.get_all("x-hub-signature-256").iter();
    let first = values.next();
    values.next().is_none()
        && first.is_some_and(|value| value.as_bytes() == format!("sha256={tag}").as_bytes())
}
