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
    falls::{fate, outlook},
    input::{Faults, Input},
    listing::Query,
    precondition::{Precondition, Put},
    recent::mask_of,
    review::{Known, Whole},
    schemas::{find, source_of},
};
use crate::{
    json::Document,
    limits::{ATTRIBUTE_BYTES, DEPTH_CEILING, UPGRADE_RECENT_EVENTS, UPGRADE_STEPS},
    problem::{Code, Fault, Problem, ProblemBody},
    recent::{Recent, RecentEvent, RecentFilter, masked},
    registry::model::{Change, SchemaKey, State, TypeSchemas, Upgrade, UpgradeStep},
    validate::{Compiled, Counterexample, Outlook, check_step, check_upgrade},
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
        let schemas = state.schemas.get(&new.key.event_type);
        let checked = try_out(&admin, schemas, &old, &new, upgrade.clone()).await?;
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

/// Tries an upgrade on recent and made-up events of the older schema, as `schemas` of the type lead to it; gives how many
/// there were.
pub(super) async fn try_out(
    admin: &AdminState,
    schemas: Option<&Arc<TypeSchemas>>,
    older: &Whole,
    newer: &Whole,
    upgrade: Upgrade,
) -> Result<usize, Problem> {
    let state = admin.registry.state();
    let event_type = &older.key.event_type;
    let outlook = outlook(&state, event_type, schemas);
    let mask = mask_of(&state, event_type).to_vec();
    let (recent, older, newer) = (Arc::clone(&admin.recent), older.clone(), newer.clone());
    // Looking at all that is remembered and trying take longer than a thread that serves others may be held.
    let tried = tokio::task::spawn_blocking(move || {
        let compiled = |whole: &Whole| {
            Compiled::with(&whole.schema.text, &whole.texts)
                .map_err(|cause| Problem::new(Code::SchemaInvalid, cause))
        };
        let events = last_events(&recent, &outlook, &older.key);
        let (older, newer) = (compiled(&older)?, compiled(&newer)?);
        check_upgrade(&older, &newer, &upgrade, events).map_err(|found| refusal(*found, &mask))
    });
    tried.await.unwrap_or_else(|error| {
        tracing::error!(%error, "the trial of an upgrade broke off");
        Err(Problem::new(Code::Internal, "the upgrade could not be tried"))
    })
}

/// The last events that the schema is for.
fn last_events(recent: &Recent, outlook: &Outlook, key: &SchemaKey) -> Vec<Document> {
    let filter = RecentFilter {
        event_type: Some(key.event_type.to_string()),
        source: key.source.clone(),
        ..RecentFilter::default()
    };
    let is_for = |event: &RecentEvent| {
        let attributes = &event.attributes;
        fate(outlook, &attributes.source, attributes.app_version.as_deref()).is_ok_and(|found| found == key)
    };
    let events = recent.matching(&filter, is_for, UPGRADE_RECENT_EVENTS);
    events
        .iter()
        .filter_map(|event| Document::parse(event.data.clone(), DEPTH_CEILING).ok())
        .collect()
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
