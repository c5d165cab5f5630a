//! The way into a lane: bounded, timed and counted.

use std::time::Duration;

use metrics::{Counter, Gauge, counter, gauge};
use tokio::sync::oneshot;

use super::Error;
use super::queue::{Queue, Wake};
use super::sync::Arc;

/// What callers put their requests into, for the threads of a lane. Dropped, it ends these.
pub(super) struct Intake<T> {
    queue: Arc<Queue<T>>,
    timeout: Duration,
    waiting: Gauge,
    refused: Counter,
}

/// A request that is in the queue: where its answer comes, and, of the first, what wakes a thread.
pub(super) struct Asked<T, A> {
    pub(super) answered: oneshot::Receiver<A>,
    pub(super) wake: Option<Wake<T>>,
}

impl<T> Intake<T> {
    /// The intake of the lane with this name: so many requests may wait, each for so long.
    pub(super) fn new(lane: &'static str, capacity: usize, timeout: Duration) -> Self {
        Self {
            queue: Arc::new(Queue::new(capacity)),
            timeout,
            waiting: gauge!("posts_db_requests_waiting", "lane" => lane),
            refused: counter!("posts_db_requests_refused_total", "lane" => lane),
        }
    }

    /// Where the threads find the requests.
    pub(super) fn queue(&self) -> Arc<Queue<T>> {
        Arc::clone(&self.queue)
    }

    /// Puts in the request that is to be answered through a channel. Refuses where as many wait as may.
    pub(super) fn ask<A>(&self, request: impl FnOnce(oneshot::Sender<A>) -> T) -> Result<Asked<T, A>, Error> {
        let (answer, answered) = oneshot::channel();
        let pushed = self.queue.push(request(answer)).map_err(|_refused| {
            self.refused.increment(1);
            Error::Overloaded
        });
        Ok(Asked { answered, wake: pushed? })
    }

    /// Waits for the answer.
    pub(super) async fn answer<A>(&self, Asked { answered, wake }: Asked<T, A>) -> Result<A, Error>
    where
        T: Send + 'static,
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

impl<T> Drop for Intake<T> {
    fn drop(&mut self) {
        self.queue.close();
    }
}

impl<T> std::fmt::Debug for Intake<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Intake").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

/// Counts a request until it is answered, or nobody waits for that any more.
struct Waiting<'a>(&'a Gauge);

impl<'a> Waiting<'a> {
    fn begin(gauge: &'a Gauge) -> Self {
        gauge.increment(1);
        Self(gauge)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.decrement(1);
    }
}
