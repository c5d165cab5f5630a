//! The program itself, run as a user runs it.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use tempfile::TempDir;

/// `posts` with arguments, in an empty folder, with none of the caller's settings.
pub struct Program {
    command: Command,
    folder: TempDir,
}

/// `posts serve` while it runs; killed when dropped.
pub struct Running {
    pub address: SocketAddr,
    /// What was printed once it accepted connections.
    pub greeting: String,
    pub folder: TempDir,
    child: Child,
    _stdout: BufReader<ChildStdout>,
}

impl Program {
    pub fn new(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_posts"));
        command.args(arguments).current_dir(folder.path()).stdin(Stdio::null());
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("POSTS_") || name == "DATABASE_URL") {
            command.env_remove(name);
        }
        Self { command, folder }
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// Runs it to its end.
    pub fn output(mut self) -> Output {
        self.command.output().unwrap()
    }

    /// Starts a server on a free port, and waits until it says that it listens.
    pub fn serve(mut self) -> Running {
        self.command.args(["--bind", "127.0.0.1:0"]).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.command.spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut greeting = String::new();
        while !greeting.contains("  try ") {
            if stdout.read_line(&mut greeting).unwrap() == 0 {
                let mut complaint = String::new();
                child.stderr.take().unwrap().read_to_string(&mut complaint).unwrap();
                panic!("it did not start: {complaint}");
            }
        }
        let address = greeting.lines().next().unwrap().strip_prefix("listening on http://").unwrap().parse().unwrap();
        Running { address, greeting, folder: self.folder, child, _stdout: stdout }
    }
}

impl Running {
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn signal(&self, name: &str) {
        // The shell's own `kill`: the program of that name need not be there.
        let kill = format!("kill -{name} {}", self.child.id());
        let status = Command::new("/bin/sh").args(["-c", &kill]).status();
        assert!(status.unwrap().success());
    }

    /// Waits for its end: the exit status, and all that it logged.
    pub fn wait(mut self) -> (Option<i32>, String) {
        let mut log = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        (self.child.wait().unwrap().code(), log)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
