//! `OPTIONS`: what browsers ask before they send (CORS) and what webhook senders ask before they deliver (CloudEvents'
//! handshake); and the headers that let a page read its answers.

use http::{HeaderMap, HeaderName, HeaderValue, header, request::Parts};

use super::{
    Consent, Ingest, Peer,
    respond::{self, Reply, RequestId},
};

/// How long a browser remembers a preflight; Chromium's own maximum.
const MAX_AGE_S: HeaderValue = HeaderValue::from_static("7200");
/// What a page may read besides the body.
const EXPOSED: HeaderValue =
    HeaderValue::from_static("x-request-id, retry-after, ratelimit, ratelimit-policy, preference-applied");
const TRUE: HeaderValue = HeaderValue::from_static("true");
const HOOK_REQUEST_ORIGIN: HeaderName = HeaderName::from_static("webhook-request-origin");
const HOOK_ALLOWED_ORIGIN: HeaderName = HeaderName::from_static("webhook-allowed-origin");
const HOOK_ALLOWED_RATE: HeaderName = HeaderName::from_static("webhook-allowed-rate");

/// The response to `OPTIONS` on a path that takes the methods in `allow`.
pub(super) fn answer<I: Ingest>(
    ingest: &I,
    head: &Parts,
    peer: &Peer,
    allow: &'static str,
    id: RequestId,
) -> Reply {
    let mut reply = respond::options(allow, id);
    let headers = reply.headers_mut();
    if head.headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD) {
        preflight(ingest, head, allow, headers);
    }
    if let Some(origin) = head.headers.get(HOOK_REQUEST_ORIGIN) {
        let rate = match ingest.consent(head, peer) {
            Consent::None => return reply,
            Consent::AnyRate => HeaderValue::from_static("*"),
            Consent::PerMinute(requests) => HeaderValue::from(requests),
        };
        headers.insert(HOOK_ALLOWED_ORIGIN, origin.clone());
        headers.insert(HOOK_ALLOWED_RATE, rate);
    }
    reply
}

fn preflight<I: Ingest>(ingest: &I, head: &Parts, allow: &'static str, headers: &mut HeaderMap) {
    headers.insert(
        header::VARY,
        HeaderValue::from_static("origin, access-control-request-method, access-control-request-headers"),
    );
    if !may_read(ingest, head) {
        return;
    }
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static(allow),
    );
    // Any header may be sent: each is read for what it is, or not at all.
    if let Some(asked) = head.headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
    }
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE_S);
}

fn origin(head: &Parts) -> Option<(&HeaderValue, &str)> {
    let origin = head.headers.get(header::ORIGIN)?;
    Some((origin, origin.to_str().ok()?))
}

fn may_read<I: Ingest>(ingest: &I, head: &Parts) -> bool {
    origin(head).is_some_and(|(_, text)| ingest.allows_origin(text))
}

/// Lets the page that sent the request read the response, where its origin is one that some key allows.
pub(super) fn share<I: Ingest>(ingest: &I, head: &Parts, reply: &mut Reply) {
    let Some((origin, text)) = origin(head) else {
        return;
    };
    let headers = reply.headers_mut();
    if !headers.contains_key(header::VARY) {
        headers.insert(header::VARY, HeaderValue::from_static("origin"));
    }
    if !ingest.allows_origin(text) {
        return;
    }
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    // `sendBeacon` always sends with credentials, and its preflight fails without this. No cookie means anything here.
    headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, TRUE);
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
}
