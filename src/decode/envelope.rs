//! Requests made for another service, read as a partner's envelope says.

use std::{borrow::Cow, sync::Arc};

use base64::{Engine as _, engine::general_purpose as base64_forms};
use bytes::Bytes;
use http::{Method, header, request::Parts};
use jiff::Timestamp;
use percent_encoding::percent_decode;

use super::{
    Context, Head,
    attributes::{Defaults, Given, refused},
    coerce,
    encoding::{self, Encoding},
    framing,
    head::{Form, wants_every_result, wants_image},
    query::{self, Pairs, Tree},
};
use crate::{
    event::{Batch, Decoded, EventType, Undecoded},
    json::{Document, Kind, Node, ParseError, ParseErrorKind, pointer_tokens},
    limits::{EVENT_TYPE_BYTES, Limits},
    problem::{Code, Problem},
    registry::model::envelope::{self, Envelope, KeyIn, Origin, TimeFormat},
};

/// What an enveloped request's head says.
#[derive(Debug)]
pub(super) struct Sealed {
    envelope: Arc<Envelope>,
    carrier: Carrier,
}

/// Where the JSON is.
#[derive(Debug)]
enum Carrier {
    Body,
    FormBody,
    /// A field of the query string, already out of its percent-encoding.
    Field(Vec<u8>),
    /// The query string is the event itself.
    Query(Tree),
}

/// An enveloped request, opened: its events are not yet read, but its key can be.
#[derive(Debug)]
pub struct Opened {
    envelope: Arc<Envelope>,
    given: Given<'static>,
    document: Document,
    /// The event as it stood in a query string.
    tree: Option<Tree>,
    /// Of events, by what the body was as sent.
    events_max: u32,
}

impl Head {
    /// [`Head::read`] for a request to one of the envelope's paths.
    pub fn enveloped(parts: &Parts, envelope: Arc<Envelope>) -> Result<Head, Problem> {
        let is_get = match parts.method {
            Method::GET => true,
            Method::POST => false,
            _ => return Err(Problem::method_not_allowed("GET, POST, OPTIONS")),
        };
        let mut given = given(parts, &envelope)?;
        given.fill(Given::from_headers(&parts.headers)?);
        let query = parts.uri.query().unwrap_or_default();
        let carrier = match &envelope.form_field {
            Some(field) if is_get => {
                Carrier::Field(field_of(query.as_bytes(), field).ok_or_else(|| field_missing(field))?)
            }
            None if is_get => Carrier::Query(query::parse(query, Pairs::Query)?.0),
            Some(_) if is_form(parts) => Carrier::FormBody,
            _ => Carrier::Body,
        };
        Ok(Head {
            every_result: wants_every_result(&parts.headers),
            wants_image: is_get && wants_image(&parts.headers),
            dry_run: false,
            encoding: if is_get {
                Encoding::Identity
            } else {
                encoding::of(&parts.headers)?
            },
            events_max: u32::MAX,
            form: Form::Enveloped(Sealed { envelope, carrier }),
            given,
        })
    }
}

/// What the envelope takes from headers, or says for all events alike.
fn given(parts: &Parts, envelope: &Envelope) -> Result<Given<'static>, Problem> {
    let mut given = Given::default();
    for (name, origin) in envelope.attributes() {
        let text = match origin {
            Origin::Pointer(_) => continue,
            Origin::Const(text) => text.clone(),
            Origin::Header(header) => match parts.headers.get(header.as_str()) {
                None => continue,
                Some(value) => String::from_utf8_lossy(value.as_bytes()).into_owned(),
            },
        };
        set(&mut given, name, text.into(), envelope).map_err(refused)?;
    }
    Ok(given)
}

/// Programs that post JSON in the place of the form are taken at their word.
fn is_form(parts: &Parts) -> bool {
    parts
        .headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.split(';').next())
        .is_none_or(|essence| !essence.trim().to_ascii_lowercase().ends_with("json"))
}

fn field_missing(field: &str) -> Problem {
    let shown: String = field.chars().take(80).collect();
    Problem::new(
        Code::BodyMalformed,
        format!("the form has no field {shown:?}, which holds the events"),
    )
}

/// The bytes of a form's field; the first counts.
fn field_of(form: &[u8], field: &str) -> Option<Vec<u8>> {
    form.split(|byte| *byte == b'&').find_map(|pair| {
        let at = memchr::memchr(b'=', pair)?;
        let (name, value) = (pair.get(..at)?, pair.get(at + 1..)?);
        let plain = |text: &[u8]| -> Vec<u8> {
            let spaced: Vec<u8> = text
                .iter()
                .map(|byte| if *byte == b'+' { b' ' } else { *byte })
                .collect();
            percent_decode(&spaced).collect()
        };
        (plain(name) == field.as_bytes()).then(|| plain(value))
    })
}

/// JSON out of the encoding that the envelope names. JSON as it is begins with what base64 never holds.
fn json_of(field: Vec<u8>, encoding: envelope::Encoding) -> Result<Vec<u8>, Problem> {
    let text = field.trim_ascii();
    let form = match encoding {
        _ if text.starts_with(b"{") || text.starts_with(b"[") => return Ok(field),
        envelope::Encoding::Json => return Ok(field),
        envelope::Encoding::Base64 => &base64_forms::STANDARD_NO_PAD,
        envelope::Encoding::Base64Url => &base64_forms::URL_SAFE_NO_PAD,
    };
    // A plus sign that was not percent-encoded has become a space.
    let mut packed: Vec<u8> = text
        .iter()
        .map(|byte| if *byte == b' ' { b'+' } else { *byte })
        .collect();
    while packed.last() == Some(&b'=') {
        packed.pop();
    }
    form.decode(packed).map_err(|_| {
        Problem::new(
            Code::BodyMalformed,
            "the form's field that holds the events is no base64, as it should be here",
        )
    })
}

impl Sealed {
    pub(super) fn open(
        self,
        given: Given<'static>,
        encoding: Encoding,
        body: &Bytes,
        limits: &Limits,
    ) -> Result<Opened, Problem> {
        let Sealed { envelope, carrier } = self;
        let mut tree = None;
        let encoding = announced(encoding, body);
        let plain = || encoding::decompress(encoding, body.clone(), limits.body_bytes);
        let text: Bytes = match carrier {
            Carrier::Query(query) => {
                let text = coerce::to_json(&query, None);
                tree = Some(query);
                text.into()
            }
            Carrier::Field(field) => json_of(field, envelope.encoding)?.into(),
            Carrier::Body => plain()?,
            Carrier::FormBody => {
                let form = plain()?;
                let field = envelope.form_field.as_deref().unwrap_or_default();
                let field = field_of(&form, field).ok_or_else(|| field_missing(field))?;
                json_of(field, envelope.encoding)?.into()
            }
        };
        if text.trim_ascii().is_empty() {
            return Err(framing::no_events());
        }
        let document = parse(text.clone(), &envelope, limits.depth)
            .map_err(|error| refused(framing::parse_reason(&error, &text, limits.depth)))?;
        Ok(Opened {
            envelope,
            given,
            document,
            tree,
            events_max: encoding::events_max(encoding, body.len()),
        })
    }
}

/// Some SDKs compress without saying so; JSON and forms never begin with gzip's magic number.
fn announced(encoding: Encoding, body: &Bytes) -> Encoding {
    match encoding {
        Encoding::Identity if body.starts_with(b"\x1f\x8b") => Encoding::Gzip,
        encoding => encoding,
    }
}

/// Parses what an envelope holds, so that no event's data nests deeper than `depth`.
fn parse(text: Bytes, envelope: &Envelope, depth: u32) -> Result<Document, ParseError> {
    let in_event = depth.saturating_add(steps(envelope.data.as_deref()));
    match (Document::parse(text.clone(), in_event), &envelope.events) {
        (Err(error), Some(events)) if matches!(error.kind, ParseErrorKind::TooDeep { .. }) => {
            // By what stands around the events it may lie deeper, where something does: else the whole is one event.
            let in_array = in_event
                .saturating_add(steps(Some(events.as_str())))
                .saturating_add(1);
            let document = Document::parse(text, in_array)?;
            let is_array = array(&document, envelope).is_some();
            if is_array { Ok(document) } else { Err(error) }
        }
        (outcome, _) => outcome,
    }
}

/// Nested arrays and objects that a pointer leads through.
fn steps(pointer: Option<&str>) -> u32 {
    let tokens = pointer.and_then(|pointer| pointer_tokens(pointer).ok());
    tokens.map_or(0, |tokens| u32::try_from(tokens.len()).unwrap_or(u32::MAX))
}

/// The events, where they stand in an array.
fn array<'d>(document: &'d Document, envelope: &Envelope) -> Option<Node<'d>> {
    let node = document.pointer(envelope.events.as_deref()?)?;
    (node.kind() == Kind::Array).then_some(node)
}

impl Opened {
    /// What it holds.
    pub fn bytes(&self) -> usize {
        self.document.root().raw().len()
    }

    /// Whether it was opened as `envelope` says.
    pub fn is_by(&self, envelope: &Envelope) -> bool {
        *self.envelope == *envelope
    }

    /// The text that the sender wants to read back, where the request only asks for that.
    pub fn challenge(&self) -> Option<String> {
        let pointer = self.envelope.challenge.as_deref()?;
        self.document.pointer(pointer)?.as_str().map(Cow::into_owned)
    }

    /// The key in the body, where the envelope has it there.
    ///
    /// # Errors
    ///
    /// `key-conflict` where two events hold different ones.
    pub fn key(&self) -> Result<Option<String>, Problem> {
        let Some(place) = self.envelope.key.as_ref().filter(|key| key.place == KeyIn::Body) else {
            return Ok(None);
        };
        let pointer = place.name.as_deref().unwrap_or_default();
        if let Some(text) = self.document.pointer(pointer).and_then(|node| node.as_str()) {
            return Ok(Some(text.into_owned()));
        }
        let mut found: Option<Cow<'_, str>> = None;
        for event in self.events() {
            let Some(text) = event.pointer(pointer).and_then(|node| node.as_str()) else {
                continue;
            };
            match &found {
                None => found = Some(text),
                Some(known) if *known == text => {}
                Some(_) => {
                    return Err(Problem::new(
                        Code::KeyConflict,
                        "the events of the request hold different keys; send those of each key in a request of its own",
                    ));
                }
            }
        }
        Ok(found.map(Cow::into_owned))
    }

    fn array(&self) -> Option<Node<'_>> {
        array(&self.document, &self.envelope)
    }

    fn events(&self) -> impl Iterator<Item = Node<'_>> {
        let array = self.array();
        let one = array.is_none().then(|| self.document.root());
        array.into_iter().flat_map(|array| array.elements()).chain(one)
    }

    /// All its events.
    pub fn decode(self, context: &Context<'_>) -> Result<Batch, Problem> {
        let count = self.array().map_or(1, |array| array.len());
        let most = context.limits.events_per_request.min(self.events_max);
        if count > most as usize {
            return Err(framing::too_many(most));
        }
        if count == 0 {
            return Err(framing::no_events());
        }
        let mut defaults = Defaults::new(self.given.clone(), context);
        let events = self
            .events()
            .map(|event| self.event(event, &mut defaults, context))
            .collect();
        framing::check_shared_ids(&defaults)?;
        Ok(Batch {
            single: self.array().is_none(),
            events,
        })
    }

    fn event(
        &self,
        event: Node<'_>,
        defaults: &mut Defaults<'_>,
        context: &Context<'_>,
    ) -> Result<Decoded, Undecoded> {
        let mut own = Given::default();
        for (name, origin) in self.envelope.attributes() {
            let Origin::Pointer(pointer) = origin else {
                continue;
            };
            let Some(text) = event.pointer(pointer).and_then(text) else {
                continue;
            };
            if let Err(reason) = set(&mut own, name, text, &self.envelope) {
                return Err(Undecoded {
                    id: defaults.known_id(own.id.as_deref()),
                    reason,
                });
            }
        }
        let resolved = defaults.resolve(own)?;
        if let Some(tree) = &self.tree
            && self.envelope.data.is_none()
        {
            return coerce::data(tree, resolved, context);
        }
        let data = match self.envelope.data.as_deref() {
            None => Some(event),
            Some(pointer) => event.pointer(pointer),
        };
        match data {
            Some(data) => framing::bounded(resolved, context, &self.document, data),
            None => Err(Undecoded {
                id: Some(resolved.attributes.id),
                reason: framing::data_missing(
                    "the event has nothing where the partner's envelope looks for its data",
                ),
            }),
        }
    }
}

/// What may stand for an attribute; a number counts as it is spelled.
fn text(node: Node<'_>) -> Option<Cow<'_, str>> {
    let text = match node.kind() {
        Kind::String => node.as_str()?,
        Kind::Number => node.raw().into(),
        _ => return None,
    };
    (!text.is_empty()).then_some(text)
}

fn set<'a>(
    given: &mut Given<'a>,
    name: &str,
    text: Cow<'a, str>,
    envelope: &Envelope,
) -> Result<(), crate::event::Reason> {
    match name {
        "type" => given.set(name, as_type(text)),
        // The data still holds what could not be read: the time of receipt stands in for it.
        "time" => match as_time(text, envelope.time_format) {
            Some(time) => given.set(name, time).or(Ok(())),
            None => Ok(()),
        },
        _ => given.set(name, text),
    }
}

/// A type out of any text: characters that no type may have become `-`.
fn as_type(text: Cow<'_, str>) -> Cow<'_, str> {
    if text.parse::<EventType>().is_ok() {
        return text;
    }
    let mut name: String = text
        .chars()
        .map(|character| match character {
            'A'..='Z' | 'a'..='z' | '0'..='9' | '.' | '_' | '~' | '-' => character,
            _ => '-',
        })
        .take(EVENT_TYPE_BYTES)
        .collect();
    if name == "." || name == ".." {
        name = name.replace('.', "-");
    }
    name.into()
}

/// Seconds past this are milliseconds: as seconds they would lie past the year 9999.
const EPOCH_S_MAX: f64 = 253_402_300_799.0;

fn as_time(text: Cow<'_, str>, format: TimeFormat) -> Option<Cow<'_, str>> {
    let milliseconds = match format {
        TimeFormat::Rfc3339 => return Some(text),
        TimeFormat::EpochS => {
            let seconds: f64 = text.parse().ok()?;
            if seconds > EPOCH_S_MAX {
                seconds
            } else {
                seconds * 1000.0
            }
        }
        TimeFormat::EpochMs => text.parse().ok()?,
    };
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a float becomes the nearest whole number; what is out of range is no timestamp"
    )]
    let time = Timestamp::from_millisecond(milliseconds.round() as i64).ok()?;
    (milliseconds.is_finite()).then(|| format!("{time:.3}").into())
}
