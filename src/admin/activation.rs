//! Which version of a plugin takes which events: activation, shares, shadows, rollback.

use std::time::Duration;

use axum::{body::Body, extract::State as Extract};
use bytes::Bytes;
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    AdminState, Preparation,
    answer::{Answer, not_found},
    body::{Names, known, read_json},
    caller::{Caller, Operator},
    input::{Faults, Input},
    plugins::{PluginView, answer},
    precondition::Precondition,
};
use crate::{
    event::{PluginName, RouteName},
    json::Document,
    problem::{Code, Fault, Problem, ProblemBody},
    registry::model::{Change, Plugin, PluginVersion, Route, State, Versioned},
    transform,
    validate::Compiled,
};

/// How long a rollback waits for the version before to be ready.
const ROLLBACK_WAIT: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 10 });

/// Which version is to run, and on which events.
#[derive(Serialize, ToSchema)]
pub struct Activation {
    #[schema(minimum = 1)]
    version: u32,
    /// 1 to 100: the per cent of events that it takes, chosen by a stable hash of partner and id; the version before
    /// takes the rest. Or `"shadow"`: it runs on live events beside the active version and delivers nothing.
    #[schema(value_type = Option<Object>, example = 100)]
    share: Option<Share>,
}

/// The events that a version gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
enum Share {
    PerCent(u8),
    Shadow,
}

/// What an activation asks for.
struct Wanted {
    version: PluginVersion,
    share: Share,
}

impl Wanted {
    fn is_in_force(&self, plugin: &Plugin) -> bool {
        let version = Some(self.version.version);
        match self.share {
            Share::PerCent(share) => plugin.active == version && plugin.share == Some(share),
            Share::Shadow => plugin.shadow == version,
        }
    }

    fn change(&self, plugin: &PluginName) -> Change {
        let plugin = plugin.clone();
        let version = self.version.version;
        match self.share {
            Share::PerCent(share) => Change::ActivatePlugin {
                plugin,
                version,
                share: Some(share),
            },
            Share::Shadow => Change::ShadowPlugin {
                plugin,
                version: Some(version),
            },
        }
    }
}

/// Let a version run: on all events, on a share of them, or beside the active version as its shadow.
///
/// Each route's configuration is tried with it first. A version that
/// becomes active stops being the shadow.
#[utoipa::path(post, path = "/v1/plugins/{plugin}/activate", tag = "plugins", operation_id = "activate_plugin",
    params(("plugin" = String, Path), ("If-Match" = Option<String>, Header)),
    request_body = Activation,
    responses((status = 200, body = PluginView), (status = "4XX", body = ProblemBody)))]
pub async fn activate(
    caller: Caller<Operator>,
    Extract(admin): Extract<AdminState>,
    Names(name): Names<String>,
    precondition: Precondition,
    body: Body,
) -> Answer {
    let name: PluginName = known("plugin", &name)?;
    let value = read_json(body).await?;
    loop {
        let state = admin.registry.fresh_state().await?;
        let known = state
            .plugins
            .get(&name)
            .ok_or_else(|| not_found("plugin", name.as_str()))?;
        let wanted = read_activation(&value, &known.value)?;
        let tried = routes_of(&state, &name);
        try_routes(&admin, &state, &name, &wanted.version).await?;
        let (plugin, precondition) = (name.clone(), precondition.clone());
        let committed = admin
            .registry
            .commit(&caller.name, move |state| {
                let known =
                    precondition.check_known(state.plugins.get(&plugin), "plugin", plugin.as_str())?;
                if routes_of(state, &plugin) != tried {
                    return Ok((None, Tried::Outdated));
                }
                // Whoever was quicker may have changed what the share is a part of.
                wanted.check(&known.value)?;
                if wanted.is_in_force(&known.value) {
                    return Ok((None, Tried::InForce));
                }
                Ok((Some(wanted.change(&plugin)), Tried::InForce))
            })
            .await?;
        if committed.outcome == Tried::InForce {
            return answer(&admin, &name);
        }
    }
}

/// Whether what was tried is still what the registry holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tried {
    InForce,
    Outdated,
}

/// The routes that use the plugin.
pub(super) fn routes_with<'s>(
    state: &'s State,
    plugin: &'s PluginName,
) -> impl Iterator<Item = (&'s RouteName, &'s Versioned<Route>)> {
    let routes = state.routes.iter().map(|(name, route)| (name, &**route));
    routes.filter(move |(_, route)| route.value.plugin.as_ref() == Some(plugin))
}

/// The routes that use the plugin, each with the entry that last changed it.
fn routes_of(state: &State, plugin: &PluginName) -> Vec<(RouteName, u64)> {
    routes_with(state, plugin)
        .map(|(name, route)| (name.clone(), route.sequence))
        .collect()
}

async fn try_routes(
    admin: &AdminState,
    state: &State,
    plugin: &PluginName,
    version: &PluginVersion,
) -> Result<(), Problem> {
    for (name, route) in routes_with(state, plugin) {
        try_configuration(admin, plugin, version, &route.value)
            .await
            .map_err(|mut problem| {
                problem.detail = format!("route {name}: {}", problem.detail);
                problem
            })?;
    }
    Ok(())
}

/// Runs the version's `configure` with a route's configuration.
pub(super) async fn try_configuration(
    admin: &AdminState,
    plugin: &PluginName,
    version: &PluginVersion,
    route: &Route,
) -> Result<(), Problem> {
    let component = admin.registry.blob(version.digest).await.map_err(|error| {
        tracing::error!(%plugin, version = version.version, %error, "a plugin's component cannot be read");
        Problem::new(
            Code::StoreUnavailable,
            "the plugin's component cannot be read now; nothing was changed",
        )
    })?;
    check_configuration(plugin, version.version, &component, route.config.as_ref())?;
    (admin.actions.prepare)(Preparation {
        plugin: plugin.clone(),
        version: version.version,
        component,
        config: route.config.clone(),
        isolation: route.isolation,
    })
    .await
}

/// Holds a configuration to the schema that the component brings, where it brings one.
fn check_configuration(
    plugin: &PluginName,
    version: u32,
    component: &Bytes,
    config: Option<&serde_json::Value>,
) -> Result<(), Problem> {
    let Some(schema) = transform::config_schema(component)? else {
        return Ok(());
    };
    let unusable = |cause: String| {
        Problem::new(
            Code::ComponentInvalid,
            format!("the configuration schema of {plugin}@{version} cannot be used: {cause}"),
        )
    };
    let schema = Compiled::new(&schema.into()).map_err(unusable)?;
    let empty = serde_json::json!({});
    let config =
        Document::from_value(config.unwrap_or(&empty)).map_err(|error| unusable(error.to_string()))?;
    let Some(violations) = schema.violations(&config) else {
        return Ok(());
    };
    let faults: Vec<Fault> = violations
        .into_iter()
        .map(|violation| Fault {
            pointer: format!("/config{}", violation.pointer),
            message: violation.message,
            keyword: Some(violation.keyword),
        })
        .collect();
    let first = faults
        .first()
        .map(|fault| format!("{}: {}", fault.pointer, fault.message));
    let detail = format!(
        "the configuration is not what {plugin}@{version} takes: {}",
        first.unwrap_or_default()
    );
    Err(Problem::new(Code::ConfigurationRefused, detail).with_errors(faults))
}

fn read_activation(value: &serde_json::Value, plugin: &Plugin) -> Result<Wanted, Problem> {
    let faults = Faults::default();
    let mut wanted = None;
    if let Some(members) = Input::root(value, &faults).members(&["version", "share"]) {
        let share = members.get("share");
        let share = match share.value() {
            Some(serde_json::Value::String(text)) if text == "shadow" => Some(Share::Shadow),
            Some(serde_json::Value::String(_)) => {
                share.fault("must be an integer from 1 to 100, or \"shadow\"");
                None
            }
            Some(_) => share
                .integer(1..=100)
                .and_then(|share| u8::try_from(share).ok())
                .map(Share::PerCent),
            None => Some(Share::PerCent(100)),
        };
        let version = version_of(&members.get("version").required(), plugin);
        wanted = version.zip(share).map(|(version, share)| Wanted {
            version: version.clone(),
            share,
        });
    }
    faults.into_result()?;
    let wanted = wanted.ok_or_else(|| Problem::new(Code::InputInvalid, "version is missing"))?;
    wanted.check(plugin)?;
    Ok(wanted)
}

/// One of the plugin's versions, by its number.
pub(super) fn version_of<'p>(input: &Input<'_>, plugin: &'p Plugin) -> Option<&'p PluginVersion> {
    let number = u32::try_from(input.integer(1..=u64::from(u32::MAX))?).ok()?;
    let known = plugin.version(number);
    if known.is_none() {
        input.fault(format!(
            "there is no such version; the last is {}",
            plugin.versions.len()
        ));
    }
    known
}

impl Wanted {
    /// That what the plugin does now can be parted like this.
    fn check(&self, plugin: &Plugin) -> Result<(), Problem> {
        let version = self.version.version;
        let mut after = plugin.clone();
        let refused = match self.share {
            Share::Shadow if plugin.active.is_none() => Some(
                "no version is active that a shadow could be compared with; activate one first".to_owned(),
            ),
            Share::Shadow if plugin.active == Some(version) => Some(format!(
                "version {version} is active: a shadow is another version"
            )),
            Share::Shadow | Share::PerCent(100) => None,
            Share::PerCent(share) => {
                after.activate(version, Some(share), jiff::Timestamp::UNIX_EPOCH);
                let message = "there is no version before that could take the other events; leave share out";
                after.split().is_none().then(|| message.to_owned())
            }
        };
        let Some(message) = refused else { return Ok(()) };
        let faults = Faults::default();
        faults.add("/share", message);
        faults.into_result()
    }
}

/// End the shadow.
#[utoipa::path(delete, path = "/v1/plugins/{plugin}/shadow", tag = "plugins", operation_id = "end_plugin_shadow",
    params(("plugin" = String, Path), ("If-Match" = Option<String>, Header)),
    responses((status = 200, body = PluginView), (status = "4XX", body = ProblemBody)))]
pub async fn end_shadow(
    caller: Caller<Operator>,
    Extract(admin): Extract<AdminState>,
    Names(name): Names<String>,
    precondition: Precondition,
) -> Answer {
    change(&admin, &caller.name, &name, precondition, |name, plugin| {
        Ok(plugin.shadow.map(|_| Change::ShadowPlugin {
            plugin: name.clone(),
            version: None,
        }))
    })
    .await
}

/// Go back to the version that was active before.
///
/// It takes no body, works once for each activation, and ends a share
/// and a shadow.
#[utoipa::path(post, path = "/v1/plugins/{plugin}/rollback", tag = "plugins", operation_id = "roll_back_plugin",
    params(("plugin" = String, Path), ("If-Match" = Option<String>, Header)),
    responses((status = 200, body = PluginView), (status = "4XX", body = ProblemBody)))]
pub async fn roll_back(
    caller: Caller<Operator>,
    Extract(admin): Extract<AdminState>,
    Names(name): Names<String>,
    precondition: Precondition,
) -> Answer {
    // What takes longer goes on beside the rollback, which is needed now.
    let tried = tokio::spawn(try_previous(admin.clone(), name.clone()));
    if tokio::time::timeout(ROLLBACK_WAIT, tried).await.is_err() {
        tracing::warn!(
            plugin = name,
            "the version before is not ready yet; the rollback is made without it"
        );
    }
    change(&admin, &caller.name, &name, precondition, |name, plugin| {
        if plugin.previous.is_none() && plugin.shadow.is_none() {
            return Err(Problem::new(
                Code::Conflict,
                "there is no version before to go back to; activate one by its number",
            ));
        }
        Ok(Some(Change::RollBackPlugin {
            plugin: name.clone(),
            cause: None,
        }))
    })
    .await
}

/// Makes the version before ready, so that it runs when the rollback is answered. One that cannot be made ready is tried
/// again after it, and readiness says so.
async fn try_previous(admin: AdminState, name: String) {
    let (state, Ok(plugin)) = (admin.registry.state(), name.parse::<PluginName>()) else {
        return;
    };
    let known = state.plugins.get(&plugin).map(|known| &known.value);
    let previous = known.and_then(|known| known.version(known.previous?));
    if let Some(previous) = previous
        && let Err(problem) = try_routes(&admin, &state, &plugin, previous).await
    {
        tracing::warn!(%plugin, version = previous.version, %problem, "the version before is not ready yet");
    }
}

/// Writes what `decide` makes of the plugin as it is then, and answers with the plugin.
async fn change(
    admin: &AdminState,
    by: &str,
    name: &str,
    precondition: Precondition,
    decide: impl Fn(&PluginName, &Plugin) -> Result<Option<Change>, Problem> + Send + 'static,
) -> Answer {
    let name: PluginName = known("plugin", name)?;
    let plugin = name.clone();
    admin
        .registry
        .commit(by, move |state| {
            let known = precondition.check_known(state.plugins.get(&plugin), "plugin", plugin.as_str())?;
            decide(&plugin, &known.value).map(|change| (change, ()))
        })
        .await?;
    answer(admin, &name)
}
