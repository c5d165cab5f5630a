//! Standbys, to which reads may go.
//!
//! A standby shows what the primary was a moment ago. **Who wrote reads what it wrote**: the answer to a write names a
//! [`Position`] in the primary's log that is past it, and a read that names it goes to no standby that has not come so
//! far. One that cannot be reached, or fails, is left alone for a while; what it was asked for, the primary answers.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::io;
use std::num::ParseIntError;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use diesel::sql_types::BigInt;
use diesel::{QueryResult, QueryableByName, RunQueryDsl as _, sql_query};
use metrics::{Counter, counter};

use super::batcher::Batcher;
use super::intake::Lane;
use super::pool::Pool;
use super::{DbConnection, Error};

/// How long a read waits for a standby that has not come as far as it should. The primary would have answered by then.
const PATIENCE: Duration = Duration::from_millis(50);

/// How often it is looked meanwhile how far the standby has come.
const PAUSE: Duration = Duration::from_millis(5);

/// How long a standby is left alone that has failed.
const REST: Duration = Duration::from_secs(5);

/// The longest that a standby may take for an answer: then the primary is asked, which takes its own time.
pub(super) const TIMEOUT: Duration = Duration::from_secs(2);

/// How far a server has come.
const POSITIONS: Lane = Lane { name: "positions", threads: 1, batch: 1, waiting: 4096 };

/// A place in the log of PostgreSQL's primary (its WAL). A server that has come so far shows all that was written before.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Position(u64);

impl Position {
    /// So far no server comes: where it could not be found out how far to wait.
    pub const OUT_OF_REACH: Self = Self(u64::MAX);
}

/// As PostgreSQL writes it.
impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xFFFF_FFFF)
    }
}

impl FromStr for Position {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        let (high, low) = text.split_once('/').unwrap_or((text, ""));
        Ok(Self(u64::from(u32::from_str_radix(high, 16)?) << 32 | u64::from(u32::from_str_radix(low, 16)?)))
    }
}

/// What can be read from: the database itself, or a standby of it.
#[derive(Clone, Debug)]
pub struct Reader {
    pub(super) pool: Arc<Pool>,
    pub(super) timeout: Duration,
    pub(super) prepared: Arc<AtomicBool>,
}

impl Reader {
    /// Starts a lane that answers many requests with one query; see [`Batcher`]. `query` is given keys that differ, and
    /// finds what it can of them.
    pub fn batcher<K, V, F>(&self, lane: Lane, query: F) -> io::Result<Batcher<K, V>>
    where
        K: Clone + Eq + Hash + Send + 'static,
        V: Clone + Send + 'static,
        F: Fn(&mut DbConnection, &[K]) -> Result<HashMap<K, V>, Error> + Send + Sync + 'static,
    {
        let reader = self.clone();
        Batcher::start(lane, self.timeout, move |keys: &[K]| {
            reader.require_prepared()?;
            reader.pool.read(|connection| query(connection, keys))
        })
    }

    pub(super) fn require_prepared(&self) -> Result<(), Error> {
        if self.prepared.load(Ordering::Acquire) { Ok(()) } else { Err(Error::NotReady) }
    }
}

/// How far a server has come, asked by many at once.
#[derive(Debug)]
pub(super) struct Positions(Batcher<(), Position>);

impl Positions {
    /// Of the primary. Fails on a server that is none.
    pub(super) fn of_primary(reader: &Reader) -> io::Result<Self> {
        Self::start(reader, "pg_current_wal_insert_lsn()")
    }

    fn of_replica(reader: &Reader) -> io::Result<Self> {
        Self::start(reader, "coalesce(pg_last_wal_replay_lsn(), pg_current_wal_insert_lsn())")
    }

    fn start(reader: &Reader, function: &str) -> io::Result<Self> {
        let statement = format!("SELECT ({function} - '0/0')::bigint AS position");
        let look = move |connection: &mut DbConnection, keys: &[()]| {
            let position = position(connection, &statement)?;
            Ok(keys.iter().map(|()| ((), position)).collect())
        };
        reader.batcher(POSITIONS, look).map(Self)
    }

    pub(super) async fn get(&self) -> Result<Position, Error> {
        self.0.get(()).await?.ok_or(Error::NotReady)
    }
}

fn position(connection: &mut DbConnection, statement: &str) -> QueryResult<Position> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        position: i64,
    }
    let row: Row = sql_query(statement).get_result(connection)?;
    Ok(Position(row.position.unsigned_abs()))
}

/// A standby that reads may go to.
pub struct Replica {
    reader: Reader,
    positions: Positions,
    rests_until: Mutex<Option<Instant>>,
    failures: Counter,
    late: Counter,
}

impl fmt::Debug for Replica {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replica").field("reader", &self.reader).finish_non_exhaustive()
    }
}

impl Replica {
    /// The number is its name in the metrics, where its address would say too much.
    pub(super) fn start(reader: Reader, number: usize) -> io::Result<Self> {
        let positions = Positions::of_replica(&reader)?;
        let number = number.to_string();
        Ok(Self {
            reader,
            positions,
            rests_until: Mutex::default(),
            failures: counter!("posts_db_replica_failures_total", "replica" => number.clone()),
            late: counter!("posts_db_replica_late_total", "replica" => number),
        })
    }

    /// What to read from.
    #[must_use]
    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    /// Whether it has not failed lately.
    #[must_use]
    pub fn is_well(&self) -> bool {
        let rests_until = *self.rests_until.lock().unwrap_or_else(PoisonError::into_inner);
        rests_until.is_none_or(|until| until <= Instant::now())
    }

    /// Leaves it alone for a while, since it failed so.
    pub fn leave_alone(&self, error: &Error) {
        if self.is_well() {
            self.failures.increment(1);
            tracing::warn!(%error, "a replica failed; the primary is asked in its place");
        }
        *self.rests_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + REST);
    }

    /// Whether it shows all that was written before this. Waits for that a little.
    pub async fn has_reached(&self, position: Position) -> bool {
        if position == Position::OUT_OF_REACH {
            return false;
        }
        let begun = Instant::now();
        loop {
            match self.positions.get().await {
                Ok(reached) if reached >= position => return true,
                Ok(_) if begun.elapsed() < PATIENCE => tokio::time::sleep(PAUSE).await,
                Ok(_) => {
                    self.late.increment(1);
                    return false;
                }
                Err(error) => {
                    self.leave_alone(&error);
                    return false;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_read_as_it_is_written() {
        for (text, number) in [("0/0", 0), ("16/B374D848", 0x16_B374_D848), ("FFFFFFFF/FFFFFFFF", u64::MAX)] {
            assert_eq!(text.parse(), Ok(Position(number)));
            assert_eq!(Position(number).to_string(), text);
        }
        for text in ["", "/", "16", "16/", "/16", "1/2/3", "100000000/0", "x/0", " 1/0"] {
            assert!(text.parse::<Position>().is_err(), "{text:?}");
        }
        assert!("A/0".parse::<Position>().unwrap() > "9/FFFFFFFF".parse().unwrap());
    }
}
