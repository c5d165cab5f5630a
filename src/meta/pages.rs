//! Pages for people.

use std::collections::HashMap;
use std::sync::LazyLock;

use actix_web::http::header;
use actix_web::web::Path;
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;
use utoipa::ToSchema;

use super::catalog;
use crate::http::asset::Asset;
use crate::http::conditional::ReadConditions;
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

/// The pages of the problems, by their codes.
static PROBLEMS: LazyLock<HashMap<&'static str, Asset>> =
    LazyLock::new(|| Code::ALL.iter().map(|code| (code.as_str(), page(code.title(), code.page()))).collect());

/// GET /problems/{code}
pub async fn problem(code: Path<String>, conditions: ReadConditions) -> Result<HttpResponse, Problem> {
    PROBLEMS.get(code.as_str()).ok_or_else(Problem::not_found)?.answer(conditions).await
}

fn page(title: &str, markdown: &str) -> Asset {
    let mut body = String::new();
    pulldown_cmark::html::push_html(&mut body, pulldown_cmark::Parser::new(markdown));
    let page = PAGE.replace("{title}", title).replace("{body}", &body);
    Asset::new("text/html; charset=utf-8", page).under(PAGE_POLICY)
}

/// Whether the request would rather have HTML than JSON, as browsers do and API clients don't.
fn wants_html(request: &HttpRequest) -> bool {
    quality(request, "text/html") > quality(request, "application/json")
}
