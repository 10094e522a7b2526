//! Traces: W3C's trace context, and the spans of the requests that are sampled. What is not sampled makes nothing.

use std::{
    cell::Cell,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use tokio::sync::mpsc;

use super::cells::every;
use crate::limits::{SPANS_WAITING, TRACED_EVENTS};

/// What `traceparent` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    pub trace: [u8; 16],
    pub span: [u8; 8],
    pub sampled: bool,
}

impl TraceContext {
    /// None where it is not in W3C's form.
    pub fn parse(text: &str) -> Option<TraceContext> {
        let mut parts = text.split('-');
        let version = byte(parts.next()?)?;
        let mut context = TraceContext {
            trace: [0; 16],
            span: [0; 8],
            sampled: false,
        };
        hex::decode_to_slice(parts.next()?, &mut context.trace).ok()?;
        hex::decode_to_slice(parts.next()?, &mut context.span).ok()?;
        context.sampled = byte(parts.next()?)? & 1 == 1;
        let is_whole = version != 0xff && (version > 0 || parts.next().is_none());
        let is_set = context.trace != [0; 16] && context.span != [0; 8];
        (is_whole && is_set).then_some(context)
    }

    fn root() -> Option<TraceContext> {
        let mut context = TraceContext {
            trace: [0; 16],
            span: [0; 8],
            sampled: true,
        };
        // Without random bytes there is no trace; nothing else hangs on it.
        getrandom::fill(&mut context.trace).ok()?;
        context.span = span_id()?;
        Some(context)
    }

    fn child(&self) -> Option<TraceContext> {
        Some(TraceContext {
            span: span_id()?,
            ..*self
        })
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "00-{}-{}-{:02x}",
            hex::encode(self.trace),
            hex::encode(self.span),
            u8::from(self.sampled)
        )
    }
}

fn byte(text: &str) -> Option<u8> {
    let mut byte = [0];
    hex::decode_to_slice(text, &mut byte).ok()?;
    Some(byte[0])
}

fn span_id() -> Option<[u8; 8]> {
    let mut id = [0; 8];
    getrandom::fill(&mut id).ok()?;
    Some(id)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    Internal,
    Server,
    Client,
    Producer,
}

/// A piece of work that has ended.
#[derive(Clone, Debug)]
pub struct Span {
    pub context: TraceContext,
    pub parent: Option<[u8; 8]>,
    /// The request, where the parent is of another trace.
    pub link: Option<TraceContext>,
    pub name: String,
    pub kind: SpanKind,
    /// Nanoseconds since 1970.
    pub start: u64,
    pub end: u64,
    pub attributes: Vec<(&'static str, String)>,
    /// What went wrong; a code or a word, never a text of the event.
    pub error: Option<String>,
}

pub(super) fn unix_nanoseconds(time: SystemTime) -> u64 {
    let since = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Decides what is sampled, and takes the spans.
pub struct Tracer {
    spans: mpsc::Sender<Span>,
    one_in: u32,
    /// One moment by both clocks.
    anchor: (Instant, SystemTime),
    dropped: AtomicU64,
}

impl Tracer {
    /// One request in `one_in` that brings no decision is traced; none where it is 0.
    pub(super) fn new(one_in: u32) -> (Arc<Tracer>, mpsc::Receiver<Span>) {
        let (spans, receiver) = mpsc::channel(SPANS_WAITING);
        let tracer = Tracer {
            spans,
            one_in,
            anchor: (Instant::now(), SystemTime::now()),
            dropped: AtomicU64::new(0),
        };
        (Arc::new(tracer), receiver)
    }

    /// A trace for the request, where its sender has it traced, or has no say and it is this request's turn.
    pub(super) fn begin(self: &Arc<Tracer>, parent: Option<&str>) -> Option<Trace> {
        thread_local! {
            static COUNT: Cell<u32> = const { Cell::new(0) };
        }
        let parent = parent.and_then(TraceContext::parse);
        let request = match parent {
            Some(parent) if parent.sampled => parent.child(),
            Some(_) => None,
            None => every(&COUNT, self.one_in).then(TraceContext::root)?,
        }?;
        Some(self.trace(request, parent))
    }

    /// A trace for a request one of whose events is traced by its sender.
    pub(super) fn begin_for_events(self: &Arc<Tracer>) -> Option<Trace> {
        Some(self.trace(TraceContext::root()?, None))
    }

    fn trace(self: &Arc<Tracer>, request: TraceContext, parent: Option<TraceContext>) -> Trace {
        Trace {
            tracer: Arc::clone(self),
            request,
            parent: parent.map(|parent| parent.span),
            started: Instant::now(),
            events: AtomicUsize::new(0),
        }
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    fn unix(&self, at: Instant) -> u64 {
        let (instant, time) = self.anchor;
        unix_nanoseconds(time + at.saturating_duration_since(instant))
    }

    fn take(&self, span: Span) {
        if self.spans.try_send(span).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// One request that is traced.
pub struct Trace {
    tracer: Arc<Tracer>,
    request: TraceContext,
    parent: Option<[u8; 8]>,
    started: Instant,
    events: AtomicUsize,
}

/// The span of one event of a traced request: what its records carry on.
#[derive(Clone, Copy, Debug)]
pub struct EventSpan {
    context: TraceContext,
    parent: [u8; 8],
    link: Option<TraceContext>,
    started: Instant,
}

impl EventSpan {
    pub fn traceparent(&self) -> String {
        self.context.to_string()
    }
}

impl Trace {
    pub fn traceparent(&self) -> String {
        self.request.to_string()
    }

    /// A span for an event that brings this context; none where its sender does not want it traced, or where the
    /// request has enough of them.
    pub fn event(&self, own: Option<&str>) -> Option<EventSpan> {
        let (parent, link) = match own.and_then(TraceContext::parse) {
            Some(own) if own.trace != self.request.trace => {
                if !own.sampled {
                    return None;
                }
                (own, Some(self.request))
            }
            _ => (self.request, None),
        };
        if self.events.fetch_add(1, Ordering::Relaxed) >= TRACED_EVENTS {
            return None;
        }
        Some(EventSpan {
            context: parent.child()?,
            parent: parent.span,
            link,
            started: Instant::now(),
        })
    }

    pub fn end_event(
        &self,
        event: &EventSpan,
        name: String,
        attributes: Vec<(&'static str, String)>,
        error: Option<&str>,
    ) {
        self.tracer.take(Span {
            context: event.context,
            parent: Some(event.parent),
            link: event.link,
            name,
            kind: SpanKind::Producer,
            start: self.tracer.unix(event.started),
            end: self.tracer.unix(Instant::now()),
            attributes,
            error: error.map(str::to_owned),
        });
    }

    /// A span of the request, or of one of its events, that ends now.
    pub fn part(&self, of: Option<&EventSpan>, name: String, started: Instant, error: Option<&str>) {
        if let Some(part) = self.pending(of, name, SpanKind::Internal, started) {
            part.end(error);
        }
    }

    /// A span that ends later.
    pub fn pending(
        &self,
        of: Option<&EventSpan>,
        name: String,
        kind: SpanKind,
        started: Instant,
    ) -> Option<Pending> {
        let around = of.map_or(self.request, |event| event.context);
        Some(Pending {
            tracer: Arc::clone(&self.tracer),
            context: around.child()?,
            parent: around.span,
            name,
            kind,
            started,
        })
    }

    /// The request was answered.
    pub fn end(&self, name: &str, attributes: Vec<(&'static str, String)>, error: Option<&str>) {
        self.tracer.take(Span {
            context: self.request,
            parent: self.parent,
            link: None,
            name: name.to_owned(),
            kind: SpanKind::Server,
            start: self.tracer.unix(self.started),
            end: self.tracer.unix(Instant::now()),
            attributes,
            error: error.map(str::to_owned),
        });
    }
}

/// A span that has begun.
pub struct Pending {
    tracer: Arc<Tracer>,
    context: TraceContext,
    parent: [u8; 8],
    name: String,
    kind: SpanKind,
    started: Instant,
}

impl Pending {
    pub fn end(self, error: Option<&str>) {
        let (start, end) = (self.tracer.unix(self.started), self.tracer.unix(Instant::now()));
        self.tracer.take(Span {
            context: self.context,
            parent: Some(self.parent),
            link: None,
            name: self.name,
            kind: self.kind,
            start,
            end,
            attributes: Vec::new(),
            error: error.map(str::to_owned),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn only_w3c_s_form_is_a_context() {
        let context = TraceContext::parse(PARENT).expect("a context");
        assert_eq!(context.to_string(), PARENT);
        assert!(context.sampled);
        for text in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
        ] {
            assert_eq!(TraceContext::parse(text), None, "{text:?}");
        }
        let later = "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more";
        assert!(
            TraceContext::parse(later).is_some(),
            "a later version may say more"
        );
    }

    #[test]
    fn the_parent_decides_and_without_one_the_ratio() {
        let (tracer, _spans) = Tracer::new(10);
        let unsampled = PARENT.replace("-01", "-00");
        for _ in 0..100 {
            assert!(tracer.begin(Some(PARENT)).is_some());
            assert!(tracer.begin(Some(&unsampled)).is_none());
        }
        let sampled = (0..100).filter(|_| tracer.begin(None).is_some()).count();
        assert_eq!(sampled, 10);
        let (never, _spans) = Tracer::new(0);
        assert!((0..100).all(|_| never.begin(None).is_none()));
    }

    #[test]
    fn an_event_s_own_context_counts_before_the_request_s() {
        let (tracer, _spans) = Tracer::new(0);
        let trace = tracer.begin(Some(PARENT)).expect("sampled");
        let others = "00-11111111111111111111111111111111-00f067aa0ba902b7-01";
        let event = trace.event(Some(others)).expect("sampled by its own");
        assert!(event.traceparent().starts_with("00-1111"));
        assert_eq!(event.link, Some(trace.request));
        let declined = others.replace("-01", "-00");
        assert!(trace.event(Some(&declined)).is_none());
        let plain = trace.event(Some(PARENT)).expect("the request's");
        assert_eq!(
            (plain.context.trace, plain.parent),
            (trace.request.trace, trace.request.span)
        );
    }

    #[test]
    fn what_has_no_room_is_counted() {
        let (tracer, mut spans) = Tracer::new(0);
        let trace = tracer.begin(Some(PARENT)).expect("sampled");
        for _ in 0..SPANS_WAITING + 7 {
            trace.part(None, "decode".to_owned(), Instant::now(), None);
        }
        assert_eq!(tracer.dropped(), 7);
        assert_eq!(spans.try_recv().expect("a span").parent, Some(trace.request.span));
    }
}
