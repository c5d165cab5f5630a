//! What a client would like, and can do without (`Prefer`, RFC 7240).

use std::convert::Infallible;
use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use actix_web::{FromRequest, HttpRequest};
use utoipa::IntoParams;
use utoipa::openapi::path::{Parameter, ParameterIn};
use utoipa::openapi::{ObjectBuilder, Type};

use super::schema::parameter;

const PREFER: HeaderName = HeaderName::from_static("prefer");
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");
const COUNT_EXACT: &str = "count=exact";

/// The preferences of a request for a list. One that is unknown, or cannot be read, is passed over (RFC 7240 §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefer {
    /// Whether to say how many items the whole list has (`count=exact`).
    pub count: bool,
}

impl Prefer {
    /// The preferences of this request.
    #[must_use]
    pub fn of(request: &HttpRequest) -> Self {
        let lines = request.headers().get_all(&PREFER).filter_map(|line| line.to_str().ok());
        let mut preferences = lines.flat_map(|line| line.split(',')).filter_map(|preference| {
            // What follows a `;` are the preference's own parameters.
            let (name, value) = preference.split(';').next()?.split_once('=')?;
            Some((name.trim(), value.trim().trim_matches('"')))
        });
        // Of a preference that is given twice, the first counts.
        let count = preferences.find(|(name, _)| name.eq_ignore_ascii_case("count"));
        Self { count: count.is_some_and(|(_, value)| value == "exact") }
    }

    /// Says in the answer which preferences were met.
    pub fn acknowledge(self, headers: &mut HeaderMap) {
        if self.count {
            headers.insert(PREFERENCE_APPLIED, HeaderValue::from_static(COUNT_EXACT));
        }
    }
}

impl FromRequest for Prefer {
    type Error = Infallible;
    type Future = Ready<Result<Self, Infallible>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Ok(Self::of(request)))
    }
}

impl IntoParams for Prefer {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let description = "`count=exact` adds `total`, the number of items on all pages. It is not counted otherwise.";
        let schema = ObjectBuilder::new().schema_type(Type::String).examples([COUNT_EXACT]);
        vec![parameter(ParameterIn::Header, "Prefer", description, schema)]
    }
}
