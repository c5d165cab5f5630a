//! The resource's queries.

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Nullable, Text};

use super::list::{Filter, Key, Position, PostList, Sort};
use super::{NewPost, Post, Scope};
use crate::db::schema::posts;
use crate::db::types::Timestamptz;
use crate::db::{Backend, DbConnection, Timestamp};

/// A condition on posts.
type Condition<'a> = Box<dyn BoxableExpression<posts::table, Backend, SqlType = Nullable<Bool>> + 'a>;

/// The posts of a page, and the one after it.
pub(super) fn list(
    connection: &mut DbConnection,
    scope: Scope,
    list: &PostList,
    after: Option<&Position>,
) -> QueryResult<Vec<Post>> {
    let mut posts = if list.needs_content() {
        posts::table.into_boxed()
    } else {
        let columns = (
            posts::id,
            posts::title,
            posts::author,
            None::<String>.into_sql::<Nullable<Text>>(),
            posts::published,
            posts::owner_id,
            posts::created_on,
            posts::updated_on,
            posts::version,
        );
        posts::table.select(columns).into_boxed()
    };
    posts = conditions(scope, &list.filter).into_iter().fold(posts, QueryDsl::filter);
    if let Some(position) = after {
        posts = posts.filter(beyond(position, list.sort.descending));
    }
    let posts = match list.sort {
        Sort { key: Key::CreatedOn, descending: false } => posts.order((posts::created_on, posts::id)),
        Sort { key: Key::CreatedOn, descending: true } => posts.order((posts::created_on.desc(), posts::id.desc())),
        Sort { key: Key::UpdatedOn, descending: false } => posts.order((posts::updated_on, posts::id)),
        Sort { key: Key::UpdatedOn, descending: true } => posts.order((posts::updated_on.desc(), posts::id.desc())),
        Sort { key: Key::Title, descending: false } => posts.order((posts::title, posts::id)),
        Sort { key: Key::Title, descending: true } => posts.order((posts::title.desc(), posts::id.desc())),
        Sort { key: Key::Id, descending: false } => posts.order(posts::id),
        Sort { key: Key::Id, descending: true } => posts.order(posts::id.desc()),
    };
    posts.limit(list.page.look_ahead()).load(connection)
}

/// How many posts a list has on all its pages.
pub(super) fn count(connection: &mut DbConnection, scope: Scope, filter: &Filter) -> QueryResult<i64> {
    let count = posts::table.count().into_boxed();
    conditions(scope, filter).into_iter().fold(count, QueryDsl::filter).first(connection)
}

/// What the posts of a list have in common.
fn conditions(scope: Scope, filter: &Filter) -> Vec<Condition<'_>> {
    let Filter { author, published, created_on, updated_on } = filter;
    let mut conditions: Vec<Condition<'_>> = match scope {
        // An equation and not the column alone: SQLite uses an index that begins with it only so.
        Scope::Published => vec![Box::new(posts::published.eq(true).nullable())],
        Scope::PublishedOrOwnedBy(user) => vec![Box::new(posts::published.nullable().or(posts::owner_id.eq(user)))],
        Scope::All => Vec::new(),
    };
    if let Some(published) = published {
        conditions.push(Box::new(posts::published.eq(published).nullable()));
    }
    if let Some(author) = author {
        conditions.push(Box::new(posts::author.eq(author)));
    }
    if let Some(at) = created_on.gte {
        conditions.push(Box::new(posts::created_on.ge(at).nullable()));
    }
    if let Some(at) = created_on.gt {
        conditions.push(Box::new(posts::created_on.gt(at).nullable()));
    }
    if let Some(at) = created_on.lte {
        conditions.push(Box::new(posts::created_on.le(at).nullable()));
    }
    if let Some(at) = created_on.lt {
        conditions.push(Box::new(posts::created_on.lt(at).nullable()));
    }
    if let Some(at) = updated_on.gte {
        conditions.push(Box::new(posts::updated_on.ge(at).nullable()));
    }
    if let Some(at) = updated_on.gt {
        conditions.push(Box::new(posts::updated_on.gt(at).nullable()));
    }
    if let Some(at) = updated_on.lte {
        conditions.push(Box::new(posts::updated_on.le(at).nullable()));
    }
    if let Some(at) = updated_on.lt {
        conditions.push(Box::new(posts::updated_on.lt(at).nullable()));
    }
    conditions
}

/// That a post comes after a position. Key and id are compared as a pair, which an index answers at once however many
/// posts have that key; two comparisons with OR between them would walk through all before it.
fn beyond(position: &Position, descending: bool) -> Condition<'_> {
    let operator = if descending { "<" } else { ">" };
    let pair = |key: &str| sql::<Nullable<Bool>>(&format!("(posts.{key}, posts.id) {operator} ("));
    match position {
        Position::CreatedOn(at, id) => {
            Box::new(pair("created_on").bind::<Timestamptz, _>(at).sql(", ").bind::<BigInt, _>(id).sql(")"))
        }
        Position::UpdatedOn(at, id) => {
            Box::new(pair("updated_on").bind::<Timestamptz, _>(at).sql(", ").bind::<BigInt, _>(id).sql(")"))
        }
        Position::Title(title, id) => {
            Box::new(pair("title").bind::<Text, _>(title).sql(", ").bind::<BigInt, _>(id).sql(")"))
        }
        Position::Id(id) if descending => Box::new(posts::id.lt(id).nullable()),
        Position::Id(id) => Box::new(posts::id.gt(id).nullable()),
    }
}

pub(super) fn find(connection: &mut DbConnection, scope: Scope, id: i64) -> QueryResult<Option<Post>> {
    let post: Option<Post> = posts::table.find(id).first(connection).optional()?;
    Ok(post.filter(|post| scope.covers(post)))
}

/// Finds a post and keeps others from changing it until the transaction ends.
pub(super) fn find_for_update(connection: &mut DbConnection, scope: Scope, id: i64) -> QueryResult<Option<Post>> {
    let post: Option<Post> = match connection {
        DbConnection::Postgres(postgres) => posts::table.find(id).for_update().first(postgres).optional()?,
        // The transaction has held the write lock since its begin.
        DbConnection::Sqlite(sqlite) => posts::table.find(id).first(sqlite).optional()?,
    };
    Ok(post.filter(|post| scope.covers(post)))
}

pub(super) fn insert(connection: &mut DbConnection, owner_id: i64, post: &NewPost) -> QueryResult<Post> {
    let now = Timestamp::now();
    diesel::insert_into(posts::table)
        .values((post, posts::owner_id.eq(owner_id), posts::created_on.eq(now), posts::updated_on.eq(now)))
        .returning(posts::all_columns)
        .get_result(connection)
}

/// Replaces what the post says, as its next version. Time never runs backwards for a post, also where the
/// clock does.
pub(super) fn update(connection: &mut DbConnection, stored: &Post, post: &NewPost) -> QueryResult<Post> {
    let now = Timestamp::now().max(stored.updated_on);
    diesel::update(posts::table.find(stored.id))
        .set((post, posts::updated_on.eq(now), posts::version.eq(stored.version + 1)))
        .returning(posts::all_columns)
        .get_result(connection)
}

pub(super) fn delete(connection: &mut DbConnection, id: i64) -> QueryResult<usize> {
    diesel::delete(posts::table.find(id)).execute(connection)
}
