//! The OpenAPI document: what the handlers say of themselves, collected and completed.

mod links;

use std::collections::BTreeSet;

use serde_json::Value;
use utoipa::openapi::extensions::Extensions;
use utoipa::openapi::path::Operation;
use utoipa::openapi::schema::AdditionalProperties;
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{
    Content, HeaderBuilder, ObjectBuilder, OpenApi as Document, RefOr, Schema, SchemaFormat, ServerBuilder, Type,
};
use utoipa::{Modify, OpenApi};

use self::links::Links;
use crate::http::patch::JsonPatch;
use crate::http::problem::{Fault, ProblemBody};
use crate::http::read_after;
use crate::http::responses::{self, NotModified, PageNotModified};
use crate::search::Highlights;
use crate::{api_keys, auth, meta, posts, users};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "posts",
        description = "A JSON REST service over posts.\n\n\
            No update is lost: a post has an `ETag`, and a write with `If-Match` is refused with 412 where the post is no \
            longer what the writer read. Nothing is created twice: a POST with an `Idempotency-Key` may be sent again, and gets \
            its first answer.\n\n\
            Everybody may read what is published. For anything else send a token: sign in at `/auth/login` for an access token, \
            or make an API key. A role may do what those before it may: `reader`, `author`, `editor`, `admin`; \
            an operation's `x-required-role` is the least that it takes.\n\n\
            Every failure is a `Problem` (RFC 9457, `application/problem+json`), whose `type` leads to a page that explains it. \
            Every answer has an `X-Request-Id`.",
        contact(name = "The posts project"),
        license(name = "Apache-2.0 OR MIT", identifier = "Apache-2.0 OR MIT"),
    ),
    tags(
        (name = "posts", description = "Posts: list, read, create, change, delete."),
        (name = "auth", description = "Sign in and out, with an e-mail and a password."),
        (name = "api-keys", description = "Keys for programs that call in one's name."),
        (name = "users", description = "Users: who may sign in, and what they may do."),
        (name = "service", description = "What the service says of itself."),
    ),
    paths(
        posts::list_posts, posts::create_post, posts::get_post, posts::replace_post, posts::update_post, posts::delete_post,
        auth::login, auth::refresh, auth::logout, auth::begin_session, auth::refresh_session, auth::end_session,
        auth::me, auth::change_password, auth::setup_status, auth::set_up, auth::jwks,
        api_keys::list_api_keys, api_keys::create_api_key, api_keys::delete_api_key,
        users::list_users, users::create_user, users::get_user, users::update_user, users::delete_user,
        meta::index, meta::api_catalog, meta::live, meta::ready, meta::metrics,
    ),
    components(
        schemas(
            ProblemBody<'_>, Fault, Highlights, posts::PostReplacement, posts::PostMergePatch, JsonPatch, users::UserMergePatch,
        ),
        responses(posts::PostState, users::UserState, NotModified, PageNotModified),
    ),
    modifiers(&SharedResponses, &Headers, &ClosedBodies, &Credentials, &Links),
)]
struct Api;

/// The document, for a service that clients reach under `public_url`.
#[must_use]
pub fn document(public_url: Option<&str>) -> Document {
    let mut document = Api::openapi();
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

/// Headers that an answer has only now and then. The others that the document names are always there.
const OCCASIONAL_HEADERS: [&str; 6] =
    ["Accept-Encoding", "Accept-Patch", "Idempotency-Replayed", "Posts-Position", "Preference-Applied", "Set-Cookie"];

/// Adds the header that every answer has, and says of all headers what they look like and whether they are always there.
struct Headers;

impl Modify for Headers {
    fn modify(&self, document: &mut Document) {
        let request_id = HeaderBuilder::new().description(Some("The request's id.")).build();
        let own = document
            .paths
            .paths
            .values_mut()
            .flat_map(path_operations_mut)
            .flat_map(|operation| operation.responses.responses.values_mut());
        let shared = document.components.iter_mut().flat_map(|components| components.responses.values_mut());
        for response in own.chain(shared) {
            if let RefOr::T(response) = response {
                response.headers.insert("X-Request-Id".to_owned(), request_id.clone().into());
                for (name, header) in &mut response.headers {
                    let RefOr::T(header) = header else { continue };
                    if let Some(schema) = header_schema(name) {
                        header.schema = Some(schema.into());
                    }
                    if !OCCASIONAL_HEADERS.contains(&name.as_str()) {
                        // utoipa has no field for it.
                        header.extensions = Some(Extensions::from_iter([("required", true)]));
                    }
                }
            }
        }
    }
}

/// What a header looks like, where there is more to say than that it is text or a number.
fn header_schema(name: &str) -> Option<ObjectBuilder> {
    let text = ObjectBuilder::new().schema_type(Type::String);
    match name {
        // Strong tags alone (RFC 9110 §8.8.3).
        "ETag" => Some(text.pattern(Some(r#"^"[!#-~]+"$"#))),
        // RFC 9110 §5.6.7.
        "Last-Modified" => {
            Some(text.pattern(Some("^[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT$")))
        }
        "X-Request-Id" => Some(text.pattern(Some("^[A-Za-z0-9._-]{1,128}$"))),
        "Posts-Position" => Some(text.pattern(Some("^[0-9A-F]{1,8}/[0-9A-F]{1,8}$"))),
        "Set-Cookie" => {
            Some(text.pattern(Some(format!("^({}|{})=[A-Za-z0-9_/-]*; ", auth::COOKIE, read_after::COOKIE))))
        }
        "Location" => Some(text.format(Some(SchemaFormat::Custom("uri-reference".to_owned())))),
        _ => None,
    }
}

/// Says of the bodies of requests that they have no other fields, which the server refuses.
struct ClosedBodies;

impl Modify for ClosedBodies {
    fn modify(&self, document: &mut Document) {
        let contents = operations(document).filter_map(|operation| match &operation.request_body {
            Some(RefOr::T(body)) => Some(body.content.values()),
            _ => None,
        });
        let names: BTreeSet<String> = contents
            .flatten()
            .filter_map(|content| match content {
                RefOr::T(Content { schema: Some(RefOr::Ref(reference)), .. }) => Some(&reference.ref_location),
                _ => None,
            })
            .filter_map(|location| location.rsplit('/').next().map(str::to_owned))
            .collect();
        let Some(components) = &mut document.components else { return };
        for (_, schema) in components.schemas.iter_mut().filter(|(name, _)| names.contains(name.as_str())) {
            if let RefOr::T(Schema::Object(object)) = schema {
                object.additional_properties = Some(Box::new(AdditionalProperties::FreeForm(false)));
            }
        }
    }
}

/// Adds the ways of saying who is calling, to each operation's text the role that it needs, and that who calls does
/// not matter in the short form, which every generator understands.
struct Credentials;

impl Modify for Credentials {
    fn modify(&self, document: &mut Document) {
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(
            "An access token (a JWT, from `/auth/login`) or an API key (`posts_…`, from `/api-keys`).",
        ));
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer.build()));
        let cookie = ApiKeyValue::with_description(
            auth::COOKIE,
            "The refresh token of a page of this server, as `POST /auth/session` set it. It counts for `/auth/session…` alone.",
        );
        components.add_security_scheme("session", SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
        for operation in document.paths.paths.values_mut().flat_map(path_operations_mut) {
            let role = operation.extensions.as_ref().and_then(|extensions| extensions.get("x-required-role")?.as_str());
            if let Some(sentence) = role.map(|role| format!("\n\nNeeds the role `{role}`, or one that may do more.")) {
                operation.description.get_or_insert_default().push_str(&sentence);
            }
            if let Some(ways) = &mut operation.security
                && *ways == [SecurityRequirement::default()]
            {
                ways.clear();
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
