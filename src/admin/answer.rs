//! Answers: JSON with an ETag, or a problem; each with its request id.

use std::panic::AssertUnwindSafe;

use axum::{
    body::Body,
    extract::Request,
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures::FutureExt as _;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Serialize;
use uuid::Uuid;

use crate::problem::{Code, Problem};

/// What a handler gives back.
pub type Answer = Result<Response, Refusal>;

/// A problem on its way out; [`frame`] writes it down.
#[derive(Debug)]
pub struct Refusal(pub Problem);

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Refusal {
        Refusal(problem)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() =
            StatusCode::from_u16(self.0.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        response.extensions_mut().insert(self.0);
        response
    }
}

/// JSON without an ETag.
pub fn json(status: StatusCode, value: &impl Serialize) -> Answer {
    let text = serde_json::to_vec(value).map_err(|error| {
        tracing::error!(%error, "an answer cannot be written as JSON");
        Problem::new(Code::Internal, "the answer cannot be written")
    })?;
    let headers = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    Ok((status, headers, text).into_response())
}

/// JSON of a resource that entry `sequence` last changed.
pub fn resource(status: StatusCode, sequence: u64, value: &impl Serialize) -> Answer {
    let mut response = json(status, value)?;
    response.headers_mut().insert(header::ETAG, etag(sequence));
    Ok(response)
}

/// 201 for what is new, else 200.
pub fn put_status(created: bool) -> StatusCode {
    if created {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    }
}

pub fn etag(sequence: u64) -> HeaderValue {
    HeaderValue::try_from(format!("\"{sequence}\"")).unwrap_or(HeaderValue::from_static("\"0\""))
}

pub fn no_content() -> Answer {
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub fn not_found(what: &str, name: &str) -> Problem {
    let name: String = name.chars().take(200).collect();
    Problem::new(Code::NotFound, format!("there is no {what} {name:?}"))
}

/// Gives each request an id, and each refusal, the framework's own ones too, its body.
pub async fn frame(request: Request, next: Next) -> Response {
    let request_id = Uuid::now_v7().to_string();
    let method = request.method().clone();
    let answered = AssertUnwindSafe(next.run(request)).catch_unwind().await;
    let mut response = answered.unwrap_or_else(|_| {
        tracing::error!(request_id, %method, "an admin request's handler panicked");
        Refusal(Problem::new(Code::Internal, "the request could not be handled")).into_response()
    });
    let problem = response
        .extensions_mut()
        .remove::<Problem>()
        .or_else(|| unframed(&response));
    if let Some(problem) = problem {
        response = written(&problem, &request_id, response.headers());
    }
    if let Ok(value) = HeaderValue::try_from(request_id) {
        response.headers_mut().insert("x-request-id", value);
    }
    response
}

/// The problem of a refusal that the framework made by itself: a plain text or nothing.
fn unframed(response: &Response) -> Option<Problem> {
    let status = response.status();
    let json = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind == "application/json");
    if json || !(status.is_client_error() || status.is_server_error()) {
        return None;
    }
    Some(match status {
        StatusCode::NOT_FOUND => Problem::new(
            Code::PathUnknown,
            "there is nothing at this path; /openapi.json names all paths",
        ),
        StatusCode::METHOD_NOT_ALLOWED => Problem::new(
            Code::MethodNotAllowed,
            "this path does not take this method; see the header Allow",
        ),
        StatusCode::PAYLOAD_TOO_LARGE => Problem::new(Code::BodyTooLarge, "the body is too large"),
        status if status.is_client_error() => Problem::new(Code::BodyMalformed, "the request cannot be read"),
        _ => Problem::new(Code::Internal, "the request could not be handled"),
    })
}

fn written(problem: &Problem, request_id: &str, kept: &HeaderMap) -> Response {
    let body = problem.body(request_id);
    let text = serde_json::to_vec(&body).unwrap_or_default();
    let mut response = Response::new(Body::from(text));
    *response.status_mut() =
        StatusCode::from_u16(problem.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/problem+json"),
    );
    if let Some(allow) = kept.get(header::ALLOW) {
        headers.insert(header::ALLOW, allow.clone());
    }
    if problem.status() == 401 {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if let Some(seconds) = problem.retry_after_s {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}
