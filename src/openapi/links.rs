//! What an answer leads to (OpenAPI's links): which of its values the next request takes, and where.

use serde_json::{Value, json};
use utoipa::Modify;
use utoipa::openapi::link::{Link, LinkBuilder};
use utoipa::openapi::{OpenApi as Document, RefOr};

use super::path_operations_mut;

/// From an operation's answer, by its status, to other operations.
struct Leads {
    from: &'static str,
    status: &'static str,
    to: &'static [&'static str],
    by: By,
}

/// What the next request takes of this one and its answer.
enum By {
    /// The id.
    Id,
    /// The id, and as `If-Match` the tag: the change is refused where another came before.
    IdAndTag,
    /// The refresh token.
    RefreshToken,
    /// The cookie, which goes along by itself.
    Cookie,
    /// The e-mail and the password that were sent.
    Credentials,
    /// The cursor.
    Cursor,
}

const LINKS: &[Leads] = &[
    Leads { from: "listPosts", status: "200", to: &["listPosts"], by: By::Cursor },
    Leads { from: "createPost", status: "201", to: &["getPost"], by: By::Id },
    Leads { from: "createPost", status: "201", to: &["replacePost", "updatePost", "deletePost"], by: By::IdAndTag },
    Leads { from: "getPost", status: "200", to: &["replacePost", "updatePost", "deletePost"], by: By::IdAndTag },
    Leads { from: "listUsers", status: "200", to: &["listUsers"], by: By::Cursor },
    Leads { from: "createUser", status: "201", to: &["getUser"], by: By::Id },
    Leads { from: "createUser", status: "201", to: &["updateUser", "deleteUser"], by: By::IdAndTag },
    Leads { from: "createUser", status: "201", to: &["login", "beginSession"], by: By::Credentials },
    Leads { from: "createApiKey", status: "201", to: &["deleteApiKey"], by: By::Id },
    Leads { from: "login", status: "200", to: &["refresh", "logout"], by: By::RefreshToken },
    Leads { from: "refresh", status: "200", to: &["refresh", "logout"], by: By::RefreshToken },
    Leads { from: "beginSession", status: "200", to: &["refreshSession", "endSession"], by: By::Cookie },
    Leads { from: "refreshSession", status: "200", to: &["refreshSession", "endSession"], by: By::Cookie },
    Leads { from: "setUp", status: "200", to: &["refresh", "logout"], by: By::RefreshToken },
];

/// Adds the links to the answers that they lead from.
pub(super) struct Links;

impl Modify for Links {
    fn modify(&self, document: &mut Document) {
        for operation in document.paths.paths.values_mut().flat_map(path_operations_mut) {
            let id = operation.operation_id.clone().unwrap_or_default();
            for leads in LINKS.iter().filter(|leads| leads.from == id) {
                if let Some(RefOr::T(response)) = operation.responses.responses.get_mut(leads.status) {
                    response.links.extend(leads.to.iter().map(|to| ((*to).to_owned(), leads.by.link(to).into())));
                }
            }
        }
    }
}

impl By {
    fn link(&self, to: &str) -> Link {
        let link = LinkBuilder::new().operation_id(to);
        match self {
            Self::Id => with_id(link),
            Self::IdAndTag => with_id(link).parameter("If-Match", "$response.header.ETag"),
            Self::RefreshToken => with_body(link, json!({"refresh_token": "$response.body#/refresh_token"})),
            Self::Cookie => link.description("With the cookie of this answer."),
            Self::Credentials => {
                with_body(link, json!({"email": "$request.body#/email", "password": "$request.body#/password"}))
            }
            Self::Cursor => {
                let description = "The next page, where there is one, with the same sort and filters.";
                link.description(description).parameter("cursor", "$response.body#/next_cursor")
            }
        }
        .build()
    }
}

fn with_id(link: LinkBuilder) -> LinkBuilder {
    link.parameter("id", "$response.body#/id")
}

fn with_body(link: LinkBuilder, body: Value) -> LinkBuilder {
    link.request_body(Some(body))
}
