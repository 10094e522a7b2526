//! What a request says before its body: path, method, content type, encoding and attributes.

use http::{HeaderMap, HeaderName, Method, header, request::Parts};
use percent_encoding::percent_decode_str;

use super::{
    attributes::Given,
    encoding::{self, Encoding},
    envelope::Sealed,
    query::{self, Pairs, Tree},
};
use crate::problem::{Code, Problem};

const EVENTS_PATH: &str = "/v1/events";
const PREFER: HeaderName = HeaderName::from_static("prefer");

/// How the body holds its events.
#[derive(Debug)]
pub(super) enum Form {
    /// The body is the data of one event.
    Data,
    /// Each line is the data of one event.
    DataLines,
    /// An object is one event with its attributes, an array many.
    Any,
    /// One event with its attributes.
    One,
    /// An array of events with their attributes.
    Many,
    /// Each line is one event with its attributes.
    Lines,
    /// The body is a form, the data of one event.
    UrlEncoded,
    /// The query string is the data of one event.
    Query(Tree),
    /// As a partner's envelope says.
    Enveloped(Sealed),
}

/// A request's head, understood.
#[derive(Debug)]
pub struct Head {
    /// `Prefer: return=representation`: the answer lists accepted events too.
    pub every_result: bool,
    /// A GET that asks for an image, as a pixel in a page does.
    pub wants_image: bool,
    /// A POST with `?dry_run=true`: nothing is to be kept.
    pub dry_run: bool,
    pub(super) form: Form,
    pub(super) encoding: Encoding,
    /// Of events, by what the body was as sent.
    pub(super) events_max: u32,
    /// From headers, and from the query of a GET; `event_type` from the path where neither has it.
    pub(super) given: Given<'static>,
}

impl Head {
    /// Whether [`super::open`] reads it.
    pub fn is_enveloped(&self) -> bool {
        matches!(self.form, Form::Enveloped(_))
    }

    /// Reads all but the body. Errors: 404, 405 (with `allow`, also for `OPTIONS`), 415, and 400 where an attribute in
    /// a header or the query string is not in order. It needs no key: read it before the sender is known, so that a
    /// wrong path is told from a wrong key. `path` is the request's, without what stands before `/v1/events`.
    pub fn read(parts: &Parts, path: &str) -> Result<Head, Problem> {
        let path_type = path_type(path)?;
        match (&parts.method, path_type) {
            (&Method::POST, _) | (&Method::GET, Some(_)) => {}
            (_, Some(_)) => return Err(Problem::method_not_allowed("GET, POST, OPTIONS")),
            (_, None) => return Err(Problem::method_not_allowed("POST, OPTIONS")),
        }
        let is_get = parts.method == Method::GET;
        let mut given = Given::from_headers(&parts.headers)?;
        let (form, encoding) = if is_get {
            let (tree, in_query) = query::parse(parts.uri.query().unwrap_or_default(), Pairs::Query)?;
            given.fill(in_query);
            (Form::Query(tree), Encoding::Identity)
        } else {
            let form = form(&parts.headers, path_type.is_some(), given.event_type.is_some())?;
            (form, encoding::of(&parts.headers)?)
        };
        if given.event_type.is_none()
            && let Some(text) = path_type
        {
            // Characters that are no UTF-8 are no characters of a type either: it will be rejected as such.
            given.event_type = Some(percent_decode_str(text).decode_utf8_lossy().into_owned().into());
        }
        Ok(Head {
            every_result: wants_every_result(&parts.headers),
            wants_image: is_get && wants_image(&parts.headers),
            dry_run: !is_get && asks_for_dry_run(parts.uri.query().unwrap_or_default()),
            form,
            encoding,
            events_max: u32::MAX,
            given,
        })
    }
}

/// The type that stands in the path, still percent-encoded; none where the path has no place for one.
fn path_type(path: &str) -> Result<Option<&str>, Problem> {
    match path.strip_prefix(EVENTS_PATH) {
        Some("") => Ok(None),
        Some(rest) if rest.len() > 1 && rest.starts_with('/') && !rest[1..].contains('/') => {
            Ok(Some(&rest[1..]))
        }
        _ => Err(Problem::new(
            Code::PathUnknown,
            "events go to /v1/events or /v1/events/{type}",
        )),
    }
}

fn form(headers: &HeaderMap, has_path_type: bool, has_header_type: bool) -> Result<Form, Problem> {
    let mut values = headers.get_all(header::CONTENT_TYPE).iter();
    let (value, more) = (values.next(), values.next());
    if more.is_some() {
        return Err(unknown(
            "the request has more than one Content-Type",
            has_path_type,
        ));
    }
    let text = match value {
        None => "",
        Some(value) => value
            .to_str()
            .map_err(|_| unknown("the Content-Type cannot be read", has_path_type))?,
    };
    let mut parts = text.split(';');
    let essence = parts.next().unwrap_or_default().trim().to_ascii_lowercase();
    if parts.any(is_other_charset) {
        return Err(unknown(
            "JSON is UTF-8, and the Content-Type names another charset",
            has_path_type,
        ));
    }
    match (essence.as_str(), has_path_type) {
        ("application/x-ndjson", true) => Ok(Form::DataLines),
        ("application/x-ndjson", false) => Ok(Form::Lines),
        ("application/cloudevents+json", false) => Ok(Form::One),
        ("application/cloudevents-batch+json", false) => Ok(Form::Many),
        ("application/cloudevents+json" | "application/cloudevents-batch+json", true) => Err(unknown(
            "CloudEvents that carry their type in the body go to /v1/events",
            has_path_type,
        )),
        ("" | "text/plain" | "application/json", _) if has_path_type || has_header_type => Ok(Form::Data),
        ("" | "text/plain" | "application/json", _) => Ok(Form::Any),
        ("application/x-www-form-urlencoded", _) if has_path_type || has_header_type => Ok(Form::UrlEncoded),
        // CloudEvents' binary mode: the content type is the data's own.
        (essence, _) if (has_path_type || has_header_type) && is_json(essence) => Ok(Form::Data),
        _ => Err(unknown("this Content-Type is not taken here", has_path_type)),
    }
}

fn is_json(essence: &str) -> bool {
    essence
        .strip_suffix("+json")
        .is_some_and(|name| name.contains('/'))
}

fn is_other_charset(parameter: &str) -> bool {
    let Some((name, value)) = parameter.split_once('=') else {
        return false;
    };
    let value = value.trim().trim_matches('"');
    name.trim().eq_ignore_ascii_case("charset")
        && !["utf-8", "utf8", "us-ascii"]
            .iter()
            .any(|known| value.eq_ignore_ascii_case(known))
}

fn unknown(what: &str, has_path_type: bool) -> Problem {
    let taken = if has_path_type {
        "application/json, application/x-ndjson or application/x-www-form-urlencoded"
    } else {
        "application/json, application/x-ndjson, application/cloudevents+json or \
         application/cloudevents-batch+json"
    };
    Problem::new(Code::ContentTypeUnknown, format!("{what}; send {taken}"))
}

/// In the query of a GET everything is data.
fn asks_for_dry_run(query: &str) -> bool {
    query.split('&').any(|pair| pair == "dry_run=true")
}

/// Whether images are named: a page's pixel does, a program that takes `*/*` wants the answer.
pub(super) fn wants_image(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|range| range.split(';').next())
        .any(|range| {
            let range = range.trim();
            range.eq_ignore_ascii_case("image/*") || range.eq_ignore_ascii_case("image/gif")
        })
}

pub(super) fn wants_every_result(headers: &HeaderMap) -> bool {
    headers
        .get_all(PREFER)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|preference| preference.split(';').next())
        .filter_map(|preference| preference.split_once('='))
        .any(|(name, value)| {
            name.trim().eq_ignore_ascii_case("return")
                && value
                    .trim()
                    .trim_matches('"')
                    .eq_ignore_ascii_case("representation")
        })
}
