//! Lists, a page at a time.

use utoipa::IntoParams;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::{ObjectBuilder, Required, Type};

use super::query::Parameters;

/// The most items on one page.
pub const LIMIT_MAX: u32 = 100;
/// How many items a page has when the request does not say.
pub const LIMIT_DEFAULT: u32 = 20;

/// How much of a list was asked for.
#[derive(Clone, Copy, Debug)]
pub struct PageRequest {
    /// The most items to send, from 1 to [`LIMIT_MAX`].
    pub limit: u32,
}

impl PageRequest {
    /// Takes the parameters that every list has.
    pub fn read(parameters: &mut Parameters) -> Self {
        Self { limit: parameters.integer("limit", 1, LIMIT_MAX).unwrap_or(LIMIT_DEFAULT) }
    }
}

impl IntoParams for PageRequest {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let schema = ObjectBuilder::new()
            .schema_type(Type::Integer)
            .minimum(Some(1_u32))
            .maximum(Some(LIMIT_MAX))
            .default(Some(LIMIT_DEFAULT.into()));
        let parameter = ParameterBuilder::new()
            .name("limit")
            .parameter_in(ParameterIn::Query)
            .required(Required::False)
            .description(Some("The most items to send."))
            .schema(Some(schema));
        vec![parameter.build()]
    }
}
