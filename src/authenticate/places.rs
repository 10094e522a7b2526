//! Where a request's head may hold its key.

use std::borrow::Cow;

use base64::{Engine as _, engine::general_purpose};
use http::{HeaderName, HeaderValue, header, request::Parts};
use percent_encoding::percent_decode_str;

use super::PLACES;
use crate::{
    problem::{Code, Problem},
    registry::model::envelope::{KeyIn, KeyPlace},
};

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const QUERY: &str = "key";

/// The places beside the usual ones: `Authorization`, `X-API-Key` and `?key=`.
#[derive(Clone, Debug, Default)]
pub struct Places<'a> {
    /// What stood behind `/k/`, still percent-encoded.
    pub path: Option<&'a str>,
    /// What the envelopes that are served here say.
    pub declared: Vec<&'a KeyPlace>,
}

/// A key as presented, and where.
pub(super) struct Presented<'r> {
    pub(super) text: Cow<'r, str>,
    pub(super) is_in_url: bool,
}

#[derive(Default)]
struct Found<'r>(Option<Presented<'r>>);

impl<'r> Found<'r> {
    /// Places that hold a key must hold the same one.
    fn take(&mut self, text: Cow<'r, str>, is_in_url: bool) -> Result<(), Problem> {
        match &mut self.0 {
            None => {
                self.0 = Some(Presented { text, is_in_url });
                Ok(())
            }
            Some(known) if known.text == text => {
                known.is_in_url |= is_in_url;
                Ok(())
            }
            Some(_) => Err(Problem::new(
                Code::KeyConflict,
                "the request carries different keys in different places; send one",
            )),
        }
    }
}

impl Places<'_> {
    /// The one key that the request carries.
    pub(super) fn presented<'r>(&'r self, head: &'r Parts) -> Result<Presented<'r>, Problem> {
        let mut found = Found::default();
        let takes_user = self.declared.iter().any(|key| key.place == KeyIn::BasicUser);
        for value in head.headers.get_all(header::AUTHORIZATION) {
            if let Some(key) = authorization_key(value.as_bytes(), takes_user)? {
                found.take(key, false)?;
            }
        }
        for value in head.headers.get_all(API_KEY) {
            found.take(header_key(value, "X-API-Key")?, false)?;
        }
        let query = head.uri.query().unwrap_or_default();
        for key in query_keys(query, QUERY) {
            found.take(key.map_err(|()| malformed("?key="))?, true)?;
        }
        for KeyPlace { place, name } in &self.declared {
            let name = name.as_deref().unwrap_or_default();
            match place {
                KeyIn::Header => {
                    for value in head.headers.get_all(name) {
                        found.take(header_key(value, name)?, false)?;
                    }
                }
                KeyIn::Query if name != QUERY => {
                    for key in query_keys(query, name) {
                        found.take(
                            key.map_err(|()| malformed("the query parameter with the key"))?,
                            true,
                        )?;
                    }
                }
                _ => {}
            }
        }
        if let Some(key) = self.path {
            let key = percent_decode_str(key).decode_utf8();
            found.take(key.map_err(|_| malformed("/k/"))?, true)?;
        }
        found
            .0
            .ok_or_else(|| Problem::new(Code::KeyMissing, format!("every request needs a key; {PLACES}")))
    }
}

fn malformed(place: &str) -> Problem {
    Problem::new(
        Code::KeyInvalid,
        format!("{place} does not hold a key that can be read; {PLACES}"),
    )
}

fn header_key<'v>(value: &'v HeaderValue, name: &str) -> Result<Cow<'v, str>, Problem> {
    Ok(value.to_str().map_err(|_| malformed(name))?.trim().into())
}

/// The key in an `Authorization` header; none where its scheme is not one that carries keys.
fn authorization_key(value: &[u8], takes_user: bool) -> Result<Option<Cow<'_, str>>, Problem> {
    let text = std::str::from_utf8(value).map_err(|_| malformed("Authorization"))?;
    let (scheme, credentials) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
    let credentials = credentials.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Ok(Some(credentials.into()));
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return Ok(None);
    }
    let decoded = general_purpose::STANDARD
        .decode(credentials)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(|| malformed("Authorization"))?;
    let (user, password) = decoded
        .split_once(':')
        .ok_or_else(|| malformed("Authorization"))?;
    let key = if takes_user && password.is_empty() {
        user
    } else {
        password
    };
    Ok(Some(key.to_owned().into()))
}

fn query_keys<'q>(query: &'q str, name: &'q str) -> impl Iterator<Item = Result<Cow<'q, str>, ()>> {
    query
        .split('&')
        .filter_map(move |pair| pair.strip_prefix(name)?.strip_prefix('='))
        .map(|value| percent_decode_str(value).decode_utf8().map_err(|_| ()))
}

/// The parameter `key_id` of a URL, which says whose signature a request carries.
pub fn key_id(query: &str) -> Option<Cow<'_, str>> {
    query_keys(query, "key_id").next()?.ok()
}
