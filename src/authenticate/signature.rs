//! Signatures over the bytes of a request: Standard Webhooks, and the schemes of services that sign in their own way.
//! Each is HMAC-SHA256; they differ in where the time stands, what is signed and how the result is written.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::HeaderMap;
use jiff::Timestamp;
use ring::hmac;
use subtle::ConstantTimeEq as _;

use crate::{
    limits::{SIGNATURES, WEBHOOK_ID_BYTES, WEBHOOK_TOLERANCE_S},
    problem::{Code, Problem},
    registry::model::{
        SigningSecret,
        envelope::{Scheme, Signature},
    },
};

const PREFIX: &str = "whsec_";

/// What a request says of its signature, before its body is there.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    scheme: Scheme,
    /// What is signed before the body.
    before: Vec<u8>,
    tags: Vec<[u8; 32]>,
    /// `webhook-id`.
    pub(super) id: Option<String>,
}

fn invalid(detail: impl Into<String>) -> Problem {
    Problem::new(Code::SignatureInvalid, detail)
}

fn header<'h>(headers: &'h HeaderMap, name: &str) -> Result<&'h str, Problem> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value
            .to_str()
            .map(str::trim)
            .map_err(|_| invalid(format!("the header {name} cannot be read"))),
        (None, _) => Err(invalid(format!(
            "the header {name} is missing: the request's key signs, so each request must carry its signature"
        ))),
        _ => Err(invalid(format!("the header {name} stands more than once"))),
    }
}

fn check_time(text: &str, now: Timestamp) -> Result<(), Problem> {
    let sent: i64 = text
        .parse()
        .map_err(|_| invalid("the signature's time is no number of seconds since 1970"))?;
    let age = now.as_second().saturating_sub(sent);
    if age.unsigned_abs() > WEBHOOK_TOLERANCE_S {
        return Err(invalid(format!(
            "the signature's time is {} s {} now, and at most {WEBHOOK_TOLERANCE_S} s are tolerated; sign each try \
             anew, and set the sender's clock",
            age.unsigned_abs(),
            if age > 0 { "before" } else { "after" }
        )));
    }
    Ok(())
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    let mut tag = [0; 32];
    hex::decode_to_slice(text, &mut tag).ok()?;
    Some(tag)
}

fn from_base64(text: &str) -> Option<[u8; 32]> {
    STANDARD.decode(text).ok()?.try_into().ok()
}

impl Claim {
    /// 401 where the headers are not there, cannot be read, or are too old or too new.
    pub(super) fn read(headers: &HeaderMap, signature: &Signature, now: Timestamp) -> Result<Claim, Problem> {
        let written = header(headers, &signature.header)?;
        let mut claim = Claim {
            scheme: signature.scheme,
            before: Vec::new(),
            tags: Vec::new(),
            id: None,
        };
        match signature.scheme {
            Scheme::StandardWebhooks => {
                let id = header(headers, "webhook-id")?;
                let time = header(headers, "webhook-timestamp")?;
                if id.is_empty() || id.len() > WEBHOOK_ID_BYTES {
                    return Err(invalid(format!("webhook-id holds 1 to {WEBHOOK_ID_BYTES} bytes")));
                }
                check_time(time, now)?;
                claim.before = format!("{id}.{time}.").into_bytes();
                claim.id = Some(id.to_owned());
                claim.take(written.split(' '), "v1,", from_base64);
            }
            Scheme::Github => claim.take(std::iter::once(written), "sha256=", from_hex),
            Scheme::Stripe => {
                let parts = || written.split(',').map(str::trim);
                let time = parts()
                    .find_map(|part| part.strip_prefix("t="))
                    .unwrap_or_default();
                check_time(time, now)?;
                claim.before = format!("{time}.").into_bytes();
                claim.take(parts(), "v1=", from_hex);
            }
            Scheme::Slack => {
                let time = header(headers, "x-slack-request-timestamp")?;
                check_time(time, now)?;
                claim.before = format!("v0:{time}:").into_bytes();
                claim.take(std::iter::once(written), "v0=", from_hex);
            }
        }
        if claim.tags.is_empty() {
            return Err(invalid(format!(
                "the header {} holds no signature of the form that its scheme has",
                signature.header
            )));
        }
        Ok(claim)
    }

    fn take<'t>(
        &mut self,
        parts: impl Iterator<Item = &'t str>,
        prefix: &str,
        read: fn(&str) -> Option<[u8; 32]>,
    ) {
        let tags = parts.filter_map(|part| read(part.strip_prefix(prefix)?));
        self.tags.extend(tags.take(SIGNATURES));
    }

    /// Whether one of the signatures is what `secret` makes of `body`. The time that it takes tells nothing of which,
    /// nor of how much of one.
    pub(super) fn is_by(&self, secret: &Secret, body: &[u8]) -> bool {
        let mut mac = hmac::Context::with_key(secret.key(self.scheme));
        mac.update(&self.before);
        mac.update(body);
        let expected = mac.sign();
        let mut found = subtle::Choice::from(0);
        for tag in &self.tags {
            found |= tag.ct_eq(expected.as_ref());
        }
        found.into()
    }
}

/// A signing secret, ready to sign with. `Debug` shows nothing.
#[derive(Clone)]
pub(super) struct Secret {
    /// Keyed with the text as it is, as most services do.
    plain: hmac::Key,
    /// Keyed with the bytes that Standard Webhooks' text stands for.
    decoded: hmac::Key,
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("***")
    }
}

impl Secret {
    pub(super) fn new(secret: &SigningSecret) -> Secret {
        let text = secret.reveal();
        let stripped = text.strip_prefix(PREFIX).unwrap_or(text);
        let decoded = STANDARD
            .decode(stripped)
            .unwrap_or_else(|_| text.as_bytes().to_vec());
        let keyed = |bytes: &[u8]| hmac::Key::new(hmac::HMAC_SHA256, bytes);
        Secret {
            plain: keyed(text.as_bytes()),
            decoded: keyed(&decoded),
        }
    }

    fn key(&self, scheme: Scheme) -> &hmac::Key {
        match scheme {
            Scheme::StandardWebhooks => &self.decoded,
            Scheme::Github | Scheme::Stripe | Scheme::Slack => &self.plain,
        }
    }
}
