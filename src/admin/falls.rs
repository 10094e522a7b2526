//! Which events a schema is for, and what they would be checked by without it.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::{
    AdminState,
    references::{SchemaName, referrers},
};
use crate::{
    event::AppVersion,
    limits::CHECKED_EVENTS,
    recent::RecentFilter,
    registry::model::{SchemaKey, State},
};

/// What the deletion of a schema would do to the app versions that were seen lately.
#[derive(Serialize, ToSchema)]
pub struct Deletion {
    falls: Vec<Falls>,
    /// Schemas that refer to it: while there are any, it is deleted only with `force`.
    referred_by: Vec<SchemaName>,
}

/// An app version that falls to another schema.
#[derive(Serialize, ToSchema)]
pub struct Falls {
    partner: String,
    /// Absent: events that bring none.
    #[serde(rename = "appversion", skip_serializing_if = "Option::is_none")]
    app_version: Option<String>,
    /// Events seen by this node; of a schema for one source, those that it remembers.
    events: u64,
    /// `since` of the schema that would check it; absent: none, it would wait in quarantine.
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<String>,
}

/// `since` of the schema of `sinces`, ascending, that an app version leads to.
fn resolved<'s>(sinces: &[(AppVersion, &'s str)], app_version: Option<&str>) -> Option<&'s str> {
    match app_version.and_then(AppVersion::parse) {
        None => sinces.last().map(|(_, since)| *since),
        Some(version) => sinces
            .iter()
            .rev()
            .find(|(since, _)| *since <= version)
            .map(|(_, since)| *since),
    }
}

pub fn deletion(admin: &AdminState, state: &State, key: &SchemaKey) -> Deletion {
    let of_type = state.schemas.get(&key.event_type);
    let mut sinces: Vec<(AppVersion, &str)> = of_type
        .iter()
        .flat_map(|of_type| &of_type.schemas)
        .map(|known| &known.value.0)
        .filter(|known| known.source == key.source)
        .filter_map(|known| Some((AppVersion::parse(&known.since)?, known.since.as_str())))
        .collect();
    sinces.sort_by(|one, two| one.0.cmp(&two.0));
    let left: Vec<_> = sinces
        .iter()
        .filter(|(_, since)| *since != key.since)
        .cloned()
        .collect();
    let falls = seen(admin, key)
        .into_iter()
        .filter(|((_, version), _)| resolved(&sinces, version.as_deref()) == Some(&key.since))
        .map(|((partner, app_version), events)| Falls {
            to: resolved(&left, app_version.as_deref()).map(str::to_owned),
            partner,
            app_version,
            events,
        })
        .collect();
    Deletion {
        falls,
        referred_by: referrers(admin, state, key),
    }
}

/// Partners and app versions with their number of events.
fn seen(admin: &AdminState, key: &SchemaKey) -> BTreeMap<(String, Option<String>), u64> {
    let mut counts = BTreeMap::new();
    match &key.source {
        None => {
            for version in admin.recent.versions(&key.event_type) {
                counts.insert((version.partner.to_string(), version.app_version), version.events);
            }
        }
        Some(source) => {
            let filter = RecentFilter {
                event_type: Some(key.event_type.to_string()),
                source: Some(source.clone()),
                ..RecentFilter::default()
            };
            for event in admin.recent.events(&filter, None, CHECKED_EVENTS) {
                let place = (event.partner.to_string(), event.attributes.app_version.clone());
                *counts.entry(place).or_default() += 1;
            }
        }
    }
    counts
}
