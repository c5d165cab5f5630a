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
mod token;
mod wire;

pub use browser::{COOKIE, SameOrigin, Site};
pub use caller::{Admin, Author, Caller, Editor, Identity, Reader, authenticate};
pub use handlers::*;
pub use keys::{InvalidKey, SigningKey, SigningKeys};
pub use role::Role;
pub use wire::*;

use crate::db::Db;
use crate::http::problem::Problem;
use limits::Limits;
use password::PasswordLane;
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

/// What signing in takes, one for all workers.
#[derive(Debug)]
pub struct Auth {
    keys: SigningKeys,
    tokens: AccessTokens,
    limits: Limits,
    /// Where passwords are judged, hashed and checked.
    pub passwords: PasswordLane,
}

impl Auth {
    /// Starts the threads that passwords are worked on with.
    pub fn start(options: Options) -> std::io::Result<Self> {
        let Options { keys, issuer, audience } = options;
        Ok(Self {
            tokens: AccessTokens::new(keys.clone(), issuer, audience),
            keys,
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
