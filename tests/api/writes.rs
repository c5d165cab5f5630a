//! Writes that wait together are carried out together, and each is answered for itself.

use std::collections::BTreeSet;
use std::future::IntoFuture as _;
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection as _;
use futures_util::future::{join, join_all};
use posts_api::db::DbConnection;
use rstest::rstest;
use serde_json::{Value, json};

use crate::harness::{
    Answer, Api, Database, Postgres, Program, Request, Running, Sqlite, TestDatabase, User, eventually, ids, start,
};

/// Long enough for what was sent to be waiting on the server.
const A_MOMENT: Duration = Duration::from_millis(500);

/// Keeps everybody else from writing posts.
fn hold(database: &TestDatabase) -> DbConnection {
    let mut holder = database.connect();
    let lock = match &holder {
        DbConnection::Sqlite(_) => "PRAGMA foreign_keys = ON; BEGIN IMMEDIATE",
        DbConnection::Postgres(_) => "BEGIN; LOCK TABLE posts IN EXCLUSIVE MODE",
    };
    holder.batch_execute(lock).unwrap();
    holder
}

/// Sends these at once, so that they wait together: while they do, `meanwhile` is executed in the transaction that they
/// wait for.
async fn together(api: &Api, requests: Vec<Request>, meanwhile: &str) -> Vec<Answer> {
    let mut holder = hold(&api.database);
    let answers = join_all(requests.into_iter().map(Request::into_future));
    let release = async {
        tokio::time::sleep(A_MOMENT).await;
        holder.batch_execute(&format!("{meanwhile}; COMMIT")).unwrap();
    };
    join(answers, release).await.0
}

fn statuses(answers: &[Answer]) -> Vec<u16> {
    answers.iter().map(|answer| answer.status).collect()
}

/// What a post may say that is easily lost among others, in a statement or in a list.
fn sent(number: usize) -> Value {
    let text = |kind: &str| match number % 5 {
        0 => json!(format!("{kind}, in one word: unique{number}")),
        1 => Value::Null,
        2 => json!(format!("{{\"{kind}\", NULL, \\unique{number}\\}}")),
        3 => json!(format!("{kind} 'тест' $1 ?1 \n\t 😀 é unique{number}")),
        _ => json!(format!("NULL {kind}")),
    };
    json!({
        "title": format!("Title {number}, word{number}"),
        "author": text("author"),
        "content": if number.is_multiple_of(7) { json!("") } else { text("content") },
        "published": !number.is_multiple_of(3),
    })
}

#[rstest]
#[tokio::test]
async fn posts_that_are_created_at_once_are_each_stored_as_they_were_sent(
    #[values(Sqlite, Postgres)] database: Database,
) {
    let api = start!(database);
    let users = [api.user("author"), api.user("editor"), api.user("author")];
    let owner = |number: usize| &users[number % users.len()];
    let requests = (0..64).map(|number| api.post("/posts", sent(number)).by(owner(number)));
    let answers = together(&api, requests.collect(), "").await;
    let mut seen = BTreeSet::new();
    for (number, answer) in answers.iter().enumerate() {
        assert_eq!(answer.status, 201, "{answer:?}");
        let created = answer.json();
        for (field, value) in sent(number).as_object().unwrap() {
            assert_eq!(created[field], *value, "{field} of {number}");
        }
        assert_eq!(created["owner_id"], owner(number).id);
        assert_eq!((&created["version"], &created["updated_on"]), (&json!(1), &created["created_on"]));
        let id = created["id"].as_i64().unwrap();
        assert!(seen.insert(id), "{id} twice");
        assert_eq!(answer.header("location"), format!("/posts/{id}"));
        let stored = api.get(answer.header("location")).await;
        assert_eq!((stored.json(), stored.header("etag")), (created, answer.header("etag")));
        assert_eq!(ids(&api.get(&format!("/posts?q=word{number}")).await), [id]);
        if number % 5 == 0 && number % 7 != 0 {
            assert_eq!(ids(&api.get(&format!("/posts?q=unique{number}")).await), [id]);
        }
    }
    assert_eq!(api.database.count("posts", "1 = 1"), 64);
}

/// As above, of a size at which a statement takes in no more.
#[rstest]
#[tokio::test]
async fn large_posts_that_are_created_at_once_are_each_stored(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let body =
        |number: usize| json!({"title": format!("Large {number}"), "content": format!("{number} ").repeat(400_000)});
    let answers = together(&api, (0..9).map(|number| api.post("/posts", body(number))).collect(), "").await;
    for (number, answer) in answers.iter().enumerate() {
        assert_eq!(answer.status, 201, "{answer:?}");
        let stored = api.get(answer.header("location")).await.json();
        assert!(stored["content"] == body(number)["content"], "{number}");
    }
}

/// The value of a lane's metric, which is a number of something.
async fn metric(server: &Running, name: &str, lane: &str) -> usize {
    let metrics = server.get("/metrics").await;
    let start = format!("{name}{{lane=\"{lane}\"}} ");
    let value = metrics.text().lines().find_map(|sample| sample.strip_prefix(&start)).map(str::to_owned);
    value.map_or(0, |value| value.parse().unwrap())
}

/// In a process of its own, whose metrics no other test's server has a part in.
#[rstest]
#[tokio::test]
async fn writes_that_wait_together_are_few_commits(#[values(Sqlite, Postgres)] database: Database) {
    const WRITES: usize = 40;
    let lane = if database == Sqlite { "write" } else { "creates" };
    let Some(database) = TestDatabase::create(database) else { return };
    let author = User::create(&database, "author");
    let server = Program::on(&database, &[]).serve();
    assert_eq!(server.request("POST", "/posts").by(&author).json(&json!({"title": "First"})).await.status, 201);
    let before = metric(&server, "posts_db_batch_size_count", lane).await;
    let mut holder = hold(&database);
    let post = |number: usize| server.request("POST", "/posts").by(&author).json(&sent(number)).into_future();
    let release = async {
        eventually("all of them wait", || async { metric(&server, "posts_db_requests_waiting", lane).await == WRITES })
            .await;
        holder.batch_execute("COMMIT").unwrap();
    };
    let (answers, ()) = join(join_all((0..WRITES).map(post)), release).await;
    assert_eq!(statuses(&answers), [201; WRITES]);
    let batches = metric(&server, "posts_db_batch_size_count", lane).await - before;
    assert!((1..=10).contains(&batches), "{WRITES} posts in {batches} batches");
    assert_eq!(metric(&server, "posts_db_requests_waiting", lane).await, 0);
}

#[rstest]
#[tokio::test]
async fn of_posts_created_at_once_one_whose_owner_is_gone_fails_alone(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let gone = api.user("author");
    let requests = (0..40).map(|number| {
        let request = api.post("/posts", sent(number));
        if number == 20 { request.by(&gone) } else { request }
    });
    let answers = together(&api, requests.collect(), &format!("DELETE FROM users WHERE id = {}", gone.id)).await;
    for (number, answer) in answers.iter().enumerate() {
        if number == 20 {
            assert_eq!(
                answer.problem("conflict")["detail"],
                "What this belongs to was deleted meanwhile. Nothing was changed."
            );
        } else {
            assert_eq!(answer.status, 201, "{answer:?}");
            assert_eq!(ids(&api.get(&format!("/posts?q=word{number}")).await), [answer.json()["id"].as_i64().unwrap()]);
        }
    }
    assert_eq!(api.database.count("posts", "1 = 1"), 39);
    assert_eq!(ids(&api.get("/posts?q=word20").await), [0; 0]);
}

/// Refuses to keep the answers to requests with a key, which is the last that these do.
const REFUSE_KEYS: [&str; 2] = [
    "CREATE TRIGGER refuse BEFORE INSERT ON idempotency_keys BEGIN SELECT RAISE(ABORT, 'no keys'); END",
    "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no keys'; END $$; \
     CREATE TRIGGER refuse BEFORE INSERT ON idempotency_keys FOR EACH ROW EXECUTE FUNCTION refuse()",
];

#[rstest]
#[tokio::test]
async fn a_write_that_fails_among_others_undoes_itself_alone(#[values(Sqlite, Postgres)] database: Database) {
    const EACH: usize = 10;
    let api = start!(database);
    api.database.execute(REFUSE_KEYS[usize::from(database == Postgres)]).unwrap();
    let [conditional, patched, deleted] = [0, 1, 2].map(|number| {
        let api = &api;
        async move { api.create(json!({"title": format!("Post {number}")})).await }
    });
    let [conditional, patched, deleted] = [conditional.await, patched.await, deleted.await];
    let path = |post: &Value| format!("/posts/{}", post["id"]);
    let etag = api.get(&path(&conditional)).await.header("etag").to_owned();
    let requests = (0..EACH).flat_map(|number| {
        let title = |kind: &str| json!({"title": format!("{kind}{number}")});
        [
            api.put(&path(&conditional), title("replaced")).header("If-Match", &etag),
            api.patch(&path(&patched), title("patched")),
            api.delete(&path(&deleted)),
            api.post("/posts", title("created")),
            api.post("/posts", title("undone")).header("Idempotency-Key", format!("key-{number}")),
        ]
    });
    let answers = together(&api, requests.collect(), "").await;
    let of = |kind: usize| answers.iter().skip(kind).step_by(5).collect::<Vec<_>>();
    let count = |kind: usize, status: u16| of(kind).iter().filter(|answer| answer.status == status).count();

    assert_eq!((count(0, 200), count(0, 412)), (1, EACH - 1), "{:?}", statuses(&answers));
    let won = of(0).into_iter().find(|answer| answer.status == 200).unwrap().json();
    assert_eq!((&won["version"], api.get(&path(&conditional)).await.json()), (&json!(2), won.clone()));

    let versions: BTreeSet<_> = of(1).iter().map(|answer| answer.json()["version"].as_u64().unwrap()).collect();
    assert_eq!(versions, (2..2 + EACH as u64).collect());
    let last = of(1).into_iter().map(Answer::json).max_by_key(|post| post["version"].as_u64()).unwrap();
    assert_eq!(api.get(&path(&patched)).await.json(), last);

    assert_eq!((count(2, 204), count(2, 404)), (1, EACH - 1), "{:?}", statuses(&answers));
    assert_eq!((count(3, 201), count(4, 500)), (EACH, EACH), "{:?}", statuses(&answers));
    for number in 0..EACH {
        let found = async |kind: &str| ids(&api.get(&format!("/posts?q={kind}{number}")).await).len();
        assert_eq!((found("created").await, found("undone").await), (1, 0), "{number}");
    }
    // The last version of a title alone is found, and of those that failed no part.
    assert_eq!(ids(&api.get(&format!("/posts?q={}", last["title"].as_str().unwrap())).await).len(), 1);
    assert_eq!(api.database.count("posts", "1 = 1"), 2 + EACH);
    let indexed = if database == Sqlite { "posts_search_docsize" } else { "posts_search" };
    assert_eq!(api.database.count(indexed, "1 = 1"), 2 + EACH);
}

/// A fault that costs the neighbours their transaction, too: SQLite undoes all of it in the midst, as it may where the
/// disk is full, or at the commit.
#[rstest]
#[case(
    "CREATE TRIGGER fill BEFORE INSERT ON posts WHEN NEW.title = 'culprit' \
     BEGIN SELECT RAISE(ROLLBACK, 'database or disk is full'); END",
    507,
    503
)]
#[case(
    "CREATE TABLE promises (post_id INTEGER REFERENCES posts (id) DEFERRABLE INITIALLY DEFERRED); \
     CREATE TRIGGER promise AFTER INSERT ON posts WHEN NEW.title = 'culprit' \
     BEGIN INSERT INTO promises VALUES (4711); END",
    409,
    409
)]
#[tokio::test]
async fn where_all_of_a_batch_is_undone_everybody_is_told(
    #[case] fault: &str,
    #[case] status: u16,
    #[case] of_neighbours: u16,
) {
    let api = start!(Sqlite);
    let changed = api.create(json!({"title": "Version 1"})).await;
    api.database.execute(fault).unwrap();
    // Who shares a batch with whom is for the clock to say, as on a slow machine.
    for round in 0.. {
        assert!(round < 20, "nobody ever shared the batch");
        let title = |number: usize| format!("round{round}number{number}");
        let mut requests: Vec<_> = (0..6).map(|number| api.post("/posts", json!({"title": title(number)}))).collect();
        requests.push(api.patch(&format!("/posts/{}", changed["id"]), json!({"title": title(6)})));
        requests.insert(5, api.post("/posts", json!({"title": "culprit"})));
        let mut answers = together(&api, requests, "").await;
        assert_eq!(answers.remove(5).status, status);
        for (number, answer) in answers.iter().enumerate() {
            let is_stored = matches!(answer.status, 200 | 201);
            assert!(is_stored || answer.status == of_neighbours, "{answer:?}");
            assert!(
                is_stored || answer.json()["detail"].as_str().unwrap().contains("Nothing was changed"),
                "{answer:?}"
            );
            assert_eq!(api.database.count("posts", &format!("title = '{}'", title(number))), usize::from(is_stored));
            assert_eq!(ids(&api.get(&format!("/posts?q={}", title(number))).await).len(), usize::from(is_stored));
        }
        assert_eq!(api.database.count("posts", "title = 'culprit'"), 0);
        assert_eq!(api.post("/posts", json!({"title": "Afterwards"})).await.status, 201);
        if answers.iter().any(|answer| answer.status == of_neighbours) {
            break;
        }
    }
}

#[tokio::test]
async fn writes_wait_while_another_program_has_the_lock_but_not_for_ever() {
    let api = start!(Sqlite);
    let posts =
        |kind: &str| (0..10).map(|number| api.post("/posts", json!({"title": format!("{kind} {number}")}))).collect();
    let answers = together(&api, posts("Waited"), "").await;
    assert_eq!(statuses(&answers), [201; 10]);

    let mut holder = hold(&api.database);
    let begun = Instant::now();
    let requests: Vec<Request> = posts("Too long");
    for answer in join_all(requests.into_iter().map(Request::into_future)).await {
        assert_eq!(answer.status, 503);
        assert_eq!(answer.problem("unavailable")["detail"], "The database is busy. Nothing was changed; try again.");
    }
    assert!(begun.elapsed() < Duration::from_secs(9), "each waited for the others: {:?}", begun.elapsed());
    holder.batch_execute("COMMIT").unwrap();
    assert_eq!(api.post("/posts", json!({"title": "Afterwards"})).await.status, 201);
    assert_eq!(api.database.count("posts", "title LIKE 'Too long%'"), 0);
}

/// Who was told that there was no answer in time has nothing written afterwards, where its turn had not come.
#[tokio::test]
async fn what_nobody_waits_for_any_more_is_not_written() {
    let api = start!(Sqlite, |config| config.database.timeout = Duration::from_secs(2));
    let mut holder = hold(&api.database);
    let given_up = api.post("/posts", json!({"title": "Given up"})).into_future();
    let sent_later = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        api.post("/posts", json!({"title": "Sent later"})).await
    };
    let release = async {
        tokio::time::sleep(Duration::from_millis(2300)).await;
        holder.batch_execute("COMMIT").unwrap();
    };
    let ((given_up, sent_later), ()) = join(join(given_up, sent_later), release).await;
    assert_eq!((given_up.status, sent_later.status), (503, 201));
    assert_eq!(api.database.texts("SELECT title AS text FROM posts"), ["Sent later"]);
}

/// What the statements of the lane wait with, on PostgreSQL.
const CREATES_AT_WORK: &str =
    "datname = current_database() AND query LIKE 'WITH new AS%' AND wait_event_type = 'Lock' AND state = 'active'";

#[tokio::test]
async fn a_statement_whose_outcome_nobody_knows_is_not_repeated() {
    let api = start!(Postgres);
    let mut holder = hold(&api.database);
    let post =
        |number: usize| tokio::spawn(api.post("/posts", json!({"title": format!("Post {number}")})).into_future());
    let mut at_work = Vec::new();
    for thread in 1..=2 {
        at_work.push(post(thread));
        let waits = || async { api.database.count("pg_stat_activity", CREATES_AT_WORK) == thread };
        eventually("another thread waits", waits).await;
    }
    let waiting: Vec<_> = (3..11).map(post).collect();
    tokio::time::sleep(A_MOMENT).await;
    let kill = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {CREATES_AT_WORK}");
    api.database.execute(&kill).unwrap();
    for lost in at_work {
        let answer = lost.await.unwrap();
        assert_eq!(answer.status, 503);
        let detail = answer.problem("unavailable")["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains("may have been carried out"), "{detail}");
    }
    holder.batch_execute("COMMIT").unwrap();
    for answer in waiting {
        assert_eq!(answer.await.unwrap().status, 201);
    }
    assert_eq!(api.database.count("posts", "1 = 1"), 8);
}

/// A trigger of somebody else's may change what is stored, or leave it out.
#[tokio::test]
async fn what_a_trigger_makes_of_a_post_is_what_is_answered() {
    let api = start!(Postgres);
    api.database
        .execute(
            "CREATE FUNCTION censor() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
                 IF NEW.title = 'left out' THEN RETURN NULL; END IF; \
                 NEW.content := replace(NEW.content, 'rude', 'kind'); RETURN NEW; \
             END $$; \
             CREATE TRIGGER censor BEFORE INSERT ON posts FOR EACH ROW EXECUTE FUNCTION censor()",
        )
        .unwrap();
    let titles = ["one", "left out", "two"];
    let post = |title: &str| api.post("/posts", json!({"title": title, "content": format!("a rude {title}")}));
    let answers = together(&api, titles.map(post).into(), "").await;
    assert_eq!(statuses(&answers), [201, 500, 201]);
    for place in [0, 2] {
        let answer = &answers[place];
        assert_eq!(answer.json()["content"], format!("a kind {}", titles[place]));
        assert_eq!(api.get(answer.header("location")).await.json(), answer.json());
    }
    assert_eq!(ids(&api.get("/posts?q=rude").await), [0; 0]);
}

/// As after a failover, where an old connection may lead to what is a standby now.
#[tokio::test]
async fn a_connection_that_can_write_no_more_costs_nobody_a_post() {
    let api = start!(Postgres);
    api.database
        .execute(
            "CREATE FUNCTION demote() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
                 PERFORM set_config('default_transaction_read_only', 'on', false); RETURN NEW; \
             END $$; \
             CREATE TRIGGER demote BEFORE INSERT ON posts FOR EACH ROW WHEN (NEW.title = 'demote') \
             EXECUTE FUNCTION demote()",
        )
        .unwrap();
    for title in ["demote", "one", "demote", "two", "three"] {
        let answer = api.post("/posts", json!({"title": title})).await;
        assert_eq!(answer.status, 201, "{answer:?}");
    }
    assert_eq!(api.database.count("posts", "1 = 1"), 5);
}
