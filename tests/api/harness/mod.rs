//! Starts servers on databases of their own, and looks at every answer twice: once for the test, and once for what
//! the contract and the OpenAPI document say of all answers.

mod database;
mod document;
mod history;
mod postgres;
mod program;
mod proxy;
pub mod queries;
mod sessions;
mod users;
mod wire;

use std::net::SocketAddr;
use std::thread::JoinHandle;
use std::time::Duration;

use posts_api::config::Config;
use posts_api::http::client::TrustedProxies;
use posts_api::http::json::BodyLimits;
use posts_api::server::{Server, Stop};

pub use database::Database::{self, Postgres, Sqlite};
pub use database::{Standby, TestDatabase};
pub use history::{History, Report, Wrong};
pub use program::{Program, Running};
pub use proxy::{Cut, Proxy, Traffic};
pub use sessions::Session;
pub use users::{PASSWORD, SIGNING_KEY, Token, User, auth_options, now};
pub use wire::{Answer, Connection, Request, ids, items};

/// A server on a database of its own, ready for requests. Ends the test early where the database is PostgreSQL and
/// this machine has none, which the run's last line counts.
macro_rules! start {
    ($database:expr) => {
        crate::harness::start!($database, |_| {})
    };
    ($database:expr, $change:expr) => {
        match crate::harness::TestDatabase::create($database) {
            Some(database) => crate::harness::Api::start(database, $change),
            None => return,
        }
    };
}
pub(crate) use start;

/// A running server, and a client to it. Requests are its root's, an admin, until they say whose they are.
pub struct Api {
    pub address: SocketAddr,
    pub database: TestDatabase,
    pub root: User,
    client: reqwest::Client,
    stop: Stop,
    thread: Option<JoinHandle<()>>,
}

impl Api {
    /// Starts a server, in this process and as production does.
    pub fn start(database: TestDatabase, change: impl FnOnce(&mut Config)) -> Self {
        let root = User::create(&database, "admin");
        Self::start_with_root(database, root, change)
    }

    /// A further server on the same database.
    pub fn another(&self, change: impl FnOnce(&mut Config)) -> Self {
        Self::start_with_root(self.database.shared(), self.root.clone(), change)
    }

    fn start_with_root(database: TestDatabase, root: User, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = config(&database);
        change(&mut config);
        let (started, starting) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            actix_web::rt::System::new().block_on(async move {
                let server = Server::build(config).await.expect("the server starts");
                started.send((server.address(), server.stop())).unwrap();
                server.run().await.unwrap();
            });
        });
        let (address, stop) = starting.recv().expect("the server starts");
        Self { address, database, root, client: client(), stop, thread: Some(thread) }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn request(&self, method: &str, path: &str) -> Request {
        let method = method.parse().expect("a method");
        Request::new(self.client.request(method, self.url(path))).by(&self.root)
    }

    pub fn get(&self, path: &str) -> Request {
        self.request("GET", path)
    }

    pub fn post(&self, path: &str, body: impl serde::Serialize) -> Request {
        self.request("POST", path).json(&body)
    }

    pub fn put(&self, path: &str, body: impl serde::Serialize) -> Request {
        self.request("PUT", path).json(&body)
    }

    /// A merge patch.
    pub fn patch(&self, path: &str, body: impl serde::Serialize) -> Request {
        self.request("PATCH", path).json(&body).header("Content-Type", "application/merge-patch+json")
    }

    pub fn json_patch(&self, path: &str, body: impl serde::Serialize) -> Request {
        self.request("PATCH", path).json(&body).header("Content-Type", "application/json-patch+json")
    }

    pub fn delete(&self, path: &str) -> Request {
        self.request("DELETE", path)
    }

    /// Creates a user with this role, signed in.
    pub fn user(&self, role: &str) -> User {
        User::create(&self.database, role)
    }

    /// Creates a post, and returns it as the server stored it.
    pub async fn create(&self, body: serde_json::Value) -> serde_json::Value {
        let answer = self.post("/posts", body).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.json()
    }

    /// A connection of its own.
    pub async fn connect(&self) -> Connection {
        Connection::open(self.address).await
    }

    /// The header line of the root's requests, for those that a test writes itself.
    pub fn authorization(&self) -> String {
        format!("Authorization: Bearer {}\r\n", self.root.token)
    }

    /// Ends the server as SIGTERM does, and waits until it is gone.
    pub fn stop(&mut self) {
        self.stop.now();
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the server ends in peace");
        }
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        self.stop.now();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A client that shows every answer, redirects too.
pub fn client() -> reqwest::Client {
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        // Well before the server lets go of an idle connection: a request must not meet that.
        .pool_idle_timeout(Duration::from_secs(2))
        .build()
        .unwrap()
}

/// The settings of a test's server: production's, on a free port, with a small pool.
fn config(database: &TestDatabase) -> Config {
    Config {
        bind: ([127, 0, 0, 1], 0).into(),
        workers: None,
        database: posts_api::db::Options {
            url: database.url().clone(),
            replicas: Vec::new(),
            pool_size: 4,
            timeout: Duration::from_secs(30),
            migrate: true,
        },
        auth: auth_options(),
        public_url: None,
        cors_origins: Vec::new(),
        trusted_proxies: TrustedProxies::default(),
        require_if_match: false,
        body: BodyLimits { size: 16 << 20, timeout: Duration::from_secs(20) },
        head_timeout: Duration::from_secs(10),
        grace: Duration::from_secs(5),
        drain_delay: Duration::ZERO,
        keep_alive: Duration::from_secs(75),
        housekeeping_period: Duration::from_hours(1),
    }
}

/// How long to press, where a test presses: `POSTS_TEST_LOAD_SECONDS`, for a run by hand.
pub fn load_duration() -> Duration {
    let seconds = std::env::var("POSTS_TEST_LOAD_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(seconds.unwrap_or(2))
}

/// How often something is broken, where a test breaks it: `POSTS_TEST_FAULTS=long`, for a run by hand.
pub fn faults(short: usize, long: usize) -> usize {
    if std::env::var("POSTS_TEST_FAULTS").is_ok_and(|form| form == "long") { long } else { short }
}

/// Says a figure of a test's, for a run by hand.
#[expect(clippy::print_stdout, reason = "for who runs the test with --nocapture")]
pub fn say(figure: &str) {
    println!("{figure}");
}

/// Waits until a condition holds, and fails when it never does.
pub async fn eventually<F: Future<Output = bool>>(what: &str, condition: impl Fn() -> F) {
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while !condition().await {
        assert!(std::time::Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Runs a check on many values of a kind, and fails with the smallest for which it panics.
pub fn for_all<S: proptest::strategy::Strategy>(cases: u32, values: S, check: impl AsyncFn(S::Value)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let config = proptest::test_runner::Config { cases, failure_persistence: None, ..Default::default() };
    let outcome = proptest::test_runner::TestRunner::new(config).run(&values, |value| {
        runtime.block_on(check(value));
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}
