//! What was measured, beside what it should be.

use std::fmt;
use std::fmt::Write as _;

use crate::Options;
use crate::load::{Client, Outcome};
use crate::machine;

const FILE: &str = "docs/performance.md";

/// What one turn showed; the CPU in milliseconds a request.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sample {
    pub(crate) outcome: Outcome,
    pub(crate) server_cpu: f64,
    pub(crate) database_cpu: f64,
    /// What the server had at the end of it, in mebibytes.
    pub(crate) memory: f64,
}

impl Sample {
    /// Of what is no server of ours.
    pub(crate) fn of_rate(rate: f64) -> Self {
        Self { outcome: Outcome { rate, ..Outcome::default() }, ..Self::default() }
    }

    fn cpu(&self) -> f64 {
        self.server_cpu + self.database_cpu
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Outcome { rate, p50, p99, failures, .. } = self.outcome;
        write!(f, "{rate:.0}/s, p50 {p50:.2} ms, p99 {p99:.2} ms, CPU {:.4} ms, {failures} failures", self.cpu())
    }
}

/// What should be shown: this figure, of these workloads, is at least or at most so much.
struct Aim {
    what: &'static str,
    figure: Figure,
    bound: Bound,
}

enum Figure {
    /// One's rate over the other's, of the same round.
    Ratio(&'static str, &'static str),
    Tail(&'static str),
    Cpu(&'static str),
}

#[derive(Clone, Copy)]
enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

use Bound::{AtLeast, AtMost};
use Figure::{Cpu, Ratio, Tail};

const AIMS: [Aim; 16] = [
    Aim {
        what: "GET by random id over pgbench's prepared SELECT of the same row, 128 connections",
        figure: Ratio("GET by id, 128", "pgbench SELECT, 128"),
        bound: AtLeast(1.3),
    },
    Aim { what: "the same, 32 connections", figure: Ratio("GET by id, 32", "pgbench SELECT, 32"), bound: AtLeast(1.0) },
    Aim {
        what: "the same over the static route, 128 connections",
        figure: Ratio("GET by id, 128", "static, 128"),
        bound: AtLeast(0.6),
    },
    Aim {
        what: "the same over one query a request, 128 connections",
        figure: Ratio("GET by id, 128", "one query a request, 128"),
        bound: AtLeast(3.0),
    },
    Aim { what: "its p99 over its p50, 128 connections", figure: Tail("GET by id, 128"), bound: AtMost(4.0) },
    Aim {
        what: "its CPU milliseconds a request, server and database, 128 connections",
        figure: Cpu("GET by id, 128"),
        bound: AtMost(0.035),
    },
    Aim {
        what: "newest list (20 posts) over pgbench's same SELECT, 128 connections",
        figure: Ratio("newest list, 128", "pgbench SELECT of the newest 20, 128"),
        bound: AtLeast(1.3),
    },
    Aim {
        what: "POST over pgbench's INSERT of the same row, 32 connections",
        figure: Ratio("POST, 32", "pgbench INSERT, 32"),
        bound: AtLeast(0.7),
    },
    Aim {
        what: "POST on SQLite, 32 connections, over one commit a write",
        figure: Ratio("SQLite: POST, 32", "SQLite: one commit a write"),
        bound: AtLeast(5.0),
    },
    Aim {
        what: "search, newest 20, over a sequential ILIKE, 1 connection",
        figure: Ratio("search by newest, 1", "pgbench ILIKE, 1"),
        bound: AtLeast(10.0),
    },
    Aim {
        what: "search by relevance over the same",
        figure: Ratio("search by relevance, 1", "pgbench ILIKE, 1"),
        bound: AtLeast(10.0),
    },
    Aim {
        what: "many posts over few: GET by id",
        figure: Ratio("GET by id, of many posts", "GET by id, of few posts"),
        bound: AtLeast(0.8),
    },
    Aim {
        what: "many posts over few: newest list",
        figure: Ratio("newest list, of many posts", "newest list, of few posts"),
        bound: AtLeast(0.8),
    },
    Aim {
        what: "many posts over few: a deep page",
        figure: Ratio("page 400, of many posts", "page 400, of few posts"),
        bound: AtLeast(0.8),
    },
    Aim {
        what: "many posts over few: search, newest 20",
        figure: Ratio("search by newest, of many posts", "search by newest, of few posts"),
        bound: AtLeast(0.8),
    },
    Aim {
        what: "many posts over few: search by relevance",
        figure: Ratio("search by relevance, of many posts", "search by relevance, of few posts"),
        bound: AtLeast(0.8),
    },
];

/// Everything that was measured.
pub(crate) struct Report {
    conditions: String,
    samples: Vec<(String, Vec<Sample>)>,
    memory_at_rest: Option<f64>,
    sync: Option<f64>,
}

impl Report {
    pub(crate) fn new(options: &Options) -> Self {
        let client = match Client::choose(options.own_client) {
            Client::Wrk => "wrk",
            Client::Own => "the bench's own client",
        };
        let arguments = std::env::args().skip(1).filter(|argument| argument != "--bench").collect::<Vec<_>>().join(" ");
        let conditions = format!(
            "{}, {}. Command: `cargo bench --bench performance{}`. {} rounds of {} s; {} posts; load by {client}.",
            chrono::Utc::now().format("%-d %B %Y"),
            machine::describe(),
            if arguments.is_empty() { String::new() } else { format!(" -- {arguments}") },
            options.rounds,
            options.seconds,
            options.posts,
        );
        Self { conditions, samples: Vec::new(), memory_at_rest: None, sync: None }
    }

    pub(crate) fn add(&mut self, name: &str, sample: Sample) {
        match self.samples.iter_mut().find(|(known, _)| known == name) {
            Some((_, samples)) => samples.push(sample),
            None => self.samples.push((name.to_owned(), vec![sample])),
        }
    }

    pub(crate) fn note_memory_at_rest(&mut self, mebibytes: f64) {
        self.memory_at_rest = Some(mebibytes);
    }

    pub(crate) fn note_sync(&mut self, milliseconds: f64) {
        self.sync = Some(milliseconds);
    }

    pub(crate) fn print(&self) {
        println!("\n{}", self.text());
    }

    /// Puts the report where the last one is.
    pub(crate) fn write(&self) {
        machine::write(FILE, &self.text());
    }

    fn of(&self, name: &str) -> Option<&[Sample]> {
        self.samples.iter().find(|(known, _)| known == name).map(|(_, samples)| samples.as_slice())
    }

    fn values(&self, figure: &Figure) -> Option<Vec<f64>> {
        Some(match figure {
            Ratio(one, other) => {
                let pairs = self.of(one)?.iter().zip(self.of(other)?);
                pairs.map(|(one, other)| one.outcome.rate / other.outcome.rate).collect()
            }
            Tail(name) => self.of(name)?.iter().map(|sample| sample.outcome.p99 / sample.outcome.p50).collect(),
            Cpu(name) => self.of(name)?.iter().map(Sample::cpu).collect(),
        })
    }

    fn text(&self) -> String {
        let mut text = format!(
            "{}\n\n| what | should be | median | from, to | |\n| --- | --- | --- | --- | --- |\n",
            self.conditions
        );
        for aim in &AIMS {
            if let Some(values) = self.values(&aim.figure) {
                let digits = if matches!(aim.figure, Cpu(_)) { 4 } else { 2 };
                row(&mut text, aim.what, aim.bound, &values, digits, "");
            }
        }
        if let Some(mebibytes) = self.memory_at_rest {
            row(&mut text, "memory at rest", AtMost(40.0), &[mebibytes], 0, " MiB");
        }
        let crowded = self.samples.iter().filter(|(name, _)| name.ends_with(", 128"));
        let memory: Vec<f64> = crowded.flat_map(|(_, samples)| samples.iter().map(|sample| sample.memory)).collect();
        if let Some(most) = memory.iter().copied().reduce(f64::max) {
            row(&mut text, "memory under 128 connections, the most", AtMost(120.0), &[most], 0, " MiB");
        }
        if let Some(sync) = self.sync {
            let _ =
                writeln!(text, "\nTo bring 4 KiB to this disk (`fdatasync`) takes {sync:.2} ms, the median of 200.");
        }
        text.push_str(
            "\nAll workloads; the number after the comma is that of the connections. Medians; CPU in milliseconds a request.\n\n\
             | workload | requests/s | from, to | p50, ms | p99, ms | CPU, server | CPU, database | failures |\n\
             | --- | --- | --- | --- | --- | --- | --- | --- |\n",
        );
        for (name, samples) in &self.samples {
            let median = |figure: fn(&Sample) -> f64| middle(&samples.iter().map(figure).collect::<Vec<_>>()).1;
            let (least, rate, most) = middle(&samples.iter().map(|sample| sample.outcome.rate).collect::<Vec<_>>());
            let failures: usize = samples.iter().map(|sample| sample.outcome.failures).sum();
            let _ = if name.contains("pgbench") || name.contains("one commit") {
                writeln!(text, "| {name} | {rate:.0} | {least:.0}, {most:.0} | | | | | |")
            } else {
                writeln!(
                    text,
                    "| {name} | {rate:.0} | {least:.0}, {most:.0} | {:.2} | {:.2} | {:.4} | {:.4} | {failures} |",
                    median(|sample| sample.outcome.p50),
                    median(|sample| sample.outcome.p99),
                    median(|sample| sample.server_cpu),
                    median(|sample| sample.database_cpu),
                )
            };
        }
        text
    }
}

fn row(text: &mut String, what: &str, bound: Bound, values: &[f64], digits: usize, unit: &str) {
    let (least, median, most) = middle(values);
    let (relation, limit, holds) = match bound {
        AtLeast(limit) => ("at least", limit, median >= limit),
        AtMost(limit) => ("at most", limit, median <= limit),
    };
    let verdict = if holds { "holds" } else { "**falls short**" };
    let _ = writeln!(
        text,
        "| {what} | {relation} {limit}{unit} | {median:.digits$}{unit} | {least:.digits$}, {most:.digits$} | {verdict} |"
    );
}

/// The least, the median and the most.
fn middle(values: &[f64]) -> (f64, f64, f64) {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    (values[0], values[values.len() / 2], values[values.len() - 1])
}
