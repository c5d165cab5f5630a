//! One function an operation. Their comments are the public document's text.

use actix_web::http::header::{self, HeaderValue};
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};

use super::creates::Creates;
use super::list::{PostList, PostSelection};
use super::reads::{PageKey, Reads};
use super::store::{self, OwnedPost};
use super::{NewPost, Post, PostItem, PostMergePatch, PostPage, PostReplacement, PostState, Scope};
use crate::auth::{Author, Caller, Role};
use crate::db::{Db, DbConnection};
use crate::http::conditional::{ReadConditions, WriteConditions};
use crate::http::cursor::CursorKeys;
use crate::http::idempotency::{Answer, IdempotencyKey};
use crate::http::json::JsonBody;
use crate::http::patch::{JsonPatch, Patch};
use crate::http::path::Id;
use crate::http::prefer::Prefer;
use crate::http::problem::{Code, Problem};
use crate::http::query::Parameters;
use crate::http::read_after::{Positions, ReadAfter};
use crate::http::responses::{
    BodyFailures, CallerFailures, CommonFailures, ConflictFailures, DatabaseFailures, IdempotencyFailures, NotModified,
    PageNotModified, QueryFailures, ReadConditionFailures, RoleFailures, StorageFailures, TargetFailures,
    WriteConditionFailures,
};

/// List posts
///
/// The newest first, or in the order of `sort`. A page goes on where the one before ended: a post that nobody touches
/// meanwhile is neither skipped nor repeated, whatever is created or deleted. `Link` has the addresses of the first page
/// and the next.
#[utoipa::path(
    get, path = "/posts", operation_id = "listPosts", tag = "posts",
    params(PostList, Prefer, ReadConditions, ReadAfter),
    responses(
        (status = 200, description = "A page of posts.", body = PostPage, headers(
            ("ETag" = String, description = "The tag of this page, for `If-None-Match`."),
            ("Link" = String, description = "The first page and the next (RFC 8288)."),
            ("Preference-Applied" = String, description = "`count=exact`, where it was asked for."),
        )),
        (status = 304, response = PageNotModified),
        CommonFailures, CallerFailures, DatabaseFailures, QueryFailures, ReadConditionFailures,
    ),
    security((), ("bearer" = [])),
)]
pub async fn list_posts(
    caller: Caller,
    request: HttpRequest,
    reads: Data<Reads>,
    cursors: Data<CursorKeys>,
    prefer: Prefer,
    conditions: ReadConditions,
    read_after: ReadAfter,
) -> Result<HttpResponse, Problem> {
    let list = PostList::read(Parameters::of(&request))?;
    let name = list.name()?;
    let after = list.page.position(&cursors, &name)?;
    let scope = Scope::of(caller.identity());
    let page = reads.page(PageKey { scope, list, name, after, with_total: prefer.count }, read_after).await?;
    let mut response = page.answer(&request, &conditions, prefer)?;
    response.headers_mut().insert(header::CACHE_CONTROL, cache_control(scope == Scope::Published));
    Ok(response)
}

/// Create a post
///
/// The answer is the post as it was stored. The strings come back byte for byte.
#[utoipa::path(
    post, path = "/posts", operation_id = "createPost", tag = "posts",
    params(IdempotencyKey),
    request_body(content = NewPost, description = "What the post says."),
    responses(
        (status = 201, description = "The post was created.", body = Post, headers(
            ("Location" = String, description = "The post's address."),
            ("ETag" = String, description = "The tag of this version, for `If-Match`."),
            ("Last-Modified" = String, description = "When it last changed."),
            ("Posts-Position" = String, description = "Where reads go to replicas: send it with a read that is to see this write, or the cookie that has the same."),
            ("Set-Cookie" = String, description = "Where reads go to replicas: the cookie `posts_position`, which says the same to the pages of this server."),
            ("Idempotency-Replayed" = bool, description = "`true` on the answer to an earlier request with this `Idempotency-Key`."),
        )),
        CommonFailures, RoleFailures, DatabaseFailures, BodyFailures, ConflictFailures, IdempotencyFailures, StorageFailures,
    ),
    security(("bearer" = [])),
    extensions(("x-required-role" = json!("author"))),
)]
pub async fn create_post(
    caller: Author,
    creates: Data<Creates>,
    db: Data<Db>,
    positions: Data<Positions>,
    key: IdempotencyKey,
    JsonBody(body): JsonBody,
) -> Result<HttpResponse, Problem> {
    let attempt = key.attempt(caller.id, &body);
    let (owner_id, post) = (caller.id, NewPost::read(body)?);
    if !attempt.has_key() {
        // Nothing is to be stored beside it, so that it may go in with others.
        let answer = created(&creates.create(owner_id, post).await?)?;
        return Ok(positions.tell(answer.into()).await);
    }
    let post = OwnedPost { owner_id, post };
    let insert = move |connection: &mut DbConnection| Ok(store::insert(connection, &post)?);
    Ok(positions.tell(attempt.write(&db, insert, created).await?.answer.into()).await)
}

/// Get a post
///
/// With `If-None-Match` and the `ETag` of what you have, the answer is 304 as long as that is current.
#[utoipa::path(
    get, path = "/posts/{id}", operation_id = "getPost", tag = "posts",
    params(Id, PostSelection, ReadConditions, ReadAfter),
    responses(
        (status = 200, description = "The post as it is now.", body = PostItem, headers(
            ("ETag" = String, description = "The tag of this version, for `If-Match` and `If-None-Match`."),
            ("Last-Modified" = String, description = "When it last changed."),
        )),
        (status = 304, response = NotModified),
        CommonFailures, CallerFailures, DatabaseFailures, QueryFailures, TargetFailures, ReadConditionFailures,
    ),
    security((), ("bearer" = [])),
)]
pub async fn get_post(
    caller: Caller,
    request: HttpRequest,
    reads: Data<Reads>,
    Id(id): Id,
    conditions: ReadConditions,
    read_after: ReadAfter,
) -> Result<HttpResponse, Problem> {
    let PostSelection(selection) = PostSelection::read(Parameters::of(&request))?;
    let stored = reads.post(Scope::of(caller.identity()), id, read_after).await?;
    let post = &stored.post;
    let validators = post.validators().in_variant(selection.variant());
    let cache_control = (header::CACHE_CONTROL, cache_control(post.published));
    if let Some(mut not_modified) = conditions.not_modified(&validators)? {
        return Ok(not_modified.insert_header(cache_control).finish());
    }
    let mut response = HttpResponse::Ok();
    validators.set_on(response.insert_header(cache_control));
    if selection.is_everything() {
        return Ok(response.content_type(mime::APPLICATION_JSON).body(stored.json()?));
    }
    Ok(response.json(PostItem::of(post.clone(), &selection)))
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
    positions: Data<Positions>,
    Id(id): Id,
    conditions: WriteConditions,
    JsonBody(body): JsonBody,
) -> Result<HttpResponse, Problem> {
    change(&caller, &db, &positions, id, conditions, move |stored| NewPost::read_replacement(body, stored)).await
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
    positions: Data<Positions>,
    Id(id): Id,
    conditions: WriteConditions,
    patch: Patch,
) -> Result<HttpResponse, Problem> {
    change(&caller, &db, &positions, id, conditions, move |stored| NewPost::read_patched(&patch, stored)).await
}

/// Delete a post
///
/// Its id is never given again. A second time the answer is 404.
#[utoipa::path(
    delete, path = "/posts/{id}", operation_id = "deletePost", tag = "posts",
    params(Id, WriteConditions),
    responses(
        (status = 204, description = "The post is gone.", headers(
            ("Posts-Position" = String, description = "Where reads go to replicas: send it with a read that is to see this write, or the cookie that has the same."),
            ("Set-Cookie" = String, description = "Where reads go to replicas: the cookie `posts_position`, which says the same to the pages of this server."),
        )),
        CommonFailures, RoleFailures, DatabaseFailures, TargetFailures, WriteConditionFailures, StorageFailures,
    ),
    security(("bearer" = [])),
    extensions(("x-required-role" = json!("author"))),
)]
pub async fn delete_post(
    caller: Author,
    db: Data<Db>,
    positions: Data<Positions>,
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
    Ok(positions.tell(HttpResponse::NoContent().finish()).await)
}

/// The one way in which a stored post changes: read, checked and written in one transaction.
async fn change(
    caller: &Author,
    db: &Db,
    positions: &Positions,
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
    Ok(positions.tell(post.validators().set_on(&mut HttpResponse::Ok()).json(post)).await)
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

fn created(post: &Post) -> Result<Answer, Problem> {
    Answer::created(format!("/posts/{}", post.id), &post.validators(), post)
}

fn existing(post: Option<Post>) -> Result<Post, Problem> {
    post.ok_or_else(Problem::not_found)
}

/// What everybody may see may be kept, and is asked for again before it is shown; the rest is never kept.
fn cache_control(public: bool) -> HeaderValue {
    HeaderValue::from_static(if public { "no-cache" } else { "no-store" })
}
