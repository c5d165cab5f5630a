//! Contract section 6, the first admin: by a setup token that is printed once, or on the command line.

use futures_util::future::join_all;
use posts_api::db::Timestamp;
use rstest::rstest;
use serde_json::{Value, json};

use crate::harness::{
    Answer, Api, Database, PASSWORD, Postgres, Program, Request, Running, Session, Sqlite, TestDatabase, start,
};

const EMAIL: &str = "Ada@Example.org";
const NEW_PASSWORD: &str = "nine green umbrellas under a bridge";

/// Starts the program on a database without users, and takes its setup token.
fn serve(database: &TestDatabase) -> (Running, String) {
    let mut program = Program::on(database, &[]).serve();
    let token = program.setup_token();
    (program, token)
}

fn post(program: &Running, path: &str, body: &Value) -> Request {
    program.request("POST", path).json(body)
}

fn set_up(program: &Running, token: &str, password: &str) -> Request {
    post(program, "/auth/setup", &json!({"setup_token": token, "email": EMAIL, "password": password}))
}

async fn login(program: &Running, email: &str, password: &str) -> Answer {
    post(program, "/auth/login", &json!({"email": email, "password": password})).await
}

async fn me(program: &Running, token: &str) -> Answer {
    program.get("/auth/me").bearing(token).await
}

// By a setup token.

#[rstest]
#[tokio::test]
async fn a_setup_token_makes_one_admin(#[values(Sqlite, Postgres)] database: Database) {
    let Some(database) = TestDatabase::create(database) else { return };
    let (program, token) = serve(&database);
    assert_eq!(login(&program, EMAIL, PASSWORD).await.status, 401);
    for wrong in ["x", &format!("{token}x"), &token[1..], &token.to_lowercase()] {
        set_up(&program, wrong, PASSWORD).await.problem("forbidden");
    }
    // What is wrong with the rest uses nothing up.
    let bad: [(Value, &[&str]); 4] = [
        (json!({}), &["/email required", "/password required", "/setup_token required"]),
        (json!({"setup_token": token, "email": EMAIL, "password": "short"}), &["/password too_short"]),
        (json!({"setup_token": token, "email": "ada", "password": PASSWORD}), &["/email invalid"]),
        (
            json!({"setup_token": token, "email": EMAIL, "password": PASSWORD, "role": "reader"}),
            &["/role unknown_field"],
        ),
    ];
    for (body, faults) in bad {
        post(&program, "/auth/setup", &body).await.faults("validation-failed", faults);
    }
    let answer = set_up(&program, &token, PASSWORD).await;
    let session = Session::of(&answer);
    assert_eq!(answer.header("cache-control"), "no-store");
    let answer = me(&program, &session.access_token).await;
    assert_eq!((&answer.json()["email"], &answer.json()["role"]), (&json!(EMAIL), &json!("admin")));
    assert_eq!(post(&program, "/auth/refresh", &json!({"refresh_token": session.refresh_token})).await.status, 200);
    for address in [EMAIL, "ada@example.org"] {
        assert_eq!(login(&program, address, PASSWORD).await.status, 200);
    }
    set_up(&program, &token, PASSWORD).await.problem("forbidden");
    assert_eq!(database.count("users", "1 = 1"), 1);
    assert_eq!(database.count("setup_tokens", "1 = 1"), 0);

    // A server that starts now prints none.
    let second = Program::on(&database, &[]).serve();
    assert_eq!(login(&second, EMAIL, PASSWORD).await.status, 200);
    assert_eq!(database.count("setup_tokens", "1 = 1"), 0);
}

#[rstest]
#[tokio::test]
async fn a_setup_token_lasts_for_half_an_hour(#[values(Sqlite, Postgres)] database: Database) {
    let Some(database) = TestDatabase::create(database) else { return };
    let (program, token) = serve(&database);
    let in_half_an_hour = Timestamp::now() + std::time::Duration::from_mins(30);
    assert_eq!(database.count("setup_tokens", &format!("expires_on <= '{in_half_an_hour}'")), 1);
    let minute = std::time::Duration::from_mins(1);
    assert_eq!(database.count("setup_tokens", &format!("expires_on > '{}'", in_half_an_hour - minute)), 1);
    database.execute(&format!("UPDATE setup_tokens SET expires_on = '{}'", Timestamp::now())).unwrap();
    set_up(&program, &token, PASSWORD).await.problem("forbidden");
    database.execute(&format!("UPDATE setup_tokens SET expires_on = '{}'", Timestamp::now() + minute)).unwrap();
    assert_eq!(set_up(&program, &token, PASSWORD).await.status, 200);
}

#[rstest]
#[tokio::test]
async fn of_many_who_set_up_at_once_one_becomes_admin(#[values(Sqlite, Postgres)] database: Database) {
    let Some(database) = TestDatabase::create(database) else { return };
    let (one, two) = (serve(&database), serve(&database));
    assert_ne!(one.1, two.1);
    let attempts = (0..12_usize).map(|number| {
        // The same token on two servers, and different ones.
        let (program, token) =
            (if number % 2 == 0 { &one.0 } else { &two.0 }, if number < 8 { &one.1 } else { &two.1 });
        let email = format!("admin{number}@example.org");
        let body = json!({"setup_token": token, "email": email, "password": PASSWORD});
        post(program, "/auth/setup", &body).into_future()
    });
    let mut statuses: Vec<_> = join_all(attempts).await.iter().map(|answer| answer.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses[0], 200);
    assert!(statuses[1..].iter().all(|&status| status == 403), "{statuses:?}");
    assert_eq!(database.count("users", "role = 'admin'"), 1);
    assert_eq!(database.count("users", "1 = 1"), 1);
    assert_eq!(database.count("sessions", "1 = 1"), 1);
}

#[rstest]
#[tokio::test]
async fn setup_tokens_cannot_be_guessed_for_long(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database, |config| config.trusted_proxies.0.push("127.0.0.1/32".parse().unwrap()));
    let attempt = |address: &str| {
        let body = json!({"setup_token": "x", "email": EMAIL, "password": PASSWORD});
        api.post("/auth/setup", body).anonymous().header("X-Forwarded-For", address).into_future()
    };
    let answers = join_all((0..20).map(|_| attempt("198.51.100.1"))).await;
    assert!(answers.iter().all(|answer| answer.status == 403), "{answers:?}");
    let limited = attempt("198.51.100.1").await;
    assert_eq!(limited.status, 429);
    assert_eq!(limited.header("ratelimit-policy"), "\"setup\";q=20;w=600");
    assert_eq!(attempt("198.51.100.2").await.status, 403);
}

// On the command line.

/// Runs `posts user …`, with a password for standard input, and returns the exit status and what it printed.
fn user(database: &TestDatabase, arguments: &[&str], password: &str) -> (Option<i32>, String, String) {
    let arguments = [&["user"], arguments].concat();
    let output = Program::on(database, &arguments).input(password).output();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// The same for what must succeed.
#[track_caller]
fn user_done(database: &TestDatabase, arguments: &[&str], password: &str) -> String {
    let (status, stdout, stderr) = user(database, arguments, password);
    assert_eq!(status, Some(0), "{arguments:?}: {stderr}");
    stdout
}

#[rstest]
#[tokio::test]
async fn the_command_line_makes_the_first_admin(#[values(Sqlite, Postgres)] database: Database) {
    let Some(database) = TestDatabase::create(database) else { return };
    let (program, token) = serve(&database);
    let create = ["create", "--email", EMAIL, "--role", "admin", "--password-stdin"];
    let printed = user_done(&database, &create, &format!("{PASSWORD}\n"));
    assert!(printed.contains(EMAIL) && printed.contains("admin"), "{printed}");
    assert_eq!(login(&program, EMAIL, PASSWORD).await.status, 200);
    // There is somebody now.
    set_up(&program, &token, PASSWORD).await.problem("forbidden");
    let (status, _, stderr) = user(&database, &create, PASSWORD);
    assert_eq!(status, Some(1), "{stderr}");
    assert_eq!(stderr.trim_end(), "posts: There is a user with this e-mail already.");
}

#[rstest]
#[tokio::test]
async fn the_command_line_changes_users_at_once(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let database = &api.database;
    let author = api.user("author");
    let session = api.sign_in(&author).await;
    let email = author.email.to_uppercase();
    let named = ["--email", &email];
    let with = |command: &'static str, more: &[&'static str]| {
        let arguments = [&[command][..], &named, more].concat();
        user_done(database, &arguments, NEW_PASSWORD)
    };

    let lines = user_done(database, &["list"], "");
    let line = lines.lines().find(|line| line.ends_with(&author.email)).unwrap();
    assert_eq!(
        line.split_whitespace().collect::<Vec<_>>(),
        [&author.id.to_string(), "author", "enabled", &author.email]
    );
    assert_eq!(lines.lines().count(), 2);

    assert!(with("disable", &[]).contains("disabled"));
    assert_eq!(api.me(&session.access_token).await.status, 401);
    assert_eq!(api.login(&author.email, PASSWORD).await.status, 401);
    with("enable", &[]);
    api.assert_counts(&session.access_token, &author).await;

    let post = json!({"title": "T"});
    assert_eq!(api.post("/posts", &post).bearing(&session.access_token).await.status, 201);
    with("set-role", &["--role", "reader"]);
    assert_eq!(api.me(&session.access_token).await.json()["role"], "reader");
    assert_eq!(api.post("/posts", &post).bearing(&session.access_token).await.status, 403);

    with("set-password", &["--password-stdin"]);
    assert_eq!(api.me(&session.access_token).await.status, 401);
    assert_eq!(api.refresh(&session.refresh_token).await.status, 401);
    assert_eq!(api.login(&author.email, PASSWORD).await.status, 401);
    assert_eq!(api.login(&author.email, NEW_PASSWORD).await.status, 200);
}

#[rstest]
#[tokio::test]
async fn the_command_line_refuses_in_one_sentence(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let email = &api.root.email;
    let create = ["create", "--email", "new@example.org", "--role", "author", "--password-stdin"];
    let wrong: [(&[&str], &str, i32); 10] = [
        (&["create", "--email", "new@example.org", "--role", "king", "--password-stdin"], PASSWORD, 2),
        (&["create", "--email", "new@example.org", "--role", "author"], PASSWORD, 2),
        (&["create", "--email", "nobody", "--role", "author", "--password-stdin"], PASSWORD, 2),
        (&create, "short", 2),
        (&create, "", 2),
        (&["set-role", "--email", email, "--role", "king"], "", 2),
        (&["set-password", "--email", email, "--password-stdin"], "password1234", 2),
        (&["set-password", "--email", email], PASSWORD, 2),
        (&["set-role", "--email", "nobody@example.org", "--role", "author"], "", 1),
        (&["disable", "--email", "nobody@example.org"], "", 1),
    ];
    for (arguments, password, expected) in wrong {
        let (status, stdout, stderr) = user(&api.database, arguments, password);
        assert_eq!(status, Some(expected), "{arguments:?}: {stderr}");
        assert_eq!(stdout, "", "{arguments:?}");
        assert_eq!(stderr.trim_end().lines().count(), 1, "{arguments:?}: {stderr}");
        assert!(stderr.starts_with("posts: "), "{arguments:?}: {stderr}");
        assert!(password.is_empty() || !stderr.contains(password), "{arguments:?}: {stderr}");
    }
    let with_password = ["create", "--email", "new@example.org", "--role", "author", "--password", PASSWORD];
    let (status, _, stderr) = user(&api.database, &with_password, "");
    assert_eq!(status, Some(2), "{stderr}");
    assert_eq!(api.database.count("users", "1 = 1"), 1);
    assert_eq!(Api::login(&api, email, PASSWORD).await.status, 200);
}
