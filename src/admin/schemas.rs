//! `/v1/schemas`.

use std::{cmp::Ordering, sync::Arc};

use axum::{
    body::Body,
    extract::State as Extract,
    response::{IntoResponse as _, Response},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderValue, StatusCode, header};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    AdminState,
    answer::{Answer, etag, json, no_content, not_found, put_status, resource},
    body::{Names, named, parse, read},
    caller::{Caller, Publisher, Viewer},
    compatibility::compare,
    falls::{Deletion, deletion},
    listing::{Listing, Page, Query, page_of},
    precondition::Precondition,
    registration::{Known, Proposal, RegisteredSchema, Undecided},
};
use crate::{
    event::{AppVersion, EventType},
    limits::ATTRIBUTE_BYTES,
    problem::{Code, Problem, ProblemBody},
    registry::{
        model::{Change, Digest, Role, Schema, SchemaKey, State, TypeSchemas, Upgrade},
        now,
    },
};

const SINCE_CHARACTERS_MAX: usize = 100;

/// What is listed of a schema.
#[derive(Serialize, ToSchema)]
pub struct SchemaView {
    #[serde(rename = "type")]
    #[schema(value_type = String)]
    event_type: EventType,
    since: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    #[schema(value_type = String)]
    digest: Digest,
    #[schema(value_type = String, format = DateTime)]
    created: Timestamp,
    by: String,
    /// How events of the version before are brought to this one's form, where that was declared.
    #[serde(skip_serializing_if = "Option::is_none")]
    upgrade: Option<Upgrade>,
}

/// Order of schemas in lists: type, source (those for any source first), version.
#[derive(Clone, Serialize, Deserialize)]
struct Cursor(String, Option<String>, String);

impl Cursor {
    fn of(key: &SchemaKey) -> Cursor {
        Cursor(key.event_type.to_string(), key.source.clone(), key.since.clone())
    }

    fn cmp(&self, other: &Cursor) -> Ordering {
        let version = |cursor: &Cursor| AppVersion::parse(&cursor.2);
        (&self.0, &self.1)
            .cmp(&(&other.0, &other.1))
            .then_with(|| version(self).cmp(&version(other)))
    }

    fn encode(&self) -> String {
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).unwrap_or_default())
    }

    fn decode(text: &str) -> Result<Cursor, Problem> {
        URL_SAFE_NO_PAD
            .decode(text)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .ok_or_else(|| {
                Problem::new(
                    Code::InputInvalid,
                    "query parameter \"after\": give the \"next\" of the page before",
                )
            })
    }
}

/// A page of these types' schemas; the types come in the order of their names.
fn listing<'s>(
    page: &Page,
    types: impl Iterator<Item = &'s Arc<TypeSchemas>>,
) -> Result<Listing<SchemaView>, Problem> {
    let after = page.after.as_deref().map(Cursor::decode).transpose()?;
    let keyed = types.flat_map(|of_type| {
        let mut of_one: Vec<(Cursor, &Known)> = of_type
            .schemas
            .iter()
            .map(|known| (Cursor::of(&known.value.0), known))
            .filter(|(cursor, _)| after.as_ref().is_none_or(|after| cursor.cmp(after).is_gt()))
            .collect();
        of_one.sort_by(|(one, _), (two, _)| one.cmp(two));
        of_one
            .into_iter()
            .map(move |(cursor, known)| (cursor, known, of_type))
    });
    Ok(page.cut(keyed.map(|(cursor, known, of_type)| {
        let (key, schema) = &known.value;
        let view = SchemaView {
            event_type: key.event_type.clone(),
            since: key.since.clone(),
            source: key.source.clone(),
            digest: schema.digest,
            created: schema.created,
            by: schema.by.clone(),
            upgrade: of_type.upgrade(key).map(|known| known.value.1.clone()),
        };
        (cursor.encode(), view)
    })))
}

/// List all schemas, by type, source and version.
#[utoipa::path(get, path = "/v1/schemas", tag = "schemas", operation_id = "list_schemas",
    params(("limit" = Option<u16>, Query, minimum = 1, maximum = 1000), ("after" = Option<String>, Query)),
    responses((status = 200, body = Listing<SchemaView>), (status = "4XX", body = ProblemBody)))]
pub async fn list(_caller: Caller<Viewer>, Extract(admin): Extract<AdminState>, query: Query) -> Answer {
    let page = page_of(query)?;
    let state = admin.registry.state();
    listing(&page, state.schemas.values())?.answer()
}

/// List the schemas of a type, by source and version.
#[utoipa::path(get, path = "/v1/schemas/{type}", tag = "schemas", operation_id = "list_schemas_of_type",
    params(("type" = String, Path), ("limit" = Option<u16>, Query, minimum = 1, maximum = 1000), ("after" = Option<String>, Query)),
    responses((status = 200, body = Listing<SchemaView>), (status = "4XX", body = ProblemBody)))]
pub async fn list_of_type(
    _caller: Caller<Viewer>,
    Extract(admin): Extract<AdminState>,
    Names(name): Names<String>,
    query: Query,
) -> Answer {
    let page = page_of(query)?;
    let state = admin.registry.state();
    listing(&page, state.schemas.get(name.as_str()).into_iter())?.answer()
}

/// A schema's text, as it was registered.
#[utoipa::path(get, path = "/v1/schemas/{type}/{since}", tag = "schemas", operation_id = "get_schema",
    params(("type" = String, Path), ("since" = String, Path), ("source" = Option<String>, Query)),
    responses((status = 200, content_type = "application/schema+json", body = Value),
        (status = "4XX", body = ProblemBody)))]
pub async fn get(
    _caller: Caller<Viewer>,
    Extract(admin): Extract<AdminState>,
    Names((event_type, since)): Names<(String, String)>,
    query: Query,
) -> Answer {
    query.allow(&["source"]);
    let source = query.text("source");
    query.finish()?;
    let state = admin.registry.state();
    let known = find(&state, &event_type, &since, source)?;
    let mut response: Response = known.value.1.text.as_bytes().to_vec().into_response();
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/schema+json"),
    );
    headers.insert(header::ETAG, etag(known.sequence));
    Ok(response)
}

pub(super) fn find<'s>(
    state: &'s State,
    event_type: &str,
    since: &str,
    source: Option<String>,
) -> Result<&'s Known, Problem> {
    let missing = || not_found("schema", &format!("{event_type}@{since}"));
    let key = SchemaKey {
        event_type: event_type.parse().map_err(|_| missing())?,
        source,
        since: since.to_owned(),
    };
    let of_type = state.schemas.get(&key.event_type);
    of_type.and_then(|of_type| of_type.find(&key)).ok_or_else(missing)
}

/// Delete a schema.
///
/// Events that it was for are then checked by the version before it, or wait in quarantine: `dry_run` says which app
/// versions that are, and deletes nothing.
#[utoipa::path(delete, path = "/v1/schemas/{type}/{since}", tag = "schemas", operation_id = "delete_schema",
    params(("type" = String, Path), ("since" = String, Path), ("source" = Option<String>, Query),
        ("dry_run" = Option<bool>, Query), ("If-Match" = Option<String>, Header)),
    responses((status = 200, body = Deletion), (status = 204), (status = "4XX", body = ProblemBody)))]
pub async fn delete(
    caller: Caller<Publisher>,
    Extract(admin): Extract<AdminState>,
    Names((event_type, since)): Names<(String, String)>,
    query: Query,
    precondition: Precondition,
) -> Answer {
    query.allow(&["source", "dry_run"]);
    let source = query.text("source");
    let dry_run = query.flag("dry_run");
    query.finish()?;
    if dry_run {
        let state = admin.registry.state();
        let known = find(&state, &event_type, &since, source)?;
        return json(StatusCode::OK, &deletion(&admin, &state, &known.value.0));
    }
    admin
        .registry
        .commit(&caller.name, move |state| {
            let known = find(state, &event_type, &since, source.clone())?;
            precondition.check(Some(known.sequence))?;
            let key = known.value.0.clone();
            Ok((Some(Change::DeleteSchema { key }), ()))
        })
        .await?;
    no_content()
}

/// Register a schema for a type from an app version on.
///
/// The body is the JSON Schema. `force` (role operator) takes it although it was not proved to be compatible.
#[utoipa::path(put, path = "/v1/schemas/{type}/{since}", tag = "schemas", operation_id = "put_schema",
    params(("type" = String, Path), ("since" = String, Path), ("source" = Option<String>, Query),
        ("force" = Option<bool>, Query), ("If-Match" = Option<String>, Header)),
    request_body(content = Value, content_type = "application/schema+json"),
    responses((status = 200, body = RegisteredSchema), (status = 201, body = RegisteredSchema),
        (status = "4XX", body = ProblemBody)))]
pub async fn put(
    caller: Caller<Publisher>,
    Extract(admin): Extract<AdminState>,
    Names((event_type, since)): Names<(String, String)>,
    query: Query,
    precondition: Precondition,
    body: Body,
) -> Answer {
    query.allow(&["source", "force"]);
    let source = query.text("source");
    let force = query.flag("force");
    query.finish()?;
    if force {
        caller.require(Role::Operator, "force")?;
    }
    let proposal = Arc::new(propose(&admin, &caller.name, (event_type, since, source), body, force).await?);
    for _ in 0..ATTEMPTS {
        let state = admin.registry.state();
        let reports = compare(
            &admin,
            &proposal.key.event_type,
            &proposal.value,
            &proposal.neighbours(&state),
        )
        .await;
        let (proposal, precondition) = (Arc::clone(&proposal), precondition.clone());
        let committed = admin
            .registry
            .commit(&caller.name, move |state| {
                match proposal.decide(state, &precondition, &reports) {
                    Ok((change, registered)) => Ok((change, Some(registered))),
                    Err(Undecided::NeighboursChanged) => Ok((None, None)),
                    Err(Undecided::Refused(problem)) => Err(problem),
                }
            })
            .await?;
        if let Some(registered) = committed.outcome {
            let sequence = registered.unchanged.unwrap_or(committed.state.sequence);
            return resource(put_status(registered.created), sequence, &registered.view);
        }
    }
    Err(Problem::new(
        Code::Conflict,
        "the type's schemas change faster than they can be compared; send it again",
    )
    .into())
}

/// How often a registration is compared again because its neighbours have changed meanwhile.
const ATTEMPTS: u32 = 5;

/// Reads and checks a schema that somebody wants registered.
pub(super) async fn propose(
    admin: &AdminState,
    by: &str,
    (event_type, since, source): (String, String, Option<String>),
    body: Body,
    force: bool,
) -> Result<Proposal, Problem> {
    let key = key(&event_type, &since, source)?;
    let bytes = read(body, admin.limits.schema_bytes).await?;
    let value = parse(&bytes)?;
    // What was parsed is UTF-8, so nothing is replaced here.
    let text: Arc<str> = String::from_utf8_lossy(&bytes).into();
    check(admin, text.clone()).await?;
    Ok(Proposal {
        schema: Schema {
            digest: Digest::of(text.as_bytes()),
            text,
            created: now(),
            by: by.to_owned(),
        },
        key,
        value,
        force,
    })
}

fn key(event_type: &str, since: &str, source: Option<String>) -> Result<SchemaKey, Problem> {
    let refused = |detail: &str| Err(Problem::new(Code::InputInvalid, detail));
    if since.chars().count() > SINCE_CHARACTERS_MAX || since.chars().any(char::is_control) {
        return refused("a version has at most 100 characters, none of them a control character");
    }
    if AppVersion::parse(since).is_none() {
        return refused("a version begins with a number, such as 5.10.0 or v5.10-rc1");
    }
    if source
        .as_ref()
        .is_some_and(|source| source.len() > ATTRIBUTE_BYTES)
    {
        return refused("the source is too long");
    }
    Ok(SchemaKey {
        event_type: named(event_type)?,
        source,
        since: since.to_owned(),
    })
}

/// Compiling a large schema takes long; not on a thread that serves others.
async fn check(admin: &AdminState, text: Arc<str>) -> Result<(), Problem> {
    let check = admin.actions.check_schema.clone();
    let checked = tokio::task::spawn_blocking(move || check(&text))
        .await
        .map_err(|error| {
            tracing::error!(%error, "the check of a schema broke off");
            Problem::new(Code::SchemaInvalid, "the schema cannot be compiled")
        })?;
    checked.map_err(|faults| {
        let first = faults.first().map(|fault| fault.message.as_str());
        let detail = format!(
            "the schema cannot be used: {}",
            first.unwrap_or("it does not compile")
        );
        Problem::new(Code::SchemaInvalid, detail).with_errors(faults)
    })
}
