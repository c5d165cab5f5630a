//! Pages for people.

use actix_web::http::header;
use actix_web::web::Path;
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;
use utoipa::ToSchema;

use super::catalog;
use crate::http::endpoint::quality;
use crate::http::problem::{Code, Problem};
use crate::http::responses::CommonFailures;

const PAGE: &str = include_str!("assets/page.html");

/// The page has its styles within, and needs nothing else.
const PAGE_POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Where things are.
#[derive(Debug, Serialize, ToSchema)]
pub struct Links {
    /// The posts.
    #[schema(example = "/posts")]
    posts: &'static str,
    /// The OpenAPI document.
    #[schema(example = "/openapi.json")]
    openapi: &'static str,
    /// The console.
    #[schema(example = "/docs")]
    docs: &'static str,
    /// The catalog, for programs that look for an API (RFC 9727).
    #[schema(example = "/.well-known/api-catalog")]
    api_catalog: &'static str,
    /// The admin page.
    #[schema(example = "/admin")]
    admin: &'static str,
    /// Whether the process runs.
    #[schema(example = "/health/live")]
    live: &'static str,
    /// Whether to send requests here.
    #[schema(example = "/health/ready")]
    ready: &'static str,
    /// Metrics for Prometheus.
    #[schema(example = "/metrics")]
    metrics: &'static str,
}

/// Where things are
///
/// A browser is sent to the admin page instead.
#[utoipa::path(
    get, path = "/", operation_id = "getLinks", tag = "service",
    responses(
        (status = 200, description = "Where things are.", body = Links, headers(
            ("Link" = String, description = "The API's catalog (RFC 9727)."),
        )),
        (status = 302, description = "For a browser: the admin page.", headers(("Location" = String, description = "Its address."))),
        CommonFailures,
    ),
    security(()),
)]
pub async fn index(request: HttpRequest) -> HttpResponse {
    let vary = (header::VARY, "Accept");
    if wants_html(&request) {
        return HttpResponse::Found().insert_header((header::LOCATION, "/admin")).insert_header(vary).finish();
    }
    let links = Links {
        posts: "/posts",
        openapi: "/openapi.json",
        docs: "/docs",
        api_catalog: "/.well-known/api-catalog",
        admin: "/admin",
        live: "/health/live",
        ready: "/health/ready",
        metrics: "/metrics",
    };
    let cache = (header::CACHE_CONTROL, "no-cache");
    HttpResponse::Ok().insert_header(vary).insert_header(cache).insert_header(catalog::link()).json(links)
}

/// GET /problems/{code}
pub async fn problem(code: Path<String>) -> Result<HttpResponse, Problem> {
    let code = Code::ALL.iter().find(|known| known.as_str() == *code).ok_or_else(Problem::not_found)?;
    Ok(page(code.title(), code.page()))
}

fn page(title: &str, markdown: &str) -> HttpResponse {
    let mut body = String::new();
    pulldown_cmark::html::push_html(&mut body, pulldown_cmark::Parser::new(markdown));
    HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .insert_header((header::CONTENT_SECURITY_POLICY, PAGE_POLICY))
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .body(PAGE.replace("{title}", title).replace("{body}", &body))
}

/// Whether the request would rather have HTML than JSON, as browsers do and API clients don't.
fn wants_html(request: &HttpRequest) -> bool {
    quality(request, "text/html") > quality(request, "application/json")
}
