//! The CloudEvents attributes of an event: where they come from, what they must be, and what stands in for them.

use std::{borrow::Cow, sync::Arc};

use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::percent_decode;
use uuid::{NoContext, Uuid};

use super::Context;
use crate::{
    event::{Attributes, EventType, Reason, Undecoded},
    json::{Kind, Node},
    limits::ATTRIBUTE_BYTES,
    problem::{Code, Problem},
};

/// Of attributes in headers, and in the query of a GET.
pub(super) const PREFIX: &str = "ce-";
const TRACEPARENT: &str = "traceparent";

/// Attributes as they were given in one place, checked but for the type.
#[derive(Clone, Debug, Default)]
pub(super) struct Given<'a> {
    pub(super) id: Option<Cow<'a, str>>,
    pub(super) source: Option<Cow<'a, str>>,
    pub(super) event_type: Option<Cow<'a, str>>,
    pub(super) time: Option<Cow<'a, str>>,
    pub(super) subject: Option<Cow<'a, str>>,
    pub(super) app_version: Option<Cow<'a, str>>,
    pub(super) traceparent: Option<Cow<'a, str>>,
}

impl<'a> Given<'a> {
    /// Takes note of one attribute; extensions that mean nothing here are let go.
    pub(super) fn set(&mut self, name: &str, value: Cow<'a, str>) -> Result<(), Reason> {
        let (slot, what) = match name {
            "id" => (&mut self.id, "id"),
            "source" => (&mut self.source, "source"),
            "time" => (&mut self.time, "time"),
            "subject" => (&mut self.subject, "subject"),
            "appversion" => (&mut self.app_version, "appversion"),
            "type" => {
                self.event_type = Some(value);
                return Ok(());
            }
            TRACEPARENT => {
                self.traceparent = Some(value).filter(|value| is_traceparent(value));
                return Ok(());
            }
            "specversion" if value == "1.0" => return Ok(()),
            "specversion" => {
                return Err(invalid("specversion must be \"1.0\", or left out"));
            }
            _ => return Ok(()),
        };
        *slot = checked(what, value)?;
        Ok(())
    }

    /// Takes note of one member of an event.
    pub(super) fn set_member(&mut self, name: &str, value: Node<'a>) -> Result<(), Reason> {
        let is_known = matches!(
            name,
            "id" | "source" | "type" | "time" | "subject" | "appversion" | "specversion" | TRACEPARENT
        );
        match value.kind() {
            _ if !is_known => Ok(()),
            // CloudEvents' JSON format: an attribute that is null is not set.
            Kind::Null => Ok(()),
            // A version that was written as a number counts as it is spelled.
            Kind::Number if name == "appversion" => self.set(name, value.raw().into()),
            Kind::String => self.set(name, value.as_str().unwrap_or_default()),
            _ => Err(invalid(format!("{name} must be a string"))),
        }
    }

    /// Takes what is still missing from `other`.
    pub(super) fn fill(&mut self, other: Given<'a>) {
        let pairs = [
            (&mut self.id, other.id),
            (&mut self.source, other.source),
            (&mut self.event_type, other.event_type),
            (&mut self.time, other.time),
            (&mut self.subject, other.subject),
            (&mut self.app_version, other.app_version),
            (&mut self.traceparent, other.traceparent),
        ];
        for (slot, value) in pairs {
            if slot.is_none() {
                *slot = value;
            }
        }
    }
}

impl Given<'static> {
    /// The `ce-*` headers, and `traceparent`.
    pub(super) fn from_headers(headers: &HeaderMap) -> Result<Given<'static>, Problem> {
        let mut given = Given::default();
        let mut trace = None;
        for name in headers.keys() {
            let attribute = name.as_str().strip_prefix(PREFIX);
            if attribute.is_none() && name != TRACEPARENT {
                continue;
            }
            let value = header_value(headers, name)?;
            match attribute {
                Some(attribute) => given.set(attribute, value.into()).map_err(refused)?,
                None => trace = Some(value).filter(|value| is_traceparent(value)),
            }
        }
        given.traceparent = given.traceparent.or(trace.map(Cow::from));
        Ok(given)
    }
}

/// As a refusal of the whole request.
pub(super) fn refused(reason: Reason) -> Problem {
    Problem::new(reason.code, reason.detail)
}

fn header_value(headers: &HeaderMap, name: &HeaderName) -> Result<String, Problem> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => decode_header(value),
        _ => None,
    }
    .ok_or_else(|| {
        refused(invalid(format!(
            "the header {name} must stand once and hold percent-encoded UTF-8"
        )))
    })
}

/// As CloudEvents' HTTP binding has it: quotes around the value go, then one round of percent-decoding.
fn decode_header(value: &HeaderValue) -> Option<String> {
    let bytes = value.as_bytes();
    let unquoted = bytes
        .strip_prefix(b"\"")
        .and_then(|rest| rest.strip_suffix(b"\""))
        .map(|inner| {
            let mut plain = Vec::with_capacity(inner.len());
            let mut rest = inner.iter();
            while let Some(byte) = rest.next() {
                plain.push(if *byte == b'\\' {
                    *rest.next().unwrap_or(byte)
                } else {
                    *byte
                });
            }
            plain
        });
    let decoded = percent_decode(unquoted.as_deref().unwrap_or(bytes));
    String::from_utf8(decoded.collect()).ok()
}

fn invalid(detail: impl Into<String>) -> Reason {
    Reason::new(Code::AttributeInvalid, detail)
}

/// An attribute's value, or none where an empty one means that there is none.
fn checked<'a>(name: &str, value: Cow<'a, str>) -> Result<Option<Cow<'a, str>>, Reason> {
    if value.is_empty() {
        return match name {
            "subject" | "appversion" => Ok(None),
            _ => Err(invalid(format!("{name} must not be empty; leave it out instead"))),
        };
    }
    if value.len() > ATTRIBUTE_BYTES {
        return Err(invalid(format!("{name} holds at most {ATTRIBUTE_BYTES} bytes")));
    }
    if value.chars().any(char::is_control) {
        return Err(invalid(format!("{name} must not hold control characters")));
    }
    if name == "time" && !is_rfc3339(&value) {
        return Err(invalid(
            "time must be an RFC 3339 date and time with its offset, such as 2026-05-17T08:30:00.250Z",
        ));
    }
    Ok(Some(value))
}

/// RFC 3339's `date-time`; jiff alone takes more of ISO 8601 than that.
fn is_rfc3339(text: &str) -> bool {
    let bytes = text.as_bytes();
    let Some((date_time, rest)) = bytes.split_at_checked(19) else {
        return false;
    };
    let has_shape = date_time
        .iter()
        .zip(b"0000-00-00T00:00:00")
        .all(|(byte, shape)| match shape {
            b'0' => byte.is_ascii_digit(),
            b'T' => matches!(byte, b'T' | b't' | b' '),
            _ => byte == shape,
        });
    let offset = match rest.split_first() {
        Some((b'.', fraction)) => {
            let digits = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
            if digits == 0 {
                return false;
            }
            fraction.get(digits..).unwrap_or_default()
        }
        _ => rest,
    };
    let has_offset = match offset {
        b"Z" | b"z" => true,
        [b'+' | b'-', hour @ .., b':', minute_tens, minute] => {
            let in_range = matches!(hour, [b'0' | b'1', b'0'..=b'9'] | [b'2', b'0'..=b'3']);
            in_range && matches!(minute_tens, b'0'..=b'5') && minute.is_ascii_digit()
        }
        _ => false,
    };
    // Ten digits and more of a fraction are RFC 3339 too, and more than jiff reads: the date before it says enough.
    has_shape && has_offset && is_calendar_time(date_time)
}

fn is_calendar_time(date_time: &[u8]) -> bool {
    let number = |from: usize, to: usize| {
        date_time
            .get(from..to)
            .unwrap_or_default()
            .iter()
            .fold(0_i16, |sum, digit| sum * 10 + i16::from(digit - b'0'))
    };
    let small = |from| i8::try_from(number(from, from + 2)).unwrap_or(i8::MAX);
    // 60 is a leap second.
    jiff::civil::Date::new(number(0, 4), small(5), small(8)).is_ok()
        && small(11) < 24
        && small(14) < 60
        && small(17) <= 60
}

/// W3C's `traceparent`: what is none is let go, as the specification asks.
fn is_traceparent(text: &str) -> bool {
    text.len() >= 55
        && text.len() <= ATTRIBUTE_BYTES
        && text.bytes().take(55).enumerate().all(|(at, byte)| match at {
            2 | 35 | 52 => byte == b'-',
            _ => byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte),
        })
        && !text.starts_with("ff")
        && (text.len() == 55 || (!text.starts_with("00") && text.as_bytes().get(55) == Some(&b'-')))
}

/// What stands in for attributes that an event does not bring, the same for all events of a request.
pub(super) struct Defaults<'c> {
    context: &'c Context<'c>,
    given: Given<'static>,
    received: String,
    /// The last type seen: most requests repeat one.
    last_type: Option<EventType>,
    /// Events that took their id from a header.
    pub(super) shared_ids: usize,
}

/// An event's attributes, whole.
#[derive(Debug)]
pub(super) struct Resolved {
    pub(super) attributes: Attributes,
    pub(super) id_generated: bool,
    pub(super) traceparent: Option<String>,
}

impl<'c> Defaults<'c> {
    pub(super) fn new(given: Given<'static>, context: &'c Context<'c>) -> Defaults<'c> {
        Defaults {
            received: format!("{:.3}", context.received),
            context,
            given,
            last_type: None,
            shared_ids: 0,
        }
    }

    /// The id that an event would have; for events that cannot be decoded.
    pub(super) fn known_id(&self, own: Option<&str>) -> Option<Arc<str>> {
        own.or(self.given.id.as_deref()).map(Arc::from)
    }

    pub(super) fn resolve(&mut self, own: Given<'_>) -> Result<Resolved, Undecoded> {
        let event_type = match self.event_type(own.event_type.as_deref()) {
            Ok(event_type) => event_type,
            Err(reason) => {
                return Err(Undecoded {
                    id: self.known_id(own.id.as_deref()),
                    reason,
                });
            }
        };
        self.shared_ids += usize::from(own.id.is_none() && self.given.id.is_some());
        let first = |own: Option<Cow<'_, str>>, shared: &Option<Cow<'static, str>>| {
            own.map(Cow::into_owned)
                .or_else(|| shared.as_deref().map(str::to_owned))
        };
        let id = own.id.as_deref().or(self.given.id.as_deref()).map(Arc::from);
        Ok(Resolved {
            id_generated: id.is_none(),
            attributes: Attributes {
                id: id.unwrap_or_else(new_id),
                source: first(own.source, &self.given.source)
                    .unwrap_or_else(|| self.context.default_source.as_ref().to_owned()),
                event_type,
                time: first(own.time, &self.given.time).unwrap_or_else(|| self.received.clone()),
                subject: first(own.subject, &self.given.subject),
                app_version: first(own.app_version, &self.given.app_version),
                client_ip: self.context.client_ip.clone(),
                user_agent: self.context.user_agent.clone(),
            },
            traceparent: first(own.traceparent, &self.given.traceparent),
        })
    }

    fn event_type(&mut self, own: Option<&str>) -> Result<EventType, Reason> {
        let Some(text) = own.or(self.given.event_type.as_deref()) else {
            return Err(Reason::new(
                Code::TypeMissing,
                "the event has no type; give it the member \"type\", or post to /v1/events/{type}",
            ));
        };
        if let Some(last) = &self.last_type
            && last.as_str() == text
        {
            return Ok(last.clone());
        }
        let event_type: EventType = text
            .parse()
            .map_err(|error: crate::event::NameError| Reason::new(Code::TypeInvalid, error.to_string()))?;
        self.last_type = Some(event_type.clone());
        Ok(event_type)
    }
}

/// A UUIDv7. Events of one millisecond need no order by id, so no counter is shared between threads.
fn new_id() -> Arc<str> {
    let id = Uuid::new_v7(uuid::Timestamp::now(NoContext));
    Arc::from(&*id.hyphenated().encode_lower(&mut Uuid::encode_buffer()))
}
