//! One event's steps: check, route, transform, hand over. Nothing here waits.

use std::{sync::Arc, time::Instant};

use super::{
    Pipeline, Tables,
    bindings::{Binding, Version},
    counting::{Counted, Tallies},
    duplicates::Fingerprint,
    enrich,
    places::Waiting,
};
use crate::{
    deliver::{Acknowledgement, Delivery, Destination, Ticket},
    event::{
        AppVersion, Body, Decoded, DestinationName, Outcome, Output, Reason, Record, RecordAttributes,
        RouteName, Validated,
    },
    json::EditedDocument,
    problem::Code,
    quarantine::Kept,
    recent::{Memo, Sight},
    registry::model::{Form, Policy},
    route::Route,
    spool::AppendError,
    telemetry::{CallOutcome, EventWatch, Observation, Stage},
    transform::{PluginFailure, Purpose},
};

/// Where one event stands when all its records have been handed over.
pub(super) struct Step {
    pub id: Option<Arc<str>>,
    pub outcome: Outcome,
    /// To be remembered once the event is durable.
    pub fingerprint: Option<Fingerprint>,
    pub counted: Counted,
}

impl Step {
    pub fn rejected(id: Option<Arc<str>>, reason: Reason, counted: Counted) -> Step {
        Step {
            id,
            outcome: Outcome::Rejected(reason),
            fingerprint: None,
            counted,
        }
    }
}

/// The events of one request on their way.
pub(super) struct Way<'a> {
    pipeline: &'a Pipeline,
    tables: &'a Tables,
    acknowledgement: &'a Acknowledgement,
    /// Of this request, before they are remembered for later ones.
    seen: std::collections::HashSet<Fingerprint>,
    stream: Memo,
    observation: Option<&'a Observation>,
    /// Somebody watches what passes.
    is_watched: bool,
    /// What is held back until all of it has a place; absent where places are plenty.
    waiting: Option<Waiting>,
}

/// Records of one route, ready to be sent.
pub(super) type Ready = Vec<(Arc<dyn Destination>, Record)>;

/// What the routes made of an event.
pub(super) struct Routed {
    pub records: Ready,
    /// The routes whose plugin made no record, on purpose.
    pub dropped: Vec<RouteName>,
    /// The routes that could not, with the first reason.
    pub failed: Option<(Vec<RouteName>, Reason)>,
}

impl<'a> Way<'a> {
    pub fn new(
        pipeline: &'a Pipeline,
        tables: &'a Tables,
        acknowledgement: &'a Acknowledgement,
        observation: Option<&'a Observation>,
    ) -> Way<'a> {
        Way {
            pipeline,
            tables,
            acknowledgement,
            seen: std::collections::HashSet::new(),
            stream: Memo::default(),
            observation,
            is_watched: pipeline.tap.is_watched(),
            waiting: pipeline.is_strained().then(|| Waiting::new(&pipeline.held_back)),
        }
    }

    /// Hands over what was held back until the last event had gone its way.
    pub fn hand_over(&mut self) {
        if let Some(waiting) = self.waiting.take() {
            self.waiting = Some(self.pipeline.hand_over(waiting));
        }
    }

    /// Takes the event as far as it goes without waiting: its records are handed to their destinations, or it is
    /// handed to the quarantine, each with a ticket of the request's acknowledgement. Where places may be few they are
    /// held back until [`Way::hand_over`].
    pub fn begin(&mut self, index: usize, mut event: Decoded, tallies: &mut Tallies<'_>) -> Step {
        let id = event.attributes.id.clone();
        let fingerprint = (!event.id_generated).then(|| self.pipeline.duplicates.fingerprint(&event));
        if fingerprint.is_some_and(|print| self.pipeline.duplicates.knows(print) || !self.seen.insert(print))
        {
            if self.is_watched {
                self.pipeline.tap.pass(Sight::of(&event), &Outcome::Duplicate);
            }
            return Step {
                id: Some(id),
                outcome: Outcome::Duplicate,
                fingerprint: None,
                counted: tallies.by_attributes(&event.attributes, bytes_of(&event)),
            };
        }
        let sample = self.pipeline.recent.observe(&event, &mut self.stream);
        let watch = self
            .observation
            .map(|observation| observation.event(&mut event.traceparent));
        let attributes = watch.is_some().then(|| Arc::clone(&event.attributes));
        let mut sight = self.is_watched.then(|| Sight::of(&event));
        let (outcome, counted) = self.process(index, event, tallies, watch.as_ref(), sight.as_mut());
        let body_bytes = self.pipeline.limits.body_bytes.as_usize();
        let waiting = self.waiting.as_ref();
        if waiting.is_some_and(|waiting| waiting.is_too_much(body_bytes)) {
            self.hand_over();
        }
        if let Some(sight) = sight {
            self.pipeline.tap.pass(sight, &outcome);
        }
        if let (Some(watch), Some(attributes)) = (watch, attributes) {
            watch.end(attributes.event_type.as_str(), &attributes.id, &outcome);
        }
        if let Some(sample) = sample {
            self.pipeline.recent.remember(sample, &outcome);
        }
        if let (Outcome::Rejected(_), Some(print)) = (&outcome, fingerprint) {
            self.seen.remove(&print);
        }
        Step {
            id: Some(id),
            outcome,
            fingerprint,
            counted,
        }
    }

    fn process(
        &mut self,
        index: usize,
        event: Decoded,
        tallies: &mut Tallies<'_>,
        watch: Option<&EventWatch<'_>>,
        mut sight: Option<&mut Sight>,
    ) -> (Outcome, Counted) {
        let bytes = bytes_of(&event);
        let started = watch.map(|_| Instant::now());
        let checked = self.tables.schemas.check(event);
        if let (Some(watch), Some(started)) = (watch, started) {
            let error = checked.as_ref().err().map(|refused| refused.1.code.as_str());
            watch.stage(Stage::Validate, started, error);
        }
        let validated = match checked {
            Ok(validated) => {
                if validated.version_is_unreadable() {
                    self.count_unreadable_version(validated.event());
                }
                validated
            }
            Err(refused) => {
                let (event, reason) = *refused;
                let counted = tallies.by_attributes(&event.attributes, bytes);
                let version = event.attributes.app_version.as_deref();
                if version.is_some_and(|version| AppVersion::parse(version).is_none()) {
                    self.count_unreadable_version(&event);
                }
                let policy = self.tables.policy(&event.partner);
                if reason.code == Code::SchemaViolation && policy == Policy::Reject {
                    return (Outcome::Rejected(reason), counted);
                }
                return (self.keep(index, event, reason, None), counted);
            }
        };
        let counted = tallies.by_schema(validated.schema(), bytes);
        let Routed {
            mut records,
            dropped,
            failed,
        } = self
            .pipeline
            .route(self.tables, &validated, None, Purpose::Live, watch);
        self.pipeline.count_dropped(&dropped);
        if let ([(_, record)], None) = (&mut records[..], &failed) {
            record.is_alone = true;
        }
        for (destination, record) in records {
            if let Some(sight) = &mut sight {
                sight.record(destination.name(), &record);
            }
            let mut ticket = self.acknowledgement.ticket(index);
            if let Some(numbers) = self.pipeline.destination_numbers(destination.name()) {
                numbers.numbers.sent(record.value.len());
                ticket = ticket.timed_by(watch.map(|watch| watch.delivery(numbers)));
            }
            match &mut self.waiting {
                None => destination.send(record, ticket),
                Some(waiting) => waiting.record(destination, record, ticket),
            }
        }
        match failed {
            None => (Outcome::Accepted, counted),
            Some((routes, reason)) => {
                let routes = (!routes.is_empty()).then_some(routes);
                (self.keep(index, validated.into_event(), reason, routes), counted)
            }
        }
    }

    #[cold]
    fn count_unreadable_version(&self, event: &Decoded) {
        self.pipeline.telemetry.unreadable_version(event.partner.as_str());
    }

    fn keep(
        &mut self,
        index: usize,
        event: Decoded,
        reason: Reason,
        routes: Option<Vec<RouteName>>,
    ) -> Outcome {
        let ticket = self.acknowledgement.ticket(index);
        let kept = Kept::new(event, reason.clone(), routes);
        match &mut self.waiting {
            None => self.pipeline.quarantine.keep(kept, into_ticket(ticket)),
            Some(waiting) => waiting.keep(&kept, ticket),
        }
        Outcome::Quarantined(reason)
    }
}

pub(super) fn bytes_of(event: &Decoded) -> usize {
    event.data.root().raw().len()
}

/// The quarantine's answer, told to whoever waits for the request.
pub(super) fn into_ticket(ticket: Ticket) -> impl FnOnce(Result<(), AppendError>) + Send + 'static {
    move |result| {
        ticket.complete(match result {
            Ok(()) => Delivery::Durable,
            Err(error) => Delivery::NoPlace {
                destination: quarantine_name(),
                detail: error.to_string(),
            },
        });
    }
}

pub(super) fn quarantine_name() -> DestinationName {
    "quarantine".parse().expect("the word is a name")
}

impl Pipeline {
    /// Runs the event through every route that takes it (or through `only` these) and makes its records. Sends
    /// nothing: a route whose plugin fails gives no record at all.
    pub(super) fn route(
        &self,
        tables: &Tables,
        event: &Validated,
        only: Option<&[RouteName]>,
        purpose: Purpose,
        watch: Option<&EventWatch<'_>>,
    ) -> Routed {
        let mut routed = Routed {
            records: Vec::new(),
            dropped: Vec::new(),
            failed: None,
        };
        let mut taken = false;
        for route in tables.routes.matching(event.event()) {
            if only.is_some_and(|only| !only.contains(&route.name)) {
                continue;
            }
            taken = true;
            let before = routed.records.len();
            let started = watch.map(|_| Instant::now());
            let made = self.records(tables, event, route, purpose, &mut routed.records, watch);
            if let (Some(watch), Some(started)) = (watch, started) {
                let error = made.as_ref().err().map(|reason| reason.code.as_str());
                watch.stage(Stage::Transform, started, error);
            }
            match made {
                Ok(()) if routed.records.len() == before => routed.dropped.push(route.name.clone()),
                Ok(()) => {}
                Err(reason) => routed
                    .failed
                    .get_or_insert_with(|| (Vec::new(), reason))
                    .0
                    .push(route.name.clone()),
            }
        }
        if !taken {
            let reason = Reason::new(
                Code::RouteUnknown,
                "no route takes the event; it goes out when one does",
            );
            routed.failed = Some((Vec::new(), reason));
        }
        routed
    }

    pub(super) fn count_dropped(&self, routes: &[RouteName]) {
        for route in routes {
            self.telemetry.dropped(route.as_str());
        }
    }

    fn records(
        &self,
        tables: &Tables,
        event: &Validated,
        route: &Route,
        purpose: Purpose,
        ready: &mut Ready,
        watch: Option<&EventWatch<'_>>,
    ) -> Result<(), Reason> {
        let latest = match route.form {
            Form::Sent => None,
            Form::Latest => tables.schemas.latest_form(event)?,
        };
        let event = latest.as_ref().unwrap_or(event);
        let (label, outputs) = match tables.binding(&route.name) {
            Binding::None => (None, vec![untouched(event)]),
            Binding::Plugin(version) => {
                let outputs = call(version, purpose, event, tables, route, watch).map_err(into_reason)?;
                let plugin = &version.plugin;
                (Some(Arc::clone(plugin.label())), outputs)
            }
            Binding::Staged(staged) => {
                let version = staged
                    .choose(event.event())
                    .map_err(|detail| Reason::new(Code::PluginUnavailable, detail.as_ref()))?;
                let plugin = &version.plugin;
                let result = call(version, purpose, event, tables, route, watch);
                if purpose == Purpose::Live
                    && let Some(shadow) = &staged.shadow
                {
                    let mask = tables.mask(&event.event().attributes.event_type);
                    self.shadows.offer(shadow, event, &result, tables.lookups(), mask);
                }
                (Some(Arc::clone(plugin.label())), result.map_err(into_reason)?)
            }
            Binding::Unavailable(detail) => {
                return Err(Reason::new(Code::PluginUnavailable, detail.as_ref()));
            }
        };
        let about = Arc::new(attributes(event, &route.name, label));
        let begin = ready.len();
        for output in outputs {
            if let Err(reason) = self.address(route, &about, output, ready) {
                ready.truncate(begin);
                return Err(reason);
            }
        }
        Ok(())
    }

    /// One record for each of the route's destinations that the output is for.
    fn address(
        &self,
        route: &Route,
        about: &Arc<RecordAttributes>,
        output: Output,
        ready: &mut Ready,
    ) -> Result<(), Reason> {
        let value = match &output.body {
            Body::Document(document) => document.to_bytes(),
            Body::Bytes(bytes) => bytes.clone(),
        };
        let topic = output.topic.map(Arc::from);
        let key = output.key.map(Arc::from);
        let headers = enrich::headers(output.headers, &about.attributes, output.tables.as_deref());
        let wanted = output.destination.as_deref();
        for target in &route.targets {
            if wanted.is_some_and(|wanted| wanted != &*target.destination) {
                continue;
            }
            let Some(destination) = self.destinations.get(&target.destination) else {
                return Err(Reason::new(
                    Code::RouteUnknown,
                    format!(
                        "the route {} leads to {}, which this node's configuration does not name",
                        route.name, target.destination
                    ),
                ));
            };
            let record = target.record(
                about,
                topic.as_ref(),
                key.as_ref(),
                &headers,
                &output.body,
                &value,
            );
            ready.push((Arc::clone(destination), record));
        }
        Ok(())
    }
}

/// Runs a version on the event, and counts how that ended.
fn call(
    version: &Version,
    purpose: Purpose,
    event: &Validated,
    tables: &Tables,
    route: &Route,
    watch: Option<&EventWatch<'_>>,
) -> Result<Vec<Output>, PluginFailure> {
    let started = watch.map(|_| Instant::now());
    let plugin = &version.plugin;
    let made = plugin.transform_for(purpose, event, tables.lookups());
    let leads_to = |wanted: &str| route.targets.iter().any(|target| wanted == &*target.destination);
    let made = made.and_then(|outputs| match misaddressed(&outputs, leads_to) {
        None => Ok(outputs),
        Some(destination) => Err(plugin.misaddressed(purpose, event, destination, route.name.as_str())),
    });
    let (outcome, error) = match &made {
        Ok(_) => (CallOutcome::Made, None),
        Err(PluginFailure::Rejected(_)) => (CallOutcome::Rejected, Some(Code::PluginRejected)),
        Err(PluginFailure::Unavailable(_)) => (CallOutcome::Failed, Some(Code::PluginUnavailable)),
        Err(PluginFailure::Failed(_)) => (CallOutcome::Failed, Some(Code::PluginFailed)),
        Err(PluginFailure::Trapped(_)) => (CallOutcome::Trapped, Some(Code::PluginFailed)),
        Err(PluginFailure::Held(_)) => (CallOutcome::Held, Some(Code::PluginFailed)),
    };
    version.numbers.numbers.call(outcome);
    if let (Some(watch), Some(started)) = (watch, started) {
        let error = error.map(Code::as_str);
        watch.plugin(version.plugin.label(), &version.numbers.numbers, started, error);
    }
    made
}

/// The destination of an output, where the route does not lead there.
pub(super) fn misaddressed(outputs: &[Output], leads_to: impl Fn(&str) -> bool) -> Option<&str> {
    let mut wanted = outputs.iter().filter_map(|output| output.destination.as_deref());
    wanted.find(|wanted| !leads_to(wanted))
}

fn into_reason(failure: PluginFailure) -> Reason {
    match failure {
        PluginFailure::Rejected(text) => Reason::new(Code::PluginRejected, text),
        PluginFailure::Unavailable(text) => Reason::new(Code::PluginUnavailable, text),
        PluginFailure::Failed(text) | PluginFailure::Trapped(text) | PluginFailure::Held(text) => {
            Reason::new(Code::PluginFailed, text)
        }
    }
}

fn untouched(event: &Validated) -> Output {
    Output {
        destination: None,
        topic: None,
        key: None,
        headers: Vec::new(),
        tables: None,
        body: Body::Document(EditedDocument::new(event.event().data.clone())),
    }
}

fn attributes(event: &Validated, route: &RouteName, plugin: Option<Arc<str>>) -> RecordAttributes {
    let decoded = event.event();
    RecordAttributes {
        attributes: decoded.attributes.clone(),
        partner: decoded.partner.clone(),
        schema: Arc::clone(event.schema()),
        plugin,
        route: route.clone(),
        received: decoded.received,
        traceparent: decoded.traceparent.clone(),
    }
}
