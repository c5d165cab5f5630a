//! The admin page: a front end that speaks to the API alone. It is built from `admin/`, and the built files are in the
//! program.

use std::borrow::Cow;

use actix_web::HttpResponse;
use actix_web::http::header;
use actix_web::web::{Bytes, Path};
use rust_embed::Embed;

use crate::http::problem::Problem;

/// What `npm run build` in `admin/` writes.
#[derive(Embed)]
#[folder = "admin/dist/"]
struct Files;

/// Whatever a post holds: no script but the page's own runs, no style but its own counts, and nothing is loaded from
/// elsewhere. A post's own pictures are data URLs.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// For how long a file may be kept whose name has a hash of what is in it: another content is another file.
const HASHED: &str = "public, max-age=31536000, immutable";

/// GET /admin
pub async fn admin() -> Result<HttpResponse, Problem> {
    let page = find("index.html").ok_or_else(Problem::not_found)?;
    Ok(HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .body(page))
}

/// GET /admin/{file}
pub async fn admin_file(file: Path<String>) -> Result<HttpResponse, Problem> {
    let (content_type, cache) = match file.rsplit_once('.') {
        Some((_, "js")) => ("text/javascript; charset=utf-8", HASHED),
        Some((_, "css")) => ("text/css; charset=utf-8", HASHED),
        Some((_, "svg")) => ("image/svg+xml", HASHED),
        // The licences of the libraries within.
        Some((_, "txt")) => ("text/plain; charset=utf-8", "no-cache"),
        _ => return Err(Problem::not_found()),
    };
    let body = find(&format!("admin/{file}")).ok_or_else(Problem::not_found)?;
    Ok(HttpResponse::Ok().content_type(content_type).insert_header((header::CACHE_CONTROL, cache)).body(body))
}

fn find(name: &str) -> Option<Bytes> {
    Files::get(name).map(|file| match file.data {
        Cow::Borrowed(bytes) => Bytes::from_static(bytes),
        Cow::Owned(bytes) => Bytes::from(bytes),
    })
}
