//! The databases that are measured on, and how they are filled.

use std::path::Path;
use std::process::Command;

use diesel::connection::SimpleConnection as _;
use diesel::{Connection as _, PgConnection, SqliteConnection};
use posts_api::db::{DatabaseUrl, migrations};

use crate::postgres::{Cluster, binaries};

/// A word that one post of a hundred has.
pub(crate) const RARE_WORD: &str = "zanzibar";

/// What a server of its own should have: as much memory as the posts need, and otherwise the defaults, which keep what was
/// answered through a loss of power.
const SETTINGS: &str = "-c shared_buffers=512MB";

/// A PostgreSQL server, and where databases can be made on it.
pub(crate) struct Postgres {
    cluster: Option<Cluster>,
    before_name: String,
    after_name: String,
}

impl Postgres {
    /// The one that was named, or a throw-away one; `None` where there is neither.
    pub(crate) fn find(database_url: Option<&str>) -> Option<Self> {
        let Some(url) = database_url else {
            let cluster = Cluster::start(SETTINGS)?;
            let after_name = cluster.parameters();
            return Some(Self { cluster: Some(cluster), before_name: "postgres:///".to_owned(), after_name });
        };
        let (address, query) = url.split_once('?').unwrap_or((url, ""));
        let before_name = address.rsplit_once('/').expect("the URL names a database").0;
        Some(Self { cluster: None, before_name: format!("{before_name}/"), after_name: format!("?{query}") })
    }

    pub(crate) fn url(&self, name: &str) -> String {
        format!("{}{name}{}", self.before_name, self.after_name)
    }

    /// The process that all others of the server descend from, where the server is ours.
    pub(crate) fn process(&self) -> Option<u32> {
        std::fs::read_to_string(self.cluster.as_ref()?.folder.join("pid")).ok()?.trim().parse().ok()
    }

    fn connect(&self, name: &str) -> PgConnection {
        for _ in 0..600 {
            if let Ok(connection) = PgConnection::establish(&self.url(name)) {
                return connection;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        panic!("PostgreSQL does not answer");
    }

    pub(crate) fn execute(&self, name: &str, statements: &str) {
        self.connect(name).batch_execute(statements).unwrap();
    }

    /// Makes a database with so many posts.
    pub(crate) fn create(&self, name: &str, posts: usize) -> String {
        self.execute("postgres", &format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"));
        self.execute("postgres", &format!("CREATE DATABASE {name} ENCODING 'UTF8' TEMPLATE template0"));
        let url = self.url(name);
        migrations::run(&DatabaseUrl::parse(&url).unwrap()).unwrap();
        self.execute(
            name,
            &format!(
                "INSERT INTO posts (title, author, content, created_on, updated_on) \
                 SELECT 'A title of some words and number ' || number, 'Author ' || (number % 100), \
                 (SELECT string_agg('syllable' || (abs(hashint8(number * 61 + place)) % 997), ' ') FROM generate_series(1, 50) AS place) \
                 || CASE WHEN number % 100 = 0 THEN ' {RARE_WORD}' ELSE '' END, \
                 timestamptz '2001-01-01T00:00:00Z' + number * interval '1 minute', \
                 timestamptz '2001-01-01T00:00:00Z' + number * interval '1 minute' \
                 FROM generate_series(1::bigint, {posts}) AS number; \
                 INSERT INTO posts_search (post_id, title, author, content) SELECT id, lower(title), lower(author), content FROM posts"
            ),
        );
        for statement in ["VACUUM ANALYZE", "CHECKPOINT"] {
            self.execute(name, statement);
        }
        url
    }

    /// Runs pgbench for a turn, and returns the transactions a second.
    pub(crate) fn pgbench(&self, name: &str, script: &str, connections: usize, seconds: u64) -> f64 {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("script.sql");
        std::fs::write(&file, script).unwrap();
        let installed = binaries().map(|folder| folder.join("pgbench")).filter(|program| program.is_file());
        let output = Command::new(installed.unwrap_or_else(|| "pgbench".into()))
            .args(["--no-vacuum", "--protocol=prepared", "--jobs=2"])
            .arg(format!("--client={connections}"))
            .arg(format!("--time={seconds}"))
            .arg(format!("--file={}", file.display()))
            .arg(self.url(name))
            .output()
            .expect("pgbench is installed");
        let text = String::from_utf8_lossy(&output.stdout);
        let rate = text.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
        rate.unwrap_or_else(|| panic!("pgbench failed: {text}{}", String::from_utf8_lossy(&output.stderr)))
    }
}

/// A query's plan, as text.
pub(crate) fn plan(postgres: &Postgres, name: &str, query: &str) -> String {
    use diesel::RunQueryDsl as _;
    #[derive(diesel::QueryableByName)]
    struct Line {
        #[diesel(sql_type = diesel::sql_types::Text, column_name = "QUERY PLAN")]
        line: String,
    }
    let lines: Vec<Line> = diesel::sql_query(format!("EXPLAIN {query}")).load(&mut postgres.connect(name)).unwrap();
    lines.into_iter().map(|line| line.line).collect::<Vec<_>>().join("\n")
}

/// Makes an SQLite file with so many posts.
pub(crate) fn create_sqlite(path: &Path, posts: usize) {
    migrations::run(&DatabaseUrl::sqlite(path)).unwrap();
    let mut connection = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
    connection
        .batch_execute(&format!(
            "PRAGMA journal_mode = WAL; PRAGMA busy_timeout = 5000; BEGIN; \
             CREATE TEMP TABLE numbers (number INTEGER PRIMARY KEY); \
             WITH RECURSIVE all_of (number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM all_of WHERE number < {posts}) \
             INSERT INTO numbers SELECT number FROM all_of; \
             INSERT INTO posts (title, author, content, created_on, updated_on) \
             SELECT 'A title of some words and number ' || numbers.number, 'Author ' || (numbers.number % 100), \
             (SELECT group_concat('syllable' || ((numbers.number * 61 + places.number * 7919) % 997), ' ') \
              FROM numbers AS places WHERE places.number <= 50) \
             || CASE WHEN numbers.number % 100 = 0 THEN ' {RARE_WORD}' ELSE '' END, \
             strftime('%Y-%m-%dT%H:%M:%S.000000Z', 978307200 + numbers.number * 60, 'unixepoch'), \
             strftime('%Y-%m-%dT%H:%M:%S.000000Z', 978307200 + numbers.number * 60, 'unixepoch') FROM numbers; \
             INSERT INTO posts_search (rowid, title, author, content) SELECT id, lower(title), lower(author), content FROM posts; \
             COMMIT; DROP TABLE numbers; PRAGMA wal_checkpoint(TRUNCATE)"
        ))
        .unwrap();
}
