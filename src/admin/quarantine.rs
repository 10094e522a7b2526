//! `/v1/quarantine`.

use axum::{body::Body, extract::State as Extract};
use http::StatusCode;
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::{
    AdminState, QuarantineQuery, Sweep,
    answer::{Answer, json as answer, not_found},
    body::{Names, read_json},
    caller::{Caller, Operator, Viewer},
    input::{Faults, Input},
    listing::{Listing, Query},
};
use crate::{
    limits::ATTRIBUTE_BYTES,
    pipeline::Replay,
    problem::{Problem, ProblemBody},
    quarantine::{Filter, Item, Report, WholeItem},
    registry::model::Change,
};

/// Items that one replay or discard takes.
const SWEEP_MAX: u64 = 10_000;
const FILTER: [&str; 6] = ["partner", "type", "appversion", "code", "from", "to"];

/// What a replay or discard takes: a filter, and how much.
#[derive(Serialize, ToSchema)]
pub struct SweepBody {
    #[serde(flatten)]
    filter: Filter,
    /// Only count.
    #[schema(default = false)]
    dry_run: Option<bool>,
    #[schema(minimum = 1, maximum = 10000, default = 10000)]
    limit: Option<u64>,
    /// The `next` of the call before: only for a replay.
    after: Option<String>,
}

/// List quarantined events.
#[utoipa::path(get, path = "/v1/quarantine", tag = "quarantine", operation_id = "list_quarantine",
    params(Filter, ("limit" = Option<u16>, Query, minimum = 1, maximum = 1000), ("after" = Option<String>, Query)),
    responses((status = 200, body = Listing<Item>), (status = "4XX", body = ProblemBody)))]
pub async fn list(_caller: Caller<Viewer>, Extract(admin): Extract<AdminState>, query: Query) -> Answer {
    let names: Vec<&str> = FILTER.into_iter().chain(["limit", "after"]).collect();
    query.allow(&names);
    let filter = Filter {
        partner: query.text("partner"),
        event_type: query.text("type"),
        app_version: query.text("appversion"),
        code: query.parsed("code"),
        from: query.parsed("from"),
        to: query.parsed("to"),
    };
    let page = query.page();
    query.finish()?;
    let wanted = QuarantineQuery {
        filter,
        after: page.after,
        limit: page.limit,
    };
    let (items, next) = (admin.actions.list_quarantine)(wanted).await?;
    Listing { items, next }.answer()
}

/// A quarantined event with all that was kept.
#[utoipa::path(get, path = "/v1/quarantine/{id}", tag = "quarantine", operation_id = "get_quarantined",
    params(("id" = String, Path)),
    responses((status = 200, body = WholeItem), (status = "4XX", body = ProblemBody)))]
pub async fn get(
    _caller: Caller<Viewer>,
    Extract(admin): Extract<AdminState>,
    Names(id): Names<String>,
) -> Answer {
    let found = (admin.actions.get_quarantined)(id.clone()).await?;
    let item = found.ok_or_else(|| not_found("quarantined event", &id))?;
    answer(StatusCode::OK, &item)
}

/// Process quarantined events again, with the schemas, plugins and routes of now.
#[utoipa::path(post, path = "/v1/quarantine/replay", tag = "quarantine", operation_id = "replay_quarantine",
    request_body = SweepBody,
    responses((status = 200, body = Report), (status = "4XX", body = ProblemBody)))]
pub async fn replay(caller: Caller<Operator>, Extract(admin): Extract<AdminState>, body: Body) -> Answer {
    let sweep = read(&read_json(body).await?, true)?;
    note(&admin, &caller.name, "quarantine.replay", &sweep).await?;
    answer(StatusCode::OK, &(admin.actions.replay)(sweep).await?)
}

/// List the replays of this node, under way and done, the newest first.
#[utoipa::path(get, path = "/v1/quarantine/replays", tag = "quarantine", operation_id = "list_replays",
    responses((status = 200, body = Listing<Replay>), (status = "4XX", body = ProblemBody)))]
pub async fn replays(_caller: Caller<Viewer>, Extract(admin): Extract<AdminState>, query: Query) -> Answer {
    query.allow(&[]);
    query.finish()?;
    let items = (admin.actions.replays)();
    Listing { items, next: None }.answer()
}

/// Throw quarantined events away.
#[utoipa::path(post, path = "/v1/quarantine/discard", tag = "quarantine", operation_id = "discard_quarantine",
    request_body = SweepBody,
    responses((status = 200, body = Report), (status = "4XX", body = ProblemBody)))]
pub async fn discard(caller: Caller<Operator>, Extract(admin): Extract<AdminState>, body: Body) -> Answer {
    let sweep = read(&read_json(body).await?, false)?;
    note(&admin, &caller.name, "quarantine.discard", &sweep).await?;
    answer(StatusCode::OK, &(admin.actions.discard)(sweep).await?)
}

/// Writes who wants what before it is done: nothing is thrown away without a trace.
async fn note(admin: &AdminState, by: &str, action: &'static str, sweep: &Sweep) -> Result<(), Problem> {
    if sweep.dry_run {
        return Ok(());
    }
    let detail = json!({ "filter": sweep.filter, "limit": sweep.limit });
    let note = move |_: &_| {
        let change = Change::Note {
            action: action.to_owned(),
            detail: detail.clone(),
        };
        Ok((Some(change), ()))
    };
    admin.registry.commit(by, note).await.map(drop)
}

fn read(value: &serde_json::Value, may_go_on: bool) -> Result<Sweep, Problem> {
    let faults = Faults::default();
    let mut sweep = Sweep {
        filter: Filter::default(),
        limit: SWEEP_MAX,
        dry_run: false,
        after: None,
    };
    let after = may_go_on.then_some("after");
    let names: Vec<&str> = FILTER
        .into_iter()
        .chain(["dry_run", "limit"])
        .chain(after)
        .collect();
    if let Some(members) = Input::root(value, &faults).members(&names) {
        let text = |name| members.get(name).filled_text(ATTRIBUTE_BYTES).map(str::to_owned);
        sweep.filter = Filter {
            partner: text("partner"),
            event_type: text("type"),
            app_version: text("appversion"),
            code: members.get("code").parsed(),
            from: members.get("from").parsed(),
            to: members.get("to").parsed(),
        };
        sweep.dry_run = members.get("dry_run").boolean().unwrap_or(false);
        sweep.limit = members.get("limit").integer(1..=SWEEP_MAX).unwrap_or(SWEEP_MAX);
        sweep.after = members.get("after").parsed();
    }
    faults.into_result()?;
    Ok(sweep)
}
