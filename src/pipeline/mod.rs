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

mod duplicates;
mod replay;
mod steps;
mod tables;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use jiff::Timestamp;

use duplicates::Duplicates;
use steps::{Step, Way};
pub use tables::Tables;

use crate::{
    authenticate::Identity,
    decode::{self, Context, Head},
    deliver::{Acknowledgement, Delivery, Destinations},
    event::{Answer, Batch, Decoded, EventResult, Outcome, PartnerName, Reason, Undecoded},
    limits::Limits,
    listener::Ingest,
    problem::{Code, Problem},
    quarantine::{Kept, Quarantine},
    telemetry::Telemetry,
};

/// A batch gives the worker to other requests after this long.
const SLICE: Duration = Duration::from_millis(2);

/// The gateway's data side.
pub struct Pipeline {
    tables: ArcSwap<Tables>,
    destinations: Destinations,
    quarantine: Arc<Quarantine>,
    duplicates: Duplicates,
    limits: Limits,
    telemetry: Arc<Telemetry>,
    leaving: AtomicBool,
    stopping: AtomicBool,
    /// Replays follow one another: two of the same item would deliver it twice.
    replaying: tokio::sync::Mutex<()>,
}

/// A request whose head was taken: who sends, what the head says, and the registry as it was then.
pub struct Admission {
    tables: Arc<Tables>,
    identity: Identity,
    head: Head,
}

impl Pipeline {
    pub fn new(
        destinations: Destinations,
        quarantine: Arc<Quarantine>,
        limits: Limits,
        telemetry: Arc<Telemetry>,
    ) -> Arc<Pipeline> {
        let duplicates = Duplicates::new();
        duplicates.remember_known(destinations.take_known());
        Arc::new(Pipeline {
            tables: ArcSwap::default(),
            destinations,
            quarantine,
            duplicates,
            limits,
            telemetry,
            leaving: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            replaying: tokio::sync::Mutex::new(()),
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
    ) -> Result<Vec<EventResult>, Problem> {
        let acknowledgement = Acknowledgement::new(events.len());
        let mut request = Way::new(self, tables, &acknowledgement);
        let mut results = Vec::with_capacity(events.len());
        let mut slice = Instant::now();
        for (index, event) in events.into_iter().enumerate() {
            results.push(match event {
                Err(undecoded) => Step::rejected(undecoded.id, undecoded.reason),
                Ok(event) => request.begin(index, event),
            });
            if slice.elapsed() > SLICE {
                tokio::task::yield_now().await;
                slice = Instant::now();
            }
        }
        let deliveries = acknowledgement.wait().await;
        let results = self.settle(results, deliveries).await?;
        Ok(results)
    }

    /// Turns what the destinations said into outcomes; what was refused for good goes to quarantine.
    async fn settle(&self, steps: Vec<Step>, deliveries: Vec<Delivery>) -> Result<Vec<EventResult>, Problem> {
        let lost = deliveries.iter().find_map(|delivery| match delivery {
            Delivery::NoPlace { destination, detail } => Some((destination.clone(), detail.clone())),
            Delivery::Durable | Delivery::Refused { .. } => None,
        });
        if let Some((destination, detail)) = lost {
            tracing::warn!(%destination, detail, "a request was answered 503: no durable place is left");
            return Err(Problem::new(
                Code::NoDurablePlace,
                "neither the destination nor the spool can take the events now; send the whole request again",
            ));
        }
        let again = Acknowledgement::new(steps.len());
        let mut results = Vec::with_capacity(steps.len());
        let mut seen = Vec::new();
        for (index, (step, delivery)) in steps.into_iter().zip(deliveries).enumerate() {
            let outcome = match (step.outcome, delivery) {
                (Outcome::Accepted | Outcome::Quarantined(_), Delivery::Refused { destination, detail }) => {
                    let reason = Reason::new(
                        Code::DeliveryRefused,
                        format!("the destination {destination} refused the record: {detail}"),
                    );
                    if let Some(event) = step.event {
                        let ticket = again.ticket(index);
                        let kept = Kept::new(event, reason.clone(), None);
                        self.quarantine.keep(kept, steps::into_ticket(ticket));
                    }
                    Outcome::Quarantined(reason)
                }
                (outcome, _) => outcome,
            };
            seen.extend(
                step.fingerprint
                    .filter(|_| !matches!(outcome, Outcome::Rejected(_))),
            );
            results.push(EventResult { id: step.id, outcome });
        }
        if again
            .wait()
            .await
            .iter()
            .any(|delivery| *delivery != Delivery::Durable)
        {
            return Err(Problem::new(
                Code::NoDurablePlace,
                "a destination refused an event and the quarantine cannot take it now; send the whole request again",
            ));
        }
        self.duplicates.remember(seen);
        Ok(results)
    }
}

impl Ingest for Pipeline {
    type Admission = Admission;

    fn admit(&self, head: &http::request::Parts, _peer: SocketAddr) -> Result<Admission, Problem> {
        if self.is_stopping() {
            return Err(Problem::new(
                Code::ShuttingDown,
                "this node is shutting down; send the request again",
            ));
        }
        let tables = self.tables();
        let head_read = Head::read(head)?;
        let identity = tables.keys.identify(head)?;
        Ok(Admission {
            tables,
            identity,
            head: head_read,
        })
    }

    async fn ingest(&self, admission: Admission, body: Bytes) -> Result<Answer, Problem> {
        let started = Instant::now();
        let every_result = admission.head.every_result;
        let (tables, partner, batch) = self.decode(admission, body)?;
        let results = self.run(&tables, batch.events).await?;
        self.telemetry
            .request(partner.as_str(), &results, started.elapsed());
        Ok(Answer {
            single: batch.single,
            every_result,
            results,
        })
    }
}

impl Pipeline {
    fn decode(
        &self,
        admission: Admission,
        body: Bytes,
    ) -> Result<(Arc<Tables>, PartnerName, Batch), Problem> {
        let Admission {
            tables,
            identity,
            head,
        } = admission;
        let partner = identity.partner;
        let context = Context {
            partner: partner.clone(),
            default_source: tables.default_source(&partner),
            limits: &self.limits,
            received: Timestamp::now(),
            hints: &*tables,
        };
        let batch = decode::decode(head, body, &context)?;
        Ok((tables, partner, batch))
    }
}
