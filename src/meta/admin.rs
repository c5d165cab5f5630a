//! The admin page: a front end that speaks to the API alone. It is built from `admin/`, and the built files are in the
//! program.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::LazyLock;

use actix_web::HttpResponse;
use actix_web::web::{Bytes, Path};
use rust_embed::Embed;

use crate::http::asset::Asset;
use crate::http::conditional::ReadConditions;
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

/// All files, by their names.
static ASSETS: LazyLock<HashMap<Cow<'static, str>, Asset>> =
    LazyLock::new(|| Files::iter().filter_map(|name| Some((name.clone(), asset(&name)?))).collect());

/// GET /admin
pub async fn admin(conditions: ReadConditions) -> Result<HttpResponse, Problem> {
    answer("index.html", conditions).await
}

/// GET /admin/{file}
pub async fn admin_file(file: Path<String>, conditions: ReadConditions) -> Result<HttpResponse, Problem> {
    answer(&format!("admin/{file}"), conditions).await
}

async fn answer(name: &str, conditions: ReadConditions) -> Result<HttpResponse, Problem> {
    ASSETS.get(name).ok_or_else(Problem::not_found)?.answer(conditions).await
}

/// `None` for a file of a kind that is not served.
fn asset(name: &str) -> Option<Asset> {
    let body = match Files::get(name)?.data {
        Cow::Borrowed(bytes) => Bytes::from_static(bytes),
        Cow::Owned(bytes) => Bytes::from(bytes),
    };
    Some(match name.rsplit_once('.')?.1 {
        "html" => Asset::new("text/html; charset=utf-8", body).under(POLICY),
        "js" => Asset::new("text/javascript; charset=utf-8", body).cached(HASHED),
        "css" => Asset::new("text/css; charset=utf-8", body).cached(HASHED),
        "svg" => Asset::new("image/svg+xml", body).cached(HASHED),
        // The licences of the libraries within.
        "txt" => Asset::new("text/plain; charset=utf-8", body),
        _ => return None,
    })
}
