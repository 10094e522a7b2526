//! How a schema compares with its neighbours: what is asked of the prover, and how the answer is shown.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{AdminState, falls::fate, recent::mask_of};
use crate::{
    event::EventType,
    recent::{RecentEvent, RecentFilter, masked},
    registry::model::{Compatibility, SchemaKey, State},
    validate::{
        Outlook,
        compatibility::{Answer, Report, Verdict as Proved},
    },
};

/// Recent events that a comparison tries where no proof is found.
const EVENTS_TRIED: usize = 100;

/// Whether one schema accepts all that another accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Yes,
    No,
    Unknown,
}

/// What is accepted on one side and refused on the other.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct RefusedValues {
    /// A schema of such values: of all, or of those that the example is one of.
    #[schema(value_type = Object)]
    schema: Value,
    /// Accepted by the one, refused by the other; both were asked.
    #[schema(value_type = Value)]
    example: Value,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct Refuses {
    /// What the earlier accepts and the later refuses.
    #[serde(skip_serializing_if = "Option::is_none")]
    backward: Option<RefusedValues>,
    /// What the later accepts and the earlier refuses.
    #[serde(skip_serializing_if = "Option::is_none")]
    forward: Option<RefusedValues>,
}

/// For each `unknown`: the part that could not be decided.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct Undecided {
    #[serde(skip_serializing_if = "Option::is_none")]
    backward: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    forward: Option<String>,
}

/// How a schema compares with a neighbour, or with the text that it replaces.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Comparison {
    /// `since` of the other.
    pub with: String,
    /// The later accepts all that the earlier accepts.
    pub backward: Verdict,
    /// The earlier accepts all that the later accepts.
    pub forward: Verdict,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refuses: Option<Refuses>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undecided: Option<Undecided>,
}

impl Comparison {
    /// `report` is of `old` and `new` as they follow each other in versions.
    pub fn new(with: String, report: &Report) -> Comparison {
        let difference = |answer: &Answer| {
            answer.refusal.clone().map(|refusal| RefusedValues {
                schema: refusal.schema,
                example: refusal.example,
            })
        };
        let refuses = Refuses {
            backward: difference(&report.backward),
            forward: difference(&report.forward),
        };
        let undecided = Undecided {
            backward: report.backward.undecided.clone(),
            forward: report.forward.undecided.clone(),
        };
        Comparison {
            with,
            backward: verdict(&report.backward),
            forward: verdict(&report.forward),
            refuses: (refuses != Refuses::default()).then_some(refuses),
            undecided: (undecided != Undecided::default()).then_some(undecided),
        }
    }

    /// The first verdict that `enforced` wants otherwise.
    pub fn breaks(&self, enforced: Compatibility) -> Option<Verdict> {
        let wanted: &[Verdict] = match enforced {
            Compatibility::None => &[],
            Compatibility::Backward => &[self.backward],
            Compatibility::Forward => &[self.forward],
            Compatibility::Full => &[self.backward, self.forward],
        };
        let broken = |verdict: Verdict| wanted.contains(&verdict).then_some(verdict);
        broken(Verdict::No).or_else(|| broken(Verdict::Unknown))
    }
}

fn verdict(answer: &Answer) -> Verdict {
    match answer.verdict {
        Proved::Yes => Verdict::Yes,
        Proved::No => Verdict::No,
        Proved::Unknown => Verdict::Unknown,
    }
}

/// Recent data of the schemas' type, as values: first those that one of the two is asked about. What the type masks is
/// hidden, since a refusal shows one whole.
pub fn recent_values(
    admin: &AdminState,
    state: &State,
    outlook: &Outlook,
    keys: [&SchemaKey; 2],
) -> Vec<Value> {
    let [SchemaKey { event_type, .. }, _] = keys;
    let filter = RecentFilter {
        event_type: Some(event_type.to_string()),
        ..RecentFilter::default()
    };
    let is_asked_about = |event: &RecentEvent| {
        let attributes = &event.attributes;
        fate(outlook, &attributes.source, attributes.app_version.as_deref())
            .is_ok_and(|key| keys.contains(&key))
    };
    let mut events = admin.recent.events(&filter, None, usize::MAX);
    // Stable: in each part the newest stay first.
    events.sort_by_cached_key(|event| !is_asked_about(event));
    events.truncate(EVENTS_TRIED);
    let mask = mask_of(state, event_type);
    events
        .iter()
        .filter_map(|event| serde_json::from_slice(&masked(&event.data, mask)).ok())
        .collect()
}

/// What the type enforces.
pub fn enforced(state: &State, event_type: &EventType) -> Compatibility {
    let entry = state.types.get(event_type);
    entry.map(|entry| entry.value.compatibility).unwrap_or_default()
}
