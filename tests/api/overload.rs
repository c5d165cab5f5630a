//! More than the server can do: what is refused then, and what goes on.

use std::time::Duration;

use diesel::connection::SimpleConnection as _;
use rstest::rstest;
use serde_json::json;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::harness::{Answer, Api, Database, PASSWORD, Postgres, Sqlite, TestDatabase, eventually, start};

/// Sends such a request.
type Send = fn(&Api) -> JoinHandle<Answer>;

fn by_id(api: &Api) -> JoinHandle<Answer> {
    tokio::spawn(api.get("/posts/1").into_future())
}

fn list(api: &Api) -> JoinHandle<Answer> {
    tokio::spawn(api.get("/posts?limit=1").into_future())
}

fn create(api: &Api) -> JoinHandle<Answer> {
    tokio::spawn(api.post("/posts", json!({"title": "One of many"})).into_future())
}

fn update(api: &Api) -> JoinHandle<Answer> {
    tokio::spawn(api.patch("/posts/1", json!({"title": "Another"})).into_future())
}

fn search(api: &Api) -> JoinHandle<Answer> {
    tokio::spawn(api.get("/posts?q=post").into_future())
}

fn count(api: &Api) -> JoinHandle<Answer> {
    tokio::spawn(api.get("/posts?limit=1").header("Prefer", "count=exact").into_future())
}

/// Sends one after the other until one is refused: the first go to threads, and those after into a queue that does not move.
async fn fill(api: &Api, another: Send) -> Vec<JoinHandle<Answer>> {
    let mut sent = Vec::new();
    while !sent.iter().any(JoinHandle::is_finished) {
        assert!(sent.len() < 200, "none is refused");
        sent.push(another(api));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    sent
}

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_one_that_has_waited_for_long_nobody_has_to_wait(
    #[values(by_id, list, search, create, update)] send: Send,
) {
    let Some(database) = TestDatabase::create(Postgres) else { return };
    let api = Api::start(database, |config| config.database.pool_size = 16);
    api.create(json!({"title": "A post", "published": true})).await;
    let mut holder = api.database.connect();
    holder.batch_execute("BEGIN; LOCK TABLE posts IN ACCESS EXCLUSIVE MODE").unwrap();

    let (refused, waiting): (Vec<_>, Vec<_>) = fill(&api, send).await.into_iter().partition(JoinHandle::is_finished);
    for answer in refused {
        assert_eq!(answer.await.unwrap().status, 503);
    }
    assert!(waiting.len() > 2, "those before go on waiting");
    holder.batch_execute("COMMIT").unwrap();
    for answer in waiting {
        let answer = answer.await.unwrap();
        assert!((200..300).contains(&answer.status), "{answer:?}");
    }
    assert!((200..300).contains(&send(&api).await.unwrap().status), "and then the queue moves");
}

#[tokio::test]
async fn a_post_that_there_is_no_room_for_is_refused_before_anything_else() {
    let Some(database) = TestDatabase::create(Postgres) else { return };
    let api = Api::start(database, |config| config.database.pool_size = 16);
    let mut holder = api.database.connect();
    holder.batch_execute("BEGIN; LOCK TABLE posts IN ACCESS EXCLUSIVE MODE").unwrap();
    let sent = fill(&api, create).await;

    let mut connection = api.connect().await;
    connection.send("POST /posts HTTP/1.1\r\nHost: posts\r\nAuthorization: Bearer wrong\r\n").await;
    connection.send("Content-Type: application/json\r\nContent-Length: 1000000\r\n\r\n").await;
    assert_eq!(connection.answer("POST", "/posts").await.status, 503);
    // What needs no room is as ever.
    assert_eq!(api.get("/posts").bearing("wrong").await.status, 401);
    holder.batch_execute("COMMIT").unwrap();
    for answer in sent {
        assert!([201, 503].contains(&answer.await.unwrap().status));
    }
    assert_eq!(api.request("POST", "/posts").bearing("wrong").await.status, 401);
}

#[rstest]
#[tokio::test]
async fn a_search_that_there_is_no_room_for_is_refused_before_anything_else(#[values(search, count)] send: Send) {
    let Some(database) = TestDatabase::create(Postgres) else { return };
    let api = Api::start(database, |config| config.database.pool_size = 16);
    api.create(json!({"title": "A post", "published": true})).await;
    let mut holder = api.database.connect();
    holder.batch_execute("BEGIN; LOCK TABLE posts IN ACCESS EXCLUSIVE MODE").unwrap();
    let sent = fill(&api, send).await;

    let searches = [api.get("/posts?limit=x&q=post"), api.get("/posts?limit=x").header("Prefer", "count=exact")];
    for search in searches {
        assert_eq!(search.bearing("wrong").await.status, 503);
    }
    // What needs no room is as ever.
    assert_eq!(api.get("/posts").bearing("wrong").await.status, 401);
    holder.batch_execute("COMMIT").unwrap();
    for answer in sent {
        assert!([200, 503].contains(&answer.await.unwrap().status));
    }
    assert_eq!(api.get("/posts?q=post").bearing("wrong").await.status, 401);
}

/// A password is worked on for a while, by few at once: a flood of sign-ins waits there.
#[rstest]
#[tokio::test]
async fn a_sign_in_that_there_is_no_room_for_is_refused_before_anything_else(
    #[values("/auth/login", "/auth/session")] path: &'static str,
    #[values(Sqlite, Postgres)] database: Database,
) {
    let api = start!(database);
    let credentials = json!({"email": api.user("author").email, "password": PASSWORD});
    let sign_in = || tokio::spawn(api.post("/auth/login", &credentials).anonymous().into_future());
    let mut sent = Vec::new();
    let mut is_refused = false;
    // By the time that this one comes, another may have had its turn, and there is room.
    for _ in 0..10 {
        let mut last = 0;
        while last != 503 {
            assert!(sent.len() < 1000, "none is refused");
            sent.push(sign_in());
            tokio::task::yield_now().await;
            if let Some(done) = sent.iter().position(JoinHandle::is_finished) {
                last = sent.swap_remove(done).await.unwrap().status;
            }
        }
        let mut connection = api.connect().await;
        connection.send(format!("POST {path} HTTP/1.1\r\nHost: posts\r\nContent-Length: 60000\r\n\r\n")).await;
        let answer = timeout(Duration::from_secs(1), connection.answer("POST", path)).await;
        is_refused = answer.is_ok_and(|answer| answer.status == 503 && answer.text().contains("Too many sign in"));
        if is_refused {
            break;
        }
    }
    assert!(is_refused, "it is not refused before its body has come");

    sent.iter().for_each(JoinHandle::abort);
    let is_let_in = || async { api.post("/auth/login", &credentials).anonymous().await.status == 200 };
    eventually("there is room again", is_let_in).await;
}

#[tokio::test]
async fn a_refusal_that_comes_before_a_short_body_leaves_the_connection_as_it_is() {
    let Some(database) = TestDatabase::create(Sqlite) else { return };
    let api = Api::start(database, |_| {});
    let mut connection = api.connect().await;
    let head =
        "POST /posts HTTP/1.1\r\nHost: posts\r\nAuthorization: Bearer wrong\r\nContent-Type: application/json\r\n";
    let bodies =
        ["Content-Length: 13\r\n\r\n{\"title\": \"x\"", "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"];
    for body in bodies.iter().cycle().take(4) {
        connection.send(format!("{head}{body}")).await;
        assert_eq!(connection.answer("POST", "/posts").await.status, 401, "{body}");
    }
    // What has not come yet is not waited for.
    connection.send(format!("{head}Content-Length: 1000000\r\n\r\n{{")).await;
    assert_eq!(connection.answer("POST", "/posts").await.status, 401);
    connection.closes().await;
}

#[tokio::test]
async fn bodies_have_so_much_memory_together_and_no_more() {
    const SIZE: usize = 64 << 10;
    let Some(database) = TestDatabase::create(Sqlite) else { return };
    let api = Api::start(database, |config| config.body.size = SIZE);
    let post = json!({"title": "A post", "published": true, "content": "x".repeat(SIZE / 2)});

    let mut held = Vec::new();
    let is_refused = loop {
        assert!(held.len() < 100, "there is always room for one more");
        // One byte is missing.
        let mut connection = api.connect().await;
        let request = format!(
            "POST /posts HTTP/1.1\r\nHost: posts\r\n{}Content-Type: application/json\r\nContent-Length: {SIZE}\r\n\r\n",
            api.authorization()
        );
        connection.send(request).await;
        connection.send(vec![b' '; SIZE - 1]).await;
        held.push(connection);
        tokio::time::sleep(Duration::from_millis(20)).await;
        let answer = api.post("/posts", &post).await;
        if answer.status != 201 {
            break answer.status == 503 && answer.text().contains("as many bodies");
        }
    };
    assert!(is_refused && held.len() >= 16, "{}", held.len());
    assert_eq!(api.get("/posts").await.status, 200);

    drop(held);
    eventually("there is room again", || async { api.post("/posts", &post).await.status == 201 }).await;
}
