//! `/v1/plugins/{plugin}/logs`.

use axum::extract::State as Extract;
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    AdminState,
    answer::{Answer, not_found},
    body::{Names, known},
    caller::{Caller, Publisher},
    listing::{Listing, Query},
};
use crate::{event::PluginName, problem::ProblemBody, transform::KeptLine};

const LEVELS: [&str; 4] = ["debug", "info", "warn", "error"];

/// A line that a plugin wrote, or why a call of it failed.
#[derive(Serialize, ToSchema)]
pub struct PluginLine {
    sequence: u64,
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    version: u32,
    partner: String,
    event_id: String,
    /// `debug`, `info`, `warn` or `error`.
    level: &'static str,
    message: String,
}

/// List the last lines that a plugin wrote on this node, the oldest first.
///
/// Rejections and failures stand among them. Without `after` these are
/// the last `limit` lines; with it, those after that sequence.
#[utoipa::path(get, path = "/v1/plugins/{plugin}/logs", tag = "plugins", operation_id = "list_plugin_logs",
    params(("plugin" = String, Path), ("version" = Option<u32>, Query), ("partner" = Option<String>, Query),
        ("event" = Option<String>, Query), ("level" = Option<String>, Query, description = "This level and above"),
        ("limit" = Option<u16>, Query, minimum = 1, maximum = 1000), ("after" = Option<u64>, Query)),
    responses((status = 200, body = Listing<PluginLine>), (status = "4XX", body = ProblemBody)))]
pub async fn list(
    _caller: Caller<Publisher>,
    Extract(admin): Extract<AdminState>,
    Names(name): Names<String>,
    query: Query,
) -> Answer {
    let name: PluginName = known("plugin", &name)?;
    query.allow(&["version", "partner", "event", "level", "limit", "after"]);
    let version: Option<u32> = query.parsed("version");
    let (partner, event) = (query.text("partner"), query.text("event"));
    let level = query.choice("level", &LEVELS);
    let after: Option<u64> = query.parsed("after");
    let limit = query.page().limit;
    query.finish()?;
    if !admin.registry.state().plugins.contains_key(&name) {
        return Err(not_found("plugin", name.as_str()).into());
    }
    let rank = |level: &str| LEVELS.iter().position(|known| *known == level);
    let lines = (admin.actions.plugin_log)(&name);
    let mut lines: Vec<PluginLine> = lines
        .iter()
        .filter(|line| after.is_none_or(|after| line.sequence > after))
        .filter(|line| version.is_none_or(|version| version_of(line) == version))
        .filter(|line| {
            partner
                .as_deref()
                .is_none_or(|partner| partner == line.partner.as_str())
        })
        .filter(|line| event.as_deref().is_none_or(|event| event == &*line.event_id))
        .filter(|line| {
            level
                .as_deref()
                .is_none_or(|level| rank(line.level.as_str()) >= rank(level))
        })
        .map(|line| PluginLine {
            sequence: line.sequence,
            at: line.at,
            version: version_of(line),
            partner: line.partner.to_string(),
            event_id: line.event_id.to_string(),
            level: line.level.as_str(),
            message: line.message.clone(),
        })
        .collect();
    let surplus = lines.len().saturating_sub(limit);
    if after.is_none() {
        lines.drain(..surplus);
    } else {
        lines.truncate(limit);
    }
    let next = lines.last().map(|line| line.sequence.to_string());
    Listing {
        next: next.filter(|_| after.is_some() && surplus > 0),
        items: lines,
    }
    .answer()
}

fn version_of(line: &KeptLine) -> u32 {
    let number = line
        .label
        .rsplit_once('@')
        .and_then(|(_, version)| version.parse().ok());
    number.unwrap_or_default()
}
