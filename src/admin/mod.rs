//! The admin API: resources of the registry, quarantine, probes, and the OpenAPI document that describes them.

mod answer;
mod body;
mod caller;
mod changes;
mod input;
mod keys;
mod listing;
mod openapi;
mod partners;
mod plugins;
mod precondition;
mod probes;
mod quarantine;
mod routes;
mod schemas;
#[cfg(test)]
mod tests;
mod tokens;
mod types;

use std::{collections::BTreeSet, future::Future, io, sync::Arc, time::Duration};

use axum::{Router, middleware};
use futures::future::BoxFuture;
use utoipa_axum::{router::OpenApiRouter, routes};
use utoipa_swagger_ui::SwaggerUi;

pub use openapi::document;
pub use plugins::{PluginActions, PluginHealth, PluginStatus, Preparation};
pub use probes::Readiness;

use crate::{
    event::DestinationName,
    limits::Limits,
    problem::Problem,
    quarantine::{Filter, Quarantine, Report},
    registry::Registry,
};

/// Replays or discards what the filter takes, at most so many items; only counts them where the last is true.
pub type Sweep = Arc<dyn Fn(Filter, usize, bool) -> BoxFuture<'static, Result<Report, Problem>> + Send + Sync>;

/// What the API has the gateway do; `app` fills it in.
pub struct Actions {
    pub replay: Sweep,
    pub discard: Sweep,
    /// Why this node is not ready; empty where it is.
    pub readiness: Arc<dyn Fn() -> Vec<String> + Send + Sync>,
    /// Prometheus text.
    pub metrics: Arc<dyn Fn() -> Result<String, Problem> + Send + Sync>,
}

/// What every handler works with.
pub struct AdminState {
    pub registry: Arc<Registry>,
    pub plugins: PluginActions,
    pub quarantine: Arc<Quarantine>,
    /// Those of the configuration.
    pub destinations: BTreeSet<DestinationName>,
    pub limits: Limits,
    pub actions: Actions,
}

type Admin = Arc<AdminState>;

/// Requests under way at shutdown have this long.
const SHUTDOWN_TIME: Duration = Duration::from_secs(5);

/// The admin port.
pub struct AdminServer;

impl AdminServer {
    /// Serves until `shutdown` is done, and then for what is under way, up to 5 s.
    pub async fn serve<F>(listener: tokio::net::TcpListener, state: AdminState, shutdown: F) -> io::Result<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (stopping, mut stopped) = tokio::sync::watch::channel(false);
        let serving = axum::serve(listener, router(state)).with_graceful_shutdown(async move {
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
    let (router, api) = resources().split_for_parts();
    router
        .merge(SwaggerUi::new("/docs").url("/openapi.json", api))
        .layer(middleware::from_fn(answer::frame))
        .with_state(Arc::new(state))
}

fn resources() -> OpenApiRouter<Admin> {
    OpenApiRouter::with_openapi(openapi::head())
        .routes(routes!(partners::list))
        .routes(routes!(partners::get, partners::put, partners::delete))
        .routes(routes!(keys::list, keys::create))
        .routes(routes!(keys::revoke))
        .routes(routes!(types::list))
        .routes(routes!(types::get, types::put))
        .routes(routes!(schemas::list))
        .routes(routes!(schemas::list_of_type))
        .routes(routes!(schemas::get, schemas::put, schemas::delete))
        .routes(routes!(plugins::list))
        .routes(routes!(plugins::get))
        .routes(routes!(plugins::upload))
        .routes(routes!(plugins::activate))
        .routes(routes!(plugins::roll_back))
        .routes(routes!(routes::list))
        .routes(routes!(routes::get, routes::put, routes::delete))
        .routes(routes!(tokens::list, tokens::create))
        .routes(routes!(tokens::delete))
        .routes(routes!(changes::list))
        .routes(routes!(quarantine::list))
        .routes(routes!(quarantine::get))
        .routes(routes!(quarantine::replay))
        .routes(routes!(quarantine::discard))
        .routes(routes!(probes::healthz))
        .routes(routes!(probes::readyz))
        .routes(routes!(probes::metrics))
}
