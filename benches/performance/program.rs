//! The program as a process of its own, and what processes cost.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use reqwest::blocking::Client;
use serde_json::{Value, json};

use crate::support::Served;

/// A server that is being measured, ready for requests.
pub(crate) struct Program(Served);

impl Program {
    /// The service on this database, as it is by default; its log goes nowhere.
    pub(crate) fn start(database_url: &str) -> Self {
        Self::ready(Served::start(Some(database_url), |command| {
            command.stderr(Stdio::null());
        }))
    }

    /// The naive way on the same database.
    pub(crate) fn start_naive(database_url: &str) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--serve-naively", database_url]).stderr(Stdio::null());
        Self::ready(Served::spawn(command, tempfile::tempdir().unwrap()))
    }

    fn ready(served: Served) -> Self {
        for _ in 0..600 {
            if Client::new().get(served.url("/posts/1")).send().is_ok_and(|answer| answer.status() != 503) {
                return Self(served);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("the server is not ready");
    }

    pub(crate) fn address(&self) -> &str {
        &self.0.address
    }

    pub(crate) fn process(&self) -> u32 {
        self.0.process()
    }

    /// A token of the user that [`create_author`] made, fresh: one lasts for fifteen minutes.
    pub(crate) fn sign_in(&self) -> String {
        let answer = Client::new().post(self.0.url("/auth/login")).json(&credentials(EMAIL)).send().unwrap();
        let tokens: Value = answer.json().unwrap();
        tokens["access_token"].as_str().expect("the sign-in succeeds").to_owned()
    }

    pub(crate) fn get(&self, path: &str) -> Value {
        let answer = Client::new().get(self.0.url(path)).send().unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        answer.json().unwrap()
    }
}

const EMAIL: &str = "bench@example.org";
const PASSWORD: &str = "four words nobody expects";

/// What the user that [`create_author`] made signs in with.
pub(crate) fn credentials(email: &str) -> Value {
    json!({"email": email, "password": PASSWORD})
}

/// Makes the user who writes the posts.
pub(crate) fn create_author(database_url: &str) {
    create_user(database_url, EMAIL);
}

/// Makes a user who may write posts.
pub(crate) fn create_user(database_url: &str, email: &str) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_posts"))
        .args(["user", "create", "--email", email, "--role", "author", "--password-stdin"])
        .args(["--database-url", database_url])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), PASSWORD.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success(), "the user is created");
}

/// The milliseconds of CPU that a process has used and, where `with_descendants`, its children, those that ended too.
pub(crate) fn cpu_milliseconds(process: u32, with_children: bool) -> f64 {
    let fields = |process: u32| -> Option<(u32, Vec<f64>)> {
        let text = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        Some((fields[1].parse().ok()?, fields[11..15].iter().filter_map(|field| field.parse().ok()).collect()))
    };
    let Some((_, own)) = fields(process) else { return 0.0 };
    let mut ticks = own[0] + own[1];
    if with_children {
        ticks += own[2] + own[3];
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        for other in processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok()) {
            if let Some((parent, used)) = fields(other)
                && parent == process
            {
                ticks += used[0] + used[1];
            }
        }
    }
    // A tick is a hundredth of a second on every Linux.
    ticks * 10.0
}

/// What a line of `/proc/<process>/status` says, in mebibytes.
pub(crate) fn memory_mebibytes(process: u32, line: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let value = status.lines().find_map(|known| known.strip_prefix(line)?.strip_prefix(':')).unwrap();
    value.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
}

/// The median time of an `fdatasync` in this folder, in milliseconds: what a commit costs at least.
pub(crate) fn sync_milliseconds(folder: &Path) -> f64 {
    use std::io::Write as _;
    let mut file = tempfile::tempfile_in(folder).unwrap();
    let mut times: Vec<Duration> = (0..200)
        .map(|_| {
            file.write_all(&[0; 4096]).unwrap();
            let begin = std::time::Instant::now();
            file.sync_data().unwrap();
            begin.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1e3
}
