//! Outcomes and problems as HTTP responses.

use std::fmt::Write as _;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use serde::Serialize;
use uuid::{NoContext, Timestamp, Uuid, fmt::Hyphenated};

use crate::{
    event::{Answer, EventResult, Instead, Outcome, Reason, Violation},
    problem::{Code, Fault, Problem, ProblemBody},
};

pub(super) type Reply = Response<Full<Bytes>>;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");

/// Names one request in its response and in the gateway's log. Always the gateway's own: what a sender puts in
/// `X-Request-Id` could be forged to look like another's.
#[derive(Clone, Copy, Debug)]
pub(super) struct RequestId(Uuid);

impl RequestId {
    /// A UUIDv7. Two made within one millisecond need no order, so no counter is shared between threads.
    pub(super) fn new() -> RequestId {
        RequestId(Uuid::new_v7(Timestamp::now(NoContext)))
    }

    pub(super) fn text<'b>(&self, buffer: &'b mut [u8; Hyphenated::LENGTH]) -> &'b str {
        self.0.hyphenated().encode_lower(buffer)
    }

    fn header(self) -> HeaderValue {
        HeaderValue::from_str(self.text(&mut [0; Hyphenated::LENGTH]))
            .expect("a UUID is hexadecimal digits and hyphens")
    }
}

impl std::fmt::Display for RequestId {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(formatter)
    }
}

fn reply(status: u16, content_type: HeaderValue, body: Vec<u8>, id: RequestId) -> Reply {
    let mut reply = Response::new(Full::new(Bytes::from(body)));
    *reply.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = reply.headers_mut();
    headers.insert(header::CONTENT_TYPE, content_type);
    headers.insert(REQUEST_ID, id.header());
    reply
}

fn json(body: &impl Serialize) -> Vec<u8> {
    let mut text = Vec::with_capacity(128);
    serde_json::to_writer(&mut text, body).expect("a response is strings, numbers and lists of them");
    text
}

/// The response to `OPTIONS` on a path that takes the methods in `allow`.
pub(super) fn options(allow: &'static str, id: RequestId) -> Reply {
    let mut reply = Response::new(Full::default());
    *reply.status_mut() = StatusCode::NO_CONTENT;
    let headers = reply.headers_mut();
    headers.insert(header::ALLOW, HeaderValue::from_static(allow));
    headers.insert(REQUEST_ID, id.header());
    reply
}

pub(super) fn problem(problem: &Problem, id: RequestId) -> Reply {
    let body = json(&problem.body(id.text(&mut [0; Hyphenated::LENGTH])));
    let mut reply = reply(problem.status(), PROBLEM, body, id);
    let headers = reply.headers_mut();
    if let Some(seconds) = problem.retry_after_s {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if let Some(allow) = problem.allow {
        headers.insert(header::ALLOW, HeaderValue::from_static(allow));
    }
    if let Some(rate) = &problem.rate {
        // The draft "RateLimit header fields for HTTP", version 10.
        let policy = format!("\"{}\";q={};w={}", rate.name, rate.quota, rate.window_s);
        let state = format!("\"{}\";r=0;t={}", rate.name, rate.reset_s);
        for (name, value) in [(RATE_LIMIT_POLICY, policy), (RATE_LIMIT, state)] {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(name, value);
            }
        }
    }
    if problem.status() == 401 {
        headers.insert(
            header::WWW_AUTHENTICATE,
            HeaderValue::from_static("Bearer realm=\"headworks\""),
        );
    }
    reply
}

/// The same as bytes, for where no HTTP machinery is at hand; the connection is to be closed after it.
pub(super) fn raw_problem(problem: &Problem) -> Vec<u8> {
    let id = RequestId::new();
    let body = json(&problem.body(id.text(&mut [0; Hyphenated::LENGTH])));
    let status = StatusCode::from_u16(problem.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut head = format!(
        "HTTP/1.1 {} {}\r\ncontent-type: application/problem+json\r\nx-request-id: {id}\r\ncontent-length: {}\r\n\
         connection: close\r\n",
        status.as_str(),
        status.canonical_reason().unwrap_or_default(),
        body.len()
    );
    if let Some(seconds) = problem.retry_after_s {
        write!(head, "retry-after: {seconds}\r\n").expect("a string takes all text");
    }
    head.push_str("\r\n");
    let mut whole = head.into_bytes();
    whole.extend_from_slice(&body);
    whole
}

#[derive(Serialize)]
struct Item<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<Code>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [Violation],
}

impl<'a> Item<'a> {
    fn of(index: Option<usize>, result: &'a EventResult) -> Item<'a> {
        let (status, reason) = match &result.outcome {
            Outcome::Accepted => ("accepted", None),
            Outcome::Duplicate => ("duplicate", None),
            Outcome::Quarantined(reason) => ("quarantined", Some(reason)),
            Outcome::Rejected(reason) => ("rejected", Some(reason)),
        };
        Item {
            index,
            id: result.id.as_deref(),
            status,
            code: reason.map(|reason| reason.code),
            detail: reason.map(|reason| reason.detail.as_str()),
            errors: reason.map_or(&[], |reason| &reason.errors),
        }
    }
}

#[derive(Default, Serialize)]
struct Many<'a> {
    accepted: usize,
    duplicate: usize,
    quarantined: usize,
    rejected: usize,
    results: Vec<Item<'a>>,
}

impl<'a> Many<'a> {
    fn of(answer: &'a Answer) -> Many<'a> {
        let mut many = Many::default();
        for (index, result) in answer.results.iter().enumerate() {
            match result.outcome {
                Outcome::Accepted => many.accepted += 1,
                Outcome::Duplicate => many.duplicate += 1,
                Outcome::Quarantined(_) => many.quarantined += 1,
                Outcome::Rejected(_) => many.rejected += 1,
            }
            if answer.every_result || result.outcome != Outcome::Accepted {
                many.results.push(Item::of(Some(index), result));
            }
        }
        many
    }
}

#[derive(Serialize)]
struct ManyRejected<'a> {
    #[serde(flatten)]
    problem: ProblemBody,
    #[serde(flatten)]
    many: Many<'a>,
}

/// The response to a request that was read whole.
pub(super) fn answer(answer: &Answer, id: RequestId) -> Reply {
    if let Some(instead) = &answer.instead
        && !answer.results.iter().any(EventResult::is_rejected)
    {
        return self::instead(instead, id);
    }
    let mut reply = match answer.results.as_slice() {
        [] => problem(&Problem::new(Code::Internal, "the request got no results"), id),
        [result] if answer.single => single(result, id),
        _ => many(answer, id),
    };
    // What was only tried must not read like what was taken.
    if answer.dry_run && reply.status().is_success() {
        *reply.status_mut() = StatusCode::OK;
    }
    if answer.every_result && !answer.single {
        reply.headers_mut().insert(
            PREFERENCE_APPLIED,
            HeaderValue::from_static("return=representation"),
        );
    }
    reply
}

fn instead(instead: &Instead, id: RequestId) -> Reply {
    let mut reply = Response::new(Full::new(instead.body.clone()));
    *reply.status_mut() = StatusCode::from_u16(instead.status).unwrap_or(StatusCode::ACCEPTED);
    let headers = reply.headers_mut();
    if let Ok(content_type) = HeaderValue::from_str(&instead.content_type) {
        headers.insert(header::CONTENT_TYPE, content_type);
    }
    headers.insert(REQUEST_ID, id.header());
    reply
}

fn single(result: &EventResult, id: RequestId) -> Reply {
    match &result.outcome {
        Outcome::Rejected(reason) => problem(&refusal(reason), id),
        _ => reply(202, JSON, json(&Item::of(None, result)), id),
    }
}

fn refusal(reason: &Reason) -> Problem {
    let fault = |violation: &Violation| Fault {
        pointer: violation.pointer.clone(),
        message: violation.message.clone(),
        keyword: Some(violation.keyword.clone()),
    };
    Problem::new(reason.code, reason.detail.clone()).with_errors(reason.errors.iter().map(fault).collect())
}

fn many(answer: &Answer, id: RequestId) -> Reply {
    let many = Many::of(answer);
    if many.rejected < answer.results.len() {
        let status = if many.rejected == 0 { 202 } else { 207 };
        return reply(status, JSON, json(&many), id);
    }
    let refusal = Problem::new(
        Code::AllRejected,
        "no event was kept; see results for the reason of each",
    );
    let body = json(&ManyRejected {
        problem: refusal.body(id.text(&mut [0; Hyphenated::LENGTH])),
        many,
    });
    reply(refusal.status(), PROBLEM, body, id)
}
