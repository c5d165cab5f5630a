//! What comes of more than the service can do: `cargo bench --bench overload`.
//!
//! Of each kind of request it finds how many are answered at most, and then offers four times as many, at the clients' own
//! pace; reads that it could not offer so many of come from four times as many connections. `-- --help` shows the options;
//! with `--write` the report goes into `docs/reliability.md`.

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
use load::Client;
use pace::{Pressed, press};
use program::{Program, create_author, create_user, credentials, memory_mebibytes};
use requests::{get, gets, post, posts};

/// How many times what it can do.
const TIMES: usize = 4;

/// So many that some are free for a refusal while all that may wait does.
const CONNECTIONS: usize = 1500;

/// With how many connections the most is looked for.
const PEAKS: [usize; 3] = [32, 128, 256];

/// How many sign in. Those of one user are one after the other.
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
    /// Whether so many are answered that their client could not send four times as many.
    is_quick: bool,
}

fn main() {
    let options = Options::parse();
    let mut rows = Vec::new();
    if let Some(postgres) = Postgres::find(options.database_url.as_deref()) {
        rows.extend(press_on(&options, "PostgreSQL", &postgres.create("posts_overload", options.posts)));
    }
    // Beside what is built, which is on a disk: in memory, a commit would cost nothing.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = folder.path().join("posts.db");
    create_sqlite(&path, options.posts);
    rows.extend(press_on(&options, "SQLite", &format!("sqlite:{}", path.display())));

    let report = format!(
        "{}, {}; {} posts, {} s each, a release build.\n\n\
         | requests | the most a second | offered | answered, of the most | refused | refused after (p50, p99) | failed otherwise \
         | memory before, and at most | a post beside it (p99): before, meanwhile |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n{}\n",
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
        Kind { name: "POST", requests: posts(&program), is_quick: false },
        Kind { name: "sign-in", requests: sign_ins, is_quick: false },
    ];
    let wanted = kinds.iter().filter(|kind| kind.name.contains(&options.only));
    wanted
        .map(|kind| {
            let row = press_with(options, &program, kind);
            let row = format!("| {database}, {}{row}", kind.name);
            println!("{row}");
            row
        })
        .collect()
}

/// Finds the most that is answered, offers more, and says what came of it.
fn press_with(options: &Options, program: &Program, kind: &Kind) -> String {
    let (address, requests) = (program.address(), &kind.requests);
    let turn = Duration::from_secs(options.seconds);
    let client = if kind.is_quick { Client::choose(false) } else { Client::Own };
    let saturate = |connections| client.run(address, requests, connections, turn);
    let most = PEAKS.map(|connections| saturate(connections).rate).into_iter().fold(0.0, f64::max);
    let beside = || press(address, &gets(options.posts, ""), BESIDE, 16, turn);
    let quiet = beside();

    let memory = || memory_mebibytes(program.process(), "VmRSS");
    let (before, over) = (memory(), AtomicBool::new(false));
    let (pressed, beside, highest) = std::thread::scope(|scope| {
        let pressed = scope.spawn(|| {
            if kind.is_quick {
                let outcome = saturate(TIMES * PEAKS[2]);
                return (outcome.rate, Pressed { failures: outcome.failures, ..Pressed::default() });
            }
            let pressed = press(address, requests, most * of(TIMES), CONNECTIONS, turn);
            (rate(pressed.served.len(), turn), pressed)
        });
        let beside = scope.spawn(beside);
        let highest = scope.spawn(|| {
            let mut highest = before;
            while !over.load(Ordering::Relaxed) {
                highest = highest.max(memory());
                std::thread::sleep(Duration::from_millis(20));
            }
            highest
        });
        let (pressed, beside) = (pressed.join().unwrap(), beside.join().unwrap());
        over.store(true, Ordering::Relaxed);
        (pressed, beside, highest.join().unwrap())
    });
    let (answered, Pressed { served, refused, failures }) = pressed;
    let offered = if kind.is_quick {
        format!("{} connections", TIMES * PEAKS[2])
    } else {
        format!("{:.1} times that", rate(served.len() + refused.len() + failures, turn) / most)
    };
    format!(
        " | {most:.0} | {offered} | {:.0} % | {} | {:.1} ms, {:.1} ms | {failures} | {before:.0} MiB, {highest:.0} MiB | {:.1} ms, {:.1} ms |",
        100.0 * answered / most,
        refused.len(),
        milliseconds(&refused, 50),
        milliseconds(&refused, 99),
        milliseconds(&quiet.served, 99),
        milliseconds(&beside.served, 99),
    )
}

fn rate(count: usize, turn: Duration) -> f64 {
    of(count) / turn.as_secs_f64()
}

#[expect(clippy::cast_precision_loss, reason = "there are fewer than 2^53")]
fn of(count: usize) -> f64 {
    count as f64
}

/// A percentile of times that are sorted.
fn milliseconds(times: &[Duration], percent: usize) -> f64 {
    times.get(times.len() * percent / 100).map_or(0.0, |time| time.as_secs_f64() * 1e3)
}
