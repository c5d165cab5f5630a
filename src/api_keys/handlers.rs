//! One function an operation. Their comments are the public document's text.

use actix_web::http::header;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use secrecy::ExposeSecret as _;

use super::{ApiKeyList, COUNT_MAX, CreatedApiKey, NewApiKey, store};
use crate::auth::audit::Origin;
use crate::auth::{Reader, account, secret};
use crate::db::Db;
use crate::http::json::JsonBody;
use crate::http::path::Id;
use crate::http::problem::{Code, Problem};
use crate::http::query::Parameters;
use crate::http::responses::{
    BodyFailures, CallerFailures, CommonFailures, ConflictFailures, DatabaseFailures, QueryFailures, RoleFailures,
    StorageFailures, TargetFailures,
};

/// List one's API keys
///
/// All of them, the oldest first.
#[utoipa::path(
    get, path = "/api-keys", operation_id = "listApiKeys", tag = "api-keys",
    responses(
        (status = 200, description = "One's keys.", body = ApiKeyList),
        CommonFailures, CallerFailures, DatabaseFailures, QueryFailures,
    ),
    security(("bearer" = [])),
    extensions(("x-required-role" = json!("reader"))),
)]
pub async fn list_api_keys(caller: Reader, request: HttpRequest, db: Data<Db>) -> Result<HttpResponse, Problem> {
    Parameters::of(&request).finish()?;
    let items = db.read(move |connection| Ok::<_, Problem>(store::list(connection, caller.id)?)).await?;
    Ok(HttpResponse::Ok().json(ApiKeyList { items }))
}

/// Create an API key
///
/// For a program that calls in one's name. The key is in the answer, and never shown again. It may do no more than the
/// caller; made with a key that expires, it must expire no later. A user may have 100.
#[utoipa::path(
    post, path = "/api-keys", operation_id = "createApiKey", tag = "api-keys",
    request_body(content = NewApiKey, description = "What the key is for."),
    responses(
        (status = 201, description = "The key was created.", body = CreatedApiKey, headers(
            ("Location" = String, description = "Where to delete it."),
        )),
        CommonFailures, RoleFailures, DatabaseFailures, BodyFailures, ConflictFailures, StorageFailures,
    ),
    security(("bearer" = [])),
    extensions(("x-required-role" = json!("reader"))),
)]
pub async fn create_api_key(
    caller: Reader,
    request: HttpRequest,
    db: Data<Db>,
    JsonBody(body): JsonBody,
) -> Result<HttpResponse, Problem> {
    let new = NewApiKey::read(body)?;
    if new.role > caller.role {
        let detail = format!("A key may do no more than who makes it: you have the role `{}`.", caller.role);
        return Err(Problem::new(Code::Forbidden, detail));
    }
    if caller.expires_on.is_some_and(|limit| new.expires_on.is_none_or(|expires_on| expires_on > limit)) {
        let detail = "A key that expires can make only keys that expire no later.";
        return Err(Problem::new(Code::Forbidden, detail));
    }
    let made = secret::generate_key()?;
    let key = made.key.expose_secret().to_owned();
    let owner = caller.id;
    let created = db.write(move |connection| {
        // One key at a time: of several at once each would count without the others.
        account::lock(connection, owner)?;
        if store::count(connection, owner)? >= COUNT_MAX {
            let detail = format!("You have {COUNT_MAX} keys, and may have no more. Delete one that you don't use.");
            return Err(Problem::new(Code::Conflict, detail));
        }
        Ok(store::insert(connection, owner, &new, &made)?)
    });
    let api_key = created.await?;
    Origin::of(&request).note("API key created", Some(owner), Some(api_key.id));
    let location = (header::LOCATION, format!("/api-keys/{}", api_key.id));
    Ok(HttpResponse::Created().insert_header(location).json(CreatedApiKey { api_key, key }))
}

/// Delete an API key
///
/// It stops to count at once, on every server.
#[utoipa::path(
    delete, path = "/api-keys/{id}", operation_id = "deleteApiKey", tag = "api-keys",
    params(Id),
    responses(
        (status = 204, description = "The key is gone."),
        CommonFailures, CallerFailures, DatabaseFailures, TargetFailures, StorageFailures,
    ),
    security(("bearer" = [])),
    extensions(("x-required-role" = json!("reader"))),
)]
pub async fn delete_api_key(
    caller: Reader,
    request: HttpRequest,
    db: Data<Db>,
    Id(id): Id,
) -> Result<HttpResponse, Problem> {
    let owner = caller.id;
    let deleted = db.write(move |connection| Ok::<_, Problem>(store::delete(connection, owner, id)?)).await?;
    if deleted == 0 {
        return Err(Problem::not_found());
    }
    Origin::of(&request).note("API key deleted", Some(owner), Some(id));
    Ok(HttpResponse::NoContent().finish())
}
