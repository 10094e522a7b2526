//! `DELETE /v1/schemas/{type}/{since}`: what it would do to others, and doing it.

use std::sync::Arc;

use axum::extract::State as Extract;
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    AdminState,
    answer::{Answer, json, no_content},
    body::Names,
    caller::{Caller, Publisher},
    falls::{Falls, falls, outlook},
    listing::Query,
    precondition::Precondition,
    references::{SchemaName, referrers},
    review::{Known, Whole},
    schemas::{ATTEMPTS, find},
    upgrades::try_out,
};
use crate::{
    problem::{Code, Problem, ProblemBody},
    registry::model::{Change, Role, SchemaKey, State, TypeSchemas, Upgrade, Versioned},
};

/// What the deletion of a schema would do.
#[derive(Serialize, ToSchema)]
pub struct Deletion {
    /// App versions that were seen lately.
    falls: Vec<Falls>,
    /// Schemas that refer to it: while there are any, it is deleted only with `force`.
    referred_by: Vec<SchemaName>,
    /// Why the upgrade of its events to the next version would not do for those of the version before it: then it is
    /// deleted only with `force`.
    #[serde(skip_serializing_if = "Option::is_none")]
    upgrade_refused: Option<String>,
}

/// Delete a schema.
///
/// Events that it was for are then checked by the version before it, or wait in quarantine: `dry_run` says which app
/// versions that are, and deletes nothing. Only with `force` (role operator) goes a schema that others refer to: events
/// of those wait in quarantine then, until it is there again; or one without which the upgrade to the next version
/// would not do.
#[utoipa::path(delete, path = "/v1/schemas/{type}/{since}", tag = "schemas", operation_id = "delete_schema",
    params(("type" = String, Path), ("since" = String, Path), ("source" = Option<String>, Query),
        ("dry_run" = Option<bool>, Query), ("force" = Option<bool>, Query), ("If-Match" = Option<String>, Header)),
    responses((status = 200, body = Deletion), (status = 204), (status = "4XX", body = ProblemBody)))]
pub async fn delete(
    caller: Caller<Publisher>,
    Extract(admin): Extract<AdminState>,
    Names((event_type, since)): Names<(String, String)>,
    query: Query,
    precondition: Precondition,
) -> Answer {
    query.allow(&["source", "dry_run", "force"]);
    let source = query.text("source");
    let (dry_run, force) = (query.flag("dry_run"), query.flag("force"));
    query.finish()?;
    if force {
        caller.require(Role::Operator, "force")?;
    }
    for _ in 0..ATTEMPTS {
        let state = admin.registry.state();
        let key = find(&state, &event_type, &since, source.clone())?.value.0.clone();
        let moved = moved(&state, &key);
        let left = left(&state, &key);
        let refused = match &moved {
            Some(moved) => moved.refusal(&admin, &state, left.as_ref()).await,
            None => None,
        };
        if dry_run {
            let upgrade_refused = refused.map(|problem| problem.detail);
            let deletion = Deletion {
                falls: would_fall(&admin, &state, &key, left.as_ref()).await?,
                referred_by: referrers(&admin, &state, &key),
                upgrade_refused,
            };
            return json(StatusCode::OK, &deletion);
        }
        let (looking, precondition) = (admin.clone(), precondition.clone());
        let committed = admin
            .registry
            .commit(&caller.name, move |state| {
                decide(&looking, state, &key, &precondition, (&moved, &refused), force)
            })
            .await?;
        // None: what the upgrade was tried between has changed meanwhile.
        if committed.outcome.is_some() {
            return no_content();
        }
    }
    let detail =
        "the registry's schemas change faster than the upgrade can be tried without this one; send it again";
    Err(Problem::new(Code::Conflict, detail).into())
}

/// `tried` is the upgrade that would begin elsewhere, and `refused` why it would not do.
fn decide(
    admin: &AdminState,
    state: &State,
    key: &SchemaKey,
    precondition: &Precondition,
    (tried, refused): (&Option<Moved>, &Option<Problem>),
    force: bool,
) -> Result<(Option<Change>, Option<()>), Problem> {
    let known = find(state, key.event_type.as_str(), &key.since, key.source.clone())?;
    precondition.check(Some(known.sequence))?;
    let key = known.value.0.clone();
    let referrers = admin.references(state).referrers(&key);
    if !force && !referrers.is_empty() {
        return Err(referenced(&referrers));
    }
    if moved(state, &key) != *tried {
        return Ok((None, None));
    }
    if let (false, Some(problem)) = (force, refused) {
        return Err(problem.clone());
    }
    let forced = !referrers.is_empty() || refused.is_some();
    Ok((Some(Change::DeleteSchema { key, forced }), Some(())))
}

fn referenced(referrers: &[SchemaKey]) -> Problem {
    let names: Vec<String> = referrers.iter().map(SchemaKey::to_string).collect();
    let refer = match &names[..] {
        [one] => format!("{one} refers"),
        several => format!("{} refer", several.join(", ")),
    };
    let detail = format!(
        "{refer} to it, and could not be used without it; delete or change that first, or give force=true as an \
         operator: their events then wait in quarantine until it is there again"
    );
    Problem::new(Code::SchemaReferenced, detail)
}

async fn would_fall(
    admin: &AdminState,
    state: &State,
    key: &SchemaKey,
    left: Option<&Arc<TypeSchemas>>,
) -> Result<Vec<Falls>, Problem> {
    let before = outlook(state, &key.event_type, state.schemas.get(&key.event_type));
    let after = outlook(state, &key.event_type, left);
    let (recent, event_type) = (Arc::clone(&admin.recent), key.event_type.clone());
    let looked = tokio::task::spawn_blocking(move || falls(&recent, &event_type, &before, &after));
    looked.await.map_err(|error| {
        tracing::error!(%error, "the forecast of a deletion broke off");
        Problem::new(Code::Internal, "what was seen lately could not be looked at")
    })
}

/// The type's schemas without this one; none where it is the last.
fn left(state: &State, key: &SchemaKey) -> Option<Arc<TypeSchemas>> {
    let mut left = TypeSchemas::clone(state.schemas.get(&key.event_type)?);
    left.schemas.retain(|other| other.value.0 != *key);
    (!left.schemas.is_empty()).then(|| Arc::new(left))
}

/// An upgrade that would begin at another version.
#[derive(Clone)]
struct Moved {
    older: Known,
    newer: Known,
    upgrade: Arc<Versioned<(SchemaKey, Upgrade)>>,
}

impl PartialEq for Moved {
    fn eq(&self, other: &Moved) -> bool {
        Arc::ptr_eq(&self.older, &other.older)
            && Arc::ptr_eq(&self.newer, &other.newer)
            && Arc::ptr_eq(&self.upgrade, &other.upgrade)
    }
}

/// The upgrade from the schema of this key, which begins at the version before it where that is gone; none where there
/// is no such upgrade or no such version.
fn moved(state: &State, key: &SchemaKey) -> Option<Moved> {
    let of_type = state.schemas.get(&key.event_type)?;
    let upgrade = of_type.upgrades.iter().find(|known| {
        let from = of_type.before(&known.value.0);
        from.is_some_and(|from| from.value.0 == *key)
    })?;
    Some(Moved {
        older: Arc::clone(of_type.before(key)?),
        newer: Arc::clone(of_type.find(&upgrade.value.0)?),
        upgrade: Arc::clone(upgrade),
    })
}

impl Moved {
    /// Why it would not do with the schemas that are `left`; what refers to nowhere is not tried.
    async fn refusal(
        &self,
        admin: &AdminState,
        state: &State,
        left: Option<&Arc<TypeSchemas>>,
    ) -> Option<Problem> {
        let references = admin.references(state);
        let older = Whole::of(&self.older, &references).ok()?;
        let newer = Whole::of(&self.newer, &references).ok()?;
        let problem = try_out(admin, left, &older, &newer, self.upgrade.value.1.clone())
            .await
            .err()?;
        let (to, from) = (&newer.key, &older.key.since);
        let detail = format!(
            "the upgrade to {}@{} would begin at {from}, and not do: {}; mend or delete the upgrade first, or give \
             force=true as an operator",
            to.event_type, to.since, problem.detail
        );
        Some(Problem::new(Code::UpgradeRefused, detail).with_errors(problem.errors.clone()))
    }
}
