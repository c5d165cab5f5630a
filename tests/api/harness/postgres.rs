//! PostgreSQL for the tests, in this order: `TEST_DATABASE_URL`; a throw-away cluster from the binaries that are
//! installed; none, which is counted, and under `CI=true` a failure.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection as _;
use diesel::{Connection as _, PgConnection};
use posts_api::db::DatabaseUrl;

/// The database that all others are copied from, so that migrations run once.
const TEMPLATE: &str = "posts_template";

/// A PostgreSQL server that databases can be made on.
pub struct Server {
    /// The URL of a database, but for its name.
    before_name: String,
    after_name: String,
    template: String,
    /// One copy at a time: the template must have no other session.
    copying: Mutex<usize>,
    cluster: Option<Cluster>,
}

/// The server of this run.
pub fn server() -> Option<&'static Server> {
    static SERVER: OnceLock<Option<Server>> = OnceLock::new();
    SERVER.get_or_init(Server::find).as_ref()
}

impl Server {
    fn find() -> Option<Self> {
        if let Ok(url) = std::env::var("TEST_DATABASE_URL") {
            let (address, query) = url.split_once('?').unwrap_or((&url, ""));
            let before_name = address.rsplit_once('/').expect("TEST_DATABASE_URL names a database").0;
            return Some(Self::new(format!("{before_name}/"), format!("?{query}"), None));
        }
        let started = Self::start();
        assert!(
            started.is_some() || std::env::var("CI").is_err(),
            "there is no PostgreSQL, and under CI there must be"
        );
        started
    }

    /// Starts one from the binaries that are installed, for one test alone where that changes what all databases of a
    /// server have in common.
    pub fn start() -> Option<Self> {
        Self::start_with(FAST_AND_FORGETFUL)
    }

    /// The same with these settings.
    pub fn start_with(settings: &str) -> Option<Self> {
        let cluster = Cluster::start(settings)?;
        Some(Self::new("postgres:///".to_owned(), cluster.parameters(), Some(cluster)))
    }

    fn new(before_name: String, after_name: String, cluster: Option<Cluster>) -> Self {
        let template = format!("{TEMPLATE}_{}", std::process::id());
        let server = Self { before_name, after_name, template, copying: Mutex::new(0), cluster };
        let mut connection = server.connect_as_admin();
        let template = &server.template;
        connection.batch_execute(&format!("CREATE DATABASE {template} ENCODING 'UTF8' TEMPLATE template0")).unwrap();
        posts_api::db::migrations::run(&DatabaseUrl::parse(&server.url(template)).unwrap()).unwrap();
        server
    }

    /// A standby of it, where it was started for this run.
    pub fn start_standby(&self) -> Option<Cluster> {
        self.cluster().map(|cluster| cluster.start_standby(FAST_AND_FORGETFUL))
    }

    /// What it runs in, where it was started for this run.
    pub fn cluster(&self) -> Option<&Cluster> {
        self.cluster.as_ref()
    }

    fn url(&self, name: &str) -> String {
        format!("{}{name}{}", self.before_name, self.after_name)
    }

    fn connect_as_admin(&self) -> PgConnection {
        connect(&self.url("postgres"))
    }

    /// A copy of the template: its name and its URL.
    pub fn create_database(&self) -> (String, String) {
        let mut last = self.copying.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *last += 1;
        let name = format!("posts_test_{}_{last}", std::process::id());
        let template = &self.template;
        self.connect_as_admin().batch_execute(&format!("CREATE DATABASE {name} TEMPLATE {template}")).unwrap();
        let url = self.url(&name);
        (name, url)
    }

    pub fn create_empty_database(&self, name: &str) {
        self.connect_as_admin()
            .batch_execute(&format!("CREATE DATABASE {name} ENCODING 'UTF8' TEMPLATE template0"))
            .unwrap();
    }

    pub fn drop_database(&self, name: &str) {
        let _ = self.connect_as_admin().batch_execute(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"));
    }
}

/// A connection to a server that may still be starting.
pub fn connect(url: &str) -> PgConnection {
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        match PgConnection::establish(url) {
            Ok(connection) => return connection,
            Err(error) => assert!(Instant::now() < deadline, "PostgreSQL does not answer: {error}"),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A cluster in a temporary folder, on a Unix socket there. It ends when this is dropped or this process ends, however
/// that does: the shell that started it reads from a pipe of ours, and stops it at the pipe's end.
pub struct Cluster {
    pub folder: PathBuf,
    guard: Mutex<Child>,
}

/// Nothing has to survive a test.
const FAST_AND_FORGETFUL: &str = "-c fsync=off -c full_page_writes=off -c synchronous_commit=off";

/// What was acknowledged has to survive the server's end, as in production: its own settings.
pub const DURABLE: &str = "";

impl Cluster {
    /// The end of a URL that leads to it.
    pub fn parameters(&self) -> String {
        format!("?host={}&user=postgres", self.host())
    }

    /// The folder of its socket, as a part of a URL.
    pub fn host(&self) -> String {
        self.folder.display().to_string().replace('/', "%2F")
    }

    /// Starts one with these settings, where PostgreSQL is installed.
    pub fn start(settings: &str) -> Option<Self> {
        let site = Site::prepare(binaries()?);
        site.run("initdb", &["--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "--no-sync"]);
        Some(site.serve(settings))
    }

    /// Sends the server a signal: QUIT is an end at once, as of a crash; INT one that undoes what is under way; KILL takes
    /// only the process that the others look at.
    pub fn signal(&self, name: &str) {
        let kill = format!("kill -{name} $(cat {}/pid)", self.folder.display());
        assert!(Command::new("/bin/sh").args(["-c", &kill]).status().unwrap().success());
    }

    /// Ends the server with a signal that it can take, and waits until it has.
    pub fn stop(&self, signal: &str) {
        self.signal(signal);
        // The server's own, which it takes away last.
        while self.folder.join("data/postmaster.pid").exists() {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Starts it again, once it has ended.
    pub fn start_again(&self) {
        let mut guard = self.guard.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        guard.stdin.as_mut().unwrap().write_all(b"again\n").unwrap();
    }

    /// Ends it with a signal and starts it again. Returns when there is a new one, which may not answer yet.
    pub fn restart(&self, signal: &str) {
        let before = self.pid();
        self.signal(signal);
        self.start_again();
        while [&before, ""].contains(&self.pid().as_str()) {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn pid(&self) -> String {
        fs::read_to_string(self.folder.join("pid")).unwrap()
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap()
    }

    /// Starts a standby of this one, with these settings.
    pub fn start_standby(&self, settings: &str) -> Self {
        let site = Site::prepare(binaries().expect("PostgreSQL is installed"));
        let host = format!("--host={}", self.folder.display());
        site.run(
            "pg_basebackup",
            &[&host, "--username=postgres", "--write-recovery-conf", "--checkpoint=fast", "--no-sync"],
        );
        site.serve(settings)
    }
}

/// Where a cluster is to be, and who runs it.
struct Site {
    binaries: PathBuf,
    folder: PathBuf,
    user: Option<(u32, u32)>,
}

impl Site {
    fn prepare(binaries: PathBuf) -> Self {
        // `initdb` refuses root.
        let user = is_root().then(ordinary_user);
        // Not under a home folder, which another user may not enter; short, as a socket's path must be.
        let folder = tempfile::Builder::new().prefix("posts-pg-").tempdir_in("/tmp").unwrap().keep();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
        if let Some((uid, gid)) = user {
            chown(&folder, Some(uid), Some(gid)).unwrap();
        }
        Self { binaries, folder, user }
    }

    /// Runs one of PostgreSQL's programs, which is to fill the folder `data`.
    fn run(&self, program: &str, arguments: &[&str]) {
        let mut command = self.command(&self.binaries.join(program));
        let made = command.arg("--pgdata=data").args(arguments).stderr(Stdio::piped()).output().unwrap();
        assert!(made.status.success(), "{program} failed: {}", String::from_utf8_lossy(&made.stderr));
    }

    fn serve(self, settings: &str) -> Cluster {
        let guard = self
            .command(Path::new("/bin/sh"))
            .arg("-c")
            .arg(format!(
                "serve() {{ \"$postgres\" -D data -k \"$folder\" -c listen_addresses= -c max_connections=300 {settings} \
                 >>log 2>&1 & echo $! >pid; }}; postgres=$0; folder=$1; serve; while read -r again; do wait; serve; done; \
                 kill -QUIT $!; wait; cd /; rm -rf \"$folder\""
            ))
            .arg(self.binaries.join("postgres"))
            .arg(&self.folder)
            .stdin(Stdio::piped())
            // Out of reach of the Ctrl-C that ends the run.
            .process_group(0)
            .spawn()
            .unwrap();
        Cluster { folder: self.folder, guard: guard.into() }
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid);
        }
        command.current_dir(&self.folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // What a developer's shell sets for another server is not for this one.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PG")) {
            command.env_remove(name);
        }
        command
    }
}

/// The folder with the newest server's binaries.
pub fn binaries() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    for root in ["/usr/lib/postgresql", "/opt/homebrew/opt", "/usr/local/opt"] {
        let versions = fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path().join("bin"));
        let mut versions: Vec<_> = versions.collect();
        versions.sort();
        folders.extend(versions.into_iter().rev());
    }
    let folder =
        folders.into_iter().find(|folder| folder.join("postgres").is_file() && folder.join("initdb").is_file())?;
    // Links may lead there from where the other programs are not.
    fs::canonicalize(folder.join("postgres")).ok()?.parent().map(Path::to_owned)
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|process| std::os::unix::fs::MetadataExt::uid(&process) == 0)
}

/// A user that is not root: PostgreSQL's own, else nobody.
fn ordinary_user() -> (u32, u32) {
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let find = |name: &str| {
        let mut fields = users.lines().find(|line| line.split(':').next() == Some(name))?.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    find("postgres").or_else(|| find("nobody")).expect("a user that is not root")
}
