//! The resource's queries.

use diesel::prelude::*;

use super::{NewPost, Post};
use crate::db::schema::posts;
use crate::db::{DbConnection, Timestamp};

/// The newest posts first.
pub(super) fn list(connection: &mut DbConnection, limit: u32) -> QueryResult<Vec<Post>> {
    posts::table.order((posts::created_on.desc(), posts::id.desc())).limit(limit.into()).load(connection)
}

pub(super) fn find(connection: &mut DbConnection, id: i64) -> QueryResult<Option<Post>> {
    posts::table.find(id).first(connection).optional()
}

/// Finds a post and keeps others from changing it until the transaction ends.
pub(super) fn find_for_update(connection: &mut DbConnection, id: i64) -> QueryResult<Option<Post>> {
    match connection {
        DbConnection::Postgres(postgres) => posts::table.find(id).for_update().first(postgres).optional(),
        // The transaction has held the write lock since its begin.
        DbConnection::Sqlite(sqlite) => posts::table.find(id).first(sqlite).optional(),
    }
}

pub(super) fn insert(connection: &mut DbConnection, post: &NewPost) -> QueryResult<Post> {
    let now = Timestamp::now();
    diesel::insert_into(posts::table)
        .values((post, posts::created_on.eq(now), posts::updated_on.eq(now)))
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
