//! Signing in and out. One function an operation; their comments are the public document's text.

use actix_web::http::header;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use secrecy::SecretString;
use serde_json::Value;

use super::account::{self, Account, NewAccount};
use super::audit::Origin;
use super::browser::{self, SameOrigin};
use super::caller::{Reader, invalid_token, unauthorized};
use super::limits::Attempt;
use super::password::Place;
use super::session::{self, Refreshed};
use super::wire::{AccessToken, Grant, Login, Me, NewPassword, PublicKeys, RefreshToken, Setup, SetupStatus, Tokens};
use super::{Auth, Role, password, secret, setup};
use crate::db::{Db, DbConnection};
use crate::http::client;
use crate::http::json::JsonBody;
use crate::http::problem::{Code, Problem};
use crate::http::responses::{
    BodyFailures, CallerFailures, CommonFailures, CookieFailures, DatabaseFailures, LimitFailures, OriginFailures,
    RoleFailures, SetupFailures, StorageFailures,
};

/// Sign in
///
/// Gives an access token, to send as `Authorization: Bearer …`, and a refresh token, to get the next one with.
/// An e-mail that nobody has and a wrong password are told apart by nothing.
#[utoipa::path(
    post, path = "/auth/login", operation_id = "login", tag = "auth",
    request_body(content = Login, description = "Who signs in."),
    responses(
        (status = 200, description = "Signed in.", body = Tokens),
        CommonFailures, DatabaseFailures, BodyFailures, CallerFailures, LimitFailures, StorageFailures,
    ),
    security(()),
)]
pub async fn login(
    request: HttpRequest,
    auth: Data<Auth>,
    db: Data<Db>,
    JsonBody(body): JsonBody,
) -> Result<HttpResponse, Problem> {
    let grant = sign_in(&request, &auth, &db, body).await?;
    Ok(HttpResponse::Ok().json(Tokens::from(grant)))
}

/// Get a new access token
///
/// A refresh token is used once: the answer has the next one. Used again within 10 seconds it gives the same answer,
/// for two tabs that ask at once; later, it ends the session, since somebody must have stolen it. A session lasts
/// 30 days from its last refresh, and 90 days at most.
#[utoipa::path(
    post, path = "/auth/refresh", operation_id = "refresh", tag = "auth",
    request_body(content = RefreshToken, description = "The refresh token."),
    responses(
        (status = 200, description = "A new access token, and the next refresh token.", body = Tokens),
        CommonFailures, DatabaseFailures, BodyFailures, CallerFailures, LimitFailures, StorageFailures,
    ),
    security(()),
)]
pub async fn refresh(
    request: HttpRequest,
    auth: Data<Auth>,
    db: Data<Db>,
    JsonBody(body): JsonBody,
) -> Result<HttpResponse, Problem> {
    let RefreshToken { refresh_token } = RefreshToken::read(body)?;
    let grant = exchange(&request, &auth, &db, refresh_token).await?;
    Ok(HttpResponse::Ok().json(Tokens::from(grant)))
}

/// Sign out
///
/// Ends the session that the refresh token belongs to. An access token goes on until it expires, at most 15 minutes:
/// forget it. A token that is not, or no longer, known is nothing to sign out of, and the answer is the same.
#[utoipa::path(
    post, path = "/auth/logout", operation_id = "logout", tag = "auth",
    request_body(content = RefreshToken, description = "A refresh token of the session."),
    responses(
        (status = 204, description = "Signed out."),
        CommonFailures, DatabaseFailures, BodyFailures, StorageFailures,
    ),
    security(()),
)]
pub async fn logout(request: HttpRequest, db: Data<Db>, JsonBody(body): JsonBody) -> Result<HttpResponse, Problem> {
    let RefreshToken { refresh_token } = RefreshToken::read(body)?;
    sign_out(&request, &db, vec![refresh_token]).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Sign in, as a page of this server
///
/// As `/auth/login`, with the refresh token in the cookie `posts_session`, which no script can read. The browser sends
/// it with nothing but the requests to `/auth/session…`, and nothing else here looks at it. It is for the pages of this
/// server: `Origin` must be this server's, and `Sec-Fetch-Site`, where it is sent, `same-origin`. Programs, and pages
/// from elsewhere, sign in at `/auth/login`.
#[utoipa::path(
    post, path = "/auth/session", operation_id = "beginSession", tag = "auth",
    request_body(content = Login, description = "Who signs in."),
    responses(
        (status = 200, description = "Signed in.", body = AccessToken,
            headers(("Set-Cookie" = String, description = "The cookie with the refresh token."))),
        CommonFailures, DatabaseFailures, BodyFailures, CallerFailures, OriginFailures, LimitFailures, StorageFailures,
    ),
    security(()),
)]
pub async fn begin_session(
    page: SameOrigin,
    request: HttpRequest,
    auth: Data<Auth>,
    db: Data<Db>,
    JsonBody(body): JsonBody,
) -> Result<HttpResponse, Problem> {
    let grant = sign_in(&request, &auth, &db, body).await?;
    Ok(HttpResponse::Ok().cookie(page.cookie(&grant.refresh_token)).json(grant.access))
}

/// Get a new access token, as a page of this server
///
/// As `/auth/refresh`, with the refresh token from the cookie: the answer sets the next one, or takes back one that is
/// not good. It is the same session as at `/auth/refresh`, and a token of one is good at the other. There is no
/// body; one that is sent is not read. For whom it is, `POST /auth/session` says.
#[utoipa::path(
    post, path = "/auth/session/refresh", operation_id = "refreshSession", tag = "auth",
    responses(
        (status = 200, description = "A new access token.", body = AccessToken,
            headers(("Set-Cookie" = String, description = "The cookie with the next refresh token."))),
        CommonFailures, DatabaseFailures, CookieFailures, OriginFailures, LimitFailures, StorageFailures,
    ),
    security(("session" = [])),
)]
pub async fn refresh_session(
    page: SameOrigin,
    request: HttpRequest,
    auth: Data<Auth>,
    db: Data<Db>,
) -> Result<HttpResponse, Problem> {
    let mut tokens = browser::tokens(&request);
    let token = tokens.pop().ok_or_else(no_session)?;
    let refreshed = if tokens.is_empty() { exchange(&request, &auth, &db, token).await } else { Err(invalid_token()) };
    let grant = refreshed.map_err(|problem| page.forgetting(problem))?;
    Ok(HttpResponse::Ok().cookie(page.cookie(&grant.refresh_token)).json(grant.access))
}

/// Sign out, as a page of this server
///
/// As `/auth/logout`, with the refresh token from the cookie, which the answer takes back. Without a cookie there is
/// nothing to sign out of, and the answer is the same. For whom it is, `POST /auth/session` says.
#[utoipa::path(
    delete, path = "/auth/session", operation_id = "endSession", tag = "auth",
    responses(
        (status = 204, description = "Signed out.",
            headers(("Set-Cookie" = String, description = "What makes a browser forget the cookie."))),
        CommonFailures, DatabaseFailures, OriginFailures, StorageFailures,
    ),
    security((), ("session" = [])),
)]
pub async fn end_session(page: SameOrigin, request: HttpRequest, db: Data<Db>) -> Result<HttpResponse, Problem> {
    sign_out(&request, &db, browser::tokens(&request)).await?;
    Ok(HttpResponse::NoContent().cookie(page.removal()).finish())
}

/// Who am I?
///
/// The user behind the token, and what the caller may do with it.
#[utoipa::path(
    get, path = "/auth/me", operation_id = "getMe", tag = "auth",
    responses(
        (status = 200, description = "Who is calling, and what the caller may do.", body = Me),
        CommonFailures, DatabaseFailures, CallerFailures,
    ),
    security(("bearer" = [])),
    extensions(("x-required-role" = json!("reader"))),
)]
pub async fn me(caller: Reader) -> HttpResponse {
    HttpResponse::Ok().json(Me { id: caller.id, email: caller.email.clone(), role: caller.role })
}

/// Change one's password
///
/// Ends every session and every access token of the user: sign in again. API keys go on.
#[utoipa::path(
    put, path = "/auth/password", operation_id = "changePassword", tag = "auth",
    request_body(content = NewPassword, description = "The current password, and the one from now on."),
    responses(
        (status = 204, description = "The password is changed."),
        CommonFailures, DatabaseFailures, BodyFailures, RoleFailures, LimitFailures, StorageFailures,
    ),
    security(("bearer" = [])),
    extensions(("x-required-role" = json!("reader"))),
)]
pub async fn change_password(
    caller: Reader,
    request: HttpRequest,
    auth: Data<Auth>,
    db: Data<Db>,
    JsonBody(body): JsonBody,
) -> Result<HttpResponse, Problem> {
    let origin = Origin::of(&request);
    let (id, email) = (caller.id, caller.email.clone());
    let attempt = auth.limits.sign_in(&account::email_key(&email), client::address(&request));
    attempt.check().inspect_err(|_| origin.warn("password not changed", Some(id)))?;
    let found = db.read(move |connection| account::find_credentials(connection, id)?.ok_or_else(invalid_token)).await?;

    let stored = found.password_hash.clone();
    let hashed = auth.passwords.run(move || {
        attempt.check()?;
        let NewPassword { current_password, new_password } = NewPassword::read(body, &email)?;
        if !password::is_right(&current_password, Some(&stored))? {
            attempt.failed()?;
            return Err(Problem::new(Code::Forbidden, "The current password is another."));
        }
        new_password.hash()
    });
    let hash = hashed.await.inspect_err(|problem| {
        if is_refusal(problem) {
            origin.warn("password not changed", Some(id));
        }
    })?;
    db.write(move |connection| {
        unchanged(&found.account, account::find_for_update(connection, id)?).ok_or_else(invalid_token)?;
        account::set_password(connection, id, &hash)?;
        account::touch(connection, id)?;
        Ok::<_, Problem>(())
    })
    .await?;
    origin.note("password changed", Some(id), None);
    Ok(HttpResponse::NoContent().finish())
}

/// Is there somebody to sign in?
///
/// Whether there is no user yet, and the first admin is to be created with `POST /auth/setup`. Anybody may ask.
#[utoipa::path(
    get, path = "/auth/setup", operation_id = "getSetupStatus", tag = "auth",
    responses(
        (status = 200, description = "Whether there is no user yet.", body = SetupStatus),
        CommonFailures, DatabaseFailures,
    ),
    security(()),
)]
pub async fn setup_status(db: Data<Db>) -> Result<HttpResponse, Problem> {
    Ok(HttpResponse::Ok().json(SetupStatus { needed: setup::is_needed(&db).await? }))
}

/// Create the first admin
///
/// While there is no user, a server that starts prints a setup token, which counts for 30 minutes and once.
#[utoipa::path(
    post, path = "/auth/setup", operation_id = "setUp", tag = "auth",
    request_body(content = Setup, description = "The setup token, and who becomes the admin."),
    responses(
        (status = 200, description = "The admin is created, and signed in.", body = Tokens),
        CommonFailures, DatabaseFailures, BodyFailures, SetupFailures, LimitFailures, StorageFailures,
    ),
    security(()),
)]
pub async fn set_up(
    request: HttpRequest,
    auth: Data<Auth>,
    db: Data<Db>,
    JsonBody(body): JsonBody,
) -> Result<HttpResponse, Problem> {
    let origin = Origin::of(&request);
    let attempt = auth.limits.set_up(client::address(&request));
    attempt.check().inspect_err(|_| origin.warn("setup refused", None))?;
    let Setup { setup_token, email, password } = auth.passwords.run(move || Setup::read(body)).await?;
    let refuse = || {
        origin.warn("setup failed", None);
        attempt.failed()?;
        Err(Problem::new(Code::Forbidden, NO_SETUP))
    };
    // Looked at first: a password is hashed for nobody who only guesses.
    let token = setup_token.clone();
    if !db.read(move |connection| Ok::<_, Problem>(setup::is_good(connection, &token)?)).await? {
        return refuse();
    }
    let hash = auth.passwords.run(move || password.hash()).await?;
    let admin = NewAccount::new(email, Role::Admin, hash);
    let begun = begin(&auth, &db, move |connection| {
        if !setup::take(connection, &setup_token)? {
            return Ok(None);
        }
        let id = account::insert(connection, &admin)?;
        Ok(account::find(connection, id)?)
    });
    let Some((admin, grant)) = begun.await? else { return refuse() };
    origin.note("the first admin was created", Some(admin), None);
    Ok(HttpResponse::Ok().json(Tokens::from(grant)))
}

/// The public keys
///
/// With these, who trusts this service can check an access token without asking it. A token's `kid` names its key.
#[utoipa::path(
    get, path = "/.well-known/jwks.json", operation_id = "getJwks", tag = "auth",
    responses((status = 200, description = "The keys that count (RFC 7517).", body = PublicKeys), CommonFailures),
    security(()),
)]
pub async fn jwks(auth: Data<Auth>) -> HttpResponse {
    let cache = (header::CACHE_CONTROL, "public, max-age=300");
    HttpResponse::Ok().insert_header(cache).json(auth.keys.public())
}

const NO_SETUP: &str = "The setup token is not valid, or no longer. While there is no user, a server that is started prints \
                        a new one; `posts user create` needs none.";

/// Signs in whom the body names.
async fn sign_in(request: &HttpRequest, auth: &Auth, db: &Db, body: Value) -> Result<Grant, Problem> {
    let Login { email, password } = Login::read(body)?;
    let origin = Origin::of(request);
    let attempt = auth.limits.sign_in(&account::email_key(&email), client::address(request));
    attempt.check().inspect_err(|_| origin.warn("sign-in refused", None))?;
    let place = auth.passwords.place()?;
    let found = db.read(move |connection| Ok::<_, Problem>(account::find_credentials_by_email(connection, &email)?));
    let found = found.await?;

    let user = found.as_ref().map(|found| found.account.id);
    let found = found.filter(|found| !found.account.disabled);
    let stored = found.as_ref().map(|found| found.password_hash.clone());
    let rehashed = check_password(place, attempt, password, stored).await;
    let rehashed = rehashed.inspect_err(|problem| {
        if is_refusal(problem) {
            origin.warn("sign-in failed", user);
        }
    })?;
    let found = found.ok_or_else(wrong_password)?.account;
    let begun = begin(auth, db, move |connection| {
        // Who signs in does not wait for others that do so as the same user.
        let lock = if rehashed.is_some() { account::find_for_update } else { account::find_for_share };
        let account = unchanged(&found, lock(connection, found.id)?);
        if let (Some(account), Some(hash)) = (&account, rehashed) {
            account::rehash_password(connection, account.id, &hash)?;
        }
        Ok(account)
    });
    let (_, grant) = begun.await?.ok_or_else(wrong_password)?;
    origin.note("signed in", user, None);
    Ok(grant)
}

/// Exchanges a refresh token for the next.
async fn exchange(request: &HttpRequest, auth: &Auth, db: &Db, token: SecretString) -> Result<Grant, Problem> {
    let origin = Origin::of(request);
    let attempt = auth.limits.refresh(client::address(request));
    attempt.check().inspect_err(|_| origin.warn("refresh refused", None))?;
    let keys = auth.keys.clone();
    let refreshed = db.write(move |connection| Ok::<_, Problem>(session::refresh(connection, &keys, &token)?)).await?;
    match refreshed {
        Refreshed::Token(next, account) => {
            origin.note("refreshed", Some(account.id), None);
            Grant::new(auth, &account, next)
        }
        Refreshed::Reused { user_id } => {
            origin.warn("a used refresh token came back: its session was ended", Some(user_id));
            attempt.failed()?;
            Err(invalid_token())
        }
        Refreshed::Refused => {
            origin.warn("refresh failed", None);
            attempt.failed()?;
            Err(invalid_token())
        }
    }
}

/// Ends the sessions that these refresh tokens belong to.
async fn sign_out(request: &HttpRequest, db: &Db, tokens: Vec<SecretString>) -> Result<(), Problem> {
    if tokens.is_empty() {
        return Ok(());
    }
    let ended = db.write(move |connection| {
        tokens.iter().map(|token| Ok::<_, Problem>(session::end(connection, token)?)).collect::<Result<Vec<_>, _>>()
    });
    let origin = Origin::of(request);
    for user in ended.await?.into_iter().flatten() {
        origin.note("signed out", Some(user), None);
    }
    Ok(())
}

/// Checks a password, on the lane of the passwords. Its hash, where it should be kept in another way from now on.
async fn check_password(
    place: Place,
    attempt: Attempt,
    password: SecretString,
    stored: Option<String>,
) -> Result<Option<String>, Problem> {
    let check = move || {
        // Again, since many may have been waiting; and counted here, before the next is looked at.
        attempt.check()?;
        let right = password::is_right(&password, stored.as_deref())?;
        let Some(stored) = stored.filter(|_| right) else {
            attempt.failed()?;
            return Err(wrong_password());
        };
        if password::is_outdated(&stored) { password::hash(&password).map(Some) } else { Ok(None) }
    };
    place.run(check).await
}

/// The account as it is now. `None` where it is gone or disabled, or has a new password since it was found.
fn unchanged(found: &Account, current: Option<Account>) -> Option<Account> {
    current.filter(|current| !current.disabled && current.token_generation == found.token_generation)
}

/// Begins a session for the account that `who` finds, if it finds one, in one transaction. Its id, and what its user
/// gets.
async fn begin(
    auth: &Auth,
    db: &Db,
    who: impl FnOnce(&mut DbConnection) -> Result<Option<Account>, Problem> + Send + 'static,
) -> Result<Option<(i64, Grant)>, Problem> {
    let refresh_token = secret::generate()?;
    let token = refresh_token.clone();
    let begun = db.write(move |connection| {
        let account = who(connection)?;
        if let Some(account) = &account {
            session::begin(connection, account.id, &token)?;
        }
        Ok::<_, Problem>(account)
    });
    let Some(account) = begun.await? else { return Ok(None) };
    Ok(Some((account.id, Grant::new(auth, &account, refresh_token)?)))
}

/// Whether somebody was refused for what they could not prove.
fn is_refusal(problem: &Problem) -> bool {
    matches!(problem.code(), Code::Unauthorized | Code::Forbidden | Code::TooManyRequests)
}

fn wrong_password() -> Problem {
    unauthorized("There is no such user, or the password is another, or the user is disabled.", "Bearer")
}

fn no_session() -> Problem {
    unauthorized("There is no session: no cookie `posts_session` was sent. Sign in at `/auth/session`.", "Bearer")
}
