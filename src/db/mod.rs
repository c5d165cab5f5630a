//! The database: the only room that knows whether PostgreSQL or SQLite is behind it.
//!
//! [`Db::read`] and [`Db::write`] are the doors. Each takes a permit (bounded, so that a flood is refused and
//! not piled up), hops to the blocking pool, borrows a connection there and runs the caller's closure.
//! [`Db::write`] is the only door to a transaction that changes something.
//!
//! This room knows no resource and no HTTP.

mod connection;
mod error;
mod lane;
pub mod migrations;
pub(crate) mod schema;
pub mod types;
mod url;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use diesel::Connection as _;

pub use connection::{DbConnection, try_lock};
pub use error::Error;
pub use types::Timestamp;
pub use url::{DatabaseUrl, InvalidDatabaseUrl};

/// What boxed queries and expressions are written for: either database.
pub type Backend = <DbConnection as diesel::Connection>::Backend;

use connection::{Access, Connector};
use lane::Lane;
use migrations::PrepareError;

/// How to reach the database, and how much of it to use.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which database.
    pub url: DatabaseUrl,
    /// The most connections that are open at once: to PostgreSQL in all, on SQLite to read with
    /// (one more writes).
    pub pool_size: u32,
    /// The longest that one [`Db::read`] or [`Db::write`] may take, waiting included.
    pub timeout: Duration,
    /// Whether [`Db::prepare`] brings an old schema up to date, or refuses it.
    pub migrate: bool,
}

/// A handle on the database, cheap to clone.
#[derive(Clone, Debug)]
pub struct Db {
    options: Arc<Options>,
    reads: Arc<Lane>,
    writes: Arc<Lane>,
    prepared: Arc<AtomicBool>,
}

impl Db {
    /// Makes the pools. Opens no connection yet: the database may still be down.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let (reads, writes) = if options.url.is_sqlite() {
            // SQLite has one writer at a time. One connection that all writes queue for, first come first
            // served, beats many that wake up to find the file locked.
            let reads = Lane::new("read", options.pool_size, Connector::new(&options, Access::ReadOnly));
            let writes = Lane::new("write", 1, Connector::new(&options, Access::ReadWrite));
            (Arc::new(reads), Arc::new(writes))
        } else {
            let both = Lane::new("all", options.pool_size, Connector::new(&options, Access::ReadWrite));
            let both = Arc::new(both);
            (Arc::clone(&both), both)
        };
        Self { options: Arc::new(options), reads, writes, prepared: Arc::default() }
    }

    /// Which database this is.
    #[must_use]
    pub fn url(&self) -> &DatabaseUrl {
        &self.options.url
    }

    /// Connects, and brings the schema up to date or, with [`Options::migrate`] off, refuses an old one.
    /// Until this has succeeded once, reads and writes answer [`Error::NotReady`].
    pub async fn prepare(&self) -> Result<(), PrepareError> {
        let options = Arc::clone(&self.options);
        tokio::task::spawn_blocking(move || {
            if options.migrate {
                migrations::run(&options.url).map(drop)
            } else {
                migrations::require_current(&options.url)
            }
        })
        .await
        .map_err(|_| PrepareError::Failed("the migrations panicked".to_owned()))??;
        self.prepared.store(true, Ordering::Release);
        Ok(())
    }

    /// Looks whether the database answers and its schema has all that this program needs.
    pub async fn check(&self) -> Result<(), Error> {
        if self.read(migrations::pending).await?.is_empty() { Ok(()) } else { Err(Error::NotReady) }
    }

    /// Runs statements that only read. Each sees the state at its own begin; a closure whose statements
    /// must see the same one opens a transaction.
    pub async fn read<T, E, F>(&self, work: F) -> Result<T, E>
    where
        F: FnOnce(&mut DbConnection) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        self.run(&self.reads, work).await
    }

    /// Runs one transaction: what `work` did is kept when it returns `Ok`, and undone when it returns `Err`.
    ///
    /// On SQLite the transaction holds the write lock from its begin, on PostgreSQL it locks rows as it
    /// touches them (READ COMMITTED): read what you decide by with a locking query.
    ///
    /// With [`Error::Timeout`] and [`Error::ConnectionLost`] the outcome is unknown to the caller.
    pub async fn write<T, E, F>(&self, work: F) -> Result<T, E>
    where
        F: FnOnce(&mut DbConnection) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<Error> + From<diesel::result::Error> + Send + 'static,
    {
        self.run(&self.writes, move |connection| match connection {
            // A deferred transaction that turns from reading to writing fails at once when another wrote
            // in between; one that begins as a writer waits for its turn.
            DbConnection::Sqlite(_) => connection::immediate_transaction(connection, work),
            DbConnection::Postgres(_) => connection.transaction(work),
        })
        .await
    }

    async fn run<T, E, F>(&self, lane: &Arc<Lane>, work: F) -> Result<T, E>
    where
        F: FnOnce(&mut DbConnection) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        if !self.prepared.load(Ordering::Acquire) {
            return Err(Error::NotReady.into());
        }
        let deadline = Instant::now() + self.options.timeout;
        let permit = lane.permit(deadline).await?;
        let task = tokio::task::spawn_blocking(move || {
            let mut connection = permit.connection()?;
            work(&mut connection)
        });
        // Past the deadline the caller gets its answer, and the thread goes on: a commit that waits for a
        // standby must never be cancelled, since the server would then report it as done.
        match tokio::time::timeout_at(deadline.into(), task).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_panicked)) => Err(Error::Panicked.into()),
            Err(_elapsed) => Err(Error::Timeout.into()),
        }
    }
}
