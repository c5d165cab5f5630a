//! Connections to PostgreSQL that die, and a server that cannot be written to: who asks notices as little as can be.

use std::time::{Duration, Instant};

use diesel::sql_types::{Array, Text};
use diesel::{QueryResult, RunQueryDsl as _};
use futures_util::future::join_all;
use posts_api::db::{Db, DbConnection, Lane, Options};
use rstest::rstest;
use serde_json::json;

use crate::harness::{Api, Cut, Postgres, Proxy, Request, TestDatabase, Traffic, eventually, items, start};

/// How many posts each test begins with.
const POSTS: usize = 10;

/// One request of each kind; the number says which post it is about.
fn requests(api: &Api, number: usize) -> [Request; 6] {
    let post = format!("/posts/{}", 1 + number % POSTS);
    [
        api.get(&post),
        api.get("/posts?limit=5"),
        api.get("/posts?q=lantern&limit=5"),
        api.get("/users"),
        api.post("/posts", json!({"title": "A lantern"})),
        api.patch(&post, json!({"content": format!("Lantern {number}")})),
    ]
}

/// Sends so many requests of each kind, those of a kind at once, after `before`.
async fn assert_all_succeed(api: &Api, count: usize, before: impl Fn()) {
    let mut by_kind: [Vec<Request>; 6] = Default::default();
    for number in 0..count {
        for (kind, request) in by_kind.iter_mut().zip(requests(api, number)) {
            kind.push(request);
        }
    }
    for kind in by_kind {
        before();
        for answer in join_all(kind.into_iter().map(IntoFuture::into_future)).await {
            assert!(answer.status < 300, "{answer:?}");
        }
    }
}

async fn fill(api: &Api) {
    for number in 0..POSTS {
        api.create(json!({"title": format!("Lantern {number}"), "published": true})).await;
    }
}

/// Opens as many connections as the pool may have.
async fn warm(api: &Api) {
    assert_all_succeed(api, 24, || {}).await;
}

/// Ends all of the server's sessions, and waits until they have: one that is about to end would still take a statement.
pub fn terminate(database: &TestDatabase) {
    database
        .execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity \
             WHERE datname = current_database() AND application_name = 'posts'",
        )
        .unwrap();
}

#[rstest]
#[tokio::test]
async fn nobody_notices_that_idle_connections_were_ended(#[values(12, 60)] count: usize, #[values(4, 16)] pool: u32) {
    let api = start!(Postgres, |config| config.database.pool_size = pool);
    fill(&api).await;
    for _ in 0..3 {
        warm(&api).await;
        assert_all_succeed(&api, count, || terminate(&api.database)).await;
    }
}

#[rstest]
#[tokio::test]
async fn nobody_notices_that_idle_connections_broke(
    #[values(Cut::Closed, Cut::Reset, Cut::Unnoticed)] how: Cut,
    #[values(12, 60)] count: usize,
) {
    let Some((proxy, api)) = behind_a_proxy() else { return };
    fill(&api).await;
    for _ in 0..3 {
        warm(&api).await;
        assert!(proxy.connections() > 1);
        let cut = || {
            proxy.cut(how);
            // A connection that was in use just before is not tried before a post is created on it.
            std::thread::sleep(REST);
        };
        assert_all_succeed(&api, count, cut).await;
    }
}

/// Longer than a connection is relied on without being tried.
const REST: Duration = Duration::from_millis(150);

/// The lane of creates by itself: over HTTP the look at who asks would be the first to find a connection dead.
#[tokio::test]
async fn a_connection_that_broke_while_nobody_used_it_costs_nobody_a_row() {
    let Some(database) = TestDatabase::create(Postgres) else { return };
    database.execute("CREATE TABLE notes (text TEXT NOT NULL)").unwrap();
    let proxy = Proxy::to(&database);
    let timeout = Duration::from_secs(30);
    let db =
        Db::start(Options { url: proxy.url(), replicas: Vec::new(), pool_size: 4, timeout, migrate: true }).unwrap();
    db.prepare().await.unwrap();
    let lane = Lane { name: "notes", threads: 1, batch: 8, waiting: 8 };
    let notes = db.inserter(lane, note_all, |connection, text| note_all(connection, &[*text]).map(drop)).unwrap();
    let mut count = 0;
    for how in [Cut::Closed, Cut::Reset, Cut::Unnoticed, Cut::Unnoticed] {
        // In constant use a row is one statement; so often that the clock does not matter.
        proxy.take_sent();
        for _ in 0..10 {
            notes.insert("used", 4).await.unwrap();
            count += 1;
        }
        let sent = proxy.take_sent();
        assert!(sent.contains(&"PBDES".repeat(3)), "{sent}");
        proxy.cut(how);
        if how == Cut::Unnoticed {
            tokio::time::sleep(REST).await;
        }
        // What ended with a sign is seen without a rest.
        notes.insert("afterwards", 10).await.unwrap();
        count += 1;
    }
    assert_eq!(database.count("notes", "1 = 1"), count);
}

fn note_all(connection: &mut DbConnection, texts: &[&'static str]) -> QueryResult<Vec<Option<()>>> {
    let insert = diesel::sql_query("INSERT INTO notes (text) SELECT unnest($1)");
    let DbConnection::Postgres(connection) = connection else { panic!("a connection to PostgreSQL") };
    insert.bind::<Array<Text>, _>(texts).execute(connection)?;
    Ok(vec![Some(()); texts.len()])
}

fn behind_a_proxy() -> Option<(Proxy, Api)> {
    let database = TestDatabase::create(Postgres)?;
    let proxy = Proxy::to(&database);
    let api = Api::start(database.behind(&proxy), |config| config.database.pool_size = 16);
    Some((proxy, api))
}

#[rstest]
#[tokio::test]
async fn out_of_reach_of_the_database_requests_are_refused_in_time_and_then_answered_again(
    #[values(Traffic::Refused, Traffic::Swallowed)] traffic: Traffic,
) {
    let Some(database) = TestDatabase::create(Postgres) else { return };
    let proxy = Proxy::to(&database);
    let api = Api::start(database.behind(&proxy), |config| {
        config.database.pool_size = 16;
        config.database.timeout = Duration::from_secs(2);
    });
    fill(&api).await;
    warm(&api).await;
    proxy.set(traffic);
    if traffic == Traffic::Refused {
        proxy.cut(Cut::Reset);
    }
    for number in 0..3 {
        let begun = Instant::now();
        for refused in join_all(requests(&api, number).into_iter().map(IntoFuture::into_future)).await {
            assert_eq!(refused.status, 503, "{refused:?}");
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    }
    proxy.set(Traffic::Passes);
    eventually("the database is reached", || async { api.get("/posts/1").await.status == 200 }).await;
    assert_all_succeed(&api, 12, || {}).await;
}

#[tokio::test]
async fn many_who_ask_a_database_that_is_far_away_share_the_way() {
    let Some((proxy, api)) = behind_a_proxy() else { return };
    fill(&api).await;
    warm(&api).await;
    proxy.set(Traffic::Delayed(Duration::from_millis(20)));
    proxy.take_sent();
    let begun = Instant::now();
    let asked = (0..200).map(|number| api.get(&format!("/posts/{}", 1 + number % POSTS)).anonymous().into_future());
    for answer in join_all(asked).await {
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    // One after the other on both threads of the lane they would take four seconds.
    let queries = proxy.take_sent().matches('E').count();
    assert!(queries < 100, "{queries} queries in {:?}", begun.elapsed());
}

/// How a database becomes read-only.
#[derive(Clone, Copy, Debug)]
pub enum ReadOnly {
    /// For sessions that are there, too, as by an operator or a host that runs out of disk.
    AtOnce,
    /// For new sessions, and those that were there end. Once it can be written to, those that are there still cannot.
    ForNewSessions,
}

impl ReadOnly {
    pub fn set(self, database: &TestDatabase, value: &str) {
        let name = &database.texts("SELECT CAST(current_database() AS text) AS text")[0];
        match self {
            Self::AtOnce => {
                database.execute(&format!("ALTER SYSTEM SET default_transaction_read_only = {value}")).unwrap();
                database.execute("SELECT pg_reload_conf()").unwrap();
            }
            Self::ForNewSessions => {
                let set = format!("ALTER DATABASE {name} SET default_transaction_read_only = {value}");
                database.execute(&format!("BEGIN READ WRITE; {set}; COMMIT")).unwrap();
                if value == "on" {
                    terminate(database);
                }
            }
        }
    }

    pub async fn wait_until_it_is(self, database: &TestDatabase, value: &str) {
        let is_so =
            || async { database.texts("SELECT current_setting('default_transaction_read_only') AS text") == [value] };
        eventually("the setting counts", is_so).await;
    }
}

#[rstest]
#[tokio::test]
async fn a_read_only_server_is_read_on_and_written_to_again_once_it_can_be(
    #[values(ReadOnly::AtOnce, ReadOnly::ForNewSessions)] how: ReadOnly,
) {
    let Some(database) = TestDatabase::create_on_a_server_of_its_own() else { return };
    let api = Api::start(database, |config| config.database.pool_size = 16);
    fill(&api).await;
    for _ in 0..3 {
        warm(&api).await;
        how.set(&api.database, "on");
        how.wait_until_it_is(&api.database, "on").await;
        for _ in 0..3 {
            let begun = Instant::now();
            let sent = (0..12).map(|number| join_all(requests(&api, number).into_iter().map(IntoFuture::into_future)));
            for answers in join_all(sent).await {
                let statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
                assert_eq!(statuses, [200, 200, 200, 200, 503, 503], "{answers:?}");
            }
            assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
            assert_eq!(api.get("/health/ready").await.status, 200);
        }
        how.set(&api.database, "off");
        how.wait_until_it_is(&api.database, "off").await;
        assert_all_succeed(&api, 12, || {}).await;
    }
    assert_eq!(items(&api.get("/posts?limit=1").await).len(), 1);
}

/// Bind, describe, execute, and wait: one statement that was prepared before, in one round trip.
const ROUND_TRIP: &str = "BDES";

#[tokio::test]
async fn a_read_that_is_alone_is_one_round_trip() {
    let Some((proxy, api)) = behind_a_proxy() else { return };
    fill(&api).await;
    let reads = || {
        [
            (api.get("/posts/1").anonymous(), 1),
            (api.get("/posts?limit=5").anonymous(), 1),
            // And who asks.
            (api.get("/posts/1"), 2),
            (api.get("/posts?limit=5"), 2),
        ]
    };
    for (is_prepared, reads) in [(false, reads()), (true, reads())] {
        for (read, trips) in reads {
            proxy.take_sent();
            assert_eq!(read.await.status, 200);
            let sent = proxy.take_sent();
            assert!(!is_prepared || sent == ROUND_TRIP.repeat(trips), "{sent}");
        }
    }
}
