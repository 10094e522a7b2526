//! A request that is looked at closely: its stages are timed, and where it is traced, they become spans. Most requests
//! have no observation and pay one comparison for that.

use std::{sync::Arc, time::Instant};

use super::{
    Telemetry,
    book::Page,
    series::{DestinationNumbers, Numbers, PluginNumbers, Stage},
    trace::{EventSpan, Pending, SpanKind, Trace, TraceContext},
};
use crate::event::{EventResult, Outcome};

pub struct Observation {
    numbers: Arc<Numbers>,
    begun: Instant,
    is_timed: bool,
    trace: Option<Trace>,
}

impl Telemetry {
    /// Whether this request is to be looked at closely; `traceparent` is asked for only where traces are made.
    pub fn observation<'t>(&self, traceparent: impl FnOnce() -> Option<&'t str>) -> Option<Box<Observation>> {
        let is_timed = Numbers::is_timed();
        let trace = self.tracer.get().and_then(|tracer| tracer.begin(traceparent()));
        (is_timed || trace.is_some()).then(|| self.begin(is_timed, trace))
    }

    fn begin(&self, is_timed: bool, trace: Option<Trace>) -> Box<Observation> {
        Box::new(Observation {
            numbers: Arc::clone(&self.numbers),
            begun: Instant::now(),
            is_timed,
            trace,
        })
    }

    /// A request that is not traced, and some of whose events are by their senders.
    pub fn trace_events<'t>(
        &self,
        observation: &mut Option<Box<Observation>>,
        mut traceparents: impl Iterator<Item = &'t str>,
    ) {
        let Some(tracer) = self.tracer.get() else { return };
        if observation.as_ref().is_some_and(|known| known.trace.is_some())
            || !traceparents.any(|text| TraceContext::parse(text).is_some_and(|context| context.sampled))
        {
            return;
        }
        let observation = observation.get_or_insert_with(|| self.begin(false, None));
        observation.trace = tracer.begin_for_events();
    }
}

impl Observation {
    /// The body is there.
    pub fn received(&self) {
        self.stage(Stage::Receive, self.begun);
    }

    /// A part of the request that ends now.
    pub fn stage(&self, stage: Stage, started: Instant) {
        self.part(stage, None, started, None);
    }

    fn part(&self, stage: Stage, of: Option<&EventSpan>, started: Instant, error: Option<&str>) {
        if self.is_timed {
            self.numbers.stage(stage, started.elapsed());
        }
        let is_within = of.is_some() || matches!(stage, Stage::Receive | Stage::Decode | Stage::Deliver);
        if let Some(trace) = self.trace.as_ref().filter(|_| is_within) {
            trace.part(of, stage.as_str().to_owned(), started, error);
        }
    }

    /// Watches one event; `traceparent` is changed to what its records carry on.
    pub fn event(&self, traceparent: &mut Option<String>) -> EventWatch<'_> {
        let span = self
            .trace
            .as_ref()
            .and_then(|trace| trace.event(traceparent.as_deref()));
        match (&span, &self.trace) {
            (Some(span), _) => *traceparent = Some(span.traceparent()),
            // An event without a span of its own still belongs to the request.
            (None, Some(trace)) if traceparent.is_none() => *traceparent = Some(trace.traceparent()),
            _ => {}
        }
        EventWatch {
            observation: self,
            span,
        }
    }

    /// The request was answered.
    pub fn end(&self, name: &str, partner: &str, results: &[EventResult], error: Option<&str>) {
        let Some(trace) = &self.trace else { return };
        let count = |wanted: fn(&Outcome) -> bool| {
            let count = results.iter().filter(|result| wanted(&result.outcome)).count();
            count.to_string()
        };
        let attributes = vec![
            ("headworks.partner", partner.to_owned()),
            ("headworks.events", results.len().to_string()),
            (
                "headworks.events.quarantined",
                count(|outcome| matches!(outcome, Outcome::Quarantined(_))),
            ),
            (
                "headworks.events.rejected",
                count(|outcome| matches!(outcome, Outcome::Rejected(_))),
            ),
        ];
        trace.end(name, attributes, error);
    }
}

/// One event of such a request.
pub struct EventWatch<'a> {
    observation: &'a Observation,
    span: Option<EventSpan>,
}

impl EventWatch<'_> {
    pub fn stage(&self, stage: Stage, started: Instant, error: Option<&str>) {
        self.observation.part(stage, self.span.as_ref(), started, error);
    }

    /// A plugin's call that ends now.
    pub fn plugin(&self, label: &str, numbers: &PluginNumbers, started: Instant, error: Option<&str>) {
        if self.observation.is_timed {
            numbers.times.record(started.elapsed());
        }
        if let (Some(trace), Some(span)) = (&self.observation.trace, &self.span) {
            trace.part(Some(span), format!("plugin {label}"), started, error);
        }
    }

    /// Runs until a record is durable.
    pub fn delivery(&self, numbers: &Arc<Page<1, DestinationNumbers>>) -> Box<Stopwatch> {
        let started = Instant::now();
        let span = match (&self.observation.trace, &self.span) {
            (Some(trace), Some(span)) => trace.pending(
                Some(span),
                format!("deliver {}", numbers.names[0]),
                SpanKind::Client,
                started,
            ),
            _ => None,
        };
        Box::new(Stopwatch {
            started,
            into: self.observation.is_timed.then(|| Arc::clone(numbers)),
            span,
        })
    }

    /// All is said of the event but whether its records are durable.
    pub fn end(self, event_type: &str, id: &str, outcome: &Outcome) {
        if let (Some(trace), Some(span)) = (&self.observation.trace, &self.span) {
            let attributes = vec![
                ("cloudevents.event_type", event_type.to_owned()),
                ("cloudevents.event_id", id.to_owned()),
            ];
            let error = match outcome {
                Outcome::Accepted | Outcome::Duplicate => None,
                Outcome::Quarantined(reason) | Outcome::Rejected(reason) => Some(reason.code.as_str()),
            };
            trace.end_event(span, format!("send {event_type}"), attributes, error);
        }
    }
}

/// Times one record's delivery.
pub struct Stopwatch {
    started: Instant,
    into: Option<Arc<Page<1, DestinationNumbers>>>,
    span: Option<Pending>,
}

impl Stopwatch {
    /// `error` says why the record is not durable.
    pub fn stop(self, error: Option<&str>) {
        if let Some(numbers) = &self.into
            && error.is_none()
        {
            numbers.numbers.durable(self.started.elapsed());
        }
        if let Some(span) = self.span {
            span.end(error);
        }
    }
}

impl std::fmt::Debug for Stopwatch {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Stopwatch").finish_non_exhaustive()
    }
}
