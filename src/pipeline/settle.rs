//! What the destinations said, turned into what became of each event.

use std::collections::BTreeMap;

use super::{
    Pipeline,
    counting::Tallies,
    steps::{self, Step},
};
use crate::{
    deliver::{Acknowledgement, Delivery},
    event::{DestinationName, EventResult, Outcome, Reason, Record},
    problem::{Code, Problem},
    quarantine::Kept,
};

/// A record that its destination refused, and why.
pub(super) struct Refused {
    pub destination: DestinationName,
    pub detail: String,
    pub record: Record,
}

/// What was not plainly durable.
#[derive(Default)]
pub(super) struct Failures {
    /// By event.
    pub refused: BTreeMap<usize, Vec<Refused>>,
    /// Events of which a record has no place, with the destination's words.
    pub no_place: BTreeMap<usize, (DestinationName, String)>,
    /// The first of these that became known.
    first: Option<usize>,
}

impl Failures {
    pub fn of(failures: Vec<(usize, Delivery)>) -> Failures {
        let mut found = Failures::default();
        for (index, delivery) in failures {
            match delivery {
                Delivery::Durable => {}
                Delivery::Refused {
                    destination,
                    detail,
                    record,
                } => found.refused.entry(index).or_default().push(Refused {
                    detail: format!("the destination {destination} refused the record: {detail}"),
                    destination,
                    record: *record,
                }),
                Delivery::NoPlace { destination, detail } => {
                    found.first.get_or_insert(index);
                    found.no_place.entry(index).or_insert((destination, detail));
                }
            }
        }
        found
    }
}

/// Never, as long as what is sent as JSON is JSON.
pub(super) fn unkept(error: &crate::json::ParseError) -> Problem {
    tracing::error!(%error, "a refused record cannot be kept");
    Problem::new(
        Code::Internal,
        "a destination refused an event, and it cannot be kept",
    )
}

impl Pipeline {
    /// Turns what the destinations said into outcomes; each record that was refused for good goes to quarantine, for
    /// that destination alone.
    pub(super) async fn settle(
        &self,
        steps: Vec<Step>,
        failures: Vec<(usize, Delivery)>,
        tallies: &mut Tallies<'_>,
    ) -> Result<Vec<EventResult>, Problem> {
        let Failures {
            mut refused,
            mut no_place,
            first,
        } = Failures::of(failures);
        if let Some((destination, detail)) = first.and_then(|first| no_place.remove(&first)) {
            tracing::warn!(%destination, detail, "a request was answered 503: no durable place is left");
            return Err(Problem::new(
                Code::NoDurablePlace,
                "neither the destination nor the spool can take the events now; send the whole request again",
            ));
        }
        let keeping = Acknowledgement::new(steps.len());
        let mut results = Vec::with_capacity(steps.len());
        let mut seen = Vec::new();
        for (index, step) in steps.into_iter().enumerate() {
            let outcome = match refused.remove(&index) {
                Some(refused) => self.keep_refused(index, refused, step.outcome, &keeping)?,
                None => step.outcome,
            };
            seen.extend(
                step.fingerprint
                    .filter(|_| !matches!(outcome, Outcome::Rejected(_))),
            );
            tallies.count(step.counted, &outcome);
            results.push(EventResult { id: step.id, outcome });
        }
        let unkept = Failures::of(keeping.failures().await).no_place.pop_first();
        if let Some((_, (destination, detail))) = unkept {
            tracing::warn!(%destination, detail, "a request was answered 503: refused records cannot be kept");
            return Err(Problem::new(
                Code::NoDurablePlace,
                "a destination refused an event and the quarantine cannot take it now; send the whole request again",
            ));
        }
        self.duplicates.remember(seen);
        Ok(results)
    }

    /// Keeps the refused records of one event; what its other destinations took they have. What was kept already, for
    /// a route that failed, stays what it is.
    fn keep_refused(
        &self,
        index: usize,
        refused: Vec<Refused>,
        outcome: Outcome,
        keeping: &Acknowledgement,
    ) -> Result<Outcome, Problem> {
        let mut said: Vec<String> = Vec::with_capacity(refused.len());
        for Refused {
            destination,
            detail,
            record,
        } in refused
        {
            let kept = Kept::refused(destination.to_string(), record, detail.clone());
            let kept = kept.map_err(|error| unkept(&error))?;
            let ticket = keeping.ticket(index);
            self.quarantine.keep(kept, steps::into_ticket(ticket));
            said.push(detail);
        }
        Ok(match outcome {
            Outcome::Quarantined(mut reason) => {
                reason.detail = format!("{}; {}", reason.detail, said.join("; "));
                Outcome::Quarantined(reason)
            }
            _ => Outcome::Quarantined(Reason::new(Code::DeliveryRefused, said.join("; "))),
        })
    }
}
