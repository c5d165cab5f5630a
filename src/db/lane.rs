//! A pool of connections and the queue before it, both bounded.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use diesel::ConnectionError;
use diesel::r2d2::{self, HandleError, Pool};
use metrics::{counter, gauge};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Error;
use super::connection::{Connector, PooledConnection};

/// How many callers may wait for each connection. At a millisecond a query that is a wait of some tens of
/// milliseconds; more would only wait longer for the same throughput.
const WAITING_PER_CONNECTION: usize = 32;

/// At least so many may wait, however small the pool.
const WAITING_AT_LEAST: usize = 256;

/// The longest that a caller waits for a permit. Who would wait longer is better told so while it can still try
/// elsewhere.
const QUEUE_WAIT: Duration = Duration::from_secs(5);

/// How long a caller that holds a permit waits for a connection to be made.
const CONNECT_WAIT: Duration = Duration::from_secs(2);

/// Callers take a permit, of which there are as many as connections, before they take a thread: a slow
/// database then holds up those that need it, and not the thread pool that everybody shares.
pub(super) struct Lane {
    name: &'static str,
    pool: Pool<Connector>,
    permits: Arc<Semaphore>,
    waiting: AtomicUsize,
    waiting_max: usize,
}

impl Lane {
    pub(super) fn new(name: &'static str, size: u32, connector: Connector) -> Self {
        let pool = Pool::builder()
            .max_size(size)
            .min_idle(Some(0))
            // Not how long a request waits, which is CONNECT_WAIT: the pauses between attempts to connect
            // grow to half of this.
            .connection_timeout(Duration::from_secs(2))
            .error_handler(Box::new(LogOnce::default()))
            .build_unchecked(connector);
        let size = size as usize;
        gauge!("posts_db_connections_max", "lane" => name).set(f64::from(u32::try_from(size).unwrap_or(u32::MAX)));
        Self {
            name,
            pool,
            permits: Arc::new(Semaphore::new(size)),
            waiting: AtomicUsize::new(0),
            waiting_max: WAITING_AT_LEAST.max(size * WAITING_PER_CONNECTION),
        }
    }

    /// Waits for a permit, for a while and not past the deadline. Refuses at once where as many wait as may.
    pub(super) async fn permit(self: &Arc<Self>, deadline: Instant) -> Result<Permit, Error> {
        let permit = if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            permit
        } else {
            let _place = Place::take(self).ok_or_else(|| self.refused())?;
            let deadline = deadline.min(Instant::now() + QUEUE_WAIT);
            let acquired = tokio::time::timeout_at(deadline.into(), Arc::clone(&self.permits).acquire_owned()).await;
            acquired.ok().and_then(Result::ok).ok_or_else(|| self.refused())?
        };
        gauge!("posts_db_connections_in_use", "lane" => self.name).increment(1);
        Ok(Permit { lane: Arc::clone(self), _permit: permit })
    }

    fn refused(&self) -> Error {
        counter!("posts_db_requests_refused_total", "lane" => self.name).increment(1);
        Error::Overloaded
    }
}

impl fmt::Debug for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lane").field("name", &self.name).field("pool", &self.pool).finish_non_exhaustive()
    }
}

/// A place in the queue, given back when dropped.
struct Place<'a>(&'a Lane);

impl<'a> Place<'a> {
    fn take(lane: &'a Lane) -> Option<Self> {
        if lane.waiting.fetch_add(1, Ordering::Relaxed) >= lane.waiting_max {
            lane.waiting.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        gauge!("posts_db_requests_waiting", "lane" => lane.name).increment(1);
        Some(Self(lane))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
        gauge!("posts_db_requests_waiting", "lane" => self.0.name).decrement(1);
    }
}

/// The right to one connection.
pub(super) struct Permit {
    lane: Arc<Lane>,
    _permit: OwnedSemaphorePermit,
}

impl Permit {
    /// Takes a connection. Blocks: only while one is made, since nobody else holds more than were permitted.
    pub(super) fn connection(&self) -> Result<r2d2::PooledConnection<Connector>, Error> {
        self.lane.pool.get_timeout(CONNECT_WAIT).map_err(|error| Error::Unreachable(error.to_string()))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        gauge!("posts_db_connections_in_use", "lane" => self.lane.name).decrement(1);
    }
}

/// Logs why no connection can be made when the reason changes, and not at each of many attempts.
#[derive(Debug, Default)]
struct LogOnce(std::sync::Mutex<String>);

impl HandleError<ConnectionError> for LogOnce {
    fn handle_error(&self, error: ConnectionError) {
        let reason = error.to_string();
        let mut last = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if *last != reason {
            tracing::warn!(error = reason, "no connection to the database");
            *last = reason;
        }
    }
}

const _: () = {
    const fn assert_send<T: Send>() {}
    assert_send::<PooledConnection>();
};
