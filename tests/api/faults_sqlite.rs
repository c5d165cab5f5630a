//! What is broken under the embedded database, and what may not get lost: `docs/reliability.md`.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::{join, join3};
use serde_json::json;

use crate::harness::{
    History, PASSWORD, Program, Report, Running, Sqlite, TestDatabase, Token, User, Wrong, eventually, faults,
    load_duration, say, start,
};

const WRITERS: usize = 12;

/// Asserts that the file is whole, and that each post is in the index of words once.
fn assert_whole(database: &TestDatabase) {
    assert_eq!(database.texts("SELECT integrity_check AS text FROM pragma_integrity_check"), ["ok"]);
    assert_eq!(database.texts("SELECT 'dangling' AS text FROM pragma_foreign_key_check"), [""; 0]);
    assert_eq!(database.count("posts", "id NOT IN (SELECT id FROM posts_search_docsize)"), 0);
    assert_eq!(database.count("posts_search_docsize", "id NOT IN (SELECT id FROM posts)"), 0);
}

/// Starts the program, and measures how long it takes until it has answered a request.
async fn start_again(database: &TestDatabase) -> (Running, Duration) {
    let begun = Instant::now();
    let server = Program::on(database, &[]).serve();
    assert_eq!(server.get("/posts?limit=1").await.status, 200);
    (server, begun.elapsed())
}

/// A token for a run that takes longer than one lasts.
fn fresh(user: &User) -> String {
    Token::of(user.id).sign()
}

/// The middle of several durations, and the longest.
fn told(mut durations: Vec<Duration>) -> String {
    durations.sort_unstable();
    let (middle, longest) = (durations[durations.len() / 2], durations.last().unwrap());
    format!("{} ms, at most {} ms", middle.as_millis(), longest.as_millis())
}

/// Who judges is judged: here the database itself breaks its word.
#[tokio::test]
async fn a_history_finds_what_is_wrong() {
    let api = start!(Sqlite);
    let call = |method: &str, path: &str| api.request(method, path);
    let history = History::begin(&call).await;
    let over = AtomicBool::new(false);
    let end = async {
        let enough = || async { api.database.count("posts", "version = 3") > 10 };
        eventually("there are posts", enough).await;
        over.store(true, Ordering::Relaxed);
    };
    join(history.write(WRITERS, &call, &over), end).await;
    history.check(&call).await.assert_sound();

    let change = |statement: &str| {
        let chosen = "(SELECT min(id) FROM posts WHERE version = 3 AND content = 'twice')";
        api.database.execute(&statement.replace("CHOSEN", chosen)).unwrap();
    };
    change("DELETE FROM posts WHERE id = CHOSEN");
    change("UPDATE posts SET version = 2 WHERE id = CHOSEN");
    change("UPDATE posts SET content = 'thrice' WHERE id = CHOSEN");
    change(
        "INSERT INTO posts (title, author, content, created_on, updated_on, version) \
         SELECT title, author, content, created_on, updated_on, version FROM posts WHERE id = CHOSEN",
    );
    change(
        "INSERT INTO posts (title, author, created_on, updated_on, content) \
         SELECT 'Refused', author, created_on, updated_on, 'new' FROM posts WHERE id = CHOSEN",
    );
    change("UPDATE posts SET content = content - 1 WHERE title LIKE '%counter'");
    let report = history.check(&call).await;
    let found = [Wrong::Lost, Wrong::Doubled, Wrong::Undead, Wrong::Backwards, Wrong::Changed];
    // Each is found twice, since a check looks twice; a count that is missing is a loss, too.
    assert_eq!(found.map(|wrong| report.count(wrong)), [4, 2, 2, 2, 2], "{report}");
}

#[tokio::test]
async fn what_was_acknowledged_survives_the_kill_of_the_server() {
    let database = TestDatabase::create(Sqlite).unwrap();
    let author = User::create(&database, "author");
    let kills = faults(5, 200);
    let (mut histories, mut recoveries) = (Vec::<History>::new(), Vec::new());
    for _ in 0..kills {
        let (server, recovery) = start_again(&database).await;
        let call = |method: &str, path: &str| server.request(method, path).bearing(&fresh(&author));
        if let Some(history) = histories.last() {
            recoveries.push(recovery);
            history.check(&call).await.assert_sound();
        }
        let history = History::begin(&call).await;
        let over = AtomicBool::new(false);
        let kill = async {
            tokio::time::sleep(Duration::from_millis(fastrand::u64(0..600))).await;
            server.kill();
            over.store(true, Ordering::Relaxed);
        };
        join(history.write(WRITERS, &call, &over), kill).await;
        histories.push(history);
    }
    let (server, recovery) = start_again(&database).await;
    recoveries.push(recovery);
    let call = |method: &str, path: &str| server.request(method, path).bearing(&fresh(&author));
    let mut report = Report::default();
    for history in &histories {
        report.add(history.check(&call).await);
    }
    server.signal("TERM");
    assert_eq!(server.wait().0, Some(0));
    assert_whole(&database);
    say(&format!("SQLite, kill -9, {kills} times: {report}; answers again after {}", told(recoveries)));
    report.assert_sound();
    report.assert_only(&[200, 201, 204, 412]);
    assert!(report.acknowledged > 100, "{report}");
}

/// Fills what is left of a disk.
fn fill(disk: &Path) {
    let mut filler = File::create(disk.join("filler")).unwrap();
    for size in [64 << 10, 4 << 10, 1] {
        while filler.write_all(&vec![0; size]).is_ok() {}
    }
}

#[tokio::test]
async fn a_full_disk_costs_nothing_but_the_writes_that_it_refuses() {
    let database = TestDatabase::create(Sqlite).unwrap();
    let author = User::create(&database, "author");
    let Some(program) = Program::on_a_disk_of_its_own(&database, 64) else { return };
    let server = program.serve();
    let call = |method: &str, path: &str| server.request(method, path).bearing(&fresh(&author));
    let large = json!({"title": "Large", "content": "word ".repeat(8_000)});
    let history = History::begin(&call).await;
    let over = AtomicBool::new(false);
    let (times, mut recoveries) = (faults(3, 50), Vec::new());
    let fill_again_and_again = async {
        for _ in 0..times {
            tokio::time::sleep(Duration::from_millis(fastrand::u64(0..300))).await;
            fill(&server.disk());
            eventually("the disk is full", || async { call("POST", "/posts").json(&large).await.status == 507 }).await;
            // What is there can be read, searched and listed; who is signed in stays so.
            for path in ["/posts?limit=5", "/posts?q=counter", "/auth/me", "/health/ready"] {
                assert_eq!(call("GET", path).await.status, 200, "{path}");
            }
            // To sign in is to begin a session, for which there may be just room enough; one beside it may have had none.
            let credentials = json!({"email": author.email, "password": PASSWORD});
            let login = server.request("POST", "/auth/login").json(&credentials).await;
            assert!([200, 503, 507].contains(&login.status), "{login:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;

            std::fs::remove_file(server.disk().join("filler")).unwrap();
            let begun = Instant::now();
            eventually("it writes again", || async { call("POST", "/posts").json(&large).await.status == 201 }).await;
            recoveries.push(begun.elapsed());
        }
        over.store(true, Ordering::Relaxed);
    };
    join(history.write(WRITERS, &call, &over), fill_again_and_again).await;
    let report = history.check(&call).await;
    say(&format!("SQLite, disk full, {times} times: {report}; writes again after {}", told(recoveries)));
    report.assert_sound();
    report.assert_only(&[200, 201, 204, 412, 503, 507]);
    assert_eq!(report.unknown, 0, "{report}");
}

#[tokio::test]
async fn two_servers_on_one_file_see_each_others_writes_and_lose_none() {
    let database = TestDatabase::create(Sqlite).unwrap();
    let author = User::create(&database, "author");
    let servers = [Program::on(&database, &[]).serve(), Program::on(&database, &[]).serve()];
    let turn = AtomicUsize::new(0);
    // What one has acknowledged is read at the other at once, changed there, and deleted at the first.
    let call = |method: &str, path: &str| {
        let server = &servers[turn.fetch_add(1, Ordering::Relaxed) % 2];
        server.request(method, path).bearing(&fresh(&author))
    };
    let history = History::begin(&call).await;
    let over = AtomicBool::new(false);
    let pressed = load_duration();
    let end = async {
        tokio::time::sleep(pressed).await;
        over.store(true, Ordering::Relaxed);
    };
    join(history.write(WRITERS, &call, &over), end).await;
    let report = history.check(&call).await;
    say(&format!("SQLite, two servers for {pressed:?}: {report}"));
    report.assert_sound();
    report.assert_only(&[200, 201, 204, 412]);
    assert_eq!(report.unknown, 0, "{report}");
    for server in servers {
        server.signal("TERM");
        assert_eq!(server.wait().0, Some(0));
    }
    assert_whole(&database);
}

/// The lock of who was killed is gone with it, and what it had begun is undone by the other.
#[tokio::test]
async fn of_two_servers_on_one_file_one_may_be_killed() {
    let database = TestDatabase::create(Sqlite).unwrap();
    let author = User::create(&database, "author");
    let stays = Program::on(&database, &[]).serve();
    let at_stays = |method: &str, path: &str| stays.request(method, path).bearing(&fresh(&author));
    let (kills, mut total) = (faults(3, 100), Report::default());
    for _ in 0..kills {
        let killed = Program::on(&database, &[]).serve();
        let at_killed = |method: &str, path: &str| killed.request(method, path).bearing(&fresh(&author));
        let (left, other) = (History::begin(&at_stays).await, History::begin(&at_killed).await);
        let (over, dead) = (AtomicBool::new(false), AtomicBool::new(false));
        let kill = async {
            tokio::time::sleep(Duration::from_millis(fastrand::u64(0..400))).await;
            killed.kill();
            dead.store(true, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(100)).await;
            over.store(true, Ordering::Relaxed);
        };
        join3(left.write(WRITERS, &at_stays, &over), other.write(WRITERS, &at_killed, &dead), kill).await;
        let report = left.check(&at_stays).await;
        report.assert_only(&[200, 201, 204, 412]);
        assert_eq!(report.unknown, 0, "{report}");
        total.add(report);
        total.add(other.check(&at_stays).await);
    }
    say(&format!("SQLite, one of two servers killed, {kills} times: {total}"));
    total.assert_sound();
    stays.signal("TERM");
    assert_eq!(stays.wait().0, Some(0));
    assert_whole(&database);
}
