//! Health and metrics, for machines.

use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::header;
use actix_web::web::Data;
use metrics::gauge;
use serde::Serialize;
use utoipa::ToSchema;

use crate::db::Db;
use crate::http::middleware::Draining;
use crate::http::problem::{Code, Problem};
use crate::http::responses::{CommonFailures, DatabaseFailures, RecorderFailures};
use crate::telemetry::Metrics;

/// How long the metrics wait for the database to say whether it is there: well within what collectors wait for them.
const READY_WAIT: Duration = Duration::from_secs(1);

/// That the service is well.
#[derive(Debug, Serialize, ToSchema)]
pub struct Health {
    /// Always `ok`: what is not well is a problem.
    #[schema(pattern = "^ok$", example = "ok")]
    status: &'static str,
}

/// Whether the process runs
///
/// If this fails, restart it.
#[utoipa::path(
    get, path = "/health/live", operation_id = "checkLiveness", tag = "service",
    responses((status = 200, description = "It runs.", body = Health), CommonFailures),
    security(()),
)]
pub async fn live() -> HttpResponse {
    HttpResponse::Ok().json(Health { status: "ok" })
}

/// Whether to send requests here
///
/// 503 while the database cannot be reached or lacks a migration, and from the moment at which the server was told
/// to stop.
#[utoipa::path(
    get, path = "/health/ready", operation_id = "checkReadiness", tag = "service",
    responses((status = 200, description = "Send requests.", body = Health), CommonFailures, DatabaseFailures),
    security(()),
)]
pub async fn ready(db: Data<Db>, draining: Data<Draining>) -> Result<HttpResponse, Problem> {
    require_ready(&db, &draining).await?;
    Ok(HttpResponse::Ok().json(Health { status: "ok" }))
}

async fn require_ready(db: &Db, draining: &Draining) -> Result<(), Problem> {
    if draining.is_on() {
        return Err(Problem::new(Code::Unavailable, "The server is stopping."));
    }
    Ok(db.check().await?)
}

/// Metrics
///
/// In Prometheus' text format.
#[utoipa::path(
    get, path = "/metrics", operation_id = "getMetrics", tag = "service",
    responses(
        (status = 200, description = "All metrics.", body = String, content_type = "text/plain"),
        CommonFailures, RecorderFailures,
    ),
    security(()),
)]
pub async fn metrics(
    metrics: Data<Option<Metrics>>,
    db: Data<Db>,
    draining: Data<Draining>,
) -> Result<HttpResponse, Problem> {
    let metrics =
        Option::as_ref(&**metrics).ok_or_else(|| Problem::new(Code::Unavailable, "Nothing records metrics."))?;
    let looked = tokio::time::timeout(READY_WAIT, require_ready(&db, &draining)).await;
    gauge!("posts_ready").set(if matches!(looked, Ok(Ok(()))) { 1.0 } else { 0.0 });
    let content_type = (header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8");
    Ok(HttpResponse::Ok().insert_header(content_type).body(metrics.render()))
}
