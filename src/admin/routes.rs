//! `/v1/routes`.

use std::collections::BTreeSet;

use axum::{body::Body, extract::State as Extract};
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    AdminState,
    activation::{Tried, try_configuration},
    answer::{Answer, no_content, not_found, put_status, resource},
    body::{Names, known, named, read_json},
    caller::{Caller, Publisher, Viewer},
    input::{Faults, Input},
    listing::{Listing, Query, page_of},
    precondition::{Precondition, Put, decide_put},
};
use crate::{
    event::{DestinationName, PluginName, RouteName},
    limits::ATTRIBUTE_BYTES,
    problem::{Problem, ProblemBody},
    registry::model::{
        Change, Form, Isolation, KEY_ATTRIBUTES, PluginVersion, Route, RouteMatch, RouteTarget, State,
    },
};

/// Destinations of one route.
const TARGETS_MAX: usize = 20;
/// Kafka's own bound on a topic's name.
const TOPIC_CHARACTERS_MAX: usize = 249;

/// A route with its name.
#[derive(Serialize, ToSchema)]
pub struct NamedRoute {
    #[schema(value_type = String)]
    name: RouteName,
    #[serde(flatten)]
    route: Route,
}

/// List routes, by name.
#[utoipa::path(get, path = "/v1/routes", tag = "routes", operation_id = "list_routes",
    params(("limit" = Option<u16>, Query, minimum = 1, maximum = 1000), ("after" = Option<String>, Query)),
    responses((status = 200, body = Listing<NamedRoute>), (status = "4XX", body = ProblemBody)))]
pub async fn list(_caller: Caller<Viewer>, Extract(admin): Extract<AdminState>, query: Query) -> Answer {
    let page = page_of(query)?;
    let state = admin.registry.state();
    let listing = page.of_map(&state.routes, |name, known| {
        Some(NamedRoute {
            name: name.clone(),
            route: known.value.clone(),
        })
    });
    listing.answer()
}

/// A route.
#[utoipa::path(get, path = "/v1/routes/{route}", tag = "routes", operation_id = "get_route",
    params(("route" = String, Path)),
    responses((status = 200, body = Route), (status = "4XX", body = ProblemBody)))]
pub async fn get(
    _caller: Caller<Viewer>,
    Extract(admin): Extract<AdminState>,
    Names(name): Names<String>,
) -> Answer {
    let state = admin.registry.state();
    let known = state
        .routes
        .get(name.as_str())
        .ok_or_else(|| not_found("route", &name))?;
    resource(StatusCode::OK, known.sequence, &known.value)
}

/// Make a route, or change it.
///
/// Its configuration is tried with the plugin's active version first.
#[utoipa::path(put, path = "/v1/routes/{route}", tag = "routes", operation_id = "put_route",
    params(("route" = String, Path), ("If-Match" = Option<String>, Header)),
    request_body = Route,
    responses((status = 200, body = Route), (status = 201, body = Route), (status = "4XX", body = ProblemBody)))]
pub async fn put(
    caller: Caller<Publisher>,
    Extract(admin): Extract<AdminState>,
    Names(name): Names<String>,
    precondition: Precondition,
    body: Body,
) -> Answer {
    let name: RouteName = named(&name)?;
    let value = read_json(body).await?;
    loop {
        // A plugin that was uploaded to another node a moment ago is known here only after a look at the log.
        let state = admin.registry.fresh_state().await?;
        let route = read(&value, &state, &(admin.actions.destinations)())?;
        let tried = running_versions(&state, &route);
        if let Some(plugin) = &route.plugin {
            for version in &tried {
                try_configuration(&admin, plugin, version, &route).await?;
            }
        }
        let (route_name, wanted, precondition) = (name.clone(), route.clone(), precondition.clone());
        let committed = admin
            .registry
            .commit(&caller.name, move |state| {
                if running_versions(state, &wanted) != tried {
                    let nothing = Put {
                        created: false,
                        unchanged: None,
                    };
                    return Ok((None, (Tried::Outdated, nothing)));
                }
                let known = state.routes.get(&route_name);
                let (change, put) = decide_put(known, &precondition, &wanted, || Change::PutRoute {
                    name: route_name.clone(),
                    route: wanted.clone(),
                })?;
                Ok((change, (Tried::InForce, put)))
            })
            .await?;
        if let (Tried::InForce, put) = committed.outcome {
            return resource(
                put_status(put.created),
                put.sequence(committed.state.sequence),
                &route,
            );
        }
    }
}

/// The versions that a route's configuration must have been tried with: those that take events.
fn running_versions(state: &State, route: &Route) -> Vec<PluginVersion> {
    let plugin = route.plugin.as_ref().and_then(|name| state.plugins.get(name));
    let Some(plugin) = plugin.map(|known| &known.value) else {
        return Vec::new();
    };
    let rest = plugin.split().map(|(_, rest)| rest);
    plugin.active_version().into_iter().chain(rest).cloned().collect()
}

/// Delete a route.
#[utoipa::path(delete, path = "/v1/routes/{route}", tag = "routes", operation_id = "delete_route",
    params(("route" = String, Path), ("If-Match" = Option<String>, Header)),
    responses((status = 204), (status = "4XX", body = ProblemBody)))]
pub async fn delete(
    caller: Caller<Publisher>,
    Extract(admin): Extract<AdminState>,
    Names(name): Names<String>,
    precondition: Precondition,
) -> Answer {
    let name: RouteName = known("route", &name)?;
    admin
        .registry
        .commit(&caller.name, move |state| {
            precondition.check_known(state.routes.get(&name), "route", name.as_str())?;
            Ok((Some(Change::DeleteRoute { name: name.clone() }), ()))
        })
        .await?;
    no_content()
}

fn read(
    value: &serde_json::Value,
    state: &State,
    destinations: &BTreeSet<DestinationName>,
) -> Result<Route, Problem> {
    let faults = Faults::default();
    let mut route = Route {
        matches: RouteMatch::default(),
        form: Form::default(),
        plugin: None,
        config: None,
        isolation: Isolation::default(),
        to: Vec::new(),
    };
    const MEMBERS: [&str; 6] = ["match", "form", "plugin", "config", "isolation", "to"];
    if let Some(members) = Input::root(value, &faults).members(&MEMBERS) {
        route.matches = matches(&members.get("match"));
        route.form = members
            .get("form")
            .choice(&["sent", "latest"])
            .unwrap_or_default();
        route.plugin = plugin(&members.get("plugin"), state);
        let config = members.get("config");
        if config.is_present() && !members.get("plugin").is_present() {
            config.fault("is given to a plugin, and the route names none");
        }
        route.config = config.value().cloned();
        let isolation = members.get("isolation");
        if isolation.is_present() && !members.get("plugin").is_present() {
            isolation.fault("is of a plugin's instances, and the route names none");
        }
        route.isolation = isolation.choice(&["shared", "event"]).unwrap_or_default();
        let to = members.get("to").required();
        let targets = to.elements(TARGETS_MAX);
        if targets.is_empty() && to.value().is_some_and(serde_json::Value::is_array) {
            to.fault("must name a destination");
        }
        for input in targets {
            if let Some(target) = target(&input, destinations) {
                if route.to.contains(&target) {
                    input.fault("stands there twice");
                }
                route.to.push(target);
            }
        }
    }
    faults.into_result()?;
    Ok(route)
}

fn matches(input: &Input<'_>) -> RouteMatch {
    let mut matches = RouteMatch::default();
    if let Some(members) = input.members(&["partner", "type", "source"]) {
        for (name, place) in [
            ("partner", &mut matches.partner),
            ("type", &mut matches.event_type),
            ("source", &mut matches.source),
        ] {
            if let Some(pattern) = pattern(&members.get(name)) {
                pattern.clone_into(place);
            }
        }
    }
    matches
}

fn pattern<'a>(input: &Input<'a>) -> Option<&'a str> {
    let text = input.filled_text(ATTRIBUTE_BYTES)?;
    if text.strip_suffix('*').unwrap_or(text).contains('*') {
        input.fault("may hold * only at its end: * for any, order.* for a prefix");
        return None;
    }
    Some(text)
}

fn plugin(input: &Input<'_>, state: &State) -> Option<PluginName> {
    let name: PluginName = input.parsed()?;
    if !state.plugins.contains_key(&name) {
        input.fault(format!(
            "there is no plugin {:?}; upload a version of it first",
            name.as_str()
        ));
    }
    Some(name)
}

fn target(input: &Input<'_>, destinations: &BTreeSet<DestinationName>) -> Option<RouteTarget> {
    let members = input.members(&["destination", "topic", "key"])?;
    let destination = members.get("destination").required();
    let name: Option<DestinationName> = destination.parsed();
    if name.as_ref().is_some_and(|name| !destinations.contains(name)) {
        let known: Vec<&str> = destinations.iter().map(DestinationName::as_str).collect();
        destination.fault(format!(
            "the configuration has no such destination; it has {}",
            known.join(", ")
        ));
    }
    Some(RouteTarget {
        destination: name?.to_string(),
        topic: topic(&members.get("topic")),
        key: key(&members.get("key")),
    })
}

fn topic(input: &Input<'_>) -> Option<String> {
    let text = input.filled_text(TOPIC_CHARACTERS_MAX)?;
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if text == "." || text == ".." || !text.bytes().all(allowed) {
        input.fault("may hold only A-Z a-z 0-9 . _ -, and be neither \".\" nor \"..\"");
    }
    Some(text.to_owned())
}

fn key(input: &Input<'_>) -> Option<String> {
    let text = input.text(ATTRIBUTE_BYTES)?;
    if !(is_pointer(text) || KEY_ATTRIBUTES.contains(&text)) {
        input.fault(format!(
            "must be a JSON Pointer such as \"/user_id\", or one of {}",
            KEY_ATTRIBUTES.join(", ")
        ));
    }
    Some(text.to_owned())
}

/// RFC 6901; the whole document is no key.
fn is_pointer(text: &str) -> bool {
    let escapes_end = || text.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
    text.starts_with('/') && escapes_end()
}
