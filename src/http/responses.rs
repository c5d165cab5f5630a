//! The failures of the OpenAPI document: one reusable response for each status, made from the table of
//! [codes](Code), and the groups of them that an operation names.
//!
//! An operation lists the groups that its extractors and its work can fail with, so that its document says
//! every status that can occur.

use std::collections::BTreeMap;

use serde_json::json;
use utoipa::openapi::example::ExampleBuilder;
use utoipa::openapi::{ContentBuilder, HeaderBuilder, ObjectBuilder, Ref, RefOr, Response, ResponseBuilder, Type};
use utoipa::{IntoResponses, ToResponse};

use super::problem::{self, Code};

macro_rules! groups {
    ($($(#[$doc:meta])* $name:ident: $($status:literal),+;)*) => {
        $(
            $(#[$doc])*
            #[derive(Debug)]
            pub struct $name;

            impl IntoResponses for $name {
                fn responses() -> BTreeMap<String, RefOr<Response>> {
                    references(&[$($status),+])
                }
            }
        )*
    };
}

groups! {
    /// What any operation can fail with.
    CommonFailures: 400, 406, 431, 500;
    /// Somebody's credential, where one is sent or asked for.
    CallerFailures: 400, 401;
    /// An operation that is not for everybody.
    RoleFailures: 400, 401, 403;
    /// A session's cookie.
    CookieFailures: 401;
    /// An operation for the pages of this server alone.
    OriginFailures: 403;
    /// A setup token.
    SetupFailures: 403;
    /// What may fail only so often.
    LimitFailures: 429;
    /// Looking into the database.
    DatabaseFailures: 503;
    /// Reading query parameters.
    QueryFailures: 400;
    /// An address that may lead to nothing.
    TargetFailures: 404;
    /// Conditions that a read may have.
    ReadConditionFailures: 400, 412;
    /// Conditions that a write may have, or must have.
    WriteConditionFailures: 400, 412, 428;
    /// Reading a body and checking it.
    BodyFailures: 400, 408, 413, 415, 422;
    /// A state that the request does not fit: a JSON Patch whose test fails, a value that is taken, a caller who is
    /// deleted meanwhile.
    ConflictFailures: 409;
    /// Carrying out once what may be sent twice: a key that cannot be read, that is at work, or that came with another
    /// body.
    IdempotencyFailures: 400, 409, 422;
    /// Reading what a recorder keeps, where none could be set up.
    RecorderFailures: 503;
    /// Storing something.
    StorageFailures: 507;
}

fn references(statuses: &[u16]) -> BTreeMap<String, RefOr<Response>> {
    statuses.iter().map(|status| (status.to_string(), Ref::from_response_name(name(*status)).into())).collect()
}

/// The answer to a client that has the current state of a resource (RFC 9110 §15.4.5).
#[derive(Debug, ToResponse)]
#[response(
    description = "What you have is current.",
    headers(
        ("ETag" = String, description = "The tag of what you have."),
        ("Last-Modified" = String, description = "When it last changed."),
    ),
)]
pub struct NotModified;

/// The same for a page of a list.
#[derive(Debug, ToResponse)]
#[response(
    description = "The page that you have is current.",
    headers(
        ("ETag" = String, description = "The tag of the page that you have."),
        ("Link" = String, description = "The first page and the next (RFC 8288)."),
        ("Preference-Applied" = String, description = "`count=exact`, where it was asked for."),
    ),
)]
pub struct PageNotModified;

/// The component's name: the status's own words, as a type's name.
fn name(status: u16) -> String {
    let reason = actix_web::http::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
    reason.unwrap_or("Failure").split([' ', '-']).collect()
}

/// The reusable response for each of these statuses.
#[must_use]
pub fn components(statuses: impl IntoIterator<Item = u16>) -> BTreeMap<String, RefOr<Response>> {
    statuses.into_iter().map(|status| (name(status), response(status).into())).collect()
}

fn response(status: u16) -> Response {
    let codes: Vec<_> = Code::ALL.iter().copied().filter(|code| code.status().as_u16() == status).collect();
    let list = codes.iter().map(|code| format!("`{}`", code.as_str())).collect::<Vec<_>>().join(", ");
    let titles = codes.iter().map(|code| code.title()).collect::<Vec<_>>().join("; ");
    let examples = codes.iter().map(|code| {
        let body = json!({
            "type": format!("/problems/{}", code.as_str()),
            "title": code.title(),
            "status": status,
            "detail": "What is wrong with this request, and what would mend it.",
            "instance": "/posts/7",
            "request_id": "0b1c9f1e-6a8f-4c39-9d61-0e5d7c3a2b10",
        });
        (code.as_str().to_owned(), ExampleBuilder::new().summary(code.title()).value(Some(body)).build())
    });
    let content =
        ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).examples_from_iter(examples).build();
    let mut response =
        ResponseBuilder::new().description(format!("{titles} ({list}).")).content(problem::MEDIA_TYPE, content);
    for (name, description) in headers(status) {
        let kind = if *name == "Retry-After" { Type::Integer } else { Type::String };
        let header =
            HeaderBuilder::new().schema(Some(ObjectBuilder::new().schema_type(kind))).description(Some(*description));
        response = response.header(*name, header.build());
    }
    response.build()
}

fn headers(status: u16) -> &'static [(&'static str, &'static str)] {
    match status {
        401 => &[
            ("WWW-Authenticate", "How to say who is calling, and whether a token was sent that is not good."),
            ("Set-Cookie", "On `/auth/session/refresh`: what makes a browser forget a cookie that is not good."),
        ],
        412 => &[("ETag", "The current state's tag.")],
        415 => &[
            ("Accept-Encoding", "Where the body has a coding: what it may have."),
            ("Accept-Patch", "On PATCH: the media types that it reads."),
        ],
        429 => &[
            ("Retry-After", "After how many seconds to try again."),
            ("RateLimit", "How much of the limit is left, and for how long."),
            ("RateLimit-Policy", "The limit."),
        ],
        503 => &[("Retry-After", "After how many seconds to try again.")],
        _ => &[],
    }
}
