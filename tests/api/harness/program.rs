//! The program itself, run as a user runs it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use serde_json::json;
use tempfile::TempDir;

use super::{PASSWORD, Request, SIGNING_KEY, Session, TestDatabase, client};

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
    client: reqwest::Client,
    child: Mutex<Child>,
    stdout: BufReader<ChildStdout>,
    /// Reads what is logged, so that the program never waits for a reader.
    log: Option<JoinHandle<String>>,
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

    /// The same on this database, with the tests' signing key.
    pub fn on(database: &TestDatabase, arguments: &[&str]) -> Self {
        Self::new(arguments).with_signing_key().env("DATABASE_URL", database.address())
    }

    pub fn with_signing_key(self) -> Self {
        let key = self.folder().join("signing-key.pem");
        std::fs::write(&key, SIGNING_KEY).unwrap();
        self.env("POSTS_SIGNING_KEYS", key.to_str().unwrap())
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// What it reads from standard input.
    pub fn input(mut self, text: &str) -> Self {
        let path = self.folder().join("stdin");
        std::fs::write(&path, text).unwrap();
        self.command.stdin(std::fs::File::open(path).unwrap());
        self
    }

    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// The same, started by another program with these arguments, which becomes it.
    fn within(mut self, starter: &[&str]) -> Self {
        let mut command = Command::new(starter[0]);
        command.args(&starter[1..]).arg(self.command.get_program()).args(self.command.get_args());
        for (name, value) in self.command.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.current_dir(self.folder()).stdin(Stdio::null());
        self.command = command;
        self
    }

    /// The same, with this done by a shell before, in the process that becomes the program.
    pub fn after(self, commands: &str) -> Self {
        self.within(&["/bin/sh", "-c", &format!("{commands} && exec \"$0\" \"$@\"")])
    }

    /// The same, which the system kills as it is about to make any file longer than this.
    pub fn killed_past(self, file_size: usize) -> Self {
        self.after(&format!("ulimit -c 0 && ulimit -f {}", file_size / 512))
    }

    /// The same with a file system of its own, of so many MiB, at `disk` in its folder: with a copy of this database, which
    /// it works on. `None`, which it says, where the system lets this user have none.
    ///
    /// Nobody else sees that folder but by the program's process, so that it is gone with it. See [`Running::disk`].
    pub fn on_a_disk_of_its_own(database: &TestDatabase, size: usize) -> Option<Self> {
        let namespace = ["unshare", "--map-root-user", "--mount"];
        let attempt = Command::new(namespace[0])
            .args(&namespace[1..])
            .args(["mount", "-t", "tmpfs", "tmpfs", "/mnt"])
            .stderr(Stdio::null())
            .status();
        if !attempt.is_ok_and(|status| status.success()) {
            let told = "\nSKIPPED: a full disk, since this user cannot mount one (unshare --map-root-user --mount)\n";
            // Past the test runner, which swallows what a passing test prints.
            let _ = std::io::stderr().write_all(told.as_bytes());
            return None;
        }
        let program = Self::new(&[]).with_signing_key();
        let disk = program.folder().join("disk");
        std::fs::create_dir(&disk).unwrap();
        let source = database.address().strip_prefix("sqlite:").unwrap();
        std::fs::copy(source, program.folder().join("posts.db")).unwrap();
        let start = format!("mount -t tmpfs -o size={size}m tmpfs disk && cp posts.db disk && exec \"$0\" \"$@\"");
        let address = format!("sqlite:{}", disk.join("posts.db").display());
        let starter = [&namespace[..], &["/bin/sh", "-c", &start]].concat();
        Some(program.env("DATABASE_URL", &address).within(&starter))
    }

    /// Runs it to its end.
    pub fn output(mut self) -> Output {
        self.command.output().unwrap()
    }

    /// Starts a server on a free port, and waits until it says that it listens.
    pub fn serve(self) -> Running {
        self.serve_on("127.0.0.1:0")
    }

    /// The same on an address of the test's choice.
    pub fn serve_on(mut self, address: &str) -> Running {
        self.command.args(["--bind", address]).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.command.spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut stderr = child.stderr.take().unwrap();
        let log = std::thread::spawn(move || {
            let mut log = String::new();
            stderr.read_to_string(&mut log).unwrap();
            log
        });
        let mut greeting = String::new();
        while !greeting.contains("  try ") {
            let ended = stdout.read_line(&mut greeting).unwrap() == 0;
            assert!(!ended, "it did not start: {}", log.join().unwrap());
        }
        let address = greeting.lines().next().unwrap().strip_prefix("listening on http://").unwrap().parse().unwrap();
        Running {
            address,
            greeting,
            folder: self.folder,
            client: client(),
            child: child.into(),
            stdout,
            log: Some(log),
        }
    }
}

impl Running {
    /// A request of nobody's.
    pub fn request(&self, method: &str, path: &str) -> Request {
        Request::new(self.client.request(method.parse().expect("a method"), self.url(path)))
    }

    pub fn get(&self, path: &str) -> Request {
        self.request("GET", path)
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The setup token, which a server without users prints once it has reached its database.
    pub fn setup_token(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line.trim_end().strip_prefix("setup token: ").unwrap_or_else(|| panic!("{line}")).to_owned()
    }

    /// Makes the first admin, and returns an access token of theirs.
    pub async fn set_up(&mut self) -> String {
        let body = json!({"setup_token": self.setup_token(), "email": "ada@example.org", "password": PASSWORD});
        Session::of(&self.request("POST", "/auth/setup").json(&body).await).access_token
    }

    /// What it printed since it was last read, once it has ended.
    pub fn printed_since(&mut self) -> String {
        let mut printed = String::new();
        self.stdout.read_to_string(&mut printed).unwrap();
        printed
    }

    /// The names of its threads, as far as the kernel keeps them.
    #[cfg(target_os = "linux")]
    pub fn threads(&self) -> Vec<String> {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.id())).unwrap();
        tasks.filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).ok()).collect()
    }

    /// A figure of its memory, in KiB, by the name that the kernel has for it.
    #[cfg(target_os = "linux")]
    pub fn memory(&self, name: &str) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap();
        line.trim().split(' ').next().unwrap().parse().unwrap()
    }

    /// How many files, connections among them, it has open.
    #[cfg(target_os = "linux")]
    pub fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.id())).unwrap().count()
    }

    /// For how long it has been at work on processors.
    #[cfg(target_os = "linux")]
    pub fn time_at_work(&self) -> std::time::Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.id())).unwrap();
        let fields: Vec<_> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        // In hundredths of a second, whatever the kernel counts in.
        let ticks = fields[11..13].iter().map(|ticks| ticks.parse::<u64>().unwrap()).sum::<u64>();
        std::time::Duration::from_millis(10 * ticks)
    }

    /// The number of its process.
    pub fn id(&self) -> u32 {
        self.child().id()
    }

    /// The way to the program's own file system, while it runs.
    pub fn disk(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{}", self.id(), self.folder.path().join("disk").display()))
    }

    /// Ends it as the kernel does, in the midst of whatever it does: at once, where a signal by name takes a shell.
    pub fn kill(&self) {
        self.child().kill().unwrap();
    }

    fn child(&self) -> MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn signal(&self, name: &str) {
        // The shell's own `kill`: the program of that name need not be there.
        let kill = format!("kill -{name} {}", self.id());
        let status = Command::new("/bin/sh").args(["-c", &kill]).status();
        assert!(status.unwrap().success());
    }

    /// What else it prints until its end.
    pub fn printed(&mut self) -> String {
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).unwrap();
        rest
    }

    /// Waits for its end: the exit status, and all that it logged.
    pub fn wait(mut self) -> (Option<i32>, String) {
        let log = self.log.take().unwrap().join().unwrap();
        let status = self.child().wait().unwrap();
        (status.code(), log)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut child = self.child();
        let _ = child.kill();
        let _ = child.wait();
    }
}
