//! `/v1/schemas/{type}/{since}/references`: what a schema refers to, and what refers to it.

use axum::extract::State as Extract;
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    AdminState,
    answer::{Answer, json},
    body::Names,
    caller::{Caller, Viewer},
    listing::Query,
    schemas::{find, source_of},
};
use crate::{
    event::EventType,
    problem::ProblemBody,
    registry::model::{SchemaKey, State},
};

/// A schema by its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct SchemaName {
    #[serde(rename = "type")]
    #[schema(value_type = String)]
    event_type: EventType,
    since: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
}

/// How a schema is bound to others.
#[derive(Serialize, ToSchema)]
pub struct Bonds {
    /// The URIs that it refers to, without fragments.
    refers_to: Vec<String>,
    /// The schemas that refer to it themselves.
    referred_by: Vec<SchemaName>,
}

/// What a schema refers to, and what refers to it.
#[utoipa::path(get, path = "/v1/schemas/{type}/{since}/references", tag = "schemas", operation_id = "get_references",
    params(("type" = String, Path), ("since" = String, Path), ("source" = Option<String>, Query)),
    responses((status = 200, body = Bonds), (status = "4XX", body = ProblemBody)))]
pub async fn get(
    _caller: Caller<Viewer>,
    Extract(admin): Extract<AdminState>,
    Names((event_type, since)): Names<(String, String)>,
    query: Query,
) -> Answer {
    let source = source_of(query)?;
    let state = admin.registry.state();
    let key = &find(&state, &event_type, &since, source)?.value.0;
    let bonds = Bonds {
        refers_to: admin.references(&state).referred(key),
        referred_by: referrers(&admin, &state, key),
    };
    json(StatusCode::OK, &bonds)
}

pub fn referrers(admin: &AdminState, state: &State, key: &SchemaKey) -> Vec<SchemaName> {
    let referrers = admin.references(state).referrers(key);
    referrers.into_iter().map(SchemaName::from).collect()
}

impl From<SchemaKey> for SchemaName {
    fn from(key: SchemaKey) -> SchemaName {
        SchemaName {
            event_type: key.event_type,
            since: key.since,
            source: key.source,
        }
    }
}
