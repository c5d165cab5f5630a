//! One function an operation. Their comments are the public document's text.

use actix_web::http::header;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};

use super::{NewPost, Post, PostMergePatch, PostPage, PostReplacement, PostState, Scope, store};
use crate::auth::{Author, Caller, Role};
use crate::db::{Db, DbConnection};
use crate::http::conditional::{ReadConditions, WriteConditions};
use crate::http::json::JsonBody;
use crate::http::page::PageRequest;
use crate::http::patch::{JsonPatch, Patch};
use crate::http::path::Id;
use crate::http::problem::{Code, Problem};
use crate::http::query::Parameters;
use crate::http::responses::{
    BodyFailures, CallerFailures, CommonFailures, ConflictFailures, DatabaseFailures, QueryFailures,
    ReadConditionFailures, RoleFailures, StorageFailures, TargetFailures, WriteConditionFailures,
};

/// List posts
///
/// The newest first.
#[utoipa::path(
    get, path = "/posts", operation_id = "listPosts", tag = "posts",
    params(PageRequest),
    responses(
        (status = 200, description = "A page of posts.", body = PostPage),
        CommonFailures, CallerFailures, DatabaseFailures, QueryFailures,
    ),
    security((), ("bearer" = [])),
)]
pub async fn list_posts(caller: Caller, request: HttpRequest, db: Data<Db>) -> Result<HttpResponse, Problem> {
    let mut parameters = Parameters::of(&request);
    let page = PageRequest::read(&mut parameters);
    parameters.finish()?;
    let scope = Scope::of(caller.identity());
    let items = db.read(move |connection| Ok::<_, Problem>(store::list(connection, scope, page.limit)?)).await?;
    let public = scope == Scope::Published;
    Ok(cache_control(&mut HttpResponse::Ok(), public).json(PostPage { items, next_cursor: None }))
}

/// Create a post
///
/// The answer is the post as it was stored. The strings come back byte for byte.
#[utoipa::path(
    post, path = "/posts", operation_id = "createPost", tag = "posts",
    request_body(content = NewPost, description = "What the post says."),
    responses(
        (status = 201, description = "The post was created.", body = Post, headers(
            ("Location" = String, description = "The post's address."),
            ("ETag" = String, description = "The tag of this version, for `If-Match`."),
            ("Last-Modified" = String, description = "When it last changed."),
        )),
        CommonFailures, RoleFailures, DatabaseFailures, BodyFailures, ConflictFailures, StorageFailures,
    ),
    security(("bearer" = [])),
    extensions(("x-required-role" = json!("author"))),
)]
pub async fn create_post(caller: Author, db: Data<Db>, JsonBody(body): JsonBody) -> Result<HttpResponse, Problem> {
    let new = NewPost::read(body)?;
    let owner = caller.id;
    let post = db.write(move |connection| Ok::<_, Problem>(store::insert(connection, owner, &new)?)).await?;
    let mut response = HttpResponse::Created();
    response.insert_header((header::LOCATION, format!("/posts/{}", post.id)));
    Ok(post.validators().set_on(&mut response).json(post))
}

/// Get a post
///
/// With `If-None-Match` and the `ETag` of what you have, the answer is 304 as long as that is current.
#[utoipa::path(
    get, path = "/posts/{id}", operation_id = "getPost", tag = "posts",
    params(Id, ReadConditions),
    responses(
        (status = 200, response = PostState),
        (status = 304, description = "What you have is current."),
        CommonFailures, CallerFailures, DatabaseFailures, QueryFailures, TargetFailures, ReadConditionFailures,
    ),
    security((), ("bearer" = [])),
)]
pub async fn get_post(
    caller: Caller,
    request: HttpRequest,
    db: Data<Db>,
    Id(id): Id,
    conditions: ReadConditions,
) -> Result<HttpResponse, Problem> {
    Parameters::of(&request).finish()?;
    let scope = Scope::of(caller.identity());
    let post = db.read(move |connection| existing(store::find(connection, scope, id)?)).await?;
    if let Some(mut not_modified) = conditions.not_modified(&post.validators())? {
        return Ok(cache_control(&mut not_modified, post.published).finish());
    }
    let mut response = HttpResponse::Ok();
    Ok(post.validators().set_on(cache_control(&mut response, post.published)).json(post))
}

/// Replace a post
///
/// A field that is left out takes its default. What the server sets (`id`, `version`, …) may be there as it was
/// read, so that GET, edit, PUT back works. A replacement that changes nothing leaves `version` as it is.
#[utoipa::path(
    put, path = "/posts/{id}", operation_id = "replacePost", tag = "posts",
    params(Id, WriteConditions),
    request_body(content = PostReplacement, description = "What the post says from now on."),
    responses(
        (status = 200, response = PostState),
        CommonFailures, RoleFailures, DatabaseFailures, TargetFailures, WriteConditionFailures, BodyFailures, StorageFailures,
    ),
    security(("bearer" = [])),
    extensions(("x-required-role" = json!("author"))),
)]
pub async fn replace_post(
    caller: Author,
    db: Data<Db>,
    Id(id): Id,
    conditions: WriteConditions,
    JsonBody(body): JsonBody,
) -> Result<HttpResponse, Problem> {
    change(&caller, &db, id, conditions, move |stored| NewPost::read_replacement(body, stored)).await
}

/// Change a post
///
/// With a merge patch (RFC 7396), the fields that it has are set, and null means back to the default. With a JSON
/// Patch (RFC 6902), all operations are carried out or none; a `test` that fails is a 409. A patch that changes
/// nothing leaves `version` as it is.
#[utoipa::path(
    patch, path = "/posts/{id}", operation_id = "updatePost", tag = "posts",
    params(Id, WriteConditions),
    request_body(description = "The change.", content(
        (PostMergePatch = "application/merge-patch+json", example = json!({"title": "Hello again"})),
        (PostMergePatch = "application/json", example = json!({"title": "Hello again"})),
        (JsonPatch = "application/json-patch+json", example = json!([{"op": "test", "path": "/version", "value": 1}, {"op": "replace", "path": "/title", "value": "Hello again"}])),
    )),
    responses(
        (status = 200, response = PostState),
        CommonFailures, RoleFailures, DatabaseFailures, TargetFailures, WriteConditionFailures, BodyFailures, ConflictFailures, StorageFailures,
    ),
    security(("bearer" = [])),
    extensions(("x-required-role" = json!("author"))),
)]
pub async fn update_post(
    caller: Author,
    db: Data<Db>,
    Id(id): Id,
    conditions: WriteConditions,
    patch: Patch,
) -> Result<HttpResponse, Problem> {
    change(&caller, &db, id, conditions, move |stored| NewPost::read_patched(&patch, stored)).await
}

/// Delete a post
///
/// Its id is never given again. A second time the answer is 404.
#[utoipa::path(
    delete, path = "/posts/{id}", operation_id = "deletePost", tag = "posts",
    params(Id, WriteConditions),
    responses(
        (status = 204, description = "The post is gone."),
        CommonFailures, RoleFailures, DatabaseFailures, TargetFailures, WriteConditionFailures, StorageFailures,
    ),
    security(("bearer" = [])),
    extensions(("x-required-role" = json!("author"))),
)]
pub async fn delete_post(
    caller: Author,
    db: Data<Db>,
    Id(id): Id,
    conditions: WriteConditions,
) -> Result<HttpResponse, Problem> {
    db.write(move |connection| {
        let stored = changeable(connection, &caller, id)?;
        conditions.check(&stored.validators())?;
        store::delete(connection, id)?;
        Ok::<_, Problem>(())
    })
    .await?;
    Ok(HttpResponse::NoContent().finish())
}

/// The one way in which a stored post changes: read, checked and written in one transaction.
async fn change(
    caller: &Author,
    db: &Db,
    id: i64,
    conditions: WriteConditions,
    read: impl FnOnce(&Post) -> Result<NewPost, Problem> + Send + 'static,
) -> Result<HttpResponse, Problem> {
    let caller = caller.clone();
    let post = db
        .write(move |connection| {
            let stored = changeable(connection, &caller, id)?;
            conditions.check(&stored.validators())?;
            let new = read(&stored)?;
            Ok::<_, Problem>(if stored.says(&new) { stored } else { store::update(connection, &stored, &new)? })
        })
        .await?;
    Ok(post.validators().set_on(&mut HttpResponse::Ok()).json(post))
}

/// The post as it is until the transaction ends, for a caller who may change it.
fn changeable(connection: &mut DbConnection, caller: &Author, id: i64) -> Result<Post, Problem> {
    let post = existing(store::find_for_update(connection, Scope::of(Some(caller)), id)?)?;
    if post.owner_id != Some(caller.id) && caller.role < Role::Editor {
        return Err(Problem::new(
            Code::Forbidden,
            "This is for the post's owner, and for those with the role `editor`.",
        ));
    }
    Ok(post)
}

fn existing(post: Option<Post>) -> Result<Post, Problem> {
    post.ok_or_else(Problem::not_found)
}

/// What everybody may see may be kept, and is asked for again before it is shown; the rest is never kept.
fn cache_control(response: &mut HttpResponseBuilder, public: bool) -> &mut HttpResponseBuilder {
    response.insert_header((header::CACHE_CONTROL, if public { "no-cache" } else { "no-store" }))
}
