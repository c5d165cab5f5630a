//! What can be asked of the list of posts: its order, its filters, and which fields to send.

use serde::{Deserialize, Serialize};
use utoipa::IntoParams;
use utoipa::openapi::path::{Parameter, ParameterIn};
use utoipa::openapi::{KnownFormat, ObjectBuilder, SchemaFormat, Type};

use super::{FIELDS, Post, PostItem};
use crate::db::Timestamp;
use crate::http::page::PageRequest;
use crate::http::problem::Problem;
use crate::http::query::{Parameters, query_parameter, text_schema};
use crate::http::selection::Selection;
use crate::search::{self, Highlights, Query, Rank};

/// What the list may send: the same as of one post and, with `q`, where the words were found.
pub(super) const LIST_FIELDS: [&str; 11] = {
    let [id, title, author, content, published, owner_id, created_on, updated_on, version, excerpt] = FIELDS;
    [id, title, author, content, published, owner_id, created_on, updated_on, version, excerpt, "highlights"]
};

/// What the document says of `fields`.
const FIELDS_NOTE: &str = "`excerpt` is sent only where it is named here.";

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
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct PostList {
    /// Which posts.
    pub(super) filter: Filter,
    /// In which order.
    pub(super) order: Order,
    /// Which fields of them.
    pub(super) selection: Selection,
    /// How many, and from where.
    pub(super) page: PageRequest,
}

/// How much of a content, which may be long.
#[derive(Clone, Copy, Debug)]
pub(super) enum Content {
    Nothing,
    /// As much as an excerpt is made of.
    Start,
    Whole,
}

/// Which posts; those that fit all of it.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize)]
pub(super) struct Filter {
    pub(super) author: Option<String>,
    pub(super) published: Option<bool>,
    pub(super) created_on: Period,
    pub(super) updated_on: Period,
    pub(super) q: Option<Query>,
}

/// Which posts come first.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize)]
pub(super) enum Order {
    By(Sort),
    /// Those that fit the query best; see [`Rank`].
    Relevance(Query),
}

/// From when to when.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize)]
pub(super) struct Period {
    pub(super) gte: Option<Timestamp>,
    pub(super) gt: Option<Timestamp>,
    pub(super) lte: Option<Timestamp>,
    pub(super) lt: Option<Timestamp>,
}

/// An order; posts with equal keys are ordered by id, in the same direction.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize)]
pub(super) struct Sort {
    pub(super) key: Key,
    pub(super) descending: bool,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize)]
pub(super) enum Key {
    CreatedOn,
    UpdatedOn,
    Title,
    Id,
}

/// A post's place in an order: its key, and its id.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub(super) enum Position {
    CreatedOn(Timestamp, i64),
    UpdatedOn(Timestamp, i64),
    Title(String, i64),
    Id(i64),
    Rank(Rank, i64),
}

impl PostList {
    /// Reads a query, and reports all that is wrong with it.
    pub fn read(mut parameters: Parameters) -> Result<Self, Problem> {
        let filter = Filter {
            author: parameters.text("author"),
            published: parameters.boolean("published"),
            created_on: Period::read(&mut parameters, "created_on"),
            updated_on: Period::read(&mut parameters, "updated_on"),
            q: parameters.parsed("q", |text| Query::parse(text).map_err(|fault| (fault.code(), fault.to_string()))),
        };
        let list = Self {
            order: match (parameters.choice("sort", &SORTS), &filter.q) {
                (Some(sort), _) => Order::By(sort),
                (None, Some(query)) => Order::Relevance(query.clone()),
                (None, None) => Order::By(NEWEST),
            },
            filter,
            selection: Selection::read(&mut parameters, &LIST_FIELDS),
            page: PageRequest::read(&mut parameters),
        };
        parameters.finish()?;
        Ok(list)
    }

    /// How much of the contents has to be read.
    pub(super) fn content(&self) -> Content {
        if self.selection.has("content") || self.highlighted().is_some() {
            Content::Whole
        } else if self.selection.names("excerpt") {
            Content::Start
        } else {
            Content::Nothing
        }
    }

    /// Where a post is in this list.
    pub(super) fn position_of(&self, post: &Post) -> Position {
        match &self.order {
            Order::By(sort) => sort.position_of(post),
            Order::Relevance(query) => Position::Rank(query.rank(&post.title), post.id),
        }
    }

    /// A post as this list shows it.
    pub(super) fn item(&self, post: Post) -> PostItem {
        let highlights = self
            .highlighted()
            .map(|query| Highlights::of(query, &post.title, post.author.as_deref(), post.content.as_deref()));
        PostItem { highlights, ..PostItem::of(post, &self.selection) }
    }

    /// The query whose hits are to be shown.
    fn highlighted(&self) -> Option<&Query> {
        self.filter.q.as_ref().filter(|_| self.selection.has("highlights"))
    }

    /// What a cursor of this list is bound to.
    pub(super) fn name(&self) -> Result<String, Problem> {
        serde_json::to_string(&("posts", &self.order, &self.filter)).map_err(|error| Problem::internal(&error))
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
        vec![Selection::parameter(&FIELDS, FIELDS_NOTE)]
    }
}

impl Period {
    fn read(parameters: &mut Parameters, field: &str) -> Self {
        let mut bound = |name: &str| parameters.instant(&format!("{field}[{name}]"));
        Self { gte: bound("gte"), gt: bound("gt"), lte: bound("lte"), lt: bound("lt") }
    }
}

impl Sort {
    fn position_of(self, post: &Post) -> Position {
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
        let instant = || {
            ObjectBuilder::new()
                .schema_type(Type::String)
                .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
        };
        let sort = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(SORTS.map(|(name, _)| name)));
        let mut parameters = PageRequest::into_params(place);
        parameters.extend([
            query_parameter(
                "q",
                "Only posts with these words: all of them, a `\"phrase in quotes\"` within one field, and none with a `-` \
                 before it. A word is a run of letters and digits, found whole; case and accents make no difference. Each \
                 item then has `highlights`. Posts with all the words in the title come first, then those with some, then \
                 the others, and of each the newest first.",
                text_schema().max_length(Some(search::LENGTH_MAX)),
            ),
            query_parameter(
                "sort",
                "The order; with `-`, the other way round. Equal ones are ordered by `id`, titles by code point. By default \
                 `-created_on`, and with `q` the most relevant first.",
                sort,
            ),
            query_parameter("author", "Only posts with exactly this byline.", text_schema()),
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
        parameters.push(Selection::parameter(&LIST_FIELDS, FIELDS_NOTE));
        parameters
    }
}
