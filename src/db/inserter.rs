//! The lane of what is created: on PostgreSQL, many callers' rows go in by one statement.
//!
//! A few threads, each of them one statement after the other, take all that waits (up to a bound) and create it with one,
//! which is a transaction of its own: no round trip to begin it and none to commit it, and one wait for the disk. Only
//! on a connection that has rested it is begun first, to see whether that still stands. There is no timer and no window:
//! alone, a caller's row goes in at once; under load, a batch is what comes while the statement before runs.
//!
//! **No caller fails for another's row.** A statement that the server refuses has done nothing, so each of its rows is
//! created once more, alone. A statement whose outcome nobody knows, since the connection was lost, is never repeated.

use std::io;
use std::sync::Arc;

use diesel::QueryResult;
use diesel::result::{DatabaseErrorKind, Error as QueryError};
use tokio::sync::oneshot;

use super::intake::{Batches, Intake, Lane, guarded};
use super::pool::Pool;
use super::queue::InOrder;
use super::{Db, DbConnection, Error};

/// A batch that has so many bytes takes in no more.
const BYTES: usize = 4 << 20;

/// Creates what it is given, with others' or alone.
#[derive(Debug)]
pub struct Inserter<N, R>(Way<N, R>);

#[derive(Debug)]
enum Way<N, R> {
    Together(Intake<InOrder<Request<N, R>>>),
    Alone(Db, Alone<N, R>),
}

/// Creates these with one statement, and gives what came of each, in their order; `None` for one that was left out.
pub type Together<N, R> = fn(&mut DbConnection, &[N]) -> QueryResult<Vec<Option<R>>>;

/// Creates one, in a transaction.
pub type Alone<N, R> = fn(&mut DbConnection, &N) -> QueryResult<R>;

type Answer<R> = oneshot::Sender<Result<R, Error>>;

struct Request<N, R> {
    item: N,
    size: usize,
    answer: Answer<R>,
}

/// What the threads work with.
struct Worker<N, R> {
    db: Db,
    pool: Arc<Pool>,
    together: Together<N, R>,
    alone: Alone<N, R>,
}

impl<N: Send + 'static, R: Send + 'static> Inserter<N, R> {
    /// Starts the threads.
    pub(super) fn start(
        lane: Lane,
        db: &Db,
        pool: &Arc<Pool>,
        together: Together<N, R>,
        alone: Alone<N, R>,
    ) -> io::Result<Self> {
        let worker = Worker { db: db.clone(), pool: Arc::clone(pool), together, alone };
        let timeout = db.options.timeout;
        Ok(Self(Way::Together(Intake::start(lane, timeout, move |batches| worker.serve(batches, lane.batch))?)))
    }

    /// Without threads: each is created alone.
    pub(super) fn without_lane(db: &Db, alone: Alone<N, R>) -> Self {
        Self(Way::Alone(db.clone(), alone))
    }

    /// Refuses where there is no room for one more at this moment.
    pub fn admit(&self) -> Result<(), Error> {
        match &self.0 {
            Way::Together(intake) => intake.admit(),
            Way::Alone(db, _) => db.admit_write(),
        }
    }

    /// Creates this, which has about so many bytes, and returns it as it is stored.
    ///
    /// Who no longer waits when its turn comes has nothing created; after that it is. With [`Error::Timeout`] and
    /// [`Error::ConnectionLost`] the outcome is unknown to the caller.
    pub async fn insert(&self, item: N, size: usize) -> Result<R, Error> {
        match &self.0 {
            Way::Together(intake) => intake.answer(intake.ask(|answer| Request { item, size, answer })?).await?,
            Way::Alone(db, alone) => {
                let alone = *alone;
                db.write(move |connection| Ok(alone(connection, &item)?)).await
            }
        }
    }
}

impl<N, R> Worker<N, R> {
    /// What a thread does: one batch after the other, until the lane is to end.
    fn serve(&self, batches: &Batches<InOrder<Request<N, R>>>, batch_max: usize) {
        while let Some((items, answers)) = batches.take(|waiting| pick(waiting, batch_max)) {
            if items.is_empty() {
                continue;
            }
            batches.count(items.len());
            match self.insert_together(&items) {
                Ok(rows) => {
                    for (row, answer) in rows.into_iter().zip(answers) {
                        drop(answer.send(row.ok_or_else(|| QueryError::NotFound.into())));
                    }
                }
                Err(error) if has_done_nothing(&error) => {
                    tracing::debug!(%error, rows = items.len(), "rows that could not be created together");
                    self.insert_each_alone(&items, answers);
                }
                Err(error) => {
                    for answer in answers {
                        drop(answer.send(Err(error.clone())));
                    }
                }
            }
        }
    }

    fn insert_together(&self, items: &[N]) -> Result<Vec<Option<R>>, Error> {
        self.db.reader.require_prepared()?;
        guarded(|| self.pool.once(|connection| Ok((self.together)(connection, items)?)))
    }

    fn insert_each_alone(&self, items: &[N], answers: Vec<Answer<R>>) {
        for (item, answer) in items.iter().zip(answers) {
            if answer.is_closed() {
                continue;
            }
            let insert = || self.pool.begin()?.finish(|connection| Ok((self.alone)(connection, item)?));
            drop(answer.send(guarded(insert)));
        }
    }
}

/// Takes what waits, as far as one statement should have it. Who no longer waits is left out.
fn pick<N, R>(waiting: &mut InOrder<Request<N, R>>, batch_max: usize) -> (Vec<N>, Vec<Answer<R>>) {
    let mut bytes = 0;
    let mut batch = (Vec::new(), Vec::new());
    while batch.0.len() < batch_max && bytes < BYTES {
        let Some(Request { item, size, answer }) = waiting.pop() else { break };
        if !answer.is_closed() {
            bytes += size;
            batch.0.push(item);
            batch.1.push(answer);
        }
    }
    batch
}

/// Whether a statement was refused, by a server that is still there to say so: then it has done nothing, and the fault
/// may be one row's.
fn has_done_nothing(error: &Error) -> bool {
    match error {
        Error::Taken(_) | Error::Dangling(_) | Error::Locked(_) | Error::StorageFull(_) => true,
        // Others are the client's, which may have failed after the statement had not.
        Error::Query(cause) => matches!(**cause, QueryError::DatabaseError(..)),
        // What was a primary is a standby now. A transaction begins with looking for one that is not.
        Error::ConnectionLost(cause) => {
            matches!(**cause, QueryError::DatabaseError(DatabaseErrorKind::ReadOnlyTransaction, _))
        }
        _ => false,
    }
}
