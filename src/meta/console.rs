//! The OpenAPI document, and a console to try it in. Everything that the console needs is in the program.

use std::sync::Arc;

use actix_web::HttpResponse;
use actix_web::http::header;
use actix_web::web::{Bytes, Data, Path};
use utoipa_swagger_ui::Config;

use crate::http::problem::Problem;

/// The document, rendered once.
#[derive(Clone, Debug)]
pub struct Document(pub Bytes);

const CONSOLE: &str = include_str!("assets/console.html");

/// The files of the console that are ours.
const OWN_FILES: [(&str, &str, &str); 2] = [
    ("console.js", "text/javascript; charset=utf-8", include_str!("assets/console.js")),
    ("console.css", "text/css; charset=utf-8", include_str!("assets/console.css")),
];

/// Those that are Swagger UI's.
const SWAGGER_FILES: [&str; 3] = ["swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png"];

/// Swagger UI shows small pictures from data URLs. The styles that its script sets are no inline ones to a policy.
const CONSOLE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                              connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// GET /openapi.json
pub async fn openapi(document: Data<Document>) -> HttpResponse {
    let cache = (header::CACHE_CONTROL, "no-cache");
    HttpResponse::Ok().content_type("application/json").insert_header(cache).body(document.0.clone())
}

/// GET /docs
pub async fn console() -> HttpResponse {
    let policy = (header::CONTENT_SECURITY_POLICY, CONSOLE_POLICY);
    HttpResponse::Ok().content_type("text/html; charset=utf-8").insert_header(policy).body(CONSOLE)
}

/// GET /docs/{file}
pub async fn console_file(file: Path<String>) -> Result<HttpResponse, Problem> {
    let cache = (header::CACHE_CONTROL, "no-cache");
    if let Some((_, content_type, body)) = OWN_FILES.iter().find(|(name, ..)| *name == *file) {
        return Ok(HttpResponse::Ok().content_type(*content_type).insert_header(cache).body(*body));
    }
    let wanted = SWAGGER_FILES.contains(&file.as_str());
    let found = if wanted { utoipa_swagger_ui::serve(&file, Arc::new(Config::default())).ok().flatten() } else { None };
    let found = found.ok_or_else(Problem::not_found)?;
    Ok(HttpResponse::Ok().content_type(found.content_type).insert_header(cache).body(found.bytes.into_owned()))
}
