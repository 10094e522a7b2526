//! `/v1/schemas/{type}/{since}/upgrade`.

use std::sync::Arc;

use axum::{body::Body, extract::State as Extract};
use http::StatusCode;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{
    AdminState,
    answer::{Answer, no_content, not_found, put_status, resource},
    body::{Names, read_json},
    caller::{Caller, Publisher, Viewer},
    input::{Faults, Input},
    listing::Query,
    precondition::{Precondition, Put},
    recent::mask_of,
    review::{Known, Whole},
    schemas::{find, source_of},
};
use crate::{
    event::AppVersion,
    json::Document,
    limits::{ATTRIBUTE_BYTES, DEPTH_CEILING, UPGRADE_RECENT_EVENTS, UPGRADE_STEPS},
    problem::{Code, Fault, Problem, ProblemBody},
    recent::{RecentEvent, RecentFilter, masked},
    registry::model::{Change, SchemaKey, State, Upgrade, UpgradeStep},
    validate::{Compiled, Counterexample, check_step, check_upgrade},
};

/// Characters of an event that is shown in a refusal.
const SHOWN_CHARACTERS_MAX: usize = 2000;

/// An upgrade that was registered.
#[derive(Serialize, ToSchema)]
pub struct RegisteredUpgrade {
    /// `since` of the version whose events it upgrades.
    from: String,
    /// Made-up and recent events of that version that it was tried on.
    checked: usize,
    #[serde(flatten)]
    upgrade: Upgrade,
}

/// How events of the version before are brought to this version's form.
#[utoipa::path(get, path = "/v1/schemas/{type}/{since}/upgrade", tag = "schemas", operation_id = "get_upgrade",
    params(("type" = String, Path), ("since" = String, Path), ("source" = Option<String>, Query)),
    responses((status = 200, body = Upgrade), (status = "4XX", body = ProblemBody)))]
pub async fn get(
    _caller: Caller<Viewer>,
    Extract(admin): Extract<AdminState>,
    Names((event_type, since)): Names<(String, String)>,
    query: Query,
) -> Answer {
    let source = source_of(query)?;
    let state = admin.registry.state();
    let key = &find(&state, &event_type, &since, source)?.value.0;
    let known = state
        .schemas
        .get(&key.event_type)
        .and_then(|of_type| of_type.upgrade(key));
    let known = known.ok_or_else(|| not_found("upgrade to", &format!("{event_type}@{since}")))?;
    resource(StatusCode::OK, known.sequence, &known.value.1)
}

/// Say how events of the version before are brought to this version's form.
///
/// It is tried on events of the version before, and refused with the first that it does not bring to what this version
/// accepts. Routes with `form` `latest` use it.
#[utoipa::path(put, path = "/v1/schemas/{type}/{since}/upgrade", tag = "schemas", operation_id = "put_upgrade",
    params(("type" = String, Path), ("since" = String, Path), ("source" = Option<String>, Query),
        ("If-Match" = Option<String>, Header)),
    request_body = Upgrade,
    responses((status = 200, body = RegisteredUpgrade), (status = 201, body = RegisteredUpgrade),
        (status = "4XX", body = ProblemBody)))]
pub async fn put(
    caller: Caller<Publisher>,
    Extract(admin): Extract<AdminState>,
    Names((event_type, since)): Names<(String, String)>,
    query: Query,
    precondition: Precondition,
    body: Body,
) -> Answer {
    let source = source_of(query)?;
    let upgrade = read(&read_json(body).await?)?;
    loop {
        let state = admin.registry.fresh_state().await?;
        let (older, newer) = pair(&state, &event_type, &since, source.clone())?;
        let references = admin.references(&state);
        let whole = |known: &Known| {
            Whole::of(known, &references).map_err(|faults| super::review::unusable(faults, ""))
        };
        let (old, new) = (whole(&older)?, whole(&newer)?);
        let checked = try_out(&admin, &old, &new, upgrade.clone()).await?;
        let (wanted, precondition) = (upgrade.clone(), precondition.clone());
        let (older_then, newer_then) = (Arc::clone(&older), Arc::clone(&newer));
        let (event_type, since, source) = (event_type.clone(), since.clone(), source.clone());
        let committed = admin
            .registry
            .commit(&caller.name, move |state| {
                let (older, newer) = pair(state, &event_type, &since, source.clone())?;
                if !(Arc::ptr_eq(&older, &older_then) && Arc::ptr_eq(&newer, &newer_then)) {
                    return Ok((None, None));
                }
                decide(state, &newer, &precondition, &wanted).map(|(change, put)| (change, Some(put)))
            })
            .await?;
        // None: one of the two schemas has changed since the upgrade was tried.
        if let Some(put) = committed.outcome {
            let view = RegisteredUpgrade {
                from: older.value.0.since.clone(),
                checked,
                upgrade,
            };
            return resource(
                put_status(put.created),
                put.sequence(committed.state.sequence),
                &view,
            );
        }
    }
}

/// Delete an upgrade.
///
/// Events of the version before are then taken as they are, and wait in quarantine where the newer schema refuses them.
#[utoipa::path(delete, path = "/v1/schemas/{type}/{since}/upgrade", tag = "schemas", operation_id = "delete_upgrade",
    params(("type" = String, Path), ("since" = String, Path), ("source" = Option<String>, Query),
        ("If-Match" = Option<String>, Header)),
    responses((status = 204), (status = "4XX", body = ProblemBody)))]
pub async fn delete(
    caller: Caller<Publisher>,
    Extract(admin): Extract<AdminState>,
    Names((event_type, since)): Names<(String, String)>,
    query: Query,
    precondition: Precondition,
) -> Answer {
    let source = source_of(query)?;
    admin
        .registry
        .commit(&caller.name, move |state| {
            let key = &find(state, &event_type, &since, source.clone())?.value.0;
            let known = state
                .schemas
                .get(&key.event_type)
                .and_then(|of_type| of_type.upgrade(key));
            let known = precondition.check_known(known, "upgrade to", &format!("{event_type}@{since}"))?;
            let key = known.value.0.clone();
            Ok((Some(Change::DeleteUpgrade { key }), ()))
        })
        .await?;
    no_content()
}

/// The schema whose events are upgraded, and the one that they are upgraded to.
fn pair(
    state: &State,
    event_type: &str,
    since: &str,
    source: Option<String>,
) -> Result<(Known, Known), Problem> {
    let newer = find(state, event_type, since, source)?;
    let key = &newer.value.0;
    let older = state
        .schemas
        .get(&key.event_type)
        .and_then(|of_type| of_type.before(key));
    let older = older.ok_or_else(|| {
        Problem::new(
            Code::InputInvalid,
            format!(
                "{event_type}@{since} is the first of its versions: there is none before it to upgrade from"
            ),
        )
    })?;
    Ok((Arc::clone(older), Arc::clone(newer)))
}

fn decide(
    state: &State,
    newer: &Known,
    precondition: &Precondition,
    wanted: &Upgrade,
) -> Result<(Option<Change>, Put), Problem> {
    let key = &newer.value.0;
    let known = state
        .schemas
        .get(&key.event_type)
        .and_then(|of_type| of_type.upgrade(key));
    precondition.check(known.map(|known| known.sequence))?;
    let unchanged = known
        .filter(|known| known.value.1 == *wanted)
        .map(|known| known.sequence);
    let put = Put {
        created: known.is_none(),
        unchanged,
    };
    let change = unchanged.is_none().then(|| Change::PutUpgrade {
        key: key.clone(),
        upgrade: wanted.clone(),
    });
    Ok((change, put))
}

/// Reads an upgrade.
///
/// # Errors
///
/// `input-invalid` with every fault.
pub fn read(value: &Value) -> Result<Upgrade, Problem> {
    let faults = Faults::default();
    let mut upgrade = Upgrade::default();
    if let Some(members) = Input::root(value, &faults).members(&["steps"]) {
        for input in members.get("steps").required().elements(UPGRADE_STEPS) {
            let step = step(&input);
            if let Some(step) = &step
                && let Err(message) = check_step(step)
            {
                input.fault(message);
            }
            upgrade.steps.extend(step);
        }
    }
    faults.into_result()?;
    Ok(upgrade)
}

/// A step is told by the member that names its place.
fn step(input: &Input<'_>) -> Option<UpgradeStep> {
    const ACTIONS: [&str; 5] = ["move", "rename", "default", "cast", "remove"];
    let object = input.value()?.as_object();
    let named: Vec<&str> = ACTIONS
        .into_iter()
        .filter(|action| object.is_some_and(|object| object.contains_key(*action)))
        .collect();
    let [action] = named[..] else {
        input.fault(
            "must be an object with one of \"move\", \"rename\", \"default\", \"cast\" and \"remove\"",
        );
        return None;
    };
    let second = match action {
        "default" => "value",
        "remove" => action,
        _ => "to",
    };
    let members = input.members(&[action, second])?;
    let place = members.get(action).required().text(ATTRIBUTE_BYTES)?.to_owned();
    let to = || {
        let to = members.get("to").required();
        to.text(ATTRIBUTE_BYTES).map(str::to_owned)
    };
    Some(match action {
        "move" => UpgradeStep::Move {
            from: place,
            to: to()?,
        },
        "rename" => UpgradeStep::Rename {
            rename: place,
            to: to()?,
        },
        "cast" => UpgradeStep::Cast {
            cast: place,
            to: members
                .get("to")
                .required()
                .choice(&["string", "integer", "number", "boolean"])?,
        },
        "default" => UpgradeStep::Default {
            default: place,
            // Null is a value like any other here.
            value: match object.and_then(|object| object.get("value")) {
                Some(value) => value.clone(),
                None => {
                    input.fault("a default needs a \"value\"");
                    return None;
                }
            },
        },
        _ => UpgradeStep::Remove { remove: place },
    })
}

/// Tries an upgrade on recent and made-up events of the older schema; gives how many there were.
pub(super) async fn try_out(
    admin: &AdminState,
    older: &Whole,
    newer: &Whole,
    upgrade: Upgrade,
) -> Result<usize, Problem> {
    let state = admin.registry.state();
    let mask = mask_of(&state, &older.key.event_type).to_vec();
    let (looking, keys) = (admin.clone(), (older.key.clone(), newer.key.clone()));
    let recent = tokio::task::spawn_blocking(move || recent(&looking, &state, &keys.0, &keys.1));
    let recent = recent.await.map_err(|error| {
        tracing::error!(%error, "recent events could not be read");
        Problem::new(Code::Internal, "the upgrade could not be tried")
    })?;
    check(older.clone(), newer.clone(), upgrade, recent, mask).await
}

/// The last events that the older schema was for.
fn recent(admin: &AdminState, state: &State, key: &SchemaKey, newer: &SchemaKey) -> Vec<Document> {
    let filter = RecentFilter {
        event_type: Some(key.event_type.to_string()),
        source: key.source.clone(),
        ..RecentFilter::default()
    };
    let (from, to) = (AppVersion::parse(&key.since), AppVersion::parse(&newer.since));
    let has_own = |source: &str| {
        let of_type = state.schemas.get(&key.event_type);
        of_type.is_some_and(|of_type| {
            of_type
                .schemas
                .iter()
                .any(|known| known.value.0.source.as_deref() == Some(source))
        })
    };
    let is_of_older = |event: &RecentEvent| {
        let attributes = &event.attributes;
        let version = attributes.app_version.as_deref().and_then(AppVersion::parse);
        let is_in_range = version.is_some() && version >= from && version < to;
        is_in_range && (key.source.is_some() || !has_own(&attributes.source))
    };
    let events = admin.recent.matching(&filter, is_of_older, UPGRADE_RECENT_EVENTS);
    events
        .iter()
        .filter_map(|event| Document::parse(event.data.clone(), DEPTH_CEILING).ok())
        .collect()
}

/// Trying takes longer than a thread that serves others may be held.
async fn check(
    older: Whole,
    newer: Whole,
    upgrade: Upgrade,
    recent: Vec<Document>,
    mask: Vec<String>,
) -> Result<usize, Problem> {
    let tried = tokio::task::spawn_blocking(move || {
        let compiled = |whole: &Whole| {
            Compiled::with(&whole.schema.text, &whole.texts)
                .map_err(|cause| Problem::new(Code::SchemaInvalid, cause))
        };
        let (older, newer) = (compiled(&older)?, compiled(&newer)?);
        check_upgrade(&older, &newer, &upgrade, recent).map_err(|found| refusal(*found, &mask))
    });
    tried.await.unwrap_or_else(|error| {
        tracing::error!(%error, "the trial of an upgrade broke off");
        Err(Problem::new(Code::Internal, "the upgrade could not be tried"))
    })
}

/// `upgrade-refused`, with the event. Of a recent one, what `mask` names is hidden, and what became of it is not shown:
/// a step may have moved what is hidden.
pub fn refusal(found: Counterexample, mask: &[String]) -> Problem {
    let shown = |text: &str| -> String {
        match text.char_indices().nth(SHOWN_CHARACTERS_MAX) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text.to_owned(),
        }
    };
    let hides = found.is_recent && !mask.is_empty();
    let event = found.event.to_string();
    let detail = if hides {
        let event = masked(&event.into(), mask);
        let place = "an upgrade's step or its result fails";
        format!(
            "{place}: the recent event {}",
            shown(&String::from_utf8_lossy(&event))
        )
    } else {
        let kind = if found.is_recent { "recent event" } else { "event" };
        let result = found.result.as_ref().map(|result| shown(&result.to_string()));
        let result = result.map_or_else(String::new, |result| format!(", which becomes {result}"));
        format!("{}: the {kind} {}{result}", found.cause, shown(&event))
    };
    let errors = found.errors.into_iter().map(|error| Fault {
        pointer: error.pointer,
        message: if hides {
            "the result breaks the newer schema here".to_owned()
        } else {
            error.message
        },
        keyword: Some(error.keyword),
    });
    Problem::new(Code::UpgradeRefused, detail).with_errors(errors.collect())
}
