//! `/healthz`, `/readyz`, `/metrics`: open to all.

use axum::{
    extract::State as Extract,
    response::{IntoResponse as _, Response},
};
use http::{StatusCode, header};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    AdminState,
    answer::{Answer, json},
};

/// One thing that readiness hangs on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Check {
    /// Such as `registry`, `durable-place`, `destination:events`.
    pub name: String,
    pub ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Of a destination: `healthy`, `spooling` or `draining`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<&'static str>,
}

/// Whether events can be taken, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Readiness {
    pub ready: bool,
    pub checks: Vec<Check>,
}

/// The process lives.
#[derive(Serialize, ToSchema)]
pub struct Liveness {
    status: &'static str,
    version: &'static str,
}

/// Whether the process lives.
#[utoipa::path(get, path = "/healthz", tag = "probes", operation_id = "healthz", security(()),
    responses((status = 200, body = Liveness)))]
pub async fn healthz() -> Answer {
    let liveness = Liveness {
        status: "ok",
        version: env!("CARGO_PKG_VERSION"),
    };
    json(StatusCode::OK, &liveness)
}

/// Whether events can be taken.
#[utoipa::path(get, path = "/readyz", tag = "probes", operation_id = "readyz", security(()),
    responses((status = 200, body = Readiness), (status = 503, body = Readiness)))]
pub async fn readyz(Extract(admin): Extract<AdminState>) -> Answer {
    let readiness = (admin.actions.readiness)().await;
    let status = if readiness.ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    json(status, &readiness)
}

/// Metrics as Prometheus text.
#[utoipa::path(get, path = "/metrics", tag = "probes", operation_id = "metrics", security(()),
    responses((status = 200, body = String, content_type = "text/plain")))]
pub async fn metrics(Extract(admin): Extract<AdminState>) -> Response {
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (kind, (admin.actions.metrics)()).into_response()
}
