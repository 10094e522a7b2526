//! `/v1/plugins`.

use axum::{body::Body, extract::State as Extract};
use bytes::Bytes;
use http::StatusCode;
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    AdminState, Preparation,
    answer::{Answer, not_found, put_status, resource},
    body::{Names, known, named, read, read_json},
    caller::{Caller, Operator, Publisher, Viewer},
    input::{Faults, Input},
    listing::{Listing, Query, page_of},
    precondition::Precondition,
};
use crate::{
    event::{PluginName, RouteName},
    problem::{Code, Fault, Problem, ProblemBody},
    registry::{
        model::{Change, Digest, Plugin, PluginVersion, State},
        now,
    },
};

/// How a plugin's active version fares on this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum PluginStatus {
    /// No version is active, or no route uses it.
    Inactive,
    Ready,
    /// Its events wait in quarantine.
    Failing,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct PluginHealth {
    pub status: PluginStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// What is shown of a version.
#[derive(Serialize, ToSchema)]
pub struct VersionView {
    version: u32,
    #[schema(value_type = String)]
    digest: Digest,
    size: u64,
    #[schema(value_type = String, format = DateTime)]
    created: Timestamp,
    by: String,
}

/// A plugin with its versions.
#[derive(Serialize, ToSchema)]
pub struct PluginView {
    #[schema(value_type = String)]
    name: PluginName,
    active: Option<u32>,
    /// What a rollback goes back to.
    previous: Option<u32>,
    /// Part of the events that the active version takes, in per cent.
    share: Option<u8>,
    shadow: Option<u32>,
    versions: Vec<VersionView>,
    health: PluginHealth,
}

/// A version that was uploaded.
#[derive(Serialize, ToSchema)]
pub struct UploadedVersion {
    version: u32,
    #[schema(value_type = String)]
    digest: Digest,
    size: u64,
    imports: Vec<String>,
}

/// Which version is to run.
#[derive(Serialize, ToSchema)]
pub struct Activation {
    #[schema(minimum = 1)]
    version: u32,
    /// Per cent of events; 100 where it is left out, and no other yet.
    #[schema(minimum = 1, maximum = 100, default = 100)]
    share: Option<u8>,
}

fn view(admin: &AdminState, name: &PluginName, plugin: &Plugin) -> PluginView {
    let versions = plugin.versions.iter().map(|version| VersionView {
        version: version.version,
        digest: version.digest,
        size: version.size,
        created: version.created,
        by: version.by.clone(),
    });
    PluginView {
        name: name.clone(),
        active: plugin.active,
        previous: plugin.previous,
        share: plugin.share,
        shadow: plugin.shadow,
        versions: versions.collect(),
        health: (admin.actions.plugin_health)(name),
    }
}

/// The plugin as it is in force now.
fn answer(admin: &AdminState, name: &PluginName) -> Answer {
    let state = admin.registry.state();
    let known = state
        .plugins
        .get(name)
        .ok_or_else(|| not_found("plugin", name.as_str()))?;
    resource(StatusCode::OK, known.sequence, &view(admin, name, &known.value))
}

/// List plugins, by name.
#[utoipa::path(get, path = "/v1/plugins", tag = "plugins", operation_id = "list_plugins",
    params(("limit" = Option<u16>, Query, minimum = 1, maximum = 1000), ("after" = Option<String>, Query)),
    responses((status = 200, body = Listing<PluginView>), (status = "4XX", body = ProblemBody)))]
pub async fn list(_caller: Caller<Viewer>, Extract(admin): Extract<AdminState>, query: Query) -> Answer {
    let page = page_of(query)?;
    let state = admin.registry.state();
    page.of_map(&state.plugins, |name, known| {
        Some(view(&admin, name, &known.value))
    })
    .answer()
}

/// A plugin and its versions.
#[utoipa::path(get, path = "/v1/plugins/{plugin}", tag = "plugins", operation_id = "get_plugin",
    params(("plugin" = String, Path)),
    responses((status = 200, body = PluginView), (status = "4XX", body = ProblemBody)))]
pub async fn get(
    _caller: Caller<Viewer>,
    Extract(admin): Extract<AdminState>,
    Names(name): Names<String>,
) -> Answer {
    answer(&admin, &known("plugin", &name)?)
}

/// Upload a component as the plugin's next version.
///
/// It does not run before it is activated. The same bytes again give
/// the version that they are already.
#[utoipa::path(post, path = "/v1/plugins/{plugin}/versions", tag = "plugins", operation_id = "upload_plugin_version",
    params(("plugin" = String, Path), ("If-Match" = Option<String>, Header)),
    request_body(content = Vec<u8>, content_type = "application/wasm"),
    responses((status = 200, body = UploadedVersion), (status = 201, body = UploadedVersion),
        (status = "4XX", body = ProblemBody)))]
pub async fn upload(
    caller: Caller<Publisher>,
    Extract(admin): Extract<AdminState>,
    Names(name): Names<String>,
    precondition: Precondition,
    body: Body,
) -> Answer {
    let name: PluginName = named(&name)?;
    let component = read(body, admin.limits.component_bytes).await?;
    let digest = Digest::of(&component);
    let state = admin.registry.state();
    let known = state
        .plugins
        .get(&name)
        .and_then(|known| of_digest(&known.value, digest).cloned());
    let version = match known {
        Some(version) => version,
        None => accept(&admin, &caller.name, component).await?,
    };
    let committed = admin
        .registry
        .commit(&caller.name, move |state| {
            let plugin = state.plugins.get(&name);
            precondition.check(plugin.map(|plugin| plugin.sequence))?;
            if let Some((plugin, known)) =
                plugin.and_then(|plugin| of_digest(&plugin.value, digest).map(|known| (plugin, known)))
            {
                return Ok((None, (known.clone(), Some(plugin.sequence))));
            }
            let last =
                plugin.and_then(|plugin| plugin.value.versions.iter().map(|known| known.version).max());
            let version = PluginVersion {
                version: last.unwrap_or(0) + 1,
                ..version.clone()
            };
            let change = Change::AddPluginVersion {
                plugin: name.clone(),
                version: version.clone(),
            };
            Ok((Some(change), (version, None)))
        })
        .await?;
    let (version, unchanged) = committed.outcome;
    let uploaded = UploadedVersion {
        version: version.version,
        digest: version.digest,
        size: version.size,
        imports: version.imports,
    };
    let sequence = unchanged.unwrap_or(committed.state.sequence);
    resource(put_status(unchanged.is_none()), sequence, &uploaded)
}

fn of_digest(plugin: &Plugin, digest: Digest) -> Option<&PluginVersion> {
    plugin.versions.iter().find(|known| known.digest == digest)
}

/// Checks, compiles and keeps the component; its number is given when it is registered.
async fn accept(admin: &AdminState, by: &str, component: Bytes) -> Result<PluginVersion, Problem> {
    let facts = (admin.actions.compile)(component.clone()).await?;
    let digest = admin.registry.put_blob(component).await?;
    Ok(PluginVersion {
        version: 0,
        digest,
        size: facts.size,
        imports: facts.imports,
        created: now(),
        by: by.to_owned(),
    })
}

/// Let a version run.
///
/// Each route's configuration is tried with it first.
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
        let version = read_activation(&value, &known.value)?;
        let tried = routes_of(&state, &name);
        try_routes(&admin, &state, &name, &version).await?;
        let (plugin, precondition) = (name.clone(), precondition.clone());
        let committed = admin
            .registry
            .commit(&caller.name, move |state| {
                let known = state
                    .plugins
                    .get(&plugin)
                    .ok_or_else(|| not_found("plugin", plugin.as_str()))?;
                precondition.check(Some(known.sequence))?;
                if routes_of(state, &plugin) != tried {
                    return Ok((None, Tried::Outdated));
                }
                if known.value.active == Some(version.version) && known.value.share == Some(100) {
                    return Ok((None, Tried::InForce));
                }
                let change = Change::ActivatePlugin {
                    plugin: plugin.clone(),
                    version: version.version,
                    share: Some(100),
                };
                Ok((Some(change), Tried::InForce))
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

/// The routes that use the plugin, each with the entry that last changed it.
fn routes_of(state: &State, plugin: &PluginName) -> Vec<(RouteName, u64)> {
    let uses = state
        .routes
        .iter()
        .filter(|(_, route)| route.value.plugin.as_ref() == Some(plugin));
    uses.map(|(name, route)| (name.clone(), route.sequence)).collect()
}

async fn try_routes(
    admin: &AdminState,
    state: &State,
    plugin: &PluginName,
    version: &PluginVersion,
) -> Result<(), Problem> {
    for (route, _) in routes_of(state, plugin) {
        let config = state
            .routes
            .get(&route)
            .and_then(|route| route.value.config.clone());
        try_configuration(admin, plugin, version, config)
            .await
            .map_err(|mut problem| {
                problem.detail = format!("route {route}: {}", problem.detail);
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
    config: Option<serde_json::Value>,
) -> Result<(), Problem> {
    let component = admin.registry.blob(version.digest).await.map_err(|error| {
        tracing::error!(%plugin, version = version.version, %error, "a plugin's component cannot be read");
        Problem::new(
            Code::StoreUnavailable,
            "the plugin's component cannot be read now; nothing was changed",
        )
    })?;
    (admin.actions.prepare)(Preparation {
        plugin: plugin.clone(),
        version: version.version,
        component,
        config,
    })
    .await
}

fn read_activation(value: &serde_json::Value, plugin: &Plugin) -> Result<PluginVersion, Problem> {
    let faults = Faults::default();
    let mut wanted = None;
    if let Some(members) = Input::root(value, &faults).members(&["version", "share"]) {
        let share = members.get("share");
        if share.value().and_then(serde_json::Value::as_str) == Some("shadow") {
            share.fault("shadow is not yet supported by this version; leave share out");
        } else if share.integer(1..=100).is_some_and(|share| share != 100) {
            share.fault("shares other than 100 are not yet supported by this version");
        }
        let version = members.get("version").required();
        let number = version
            .integer(1..=u64::from(u32::MAX))
            .and_then(|number| u32::try_from(number).ok());
        wanted = number.and_then(|number| plugin.version(number).cloned());
        if number.is_some() && wanted.is_none() {
            version.fault(format!(
                "there is no such version; the last is {}",
                plugin.versions.len()
            ));
        }
    }
    faults.into_result()?;
    wanted.ok_or_else(|| {
        let fault = Fault {
            pointer: "/version".to_owned(),
            message: "is missing".to_owned(),
            keyword: None,
        };
        Problem::new(Code::InputInvalid, "version is missing").with_errors(vec![fault])
    })
}

/// Go back to the version that was active before.
///
/// It takes no body, and works once for each activation.
#[utoipa::path(post, path = "/v1/plugins/{plugin}/rollback", tag = "plugins", operation_id = "roll_back_plugin",
    params(("plugin" = String, Path), ("If-Match" = Option<String>, Header)),
    responses((status = 200, body = PluginView), (status = "4XX", body = ProblemBody)))]
pub async fn roll_back(
    caller: Caller<Operator>,
    Extract(admin): Extract<AdminState>,
    Names(name): Names<String>,
    precondition: Precondition,
) -> Answer {
    let name: PluginName = known("plugin", &name)?;
    let plugin = name.clone();
    admin
        .registry
        .commit(&caller.name, move |state| {
            let known = state
                .plugins
                .get(&plugin)
                .ok_or_else(|| not_found("plugin", plugin.as_str()))?;
            precondition.check(Some(known.sequence))?;
            if known.value.previous.is_none() {
                return Err(Problem::new(
                    Code::Conflict,
                    "there is no version before to go back to; activate one by its number",
                ));
            }
            Ok((
                Some(Change::RollBackPlugin {
                    plugin: plugin.clone(),
                }),
                (),
            ))
        })
        .await?;
    answer(&admin, &name)
}
