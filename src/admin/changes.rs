//! `/v1/changes`: the log, which is the audit trail.

use axum::extract::State as Extract;
use serde_json::Value;
use utoipa::ToSchema;

use super::{
    AdminState,
    answer::Answer,
    caller::{Caller, Viewer},
    listing::{Listing, Query},
};
use crate::{
    problem::{Code, Problem, ProblemBody},
    registry::model::{Change, Entry},
};

/// Members that no answer shows: digests of secrets, and the secrets of signing keys.
const MASKED: [&str; 2] = ["sha256", "signing_secret"];

/// Who changed what, when; the members beside these are the change's own.
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "only describes the answer: entries are written from the log's own form"
)]
pub struct ChangeView {
    sequence: u64,
    #[schema(value_type = String, format = DateTime)]
    at: jiff::Timestamp,
    /// Name of the token that changed it.
    by: String,
    /// `put_partner`, `delete_partner`, `create_key`, `revoke_key`, `put_type`, `put_schema`, `delete_schema`,
    /// `add_plugin_version`, `activate_plugin`, `shadow_plugin`, `roll_back_plugin`, `put_route`, `delete_route`,
    /// `put_table`, `delete_table`, `create_token`, `delete_token` or `note`.
    change: String,
}

/// List changes, from the oldest on. `after` is a sequence number.
#[utoipa::path(get, path = "/v1/changes", tag = "changes", operation_id = "list_changes",
    params(("limit" = Option<u16>, Query, minimum = 1, maximum = 1000), ("after" = Option<u64>, Query)),
    responses((status = 200, body = Listing<ChangeView>), (status = "4XX", body = ProblemBody)))]
pub async fn list(_caller: Caller<Viewer>, Extract(admin): Extract<AdminState>, query: Query) -> Answer {
    query.allow(&["limit", "after"]);
    let after = query.parsed::<u64>("after").unwrap_or(0);
    let limit = query.page().limit;
    query.finish()?;
    let (entries, more) = admin.registry.changes(after, limit).await?;
    let next = entries
        .last()
        .filter(|_| more)
        .map(|entry| entry.sequence.to_string());
    let items = entries
        .iter()
        .map(shown)
        .collect::<Result<Vec<Value>, Problem>>()?;
    Listing { items, next }.answer()
}

fn shown(entry: &Entry) -> Result<Value, Problem> {
    let mut value = serde_json::to_value(entry).map_err(|error| {
        tracing::error!(%error, sequence = entry.sequence, "an entry of the log cannot be shown");
        Problem::new(Code::Internal, "an entry of the log cannot be shown")
    })?;
    let secret = match &entry.change {
        Change::CreateKey { .. } => value.get_mut("key"),
        Change::CreateToken { .. } => value.get_mut("token"),
        _ => None,
    };
    if let Some(members) = secret.and_then(Value::as_object_mut) {
        members.retain(|name, _| !MASKED.contains(&name.as_str()));
    }
    Ok(value)
}
