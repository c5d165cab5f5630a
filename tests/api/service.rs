//! Contract section 9: what the service says of itself.

use std::collections::BTreeSet;

use rstest::rstest;
use serde_json::{Value, json};

use crate::harness::{Api, Database, Postgres, Program, Sqlite, TestDatabase, eventually, start};

/// Every path that is not a resource's.
const PATHS: [&str; 11] = [
    "/",
    "/admin",
    "/docs",
    "/docs/swagger-ui.css",
    "/openapi.json",
    "/.well-known/jwks.json",
    "/.well-known/api-catalog",
    "/problems/conflict",
    "/health/live",
    "/health/ready",
    "/metrics",
];

/// What Chromium sends when somebody follows a link.
const BROWSER: &str =
    "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8";

/// The values of an attribute in a page.
fn attributes<'a>(page: &'a str, name: &str) -> Vec<&'a str> {
    let start = format!(" {name}=\"");
    page.split(&start).skip(1).map(|rest| rest.split('"').next().unwrap()).collect()
}

/// What a page refers to.
fn references(page: &str) -> Vec<&str> {
    [attributes(page, "src"), attributes(page, "href")].concat()
}

/// Asserts that a browser which obeys an answer's policy loads nothing from another host.
fn assert_self_contained(policy: &str) {
    for directive in policy.split(';') {
        for source in directive.split_whitespace().skip(1) {
            assert!(["'none'", "'self'", "'unsafe-inline'", "data:"].contains(&source), "{policy}");
        }
    }
}

#[rstest]
#[tokio::test]
async fn a_healthy_service_says_so(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    for path in ["/health/live", "/health/ready"] {
        let answer = api.get(path).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("content-type"), "application/json");
        assert_eq!(answer.json(), json!({"status": "ok"}));
    }
}

#[rstest]
#[tokio::test]
async fn a_stopping_service_is_alive_and_not_ready(#[values(Sqlite, Postgres)] database: Database) {
    let Some(database) = TestDatabase::create(database) else { return };
    let program = Program::on(&database, &["--drain-delay", "600"]).serve();
    let get = |path: &str| program.get(path);
    assert_eq!(get("/health/ready").await.status, 200);
    assert!(get("/metrics").await.text().contains("\nposts_ready 1\n"));
    program.signal("TERM");
    eventually("not ready", || async { get("/health/ready").await.status == 503 }).await;
    assert!(get("/metrics").await.text().contains("\nposts_ready 0\n"));
    let answer = get("/health/ready").await;
    assert_eq!(answer.problem("unavailable")["detail"], "The server is stopping.");
    assert_eq!(answer.header("connection"), "close");
    assert_eq!(get("/health/live").await.status, 200);
    assert_eq!(get("/posts").await.status, 200);
}

#[rstest]
#[tokio::test]
async fn metrics_tell_what_was_asked_and_what_it_cost(#[values(Sqlite, Postgres)] database: Database) {
    let Some(database) = TestDatabase::create(database) else { return };
    let mut program = Program::on(&database, &[]).serve();
    let token = program.set_up().await;
    let request = |method: &str, path: &str| program.request(method, path).bearing(&token);
    for id in 1..=3 {
        let created = request("POST", "/posts").json(&json!({"title": "Hello"})).await;
        assert_eq!(created.status, 201);
        assert_eq!(request("GET", &format!("/posts/{id}")).await.status, 200);
    }
    assert_eq!(request("GET", "/posts/4711").await.status, 404);
    assert_eq!(request("GET", "/secret-path").await.status, 404);
    assert_eq!(request("BREW", "/posts").await.status, 405);
    assert_eq!(request("POST", "/posts").json(&json!({})).anonymous().await.status, 401);
    let wrong = json!({"email": "nobody@example.org", "password": "not the right one"});
    while request("POST", "/auth/login").json(&wrong).anonymous().await.status != 429 {}

    let answer = request("GET", "/metrics").await;
    assert_eq!(answer.status, 200);
    assert!(answer.header("content-type").starts_with("text/plain; version=0.0.4"), "{answer:?}");
    let metrics = answer.text();
    let samples: Vec<_> = metrics.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    let value = |name: &str, labels: &[&str]| {
        let fits = |line: &&&str| {
            line.split(['{', ' ']).next() == Some(name) && labels.iter().all(|label| line.contains(label))
        };
        let line = samples.iter().find(fits).unwrap_or_else(|| panic!("no {name} with {labels:?} in\n{metrics}"));
        line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()
    };
    let one = r#"route="/posts/{id}""#;
    let all = r#"route="/posts""#;
    for (labels, count) in [
        ([all, r#"method="POST""#, r#"status="201""#], 3.0),
        ([one, r#"method="GET""#, r#"status="200""#], 3.0),
        ([one, r#"method="GET""#, r#"status="404""#], 1.0),
        ([all, r#"method="other""#, r#"status="405""#], 1.0),
        ([all, r#"method="POST""#, r#"status="401""#], 1.0),
        ([r#"route="/auth/setup""#, r#"method="POST""#, r#"status="200""#], 1.0),
    ] {
        assert!((value("posts_http_requests_total", &labels) - count).abs() < f64::EPSILON, "{labels:?}\n{metrics}");
    }
    let reads = value("posts_http_request_duration_seconds_count", &[one, r#"method="GET""#]);
    assert!((reads - 4.0).abs() < f64::EPSILON, "{metrics}");
    assert!(value("posts_http_request_duration_seconds_sum", &[one]) > 0.0);
    assert!(value("posts_http_request_duration_seconds_bucket", &[one, r#"le="+Inf""#]) >= 4.0);
    assert!((value("posts_limits_refused_total", &[r#"limit="login""#]) - 1.0).abs() < f64::EPSILON, "{metrics}");
    assert!(value("posts_passwords_waiting", &[]).abs() < f64::EPSILON, "{metrics}");
    assert!((value("posts_ready", &[]) - 1.0).abs() < f64::EPSILON, "{metrics}");
    let version = format!("version=\"{}\"", env!("CARGO_PKG_VERSION"));
    assert!((value("posts_build_info", &[&version]) - 1.0).abs() < f64::EPSILON, "{metrics}");
    assert!((value("posts_db_connections_max", &[]) - 16.0).abs() < f64::EPSILON, "{metrics}");
    assert!(value("posts_db_connections_in_use", &[]) >= 0.0);
    assert!(value("process_resident_memory_bytes", &[]) > 0.0);
    assert!(value("process_cpu_seconds_total", &[]) >= 0.0);
    // A label that a caller can invent would fill the memory of whoever collects.
    for invented in ["4711", "secret-path", "BREW", "example.org"] {
        assert!(!metrics.contains(invented), "{invented} in\n{metrics}");
    }

    let named = |kind: &str| -> BTreeSet<&str> {
        metrics.lines().filter_map(|line| line.strip_prefix(kind)?.split(' ').next()).collect()
    };
    let (helped, typed) = (named("# HELP "), named("# TYPE "));
    for sample in &samples {
        let name = sample.split(['{', ' ']).next().unwrap();
        let base = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
        let has = |names: &BTreeSet<&str>| names.contains(name) || base.is_some_and(|base| names.contains(base));
        assert!(has(&helped) && has(&typed), "{name} has no HELP or no TYPE in\n{metrics}");
    }
}

#[rstest]
#[tokio::test]
async fn the_document_describes_this_service(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let answer = api.get("/openapi.json").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), "application/json");
    let document = answer.json();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1."), "{}", document["openapi"]);
    for path in [
        "/posts",
        "/posts/{id}",
        "/users",
        "/users/{id}",
        "/api-keys",
        "/api-keys/{id}",
        "/auth/login",
        "/auth/refresh",
        "/auth/logout",
        "/auth/setup",
        "/auth/me",
        "/auth/password",
        "/.well-known/jwks.json",
        "/.well-known/api-catalog",
        "/",
        "/health/live",
        "/health/ready",
        "/metrics",
    ] {
        assert!(document["paths"][path].is_object(), "{path}");
    }
}

#[rstest]
#[tokio::test]
async fn the_console_needs_no_other_host(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let page = api.get("/docs").header("Accept", BROWSER).await;
    assert_eq!((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"));
    let policy = page.header("content-security-policy");
    assert_self_contained(policy);
    assert!(!policy.contains("unsafe"), "{policy}");
    let references = references(page.text());
    assert!(references.len() >= 5, "{references:?}");
    for path in references {
        assert!(path.starts_with("/docs/"), "{path}");
        let file = api.get(path).header("Accept", "*/*").await;
        assert_eq!(file.status, 200, "{path}");
        assert!(!file.body.is_empty(), "{path}");
        // With `nosniff` a browser takes a script or a style by its type alone.
        let expected = match path.rsplit('.').next().unwrap() {
            "js" => "text/javascript",
            "css" => "text/css",
            "png" => "image/png",
            other => panic!("{other}"),
        };
        assert_eq!(file.header("content-type").split(';').next().unwrap(), expected, "{path}");
        if expected == "text/css" {
            for url in file.text().split("url(").skip(1) {
                assert!(url.trim_start_matches(['"', '\'']).starts_with("data:"), "{}", &url[..60]);
            }
            assert!(!file.text().contains("@import"));
        }
    }
    let start = api.get("/docs/console.js").await;
    assert!(start.text().contains("url: \"/openapi.json\""), "{start:?}");
    for other in ["swagger-ui.js", "index.html", "..%2FCargo.toml", "%FF", ""] {
        assert_eq!(api.get(&format!("/docs/{other}")).await.status, 404, "{other}");
    }
}

#[rstest]
#[tokio::test]
async fn pages_need_no_other_host_and_lead_somewhere(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    for path in ["/admin", "/problems/conflict"] {
        let page = api.get(path).header("Accept", BROWSER).await;
        assert_eq!((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"), "{path}");
        assert_self_contained(page.header("content-security-policy"));
        for reference in references(page.text()) {
            // The admin page's are relative, to the root.
            let reference = reference.strip_prefix('.').unwrap_or(reference);
            assert!(reference.starts_with('/'), "{path}: {reference}");
            assert_eq!(api.get(reference).await.status, 200, "{path}: {reference}");
        }
    }
}

#[rstest]
#[tokio::test]
async fn the_root_gives_clients_links_that_work(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    for accept in
        ["*/*", "application/json", "application/json, text/plain, */*", "application/problem+json, application/json"]
    {
        let answer = api.get("/").header("Accept", accept).await;
        assert_eq!(answer.status, 200, "{accept}");
        assert_eq!(answer.header("content-type"), "application/json", "{accept}");
        for link in answer.json().as_object().unwrap().values() {
            assert_eq!(api.get(link.as_str().unwrap()).await.status, 200, "{link}");
        }
    }
    let mut silent = api.connect().await;
    silent.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(silent.answer("GET", "/").await.status, 200);
}

#[rstest]
#[tokio::test]
async fn the_catalog_leads_to_the_api_and_its_descriptions(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let answer = api.get("/.well-known/api-catalog").anonymous().await;
    assert_eq!(answer.status, 200);
    let media_type = r#"application/linkset+json; profile="https://www.rfc-editor.org/info/rfc9727""#;
    assert_eq!(answer.header("content-type"), media_type);
    assert_eq!(answer.header("cache-control"), "no-cache");
    assert_eq!(answer.json(), json!({"linkset": [linkset_of("")]}));
    let entry = &answer.json()["linkset"][0];
    assert_eq!(api.get(entry["anchor"].as_str().unwrap()).await.status, 200);
    for relation in ["service-desc", "service-doc", "status"] {
        let target = &entry[relation][0];
        let led_to = api.get(target["href"].as_str().unwrap()).await;
        assert_eq!(led_to.status, 200, "{target}");
        assert_eq!(led_to.header("content-type").split(';').next().unwrap(), target["type"], "{target}");
    }
}

/// RFC 9727 §2 asks it of HEAD, and RFC 9110 §9.3.2 the same of GET.
#[rstest]
#[tokio::test]
async fn links_lead_to_the_catalog(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    for (method, path) in
        [("HEAD", "/.well-known/api-catalog"), ("GET", "/.well-known/api-catalog"), ("HEAD", "/"), ("GET", "/")]
    {
        let answer = api.request(method, path).await;
        assert_eq!(answer.header("link"), r#"</.well-known/api-catalog>; rel="api-catalog""#, "{method} {path}");
    }
    assert_eq!(api.get("/").await.json()["api_catalog"], "/.well-known/api-catalog");
}

#[rstest]
#[tokio::test]
async fn the_catalog_is_absolute_where_the_public_address_is_known(#[values(Sqlite, Postgres)] database: Database) {
    for public_url in ["https://blog.example", "https://example.org/blog"] {
        let api = start!(database, |config| config.public_url = Some(public_url.to_owned()));
        let answer = api.get("/.well-known/api-catalog").await;
        assert_eq!(answer.json(), json!({"linkset": [linkset_of(public_url)]}));
        assert_eq!(api.get("/openapi.json").await.json()["servers"], json!([{"url": public_url}]));
    }
}

fn linkset_of(base: &str) -> Value {
    json!({
        "anchor": format!("{base}/"),
        "service-desc": [{"href": format!("{base}/openapi.json"), "type": "application/json"}],
        "service-doc": [{"href": format!("{base}/docs"), "type": "text/html"}],
        "status": [{"href": format!("{base}/health/ready"), "type": "application/json"}],
    })
}

#[rstest]
#[tokio::test]
async fn the_catalog_goes_to_who_accepts_a_linkset(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let get = |accept: &str| api.get("/.well-known/api-catalog").header("Accept", accept);
    for accept in [
        "application/linkset+json",
        r#"application/linkset+json; profile="https://www.rfc-editor.org/info/rfc9727""#,
        "application/json, application/linkset+json;q=0.1",
        "application/*",
        "*/*",
        BROWSER,
    ] {
        assert_eq!(get(accept).await.status, 200, "{accept}");
    }
    for accept in ["application/json", "text/html", "application/linkset", "application/linkset+json;q=0, */*"] {
        let answer = get(accept).await;
        assert_eq!(answer.status, 406, "{accept}");
        let detail = "This answers application/linkset+json (and application/problem+json), which `Accept` refuses.";
        assert_eq!(answer.problem("not-acceptable")["detail"], detail);
    }
    assert_eq!(api.get("/openapi.json").header("Accept", "application/linkset+json").await.status, 406);
}

#[rstest]
#[tokio::test]
async fn the_root_sends_a_browser_to_the_admin_page(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    for accept in [BROWSER, "text/html", "text/html, */*;q=0.1"] {
        let answer = api.get("/").header("Accept", accept).await;
        assert_eq!((answer.status, answer.header("location")), (302, "/admin"), "{accept}");
    }
    assert_eq!(api.get("/admin").header("Accept", BROWSER).await.status, 200);
}

/// Who likes JSON better than HTML is no browser (RFC 9110 §12.5.1).
#[rstest]
#[tokio::test]
async fn the_root_heeds_what_a_client_prefers(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    for accept in ["application/json, text/html;q=0.5", "text/html;q=0, application/json", "text/html;q=0, */*"] {
        assert_eq!(api.get("/").header("Accept", accept).await.status, 200, "{accept}");
    }
}

#[rstest]
#[tokio::test]
async fn every_path_knows_its_methods(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    for path in PATHS {
        assert_methods(&api, path).await;
    }
}

async fn assert_methods(api: &Api, path: &str) {
    let get = api.get(path).await;
    assert_eq!(get.status, 200, "{path}");
    let head = api.request("HEAD", path).await;
    assert_eq!(head.status, 200, "{path}");
    assert!(head.body.is_empty(), "{path}");
    for name in ["content-type", "cache-control", "content-security-policy", "link", "vary"] {
        assert_eq!(head.header(name), get.header(name), "{path}: {name}");
    }
    // Between two looks at the metrics their length changes.
    if path != "/metrics" {
        assert_eq!(head.header("content-length"), get.header("content-length"), "{path}");
    }
    let options = api.request("OPTIONS", path).await;
    assert_eq!((options.status, options.header("allow")), (204, "GET, HEAD, OPTIONS"), "{path}");
    assert!(!options.headers.contains_key("accept-patch"), "{path}");
    for method in ["POST", "PUT", "PATCH", "DELETE", "TRACE"] {
        let answer = api.request(method, path).await;
        assert_eq!((answer.status, answer.header("allow")), (405, "GET, HEAD, OPTIONS"), "{method} {path}");
        answer.problem("method-not-allowed");
    }
    let with_slash = if path == "/" { "//".to_owned() } else { format!("{path}/") };
    assert_eq!(api.get(&with_slash).await.status, 404, "{with_slash}");
}
