//! Which fields of a resource were asked for (`fields`).

use utoipa::openapi::path::Parameter;
use utoipa::openapi::{ObjectBuilder, Type};

use super::query::{Parameters, query_parameter};

/// The fields to send. `id` is always sent.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Selection(Option<Vec<&'static str>>);

impl Selection {
    /// Takes the parameter `fields`, which may have these names.
    pub fn read(parameters: &mut Parameters, known: &[&'static str]) -> Self {
        Self(parameters.names("fields", known))
    }

    /// Whether nothing was left out, as nothing in particular was asked for.
    #[must_use]
    pub const fn is_everything(&self) -> bool {
        self.0.is_none()
    }

    /// Whether to send this field.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.0.is_none() || self.names(name)
    }

    /// Whether to send this field, of those that are sent only where they are asked for by name.
    #[must_use]
    pub fn names(&self, name: &str) -> bool {
        self.0.as_ref().is_some_and(|names| names.contains(&name))
    }

    /// What sets an answer with these fields apart from the whole, in its `ETag`.
    #[must_use]
    pub fn variant(&self) -> String {
        self.0.as_ref().map(|names| names.join("+")).unwrap_or_default()
    }

    /// The parameter, as the document shows it, with what there is to say of some of the fields.
    #[must_use]
    pub fn parameter(known: &[&str], note: &str) -> Parameter {
        let list = known.join("|");
        let schema = ObjectBuilder::new()
            .schema_type(Type::String)
            .pattern(Some(format!("^({list})(,({list}))*$")))
            .examples(["title,published"]);
        let description = format!("The fields to send, with commas between them. `id` is always sent. {note}");
        query_parameter("fields", &description, schema)
    }
}
