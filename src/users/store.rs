//! The resource's queries.

use diesel::prelude::*;

use super::User;
use crate::auth::Role;
use crate::auth::account::{self, NewAccount};
use crate::db::schema::{posts, users};
use crate::db::{DbConnection, Timestamp};

type Columns =
    (users::id, users::email, users::role, users::disabled, users::created_on, users::updated_on, users::version);
const COLUMNS: Columns =
    (users::id, users::email, users::role, users::disabled, users::created_on, users::updated_on, users::version);

/// The oldest users first, those after the one with that id.
pub(crate) fn list(connection: &mut DbConnection, after: Option<i64>, limit: i64) -> QueryResult<Vec<User>> {
    users::table
        .filter(users::id.gt(after.unwrap_or_default()))
        .order(users::id)
        .limit(limit)
        .select(COLUMNS)
        .load(connection)
}

pub(super) fn count(connection: &mut DbConnection) -> QueryResult<i64> {
    users::table.count().get_result(connection)
}

pub(crate) fn find(connection: &mut DbConnection, id: i64) -> QueryResult<Option<User>> {
    users::table.find(id).select(COLUMNS).first(connection).optional()
}

/// Finds a user and keeps others from changing it, and from making anything its own, until the transaction ends.
pub(crate) fn find_for_update(connection: &mut DbConnection, id: i64) -> QueryResult<Option<User>> {
    let user = users::table.find(id).select(COLUMNS);
    match connection {
        DbConnection::Postgres(postgres) => user.for_update().first(postgres).optional(),
        // The transaction has held the write lock since its begin.
        DbConnection::Sqlite(sqlite) => user.first(sqlite).optional(),
    }
}

pub(crate) fn find_by_email_for_update(connection: &mut DbConnection, email: &str) -> QueryResult<Option<User>> {
    let with_email = users::table.filter(users::email_key.eq(account::email_key(email)));
    let id = with_email.select(users::id).first(connection).optional()?;
    id.map_or(Ok(None), |id| find_for_update(connection, id))
}

/// Finds those who can manage users, and keeps others from changing them until the transaction ends. To be called
/// before anything else is locked: everybody locks them in the same order.
pub(crate) fn find_admins_for_update(connection: &mut DbConnection) -> QueryResult<Vec<i64>> {
    let admins = users::table.filter(users::role.eq(Role::Admin).and(users::disabled.eq(false)));
    let admins = admins.order(users::id).select(users::id);
    match connection {
        DbConnection::Postgres(postgres) => admins.for_no_key_update().load(postgres),
        DbConnection::Sqlite(sqlite) => admins.load(sqlite),
    }
}

/// Creates a user. Fails on an e-mail that another has.
pub(crate) fn insert(connection: &mut DbConnection, account: &NewAccount) -> QueryResult<User> {
    let id = account::insert(connection, account)?;
    users::table.find(id).select(COLUMNS).first(connection)
}

/// Changes a user, as its next version.
pub(crate) fn update(connection: &mut DbConnection, stored: &User, role: Role, disabled: bool) -> QueryResult<User> {
    let now = Timestamp::now().max(stored.updated_on);
    diesel::update(users::table.find(stored.id))
        .set((
            users::role.eq(role),
            users::disabled.eq(disabled),
            users::updated_on.eq(now),
            users::version.eq(stored.version + 1),
        ))
        .returning(COLUMNS)
        .get_result(connection)
}

/// Deletes a user. Its posts stay, without an owner: each as its next version, since that is a change of the post's.
pub(crate) fn delete(connection: &mut DbConnection, id: i64) -> QueryResult<usize> {
    let now = Timestamp::now();
    let release = (posts::owner_id.eq(None::<i64>), posts::version.eq(posts::version + 1));
    // Time never runs backwards for a post, also where the clock does.
    let before = posts::table.filter(posts::owner_id.eq(id).and(posts::updated_on.lt(now)));
    diesel::update(before).set((release, posts::updated_on.eq(now))).execute(connection)?;
    diesel::update(posts::table.filter(posts::owner_id.eq(id))).set(release).execute(connection)?;
    diesel::delete(users::table.find(id)).execute(connection)
}
