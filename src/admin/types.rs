//! `/v1/types`.

use axum::{body::Body, extract::State as Extract};
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    AdminState,
    answer::{Answer, not_found, put_status, resource},
    body::{Names, named, read_json},
    caller::{Caller, Publisher, Viewer},
    input::{Faults, Input},
    listing::{Listing, Query, page_of},
    partners::DESCRIPTION_CHARACTERS_MAX,
    precondition::{Precondition, decide_put},
};
use crate::{
    event::EventType,
    json::pointer_tokens,
    limits::{ATTRIBUTE_BYTES, MASK_POINTERS},
    problem::{Problem, ProblemBody},
    registry::model::{Change, TypeEntry},
};

/// A type's entry with its name.
#[derive(Serialize, ToSchema)]
pub struct NamedType {
    #[serde(rename = "type")]
    #[schema(value_type = String)]
    event_type: EventType,
    #[serde(flatten)]
    entry: TypeEntry,
}

/// List the types that have an entry; a type needs none.
#[utoipa::path(get, path = "/v1/types", tag = "types", operation_id = "list_types",
    params(("limit" = Option<u16>, Query, minimum = 1, maximum = 1000), ("after" = Option<String>, Query)),
    responses((status = 200, body = Listing<NamedType>), (status = "4XX", body = ProblemBody)))]
pub async fn list(_caller: Caller<Viewer>, Extract(admin): Extract<AdminState>, query: Query) -> Answer {
    let page = page_of(query)?;
    let state = admin.registry.state();
    let listing = page.of_map(&state.types, |event_type, known| {
        Some(NamedType {
            event_type: event_type.clone(),
            entry: known.value.clone(),
        })
    });
    listing.answer()
}

/// A type's entry.
#[utoipa::path(get, path = "/v1/types/{type}", tag = "types", operation_id = "get_type",
    params(("type" = String, Path)),
    responses((status = 200, body = TypeEntry), (status = "4XX", body = ProblemBody)))]
pub async fn get(
    _caller: Caller<Viewer>,
    Extract(admin): Extract<AdminState>,
    Names(name): Names<String>,
) -> Answer {
    let state = admin.registry.state();
    let known = state
        .types
        .get(name.as_str())
        .ok_or_else(|| not_found("entry of the type", &name))?;
    resource(StatusCode::OK, known.sequence, &known.value)
}

/// Describe a type, and say what is enforced between its schemas.
#[utoipa::path(put, path = "/v1/types/{type}", tag = "types", operation_id = "put_type",
    params(("type" = String, Path), ("If-Match" = Option<String>, Header)),
    request_body = TypeEntry,
    responses((status = 200, body = TypeEntry), (status = 201, body = TypeEntry), (status = "4XX", body = ProblemBody)))]
pub async fn put(
    caller: Caller<Publisher>,
    Extract(admin): Extract<AdminState>,
    Names(name): Names<String>,
    precondition: Precondition,
    body: Body,
) -> Answer {
    let event_type: EventType = named(&name)?;
    let entry = read(&read_json(body).await?)?;
    let wanted = entry.clone();
    let committed = admin
        .registry
        .commit(&caller.name, move |state| {
            decide_put(state.types.get(&event_type), &precondition, &wanted, || {
                Change::PutType {
                    event_type: event_type.clone(),
                    entry: wanted.clone(),
                }
            })
        })
        .await?;
    let put = committed.outcome;
    resource(
        put_status(put.created),
        put.sequence(committed.state.sequence),
        &entry,
    )
}

fn read(value: &serde_json::Value) -> Result<TypeEntry, Problem> {
    let faults = Faults::default();
    let mut entry = TypeEntry::default();
    const MEMBERS: [&str; 4] = ["description", "compatibility", "mask", "unreadable_version"];
    if let Some(members) = Input::root(value, &faults).members(&MEMBERS) {
        let description = members.get("description").text(DESCRIPTION_CHARACTERS_MAX);
        entry.description = description.unwrap_or_default().to_owned();
        let compatibility = members.get("compatibility");
        entry.compatibility = compatibility
            .choice(&["none", "backward", "forward", "full"])
            .unwrap_or_default();
        let unreadable_version = members.get("unreadable_version");
        entry.unreadable_version = unreadable_version
            .choice(&["latest", "quarantine"])
            .unwrap_or_default();
        for pointer in members.get("mask").elements(MASK_POINTERS) {
            if let Some(text) = pointer.text(ATTRIBUTE_BYTES) {
                match pointer_tokens(text) {
                    Ok(_) => entry.mask.push(text.to_owned()),
                    Err(error) => pointer.fault(error.to_string()),
                }
            }
        }
    }
    faults.into_result()?;
    Ok(entry)
}
