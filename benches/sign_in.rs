//! What signing in gives away, and what it costs others: `cargo bench --bench sign_in`.
//!
//! 1. Wrong passwords for e-mails that somebody has and for e-mails that nobody has, in turn: the ratio of the medians.
//! 2. `GET /posts`, quiet and while 200 sign-ins come at once, again and again, in turn: the ratio of the p99s.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "where a bench cannot go on, it fails; its figures are printed"
)]

#[expect(dead_code, reason = "it is for all benches")]
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use support::Served;

const PASSWORD: &str = "correct horse battery staple";
const USERS: usize = 30;
/// For one account so many may fail before the answer is another.
const TRIES: usize = 8;
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(5);
const AT_ONCE: usize = 200;

struct Server {
    served: Served,
    client: Client,
    /// Every request may come from an address of its own, so that no limit is met.
    address: AtomicU32,
}

impl Server {
    /// Starts the program on a file of its own, and makes its first admin.
    async fn start() -> (Self, String) {
        let program = Served::start(None, |command| {
            command.args(["--log", "error", "--trusted-proxy", "127.0.0.1"]);
        });
        // Gives up an idle connection before the server does: a POST on one that is just being closed would fail.
        let client = Client::builder().pool_idle_timeout(Duration::from_secs(1)).build().unwrap();
        let server = Self { served: program, client, address: AtomicU32::new(0x0b00_0000) };
        let token = server.served.setup_token();
        let admin = json!({"setup_token": token, "email": "admin@example.org", "password": PASSWORD});
        let tokens = server.post("/auth/setup", &admin, None).await.1;
        (server, tokens["access_token"].as_str().unwrap().to_owned())
    }

    async fn post(&self, path: &str, body: &Value, token: Option<&str>) -> (StatusCode, Value) {
        let address = std::net::Ipv4Addr::from(self.address.fetch_add(1, Ordering::Relaxed));
        let request = self.client.post(self.served.url(path)).header("X-Forwarded-For", address.to_string());
        let request = if let Some(token) = token { request.bearer_auth(token) } else { request };
        let answer = request.json(body).send().await.unwrap();
        (answer.status(), answer.json().await.unwrap())
    }

    /// How long a wrong password for this e-mail takes to be refused.
    async fn wrong_password(&self, email: &str) -> Duration {
        let begin = Instant::now();
        let (status, _) =
            self.post("/auth/login", &json!({"email": email, "password": "not the password"}), None).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
        begin.elapsed()
    }

    /// How long each read takes, by so many readers one after the other, until the time is over.
    async fn reads(self: &Arc<Self>, readers: usize, duration: Duration) -> Vec<Duration> {
        let end = Instant::now() + duration;
        let readers = (0..readers).map(|_| {
            let server = Arc::clone(self);
            tokio::spawn(async move {
                let mut times = Vec::new();
                while Instant::now() < end {
                    let begin = Instant::now();
                    let answer = server.client.get(server.served.url("/posts")).send().await.unwrap();
                    assert_eq!(answer.status(), StatusCode::OK);
                    answer.bytes().await.unwrap();
                    times.push(begin.elapsed());
                }
                times
            })
        });
        let mut times = Vec::new();
        for reader in readers.collect::<Vec<_>>() {
            times.extend(reader.await.unwrap());
        }
        times
    }
}

fn quantile(times: &mut [Duration], quantile: f64) -> f64 {
    times.sort_unstable();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "an index"
    )]
    let index = ((times.len() - 1) as f64 * quantile) as usize;
    times[index].as_secs_f64() * 1e3
}

#[tokio::main]
async fn main() {
    let (server, admin) = Server::start().await;
    for user in 0..USERS {
        let user = json!({"email": format!("user{user}@example.org"), "password": PASSWORD, "role": "reader"});
        assert_eq!(server.post("/users", &user, Some(&admin)).await.0, StatusCode::CREATED);
    }
    for post in 0..100 {
        let post = json!({"title": format!("Post {post}"), "content": "x".repeat(1000)});
        assert_eq!(server.post("/posts", &post, Some(&admin)).await.0, StatusCode::CREATED);
    }

    let (mut known, mut unknown) = (Vec::new(), Vec::new());
    for round in 0..TRIES {
        for user in 0..USERS {
            // Each first in turn: two threads take turns, too, and their cores may not be equally busy.
            let (somebody, nobody) = (format!("user{user}@example.org"), format!("nobody{round}-{user}@example.org"));
            if user % 2 == 0 {
                known.push(server.wrong_password(&somebody).await);
                unknown.push(server.wrong_password(&nobody).await);
            } else {
                unknown.push(server.wrong_password(&nobody).await);
                known.push(server.wrong_password(&somebody).await);
            }
        }
    }
    let [known, unknown] = [&mut known, &mut unknown].map(|times| quantile(times, 0.5));
    println!("wrong password, median of {}: known e-mail {known:.2} ms, unknown {unknown:.2} ms", USERS * TRIES);
    println!("ratio of the medians, known to unknown: {:.3}", known / unknown);

    let server = Arc::new(server);
    for readers in [1, 8] {
        let (mut quiet, mut pressed, mut sign_ins) = (Vec::new(), Vec::new(), 0);
        for _ in 0..ROUNDS {
            quiet.extend(server.reads(readers, ROUND).await);
            let over = Arc::new(AtomicBool::new(false));
            let press = tokio::spawn(press(Arc::clone(&server), Arc::clone(&over)));
            pressed.extend(server.reads(readers, ROUND).await);
            over.store(true, Ordering::Relaxed);
            sign_ins += press.await.unwrap();
        }
        let [before, during] = [&mut quiet, &mut pressed].map(|times| quantile(times, 0.99));
        println!(
            "GET /posts by {readers} at a time, p99 of {} and {}: quiet {before:.2} ms, with {AT_ONCE} sign-ins at once \
             {during:.2} ms ({sign_ins} sign-ins)",
            quiet.len(),
            pressed.len()
        );
        println!("ratio of the p99s, pressed to quiet: {:.2}", during / before);
    }
}

/// Keeps 200 sign-ins under way until it is over. How many succeeded.
async fn press(server: Arc<Server>, over: Arc<AtomicBool>) -> usize {
    let clients = (0..AT_ONCE).map(|client| {
        let (server, over) = (Arc::clone(&server), Arc::clone(&over));
        tokio::spawn(async move {
            let login = json!({"email": format!("user{}@example.org", client % USERS), "password": PASSWORD});
            let mut count = 0;
            while !over.load(Ordering::Relaxed) {
                assert_eq!(server.post("/auth/login", &login, None).await.0, StatusCode::OK);
                count += 1;
            }
            count
        })
    });
    let mut count = 0;
    for client in clients.collect::<Vec<_>>() {
        count += client.await.expect("a client that goes on");
    }
    count
}
