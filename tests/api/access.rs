//! Contract sections 2 and 6: who may do what, and how little the others are told.

use std::collections::{BTreeMap, BTreeSet};
use std::future::IntoFuture as _;
use std::time::Duration;

use diesel::connection::SimpleConnection as _;
use rstest::rstest;
use serde_json::{Value, json};

use crate::harness::{Answer, Api, Database, PASSWORD, Postgres, Request, Sqlite, Token, User, now, start};

// The matrix.

/// What each caller gets from each operation of the document. After the operation stands what it is asked for where
/// that matters; a caller's own post is unpublished. `-` is what cannot be: nobody owns nothing.
///
/// `expired` and `disabled` would be admins, if it were not for that. Of the keys, `reader_key` and `author_key` have
/// that role and belong to an author; `lowered_key` has the role admin, and its owner has become a reader.
const MATRIX: &str = "
                                  nobody expired disabled reader reader_key lowered_key author author_key editor admin
    listPosts                        200     401      401    200        200         200    200        200    200   200
    createPost                       401     401      401    403        403         403    201        201    201   201
    getPost own                        -     401      401    404        404         404    200        200    200   200
    getPost published                200     401      401    200        200         200    200        200    200   200
    getPost unpublished              404     401      401    404        404         404    404        404    200   200
    replacePost own                    -     401      401    403        403         403    200        200    200   200
    replacePost published            401     401      401    403        403         403    403        403    200   200
    replacePost unpublished          401     401      401    403        403         403    404        404    200   200
    updatePost own                     -     401      401    403        403         403    200        200    200   200
    updatePost published             401     401      401    403        403         403    403        403    200   200
    updatePost unpublished           401     401      401    403        403         403    404        404    200   200
    deletePost own                     -     401      401    403        403         403    204        204    204   204
    deletePost published             401     401      401    403        403         403    403        403    204   204
    deletePost unpublished           401     401      401    403        403         403    404        404    204   204
    listUsers                        401     401      401    403        403         403    403        403    403   200
    createUser                       401     401      401    403        403         403    403        403    403   201
    getUser another                  401     401      401    403        403         403    403        403    403   200
    getUser own                        -     401      401    403        403         403    403        403    403   200
    updateUser another               401     401      401    403        403         403    403        403    403   200
    updateUser own                     -     401      401    403        403         403    403        403    403   200
    deleteUser another               401     401      401    403        403         403    403        403    403   204
    deleteUser own                     -     401      401    403        403         403    403        403    403   204
    listApiKeys                      401     401      401    200        200         200    200        200    200   200
    createApiKey                     401     401      401    201        201         201    201        201    201   201
    deleteApiKey own                   -     401      401    204        204         204    204        204    204   204
    deleteApiKey another             401     401      401    404        404         404    404        404    404   404
    getMe                            401     401      401    200        200         200    200        200    200   200
    changePassword                   401     401      401    204        204         204    204        204    204   204
    login                            200     200      200    200        200         200    200        200    200   200
    refresh                          200     200      200    200        200         200    200        200    200   200
    logout                           204     204      204    204        204         204    204        204    204   204
    beginSession                     200     200      200    200        200         200    200        200    200   200
    refreshSession                   200     200      200    200        200         200    200        200    200   200
    endSession                       204     204      204    204        204         204    204        204    204   204
    getSetupStatus                   200     200      200    200        200         200    200        200    200   200
    setUp                            422     422      422    422        422         422    422        422    422   422
    getJwks                          200     200      200    200        200         200    200        200    200   200
    getApiCatalog                    200     200      200    200        200         200    200        200    200   200
    getLinks                         200     200      200    200        200         200    200        200    200   200
    checkLiveness                    200     200      200    200        200         200    200        200    200   200
    checkReadiness                   200     200      200    200        200         200    200        200    200   200
    getMetrics                       200     200      200    200        200         200    200        200    200   200
";

/// What an operation is sent.
async fn body_for(api: &Api, operation: &str) -> Option<Value> {
    let body = match operation {
        "createPost" => json!({"title": "Hello"}),
        "replacePost" | "updatePost" => json!({"title": "Hello again", "published": true}),
        "createUser" => {
            json!({"email": format!("new.{}", api.user("reader").email), "password": PASSWORD, "role": "reader"})
        }
        "updateUser" => json!({"role": "editor"}),
        "createApiKey" => json!({"name": "nightly import", "role": "reader"}),
        "changePassword" => json!({"current_password": PASSWORD, "new_password": "an entirely different sentence"}),
        "login" | "beginSession" => json!({"email": api.root.email, "password": PASSWORD}),
        "refresh" => {
            let credentials = json!({"email": api.root.email, "password": PASSWORD});
            let tokens = api.post("/auth/login", credentials).anonymous().await.json();
            json!({"refresh_token": tokens["refresh_token"]})
        }
        "logout" => json!({"refresh_token": "of no session"}),
        // There is an admin, and no setup token any more: one gets as far as the rules of the body.
        "setUp" => json!({}),
        _ => return None,
    };
    Some(body)
}

/// A request as an operation wants it besides: the doors of the pages of this server are for those.
async fn dress(api: &Api, operation: &str, request: Request) -> Request {
    match operation {
        "beginSession" | "endSession" => request.header("Origin", api.url("")),
        "refreshSession" => {
            let session = api.sign_in(&api.root).await;
            let request = request.header("Origin", api.url(""));
            request.header("Cookie", format!("posts_session={}", session.refresh_token))
        }
        _ => request,
    }
}

/// A row of [`MATRIX`].
struct Row {
    operation: &'static str,
    target: &'static str,
    /// What each caller gets, in the order of the columns.
    statuses: Vec<(&'static str, u16)>,
}

fn rows() -> Vec<Row> {
    let mut lines = MATRIX.lines().filter(|line| !line.trim().is_empty());
    let callers: Vec<_> = lines.next().unwrap().split_whitespace().collect();
    let row = |line: &'static str| {
        let words: Vec<_> = line.split_whitespace().collect();
        let (labels, cells) = words.split_at(words.len() - callers.len());
        let cells = callers.iter().copied().zip(cells);
        Row {
            operation: labels[0],
            target: labels.get(1).copied().unwrap_or_default(),
            statuses: cells.filter_map(|(caller, cell)| Some((caller, cell.parse().ok()?))).collect(),
        }
    };
    lines.map(row).collect()
}

/// An operation of the document.
struct Operation {
    method: String,
    path: String,
    description: Value,
}

impl Operation {
    fn all(document: &Value) -> BTreeMap<String, Self> {
        let mut operations = BTreeMap::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, description) in item.as_object().unwrap() {
                let operation =
                    Self { method: method.to_uppercase(), path: path.clone(), description: description.clone() };
                let id = description["operationId"].as_str().unwrap().to_owned();
                assert!(operations.insert(id, operation).is_none(), "{method} {path}");
            }
        }
        operations
    }

    /// The least that one must be, by the document: `None` where anybody may call, or whoever has the cookie.
    fn least_role(&self) -> Option<&str> {
        let security = self.description["security"].as_array().expect("every operation says who may call it");
        if security.contains(&json!({})) || !security.contains(&json!({"bearer": []})) {
            return None;
        }
        Some(self.description["x-required-role"].as_str().unwrap())
    }

    fn documents(&self, status: u16) -> bool {
        self.description["responses"].get(status.to_string()).is_some()
    }
}

/// Somebody who calls.
struct Caller {
    id: Option<i64>,
    credential: Option<String>,
}

impl Caller {
    /// A new one, of a kind that [`MATRIX`] has a column for.
    async fn new(api: &Api, kind: &str) -> Self {
        let with_key = async |owner: User, role: &str| {
            let key = create_key(api, &owner, role).await;
            Self { id: Some(owner.id), credential: Some(key) }
        };
        let with_token = |user: User| Self { id: Some(user.id), credential: Some(user.token) };
        match kind {
            "nobody" => Self { id: None, credential: None },
            "expired" => {
                let user = api.user("admin");
                Self { credential: Some(expired_token(&user)), ..with_token(user) }
            }
            "disabled" => {
                let user = api.user("admin");
                api.database.execute(&format!("UPDATE users SET disabled = TRUE WHERE id = {}", user.id)).unwrap();
                with_token(user)
            }
            "reader_key" => with_key(api.user("author"), "reader").await,
            "author_key" => with_key(api.user("author"), "author").await,
            "lowered_key" => {
                let caller = with_key(api.user("admin"), "admin").await;
                let lower = format!("UPDATE users SET role = 'reader' WHERE id = {}", caller.id.unwrap());
                api.database.execute(&lower).unwrap();
                caller
            }
            role => with_token(api.user(role)),
        }
    }

    fn sends(&self, request: Request) -> Request {
        match &self.credential {
            Some(credential) => request.bearing(credential),
            None => request.anonymous(),
        }
    }
}

fn expired_token(user: &User) -> String {
    let mut token = Token::of(user.id);
    token.claims["nbf"] = json!(now() - 910);
    token.claims["iat"] = json!(now() - 910);
    token.claims["exp"] = json!(now() - 10);
    token.sign()
}

async fn create_key(api: &Api, owner: &User, role: &str) -> String {
    let answer = api.post("/api-keys", json!({"name": "of a test", "role": role})).by(owner).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.json()["key"].as_str().unwrap().to_owned()
}

/// Makes what a row's operation is asked for, and returns its address.
async fn make_target(api: &Api, path: &str, target: &str, caller: &Caller) -> String {
    let id = match path {
        "/posts/{id}" => {
            let post = api.create(json!({"title": "Hello", "published": target == "published"})).await;
            give(api, "posts", "owner_id", post["id"].as_i64().unwrap(), target, caller)
        }
        "/api-keys/{id}" => {
            let key = api.post("/api-keys", json!({"name": "of a test", "role": "reader"})).await.json();
            give(api, "api_keys", "user_id", key["id"].as_i64().unwrap(), target, caller)
        }
        "/users/{id}" if target == "own" => caller.id.unwrap(),
        "/users/{id}" => api.user("reader").id,
        _ => return path.to_owned(),
    };
    path.replace("{id}", &id.to_string())
}

/// Makes the caller the owner of a row, where it is to be its own.
fn give(api: &Api, table: &str, column: &str, id: i64, target: &str, caller: &Caller) -> i64 {
    if target == "own" {
        let give = format!("UPDATE {table} SET {column} = {} WHERE id = {id}", caller.id.unwrap());
        api.database.execute(&give).unwrap();
    }
    id
}

/// What the root sees there, where it sees all.
async fn state(api: &Api, path: &str) -> Option<Value> {
    let visible = (path.starts_with("/posts/") || path.starts_with("/users/")) && !path.contains('{');
    if visible { Some(api.get(path).await.json()) } else { None }
}

#[rstest]
#[tokio::test]
async fn every_caller_gets_from_every_operation_what_the_matrix_says(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let operations = Operation::all(&api.get("/openapi.json").await.json());
    let rows = rows();
    let known: BTreeSet<_> = rows.iter().map(|row| row.operation).collect();
    assert_eq!(known, operations.keys().map(String::as_str).collect(), "the matrix has a row for each operation");

    let mut wrong = Vec::new();
    for row in &rows {
        let operation = &operations[row.operation];
        for (kind, expected) in &row.statuses {
            let caller = Caller::new(&api, kind).await;
            let path = make_target(&api, &operation.path, row.target, &caller).await;
            let before = state(&api, &path).await;
            let request = || caller.sends(api.request(&operation.method, &path));
            let place = format!("{} {} by {kind}", row.operation, row.target);
            if operation.method == "GET" {
                let head = caller.sends(api.request("HEAD", &path)).await;
                assert_eq!(head.status, request().await.status, "HEAD: {place}");
            }
            let body = body_for(&api, row.operation).await;
            let request = body.iter().fold(request(), Request::json);
            let answer = dress(&api, row.operation, request).await.await;
            if answer.status != *expected {
                wrong.push(format!("{place}: {}, not {expected}", answer.status));
            }
            if !operation.documents(answer.status) {
                wrong.push(format!("{place}: {} is not in the document", answer.status));
            }
            if answer.status >= 400 && state(&api, &path).await != before {
                wrong.push(format!("{place}: {}, and yet something changed", answer.status));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// What the document says of an operation is what [`MATRIX`] says, which is what callers get.
#[rstest]
#[tokio::test]
async fn the_document_says_who_may_call_what(#[values(Sqlite, Postgres)] database: Database) {
    const ROLES: [&str; 4] = ["reader", "author", "editor", "admin"];
    // For a role above one's own, and for a wrong password.
    const OWN_REFUSALS: [&str; 2] = ["createApiKey", "changePassword"];
    let api = start!(database);
    let document = api.get("/openapi.json").await.json();
    for (id, operation) in Operation::all(&document) {
        let rows: Vec<_> = rows().into_iter().filter(|row| row.operation == id).collect();
        let statuses = |caller: &str| -> Vec<u16> {
            let cells = rows.iter().flat_map(|row| &row.statuses);
            cells.filter(|(kind, _)| *kind == caller).map(|(_, status)| *status).collect()
        };
        let Some(least) = operation.least_role() else {
            for caller in ["nobody", "reader", "author", "editor", "admin"] {
                let refused = statuses(caller).into_iter().any(|status| matches!(status, 401 | 403));
                assert!(!refused, "{id} is for anybody, but not for {caller}");
            }
            let takes_tokens = operation.description["security"].as_array().unwrap().contains(&json!({"bearer": []}));
            assert_eq!(takes_tokens, statuses("expired").contains(&401), "{id} and its tokens");
            continue;
        };
        let least = ROLES.iter().position(|role| *role == least).unwrap_or_else(|| panic!("{id}: {least}"));
        assert!(statuses("nobody").iter().all(|status| *status == 401), "{id} is not for nobody");
        for (rank, role) in ROLES.iter().enumerate() {
            let statuses = statuses(role);
            if rank < least {
                assert!(statuses.iter().all(|status| *status == 403), "{id} is not for the role {role}");
            } else {
                let is_open = statuses.iter().any(|status| !matches!(status, 401 | 403));
                assert!(is_open, "{id} is for the role {role}");
            }
        }
        let refuses = rows.iter().flat_map(|row| &row.statuses).any(|(_, status)| *status == 403);
        let may_refuse = refuses || OWN_REFUSALS.contains(&id.as_str());
        assert_eq!(operation.documents(403), may_refuse, "{id} and 403");
    }
}

// What a caller may not see.

/// All of an answer but what is of its own request, or its connection, alone.
fn likeness(answer: &Answer) -> (u16, BTreeSet<String>, Value) {
    const OWN: [&str; 3] = ["connection", "date", "x-request-id"];
    let headers = answer.headers.keys().filter(|name| !OWN.contains(&name.as_str()));
    let headers = headers.map(|name| format!("{name}: {:?}", answer.headers.get_all(name).iter().collect::<Vec<_>>()));
    let mut body = if answer.body.is_empty() { Value::Null } else { answer.json() };
    for own in ["instance", "request_id"] {
        body.as_object_mut().and_then(|body| body.remove(own));
    }
    (answer.status, headers.collect(), body)
}

/// Conditions that hold for a post at its first version, that don't, and that cannot be read.
fn conditions(id: &str) -> Vec<(&'static str, String)> {
    let (past, future) = ("Mon, 01 Jan 2001 00:00:00 GMT", "Fri, 01 Jan 2100 00:00:00 GMT");
    vec![
        ("If-Match", format!("\"{id}.1\"")),
        ("If-Match", format!("\"{id}.2\"")),
        ("If-Match", "*".to_owned()),
        ("If-Match", "malformed".to_owned()),
        ("If-None-Match", format!("\"{id}.1\"")),
        ("If-None-Match", format!("W/\"{id}.1\"")),
        ("If-None-Match", "*".to_owned()),
        ("If-Modified-Since", future.to_owned()),
        ("If-Unmodified-Since", past.to_owned()),
    ]
}

/// Bodies that change a post, that break its rules, that cannot be applied to it, and that are none.
fn bodies(method: &str) -> Vec<(&'static str, &'static str)> {
    const JSON: &str = "application/json";
    const JSON_PATCH: &str = "application/json-patch+json";
    let both = [
        (JSON, r#"{"title": "Hello again"}"#),
        (JSON, r#"{"title": "Hello"}"#),
        (JSON, r#"{"title": 7, "version": 99, "colour": "blue"}"#),
        (JSON, "[]"),
        (JSON, "malformed"),
        (JSON, ""),
        ("text/plain", "malformed"),
    ];
    let patches = [
        (JSON_PATCH, r#"[{"op": "replace", "path": "/title", "value": "Hello again"}]"#),
        (JSON_PATCH, r#"[{"op": "test", "path": "/version", "value": 1}]"#),
        (JSON_PATCH, r#"[{"op": "test", "path": "/version", "value": 99}]"#),
        (JSON_PATCH, r#"[{"op": "remove", "path": "/colour"}]"#),
        (JSON_PATCH, "malformed"),
    ];
    match method {
        "PUT" => both.to_vec(),
        "PATCH" => [both.as_slice(), &patches].concat(),
        _ => Vec::new(),
    }
}

/// Every way to ask for one post, and whether it can be understood.
fn questions(api: &Api, id: &str) -> Vec<(String, Request, bool)> {
    let path = format!("/posts/{id}");
    let mut questions = Vec::new();
    for method in ["GET", "HEAD", "PUT", "PATCH", "DELETE"] {
        let plain = || match bodies(method).first() {
            Some((media_type, body)) => api.request(method, &path).body(media_type, *body),
            None => api.request(method, &path),
        };
        questions.push((method.to_owned(), plain(), true));
        for (index, (name, value)) in conditions(id).into_iter().enumerate() {
            let question = format!("{method} with condition {index}");
            questions.push((question, plain().header(name, &value), value != "malformed"));
        }
        for (media_type, body) in bodies(method) {
            let request = api.request(method, &path).body(media_type, body);
            questions.push((format!("{method} {media_type} {body}"), request, !["", "malformed"].contains(&body)));
        }
    }
    questions
}

/// Whatever the caller asks about the hidden post, the answer is the one about no post at all.
async fn assert_hidden(api: &Api, caller: &str, write_status: u16) {
    let author = api.user(if caller == "nobody" { "reader" } else { caller });
    let sends = |request: Request| if caller == "nobody" { request.anonymous() } else { request.by(&author) };
    // Of one length, as the answers' is that name it.
    let (hidden, deleted, missing) = ("1", "2", "9");
    let hidden = questions(api, hidden).into_iter();
    let others = questions(api, deleted).into_iter().zip(questions(api, missing));
    for ((question, hidden, is_understood), ((_, deleted, _), (_, missing, _))) in hidden.zip(others) {
        let place = format!("{question} by {caller}");
        let hidden = likeness(&sends(hidden).await);
        assert_eq!(hidden, likeness(&sends(deleted).await), "{place}, as of what was deleted");
        assert_eq!(hidden, likeness(&sends(missing).await), "{place}, as of what never was");
        let is_read = question.starts_with("GET") || question.starts_with("HEAD");
        match if is_read { 404 } else { write_status } {
            404 if !is_understood => assert!(matches!(hidden.0, 400 | 415), "{place}: {hidden:?}"),
            status => assert_eq!(hidden.0, status, "{place}: {hidden:?}"),
        }
    }
}

#[rstest]
#[tokio::test]
async fn what_a_caller_may_not_see_is_as_if_it_did_not_exist(
    #[values(Sqlite, Postgres)] database: Database,
    #[values(false, true)] require_if_match: bool,
) {
    let api = start!(database);
    let hidden = api.create(json!({"title": "Hello", "published": false})).await;
    api.create(json!({"title": "Hello", "published": false})).await;
    assert_eq!(api.delete("/posts/2").await.status, 204);
    if require_if_match {
        // What a server says of conditions that are missing, it says whatever there is.
        let strict = api.another(|config| config.require_if_match = true);
        let author = api.user("author");
        for id in [1, 9] {
            let answer = strict.delete(&format!("/posts/{id}")).by(&author).await;
            assert_eq!(answer.status, 428);
            let answer = strict.delete(&format!("/posts/{id}")).by(&author).header("If-Match", "*").await;
            assert_eq!(answer.status, 404);
        }
    } else {
        assert_hidden(&api, "nobody", 401).await;
        assert_hidden(&api, "reader", 403).await;
        assert_hidden(&api, "author", 404).await;
    }
    assert_eq!(api.get("/posts/1").await.json(), hidden);
}

#[rstest]
#[tokio::test]
async fn a_list_has_what_its_caller_may_see(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let [reader, author, other, editor] = ["reader", "author", "author", "editor"].map(|role| api.user(role));
    // Each has a published post and one that is not: 1 and 2 the author's, 3 and 4 the other's, and so on.
    for owner in [&author, &other, &reader, &api.root] {
        for published in [true, false] {
            let post = api.create(json!({"title": "Hello", "published": published})).await;
            let give = format!("UPDATE posts SET owner_id = {} WHERE id = {}", owner.id, post["id"]);
            api.database.execute(&give).unwrap();
        }
    }
    let [reader_key, author_key] =
        [create_key(&api, &author, "reader").await, create_key(&api, &author, "author").await];
    let all = vec![8, 7, 6, 5, 4, 3, 2, 1];
    for (caller, credential, expected) in [
        ("nobody", None, vec![7, 5, 3, 1]),
        ("reader", Some(&reader.token), vec![7, 5, 3, 1]),
        ("author", Some(&author.token), vec![7, 5, 3, 2, 1]),
        ("other", Some(&other.token), vec![7, 5, 4, 3, 1]),
        ("reader key of the author", Some(&reader_key), vec![7, 5, 3, 1]),
        ("author key of the author", Some(&author_key), vec![7, 5, 3, 2, 1]),
        ("editor", Some(&editor.token), all.clone()),
        ("root", Some(&api.root.token), all.clone()),
    ] {
        let sends = |method: &str, path: &str| match credential {
            Some(credential) => api.request(method, path).bearing(credential),
            None => api.request(method, path).anonymous(),
        };
        let list = sends("GET", "/posts").await;
        let items = list.json()["items"].as_array().cloned().unwrap();
        let ids: Vec<_> = items.iter().map(|post| post["id"].as_i64().unwrap()).collect();
        assert_eq!(ids, expected, "{caller}");
        let head = sends("HEAD", "/posts").await;
        assert_eq!(likeness(&head).1, likeness(&list).1, "{caller}");
        assert_eq!(head.header("content-length"), list.body.len().to_string(), "{caller}");
        // A page is filled with what the caller may see.
        let page = sends("GET", "/posts?limit=4").await.json()["items"].as_array().unwrap().len();
        assert_eq!(page, 4, "{caller}");
        // One by one, it is the same.
        for id in 1..=8 {
            let expected = if expected.contains(&id) { 200 } else { 404 };
            assert_eq!(sends("GET", &format!("/posts/{id}")).await.status, expected, "{id} by {caller}");
        }
    }
}

// What a caller may do is what the caller may do now.

/// Changes a user as the root does.
async fn change(api: &Api, user: &User, change: Value) {
    let answer = api.patch(&format!("/users/{}", user.id), change).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// An author with an author's key, and a post of theirs that is not published.
struct Subject {
    user: User,
    credentials: [String; 2],
    post: String,
}

impl Subject {
    async fn create(api: &Api) -> Self {
        let user = api.user("author");
        let credentials = [user.token.clone(), create_key(api, &user, "author").await];
        let answer = api.post("/posts", json!({"title": "Hello", "published": false})).by(&user).await;
        Self { user, credentials, post: answer.header("location").to_owned() }
    }

    /// Asserts what `/auth/me` and each way of writing answer to the token and to the key, on both servers.
    async fn gets(&self, servers: [&Api; 2], roles: [&str; 2], writes: [u16; 4]) {
        for (credential, role) in self.credentials.iter().zip(roles) {
            for server in servers {
                let me = server.get("/auth/me").bearing(credential).await;
                assert_eq!((me.status, me.json()["role"].as_str()), (200, Some(role)));
                let statuses = self.write(server, credential).await;
                assert_eq!(statuses, writes, "{role}");
            }
        }
    }

    /// Creates a post and deletes it again, replaces its own and changes it: what each is answered.
    async fn write(&self, server: &Api, credential: &str) -> [u16; 4] {
        let body = json!({"title": "Hello", "published": false});
        let created = server.post("/posts", &body).bearing(credential).await;
        let created_at = if created.status == 201 { created.header("location") } else { &self.post };
        let deleted = server.delete(created_at).bearing(credential).await;
        let replaced = server.put(&self.post, &body).bearing(credential).await;
        let changed = server.patch(&self.post, &body).bearing(credential).await;
        [created, deleted, replaced, changed].map(|answer| answer.status)
    }

    /// Whether the token and the key are refused on both servers, also where nobody needs one.
    async fn is_refused(&self, servers: [&Api; 2]) {
        for credential in &self.credentials {
            for server in servers {
                for path in ["/auth/me", "/posts", "/posts/1", &self.post, "/api-keys", "/users"] {
                    let answer = server.get(path).bearing(credential).await;
                    assert_eq!(answer.status, 401, "{path}");
                    assert_eq!(answer.header("www-authenticate"), "Bearer error=\"invalid_token\"", "{path}");
                }
                assert_eq!(self.write(server, credential).await, [401; 4]);
            }
        }
    }
}

const WRITTEN: [u16; 4] = [201, 204, 200, 200];

#[rstest]
#[tokio::test]
async fn a_change_of_role_counts_at_once_for_tokens_and_keys_on_every_server(
    #[values(Sqlite, Postgres)] database: Database,
) {
    let api = start!(database);
    let other = api.another(|_| {});
    let servers = [&api, &other];
    let subject = Subject::create(&api).await;
    subject.gets(servers, ["author", "author"], WRITTEN).await;

    // Lowered: no more writing, not even what is one's own, and no more seeing it.
    change(&api, &subject.user, json!({"role": "reader"})).await;
    subject.gets(servers, ["reader", "reader"], [403; 4]).await;
    for credential in &subject.credentials {
        for server in servers {
            assert_eq!(server.get(&subject.post).bearing(credential).await.status, 404);
            assert_eq!(server.get("/posts").bearing(credential).await.json()["items"], json!([]));
        }
    }

    // Raised again, by another server: they rise again.
    change(&other, &subject.user, json!({"role": "author"})).await;
    subject.gets(servers, ["author", "author"], WRITTEN).await;

    // Raised above the key's role: the key stays what it is.
    change(&api, &subject.user, json!({"role": "admin"})).await;
    subject.gets(servers, ["admin", "author"], WRITTEN).await;
    let [token, key] = &subject.credentials;
    assert_eq!(other.get("/users").bearing(token).await.status, 200);
    assert_eq!(other.get("/users").bearing(key).await.status, 403);
}

#[rstest]
#[tokio::test]
async fn a_disabled_user_is_refused_at_once_on_every_server_until_enabled_again(
    #[values(Sqlite, Postgres)] database: Database,
) {
    let api = start!(database);
    let other = api.another(|_| {});
    let servers = [&api, &other];
    let subject = Subject::create(&api).await;

    change(&api, &subject.user, json!({"disabled": true})).await;
    subject.is_refused(servers).await;
    change(&other, &subject.user, json!({"disabled": false})).await;
    subject.gets(servers, ["author", "author"], WRITTEN).await;
}

#[rstest]
#[tokio::test]
async fn a_deleted_user_is_refused_at_once_on_every_server(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let other = api.another(|_| {});
    let subject = Subject::create(&api).await;

    assert_eq!(api.delete(&format!("/users/{}", subject.user.id)).await.status, 204);
    subject.is_refused([&api, &other]).await;

    // What was theirs and nobody else's to see is now an editor's alone, also when others come.
    assert_eq!(api.get(&subject.post).await.json()["owner_id"], json!(null));
    assert_eq!(other.get(&subject.post).by(&api.user("author")).await.status, 404);
    assert_eq!(other.get(&subject.post).by(&api.user("editor")).await.status, 200);
}

/// The user is still there when the request comes, and gone when it is carried out.
#[rstest]
#[tokio::test]
async fn a_user_who_is_deleted_at_the_same_moment_leaves_nothing_behind(
    #[values(Sqlite, Postgres)] database: Database,
) {
    let api = start!(database);
    let operations = Operation::all(&api.get("/openapi.json").await.json());
    for (operation, path, body) in [
        ("createPost", "/posts", json!({"title": "Hello"})),
        ("createApiKey", "/api-keys", json!({"name": "nightly import", "role": "author"})),
    ] {
        let author = api.user("author");
        let mut deletion = api.database.connect();
        deletion.batch_execute(if database == Sqlite { "BEGIN IMMEDIATE" } else { "BEGIN" }).unwrap();
        deletion.batch_execute(&format!("DELETE FROM users WHERE id = {}", author.id)).unwrap();
        let mut waiting = tokio::spawn(api.post(path, body).by(&author).into_future());
        let early = tokio::time::timeout(Duration::from_millis(300), &mut waiting).await;
        assert!(early.is_err(), "{operation} waits for the deletion");
        deletion.batch_execute("COMMIT").unwrap();
        let answer = waiting.await.unwrap();
        // 409; on a machine that was so slow that the request came after all, 401.
        assert!(matches!(answer.status, 401 | 409), "{operation}: {answer:?}");
        assert!(operations[operation].documents(answer.status), "{operation}");
    }
    assert_eq!(api.get("/posts").await.json()["items"], json!([]));
}

// What is refused first.

/// A request to each operation that is not for everybody, with each thing that could be wrong with it besides.
fn faulty_requests<'a>(
    api: &'a Api,
    operations: &'a BTreeMap<String, Operation>,
) -> impl Iterator<Item = (&'a str, String, Vec<(String, Request)>)> {
    operations.values().filter_map(move |operation| {
        let least = operation.least_role()?;
        let mut requests = Vec::new();
        for id in ["1", "999", "0", "abc"] {
            let path = operation.path.replace("{id}", id);
            let request = || api.request(&operation.method, &path);
            let tag = |name: &str, value: &str| request().header(name, value);
            requests.extend(
                [
                    ("and nothing else", request()),
                    ("and malformed JSON", request().body("application/json", "{")),
                    ("and a body that breaks every rule", request().json(&json!({"colour": "blue", "role": 7}))),
                    ("and another media type", request().body("text/plain", "Hello")),
                    ("and a content coding", request().json(&json!({})).header("Content-Encoding", "gzip")),
                    ("and a stale tag", tag("If-Match", "\"1.99\"")),
                    ("and a malformed tag", tag("If-Match", "1.1")),
                    ("and a current tag", tag("If-None-Match", "*")),
                ]
                .map(|(fault, request)| (format!("{} {path} {fault}", operation.method), request)),
            );
            let unknown = api.request(&operation.method, &format!("{path}?colour=blue&limit=0"));
            requests.push((format!("{} {path}?colour=blue", operation.method), unknown));
        }
        Some((least, operation.path.clone(), requests))
    })
}

#[rstest]
#[tokio::test]
async fn who_may_not_call_hears_of_that_before_anything_else(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    api.create(json!({"title": "Hello"})).await;
    let operations = Operation::all(&api.get("/openapi.json").await.json());
    let users = BTreeMap::from(["reader", "author", "editor"].map(|role| (role, api.user(role))));
    for caller in ["nobody", "reader", "author", "editor"] {
        let status = if caller == "nobody" { 401 } else { 403 };
        let mut first = BTreeMap::<_, Value>::new();
        for (least, path, requests) in faulty_requests(&api, &operations) {
            let is_for_caller = match caller {
                "reader" => least == "reader",
                "author" | "editor" => least != "admin",
                _ => false,
            };
            if is_for_caller {
                continue;
            }
            for (place, request) in requests {
                let request = match users.get(caller) {
                    Some(user) => request.by(user),
                    None => request.anonymous(),
                };
                let answer = request.await;
                assert_eq!(answer.status, status, "{place} by {caller}: {answer:?}");
                // It is one and the same answer, whatever else is wrong.
                let (_, _, body) = likeness(&answer);
                let first = first.entry(path.clone()).or_insert_with(|| body.clone());
                assert_eq!(body, *first, "{place} by {caller}");
            }
        }
    }
}

#[rstest]
#[tokio::test]
async fn a_token_that_is_not_good_is_refused_where_none_is_needed(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    api.create(json!({"title": "Hello"})).await;
    let [author, disabled] = ["author", "author"].map(|role| api.user(role));
    change(&api, &disabled, json!({"disabled": true})).await;
    let good = &author.token;
    let bearer = |credential: &str| ("Authorization", format!("Bearer {credential}"));
    let mut bodies = BTreeSet::new();
    for path in ["/posts", "/posts/1", "/posts/999", "/posts/abc", "/posts?limit=0", "/posts/1?colour=blue"] {
        for method in ["GET", "HEAD"] {
            for (name, value) in [
                bearer("nonsense"),
                bearer(""),
                bearer(&expired_token(&author)),
                bearer(&disabled.token),
                bearer(&Token::of(999).sign()),
                bearer(&format!("{good}x")),
                bearer(&good[..good.len() - 1]),
                bearer(&format!("{good} {good}")),
                bearer(&format!("posts_00000000_{}", "0".repeat(64))),
                bearer("posts_"),
                ("Authorization", good.clone()),
                ("Authorization", "Basic YWRhOnBhc3N3b3Jk".to_owned()),
                ("Authorization", String::new()),
            ] {
                let request = api.request(method, path).anonymous().header(name, &value);
                let answer = request.header("If-None-Match", "\"1.1\"").await;
                assert_eq!(answer.status, 401, "{method} {path} with {value}");
                assert_eq!(answer.header("www-authenticate"), "Bearer error=\"invalid_token\"", "{value}");
                if method == "GET" {
                    bodies.insert(likeness(&answer).2.to_string());
                }
            }
        }
        // In the address it counts for nothing, however good it is.
        let separator = if path.contains('?') { '&' } else { '?' };
        let answer = api.get(&format!("{path}{separator}access_token={good}")).anonymous().await;
        assert_eq!(answer.status, 401, "{path}");
        bodies.insert(likeness(&answer).2.to_string());
        assert!(!answer.text().contains(good.as_str()), "{answer:?}");
    }
    assert_eq!(bodies.len(), 1, "what was wrong with the token is told to nobody: {bodies:#?}");
}

#[rstest]
#[tokio::test]
async fn the_body_of_an_upload_that_is_refused_is_not_waited_for(
    #[values(Sqlite, Postgres)] database: Database,
    #[values("Content-Length: 1000000", "Transfer-Encoding: chunked")] framing: &str,
) {
    let api = start!(database, |config| config.body.timeout = Duration::from_mins(10));
    let reader = api.user("reader");
    for (credential, status) in [
        (String::new(), 401),
        ("Authorization: Bearer nonsense\r\n".to_owned(), 401),
        (format!("Authorization: Bearer {}\r\n", reader.token), 403),
    ] {
        for (method, path) in [("POST", "/posts"), ("PUT", "/posts/1"), ("PATCH", "/posts/1"), ("POST", "/users")] {
            let mut connection = api.connect().await;
            let head = format!(
                "{method} {path} HTTP/1.1\r\nHost: posts\r\nContent-Type: application/json\r\n{credential}{framing}\r\n\r\n"
            );
            connection.send(head).await;
            let answer = tokio::time::timeout(Duration::from_secs(30), connection.answer(method, path)).await;
            let answer = answer.expect("an answer before the body");
            assert_eq!(answer.status, status, "{method} {path}");
        }
    }
}
