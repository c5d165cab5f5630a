//! Who is calling: read from `Authorization`, looked up for every request, and handed to the handlers.
//!
//! [`authenticate`] runs before a handler and its other extractors, so that who may not call learns nothing of whether
//! the rest of the request was right. A handler says who may call by what it takes: [`Caller`] anybody, [`Reader`]
//! whoever is signed in, [`Author`], [`Editor`] or [`Admin`] who has that role or more.

use std::future::{Ready, ready};
use std::ops::Deref;

use actix_web::dev::Payload;
use actix_web::http::header::{self, HeaderValue};
use actix_web::web::Data;
use actix_web::{FromRequest, HttpMessage as _, HttpRequest};
use futures_util::future::LocalBoxFuture;
use secrecy::{ExposeSecret as _, SecretString};

use super::account::{self, Account, Key};
use super::role::Role;
use super::{Auth, secret};
use crate::db::{Db, Timestamp};
use crate::http::problem::{Code, Fault, Problem};

/// Where some send a token in the query, which ends up in logs and histories (RFC 6750 §5.3).
const QUERY_NAMES: [&str; 6] = ["access_token", "api_key", "apikey", "authorization", "jwt", "token"];

/// Who is calling.
#[derive(Clone, Debug)]
pub enum Caller {
    /// Somebody who did not say.
    Anonymous,
    /// A user.
    User(Identity),
}

/// A user who is calling, with what it may do now.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The user's id.
    pub id: i64,
    /// The user's e-mail.
    pub email: String,
    /// What the caller may do: the user's role or, through an API key, the key's where that is less.
    pub role: Role,
    /// Through an API key that expires: when.
    pub expires_on: Option<Timestamp>,
}

macro_rules! callers {
    ($($(#[$doc:meta])* $name:ident;)*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Debug)]
            pub struct $name(Identity);

            impl Deref for $name {
                type Target = Identity;

                fn deref(&self) -> &Identity {
                    &self.0
                }
            }

            impl FromRequest for $name {
                type Error = Problem;
                type Future = Ready<Result<Self, Problem>>;

                fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
                    ready(Caller::of(request).with_role(Role::$name).map(Self))
                }
            }
        )*
    };
}

callers! {
    /// A caller who is signed in. To extract it fails with 401 for others.
    Reader;
    /// A caller who may write posts. To extract it fails with 401 or 403 for others.
    Author;
    /// A caller who may change all posts. To extract it fails with 401 or 403 for others.
    Editor;
    /// A caller who may manage users. To extract it fails with 401 or 403 for others.
    Admin;
}

impl Caller {
    /// Who makes this request, as [`authenticate`] found.
    fn of(request: &HttpRequest) -> Self {
        request.extensions().get().cloned().unwrap_or(Self::Anonymous)
    }

    /// The user, where somebody is signed in.
    #[must_use]
    pub const fn identity(&self) -> Option<&Identity> {
        match self {
            Self::Anonymous => None,
            Self::User(identity) => Some(identity),
        }
    }

    fn with_role(self, least: Role) -> Result<Identity, Problem> {
        let Self::User(identity) = self else {
            let detail = "This is not for everybody. Sign in, and send the token as `Authorization: Bearer …`.";
            return Err(unauthorized(detail, "Bearer"));
        };
        if identity.role < least {
            let detail = format!("This is for those with the role `{least}`; you have the role `{}`.", identity.role);
            return Err(Problem::new(Code::Forbidden, detail));
        }
        Ok(identity)
    }
}

impl FromRequest for Caller {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Ok(Self::of(request)))
    }
}

/// Finds out who makes a request, and refuses a credential that is not good: also where none would be needed.
#[must_use]
pub fn authenticate(request: HttpRequest) -> LocalBoxFuture<'static, Result<(), Problem>> {
    Box::pin(async move {
        if let Some(credential) = credential(&request)? {
            let identity = identify(&request, credential).await?.ok_or_else(invalid_token)?;
            request.extensions_mut().insert(Caller::User(identity));
        }
        Ok(())
    })
}

/// What the request shows for itself (RFC 6750 §2.1).
fn credential(request: &HttpRequest) -> Result<Option<SecretString>, Problem> {
    let names = request.query_string().split('&').filter_map(|pair| pair.split('=').next());
    if names.into_iter().any(|name| QUERY_NAMES.iter().any(|known| name.eq_ignore_ascii_case(known))) {
        return Err(invalid_token());
    }
    let mut lines = request.headers().get_all(header::AUTHORIZATION);
    let Some(line) = lines.next() else { return Ok(None) };
    if lines.next().is_some() {
        let fault = Fault::at_header("Authorization", "duplicate", "This is given twice. Send one.");
        return Err(Problem::malformed_header(vec![fault]));
    }
    let (scheme, credential) = line.to_str().ok().and_then(|line| line.split_once(' ')).ok_or_else(invalid_token)?;
    if !scheme.eq_ignore_ascii_case("Bearer") {
        return Err(invalid_token());
    }
    Ok(Some(credential.trim_matches(' ').into()))
}

/// Whose credential it is, if it is good and the user stands.
async fn identify(request: &HttpRequest, credential: SecretString) -> Result<Option<Identity>, Problem> {
    let (Some(auth), Some(db)) = (request.app_data::<Data<Auth>>(), request.app_data::<Data<Db>>()) else {
        return Ok(None);
    };
    if secret::is_key(credential.expose_secret()) {
        let hash = secret::hash(&credential);
        let found = auth.api_keys.get(hash).await?;
        return Ok(found.and_then(|(key, account)| by_key(db, key, account)));
    }
    let Some(subject) = auth.tokens.verify(credential.expose_secret()) else { return Ok(None) };
    let found = auth.accounts.get(subject.user_id).await?;
    let stands = |account: &Account| !account.disabled && account.token_generation == subject.generation;
    Ok(found.filter(stands).map(|Account { id, email, role, .. }| Identity { id, email, role, expires_on: None }))
}

fn by_key(db: &Data<Db>, key: Key, account: Account) -> Option<Identity> {
    let now = Timestamp::now();
    if account.disabled || key.expires_on.is_some_and(|expires_on| expires_on <= now) {
        return None;
    }
    let hour = now.start_of_hour();
    if key.last_used_on.is_none_or(|last| last < hour) {
        actix_web::rt::spawn(note_use(db.clone(), key.id, hour));
    }
    let Account { id, email, role, .. } = account;
    Some(Identity { id, email, role: role.min(key.role), expires_on: key.expires_on })
}

/// Notes when a key was used. Nobody waits for it, and nothing depends on it.
async fn note_use(db: Data<Db>, key_id: i64, hour: Timestamp) {
    let noted = db.write(move |connection| Ok::<_, Problem>(account::note_use_of_key(connection, key_id, hour)?)).await;
    if let Err(problem) = noted {
        tracing::warn!(key_id, cause = problem.cause(), "the use of an API key could not be noted");
    }
}

/// The answer to every token that is not good. It does not say what was wrong with it.
pub(super) fn invalid_token() -> Problem {
    let detail = "The token is not valid, or no longer. Sign in again, and send the new one in `Authorization`.";
    unauthorized(detail, "Bearer error=\"invalid_token\"")
}

/// A 401 with this challenge (RFC 9110 §11.6.1).
pub(super) fn unauthorized(detail: &'static str, challenge: &'static str) -> Problem {
    Problem::new(Code::Unauthorized, detail).with_header(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge))
}
