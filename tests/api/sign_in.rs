//! Contract section 6, signing in: what it takes, what it gives, and how often one may get it wrong.

use argon2::password_hash::PasswordHasher as _;
use argon2::{Algorithm, Argon2, Params, Version};
use diesel::connection::SimpleConnection as _;
use futures_util::future::join_all;
use rstest::rstest;
use serde_json::{Value, json};

use crate::harness::{
    Answer, Api, Database, PASSWORD, Postgres, Request, Session, Sqlite, TestDatabase, User, eventually, start,
};
use crate::tokens::assert_is_refusal;

const NEW_PASSWORD: &str = "nine green umbrellas under a bridge";

/// Starts a server behind a proxy, so that each request can have an address of its own.
macro_rules! start_behind_a_proxy {
    ($database:expr) => {
        start!($database, |config| config.trusted_proxies.0.push("127.0.0.1/32".parse().unwrap()))
    };
}

/// An attempt to sign in from an address.
fn login_from(api: &Api, address: &str, email: &str, password: &str) -> Request {
    let request = api.post("/auth/login", json!({"email": email, "password": password}));
    request.anonymous().header("X-Forwarded-For", address)
}

/// Asserts that a sign-in failed, in the way that tells nothing.
#[track_caller]
fn assert_failed(answer: &Answer) {
    assert_eq!(answer.status, 401, "{answer:?}");
    assert_eq!(answer.header("www-authenticate"), "Bearer");
    let problem = answer.problem("unauthorized");
    let detail = "There is no such user, or the password is another, or the user is disabled.";
    assert_eq!(problem["detail"], detail);
    assert!(problem.get("errors").is_none(), "{answer:?}");
}

/// Asserts that too many have failed by this limit, and says after how many seconds to come back.
#[track_caller]
fn assert_limited(answer: &Answer, name: &str, burst: u32, period: u64) {
    assert_eq!(answer.status, 429, "{answer:?}");
    answer.problem("too-many-requests");
    let wait: u64 = answer.header("retry-after").parse().unwrap();
    assert!((1..=period + 1).contains(&wait), "{answer:?}");
    let window = u64::from(burst) * period;
    assert_eq!(answer.header("ratelimit-policy"), format!("\"{name}\";q={burst};w={window}"));
    assert_eq!(answer.header("ratelimit"), format!("\"{name}\";r=0;t={wait}"));
}

/// A hash of a text in the database, at the cost of another time.
fn cheap_hash(password: &str) -> String {
    let params = Params::new(8 << 10, 1, 1, None).unwrap();
    let hasher = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    hasher.hash_password(password.as_bytes()).unwrap().to_string()
}

fn set_hash(database: &TestDatabase, user: &User, hash: &str) {
    let sql = format!("UPDATE users SET password_hash = '{hash}' WHERE id = {}", user.id);
    database.execute(&sql).unwrap();
}

fn hash_of(database: &TestDatabase, user: &User) -> String {
    database.texts(&format!("SELECT password_hash AS text FROM users WHERE id = {}", user.id)).remove(0)
}

// What it takes, and what it gives.

#[rstest]
#[tokio::test]
async fn an_email_and_its_password_give_two_tokens(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let user = api.user("author");
    for email in [user.email.clone(), user.email.to_uppercase(), user.email.to_lowercase()] {
        let answer = api.login(&email, PASSWORD).await;
        let session = Session::of(&answer);
        let body = answer.json();
        let names: Vec<_> = body.as_object().unwrap().keys().collect();
        assert_eq!(names, ["access_token", "expires_in", "refresh_token", "token_type"]);
        assert_eq!((&body["token_type"], &body["expires_in"]), (&json!("Bearer"), &json!(900)));
        assert_eq!(answer.header("cache-control"), "no-store");
        assert_eq!(answer.header("content-type"), "application/json");
        let me = api.me(&session.access_token).await;
        assert_eq!(me.json(), json!({"id": user.id, "email": user.email, "role": "author"}));
    }
    // A token that has ended is no reason to refuse the next one.
    let request = api.post("/auth/login", json!({"email": user.email, "password": PASSWORD}));
    assert_eq!(request.bearing("expired").await.status, 200);
}

#[rstest]
#[tokio::test]
async fn all_faults_of_a_sign_in_are_named(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let cases: [(Value, &[&str]); 8] = [
        (json!({}), &["/email required", "/password required"]),
        (json!({"email": 7, "password": null}), &["/email wrong_type", "/password wrong_type"]),
        (json!({"email": "", "password": ""}), &["/email too_short", "/password too_short"]),
        (json!({"email": "a".repeat(255), "password": "b".repeat(1025)}), &["/email too_long", "/password too_long"]),
        (json!({"email": "a\u{0}", "password": "b\u{0}"}), &["/email contains_nul", "/password contains_nul"]),
        (json!({"email": "a@b", "password": "b", "role": "admin"}), &["/role unknown_field"]),
        (json!({"email": ["a@b"], "password": {"$ne": ""}}), &["/email wrong_type", "/password wrong_type"]),
        (json!({"username": "a", "password": "b"}), &["/email required", "/username unknown_field"]),
    ];
    for (body, faults) in cases {
        let answer = api.post("/auth/login", body).anonymous().await;
        answer.faults("validation-failed", faults);
    }
    let form = "email=a%40b&password=b";
    let answer = api.request("POST", "/auth/login").anonymous().body("application/x-www-form-urlencoded", form).await;
    assert_eq!(answer.status, 415);
    let answer = api.request("POST", "/auth/login").anonymous().body("application/json", "{").await;
    answer.problem("malformed-json");
}

#[rstest]
#[tokio::test]
async fn no_answer_tells_who_there_is(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let (user, disabled) = (api.user("author"), api.user("author"));
    assert_eq!(api.patch(&format!("/users/{}", disabled.id), json!({"disabled": true})).await.status, 200);
    let attempts = [
        (user.email.as_str(), "wrong"),
        ("nobody@example.org", "wrong"),
        ("nobody@example.org", PASSWORD),
        (&disabled.email, "wrong"),
        (&disabled.email, PASSWORD),
        ("no e-mail at all", PASSWORD),
        ("' OR '1'='1", "' OR '1'='1"),
        ("%", PASSWORD),
    ];
    let mut seen = Vec::new();
    for (email, password) in attempts {
        let answer = api.login(email, password).await;
        assert_failed(&answer);
        let mut problem = answer.json();
        problem.as_object_mut().unwrap().remove("request_id");
        let mut headers: Vec<_> = answer.headers.iter().map(|(name, value)| format!("{name}: {value:?}")).collect();
        headers.retain(|line| !line.starts_with("x-request-id") && !line.starts_with("date"));
        headers.sort();
        seen.push((problem, headers));
    }
    seen.dedup();
    assert_eq!(seen.len(), 1, "{seen:?}");
}

#[rstest]
#[tokio::test]
async fn an_older_hash_is_renewed_at_the_next_sign_in(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let user = api.user("author");
    let current = "$argon2id$v=19$m=19456,t=2,p=1$";
    let before = hash_of(&api.database, &user);
    let session = api.sign_in(&user).await;
    assert_eq!(hash_of(&api.database, &user), before, "a hash of today stays");

    let old = cheap_hash(PASSWORD);
    set_hash(&api.database, &user, &old);
    assert_failed(&api.login(&user.email, "wrong").await);
    assert_eq!(hash_of(&api.database, &user), old);
    // However many sign in at that moment.
    for answer in join_all((0..4).map(|_| api.login(&user.email, PASSWORD))).await {
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let renewed = hash_of(&api.database, &user);
    assert!(renewed.starts_with(current), "{renewed}");
    assert_eq!(api.login(&user.email, PASSWORD).await.status, 200);
    assert_failed(&api.login(&user.email, "wrong").await);
    // The password is the same, and so what was signed in is.
    api.assert_counts(&session.access_token, &user).await;
    assert_eq!(api.refresh(&session.refresh_token).await.status, 200);
}

#[rstest]
#[tokio::test]
async fn a_hash_that_cannot_be_read_is_the_services_fault(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    for hash in ["", "plain", "$argon2id$v=19$m=19456,t=2,p=1$", "$5$rounds=5000$usesomesillystri$KqJWpanXZHKq2BOB43T"]
    {
        let user = api.user("author");
        set_hash(&api.database, &user, hash);
        let answer = api.login(&user.email, PASSWORD).await;
        assert_eq!(answer.status, 500, "{hash}: {answer:?}");
        assert!(hash.is_empty() || !answer.text().contains(hash), "{answer:?}");
    }
}

// How often one may get it wrong.

#[rstest]
#[tokio::test]
async fn five_wrong_passwords_are_looked_at_and_no_more(#[values(Sqlite, Postgres)] database: Database) {
    let api = start_behind_a_proxy!(database);
    let user = api.user("author");
    for (address, email) in [("198.51.100.1", user.email.as_str()), ("198.51.100.2", "nobody@example.org")] {
        for _ in 0..5 {
            assert_failed(&login_from(&api, address, email, "wrong").await);
        }
        // Also not the right one, and in whatever case.
        for (email, password) in [(email, "wrong"), (email, PASSWORD), (&email.to_uppercase(), "wrong")] {
            assert_limited(&login_from(&api, address, email, password).await, "login", 5, 60);
        }
    }
    // Its owner sits elsewhere, and others beside the one who guesses.
    let elsewhere = login_from(&api, "203.0.113.9", &user.email, PASSWORD).await;
    assert_eq!(elsewhere.status, 200, "{elsewhere:?}");
    let beside = login_from(&api, "198.51.100.1", &api.user("author").email, PASSWORD).await;
    assert_eq!(beside.status, 200, "{beside:?}");
    let forwarded = api.post("/auth/login", json!({"email": user.email, "password": PASSWORD})).anonymous();
    let forwarded = forwarded.header("Forwarded", "for=\"203.0.113.10:4711\";proto=https").await;
    assert_eq!(forwarded.status, 200, "{forwarded:?}");
}

#[rstest]
#[tokio::test]
async fn who_is_no_proxy_is_not_believed(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let user = api.user("author");
    for number in 0..5 {
        assert_failed(&login_from(&api, &format!("198.51.100.{number}"), &user.email, "wrong").await);
    }
    let forged = login_from(&api, "203.0.113.1", &user.email, PASSWORD).await;
    assert_limited(&forged, "login", 5, 60);
    let forged = login_from(&api, "203.0.113.1", &user.email, PASSWORD).header("Forwarded", "for=203.0.113.1").await;
    assert_limited(&forged, "login", 5, 60);
}

#[rstest]
#[tokio::test]
async fn guesses_from_everywhere_are_limited_and_keep_nobody_out(#[values(Sqlite, Postgres)] database: Database) {
    let api = start_behind_a_proxy!(database);
    let user = api.user("author");
    for email in [user.email.as_str(), "nobody@example.org"] {
        for number in 0..14 {
            let answer = login_from(&api, &format!("198.51.{number}.1"), email, "wrong").await;
            if number < 10 {
                assert_failed(&answer);
            } else {
                assert_limited(&answer, "login-account", 10, 30);
            }
        }
    }
    let right = login_from(&api, "203.0.113.9", &user.email, PASSWORD).await;
    assert_eq!(right.status, 200, "{right:?}");
}

#[rstest]
#[tokio::test]
async fn one_address_guesses_at_so_many_accounts(#[values(Sqlite, Postgres)] database: Database) {
    let api = start_behind_a_proxy!(database);
    let user = api.user("author");
    // Of IPv6, all of a /64 is one client's.
    for block in ["198.51.100.7", "2001:db8:1:2::"] {
        let address =
            |number: usize| if block.ends_with(':') { format!("{block}{number:x}") } else { block.to_owned() };
        let guesses = (0..60).map(|number| login_from(&api, &address(number), &format!("u{number}@x"), "wrong"));
        let answers = join_all(guesses.map(IntoFuture::into_future)).await;
        let (failed, limited): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 401);
        // One more each five seconds.
        assert!((40..50).contains(&failed.len()), "{}", failed.len());
        assert_limited(limited[0], "login-address", 40, 5);
    }
    let neighbour = login_from(&api, "2001:db8:1:3::1", &user.email, PASSWORD).await;
    assert_eq!(neighbour.status, 200, "{neighbour:?}");
}

#[rstest]
#[tokio::test]
async fn success_counts_against_nobody(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let user = api.user("author");
    for number in 0..40 {
        let answer = api.login(&user.email, PASSWORD).await;
        assert_eq!(answer.status, 200, "{number}: {answer:?}");
    }
    for _ in 0..3 {
        assert_failed(&api.login(&user.email, "wrong").await);
    }
    // Nor does it forgive.
    assert_eq!(api.login(&user.email, PASSWORD).await.status, 200);
    for _ in 0..2 {
        assert_failed(&api.login(&user.email, "wrong").await);
    }
    assert_limited(&api.login(&user.email, "wrong").await, "login", 5, 60);
}

#[rstest]
#[tokio::test]
async fn who_is_right_is_let_in_however_many_sign_in_at_once(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let users = [api.user("author"), api.user("reader")];
    // More at once than may fail, of one account and of one address.
    let answers = join_all((0..60).map(|number| api.login(&users[number % 2].email, PASSWORD))).await;
    for answer in answers {
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}

#[tokio::test]
async fn who_signs_in_waits_for_who_changes_the_user_and_not_for_who_signs_in_as_well() {
    let api = start!(Postgres);
    let user = api.user("author");
    let mut other = api.database.connect();
    other.batch_execute("BEGIN; SELECT 1 FROM users FOR SHARE").unwrap();
    assert_eq!(api.login(&user.email, PASSWORD).await.status, 200);
    other.batch_execute("COMMIT; BEGIN; UPDATE users SET disabled = TRUE").unwrap();

    let login = api.post("/auth/login", json!({"email": user.email, "password": PASSWORD})).anonymous();
    let login = tokio::spawn(login.into_future());
    eventually("it waits", || async { api.database.held_up() == 1 }).await;
    other.batch_execute("COMMIT").unwrap();
    assert_failed(&login.await.unwrap());
}

#[rstest]
#[tokio::test]
async fn of_two_hundred_guesses_at_once_no_more_are_looked_at_than_of_as_many_in_a_row(
    #[values(Sqlite, Postgres)] database: Database,
) {
    let api = start!(database);
    let user = api.user("author");
    let answers = join_all((0..200).map(|_| api.login(&user.email, "wrong"))).await;
    let looked_at = answers.iter().filter(|answer| answer.status == 401).count();
    // Two are looked at at a time: the last two may both be the fifth.
    assert!([5, 6].contains(&looked_at), "{looked_at}");
    assert!(answers.iter().all(|answer| [401, 429].contains(&answer.status)));
}

#[rstest]
#[tokio::test]
async fn refreshes_that_fail_are_limited_by_address(#[values(Sqlite, Postgres)] database: Database) {
    let api = start_behind_a_proxy!(database);
    let session = api.sign_in(&api.user("author")).await;
    let refresh_from = |address: &str, token: &str| {
        let request = api.post("/auth/refresh", json!({"refresh_token": token}));
        request.anonymous().header("X-Forwarded-For", address).into_future()
    };
    let mut limited = 0;
    for _ in 0..3 {
        let answers = join_all((0..100).map(|_| refresh_from("198.51.100.1", "garbage"))).await;
        for answer in answers {
            match answer.status {
                429 => {
                    assert_limited(&answer, "refresh", 100, 1);
                    limited += 1;
                }
                _ => assert_is_refusal(&answer, "garbage"),
            }
        }
    }
    assert!(limited > 100, "{limited}");
    assert_eq!(refresh_from("203.0.113.9", &session.refresh_token).await.status, 200);
}

// A new password.

#[rstest]
#[tokio::test]
async fn a_password_is_changed_by_who_knows_it(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let user = api.user("reader");
    let change = |current: &str, new: &str| {
        let body = json!({"current_password": current, "new_password": new});
        api.put("/auth/password", body).by(&user).into_future()
    };
    let long = "é".repeat(513);
    let weak = [
        ("short", "too_short"),
        ("aaaaaaaaaaaaaaaa", "too_weak"),
        ("password1234", "too_weak"),
        (user.email.as_str(), "too_weak"),
        (long.as_str(), "too_long"),
    ];
    for (new, code) in weak {
        let answer = change(PASSWORD, new).await;
        answer.faults("validation-failed", &[&format!("/new_password {code}")]);
        assert!(new.len() < 12 || !answer.text().contains(new), "{answer:?}");
    }
    let answer = api.put("/auth/password", json!({"password": "x"})).by(&user).await;
    let faults = ["/current_password required", "/new_password required", "/password unknown_field"];
    answer.faults("validation-failed", &faults);

    change("wrong", NEW_PASSWORD).await.problem("forbidden");
    let changed = change(PASSWORD, NEW_PASSWORD).await;
    assert_eq!(changed.status, 204, "{changed:?}");
    assert!(changed.body.is_empty());
    assert_is_refusal(&change(NEW_PASSWORD, PASSWORD).await, "the token from before");
    let stored = hash_of(&api.database, &user);
    assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
    assert_failed(&api.login(&user.email, PASSWORD).await);
    assert_eq!(api.login(&user.email, NEW_PASSWORD).await.status, 200);
    let nobody = api.put("/auth/password", json!({"current_password": "x", "new_password": NEW_PASSWORD})).anonymous();
    assert_eq!(nobody.await.status, 401);
}

#[rstest]
#[tokio::test]
async fn a_stolen_token_guesses_no_faster_at_the_password(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let user = api.user("author");
    let body = json!({"current_password": "wrong", "new_password": NEW_PASSWORD});
    let guesses = join_all((0..20).map(|_| api.put("/auth/password", &body).by(&user).into_future())).await;
    let (looked_at, limited): (Vec<_>, Vec<_>) = guesses.iter().partition(|answer| answer.status == 403);
    assert!([5, 6].contains(&looked_at.len()), "{looked_at:?}");
    for answer in limited {
        assert_limited(answer, "login", 5, 60);
    }
    // It is the same limit.
    assert_limited(&api.login(&user.email, "wrong").await, "login", 5, 60);
}
