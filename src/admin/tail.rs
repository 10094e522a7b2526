//! `/v1/tail`: events and records as they pass, as server-sent events.

use std::{convert::Infallible, time::Duration};

use axum::{
    extract::State as Extract,
    response::{
        IntoResponse as _,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures::stream;
use serde::Serialize;
use serde_json::Value;
use tokio::time::{Interval, MissedTickBehavior, interval};
use utoipa::ToSchema;

use super::{
    AdminState,
    answer::Answer,
    caller::{Caller, Lease, Viewer},
    listing::Query,
    recent::mask_of,
};
use crate::{
    event::Attributes,
    json::pointer_tokens,
    limits::TAIL_WATCHERS,
    problem::{Code, Problem, ProblemBody},
    recent::{Hiding, Next, Passed, Watcher},
    registry::{model::State, now},
};

/// Between two signs of life where nothing passes.
const SIGN_OF_LIFE: Duration = Duration::from_secs(10);
/// Between two looks, where nothing passes, whether the token still holds.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// An event that passes.
#[derive(Serialize, ToSchema)]
pub struct TailEvent {
    partner: String,
    /// `accepted`, `duplicate`, `quarantined` or `rejected`.
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    code: Option<Code>,
    #[schema(value_type = String)]
    received: jiff::Timestamp,
    /// Bytes of the data.
    size: usize,
    /// Hidden likewise.
    #[schema(value_type = Object)]
    attributes: Attributes,
    /// What the type's `mask` names, and what looks like a credential, is `"***"`. Absent where it is large.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Object)]
    data: Option<Value>,
    records: Vec<TailRecord>,
}

/// One of its records.
#[derive(Serialize, ToSchema)]
pub struct TailRecord {
    destination: String,
    topic: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    /// `NAME@VERSION`.
    #[serde(skip_serializing_if = "Option::is_none")]
    plugin: Option<String>,
    size: usize,
    /// Hidden likewise. Absent where it is large or no JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Object)]
    value: Option<Value>,
}

/// Which events; absent members match any.
#[derive(Default)]
pub struct TailFilter {
    partner: Option<String>,
    event_type: Option<String>,
    status: Option<String>,
    code: Option<Code>,
    /// With or without a version.
    plugin: Option<String>,
    /// A place in the data, and its value.
    r#where: Option<(String, String)>,
}

impl TailFilter {
    fn read(query: &Query) -> TailFilter {
        let place = query.text("where").and_then(|text| {
            let read = text
                .split_once('=')
                .filter(|(pointer, _)| pointer_tokens(pointer).is_ok());
            if read.is_none() {
                query.fault(
                    "where",
                    "must be a JSON Pointer, = and a value, such as /user/plan=pro",
                );
            }
            read.map(|(pointer, value)| (pointer.to_owned(), value.to_owned()))
        });
        TailFilter {
            partner: query.text("partner"),
            event_type: query.text("type"),
            status: query.choice("status", &["accepted", "duplicate", "quarantined", "rejected"]),
            code: query.parsed("code"),
            plugin: query.text("plugin"),
            r#where: place,
        }
    }

    /// What can be told before the event is made ready to be shown.
    fn matches(&self, event: &Passed) -> bool {
        let is =
            |wanted: &Option<String>, found: &str| wanted.as_deref().is_none_or(|wanted| wanted == found);
        is(&self.partner, event.partner.as_str())
            && is(&self.event_type, event.attributes.event_type.as_str())
            && is(&self.status, event.status)
            && self.code.is_none_or(|code| Some(code) == event.code)
            && self.plugin.as_deref().is_none_or(|plugin| ran(event, plugin))
    }

    /// What is hidden cannot be found out by asking for it: `data` is masked.
    fn finds(&self, data: Option<&Value>) -> bool {
        self.r#where.as_ref().is_none_or(|(pointer, wanted)| {
            let found = data.and_then(|data| data.pointer(pointer));
            found.is_some_and(|found| match found {
                Value::String(text) => text == wanted,
                other => serde_json::from_str::<Value>(wanted).is_ok_and(|wanted| *other == wanted),
            })
        })
    }
}

fn ran(event: &Passed, plugin: &str) -> bool {
    let mut labels = event.records.iter().filter_map(|record| record.plugin.as_deref());
    labels.any(|label| label == plugin || label.rsplit_once('@').is_some_and(|(name, _)| name == plugin))
}

/// Watch events and their records as they pass this node, as server-sent events.
///
/// Each is an `event`. Who reads too slowly misses some: `missed` says how many. When the token is deleted or expires,
/// `ended` says so, and nothing comes after it.
#[utoipa::path(get, path = "/v1/tail", tag = "recent", operation_id = "tail", 
    params(("partner" = Option<String>, Query), ("type" = Option<String>, Query),
        ("status" = Option<String>, Query, description = "`accepted`, `duplicate`, `quarantined` or `rejected`"),
        ("code" = Option<String>, Query),
        ("plugin" = Option<String>, Query, description = "NAME, or NAME@VERSION, of a plugin that made one of its records"),
        ("where" = Option<String>, Query, description = "`POINTER=VALUE`: the data has this value there; a text without quotation marks")),
    responses((status = 200, body = TailEvent, content_type = "text/event-stream"),
        (status = "4XX", body = ProblemBody)))]
pub async fn tail(caller: Caller<Viewer>, Extract(admin): Extract<AdminState>, query: Query) -> Answer {
    query.allow(&["partner", "type", "status", "code", "plugin", "where"]);
    let filter = TailFilter::read(&query);
    query.finish()?;
    let watcher = admin.tap.watch(TAIL_WATCHERS).ok_or_else(|| {
        Problem::new(
            Code::Overloaded,
            format!("{TAIL_WATCHERS} clients watch already; end one of them"),
        )
    })?;
    let watch = Watch::new(watcher, admin, filter, caller.lease);
    let events = stream::unfold(watch, |mut watch| async move {
        let event = watch.next().await?;
        Some((Ok::<_, Infallible>(event), watch))
    });
    let mut response = Sse::new(events)
        .keep_alive(KeepAlive::new().interval(SIGN_OF_LIFE))
        .into_response();
    // Nothing between here and the client may hold events back.
    response
        .headers_mut()
        .insert("x-accel-buffering", http::HeaderValue::from_static("no"));
    Ok(response)
}

/// What one client is told.
struct Watch {
    watcher: Watcher,
    admin: AdminState,
    filter: TailFilter,
    lease: Lease,
    looks: Interval,
    has_ended: bool,
}

impl Watch {
    fn new(watcher: Watcher, admin: AdminState, filter: TailFilter, lease: Lease) -> Watch {
        let mut looks = interval(LOOK_INTERVAL);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Watch {
            watcher,
            admin,
            filter,
            lease,
            looks,
            has_ended: false,
        }
    }

    async fn next(&mut self) -> Option<Event> {
        if self.has_ended {
            return None;
        }
        loop {
            let next = tokio::select! {
                next = self.watcher.next() => Some(next),
                _ = self.looks.tick() => None,
            };
            let state = self.admin.registry.state();
            // Before anything is told: a token that is gone shows no event more.
            if let Some(reason) = self.lease.end(&state, now()) {
                self.has_ended = true;
                return Some(Event::default().event("ended").data(reason));
            }
            let told = match next {
                Some(Next::Missed(events)) => Some(Event::default().event("missed").data(events.to_string())),
                Some(Next::Event(event)) => self.told(&event, &state),
                None => None,
            };
            if told.is_some() {
                return told;
            }
        }
    }

    fn told(&self, event: &Passed, state: &State) -> Option<Event> {
        if !self.filter.matches(event) {
            return None;
        }
        let shown = shown(event, state);
        if !self.filter.finds(shown.data.as_ref()) {
            return None;
        }
        Event::default().event("event").json_data(&shown).ok()
    }
}

fn shown(event: &Passed, state: &State) -> TailEvent {
    let mask = mask_of(state, &event.attributes.event_type);
    // Of an event that is too large to be looked through, nothing is known that must be hidden around it.
    let hiding = match &event.data.json {
        Some(data) => Hiding::new(mask, data),
        None => Hiding::without_data(mask),
    };
    let is_known = mask.is_empty() || event.data.json.is_some();
    TailEvent {
        partner: event.partner.to_string(),
        status: event.status,
        code: event.code,
        received: event.received,
        size: event.data.size,
        attributes: hiding.attributes(&event.attributes),
        data: event.data.json.as_ref().map(|data| hiding.data(data)),
        records: event
            .records
            .iter()
            .map(|record| TailRecord {
                destination: record.destination.to_string(),
                topic: record.topic.to_string(),
                key: record.key.as_ref().map(|key| hiding.text(key)),
                plugin: record.plugin.as_deref().map(str::to_owned),
                size: record.value.size,
                value: record
                    .value
                    .json
                    .as_ref()
                    .filter(|_| is_known)
                    .map(|value| hiding.record(value)),
            })
            .collect(),
    }
}
