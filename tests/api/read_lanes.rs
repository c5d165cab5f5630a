//! The lanes in which many reads are one query, while they wait (PostgreSQL's locks hold them up), and when one panics.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use diesel::connection::SimpleConnection as _;
use posts_api::db::{Db, DbConnection, Error, Lane, Options, snapshot};
use rstest::rstest;
use serde_json::json;
use tokio::task::JoinHandle;

use crate::harness::{Answer, Api, Database, Postgres, Proxy, Request, Sqlite, TestDatabase, eventually};

/// How many requests the lane of searches and counts has on its threads and in its queue.
const SEARCHES: usize = 2 + 256;

struct Test {
    api: Arc<Api>,
    proxy: Proxy,
}

impl Test {
    async fn start() -> Option<Self> {
        let database = TestDatabase::create(Postgres)?;
        let proxy = Proxy::to(&database);
        let api = Api::start(database.behind(&proxy), |config| config.database.pool_size = 16);
        for number in 0..10 {
            api.create(json!({"title": format!("Lantern {number}"), "published": true})).await;
        }
        Some(Self { api: api.into(), proxy })
    }

    /// Keeps a table from being read until this is dropped.
    fn lock(&self, table: &str) -> DbConnection {
        let mut connection = self.api.database.connect();
        connection.batch_execute(&format!("BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")).unwrap();
        connection
    }
}

/// Sends what holds up both threads of the lane, one after the other: two at once might go along with each other.
async fn hold_up(test: &Test, requests: [Request; 2]) -> Vec<JoinHandle<Answer>> {
    let mut sent = Vec::new();
    for request in requests {
        sent.push(send(request));
        eventually("a thread is held up", || async { test.api.database.held_up() == sent.len() }).await;
    }
    sent
}

fn send(request: Request) -> JoinHandle<Answer> {
    tokio::spawn(request.into_future())
}

/// Waits for all answers, and counts them by status.
async fn statuses(sent: Vec<JoinHandle<Answer>>) -> BTreeMap<u16, usize> {
    let mut statuses = BTreeMap::new();
    for answer in sent {
        *statuses.entry(answer.await.unwrap().status).or_default() += 1;
    }
    statuses
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_is_refused_past_the_bound_and_the_rest_is_answered() {
    let Some(test) = Test::start().await else { return };
    let lock = test.lock("posts_search");
    let search = |number: usize| test.api.get(&format!("/posts?q=lantern+{number}")).anonymous();
    let mut sent = hold_up(&test, [search(0), search(1)]).await;
    sent.extend((2..SEARCHES + 60).map(|number| send(search(number))));
    // The refused ones are answered at once, and no others.
    let refused = || async { sent.iter().filter(|answer| answer.is_finished()).count() >= 60 };
    eventually("what is past the bound is refused", refused).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(sent.iter().filter(|answer| answer.is_finished()).count(), 60);
    drop(lock);
    // The harness has seen to it that a 503 has Retry-After.
    assert_eq!(statuses(sent).await, BTreeMap::from([(200, SEARCHES), (503, 60)]));
    assert_eq!(test.api.get("/posts?q=lantern").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn equal_requests_that_wait_are_one_query() {
    let Some(test) = Test::start().await else { return };
    let count = || test.api.get("/posts?limit=5").header("Prefer", "count=exact").anonymous();
    // So that both threads find a connection later: what sets a new one up are statements, too.
    let lock = test.lock("posts");
    let both = hold_up(&test, [count(), count()]).await;
    drop(lock);
    assert_eq!(statuses(both).await, BTreeMap::from([(200, 2)]));
    let lock = test.lock("posts");
    test.proxy.take_sent();
    let mut sent = hold_up(&test, [count(), count()]).await;
    sent.extend((2..SEARCHES + 20).map(|_| send(count())));
    // When some are refused, all others wait.
    let refused = || async { sent.iter().filter(|answer| answer.is_finished()).count() == 20 };
    eventually("what is past the bound is refused", refused).await;
    drop(lock);
    assert_eq!(statuses(sent).await, BTreeMap::from([(200, SEARCHES), (503, 20)]));
    // A page and a count each: what the two threads had begun, and once for all who waited.
    let sent = test.proxy.take_sent();
    assert_eq!(sent.matches('E').count(), 3 * 2, "{sent}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_goes_away_is_missed_by_nobody() {
    let Some(test) = Test::start().await else { return };
    let lock = test.lock("posts_search");
    let mut gone = Vec::new();
    for number in 0..100 {
        let mut connection = test.api.connect().await;
        connection.send(format!("GET /posts?q=lantern+{number} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
        gone.push(connection);
    }
    eventually("both threads are held up", || async { test.api.database.held_up() == 2 }).await;
    let stays: Vec<_> = (0..10).map(|_| send(test.api.get("/posts?q=lantern"))).collect();
    drop(gone);
    drop(lock);
    assert_eq!(statuses(stays).await, BTreeMap::from([(200, 10)]));
    assert_eq!(test.api.get("/posts?q=lantern").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_asked_for_who_hung_up() {
    const GONE: usize = 100;
    let Some(test) = Test::start().await else { return };
    let search = |number: usize| test.api.get(&format!("/posts?q=lantern+{number}")).anonymous();
    let lock = test.lock("posts_search");
    let both = hold_up(&test, [search(0), search(1)]).await;
    drop(lock);
    assert_eq!(statuses(both).await, BTreeMap::from([(200, 2)]));

    let lock = test.lock("posts_search");
    test.proxy.take_sent();
    let mut sent = hold_up(&test, [search(0), search(1)]).await;
    for number in 2..2 + GONE {
        let mut connection = test.api.connect().await;
        connection.send(format!("GET /posts?q=lantern+{number} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
        connection.hangs_up().await;
        connection.closes().await;
    }
    sent.push(send(search(1000)));
    drop(lock);
    assert_eq!(statuses(sent).await, BTreeMap::from([(200, 3)]));
    // A search is a few statements, and there were three that somebody waited for.
    let sent = test.proxy.take_sent();
    assert!(sent.matches('E').count() < GONE, "{sent}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_search_holds_up_searches_alone() {
    let Some(test) = Test::start().await else { return };
    let lock = test.lock("posts_search");
    let sent: Vec<_> = (0..40).map(|number| send(test.api.get(&format!("/posts?q=lantern+{number}")))).collect();
    eventually("both threads are held up", || async { test.api.database.held_up() == 2 }).await;
    for _ in 0..5 {
        for path in ["/posts/1", "/posts?limit=5", "/posts?author=Ada", "/users", "/auth/me", "/health/ready"] {
            let answer = tokio::time::timeout(Duration::from_secs(5), test.api.get(path).into_future()).await;
            assert_eq!(answer.expect("an answer meanwhile").status, 200, "{path}");
        }
    }
    assert!(sent.iter().all(|answer| !answer.is_finished()));
    drop(lock);
    assert_eq!(statuses(sent).await, BTreeMap::from([(200, 40)]));
}

#[rstest]
#[tokio::test]
async fn a_query_that_panics_takes_its_connection_with_it_and_the_lane_goes_on(
    #[values(Sqlite, Postgres)] database: Database,
) {
    let Some(database) = TestDatabase::create(database) else { return };
    let (timeout, url) = (Duration::from_secs(30), database.url().clone());
    let db = Db::start(Options { url, replicas: Vec::new(), pool_size: 1, timeout, migrate: true }).unwrap();
    db.prepare().await.unwrap();
    let lane = Lane { name: "test", threads: 1, batch: 8, waiting: 8 };
    let query = |connection: &mut DbConnection, keys: &[i64]| {
        // A transaction that was left open would not let another begin.
        snapshot(connection, |_| {
            assert_ne!(keys, [13], "the panic of this test");
            Ok(keys.iter().map(|&key| (key, key)).collect())
        })
    };
    let batcher = db.reader().batcher(lane, query).unwrap();
    for _ in 0..3 {
        assert!(matches!(batcher.get(13).await, Err(Error::Panicked)));
        assert_eq!(batcher.get(1).await.unwrap(), Some(1));
    }
}
