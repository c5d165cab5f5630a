//! The resource `/posts`: its wire types and their rules.

mod admission;
mod creates;
pub mod excerpt;
mod handlers;
mod list;
mod reads;
pub mod search;
mod store;

use diesel::prelude::*;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::openapi::schema::SchemaType;
use utoipa::openapi::{ObjectBuilder, Ref, RefOr, Schema, Type};
use utoipa::{PartialSchema, ToResponse, ToSchema};

use crate::auth::{Identity, Role};
use crate::db::Timestamp;
use crate::db::schema::posts;
use crate::http::conditional::Validators;
use crate::http::fields::{Fields, Text};
use crate::http::patch::Patch;
use crate::http::problem::Problem;
use crate::http::schema::Derived;
use crate::http::selection::Selection;
use crate::search::Highlights;

pub use admission::admit;
pub use creates::Creates;
pub use handlers::*;
pub use list::PostList;
pub use reads::Reads;
pub use search::index_missing_posts;

const TITLE: Text = Text { min: 1, max: 255, blank: false };
const AUTHOR: Text = Text { min: 1, max: 255, blank: true };
const CONTENT: Text = Text { min: 0, max: 1_000_000, blank: true };

/// What `fields` may name: those of a post, and what is made of them.
const FIELDS: [&str; 10] =
    ["id", "title", "author", "content", "published", "owner_id", "created_on", "updated_on", "version", "excerpt"];
const READ_ONLY: [&str; 5] = ["id", "owner_id", "created_on", "updated_on", "version"];
const WRITABLE: [&str; 4] = ["title", "author", "content", "published"];

/// A post.
#[derive(Clone, Debug, PartialEq, Queryable, Serialize, ToSchema)]
#[schema(example = json!({
    "id": 7,
    "title": "Hello, world",
    "author": "Ada",
    "content": "The first post.",
    "published": true,
    "owner_id": null,
    "created_on": "2026-11-22T09:30:00.000000Z",
    "updated_on": "2026-11-22T09:30:00.000000Z",
    "version": 1
}))]
pub struct Post {
    /// Given by the server, never reused.
    #[schema(read_only, minimum = 1, maximum = 9_007_199_254_740_991_u64)]
    pub id: i64,
    /// At least one character is not white space.
    #[schema(
        min_length = 1,
        max_length = 255,
        pattern = r"^[^\u0000]*[^\u0000\t-\r \u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000][^\u0000]*$"
    )]
    pub title: String,
    /// The byline.
    #[schema(required = true, min_length = 1, max_length = 255, pattern = r"^[^\u0000]*$")]
    pub author: Option<String>,
    /// The text, kept byte for byte. Often HTML or Markdown: it is not checked, so show it with care.
    #[schema(required = true, max_length = 1_000_000, pattern = r"^[^\u0000]*$")]
    pub content: Option<String>,
    /// Whether everybody may see it.
    pub published: bool,
    /// The user who created it.
    #[schema(read_only, required = true, minimum = 1, maximum = 9_007_199_254_740_991_u64)]
    pub owner_id: Option<i64>,
    /// When it was created, in UTC with microseconds.
    #[schema(read_only, value_type = String, format = DateTime)]
    pub created_on: Timestamp,
    /// When it last changed, in UTC with microseconds.
    #[schema(read_only, value_type = String, format = DateTime)]
    pub updated_on: Timestamp,
    /// 1 at creation, and one more at every change that changes something.
    #[schema(read_only, minimum = 1, maximum = 9_007_199_254_740_991_u64)]
    pub version: i64,
}

/// A post, or those of its fields that were asked for.
#[derive(Debug, Serialize)]
#[expect(clippy::option_option, reason = "not asked for, null and a value are three things")]
pub struct PostItem {
    id: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    author: Option<Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    published: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner_id: Option<Option<i64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_on: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    updated_on: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    excerpt: Option<Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    highlights: Option<Highlights>,
}

/// A part of the list.
#[derive(Debug, Serialize, ToSchema)]
pub struct PostPage {
    /// The posts, in the list's order.
    items: Vec<PostItem>,
    /// Where the next page begins; null on the last.
    #[schema(required = true)]
    next_cursor: Option<String>,
    /// With `Prefer: count=exact`: how many posts the list has on all its pages.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, minimum = 0)]
    total: Option<i64>,
}

/// A post as an answer of its own.
#[derive(Debug, ToResponse)]
#[response(
    description = "The post as it is now.",
    content_type = "application/json",
    headers(
        ("ETag" = String, description = "The tag of this version, for `If-Match` and `If-None-Match`."),
        ("Last-Modified" = String, description = "When it last changed."),
        ("Posts-Position" = String, description = "Where reads go to replicas: send it with a read that is to see this write, or the cookie that has the same."),
        ("Set-Cookie" = String, description = "Where reads go to replicas: the cookie `posts_position`, which says the same to the pages of this server."),
    ),
)]
pub struct PostState(#[expect(dead_code, reason = "the document's")] Post);

/// Which posts a caller may see.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Scope {
    /// Those that everybody may see.
    Published,
    /// Those, and those that a user owns.
    PublishedOrOwnedBy(i64),
    /// All.
    All,
}

impl Scope {
    /// What this caller may see.
    #[must_use]
    pub fn of(caller: Option<&Identity>) -> Self {
        match caller {
            Some(identity) if identity.role >= Role::Editor => Self::All,
            Some(identity) if identity.role >= Role::Author => Self::PublishedOrOwnedBy(identity.id),
            _ => Self::Published,
        }
    }

    fn covers(self, post: &Post) -> bool {
        match self {
            Self::Published => post.published,
            Self::PublishedOrOwnedBy(user) => post.published || post.owner_id == Some(user),
            Self::All => true,
        }
    }
}

/// What a caller says of a post: all of it when it is created, and again when it is replaced.
#[derive(AsChangeset, Clone, Debug, Insertable, PartialEq)]
#[diesel(table_name = posts, treat_none_as_null = true)]
pub struct NewPost {
    title: String,
    author: Option<String>,
    content: Option<String>,
    published: bool,
}

/// The body of a PUT, as the document shows it; [`NewPost::read_replacement`] reads it.
#[derive(Debug)]
pub struct PostReplacement;

/// The body of a PATCH by merge patch, as the document shows it; [`NewPost::read_patched`] reads it.
#[derive(Debug)]
pub struct PostMergePatch;

impl Post {
    /// What conditional requests compare.
    #[must_use]
    pub fn validators(&self) -> Validators {
        Validators::of_version(self.id, self.version, self.updated_on)
    }

    /// Whether the post says that already.
    fn says(&self, new: &NewPost) -> bool {
        let NewPost { title, author, content, published } = new;
        self.title == *title && self.author == *author && self.content == *content && self.published == *published
    }

    /// The post as the document that patches apply to.
    fn document(&self) -> Value {
        json!(self)
    }
}

impl PostItem {
    /// Those fields of a post that were asked for.
    fn of(post: Post, selection: &Selection) -> Self {
        let Post { id, title, author, content, published, owner_id, created_on, updated_on, version } = post;
        let excerpt = selection.names("excerpt").then(|| content.as_deref().map(excerpt::excerpt));
        Self {
            id,
            title: selection.has("title").then_some(title),
            author: selection.has("author").then_some(author),
            content: selection.has("content").then_some(content),
            published: selection.has("published").then_some(published),
            owner_id: selection.has("owner_id").then_some(owner_id),
            created_on: selection.has("created_on").then_some(created_on),
            updated_on: selection.has("updated_on").then_some(updated_on),
            version: selection.has("version").then_some(version),
            excerpt,
            highlights: None,
        }
    }
}

impl NewPost {
    /// Reads the body of a POST.
    pub fn read(body: Value) -> Result<Self, Problem> {
        Self::read_beside(body, None)
    }

    /// Reads a document that replaces a stored post: what the server sets may be there, unchanged.
    pub fn read_replacement(body: Value, stored: &Post) -> Result<Self, Problem> {
        Self::read_beside(body, Some(&stored.document()))
    }

    /// Reads a stored post with a patch applied to it.
    pub fn read_patched(patch: &Patch, stored: &Post) -> Result<Self, Problem> {
        let result = patch.apply_to_resource(stored.document(), &WRITABLE)?;
        Self::read_replacement(result, stored)
    }

    fn read_beside(body: Value, stored: Option<&Value>) -> Result<Self, Problem> {
        let mut fields = Fields::of(body)?;
        let title = fields.text("title", &TITLE);
        let author = fields.nullable_text("author", &AUTHOR);
        let content = fields.nullable_text("content", &CONTENT);
        let published = fields.boolean("published", true);
        for name in READ_ONLY {
            fields.read_only(name, stored.and_then(|stored| stored.get(name)));
        }
        let read = || Some(Self { title: title?, author: author?, content: content?, published: published? });
        fields.finish(read())
    }
}

fn shape(description: &str) -> Derived {
    let shape = Derived::from(Post::schema(), description);
    shape
        .with_default("author", Value::Null)
        .with_default("content", Value::Null)
        .with_default("published", true.into())
}

impl ToSchema for NewPost {}

impl PartialSchema for NewPost {
    fn schema() -> RefOr<Schema> {
        shape("A post to be created.")
            .without(&READ_ONLY)
            .requiring(&["title"])
            .with_example(json!({"title": "Hello, world", "author": "Ada", "content": "The first post."}))
            .into_schema()
    }
}

impl ToSchema for PostItem {}

impl PartialSchema for PostItem {
    fn schema() -> RefOr<Schema> {
        let description = format!(
            "The first words of `content` as plain text, sent only where `fields` names it: without tags, comments, \
             scripts and styles, and with `…` where there is more. Null where `content` is. Only the first {} characters \
             of `content` are looked at, so that a picture that fills them (a data URL) leaves `…` alone. It is text, \
             not HTML: escape it where you put it into a page.",
            excerpt::READ_MAX,
        );
        let excerpt = ObjectBuilder::new()
            .schema_type(SchemaType::from_iter([Type::String, Type::Null]))
            .description(Some(description))
            .max_length(Some(excerpt::LENGTH_MAX))
            .pattern(Some(r"^[^\u0000]*$"))
            .into();
        Derived::from(Post::schema(), "A post; with `fields`, its `id` and those fields alone; with `q`, `highlights`.")
            .open()
            .requiring(&["id"])
            .with("excerpt", excerpt)
            .with("highlights", Ref::from_schema_name("Highlights").into())
            .with_example(json!({"id": 7, "title": "Hello, world", "published": true}))
            .into_schema()
    }
}

impl ToSchema for PostReplacement {}

impl PartialSchema for PostReplacement {
    fn schema() -> RefOr<Schema> {
        shape("What a post says from now on. What the server sets may be there as it was read.")
            .requiring(&["title"])
            .with_example(json!({"title": "Hello, world", "author": "Ada", "content": "The first post, mended."}))
            .into_schema()
    }
}

impl ToSchema for PostMergePatch {}

impl PartialSchema for PostMergePatch {
    fn schema() -> RefOr<Schema> {
        Derived::from(Post::schema(), "The fields to change (RFC 7396); null means back to the default.")
            .nullable(&["published"])
            .with_example(json!({"title": "Hello again"}))
            .into_schema()
    }
}
