//! From the key that a request carries to the partner who sends it.
//!
//! A key is `hw_<key id>_<secret>`. Nothing here, neither error nor `Debug`, shows a key that was presented.

#[cfg(test)]
mod tests;

use std::{borrow::Cow, collections::HashMap, sync::Arc};

use base64::{Engine, engine::general_purpose};
use http::{HeaderMap, HeaderName, header, request::Parts};
use percent_encoding::percent_decode_str;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::{
    event::PartnerName,
    problem::{Code, Problem},
    registry::model::{Key, KeyKind, State},
};

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const PREFIX: &str = "hw_";
const SIGNING_PREFIX: &str = "whsec_";
/// No key is longer; what is longer need not be hashed.
const KEY_BYTES: usize = 256;
const PLACES: &str = "send it as \"Authorization: Bearer hw_…\" or \"X-API-Key: hw_…\"";

/// Who sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub partner: PartnerName,
    pub key_id: Arc<str>,
    pub kind: KeyKind,
}

/// All live keys of one registry snapshot.
#[derive(Debug, Default)]
pub struct Keys {
    by_id: HashMap<Arc<str>, Entry>,
}

#[derive(Debug)]
struct Entry {
    partner: PartnerName,
    kind: KeyKind,
    sha256: [u8; 32],
    /// Of a publishable key: the origins it may be used from, shared by all keys of the partner; empty: any.
    origins: Arc<[String]>,
}

/// A key as presented, and where.
struct Presented {
    text: String,
    is_in_query: bool,
}

impl Keys {
    /// The keys of all partners there are; a key whose partner is gone is none.
    pub fn build(state: &State) -> Keys {
        let mut origins: HashMap<&PartnerName, Arc<[String]>> = HashMap::new();
        let mut by_id = HashMap::with_capacity(state.keys.len());
        for Key {
            id,
            partner,
            kind,
            sha256,
            ..
        } in state.keys.values().map(|key| &key.value)
        {
            let Some(owner) = state.partners.get(partner) else {
                continue;
            };
            let origins = origins
                .entry(partner)
                .or_insert_with(|| owner.value.origins.as_slice().into());
            by_id.insert(
                id.as_str().into(),
                Entry {
                    partner: partner.clone(),
                    kind: *kind,
                    sha256: sha256.0,
                    origins: Arc::clone(origins),
                },
            );
        }
        Keys { by_id }
    }

    /// Whose request this is. 401: no valid key; 403: the key is valid and may not be used like this.
    pub fn identify(&self, head: &Parts) -> Result<Identity, Problem> {
        let presented = presented(head)?;
        let (id, entry) = self.verify(&presented.text)?;
        match entry.kind {
            KeyKind::Signing => return Err(signing_secret_sent()),
            KeyKind::Secret if presented.is_in_query => {
                return Err(Problem::new(
                    Code::KeyForbidden,
                    format!(
                        "a secret key must not stand in a URL, where logs keep it: revoke it, and {PLACES}; only a \
                         publishable key may be sent as ?key="
                    ),
                ));
            }
            KeyKind::Publishable => check_origin(&head.headers, &entry.origins)?,
            KeyKind::Secret => {}
        }
        Ok(Identity {
            partner: entry.partner.clone(),
            key_id: Arc::clone(id),
            kind: entry.kind,
        })
    }

    fn verify(&self, text: &str) -> Result<(&Arc<str>, &Entry), Problem> {
        if text.starts_with(SIGNING_PREFIX) {
            return Err(signing_secret_sent());
        }
        let known = text
            .strip_prefix(PREFIX)
            .filter(|_| text.len() <= KEY_BYTES)
            .and_then(|rest| rest.split_once('_'))
            .and_then(|(id, _)| self.by_id.get_key_value(id));
        // An unknown id costs the same as a wrong secret, so that time tells nothing of which ids there are.
        let digest: [u8; 32] = Sha256::digest(&text.as_bytes()[..text.len().min(KEY_BYTES)]).into();
        let expected = known.map_or([0; 32], |(_, entry)| entry.sha256);
        let is_equal = bool::from(digest.ct_eq(&expected));
        known.filter(|_| is_equal).ok_or_else(|| {
            Problem::new(
                Code::KeyInvalid,
                "the key is unknown, revoked or mistyped; use a live key of the partner",
            )
        })
    }
}

fn signing_secret_sent() -> Problem {
    Problem::new(
        Code::KeyForbidden,
        "a signing key only signs requests and is never sent itself; use a secret or publishable key here",
    )
}

fn check_origin(headers: &HeaderMap, allowed: &[String]) -> Result<(), Problem> {
    let Some(origin) = headers.get(header::ORIGIN) else {
        return Ok(());
    };
    let is_allowed = |allowed: &String| allowed.as_bytes().eq_ignore_ascii_case(origin.as_bytes());
    if allowed.is_empty() || allowed.iter().any(is_allowed) {
        return Ok(());
    }
    Err(Problem::new(
        Code::KeyForbidden,
        "this publishable key may not be used from this Origin; add the origin to the partner's origins",
    ))
}

/// The one key that the request carries, wherever it stands.
fn presented(head: &Parts) -> Result<Presented, Problem> {
    let mut found: Option<Presented> = None;
    let mut take = |text: Cow<'_, str>, is_in_query: bool| match &mut found {
        None => {
            found = Some(Presented {
                text: text.into_owned(),
                is_in_query,
            });
            Ok(())
        }
        Some(known) if known.text == text => {
            known.is_in_query |= is_in_query;
            Ok(())
        }
        Some(_) => Err(Problem::new(
            Code::KeyConflict,
            "the request carries different keys in different places; send one",
        )),
    };
    for value in head.headers.get_all(header::AUTHORIZATION) {
        if let Some(key) = authorization_key(value.as_bytes())? {
            take(key.into(), false)?;
        }
    }
    for value in head.headers.get_all(API_KEY) {
        let key = value.to_str().map_err(|_| malformed("X-API-Key"))?;
        take(key.trim().into(), false)?;
    }
    for key in query_keys(head.uri.query().unwrap_or_default()) {
        take(key.map_err(|()| malformed("?key="))?, true)?;
    }
    found.ok_or_else(|| Problem::new(Code::KeyMissing, format!("every request needs a key; {PLACES}")))
}

fn malformed(place: &str) -> Problem {
    Problem::new(
        Code::KeyInvalid,
        format!("{place} does not hold a key that can be read; {PLACES}"),
    )
}

/// The key in an `Authorization` header; none where its scheme is not one that carries keys.
fn authorization_key(value: &[u8]) -> Result<Option<String>, Problem> {
    let text = std::str::from_utf8(value).map_err(|_| malformed("Authorization"))?;
    let (scheme, credentials) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
    let credentials = credentials.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Ok(Some(credentials.to_owned()));
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return Ok(None);
    }
    let decoded = general_purpose::STANDARD
        .decode(credentials)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(|| malformed("Authorization"))?;
    let (_, password) = decoded
        .split_once(':')
        .ok_or_else(|| malformed("Authorization"))?;
    Ok(Some(password.to_owned()))
}

fn query_keys(query: &str) -> impl Iterator<Item = Result<Cow<'_, str>, ()>> {
    query
        .split('&')
        .filter_map(|pair| pair.strip_prefix("key="))
        .map(|value| percent_decode_str(value).decode_utf8().map_err(|_| ()))
}
