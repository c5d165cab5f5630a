//! The OpenAPI document, and a console to try it in. Everything that the console needs is in the program.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use actix_web::HttpResponse;
use actix_web::web::{Bytes, Data, Path};
use utoipa_swagger_ui::Config;

use crate::http::asset::Asset;
use crate::http::conditional::ReadConditions;
use crate::http::problem::Problem;

/// The document, rendered once.
#[derive(Debug)]
pub struct Document(Asset);

impl Document {
    /// The document with this text.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Asset::new("application/json", text))
    }
}

const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLES: &str = "text/css; charset=utf-8";

const CONSOLE: &str = include_str!("assets/console.html");

/// Swagger UI shows small pictures from data URLs. The styles that its script sets are no inline ones to a policy.
const CONSOLE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                              connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

static PAGE: LazyLock<Asset> = LazyLock::new(|| Asset::new("text/html; charset=utf-8", CONSOLE).under(CONSOLE_POLICY));

/// The page's files, by their names: ours, and those of Swagger UI.
static FILES: LazyLock<HashMap<&'static str, Asset>> = LazyLock::new(|| {
    let own = [
        ("console.js", Asset::new(SCRIPT, include_str!("assets/console.js"))),
        ("console.css", Asset::new(STYLES, include_str!("assets/console.css"))),
    ];
    let swagger = [
        swagger_file("swagger-ui-bundle.js", |body| Asset::new(SCRIPT, body)),
        swagger_file("swagger-ui.css", |body| Asset::new(STYLES, body)),
        swagger_file("favicon-32x32.png", |body| Asset::new("image/png", body).plain()),
    ];
    own.into_iter().chain(swagger.into_iter().flatten()).collect()
});

/// GET /openapi.json
pub async fn openapi(document: Data<Document>, conditions: ReadConditions) -> Result<HttpResponse, Problem> {
    document.0.answer(conditions).await
}

/// GET /docs
pub async fn console(conditions: ReadConditions) -> Result<HttpResponse, Problem> {
    PAGE.answer(conditions).await
}

/// GET /docs/{file}
pub async fn console_file(file: Path<String>, conditions: ReadConditions) -> Result<HttpResponse, Problem> {
    FILES.get(file.as_str()).ok_or_else(Problem::not_found)?.answer(conditions).await
}

fn swagger_file(name: &'static str, asset: fn(Bytes) -> Asset) -> Option<(&'static str, Asset)> {
    let file = utoipa_swagger_ui::serve(name, Arc::new(Config::default())).ok()??;
    Some((name, asset(Bytes::from(file.bytes.into_owned()))))
}
