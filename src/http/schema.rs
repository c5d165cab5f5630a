//! Parts of the OpenAPI document that are made from others, so that a rule is written once.

use serde_json::Value;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{AdditionalProperties, SchemaType};
use utoipa::openapi::{Object, ObjectBuilder, RefOr, Required, Schema, Type};

/// A parameter that may be left out.
#[must_use]
pub fn parameter(place: ParameterIn, name: &str, description: &str, schema: ObjectBuilder) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(place)
        .required(Required::False)
        .description(Some(description))
        .schema(Some(schema))
        .build()
}

/// An object schema, taken apart to make another of it.
pub struct Derived(Object);

impl Derived {
    /// Begins with the schema of an object. Takes no other properties, and requires none, until told.
    #[must_use]
    pub fn from(schema: RefOr<Schema>, description: &str) -> Self {
        let mut object = match schema {
            RefOr::T(Schema::Object(object)) => object,
            _ => Object::new(),
        };
        object.description = Some(description.to_owned());
        object.required.clear();
        object.example = None;
        object.additional_properties = Some(Box::new(AdditionalProperties::FreeForm(false)));
        Self(object)
    }

    /// Takes properties away.
    #[must_use]
    pub fn without(mut self, names: &[&str]) -> Self {
        self.0.properties.retain(|name, _| !names.contains(&name.as_str()));
        self
    }

    /// Adds a property.
    #[must_use]
    pub fn with(mut self, name: &str, property: RefOr<Schema>) -> Self {
        self.0.properties.insert(name.to_owned(), property);
        self
    }

    /// Requires properties.
    #[must_use]
    pub fn requiring(mut self, names: &[&str]) -> Self {
        self.0.required.extend(names.iter().map(|&name| name.to_owned()));
        self
    }

    /// Says what a property is when it is left out.
    #[must_use]
    pub fn with_default(mut self, name: &str, default: Value) -> Self {
        if let Some(RefOr::T(Schema::Object(property))) = self.0.properties.get_mut(name) {
            property.default = Some(default);
        }
        self
    }

    /// Takes other properties, too, as an answer does that later releases may add to.
    #[must_use]
    pub fn open(mut self) -> Self {
        self.0.additional_properties = None;
        self
    }

    /// Lets properties be null, too.
    #[must_use]
    pub fn nullable(mut self, names: &[&str]) -> Self {
        for name in names {
            if let Some(RefOr::T(Schema::Object(property))) = self.0.properties.get_mut(*name)
                && let SchemaType::Type(kind) = &property.schema_type
            {
                property.schema_type = SchemaType::Array(vec![kind.clone(), Type::Null]);
            }
        }
        self
    }

    /// Adds an example.
    #[must_use]
    pub fn with_example(mut self, example: Value) -> Self {
        self.0.example = Some(example);
        self
    }

    /// The schema.
    #[must_use]
    pub fn into_schema(self) -> RefOr<Schema> {
        self.0.into()
    }
}
