//! `POST /v1/schemas/{type}/{since}/check`: what registering a schema would do.

use std::{collections::BTreeMap, sync::Arc};

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
    falls::{Falls, falls, fate, outlook},
    listing::Query,
    recent::mask_of,
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
    recent::{Recent, RecentEvent, RecentFilter, masked},
    registry::model::{Compatibility, SchemaKey, State},
    validate::{Compiled, Outlook, compatibility::changes},
};

/// Items of quarantine that are tried; each is read from the store.
const QUARANTINED_TRIED: usize = 200;
/// Items of one app version that are looked at for those of the source that the schema is for.
const QUARANTINED_LOOKED_AT: usize = 2000;
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
    /// App versions, seen lately, that would be checked by another schema than now, or by none.
    falls: Vec<Falls>,
    /// Events that passed lately and that this schema would be asked about.
    recent: TriedEvents,
    /// Events in quarantine that it would be asked about.
    quarantined: TriedEvents,
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
pub struct TriedEvents {
    accepted: u64,
    refused: u64,
    /// How many there are: of many, only some are tried. Of quarantine: whatever their source.
    total: u64,
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
    compare(&admin, &plan.schemas, pairs.iter(), &mut findings).await;
    let compatibility: Vec<Comparison> = pairs
        .iter()
        .filter_map(|pair| Some(Comparison::new(pair.with.clone(), findings.report(pair)?)))
        .collect();
    let event_type = &proposal.key.event_type;
    let trial = Trial {
        before: outlook(&state, event_type, state.schemas.get(event_type)),
        key: planned.whole.key.clone(),
        outlook: outlook(&state, event_type, plan.schemas.get(event_type)),
        mask: mask_of(&state, event_type).to_vec(),
    };
    let Tried {
        falls,
        recent,
        quarantined,
    } = trial.run(&admin, planned.whole).await?;
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
            falls,
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

/// Which events the new schema would be asked about.
struct Trial {
    /// Without the new schema.
    before: Outlook,
    key: SchemaKey,
    /// With the new schema among the others.
    outlook: Outlook,
    mask: Vec<String>,
}

/// What was found.
struct Tried {
    falls: Vec<Falls>,
    recent: TriedEvents,
    quarantined: TriedEvents,
}

/// Events' data, and how many there are.
#[derive(Default)]
struct Gathered {
    data: Vec<Bytes>,
    total: u64,
}

/// Failures by place and keyword: how many, and one example.
type Failures = BTreeMap<(String, String), (u64, Bytes)>;

impl Trial {
    /// Tries what passed lately and what waits. Compiling and trying take longer than a thread that serves others may be
    /// held.
    async fn run(self, admin: &AdminState, whole: Whole) -> Result<Tried, Problem> {
        let waiting = self.quarantined(admin).await?;
        let recent = Arc::clone(&admin.recent);
        let tried = tokio::task::spawn_blocking(move || {
            let compiled = Compiled::with(&whole.schema.text, &whole.texts).map_err(|cause| {
                Problem::new(Code::SchemaInvalid, format!("the schema cannot be used: {cause}"))
            })?;
            Ok::<_, Problem>(Tried {
                falls: falls(&recent, &self.key.event_type, &self.before, &self.outlook),
                recent: self.tried(&compiled, self.recent(&recent)),
                quarantined: self.tried(&compiled, waiting),
            })
        });
        tried.await.unwrap_or_else(|error| {
            tracing::error!(%error, "the trial of a schema broke off");
            Err(Problem::new(Code::Internal, "the schema could not be tried"))
        })
    }

    /// Whether an event would be checked by the new schema.
    fn concerns(&self, source: &str, app_version: Option<&str>) -> bool {
        fate(&self.outlook, source, app_version).is_ok_and(|key| *key == self.key)
    }

    fn recent(&self, recent: &Recent) -> Gathered {
        let filter = RecentFilter {
            event_type: Some(self.key.event_type.to_string()),
            source: self.key.source.clone(),
            ..RecentFilter::default()
        };
        let concerned = |event: &RecentEvent| {
            let attributes = &event.attributes;
            self.concerns(&attributes.source, attributes.app_version.as_deref())
        };
        let events = recent.matching(&filter, concerned, usize::MAX);
        Gathered {
            total: events.len() as u64,
            data: events
                .iter()
                .take(CHECKED_EVENTS)
                .map(|event| event.data.clone())
                .collect(),
        }
    }

    /// What waits and would come to the new schema, app version by app version, the oldest first.
    async fn quarantined(&self, admin: &AdminState) -> Result<Gathered, Problem> {
        let mut gathered = Gathered::default();
        // What waits is known by version alone at first; no source is empty, so none with schemas of its own is meant.
        let source = self.key.source.as_deref().unwrap_or_default();
        let versions = (admin.actions.quarantined_versions)(&self.key.event_type);
        for (app_version, count) in versions {
            if !self.concerns(source, app_version.as_deref()) {
                continue;
            }
            gathered.total += count;
            self.add_quarantined(admin, app_version, &mut gathered.data)
                .await?;
        }
        Ok(gathered)
    }

    async fn add_quarantined(
        &self,
        admin: &AdminState,
        app_version: Option<String>,
        data: &mut Vec<Bytes>,
    ) -> Result<(), Problem> {
        let mut after = None;
        let mut looked_at = 0;
        while data.len() < QUARANTINED_TRIED && looked_at < QUARANTINED_LOOKED_AT {
            let query = QuarantineQuery {
                filter: Filter {
                    event_type: Some(self.key.event_type.to_string()),
                    // Empty: items without one.
                    app_version: Some(app_version.clone().unwrap_or_default()),
                    ..Filter::default()
                },
                after,
                limit: QUARANTINED_TRIED,
            };
            let (items, next) = (admin.actions.list_quarantine)(query).await?;
            looked_at += items.len();
            for item in items {
                if data.len() == QUARANTINED_TRIED
                    || !self.concerns(&item.source, item.app_version.as_deref())
                {
                    continue;
                }
                // It may have been replayed meanwhile.
                if let Some(whole) = (admin.actions.get_quarantined)(item.id.to_string()).await? {
                    data.push(Bytes::from(whole.data.get().to_owned()));
                }
            }
            let Some(next) = next else {
                return Ok(());
            };
            after = Some(next);
        }
        Ok(())
    }

    fn tried(&self, compiled: &Compiled, gathered: Gathered) -> TriedEvents {
        let mut tried = TriedEvents {
            total: gathered.total,
            ..TriedEvents::default()
        };
        let mut failures = Failures::new();
        for data in gathered.data {
            let Ok(document) = Document::parse(data.clone(), DEPTH_CEILING) else {
                continue;
            };
            let Some(violations) = compiled.violations(&document) else {
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
