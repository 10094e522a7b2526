//! What would become of a request's events, with nothing kept, sent or remembered.

use super::{Pipeline, Tables};
use crate::{
    event::{Decoded, EventResult, Outcome, Undecoded},
    problem::Code,
    registry::model::Policy,
    transform::Purpose,
};

impl Pipeline {
    pub(super) fn forecast(
        &self,
        tables: &Tables,
        events: Vec<Result<Decoded, Undecoded>>,
    ) -> Vec<EventResult> {
        events
            .into_iter()
            .map(|event| match event {
                Ok(event) => EventResult {
                    id: Some(event.attributes.id.clone()),
                    outcome: self.forecast_one(tables, event),
                },
                Err(Undecoded { id, reason }) => EventResult {
                    id,
                    outcome: Outcome::Rejected(reason),
                },
            })
            .collect()
    }

    fn forecast_one(&self, tables: &Tables, event: Decoded) -> Outcome {
        if !event.id_generated && self.duplicates.knows(self.duplicates.fingerprint(&event)) {
            return Outcome::Duplicate;
        }
        let validated = match tables.schemas.check(event) {
            Ok(validated) => validated,
            Err(refused) => {
                let (event, reason) = *refused;
                let rejects =
                    reason.code == Code::SchemaViolation && tables.policy(&event.partner) == Policy::Reject;
                return if rejects {
                    Outcome::Rejected(reason)
                } else {
                    Outcome::Quarantined(reason)
                };
            }
        };
        match self.route(tables, &validated, None, Purpose::Again, None).failed {
            None => Outcome::Accepted,
            Some((_, reason)) => Outcome::Quarantined(reason),
        }
    }
}
