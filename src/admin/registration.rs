//! What a registration comes to: which schemas a new one is compared with, and whether it is taken.

use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{
    compatibility::{Comparison, Neighbour, Reports, Verdict, enforced},
    precondition::Precondition,
};
use crate::{
    event::{AppVersion, EventType},
    problem::{Code, Problem},
    registry::model::{Change, Compatibility, Digest, Schema, SchemaKey, State, Versioned},
};

pub type Known = Arc<Versioned<(SchemaKey, Schema)>>;

/// A schema that was registered.
#[derive(Serialize, ToSchema)]
pub struct RegisteredSchema {
    #[serde(rename = "type")]
    #[schema(value_type = String)]
    event_type: EventType,
    since: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    #[schema(value_type = String)]
    digest: Digest,
    compatibility: Vec<Comparison>,
}

/// A schema that somebody wants registered.
pub struct Proposal {
    pub key: SchemaKey,
    pub schema: Schema,
    /// The schema's text, parsed.
    pub value: Value,
    pub force: bool,
}

/// What is answered to a registration.
pub struct Registered {
    pub created: bool,
    /// The entry that last changed the schema, where it is the same already.
    pub unchanged: Option<u64>,
    pub view: RegisteredSchema,
}

/// Why a registration was not decided.
pub enum Undecided {
    Refused(Problem),
    /// The registry holds other neighbours than those that the text was compared with.
    NeighboursChanged,
}

impl From<Problem> for Undecided {
    fn from(problem: Problem) -> Undecided {
        Undecided::Refused(problem)
    }
}

/// What stands in the way of a text, and by which code it is refused.
fn code(verdict: Verdict) -> Code {
    match verdict {
        Verdict::No => Code::SchemaIncompatible,
        _ => Code::CompatibilityUnknown,
    }
}

impl Proposal {
    /// The text that this one replaces, or the versions right before and right after, of the same source.
    pub fn neighbours(&self, state: &State) -> Vec<Neighbour> {
        let of_type = state.schemas.get(&self.key.event_type);
        if let Some(known) = of_type.and_then(|of_type| of_type.find(&self.key)) {
            return vec![Neighbour {
                known: Arc::clone(known),
                is_earlier: true,
            }];
        }
        let since = AppVersion::parse(&self.key.since);
        let mut before: Option<&Known> = None;
        let mut after: Option<&Known> = None;
        let version = |known: &Known| AppVersion::parse(&known.value.0.since);
        for known in of_type.iter().flat_map(|of_type| &of_type.schemas) {
            if known.value.0.source != self.key.source {
                continue;
            }
            if version(known) < since {
                before = before
                    .filter(|best| version(best) > version(known))
                    .or(Some(known));
            } else {
                after = after
                    .filter(|best| version(best) < version(known))
                    .or(Some(known));
            }
        }
        let neighbour = |known: &Known, is_earlier| Neighbour {
            known: Arc::clone(known),
            is_earlier,
        };
        before
            .map(|known| neighbour(known, true))
            .into_iter()
            .chain(after.map(|known| neighbour(known, false)))
            .collect()
    }

    /// How it compares with its neighbours; none where one of them was not compared.
    pub fn comparisons(&self, state: &State, reports: &Reports) -> Option<Vec<Comparison>> {
        self.neighbours(state)
            .iter()
            .map(|neighbour| {
                let report = reports.of(neighbour)?;
                Some(Comparison::new(neighbour.known.value.0.since.clone(), report))
            })
            .collect()
    }

    /// Whether the text may be registered; 409 where what is enforced does not hold.
    pub fn judge(&self, state: &State, comparisons: &[Comparison]) -> Result<(), Problem> {
        let SchemaKey {
            event_type, since, ..
        } = &self.key;
        let of_type = state.schemas.get(event_type);
        let replaced = of_type.and_then(|of_type| of_type.find(&self.key));
        let (enforced, replaced) = match replaced {
            Some(known) => (Compatibility::Backward, Some(&known.value.0.since)),
            None => (enforced(state, event_type), None),
        };
        let broken = comparisons
            .iter()
            .filter_map(|comparison| Some((comparison, comparison.breaks(enforced)?)))
            .min_by_key(|(_, verdict)| *verdict == Verdict::Unknown);
        let Some((comparison, verdict)) = broken else {
            return Ok(());
        };
        let enforced = format!("{enforced:?}").to_lowercase();
        let detail = match (replaced, verdict) {
            (Some(since), Verdict::No) => format!(
                "{event_type}@{since} would refuse what it accepts now; register the text for a later version, or \
                 give force=true as an operator"
            ),
            (Some(since), _) => format!(
                "{event_type}@{since} is registered with another text, and it is not proved that the new one accepts \
                 all that the old one accepts; register it for a later version, or give force=true as an operator"
            ),
            (None, Verdict::No) => format!(
                "the type enforces {enforced} compatibility, and {since} does not have it with {event_type}@{}; mend \
                 the text, or give force=true as an operator to register it all the same",
                comparison.with
            ),
            (None, _) => format!(
                "the type enforces {enforced} compatibility, and it is not proved with {event_type}@{}; give \
                 force=true as an operator to register it all the same",
                comparison.with
            ),
        };
        let mut problem = Problem::new(code(verdict), detail);
        problem.compatibility = serde_json::to_value(comparisons).ok().map(Box::new);
        Err(problem)
    }

    /// The change to be written, none where the same is registered already.
    ///
    /// # Errors
    ///
    /// 409 where what is enforced is not proved, 412 where the precondition does not hold.
    pub fn decide(
        &self,
        state: &State,
        precondition: &Precondition,
        reports: &Reports,
    ) -> Result<(Option<Change>, Registered), Undecided> {
        let of_type = state.schemas.get(&self.key.event_type);
        let known = of_type.and_then(|of_type| of_type.find(&self.key));
        precondition.check(known.map(|known| known.sequence))?;
        let comparisons = self
            .comparisons(state, reports)
            .ok_or(Undecided::NeighboursChanged)?;
        if let Some(known) = known {
            let (key, schema) = &known.value;
            let same = serde_json::from_str::<Value>(&schema.text).is_ok_and(|text| text == self.value);
            if same {
                let registered = Registered {
                    created: false,
                    unchanged: Some(known.sequence),
                    view: view(key, schema, comparisons),
                };
                return Ok((None, registered));
            }
        }
        let judged = self.judge(state, &comparisons);
        let forced = judged.is_err();
        if !self.force {
            judged?;
        }
        let key = known.map_or(&self.key, |known| &known.value.0).clone();
        let registered = Registered {
            created: known.is_none(),
            unchanged: None,
            view: view(&key, &self.schema, comparisons),
        };
        let schema = self.schema.clone();
        Ok((Some(Change::PutSchema { key, schema, forced }), registered))
    }
}

fn view(key: &SchemaKey, schema: &Schema, compatibility: Vec<Comparison>) -> RegisteredSchema {
    RegisteredSchema {
        event_type: key.event_type.clone(),
        since: key.since.clone(),
        source: key.source.clone(),
        digest: schema.digest,
        compatibility,
    }
}
