//! The door for the pages of this server: a session whose refresh token is in a cookie, where no script can read it.
//!
//! A browser sends a cookie by itself, so who asks must show to be a page of this server. Two things see to that: the
//! cookie is `SameSite=Strict`, and [`SameOrigin`] looks at `Origin` before anything is done. Nothing but the operations
//! that take a [`SameOrigin`] reads the cookie. Pages of `--cors-origin` stay outside: most of them would never have the
//! cookie sent, since `SameSite=Strict` keeps it back, and CORS is without credentials here.

use std::future::{Ready, ready};

use actix_web::cookie::{Cookie, CookieBuilder, SameSite, time};
use actix_web::dev::Payload;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::web::Data;
use actix_web::{FromRequest, HttpRequest};
use secrecy::{ExposeSecret as _, SecretString};
use url::{Origin, Url};

use super::session;
use crate::http::cookies;
use crate::http::problem::{Code, Problem};

/// The cookie's name.
pub const COOKIE: &str = "posts_session";

/// The paths that the cookie is for, those of sessions.
const PATH: &str = "/auth";

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Where browsers find this server.
#[derive(Clone, Debug)]
pub struct Site {
    /// Of `--public-url`.
    origin: Option<Origin>,
    /// What the cookie is for.
    path: String,
}

impl Site {
    /// The site of a service that clients reach under `public_url`.
    #[must_use]
    pub fn new(public_url: Option<&str>) -> Self {
        let url = public_url.and_then(|url| Url::parse(url).ok());
        let base = cookies::base_path(public_url);
        Self { origin: url.as_ref().map(Url::origin), path: format!("{base}{PATH}") }
    }

    /// Whether this is our origin: that of `--public-url`, or the one that the request went to. Whether that was by TLS,
    /// the proxy before us knows alone, so the scheme may be either.
    fn is_own(&self, origin: &Url, host: &str) -> bool {
        let address = Url::parse(&format!("{}://{host}", origin.scheme()));
        self.origin.as_ref() == Some(&origin.origin())
            || address.is_ok_and(|address| address.origin() == origin.origin())
    }
}

/// A request of a page of this server's. To extract it fails with 403 for others.
#[derive(Clone, Debug)]
pub struct SameOrigin {
    /// Whether the browser reaches this server by TLS. The page's origin tells it, also behind a proxy that ends TLS.
    secure: bool,
    path: String,
}

impl SameOrigin {
    fn of(request: &HttpRequest) -> Result<Self, Problem> {
        let origin = only(request, &header::ORIGIN).and_then(origin);
        let origin = origin.ok_or_else(|| elsewhere("There must be one `Origin`, as browsers send it."))?;
        let site = request.app_data::<Data<Site>>();
        let host = only(request, &header::HOST).unwrap_or_default();
        let Some(site) = site.filter(|site| site.is_own(&origin, host)) else {
            return Err(elsewhere("`Origin` is another than this server's."));
        };
        // What knows of it says more than `Origin` does: that the two have one scheme, say.
        if request.headers().get_all(SEC_FETCH_SITE).any(|value| value != "same-origin") {
            return Err(elsewhere("`Sec-Fetch-Site` is another than `same-origin`."));
        }
        Ok(Self { secure: origin.scheme() == "https", path: site.path.clone() })
    }

    /// The cookie that holds this refresh token, for as long as a session lasts that nobody refreshes.
    pub(super) fn cookie(&self, token: &SecretString) -> Cookie<'static> {
        let seconds = i64::try_from(session::IDLE.as_secs()).unwrap_or(i64::MAX);
        self.build(token.expose_secret().to_owned()).max_age(time::Duration::seconds(seconds)).finish()
    }

    /// What makes a browser forget the cookie.
    pub(super) fn removal(&self) -> Cookie<'static> {
        self.build(String::new()).max_age(time::Duration::ZERO).finish()
    }

    /// A refusal that makes a browser forget the cookie, where it was the cookie that was refused.
    pub(super) fn forgetting(&self, problem: Problem) -> Problem {
        match HeaderValue::from_str(&self.removal().to_string()) {
            Ok(removal) if problem.code() == Code::Unauthorized => problem.with_header(header::SET_COOKIE, removal),
            _ => problem,
        }
    }

    fn build(&self, value: String) -> CookieBuilder<'static> {
        let cookie = Cookie::build(COOKIE, value).path(self.path.clone());
        cookie.secure(self.secure).http_only(true).same_site(SameSite::Strict)
    }
}

impl FromRequest for SameOrigin {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Self::of(request))
    }
}

/// The refresh tokens in the request's cookies: one, or none. Two where there are more and they are not the same, since
/// another server under our name, or a name below it, set one of them: which is ours, nobody can tell.
pub(super) fn tokens(request: &HttpRequest) -> Vec<SecretString> {
    let mut tokens: Vec<String> = Vec::new();
    for token in cookies::values(request, COOKIE) {
        if tokens.len() < 2 && !tokens.contains(&token) {
            tokens.push(token);
        }
    }
    tokens.into_iter().map(SecretString::from).collect()
}

/// The value of a header that is there once.
fn only<'a>(request: &'a HttpRequest, name: &HeaderName) -> Option<&'a str> {
    let mut lines = request.headers().get_all(name);
    lines.next().filter(|_| lines.next().is_none())?.to_str().ok()
}

/// An origin as browsers write it (RFC 6454 §6.2): scheme, host, and the port where that is not the scheme's own.
fn origin(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
    (url.origin().ascii_serialization() == text).then_some(url)
}

fn elsewhere(fault: &str) -> Problem {
    let detail = format!(
        "{fault} This is for the pages of this server: programs sign in at `/auth/login`, and behind a proxy that \
         changes `Host` the server has to be told `--public-url`."
    );
    Problem::new(Code::Forbidden, detail)
}
