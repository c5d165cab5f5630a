//! The OpenAPI document: what the handlers say of themselves, collected and completed.

use std::collections::BTreeSet;

use serde_json::Value;
use utoipa::openapi::path::Operation;
use utoipa::openapi::{HeaderBuilder, ObjectBuilder, OpenApi as Document, RefOr, ServerBuilder, Type};
use utoipa::{Modify, OpenApi};

use crate::http::patch::JsonPatch;
use crate::http::problem::{Fault, ProblemBody};
use crate::http::responses;
use crate::{meta, posts};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "posts",
        description = "A JSON REST service over posts.\n\n\
            No update is lost: a post has an `ETag`, and a write with `If-Match` is refused with 412 where the post is no \
            longer what the writer read.\n\n\
            Every failure is a `Problem` (RFC 9457, `application/problem+json`), whose `type` leads to a page that explains it. \
            Every answer has an `X-Request-Id`.",
        contact(name = "The posts project"),
        license(name = "Apache-2.0 OR MIT", identifier = "Apache-2.0 OR MIT"),
    ),
    tags(
        (name = "posts", description = "Posts: list, read, create, change, delete."),
        (name = "service", description = "What the service says of itself."),
    ),
    paths(
        posts::list_posts, posts::create_post, posts::get_post, posts::replace_post, posts::update_post, posts::delete_post,
        meta::index, meta::live, meta::ready, meta::metrics,
    ),
    components(
        schemas(ProblemBody<'_>, Fault, posts::PostReplacement, posts::PostMergePatch, JsonPatch),
        responses(posts::PostState),
    ),
    modifiers(&SharedResponses, &RequestId),
)]
struct Api;

/// The document, for a service that clients reach under `public_url`.
#[must_use]
pub fn document(public_url: Option<&str>) -> Document {
    let mut document = Api::openapi();
    // Said outright: no operation asks who is calling.
    document.security = Some(Vec::new());
    document.servers = Some(vec![ServerBuilder::new().url(public_url.unwrap_or("/")).build()]);
    document
}

/// The document as text: what is committed, served and printed, the same bytes each time.
pub fn render(document: &Document) -> serde_json::Result<String> {
    // Through a value, whose members have one order.
    let value: Value = serde_json::to_value(document)?;
    let mut text = serde_json::to_string_pretty(&value)?;
    text.push('\n');
    Ok(text)
}

/// Adds the reusable responses that operations refer to.
struct SharedResponses;

impl Modify for SharedResponses {
    fn modify(&self, document: &mut Document) {
        let statuses: BTreeSet<u16> = operations(document)
            .flat_map(|operation| operation.responses.responses.keys())
            .filter_map(|status| status.parse().ok())
            .collect();
        let failures = statuses.into_iter().filter(|status| *status >= 400);
        let shared = responses::components(failures);
        document.components.get_or_insert_default().responses.extend(shared);
    }
}

/// Adds the header that every answer has.
struct RequestId;

impl Modify for RequestId {
    fn modify(&self, document: &mut Document) {
        let header = || {
            let schema = ObjectBuilder::new().schema_type(Type::String).pattern(Some("^[A-Za-z0-9._-]{1,128}$"));
            HeaderBuilder::new().schema(Some(schema)).description(Some("The request's id.")).build()
        };
        let own = document
            .paths
            .paths
            .values_mut()
            .flat_map(path_operations_mut)
            .flat_map(|operation| operation.responses.responses.values_mut());
        let shared = document.components.iter_mut().flat_map(|components| components.responses.values_mut());
        for response in own.chain(shared) {
            if let RefOr::T(response) = response {
                response.headers.insert("X-Request-Id".to_owned(), header().into());
            }
        }
    }
}

fn operations(document: &Document) -> impl Iterator<Item = &Operation> {
    document
        .paths
        .paths
        .values()
        .flat_map(|path| [&path.get, &path.post, &path.put, &path.patch, &path.delete])
        .flatten()
}

fn path_operations_mut(path: &mut utoipa::openapi::PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut path.get, &mut path.post, &mut path.put, &mut path.patch, &mut path.delete].into_iter().flatten()
}
