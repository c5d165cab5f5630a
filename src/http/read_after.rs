//! How a client that wrote reads what it wrote, where reads go to replicas: the answer to a write names a place in the
//! primary's log, in a header and in a cookie, and the client names it when it reads.

use std::convert::Infallible;
use std::future::{Ready, ready};

use actix_web::cookie::{Cookie, SameSite};
use actix_web::dev::Payload;
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::{FromRequest, HttpRequest, HttpResponse};
use utoipa::IntoParams;
use utoipa::openapi::path::{Parameter, ParameterIn};
use utoipa::openapi::{ObjectBuilder, Type};

use super::cookies;
use super::schema::parameter;
use crate::db::{Db, Position};

/// The header, both ways.
pub const POSITION: HeaderName = HeaderName::from_static("posts-position");

/// The cookie's name.
pub const COOKIE: &str = "posts_position";

/// What a read must not be older than, where the client says so. What cannot be read is as good as a place that no
/// replica has come to: it asks for more than it may need, and never for less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadAfter(pub Option<Position>);

impl FromRequest for ReadAfter {
    type Error = Infallible;
    type Future = Ready<Result<Self, Infallible>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let read = |text: &str| text.parse().unwrap_or(Position::OUT_OF_REACH);
        let header =
            request.headers().get_all(&POSITION).map(|value| value.to_str().map_or(Position::OUT_OF_REACH, read));
        let cookies = cookies::values(request, COOKIE);
        ready(Ok(Self(header.chain(cookies.iter().map(|value| read(value))).max())))
    }
}

impl IntoParams for ReadAfter {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let description = "The `Posts-Position` of an answer to a write: what was written until then is seen. Needed only where \
                           the service reads from replicas, and cookies are not sent.";
        let schema = ObjectBuilder::new().schema_type(Type::String).examples(["16/B374D848"]);
        vec![parameter(ParameterIn::Header, "Posts-Position", description, schema)]
    }
}

/// Tells clients where what they wrote is.
#[derive(Clone, Debug)]
pub struct Positions {
    db: Db,
    /// What the cookie is for.
    path: String,
}

impl Positions {
    /// Those of a service that clients reach under `public_url`.
    #[must_use]
    pub fn new(db: &Db, public_url: Option<&str>) -> Self {
        Self { db: db.clone(), path: format!("{}/", cookies::base_path(public_url)) }
    }

    /// Names in the answer to a write, which has been stored, a place past it; nothing where there are no replicas.
    pub async fn tell(&self, mut response: HttpResponse) -> HttpResponse {
        let Some(position) = self.db.position().await else { return response };
        let position = position.to_string();
        if let Ok(value) = HeaderValue::from_str(&position) {
            response.headers_mut().insert(POSITION, value);
        }
        let cookie =
            Cookie::build(COOKIE, position).path(self.path.clone()).http_only(true).same_site(SameSite::Strict);
        if let Err(error) = response.add_cookie(&cookie.finish()) {
            tracing::warn!(%error, "a cookie could not be set");
        }
        response
    }
}
