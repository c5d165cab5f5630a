//! How fast the service is, as ratios against references that are measured in the same run: `cargo bench --bench performance`.
//!
//! It starts a throw-away PostgreSQL (or takes the one at `--database-url`), fills databases, starts the program on them and measures,
//! in rounds in which each workload has its turn. `-- --help` shows the options; with `--write` the report goes into
//! `docs/performance.md`.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::panic,
    reason = "where a bench cannot go on, it fails; its figures are printed"
)]

mod databases;
mod load;
mod machine;
mod naive;
#[path = "../../tests/api/harness/postgres.rs"]
#[expect(dead_code, unreachable_pub, reason = "it is the tests', who need more of it")]
mod postgres;
mod program;
mod report;
mod requests;
#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "it is for all benches")]
mod support;
mod workloads;

use std::time::Duration;

use clap::Parser as _;

/// What to measure, and for how long.
#[derive(clap::Parser, Debug)]
#[command(about = "Measures the service against references, in one run")]
pub(crate) struct Options {
    /// A database on a PostgreSQL server on which databases may be made. Without it a throw-away server is started.
    #[arg(long)]
    database_url: Option<String>,
    /// How often each workload has its turn.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How long a turn is, in seconds.
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// How many posts there are.
    #[arg(long, default_value_t = 100_000)]
    posts: usize,
    /// How many posts the large database has that is compared with one of 10,000; 0 leaves that out.
    #[arg(long, default_value_t = 1_000_000)]
    many: usize,
    /// Only workloads whose names contain this.
    #[arg(long)]
    only: Option<String>,
    /// Loads the server by the bench's own client also where wrk is installed.
    #[arg(long)]
    own_client: bool,
    /// Writes the report into docs/performance.md, too.
    #[arg(long)]
    write: bool,
    /// Serves the naive way on this database, until it is killed: the bench starts itself so.
    #[arg(long, hide = true)]
    serve_naively: Option<String>,
    /// What cargo says to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

impl Options {
    fn turn(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }

    /// Whether to measure this.
    fn wants(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|only| name.contains(only.as_str()))
    }
}

fn main() {
    let options = Options::parse();
    if let Some(database) = &options.serve_naively {
        naive::serve(database);
        return;
    }
    let mut report = report::Report::new(&options);
    workloads::on_postgres(&options, &mut report);
    workloads::on_sqlite(&options, &mut report);
    report.print();
    if options.write {
        report.write();
    }
}
