//! Partial changes: JSON Merge Patch (RFC 7396) and JSON Patch (RFC 6902).

use actix_web::dev::Payload;
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::{FromRequest, HttpRequest};
use futures_util::future::LocalBoxFuture;
use json_patch::jsonptr::Pointer;
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

/// What the operations of one JSON Patch may cost: the bytes of memory that they put somewhere, for a document that copies
/// itself into itself grows twofold with each, and the elements that they shift, for each that is put before others
/// moves all of them.
const BUDGET: usize = 16 << 20;

/// How deep values may get into one another by operations: as deep as JSON is read. What works on a value takes some of
/// the stack for each level.
const DEPTH_MAX: usize = 128;

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
            // A list of an operation's members would do for serde.
            let object = Some(operation).filter(Value::is_object);
            object.and_then(|object| serde_json::from_value::<PatchOperation>(object).ok()).ok_or_else(|| {
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
                let mut budget = BUDGET;
                for (index, operation) in patch.iter().enumerate() {
                    apply_operation(&mut document, operation, &mut budget)
                        .map_err(|failure| refuse(index, operation, &failure))?;
                }
            }
        }
        Ok(document)
    }
}

/// Why an operation is not carried out.
enum Failure {
    CannotApply(PatchErrorKind),
    /// It is past [`BUDGET`] or [`DEPTH_MAX`].
    TooMuch,
}

fn apply_operation(document: &mut Value, operation: &PatchOperation, budget: &mut usize) -> Result<(), Failure> {
    let cost = cost(document, operation).ok_or(Failure::TooMuch)?;
    *budget = budget.checked_sub(cost).ok_or(Failure::TooMuch)?;
    json_patch::patch(document, std::slice::from_ref(operation)).map_err(|error| Failure::CannotApply(error.kind))
}

/// What an operation puts somewhere and shifts; see [`BUDGET`]. `None` where it would nest too deep.
fn cost(document: &Value, operation: &PatchOperation) -> Option<usize> {
    let (from, value) = match operation {
        PatchOperation::Add(add) => (None, Some(&add.value)),
        PatchOperation::Replace(replace) => (None, Some(&replace.value)),
        PatchOperation::Copy(copy) => (None, document.pointer(copy.from.as_str())),
        PatchOperation::Move(taken) => (Some(&taken.from), document.pointer(taken.from.as_str())),
        PatchOperation::Remove(_) | PatchOperation::Test(_) => (None, None),
    };
    let path = operation.path();
    let put = value.map_or(Some(0), |value| weight(value, path.count()))?;
    Some(put + shifted(document, path) + from.map_or(0, |from| shifted(document, from)))
}

/// How many elements may be shifted where one comes or goes.
fn shifted(document: &Value, path: &Pointer) -> usize {
    let parent = path.parent().and_then(|parent| document.pointer(parent.as_str()));
    parent.and_then(Value::as_array).map_or(0, Vec::len)
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

/// About how many bytes a value takes that is so deep in a document; `None` where it gets too deep.
fn weight(value: &Value, depth: usize) -> Option<usize> {
    const NODE: usize = 64;
    if depth > DEPTH_MAX {
        return None;
    }
    match value {
        Value::String(text) => Some(NODE + text.len()),
        Value::Array(elements) => {
            elements.iter().try_fold(NODE, |sum, element| Some(sum + weight(element, depth + 1)?))
        }
        Value::Object(members) => members
            .iter()
            .try_fold(NODE, |sum, (name, value)| Some(sum + NODE + name.len() + weight(value, depth + 1)?)),
        _ => Some(NODE),
    }
}

fn refuse(index: usize, operation: &PatchOperation, failure: &Failure) -> Problem {
    let kind = match failure {
        Failure::CannotApply(kind) => kind,
        Failure::TooMuch => {
            let detail = "This would copy, move or nest too much. Send what the document is to be.";
            return Problem::validation(vec![Fault::at_pointer(format!("/{index}"), "too_much", detail)]);
        }
    };
    if let PatchOperation::Test(test) = operation {
        let detail = format!("The test at `{}` failed: the value there is another. Nothing was changed.", test.path);
        let fault = Fault::at_pointer(format!("/{index}"), "test_failed", detail.clone());
        return Problem::new(Code::Conflict, detail).with_faults(vec![fault]);
    }
    let (member, detail) = match kind {
        PatchErrorKind::InvalidFromPointer => ("from", "There is nothing at `from` that could be taken."),
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
            (json!(["remove", "/title"]), false),
        ] {
            let patch = json!([operation]);
            assert_eq!(jsonschema::is_valid(&schema, &patch), fits, "{patch}");
            assert_eq!(Patch::json(patch.clone()).is_ok(), fits, "{patch}");
        }
    }
}
