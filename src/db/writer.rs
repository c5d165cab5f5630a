//! How SQLite is written to: by one thread, and many writes to a commit.
//!
//! SQLite has one writer at a time, and a commit that is to outlast a power failure waits for the disk. So one thread has
//! the one connection that writes. It begins a transaction, does what waits, each write in a savepoint of its own, and
//! commits it together: one wait for the disk, however many they are. There is no timer and no window: alone, a
//! write is committed at once; under load, a batch is what comes while the one before is written.
//!
//! **Nobody is answered before the commit**, and failures are no exception: what a write was refused for may be what a
//! neighbour in the batch did, which is not true before it is stored.

use std::io;
use std::time::{Duration, Instant};

use diesel::r2d2::ManageConnection as _;
use tokio::sync::oneshot;

use super::connection::{Connector, PooledConnection};
use super::intake::{Batches, Intake, Lane};
use super::queue::{InOrder, Queued as _};
use super::{DbConnection, Error};

/// How long a batch takes in further writes. Other programs that want the lock wait for its end.
const TURN: Duration = Duration::from_millis(50);

/// One thread, since SQLite has one writer at a time. Where very many wait, a commit has more than the batch: see [`share`].
const LANE: Lane = Lane { name: "write", threads: 1, batch: 64, waiting: 1024 };

/// Writes, on a thread of its own. Dropped, it lets that finish and go.
#[derive(Debug)]
pub(super) struct Writer {
    intake: Intake<InOrder<Box<dyn Job>>>,
}

impl Writer {
    /// Starts the thread. It connects when there is something to write.
    pub(super) fn start(connector: Connector, timeout: Duration) -> io::Result<Self> {
        Ok(Self { intake: Intake::start(LANE, timeout, move |batches| serve(&connector, batches))? })
    }

    /// Refuses where there is no room for one more at this moment.
    pub(super) fn admit(&self) -> Result<(), Error> {
        self.intake.admit()
    }

    /// Does the work, and returns once it is stored, or undone where it failed.
    ///
    /// Who no longer waits when the work's turn comes has it not done; after that it is.
    pub(super) async fn write<T, E, F>(&self, work: F) -> Result<T, E>
    where
        F: FnOnce(&mut DbConnection) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<Error> + From<diesel::result::Error> + Send + 'static,
    {
        let asked =
            self.intake.ask(|answer| Box::new(Write { work: Some(work), outcome: None, answer }) as Box<dyn Job>)?;
        self.intake.answer(asked).await?
    }
}

/// A write, whatever is written.
trait Job: Send {
    /// Whether anybody waits for it.
    fn is_awaited(&self) -> bool;

    /// Does the work in the transaction that was begun, so that what fails undoes itself alone.
    fn run(&mut self, connection: &mut PooledConnection);

    /// Answers who waits: with what came of the work where it was committed, else with why it was not.
    fn answer(self: Box<Self>, committed: Result<(), Error>);
}

struct Write<T, E, F> {
    work: Option<F>,
    outcome: Option<Result<T, E>>,
    answer: oneshot::Sender<Result<T, E>>,
}

impl<T, E, F> Job for Write<T, E, F>
where
    F: FnOnce(&mut DbConnection) -> Result<T, E> + Send,
    T: Send,
    E: From<Error> + From<diesel::result::Error> + Send,
{
    fn is_awaited(&self) -> bool {
        !self.answer.is_closed()
    }

    fn run(&mut self, connection: &mut PooledConnection) {
        self.outcome = self.work.take().map(|work| connection.savepoint(work));
    }

    fn answer(self: Box<Self>, committed: Result<(), Error>) {
        let outcome = match committed {
            Ok(()) => self.outcome,
            Err(error) => Some(Err(error.into())),
        };
        if let Some(outcome) = outcome {
            // Who has gone meanwhile gets nothing, which is no fault.
            drop(self.answer.send(outcome));
        }
    }
}

/// What the thread does: one batch after the other, until the lane is to end.
fn serve(connector: &Connector, batches: &Batches<InOrder<Box<dyn Job>>>) {
    let mut kept = None;
    // Looks, and takes nothing yet: who gives up while the lock is waited for is then left out.
    while let Some(waiting) = batches.take(|waiting| waiting.len()) {
        match begin(connector, kept.take()) {
            Ok(mut connection) => {
                write_together(&mut connection, batches, share(waiting));
                if !connector.has_broken(&mut connection) {
                    kept = Some(connection);
                }
            }
            Err(error) => refuse(batches, &error),
        }
    }
}

/// Begins a transaction, on the connection that was kept or on a new one. Waits while another program has the lock, but
/// not for ever.
fn begin(connector: &Connector, kept: Option<PooledConnection>) -> Result<PooledConnection, Error> {
    let mut connection = match kept {
        Some(connection) => connection,
        None => connector.connect().map_err(|error| Error::Unreachable(error.to_string()))?,
    };
    connection.begin()?;
    Ok(connection)
}

/// How much of what waits goes into a commit. The more goes in, the less each write costs; but half is left, so that those
/// who are answered can send again while it is written, and neither side waits for the other.
fn share(waiting: usize) -> usize {
    LANE.batch.max(waiting / 2)
}

/// Does what waits, up to a share, commits it and answers.
fn write_together(connection: &mut PooledConnection, batches: &Batches<InOrder<Box<dyn Job>>>, share: usize) {
    let mut batch = Vec::new();
    let begun = Instant::now();
    while batch.len() < share && begun.elapsed() < TURN && connection.is_in_transaction() {
        let Some(mut job) = batches.pop() else { break };
        if job.is_awaited() {
            job.run(connection);
            batch.push(job);
        }
    }
    batches.count(batch.len());

    let committed = if connection.is_in_transaction() {
        connection.commit().map_err(Error::from)
    } else {
        // On some errors, a full disk for one, SQLite undoes the whole transaction. Who met it knows why.
        if let Some(job) = batch.pop() {
            job.answer(Ok(()));
        }
        Err(Error::Undone)
    };
    for job in batch {
        job.answer(committed.clone());
    }
}

/// Answers everybody who waits. They have waited for the same lock; to let each wait for it again would only make them
/// wait longer.
fn refuse(batches: &Batches<InOrder<Box<dyn Job>>>, error: &Error) {
    while let Some(job) = batches.pop() {
        job.answer(Err(error.clone()));
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use diesel::connection::SimpleConnection as _;
    use diesel::result::Error as QueryError;
    use diesel::sql_types::Text;
    use diesel::{Connection as _, QueryableByName, RunQueryDsl as _, sql_query};
    use tokio::sync::oneshot::Receiver;
    use tokio::sync::watch;

    use super::super::DatabaseUrl;
    use super::super::connection::Access;
    use super::super::queue::Queue;
    use super::super::sync::Arc;
    use super::*;

    type Answered<T> = Receiver<Result<T, Error>>;

    /// A lane on a file of its own whose requests are all there before its thread begins: one batch.
    struct Lane {
        folder: tempfile::TempDir,
        queue: Arc<Queue<InOrder<Box<dyn Job>>>>,
    }

    impl Lane {
        fn new() -> Self {
            let lane = Self { folder: tempfile::tempdir().unwrap(), queue: Arc::new(Queue::new(LANE.waiting)) };
            let mut connection = lane.connector().connect().unwrap();
            connection.batch_execute("CREATE TABLE notes (text TEXT NOT NULL)").unwrap();
            lane
        }

        fn path(&self) -> std::path::PathBuf {
            self.folder.path().join("posts.db")
        }

        fn connector(&self) -> Connector {
            let url = DatabaseUrl::sqlite(&self.path());
            Connector::new(&url, Duration::from_secs(30), Access::ReadWrite, watch::channel(()).1)
        }

        fn send<T, F>(&self, work: F) -> Answered<T>
        where
            F: FnOnce(&mut DbConnection) -> Result<T, Error> + Send + 'static,
            T: Send + 'static,
        {
            let (answer, answered) = oneshot::channel();
            let write = Write { work: Some(work), outcome: None, answer };
            assert!(self.queue.push(Box::new(write)).is_ok());
            answered
        }

        /// Lets the thread's work be done to its end.
        fn serve(&self) {
            self.queue.close();
            serve(&self.connector(), &Batches::of(Arc::clone(&self.queue)));
        }
    }

    fn note(connection: &mut DbConnection, text: &str) -> Result<(), Error> {
        sql_query("INSERT INTO notes (text) VALUES (?)").bind::<Text, _>(text).execute(connection)?;
        Ok(())
    }

    fn noted(path: &Path) -> Vec<String> {
        #[derive(QueryableByName)]
        struct Note {
            #[diesel(sql_type = Text)]
            text: String,
        }
        let url = DatabaseUrl::sqlite(path);
        let mut connection = super::super::connection::establish(&url, None).unwrap();
        let notes = sql_query("SELECT text FROM notes").load::<Note>(&mut connection).unwrap();
        notes.into_iter().map(|note| note.text).collect()
    }

    /// Runs what uses a queue, which the model checker provides here. There is one thread, and so one order.
    fn run(test: fn()) {
        let mut config = shuttle::Config::new();
        config.stack_size = 4 << 20;
        shuttle::Runner::new(shuttle::scheduler::RandomScheduler::new(1), config).run(test);
    }

    #[test]
    fn a_panic_fails_its_own_write_and_no_other() {
        run(|| {
            let lane = Lane::new();
            let mut before = lane.send(|connection| note(connection, "before"));
            let mut panicked = lane.send(|connection| {
                note(connection, "panicked")?;
                connection.transaction(|connection| {
                    note(connection, "panicked deeper")?;
                    panic!("a write that panics")
                })
            });
            let mut after = lane.send(|connection| note(connection, "after"));
            lane.serve();
            let _: () = before.try_recv().unwrap().unwrap();
            assert!(matches!(panicked.try_recv().unwrap(), Err::<(), _>(Error::Panicked)));
            after.try_recv().unwrap().unwrap();
            assert_eq!(noted(&lane.path()), ["before", "after"]);
        });
    }

    #[test]
    fn nobody_is_answered_before_the_commit() {
        run(|| {
            let lane = Lane::new();
            let mut stored = lane.send(|connection| note(connection, "stored"));
            let mut refused = lane.send(|_| Err::<(), _>(QueryError::NotFound.into()));
            let path = lane.path();
            let mut looked = lane.send(move |_| {
                let nobody_is = stored.try_recv().is_err() && refused.try_recv().is_err();
                Ok((nobody_is, noted(&path).is_empty(), stored, refused))
            });
            lane.serve();
            let (nobody_is, nothing_is_stored, mut stored, mut refused) = looked.try_recv().unwrap().unwrap();
            assert!(nobody_is && nothing_is_stored);
            stored.try_recv().unwrap().unwrap();
            assert!(refused.try_recv().unwrap().is_err());
        });
    }

    #[test]
    fn the_more_waits_the_more_goes_into_a_commit_and_half_is_left() {
        run(|| {
            let lane = Lane::new();
            let answers: Vec<_> = (0..300)
                .map(|_| {
                    let path = lane.path();
                    lane.send(move |connection| {
                        note(connection, "one of many")?;
                        Ok(noted(&path).len())
                    })
                })
                .collect();
            lane.serve();
            let mut committed: Vec<_> =
                answers.into_iter().map(|mut answered| answered.try_recv().unwrap().unwrap()).collect();
            committed.dedup();
            assert_eq!(committed, [0, 150, 225, 289]);
        });
    }

    #[test]
    fn who_has_gone_before_the_turn_has_nothing_written() {
        run(|| {
            let lane = Lane::new();
            drop(lane.send(|connection| note(connection, "gone")));
            let mut waited = lane.send(|connection| note(connection, "waited"));
            lane.serve();
            waited.try_recv().unwrap().unwrap();
            assert_eq!(noted(&lane.path()), ["waited"]);
        });
    }

    /// A disk that is full costs only whose write needed more of it, or all of the batch: SQLite chooses.
    #[test]
    fn a_full_disk_is_met_by_who_needs_more_and_leaves_no_halves() {
        run(|| {
            let lane = Lane::new();
            let mut before = lane.send(|connection| {
                connection.batch_execute("PRAGMA max_page_count = 4")?;
                note(connection, "before")
            });
            let mut full = lane.send(|connection| note(connection, &"x".repeat(1 << 20)));
            let mut after = lane.send(|connection| note(connection, "after"));
            lane.serve();
            assert!(matches!(full.try_recv().unwrap(), Err(Error::StorageFull(_))));
            let before = before.try_recv().unwrap();
            assert!(matches!(before, Ok(()) | Err(Error::Undone)), "{before:?}");
            after.try_recv().unwrap().unwrap();
            let expected: &[&str] = if before.is_ok() { &["before", "after"] } else { &["after"] };
            assert_eq!(noted(&lane.path()), expected);
        });
    }

    #[test]
    fn a_lane_without_its_file_says_so_and_lives() {
        run(|| {
            let lane = Lane::new();
            let mut refused = lane.send(|connection| note(connection, "refused"));
            let nowhere = DatabaseUrl::sqlite(&lane.folder.path().join("nowhere/posts.db"));
            lane.queue.close();
            let connector = Connector::new(&nowhere, Duration::from_secs(30), Access::ReadWrite, watch::channel(()).1);
            serve(&connector, &Batches::of(Arc::clone(&lane.queue)));
            assert!(matches!(refused.try_recv().unwrap(), Err(Error::Unreachable(_))));
        });
    }
}
