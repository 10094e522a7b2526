//! `/healthz`, `/readyz`, `/metrics`: open to all.

use axum::{extract::State as Extract, response::IntoResponse as _};
use http::{StatusCode, header};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    Admin,
    answer::{Answer, json},
};

/// Whether events can be taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Readiness {
    pub ready: bool,
    /// Why not; empty where they can.
    pub reasons: Vec<String>,
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
pub async fn readyz(Extract(admin): Extract<Admin>) -> Answer {
    let reasons = (admin.actions.readiness)();
    let readiness = Readiness {
        ready: reasons.is_empty(),
        reasons,
    };
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
pub async fn metrics(Extract(admin): Extract<Admin>) -> Answer {
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    Ok((kind, (admin.actions.metrics)()?).into_response())
}
