//! The two databases have the same tables, so that one `schema.rs` tells the truth of both.
//!
//! Except for `posts_search`: on SQLite it is a virtual table, its own index, with further tables behind it, and nothing
//! that diesel's types are used for. That both find the same by it, `search_index` tests.

use std::collections::BTreeSet;

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Bool, Text};
use posts_api::db::DbConnection;

use crate::harness::{Postgres, Sqlite, TestDatabase};

#[derive(Debug, Eq, Ord, PartialEq, PartialOrd, QueryableByName)]
struct Named {
    #[diesel(sql_type = Text)]
    name: String,
}

#[derive(Debug, Eq, Ord, PartialEq, PartialOrd, QueryableByName)]
struct Column {
    #[diesel(sql_type = Text)]
    of: String,
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Bool)]
    nullable: bool,
}

/// Runs a query on each database, and compares what comes back.
fn compare<T>(on_sqlite: &str, on_postgres: &str)
where
    T: QueryableByName<diesel::sqlite::Sqlite> + QueryableByName<diesel::pg::Pg> + Ord + std::fmt::Debug + 'static,
{
    let Some(postgres) = TestDatabase::create(Postgres) else { return };
    let sqlite = TestDatabase::create(Sqlite).unwrap();
    let read = |database: &TestDatabase| -> BTreeSet<T> {
        let rows: Vec<T> = match database.connect() {
            DbConnection::Sqlite(mut connection) => sql_query(on_sqlite).load(&mut connection).unwrap(),
            DbConnection::Postgres(mut connection) => sql_query(on_postgres).load(&mut connection).unwrap(),
        };
        assert!(!rows.is_empty());
        rows.into_iter().collect()
    };
    assert_eq!(read(&sqlite), read(&postgres));
}

#[test]
fn both_databases_have_the_same_tables_and_columns() {
    compare::<Column>(
        "SELECT tables.name AS \"of\", columns.name AS name, NOT columns.\"notnull\" AS nullable \
         FROM sqlite_master AS tables, pragma_table_info(tables.name) AS columns \
         WHERE tables.type = 'table' AND tables.name NOT LIKE 'sqlite\\_%' ESCAPE '\\' \
         AND tables.name NOT LIKE '\\_\\_diesel%' ESCAPE '\\' AND tables.name NOT LIKE 'posts\\_search%' ESCAPE '\\'",
        "SELECT table_name::text AS \"of\", column_name::text AS name, is_nullable = 'YES' AS nullable FROM information_schema.columns \
         WHERE table_schema = 'public' AND table_name NOT LIKE '\\_\\_diesel%' AND table_name <> 'posts_search'",
    );
}

#[test]
fn both_databases_have_the_same_indexes() {
    compare::<Named>(
        "SELECT name FROM sqlite_master WHERE type = 'index' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'",
        "SELECT indexname::text AS name FROM pg_indexes WHERE schemaname = 'public' AND indexname NOT LIKE '%\\_pkey' \
         AND tablename <> 'posts_search'",
    );
}
