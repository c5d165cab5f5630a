//! The resource's queries.

use diesel::prelude::*;

use super::{NewPost, Post, Scope};
use crate::db::schema::posts;
use crate::db::{DbConnection, Timestamp};

/// The newest posts first.
pub(super) fn list(connection: &mut DbConnection, scope: Scope, limit: u32) -> QueryResult<Vec<Post>> {
    let posts = posts::table.order((posts::created_on.desc(), posts::id.desc())).limit(limit.into()).into_boxed();
    let posts = match scope {
        Scope::Published => posts.filter(posts::published),
        Scope::PublishedOrOwnedBy(user) => posts.filter(posts::published.nullable().or(posts::owner_id.eq(user))),
        Scope::All => posts,
    };
    posts.load(connection)
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
