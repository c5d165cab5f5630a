//! What comes of more than the service can do: `cargo bench --bench overload`.
//!
//! Of each kind of request it finds how many are answered at most, and offers four times as many, at the clients' own pace.
//! What is answered quicker than a client could send four times as many is asked for with more and more connections.
//!
//! Clients and service share the cores here, so that each request that is refused takes something from those that are
//! answered, whoever refuses it. How much that is at least shows where somebody else does: a server that does nothing else.
//! `-- --help` shows the options; with `--write` the report goes into `docs/reliability.md`.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::panic,
    reason = "where a bench cannot go on, it fails; its figures are printed"
)]

#[path = "../performance/databases.rs"]
#[expect(dead_code, reason = "it is the other bench's, which needs more of it")]
mod databases;
#[path = "../performance/load.rs"]
#[expect(dead_code, reason = "it is the other bench's, which needs more of it")]
mod load;
#[path = "../performance/machine.rs"]
mod machine;
mod pace;
#[path = "../../tests/api/harness/postgres.rs"]
#[expect(dead_code, unreachable_pub, reason = "it is the tests', who need more of it")]
mod postgres;
mod refuser;
#[path = "../performance/program.rs"]
#[expect(dead_code, reason = "it is the other bench's, which needs more of it")]
mod program;
#[path = "../performance/requests.rs"]
mod requests;
#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "it is for all benches")]
mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Parser as _;

use databases::{Postgres, create_sqlite};
use load::{Client, Outcome};
use pace::{Pressed, press};
use program::{Program, create_author, create_user, credentials, memory_mebibytes};
use requests::{get, gets, post, posts};

/// How many times what it can do.
const TIMES: usize = 4;

/// So many that some are free for a refusal while all that may wait does.
const CONNECTIONS: usize = 1500;

/// With how many connections the most is looked for.
const SEARCHED: [usize; 5] = [16, 32, 128, 256, 1024];

/// What counts as the most, of the most: where few connections come so near to it, more only wait.
const NEARLY: f64 = 0.95;

/// How many connections more than the most is asked for with, of what is answered quicker than a client could send four
/// times as many.
const MANY: [usize; 3] = [128, 512, 1024];

/// How often each is done, the most and more than that in turn. The middle one counts.
const ROUNDS: usize = 3;

/// How many sign in.
const USERS: usize = 20;

/// How many posts a second somebody reads beside it.
const BESIDE: f64 = 200.0;

/// What to measure, and for how long.
#[derive(clap::Parser, Debug)]
#[command(about = "Offers the service more than it can do")]
struct Options {
    /// A database on a PostgreSQL server on which databases may be made. Without it a throw-away server is started.
    #[arg(long)]
    database_url: Option<String>,
    /// How long a turn is, in seconds.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// How many posts there are.
    #[arg(long, default_value_t = 100_000)]
    posts: usize,
    /// Only kinds of requests whose names contain this.
    #[arg(long, default_value = "")]
    only: String,
    /// Writes the report into docs/reliability.md, too.
    #[arg(long)]
    write: bool,
    /// What cargo says to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

/// A kind of request.
struct Kind {
    name: &'static str,
    requests: Vec<String>,
    /// Whether so many are answered that no client could send four times as many.
    is_quick: bool,
}

fn main() {
    let options = Options::parse();
    let mut rows = Vec::new();
    if let Some(postgres) = Postgres::find(options.database_url.as_deref()) {
        let url = postgres.create("posts_overload", options.posts);
        rows.extend(press_on(&options, "PostgreSQL", &url));
    }
    // Beside what is built, which is on a disk: in memory, a commit would cost nothing.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = folder.path().join("posts.db");
    create_sqlite(&path, options.posts);
    rows.extend(press_on(&options, "SQLite", &format!("sqlite:{}", path.display())));

    let report = format!(
        "{}, {}; {} posts, {ROUNDS} rounds of {} s, a release build.\n\n\
         | requests | the most a second | at how many connections | offered | answered, of the most | refused | refused after (p50, p99) \
         | where a server refuses the rest that does nothing else: answered, of the most; refused after (p50, p99) | failed otherwise \
         | memory before, and at most | a post beside it (p99): beside the most, and beside more |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n{}\n",
        chrono::Utc::now().format("%-d %B %Y"),
        machine::describe(),
        options.posts,
        options.seconds,
        rows.join("\n"),
    );
    println!("\n{report}");
    if options.write {
        machine::write("docs/reliability.md", &report);
    }
}

fn press_on(options: &Options, database: &str, url: &str) -> Vec<String> {
    create_author(url);
    let users: Vec<_> = (0..USERS).map(|number| format!("user-{number}@example.org")).collect();
    for email in &users {
        create_user(url, email);
    }
    let sign_ins = users.iter().map(|email| post("/auth/login", "", &credentials(email).to_string())).collect();
    let program = Program::start(url);
    let kinds = [
        Kind { name: "GET by id", requests: gets(options.posts, ""), is_quick: true },
        Kind { name: "newest list", requests: vec![get("/posts", "")], is_quick: true },
        Kind {
            name: "search that takes long",
            requests: (0..997)
                .map(|word| get(&format!("/posts?q=syllable{word}%20-syllable1&sort=title"), ""))
                .collect(),
            is_quick: false,
        },
        Kind { name: "sign-in", requests: sign_ins, is_quick: false },
        // The last: what was written is still tidied up by the database after it.
        Kind { name: "POST", requests: posts(&program), is_quick: false },
    ];
    let mut rows = Vec::new();
    for kind in kinds.iter().filter(|kind| kind.name.contains(&options.only)) {
        let service = Service { options, program: &program, kind };
        let connections = service.find_enough();
        let mut press = |more: &dyn Fn(f64) -> Offer| {
            let row = format!("| {database}, {} | {}", kind.name, service.press(connections, more));
            println!("{row}");
            rows.push(row);
        };
        if kind.is_quick {
            for many in MANY {
                press(&|_| Offer::Connections(many));
            }
        } else {
            press(&|most| Offer::Rate(of(TIMES) * most));
        }
    }
    rows
}

/// What is asked for in a turn.
enum Offer {
    /// From so many connections, each of which sends when it is answered.
    Connections(usize),
    /// So many a second, whether they are answered or not.
    Rate(f64),
    /// From so many connections as above, while a server that does nothing else refuses so many a second.
    Elsewhere(usize, f64),
}

/// A running service, and what it is asked for.
struct Service<'a> {
    options: &'a Options,
    program: &'a Program,
    kind: &'a Kind,
}

impl Service<'_> {
    fn turn(&self) -> Duration {
        Duration::from_secs(self.options.seconds)
    }

    /// A turn of so many connections, each of which sends when it is answered: how many are answered a second as they
    /// should be, and how many are not, in all.
    fn saturate(&self, connections: usize) -> (f64, usize) {
        let client = if self.kind.is_quick { Client::choose(false) } else { Client::Own };
        let Outcome { requests, rate, failures, .. } =
            client.run(self.program.address(), &self.kind.requests, connections, self.turn());
        (rate * (1.0 - of(failures) / requests), failures)
    }

    /// A turn of somebody who reads posts by their ids.
    fn read_beside(&self) -> Vec<Duration> {
        press(self.program.address(), &gets(self.options.posts, ""), BESIDE, 16, self.turn()).served
    }

    /// A turn of so many requests a second.
    fn offer(&self, address: &str, rate: f64) -> Pressed {
        press(address, &self.kind.requests, rate, CONNECTIONS, self.turn())
    }

    fn memory(&self) -> f64 {
        memory_mebibytes(self.program.process(), "VmRSS")
    }

    /// With how many connections, at least, about the most is answered.
    fn find_enough(&self) -> usize {
        let rates = SEARCHED.map(|connections| self.saturate(connections).0);
        let most = rates.into_iter().fold(0.0, f64::max);
        let enough = rates.iter().position(|rate| *rate >= NEARLY * most).expect("one of them is the most");
        SEARCHED[enough]
    }

    /// Finds the most that is answered with so many connections, offers more than that, and says what came of it.
    fn press(&self, connections: usize, more: &dyn Fn(f64) -> Offer) -> String {
        let memory = self.memory();
        let (mut most, mut rounds, mut elsewhere) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let enough = self.press_once(&Offer::Connections(connections));
            let offer = more(enough.answered);
            rounds.push(self.press_once(&offer));
            if let Offer::Rate(rate) = offer {
                elsewhere.push(self.press_once(&Offer::Elsewhere(connections, rate - enough.answered)));
            }
            most.push(enough);
        }
        let of_the_most = |rounds: &[Round], figure: fn(&Round) -> f64| {
            middle(rounds.iter().zip(&most).map(|(round, most)| figure(round) / most.answered).collect())
        };
        let answered = |rounds: &[Round]| format!("{:.0} %", 100.0 * of_the_most(rounds, |round| round.answered));
        let times = |rounds: &[Round], of: fn(&Round) -> &[Duration]| {
            let mut times = rounds.iter().flat_map(of).copied().collect::<Vec<_>>();
            times.sort_unstable();
            times
        };
        let (refused, refused_elsewhere) =
            (times(&rounds, |round| &round.refused), times(&elsewhere, |round| &round.refused));
        let highest = rounds.iter().map(|round| round.memory).fold(memory, f64::max);
        let (offered, elsewhere) = match more(0.0) {
            Offer::Connections(connections) => (format!("{connections} connections"), String::new()),
            _ => (
                format!("{:.1} times that", of_the_most(&rounds, |round| round.offered)),
                format!("{}; {}", answered(&elsewhere), p50_and_p99(&refused_elsewhere)),
            ),
        };
        format!(
            "{:.0} | {connections} | {offered} | {} | {} | {} | {elsewhere} | {} | {memory:.0} MiB, {highest:.0} MiB \
             | {:.1} ms, {:.1} ms |",
            middle(most.iter().map(|round| round.answered).collect()),
            answered(&rounds),
            refused.len(),
            p50_and_p99(&refused),
            rounds.iter().map(|round| round.failures).sum::<usize>(),
            milliseconds(&times(&most, |round| &round.beside), 99),
            milliseconds(&times(&rounds, |round| &round.beside), 99),
        )
    }

    /// A turn, and what comes of it and of who reads beside it.
    fn press_once(&self, offer: &Offer) -> Round {
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let pressed = scope.spawn(|| match *offer {
                Offer::Connections(connections) => {
                    let (answered, failures) = self.saturate(connections);
                    Round { answered, failures, ..Round::default() }
                }
                Offer::Rate(rate) => {
                    let Pressed { served, refused, failures } = self.offer(self.program.address(), rate);
                    let offered = self.rate(served.len() + refused.len() + failures);
                    Round { answered: self.rate(served.len()), offered, refused, failures, ..Round::default() }
                }
                Offer::Elsewhere(connections, rate) => {
                    let rest = scope.spawn(move || self.offer(refuser::address(), rate));
                    let (answered, failures) = self.saturate(connections);
                    let Pressed { refused, .. } = rest.join().unwrap();
                    Round { answered, refused, failures, ..Round::default() }
                }
            });
            let beside = scope.spawn(|| self.read_beside());
            let highest = scope.spawn(|| {
                let mut highest = 0.0_f64;
                while !over.load(Ordering::Relaxed) {
                    highest = highest.max(self.memory());
                    std::thread::sleep(Duration::from_millis(20));
                }
                highest
            });
            let (pressed, beside) = (pressed.join().unwrap(), beside.join().unwrap());
            over.store(true, Ordering::Relaxed);
            Round { beside, memory: highest.join().unwrap(), ..pressed }
        })
    }

    fn rate(&self, count: usize) -> f64 {
        of(count) / self.turn().as_secs_f64()
    }
}

/// What came of a turn.
#[derive(Default)]
struct Round {
    /// A second.
    answered: f64,
    /// How many were answered, refused or failed a second, of what was offered by a rate.
    offered: f64,
    refused: Vec<Duration>,
    failures: usize,
    /// How long each read beside it took.
    beside: Vec<Duration>,
    /// The most, in mebibytes.
    memory: f64,
}

#[expect(clippy::cast_precision_loss, reason = "there are fewer than 2^53")]
fn of(count: usize) -> f64 {
    count as f64
}

/// A percentile of times that are sorted.
fn milliseconds(times: &[Duration], percent: usize) -> f64 {
    times.get(times.len() * percent / 100).map_or(0.0, |time| time.as_secs_f64() * 1e3)
}

fn p50_and_p99(times: &[Duration]) -> String {
    format!("{:.1} ms, {:.1} ms", milliseconds(times, 50), milliseconds(times, 99))
}

fn middle(mut figures: Vec<f64>) -> f64 {
    figures.sort_unstable_by(f64::total_cmp);
    figures[figures.len() / 2]
}
