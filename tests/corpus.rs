//! Replays what the fuzzer has found worth keeping: each input in `fuzz/corpus`, against what must hold of it. The same
//! file that the fuzzer is built of is included here, so that this needs nothing but `cargo test`.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "where a property does not hold, it fails"
)]
#![expect(unreachable_pub, reason = "a test program has no outside")]

use std::collections::BTreeSet;
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

#[path = "../fuzz/src/lib.rs"]
mod properties;

/// How long the inputs are that must not take long, in bytes.
const LONG: usize = 64 << 10;

/// What an input may take: far more than it does on a busy machine in a debug build, and less than one
/// whose time grows with the square of its length would.
const TIME_MAX: Duration = Duration::from_secs(10);

/// The files of a folder beside this one, in the order of their names.
fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(folder);
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn stems(folder: &str) -> BTreeSet<String> {
    files(folder).iter().map(|file| file.file_stem().unwrap().to_str().unwrap().to_owned()).collect()
}

/// The inputs for which the property of their target does not hold, or takes too long, once they are made another.
fn failures(make: fn(Vec<u8>) -> Vec<u8>) -> Vec<String> {
    let mut failures = Vec::new();
    for (target, holds) in properties::TARGETS {
        for file in files(&format!("corpus/{target}")) {
            let input = make(fs::read(&file).unwrap());
            let started = Instant::now();
            let held = catch_unwind(|| holds(&input)).is_ok();
            let took = started.elapsed();
            if !held || took > TIME_MAX {
                failures.push(format!("{} after {took:?}", file.display()));
            }
        }
    }
    failures
}

#[test]
fn what_must_hold_does_for_the_whole_corpus() {
    assert_eq!(failures(|input| input), [""; 0]);
}

#[test]
fn what_must_hold_does_for_long_inputs_in_time() {
    let lengthened = |input: Vec<u8>| input.iter().copied().cycle().take(LONG).collect();
    assert_eq!(failures(lengthened), [""; 0]);
}

#[test]
fn each_target_is_a_program_and_has_a_corpus() {
    let targets: BTreeSet<_> = properties::TARGETS.iter().map(|(target, _)| (*target).to_owned()).collect();
    assert_eq!(stems("fuzz_targets"), targets);
    assert_eq!(stems("corpus"), targets);
}
