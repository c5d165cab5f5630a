//! A panic fails its own request, or its own round of work, and nothing else: where a handler's does is in `problems`, a
//! query's of many in `read_lanes`, a write's among others in the crate's own tests.

use std::time::Duration;

use posts_api::db::{Db, DbConnection, Error, Lane, Options};
use rstest::rstest;

use crate::harness::{Database, Postgres, Sqlite, TestDatabase};

/// A handle on a database, with one connection to it: one that was left in a transaction would show.
async fn open(database: &TestDatabase) -> Db {
    let (timeout, url) = (Duration::from_secs(30), database.url().clone());
    let db = Db::start(Options { url, replicas: Vec::new(), pool_size: 1, timeout, migrate: true }).unwrap();
    db.prepare().await.unwrap();
    db
}

fn count(connection: &mut DbConnection) -> Result<i64, Error> {
    use diesel::RunQueryDsl as _;
    #[derive(diesel::QueryableByName)]
    struct Count {
        #[diesel(sql_type = diesel::sql_types::BigInt)]
        count: i64,
    }
    Ok(diesel::sql_query("SELECT count(*) AS count FROM setup_tokens").get_result::<Count>(connection)?.count)
}

fn insert(connection: &mut DbConnection, hash: u8) -> Result<(), Error> {
    use diesel::connection::SimpleConnection as _;
    let value = match connection {
        DbConnection::Postgres(_) => format!("'\\x{hash:064x}', now()"),
        DbConnection::Sqlite(_) => format!("x'{hash:064x}', '2026-11-22T12:00:00.000000Z'"),
    };
    Ok(connection.batch_execute(&format!("INSERT INTO setup_tokens (hash, expires_on) VALUES ({value})"))?)
}

#[rstest]
#[tokio::test]
async fn what_panics_while_it_reads_or_writes_undoes_itself_alone(#[values(Sqlite, Postgres)] database: Database) {
    let Some(database) = TestDatabase::create(database) else { return };
    let db = open(&database).await;
    for round in 0..3 {
        let read = db.read(|connection| {
            count(connection)?;
            assert!(std::hint::black_box(false), "the panic of this test");
            Ok::<_, Error>(())
        });
        assert!(matches!(read.await, Err(Error::Panicked)));
        let write = db.write(|connection| {
            insert(connection, 200)?;
            assert!(std::hint::black_box(false), "the panic of this test");
            Ok::<_, Error>(())
        });
        assert!(matches!(write.await, Err(Error::Panicked)));
        db.write(move |connection| insert(connection, round)).await.unwrap();
        assert_eq!(db.read(count).await.unwrap(), i64::from(round) + 1);
    }
}

#[rstest]
#[tokio::test]
async fn what_panics_while_it_is_created_fails_alone_and_the_lane_goes_on(
    #[values(Sqlite, Postgres)] database: Database,
) {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the lane's signature")]
    fn one(connection: &mut DbConnection, hash: &u8) -> diesel::QueryResult<()> {
        insert(connection, *hash).map_err(|_| diesel::result::Error::RollbackTransaction)?;
        assert_ne!(*hash, 13, "the panic of this test");
        Ok(())
    }
    let Some(database) = TestDatabase::create(database) else { return };
    let db = open(&database).await;
    let together = |connection: &mut DbConnection, hashes: &[u8]| {
        assert!(!hashes.contains(&13), "the panic of this test");
        hashes.iter().map(|hash| one(connection, hash).map(Some)).collect::<diesel::QueryResult<Vec<_>>>()
    };
    let lane = Lane { name: "test", threads: 1, batch: 8, waiting: 8 };
    let creates = db.inserter(lane, together, one).unwrap();
    for round in 0..3 {
        assert!(matches!(creates.insert(13, 1).await, Err(Error::Panicked)));
        creates.insert(round, 1).await.unwrap();
        assert_eq!(db.read(count).await.unwrap(), i64::from(round) + 1);
    }
}
