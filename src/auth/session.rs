//! Sessions: a sign-in, and the refresh tokens that go back to it.
//!
//! A refresh token is used once, for an access token and its own successor. One that comes back later was stolen, from
//! or by whoever used it first: its whole family ends. Within a moment it is two tabs of one browser, or an answer that
//! got lost, and gets the same successor again. That needs no secret in the database: a successor is the HMAC of the
//! token before it, under a key that only the servers have.

use std::time::Duration;

use aws_lc_rs::hmac;
use diesel::prelude::*;
use secrecy::{ExposeSecret as _, SecretString};

use super::account::{self, Account};
use super::keys::{SigningKey, SigningKeys};
use super::secret;
use super::secret::Hash;
use crate::db::schema::{refresh_tokens, sessions};
use crate::db::{DbConnection, Timestamp};

const DAY: Duration = Duration::from_hours(24);
/// How long a session lasts that nobody refreshes.
pub(super) const IDLE: Duration = DAY.saturating_mul(30);
/// How long a session lasts at most.
const ABSOLUTE: Duration = DAY.saturating_mul(90);
/// For how long a used refresh token gets the same successor again, by the clock in either direction: where it was set
/// back, what was used before is no longer new.
const GRACE: Duration = Duration::from_secs(10);

/// What comes of a refresh token.
#[derive(Debug)]
pub(super) enum Refreshed {
    /// Its successor, and whose session it is.
    Token(SecretString, Account),
    /// It was used before: the session has ended.
    Reused {
        /// Whose session it was.
        user_id: i64,
    },
    /// It counts for nothing, and nothing has changed.
    Refused,
}

/// A sign-in that can be refreshed.
#[derive(Clone, Copy, Debug, Queryable)]
struct Session {
    id: i64,
    user_id: i64,
    created_on: Timestamp,
    refreshed_on: Timestamp,
}

/// What is kept of a refresh token.
#[derive(Clone, Copy, Debug, Queryable)]
struct StoredToken {
    session_id: i64,
    used_on: Option<Timestamp>,
}

impl Session {
    fn is_over(&self, now: Timestamp) -> bool {
        now >= self.created_on + ABSOLUTE || now >= self.refreshed_on + IDLE
    }
}

/// Begins a session with this token.
pub(super) fn begin(connection: &mut DbConnection, user_id: i64, token: &SecretString) -> QueryResult<()> {
    let now = Timestamp::now();
    let id: i64 = diesel::insert_into(sessions::table)
        .values((sessions::user_id.eq(user_id), sessions::created_on.eq(now), sessions::refreshed_on.eq(now)))
        .returning(sessions::id)
        .get_result(connection)?;
    insert_token(connection, id, token)
}

/// Exchanges a refresh token for its successor. What this changes must be kept also where it gives no token.
pub(super) fn refresh(
    connection: &mut DbConnection,
    keys: &SigningKeys,
    token: &SecretString,
) -> QueryResult<Refreshed> {
    let hash = secret::hash(token);
    let now = Timestamp::now();
    let Some(session) = find_for_update(connection, &hash)?.filter(|session| !session.is_over(now)) else {
        return Ok(Refreshed::Refused);
    };
    let account = account::find(connection, session.user_id)?.filter(|account| !account.disabled);
    let Some(account) = account else { return Ok(Refreshed::Refused) };
    // Read under the session's lock: another request may have used the token, or ended the session.
    let Some(stored) = find_token(connection, &hash)? else { return Ok(Refreshed::Refused) };
    match stored.used_on {
        None => {
            let next = successor(keys.first(), token);
            diesel::update(refresh_tokens::table.find(&hash))
                .set(refresh_tokens::used_on.eq(now))
                .execute(connection)?;
            diesel::update(sessions::table.find(session.id)).set(sessions::refreshed_on.eq(now)).execute(connection)?;
            insert_token(connection, session.id, &next)?;
            Ok(Refreshed::Token(next, account))
        }
        Some(used_on) if (used_on - GRACE..used_on + GRACE).contains(&now) => {
            // While keys are exchanged, another server may have made it with another of them.
            for key in keys.all() {
                let next = successor(key, token);
                if find_token(connection, &secret::hash(&next))?.is_some() {
                    return Ok(Refreshed::Token(next, account));
                }
            }
            Ok(Refreshed::Refused)
        }
        Some(_) => {
            diesel::delete(sessions::table.find(session.id)).execute(connection)?;
            Ok(Refreshed::Reused { user_id: session.user_id })
        }
    }
}

/// Ends the session that a refresh token belongs to. The user whose it was, if there was one.
pub(super) fn end(connection: &mut DbConnection, token: &SecretString) -> QueryResult<Option<i64>> {
    let Some(session) = find_for_update(connection, &secret::hash(token))? else { return Ok(None) };
    diesel::delete(sessions::table.find(session.id)).execute(connection)?;
    Ok(Some(session.user_id))
}

/// Forgets the sessions that are over.
pub(super) fn forget(connection: &mut DbConnection) -> QueryResult<usize> {
    let now = Timestamp::now();
    let over = sessions::created_on.le(now - ABSOLUTE).or(sessions::refreshed_on.le(now - IDLE));
    diesel::delete(sessions::table.filter(over)).execute(connection)
}

/// Finds the session that a refresh token belongs to, and keeps others from using it until the transaction ends.
fn find_for_update(connection: &mut DbConnection, hash: &Hash) -> QueryResult<Option<Session>> {
    let Some(token) = find_token(connection, hash)? else { return Ok(None) };
    let session = sessions::table.find(token.session_id);
    match connection {
        DbConnection::Postgres(postgres) => session.for_no_key_update().first(postgres).optional(),
        // The transaction has held the write lock since its begin.
        DbConnection::Sqlite(sqlite) => session.first(sqlite).optional(),
    }
}

fn find_token(connection: &mut DbConnection, hash: &Hash) -> QueryResult<Option<StoredToken>> {
    refresh_tokens::table
        .find(hash)
        .select((refresh_tokens::session_id, refresh_tokens::used_on))
        .first(connection)
        .optional()
}

fn insert_token(connection: &mut DbConnection, session_id: i64, token: &SecretString) -> QueryResult<()> {
    diesel::insert_into(refresh_tokens::table)
        .values((refresh_tokens::hash.eq(secret::hash(token)), refresh_tokens::session_id.eq(session_id)))
        .execute(connection)
        .map(drop)
}

/// The token that follows this one.
fn successor(key: &SigningKey, token: &SecretString) -> SecretString {
    secret::encode(hmac::sign(&key.successor, token.expose_secret().as_bytes()).as_ref())
}
