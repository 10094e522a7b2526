//! `POST /v1/plugins/{plugin}/test`: what a version would change.

use std::sync::Arc;

use axum::{body::Body, extract::State as Extract};
use bytes::Bytes;
use http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    AdminState,
    activation::{routes_with, version_of},
    answer::{Answer, json, not_found},
    body::{Names, known, parse, read},
    caller::{Caller, Publisher},
    input::{Faults, Input},
};
use crate::{
    event::{Attributes, Decoded, EventType, PartnerName, PluginName, RouteName},
    json::Document,
    limits::{ATTRIBUTE_BYTES, PLUGIN_TEST_EVENTS},
    pipeline::TrialReport,
    problem::ProblemBody,
    registry::model::PluginVersion,
};

const RECENT: usize = 100;
/// The partner of events that name none.
const PARTNER: &str = "test";

/// What is to be tried.
#[derive(Serialize, ToSchema)]
pub struct TestBody {
    #[schema(minimum = 1)]
    version: u32,
    /// In the place of the routes' own configuration.
    #[schema(value_type = Option<Object>)]
    config: Option<Value>,
    /// Events with their attributes, as they are sent; `type` and `data` are needed, `partner` may stand there too.
    #[schema(value_type = Option<Vec<Object>>, max_items = 1000)]
    events: Option<Vec<Value>>,
    /// Events of the plugin's cases, with `schema` where it matters: given to both versions as they are, with `config`,
    /// whatever routes and schemas say.
    #[schema(value_type = Option<Vec<Object>>, max_items = 1000)]
    cases: Option<Vec<Value>>,
    /// So many of the last events of this node that go to routes with the plugin.
    #[schema(minimum = 1, maximum = 1000, default = 100)]
    recent: Option<u16>,
}

/// A version, and the events that it is to be tried on.
#[derive(Clone, Debug)]
pub struct PluginTest {
    pub plugin: PluginName,
    pub version: PluginVersion,
    pub active: Option<PluginVersion>,
    /// The routes with the plugin, each with its configuration.
    pub routes: Vec<(RouteName, Option<Value>)>,
    pub config: Option<Value>,
    /// None: so many recent ones.
    pub events: Result<Vec<Decoded>, usize>,
    /// Of cases: the schema that each says it keeps. Absent: routes and schemas say what the plugin gets.
    pub attested: Option<Vec<Arc<str>>>,
}

/// The events' data, byte for byte.
#[derive(Deserialize)]
struct Given {
    #[serde(alias = "cases")]
    events: Vec<GivenEvent>,
}

#[derive(Deserialize)]
struct GivenEvent {
    data: Box<RawValue>,
}

/// Try a version on events, beside the active one.
///
/// Nothing is sent or kept. Each event runs in a fresh instance and in
/// one that has run the others; a pure function gives the same.
#[utoipa::path(post, path = "/v1/plugins/{plugin}/test", tag = "plugins", operation_id = "test_plugin_version",
    params(("plugin" = String, Path)),
    request_body = TestBody,
    responses((status = 200, body = TrialReport), (status = "4XX", body = ProblemBody)))]
pub async fn test(
    _caller: Caller<Publisher>,
    Extract(admin): Extract<AdminState>,
    Names(name): Names<String>,
    body: Body,
) -> Answer {
    let name: PluginName = known("plugin", &name)?;
    let text = read(body, admin.limits.body_bytes).await?;
    let value = parse(&text)?;
    let state = admin.registry.fresh_state().await?;
    let plugin = state
        .plugins
        .get(&name)
        .ok_or_else(|| not_found("plugin", name.as_str()))?;
    let faults = Faults::default();
    let mut test = None;
    if let Some(members) =
        Input::root(&value, &faults).members(&["version", "config", "events", "cases", "recent"])
    {
        let version = version_of(&members.get("version").required(), &plugin.value);
        let (events, cases) = (members.get("events"), members.get("cases"));
        let recent = members.get("recent");
        if events.is_present() && cases.is_present() {
            cases.fault("stands beside events: give one of them");
        }
        if recent.is_present() && (events.is_present() || cases.is_present()) {
            recent.fault("stands beside events: give one of them");
        }
        let mut attested = None;
        let events = if events.is_present() {
            Ok(given(&events, &text, admin.limits.depth, &EVENT_MEMBERS)
                .into_iter()
                .map(|(event, _)| event)
                .collect())
        } else if cases.is_present() {
            let (events, schemas) = given(&cases, &text, admin.limits.depth, &CASE_MEMBERS)
                .into_iter()
                .unzip();
            attested = Some(schemas);
            Ok(events)
        } else {
            let most = PLUGIN_TEST_EVENTS as u64;
            let count = recent
                .integer(1..=most)
                .and_then(|count| usize::try_from(count).ok());
            Err(count.unwrap_or(RECENT))
        };
        test = version.map(|version| PluginTest {
            plugin: name.clone(),
            version: version.clone(),
            active: plugin.value.active_version().cloned(),
            routes: routes_with(&state, &name)
                .map(|(route, known)| (route.clone(), known.value.config.clone()))
                .collect(),
            config: members.get("config").value().cloned(),
            events,
            attested,
        });
    }
    faults.into_result()?;
    let test = test.ok_or_else(|| not_found("version", ""))?;
    json(StatusCode::OK, &(admin.actions.test_plugin)(test).await?)
}

const EVENT_MEMBERS: [&str; 10] = [
    "specversion",
    "id",
    "source",
    "type",
    "subject",
    "time",
    "appversion",
    "partner",
    "datacontenttype",
    "data",
];
const CASE_MEMBERS: [&str; 9] = [
    "id",
    "source",
    "type",
    "subject",
    "time",
    "appversion",
    "partner",
    "schema",
    "data",
];

/// Events, each with the schema that it names or one of its type.
fn given(events: &Input<'_>, text: &Bytes, depth: u32, names: &[&str]) -> Vec<(Decoded, Arc<str>)> {
    let elements = events.elements(PLUGIN_TEST_EVENTS);
    if elements.is_empty() {
        events.fault("must hold an event");
    }
    let raw = serde_json::from_slice::<Given>(text)
        .map(|given| given.events)
        .unwrap_or_default();
    let mut raw = raw.into_iter();
    let read = elements.iter().filter_map(|element| {
        let data = raw
            .next()
            .map(|event| Bytes::copy_from_slice(event.data.get().as_bytes()));
        one(element, data, depth, names)
    });
    read.collect()
}

fn one(element: &Input<'_>, data: Option<Bytes>, depth: u32, names: &[&str]) -> Option<(Decoded, Arc<str>)> {
    let members = element.members(names)?;
    let text = |name: &str| members.get(name).filled_text(ATTRIBUTE_BYTES).map(str::to_owned);
    let partner: PartnerName = match members.get("partner").parsed() {
        Some(partner) => partner,
        None => PARTNER.parse().ok()?,
    };
    let event_type = members.get("type").required().parsed();
    let value = members.get("data");
    let data = data.or_else(|| Some(Bytes::from(value.value()?.to_string())));
    if data.is_none() {
        value.fault("is missing");
    }
    let received = Timestamp::now();
    let document = Document::parse(data?, depth)
        .map_err(|error| value.fault(error.to_string()))
        .ok()?;
    let event_type: EventType = event_type?;
    let schema = text("schema").unwrap_or_else(|| format!("{event_type}@1"));
    let decoded = Decoded {
        attributes: Arc::new(Attributes {
            id: text("id").unwrap_or_else(|| Uuid::now_v7().to_string()).into(),
            source: text("source").unwrap_or_else(|| format!("/partners/{partner}")),
            event_type,
            time: text("time").unwrap_or_else(|| received.to_string()),
            subject: text("subject"),
            app_version: text("appversion"),
            client_ip: None,
            user_agent: None,
        }),
        partner,
        data: document,
        received,
        id_generated: false,
        traceparent: None,
    };
    Some((decoded, schema.into()))
}
