//! `/v1/schemas`.

use std::{cmp::Ordering, sync::Arc};

use axum::{
    body::Body,
    extract::State as Extract,
    response::{IntoResponse as _, Response},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    AdminState,
    answer::{Answer, etag, not_found, put_status, resource},
    body::{Names, named, parse, read},
    caller::{Caller, Publisher, Viewer},
    input::{Faults, Input},
    listing::{Listing, Page, Query, page_of},
    precondition::Precondition,
    references::SchemaName,
    registration::{Decided, Proposal, Registration, Registrations, Undecided, decide},
    review::{Findings, Known, Plan},
};
use crate::{
    event::{AppVersion, EventType},
    limits::{ATTRIBUTE_BYTES, ByteSize, SCHEMAS_AT_ONCE},
    problem::{Code, Problem, ProblemBody},
    registry::{
        model::{Digest, Role, Schema, SchemaKey, State, TypeSchemas, Upgrade},
        now,
    },
    validate::References,
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
    /// The schemas that refer to it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    referred_by: Vec<SchemaName>,
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
    references: &References,
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
            referred_by: references
                .referrers(key)
                .into_iter()
                .map(SchemaName::from)
                .collect(),
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
    listing(&page, &admin.references(&state), state.schemas.values())?.answer()
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
    listing(
        &page,
        &admin.references(&state),
        state.schemas.get(name.as_str()).into_iter(),
    )?
    .answer()
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
    let source = source_of(query)?;
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

/// Where a query may say only for which source the schema is.
pub(super) fn source_of(query: Query) -> Result<Option<String>, Problem> {
    query.allow(&["source"]);
    let source = query.text("source");
    query.finish()?;
    Ok(source)
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

/// Register a schema for a type from an app version on.
///
/// The body is the JSON Schema. `force` (role operator) takes it although it was not proved to be compatible, or
/// although schemas that refer to it would not be any more.
#[utoipa::path(put, path = "/v1/schemas/{type}/{since}", tag = "schemas", operation_id = "put_schema",
    params(("type" = String, Path), ("since" = String, Path), ("source" = Option<String>, Query),
        ("force" = Option<bool>, Query), ("If-Match" = Option<String>, Header)),
    request_body(content = Value, content_type = "application/schema+json"),
    responses((status = 200, body = Registration), (status = 201, body = Registration),
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
    let proposal = propose(&admin, &caller.name, (event_type, since, source), body).await?;
    let (decided, sequence) = register(&admin, &caller.name, vec![proposal], precondition, force).await?;
    let status = put_status(decided.created);
    let registration = decided
        .one()
        .ok_or_else(|| not_found("schema", "that was registered"))?;
    resource(status, sequence, &registration)
}

/// One of several schemas that are to be registered at once.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(
    dead_code,
    reason = "it documents the body, which is read with every fault at once"
)]
pub struct SchemaText {
    #[serde(rename = "type")]
    event_type: String,
    since: String,
    source: Option<String>,
    /// The JSON Schema, as text: it is kept to the byte.
    text: String,
}

/// Schemas that are to be registered at once.
#[derive(Deserialize, ToSchema)]
#[expect(
    dead_code,
    reason = "it documents the body, which is read with every fault at once"
)]
pub struct SchemaTexts {
    schemas: Vec<SchemaText>,
}

/// Register several schemas at once.
///
/// All of them or none: for schemas that refer to each other, of which none could come first.
#[utoipa::path(post, path = "/v1/schemas", tag = "schemas", operation_id = "put_schemas",
    params(("force" = Option<bool>, Query)),
    request_body = SchemaTexts,
    responses((status = 200, body = Registrations), (status = "4XX", body = ProblemBody)))]
pub async fn put_many(
    caller: Caller<Publisher>,
    Extract(admin): Extract<AdminState>,
    query: Query,
    body: Body,
) -> Answer {
    query.allow(&["force"]);
    let force = query.flag("force");
    query.finish()?;
    if force {
        caller.require(Role::Operator, "force")?;
    }
    let body = parse(&read(body, SCHEMAS_AT_ONCE_BYTES).await?)?;
    let faults = Faults::default();
    let mut proposals: Vec<Proposal> = Vec::new();
    if let Some(members) = Input::root(&body, &faults).members(&["schemas"]) {
        for input in members.get("schemas").required().elements(SCHEMAS_AT_ONCE) {
            let Some(members) = input.members(&["type", "since", "source", "text"]) else {
                continue;
            };
            let text =
                |name: &str, bytes_max| members.get(name).required().text(bytes_max).map(str::to_owned);
            let (event_type, since) = (text("type", ATTRIBUTE_BYTES), text("since", ATTRIBUTE_BYTES));
            let schema = text("text", admin.limits.schema_bytes.as_usize());
            let source = members.get("source").text(ATTRIBUTE_BYTES).map(str::to_owned);
            let (Some(event_type), Some(since), Some(schema)) = (event_type, since, schema) else {
                continue;
            };
            let proposed =
                key(&event_type, &since, source).and_then(|key| proposal(&caller.name, key, schema.into()));
            match proposed {
                Ok(proposal) if proposals.iter().any(|known| known.key == proposal.key) => {
                    input.fault("the same schema stands twice in the list");
                }
                Ok(proposal) => proposals.push(proposal),
                Err(problem) => input.fault(problem.detail),
            }
        }
    }
    faults.into_result()?;
    let (decided, sequence) =
        register(&admin, &caller.name, proposals, Precondition::default(), force).await?;
    resource(StatusCode::OK, sequence, &decided.all())
}

/// Of all schemas that are registered at once.
const SCHEMAS_AT_ONCE_BYTES: ByteSize = ByteSize(16 << 20);
/// How often a change is looked at again because the registry has changed meanwhile.
pub(super) const ATTEMPTS: u32 = 5;

/// Finds out what a registration comes to, and decides it; also gives the entry that last changed what it is about.
async fn register(
    admin: &AdminState,
    by: &str,
    proposals: Vec<Proposal>,
    precondition: Precondition,
    force: bool,
) -> Result<(Decided, u64), Problem> {
    let proposals = Arc::new(proposals);
    let mut findings = Findings::default();
    for _ in 0..ATTEMPTS {
        let state = admin.registry.state();
        let plan = Plan::of(admin, &state, &proposals)?;
        plan.find_out(admin, &mut findings).await?;
        let (looking, proposals, precondition) =
            (admin.clone(), Arc::clone(&proposals), precondition.clone());
        let found = findings.clone();
        let committed = admin
            .registry
            .commit(by, move |state| {
                match decide(&looking, state, &proposals, &precondition, &found, force) {
                    Ok((change, decided)) => Ok((change, Some(decided))),
                    Err(Undecided::RegistryChanged) => Ok((None, None)),
                    Err(Undecided::Refused(problem)) => Err(problem),
                }
            })
            .await?;
        if let Some(decided) = committed.outcome {
            let sequence = decided.unchanged.unwrap_or(committed.state.sequence);
            return Ok((decided, sequence));
        }
    }
    Err(Problem::new(
        Code::Conflict,
        "the registry's schemas change faster than this one can be compared with them; send it again",
    ))
}

/// Reads a schema that somebody wants registered.
pub(super) async fn propose(
    admin: &AdminState,
    by: &str,
    (event_type, since, source): (String, String, Option<String>),
    body: Body,
) -> Result<Proposal, Problem> {
    let key = key(&event_type, &since, source)?;
    let bytes = read(body, admin.limits.schema_bytes).await?;
    // What is not UTF-8 is refused as no JSON.
    proposal(by, key, String::from_utf8_lossy(&bytes).into())
}

fn proposal(by: &str, key: SchemaKey, text: Arc<str>) -> Result<Proposal, Problem> {
    Ok(Proposal {
        value: parse(&Bytes::copy_from_slice(text.as_bytes()))?,
        schema: Schema {
            digest: Digest::of(text.as_bytes()),
            text,
            created: now(),
            by: by.to_owned(),
        },
        key,
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
