//! The database: the only room that knows whether PostgreSQL or SQLite is behind it.
//!
//! [`Db::read`] and [`Db::write`] are the doors. Each takes a permit (bounded, so that a flood is refused and
//! not piled up), hops to the blocking pool, borrows a connection there and runs the caller's closure; on SQLite, what
//! writes goes to the one thread that does. What very many callers do goes through a lane of its own, where they share
//! a query or a statement: what they read through a [`Batcher`], what they create through an [`Inserter`].
//!
//! [`Db::write`] and the [`Inserter`] are the only doors to a transaction that changes something.
//!
//! This room knows no resource and no HTTP.

mod batcher;
mod connection;
mod error;
mod inserter;
mod intake;
pub mod migrations;
mod pool;
mod queue;
mod replica;
pub(crate) mod schema;
mod sync;
pub mod types;
mod url;
mod writer;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::watch;

pub use batcher::Batcher;
pub use connection::{DbConnection, load_on_either, snapshot, try_lock};
pub use error::Error;
pub use inserter::{Alone, Inserter, Together};
pub use intake::Lane;
pub use replica::{Position, Reader, Replica};
pub use types::Timestamp;
pub use url::{DatabaseUrl, InvalidDatabaseUrl};

/// What boxed queries and expressions are written for: either database.
pub type Backend = <DbConnection as diesel::Connection>::Backend;

use connection::{Access, Connector};
use migrations::PrepareError;
use pool::Pool;
use replica::Positions;
use writer::Writer;

/// How many connections are kept for the threads of the lanes that read, as long as there are more than that.
const KEPT_FOR_READS: usize = 8;

/// How many are kept for the threads of those that create.
const KEPT_FOR_INSERTS: usize = 2;

/// The most connections to a replica: one for each thread that reads from it.
const REPLICA_POOL_SIZE: u32 = 8;

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
    /// Standbys of it that reads may go to, each a server of its own.
    pub replicas: Vec<DatabaseUrl>,
    /// Whether [`Db::prepare`] brings an old schema up to date, or refuses it.
    pub migrate: bool,
}

/// A handle on the database, cheap to clone.
#[derive(Clone, Debug)]
pub struct Db {
    options: Arc<Options>,
    reader: Reader,
    writes: Writes,
    replicas: Arc<[Replica]>,
    /// How far the primary has come, where that is of use to replicas.
    positions: Option<Arc<Positions>>,
    in_use: Arc<watch::Sender<()>>,
}

/// Where transactions are made that change something.
#[derive(Clone, Debug)]
enum Writes {
    /// On PostgreSQL: each on a connection of the pool.
    Apart(Arc<Pool>),
    /// On SQLite: one after the other on one connection.
    Together(Arc<Writer>),
}

impl Db {
    /// Makes the pool, and on SQLite starts the thread that writes. Opens no connection yet: the database may still be
    /// down.
    pub fn start(options: Options) -> io::Result<Self> {
        let (in_use, mark) = watch::channel(());
        let connector = |access| Connector::new(&options.url, options.timeout, access, mark.clone());
        let (reads, writes) = if options.url.is_sqlite() {
            let writer = Writer::start(connector(Access::ReadWrite), options.timeout)?;
            let reads = Pool::new("read", options.pool_size, KEPT_FOR_READS, connector(Access::ReadOnly));
            (Arc::new(reads), Writes::Together(Arc::new(writer)))
        } else {
            let kept = KEPT_FOR_READS + KEPT_FOR_INSERTS;
            let both = Arc::new(Pool::new("all", options.pool_size, kept, connector(Access::ReadWrite)));
            (Arc::clone(&both), Writes::Apart(both))
        };
        let prepared = Arc::<AtomicBool>::default();
        let reader = Reader { pool: reads, timeout: options.timeout, prepared: Arc::clone(&prepared) };
        let replicas = options.replicas.iter().zip(1..).map(|(url, number)| {
            let timeout = options.timeout.min(replica::TIMEOUT);
            let connector = Connector::new(&url.at_any_server(), timeout, Access::ReadOnly, mark.clone());
            let pool = Arc::new(Pool::new("replica", REPLICA_POOL_SIZE, 0, connector));
            Replica::start(Reader { pool, timeout, prepared: Arc::clone(&prepared) }, number)
        });
        let replicas: Arc<[_]> = replicas.collect::<io::Result<_>>()?;
        let positions = (!replicas.is_empty()).then(|| Positions::of_primary(&reader)).transpose()?.map(Arc::new);
        Ok(Self { options: Arc::new(options), reader, writes, replicas, positions, in_use: Arc::new(in_use) })
    }

    /// Resolves once every connection is closed: when all handles and lanes are gone, and their threads have done what they
    /// were at. SQLite then has put its log into the database's file, and taken it away.
    pub fn closed(&self) -> impl Future<Output = ()> + use<> {
        let (in_use, options) = (Arc::clone(&self.in_use), Arc::clone(&self.options));
        async move {
            in_use.closed().await;
            let settled = tokio::task::spawn_blocking(move || connection::settle(&options.url)).await;
            if let Ok(Err(error)) = settled {
                tracing::warn!(%error, "the database's log could not be put into its file, and stays beside it");
            }
        }
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
        self.reader.prepared.store(true, Ordering::Release);
        Ok(())
    }

    /// Looks whether the database answers and its schema has all that this program needs.
    pub async fn check(&self) -> Result<(), Error> {
        if self.read(migrations::pending).await?.is_empty() { Ok(()) } else { Err(Error::NotReady) }
    }

    /// Runs statements that only read. Each sees the state at its own begin; those that must see the same one are run in
    /// a [`snapshot`]. On a connection that turns out to be dead it is run once more.
    pub async fn read<T, E, F>(&self, work: F) -> Result<T, E>
    where
        F: Fn(&mut DbConnection) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        self.run(&self.reader.pool, move |pool| pool.read(work)).await
    }

    /// Runs one transaction: what `work` did is kept when it returns `Ok`, and undone when it returns `Err`.
    ///
    /// On SQLite the transaction has the write lock, and is committed with others; on PostgreSQL it locks rows as it
    /// touches them (READ COMMITTED): read what you decide by with a locking query.
    ///
    /// With [`Error::Timeout`] and [`Error::ConnectionLost`] the outcome is unknown to the caller.
    pub async fn write<T, E, F>(&self, work: F) -> Result<T, E>
    where
        F: FnOnce(&mut DbConnection) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<Error> + From<diesel::result::Error> + Send + 'static,
    {
        match &self.writes {
            Writes::Apart(pool) => self.run(pool, move |pool| pool.begin()?.finish(work)).await,
            Writes::Together(writer) => {
                self.reader.require_prepared()?;
                writer.write(work).await
            }
        }
    }

    /// Refuses what would be refused by [`Db::write`] at this moment because too many wait: for who can know it before much
    /// is done for a request.
    pub fn admit_write(&self) -> Result<(), Error> {
        match &self.writes {
            Writes::Apart(pool) => pool.admit(),
            Writes::Together(writer) => writer.admit(),
        }
    }

    /// What is read from where it must be the newest: who is calling, what a write is decided by.
    #[must_use]
    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    /// The standbys that other reads may go to.
    #[must_use]
    pub fn replicas(&self) -> &[Replica] {
        &self.replicas
    }

    /// A place in the primary's log that is past all that was written before this was called; `None` where there are no
    /// replicas to wait for it.
    pub async fn position(&self) -> Option<Position> {
        let positions = self.positions.as_ref()?;
        Some(positions.get().await.unwrap_or_else(|error| {
            tracing::warn!(%error, "how far the primary has come could not be found out");
            Position::OUT_OF_REACH
        }))
    }

    /// Starts a lane that creates what many callers send with one statement; see [`Inserter`]. On SQLite, where they share
    /// their commits anyway, there is none, and each is created `alone`.
    ///
    /// `together` does it with one statement, and gives for each item what came of it, in their order; `alone` does it in
    /// a transaction.
    pub fn inserter<N, R>(&self, lane: Lane, together: Together<N, R>, alone: Alone<N, R>) -> io::Result<Inserter<N, R>>
    where
        N: Send + 'static,
        R: Send + 'static,
    {
        match &self.writes {
            Writes::Apart(pool) => Inserter::start(lane, self, pool, together, alone),
            Writes::Together(_) => Ok(Inserter::without_lane(self, alone)),
        }
    }

    async fn run<T, E, F>(&self, pool: &Arc<Pool>, work: F) -> Result<T, E>
    where
        F: FnOnce(&Pool) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        self.reader.require_prepared()?;
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
