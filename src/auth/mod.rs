//! Who is calling: passwords, tokens, sessions, keys, and the extractors that say who may.
//!
//! Nothing here is cached: whoever bears a token or a key is looked up for every request, so that a user who is disabled,
//! deleted or lowered, or has a new password, is so at once and on every server.

pub mod account;
pub mod audit;
mod browser;
mod caller;
mod handlers;
mod keys;
mod limits;
pub mod password;
mod role;
pub mod secret;
mod session;
pub mod setup;
pub mod token;
mod wire;

pub use browser::{COOKIE, SameOrigin, Site};
pub use caller::{Admin, Author, Caller, Editor, Identity, Reader, authenticate};
pub use handlers::*;
pub use keys::{InvalidKey, SigningKey, SigningKeys};
pub use role::Role;
pub use wire::*;

use actix_web::HttpRequest;
use actix_web::http::Method;
use actix_web::web::Data;
use futures_util::future::LocalBoxFuture;

use crate::db::{Batcher, Db, Lane};
use crate::http::problem::Problem;
use account::{Account, Key};
use limits::Limits;
use password::PasswordLane;
use secret::Hash;
use token::AccessTokens;

/// What access tokens are signed with, and what they say of where they come from and are for.
#[derive(Clone, Debug)]
pub struct Options {
    /// The keys.
    pub keys: SigningKeys,
    /// The `iss` of access tokens.
    pub issuer: String,
    /// The `aud` of access tokens.
    pub audience: String,
}

/// Who bears a token or a key is looked up for every request, and those of a moment by one query. One thread is enough:
/// there are fewer users than posts.
const ACCOUNTS: Lane = Lane { name: "accounts", threads: 1, batch: 128, waiting: 4096 };
const API_KEYS: Lane = Lane { name: "api_keys", threads: 1, batch: 128, waiting: 4096 };

/// What signing in takes, and looking up who has, one for all workers.
#[derive(Debug)]
pub struct Auth {
    keys: SigningKeys,
    tokens: AccessTokens,
    accounts: Batcher<i64, Account>,
    api_keys: Batcher<Hash, (Key, Account)>,
    limits: Limits,
    /// Where passwords are judged, hashed and checked.
    pub passwords: PasswordLane,
}

impl Auth {
    /// Starts the threads that passwords are worked on with, and those that look callers up.
    pub fn start(options: Options, db: &Db) -> std::io::Result<Self> {
        let Options { keys, issuer, audience } = options;
        Ok(Self {
            tokens: AccessTokens::new(keys.clone(), issuer, audience),
            keys,
            accounts: db.reader().batcher(ACCOUNTS, |connection, ids: &[i64]| {
                let accounts = account::find_all(connection, ids)?;
                Ok(accounts.into_iter().map(|account| (account.id, account)).collect())
            })?,
            api_keys: db.reader().batcher(API_KEYS, |connection, hashes: &[Hash]| {
                Ok(account::find_keys(connection, hashes)?.into_iter().collect())
            })?,
            limits: Limits::default(),
            passwords: PasswordLane::start()?,
        })
    }

    /// Forgets what has passed: sessions that are over, failures of long ago.
    pub async fn forget(&self, db: &Db) {
        self.limits.forget();
        let forgotten = db.write(|connection| {
            setup::forget(connection)?;
            Ok::<_, Problem>(session::forget(connection)?)
        });
        match forgotten.await {
            Ok(sessions) => tracing::debug!(sessions, "sessions that were over are forgotten"),
            Err(problem) => tracing::warn!(cause = problem.cause(), "sessions that are over could not be forgotten"),
        }
    }
}

/// Refuses a sign-in that there is no room for at this moment, before its body is read and its user is looked up.
#[must_use]
pub fn admit(request: HttpRequest) -> LocalBoxFuture<'static, Result<(), Problem>> {
    Box::pin(async move {
        let auth = request.app_data::<Data<Auth>>().filter(|_| request.method() == Method::POST);
        auth.map_or(Ok(()), |auth| auth.passwords.admit())
    })
}
