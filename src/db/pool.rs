//! A pool of connections and the queue before it, both bounded.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use diesel::ConnectionError;
use diesel::r2d2::{self, HandleError};
use diesel::result::Error as QueryError;
use metrics::{Counter, Gauge, counter, gauge};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::connection::{Connector, PooledConnection};
use super::intake::Waiting;
use super::queue::has_room;
use super::{DbConnection, Error};

/// How many callers may wait for each connection. At a millisecond a query that is a wait of some tens of
/// milliseconds; more would only wait longer for the same throughput.
const WAITING_PER_CONNECTION: usize = 32;

/// At least so many may wait, however small the pool.
const WAITING_AT_LEAST: usize = 256;

/// How long a caller that holds a permit waits for a connection to be made.
const CONNECT_WAIT: Duration = Duration::from_secs(2);

/// Callers take a permit before they take a thread: a slow database then holds up those that need it, and not the thread
/// pool that everybody shares. There are as many permits as connections, less those that are kept for the read lanes.
pub(super) struct Pool {
    name: &'static str,
    connections: r2d2::Pool<Connector>,
    permits: Arc<Semaphore>,
    line: Line,
    in_use: Gauge,
    queued: Gauge,
    refused: Counter,
}

impl Pool {
    /// A pool of `size` connections, some of which are kept for threads that need no permit.
    pub(super) fn new(name: &'static str, size: u32, kept: usize, connector: Connector) -> Self {
        let connections = r2d2::Pool::builder()
            .max_size(size)
            .min_idle(Some(0))
            // Not how long a request waits, which is CONNECT_WAIT: the pauses between attempts to connect
            // grow to half of this.
            .connection_timeout(Duration::from_secs(2))
            .error_handler(Box::new(LogOnce::default()))
            .build_unchecked(connector);
        // Several replicas are one lane.
        gauge!("posts_db_connections_max", "lane" => name).increment(f64::from(size));
        let permits = (size as usize).saturating_sub(kept).max(1);
        Self {
            name,
            connections,
            permits: Arc::new(Semaphore::new(permits)),
            line: Line::new(WAITING_AT_LEAST.max(permits * WAITING_PER_CONNECTION)),
            in_use: gauge!("posts_db_connections_in_use", "lane" => name),
            queued: gauge!("posts_db_requests_waiting", "lane" => name),
            refused: counter!("posts_db_requests_refused_total", "lane" => name),
        }
    }

    /// Refuses where there is no room for one more at this moment.
    pub(super) fn admit(&self) -> Result<(), Error> {
        let has_room = self.permits.available_permits() > 0 || self.line.lock().has_room(self.line.max);
        if has_room { Ok(()) } else { Err(self.refused()) }
    }

    /// Waits for a permit, and not past the deadline. Refuses at once where as many wait as may, or the first
    /// of them has waited for too long.
    pub(super) async fn permit(&self, deadline: Instant) -> Result<OwnedSemaphorePermit, Error> {
        if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            return Ok(permit);
        }
        let _place = self.line.take_place().ok_or_else(|| self.refused())?;
        let _waiting = Waiting::begin(&self.queued);
        let acquired = tokio::time::timeout_at(deadline.into(), Arc::clone(&self.permits).acquire_owned()).await;
        acquired.ok().and_then(Result::ok).ok_or_else(|| self.refused())
    }

    /// Runs work that only reads. Where its connection turns out to be dead, runs it once more on a fresh one: it has
    /// done nothing that could not be done again.
    pub(super) fn read<T, E: From<Error>>(&self, work: impl Fn(&mut DbConnection) -> Result<T, E>) -> Result<T, E> {
        let mut connection = self.connection()?;
        match work(&mut connection) {
            Err(_) if connection.is_lost() => drop(connection),
            outcome => return outcome,
        }
        work(&mut *self.connection()?)
    }

    /// Runs one statement that changes something, and never twice: where its connection is lost, nobody knows whether it was
    /// carried out.
    ///
    /// It is a transaction of its own. Only where its connection has rested a transaction is begun first, as
    /// [`Pool::begin`] does: what died meanwhile without a sign is then found out before anything was changed.
    pub(super) fn once<T, E>(&self, work: impl FnOnce(&mut DbConnection) -> Result<T, E>) -> Result<T, E>
    where
        E: From<Error> + From<QueryError>,
    {
        let mut connection = self.connection()?;
        if connection.has_rested() {
            return self.begin_on(connection)?.finish(work);
        }
        work(&mut connection)
    }

    /// Takes a connection with a transaction begun on it. Where none can be begun, as on a dead connection or a server
    /// that has become read-only, nothing has happened yet, and a fresh connection is tried.
    pub(super) fn begin(&self) -> Result<Loan, Error> {
        self.begin_on(self.connection()?)
    }

    fn begin_on(&self, mut connection: Loan) -> Result<Loan, Error> {
        if connection.begin().is_err() {
            drop(connection);
            connection = self.connection()?;
            connection.begin()?;
        }
        Ok(connection)
    }

    /// Takes a connection. Blocks while one is made; else only where the threads without a permit are more than the
    /// connections that are kept for them.
    fn connection(&self) -> Result<Loan, Error> {
        let connection = self.connections.get_timeout(CONNECT_WAIT);
        let connection = connection.map_err(|error| Error::Unreachable(error.to_string()))?;
        self.in_use.increment(1);
        Ok(Loan { connection, in_use: self.in_use.clone() })
    }

    fn refused(&self) -> Error {
        self.refused.increment(1);
        Error::Overloaded
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("name", &self.name).field("connections", &self.connections).finish_non_exhaustive()
    }
}

/// Who waits for a permit. The semaphore has them in this order, too.
struct Line {
    places: Mutex<Places>,
    max: usize,
}

#[derive(Default)]
struct Places {
    /// By the order in which they came: since when each waits.
    since: BTreeMap<u64, Instant>,
    last: u64,
}

/// A place in the line, given back when dropped.
struct Place<'a> {
    line: &'a Line,
    number: u64,
}

impl Line {
    fn new(max: usize) -> Self {
        Self { places: Mutex::default(), max }
    }

    fn take_place(&self) -> Option<Place<'_>> {
        let mut places = self.lock();
        if !places.has_room(self.max) {
            return None;
        }
        places.last += 1;
        let number = places.last;
        places.since.insert(number, Instant::now());
        Some(Place { line: self, number })
    }

    fn lock(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Places {
    fn has_room(&self, max: usize) -> bool {
        has_room(self.since.len(), max, self.since.values().next().copied(), Instant::now())
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.line.lock().since.remove(&self.number);
    }
}

/// A connection that goes back to its pool when dropped, or away where it is no longer good.
pub(super) struct Loan {
    connection: r2d2::PooledConnection<Connector>,
    in_use: Gauge,
}

impl Deref for Loan {
    type Target = PooledConnection;

    fn deref(&self) -> &PooledConnection {
        &self.connection
    }
}

impl DerefMut for Loan {
    fn deref_mut(&mut self) -> &mut PooledConnection {
        &mut self.connection
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        self.in_use.decrement(1);
    }
}

/// Logs why no connection can be made when the reason changes, and not at each of many attempts.
#[derive(Debug, Default)]
struct LogOnce(Mutex<String>);

impl HandleError<ConnectionError> for LogOnce {
    fn handle_error(&self, error: ConnectionError) {
        let reason = error.to_string();
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if *last != reason {
            tracing::warn!(error = reason, "no connection to the database");
            *last = reason;
        }
    }
}
