//! `POST /v1/schemas/{type}/{since}/check`: what registering a schema would do.

use std::collections::BTreeMap;

use axum::{body::Body, extract::State as Extract};
use bytes::Bytes;
use http::StatusCode;
use serde::Serialize;
use serde_json::{Value, value::RawValue};
use utoipa::ToSchema;

use super::{
    AdminState, QuarantineQuery,
    answer::{Answer, json, not_found},
    body::Names,
    caller::{Caller, Publisher},
    compatibility::Comparison,
    listing::Query,
    registration::{DependentSchema, dependents, judge},
    review::{Findings, Pair, Plan, Whole, compare, find, unusable},
    schemas::propose,
};
use crate::{
    event::{AppVersion, EventType},
    json::Document,
    limits::{CHECKED_EVENTS, CHECKED_FAILURES, DEPTH_CEILING},
    problem::{Code, Problem, ProblemBody},
    quarantine::Filter,
    recent::{RecentFilter, masked},
    registry::model::{Compatibility, State},
    validate::{Compiled, compatibility::changes},
};

/// Items of quarantine that are tried; each is read from the store.
const QUARANTINED_TRIED: usize = 200;
/// The longest example, in bytes.
const EXAMPLE_BYTES_MAX: usize = 16 << 10;

/// What registering the schema would do.
#[derive(Serialize, ToSchema)]
pub struct Checked {
    #[serde(rename = "type")]
    #[schema(value_type = String)]
    event_type: EventType,
    since: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    /// Whether it would be registered without `force`.
    registers: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    code: Option<Code>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    compatibility: Vec<Comparison>,
    /// Schemas that refer to it, and accept something else with it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    dependents: Vec<DependentSchema>,
    /// What differs from the version before it (or the text that it replaces).
    changes: Vec<Changed>,
    /// Events that passed lately and that this schema would be asked about.
    recent: Tried,
    /// Events in quarantine that it would be asked about.
    quarantined: Tried,
}

/// A keyword that differs.
#[derive(Serialize, ToSchema)]
pub struct Changed {
    /// Where in the data: a JSON Pointer, `*` for any item or member.
    pointer: String,
    keyword: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<String>,
}

/// What became of events.
#[derive(Default, Serialize, ToSchema)]
pub struct Tried {
    accepted: u64,
    refused: u64,
    /// The most frequent ones, at most 20.
    failures: Vec<Failure>,
}

/// Events that fail in the same place for the same reason.
#[derive(Serialize, ToSchema)]
pub struct Failure {
    /// JSON Pointer into the data; `*` for any item.
    pointer: String,
    keyword: String,
    count: u64,
    /// The data of one of them; what the type's `mask` names is `"***"`. Absent where it is long.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    example: Option<Box<RawValue>>,
}

/// Check a schema before it is registered.
///
/// The body is the JSON Schema. Nothing is changed. `with` compares it with that version alone.
#[utoipa::path(post, path = "/v1/schemas/{type}/{since}/check", tag = "schemas", operation_id = "check_schema",
    params(("type" = String, Path), ("since" = String, Path), ("source" = Option<String>, Query),
        ("with" = Option<String>, Query)),
    request_body(content = Value, content_type = "application/schema+json"),
    responses((status = 200, body = Checked), (status = "4XX", body = ProblemBody)))]
pub async fn check(
    caller: Caller<Publisher>,
    Extract(admin): Extract<AdminState>,
    Names((event_type, since)): Names<(String, String)>,
    query: Query,
    body: Body,
) -> Answer {
    query.allow(&["source", "with"]);
    let (source, with) = (query.text("source"), query.text("with"));
    query.finish()?;
    let proposals = [propose(&admin, &caller.name, (event_type, since, source), body).await?];
    let [proposal] = &proposals;
    let state = admin.registry.state();
    let mut plan = Plan::of(&admin, &state, &proposals)?;
    let mut findings = Findings::default();
    plan.find_out(&admin, &mut findings).await?;
    let judged = judge(&plan, &findings).err();
    let dependents = dependents(&plan, &findings);
    let planned = plan
        .registered
        .pop()
        .ok_or_else(|| not_found("schema", "that was given"))?;
    let pairs = match with {
        Some(with) => vec![one_version(&admin, &state, &planned.whole, &with)?],
        None => planned.pairs,
    };
    compare(&admin, pairs.iter(), &mut findings).await;
    let compatibility: Vec<Comparison> = pairs
        .iter()
        .filter_map(|pair| Some(Comparison::new(pair.with.clone(), findings.report(pair)?)))
        .collect();
    let trial = Trial::new(&planned.whole, &state)?;
    let recent = trial.recent(&admin);
    let quarantined = trial.quarantined(&admin).await?;
    json(
        StatusCode::OK,
        &Checked {
            event_type: proposal.key.event_type.clone(),
            since: proposal.key.since.clone(),
            source: proposal.key.source.clone(),
            registers: judged.is_none(),
            code: judged.as_ref().map(|problem| problem.code),
            detail: judged.map(|problem| problem.detail),
            compatibility,
            dependents,
            changes: changed(pairs.first()),
            recent,
            quarantined,
        },
    )
}

fn one_version(admin: &AdminState, state: &State, whole: &Whole, with: &str) -> Result<Pair, Problem> {
    let mut key = whole.key.clone();
    with.clone_into(&mut key.since);
    let known = find(&state.schemas, &key);
    let known = known.ok_or_else(|| not_found("schema", &format!("{}@{with}", key.event_type)))?;
    let other = Whole::of(known, &admin.references(state)).map_err(|faults| unusable(faults, ""))?;
    let is_earlier = AppVersion::parse(with) <= AppVersion::parse(&whole.key.since);
    let (with, new) = (other.key.since.clone(), whole.clone());
    let (old, new) = if is_earlier { (other, new) } else { (new, other) };
    Ok(Pair {
        old,
        new,
        with,
        is_replacement: false,
        enforced: Compatibility::None,
    })
}

/// What differs in the texts themselves: what they refer to has changes of its own.
fn changed(pair: Option<&Pair>) -> Vec<Changed> {
    let Some(pair) = pair else {
        return Vec::new();
    };
    let value = |whole: &Whole| serde_json::from_str::<Value>(&whole.schema.text).unwrap_or_default();
    let rows = changes(&value(&pair.old), &value(&pair.new))
        .into_iter()
        .map(|change| Changed {
            pointer: change.pointer,
            keyword: change.keyword,
            before: change.before,
            after: change.after,
        });
    rows.collect()
}

/// The new schema before events that it would be asked about.
struct Trial {
    event_type: EventType,
    source: Option<String>,
    compiled: Compiled,
    /// Versions for the same events, and whether each is the new one; ascending.
    versions: Vec<(AppVersion, bool)>,
    /// Sources that have schemas of their own: those for any source do not count for them.
    own: Vec<String>,
    mask: Vec<String>,
}

/// Failures by place and keyword: how many, and one example.
type Failures = BTreeMap<(String, String), (u64, Bytes)>;

impl Trial {
    fn new(whole: &Whole, state: &State) -> Result<Trial, Problem> {
        let key = &whole.key;
        let compiled = Compiled::with(&whole.schema.text, &whole.texts).map_err(|cause| {
            Problem::new(Code::SchemaInvalid, format!("the schema cannot be used: {cause}"))
        })?;
        let of_type = state.schemas.get(&key.event_type);
        let known = || {
            of_type
                .iter()
                .flat_map(|of_type| &of_type.schemas)
                .map(|known| &known.value.0)
        };
        let new = AppVersion::parse(&key.since);
        let mut versions: Vec<(AppVersion, bool)> = known()
            .filter(|other| other.source == key.source)
            .filter_map(|other| AppVersion::parse(&other.since))
            .filter(|version| Some(version) != new.as_ref())
            .map(|version| (version, false))
            .chain(new.clone().map(|version| (version, true)))
            .collect();
        versions.sort_by(|one, two| one.0.cmp(&two.0));
        let entry = state.types.get(&key.event_type);
        Ok(Trial {
            event_type: key.event_type.clone(),
            source: key.source.clone(),
            compiled,
            versions,
            own: known().filter_map(|other| other.source.clone()).collect(),
            mask: entry.map(|entry| entry.value.mask.clone()).unwrap_or_default(),
        })
    }

    /// Whether an event would be checked by the new schema.
    fn concerns(&self, source: &str, app_version: Option<&str>) -> bool {
        let for_source = match &self.source {
            Some(wanted) => wanted == source,
            None => !self.own.iter().any(|own| own == source),
        };
        let resolved = match app_version.and_then(AppVersion::parse) {
            None => self.versions.last(),
            Some(version) => self.versions.iter().rev().find(|(since, _)| *since <= version),
        };
        for_source && resolved.is_some_and(|(_, is_new)| *is_new)
    }

    fn recent(&self, admin: &AdminState) -> Tried {
        let filter = RecentFilter {
            event_type: Some(self.event_type.to_string()),
            ..RecentFilter::default()
        };
        let events = admin.recent.events(&filter, None, CHECKED_EVENTS);
        let concerned = events
            .iter()
            .filter(|event| self.concerns(&event.attributes.source, event.attributes.app_version.as_deref()));
        self.tried(concerned.map(|event| event.data.clone()))
    }

    async fn quarantined(&self, admin: &AdminState) -> Result<Tried, Problem> {
        let query = QuarantineQuery {
            filter: Filter {
                event_type: Some(self.event_type.to_string()),
                ..Filter::default()
            },
            after: None,
            limit: QUARANTINED_TRIED,
        };
        let (items, _) = (admin.actions.list_quarantine)(query).await?;
        let mut data = Vec::new();
        for item in items {
            if !self.concerns(&item.source, item.app_version.as_deref()) {
                continue;
            }
            // It may have been replayed meanwhile.
            if let Some(whole) = (admin.actions.get_quarantined)(item.id.to_string()).await? {
                data.push(Bytes::from(whole.data.get().to_owned()));
            }
        }
        Ok(self.tried(data.into_iter()))
    }

    fn tried(&self, events: impl Iterator<Item = Bytes>) -> Tried {
        let mut tried = Tried::default();
        let mut failures = Failures::new();
        for data in events {
            let Ok(document) = Document::parse(data.clone(), DEPTH_CEILING) else {
                continue;
            };
            let Some(violations) = self.compiled.violations(&document) else {
                tried.accepted += 1;
                continue;
            };
            tried.refused += 1;
            let mut places: Vec<(String, String)> = violations
                .into_iter()
                .map(|violation| (any_item(&violation.pointer), violation.keyword))
                .collect();
            places.sort();
            places.dedup();
            for place in places {
                failures.entry(place).or_insert_with(|| (0, data.clone())).0 += 1;
            }
        }
        let mut failures: Vec<_> = failures.into_iter().collect();
        failures.sort_by_key(|(_, (count, _))| std::cmp::Reverse(*count));
        failures.truncate(CHECKED_FAILURES);
        tried.failures = failures
            .into_iter()
            .map(|((pointer, keyword), (count, data))| Failure {
                pointer,
                keyword,
                count,
                example: self.shown(&data),
            })
            .collect();
        tried
    }

    fn shown(&self, data: &Bytes) -> Option<Box<RawValue>> {
        let hidden = masked(data, &self.mask);
        let text = String::from_utf8(hidden.to_vec()).ok()?;
        (text.len() <= EXAMPLE_BYTES_MAX)
            .then(|| RawValue::from_string(text).ok())
            .flatten()
    }
}

/// The pointer with `*` for each position.
fn any_item(pointer: &str) -> String {
    let segments = pointer.split('/').map(|segment| {
        let position = !segment.is_empty() && segment.bytes().all(|byte| byte.is_ascii_digit());
        if position { "*" } else { segment }
    });
    segments.collect::<Vec<_>>().join("/")
}
