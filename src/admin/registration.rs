//! Whether a registration is taken, and what is answered to it.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{
    AdminState,
    compatibility::{Comparison, Verdict},
    precondition::Precondition,
    review::{Findings, Pair, Plan, Planned, find},
};
use crate::{
    event::EventType,
    problem::{Code, Problem},
    registry::model::{Change, Digest, KeyedSchema, Schema, SchemaKey, State},
};

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

/// A schema that refers to what was registered, and so accepts something else now.
#[derive(Clone, Serialize, ToSchema)]
pub struct DependentSchema {
    #[serde(rename = "type")]
    #[schema(value_type = String)]
    event_type: EventType,
    since: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    /// With what it accepted before, and with its neighbours where its type enforces a compatibility.
    compatibility: Vec<Comparison>,
}

/// What was registered, and what that does to others.
#[derive(Serialize, ToSchema)]
pub struct Registration {
    #[serde(flatten)]
    registered: RegisteredSchema,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    dependents: Vec<DependentSchema>,
}

/// Schemas that were registered at once, in the order in which they were given.
#[derive(Serialize, ToSchema)]
pub struct Registrations {
    schemas: Vec<RegisteredSchema>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    dependents: Vec<DependentSchema>,
}

/// A schema that somebody wants registered.
pub struct Proposal {
    pub key: SchemaKey,
    pub schema: Schema,
    /// The schema's text, parsed.
    pub value: Value,
}

impl Proposal {
    /// Whether the same is registered already, in whatever spelling.
    pub fn is_registered(&self, state: &State) -> bool {
        find(&state.schemas, &self.key).is_some_and(|known| {
            serde_json::from_str::<Value>(&known.value.1.text).is_ok_and(|text| text == self.value)
        })
    }
}

/// What is answered to a registration.
pub struct Decided {
    /// Whether all of them are new.
    pub created: bool,
    /// The entry that last changed the schema, where all of them are registered already.
    pub unchanged: Option<u64>,
    pub schemas: Vec<RegisteredSchema>,
    pub dependents: Vec<DependentSchema>,
}

impl Decided {
    pub fn one(self) -> Option<Registration> {
        let registered = self.schemas.into_iter().next()?;
        Some(Registration {
            registered,
            dependents: self.dependents,
        })
    }

    pub fn all(self) -> Registrations {
        Registrations {
            schemas: self.schemas,
            dependents: self.dependents,
        }
    }
}

/// Why a registration was not decided.
pub enum Undecided {
    Refused(Problem),
    /// The registry holds something else than what the findings are about.
    RegistryChanged,
}

impl From<Problem> for Undecided {
    fn from(problem: Problem) -> Undecided {
        Undecided::Refused(problem)
    }
}

/// The change to be written, none where all is registered already.
///
/// # Errors
///
/// 409 where what is enforced is not proved, 412 where the precondition does not hold.
pub fn decide(
    admin: &AdminState,
    state: &State,
    proposals: &[Proposal],
    precondition: &Precondition,
    findings: &Findings,
    force: bool,
) -> Result<(Option<Change>, Decided), Undecided> {
    let plan = Plan::of(admin, state, proposals)?;
    if let [only] = &plan.registered[..] {
        precondition.check(only.sequence)?;
    }
    if !plan.is_answered(findings) {
        return Err(Undecided::RegistryChanged);
    }
    let judged = judge(&plan, findings);
    let forced = judged.is_err();
    if !force {
        judged?;
    }
    let decided = Decided {
        created: plan.registered.iter().all(|planned| planned.sequence.is_none()),
        unchanged: plan
            .registered
            .iter()
            .all(|planned| planned.is_unchanged)
            .then(|| {
                plan.registered
                    .iter()
                    .filter_map(|planned| planned.sequence)
                    .max()
            })
            .flatten(),
        schemas: plan
            .registered
            .iter()
            .map(|planned| view(planned, findings))
            .collect(),
        dependents: dependents(&plan, findings),
    };
    let changed = plan
        .registered
        .into_iter()
        .filter(|planned| !planned.is_unchanged);
    let mut schemas: Vec<KeyedSchema> = changed
        .map(|planned| KeyedSchema {
            key: planned.whole.key,
            schema: planned.whole.schema,
        })
        .collect();
    let change = match schemas.len() {
        0 => None,
        1 => schemas
            .pop()
            .map(|KeyedSchema { key, schema }| Change::PutSchema { key, schema, forced }),
        _ => Some(Change::PutSchemas { schemas, forced }),
    };
    Ok((change, decided))
}

/// Whether it may be registered without force.
///
/// # Errors
///
/// 409 where what is enforced does not hold, for a schema itself or for one that refers to it; 422 where an upgrade
/// would not do any more.
pub fn judge(plan: &Plan, findings: &Findings) -> Result<(), Problem> {
    let broken = |planned: &Planned| {
        let broken = planned
            .pairs
            .iter()
            .filter_map(|pair| {
                let comparison = Comparison::new(pair.with.clone(), findings.report(pair)?);
                Some((
                    pair.is_replacement,
                    pair.enforced,
                    comparison.breaks(pair.enforced)?,
                    comparison.with,
                ))
            })
            .min_by_key(|(_, _, verdict, _)| *verdict == Verdict::Unknown);
        broken.map(|broken| (planned.whole.key.clone(), broken, comparisons(planned, findings)))
    };
    let own = plan
        .registered
        .iter()
        .find_map(broken)
        .map(|broken| (broken, false));
    let others = || {
        plan.dependents
            .iter()
            .find_map(broken)
            .map(|broken| (broken, true))
    };
    if let Some(((key, (is_replacement, enforced, verdict, with), comparisons), is_dependent)) =
        own.or_else(others)
    {
        let enforced = format!("{enforced:?}").to_lowercase();
        let what = broken_promise(&key, &with, &enforced, (is_dependent, is_replacement, verdict));
        let code = match verdict {
            Verdict::No => Code::SchemaIncompatible,
            _ => Code::CompatibilityUnknown,
        };
        let mut problem = Problem::new(code, what);
        problem.compatibility = serde_json::to_value(comparisons).ok().map(Box::new);
        return Err(problem);
    }
    if let Some((key, problem)) = plan.broken_upgrade(findings) {
        let detail = format!(
            "the upgrade to {}@{} would not do any more: {}",
            key.event_type, key.since, problem.detail
        );
        return Err(Problem::new(Code::UpgradeRefused, detail).with_errors(problem.errors.clone()));
    }
    Ok(())
}

/// What would not hold any more, and what to do: `is_dependent`, whether it is the text that replaces another, and what
/// was found.
fn broken_promise(
    key: &SchemaKey,
    with: &str,
    enforced: &str,
    (is_dependent, is_replacement, verdict): (bool, bool, Verdict),
) -> String {
    let name = format!("{}@{}", key.event_type, key.since);
    match (is_dependent, is_replacement, verdict) {
        (false, true, Verdict::No) => format!(
            "{name} would refuse what it accepts now; register the text for a later version, or give force=true \
             as an operator"
        ),
        (false, true, _) => format!(
            "{name} is registered with another text, and it is not proved that the new one accepts all that the \
             old one accepts; register it for a later version, or give force=true as an operator"
        ),
        (false, false, Verdict::No) => format!(
            "the type enforces {enforced} compatibility, and {} does not have it with {}@{with}; mend the text, \
             or give force=true as an operator to register it all the same",
            key.since, key.event_type
        ),
        (false, false, _) => format!(
            "the type enforces {enforced} compatibility, and it is not proved with {}@{with}; give force=true as \
             an operator to register it all the same",
            key.event_type
        ),
        (true, true, Verdict::No) => format!(
            "{name} refers to it, and would refuse what it accepts now; register the text for a later version, \
             or give force=true as an operator"
        ),
        (true, false, Verdict::No) => format!(
            "{name} refers to it, and would lose the {enforced} compatibility with {}@{with} that its type \
             enforces; give force=true as an operator to register it all the same",
            key.event_type
        ),
        (true, _, _) => format!(
            "{name} refers to it, and its {enforced} compatibility with {with} is not proved; give force=true as \
             an operator to register it all the same"
        ),
    }
}

pub fn comparisons(planned: &Planned, findings: &Findings) -> Vec<Comparison> {
    let comparison = |pair: &Pair| Some(Comparison::new(pair.with.clone(), findings.report(pair)?));
    planned.pairs.iter().filter_map(comparison).collect()
}

pub fn dependents(plan: &Plan, findings: &Findings) -> Vec<DependentSchema> {
    let view = |planned: &Planned| DependentSchema {
        event_type: planned.whole.key.event_type.clone(),
        since: planned.whole.key.since.clone(),
        source: planned.whole.key.source.clone(),
        compatibility: comparisons(planned, findings),
    };
    plan.dependents.iter().map(view).collect()
}

fn view(planned: &Planned, findings: &Findings) -> RegisteredSchema {
    let key = &planned.whole.key;
    RegisteredSchema {
        event_type: key.event_type.clone(),
        since: key.since.clone(),
        source: key.source.clone(),
        digest: planned.whole.schema.digest,
        compatibility: comparisons(planned, findings),
    }
}
