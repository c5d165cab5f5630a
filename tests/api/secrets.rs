//! Contract section 6: what is secret shows in no answer, no log and no metric; and what happens leaves a line.

use std::cell::RefCell;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::{BASE64, HEXLOWER};
use posts_api::db::Timestamp;
use rstest::rstest;
use serde_json::{Value, json};

use crate::harness::{
    Answer, Database, PASSWORD, Postgres, Program, Running, SIGNING_KEY, Session, Sqlite, TestDatabase,
};

const EMAIL: &str = "ada@example.org";
const NEW_PASSWORD: &str = "nine green umbrellas under a bridge";
const ANOTHER_PASSWORD: &str = "seven yellow tables under water";

/// A running program, and all that must not be seen of it.
struct Watched {
    program: Running,
    database: TestDatabase,
    secrets: RefCell<Vec<String>>,
    /// The answers that fail, and those that are for everybody.
    answers: RefCell<Vec<Answer>>,
}

impl Watched {
    /// Notes a secret, with each part that would do as well.
    fn secret(&self, secret: &str) {
        let hash = HEXLOWER.encode(digest(&SHA256, secret.as_bytes()).as_ref());
        let parts = secret.split(['.', '_', '$', '\n']).filter(|part| part.len() >= 16);
        let mut secrets = self.secrets.borrow_mut();
        secrets.extend([secret.to_owned(), hash, BASE64.encode(secret.as_bytes())]);
        secrets.extend(parts.map(str::to_owned));
    }

    /// What is in the log of a step has this id.
    async fn send(&self, id: &str, method: &str, path: &str, token: Option<&str>, body: &Value) -> u16 {
        let answer = self.ask(id, method, path, token, body).await;
        let status = answer.status;
        if status >= 400 {
            self.answers.borrow_mut().push(answer);
        }
        status
    }

    async fn ask(&self, id: &str, method: &str, path: &str, token: Option<&str>, body: &Value) -> Answer {
        let request = self.program.request(method, path);
        let request = request.header("X-Request-Id", id).header("Origin", self.program.url(""));
        let request = if body.is_null() { request } else { request.json(body) };
        match token {
            Some(token) => request.bearing(token).await,
            None => request.await,
        }
    }

    /// A step that gives a session, whose tokens are secrets.
    async fn session(&self, id: &str, path: &str, body: Value) -> Session {
        let session = Session::of(&self.ask(id, "POST", path, None, &body).await);
        self.secret(&session.access_token);
        self.secret(&session.refresh_token);
        session
    }

    /// The refresh token that a step set as a cookie; what the step gives is secret.
    fn cookie(&self, answer: &Answer) -> String {
        assert_eq!(answer.status, 200, "{answer:?}");
        self.secret(answer.json()["access_token"].as_str().unwrap());
        let cookie = answer.header("set-cookie").split(['=', ';']).nth(1).unwrap().to_owned();
        self.secret(&cookie);
        cookie
    }

    /// A step of a page's, which sends this cookie.
    async fn with_cookie(&self, id: &str, method: &str, path: &str, cookie: &str) -> Answer {
        let request = self.program.request(method, path).header("X-Request-Id", id);
        request.header("Origin", self.program.url("")).header("Cookie", format!("posts_session={cookie}")).await
    }

    /// A step that fails with this status because of a secret that somebody mistook.
    async fn fails(&self, id: &str, status: u16, method: &str, path: &str, token: Option<&str>, body: Value) {
        assert_eq!(self.send(id, method, path, token, &body).await, status, "{id}");
    }

    fn command(&self, arguments: &[&str], password: &str) -> String {
        let arguments = [&["user"], arguments, &["--log", "trace", "--log-format", "json"]].concat();
        let output = Program::on(&self.database, &arguments).input(password).output();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    }
}

/// The line that a step left in the log for who reads it later.
fn audit_lines<'a>(log: &'a [Value], id: &str) -> Vec<&'a Value> {
    log.iter().filter(|line| line["message"] == "audit" && line["id"] == id).collect()
}

#[rstest]
#[tokio::test]
async fn nothing_secret_is_ever_shown_and_every_event_is_noted(#[values(Sqlite, Postgres)] database: Database) {
    let Some(database) = TestDatabase::create(database) else { return };
    let mut program = Program::on(&database, &["--log", "trace", "--log-format", "json"]).serve();
    let setup_token = program.setup_token();
    let watched = Watched { program, database, secrets: RefCell::default(), answers: RefCell::default() };
    for password in [PASSWORD, NEW_PASSWORD, ANOTHER_PASSWORD, &setup_token] {
        watched.secret(password);
    }
    watched.secret(SIGNING_KEY.lines().nth(1).unwrap());
    let mut number = 0;
    let mut canary = || {
        number += 1;
        let canary = format!("canary{number}-0123456789-abcdefghij");
        watched.secret(&canary);
        canary
    };

    // Setting up, signing in and out.
    let body = |token: &str| json!({"setup_token": token, "email": EMAIL, "password": PASSWORD});
    watched.fails("set-up-wrong", 403, "POST", "/auth/setup", None, body(&canary())).await;
    let first = watched.session("set-up", "/auth/setup", body(&setup_token)).await;
    let login = |email: &str, password: &str| json!({"email": email, "password": password});
    let second = watched.session("sign-in", "/auth/login", login(EMAIL, PASSWORD)).await;
    watched.fails("sign-in-wrong", 401, "POST", "/auth/login", None, login(EMAIL, &canary())).await;
    watched.fails("sign-in-mixed-up", 401, "POST", "/auth/login", None, login(&canary(), EMAIL)).await;
    let body = |token: &str| json!({"refresh_token": token});
    watched.fails("refresh-wrong", 401, "POST", "/auth/refresh", None, body(&canary())).await;
    let third = watched.session("refresh", "/auth/refresh", body(&second.refresh_token)).await;
    let used = Timestamp::now() - Duration::from_mins(1);
    watched
        .database
        .execute(&format!("UPDATE refresh_tokens SET used_on = '{used}' WHERE used_on IS NOT NULL"))
        .unwrap();
    watched.fails("refresh-stolen", 401, "POST", "/auth/refresh", None, body(&second.refresh_token)).await;
    watched.fails("refresh-ended", 401, "POST", "/auth/refresh", None, body(&third.refresh_token)).await;
    let out = watched.session("sign-in-again", "/auth/login", login(EMAIL, PASSWORD)).await;
    assert_eq!(watched.send("sign-out", "POST", "/auth/logout", None, &body(&out.refresh_token)).await, 204);
    assert_eq!(watched.send("sign-out-wrong", "POST", "/auth/logout", None, &body(&canary())).await, 204);

    // The same as a page.
    let begun = watched.ask("page", "POST", "/auth/session", None, &login(EMAIL, PASSWORD)).await;
    let cookie = watched.cookie(&begun);
    watched.fails("page-wrong", 401, "POST", "/auth/session", None, login(EMAIL, &canary())).await;
    let refreshed = watched.with_cookie("page-refresh", "POST", "/auth/session/refresh", &cookie).await;
    let cookie = watched.cookie(&refreshed);
    assert_eq!(watched.with_cookie("page-out", "DELETE", "/auth/session", &cookie).await.status, 204);
    for step in ["page-ended", "page-garbage"] {
        let cookie = if step == "page-ended" { cookie.clone() } else { canary() };
        let answer = watched.with_cookie(step, "POST", "/auth/session/refresh", &cookie).await;
        assert_eq!(answer.status, 401, "{answer:?}");
        watched.answers.borrow_mut().push(answer);
    }

    // Keys.
    let admin = Some(first.access_token.as_str());
    let made = watched.ask("key", "POST", "/api-keys", admin, &json!({"name": "n", "role": "admin"})).await;
    assert_eq!(made.status, 201);
    let (key, key_id) = (made.json()["key"].as_str().unwrap().to_owned(), made.json()["id"].as_i64().unwrap());
    watched.secret(&key);
    assert_eq!(watched.send("key-used", "GET", "/users", Some(&key), &Value::Null).await, 200);
    let wrong_key = format!("posts_00000000_{}", canary());
    watched.fails("key-wrong", 401, "GET", "/posts", Some(&wrong_key), Value::Null).await;
    let path = format!("/api-keys/{key_id}");
    assert_eq!(watched.send("key-gone", "DELETE", &path, admin, &Value::Null).await, 204);
    watched.fails("key-used-again", 401, "GET", "/users", Some(&key), Value::Null).await;

    // Users, by the service and on the command line.
    let body = json!({"email": "bob@example.org", "password": NEW_PASSWORD, "role": "author"});
    let made = watched.ask("user", "POST", "/users", admin, &body).await;
    assert_eq!(made.status, 201);
    let bob = made.json()["id"].as_i64().unwrap();
    watched.fails("user-twice", 409, "POST", "/users", admin, body).await;
    let path = format!("/users/{bob}");
    let body = json!({"password": ANOTHER_PASSWORD, "role": "editor"});
    assert_eq!(watched.send("user-changed", "PATCH", &path, admin, &body).await, 200);
    let weak = json!({"password": canary(), "rôle": canary(), "role": canary()});
    watched.fails("user-changed-wrong", 422, "PATCH", &path, admin, weak).await;
    let mut printed = watched.command(&["list"], "");
    let carol = ["--email", "carol@example.org"];
    printed +=
        &watched.command(&[&["create"], &carol[..], &["--role", "reader", "--password-stdin"]].concat(), NEW_PASSWORD);
    printed += &watched.command(&[&["set-password"], &carol[..], &["--password-stdin"]].concat(), ANOTHER_PASSWORD);

    // A password that is changed, and one that cannot be read.
    let bobs = watched.session("sign-in-bob", "/auth/login", login("bob@example.org", ANOTHER_PASSWORD)).await;
    let body = |current: &str, new: &str| json!({"current_password": current, "new_password": new});
    let bob_token = Some(bobs.access_token.as_str());
    let wrong = body(&canary(), NEW_PASSWORD);
    watched.fails("password-wrong", 403, "PUT", "/auth/password", bob_token, wrong).await;
    let weak = format!("{}{}", canary(), "x".repeat(1024));
    watched.fails("password-weak", 422, "PUT", "/auth/password", bob_token, body(ANOTHER_PASSWORD, &weak)).await;
    let right = body(ANOTHER_PASSWORD, NEW_PASSWORD);
    assert_eq!(watched.send("password", "PUT", "/auth/password", bob_token, &right).await, 204);
    watched.fails("password-old-token", 401, "GET", "/auth/me", bob_token, Value::Null).await;
    watched.database.texts("SELECT password_hash AS text FROM users").iter().for_each(|hash| watched.secret(hash));
    let broken = canary();
    let sql = format!("UPDATE users SET password_hash = '{broken}' WHERE id = {bob}");
    watched.database.execute(&sql).unwrap();
    watched.fails("hash", 500, "POST", "/auth/login", None, login("bob@example.org", NEW_PASSWORD)).await;
    assert_eq!(watched.send("user-gone", "DELETE", &path, admin, &Value::Null).await, 204);

    // What is sent in the wrong place.
    for (step, path) in ["/posts", "/posts/1", "/auth/me", "/users", "/nowhere"].into_iter().enumerate() {
        for name in ["access_token", "token", "api_key", "tokken", "password"] {
            for secret in [&first.access_token, &canary()] {
                let path = format!("{path}?{name}={secret}");
                watched.send(&format!("query-{step}"), "GET", &path, None, &Value::Null).await;
            }
        }
    }
    watched.fails("token-wrong", 401, "GET", "/posts", Some(&canary()), Value::Null).await;
    for path in ["/auth/login", "/auth/refresh", "/auth/setup", "/auth/logout"] {
        let canary = canary();
        let bodies = [
            format!("{{\"password\": \"{canary}"),
            format!("\"{canary}\""),
            format!("[\"{canary}\"]"),
            format!(
                "{{\"email\": [\"{canary}\"], \"pasword\": \"{canary}\", \"refresh_token\": {{\"a\": \"{canary}\"}}}}"
            ),
            format!("{{\"email\": \"{canary}\", \"email\": \"{canary}\"}}"),
        ];
        for body in bodies {
            let answer = watched.program.request("POST", path).body("application/json", body).await;
            assert!(answer.status >= 400, "{answer:?}");
            watched.answers.borrow_mut().push(answer);
        }
    }
    let mut limited = 0;
    for _ in 0..6 {
        let wrong = login("nobody@example.org", &canary());
        limited += usize::from(watched.send("sign-in-limited", "POST", "/auth/login", None, &wrong).await == 429);
    }
    assert_eq!(limited, 1);

    // Everything is done: nobody has seen anything.
    for path in ["/metrics", "/openapi.json", "/.well-known/jwks.json", "/problems/unauthorized", "/admin"] {
        let answer = watched.program.get(path).await;
        assert_eq!(answer.status, 200);
        watched.answers.borrow_mut().push(answer);
    }
    let Watched { mut program, secrets, answers, .. } = watched;
    program.signal("TERM");
    printed += &program.greeting;
    printed += &program.printed();
    let (_, log) = program.wait();
    assert!(log.contains("\"level\":\"TRACE\""), "it logs all that it can");
    for secret in secrets.borrow().iter() {
        if let Some(line) = log.lines().find(|line| line.contains(secret.as_str())) {
            panic!("{secret} in the log: {line}");
        }
        assert!(!printed.contains(secret.as_str()), "{secret} in {printed}");
        for answer in answers.borrow().iter() {
            let seen = format!("{:?}\n{}", answer.headers, String::from_utf8_lossy(&answer.body));
            assert!(!seen.contains(secret.as_str()), "{secret} in {answer:?}");
        }
    }

    // And yet it is known what happened.
    let log: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let ada = Some(1);
    let events = [
        ("set-up-wrong", "WARN", "setup failed", None, None),
        ("set-up", "INFO", "the first admin was created", ada, None),
        ("sign-in", "INFO", "signed in", ada, None),
        ("sign-in-wrong", "WARN", "sign-in failed", ada, None),
        ("sign-in-mixed-up", "WARN", "sign-in failed", None, None),
        ("refresh-wrong", "WARN", "refresh failed", None, None),
        ("refresh", "INFO", "refreshed", ada, None),
        ("refresh-stolen", "WARN", "a used refresh token came back: its session was ended", ada, None),
        ("refresh-ended", "WARN", "refresh failed", None, None),
        ("sign-out", "INFO", "signed out", ada, None),
        ("page", "INFO", "signed in", ada, None),
        ("page-wrong", "WARN", "sign-in failed", ada, None),
        ("page-refresh", "INFO", "refreshed", ada, None),
        ("page-out", "INFO", "signed out", ada, None),
        ("page-ended", "WARN", "refresh failed", None, None),
        ("page-garbage", "WARN", "refresh failed", None, None),
        ("key", "INFO", "API key created", ada, Some(key_id)),
        ("key-gone", "INFO", "API key deleted", ada, Some(key_id)),
        ("user", "INFO", "user created", ada, Some(bob)),
        ("user-changed", "INFO", "user changed", ada, Some(bob)),
        ("sign-in-bob", "INFO", "signed in", Some(bob), None),
        ("password-wrong", "WARN", "password not changed", Some(bob), None),
        ("password", "INFO", "password changed", Some(bob), None),
        ("user-gone", "INFO", "user deleted", ada, Some(bob)),
    ];
    for (id, level, event, user, subject) in events {
        let lines = audit_lines(&log, id);
        assert_eq!(lines.len(), 1, "{id}: {lines:?}");
        let line = lines[0];
        assert_eq!(line["level"], level, "{line}");
        assert_eq!(line["event"], event, "{line}");
        assert_eq!(line["client"], "127.0.0.1", "{line}");
        assert!(line["timestamp"].is_string(), "{line}");
        assert_eq!(line.get("subject").and_then(Value::as_i64), subject, "{line}");
        assert_eq!(line.get("user").and_then(Value::as_i64), user, "{line}");
    }
    for id in ["sign-out-wrong", "user-twice", "user-changed-wrong", "password-weak", "hash", "key-used"] {
        assert!(audit_lines(&log, id).is_empty(), "{id}");
    }
    let limited = audit_lines(&log, "sign-in-limited");
    assert_eq!(limited.len(), 6);
    assert_eq!(limited[5]["event"], "sign-in refused");
}
