//! The admin API: resources of the registry, quarantine, probes, and the OpenAPI document that describes them.

mod activation;
mod answer;
mod body;
mod caller;
mod changes;
mod check;
mod compatibility;
mod deletion;
mod falls;
mod input;
mod jwt;
mod keys;
mod listing;
mod openapi;
mod partners;
mod plugin_logs;
mod plugin_test;
mod plugins;
mod port;
mod precondition;
mod probes;
mod quarantine;
mod recent;
mod references;
mod registration;
mod review;
mod routes;
mod schemas;
mod tables;
mod tail;
#[cfg(test)]
mod tests;
mod tokens;
mod types;
mod upgrades;

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    io,
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use axum::{Router, middleware};
use bytes::Bytes;
use futures::future::BoxFuture;
use utoipa_axum::{router::OpenApiRouter, routes};
use utoipa_swagger_ui::SwaggerUi;
use uuid::Uuid;

use self::port::Port;

pub use jwt::Jwt;
pub use openapi::document;
pub use plugin_test::PluginTest;
pub use plugins::{PluginHealth, PluginStanding, PluginStatus, VersionHealth};
pub use port::{Connections, Peer};
pub use probes::{Check, Readiness};
pub use upgrades::{read as read_upgrade, refusal as upgrade_refusal};

use crate::{
    event::{DestinationName, EventType, PluginName},
    limits::Limits,
    lookup::TableSet,
    pipeline::{Lookups, Replay, TrialReport},
    problem::{Fault, Problem},
    quarantine::{Filter, Item, Report, WholeItem},
    recent::{Recent, Tap},
    registry::{
        Registry,
        model::{Isolation, State},
        seal::Sealer,
    },
    transform::{ComponentFacts, KeptLine},
    validate::{
        References,
        check::Candidate,
        compatibility::{Report as SchemaReport, child::Pair},
    },
};

/// A function of another module that ends later.
pub type Asynchronous<A, T> = Arc<dyn Fn(A) -> BoxFuture<'static, T> + Send + Sync>;

/// Every fault of each schema that keeps it from being used.
pub type SchemaCheck = Asynchronous<Vec<Candidate>, Vec<Vec<Fault>>>;

/// A page of quarantine, and where the next begins.
pub type QuarantinePage = (Vec<Item>, Option<String>);

/// A plugin version that is to be tried with a configuration.
#[derive(Clone, Debug)]
pub struct Preparation {
    pub plugin: PluginName,
    pub version: u32,
    pub component: Bytes,
    pub config: Option<serde_json::Value>,
    pub isolation: Isolation,
}

/// Which items of quarantine are to be listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuarantineQuery {
    pub filter: Filter,
    /// Where the page before ended.
    pub after: Option<String>,
    pub limit: usize,
}

/// What is to be replayed or discarded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sweep {
    pub filter: Filter,
    pub limit: u64,
    /// Only count.
    pub dry_run: bool,
    /// Where the call before ended.
    pub after: Option<Uuid>,
}

/// When a key, by its id, was last used.
pub type KeyUse = Arc<dyn Fn(&str) -> Option<jiff::Timestamp> + Send + Sync>;

/// How a plugin stands on this node, with those of its versions that ran.
pub type Standings = Arc<dyn Fn(&PluginName, &[u32]) -> PluginStanding + Send + Sync>;

/// The last lines that a plugin wrote on this node, the oldest first.
pub type PluginLogs = Arc<dyn Fn(&PluginName) -> Vec<Arc<KeptLine>> + Send + Sync>;

/// The app versions of a type's items in quarantine, and how many have each.
pub type QuarantinedVersions = Arc<dyn Fn(&EventType) -> BTreeMap<Option<String>, u64> + Send + Sync>;

/// What the API has others do; `app` fills it in.
#[derive(Clone)]
pub struct Actions {
    /// The destinations of the configuration in force.
    pub destinations: Arc<dyn Fn() -> BTreeSet<DestinationName> + Send + Sync>,
    /// Checks and compiles an upload.
    pub compile: Asynchronous<Bytes, Result<ComponentFacts, Problem>>,
    /// Runs a plugin version's `configure`.
    pub prepare: Asynchronous<Preparation, Result<(), Problem>>,
    /// When this node last saw a key.
    pub key_used: KeyUse,
    /// How a plugin stands on this node, with those of its versions that ran.
    pub plugin_standing: Standings,
    /// The last lines that a plugin wrote on this node, the oldest first.
    pub plugin_log: PluginLogs,
    /// Runs a version on events beside the active one.
    pub test_plugin: Asynchronous<PluginTest, Result<TrialReport, Problem>>,
    /// Compiles schemas; ends within 10 s.
    pub check_schemas: SchemaCheck,
    /// Compares schemas; ends within 10 s.
    pub compare: Arc<dyn Fn(Vec<Pair>) -> BoxFuture<'static, Vec<SchemaReport>> + Send + Sync>,
    pub list_quarantine: Asynchronous<QuarantineQuery, Result<QuarantinePage, Problem>>,
    /// The app versions of a type's items in quarantine, and how many have each.
    pub quarantined_versions: QuarantinedVersions,
    pub get_quarantined: Asynchronous<String, Result<Option<WholeItem>, Problem>>,
    pub replay: Asynchronous<Sweep, Result<Report, Problem>>,
    pub discard: Asynchronous<Sweep, Result<Report, Problem>>,
    /// The newest first.
    pub replays: Arc<dyn Fn() -> Vec<Replay> + Send + Sync>,
    pub readiness: Arc<dyn Fn() -> BoxFuture<'static, Readiness> + Send + Sync>,
    /// The lookup tables that are in force on this node.
    pub lookup_tables: Arc<dyn Fn() -> Arc<TableSet> + Send + Sync>,
    /// Prometheus text.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
}

/// What every handler works with. Cheap to clone.
#[derive(Clone)]
pub struct AdminState {
    pub registry: Registry,
    pub limits: Arc<Limits>,
    /// The last events of this node.
    pub recent: Arc<Recent>,
    /// Events as they pass.
    pub tap: Arc<Tap>,
    /// For tables that are uploaded.
    pub lookups: Arc<Lookups>,
    pub sealer: Sealer,
    pub actions: Arc<Actions>,
    /// Of the state that was asked about last, to make the next from.
    pub references: Arc<ArcSwap<References>>,
    /// Tokens of an identity provider are taken too.
    pub jwt: Option<Arc<Jwt>>,
    /// What needs a token needs a client certificate as well.
    pub needs_certificate: bool,
}

impl AdminState {
    /// What refers to what in this state.
    fn references(&self, state: &State) -> Arc<References> {
        let known = self.references.load_full();
        let (references, changed) = known.update(&state.schemas);
        if changed.is_empty() {
            return known;
        }
        let references = Arc::new(references);
        self.references.store(Arc::clone(&references));
        references
    }
}

/// Requests under way at shutdown have this long.
const SHUTDOWN_TIME: Duration = Duration::from_secs(5);

/// The admin port.
pub struct AdminServer;

impl AdminServer {
    /// Serves until `shutdown` is done, and then for what is under way, up to 5 s.
    pub async fn serve<C, F>(connections: C, state: AdminState, shutdown: F) -> io::Result<()>
    where
        C: Connections,
        F: Future<Output = ()> + Send + 'static,
    {
        let (stopping, mut stopped) = tokio::sync::watch::channel(false);
        let service = router(state).into_make_service_with_connect_info::<Peer>();
        let serving = axum::serve(Port(connections), service).with_graceful_shutdown(async move {
            shutdown.await;
            stopping.send_replace(true);
        });
        let overdue = async move {
            // The sender is gone only where serving has ended by itself.
            if stopped.wait_for(|stopping| *stopping).await.is_ok() {
                tokio::time::sleep(SHUTDOWN_TIME).await;
            } else {
                std::future::pending().await
            }
        };
        tokio::select! {
            result = serving => result,
            () = overdue => Ok(()),
        }
    }
}

/// The whole API as a service.
pub fn router(state: AdminState) -> Router {
    let (router, mut api) = resources().split_for_parts();
    openapi::finish(&mut api);
    router
        .merge(SwaggerUi::new("/docs").url("/openapi.json", api))
        .layer(middleware::from_fn(answer::frame))
        .with_state(state)
}

fn resources() -> OpenApiRouter<AdminState> {
    OpenApiRouter::with_openapi(openapi::head())
        .routes(routes!(partners::list))
        .routes(routes!(partners::get, partners::put, partners::delete))
        .routes(routes!(keys::list, keys::create))
        .routes(routes!(keys::revoke))
        .routes(routes!(types::list))
        .routes(routes!(types::get, types::put))
        .routes(routes!(schemas::list, schemas::put_many))
        .routes(routes!(schemas::list_of_type))
        .routes(routes!(schemas::get, schemas::put, deletion::delete))
        .routes(routes!(references::get))
        .routes(routes!(upgrades::get, upgrades::put, upgrades::delete))
        .routes(routes!(check::check))
        .routes(routes!(plugins::list))
        .routes(routes!(plugins::get))
        .routes(routes!(plugins::upload))
        .routes(routes!(plugin_logs::list))
        .routes(routes!(plugin_test::test))
        .routes(routes!(activation::activate))
        .routes(routes!(activation::end_shadow))
        .routes(routes!(activation::roll_back))
        .routes(routes!(routes::list))
        .routes(routes!(routes::get, routes::put, routes::delete))
        .routes(routes!(tables::list))
        .routes(routes!(tables::get, tables::put, tables::delete))
        .routes(routes!(tables::row))
        .routes(routes!(tokens::list, tokens::create))
        .routes(routes!(tokens::delete))
        .routes(routes!(changes::list))
        .routes(routes!(quarantine::list))
        .routes(routes!(quarantine::replays))
        .routes(routes!(quarantine::get))
        .routes(routes!(quarantine::replay))
        .routes(routes!(quarantine::discard))
        .routes(routes!(recent::list))
        .routes(routes!(tail::tail))
        .routes(routes!(probes::healthz))
        .routes(routes!(probes::readyz))
        .routes(routes!(probes::metrics))
}
