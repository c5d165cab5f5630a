//! Accounts: users as sign-in sees them, and the rules of an e-mail and a new password.

use diesel::prelude::*;
use secrecy::SecretString;
use utoipa::ToSchema;

use super::password::{self, Weakness};
use super::role::Role;
use super::secret::Hash;
use crate::db::schema::{api_keys, sessions, users};
use crate::db::{self, DbConnection, Timestamp};
use crate::http::fields::{Fields, Text};
use crate::http::problem::Problem;

const EMAIL: Text = Text { min: 3, max: 254, blank: true };
/// An e-mail that may or may not be somebody's.
pub(super) const ANY_EMAIL: Text = Text { min: 1, ..EMAIL };
/// A password's size is counted in bytes; that rule has a word of its own.
const PASSWORD: Text = Text { min: 1, max: password::SIZE_MAX, blank: true };

/// An e-mail address, as it was typed.
#[derive(Clone, Debug, ToSchema)]
#[schema(
    min_length = 3,
    max_length = 254,
    // An `@`, with something before and after it, and neither white space nor control characters.
    pattern = r"^[^@\u0000-\u0020\u007f-\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+@[^@\u0000-\u0020\u007f-\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+$",
    example = "ada@example.org"
)]
pub struct Email(String);

/// A password that may be chosen: at least 12 characters, at most 1,024 bytes, and not easy to guess.
#[derive(Debug, ToSchema)]
#[schema(value_type = String, format = Password, min_length = 12, max_length = 1024, pattern = r"^[^\u0000]*$", example = "four words nobody expects")]
pub struct ChosenPassword(SecretString);

/// A user, as far as it matters to who may do what.
#[derive(Clone, Debug, Queryable)]
pub(super) struct Account {
    pub(super) id: i64,
    pub(super) email: String,
    pub(super) role: Role,
    pub(super) disabled: bool,
    pub(super) token_generation: i64,
}

/// An account and the hash of its password.
#[derive(Clone, Queryable)]
pub(super) struct Credentials {
    pub(super) account: Account,
    pub(super) password_hash: String,
}

/// An API key, as far as it matters to who may do what.
#[derive(Clone, Copy, Debug, Queryable)]
pub(super) struct Key {
    pub(super) id: i64,
    pub(super) role: Role,
    pub(super) expires_on: Option<Timestamp>,
    pub(super) last_used_on: Option<Timestamp>,
}

impl Email {
    /// The address.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl ChosenPassword {
    /// What is kept of it. Takes a while: see [`password`].
    pub fn hash(&self) -> Result<String, Problem> {
        password::hash(&self.0)
    }
}

/// What is stored of a user that is created.
#[derive(Clone, Insertable)]
#[diesel(table_name = users)]
pub struct NewAccount {
    email: String,
    email_key: String,
    role: Role,
    password_hash: String,
}

impl NewAccount {
    /// An account with this e-mail, kept as it was typed.
    #[must_use]
    pub fn new(Email(email): Email, role: Role, password_hash: String) -> Self {
        Self { email_key: email_key(&email), email, role, password_hash }
    }
}

/// What two e-mails have in common that are the same but for case.
#[must_use]
pub fn email_key(email: &str) -> String {
    email.to_lowercase()
}

/// Reads an e-mail for a new account.
pub fn read_email(fields: &mut Fields) -> Option<Email> {
    let email = fields.text("email", &EMAIL)?;
    let is_part = |part: &str| !part.is_empty() && !part.contains(|c: char| c.is_whitespace() || c.is_control());
    if email.split('@').count() == 2 && email.split('@').all(is_part) {
        return Some(Email(email));
    }
    fields.fault("email", "invalid", "`email` must be an address, as ada@example.org.");
    None
}

/// Reads a password that is being chosen. Takes some milliseconds: run it on the lane of the passwords.
pub fn read_new_password(fields: &mut Fields, name: &str, email: &str) -> Option<ChosenPassword> {
    let password = fields.text(name, &PASSWORD)?;
    let (code, detail) = match password::judge(&password, email) {
        Ok(()) => return Some(ChosenPassword(password.into())),
        Err(Weakness::TooShort) => ("too_short", format!("must have at least {} characters.", password::LENGTH_MIN)),
        Err(Weakness::TooLong) => ("too_long", format!("must not have more than {} bytes.", password::SIZE_MAX)),
        Err(Weakness::TooWeak) => {
            ("too_weak", "is easy to guess. Take a longer one, or several words that nobody would expect.".to_owned())
        }
    };
    fields.fault(name, code, format!("`{name}` {detail}"));
    None
}

/// Reads a password that was chosen before.
pub(super) fn read_password(fields: &mut Fields, name: &str) -> Option<SecretString> {
    fields.text(name, &PASSWORD).map(SecretString::from)
}

type AccountColumns = (users::id, users::email, users::role, users::disabled, users::token_generation);
const ACCOUNT: AccountColumns = (users::id, users::email, users::role, users::disabled, users::token_generation);

pub(super) fn find(connection: &mut DbConnection, id: i64) -> QueryResult<Option<Account>> {
    users::table.find(id).select(ACCOUNT).first(connection).optional()
}

/// Those of the accounts with these ids that there are.
pub(super) fn find_all(connection: &mut DbConnection, ids: &[i64]) -> QueryResult<Vec<Account>> {
    let accounts = users::table.filter(users::id.eq_any(ids)).select(ACCOUNT);
    db::load_on_either(connection, accounts)
}

pub(super) fn find_credentials_by_email(
    connection: &mut DbConnection,
    email: &str,
) -> QueryResult<Option<Credentials>> {
    let with_email = users::table.filter(users::email_key.eq(email_key(email)));
    with_email.select((ACCOUNT, users::password_hash)).first(connection).optional()
}

pub(super) fn find_credentials(connection: &mut DbConnection, id: i64) -> QueryResult<Option<Credentials>> {
    users::table.find(id).select((ACCOUNT, users::password_hash)).first(connection).optional()
}

/// Finds an account and keeps others from changing it until the transaction ends.
pub(super) fn find_for_update(connection: &mut DbConnection, id: i64) -> QueryResult<Option<Account>> {
    let with_id = users::table.find(id).select(ACCOUNT);
    match connection {
        DbConnection::Postgres(postgres) => with_id.for_no_key_update().first(postgres).optional(),
        // The transaction has held the write lock since its begin.
        DbConnection::Sqlite(sqlite) => with_id.first(sqlite).optional(),
    }
}

/// Finds an account that nobody changes until the transaction ends, this one neither: others may find it so, too.
pub(super) fn find_for_share(connection: &mut DbConnection, id: i64) -> QueryResult<Option<Account>> {
    let with_id = users::table.find(id).select(ACCOUNT);
    match connection {
        DbConnection::Postgres(postgres) => with_id.for_share().first(postgres).optional(),
        // The transaction has held the write lock since its begin.
        DbConnection::Sqlite(sqlite) => with_id.first(sqlite).optional(),
    }
}

/// Keeps others from changing a user, and from what begins with this, until the transaction ends.
pub fn lock(connection: &mut DbConnection, id: i64) -> QueryResult<()> {
    find_for_update(connection, id).map(drop)
}

/// Those of the API keys with these hashes that there are, and whose they are.
pub(super) fn find_keys(connection: &mut DbConnection, hashes: &[Hash]) -> QueryResult<Vec<(Hash, (Key, Account))>> {
    let key = (api_keys::id, api_keys::role, api_keys::expires_on, api_keys::last_used_on);
    let keys = api_keys::table.inner_join(users::table).filter(api_keys::hash.eq_any(hashes));
    let keys = keys.select((api_keys::hash, (key, ACCOUNT)));
    db::load_on_either(connection, keys)
}

pub(super) fn note_use_of_key(connection: &mut DbConnection, id: i64, used_on: Timestamp) -> QueryResult<usize> {
    diesel::update(api_keys::table.find(id)).set(api_keys::last_used_on.eq(used_on)).execute(connection)
}

/// Creates a user, and returns its id. Fails on an e-mail that another has.
pub fn insert(connection: &mut DbConnection, account: &NewAccount) -> QueryResult<i64> {
    let now = Timestamp::now();
    diesel::insert_into(users::table)
        .values((account, users::created_on.eq(now), users::updated_on.eq(now)))
        .returning(users::id)
        .get_result(connection)
}

/// Sets a new password: what was signed in with the one before no longer is.
pub fn set_password(connection: &mut DbConnection, id: i64, hash: &str) -> QueryResult<()> {
    diesel::update(users::table.find(id))
        .set((users::password_hash.eq(hash), users::token_generation.eq(users::token_generation + 1)))
        .execute(connection)?;
    diesel::delete(sessions::table.filter(sessions::user_id.eq(id))).execute(connection).map(drop)
}

/// Keeps the same password in another way.
pub(super) fn rehash_password(connection: &mut DbConnection, id: i64, hash: &str) -> QueryResult<usize> {
    diesel::update(users::table.find(id)).set(users::password_hash.eq(hash)).execute(connection)
}

/// Counts a change to a user that nobody else changes meanwhile.
pub(super) fn touch(connection: &mut DbConnection, id: i64) -> QueryResult<usize> {
    let last: Timestamp = users::table.find(id).select(users::updated_on).first(connection)?;
    // Time never runs backwards for a user, also where the clock does.
    let now = Timestamp::now().max(last);
    diesel::update(users::table.find(id))
        .set((users::version.eq(users::version + 1), users::updated_on.eq(now)))
        .execute(connection)
}

pub(super) fn any(connection: &mut DbConnection) -> QueryResult<bool> {
    Ok(users::table.select(users::id).first::<i64>(connection).optional()?.is_some())
}

pub(super) fn any_admin(connection: &mut DbConnection) -> QueryResult<bool> {
    let admins = users::table.filter(users::role.eq(Role::Admin).and(users::disabled.eq(false)));
    Ok(admins.select(users::id).first::<i64>(connection).optional()?.is_some())
}

/// Keeps others from adding and changing users until the transaction ends.
pub fn lock_all(connection: &mut DbConnection) -> QueryResult<()> {
    match connection {
        DbConnection::Postgres(postgres) => {
            diesel::sql_query("LOCK TABLE users IN SHARE ROW EXCLUSIVE MODE").execute(postgres).map(drop)
        }
        DbConnection::Sqlite(_) => Ok(()),
    }
}
