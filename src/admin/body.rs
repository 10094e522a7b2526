//! Bodies, bounded in size and time, and names in paths.

use std::{str::FromStr, time::Duration};

use axum::{
    body::Body,
    extract::{FromRequestParts, Path},
};
use bytes::Bytes;
use http::request::Parts;
use http_body_util::LengthLimitError;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::answer::{Refusal, not_found};
use crate::{
    json::{Document, ParseErrorKind},
    limits::{ByteSize, SCHEMA_DEPTH},
    problem::{Code, Problem},
};

/// Of every body that is neither schema nor component.
const RESOURCE_BYTES_MAX: ByteSize = ByteSize(1 << 20);
/// The whole body must have come by then.
const BODY_TIME: Duration = Duration::from_secs(60);

/// Reads a body of at most `max` bytes.
pub async fn read(body: Body, max: ByteSize) -> Result<Bytes, Problem> {
    read_within(body, max, BODY_TIME).await
}

/// Reads a body of at most `max` bytes, all of which must have come within `time`.
pub async fn read_within(body: Body, max: ByteSize, time: Duration) -> Result<Bytes, Problem> {
    let reading = axum::body::to_bytes(body, max.as_usize());
    let Ok(read) = tokio::time::timeout(time, reading).await else {
        return Err(Problem::new(
            Code::RequestTimeout,
            format!("the body must come within {} s", time.as_secs()),
        ));
    };
    read.map_err(|error| {
        let too_large =
            std::error::Error::source(&error).is_some_and(<dyn std::error::Error>::is::<LengthLimitError>);
        if too_large {
            Problem::new(Code::BodyTooLarge, format!("the body may have at most {max}"))
        } else {
            Problem::new(Code::BodyMalformed, "the body broke off")
        }
    })
}

/// Reads a resource's JSON.
pub async fn read_json(body: Body) -> Result<Value, Problem> {
    parse(&read(body, RESOURCE_BYTES_MAX).await?)
}

/// Parses JSON as strictly as events are; the refusal says where the fault is.
pub fn parse(text: &Bytes) -> Result<Value, Problem> {
    let parsed = Document::parse(text.clone(), SCHEMA_DEPTH);
    let document = parsed.map_err(|error| {
        let code = match &error.kind {
            ParseErrorKind::Syntax(_) => Code::JsonMalformed,
            ParseErrorKind::DuplicateMember(_) => Code::JsonDuplicateMember,
            ParseErrorKind::TooDeep(_) => Code::JsonTooDeep,
            ParseErrorKind::NumberOutOfRange => Code::JsonNumberOutOfRange,
            ParseErrorKind::LoneSurrogate => Code::JsonLoneSurrogate,
            ParseErrorKind::InvalidUtf8 => Code::Utf8Invalid,
        };
        let (line, column) = error.line_and_column(text);
        Problem::new(
            code,
            format!("{}, at line {line}, column {column} of the body", error.kind),
        )
    })?;
    Ok(document.root().to_value())
}

/// The names in a path, decoded.
pub struct Names<T>(pub T);

impl<T, S> FromRequestParts<S> for Names<T>
where
    T: DeserializeOwned + Send,
    S: Send + Sync,
{
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Names<T>, Refusal> {
        let refused = |_| Problem::new(Code::PathUnknown, "the path cannot be decoded");
        let Path(names) = Path::from_request_parts(parts, state).await.map_err(refused)?;
        Ok(Names(names))
    }
}

/// The name of something that must be there already: what is no name is not there.
pub fn known<N: FromStr>(what: &str, name: &str) -> Result<N, Problem> {
    name.parse().map_err(|_| not_found(what, name))
}

/// The name of something that is to be made.
pub fn named<N: FromStr>(name: &str) -> Result<N, Problem>
where
    N::Err: std::fmt::Display,
{
    name.parse()
        .map_err(|error: N::Err| Problem::new(Code::InputInvalid, error.to_string()))
}
