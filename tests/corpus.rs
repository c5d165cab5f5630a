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

/// What the whole corpus of a target may take: far more than it does, far less than one input that takes too long would.
const TIME_MAX: Duration = Duration::from_mins(1);

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

#[test]
fn what_must_hold_does_for_the_whole_corpus() {
    let mut failed = Vec::new();
    for (target, holds) in properties::TARGETS {
        let started = Instant::now();
        for file in files(&format!("corpus/{target}")) {
            let input = fs::read(&file).unwrap();
            if catch_unwind(|| holds(&input)).is_err() {
                failed.push(file);
            }
        }
        assert!(started.elapsed() < TIME_MAX, "{target}: {:?}", started.elapsed());
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn each_target_is_a_program_and_has_a_corpus() {
    let targets: BTreeSet<_> = properties::TARGETS.iter().map(|(target, _)| (*target).to_owned()).collect();
    assert_eq!(stems("fuzz_targets"), targets);
    assert_eq!(stems("corpus"), targets);
}
