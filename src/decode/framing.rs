//! From a body to its events. A body that is one JSON text is parsed once; each event's data is a part of that parse.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;

use super::{
    Context, Head,
    attributes::{Defaults, Given, Resolved},
    coerce,
    head::Form,
    query::{self, Pairs, Tree},
    split,
};
use crate::{
    event::{Batch, Decoded, Reason, Undecoded},
    json::{Document, Kind, Node, ParseError, ParseErrorKind, shortened},
    limits::COMPRESSED_EVENTS_FREE,
    problem::{Code, Problem},
};

/// Nested arrays and objects around an event's data: the event itself, and the array of events.
const IN_EVENT: u32 = 1;
const IN_ARRAY: u32 = 2;

pub(super) fn frame(head: Head, body: &Bytes, context: &Context<'_>) -> Result<Batch, Problem> {
    let mut framer = Framer {
        events_max: context.limits.events_per_request.min(head.events_max),
        defaults: Defaults::new(head.given, context),
        context,
        body,
        events: Vec::new(),
    };
    let single = match head.form {
        Form::Query(tree) => {
            let event = coerce::event(&tree, &mut framer.defaults, context)?;
            framer.events.push(event);
            true
        }
        _ if body.trim_ascii().is_empty() => return Err(no_events()),
        Form::UrlEncoded => {
            let event = coerce::event(&form(body)?, &mut framer.defaults, context)?;
            framer.events.push(event);
            true
        }
        Form::Data => framer.data(),
        Form::DataLines => framer.lines(Framer::data_line)?,
        Form::Lines => framer.lines(Framer::event_line)?,
        Form::One => framer.one_or_many(Some(Kind::Object))?,
        Form::Many => framer.one_or_many(Some(Kind::Array))?,
        Form::Any => framer.one_or_many(None)?,
        Form::Enveloped(_) => return Err(Problem::new(Code::Internal, "the request has an envelope")),
    };
    if framer.events.is_empty() {
        return Err(no_events());
    }
    check_shared_ids(&framer.defaults)?;
    Ok(Batch {
        single,
        events: framer.events,
    })
}

pub(super) fn check_shared_ids(defaults: &Defaults<'_>) -> Result<(), Problem> {
    if defaults.shared_ids > 1 {
        return Err(Problem::new(
            Code::AttributeInvalid,
            "a header's id names one event, and the request holds several without an id of their own; leave the header \
             out or give each event its id",
        ));
    }
    Ok(())
}

fn form(body: &[u8]) -> Result<Tree, Problem> {
    let text = std::str::from_utf8(body.trim_ascii()).map_err(|_| {
        Problem::new(
            Code::QueryMalformed,
            "the form holds bytes that are no UTF-8; percent-encode UTF-8",
        )
    })?;
    Ok(query::parse(text, Pairs::Form)?.0)
}

pub(super) fn too_many(most: u32) -> Problem {
    Problem::new(
        Code::TooManyEvents,
        format!(
            "a request holds at most {most} events, and a compressed one at most {COMPRESSED_EVENTS_FREE} or as many as \
             it has bytes; send them in several"
        ),
    )
}

pub(super) fn data_missing(detail: &str) -> Reason {
    Reason::new(Code::DataMissing, detail)
}

pub(super) fn no_events() -> Problem {
    Problem::new(Code::NoEvents, "the request holds no event; send at least one")
}

struct Framer<'c> {
    context: &'c Context<'c>,
    events_max: u32,
    defaults: Defaults<'c>,
    body: &'c Bytes,
    events: Vec<Result<Decoded, Undecoded>>,
}

impl Framer<'_> {
    fn depth(&self, around: u32) -> u32 {
        self.context.limits.depth.saturating_add(around)
    }

    /// The whole body is the data of one event; always one.
    fn data(&mut self) -> bool {
        let parsed = Document::parse(self.body.clone(), self.depth(0));
        let event = match parsed {
            Ok(document) => self.complete(Given::default(), &document, document.root()),
            Err(error) => Err(self.unparsed(&error, 0)),
        };
        self.events.push(event);
        true
    }

    /// The body is one event with its attributes, or an array of such; true where it is one.
    fn one_or_many(&mut self, expected: Option<Kind>) -> Result<bool, Problem> {
        let is_array = self.body.trim_ascii_start().first() == Some(&b'[');
        if is_array && expected == Some(Kind::Object) {
            return Err(Problem::new(
                Code::EventMalformed,
                "application/cloudevents+json is one event, an object; send arrays as application/cloudevents-batch+json",
            ));
        }
        if !is_array && expected == Some(Kind::Array) {
            return Err(Problem::new(
                Code::EventMalformed,
                "application/cloudevents-batch+json is an array of events; send one event as \
                 application/cloudevents+json",
            ));
        }
        let around = if is_array { IN_ARRAY } else { IN_EVENT };
        match Document::parse(self.body.clone(), self.depth(around)) {
            Ok(document) if is_array => {
                self.bound(document.root().len())?;
                self.events.reserve_exact(document.root().len());
                for element in document.root().elements() {
                    let event = self.event(&document, element);
                    self.events.push(event);
                }
            }
            Ok(document) => {
                let event = self.event(&document, document.root());
                self.events.push(event);
            }
            Err(error) if is_array => self.elements(&error)?,
            Err(error) => {
                let event = Err(self.unparsed(&error, 0));
                self.events.push(event);
            }
        }
        Ok(!is_array)
    }

    /// An array that is no strict JSON as a whole. Where its framing holds, only the events at fault are rejected.
    fn elements(&mut self, whole: &ParseError) -> Result<(), Problem> {
        let malformed = |framer: &Self, error: &ParseError, offset| {
            let reason = framer.reason(error, offset);
            Problem::new(reason.code, reason.detail)
        };
        if matches!(whole.kind, ParseErrorKind::Syntax(_)) {
            return Err(malformed(self, whole, 0));
        }
        let Some(elements) = split::elements(self.body, self.events_max as usize + 1) else {
            return Err(malformed(self, whole, 0));
        };
        self.bound(elements.len())?;
        for range in elements {
            let offset = range.start;
            let event = match Document::parse(self.body.slice(range), self.depth(IN_EVENT)) {
                Ok(document) => self.event(&document, document.root()),
                Err(error) if matches!(error.kind, ParseErrorKind::Syntax(_)) => {
                    return Err(malformed(self, &error, offset));
                }
                Err(error) => Err(self.unparsed(&error, offset)),
            };
            self.events.push(event);
        }
        Ok(())
    }

    fn lines(
        &mut self,
        read: fn(&mut Self, Range<usize>) -> Result<Decoded, Undecoded>,
    ) -> Result<bool, Problem> {
        for line in split::lines(self.body) {
            self.bound(self.events.len() + 1)?;
            let event = read(self, line);
            self.events.push(event);
        }
        Ok(false)
    }

    fn data_line(&mut self, line: Range<usize>) -> Result<Decoded, Undecoded> {
        let offset = line.start;
        match Document::parse(self.body.slice(line), self.depth(0)) {
            Ok(document) => self.complete(Given::default(), &document, document.root()),
            Err(error) => Err(self.unparsed(&error, offset)),
        }
    }

    fn event_line(&mut self, line: Range<usize>) -> Result<Decoded, Undecoded> {
        let offset = line.start;
        match Document::parse(self.body.slice(line), self.depth(IN_EVENT)) {
            Ok(document) => self.event(&document, document.root()),
            Err(error) => Err(self.unparsed(&error, offset)),
        }
    }

    /// One event with its attributes, somewhere in `document`.
    fn event(&mut self, document: &Document, node: Node<'_>) -> Result<Decoded, Undecoded> {
        if node.kind() != Kind::Object {
            return Err(Undecoded {
                id: self.defaults.known_id(None),
                reason: Reason::new(
                    Code::EventMalformed,
                    "an event is an object with the members \"type\" and \"data\"",
                ),
            });
        }
        let mut own = Given::default();
        let mut data = None;
        let mut fault = None;
        let mut has_base64 = false;
        for (name, value) in node.members() {
            match name.as_ref() {
                "data" => data = Some(value),
                "data_base64" => has_base64 = true,
                name => {
                    if let Err(reason) = own.set_member(name, value) {
                        fault.get_or_insert(reason);
                    }
                }
            }
        }
        let missing = || {
            if has_base64 {
                Reason::new(
                    Code::EventMalformed,
                    "data_base64 is not taken: an event's data is JSON, in the member \"data\"",
                )
            } else {
                Reason::new(
                    Code::DataMissing,
                    "the event has no member \"data\"; send its data there (null is data too)",
                )
            }
        };
        let refused = |framer: &Self, own: &Given<'_>, reason| {
            Err(Undecoded {
                id: framer.defaults.known_id(own.id.as_deref()),
                reason,
            })
        };
        match (fault, data) {
            (Some(reason), _) => refused(self, &own, reason),
            (None, None) => refused(self, &own, missing()),
            (None, Some(data)) => self.complete(own, document, data),
        }
    }

    fn complete(
        &mut self,
        own: Given<'_>,
        document: &Document,
        data: Node<'_>,
    ) -> Result<Decoded, Undecoded> {
        let resolved = self.defaults.resolve(own)?;
        bounded(resolved, self.context, document, data)
    }

    fn bound(&self, events: usize) -> Result<(), Problem> {
        if events > self.events_max as usize {
            return Err(too_many(self.events_max));
        }
        Ok(())
    }

    fn unparsed(&self, error: &ParseError, offset: usize) -> Undecoded {
        Undecoded {
            id: self.defaults.known_id(None),
            reason: self.reason(error, offset),
        }
    }

    /// What is wrong with a text that starts at `offset` of the body, in terms of the whole body.
    fn reason(&self, error: &ParseError, offset: usize) -> Reason {
        let in_body = ParseError {
            kind: error.kind.clone(),
            offset: error.offset + offset,
        };
        parse_reason(&in_body, self.body, self.context.limits.depth)
    }
}

/// Why `text` is no JSON of this contract, and what to do.
pub(super) fn parse_reason(error: &ParseError, text: &[u8], depth: u32) -> Reason {
    let (line, column) = error.line_and_column(text);
    let place = format!("at line {line}, column {column} (byte {})", error.offset);
    let (code, detail) = match &error.kind {
        ParseErrorKind::Syntax(what) => (
            Code::JsonMalformed,
            format!("{what}, {place}; send JSON as RFC 8259 has it"),
        ),
        ParseErrorKind::DuplicateMember(name) => {
            let name: String = name.chars().take(80).collect();
            (
                Code::JsonDuplicateMember,
                format!("the member {name:?} stands twice in one object, {place}; send it once"),
            )
        }
        ParseErrorKind::TooDeep { pointer, .. } => (
            Code::JsonTooDeep,
            format!(
                "more than {depth} nested arrays and objects, at {}, {place}; send flatter data",
                shortened(pointer)
            ),
        ),
        ParseErrorKind::NumberOutOfRange => (
            Code::JsonNumberOutOfRange,
            format!("a number beyond the range of a double, {place}; send it as a string"),
        ),
        ParseErrorKind::LoneSurrogate => (
            Code::JsonLoneSurrogate,
            format!("half of a surrogate pair, {place}; escape both halves or send the character itself"),
        ),
        ParseErrorKind::InvalidUtf8 => (
            Code::Utf8Invalid,
            format!("bytes that are no UTF-8, {place}; send UTF-8"),
        ),
    };
    Reason::new(code, detail)
}

/// The event, unless its data is too large.
pub(super) fn bounded(
    resolved: Resolved,
    context: &Context<'_>,
    document: &Document,
    data: Node<'_>,
) -> Result<Decoded, Undecoded> {
    let limit = context.limits.event_bytes;
    if data.raw().len() as u64 > limit.0 {
        return Err(Undecoded {
            id: Some(resolved.attributes.id),
            reason: Reason::new(
                Code::EventTooLarge,
                format!("an event's data holds at most {limit}; send less in one event"),
            ),
        });
    }
    Ok(Decoded {
        partner: context.partner.clone(),
        attributes: Arc::new(resolved.attributes),
        data: document.subdocument(data),
        received: context.received,
        id_generated: resolved.id_generated,
        traceparent: resolved.traceparent,
    })
}
