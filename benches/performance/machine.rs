//! What it was measured on, and where that is written down.

use std::path::Path;
use std::process::Command;

/// The part of a page that is written anew.
const BEGIN: &str = "<!-- measured -->";
const END: &str = "<!-- /measured -->";

/// Puts what was measured where it was the last time, into a page of the project.
pub(crate) fn write(page: &str, measured: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(page);
    let page = std::fs::read_to_string(&file).unwrap();
    let (before, rest) = page.split_once(BEGIN).expect("the page has a place for it");
    let (_, after) = rest.split_once(END).expect("the place has an end");
    std::fs::write(file, format!("{before}{BEGIN}\n\n{measured}\n{END}{after}")).unwrap();
}

/// The machine, the system and the database.
pub(crate) fn describe() -> String {
    let first = |file: &str, name: &str| -> String {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
        line.split_once(':').map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
    };
    let output = |program: &str, argument: &str| {
        let output = Command::new(program).arg(argument).output();
        output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let gibibytes =
        first("/proc/meminfo", "MemTotal").trim_end_matches(" kB").parse::<f64>().unwrap_or(0.0) / 1_048_576.0;
    let postgres = crate::postgres::binaries().map(|folder| folder.join("postgres").display().to_string());
    let postgres = postgres.map(|program| output(&program, "--version").replace("postgres (PostgreSQL)", "PostgreSQL"));
    format!(
        "{cores} cores ({}) that server, database and load share, {gibibytes:.0} GiB, Linux {}, {}",
        first("/proc/cpuinfo", "model name"),
        output("uname", "-r"),
        postgres.unwrap_or_else(|| "no PostgreSQL".to_owned()),
    )
}
