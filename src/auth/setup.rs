//! The first admin. While there is no user, each server that starts offers a token, once, to whoever reads what it
//! prints.

use std::time::Duration;

use diesel::prelude::*;
use secrecy::SecretString;

use super::{account, secret};
use crate::db::schema::setup_tokens;
use crate::db::{Db, DbConnection, Timestamp};
use crate::http::problem::Problem;

/// How long a setup token counts.
pub const LIFETIME: Duration = Duration::from_mins(30);

/// How far the service is from somebody who can manage it.
#[derive(Debug)]
pub struct SetupState {
    /// Whether there is an admin who can sign in.
    pub has_admin: bool,
    /// While there is no user: with what the first admin is made.
    pub token: Option<SecretString>,
}

/// Looks whether there is an admin, and makes a setup token if there is no user.
pub async fn look(db: &Db) -> Result<SetupState, Problem> {
    let token = secret::generate()?;
    let hash = secret::hash(&token);
    db.write(move |connection| {
        let has_admin = account::any_admin(connection)?;
        if has_admin || account::any(connection)? {
            return Ok(SetupState { has_admin, token: None });
        }
        diesel::insert_into(setup_tokens::table)
            .values((setup_tokens::hash.eq(hash), setup_tokens::expires_on.eq(Timestamp::now() + LIFETIME)))
            .execute(connection)?;
        Ok(SetupState { has_admin, token: Some(token) })
    })
    .await
}

/// Whether there is an admin who can sign in.
pub async fn has_admin(db: &Db) -> Result<bool, Problem> {
    db.read(|connection| Ok(account::any_admin(connection)?)).await
}

/// Whether there is nobody yet who could sign in: no user at all.
pub(super) async fn is_needed(db: &Db) -> Result<bool, Problem> {
    db.read(|connection| Ok(!account::any(connection)?)).await
}

/// Whether a setup token is good.
pub(super) fn is_good(connection: &mut DbConnection, token: &SecretString) -> QueryResult<bool> {
    let found = setup_tokens::table.find(secret::hash(token)).filter(setup_tokens::expires_on.gt(Timestamp::now()));
    let found = found.select(setup_tokens::expires_on).first::<Timestamp>(connection).optional()?;
    Ok(found.is_some() && !account::any(connection)?)
}

/// Takes a setup token, and with it all others: of several that try, one wins. Whether it was good.
pub(super) fn take(connection: &mut DbConnection, token: &SecretString) -> QueryResult<bool> {
    account::lock_all(connection)?;
    let good = is_good(connection, token)?;
    if good {
        diesel::delete(setup_tokens::table).execute(connection)?;
    }
    Ok(good)
}

/// Forgets the tokens that have expired.
pub(super) fn forget(connection: &mut DbConnection) -> QueryResult<usize> {
    diesel::delete(setup_tokens::table.filter(setup_tokens::expires_on.le(Timestamp::now()))).execute(connection)
}
