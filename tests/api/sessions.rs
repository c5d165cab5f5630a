//! Contract section 6, sessions: refresh tokens, and what ends them, always on two servers with one database.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use futures_util::future::{join, join_all};
use posts_api::auth::{SigningKey, SigningKeys};
use posts_api::db::Timestamp;
use rstest::rstest;
use serde_json::{Value, json};

use crate::harness::{
    Answer, Api, Database, PASSWORD, Postgres, Program, SIGNING_KEY, Session, Sqlite, TestDatabase, User, start,
};
use crate::tokens::assert_is_refusal;

const DAY: Duration = Duration::from_hours(24);

/// Passwords that may be chosen, one for each number.
fn password(number: usize) -> String {
    format!("{number} green umbrellas under a bridge")
}

/// Starts two servers on a database.
macro_rules! start_two {
    ($database:expr) => {{
        let api = start!($database);
        let other = api.another(|_| {});
        (api, other)
    }};
}

/// Moves the moment when tokens were used.
fn set_used(api: &Api, ago: Duration) {
    let sql = format!("UPDATE refresh_tokens SET used_on = '{}' WHERE used_on IS NOT NULL", Timestamp::now() - ago);
    api.database.execute(&sql).unwrap();
}

/// Moves a moment of every session's.
fn set_sessions(api: &Api, column: &str, ago: Duration) {
    api.database.execute(&format!("UPDATE sessions SET {column} = '{}'", Timestamp::now() - ago)).unwrap();
}

/// How many tokens of this user's could be used now.
fn usable(api: &Api, user: &User) -> usize {
    let whose = format!("used_on IS NULL AND session_id IN (SELECT id FROM sessions WHERE user_id = {})", user.id);
    api.database.count("refresh_tokens", &whose)
}

async fn change_password(api: &Api, token: &str, current: &str, new: &str) -> Answer {
    api.put("/auth/password", json!({"current_password": current, "new_password": new})).bearing(token).await
}

async fn log_out(api: &Api, token: &str) {
    let answer = api.post("/auth/logout", json!({"refresh_token": token})).anonymous().await;
    assert_eq!(answer.status, 204, "{answer:?}");
    assert!(answer.body.is_empty());
}

/// Asserts that a refresh token counts for nothing on any of these servers.
async fn assert_dead(servers: [&Api; 2], token: &str) {
    for api in servers {
        assert_is_refusal(&api.refresh(token).await, "a refresh token");
    }
}

#[rstest]
#[tokio::test]
async fn a_session_goes_on_from_server_to_server(#[values(Sqlite, Postgres)] database: Database) {
    let (api, other) = start_two!(database);
    let user = api.user("author");
    let mut session = api.sign_in(&user).await;
    for (here, there) in [(&other, &api), (&api, &other), (&other, &api)] {
        let answer = here.refresh(&session.refresh_token).await;
        let next = Session::of(&answer);
        let body = answer.json();
        let names: Vec<_> = body.as_object().unwrap().keys().collect();
        assert_eq!(names, ["access_token", "expires_in", "refresh_token", "token_type"]);
        assert_eq!((&body["expires_in"], &body["token_type"]), (&json!(900), &json!("Bearer")));
        assert_eq!(answer.header("cache-control"), "no-store");
        assert_ne!(next.refresh_token, session.refresh_token);
        assert_ne!(next.access_token, session.access_token);
        there.assert_counts(&next.access_token, &user).await;
        // The one before was not taken back: it ends by itself.
        there.assert_counts(&session.access_token, &user).await;
        assert_eq!(usable(&api, &user), 1);
        session = next;
    }
}

#[rstest]
#[tokio::test]
async fn fifty_refreshes_at_once_give_one_successor(#[values(Sqlite, Postgres)] database: Database) {
    let (api, other) = start_two!(database);
    let user = api.user("author");
    let first = api.sign_in(&user).await.refresh_token;
    let storm = || async {
        let answers = (0..50).map(|index| if index % 2 == 0 { api.refresh(&first) } else { other.refresh(&first) });
        join_all(answers).await.iter().map(Session::of).collect::<Vec<_>>()
    };
    let sessions = storm().await;
    let successor = &sessions[0].refresh_token;
    assert_eq!(usable(&api, &user), 1);
    // Within the ten seconds, which may have begun a while ago.
    set_used(&api, Duration::from_secs(5));
    for session in sessions.iter().chain(&storm().await) {
        assert_eq!(&session.refresh_token, successor);
        other.assert_counts(&session.access_token, &user).await;
    }
    assert_eq!(usable(&api, &user), 1);

    // The successor, too, has one successor, whatever is asked for the first one in between.
    let next = Session::of(&other.refresh(successor).await).refresh_token;
    assert_eq!(&Session::of(&api.refresh(&first).await).refresh_token, successor);
    assert_eq!(Session::of(&api.refresh(successor).await).refresh_token, next);
    assert_eq!(usable(&api, &user), 1);
    assert_eq!(api.database.count("refresh_tokens", "1 = 1"), 3);
}

#[rstest]
#[tokio::test]
async fn a_used_token_that_comes_back_ends_its_family_and_no_other(#[values(Sqlite, Postgres)] database: Database) {
    let (api, other) = start_two!(database);
    let (user, stranger) = (api.user("author"), api.user("author"));
    let bystanders = [api.sign_in(&user).await, api.sign_in(&stranger).await];
    let first = api.sign_in(&user).await.refresh_token;
    let second = Session::of(&other.refresh(&first).await).refresh_token;
    let third = Session::of(&api.refresh(&second).await).refresh_token;

    set_used(&api, Duration::from_secs(7));
    assert_eq!(Session::of(&api.refresh(&second).await).refresh_token, third);
    set_used(&api, Duration::from_secs(10));
    assert_is_refusal(&other.refresh(&first).await, "a token that was used");
    for token in [&first, &second, &third] {
        assert_dead([&api, &other], token).await;
    }
    for (session, user) in bystanders.iter().zip([&user, &stranger]) {
        let refreshed = Session::of(&other.refresh(&session.refresh_token).await);
        api.assert_counts(&refreshed.access_token, user).await;
    }
}

#[rstest]
#[tokio::test]
async fn many_who_bring_back_a_used_token_all_get_nothing(#[values(Sqlite, Postgres)] database: Database) {
    let (api, other) = start_two!(database);
    let user = api.user("author");
    let first = api.sign_in(&user).await.refresh_token;
    let second = Session::of(&other.refresh(&first).await).refresh_token;
    set_used(&api, Duration::from_mins(1));
    let thieves = join_all((0..10).flat_map(|_| [api.refresh(&first), other.refresh(&first)]));
    for answer in thieves.await {
        assert_is_refusal(&answer, "a token that was used");
    }
    assert_dead([&api, &other], &second).await;
    assert_eq!(api.database.count("sessions", "1 = 1"), 0);
}

#[rstest]
#[tokio::test]
async fn a_session_ends_by_itself(#[values(Sqlite, Postgres)] database: Database) {
    let (api, other) = start_two!(database);
    let user = api.user("author");
    let minute = Duration::from_mins(1);
    for (column, lifetime) in [("refreshed_on", 30 * DAY), ("created_on", 90 * DAY)] {
        let first = api.sign_in(&user).await.refresh_token;
        set_sessions(&api, column, lifetime.saturating_sub(minute));
        let second = Session::of(&other.refresh(&first).await).refresh_token;
        set_sessions(&api, column, lifetime);
        for token in [&first, &second] {
            assert_dead([&api, &other], token).await;
        }
        // A refresh moves the one limit and not the other.
        set_sessions(&api, column, lifetime.saturating_sub(minute));
        let third = Session::of(&api.refresh(&second).await).refresh_token;
        let moved = format!("{column} > '{}'", Timestamp::now() - minute);
        assert_eq!(api.database.count("sessions", &moved), usize::from(column == "refreshed_on"));
        log_out(&api, &third).await;
    }
}

#[rstest]
#[tokio::test]
async fn to_sign_out_ends_one_session_on_every_server(#[values(Sqlite, Postgres)] database: Database) {
    let (api, other) = start_two!(database);
    let user = api.user("author");
    let bystander = api.sign_in(&user).await.refresh_token;

    let current = api.sign_in(&user).await.refresh_token;
    log_out(&other, &current).await;
    assert_dead([&api, &other], &current).await;
    // A used token of the family will do as well.
    let first = api.sign_in(&user).await.refresh_token;
    let second = Session::of(&api.refresh(&first).await).refresh_token;
    set_used(&api, Duration::from_hours(1));
    log_out(&other, &first).await;
    assert_dead([&api, &other], &second).await;

    for nothing in [&first, &current, "garbage", &api.root.token, "\u{1f600}", &"x".repeat(1024)] {
        log_out(&api, nothing).await;
    }
    assert_eq!(usable(&api, &user), 1);
    let rest = Session::of(&other.refresh(&bystander).await);
    api.assert_counts(&rest.access_token, &user).await;
}

#[rstest]
#[tokio::test]
async fn a_token_must_be_given_as_the_text_that_it_is(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let cases: [(Value, &[&str]); 7] = [
        (json!({}), &["/refresh_token required"]),
        (json!({"refresh_token": null}), &["/refresh_token wrong_type"]),
        (json!({"refresh_token": 7}), &["/refresh_token wrong_type"]),
        (json!({"refresh_token": ["x"]}), &["/refresh_token wrong_type"]),
        (json!({"refresh_token": ""}), &["/refresh_token too_short"]),
        (json!({"refresh_token": "x".repeat(1025)}), &["/refresh_token too_long"]),
        (json!({"refresh_token": "x", "token": "y"}), &["/token unknown_field"]),
    ];
    for path in ["/auth/refresh", "/auth/logout"] {
        for (body, faults) in &cases {
            api.post(path, body).anonymous().await.faults("validation-failed", faults);
        }
        assert_eq!(api.get(path).await.status, 405);
    }
}

#[rstest]
#[tokio::test]
async fn a_new_password_ends_all_that_was_signed_in(#[values(Sqlite, Postgres)] database: Database) {
    let (api, other) = start_two!(database);
    let (user, stranger) = (api.user("author"), api.user("author"));
    let key = api.api_key(&user, "reader").await;
    let strangers = api.sign_in(&stranger).await;
    let mut current = PASSWORD.to_owned();
    let mut old = vec![api.sign_in(&user).await, other.sign_in(&user).await];
    // Again and again, so that some are within one second: a token's time would not tell them apart.
    for number in 0..5 {
        let (here, there) = if number % 2 == 0 { (&api, &other) } else { (&other, &api) };
        let new = password(number);
        let changed = change_password(here, &old.last().unwrap().access_token, &current, &new).await;
        assert_eq!(changed.status, 204, "{changed:?}");
        let session = Session::of(&there.login(&user.email, &new).await);
        for server in [there, here] {
            for Session { access_token, .. } in &old {
                assert_is_refusal(&server.me(access_token).await, "an older access token");
            }
            server.assert_counts(&session.access_token, &user).await;
        }
        for Session { refresh_token, .. } in &old {
            assert_is_refusal(&there.refresh(refresh_token).await, "an older refresh token");
        }
        assert_eq!(here.login(&user.email, &current).await.status, 401);
        current = new;
        old.push(Session::of(&here.refresh(&session.refresh_token).await));
    }
    assert_eq!(usable(&api, &user), 1);
    // Keys are not signed in with a password.
    api.assert_counts(&key, &user).await;
    api.assert_counts(&strangers.access_token, &stranger).await;
    assert_eq!(other.refresh(&strangers.refresh_token).await.status, 200);
}

#[rstest]
#[tokio::test]
async fn nothing_slips_past_a_new_password_at_the_same_moment(#[values(Sqlite, Postgres)] database: Database) {
    let (api, other) = start_two!(database);
    let user = api.user("author");
    let mut current = PASSWORD.to_owned();
    for number in 0..6 {
        let session = Session::of(&api.login(&user.email, &current).await);
        let answered = &AtomicBool::new(false);
        let chain = |api, first: String| async move {
            let mut chain = vec![first];
            loop {
                let late = answered.load(Ordering::SeqCst);
                let answer = Api::refresh(api, chain.last().unwrap()).await;
                if answer.status == 401 {
                    return chain;
                }
                assert!(!late, "a refresh that began after the new password was answered: {answer:?}");
                chain.push(Session::of(&answer).refresh_token);
            }
        };
        let new = password(number);
        let change = async {
            let answer = change_password(&api, &session.access_token, &current, &new).await;
            answered.store(true, Ordering::SeqCst);
            answer
        };
        let refreshes = join(chain(&api, session.refresh_token.clone()), chain(&other, session.refresh_token.clone()));
        let logins = join_all([api.login(&user.email, &current), other.login(&user.email, &current)]);
        let (changed, ((one, two), logins)) = join(change, join(refreshes, logins)).await;
        assert_eq!(changed.status, 204, "{changed:?}");
        for answer in &logins {
            assert!([200, 401].contains(&answer.status), "{answer:?}");
        }
        assert_eq!(usable(&api, &user), 0);
        assert_eq!(api.database.count("sessions", &format!("user_id = {}", user.id)), 0);
        let shorter = one.len().min(two.len());
        assert_eq!(one[..shorter], two[..shorter], "two chains");
        for answer in logins.iter().filter(|answer| answer.status == 200) {
            assert_is_refusal(&other.me(&Session::of(answer).access_token).await, "a sign-in with the older password");
        }
        current = new;
    }
}

#[rstest]
#[tokio::test]
async fn of_two_new_passwords_at_the_same_moment_one_counts(#[values(Sqlite, Postgres)] database: Database) {
    let (api, other) = start_two!(database);
    let user = api.user("author");
    let (one, two) = (password(1), password(2));
    let changes =
        join(change_password(&api, &user.token, PASSWORD, &one), change_password(&other, &user.token, PASSWORD, &two));
    let (first, second) = changes.await;
    let mut statuses = [first.status, second.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [204, 401], "{first:?} {second:?}");
    let (good, bad) = if first.status == 204 { (&one, &two) } else { (&two, &one) };
    assert_eq!(other.login(&user.email, good).await.status, 200);
    assert_eq!(api.login(&user.email, bad).await.status, 401);
}

#[rstest]
#[tokio::test]
async fn a_password_that_an_admin_sets_ends_sessions_too(#[values(Sqlite, Postgres)] database: Database) {
    let (api, other) = start_two!(database);
    let user = api.user("author");
    let session = other.sign_in(&user).await;
    let path = format!("/users/{}", user.id);
    let answer = api.patch(&path, json!({"password": password(1)})).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(!answer.text().contains("umbrellas") && !answer.text().contains("argon2"), "{answer:?}");
    for server in [&other, &api] {
        assert_is_refusal(&server.me(&session.access_token).await, "an older access token");
        assert_is_refusal(&server.refresh(&session.refresh_token).await, "an older refresh token");
    }
    assert_eq!(other.login(&user.email, PASSWORD).await.status, 401);
    assert_eq!(other.login(&user.email, &password(1)).await.status, 200);
    // What changes nothing of the password ends nothing.
    let session = Session::of(&other.login(&user.email, &password(1)).await);
    assert_eq!(api.patch(&path, json!({"role": "editor"})).await.status, 200);
    let me = other.me(&session.access_token).await;
    assert_eq!(me.json()["role"], "editor");
    assert_eq!(other.refresh(&session.refresh_token).await.status, 200);
}

#[rstest]
#[tokio::test]
async fn who_is_disabled_is_out_until_enabled(#[values(Sqlite, Postgres)] database: Database) {
    let (api, other) = start_two!(database);
    let user = api.user("author");
    let session = other.sign_in(&user).await;
    let key = other.api_key(&user, "author").await;
    let path = format!("/users/{}", user.id);
    for _ in 0..2 {
        assert_eq!(api.patch(&path, json!({"disabled": true})).await.status, 200);
        for server in [&other, &api] {
            assert_is_refusal(&server.me(&session.access_token).await, "a disabled user's token");
            assert_is_refusal(&server.me(&key).await, "a disabled user's key");
            assert_is_refusal(&server.refresh(&session.refresh_token).await, "a disabled user's refresh token");
        }
        assert_eq!(api.patch(&path, json!({"disabled": false})).await.status, 200);
        for token in [&session.access_token, &key] {
            other.assert_counts(token, &user).await;
        }
    }
    assert_eq!(other.login(&user.email, PASSWORD).await.status, 200);
    assert_eq!(other.refresh(&session.refresh_token).await.status, 200);
}

#[rstest]
#[tokio::test]
async fn who_is_deleted_is_out_for_ever(#[values(Sqlite, Postgres)] database: Database) {
    let (api, other) = start_two!(database);
    let user = api.user("author");
    let session = other.sign_in(&user).await;
    let key = other.api_key(&user, "author").await;
    assert_eq!(api.delete(&format!("/users/{}", user.id)).await.status, 204);
    // Somebody new with the same e-mail is somebody else.
    let body = json!({"email": user.email, "password": password(1), "role": "admin"});
    let created = api.post("/users", body).await;
    assert_eq!(created.status, 201, "{created:?}");
    for server in [&other, &api] {
        assert_is_refusal(&server.me(&session.access_token).await, "a deleted user's token");
        assert_is_refusal(&server.me(&key).await, "a deleted user's key");
        assert_is_refusal(&server.refresh(&session.refresh_token).await, "a deleted user's refresh token");
    }
    assert_eq!(other.login(&user.email, PASSWORD).await.status, 401);
    assert_eq!(other.login(&user.email, &password(1)).await.status, 200);
}

#[rstest]
#[tokio::test]
async fn signing_keys_are_exchanged_while_sessions_go_on(#[values(Sqlite, Postgres)] database: Database) {
    let old = SigningKey::from_pem(SIGNING_KEY).unwrap();
    let new = SigningKey::from_pem(&SigningKey::generate().unwrap()).unwrap();
    let api = start!(database);
    let with = |keys: &[&SigningKey]| {
        let keys = SigningKeys::new(keys.iter().map(|&key| key.clone()).collect()).unwrap();
        api.another(|config| config.auth.keys = keys)
    };
    let kids = async |api: &Api| {
        let keys = api.get("/.well-known/jwks.json").await.json()["keys"].clone();
        keys.as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let signed_with = |token: &str| {
        let header = BASE64URL_NOPAD.decode(token.split('.').next().unwrap().as_bytes()).unwrap();
        serde_json::from_slice::<Value>(&header).unwrap()["kid"].as_str().unwrap().to_owned()
    };
    let user = api.user("author");

    // First every server learns to check with the new key, then each signs with it, then the old one goes.
    let (before, learnt, turned, after) = (&api, with(&[&old, &new]), with(&[&new, &old]), with(&[&new]));
    let both = kids(&learnt).await;
    assert_eq!(kids(before).await, both[..1]);
    assert_eq!(kids(&turned).await, [both[1].clone(), both[0].clone()]);
    assert_eq!(kids(&after).await, both[1..]);
    let mut session = before.sign_in(&user).await;
    for (one, other) in [(before, &learnt), (&learnt, &turned), (&turned, &after)] {
        for (here, there) in [(one, other), (other, one)] {
            let all = join_all((0..6).flat_map(|_| [here.refresh(&session.refresh_token)])).await;
            let next = Session::of(&all[0]);
            assert_eq!(signed_with(&next.access_token), kids(here).await[0]);
            let known = kids(there).await.contains(&signed_with(&next.access_token));
            assert_eq!(there.me(&next.access_token).await.status, if known { 200 } else { 401 });
            // Within the ten seconds the other one gives the same successor, though it signs with another key.
            if kids(there).await.contains(&kids(here).await[0]) {
                let again = Session::of(&there.refresh(&session.refresh_token).await);
                assert_eq!(again.refresh_token, next.refresh_token);
            }
            for answer in &all {
                assert_eq!(Session::of(answer).refresh_token, next.refresh_token);
            }
            assert_eq!(usable(&api, &user), 1);
            session = next;
        }
    }
    // At once, on servers that make successors with different keys.
    let servers = [&learnt, &turned];
    let all = join_all((0..20).map(|index| servers[index % 2].refresh(&session.refresh_token))).await;
    let next = Session::of(&all[0]);
    for answer in &all {
        assert_eq!(Session::of(answer).refresh_token, next.refresh_token);
    }
    assert_eq!(usable(&api, &user), 1);

    assert_is_refusal(&after.me(&before.sign_in(&user).await.access_token).await, "a retired key's token");
    after.assert_counts(&Session::of(&after.refresh(&next.refresh_token).await).access_token, &user).await;
}

#[rstest]
#[tokio::test]
async fn the_database_holds_no_secret_as_it_is(#[values(Sqlite, Postgres)] database: Database) {
    let Some(database) = TestDatabase::create(database) else { return };
    let mut program = Program::on(&database, &[]).serve();
    let setup_token = program.setup_token();
    let dump = || {
        let tables = ["users", "sessions", "refresh_tokens", "api_keys", "setup_tokens"];
        tables.map(|table| database.dump(table)).join("\n").to_lowercase()
    };
    let hashed = |secret: &str| {
        HEXLOWER.encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, secret.as_bytes()).as_ref())
    };
    let before = dump();
    assert!(before.contains(&hashed(&setup_token)), "{before}");

    let post = |path: &str, body: Value| program.request("POST", path).json(&body);
    let body = json!({"setup_token": setup_token, "email": "ada@example.org", "password": PASSWORD});
    let first = Session::of(&post("/auth/setup", body).await);
    let second = Session::of(&post("/auth/refresh", json!({"refresh_token": first.refresh_token})).await);
    let made = post("/api-keys", json!({"name": "n", "role": "admin"})).bearing(&first.access_token).await.json();
    let key = made["key"].as_str().unwrap().to_owned();
    let used = program.get("/auth/me").bearing(&key).await;
    assert_eq!(used.status, 200);

    let after = dump();
    for secret in [&first.refresh_token, &second.refresh_token, &key] {
        assert!(after.contains(&hashed(secret)), "{after}");
    }
    assert!(after.contains("$argon2id$v=19$m=19456,t=2,p=1$"), "{after}");
    let key_secret = key.rsplit_once('_').unwrap().1;
    let secrets =
        [&setup_token, &first.refresh_token, &second.refresh_token, &first.access_token, &key, key_secret, PASSWORD];
    for secret in secrets {
        let raw = BASE64URL_NOPAD.decode(secret.as_bytes()).unwrap_or_default();
        let forms = [secret.to_lowercase(), HEXLOWER.encode(secret.as_bytes()), HEXLOWER.encode(&raw)];
        for form in forms.iter().filter(|form| !form.is_empty()) {
            assert!(!before.contains(form.as_str()) && !after.contains(form.as_str()), "{form} in {after}");
        }
    }
}
