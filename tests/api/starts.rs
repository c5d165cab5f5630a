//! Servers that start at the same time, on a database where nothing is yet.

use std::thread;

use futures_util::future::join_all;
use rstest::rstest;
use serde_json::json;

use crate::harness::{Database, PASSWORD, Postgres, Program, Running, Session, Sqlite, TestDatabase, faults, say};

const SERVERS: usize = 8;

/// A server that has all that it needs in one folder, or on PostgreSQL a key that it was given.
fn program(database: &TestDatabase) -> Program {
    match database.folder() {
        Some(folder) => Program::new(&["--data-dir", folder.to_str().unwrap()]),
        None => Program::on(database, &[]),
    }
}

/// What it logged that somebody should look at. That a setup failed is what the test is about.
fn complaints(log: &str) -> Vec<&str> {
    let is_complaint = |line: &&str| !line.contains("\"level\":\"INFO\"") && !line.contains("\"message\":\"audit\"");
    log.lines().filter(is_complaint).collect()
}

#[rstest]
#[tokio::test]
async fn servers_that_start_at_once_on_an_empty_database_share_it(#[values(Sqlite, Postgres)] database: Database) {
    let times = faults(1, 50);
    for _ in 0..times {
        let Some(database) = TestDatabase::create_empty(database) else { return };
        let mut servers: Vec<Running> = thread::scope(|scope| {
            let starts: Vec<_> = (0..SERVERS).map(|_| scope.spawn(|| program(&database).serve())).collect();
            starts.into_iter().map(|start| start.join().unwrap()).collect()
        });
        // Each step was taken once, and all of them.
        let one = TestDatabase::create(if database.folder().is_some() { Sqlite } else { Postgres }).unwrap();
        let steps = "SELECT version AS text FROM __diesel_schema_migrations ORDER BY version";
        assert_eq!(database.texts(steps), one.texts(steps));

        // Each has a token of its own, and one of them makes an admin.
        let tokens: Vec<_> = servers.iter_mut().map(Running::setup_token).collect();
        let attempts = servers.iter().zip(&tokens).enumerate().map(|(number, (server, token))| async move {
            let email = format!("admin{number}@example.org");
            let body = json!({"setup_token": token, "email": email, "password": PASSWORD});
            server.request("POST", "/auth/setup").json(&body).await
        });
        let (won, lost): (Vec<_>, Vec<_>) =
            join_all(attempts).await.into_iter().partition(|answer| answer.status == 200);
        assert_eq!((won.len(), lost.len()), (1, SERVERS - 1));
        for answer in lost {
            answer.problem("forbidden");
        }
        // They have one key: what one of them signed counts at all.
        let token = Session::of(&won[0]).access_token;
        for server in &servers {
            assert_eq!(server.get("/auth/me").bearing(&token).await.status, 200);
        }
        for server in servers {
            server.signal("TERM");
            let (status, log) = server.wait();
            assert_eq!((status, complaints(&log)), (Some(0), Vec::new()));
        }
    }
    say(&format!("{database:?}, {SERVERS} servers started at once, {times} times: all serve, one admin, one key"));
}

/// A process in a container has the same number each time.
#[tokio::test]
async fn who_was_killed_while_it_made_its_key_is_in_nobodys_way() {
    let database = TestDatabase::create_empty(Sqlite).unwrap();
    let left = format!("echo cut short > '{}/signing-key.'$$", database.folder().unwrap().display());
    let mut server = program(&database).after(&left).serve();
    let token = server.set_up().await;
    assert_eq!(server.get("/auth/me").bearing(&token).await.status, 200);
}
