//! What a page costs, however deep it is and however many posts there are, and a search: `cargo bench --bench lists`.
//!
//! On SQLite and, where there is one, on PostgreSQL:
//!
//! 1. Of 100,000 posts, the first page of 100 and the thousandth, in turn: the ratio of the medians, for each order.
//! 2. The same page of 10,000 posts and of 1,000,000, in turn: the ratio of the medians, for each order.
//! 3. The tests' queries on the tests' posts, and their hostile queries: the median and the slowest.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "where a bench cannot go on, it fails; its figures are printed"
)]

#[path = "../tests/api/harness/postgres.rs"]
#[expect(dead_code, unreachable_pub, reason = "it is the tests', who need more of it")]
mod postgres;
#[path = "../tests/api/harness/queries.rs"]
#[expect(unreachable_pub, reason = "it is the tests'")]
mod queries;
#[expect(dead_code, reason = "it is for all benches")]
mod support;

use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection as _;
use diesel::{Connection as _, PgConnection, SqliteConnection};
use reqwest::Client;
use serde_json::{Value, json};
use support::Served;

const SORTS: [&str; 4] = ["-created_on", "-updated_on", "title", "id"];
const ROUNDS: usize = 300;

/// A program on a database of its own.
struct Server {
    served: Served,
    client: Client,
    database: String,
}

impl Server {
    /// Starts the program, and then fills its database past it, as if all were indexed already.
    fn start_with(on_postgres: bool, posts: usize) -> Option<Self> {
        let server = Self::start(on_postgres)?;
        server.fill(on_postgres, posts);
        Some(server)
    }

    fn start(on_postgres: bool) -> Option<Self> {
        let url = if on_postgres { Some(postgres::server()?.create_database().1) } else { None };
        let served = Served::start(url.as_deref(), |command| {
            command.args(["--log", "error"]);
        });
        let database = url.unwrap_or_else(|| served.database_file().to_str().unwrap().to_owned());
        Some(Self { served, client: Client::new(), database })
    }

    /// Creates these posts as a user does.
    async fn create(&self, posts: &[Value]) {
        let admin = json!({
            "setup_token": self.served.setup_token(), "email": "admin@example.org", "password": "correct horse battery staple",
        });
        let tokens = self.client.post(self.served.url("/auth/setup")).json(&admin).send().await.unwrap();
        let tokens: Value = tokens.json().await.unwrap();
        for post in posts {
            let [title, author, content] = queries::texts(post);
            let author = (!author.is_empty()).then_some(author);
            let post = json!({"title": title, "author": author, "content": content});
            let request = self.client.post(self.served.url("/posts")).json(&post);
            let answer = request.bearer_auth(tokens["access_token"].as_str().unwrap()).send().await.unwrap();
            assert_eq!(answer.status(), 201);
        }
    }

    /// How long each of these queries takes, the slowest last; some of them are refused.
    async fn search(&self, queries: Vec<String>) -> Vec<(Duration, String)> {
        let mut times = Vec::new();
        for query in queries {
            let begin = Instant::now();
            let encoded = percent_encoding::utf8_percent_encode(&query, percent_encoding::NON_ALPHANUMERIC);
            let answer = self.client.get(self.served.url(&format!("/posts?q={encoded}"))).send().await.unwrap();
            assert!([200, 400].contains(&answer.status().as_u16()), "{query}");
            answer.bytes().await.unwrap();
            times.push((begin.elapsed(), query));
        }
        times.sort();
        times
    }

    fn fill(&self, on_postgres: bool, posts: usize) {
        let columns = "INSERT INTO posts (title, author, content, created_on, updated_on)";
        if on_postgres {
            let mut connection = PgConnection::establish(&self.database).unwrap();
            let statements = format!(
                "{columns} SELECT 'Title ' || (number * 7919 % 1000), 'Author ' || (number % 10), repeat('word ', 100), \
                 timestamptz '2001-01-01T00:00:00Z' + number * interval '1 minute', \
                 timestamptz '2021-01-01T00:00:00Z' - number * interval '1 second' \
                 FROM generate_series(1::bigint, {posts}) AS number; \
                 INSERT INTO posts_search (post_id, title, author, content) SELECT id, '', '', '' FROM posts; \
                 VACUUM ANALYZE posts"
            );
            for statement in statements.split("; ") {
                connection.batch_execute(statement).unwrap();
            }
        } else {
            let mut connection = SqliteConnection::establish(&self.database).unwrap();
            let statement = format!(
                "PRAGMA busy_timeout = 5000; \
                 WITH RECURSIVE numbers (number) AS \
                 (SELECT 1 UNION ALL SELECT number + 1 FROM numbers WHERE number < {posts}) \
                 {columns} SELECT 'Title ' || (number * 7919 % 1000), 'Author ' || (number % 10), \
                 replace(hex(zeroblob(100)), '00', 'word '), \
                 strftime('%Y-%m-%dT%H:%M:%S.000000Z', 978307200 + number * 60, 'unixepoch'), \
                 strftime('%Y-%m-%dT%H:%M:%S.000000Z', 1609459200 - number, 'unixepoch') FROM numbers; \
                 INSERT INTO posts_search (rowid, title, author, content) SELECT id, '', '', '' FROM posts; \
                 PRAGMA wal_checkpoint(TRUNCATE)"
            );
            connection.batch_execute(&statement).unwrap();
        }
    }

    /// A page's text, and how long it took to come.
    async fn get(&self, path: &str) -> (String, Duration) {
        let begin = Instant::now();
        let answer = self.client.get(self.served.url(path)).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        let text = answer.text().await.unwrap();
        (text, begin.elapsed())
    }

    /// The address of a page by its number, from 1.
    async fn page(&self, list: &str, number: usize) -> String {
        let mut path = list.to_owned();
        for _ in 1..number {
            let page: Value = serde_json::from_str(&self.get(&path).await.0).unwrap();
            path = format!("{list}&cursor={}", page["next_cursor"].as_str().expect("a further page"));
        }
        path
    }
}

/// The ratio of the medians of how long two pages take, each in turn; and the medians, in milliseconds.
async fn compare(one: (&Server, &str), other: (&Server, &str)) -> (f64, f64, f64) {
    let (mut times, mut other_times) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        // Each first in turn.
        if round % 2 == 0 {
            times.push(one.0.get(one.1).await.1);
            other_times.push(other.0.get(other.1).await.1);
        } else {
            other_times.push(other.0.get(other.1).await.1);
            times.push(one.0.get(one.1).await.1);
        }
    }
    let [one, other] = [times, other_times].map(|mut times| {
        times.sort_unstable();
        times[times.len() / 2].as_secs_f64() * 1e3
    });
    (other / one, one, other)
}

#[tokio::main]
async fn main() {
    for (name, on_postgres) in [("SQLite", false), ("PostgreSQL", true)] {
        let Some(server) = Server::start_with(on_postgres, 100_000) else {
            println!("{name}: there is none here");
            continue;
        };
        for sort in SORTS {
            let list = format!("/posts?limit=100&sort={sort}");
            let deep = server.page(&list, 1000).await;
            let (ratio, first, thousandth) = compare((&server, &list), (&server, &deep)).await;
            println!(
                "{name}, 100,000 posts, {sort}: page 1 {first:.2} ms, page 1,000 {thousandth:.2} ms, ratio {ratio:.2}"
            );
        }
        drop(server);
        let [small, large] = [10_000, 1_000_000].map(|posts| Server::start_with(on_postgres, posts).unwrap());
        for sort in SORTS {
            for number in [1, 50] {
                let list = format!("/posts?limit=100&sort={sort}");
                let pages = (small.page(&list, number).await, large.page(&list, number).await);
                let (ratio, few, many) = compare((&small, &pages.0), (&large, &pages.1)).await;
                println!(
                    "{name}, {sort}, page {number}: of 10,000 posts {few:.2} ms, of 1,000,000 {many:.2} ms, ratio {ratio:.2}"
                );
            }
        }
        drop([small, large]);
        let server = Server::start(on_postgres).unwrap();
        let posts = queries::posts();
        server.create(&posts).await;
        for (kind, queries) in [("", queries::queries(&posts)), ("hostile ", queries::hostile_queries())] {
            let times = server.search(queries).await;
            let milliseconds = |index: usize| times[index].0.as_secs_f64() * 1e3;
            let (count, slowest) = (times.len(), &times[times.len() - 1].1);
            println!(
                "{name}, {} posts, {count} {kind}queries: median {:.1} ms, slowest {:.1} ms ({slowest:?})",
                posts.len(),
                milliseconds(count / 2),
                milliseconds(count - 1)
            );
        }
    }
}
