//! By which schema events would be checked after a change, told by the app versions that were seen lately.

use std::{collections::BTreeMap, sync::Arc};

use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    event::EventType,
    problem::Code,
    recent::{Recent, RecentFilter},
    registry::model::{SchemaKey, State, TypeSchemas},
    validate::{Outlook, Resolution},
};

/// An app version that falls to another schema.
#[derive(Serialize, ToSchema)]
pub struct Falls {
    partner: String,
    /// Absent: events that bring none.
    #[serde(rename = "appversion", skip_serializing_if = "Option::is_none")]
    app_version: Option<String>,
    /// Events seen by this node; where schemas of the type are for one source, those that it remembers.
    events: u64,
    /// `since` of the schema that would check it; absent: none, it would wait in quarantine.
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<String>,
    /// For which source that schema is; absent: for any.
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    /// Why it would wait, where `to` is absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    code: Option<Code>,
}

/// Which schema checks an event, or why none does.
type Fate<'o> = Result<&'o SchemaKey, Code>;

/// By which schema an event would be checked.
pub fn fate<'o>(outlook: &'o Outlook, source: &str, app_version: Option<&str>) -> Fate<'o> {
    match outlook.resolve(source, app_version) {
        Resolution::Found(schema, _) => Ok(schema.key()),
        Resolution::TypeUnknown => Err(Code::SchemaUnknown),
        Resolution::BelowAll { .. } => Err(Code::VersionUnknown),
        Resolution::Unreadable => Err(Code::VersionUnreadable),
    }
}

/// Where events of the type go with these schemas.
pub fn outlook(state: &State, event_type: &EventType, schemas: Option<&Arc<TypeSchemas>>) -> Outlook {
    Outlook::new(event_type, schemas, state.types.get(event_type))
}

/// Where an event goes `after`, if that is elsewhere than `before`; what has no schema both times goes nowhere.
fn moves<'o>([before, after]: [&'o Outlook; 2], source: &str, app_version: Option<&str>) -> Option<Fate<'o>> {
    let (from, to) = (
        fate(before, source, app_version),
        fate(after, source, app_version),
    );
    (from != to && (from.is_ok() || to.is_ok())).then_some(to)
}

/// What was seen lately and goes elsewhere `after` than `before`. All events that are remembered may be looked at: not for
/// a thread that serves others.
pub fn falls(recent: &Recent, event_type: &EventType, before: &Outlook, after: &Outlook) -> Vec<Falls> {
    let both = [before, after];
    let mut counts: BTreeMap<(String, Option<String>, Fate<'_>), u64> = BTreeMap::new();
    if before.asks_for_source() || after.asks_for_source() {
        let filter = RecentFilter {
            event_type: Some(event_type.to_string()),
            ..RecentFilter::default()
        };
        for event in recent.events(&filter, None, usize::MAX) {
            let attributes = &event.attributes;
            if let Some(to) = moves(both, &attributes.source, attributes.app_version.as_deref()) {
                let place = (event.partner.to_string(), attributes.app_version.clone(), to);
                *counts.entry(place).or_default() += 1;
            }
        }
    } else {
        for seen in recent.versions(event_type) {
            if let Some(to) = moves(both, "", seen.app_version.as_deref()) {
                let place = (seen.partner.to_string(), seen.app_version, to);
                *counts.entry(place).or_default() += seen.events;
            }
        }
    }
    let rows = counts
        .into_iter()
        .map(|((partner, app_version, to), events)| Falls {
            partner,
            app_version,
            events,
            to: to.ok().map(|key| key.since.clone()),
            source: to.ok().and_then(|key| key.source.clone()),
            code: to.err(),
        });
    rows.collect()
}
