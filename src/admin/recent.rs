//! `/v1/recent`.

use axum::extract::State as Extract;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::{
    AdminState,
    answer::Answer,
    caller::{Caller, Viewer},
    listing::{Listing, Query},
};
use crate::{
    event::{Attributes, EventType},
    problem::{Code, Problem, ProblemBody},
    recent::{Hiding, RecentEvent, RecentFilter, masked},
    registry::model::State,
};

/// An event that passed this node.
#[derive(Serialize, ToSchema)]
pub struct Recent {
    partner: String,
    /// `accepted`, `quarantined` or `rejected`.
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    code: Option<Code>,
    #[schema(value_type = String)]
    received: Timestamp,
    /// Bytes of the data.
    size: u64,
    /// The event's CloudEvents attributes; what is hidden in its data is hidden here, and what looks like a credential.
    #[schema(value_type = Object)]
    attributes: Attributes,
    /// As sent; what the type's `mask` names is `"***"`.
    #[schema(value_type = Object)]
    data: Box<RawValue>,
}

/// List the last events that passed this node, the newest first. A busy stream is sampled.
#[utoipa::path(get, path = "/v1/recent", tag = "recent", operation_id = "list_recent",
    params(RecentFilter, ("limit" = Option<u16>, Query, minimum = 1, maximum = 1000), ("after" = Option<String>, Query)),
    responses((status = 200, body = Listing<Recent>), (status = "4XX", body = ProblemBody)))]
pub async fn list(_caller: Caller<Viewer>, Extract(admin): Extract<AdminState>, query: Query) -> Answer {
    query.allow(&[
        "partner",
        "type",
        "source",
        "appversion",
        "status",
        "code",
        "from",
        "to",
        "limit",
        "after",
    ]);
    let filter = RecentFilter {
        partner: query.text("partner"),
        event_type: query.text("type"),
        source: query.text("source"),
        app_version: query.text("appversion"),
        status: query.choice("status", &["accepted", "quarantined", "rejected"]),
        code: query.parsed("code"),
        from: query.parsed("from"),
        to: query.parsed("to"),
    };
    let page = query.page();
    let before = page.after.as_deref().and_then(|text| {
        let sequence = text.parse().ok();
        if sequence.is_none() {
            query.fault("after", "is no cursor: use the `next` of the page before");
        }
        sequence
    });
    query.finish()?;
    let mut events = admin.recent.events(&filter, before, page.limit + 1);
    let has_more = events.len() > page.limit;
    events.truncate(page.limit);
    let state = admin.registry.state();
    let items = events
        .iter()
        .map(|event| shown(event, &state))
        .collect::<Result<_, _>>()?;
    let next = events.last().filter(|_| has_more);
    Listing {
        items,
        next: next.map(|event| event.sequence.to_string()),
    }
    .answer()
}

fn shown(event: &RecentEvent, state: &State) -> Result<Recent, Problem> {
    let mask = mask_of(state, &event.attributes.event_type);
    let data = masked(&event.data, mask);
    let data = serde_json::from_slice(&data).map_err(|error| {
        tracing::error!(%error, "a recent event cannot be shown");
        Problem::new(Code::Internal, "an event cannot be shown; see the gateway's log")
    })?;
    Ok(Recent {
        partner: event.partner.to_string(),
        status: event.status.as_str(),
        code: event.code,
        received: event.received,
        size: event.data.len() as u64,
        attributes: Hiding::new(mask, &event.data).attributes(&event.attributes),
        data,
    })
}

/// What is hidden of the type's events where they are shown.
pub(super) fn mask_of<'s>(state: &'s State, event_type: &EventType) -> &'s [String] {
    state
        .types
        .get(event_type)
        .map_or(&[], |entry| entry.value.mask.as_slice())
}
