//! Contract section 6, the door for the pages of this server: a session in a cookie, and who may come through.

use std::time::Duration;

use posts_api::db::Timestamp;
use rstest::rstest;
use serde_json::{Value, json};

use crate::harness::{
    Answer, Api, Database, PASSWORD, Postgres, Program, Request, Session, Sqlite, TestDatabase, User, start,
};
use crate::tokens::assert_is_refusal;

const SIGN_IN: (&str, &str) = ("POST", "/auth/session");
const REFRESH: (&str, &str) = ("POST", "/auth/session/refresh");
const SIGN_OUT: (&str, &str) = ("DELETE", "/auth/session");

/// A request of nobody's, that says nothing of where it comes from.
fn request(api: &Api, (method, path): (&str, &str)) -> Request {
    api.request(method, path).anonymous()
}

/// A request as a page of this server makes it.
fn from_page(api: &Api, operation: (&str, &str)) -> Request {
    request(api, operation).header("Origin", api.url("")).header("Sec-Fetch-Site", "same-origin")
}

/// The same, with a cookie of a session.
fn with_cookie(api: &Api, operation: (&str, &str), token: &str) -> Request {
    from_page(api, operation).header("Cookie", format!("posts_session={token}"))
}

fn credentials(user: &User) -> Value {
    json!({"email": user.email, "password": PASSWORD})
}

/// What a page has of a session.
#[derive(Debug)]
struct PageSession {
    access_token: String,
    /// The refresh token in the cookie.
    cookie: String,
}

impl PageSession {
    /// What an answer gives that must begin a session or go on with it.
    #[track_caller]
    fn of(answer: &Answer) -> Self {
        assert_eq!(answer.status, 200, "{answer:?}");
        let body = answer.json();
        let names: Vec<_> = body.as_object().unwrap().keys().collect();
        assert_eq!(names, ["access_token", "expires_in", "token_type"]);
        assert_eq!((&body["expires_in"], &body["token_type"]), (&json!(900), &json!("Bearer")));
        assert_eq!(answer.header("cache-control"), "no-store");
        let cookie = cookie(answer).0;
        assert!(!answer.text().contains(&cookie), "{answer:?}");
        Self { access_token: body["access_token"].as_str().unwrap().to_owned(), cookie }
    }

    async fn begin(api: &Api, user: &User) -> Self {
        Self::of(&from_page(api, SIGN_IN).json(&credentials(user)).await)
    }
}

/// The value of the one cookie that an answer sets, and its attributes in order.
#[track_caller]
fn cookie(answer: &Answer) -> (String, Vec<String>) {
    let lines: Vec<_> = answer.headers.get_all("set-cookie").iter().collect();
    assert_eq!(lines.len(), 1, "{answer:?}");
    let mut parts = lines[0].to_str().unwrap().split("; ").map(str::to_owned);
    let value = parts.next().unwrap().strip_prefix("posts_session=").expect("the cookie's name").to_owned();
    let mut attributes: Vec<_> = parts.collect();
    attributes.sort();
    (value, attributes)
}

/// Asserts that an answer makes a browser forget the cookie.
#[track_caller]
fn assert_forgets(answer: &Answer) {
    let (value, attributes) = cookie(answer);
    assert_eq!(value, "");
    assert_eq!(attributes, ["HttpOnly", "Max-Age=0", "Path=/auth", "SameSite=Strict"]);
}

/// Asserts that the session goes on, and returns its next cookie.
#[track_caller]
fn assert_goes_on(api: &Api, token: &str) -> impl Future<Output = String> {
    let place = std::panic::Location::caller();
    async move {
        let answer = with_cookie(api, REFRESH, token).await;
        assert_eq!(answer.status, 200, "{place}: {answer:?}");
        PageSession::of(&answer).cookie
    }
}

/// Asserts that a cookie counts for nothing, and that the browser is told to forget it.
async fn assert_dead(api: &Api, token: &str) {
    let answer = with_cookie(api, REFRESH, token).await;
    assert_is_refusal(&answer, "a cookie");
    assert_forgets(&answer);
}

/// Moves the moment when tokens were used.
fn set_used(api: &Api, ago: Duration) {
    let sql = format!("UPDATE refresh_tokens SET used_on = '{}' WHERE used_on IS NOT NULL", Timestamp::now() - ago);
    api.database.execute(&sql).unwrap();
}

/// How many sessions and tokens there are, and how many of these were used.
fn stored(api: &Api) -> [usize; 3] {
    let count = |table, condition| api.database.count(table, condition);
    [count("sessions", "1 = 1"), count("refresh_tokens", "1 = 1"), count("refresh_tokens", "used_on IS NOT NULL")]
}

// A session.

#[rstest]
#[tokio::test]
async fn a_page_signs_in_and_its_scripts_never_see_the_refresh_token(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let user = api.user("author");
    let answer = from_page(&api, SIGN_IN).json(&credentials(&user)).await;
    let session = PageSession::of(&answer);
    api.assert_counts(&session.access_token, &user).await;
    let (token, attributes) = cookie(&answer);
    assert_eq!(token.len(), 43);
    assert_eq!(attributes, ["HttpOnly", "Max-Age=2592000", "Path=/auth", "SameSite=Strict"]);
}

#[rstest]
#[tokio::test]
async fn what_is_wrong_with_a_sign_in_is_answered_as_at_the_other_door(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let user = api.user("author");
    for body in [
        json!({}),
        json!({"email": 7, "password": null, "colour": "blue"}),
        json!({"email": user.email, "password": "wrong"}),
        json!({"email": "nobody@example.org", "password": PASSWORD}),
    ] {
        let here = from_page(&api, SIGN_IN).json(&body).await;
        let there = api.post("/auth/login", &body).anonymous().await;
        assert_eq!(here.status, there.status, "{here:?}");
        assert!(!here.headers.contains_key("set-cookie"), "{here:?}");
        for member in ["type", "detail", "errors"] {
            assert_eq!(here.json()[member], there.json()[member], "{here:?}");
        }
    }
    let form = from_page(&api, SIGN_IN).body("application/x-www-form-urlencoded", "email=a%40b&password=b").await;
    assert_eq!(form.status, 415);
}

#[rstest]
#[tokio::test]
async fn wrong_passwords_count_for_both_doors(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let user = api.user("author");
    for number in 0..5 {
        let body = json!({"email": user.email, "password": "wrong"});
        let request =
            if number % 2 == 0 { from_page(&api, SIGN_IN).json(&body) } else { api.post("/auth/login", body) };
        assert_eq!(request.anonymous().await.status, 401);
    }
    for answer in [from_page(&api, SIGN_IN).json(&credentials(&user)).await, api.login(&user.email, PASSWORD).await] {
        answer.problem("too-many-requests");
        assert!(answer.header("ratelimit-policy").starts_with("\"login\";q=5"), "{answer:?}");
    }
}

#[rstest]
#[tokio::test]
async fn a_session_goes_on_from_cookie_to_cookie(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let user = api.user("author");
    let mut session = PageSession::begin(&api, &user).await;
    for _ in 0..3 {
        let answer = with_cookie(&api, REFRESH, &session.cookie).await;
        let next = PageSession::of(&answer);
        assert_eq!(cookie(&answer).1, ["HttpOnly", "Max-Age=2592000", "Path=/auth", "SameSite=Strict"]);
        assert_ne!(next.cookie, session.cookie);
        api.assert_counts(&next.access_token, &user).await;
        session = next;
    }
}

#[rstest]
#[tokio::test]
async fn a_cookie_that_comes_back_ends_its_session_and_two_tabs_do_not(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let user = api.user("author");
    let bystander = PageSession::begin(&api, &user).await.cookie;
    let first = PageSession::begin(&api, &user).await.cookie;
    let second = assert_goes_on(&api, &first).await;
    set_used(&api, Duration::from_secs(5));
    assert_eq!(assert_goes_on(&api, &first).await, second, "the other tab gets the same");

    set_used(&api, Duration::from_secs(10));
    for token in [&first, &second] {
        assert_dead(&api, token).await;
    }
    assert_goes_on(&api, &bystander).await;
}

#[rstest]
#[tokio::test]
async fn a_refresh_without_a_good_cookie_is_refused(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let user = api.user("author");
    let token = PageSession::begin(&api, &user).await.cookie;
    let other = api.sign_in(&user).await;
    let before = stored(&api);

    let answer = from_page(&api, REFRESH).await;
    assert!(answer.problem("unauthorized")["detail"].as_str().unwrap().contains("`posts_session`"), "{answer:?}");
    assert_eq!(answer.header("www-authenticate"), "Bearer");
    assert!(!answer.headers.contains_key("set-cookie"), "there is nothing to forget: {answer:?}");
    // Neither of these is the cookie, nor is what stands elsewhere.
    let body = json!({"refresh_token": token});
    for request in [
        from_page(&api, REFRESH).header("Cookie", format!("Posts_Session={token}; posts_session2={token}; {token}")),
        from_page(&api, REFRESH).bearing(&token),
        from_page(&api, REFRESH).json(&body),
    ] {
        assert_eq!(request.await.header("www-authenticate"), "Bearer");
    }
    for bad in ["", "x", &format!("{token}x"), &token[1..], &format!("{token}%00"), &user.token, &"x".repeat(2000)] {
        assert_dead(&api, bad).await;
    }
    // Which of two is ours, nobody can tell.
    let two = format!("posts_session={token}; posts_session={}", other.refresh_token);
    let answer = from_page(&api, REFRESH).header("Cookie", two).await;
    assert_is_refusal(&answer, "two cookies");
    assert_forgets(&answer);
    let lines = with_cookie(&api, REFRESH, &token).another_header("Cookie", "posts_session=x");
    assert_is_refusal(&lines.await, "two lines");
    assert_eq!(stored(&api), before);

    // Where both are the same, or the others are others', it is clear.
    let both = format!("theme=dark; posts_session={token};posts_session={token}; odd");
    let answer = from_page(&api, REFRESH).header("Cookie", both).another_header("Cookie", "a=b").await;
    let token = PageSession::of(&answer).cookie;
    let foreign = [b"name=caf\xe9; posts_session=", token.as_bytes()].concat();
    let answer = from_page(&api, REFRESH).header("Cookie", foreign).await;
    assert_goes_on(&api, &PageSession::of(&answer).cookie).await;
}

#[rstest]
#[tokio::test]
async fn a_body_of_a_refresh_is_not_read(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let token = PageSession::begin(&api, &api.root).await.cookie;
    let answer = with_cookie(&api, REFRESH, &token).body("application/json", "{").await;
    let token = PageSession::of(&answer).cookie;
    let answer = with_cookie(&api, SIGN_OUT, &token).body("text/plain", "Hello").await;
    assert_eq!(answer.status, 204, "{answer:?}");
}

#[rstest]
#[tokio::test]
async fn to_sign_out_ends_the_session_and_takes_the_cookie_back(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let user = api.user("author");
    let bystander = PageSession::begin(&api, &user).await.cookie;
    let token = PageSession::begin(&api, &user).await.cookie;
    for _ in 0..2 {
        let answer = with_cookie(&api, SIGN_OUT, &token).await;
        assert_eq!(answer.status, 204, "{answer:?}");
        assert_forgets(&answer);
        assert_dead(&api, &token).await;
    }
    let answer = from_page(&api, SIGN_OUT).await;
    assert_eq!(answer.status, 204, "{answer:?}");
    assert_forgets(&answer);
    // Of two, each may be the one that somebody wants to be rid of.
    let [one, two] = [PageSession::begin(&api, &user).await.cookie, PageSession::begin(&api, &user).await.cookie];
    let both = format!("posts_session={one}; posts_session={two}");
    assert_eq!(from_page(&api, SIGN_OUT).header("Cookie", both).await.status, 204);
    for token in [one, two] {
        assert_dead(&api, &token).await;
    }
    assert_goes_on(&api, &bystander).await;
}

#[rstest]
#[tokio::test]
async fn both_doors_lead_to_the_same_sessions(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let user = api.user("author");
    let at_page = PageSession::begin(&api, &user).await.cookie;
    let at_api = Session::of(&api.refresh(&at_page).await).refresh_token;
    let token = assert_goes_on(&api, &at_api).await;
    let answer = api.post("/auth/logout", json!({"refresh_token": token})).anonymous().await;
    assert_eq!(answer.status, 204);
    assert!(!answer.headers.contains_key("set-cookie"), "{answer:?}");
    assert_dead(&api, &token).await;
}

#[rstest]
#[tokio::test]
async fn what_ends_a_users_sessions_ends_these(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let user = api.user("author");
    let token = PageSession::begin(&api, &user).await.cookie;
    let disable = |disabled: bool| api.patch(&format!("/users/{}", user.id), json!({"disabled": disabled}));
    assert_eq!(disable(true).await.status, 200);
    assert_dead(&api, &token).await;
    assert_eq!(from_page(&api, SIGN_IN).json(&credentials(&user)).await.status, 401);
    assert_eq!(disable(false).await.status, 200);
    let token = assert_goes_on(&api, &token).await;

    let change = json!({"current_password": PASSWORD, "new_password": "nine green umbrellas under a bridge"});
    assert_eq!(api.put("/auth/password", change).by(&user).await.status, 204);
    assert_dead(&api, &token).await;
    assert_eq!(from_page(&api, SIGN_IN).json(&credentials(&user)).await.status, 401);
}

// Who may come through.

/// Every request through the door, with the session's cookie where it takes one.
fn requests(api: &Api, token: &str) -> [Request; 3] {
    let cookie = format!("posts_session={token}");
    let sign_in = request(api, SIGN_IN).json(&credentials(&api.root));
    [sign_in, request(api, REFRESH).header("Cookie", &cookie), request(api, SIGN_OUT).header("Cookie", &cookie)]
}

/// Asserts that requests with these headers are refused at each operation, and change nothing.
async fn assert_kept_out(api: &Api, token: &str, headers: &[(&str, &str)]) {
    let before = stored(api);
    for request in requests(api, token) {
        let request = headers.iter().fold(request, |request, (name, value)| request.another_header(name, value));
        let answer = request.await;
        assert_eq!(answer.status, 403, "{headers:?}: {answer:?}");
        let problem = answer.problem("forbidden");
        for mend in ["`/auth/login`", "`--public-url`"] {
            assert!(problem["detail"].as_str().unwrap().contains(mend), "{headers:?}: {answer:?}");
        }
        assert!(!answer.headers.contains_key("set-cookie"), "{headers:?}: {answer:?}");
    }
    assert_eq!(stored(api), before, "{headers:?}");
}

#[rstest]
#[tokio::test]
async fn the_door_is_for_the_pages_of_this_server_alone(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let token = PageSession::begin(&api, &api.root).await.cookie;
    let own = api.url("");
    let address = api.address;
    let other_port = format!("http://127.0.0.1:{}", address.port() ^ 1);
    let origins = [
        "",
        "null",
        "https://evil.example",
        &other_port,
        "http://127.0.0.1",
        "https://127.0.0.1",
        &format!("http://localhost:{}", address.port()),
        &format!("ws://{address}"),
        &format!("file://{address}"),
        &format!("javascript://{address}"),
        &format!("{address}"),
        &format!("//{address}"),
        &format!("{own}/"),
        &format!("{own}/admin"),
        &format!("{own}?x"),
        &format!("{own}#x"),
        &format!("http://ada@{address}"),
        &format!("http://ada:secret@{address}"),
        &format!("http://{address}@evil.example"),
        &format!("http://{address}.evil.example"),
        &format!("HTTP://{address}"),
        &format!("{own} {own}"),
        &format!("{own}, {own}"),
        &format!("https://evil.example, {own}"),
        &format!("http:\\\\{address}"),
    ];
    for origin in origins {
        assert_kept_out(&api, &token, &[("Origin", origin)]).await;
    }
    assert_kept_out(&api, &token, &[]).await;
    assert_kept_out(&api, &token, &[("Referer", &own)]).await;
    assert_kept_out(&api, &token, &[("Origin", &own), ("Origin", &own)]).await;
    assert_kept_out(&api, &token, &[("Origin", &own), ("Origin", "https://evil.example")]).await;
    for site in ["cross-site", "same-site", "none", "", "Same-Origin", "same-origin, same-origin"] {
        assert_kept_out(&api, &token, &[("Origin", &own), ("Sec-Fetch-Site", site)]).await;
    }
    let sites = [("Origin", own.as_str()), ("Sec-Fetch-Site", "same-origin"), ("Sec-Fetch-Site", "cross-site")];
    assert_kept_out(&api, &token, &sites).await;
    // A proxy says where a request comes from, and not what it went to.
    let forwarded = [("Origin", "https://evil.example"), ("X-Forwarded-Host", "evil.example")];
    assert_kept_out(&api, &token, &forwarded).await;
    assert_goes_on(&api, &token).await;
}

#[rstest]
#[tokio::test]
async fn who_may_not_come_through_hears_of_that_before_anything_else(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    for request in [
        request(&api, SIGN_IN),
        request(&api, SIGN_IN).json(&json!({"colour": "blue"})),
        request(&api, SIGN_IN).body("application/json", "{"),
        request(&api, SIGN_IN).body("text/plain", "Hello"),
        request(&api, REFRESH),
        request(&api, REFRESH).bearing("nonsense"),
        request(&api, SIGN_OUT),
    ] {
        request.await.problem("forbidden");
    }
    // Failures that were refused here are none of the account's.
    for _ in 0..10 {
        let body = json!({"email": api.root.email, "password": "wrong"});
        request(&api, SIGN_IN).json(&body).await.problem("forbidden");
    }
    PageSession::begin(&api, &api.root).await;
    // What is not served here is told to everybody.
    assert_eq!(request(&api, ("GET", "/auth/session")).await.header("allow"), "POST, DELETE, OPTIONS");
    assert_eq!(request(&api, ("OPTIONS", "/auth/session/refresh")).await.status, 204);
}

#[rstest]
#[tokio::test]
async fn a_page_of_a_listed_origin_stays_outside(#[values(Sqlite, Postgres)] database: Database) {
    let origin = "https://app.example";
    for listed in [origin, "*"] {
        let api = start!(database, |config| config.cors_origins = vec![listed.to_owned()]);
        let token = PageSession::begin(&api, &api.root).await.cookie;
        assert_kept_out(&api, &token, &[("Origin", origin)]).await;
        let answer = with_cookie(&api, REFRESH, &token).await;
        assert!(!answer.headers.contains_key("access-control-allow-credentials"), "{answer:?}");
        assert_goes_on(&api, &PageSession::of(&answer).cookie).await;
    }
}

#[rstest]
#[tokio::test]
async fn behind_a_proxy_the_origin_says_whether_there_is_tls(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let user = api.user("author");
    // As a proxy sends it on that keeps `Host`.
    for (origin, host, is_secure) in [
        ("https://blog.example", "blog.example", true),
        ("https://blog.example", "blog.example:443", true),
        ("https://blog.example", "Blog.Example", true),
        ("https://blog.example:8443", "blog.example:8443", true),
        ("http://blog.example", "blog.example", false),
        ("http://blog.example", "blog.example:80", false),
        ("http://[2001:db8::1]:8080", "[2001:db8::1]:8080", false),
    ] {
        let through = |operation| request(&api, operation).header("Origin", origin).header("Host", host);
        let begun = through(SIGN_IN).json(&credentials(&user)).await;
        let cookies = format!("posts_session={}", PageSession::of(&begun).cookie);
        let refreshed = through(REFRESH).header("Cookie", cookies).await;
        let refused = through(REFRESH).header("Cookie", "posts_session=x").await;
        for answer in [begun, refreshed, refused, through(SIGN_OUT).await] {
            let attributes = cookie(&answer).1;
            assert_eq!(attributes.contains(&"Secure".to_owned()), is_secure, "{origin} to {host}: {answer:?}");
            assert!(!attributes.iter().any(|attribute| attribute.starts_with("Domain")), "{answer:?}");
        }
    }
    let token = PageSession::begin(&api, &user).await.cookie;
    for (origin, host) in [
        ("https://blog.example", "blog.example:80"),
        ("http://blog.example", "blog.example:443"),
        ("https://blog.example", "blog.example:8443"),
        ("https://blog.example:8443", "blog.example"),
        ("https://blog.example", "www.blog.example"),
        ("https://blog.example", "blog.example.evil.example"),
    ] {
        let answer = with_cookie(&api, REFRESH, &token).header("Origin", origin).header("Host", host).await;
        answer.problem("forbidden");
    }
    assert_goes_on(&api, &token).await;
}

#[rstest]
#[tokio::test]
async fn the_public_url_says_which_origin_and_path_are_ours(#[values(Sqlite, Postgres)] database: Database) {
    for (public_url, origin, path) in [
        ("https://blog.example", "https://blog.example", "Path=/auth"),
        ("https://blog.example:443/a/b", "https://blog.example", "Path=/a/b/auth"),
        ("http://Blog.Example:8080/api", "http://blog.example:8080", "Path=/api/auth"),
        ("https://bücher.example/über", "https://xn--bcher-kva.example", "Path=/%C3%BCber/auth"),
    ] {
        let api = start!(database, |config| config.public_url = Some(public_url.to_owned()));
        let through = |operation| request(&api, operation).header("Origin", origin);
        let begun = through(SIGN_IN).json(&credentials(&api.root)).await;
        let token = PageSession::of(&begun).cookie;
        let refreshed = through(REFRESH).header("Cookie", format!("posts_session={token}")).await;
        let token = PageSession::of(&refreshed).cookie;
        for answer in [begun, refreshed, through(SIGN_OUT).await] {
            assert!(cookie(&answer).1.contains(&path.to_owned()), "{public_url}: {answer:?}");
        }
        for other in ["https://blog.example:444", "http://blog.example", "https://www.blog.example", "null"] {
            assert_kept_out(&api, &token, &[("Origin", other)]).await;
        }
        // Who asks the server itself, past the proxy, has its page.
        assert_goes_on(&api, &token).await;
    }
}

// What the cookie is not for.

#[rstest]
#[tokio::test]
async fn nothing_else_looks_at_the_cookie(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let session = PageSession::begin(&api, &api.root).await;
    let cookies = [session.cookie.as_str(), session.access_token.as_str(), "nonsense"];
    let title = json!({"title": "Hello"});
    for cookie in cookies {
        let with_cookie = |operation| with_cookie(&api, operation, cookie);
        assert_eq!(with_cookie(("GET", "/auth/me")).await.status, 401);
        assert_eq!(with_cookie(("GET", "/users")).await.status, 401);
        assert_eq!(with_cookie(("POST", "/posts")).json(&title).await.status, 401);
        assert_eq!(with_cookie(("DELETE", "/posts/1")).await.status, 401);
        with_cookie(("POST", "/auth/refresh"))
            .json(&json!({}))
            .await
            .faults("validation-failed", &["/refresh_token required"]);
        with_cookie(("POST", "/auth/logout"))
            .json(&json!({}))
            .await
            .faults("validation-failed", &["/refresh_token required"]);
        // Nor where anybody may ask: a bad one is no reason to refuse.
        assert_eq!(with_cookie(("GET", "/posts")).await.status, 200);
    }
    assert_eq!(api.database.count("posts", "1 = 1"), 0);
    let answer = api.login(&api.root.email, PASSWORD).await;
    assert!(!answer.headers.contains_key("set-cookie"), "{answer:?}");
    assert_goes_on(&api, &session.cookie).await;
}

// The first admin.

#[rstest]
#[tokio::test]
async fn a_page_learns_whether_there_is_somebody_to_sign_in(#[values(Sqlite, Postgres)] database: Database) {
    let Some(database) = TestDatabase::create(database) else { return };
    let mut program = Program::on(&database, &[]).serve();
    let status = || program.get("/auth/setup");
    let answer = status().await;
    assert_eq!((answer.status, answer.json()), (200, json!({"needed": true})));
    assert_eq!(answer.header("cache-control"), "no-store");
    program.set_up().await;
    let answer = program.get("/auth/setup").await;
    assert_eq!((answer.status, answer.json()), (200, json!({"needed": false})));
    // Somebody who cannot sign in has been there, too: no setup token would count.
    database.execute("UPDATE users SET disabled = TRUE").unwrap();
    assert_eq!(program.get("/auth/setup").await.json(), json!({"needed": false}));
}
