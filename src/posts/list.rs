//! What can be asked of the list of posts: its order, its filters, and which fields to send.

use serde::{Deserialize, Serialize};
use utoipa::IntoParams;
use utoipa::openapi::path::{Parameter, ParameterIn};
use utoipa::openapi::{KnownFormat, ObjectBuilder, SchemaFormat, Type};

use super::{FIELDS, Post};
use crate::db::Timestamp;
use crate::http::page::PageRequest;
use crate::http::problem::Problem;
use crate::http::query::{Parameters, query_parameter};
use crate::http::selection::Selection;

/// What the list may send: a post's fields and, with `q`, where the words were found.
pub(super) const LIST_FIELDS: [&str; 10] = {
    let [id, title, author, content, published, owner_id, created_on, updated_on, version] = FIELDS;
    [id, title, author, content, published, owner_id, created_on, updated_on, version, "highlights"]
};

/// The order where none is asked for.
const NEWEST: Sort = Sort { key: Key::CreatedOn, descending: true };

const SORTS: [(&str, Sort); 8] = [
    ("created_on", Sort { key: Key::CreatedOn, descending: false }),
    ("-created_on", NEWEST),
    ("updated_on", Sort { key: Key::UpdatedOn, descending: false }),
    ("-updated_on", Sort { key: Key::UpdatedOn, descending: true }),
    ("title", Sort { key: Key::Title, descending: false }),
    ("-title", Sort { key: Key::Title, descending: true }),
    ("id", Sort { key: Key::Id, descending: false }),
    ("-id", Sort { key: Key::Id, descending: true }),
];

/// A request for a page of posts.
#[derive(Clone, Debug)]
pub struct PostList {
    /// Which posts.
    pub(super) filter: Filter,
    /// In which order.
    pub(super) sort: Sort,
    /// Which fields of them.
    pub(super) selection: Selection,
    /// How many, and from where.
    pub(super) page: PageRequest,
}

/// Which posts; those that fit all of it.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Filter {
    pub(super) author: Option<String>,
    pub(super) published: Option<bool>,
    pub(super) created_on: Period,
    pub(super) updated_on: Period,
}

/// From when to when.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Period {
    pub(super) gte: Option<Timestamp>,
    pub(super) gt: Option<Timestamp>,
    pub(super) lte: Option<Timestamp>,
    pub(super) lt: Option<Timestamp>,
}

/// An order; posts with equal keys are ordered by id, in the same direction.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Sort {
    pub(super) key: Key,
    pub(super) descending: bool,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(super) enum Key {
    CreatedOn,
    UpdatedOn,
    Title,
    Id,
}

/// A post's place in an order: its key, and its id.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) enum Position {
    CreatedOn(Timestamp, i64),
    UpdatedOn(Timestamp, i64),
    Title(String, i64),
    Id(i64),
}

impl PostList {
    /// Reads a query, and reports all that is wrong with it.
    pub fn read(mut parameters: Parameters) -> Result<Self, Problem> {
        let list = Self {
            filter: Filter {
                author: parameters.text("author"),
                published: parameters.boolean("published"),
                created_on: Period::read(&mut parameters, "created_on"),
                updated_on: Period::read(&mut parameters, "updated_on"),
            },
            sort: parameters.choice("sort", &SORTS).unwrap_or(NEWEST),
            selection: Selection::read(&mut parameters, &LIST_FIELDS),
            page: PageRequest::read(&mut parameters),
        };
        parameters.finish()?;
        Ok(list)
    }

    /// Whether the content has to be read, which may be long.
    pub(super) fn needs_content(&self) -> bool {
        self.selection.has("content")
    }

    /// What a cursor of this list is bound to.
    pub(super) fn name(&self) -> Result<String, Problem> {
        serde_json::to_string(&("posts", self.sort, &self.filter)).map_err(|error| Problem::internal(&error))
    }
}

/// Which fields of one post to send.
#[derive(Clone, Debug)]
pub(super) struct PostSelection(pub(super) Selection);

impl PostSelection {
    /// Reads a query, and reports all that is wrong with it.
    pub(super) fn read(mut parameters: Parameters) -> Result<Self, Problem> {
        let selection = Selection::read(&mut parameters, &FIELDS);
        parameters.finish()?;
        Ok(Self(selection))
    }
}

impl IntoParams for PostSelection {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![Selection::parameter(&FIELDS)]
    }
}

impl Period {
    fn read(parameters: &mut Parameters, field: &str) -> Self {
        let mut bound = |name: &str| parameters.instant(&format!("{field}[{name}]"));
        Self { gte: bound("gte"), gt: bound("gt"), lte: bound("lte"), lt: bound("lt") }
    }
}

impl Sort {
    /// Where a post is in this order.
    pub(super) fn position_of(self, post: &Post) -> Position {
        match self.key {
            Key::CreatedOn => Position::CreatedOn(post.created_on, post.id),
            Key::UpdatedOn => Position::UpdatedOn(post.updated_on, post.id),
            Key::Title => Position::Title(post.title.clone(), post.id),
            Key::Id => Position::Id(post.id),
        }
    }
}

impl IntoParams for PostList {
    fn into_params(place: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let text = || ObjectBuilder::new().schema_type(Type::String).min_length(Some(1));
        let instant = || {
            ObjectBuilder::new()
                .schema_type(Type::String)
                .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
        };
        let sort = ObjectBuilder::new()
            .schema_type(Type::String)
            .enum_values(Some(SORTS.map(|(name, _)| name)))
            .default(Some("-created_on".into()));
        let mut parameters = PageRequest::into_params(place);
        parameters.extend([
            query_parameter("sort", "The order; with `-`, the other way round. Equal ones are ordered by `id`.", sort),
            query_parameter("author", "Only posts with exactly this byline.", text()),
            query_parameter(
                "published",
                "Only posts that are published, or only those that are not.",
                ObjectBuilder::new().schema_type(Type::Boolean),
            ),
        ]);
        for (field, event) in [("created_on", "created"), ("updated_on", "last changed")] {
            for (bound, relation) in
                [("gte", "at or after"), ("gt", "after"), ("lte", "at or before"), ("lt", "before")]
            {
                let description = format!("Only posts that were {event} {relation} this instant.");
                parameters.push(query_parameter(&format!("{field}[{bound}]"), &description, instant()));
            }
        }
        parameters.push(Selection::parameter(&LIST_FIELDS));
        parameters
    }
}
