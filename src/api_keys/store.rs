//! The resource's queries. A key is always somebody's: each begins with the owner.

use diesel::prelude::*;

use super::{ApiKey, NewApiKey};
use crate::auth::secret::{self, NewKey};
use crate::db::schema::api_keys;
use crate::db::{DbConnection, Timestamp};

type Columns = (
    api_keys::id,
    api_keys::name,
    api_keys::role,
    api_keys::prefix,
    api_keys::created_on,
    api_keys::expires_on,
    api_keys::last_used_on,
);
const COLUMNS: Columns = (
    api_keys::id,
    api_keys::name,
    api_keys::role,
    api_keys::prefix,
    api_keys::created_on,
    api_keys::expires_on,
    api_keys::last_used_on,
);

/// A user's keys, the oldest first.
pub(super) fn list(connection: &mut DbConnection, owner_id: i64) -> QueryResult<Vec<ApiKey>> {
    let keys = api_keys::table.filter(api_keys::user_id.eq(owner_id));
    keys.order(api_keys::id).select(COLUMNS).load(connection)
}

pub(super) fn count(connection: &mut DbConnection, owner_id: i64) -> QueryResult<i64> {
    api_keys::table.filter(api_keys::user_id.eq(owner_id)).count().get_result(connection)
}

pub(super) fn insert(
    connection: &mut DbConnection,
    owner_id: i64,
    new: &NewApiKey,
    key: &NewKey,
) -> QueryResult<ApiKey> {
    diesel::insert_into(api_keys::table)
        .values((
            api_keys::user_id.eq(owner_id),
            api_keys::name.eq(&new.name),
            api_keys::role.eq(new.role),
            api_keys::prefix.eq(&key.prefix),
            api_keys::hash.eq(secret::hash(&key.key)),
            api_keys::created_on.eq(Timestamp::now()),
            api_keys::expires_on.eq(new.expires_on),
        ))
        .returning(COLUMNS)
        .get_result(connection)
}

/// Deletes a user's key. How many there were, one or none.
pub(super) fn delete(connection: &mut DbConnection, owner_id: i64, id: i64) -> QueryResult<usize> {
    diesel::delete(api_keys::table.find(id).filter(api_keys::user_id.eq(owner_id))).execute(connection)
}
