//! `/v1/plugins`: what there is, and uploads.

use std::collections::BTreeMap;

use axum::{body::Body, extract::State as Extract};
use bytes::Bytes;
use http::StatusCode;
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    AdminState,
    answer::{Answer, not_found, put_status, resource},
    body::{Names, known, named, read},
    caller::{Caller, Publisher, Viewer},
    listing::{Listing, Query, page_of},
    precondition::Precondition,
};
use crate::{
    event::PluginName,
    pipeline::ShadowReport,
    problem::{Code, Fault, Problem, ProblemBody},
    registry::{
        model::{Change, Digest, Plugin, PluginVersion, RolledBack, Sdk},
        now,
    },
    transform,
    validate::{Texts, check::Candidate},
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

/// How a version fares on this node since it started. Replays and tests do not count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct VersionHealth {
    pub calls: u64,
    /// Calls that the plugin answered with `rejected`.
    pub rejected: u64,
    /// Calls that failed by the plugin's fault.
    pub failed: u64,
    /// Of them, by cause: `time`, `memory`, `limit`, `trap`, `broken`, `destination`, `start`, `held`.
    pub causes: BTreeMap<&'static str, u64>,
    pub outputs: u64,
    /// Instances made; more than a few a worker tell of traps or leaks.
    pub instances: u64,
    /// Of a sample of the calls, within a quarter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_p50_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_p99_us: Option<u64>,
    /// The most that one instance had.
    pub memory_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<String>,
}

/// How a plugin stands on this node.
#[derive(Clone, Debug)]
pub struct PluginStanding {
    pub health: PluginHealth,
    /// Of the versions that ran.
    pub versions: BTreeMap<u32, VersionHealth>,
    /// What the plugin counts itself.
    pub counters: BTreeMap<String, u64>,
    pub comparison: Option<ShadowReport>,
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
    /// The version of the contract that it was built for.
    #[serde(skip_serializing_if = "Option::is_none")]
    contract: Option<String>,
    /// What it was written in, where its tools wrote that down.
    #[serde(skip_serializing_if = "Option::is_none")]
    language: Option<String>,
    /// What it was written with, where `headworks plugin build` noted it.
    #[serde(skip_serializing_if = "Option::is_none")]
    sdk: Option<Sdk>,
    /// On this node; absent where it did not run.
    #[serde(skip_serializing_if = "Option::is_none")]
    health: Option<VersionHealth>,
}

/// A plugin with its versions.
#[derive(Serialize, ToSchema)]
pub struct PluginView {
    #[schema(value_type = String)]
    name: PluginName,
    active: Option<u32>,
    /// What a rollback goes back to.
    previous: Option<u32>,
    /// Part of the events that the active version takes, in per cent; `previous` takes the rest.
    share: Option<u8>,
    /// Runs beside the active version on live events, and delivers nothing.
    shadow: Option<u32>,
    /// When the active version, or its share, was set.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    activated: Option<Timestamp>,
    /// Why the gateway went back to the version before by itself, until the next activation.
    #[serde(skip_serializing_if = "Option::is_none")]
    rolled_back: Option<RolledBack>,
    versions: Vec<VersionView>,
    health: PluginHealth,
    /// What the plugin counts itself, on this node.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    counters: BTreeMap<String, u64>,
    /// What the shadow makes otherwise, on this node.
    #[serde(skip_serializing_if = "Option::is_none")]
    comparison: Option<ShadowReport>,
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

fn view(admin: &AdminState, name: &PluginName, plugin: &Plugin) -> PluginView {
    let numbers: Vec<u32> = plugin.versions.iter().map(|version| version.version).collect();
    let mut standing = (admin.actions.plugin_standing)(name, &numbers);
    let versions = plugin.versions.iter().map(|version| VersionView {
        version: version.version,
        digest: version.digest,
        size: version.size,
        created: version.created,
        by: version.by.clone(),
        contract: contract(&version.imports),
        language: version.language.clone(),
        sdk: version.sdk.clone(),
        health: standing.versions.remove(&version.version),
    });
    PluginView {
        name: name.clone(),
        active: plugin.active,
        previous: plugin.previous,
        share: plugin.share,
        shadow: plugin.shadow,
        activated: plugin.activated,
        rolled_back: plugin.rolled_back.clone(),
        versions: versions.collect(),
        health: standing.health,
        counters: standing.counters,
        comparison: standing.comparison,
    }
}

/// The version that stands in the names of what a component imports.
fn contract(imports: &[String]) -> Option<String> {
    let first = imports.first()?;
    first.rsplit_once('@').map(|(_, version)| version.to_owned())
}

/// The plugin as it is in force now.
pub(super) fn answer(admin: &AdminState, name: &PluginName) -> Answer {
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
    if let Some(schema) = transform::config_schema(&component)?
        && let Some(faults) = faults_of(admin, schema).await
    {
        return Err(Problem::new(
            Code::ComponentInvalid,
            "the configuration schema that the component brings is no JSON Schema; see errors",
        )
        .with_errors(faults));
    }
    let digest = admin.registry.put_blob(component).await?;
    Ok(PluginVersion {
        version: 0,
        digest,
        size: facts.size,
        imports: facts.imports,
        language: facts.language.map(str::to_owned),
        sdk: facts.sdk,
        created: now(),
        by: by.to_owned(),
    })
}

/// What keeps a configuration's schema from being used; it is compiled in a child process, as every upload is.
async fn faults_of(admin: &AdminState, schema: String) -> Option<Vec<Fault>> {
    let candidate = Candidate {
        text: schema.into(),
        texts: Texts::default(),
    };
    let faults = (admin.actions.check_schemas)(vec![candidate]).await;
    faults.into_iter().next().filter(|faults| !faults.is_empty())
}
