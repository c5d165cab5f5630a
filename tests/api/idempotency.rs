//! Contract section 7: a POST that creates something can be sent again, and creates it once.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::HEXLOWER;
use diesel::connection::SimpleConnection as _;
use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt as _};
use posts_api::auth::{SigningKey, SigningKeys};
use posts_api::db::Timestamp;
use reqwest::header::HeaderMap;
use rstest::rstest;
use serde_json::{Value, json};

use crate::harness::{
    Answer, Api, Connection, Database, PASSWORD, Postgres, Program, Request, SIGNING_KEY, Sqlite, eventually, start,
};

const DAY: Duration = Duration::from_hours(24);

/// The locks that requests hold or wait for in this database, and in no other test's.
const OF_THIS_DATABASE: &str = "database = (SELECT oid FROM pg_database WHERE datname = current_database())";

impl Api {
    /// A POST to be carried out once.
    fn once(&self, path: &str, key: &str, body: &Value) -> Request {
        self.post(path, body).header("Idempotency-Key", key)
    }

    fn posts(&self) -> usize {
        self.database.count("posts", "1 = 1")
    }

    fn kept(&self) -> usize {
        self.database.count("idempotency_keys", "1 = 1")
    }

    /// Moves the moment when answers were stored.
    fn set_kept_since(&self, ago: Duration) {
        let sql = format!("UPDATE idempotency_keys SET created_on = '{}'", Timestamp::now() - ago);
        self.database.execute(&sql).unwrap();
    }

    /// How many locks there are for requests at work.
    fn at_work(&self) -> usize {
        self.database.count("pg_locks", &format!("locktype = 'advisory' AND {OF_THIS_DATABASE}"))
    }
}

/// All headers but those that belong to one answer alone.
fn lasting_headers(answer: &Answer) -> HeaderMap {
    let mut headers = answer.headers.clone();
    for name in ["date", "x-request-id", "idempotency-replayed"] {
        headers.remove(name);
    }
    headers
}

#[track_caller]
fn assert_first(answer: &Answer) {
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!(answer.header("idempotency-replayed"), "", "{answer:?}");
}

/// Asserts that an answer is the first one again.
#[track_caller]
fn assert_replay(answer: &Answer, first: &Answer) {
    assert_eq!(answer.header("idempotency-replayed"), "true", "{answer:?}");
    assert_eq!(answer.status, first.status, "{answer:?}");
    assert_eq!(lasting_headers(answer), lasting_headers(first));
    assert_eq!(answer.body, first.body, "{answer:?} {first:?}");
}

fn user(email: &str) -> Value {
    json!({"email": email, "password": PASSWORD, "role": "author"})
}

#[rstest]
#[tokio::test]
async fn a_retry_gets_the_first_answer_and_creates_nothing(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let other = api.another(|_| {});
    let body = json!({"title": "Once", "content": "ü \u{1f980} \" \\ \n"});
    let first = api.once("/posts", "a", &body).await;
    assert_first(&first);
    let id = first.json()["id"].to_string();
    assert_eq!(first.header("location"), format!("/posts/{id}"));
    assert_eq!(first.header("etag"), format!("\"{id}.1\""));
    assert!(!first.header("last-modified").is_empty());
    assert_eq!(first.header("content-type"), "application/json");
    for server in [&api, &other, &api] {
        assert_replay(&server.once("/posts", "a", &body).await, &first);
    }
    assert_eq!((api.posts(), api.kept()), (1, 1));
    // Another key is another request.
    let second = other.once("/posts", "A", &body).await;
    assert_first(&second);
    assert_ne!(second.header("location"), first.header("location"));
    assert_eq!((api.posts(), api.kept()), (2, 2));
}

#[rstest]
#[tokio::test]
async fn a_user_is_created_once_and_noted_once(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let program = Program::on(&api.database, &[]).serve();
    let create = |key: &str| {
        let request = program.request("POST", "/users").by(&api.root);
        request.json(&user("ada@example.org")).header("Idempotency-Key", key)
    };
    let first = create("a").await;
    assert_first(&first);
    assert_eq!(first.header("location"), format!("/users/{}", first.json()["id"]));
    for _ in 0..2 {
        assert_replay(&create("a").await, &first);
    }
    assert_replay(&api.once("/users", "a", &user("ada@example.org")).await, &first);
    create("b").await.problem("conflict");
    create("a").json(&user("eve@example.org")).await.problem("idempotency-key-reused");
    assert_eq!((api.database.count("users", "1 = 1"), api.kept()), (2, 1));
    program.signal("TERM");
    let (_, log) = program.wait();
    let notes = log.lines().filter(|line| line.contains("user created")).count();
    assert_eq!(notes, 1, "{log}");
}

#[rstest]
#[tokio::test]
async fn a_retry_gets_the_first_answer_whatever_became_of_the_post(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let body = json!({"title": "Once"});
    let first = api.once("/posts", "a", &body).await;
    assert_first(&first);
    let path = first.header("location").to_owned();
    assert_eq!(api.patch(&path, json!({"title": "Changed"})).await.status, 200);
    assert_replay(&api.once("/posts", "a", &body).await, &first);
    assert_eq!(api.get(&path).await.json()["title"], "Changed");
    assert_eq!(api.delete(&path).await.status, 204);
    assert_replay(&api.once("/posts", "a", &body).await, &first);
    assert_eq!(api.get(&path).await.status, 404);
    assert_eq!(api.posts(), 0);
}

#[rstest]
#[tokio::test]
async fn a_retry_is_coded_as_it_asks_to_be(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let body = json!({"title": "Once", "content": "again and ".repeat(1000)});
    let coded = |coding: &str| api.once("/posts", "a", &body).header("Accept-Encoding", coding);
    let first = coded("gzip").await;
    assert_first(&first);
    assert_eq!(first.header("content-encoding"), "gzip");
    assert!(first.header("etag").ends_with(";gzip\""), "{first:?}");
    assert_replay(&coded("gzip").await, &first);
    let plain = coded("identity").await;
    assert_eq!(plain.header("idempotency-replayed"), "true");
    assert_eq!(plain.json(), api.get(first.header("location")).await.json());
    assert_eq!(plain.header("etag"), first.header("etag").replace(";gzip", ""));
}

#[rstest]
#[tokio::test]
async fn a_key_that_came_with_another_body_is_refused(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let body = json!({"title": "Once", "author": null});
    let first = api.once("/posts", "a", &body).await;
    assert_first(&first);
    let others =
        [json!({"title": "Twice", "author": null}), json!({"title": "Once"}), json!({"title": "Once", "author": ""})];
    for other in others {
        let answer = api.once("/posts", "a", &other).await;
        assert_eq!(answer.status, 422, "{answer:?}");
        assert_eq!(answer.header("idempotency-replayed"), "");
    }
    api.once("/posts", "a", &json!({"title": "Twice"})).await.problem("idempotency-key-reused");
    assert_replay(&api.once("/posts", "a", &body).await, &first);
    assert_eq!((api.posts(), api.kept()), (1, 1));
}

#[rstest]
#[tokio::test]
async fn the_same_value_is_the_same_body_however_it_is_written(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let send = |body: &str| api.request("POST", "/posts").body("application/json", body).header("Idempotency-Key", "a");
    let first = send(r#"{"title":"Once","published":false}"#).await;
    assert_first(&first);
    for same in [
        "\r\n{ \"title\" :\t\"Once\",\n\"published\": false } ",
        r#"{"published":false,"title":"Once"}"#,
        r#"{"title":"\u004fnce","published":false}"#,
    ] {
        assert_replay(&send(same).await, &first);
    }
    for other in [r#"{"title":"once","published":false}"#, r#"{"title":"Once ","published":false}"#] {
        send(other).await.problem("idempotency-key-reused");
    }
}

#[rstest]
#[tokio::test]
async fn a_key_is_its_callers_and_its_routes_own(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let (ada, eve) = (api.user("author"), api.user("author"));
    let body = json!({"title": "Once"});
    let adas = api.once("/posts", "a", &body).by(&ada).await;
    assert_first(&adas);
    let eves = api.once("/posts", "a", &json!({"title": "Mine"})).by(&eve).await;
    assert_first(&eves);
    assert_eq!(eves.json()["owner_id"], eve.id);
    assert_replay(&api.once("/posts", "a", &body).by(&ada).await, &adas);
    // Through a key of hers, it is still she who calls.
    let key = api.api_key(&ada, "author").await;
    assert_replay(&api.once("/posts", "a", &body).bearing(&key).await, &adas);

    assert_first(&api.once("/posts", "a", &body).await);
    assert_first(&api.once("/users", "a", &user("bob@example.org")).await);
    assert_eq!((api.posts(), api.kept()), (3, 4));
}

#[rstest]
#[tokio::test]
async fn a_request_that_fails_leaves_its_key_unused(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    api.once("/posts", "a", &json!({"title": ""})).await.problem("validation-failed");
    api.once("/posts", "a", &json!({"title": "Once"})).anonymous().await.problem("unauthorized");
    assert_eq!(api.kept(), 0);
    let first = api.once("/posts", "a", &json!({"title": "Once"})).await;
    assert_first(&first);
    assert_replay(&api.once("/posts", "a", &json!({"title": "Once"})).await, &first);

    // Also where the transaction had begun.
    assert_eq!(api.post("/users", user("ada@example.org")).await.status, 201);
    api.once("/users", "a", &user("Ada@example.org")).await.problem("conflict");
    assert_eq!(api.kept(), 1);
    assert_first(&api.once("/users", "a", &user("bob@example.org")).await);
}

#[rstest]
#[tokio::test]
async fn a_key_is_one_line_of_visible_ascii(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let body = json!({"title": "Once"});
    let longest: String = ('!'..='~').cycle().take(255).collect();
    for key in ["!", "~", "\"quoted\"", "a,b", &longest] {
        let first = api.once("/posts", key, &body).await;
        assert_first(&first);
        assert_replay(&api.once("/posts", key, &body).await, &first);
    }
    assert_eq!(api.posts(), 5);
    let too_long = longest + "!";
    for key in [&b""[..], b" ", b"a b", b"a\tb", "ä".as_bytes(), b"\xff", too_long.as_bytes()] {
        for path in ["/posts", "/users"] {
            let answer = api.post(path, &body).header("Idempotency-Key", key).await;
            assert_eq!(answer.status, 400, "{key:?}");
            answer.faults("malformed-header", &["Idempotency-Key invalid"]);
        }
    }
    for second in ["a", "b"] {
        let answer = api.once("/posts", "a", &body).another_header("Idempotency-Key", second).await;
        answer.faults("malformed-header", &["Idempotency-Key duplicate"]);
    }
    assert_eq!((api.posts(), api.kept()), (5, 5));
}

#[rstest]
#[tokio::test]
async fn nothing_is_kept_of_what_has_no_key_or_a_secret_answer(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    for _ in 0..2 {
        let created = api.post("/posts", json!({"title": "Twice"})).await;
        assert_first(&created);
    }
    assert_eq!(api.posts(), 2);
    let make = || async { api.once("/api-keys", "a", &json!({"name": "n", "role": "author"})).await };
    let (one, two) = (make().await, make().await);
    assert_first(&one);
    assert_first(&two);
    assert_ne!(one.json()["key"], two.json()["key"]);
    let login = json!({"email": api.root.email, "password": PASSWORD});
    assert_eq!(api.once("/auth/login", "a", &login).await.status, 200);
    assert_eq!(api.kept(), 0);
}

#[rstest]
#[tokio::test]
async fn who_may_not_create_any_more_gets_no_answer_of_before(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let ada = api.user("author");
    let body = json!({"title": "Once"});
    let first = api.once("/posts", "a", &body).by(&ada).await;
    assert_first(&first);
    let path = format!("/users/{}", ada.id);
    assert_eq!(api.patch(&path, json!({"role": "reader"})).await.status, 200);
    api.once("/posts", "a", &body).by(&ada).await.problem("forbidden");
    assert_eq!(api.patch(&path, json!({"role": "author"})).await.status, 200);
    assert_replay(&api.once("/posts", "a", &body).by(&ada).await, &first);
}

#[rstest]
#[tokio::test]
async fn an_answer_is_kept_for_a_day_and_no_longer(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let body = json!({"title": "Once"});
    let first = api.once("/posts", "a", &body).await;
    assert_first(&first);
    api.set_kept_since(Duration::from_mins(24 * 60 - 5));
    assert_replay(&api.once("/posts", "a", &body).await, &first);
    api.set_kept_since(DAY);
    let second = api.once("/posts", "a", &json!({"title": "Again"})).await;
    assert_first(&second);
    assert_replay(&api.once("/posts", "a", &json!({"title": "Again"})).await, &second);
    assert_eq!((api.posts(), api.kept()), (2, 1));

    // What nobody asks for again goes, too, and what is younger stays.
    api.set_kept_since(DAY);
    assert_first(&api.once("/posts", "b", &body).await);
    let other = api.another(|config| config.housekeeping_period = Duration::from_millis(10));
    eventually("the old answer is forgotten", || async { api.kept() == 1 }).await;
    assert_eq!(other.once("/posts", "b", &body).await.header("idempotency-replayed"), "true");
}

#[rstest]
#[tokio::test]
async fn the_table_tells_neither_the_key_nor_the_body(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let body = user("ada@example.org");
    for key in ["telling-key-1", "telling-key-2"] {
        let created = api.once("/posts", key, &json!({"title": "Once"})).await;
        assert_first(&created);
    }
    assert_first(&api.once("/users", "telling-key-1", &body).await);
    let dump = api.database.dump("idempotency_keys").to_lowercase();
    assert_eq!(dump.lines().count(), 3, "{dump}");
    let body = body.to_string();
    for secret in ["telling-key-1", "telling-key-2", PASSWORD, &body] {
        let hash = HEXLOWER.encode(digest(&SHA256, secret.as_bytes()).as_ref());
        for form in [secret.to_lowercase(), HEXLOWER.encode(secret.as_bytes()), hash] {
            assert!(!dump.contains(&form), "{form} in {dump}");
        }
    }
    // Not even that two bodies were equal.
    assert_eq!(api.database.count("(SELECT DISTINCT fingerprint FROM idempotency_keys) AS prints", "1 = 1"), 3);
}

#[rstest]
#[tokio::test]
async fn retries_go_on_while_signing_keys_are_exchanged(#[values(Sqlite, Postgres)] database: Database) {
    let old = SigningKey::from_pem(SIGNING_KEY).unwrap();
    let new = SigningKey::from_pem(&SigningKey::generate().unwrap()).unwrap();
    let before = start!(database);
    let with = |keys: &[&SigningKey]| {
        let keys = SigningKeys::new(keys.iter().map(|&key| key.clone()).collect()).unwrap();
        before.another(|config| config.auth.keys = keys)
    };
    let (learnt, turned) = (with(&[&old, &new]), with(&[&new, &old]));
    let body = json!({"title": "Once"});
    let first = before.once("/posts", "before", &body).await;
    assert_first(&first);
    for server in [&learnt, &turned] {
        assert_replay(&server.once("/posts", "before", &body).await, &first);
        server.once("/posts", "before", &json!({"title": "Twice"})).await.problem("idempotency-key-reused");
    }
    let first = turned.once("/posts", "turned", &body).await;
    assert_first(&first);
    assert_replay(&learnt.once("/posts", "turned", &body).await, &first);
    // What nobody who lacks the key can compare is not taken for the same.
    before.once("/posts", "turned", &body).await.problem("idempotency-key-reused");
    assert_eq!(before.posts(), 2);
}

#[rstest]
#[tokio::test]
async fn of_a_hundred_at_once_on_two_servers_one_creates(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let other = api.another(|_| {});
    let body = json!({"title": "Once"});
    // The first round finds servers that have yet to connect to their database.
    for (round, key) in ["a", "b", "c"].into_iter().enumerate() {
        let answers = join_all((0..100).map(|index| {
            let server = if index % 2 == 0 { &api } else { &other };
            server.once("/posts", key, &body).into_future()
        }));
        let answers = answers.await;
        assert_eq!((api.posts(), api.kept()), (round + 1, round + 1));
        let is_first = |answer: &&Answer| answer.status == 201 && answer.header("idempotency-replayed").is_empty();
        let first: Vec<_> = answers.iter().filter(is_first).collect();
        assert_eq!(first.len(), 1);
        for answer in &answers {
            match answer.status {
                201 => assert_eq!(answer.body, first[0].body),
                _ => drop(answer.problem("idempotency-in-progress")),
            }
        }
        for server in [&api, &other] {
            assert_replay(&server.once("/posts", key, &body).await, first[0]);
        }
    }
}

/// The lock that requests with a key take is taken here instead, so that there is no race to be lucky in.
#[tokio::test]
async fn only_a_key_without_an_answer_is_in_progress() {
    let api = start!(Postgres);
    let body = json!({"title": "Once"});
    let first = api.once("/posts", "a", &body).await;
    assert_first(&first);
    let mut holder = api.database.connect();
    holder
        .batch_execute(
            "SELECT pg_advisory_lock(('x' || encode(substr(key_hash, 1, 8), 'hex'))::bit(64)::bigint) FROM idempotency_keys",
        )
        .unwrap();
    assert_replay(&api.once("/posts", "a", &body).await, &first);
    api.once("/posts", "a", &json!({"title": "Twice"})).await.problem("idempotency-key-reused");
    assert_first(&api.once("/posts", "b", &body).await);
    api.database.execute("DELETE FROM idempotency_keys").unwrap();
    let answer = api.once("/posts", "a", &body).await;
    assert_eq!(answer.status, 409);
    answer.problem("idempotency-in-progress");
    assert_eq!(api.posts(), 2);
    drop(holder);
    eventually("the lock is gone", || async { api.at_work() == 0 }).await;
    assert_first(&api.once("/posts", "a", &body).await);
}

/// A server with a request that has begun, and waits in the midst of its transaction for a table that is locked here.
macro_rules! stuck {
    ($api:expr, $body:expr) => {{
        // With a timeout that cannot be what ends the wait.
        let program = Program::on(&$api.database, &["--request-timeout", "3600"]).serve();
        let mut blocker = $api.database.connect();
        blocker.batch_execute("BEGIN; LOCK TABLE posts IN EXCLUSIVE MODE").unwrap();
        let mut connection = Connection::open(program.address).await;
        let head = format!(
            "POST /posts HTTP/1.1\r\nHost: posts\r\n{}Idempotency-Key: a\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{}",
            $api.authorization(),
            $body.to_string().len(),
            $body
        );
        connection.send(head).await;
        let waits = format!("mode = 'RowExclusiveLock' AND NOT granted AND {OF_THIS_DATABASE}");
        eventually("it waits", || async { $api.database.count("pg_locks", &waits) == 1 }).await;
        assert_eq!($api.at_work(), 1);
        (program, blocker, connection)
    }};
}

#[tokio::test]
async fn who_is_killed_at_work_leaves_the_key_usable() {
    let api = start!(Postgres);
    let body = json!({"title": "Once"});
    let (program, mut blocker, _connection) = stuck!(api, body);
    let answer = api.once("/posts", "a", &body).await;
    assert_eq!(answer.status, 409, "{answer:?}");
    answer.problem("idempotency-in-progress");
    program.signal("KILL");
    blocker.batch_execute("COMMIT").unwrap();
    let retry = || async {
        let answer = api.once("/posts", "a", &body).await;
        if answer.status == 409 {
            answer.problem("idempotency-in-progress");
            return false;
        }
        assert_first(&answer);
        true
    };
    eventually("the key is usable", retry).await;
    assert_eq!(api.once("/posts", "a", &body).await.header("idempotency-replayed"), "true");
    assert_eq!((api.posts(), api.kept()), (1, 1));
}

#[tokio::test]
async fn who_is_killed_while_it_waits_leaves_the_key_usable_before_the_wait_is_over() {
    let api = start!(Postgres);
    let body = json!({"title": "Once"});
    let (program, mut blocker, _connection) = stuck!(api, body);
    program.signal("KILL");
    eventually("its lock is gone", || async { api.at_work() == 0 }).await;
    blocker.batch_execute("COMMIT").unwrap();
    assert_first(&api.once("/posts", "a", &body).await);
    assert_eq!((api.posts(), api.kept()), (1, 1));
}

#[rstest]
#[tokio::test]
async fn whatever_a_killed_server_was_at_can_be_sent_again(#[values(Sqlite, Postgres)] database: Database) {
    const REQUESTS: usize = 200;
    let api = start!(database);
    let program = Program::on(&api.database, &[]).serve();
    let (key, body) = (|index: usize| format!("key-{index}"), |index: usize| json!({"title": format!("Post {index}")}));
    let answered = AtomicUsize::new(0);
    let send = async |index: usize| {
        let request = program.request("POST", "/posts").by(&api.root).json(&body(index));
        let answer = request.header("Idempotency-Key", key(index)).attempt().await.ok()?;
        assert_eq!(answer.status, 201);
        if answered.fetch_add(1, Ordering::Relaxed) + 1 == REQUESTS / 4 {
            program.signal("KILL");
        }
        Some(answer.body)
    };
    let seen: Vec<_> = stream::iter(0..REQUESTS).map(send).buffered(16).collect().await;
    assert!(seen.iter().flatten().count() >= REQUESTS / 4);
    for (index, seen) in seen.into_iter().enumerate() {
        let retry = || async { api.once("/posts", &key(index), &body(index)).await.status == 201 };
        eventually("the key is usable", retry).await;
        let answer = api.once("/posts", &key(index), &body(index)).await;
        assert_eq!(answer.header("idempotency-replayed"), "true");
        if let Some(seen) = seen {
            assert_eq!(answer.body, seen);
        }
    }
    assert_eq!((api.posts(), api.kept()), (REQUESTS, REQUESTS));
}
