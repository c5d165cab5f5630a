//! The database: the only room that knows whether PostgreSQL or SQLite is behind it.
//!
//! [`Db::read`] and [`Db::write`] are the doors. Each takes a permit (bounded, so that a flood is refused and
//! not piled up), hops to the blocking pool, borrows a connection there and runs the caller's closure.
//! [`Db::write`] is the only door to a transaction that changes something. What very many callers read goes through a
//! lane of its own, a [`Batcher`].
//!
//! This room knows no resource and no HTTP.

mod batcher;
mod connection;
mod error;
pub mod migrations;
mod pool;
mod queue;
pub(crate) mod schema;
mod sync;
pub mod types;
mod url;

use std::collections::HashMap;
use std::hash::Hash;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

pub use batcher::{Batcher, Lane};
pub use connection::{DbConnection, try_lock};
pub use error::Error;
pub use types::Timestamp;
pub use url::{DatabaseUrl, InvalidDatabaseUrl};

/// What boxed queries and expressions are written for: either database.
pub type Backend = <DbConnection as diesel::Connection>::Backend;

use connection::{Access, Connector};
use migrations::PrepareError;
use pool::Pool;

/// How many connections are kept for the threads of the read lanes, as long as there are more than that.
const KEPT_FOR_LANES: usize = 8;

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
    reads: Arc<Pool>,
    writes: Arc<Pool>,
    prepared: Arc<AtomicBool>,
}

impl Db {
    /// Makes the pools. Opens no connection yet: the database may still be down.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let (reads, writes) = if options.url.is_sqlite() {
            // SQLite has one writer at a time. One connection that all writes queue for, first come first
            // served, beats many that wake up to find the file locked.
            let reads =
                Pool::new("read", options.pool_size, KEPT_FOR_LANES, Connector::new(&options, Access::ReadOnly));
            let writes = Pool::new("write", 1, 0, Connector::new(&options, Access::ReadWrite));
            (Arc::new(reads), Arc::new(writes))
        } else {
            let both = Pool::new("all", options.pool_size, KEPT_FOR_LANES, Connector::new(&options, Access::ReadWrite));
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
    /// must see the same one opens a transaction. On a connection that turns out to be dead it is run once more.
    pub async fn read<T, E, F>(&self, work: F) -> Result<T, E>
    where
        F: Fn(&mut DbConnection) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        self.run(&self.reads, move |pool| pool.read(work)).await
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
        self.run(&self.writes, move |pool| pool.begin()?.finish(work)).await
    }

    /// Starts a lane that answers many requests with one query; see [`Batcher`]. `query` is given keys that differ, and
    /// finds what it can of them.
    pub fn batcher<K, V, F>(&self, lane: Lane, query: F) -> io::Result<Batcher<K, V>>
    where
        K: Clone + Eq + Hash + Send + 'static,
        V: Clone + Send + 'static,
        F: Fn(&mut DbConnection, &[K]) -> Result<HashMap<K, V>, Error> + Send + Sync + 'static,
    {
        let db = self.clone();
        Batcher::start(lane, self.options.timeout, move |keys: &[K]| {
            db.require_prepared()?;
            db.reads.read(|connection| query(connection, keys))
        })
    }

    fn require_prepared(&self) -> Result<(), Error> {
        if self.prepared.load(Ordering::Acquire) { Ok(()) } else { Err(Error::NotReady) }
    }

    async fn run<T, E, F>(&self, pool: &Arc<Pool>, work: F) -> Result<T, E>
    where
        F: FnOnce(&Pool) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        self.require_prepared()?;
        let deadline = Instant::now() + self.options.timeout;
        let permit = pool.permit(deadline).await?;
        let pool = Arc::clone(pool);
        let task = tokio::task::spawn_blocking(move || {
            let outcome = work(&pool);
            drop(permit);
            outcome
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
