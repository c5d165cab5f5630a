//! The system's clock is set while the server runs, by an hour, a day or ten years, ahead and back. What counts time that
//! passes does not notice; what goes by the time of day gives way for as long as it is wrong, and no further.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rstest::rstest;
use serde_json::{Value, json};

use crate::harness::{
    Database, PASSWORD, Postgres, Program, Request, Running, Session, Sqlite, TestDatabase, User, eventually, faults,
    ids, now,
};

/// A server whose clock can be set.
struct Clocked {
    server: Running,
    file: PathBuf,
    user: User,
    session: Session,
    key: String,
    _database: TestDatabase,
}

/// The library that sets a program's clock, where it is installed.
fn library() -> Option<PathBuf> {
    let folders =
        ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib", "/usr/lib64", "/usr/local/lib"];
    let mut files = folders.iter().map(|folder| Path::new(folder).join("faketime/libfaketimeMT.so.1"));
    let found = files.find(|file| file.exists());
    if found.is_none() {
        assert!(std::env::var_os("CI").is_none(), "a test run in CI needs libfaketime");
        let told = "\nSKIPPED: a clock that is set, since libfaketime is not installed\n";
        // Past the test runner, which swallows what a passing test prints.
        let _ = std::io::stderr().write_all(told.as_bytes());
    }
    found
}

impl Clocked {
    async fn start(database: Database) -> Option<Self> {
        let library = library()?;
        let database = TestDatabase::create(database)?;
        let user = User::create(&database, "admin");
        let program = Program::on(&database, &["--require-if-match=on", "--pool-size=4"]);
        let file = program.folder().join("clock");
        std::fs::write(&file, "+0").unwrap();
        let program = program
            .env("LD_PRELOAD", library.to_str().unwrap())
            .env("FAKETIME_TIMESTAMP_FILE", file.to_str().unwrap())
            .env("FAKETIME_NO_CACHE", "1")
            // Only the time of day is set; what counts on, counts on.
            .env("DONT_FAKE_MONOTONIC", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        let server = program.serve();
        let login = json!({"email": user.email, "password": PASSWORD});
        let session = Session::of(&server.request("POST", "/auth/login").json(&login).await);
        let key = json!({"name": "a key", "role": "author"});
        let key = server.request("POST", "/api-keys").by(&user).json(&key).await.json();
        let key = key["key"].as_str().unwrap().to_owned();
        let clocked = Self { server, file, user, session, key, _database: database };
        for number in 0..6 {
            assert_eq!(clocked.create(number).await["version"], 1);
        }
        Some(clocked)
    }

    /// Sets the clock so far ahead of what it would be, or back. The server's `Date` follows within half a second.
    async fn set(&self, seconds: i64) {
        // In one piece: the server reads it at any time.
        let draft = self.file.with_extension("draft");
        std::fs::write(&draft, format!("{seconds:+}")).unwrap();
        std::fs::rename(&draft, &self.file).unwrap();
        eventually("the clock is set", || async {
            let answer = self.server.get("/health/live").await;
            let date = httpdate::parse_http_date(answer.header("date")).unwrap();
            let date = date.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
            date.abs_diff(now().checked_add_signed(seconds).unwrap()) <= 1
        })
        .await;
    }

    /// As the holder of an API key, to whom the time is nothing.
    fn request(&self, method: &str, path: &str) -> Request {
        self.server.request(method, path).bearing(&self.key)
    }

    async fn create(&self, number: usize) -> Value {
        let answer = self.request("POST", "/posts").json(&json!({"title": format!("Post {number}")})).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.json()
    }

    async fn status_of_me(&self, token: &str) -> u16 {
        self.server.get("/auth/me").bearing(token).await.status
    }

    async fn refresh(&mut self) {
        let body = json!({"refresh_token": self.session.refresh_token});
        self.session = Session::of(&self.server.request("POST", "/auth/refresh").json(&body).await);
    }

    /// Changes a post on the version that it has, and not on one before.
    async fn change(&self, id: i64) {
        let path = format!("/posts/{id}");
        let before = self.request("GET", &path).await;
        let change = |tag: &str| {
            self.request("PATCH", &path).header("If-Match", tag).json(&json!({"content": format!("Since {tag}")}))
        };
        let tag = before.header("etag");
        let changed = change(tag).await;
        assert_eq!(changed.status, 200, "{changed:?}");
        assert_eq!(changed.json()["version"], before.json()["version"].as_i64().unwrap() + 1);
        assert!(changed.json()["updated_on"].as_str() >= before.json()["updated_on"].as_str(), "time runs backwards");
        assert_eq!(change(tag).await.status, 412, "an update would be lost");
    }
}

const HOUR: i64 = 3_600;
const DAY: i64 = 24 * HOUR;
const YEARS: i64 = 3_652 * DAY;

#[rstest]
#[tokio::test]
async fn a_clock_that_is_set_costs_no_request_and_no_update(#[values(Sqlite, Postgres)] database: Database) {
    let Some(clocked) = Clocked::start(database).await else { return };
    for seconds in &[-HOUR, YEARS, 0, -YEARS, -DAY, HOUR, DAY, 0][..faults(2, 8)] {
        let seconds = *seconds;
        clocked.set(seconds).await;
        let begun = Instant::now();
        clocked.change(1).await;
        let created = clocked.create(7).await;
        clocked.change(created["id"].as_i64().unwrap()).await;
        for path in ["/posts", "/posts?q=post", "/posts/1", "/users", "/health/ready", "/auth/me", "/metrics"] {
            let answer = clocked.request("GET", path).await;
            assert!([200, 403].contains(&answer.status), "{path} at {seconds:+}: {answer:?}");
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "{seconds:+}: {:?}", begun.elapsed());
        // Who proved badly who they are is kept waiting by time that passes, and nobody else is.
        let login = |password: &str| {
            let body = json!({"email": clocked.user.email, "password": password});
            clocked.server.request("POST", "/auth/login").json(&body)
        };
        assert_eq!(login(PASSWORD).await.status, 200, "{seconds:+}");
    }
    let metrics = clocked.server.get("/metrics").await;
    let sums = metrics.text().lines().filter(|line| line.starts_with("posts_http_request_duration_seconds_sum"));
    let spent: f64 = sums.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum();
    assert!((0.0..60.0).contains(&spent), "{spent} seconds");
    clocked.server.signal("TERM");
    let stopped = Instant::now();
    let (status, log) = clocked.server.wait();
    assert_eq!(status, Some(0));
    assert!(stopped.elapsed() < Duration::from_secs(10));
    assert!(!log.contains("\"status\":5") && !log.contains("panic"), "{log}");
}

#[rstest]
#[tokio::test]
async fn each_post_is_on_one_page_while_the_clock_is_set(#[values(Sqlite, Postgres)] database: Database) {
    let Some(clocked) = Clocked::start(database).await else { return };
    for order in &["-created_on", "created_on"][..faults(1, 2)] {
        let mut found = Vec::new();
        let mut next = Some(format!("/posts?limit=2&sort={order}"));
        let mut steps = [-HOUR, YEARS].into_iter();
        while let Some(path) = next {
            let page = clocked.request("GET", &path).await;
            found.extend(ids(&page));
            next = page.json()["next_cursor"]
                .as_str()
                .map(|cursor| format!("/posts?limit=2&sort={order}&cursor={cursor}"));
            if let Some(seconds) = steps.next() {
                clocked.set(seconds).await;
            }
        }
        let mut first: Vec<_> = found.iter().copied().filter(|id| *id <= 6).collect();
        first.sort_unstable();
        assert_eq!(first, [1, 2, 3, 4, 5, 6], "{order}: {found:?}");
        clocked.set(0).await;
    }
}

#[rstest]
#[tokio::test]
async fn who_is_signed_in_stays_so_while_the_clock_is_set(#[values(Sqlite, Postgres)] database: Database) {
    let Some(mut clocked) = Clocked::start(database).await else { return };
    // By as much as clocks are corrected in passing, nobody notices.
    clocked.set(-3).await;
    assert_eq!(clocked.status_of_me(&clocked.session.access_token).await, 200);
    for seconds in &[-HOUR, HOUR, -DAY, DAY][..faults(1, 4)] {
        let seconds = *seconds;
        let before = clocked.session.access_token.clone();
        clocked.set(seconds).await;
        assert_eq!(clocked.status_of_me(&before).await, 401, "a token of another time, {seconds:+}");
        clocked.refresh().await;
        assert_eq!(clocked.status_of_me(&clocked.session.access_token).await, 200, "{seconds:+}");
        assert_eq!(clocked.status_of_me(&clocked.key).await, 200, "{seconds:+}");
        clocked.set(0).await;
        clocked.refresh().await;
        assert_eq!(clocked.status_of_me(&clocked.session.access_token).await, 200, "back from {seconds:+}");
    }
    // Ten years ahead the session is over; once the clock is right again, it is not.
    let body = json!({"refresh_token": clocked.session.refresh_token});
    clocked.set(YEARS).await;
    assert_eq!(clocked.server.request("POST", "/auth/refresh").json(&body).await.status, 401);
    clocked.set(0).await;
    clocked.refresh().await;
    clocked.set(-YEARS).await;
    clocked.refresh().await;
}

/// A token that was stolen after its use must not be good again because the clock says that its use is yet to come.
#[rstest]
#[tokio::test]
async fn a_used_refresh_token_is_not_taken_for_new_because_the_clock_was_set_back(
    #[values(Sqlite, Postgres)] database: Database,
) {
    let Some(mut clocked) = Clocked::start(database).await else { return };
    let used = json!({"refresh_token": clocked.session.refresh_token});
    clocked.refresh().await;
    clocked.set(-HOUR).await;
    assert_eq!(clocked.server.request("POST", "/auth/refresh").json(&used).await.status, 401);
    let successor = json!({"refresh_token": clocked.session.refresh_token});
    assert_eq!(
        clocked.server.request("POST", "/auth/refresh").json(&successor).await.status,
        401,
        "its session goes on"
    );
}

#[rstest]
#[tokio::test]
async fn a_retry_is_known_again_after_the_clock_was_wrong(#[values(Sqlite, Postgres)] database: Database) {
    let Some(clocked) = Clocked::start(database).await else { return };
    let attempt = || {
        let request = clocked.request("POST", "/posts").json(&json!({"title": "Once"}));
        request.header("Idempotency-Key", "of-this-test")
    };
    let first = attempt().await;
    assert_eq!(first.status, 201);
    for seconds in [HOUR, -YEARS] {
        clocked.set(seconds).await;
        assert_eq!(attempt().await.json()["id"], first.json()["id"], "{seconds:+}");
    }
    // Ahead for a while, without a retry meanwhile.
    clocked.set(YEARS).await;
    clocked.set(0).await;
    assert_eq!(attempt().await.json()["id"], first.json()["id"]);
}

/// What was changed in a future that turned out to be none has not changed later than it is sent (RFC 9110 §8.8.2.1).
#[tokio::test]
async fn last_modified_is_never_later_than_date() {
    let Some(clocked) = Clocked::start(Sqlite).await else { return };
    clocked.set(DAY).await;
    let created = clocked.create(7).await;
    let path = format!("/posts/{}", created["id"]);
    let ahead = clocked.request("GET", &path).await.header("last-modified").to_owned();
    clocked.set(0).await;
    let answer = clocked.request("GET", &path).await;
    let seconds = |text: &str| httpdate::parse_http_date(text).unwrap();
    let (modified, date) = (seconds(answer.header("last-modified")), seconds(answer.header("date")));
    // The framework tells the time twice a second.
    assert!(modified <= date + Duration::from_secs(1), "{answer:?}");
    for (condition, status) in [(ahead.as_str(), 304), (answer.header("last-modified"), 200)] {
        let conditional = clocked.request("GET", &path).header("If-Modified-Since", condition).await;
        assert_eq!(conditional.status, status, "{condition}");
    }
    clocked.change(created["id"].as_i64().unwrap()).await;
}
