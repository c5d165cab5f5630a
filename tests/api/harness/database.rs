//! A database for each test.

use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Once};
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection as _;
use diesel::deserialize::QueryableByName;
use diesel::migration::MigrationSource;
use diesel::{Connection as _, QueryResult, RunQueryDsl as _};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use posts_api::db::{DatabaseUrl, DbConnection};
use tempfile::TempDir;

use super::{Proxy, document, postgres};

const MIGRATIONS_POSTGRES: EmbeddedMigrations = embed_migrations!("migrations/postgres");
const MIGRATIONS_SQLITE: EmbeddedMigrations = embed_migrations!("migrations/sqlite");

/// The two kinds that every test runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Database {
    Sqlite,
    Postgres,
}

/// An empty database with the current schema, gone when dropped.
pub struct TestDatabase {
    url: DatabaseUrl,
    address: String,
    /// Shared by the servers on it; the last one takes it away.
    place: Arc<Place>,
}

/// Where it is. Removes the SQLite file's folder, drops the PostgreSQL database, or ends the server that has it alone.
enum Place {
    Folder(TempDir),
    Server { name: String },
    ServerOfItsOwn { server: postgres::Server, name: String },
}

impl Drop for Place {
    fn drop(&mut self) {
        self.on_server(postgres::Server::drop_database);
    }
}

impl Place {
    fn on_server(&self, work: impl FnOnce(&postgres::Server, &str)) {
        if let Self::Server { name } = self
            && let Some(server) = postgres::server()
        {
            work(server, name);
        }
    }
}

impl TestDatabase {
    /// `None` where this machine has no PostgreSQL.
    pub fn create(database: Database) -> Option<Self> {
        let created = Self::create_uncounted(database);
        count(database, created.is_some());
        created
    }

    fn create_uncounted(database: Database) -> Option<Self> {
        match database {
            Database::Sqlite => {
                let folder = tempfile::tempdir().unwrap();
                let path = folder.path().join("posts.db");
                let url = DatabaseUrl::sqlite(&path);
                posts_api::db::migrations::run(&url).unwrap();
                Some(Self { url, address: format!("sqlite:{}", path.display()), place: Place::Folder(folder).into() })
            }
            Database::Postgres => {
                let (name, address) = postgres::server()?.create_database();
                let url = DatabaseUrl::parse(&address).unwrap();
                Some(Self { url, address, place: Place::Server { name }.into() })
            }
        }
    }

    /// One without a schema. On SQLite not even the file is there.
    pub fn create_empty(database: Database) -> Option<Self> {
        let created = Self::create(database)?;
        match &*created.place {
            Place::Folder(folder) => std::fs::remove_file(folder.path().join("posts.db")).unwrap(),
            Place::Server { .. } | Place::ServerOfItsOwn { .. } => {
                created.drop_it();
                created.create_it_empty();
            }
        }
        Some(created)
    }

    /// A PostgreSQL server of its own, for a test that changes its settings. `None` where this machine has none installed.
    pub fn create_on_a_server_of_its_own() -> Option<Self> {
        Self::create_on(postgres::Server::start())
    }

    /// The same on a server that keeps what was acknowledged when it is killed.
    pub fn create_on_a_durable_server_of_its_own() -> Option<Self> {
        Self::create_on(postgres::Server::start_with(postgres::DURABLE))
    }

    fn create_on(server: Option<postgres::Server>) -> Option<Self> {
        let created = server.map(|server| {
            let (name, address) = server.create_database();
            let url = DatabaseUrl::parse(&address).unwrap();
            Self { url, address, place: Place::ServerOfItsOwn { server, name }.into() }
        });
        count(Database::Postgres, created.is_some());
        created
    }

    /// Starts a standby of the server that this database has alone.
    pub fn start_standby(&self) -> Standby {
        let Place::ServerOfItsOwn { server, name } = &*self.place else { panic!("the server is others', too") };
        let cluster = server.start_standby().expect("a server of its own");
        let address = format!("postgres:///{name}{}", cluster.parameters());
        let standby = Standby { address, cluster };
        drop(standby.connect());
        standby
    }

    /// Lets no commit be acknowledged any more that is not on a standby.
    pub fn require_a_standby(&self) {
        self.execute("ALTER SYSTEM SET synchronous_standby_names = '*'").unwrap();
        self.execute("SELECT pg_reload_conf()").unwrap();
        let is_there = || self.count("pg_stat_replication", "sync_state = 'sync' AND state = 'streaming'") == 1;
        let deadline = Instant::now() + Duration::from_mins(1);
        while !is_there() {
            assert!(Instant::now() < deadline, "no standby is synchronous");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The server that this database has alone.
    pub fn cluster(&self) -> &postgres::Cluster {
        let Place::ServerOfItsOwn { server, .. } = &*self.place else { panic!("the server is others', too") };
        server.cluster().expect("a server of its own")
    }

    /// The same database on whichever of the two can be written to.
    pub fn or_on(&self, standby: &Standby) -> Self {
        let host = format!("{}%2C", self.cluster().host());
        let address = standby.address.replacen("?host=", &format!("?host={host}"), 1);
        Self { url: DatabaseUrl::parse(&address).unwrap(), address, place: Arc::clone(&self.place) }
    }

    /// The same database, which servers reach through a proxy.
    pub fn behind(&self, proxy: &Proxy) -> Self {
        Self { url: proxy.url(), ..self.shared() }
    }

    /// The same database, for another server on it.
    pub fn shared(&self) -> Self {
        Self { url: self.url.clone(), address: self.address.clone(), place: Arc::clone(&self.place) }
    }

    pub fn url(&self) -> &DatabaseUrl {
        &self.url
    }

    /// The URL as text, as a setting has it.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The folder of a SQLite file, which has nothing else in it.
    pub fn folder(&self) -> Option<&Path> {
        match &*self.place {
            Place::Folder(folder) => Some(folder.path()),
            Place::Server { .. } | Place::ServerOfItsOwn { .. } => None,
        }
    }

    /// A connection beside the server's.
    pub fn connect(&self) -> DbConnection {
        match &*self.place {
            Place::Folder(folder) => {
                let path = folder.path().join("posts.db");
                let mut connection = diesel::SqliteConnection::establish(path.to_str().unwrap()).unwrap();
                connection.batch_execute("PRAGMA busy_timeout = 5000").unwrap();
                DbConnection::Sqlite(connection)
            }
            Place::Server { .. } | Place::ServerOfItsOwn { .. } => {
                DbConnection::Postgres(diesel::PgConnection::establish(&self.address).unwrap())
            }
        }
    }

    /// Takes the schema away again.
    pub fn undo_migrations(&self) {
        match self.connect() {
            DbConnection::Postgres(mut postgres) => revert_all(&mut postgres, MIGRATIONS_POSTGRES),
            DbConnection::Sqlite(mut sqlite) => revert_all(&mut sqlite, MIGRATIONS_SQLITE),
        }
    }

    /// Takes the next step of the schema's history, and says whether there was one.
    pub fn migrate_by_one(&self) -> bool {
        match self.connect() {
            DbConnection::Postgres(mut postgres) => run_next(&mut postgres, MIGRATIONS_POSTGRES),
            DbConnection::Sqlite(mut sqlite) => run_next(&mut sqlite, MIGRATIONS_SQLITE),
        }
    }

    /// Drops a PostgreSQL database while the test goes on.
    pub fn drop_it(&self) {
        self.place.on_server(postgres::Server::drop_database);
    }

    /// Makes it again, without a schema.
    pub fn create_it_empty(&self) {
        self.place.on_server(postgres::Server::create_empty_database);
    }

    /// Puts `count` posts into the table at once, past the server: each with a minute of its own, each third unpublished.
    /// As if they were indexed already, so that the server does not begin to.
    pub fn load(&self, count: usize) {
        let instant = self.minute("number");
        let (numbers, id) = match self.connect() {
            DbConnection::Postgres(_) => (format!("generate_series(1, {count}) AS number"), "post_id"),
            DbConnection::Sqlite(_) => (
                format!(
                    "(WITH RECURSIVE numbers (number) AS \
                     (SELECT 1 UNION ALL SELECT number + 1 FROM numbers WHERE number < {count}) SELECT number FROM numbers)"
                ),
                "rowid",
            ),
        };
        let insert = format!(
            "INSERT INTO posts (title, author, published, created_on, updated_on) \
             SELECT 'Title ' || (number * 7919 % 1000), 'Author ' || (number % 10), number % 3 <> 0, {instant}, {instant} \
             FROM {numbers}; \
             INSERT INTO posts_search ({id}, title, author, content) SELECT id, '', '', '' FROM posts"
        );
        self.execute(&insert).unwrap();
    }

    /// In SQL, the instant that is so many minutes after 2001 began.
    pub fn minute(&self, number: &str) -> String {
        match &*self.place {
            Place::Folder(_) => {
                format!("strftime('%Y-%m-%dT%H:%M:%S.000000Z', 978307200 + {number} * 60, 'unixepoch')")
            }
            Place::Server { .. } | Place::ServerOfItsOwn { .. } => {
                format!("timestamptz '2001-01-01T00:00:00Z' + {number} * interval '1 minute'")
            }
        }
    }

    /// Runs statements past the server.
    pub fn execute(&self, statements: &str) -> QueryResult<()> {
        self.connect().batch_execute(statements)
    }

    /// The text that each row of a query has, in a column of that name.
    pub fn texts(&self, query: &str) -> Vec<String> {
        #[derive(QueryableByName)]
        struct Row {
            #[diesel(sql_type = diesel::sql_types::Text)]
            text: String,
        }
        let rows = diesel::sql_query(query).load::<Row>(&mut self.connect()).unwrap();
        rows.into_iter().map(|row| row.text).collect()
    }

    /// How many rows a table has for which this holds.
    pub fn count(&self, table: &str, condition: &str) -> usize {
        let count = self.texts(&format!("SELECT CAST(count(*) AS text) AS text FROM {table} WHERE {condition}"));
        count[0].parse().unwrap()
    }

    /// How many of the server's sessions wait for a lock, on PostgreSQL.
    pub fn held_up(&self) -> usize {
        self.count(
            "pg_stat_activity",
            "application_name = 'posts' AND wait_event_type = 'Lock' AND datname = current_database()",
        )
    }

    /// All that a table holds, as text; bytes in hexadecimal.
    pub fn dump(&self, table: &str) -> String {
        let row = match &*self.place {
            Place::Folder(_) => self.texts(&format!(
                "SELECT group_concat('quote(' || name || ')', ' || '','' || ') AS text FROM pragma_table_info('{table}')"
            ))[0]
                .clone(),
            Place::Server { .. } | Place::ServerOfItsOwn { .. } => format!("row_to_json({table})::text"),
        };
        self.texts(&format!("SELECT {row} AS text FROM {table}")).join("\n")
    }
}

/// A standby, with the same database on it. Gone when dropped.
pub struct Standby {
    address: String,
    cluster: postgres::Cluster,
}

impl Standby {
    pub fn cluster(&self) -> &postgres::Cluster {
        &self.cluster
    }

    pub fn url(&self) -> DatabaseUrl {
        DatabaseUrl::parse(&self.address).unwrap()
    }

    /// Makes it a primary.
    pub fn promote(&self) {
        self.connect().batch_execute("SELECT pg_promote()").unwrap();
    }

    /// A connection to it, once it answers.
    pub fn connect(&self) -> diesel::PgConnection {
        postgres::connect(&self.address)
    }

    /// Lets it fall behind from now on.
    pub fn hold(&self) {
        let mut connection = self.connect();
        connection.batch_execute("SELECT pg_wal_replay_pause()").unwrap();
        let state = diesel::dsl::sql::<diesel::sql_types::Text>("pg_get_wal_replay_pause_state()");
        while diesel::select(state.clone()).get_result::<String>(&mut connection).unwrap() != "paused" {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Lets it catch up.
    pub fn resume(&self) {
        self.connect().batch_execute("SELECT pg_wal_replay_resume()").unwrap();
    }
}

/// Counts a test, for the line at the end of the run.
fn count(database: Database, runs: bool) {
    static SQLITE: AtomicUsize = AtomicUsize::new(0);
    static POSTGRES: AtomicUsize = AtomicUsize::new(0);
    static SKIPPED: AtomicUsize = AtomicUsize::new(0);
    static AT_EXIT: Once = Once::new();

    extern "C" fn report() {
        let [sqlite, postgres, skipped] = [&SQLITE, &POSTGRES, &SKIPPED].map(|count| count.load(Ordering::Relaxed));
        let [answers, requests] = [&document::ANSWERS, &document::REQUESTS].map(|count| count.load(Ordering::Relaxed));
        let mut report = format!(
            "\ntests on SQLite: {sqlite}; on PostgreSQL: {postgres}; SKIPPED: {skipped}\n\
             held to the OpenAPI document: {answers} answers; {requests} requests that were not refused\n"
        );
        if skipped > 0 {
            report += "There is no PostgreSQL here, and half of the tests did not run. \
                       Install it (apt-get install postgresql), or set TEST_DATABASE_URL.\n";
        }
        // Past the test runner, which swallows what a passing test prints.
        let _ = std::io::stderr().write_all(report.as_bytes());
    }
    AT_EXIT.call_once(|| {
        // SAFETY: `report` touches only atomics and standard error, both of which outlive `main`.
        #[expect(unsafe_code, reason = "the test runner has no hook for the end of a run")]
        unsafe {
            libc::atexit(report);
        }
    });
    let counter = match (database, runs) {
        (Database::Sqlite, _) => &SQLITE,
        (Database::Postgres, true) => &POSTGRES,
        (Database::Postgres, false) => &SKIPPED,
    };
    counter.fetch_add(1, Ordering::Relaxed);
}

fn run_next<DB: diesel::backend::Backend>(connection: &mut impl MigrationHarness<DB>, steps: EmbeddedMigrations) -> bool
where
    EmbeddedMigrations: MigrationSource<DB>,
{
    let left = connection.pending_migrations(steps).unwrap();
    left.first().map(|step| connection.run_migration(step).unwrap()).is_some()
}

fn revert_all<DB: diesel::backend::Backend>(connection: &mut impl MigrationHarness<DB>, steps: EmbeddedMigrations)
where
    EmbeddedMigrations: MigrationSource<DB>,
{
    connection.revert_all_migrations(steps).unwrap();
}
