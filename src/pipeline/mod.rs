//! The straight path of one request's events; the only file that knows all of its stages.
//!
//! ```text
//! admit: authenticate ─ read the head          ingest: decode
//!                                                         │ Decoded
//!          ┌──────────────────────────────────────────────┘
//!          ▼
//!   resolve + validate ──▶ route ──▶ transform ──▶ deliver ──▶ wait ──▶ answer
//!          │ Validated                  │ outputs     │
//!          ▼                            ▼             ▼
//!      quarantine ◀─────────────────────┴─────────────┘
//! ```

mod admit;
mod again;
mod beside;
mod bindings;
mod counting;
mod difference;
mod dry_run;
mod duplicates;
mod enrich;
mod envelopes;
mod lookups;
mod places;
mod preparations;
mod quotas;
mod rates;
mod replay;
mod runs;
mod settle;
mod shadow;
mod shares;
mod steps;
mod tables;
mod trial;
mod webhook_ids;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use jiff::Timestamp;

pub use admit::Admission;
use admit::{Content, Known, identify};
use counting::Tallies;
pub use difference::Difference;
use duplicates::Duplicates;
use enrich::Added;
pub use lookups::{Lookups, Offer};
use places::HeldBack;
pub use preparations::Preparations;
pub use quotas::Quotas;
use rates::Rates;
pub use runs::Replay;
use runs::Runs;
use shadow::Shadows;
pub use shadow::{Sample, ShadowReport};
use shares::{Hold, Shares};
use steps::{Step, Way};
pub use tables::Tables;
pub use trial::{PluginTrial, TrialReport, TrialRoute, Tried};
use webhook_ids::Turn;
pub use webhook_ids::WebhookIds;

use crate::{
    authenticate::{Caller, Identity, Places},
    decode::{self, Context},
    deliver::{Acknowledgement, Destinations},
    event::{Answer, Batch, Decoded, DestinationName, EventResult, Outcome, PartnerName, Reason, Undecoded},
    limits::Limits,
    listener::{Consent, Ingest, Peer},
    problem::{Code, Problem},
    quarantine::Quarantine,
    recent::{Recent, Tap},
    telemetry::{DestinationPage, Observation, Stage, Telemetry},
    validate::Compiler,
};

/// A batch gives the worker to other requests after this long.
const SLICE: Duration = Duration::from_millis(2);

/// What is remembered of requests across a restart.
pub struct Memory {
    pub webhook_ids: WebhookIds,
    pub quotas: Arc<Quotas>,
}

/// The gateway's data side.
pub struct Pipeline {
    tables: ArcSwap<Tables>,
    destinations: Destinations,
    quarantine: Arc<Quarantine>,
    duplicates: Arc<Duplicates>,
    recent: Arc<Recent>,
    shadows: Shadows,
    webhook_ids: WebhookIds,
    limits: Limits,
    telemetry: Arc<Telemetry>,
    destination_numbers: Vec<DestinationPage>,
    tap: Arc<Tap>,
    leaving: AtomicBool,
    stopping: AtomicBool,
    /// Replays follow one another: two of the same item would deliver it twice.
    replaying: tokio::sync::Mutex<beside::Pace>,
    /// What a crash left half sent is settled.
    has_recovered: AtomicBool,
    runs: Runs,
    held_back: HeldBack,
    /// Requests, so that a replay sees whether live events pass.
    live: AtomicU64,
}

impl Pipeline {
    pub fn new(
        destinations: Destinations,
        quarantine: Arc<Quarantine>,
        recent: Arc<Recent>,
        memory: Memory,
        limits: Limits,
        telemetry: Arc<Telemetry>,
    ) -> Arc<Pipeline> {
        let Memory { webhook_ids, quotas } = memory;
        let compiler = Compiler::new(limits.compiled_schema_bytes.0);
        let tables = Tables::empty(compiler, Rates::new(quotas), Shares::new(&limits));
        let destination_numbers = destinations
            .iter()
            .map(|destination| telemetry.destination(destination.name().as_str()))
            .collect();
        let duplicates = Arc::new(Duplicates::new(&limits));
        duplicates::fill(&duplicates, destinations.take_known());
        Arc::new(Pipeline {
            tables: ArcSwap::from_pointee(tables),
            destinations,
            quarantine,
            duplicates,
            recent,
            shadows: Shadows::default(),
            webhook_ids,
            limits,
            telemetry,
            destination_numbers,
            tap: Arc::default(),
            leaving: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            replaying: tokio::sync::Mutex::default(),
            has_recovered: AtomicBool::new(false),
            runs: Runs::default(),
            held_back: HeldBack::default(),
            live: AtomicU64::new(0),
        })
    }

    /// What the events of this moment are processed by.
    pub fn tables(&self) -> Arc<Tables> {
        self.tables.load_full()
    }

    /// Puts a new registry state in force for every request that is admitted from now on.
    pub fn install(&self, tables: Tables) {
        self.tables.store(Arc::new(tables));
    }

    pub fn destinations(&self) -> &Destinations {
        &self.destinations
    }

    fn destination_numbers(&self, name: &DestinationName) -> Option<&DestinationPage> {
        let mut known = self.destination_numbers.iter();
        known.find(|page| *page.names[0] == *name.as_str())
    }

    pub fn quarantine(&self) -> &Arc<Quarantine> {
        &self.quarantine
    }

    /// Says in readiness that this node is going; requests are still taken.
    pub fn leave(&self) {
        self.leaving.store(true, Ordering::Relaxed);
    }

    pub fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Relaxed) || self.is_stopping()
    }

    pub fn recent(&self) -> &Arc<Recent> {
        &self.recent
    }

    /// Events as they pass.
    pub fn tap(&self) -> &Arc<Tap> {
        &self.tap
    }

    /// The replays of this node, the newest first.
    pub fn replays(&self) -> Vec<Replay> {
        self.runs.shown()
    }

    /// Refuses every request from now on with `shutting-down`.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Brings each event to its end. Answers when all of them are durable.
    ///
    /// # Errors
    ///
    /// `no-durable-place`: of none of them may be said that it was accepted.
    async fn run(
        &self,
        tables: &Tables,
        events: Vec<Result<Decoded, Undecoded>>,
        tallies: &mut Tallies<'_>,
        observation: Option<&Observation>,
    ) -> Result<Vec<EventResult>, Problem> {
        let acknowledgement = Acknowledgement::new(events.len());
        let mut request = Way::new(self, tables, &acknowledgement, observation);
        let mut results = Vec::with_capacity(events.len());
        let mut slice = (events.len() > 1).then(Instant::now);
        for (index, event) in events.into_iter().enumerate() {
            results.push(match event {
                Err(undecoded) => Step::rejected(undecoded.id, undecoded.reason, tallies.unreadable()),
                Ok(event) => {
                    tables.schemas.prepare(&event).await;
                    request.begin(index, event, tallies)
                }
            });
            if slice.is_some_and(|begun| begun.elapsed() > SLICE) {
                tokio::task::yield_now().await;
                slice = Some(Instant::now());
            }
        }
        request.hand_over();
        let waiting = observation.map(|_| Instant::now());
        let failures = acknowledgement.failures().await;
        if let (Some(observation), Some(waiting)) = (observation, waiting) {
            observation.stage(Stage::Deliver, waiting);
        }
        self.settle(results, failures, tallies).await
    }
}

impl Ingest for Pipeline {
    type Admission = Admission;

    fn admit(&self, head: &http::request::Parts, peer: &Peer) -> Result<Admission, Problem> {
        self.admit_head(head, peer)
    }

    async fn ingest(&self, mut admission: Admission, body: Bytes) -> Result<Answer, Problem> {
        self.live.fetch_add(1, Ordering::Relaxed);
        let mut observation = admission.observation.take();
        if let Some(observation) = &observation {
            observation.received();
        }
        let (every_result, dry_run) = (admission.every_result, admission.dry_run);
        let started = Instant::now();
        let (tables, known, mut hold) = admission.settle(&body, &self.limits)?;
        let Known {
            identity,
            content,
            mut instead,
            added,
        } = known;
        if let Content::Enveloped(opened) = &content
            && let Some(text) = opened.challenge()
        {
            return Ok(Answer::echo(text));
        }
        // It lives as long as this request.
        let batch = self.decode(&tables, &identity, content, body, added, &mut hold)?;
        if let Some(observation) = &observation {
            observation.stage(Stage::Decode, started);
        }
        let single = batch.single;
        if dry_run {
            return Ok(Answer {
                single,
                every_result,
                dry_run,
                instead: None,
                results: self.forecast(&tables, batch.events),
            });
        }
        self.telemetry
            .trace_events(&mut observation, traceparents(&batch.events));
        let results = self
            .process(&tables, &identity, batch, started, observation.as_deref())
            .await;
        if let Some(observation) = &observation {
            let (results, error) = match &results {
                Ok(results) => (results.as_slice(), None),
                Err(problem) => (&[][..], Some(problem.code.as_str())),
            };
            observation.end("receive events", identity.partner.as_str(), results, error);
        }
        let results = results?;
        if every_result {
            instead = None;
        }
        Ok(Answer {
            single,
            every_result,
            dry_run,
            instead,
            results,
        })
    }

    fn sender(&self, head: &http::request::Parts, peer: &Peer) -> Result<PartnerName, Problem> {
        let caller = Caller::new(head, peer.certificate);
        identify(&self.tables(), head, &caller, &Places::default()).map(|identity| identity.partner)
    }

    fn allows_origin(&self, origin: &str) -> bool {
        self.tables().keys.allows_origin(origin)
    }

    fn consent(&self, head: &http::request::Parts, peer: &Peer) -> Consent {
        self.consent_to(head, peer)
    }
}

fn traceparents(events: &[Result<Decoded, Undecoded>]) -> impl Iterator<Item = &str> {
    events
        .iter()
        .filter_map(|event| event.as_ref().ok()?.traceparent.as_deref())
}

/// An event of a request that was taken before.
fn known_already(event: Result<Decoded, Undecoded>, tallies: &mut Tallies<'_>) -> EventResult {
    let (id, outcome, counted) = match event {
        Ok(event) => {
            let counted = tallies.by_attributes(&event.attributes, steps::bytes_of(&event));
            (
                Some(Arc::clone(&event.attributes.id)),
                Outcome::Duplicate,
                counted,
            )
        }
        Err(Undecoded { id, reason }) => (id, Outcome::Rejected(reason), tallies.unreadable()),
    };
    tallies.count(counted, &outcome);
    EventResult { id, outcome }
}

impl Pipeline {
    /// What became of the request's events, counted.
    async fn process(
        &self,
        tables: &Tables,
        identity: &Identity,
        batch: Batch,
        started: Instant,
        observation: Option<&Observation>,
    ) -> Result<Vec<EventResult>, Problem> {
        let partner = &identity.partner;
        // The same request at the same moment waits for this one's end.
        let turn = match &identity.webhook_id {
            Some(id) => {
                let print = webhook_ids::print(&identity.key_id, id);
                Some(self.webhook_ids.turn(print).await)
            }
            None => None,
        };
        let mut tallies = Tallies::new(&self.telemetry, tables, partner);
        let results = if turn.as_ref().is_some_and(Turn::is_known) {
            let known = |event| known_already(event, &mut tallies);
            batch.events.into_iter().map(known).collect()
        } else {
            let results = self.run(tables, batch.events, &mut tallies, observation).await?;
            // A request of which something was rejected is not over: it may come again, mended.
            if let Some(turn) = turn
                && !results.iter().any(EventResult::is_rejected)
            {
                turn.remember().await;
            }
            results
        };
        let duration = started.elapsed();
        tallies.close(duration);
        if let Some(times) = tables.times(partner) {
            times.numbers.record(duration);
        }
        self.telemetry.key_used(partner.as_str(), &identity.key_id);
        Ok(results)
    }

    fn decode(
        &self,
        tables: &Tables,
        identity: &Identity,
        content: Content,
        body: Bytes,
        added: Added,
        hold: &mut Hold,
    ) -> Result<Batch, Problem> {
        let partner = &identity.partner;
        let context = Context {
            partner: partner.clone(),
            default_source: tables.default_source(partner),
            limits: &self.limits,
            received: Timestamp::now(),
            client_ip: added.client_ip,
            user_agent: added.user_agent,
            hints: tables,
        };
        let mut batch = match content {
            Content::Plain(mut head) => {
                let sent = body.len();
                let body = head.decompress(body, &self.limits)?;
                hold.grow(body.len().saturating_sub(sent) as u64)?;
                decode::decode(*head, body, &context)?
            }
            Content::Enveloped(opened) => opened.decode(&context)?,
        };
        tables
            .rates
            .charge(partner, batch.events.len().saturating_sub(1), 0);
        if let Some(id) = &identity.webhook_id
            && batch.single
            && let Some(Ok(event)) = batch.events.first_mut()
            && event.id_generated
        {
            // Nobody else has it yet: nothing is copied.
            Arc::make_mut(&mut event.attributes).id = id.as_str().into();
            event.id_generated = false;
        }
        if !identity.may_send_all() {
            for event in &mut batch.events {
                forbid(event, identity);
            }
        }
        Ok(batch)
    }
}

/// Rejects the event where its type is none of those that the key may send.
fn forbid(event: &mut Result<Decoded, Undecoded>, identity: &Identity) {
    if let Ok(decoded) = event
        && !identity.may_send(&decoded.attributes.event_type)
    {
        let reason = Reason::new(
            Code::KeyForbidden,
            format!(
                "this key may not send events of the type {}; use another key, or widen its types",
                decoded.attributes.event_type
            ),
        );
        let id = Some(decoded.attributes.id.clone());
        *event = Err(Undecoded { id, reason });
    }
}
