//! Ids in paths.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest};
use utoipa::IntoParams;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::{KnownFormat, ObjectBuilder, Required, SchemaFormat, Type};

use super::MAX_INTEGER;
use super::problem::Problem;

/// The `{id}` of a path: a plain decimal from 1 to 2^53 − 1. Anything else names nothing, and is a 404.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Id(pub i64);

impl Id {
    fn parse(text: &str) -> Option<Self> {
        let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
        let id = text.parse().ok().filter(|id| plain && *id <= MAX_INTEGER)?;
        Some(Self(id))
    }
}

impl IntoParams for Id {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let schema = ObjectBuilder::new()
            .schema_type(Type::Integer)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
            .minimum(Some(1_i64))
            .maximum(Some(MAX_INTEGER));
        let parameter = ParameterBuilder::new()
            .name("id")
            .parameter_in(ParameterIn::Path)
            .required(Required::True)
            .description(Some("The id that the server gave."))
            .schema(Some(schema))
            .example(Some(7.into()));
        vec![parameter.build()]
    }
}

impl FromRequest for Id {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(request.match_info().get("id").and_then(Self::parse).ok_or_else(Problem::not_found))
    }
}

#[cfg(test)]
mod tests {
    use super::Id;

    #[test]
    fn only_plain_decimals_are_ids() {
        assert_eq!(Id::parse("1"), Some(Id(1)));
        assert_eq!(Id::parse("9007199254740991"), Some(Id(9_007_199_254_740_991)));
        for other in
            ["", "0", "01", "+1", "-1", "1.0", "1e3", "1abc", " 1", "１", "9007199254740992", "99999999999999999999"]
        {
            assert_eq!(Id::parse(other), None, "{other:?}");
        }
    }
}
