//! Cookies: what the requests of a browser carry, and which of them are ours.

use actix_web::HttpRequest;
use actix_web::cookie::Cookie;
use actix_web::http::header;
use url::Url;

/// The values of the request's cookies with this name: more than one where they were set for several paths, or another
/// server under our name, or a name below it, set one.
pub fn values(request: &HttpRequest, name: &str) -> Vec<String> {
    let mut values = Vec::new();
    for line in request.headers().get_all(header::COOKIE) {
        // Other cookies may be in another coding: that must not hide ours.
        let line = String::from_utf8_lossy(line.as_bytes());
        let cookies = line.split(';').filter_map(|pair| Cookie::parse(pair.trim()).ok());
        values.extend(cookies.filter(|cookie| cookie.name() == name).map(|cookie| cookie.value().to_owned()));
    }
    values
}

/// The path under which clients reach the service, without a slash at the end: what its cookies' paths begin with.
#[must_use]
pub fn base_path(public_url: Option<&str>) -> String {
    let url = public_url.and_then(|url| Url::parse(url).ok());
    url.map_or_else(String::new, |url| url.path().trim_end_matches('/').to_owned())
}
