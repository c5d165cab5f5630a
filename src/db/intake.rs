//! What every lane has: threads, and the way to them, which is bounded, timed and counted.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use tokio::sync::oneshot;

use super::Error;
use super::queue::{InOrder, Queue, Queued, Wake};
use super::sync::{Arc, spawn};

/// How a lane is to work.
#[derive(Clone, Copy, Debug)]
pub struct Lane {
    /// Its name, for threads and metrics.
    pub name: &'static str,
    /// How many threads it has, each with a connection of its own.
    pub threads: usize,
    /// The most that one query asks for, or one statement writes.
    pub batch: usize,
    /// The most requests that may wait; further ones are refused, and all are while the first has waited for long.
    pub waiting: usize,
}

/// What callers put their requests into, for the threads of a lane. Dropped, it lets these finish and ends them.
pub(super) struct Intake<Q: Queued> {
    lane: &'static str,
    queue: Arc<Queue<Q>>,
    timeout: Duration,
    waiting: Gauge,
    refused: Counter,
}

/// A request that is in the queue: where its answer comes, and, of the first, what wakes a thread.
pub(super) struct Asked<Q: Queued, A> {
    pub(super) answered: oneshot::Receiver<A>,
    pub(super) wake: Option<Wake<Q>>,
}

/// The threads' side of a lane: what waits, batch by batch.
pub(super) struct Batches<Q> {
    queue: Arc<Queue<Q>>,
    sizes: Histogram,
}

impl<Q: Queued> Intake<Q> {
    /// Starts a lane, whose callers wait no longer than the timeout. `serve` is what each of its threads does; it is to
    /// return when there are no more batches.
    pub(super) fn start<S>(lane: Lane, timeout: Duration, serve: S) -> io::Result<Self>
    where
        Q: Send + 'static,
        S: Fn(&Batches<Q>) + Send + Sync + 'static,
    {
        let Lane { name, threads, batch: _, waiting } = lane;
        // Before the threads: should one of them not start, this ends those that did.
        let intake = Self {
            lane: name,
            queue: Arc::new(Queue::new(waiting)),
            timeout,
            waiting: gauge!("posts_db_requests_waiting", "lane" => name),
            refused: counter!("posts_db_requests_refused_total", "lane" => name),
        };
        let serve = Arc::new(serve);
        for _ in 0..threads {
            let sizes = histogram!("posts_db_batch_size", "lane" => name);
            let batches = Batches { queue: Arc::clone(&intake.queue), sizes };
            let serve = Arc::clone(&serve);
            spawn(name, move || serve(&batches))?;
        }
        Ok(intake)
    }

    /// Refuses where there is no room for a request at this moment: for who can know it before much is done for it.
    pub(super) fn admit(&self) -> Result<(), Error> {
        if self.queue.has_room() { Ok(()) } else { Err(self.refused()) }
    }

    /// Puts in the request that is to be answered through a channel. Refuses where there is no room for it.
    pub(super) fn ask<A>(&self, request: impl FnOnce(oneshot::Sender<A>) -> Q::Item) -> Result<Asked<Q, A>, Error> {
        let (answer, answered) = oneshot::channel();
        let wake = self.queue.push(request(answer)).map_err(|_refused| self.refused())?;
        Ok(Asked { answered, wake })
    }

    fn refused(&self) -> Error {
        self.refused.increment(1);
        Error::Overloaded
    }

    /// Waits for the answer.
    pub(super) async fn answer<A>(&self, Asked { answered, wake }: Asked<Q, A>) -> Result<A, Error>
    where
        Q: Send + 'static,
    {
        let _waiting = Waiting::begin(&self.waiting);
        if let Some(wake) = wake {
            // This worker first reads what else has arrived at it, so that it goes along.
            tokio::spawn(async move { drop(wake) });
        }
        match tokio::time::timeout(self.timeout, answered).await {
            Ok(Ok(answer)) => Ok(answer),
            // The thread that had it is gone, as none ever is before it has answered.
            Ok(Err(_)) => Err(Error::Panicked),
            Err(_elapsed) => Err(Error::Timeout),
        }
    }
}

impl<Q: Queued> Drop for Intake<Q> {
    fn drop(&mut self) {
        self.queue.close();
    }
}

impl<Q: Queued> std::fmt::Debug for Intake<Q> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Intake").field("lane", &self.lane).field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

impl<Q: Queued> Batches<Q> {
    /// Of a queue that a test has filled.
    #[cfg(test)]
    pub(super) fn of(queue: Arc<Queue<Q>>) -> Self {
        Self { queue, sizes: Histogram::noop() }
    }

    /// Waits until there is something, and picks of it. `None` when the lane is to end.
    pub(super) fn take<B>(&self, pick: impl FnOnce(&mut Q) -> B) -> Option<B> {
        self.queue.take(pick)
    }

    /// Counts a batch.
    pub(super) fn count(&self, size: usize) {
        #[expect(clippy::cast_precision_loss, reason = "a batch is small")]
        self.sizes.record(size as f64);
    }
}

impl<T> Batches<InOrder<T>> {
    /// The first that waits, if anything does.
    pub(super) fn pop(&self) -> Option<T> {
        self.queue.pop()
    }
}

/// Does a batch's work. A panic is the batch's, and not the lane's: the connection is thrown away as it passes.
pub(super) fn guarded<R>(work: impl FnOnce() -> Result<R, Error>) -> Result<R, Error> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or(Err(Error::Panicked))
}

/// Counts a request until it is answered, or nobody waits for that any more.
pub(super) struct Waiting<'a>(&'a Gauge);

impl<'a> Waiting<'a> {
    pub(super) fn begin(gauge: &'a Gauge) -> Self {
        gauge.increment(1);
        Self(gauge)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.decrement(1);
    }
}
