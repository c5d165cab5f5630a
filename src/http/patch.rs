//! Partial changes: JSON Merge Patch (RFC 7396) and JSON Patch (RFC 6902).

use actix_web::dev::Payload;
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::{FromRequest, HttpRequest};
use futures_util::future::LocalBoxFuture;
use json_patch::{PatchErrorKind, PatchOperation};
use serde_json::{Map, Value};
use utoipa::openapi::schema::SchemaType;
use utoipa::openapi::{ArrayBuilder, ObjectBuilder, OneOfBuilder, RefOr, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use super::json::{self, malformed, parse, read_body};
use super::problem::{Code, Fault, Problem};

/// The media type of a merge patch.
pub const MERGE_PATCH: &str = "application/merge-patch+json";
/// The media type of a JSON Patch.
pub const JSON_PATCH: &str = "application/json-patch+json";
/// What PATCH reads, in the order of preference. Plain JSON means a merge patch.
pub const MEDIA_TYPES: &[&str] = &[MERGE_PATCH, JSON_PATCH, json::MEDIA_TYPE];

/// How much the `copy` operations of one JSON Patch may copy, in bytes of memory: a document that copies itself into
/// itself grows twofold with each.
const COPY_BUDGET: usize = 16 << 20;

/// A change to a document.
#[derive(Clone, Debug)]
pub enum Patch {
    /// Members to set, and with null to remove.
    Merge(Value),
    /// Operations, all or none.
    Json(json_patch::Patch),
}

impl FromRequest for Patch {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let body = read_body(request, payload, MEDIA_TYPES);
        Box::pin(async move {
            let (media_type, bytes) = body.await.map_err(with_accept_patch)?;
            let document = parse(&bytes)?;
            if media_type == JSON_PATCH { Self::json(document) } else { Ok(Self::Merge(document)) }
        })
    }
}

/// What PATCH reads, as `Accept-Patch` says it (RFC 5789 §3.1).
#[must_use]
pub fn accept_patch() -> (HeaderName, HeaderValue) {
    let media_types = HeaderValue::from_str(&MEDIA_TYPES.join(", ")).unwrap_or(HeaderValue::from_static(MERGE_PATCH));
    (HeaderName::from_static("accept-patch"), media_types)
}

fn with_accept_patch(problem: Problem) -> Problem {
    if problem.code() != Code::UnsupportedMediaType {
        return problem;
    }
    let (name, value) = accept_patch();
    problem.with_header(name, value)
}

impl Patch {
    /// Reads a JSON Patch, an array of operations.
    pub fn json(document: Value) -> Result<Self, Problem> {
        let Value::Array(operations) = document else {
            return Err(malformed("", "wrong_type", "A JSON Patch is an array of operations."));
        };
        let operations = operations.into_iter().enumerate().map(|(index, operation)| {
            serde_json::from_value::<PatchOperation>(operation).map_err(|_| {
                let detail = "This is no operation: it needs `op` (add, remove, replace, move, copy or test), \
                              `path`, and what the `op` asks for, `value` or `from`.";
                malformed(&format!("/{index}"), "invalid_operation", detail)
            })
        });
        Ok(Self::Json(json_patch::Patch(operations.collect::<Result<_, _>>()?)))
    }

    /// The document with the change, to be read by its resource's rules.
    ///
    /// A member that a patch takes away leaves no trace in the result. For one that has a default that is what is
    /// meant. Any other is left as null, which shows the reader that something was said of it: a member that the
    /// server sets, or one that does not exist and that a merge patch gives null.
    pub fn apply_to_resource(&self, document: Value, with_default: &[&str]) -> Result<Value, Problem> {
        let mut names: Vec<String> = document.as_object().into_iter().flat_map(Map::keys).cloned().collect();
        if let Self::Merge(Value::Object(members)) = self {
            names.extend(members.keys().cloned());
        }
        let mut result = self.apply(document)?;
        if let Value::Object(result) = &mut result {
            for name in names.into_iter().filter(|name| !with_default.contains(&name.as_str())) {
                result.entry(name).or_insert(Value::Null);
            }
        }
        Ok(result)
    }

    /// The document with the change.
    pub fn apply(&self, mut document: Value) -> Result<Value, Problem> {
        match self {
            Self::Merge(patch) => json_patch::merge(&mut document, patch),
            Self::Json(patch) => {
                let mut budget = COPY_BUDGET;
                for (index, operation) in patch.iter().enumerate() {
                    apply_operation(&mut document, operation, &mut budget)
                        .map_err(|kind| refuse(index, operation, &kind))?;
                }
            }
        }
        Ok(document)
    }
}

fn apply_operation(document: &mut Value, operation: &PatchOperation, budget: &mut usize) -> Result<(), PatchErrorKind> {
    if let PatchOperation::Copy(copy) = operation
        && let Some(source) = document.pointer(copy.from.as_str())
    {
        *budget = budget.checked_sub(weight(source)).ok_or(PatchErrorKind::InvalidFromPointer)?;
    }
    json_patch::patch(document, std::slice::from_ref(operation)).map_err(|error| error.kind)
}

/// The body of a JSON Patch, as the document shows it.
#[derive(Debug)]
pub struct JsonPatch;

impl ToSchema for JsonPatch {}

impl PartialSchema for JsonPatch {
    fn schema() -> RefOr<Schema> {
        let pointer = |description: &str| {
            let pattern = Some("^(/([^/~]|~[01])*)*$");
            ObjectBuilder::new().schema_type(Type::String).description(Some(description)).pattern(pattern)
        };
        let operation = |names: &[&str]| {
            let op = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(names.iter().copied()));
            ObjectBuilder::new()
                .schema_type(Type::Object)
                .property("op", op)
                .required("op")
                .property("path", pointer("Where, as a JSON Pointer (RFC 6901)."))
                .required("path")
        };
        let value = ObjectBuilder::new().schema_type(SchemaType::AnyValue).description(Some("Any JSON."));
        let operation = OneOfBuilder::new()
            .item(operation(&["add", "replace", "test"]).property("value", value).required("value"))
            .item(operation(&["remove"]))
            .item(operation(&["move", "copy"]).property("from", pointer("From where.")).required("from"));
        let patch = ArrayBuilder::new().items(operation).description(Some("Operations, all or none (RFC 6902)."));
        patch.build().into()
    }
}

/// About how many bytes a value takes.
fn weight(value: &Value) -> usize {
    const NODE: usize = 64;
    match value {
        Value::String(text) => NODE + text.len(),
        Value::Array(elements) => NODE + elements.iter().map(weight).sum::<usize>(),
        Value::Object(members) => {
            NODE + members.iter().map(|(name, value)| NODE + name.len() + weight(value)).sum::<usize>()
        }
        _ => NODE,
    }
}

fn refuse(index: usize, operation: &PatchOperation, kind: &PatchErrorKind) -> Problem {
    if let PatchOperation::Test(test) = operation {
        let detail = format!("The test at `{}` failed: the value there is another. Nothing was changed.", test.path);
        let fault = Fault::at_pointer(format!("/{index}"), "test_failed", detail.clone());
        return Problem::new(Code::Conflict, detail).with_faults(vec![fault]);
    }
    let (member, detail) = match kind {
        PatchErrorKind::InvalidFromPointer => ("from", "There is nothing at `from` that could be taken, or too much."),
        PatchErrorKind::CannotMoveInsideItself => ("path", "A value cannot be moved into itself."),
        _ => ("path", "There is nothing at `path` that this could apply to."),
    };
    Problem::validation(vec![Fault::at_pointer(format!("/{index}/{member}"), "cannot_apply", detail)])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_document_takes_those_json_patches_that_are_read() {
        let schema = json!(JsonPatch::schema());
        for (operation, fits) in [
            (json!({"op": "add", "path": "/title", "value": null}), true),
            (json!({"op": "remove", "path": ""}), true),
            (json!({"op": "move", "path": "/a~0b/~1", "from": "/", "more": 1}), true),
            (json!({"op": "test", "path": "/title"}), false),
            (json!({"op": "copy", "path": "/title", "value": 1}), false),
            (json!({"op": "add", "path": "title", "value": 1}), false),
            (json!({"op": "remove", "path": "/~"}), false),
            (json!({"op": "remove", "path": "/~2"}), false),
            (json!({"op": "drop", "path": "/title"}), false),
            (json!({"path": "/title"}), false),
            (json!("remove"), false),
        ] {
            let patch = json!([operation]);
            assert_eq!(jsonschema::is_valid(&schema, &patch), fits, "{patch}");
            assert_eq!(Patch::json(patch.clone()).is_ok(), fits, "{patch}");
        }
    }
}
