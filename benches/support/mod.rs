//! The program as a process of its own, as the benches start it.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, mpsc};

/// A server that is being measured. Dropped, it is killed.
pub(crate) struct Served {
    child: Child,
    /// Its host and port.
    pub(crate) address: String,
    setup_token: Mutex<mpsc::Receiver<String>>,
    folder: tempfile::TempDir,
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Served {
    /// The service on this database, or on a file of its own, with what `change` makes of its command line.
    pub(crate) fn start(database_url: Option<&str>, change: impl FnOnce(&mut Command)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_posts"));
        command.args(["--bind", "127.0.0.1:0", "--data-dir"]).arg(folder.path());
        if let Some(url) = database_url {
            // On PostgreSQL the program makes none.
            let key = folder.path().join("key.pem");
            std::fs::write(&key, posts_api::auth::SigningKey::generate().unwrap()).unwrap();
            command.args(["--database-url", url, "--signing-key"]).arg(key);
        }
        change(&mut command);
        Self::spawn(command, folder)
    }

    /// Runs a command that says where it listens, and keeps a folder for it.
    pub(crate) fn spawn(mut command: Command, folder: tempfile::TempDir) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let line = lines.next().expect("it listens");
        let address = line.strip_prefix("listening on http://").unwrap().to_owned();
        let (say, setup_token) = mpsc::channel();
        // Reads to the end: it prints more, and must not meet a closed pipe.
        std::thread::spawn(move || {
            for line in lines {
                if let Some(token) = line.strip_prefix("setup token: ") {
                    let _ = say.send(token.to_owned());
                }
            }
        });
        Self { child, address, setup_token: Mutex::new(setup_token), folder }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    /// What the first admin is made with. Waits until the program says it.
    pub(crate) fn setup_token(&self) -> String {
        self.setup_token.lock().unwrap().recv().expect("there is no user yet")
    }

    /// The file that it has where no database was named.
    pub(crate) fn database_file(&self) -> PathBuf {
        self.folder.path().join("posts.db")
    }
}
