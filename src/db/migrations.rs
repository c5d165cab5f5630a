//! The schema's history, embedded in the program for both databases.

use std::collections::BTreeSet;

use diesel::backend::Backend;
use diesel::connection::SimpleConnection as _;
use diesel::migration::MigrationSource;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::Text;
use diesel::sqlite::Sqlite;
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use super::connection::establish;
use super::{DatabaseUrl, DbConnection};

const POSTGRES: EmbeddedMigrations = embed_migrations!("migrations/postgres");
const SQLITE: EmbeddedMigrations = embed_migrations!("migrations/sqlite");

/// The key of PostgreSQL's advisory lock that migrations take. The number has no meaning; every release
/// must use the same one.
const LOCK: i64 = 7_381_240_921_604;

/// Why the schema could not be made ready.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PrepareError {
    /// No connection: it may come, so trying again makes sense.
    #[error("the database cannot be reached: {0}")]
    Unreachable(String),
    /// Migrations are off, and these are missing.
    #[error("the database's schema is older than this program (missing: {}): run `posts migrate`", .0.join(", "))]
    OldSchema(Vec<String>),
    /// Text would be cut and counted in bytes.
    #[error("the database's encoding is {0}: create the database with ENCODING 'UTF8'")]
    Encoding(String),
    /// A statement failed.
    #[error("the migrations failed: {0}")]
    Failed(String),
}

impl From<diesel::result::Error> for PrepareError {
    fn from(error: diesel::result::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

/// One step of the schema's history.
#[derive(Clone, Debug)]
pub struct Step {
    /// Its folder under `migrations/`.
    pub name: String,
    /// Whether the database has it.
    pub applied: bool,
}

/// Brings the schema up to date, and returns the versions of the steps that this took. Of several servers that
/// call it at once, one works and the others wait and find nothing left to do.
pub fn run(url: &DatabaseUrl) -> Result<Vec<String>, PrepareError> {
    let mut connection = connect(url)?;
    if pending(&mut connection)?.is_empty() {
        // The usual start takes no lock.
        return Ok(Vec::new());
    }
    match &mut connection {
        DbConnection::Postgres(postgres) if url.has_no_session() => postgres.transaction(|postgres| {
            // Nothing else is held by who has no session. The role's timeout is for requests.
            postgres
                .batch_execute(&format!("SET LOCAL statement_timeout = 0; SELECT pg_advisory_xact_lock({LOCK})"))?;
            run_pending(postgres, POSTGRES)
        }),
        DbConnection::Postgres(postgres) => {
            // Held by the session: it goes when `connection` is dropped, however this ends.
            sql_query(format!("SELECT pg_advisory_lock({LOCK})")).execute(postgres)?;
            run_pending(postgres, POSTGRES)
        }
        // The write lock serves as the advisory one, and makes all steps one.
        DbConnection::Sqlite(sqlite) => sqlite.immediate_transaction(|sqlite| run_pending(sqlite, SQLITE)),
    }
}

fn run_pending<C, DB>(connection: &mut C, steps: EmbeddedMigrations) -> Result<Vec<String>, PrepareError>
where
    DB: Backend,
    C: MigrationHarness<DB>,
    EmbeddedMigrations: MigrationSource<DB>,
{
    let applied = connection.run_pending_migrations(steps);
    let applied = applied.map_err(|error| PrepareError::Failed(error.to_string()))?;
    Ok(applied.iter().map(ToString::to_string).collect())
}

/// Refuses a schema that lacks a step that this program needs. Steps that it does not know are a newer
/// release's, and no obstacle.
pub fn require_current(url: &DatabaseUrl) -> Result<(), PrepareError> {
    let missing = pending(&mut connect(url)?)?;
    if missing.is_empty() { Ok(()) } else { Err(PrepareError::OldSchema(missing)) }
}

/// Every step that this program knows, oldest first.
pub fn status(url: &DatabaseUrl) -> Result<Vec<Step>, PrepareError> {
    let mut connection = connect(url)?;
    let missing = pending(&mut connection)?;
    let names = known(&connection).into_iter().map(|(_, name)| name);
    Ok(names.map(|name| Step { applied: !missing.contains(&name), name }).collect())
}

/// The names of the steps that the database lacks, oldest first. Writes nothing.
pub(super) fn pending(connection: &mut DbConnection) -> Result<Vec<String>, super::Error> {
    let applied = applied_versions(connection)?;
    Ok(known(connection).into_iter().filter(|(version, _)| !applied.contains(version)).map(|(_, name)| name).collect())
}

impl From<super::Error> for PrepareError {
    fn from(error: super::Error) -> Self {
        match error {
            super::Error::Query(error) => Self::Failed(error.to_string()),
            other => Self::Unreachable(other.to_string()),
        }
    }
}

fn connect(url: &DatabaseUrl) -> Result<DbConnection, PrepareError> {
    let mut connection = establish(url, None).map_err(|error| PrepareError::Unreachable(error.to_string()))?;
    if let DbConnection::Postgres(postgres) = &mut connection {
        let encoding = diesel::dsl::sql::<Text>("current_setting('server_encoding')");
        let encoding: String = diesel::select(encoding).get_result(postgres)?;
        if encoding != "UTF8" {
            return Err(PrepareError::Encoding(encoding));
        }
    }
    Ok(connection)
}

/// Version and name of each step, oldest first.
fn known(connection: &DbConnection) -> Vec<(String, String)> {
    fn read<DB: Backend>(steps: &EmbeddedMigrations) -> Vec<(String, String)>
    where
        EmbeddedMigrations: MigrationSource<DB>,
    {
        // Embedded at compile time, where a folder that is no migration is an error.
        let steps = MigrationSource::<DB>::migrations(steps).unwrap_or_default();
        let mut steps: Vec<_> =
            steps.iter().map(|step| (step.name().version().to_string(), step.name().to_string())).collect();
        steps.sort();
        steps
    }
    match connection {
        DbConnection::Postgres(_) => read::<Pg>(&POSTGRES),
        DbConnection::Sqlite(_) => read::<Sqlite>(&SQLITE),
    }
}

fn applied_versions(connection: &mut DbConnection) -> QueryResult<BTreeSet<String>> {
    diesel::table! {
        __diesel_schema_migrations (version) {
            version -> Text,
        }
    }
    // diesel's own look-up makes the table where it is missing; a look should write nothing.
    let exists = diesel::dsl::sql::<diesel::sql_types::Bool>(match connection {
        DbConnection::Postgres(_) => "to_regclass('__diesel_schema_migrations') IS NOT NULL",
        DbConnection::Sqlite(_) => "EXISTS (SELECT 1 FROM sqlite_master WHERE name = '__diesel_schema_migrations')",
    });
    if !diesel::select(exists).get_result(connection)? {
        return Ok(BTreeSet::new());
    }
    let versions: Vec<String> =
        __diesel_schema_migrations::table.select(__diesel_schema_migrations::version).load(connection)?;
    Ok(versions.into_iter().collect())
}

#[cfg(test)]
mod tests {
    #[test]
    fn both_databases_have_the_same_steps_in_the_same_order() {
        let names = |database: &str| {
            let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(database);
            let mut names: Vec<_> =
                std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            names
        };
        assert_eq!(names("postgres"), names("sqlite"));
    }
}
