//! Migrations that die in the midst: a step is there whole or not at all, and the next start goes on.

use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection as _;
use diesel::dsl::sql;
use diesel::sql_types::{Integer, Text};
use diesel::{IntoSql as _, RunQueryDsl as _};
use posts_api::db::{DatabaseUrl, Db, Error, Options, migrations};

use crate::harness::{Database, Postgres, Program, Sqlite, TestDatabase, faults, say};

/// All that the schema is made of, as text.
fn schema(database: &TestDatabase) -> Vec<String> {
    database.texts(match database.folder() {
        Some(_) => "SELECT type || ' ' || name || ' ' || coalesce(sql, '') AS text FROM sqlite_master ORDER BY 1",
        None => {
            "SELECT table_name || '.' || column_name || ' ' || data_type || ' ' || is_nullable || coalesce(collation_name, '') \
                 AS text FROM information_schema.columns WHERE table_schema = 'public' \
             UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' \
             UNION ALL SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE connamespace = 'public'::regnamespace \
             UNION ALL SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal \
             UNION ALL SELECT pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = 'public'::regnamespace \
             UNION ALL SELECT attrelid::regclass || ' ' || attname || coalesce(attstattarget, -1) FROM pg_attribute \
                 WHERE attrelid::regclass::text LIKE 'posts_search%' AND attnum > 0 \
             ORDER BY 1"
        }
    })
}

/// The steps that a database has.
fn applied(database: &TestDatabase) -> usize {
    migrations::status(database.url()).unwrap().iter().filter(|step| step.applied).count()
}

/// The schema after each step of its history, from before the first one on.
fn history(database: Database) -> Option<Vec<Vec<String>>> {
    let database = TestDatabase::create_empty(database)?;
    let mut schemas = vec![schema(&database)];
    while database.migrate_by_one() {
        schemas.push(schema(&database));
    }
    Some(schemas)
}

/// Migrates as whoever starts the service next does: then all of the schema is there.
fn finish(database: &TestDatabase, history: &[Vec<String>], when: &str) {
    let output = Program::on(database, &["migrate"]).output();
    assert!(output.status.success(), "{when}: {output:?}");
    assert_eq!(Some(&schema(database)), history.last(), "{when}");
}

/// As it has to be behind a pooler that gives each transaction another session: tests/pgbouncer/check tries one.
#[tokio::test]
async fn where_there_is_no_session_nothing_is_kept_in_one() {
    let Some(history) = history(Postgres) else { return };
    let Some(database) = TestDatabase::create_empty(Postgres) else { return };
    let url = DatabaseUrl::parse(&format!("{}&pool_mode=transaction", database.address())).unwrap();
    let applied: Vec<_> = std::thread::scope(|scope| {
        let servers: Vec<_> = (0..4).map(|_| scope.spawn(|| migrations::run(&url).unwrap().len())).collect();
        servers.into_iter().map(|server| server.join().unwrap()).collect()
    });
    assert_eq!(applied.iter().sum::<usize>(), history.len() - 1, "{applied:?}");
    finish(&database, &history, "without a session");

    let [kept, lost] = [database.url().clone(), url].map(|url| {
        let timeout = Duration::from_secs(30);
        Db::start(Options { url, replicas: Vec::new(), pool_size: 1, timeout, migrate: false }).unwrap()
    });
    for (db, expected) in [(kept, "1, 30s, 2s"), (lost, "0, 0, 0")] {
        db.prepare().await.unwrap();
        let state = db.read(|connection| {
            let _: i32 = diesel::select(1.into_sql::<Integer>()).get_result(connection)?;
            let state = "(SELECT count(*) FROM pg_prepared_statements) || ', ' || current_setting('statement_timeout') \
                 || ', ' || current_setting('client_connection_check_interval')";
            diesel::select(sql::<Text>(state)).get_result::<String>(connection).map_err(Error::from)
        });
        assert_eq!(state.await.unwrap(), expected);
    }
}

/// Ends the connection after a statement: of the schema, or of the table of steps, or at a commit. The number of those
/// that have run is kept by a sequence, which no rollback takes back.
fn die_after(statements: usize) -> String {
    format!(
        "CREATE SCHEMA faults; \
         CREATE SEQUENCE faults.statements; \
         CREATE FUNCTION faults.die() RETURNS void LANGUAGE plpgsql AS $$ BEGIN \
             IF nextval('faults.statements') = {statements} THEN \
                 PERFORM pg_terminate_backend(pg_backend_pid()); PERFORM pg_sleep(10); \
             END IF; \
         END $$; \
         CREATE FUNCTION faults.of_schema() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN \
             PERFORM faults.die(); \
         END $$; \
         CREATE FUNCTION faults.of_steps() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             PERFORM faults.die(); RETURN NULL; \
         END $$; \
         CREATE TRIGGER die AFTER INSERT ON __diesel_schema_migrations \
             FOR EACH ROW EXECUTE FUNCTION faults.of_steps(); \
         CREATE CONSTRAINT TRIGGER die_at_commit AFTER INSERT ON __diesel_schema_migrations \
             DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION faults.of_steps(); \
         CREATE EVENT TRIGGER die ON ddl_command_end EXECUTE FUNCTION faults.of_schema()"
    )
}

const DIE_NO_MORE: &str = "DROP EVENT TRIGGER IF EXISTS die; DROP SCHEMA IF EXISTS faults CASCADE";

#[test]
fn on_postgres_a_migration_may_die_after_any_statement() {
    let Some(history) = history(Postgres) else { return };
    let database = TestDatabase::create(Postgres).unwrap();
    let mut connection = database.connect();
    let mut deaths = 0;
    for statement in (1..).step_by(faults(4, 1)) {
        connection.batch_execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public").unwrap();
        // Makes the table of steps alone, as the program would.
        connection
            .batch_execute(
                "CREATE TABLE __diesel_schema_migrations (version VARCHAR(50) PRIMARY KEY NOT NULL, \
                 run_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP)",
            )
            .unwrap();
        connection.batch_execute(&die_after(statement)).unwrap();
        let died = migrations::run(database.url()).is_err();
        connection.batch_execute(DIE_NO_MORE).unwrap();
        let steps = applied(&database);
        if steps > 0 {
            assert_eq!(schema(&database), history[steps], "after statement {statement}");
        }
        assert_eq!(died, steps < history.len() - 1, "after statement {statement}");
        if !died {
            break;
        }
        deaths += 1;
        finish(&database, &history, &format!("after statement {statement}"));
    }
    say(&format!(
        "PostgreSQL, migrations that died, each after another statement: {deaths}; all were finished afterwards"
    ));
    assert!(deaths > 10);
}

/// Here all steps are one transaction, of which nothing is in the file before the commit: so each write to a file is what
/// it dies at, from every state that a database may be in.
#[test]
fn on_sqlite_a_migration_may_die_at_any_write() {
    const PAGE: usize = 4096;
    let history = history(Sqlite).unwrap();
    let mut deaths = 0;
    for steps in 0..history.len() - 1 {
        for size in (0..).step_by(PAGE * faults(9, 1)) {
            let database = TestDatabase::create_empty(Sqlite).unwrap();
            for _ in 0..steps {
                database.migrate_by_one();
            }
            let died = !Program::on(&database, &["migrate"]).killed_past(size).output().status.success();
            assert_eq!(database.texts("SELECT integrity_check AS text FROM pragma_integrity_check"), ["ok"]);
            let now = applied(&database);
            assert!([steps, history.len() - 1].contains(&now), "{steps} became {now} by a death at {size}");
            if now > 0 {
                assert_eq!(schema(&database), history[now], "from step {steps}, by a death at {size}");
            }
            if !died {
                break;
            }
            deaths += 1;
            finish(&database, &history, &format!("from step {steps}, by a death at {size}"));
        }
    }
    say(&format!("SQLite, migrations that died, each at another write: {deaths}; all were finished afterwards"));
    assert!(deaths > 10);
}

/// Lets the fifth statement that changes the schema take so many seconds.
fn hold_up_the_fifth_statement(database: &TestDatabase, seconds: &str) {
    database
        .execute(&format!(
            "CREATE SCHEMA faults; \
             CREATE SEQUENCE faults.statements; \
             CREATE FUNCTION faults.take_long() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN \
                 IF nextval('faults.statements') = 5 THEN PERFORM pg_sleep({seconds}); END IF; \
             END $$; \
             CREATE EVENT TRIGGER take_long ON ddl_command_end EXECUTE FUNCTION faults.take_long()"
        ))
        .unwrap();
}

/// What the database grants a request is too little for a migration.
#[test]
fn on_postgres_a_migration_may_take_longer_than_a_request() {
    let Some(history) = history(Postgres) else { return };
    for parameter in ["", "&pool_mode=transaction"] {
        let database = TestDatabase::create_empty(Postgres).unwrap();
        hold_up_the_fifth_statement(&database, "1.5");
        database
            .execute(
                "DO $$ BEGIN \
                     EXECUTE format('ALTER DATABASE %I SET statement_timeout = 1000', current_database()); \
                 END $$",
            )
            .unwrap();
        let url = DatabaseUrl::parse(&format!("{}{parameter}", database.address())).unwrap();
        assert_eq!(migrations::run(&url).unwrap().len(), history.len() - 1, "{parameter}");
    }
}

/// What the killed program waited for goes on at the server, and has the lock, until the server looks who is there.
#[test]
fn on_postgres_who_is_killed_in_a_long_migration_does_not_hold_up_the_next() {
    let Some(history) = history(Postgres) else { return };
    let database = TestDatabase::create_empty(Postgres).unwrap();
    hold_up_the_fifth_statement(&database, "60");
    let killed = Program::on(&database, &["migrate"]).after("{ (sleep 1; kill -KILL $$) & }").output();
    assert_eq!(killed.status.code(), None, "{killed:?}");
    let begun = Instant::now();
    finish(&database, &history, "after the kill");
    say(&format!("PostgreSQL, killed in a long migration: the next had the lock after {:?}", begun.elapsed()));
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}
