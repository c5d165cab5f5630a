//! Contract section 4: every failure, from whichever layer, is a problem from the table. The bodies are in
//! `snapshots/`, the same for both databases.

use std::collections::BTreeSet;
use std::time::Duration;

use actix_web::http::Method;
use actix_web::middleware::from_fn;
use actix_web::{App, HttpResponse, HttpServer};
use diesel::connection::SimpleConnection as _;
use posts_api::http::endpoint::Endpoint;
use posts_api::http::middleware::observe;
use posts_api::http::problem::Code;
use rstest::rstest;
use serde_json::json;

use crate::harness::{
    Answer, Api, Connection, Database, PASSWORD, Postgres, Request, Sqlite, client, eventually, start,
};

/// The table as the contract has it.
const CONTRACT: [(&str, u16); 23] = [
    ("malformed-json", 400),
    ("malformed-query", 400),
    ("malformed-header", 400),
    ("invalid-cursor", 400),
    ("unauthorized", 401),
    ("forbidden", 403),
    ("not-found", 404),
    ("method-not-allowed", 405),
    ("not-acceptable", 406),
    ("request-timeout", 408),
    ("conflict", 409),
    ("idempotency-in-progress", 409),
    ("precondition-failed", 412),
    ("content-too-large", 413),
    ("unsupported-media-type", 415),
    ("validation-failed", 422),
    ("idempotency-key-reused", 422),
    ("precondition-required", 428),
    ("too-many-requests", 429),
    ("header-fields-too-large", 431),
    ("internal", 500),
    ("unavailable", 503),
    ("insufficient-storage", 507),
];

/// Holds an answer's whole body to the snapshot with this name, which begins with the problem's code.
fn assert_snapshot(name: &str, answer: &Answer) {
    let mut problem = answer.json();
    let code = problem["type"].as_str().unwrap().trim_start_matches("/problems/");
    assert!(name.starts_with(code), "{answer:?}");
    problem["request_id"] = "(an id)".into();
    insta::assert_json_snapshot!(name, problem);
}

/// Else an answer would be ten times as large as what was sent, to anybody.
#[tokio::test]
async fn no_more_than_a_hundred_unknown_fields_are_named() {
    let api = start!(Sqlite);
    for path in ["/auth/login", "/posts"] {
        let mut body: serde_json::Map<_, _> = (0..5_000).map(|number| (number.to_string(), json!(0))).collect();
        body.insert("title".to_owned(), json!(7));
        let problem = api.post(path, &body).await.problem("validation-failed");
        let faults = problem["errors"].as_array().unwrap();
        let unknown = faults.iter().filter(|fault| fault["code"] == "unknown_field").count();
        assert_eq!(unknown, 100);
        if path == "/posts" {
            assert!(faults.iter().any(|fault| fault["code"] == "wrong_type"));
        }
    }
}

/// Asserts that an answer holds nothing of the server's inside.
fn assert_discreet(api: &Api, answer: &Answer) {
    let mut problem = answer.json();
    // The path is the caller's own.
    problem["instance"] = "".into();
    let body = problem.to_string().to_lowercase();
    let address = api.database.address().to_lowercase();
    let inside = ["select", "insert", "sql", "diesel", "postgres", "column", "headline", "relation", "table", "panic"];
    for word in inside.into_iter().chain(["r2d2", "libpq", ".rs", ".db", "/tmp", "lock", &address]) {
        assert!(!body.contains(word), "{word}: {answer:?}");
    }
}

/// What a head with this body's length looks like, for a request that is sent byte by byte.
fn head(method: &str, path: &str, more: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{more}\r\n\r\n")
}

#[test]
fn the_table_has_the_contracts_codes_and_statuses_each_once() {
    let table: Vec<_> = Code::ALL.iter().map(|code| (code.as_str(), code.status().as_u16())).collect();
    assert_eq!(table, CONTRACT);
    let titles: BTreeSet<_> = Code::ALL.iter().map(|code| code.title()).collect();
    assert_eq!(titles.len(), Code::ALL.len(), "a title that two codes share");
}

#[rstest]
#[tokio::test]
async fn every_code_has_a_page_and_nothing_else_has(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    for (code, status) in CONTRACT {
        let page = api.get(&format!("/problems/{code}")).header("Accept", "text/html").await;
        assert_eq!(page.status, 200, "{code}");
        assert_eq!(page.header("content-type"), "text/html; charset=utf-8", "{code}");
        assert!(page.text().contains(&format!("<code>{status} {code}</code>")), "{page:?}");
    }
    for code in Code::ALL {
        let page = api.get(&format!("/problems/{}", code.as_str())).await;
        assert!(page.text().contains(&format!("<h1>{}</h1>", code.title())), "{page:?}");
    }
    for other in ["unknown", "Not-Found", "not-found.md", "not-found/", "", "%FF", "..%2Finternal"] {
        let answer = api.get(&format!("/problems/{other}")).await;
        assert_eq!(answer.status, 404, "{other}");
        answer.problem("not-found");
    }
}

#[rstest]
#[tokio::test]
async fn malformed_json_a_body_that_is_no_json(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let answer = api.request("POST", "/posts").body("application/json", "{\"title\": ").await;
    assert_snapshot("malformed-json", &answer);
    let answer = api.request("POST", "/posts").body("application/json", "").await;
    assert_snapshot("malformed-json-no-body", &answer);
}

#[rstest]
#[tokio::test]
async fn malformed_query_parameters_that_a_list_does_not_have(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let answer = api.get("/posts?limit=0&limit=2&colour=blue&%FF=1").await;
    assert_snapshot("malformed-query", &answer);
}

#[rstest]
#[tokio::test]
async fn malformed_header_a_tag_without_quotes(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    api.create(json!({"title": "Hello"})).await;
    let answer = api.delete("/posts/1").header("If-Match", "1.1").await;
    assert_snapshot("malformed-header", &answer);
    assert_eq!(api.get("/posts/1").await.status, 200);
}

/// Whatever is wrong with a token, the answer is the same.
#[rstest]
#[tokio::test]
async fn unauthorized_without_a_token_and_with_a_bad_one(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let missing = api.get("/users").anonymous().await;
    assert_eq!((missing.status, missing.header("www-authenticate")), (401, "Bearer"));
    assert_snapshot("unauthorized", &missing);
    let requests = [
        api.post("/posts", json!({"title": "Hello"})),
        api.put("/posts/1", json!({"title": "Hello"})),
        api.patch("/posts/1", json!({})),
        api.delete("/posts/1"),
        api.post("/users", json!({})),
        api.delete("/users/1"),
        api.post("/api-keys", json!({})),
        api.get("/auth/me"),
    ];
    for request in requests {
        let answer = request.anonymous().await;
        assert_eq!((answer.status, answer.header("www-authenticate")), (401, "Bearer"), "{answer:?}");
        answer.problem("unauthorized");
    }
    let elsewhere = format!("{}x", api.root.token);
    for token in ["no-token", "a.b.c", "posts_0a1b2c3d_unknown", &elsewhere] {
        let refused = api.get("/users").bearing(token).await;
        assert_eq!((refused.status, refused.header("www-authenticate")), (401, "Bearer error=\"invalid_token\""));
        assert_snapshot("unauthorized-invalid-token", &refused);
    }
    assert_eq!(api.get("/posts").await.json()["items"], json!([]));
}

#[rstest]
#[tokio::test]
async fn unauthorized_with_a_wrong_password(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let login =
        |email: &str| api.post("/auth/login", json!({"email": email, "password": "not the right one"})).anonymous();
    for email in [&api.root.email, "nobody@example.org"] {
        let answer = login(email).await;
        assert_eq!((answer.status, answer.header("www-authenticate")), (401, "Bearer"));
        assert_snapshot("unauthorized-wrong-password", &answer);
    }
}

#[rstest]
#[tokio::test]
async fn forbidden_for_those_with_a_lesser_role(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let post = api.create(json!({"title": "Hello"})).await;
    let [reader, author] = ["reader", "author"].map(|role| api.user(role));
    let answer = api.delete("/posts/1").by(&reader).await;
    assert_eq!(answer.status, 403);
    assert_snapshot("forbidden", &answer);
    assert_snapshot("forbidden-not-the-owner", &api.delete("/posts/1").by(&author).await);
    assert_snapshot("forbidden-setup", &set_up(&api).await);
    let wrong = json!({"current_password": "not the right one", "new_password": "five other words nobody expects"});
    assert_snapshot("forbidden-wrong-password", &api.put("/auth/password", wrong).by(&author).await);
    let key = json!({"name": "nightly import", "role": "editor"});
    assert_snapshot("forbidden-key", &api.post("/api-keys", key).by(&author).await);
    assert_eq!(api.get("/posts/1").await.json(), post);
}

/// Tries to become the first admin where there is one.
async fn set_up(api: &Api) -> Answer {
    let body = json!({"setup_token": "unknown", "email": "eve@example.org", "password": PASSWORD});
    api.post("/auth/setup", body).anonymous().await
}

#[rstest]
#[tokio::test]
async fn too_many_requests_after_too_many_that_failed(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let login = || {
        let body = json!({"email": api.root.email, "password": "not the right one"});
        api.post("/auth/login", body).anonymous()
    };
    let mut tries = 0;
    let refused = loop {
        let answer = login().await;
        if answer.status == 429 {
            break answer;
        }
        assert_eq!(answer.status, 401);
        tries += 1;
    };
    assert!((3..30).contains(&tries), "{tries}");
    let seconds = refused.header("retry-after");
    assert!((1..=60).contains(&seconds.parse::<u32>().unwrap()), "{seconds}");
    assert!(refused.json()["detail"].as_str().unwrap().contains(&format!(" {seconds} seconds")), "{refused:?}");
    let mut shown = refused.json();
    shown["request_id"] = "(an id)".into();
    shown["detail"] = shown["detail"].as_str().unwrap().replace(seconds, "(some)").into();
    insta::assert_json_snapshot!("too-many-requests", shown);
    assert_eq!(api.get("/auth/me").await.status, 200, "who is signed in goes on");
}

/// It is a URI reference (RFC 9457 §3.1.5), also where the path is none, or would be read as another server's name.
#[rstest]
#[tokio::test]
async fn the_instance_leads_to_this_server_whatever_the_path(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    for (path, instance) in [
        ("/posts/7", "/posts/7"),
        ("/posts/%C3%A9", "/posts/%C3%A9"),
        ("/posts/%", "/posts/%25"),
        ("/posts/%2", "/posts/%252"),
        ("/posts/{id}|\"", "/posts/%7Bid%7D%7C%22"),
        ("//elsewhere.example/posts", "/%2Felsewhere.example/posts"),
    ] {
        let mut connection = api.connect().await;
        connection.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
        assert_eq!(connection.answer("GET", path).await.problem("not-found")["instance"], instance);
    }
}

#[rstest]
#[tokio::test]
async fn not_found_whatever_the_method(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    assert_snapshot("not-found", &api.get("/posts/7").await);
    for path in [
        "/nothing",
        "/posts/",
        "/Posts",
        "//posts",
        "/posts//7",
        "/posts/7/",
        "/posts/7/8",
        "/health",
        "/auth",
        "/auth/",
        "/auth/login/",
        "/users/",
        "/users/7/posts",
        "/api-keys/",
        "/.well-known",
    ] {
        for method in ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "PROPFIND"] {
            assert_eq!(api.request(method, path).await.status, 404, "{method} {path}");
        }
    }
}

#[rstest]
#[tokio::test]
async fn method_not_allowed_with_the_exact_allow(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let answer = api.delete("/posts").await;
    assert_snapshot("method-not-allowed", &answer);
    for (path, allowed) in [
        ("/posts", "GET, HEAD, POST, OPTIONS"),
        ("/posts/1", "GET, HEAD, PUT, PATCH, DELETE, OPTIONS"),
        ("/users", "GET, HEAD, POST, OPTIONS"),
        ("/users/1", "GET, HEAD, PATCH, DELETE, OPTIONS"),
        ("/api-keys", "GET, HEAD, POST, OPTIONS"),
        ("/api-keys/1", "DELETE, OPTIONS"),
        ("/auth/login", "POST, OPTIONS"),
        ("/auth/refresh", "POST, OPTIONS"),
        ("/auth/logout", "POST, OPTIONS"),
        ("/auth/session", "POST, DELETE, OPTIONS"),
        ("/auth/session/refresh", "POST, OPTIONS"),
        ("/auth/setup", "GET, HEAD, POST, OPTIONS"),
        ("/auth/me", "GET, HEAD, OPTIONS"),
        ("/auth/password", "PUT, OPTIONS"),
        ("/.well-known/jwks.json", "GET, HEAD, OPTIONS"),
        ("/.well-known/api-catalog", "GET, HEAD, OPTIONS"),
        ("/problems/internal", "GET, HEAD, OPTIONS"),
    ] {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND", "get"] {
            if !allowed.split(", ").any(|name| name == method) {
                for request in [api.request(method, path), api.request(method, path).anonymous()] {
                    let answer = request.await;
                    assert_eq!((answer.status, answer.header("allow")), (405, allowed), "{method} {path}");
                }
            }
        }
    }
}

#[rstest]
#[tokio::test]
async fn not_acceptable_and_nothing_is_done(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    for (name, header, values) in [
        ("not-acceptable", "Accept", vec!["text/html", "application/json;q=0", "application/*;q=0, */*", "image/*"]),
        ("not-acceptable-coding", "Accept-Encoding", vec!["identity;q=0", "*;q=0", "identity;q=0, unknown"]),
    ] {
        for value in values {
            let answer = api.post("/posts", json!({"title": "Hello"})).header(header, value).await;
            assert_eq!(answer.status, 406, "{header}: {value}");
            assert_snapshot(name, &answer);
        }
    }
    assert_eq!(api.get("/posts").await.json()["items"], json!([]));
}

#[rstest]
#[tokio::test]
async fn request_timeout_a_body_that_never_ends(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database, |config| config.body.timeout = Duration::from_millis(100));
    for framing in ["Content-Length: 100", "Transfer-Encoding: chunked"] {
        let mut connection = api.connect().await;
        connection.send(head("POST", "/posts", &(api.authorization() + framing))).await;
        let answer = connection.answer("POST", "/posts").await;
        assert_eq!(answer.status, 408);
        assert_snapshot("request-timeout", &answer);
    }
}

/// The rest of the request may come at any time or never: nobody should wait for it.
#[rstest]
#[case::declared("Content-Length: 100")]
#[case::chunked("Transfer-Encoding: chunked")]
#[tokio::test]
async fn request_timeout_ends_the_connection(#[values(Sqlite, Postgres)] database: Database, #[case] framing: &str) {
    let api = start!(database, |config| config.body.timeout = Duration::from_millis(100));
    let mut connection = api.connect().await;
    connection.send(head("POST", "/posts", &(api.authorization() + framing))).await;
    let answer = connection.answer("POST", "/posts").await;
    assert_eq!((answer.status, answer.header("connection")), (408, "close"));
    connection.closes().await;
}

#[rstest]
#[tokio::test]
async fn conflict_a_json_patch_whose_test_fails(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let post = api.create(json!({"title": "Hello"})).await;
    let patch = json!([
        {"op": "replace", "path": "/title", "value": "Bye"},
        {"op": "test", "path": "/version", "value": 2},
    ]);
    let answer = api.json_patch("/posts/1", patch).await;
    assert_snapshot("conflict", &answer);
    assert_eq!(api.get("/posts/1").await.json(), post);
}

#[rstest]
#[tokio::test]
async fn precondition_failed_a_stale_tag(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    api.create(json!({"title": "Hello"})).await;
    let answer = api.patch("/posts/1", json!({"title": "Bye"})).header("If-Match", "\"1.7\"").await;
    assert_snapshot("precondition-failed", &answer);
    assert_eq!(answer.header("etag"), "\"1.1\"");
}

#[rstest]
#[tokio::test]
async fn content_too_large_declared_or_not(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database, |config| config.body.size = 1024);
    let body = |length: usize| json!({"title": "Hello", "content": "x".repeat(length)}).to_string();
    let overhead = body(0).len();
    let fits = api.request("POST", "/posts").body("application/json", body(1024 - overhead)).await;
    assert_eq!(fits.status, 201);

    let too_large = body(1025 - overhead);
    let declared = api.request("POST", "/posts").body("application/json", too_large.clone()).await;
    assert_eq!(declared.status, 413);
    assert_snapshot("content-too-large", &declared);

    let mut connection = api.connect().await;
    connection.send(head("POST", "/posts", &(api.authorization() + "Transfer-Encoding: chunked"))).await;
    connection.send(format!("{:x}\r\n{too_large}\r\n0\r\n\r\n", too_large.len())).await;
    let chunked = connection.answer("POST", "/posts").await;
    assert_eq!(chunked.status, 413);
    assert_snapshot("content-too-large", &chunked);
}

#[rstest]
#[tokio::test]
async fn unsupported_media_type_or_coding(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let body = json!({"title": "Hello"}).to_string();
    let post = || api.request("POST", "/posts");
    for media_type in ["text/plain", "application/merge-patch+json", "application/json; charset=latin1", "nonsense"] {
        let answer = post().body(media_type, body.clone()).await;
        assert_eq!(answer.status, 415, "{media_type}");
        assert_snapshot("unsupported-media-type", &answer);
    }
    assert_snapshot("unsupported-media-type-missing", &post().untyped_body(body.clone()).await);
    let coded = post().body("application/json", body.clone()).header("Content-Encoding", "gzip").await;
    assert_snapshot("unsupported-media-type-coding", &coded);
}

#[rstest]
#[tokio::test]
async fn unsupported_media_type_on_patch_says_what_it_reads(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    api.create(json!({"title": "Hello"})).await;
    let answer = api.request("PATCH", "/posts/1").body("text/plain", "{}").await;
    assert_snapshot("unsupported-media-type-patch", &answer);
    let options = api.request("OPTIONS", "/posts/1").await;
    let media_types = "application/merge-patch+json, application/json-patch+json, application/json";
    assert_eq!(options.header("accept-patch"), media_types);
    assert_eq!(answer.header("accept-patch"), media_types);
}

#[rstest]
#[tokio::test]
async fn validation_failed_with_every_fault(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let post = json!({"title": " ", "author": "", "content": 7, "published": null, "id": 1, "a/b~c": 1});
    assert_snapshot("validation-failed", &api.post("/posts", post).await);
    assert_snapshot("validation-failed-no-object", &api.post("/posts", json!(["title"])).await);
}

#[rstest]
#[tokio::test]
async fn precondition_required_where_the_server_says_so(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database, |config| config.require_if_match = true);
    api.create(json!({"title": "Hello"})).await;
    assert_snapshot("precondition-required", &api.delete("/posts/1").await);
}

#[rstest]
#[tokio::test]
async fn header_fields_too_large(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let fits = api.get("/posts").header("X-Padding", "x".repeat(30 << 10)).await;
    assert_eq!(fits.status, 200);
    let one = api.get("/posts").header("X-Padding", "x".repeat(33 << 10)).await;
    assert_snapshot("header-fields-too-large", &one);
    let many = (0..66)
        .fold(api.get("/posts"), |request, number| request.header(&format!("X-Padding-{number}"), "x".repeat(500)));
    assert_snapshot("header-fields-too-large", &many.await);
}

#[rstest]
#[tokio::test]
async fn internal_a_query_that_cannot_work(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    api.create(json!({"title": "Hello"})).await;
    api.database.execute("ALTER TABLE posts RENAME COLUMN title TO headline").unwrap();
    assert_snapshot("internal", &api.get("/posts/1").await);
    let change = json!({"title": "Bye"});
    let requests = [
        api.get("/posts"),
        api.post("/posts", &change),
        api.put("/posts/1", &change),
        api.patch("/posts/1", &change),
        api.delete("/posts/1"),
    ];
    for request in requests {
        let answer = request.await;
        assert_eq!(answer.status, 500);
        answer.problem("internal");
        assert_discreet(&api, &answer);
    }
    api.database.execute("ALTER TABLE posts RENAME COLUMN headline TO title").unwrap();
    assert_eq!(api.get("/posts/1").await.status, 200);
}

/// Who is calling cannot be found out: that is no reason to take the caller for nobody.
#[rstest]
#[tokio::test]
async fn internal_a_caller_who_cannot_be_looked_up(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    api.create(json!({"title": "Hello"})).await;
    let key = api.post("/api-keys", json!({"name": "nightly import", "role": "reader"})).await.json();
    api.database.execute("ALTER TABLE users RENAME COLUMN role TO headline").unwrap();
    let login = json!({"email": api.root.email, "password": PASSWORD});
    let requests = [
        api.get("/posts"),
        api.get("/posts/1"),
        api.get("/posts/1").bearing(key["key"].as_str().unwrap()),
        api.post("/posts", json!({"title": "Hello"})),
        api.get("/users"),
        api.get("/auth/me"),
        api.post("/auth/login", login).anonymous(),
    ];
    for request in requests {
        let answer = request.await;
        assert_eq!(answer.status, 500, "{answer:?}");
        answer.problem("internal");
        assert_discreet(&api, &answer);
    }
    assert_eq!(api.get("/posts/1").anonymous().await.status, 200, "for this nobody is looked up");
    api.database.execute("ALTER TABLE users RENAME COLUMN headline TO role").unwrap();
    assert_eq!(api.get("/users").await.status, 200);
}

#[rstest]
#[tokio::test]
async fn unavailable_while_another_holds_the_lock(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database, |config| config.database.timeout = Duration::from_millis(300));
    let mut other = api.database.connect();
    other
        .batch_execute(match database {
            Sqlite => "BEGIN IMMEDIATE",
            Postgres => "BEGIN; LOCK TABLE posts IN ACCESS EXCLUSIVE MODE",
        })
        .unwrap();
    let answer = api.post("/posts", json!({"title": "Hello"})).await;
    assert_eq!(answer.status, 503);
    assert_snapshot("unavailable", &answer);
    assert_discreet(&api, &answer);
    // SQLite's one writing connection still waits for the lock: this one waits for that.
    let next = api.post("/posts", json!({"title": "Hello"})).await;
    next.problem("unavailable");
    assert_discreet(&api, &next);

    other.batch_execute("ROLLBACK").unwrap();
    eventually("a write after the lock", || async {
        api.post("/posts", json!({"title": "Hello"})).await.status == 201
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn unavailable_while_a_migration_is_missing(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    assert_eq!(api.get("/health/ready").await.status, 200);
    api.database.execute("DELETE FROM __diesel_schema_migrations").unwrap();
    let answer = api.get("/health/ready").await;
    assert_eq!(answer.status, 503);
    assert_snapshot("unavailable-not-ready", &answer);
    assert_discreet(&api, &answer);
    assert_eq!(api.get("/health/live").await.status, 200);
}

/// No disk is full here. SQLite says so, too, when a table has used its last row id; PostgreSQL is made to say it.
#[rstest]
#[tokio::test]
async fn insufficient_storage_when_the_database_is_full(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    api.database
        .execute(match database {
            Sqlite => "INSERT INTO sqlite_sequence (name, seq) VALUES ('posts', 9223372036854775807)",
            Postgres => {
                "CREATE FUNCTION fill() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
                     RAISE 'could not extend file \"base/1/2\": No space left on device' USING ERRCODE = 'disk_full'; \
                 END $$; \
                 CREATE TRIGGER fill BEFORE INSERT ON posts FOR EACH ROW EXECUTE FUNCTION fill()"
            }
        })
        .unwrap();
    let answer = api.post("/posts", json!({"title": "Hello"})).await;
    assert_eq!(answer.status, 507);
    assert_snapshot("insufficient-storage", &answer);
    assert_discreet(&api, &answer);
    assert_eq!(api.get("/posts").await.json()["items"], json!([]));
}

async fn panics() -> HttpResponse {
    panic!("a secret")
}

async fn works() -> HttpResponse {
    HttpResponse::Ok().json("well")
}

/// No route of the service panics, so this is a server of its own with one that does.
#[tokio::test]
async fn internal_a_panic_fails_its_own_request_and_no_other() {
    let server = HttpServer::new(|| {
        App::new()
            .service(Endpoint::api("/panics").on(Method::GET, panics))
            .service(Endpoint::page("/docs/works").on(Method::GET, works))
            .wrap(from_fn(observe))
    });
    let server = server.workers(1).disable_signals().bind(("127.0.0.1", 0)).unwrap();
    let address = server.addrs()[0];
    let server = server.run();
    let handle = server.handle();
    let serving = tokio::spawn(server);

    let get = |path: &str| Request::new(client().get(format!("http://{address}{path}")));
    for _ in 0..3 {
        let answer = get("/panics").await;
        assert_eq!(answer.status, 500);
        assert_snapshot("internal-panic", &answer);
        assert_eq!(get("/docs/works").await.text(), "\"well\"");
    }
    let mut connection = Connection::open(address).await;
    for (path, status) in [("/panics", 500), ("/docs/works", 200), ("/panics", 500), ("/docs/works", 200)] {
        connection.send(head("GET", path, "Accept: */*")).await;
        assert_eq!(connection.answer("GET", path).await.status, status);
    }
    handle.stop(true).await;
    serving.await.unwrap().unwrap();
}
