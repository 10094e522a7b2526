//! What a registration comes to: which schemas a new one is compared with, and whether it is taken.

use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::precondition::Precondition;
use crate::{
    event::{AppVersion, EventType},
    problem::{Code, Problem},
    registry::model::{Change, Compatibility, Digest, Schema, SchemaKey, State, Versioned},
};

pub type Known = Arc<Versioned<(SchemaKey, Schema)>>;

/// Whether one schema accepts all that another accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Yes,
    Unknown,
}

/// How a schema compares with a neighbour, or with the text that it replaces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Comparison {
    /// `since` of the other.
    with: String,
    /// The later accepts all that the earlier accepts.
    backward: Verdict,
    /// The earlier accepts all that the later accepts.
    forward: Verdict,
}

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

impl Proposal {
    /// The change to be written, none where the same is registered already.
    ///
    /// # Errors
    ///
    /// 409 where what is enforced is not proved, 412 where the precondition does not hold.
    pub fn decide(
        &self,
        state: &State,
        precondition: &Precondition,
    ) -> Result<(Option<Change>, Registered), Problem> {
        let of_type = state.schemas.get(&self.key.event_type);
        let known = of_type.and_then(|of_type| of_type.find(&self.key));
        precondition.check(known.map(|known| known.sequence))?;
        match known {
            Some(known) => self.replace(known),
            None => self.add(state),
        }
    }

    fn replace(&self, known: &Known) -> Result<(Option<Change>, Registered), Problem> {
        let (key, schema) = &known.value;
        let comparison = self.compare(known);
        if comparison.backward == Verdict::Yes {
            let registered = Registered {
                created: false,
                unchanged: Some(known.sequence),
                view: view(key, schema, vec![comparison]),
            };
            return Ok((None, registered));
        }
        if !self.force {
            return Err(Problem::new(
                Code::CompatibilityUnknown,
                format!(
                    "{}@{} is registered with another text, and it is not proved that the new one accepts all that \
                     the old one accepts; register it for a later version, or give force=true as an operator",
                    key.event_type, key.since
                ),
            ));
        }
        Ok(self.registered(key.clone(), vec![comparison], false, true))
    }

    fn add(&self, state: &State) -> Result<(Option<Change>, Registered), Problem> {
        let comparisons: Vec<Comparison> = self.neighbours(state).map(|known| self.compare(known)).collect();
        let entry = state.types.get(&self.key.event_type);
        let enforced = entry.map(|entry| entry.value.compatibility).unwrap_or_default();
        let unproved = comparisons
            .iter()
            .find(|comparison| !comparison.satisfies(enforced));
        let forced = unproved.is_some();
        match unproved {
            Some(comparison) if !self.force => Err(Problem::new(
                Code::CompatibilityUnknown,
                format!(
                    "the type enforces {} compatibility, and it is not proved with {}@{}; give force=true as an \
                     operator to register it all the same",
                    format!("{enforced:?}").to_lowercase(),
                    self.key.event_type,
                    comparison.with
                ),
            )),
            _ => Ok(self.registered(self.key.clone(), comparisons, true, forced)),
        }
    }

    fn registered(
        &self,
        key: SchemaKey,
        comparisons: Vec<Comparison>,
        created: bool,
        forced: bool,
    ) -> (Option<Change>, Registered) {
        let registered = Registered {
            created,
            unchanged: None,
            view: view(&key, &self.schema, comparisons),
        };
        let schema = self.schema.clone();
        (Some(Change::PutSchema { key, schema, forced }), registered)
    }

    /// The versions right before and right after, of the same source.
    fn neighbours<'s>(&self, state: &'s State) -> impl Iterator<Item = &'s Known> + use<'s> {
        let since = AppVersion::parse(&self.key.since);
        let mut before: Option<&Known> = None;
        let mut after: Option<&Known> = None;
        let of_type = state.schemas.get(&self.key.event_type);
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
        before.into_iter().chain(after)
    }

    /// Schemas that are the same JSON accept the same; of others nothing is proved.
    fn compare(&self, known: &Known) -> Comparison {
        let (key, schema) = &known.value;
        let same = serde_json::from_str::<Value>(&schema.text).is_ok_and(|text| text == self.value);
        let verdict = if same { Verdict::Yes } else { Verdict::Unknown };
        Comparison {
            with: key.since.clone(),
            backward: verdict,
            forward: verdict,
        }
    }
}

impl Comparison {
    fn satisfies(&self, enforced: Compatibility) -> bool {
        let backward = self.backward == Verdict::Yes;
        let forward = self.forward == Verdict::Yes;
        match enforced {
            Compatibility::None => true,
            Compatibility::Backward => backward,
            Compatibility::Forward => forward,
            Compatibility::Full => backward && forward,
        }
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
