//! One function an operation. Their comments are the public document's text.

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};

use super::{NewUser, User, UserChange, UserMergePatch, UserPage, UserState, store};
use crate::auth::account::{self, ChosenPassword};
use crate::auth::audit::Origin;
use crate::auth::{Admin, Auth, Role};
use crate::db::{self, Db, DbConnection};
use crate::http::conditional::{ReadConditions, WriteConditions};
use crate::http::cursor::CursorKeys;
use crate::http::idempotency::{Answer, IdempotencyKey};
use crate::http::json::JsonBody;
use crate::http::page::{PageRequest, RenderedPage};
use crate::http::patch::{JsonPatch, Patch};
use crate::http::path::Id;
use crate::http::prefer::Prefer;
use crate::http::problem::{Code, Problem};
use crate::http::query::Parameters;
use crate::http::responses::{
    BodyFailures, CommonFailures, ConflictFailures, DatabaseFailures, IdempotencyFailures, NotModified,
    PageNotModified, QueryFailures, ReadConditionFailures, RoleFailures, StorageFailures, TargetFailures,
    WriteConditionFailures,
};

/// What a cursor of the list is bound to: it has one order, and no filters.
const LIST_NAME: &str = "users";

/// List users
///
/// The oldest first. `Link` has the addresses of the first page and the next.
#[utoipa::path(
    get, path = "/users", operation_id = "listUsers", tag = "users",
    params(PageRequest, Prefer, ReadConditions),
    responses(
        (status = 200, description = "A page of users.", body = UserPage, headers(
            ("ETag" = String, description = "The tag of this page, for `If-None-Match`."),
            ("Link" = String, description = "The first page and the next (RFC 8288)."),
            ("Preference-Applied" = String, description = "`count=exact`, where it was asked for."),
        )),
        (status = 304, response = PageNotModified),
        CommonFailures, RoleFailures, DatabaseFailures, QueryFailures, ReadConditionFailures,
    ),
    security(("bearer" = [])),
    extensions(("x-required-role" = json!("admin"))),
)]
pub async fn list_users(
    _: Admin,
    request: HttpRequest,
    db: Data<Db>,
    cursors: Data<CursorKeys>,
    prefer: Prefer,
    conditions: ReadConditions,
) -> Result<HttpResponse, Problem> {
    let mut parameters = Parameters::of(&request);
    let list = PageRequest::read(&mut parameters);
    parameters.finish()?;
    let after = list.position(&cursors, LIST_NAME)?;
    let limit = list.look_ahead();
    let read = db.read(move |connection| {
        let users = store::list(connection, after, limit)?;
        let total = prefer.count.then(|| store::count(connection)).transpose()?;
        Ok::<_, Problem>((users, total))
    });
    let (mut items, total) = read.await?;
    let next_cursor = list.cut(&mut items).map(|last| cursors.seal(LIST_NAME, &last.id)).transpose()?;
    let page = UserPage { items, next_cursor, total };
    RenderedPage::of(&page, page.next_cursor.clone())?.answer(&request, &conditions, prefer)
}

/// Create a user
///
/// The password is checked by the same rules as everywhere, and kept as a hash alone.
#[utoipa::path(
    post, path = "/users", operation_id = "createUser", tag = "users",
    params(IdempotencyKey),
    request_body(content = NewUser, description = "Who is to be created."),
    responses(
        (status = 201, description = "The user was created.", body = User, headers(
            ("Location" = String, description = "The user's address."),
            ("ETag" = String, description = "The tag of this version, for `If-Match`."),
            ("Last-Modified" = String, description = "When it last changed."),
            ("Idempotency-Replayed" = bool, description = "`true` on the answer to an earlier request with this `Idempotency-Key`."),
        )),
        CommonFailures, RoleFailures, DatabaseFailures, BodyFailures, ConflictFailures, IdempotencyFailures, StorageFailures,
    ),
    security(("bearer" = [])),
    extensions(("x-required-role" = json!("admin"))),
)]
pub async fn create_user(
    caller: Admin,
    request: HttpRequest,
    auth: Data<Auth>,
    db: Data<Db>,
    key: IdempotencyKey,
    JsonBody(body): JsonBody,
) -> Result<HttpResponse, Problem> {
    let attempt = key.attempt(caller.id, &body);
    // Before its password is hashed once more.
    if let Some(answer) = attempt.first_answer(&db).await? {
        return Ok(answer.into());
    }
    let account = auth.passwords.run(move || NewUser::read(body)?.into_account()).await?;
    let insert =
        move |connection: &mut DbConnection| store::insert(connection, &account).map_err(|error| taken(error.into()));
    let outcome = attempt.write(&db, insert, created).await?;
    if let Some(user) = outcome.done {
        Origin::of(&request).note("user created", Some(caller.id), Some(user.id));
    }
    Ok(outcome.answer.into())
}

/// Get a user
///
/// With `If-None-Match` and the `ETag` of what you have, the answer is 304 as long as that is current.
#[utoipa::path(
    get, path = "/users/{id}", operation_id = "getUser", tag = "users",
    params(Id, ReadConditions),
    responses(
        (status = 200, response = UserState),
        (status = 304, response = NotModified),
        CommonFailures, RoleFailures, DatabaseFailures, QueryFailures, TargetFailures, ReadConditionFailures,
    ),
    security(("bearer" = [])),
    extensions(("x-required-role" = json!("admin"))),
)]
pub async fn get_user(
    _: Admin,
    request: HttpRequest,
    db: Data<Db>,
    Id(id): Id,
    conditions: ReadConditions,
) -> Result<HttpResponse, Problem> {
    Parameters::of(&request).finish()?;
    let user = db.read(move |connection| existing(store::find(connection, id)?)).await?;
    if let Some(mut not_modified) = conditions.not_modified(&user.validators())? {
        return Ok(not_modified.finish());
    }
    Ok(user.validators().set_on(&mut HttpResponse::Ok()).json(user))
}

/// Change a user
///
/// `role`, `disabled` and `password`, any of them; by merge patch (RFC 7396) or JSON Patch (RFC 6902). All of it counts
/// at once, on every server. A new password ends every session and every access token of the user. The last admin who
/// can sign in stays one.
#[utoipa::path(
    patch, path = "/users/{id}", operation_id = "updateUser", tag = "users",
    params(Id, WriteConditions),
    request_body(description = "The change.", content(
        (UserMergePatch = "application/merge-patch+json", example = json!({"role": "editor"})),
        (UserMergePatch = "application/json", example = json!({"role": "editor"})),
        (JsonPatch = "application/json-patch+json", example = json!([{"op": "replace", "path": "/disabled", "value": true}])),
    )),
    responses(
        (status = 200, response = UserState),
        CommonFailures, RoleFailures, DatabaseFailures, TargetFailures, WriteConditionFailures, BodyFailures,
        ConflictFailures, StorageFailures,
    ),
    security(("bearer" = [])),
    extensions(("x-required-role" = json!("admin"))),
)]
pub async fn update_user(
    caller: Admin,
    request: HttpRequest,
    auth: Data<Auth>,
    db: Data<Db>,
    Id(id): Id,
    conditions: WriteConditions,
    patch: Patch,
) -> Result<HttpResponse, Problem> {
    // Outside of the transaction, which must not wait for a password to be hashed.
    let stored = db.read(move |connection| existing(store::find(connection, id)?)).await?;
    conditions.check(&stored.validators())?;
    let document = UserChange::document(&patch, &stored)?;
    let hashes = document.get("password").is_some();
    let read = move || {
        let change = UserChange::read(document, &stored)?;
        let hash = change.password.as_ref().map(ChosenPassword::hash).transpose()?;
        Ok((stored, change, hash))
    };
    // Nobody who wants to keep an attacker out should queue behind the attacker's passwords.
    let (seen, change, hash) = if hashes { auth.passwords.run(read).await? } else { read()? };
    let user = db.write(move |connection| {
        let stored = changeable(connection, id, change.role < Role::Admin || change.disabled)?;
        conditions.check(&stored.validators())?;
        if stored != seen {
            // A patch is a change to what it was read beside.
            return Err(Problem::new(
                Code::Conflict,
                "Another request changed this user at the same moment. Try again.",
            ));
        }
        if hash.is_none() && stored.role == change.role && stored.disabled == change.disabled {
            return Ok(stored);
        }
        if let Some(hash) = hash {
            account::set_password(connection, id, &hash)?;
        }
        Ok(store::update(connection, &stored, change.role, change.disabled)?)
    });
    let user = user.await?;
    Origin::of(&request).note("user changed", Some(caller.id), Some(id));
    Ok(user.validators().set_on(&mut HttpResponse::Ok()).json(user))
}

/// Delete a user
///
/// Its sessions and keys end; its posts stay, without an owner. The last admin who can sign in stays.
#[utoipa::path(
    delete, path = "/users/{id}", operation_id = "deleteUser", tag = "users",
    params(Id, WriteConditions),
    responses(
        (status = 204, description = "The user is gone."),
        CommonFailures, RoleFailures, DatabaseFailures, TargetFailures, WriteConditionFailures, ConflictFailures,
        StorageFailures,
    ),
    security(("bearer" = [])),
    extensions(("x-required-role" = json!("admin"))),
)]
pub async fn delete_user(
    caller: Admin,
    request: HttpRequest,
    db: Data<Db>,
    Id(id): Id,
    conditions: WriteConditions,
) -> Result<HttpResponse, Problem> {
    db.write(move |connection| {
        let stored = changeable(connection, id, true)?;
        conditions.check(&stored.validators())?;
        store::delete(connection, id)?;
        Ok::<_, Problem>(())
    })
    .await?;
    Origin::of(&request).note("user deleted", Some(caller.id), Some(id));
    Ok(HttpResponse::NoContent().finish())
}

/// The user as it is until the transaction ends. Refuses where the user would be an admin no more, and is the last.
fn changeable(connection: &mut DbConnection, id: i64, is_admin_no_more: bool) -> Result<User, Problem> {
    let admins = store::find_admins_for_update(connection)?;
    let stored = existing(store::find_for_update(connection, id)?)?;
    if is_admin_no_more && admins == [id] {
        let detail = "This is the last admin who can sign in. Make another one first.";
        return Err(Problem::new(Code::Conflict, detail));
    }
    Ok(stored)
}

fn created(user: &User) -> Result<Answer, Problem> {
    Answer::created(format!("/users/{}", user.id), &user.validators(), user)
}

fn existing(user: Option<User>) -> Result<User, Problem> {
    user.ok_or_else(Problem::not_found)
}

/// The answer to a failed insert.
pub(crate) fn taken(error: db::Error) -> Problem {
    match error {
        db::Error::Taken(_) => Problem::new(Code::Conflict, "There is a user with this e-mail already."),
        other => other.into(),
    }
}
