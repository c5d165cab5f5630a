//! Contract section 8: what every answer carries, content codings, CORS, and connections that live on.

use std::time::{Duration, Instant};

use rstest::rstest;
use serde_json::json;

use crate::harness::{Answer, Api, Database, PASSWORD, Postgres, Sqlite, start};

const CODINGS: [&str; 3] = ["gzip", "br", "zstd"];
const ORIGIN: &str = "https://app.example";

/// The names in a header that is a list, in lower case.
fn names(answer: &Answer, header: &str) -> Vec<String> {
    let lines = answer.headers.get_all(header).iter().map(|line| line.to_str().unwrap());
    let mut names: Vec<_> = lines.flat_map(|line| line.split(',')).map(|name| name.trim().to_lowercase()).collect();
    names.sort();
    names
}

/// The address of the admin page's script, as the page says.
async fn admin_script(api: &Api) -> String {
    let page = api.get("/admin").anonymous().await;
    let (_, script) = page.text().split_once("src=\"./").unwrap();
    format!("/{}", script.split('"').next().unwrap())
}

/// A server with post 1, published, and an answer of every kind: what it is, its status, and it.
async fn every_kind(api: &Api) -> Vec<(&'static str, u16, Answer)> {
    let created = api.post("/posts", json!({"title": "Hello"})).await;
    let tag = created.header("etag").to_owned();
    let user = json!({"email": "ada@example.org", "password": PASSWORD, "role": "author"});
    let login = || api.request("POST", "/auth/login").anonymous();
    let wrong = json!({"email": "nobody@example.org", "password": "a"});
    for _ in 0..5 {
        assert_eq!(login().json(&wrong).await.status, 401);
    }
    vec![
        ("limited", 429, login().json(&wrong).await),
        ("no token", 401, api.get("/users").anonymous().await),
        ("bad token", 401, api.get("/posts").bearing("no-token").await),
        ("another's right", 403, api.get("/users").by(&api.user("editor")).await),
        ("two tokens", 400, api.get("/posts").another_header("Authorization", "Bearer x").await),
        ("user created", 201, api.post("/users", user).await),
        ("signed in", 200, login().json(&json!({"email": "ada@example.org", "password": PASSWORD})).await),
        ("me", 200, api.get("/auth/me").await),
        ("public keys", 200, api.get("/.well-known/jwks.json").anonymous().await),
        ("created", 201, created),
        ("read", 200, api.get("/posts/1").await),
        ("HEAD", 200, api.request("HEAD", "/posts/1").await),
        ("list", 200, api.get("/posts").await),
        ("not modified", 304, api.get("/posts/1").header("If-None-Match", &tag).await),
        ("changed", 200, api.patch("/posts/1", json!({"title": "Bye"})).await),
        ("OPTIONS", 204, api.request("OPTIONS", "/posts/1").await),
        ("bad query", 400, api.get("/posts?x=1").await),
        ("bad body", 422, api.post("/posts", json!({})).await),
        ("other method", 405, api.delete("/posts").await),
        ("not acceptable", 406, api.get("/posts").header("Accept", "image/png").await),
        ("no coding", 406, api.get("/posts").header("Accept-Encoding", "identity;q=0").await),
        ("stale", 412, api.delete("/posts/1").header("If-Match", &tag).await),
        ("large head", 431, api.get("/posts").header("X-Padding", "x".repeat(33 << 10)).await),
        ("deleted", 204, api.delete("/posts/1").await),
        ("gone", 404, api.get("/posts/1").await),
        ("nothing", 404, api.get("/nothing").await),
        ("links", 200, api.get("/").await),
        ("redirect", 302, api.get("/").header("Accept", "text/html").await),
        ("admin", 200, api.get("/admin").await),
        ("admin's script", 200, api.get(&admin_script(api).await).await),
        ("console", 200, api.get("/docs").await),
        ("script", 200, api.get("/docs/swagger-ui-bundle.js").await),
        ("problem", 200, api.get("/problems/not-found").await),
        ("document", 200, api.get("/openapi.json").await),
        ("health", 200, api.get("/health/ready").await),
        ("metrics", 200, api.get("/metrics").await),
    ]
}

#[rstest]
#[tokio::test]
async fn every_kind_of_answer_has_the_security_headers_once(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    for (kind, status, answer) in every_kind(&api).await {
        assert_eq!(answer.status, status, "{kind}: {answer:?}");
        for name in [
            "x-request-id",
            "x-content-type-options",
            "referrer-policy",
            "content-security-policy",
            "cache-control",
            "vary",
        ] {
            assert_eq!(answer.headers.get_all(name).iter().count(), 1, "{kind}: {name}");
        }
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{kind}");
        assert_eq!(answer.header("referrer-policy"), "no-referrer", "{kind}");
        let policy = answer.header("content-security-policy");
        if ["admin", "console", "problem"].contains(&kind) {
            assert!(policy.starts_with("default-src 'none'; "), "{kind}: {policy}");
            assert!(policy.ends_with("; frame-ancestors 'none'"), "{kind}: {policy}");
        } else {
            assert_eq!(policy, "default-src 'none'; frame-ancestors 'none'", "{kind}");
        }
        if [204, 304].contains(&status) {
            assert!(answer.body.is_empty(), "{kind}");
            assert!(!answer.headers.contains_key("content-type"), "{kind}: {answer:?}");
        }
    }
}

#[rstest]
#[tokio::test]
async fn vary_names_what_an_answer_depends_on_each_once(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database, |config| config.cors_origins = vec![ORIGIN.to_owned()]);
    for (kind, _, answer) in every_kind(&api).await {
        let names = names(&answer, "vary");
        let mut each_once = names.clone();
        each_once.dedup();
        assert_eq!(names, each_once, "{kind}");
        assert!(names.contains(&"accept-encoding".to_owned()), "{kind}: {names:?}");
    }
    for accept in ["text/html", "*/*"] {
        assert!(names(&api.get("/").header("Accept", accept).await, "vary").contains(&"accept".to_owned()));
    }
}

#[rstest]
#[tokio::test]
async fn only_what_everybody_may_see_is_kept_by_caches(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let published = api.post("/posts", json!({"title": "Hello"})).await;
    assert_eq!(published.header("cache-control"), "no-store");
    api.create(json!({"title": "Draft", "published": false})).await;
    let [reader, author, editor] = ["reader", "author", "editor"].map(|role| api.user(role));
    for method in ["GET", "HEAD"] {
        let request = |path: &str| api.request(method, path);
        // Of these lists nothing depends on who asks; the others may hold what only some may see.
        for (who, list, expected) in [
            ("anonymous", request("/posts").anonymous(), "no-cache"),
            ("reader", request("/posts").by(&reader), "no-cache"),
            ("author", request("/posts").by(&author), "no-store"),
            ("editor", request("/posts").by(&editor), "no-store"),
            ("admin", request("/posts"), "no-store"),
        ] {
            assert_eq!(list.await.header("cache-control"), expected, "{method} {who}");
        }
        for read in [request("/posts/1"), request("/posts/1").by(&author), request("/posts/1").anonymous()] {
            assert_eq!(read.await.header("cache-control"), "no-cache", "{method}");
        }
        for private in ["/posts/2", "/users", "/users/1", "/auth/me", "/api-keys"] {
            let answer = request(private).await;
            assert_eq!((answer.status, answer.header("cache-control")), (200, "no-store"), "{method} {private}");
        }
    }
    let key = json!({"name": "nightly import", "role": "reader"});
    for answer in [
        api.put("/posts/1", json!({"title": "Hello again"})).await,
        api.patch("/posts/1", json!({"title": "Bye"})).await,
        api.delete("/posts/1").await,
        api.get("/posts/1").await,
        api.post("/api-keys", key).await,
        api.post("/auth/login", json!({"email": author.email, "password": PASSWORD})).anonymous().await,
        api.get("/health/ready").await,
    ] {
        assert_eq!(answer.header("cache-control"), "no-store", "{answer:?}");
    }
}

/// Also where nobody called: the same address answers another caller otherwise.
#[rstest]
#[tokio::test]
async fn what_depends_on_the_caller_says_so(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    api.create(json!({"title": "Hello"})).await;
    for path in [
        "/posts",
        "/posts/1",
        "/posts/7",
        "/users",
        "/users/1",
        "/users/7",
        "/api-keys",
        "/api-keys/7",
        "/auth/me",
        "/auth/password",
    ] {
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
            for request in [
                api.request(method, path),
                api.request(method, path).anonymous(),
                api.request(method, path).bearing("no-token"),
            ] {
                let answer = request.json(&json!({})).await;
                assert!(names(&answer, "vary").contains(&"authorization".to_owned()), "{method} {path}: {answer:?}");
            }
        }
    }
}

#[rstest]
#[tokio::test]
async fn a_callers_request_id_is_kept_where_it_is_one(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    for id in ["x", "0", "A-Za-z0-9._-", &"x".repeat(128)] {
        for path in ["/posts", "/nothing"] {
            let answer = api.get(path).header("X-Request-Id", id).await;
            assert_eq!(answer.header("x-request-id"), id, "{path}");
        }
    }
}

#[rstest]
#[tokio::test]
async fn any_other_request_id_is_replaced(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let mut seen = Vec::new();
    for id in ["", "a b", "a,b", "a/b", "a\"b", "<b>", "é", "a=b", "a\tb", &"x".repeat(129)] {
        let answer = api.get("/nothing").header("X-Request-Id", id).await;
        let given = answer.header("x-request-id").to_owned();
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        assert!((1..=128).contains(&given.len()) && given.bytes().all(fits), "{id:?} → {given:?}");
        assert!(given != id && !seen.contains(&given), "{id:?} → {given:?}");
        seen.push(given);
    }
}

/// Two lines are one list (RFC 9110 §5.2), and a list is no id.
#[rstest]
#[tokio::test]
async fn two_request_ids_are_none(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let answer = api.get("/posts").another_header("X-Request-Id", "one").another_header("X-Request-Id", "two").await;
    assert!(!["one", "two"].contains(&answer.header("x-request-id")), "{answer:?}");
}

#[rstest]
#[tokio::test]
async fn answers_are_coded_where_that_is_asked_for(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let created = api.create(json!({"title": "Hello", "content": "Größe → ".repeat(2000)})).await;
    for path in ["/posts/1", "/posts", "/openapi.json", "/docs", "/docs/swagger-ui-bundle.js", "/problems/conflict"] {
        let plain = api.get(path).await;
        assert_eq!(plain.header("content-encoding"), "", "{path}");
        for coding in CODINGS {
            let coded = api.get(path).header("Accept-Encoding", coding).await;
            assert_eq!(coded.header("content-encoding"), coding, "{path}");
            assert_eq!(coded.header("content-type"), plain.header("content-type"), "{path}");
            assert!(coded.body.len() < plain.body.len(), "{path}");
            assert_eq!(coded.decoded(), plain.body, "{path}");
        }
    }
    let changed = api.patch("/posts/1", json!({"title": "Bye"})).header("Accept-Encoding", "gzip").await;
    assert_eq!(changed.header("content-encoding"), "gzip");
    assert_eq!(changed.header("etag"), "\"1.2;gzip\"");
    let changed: serde_json::Value = serde_json::from_slice(&changed.decoded()).unwrap();
    assert_eq!(changed["content"], created["content"]);
}

/// A coded answer goes out in pieces. Where each waits until the client has acknowledged the one before, which clients put
/// off, all take 40 ms but the first few.
#[rstest]
#[tokio::test]
async fn a_coded_answer_waits_for_no_acknowledgement(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    api.create(json!({"title": "Hello", "content": "x".repeat(20_000)})).await;
    let mut fastest = Duration::MAX;
    for request in 0..60 {
        let begun = Instant::now();
        api.get("/posts/1").header("Accept-Encoding", "gzip").await;
        if request >= 30 {
            fastest = fastest.min(begun.elapsed());
        }
    }
    assert!(fastest < Duration::from_millis(35), "{fastest:?}");
}

#[rstest]
#[tokio::test]
async fn the_coding_is_one_that_the_request_allows(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    api.create(json!({"title": "Hello", "content": "x".repeat(5000)})).await;
    for (accepted, coding) in [
        ("identity", ""),
        ("", ""),
        ("unknown", ""),
        ("gzip;q=0", ""),
        ("gzip;q=0, br;q=0, *;q=0, identity", ""),
        ("gzip;q=0.5, br", "br"),
        ("gzip, br;q=0.5, zstd;q=0.1", "gzip"),
        ("unknown, zstd;q=0.1", "zstd"),
        // What browsers send. Brotli would take the service longer than all else together.
        ("gzip, deflate, br, zstd", "gzip"),
        ("br, zstd", "br"),
        ("br, gzip;q=0.9", "br"),
        ("GZIP", "gzip"),
        ("gzip;q=nonsense", ""),
    ] {
        let answer = api.get("/posts/1").header("Accept-Encoding", accepted).await;
        assert_eq!((answer.status, answer.header("content-encoding")), (200, coding), "{accepted:?}");
        assert_eq!(answer.decoded(), api.get("/posts/1").await.body, "{accepted:?}");
    }
}

#[rstest]
#[tokio::test]
async fn an_answer_without_a_body_has_no_coding(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let tag = api.post("/posts", json!({"title": "Hello"})).await.header("etag").to_owned();
    for coding in CODINGS {
        let not_modified = api.get("/posts/1").header("If-None-Match", &tag).header("Accept-Encoding", coding).await;
        assert_eq!((not_modified.status, not_modified.header("content-encoding")), (304, ""));
        let options = api.request("OPTIONS", "/posts/1").header("Accept-Encoding", coding).await;
        assert_eq!((options.status, options.header("content-encoding")), (204, ""));
        let problem = api.get("/nothing").header("Accept-Encoding", coding).await;
        assert_eq!(serde_json::from_slice::<serde_json::Value>(&problem.decoded()).unwrap()["status"], 404);
    }
}

#[rstest]
#[tokio::test]
async fn the_tag_of_a_coded_answer_is_good_for_reads_and_writes(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    for coding in CODINGS {
        let id = api.create(json!({"title": "Hello"})).await["id"].clone();
        let path = format!("/posts/{id}");
        let read = api.get(&path).header("Accept-Encoding", coding).await;
        let tag = read.header("etag").to_owned();
        assert_eq!(tag, format!("\"{id}.1;{coding}\""));

        let again = api.get(&path).header("Accept-Encoding", coding).header("If-None-Match", &tag).await;
        assert_eq!((again.status, again.header("etag")), (304, tag.as_str()));
        let changed = api.patch(&path, json!({"title": "Bye"})).header("If-Match", &tag).await;
        assert_eq!((changed.status, changed.header("etag")), (200, format!("\"{id}.2\"").as_str()));
        assert_eq!(api.get(&path).header("If-None-Match", &tag).await.status, 200, "a tag of the past");
        assert_eq!(api.delete(&path).header("If-Match", &tag).await.status, 412, "a tag of the past");
    }
}

#[rstest]
#[tokio::test]
async fn without_origins_there_is_no_cors(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    for answer in [
        api.get("/posts").header("Origin", ORIGIN).await,
        api.get("/nothing").header("Origin", ORIGIN).await,
        api.request("OPTIONS", "/posts").header("Origin", ORIGIN).header("Access-Control-Request-Method", "POST").await,
    ] {
        let cors = answer.headers.keys().find(|name| name.as_str().starts_with("access-control-"));
        assert_eq!(cors, None, "{answer:?}");
    }
}

#[rstest]
#[tokio::test]
async fn a_preflight_from_a_listed_origin_allows_all_that_a_client_needs(
    #[values(Sqlite, Postgres)] database: Database,
) {
    let api =
        start!(database, |config| config.cors_origins = vec!["https://other.example".to_owned(), ORIGIN.to_owned()]);
    let wanted = "accept,authorization,content-type,idempotency-key,if-match,if-modified-since,if-none-match,\
                  if-unmodified-since,prefer,x-request-id";
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
        let answer = api
            .request("OPTIONS", "/posts/1")
            .header("Origin", ORIGIN)
            .header("Access-Control-Request-Method", method)
            .header("Access-Control-Request-Headers", wanted)
            .await;
        assert!([200, 204].contains(&answer.status), "{answer:?}");
        assert_eq!(answer.header("access-control-allow-origin"), ORIGIN);
        assert!(names(&answer, "access-control-allow-methods").contains(&method.to_lowercase()), "{answer:?}");
        let allowed = names(&answer, "access-control-allow-headers");
        for name in wanted.split(',') {
            assert!(allowed.contains(&name.to_owned()), "{name}: {answer:?}");
        }
        assert!(names(&answer, "vary").contains(&"origin".to_owned()), "{answer:?}");
        assert!(!answer.headers.contains_key("access-control-allow-credentials"), "{answer:?}");
    }
}

/// Preflights that ask for too much: an origin, a method or a header that is not allowed.
async fn refused_preflights(api: &Api) -> Vec<Answer> {
    let mut answers = Vec::new();
    for (origin, method, header) in [
        ("https://evil.example", "POST", "content-type"),
        (ORIGIN, "TRACE", "content-type"),
        (ORIGIN, "POST", "x-unknown"),
    ] {
        let answer = api
            .request("OPTIONS", "/posts")
            .header("Origin", origin)
            .header("Access-Control-Request-Method", method)
            .header("Access-Control-Request-Headers", header)
            .await;
        let allowed = answer.header("access-control-allow-origin") == origin
            && names(&answer, "access-control-allow-methods").contains(&method.to_lowercase())
            && names(&answer, "access-control-allow-headers").contains(&header.to_owned());
        assert!(!allowed, "{answer:?}");
        answers.push(answer);
    }
    answers
}

/// The browser needs no reason; a person who looks for it needs the right one.
#[rstest]
#[tokio::test]
async fn a_preflight_that_is_refused_is_not_called_malformed_json(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database, |config| config.cors_origins = vec![ORIGIN.to_owned()]);
    for answer in refused_preflights(&api).await.iter().filter(|answer| answer.status >= 400) {
        assert_ne!(answer.json()["type"], "/problems/malformed-json", "{answer:?}");
    }
}

#[rstest]
#[tokio::test]
async fn a_preflight_that_is_refused_says_that_it_depends_on_the_origin(
    #[values(Sqlite, Postgres)] database: Database,
) {
    let api = start!(database, |config| config.cors_origins = vec![ORIGIN.to_owned()]);
    for answer in refused_preflights(&api).await {
        assert!(names(&answer, "vary").contains(&"origin".to_owned()), "{answer:?}");
    }
}

/// Some headers every page may read (Fetch, "CORS-safelisted response-header name"): the rest must be exposed.
#[rstest]
#[tokio::test]
async fn a_page_of_a_listed_origin_may_read_every_header_of_the_contract(
    #[values(Sqlite, Postgres)] database: Database,
) {
    let api = start!(database, |config| config.cors_origins = vec![ORIGIN.to_owned()]);
    let answer = api.get("/posts").header("Origin", ORIGIN).await;
    let exposed = names(&answer, "access-control-expose-headers");
    let missing: Vec<_> = [
        "accept-patch",
        "allow",
        "content-security-policy",
        "etag",
        "idempotency-replayed",
        "link",
        "location",
        "preference-applied",
        "referrer-policy",
        "retry-after",
        "vary",
        "www-authenticate",
        "x-content-type-options",
        "x-request-id",
    ]
    .into_iter()
    .filter(|name| !exposed.contains(&(*name).to_owned()))
    .collect();
    assert_eq!(missing, Vec::<&str>::new());
}

#[rstest]
#[tokio::test]
async fn cors_holds_for_every_kind_of_answer(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database, |config| config.cors_origins = vec![ORIGIN.to_owned()]);
    api.create(json!({"title": "Hello"})).await;
    let author = api.user("author");
    let mut without = Vec::new();
    for (kind, status, request) in [
        ("read", 200, api.get("/posts/1")),
        ("created", 201, api.post("/posts", json!({"title": "Hello"}))),
        ("not modified", 304, api.get("/posts/1").header("If-None-Match", "*")),
        ("OPTIONS", 204, api.request("OPTIONS", "/posts")),
        ("bad query", 400, api.get("/posts?x=1")),
        ("no token", 401, api.get("/users").anonymous()),
        ("bad token", 401, api.get("/posts/1").bearing("no-token")),
        ("another's right", 403, api.get("/users").by(&author)),
        ("nothing", 404, api.get("/nothing")),
        ("other method", 405, api.delete("/posts")),
        ("not acceptable", 406, api.get("/posts").header("Accept", "image/png")),
        ("no coding", 406, api.get("/posts").header("Accept-Encoding", "identity;q=0")),
        ("stale", 412, api.delete("/posts/1").header("If-Match", "\"1.7\"")),
        ("media type", 415, api.request("POST", "/posts").body("text/plain", "x")),
        ("bad body", 422, api.post("/posts", json!({}))),
        ("large head", 431, api.get("/posts").header("X-Padding", "x".repeat(33 << 10))),
    ] {
        let answer = request.header("Origin", ORIGIN).await;
        assert_eq!(answer.status, status, "{kind}");
        let holds = answer.header("access-control-allow-origin") == ORIGIN
            && names(&answer, "vary").contains(&"origin".to_owned())
            && names(&answer, "access-control-expose-headers").contains(&"etag".to_owned());
        if !holds {
            without.push(kind);
        }
    }
    assert_eq!(without, Vec::<&str>::new());
    api.database.execute("ALTER TABLE posts RENAME COLUMN title TO headline").unwrap();
    let failed = api.get("/posts/1").header("Origin", ORIGIN).await;
    assert_eq!((failed.status, failed.header("access-control-allow-origin")), (500, ORIGIN));
}

/// A cache must not give one origin's answer to another, so that those without one say it, too.
#[rstest]
#[tokio::test]
async fn other_origins_are_answered_without_cors(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database, |config| config.cors_origins = vec![ORIGIN.to_owned()]);
    for origin in ["https://evil.example", "https://app.example.evil.example", "http://app.example", "null"] {
        let answer = api.get("/posts").header("Origin", origin).await;
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, ""), "{origin}");
        assert!(names(&answer, "vary").contains(&"origin".to_owned()), "{origin}: {answer:?}");
    }
    let same_origin = api.get("/posts").await;
    assert_eq!((same_origin.status, same_origin.header("access-control-allow-origin")), (200, ""));
    assert!(names(&same_origin, "vary").contains(&"origin".to_owned()), "{same_origin:?}");
}

#[rstest]
#[tokio::test]
async fn a_star_lets_every_origin_in_without_credentials(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database, |config| config.cors_origins = vec!["*".to_owned()]);
    for (path, status) in [("/posts", 200), ("/nothing", 404)] {
        for origin in [ORIGIN, "https://other.example", "null"] {
            let answer = api.get(path).header("Origin", origin).await;
            assert_eq!((answer.status, answer.header("access-control-allow-origin")), (status, "*"), "{origin}");
            assert!(!answer.headers.contains_key("access-control-allow-credentials"), "{answer:?}");
        }
    }
}

/// A body that the server did not read may end the connection, if the answer says so: what follows on it must never
/// be taken for a request.
#[rstest]
#[tokio::test]
async fn a_connection_lives_on_after_an_error_or_says_that_it_does_not(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database, |config| config.body.size = 1024);
    let decoy = "GET /health/live HTTP/1.1\r\nHost: decoy\r\n\r\n";
    let large = decoy.repeat(100);
    for (method, path, media_type, status, body, must_live) in [
        ("POST", "/posts", "application/json", 400, decoy, true),
        ("POST", "/posts", "application/json", 422, "{}", true),
        ("POST", "/posts", "text/plain", 415, decoy, false),
        ("POST", "/posts", "application/json", 413, large.as_str(), false),
        ("POST", "/nothing", "application/json", 404, decoy, false),
        ("DELETE", "/posts", "application/json", 405, decoy, false),
        ("GET", "/posts?x=1", "application/json", 400, decoy, false),
        ("PUT", "/posts/7", "application/json", 404, "{\"title\": \"Hello\"}", true),
    ] {
        for chunked in [false, true] {
            let context = format!("{method} {path} {media_type} {status}, chunked: {chunked}");
            let (framing, body) = if chunked {
                ("Transfer-Encoding: chunked".to_owned(), format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len()))
            } else {
                (format!("Content-Length: {}", body.len()), body.to_owned())
            };
            let head = format!(
                "{method} {path} HTTP/1.1\r\nHost: x\r\n{}Content-Type: {media_type}\r\n{framing}\r\n\r\n",
                api.authorization()
            );
            let mut connection = api.connect().await;
            connection.send(head + &body).await;
            let answer = connection.answer(method, path.split('?').next().unwrap()).await;
            assert_eq!(answer.status, status, "{context}");
            if answer.header("connection") == "close" {
                assert!(!must_live, "{context}");
                connection.closes().await;
            } else {
                connection.send("OPTIONS /posts HTTP/1.1\r\nHost: x\r\n\r\n").await;
                assert_eq!(connection.answer("OPTIONS", "/posts").await.status, 204, "{context}");
            }
        }
    }
}

#[rstest]
#[tokio::test]
async fn a_client_that_sends_far_too_much_still_gets_its_answer(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database, |config| config.body.size = 1 << 20);
    for _ in 0..5 {
        let body = vec![b' '; 20 << 20];
        let answer = api.request("POST", "/posts").body("application/json", body).await;
        assert_eq!(answer.status, 413);
        assert_eq!(api.get("/posts").await.status, 200);
    }
}

#[rstest]
#[tokio::test]
async fn the_admin_page_is_in_the_program_and_its_files_may_be_kept(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let page = api.get("/admin").anonymous().await;
    assert_eq!((page.status, page.header("cache-control")), (200, "no-cache"));
    let policy = page.header("content-security-policy");
    assert!(policy.contains("script-src 'self'; style-src 'self';") && !policy.contains("unsafe"), "{policy}");
    let script = admin_script(&api).await;
    let answer = api.get(&script).anonymous().await;
    assert_eq!(answer.header("content-type"), "text/javascript; charset=utf-8");
    assert_eq!(answer.header("cache-control"), "public, max-age=31536000, immutable");
    let licences = api.get("/admin/licenses.txt").anonymous().await;
    assert_eq!((licences.status, licences.header("cache-control")), (200, "no-cache"));
    assert!(licences.text().contains("(MIT)"));
    for nothing in
        ["/admin/index.html", "/admin/nothing.js", "/admin/..%2Findex.html", "/admin/%2e%2e%2findex.js", "/admin/"]
    {
        api.get(nothing).anonymous().await.problem("not-found");
    }
}
