//! The catalog by which a program that knows nothing but the host finds the API (RFC 9727).

use actix_web::HttpResponse;
use actix_web::http::header;
use actix_web::web::Data;
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::responses::CommonFailures;

/// What the catalog is written in.
pub const LINKSET: &str = "application/linkset+json";

/// The same, and that it is a catalog.
const API_CATALOG: &str = r#"application/linkset+json; profile="https://www.rfc-editor.org/info/rfc9727""#;

/// The APIs that this host offers: a set of links (RFC 9264).
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ApiCatalog {
    /// One entry for each API. This host has one.
    #[schema(min_items = 1)]
    linkset: Vec<LinkContext>,
}

/// An API, and what is known of it (RFC 8631).
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct LinkContext {
    /// Where the API begins: absolute where the server knows its public address.
    #[schema(format = "uri-reference", example = "https://blog.example/")]
    anchor: String,
    /// Its description for programs: the OpenAPI document.
    #[schema(min_items = 1)]
    service_desc: Vec<LinkTarget>,
    /// Its description for people: the console.
    #[schema(min_items = 1)]
    service_doc: Vec<LinkTarget>,
    /// Whether to send requests there.
    #[schema(min_items = 1)]
    status: Vec<LinkTarget>,
}

/// Where a link leads.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct LinkTarget {
    /// The address: absolute where the server knows its public one.
    #[schema(format = "uri-reference", example = "https://blog.example/openapi.json")]
    href: String,
    /// The media type of what is there.
    #[schema(rename = "type", example = "application/json")]
    #[serde(rename = "type")]
    media_type: &'static str,
}

impl ApiCatalog {
    /// The catalog of a service that clients reach under `public_url`.
    #[must_use]
    pub fn new(public_url: Option<&str>) -> Self {
        // Without it the links are relative to the catalog's own address, which whoever asked knows.
        let at = |path| format!("{}{path}", public_url.unwrap_or_default());
        let to = |path, media_type| vec![LinkTarget { href: at(path), media_type }];
        Self {
            linkset: vec![LinkContext {
                anchor: at("/"),
                service_desc: to("/openapi.json", "application/json"),
                service_doc: to("/docs", "text/html"),
                status: to("/health/ready", "application/json"),
            }],
        }
    }
}

/// The API's catalog
///
/// For programs that look for APIs: the address of this one, of its document, its console and its status (RFC 9727).
#[utoipa::path(
    get, path = "/.well-known/api-catalog", operation_id = "getApiCatalog", tag = "service",
    responses(
        (
            status = 200, description = "The catalog.", body = ApiCatalog, content_type = "application/linkset+json",
            headers(("Link" = String, description = "That this is the catalog (RFC 8288).")),
        ),
        CommonFailures,
    ),
    security(()),
)]
pub async fn api_catalog(catalog: Data<ApiCatalog>) -> HttpResponse {
    let cache = (header::CACHE_CONTROL, "no-cache");
    HttpResponse::Ok().content_type(API_CATALOG).insert_header(cache).insert_header(link()).json(&**catalog)
}

/// The header that leads to the catalog, which also the catalog's own HEAD must have (RFC 9727 §2).
pub(super) fn link() -> (header::HeaderName, &'static str) {
    (header::LINK, r#"</.well-known/api-catalog>; rel="api-catalog""#)
}
