//! The read lane: batches that form by themselves.
//!
//! What many callers ask at once is asked of the database together. A few threads, each of them one query after the
//! other, take all that waits (up to a bound) and answer it with one query. There is no timer and no window: alone, a
//! request runs at once; under load, a batch is what has piled up while the query before it ran. Equal keys share a row.
//!
//! **No answer is older than its request.** A request joins a query that has not begun, never one that has: it is taken
//! from the queue before the query is sent, and nobody can add to what was taken. So an answer is as fresh as the
//! request's own query would have been; there is nothing to invalidate, on however many servers.

use std::collections::VecDeque;
use std::collections::hash_map::{Entry, HashMap};
use std::hash::Hash;
use std::io;
use std::time::Duration;

use tokio::sync::oneshot;

use super::Error;
use super::intake::{Asked, Batches, Intake, Lane, guarded};
use super::queue::Queued;

/// Answers requests for what is found by a key, many with one query. Dropped, it ends its threads.
pub struct Batcher<K, V> {
    intake: Intake<Request<K, V>>,
}

struct Request<K, V> {
    key: K,
    answer: Answer<V>,
}

/// What a query found.
type Found<K, V> = Result<HashMap<K, V>, Error>;

type Answered<V> = Result<Option<V>, Error>;

type Answer<V> = oneshot::Sender<Answered<V>>;

/// What one query asks for, and who waits for it.
type Batch<K, V> = HashMap<K, Vec<Answer<V>>>;

impl<K, V> Batcher<K, V>
where
    K: Clone + Eq + Hash + Send + 'static,
    V: Clone + Send + 'static,
{
    /// Starts the threads. `query` finds what it can of the keys that it is given, each of them different.
    pub(super) fn start<F>(lane: Lane, timeout: Duration, query: F) -> io::Result<Self>
    where
        F: Fn(&[K]) -> Found<K, V> + Send + Sync + 'static,
    {
        Ok(Self { intake: Intake::start(lane, timeout, move |batches| serve(batches, lane.batch, &query))? })
    }

    /// What the key stands for, at this moment or later; `None` where there is nothing.
    ///
    /// Refuses at once where as many wait as may. Who no longer waits for the future costs nothing: its key is left out.
    pub async fn get(&self, key: K) -> Result<Option<V>, Error> {
        self.intake.answer(self.ask(key)?).await?
    }

    /// Puts the key into the queue.
    fn ask(&self, key: K) -> Result<Asked<Request<K, V>, Answered<V>>, Error> {
        self.intake.ask(|answer| Request { key, answer })
    }
}

impl<K, V> std::fmt::Debug for Batcher<K, V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batcher").field("intake", &self.intake).finish_non_exhaustive()
    }
}

/// What a thread does: one query after the other, until the lane is to end.
fn serve<K, V>(batches: &Batches<Request<K, V>>, batch_max: usize, query: &impl Fn(&[K]) -> Found<K, V>)
where
    K: Clone + Eq + Hash,
    V: Clone,
{
    while let Some(taken) = batches.take(|waiting| pick(waiting, batch_max)) {
        let batch = match taken {
            Taken::All(requests) => group(requests),
            Taken::Some(batch) => batch,
        };
        if batch.is_empty() {
            continue;
        }
        let keys: Vec<K> = batch.keys().cloned().collect();
        batches.count(keys.len());
        answer(batch, guarded(|| query(&keys)));
    }
}

/// What was taken from the queue under its lock.
enum Taken<K, V> {
    All(VecDeque<Queued<Request<K, V>>>),
    Some(Batch<K, V>),
}

/// Takes all that waits where that can be no more than one query asks for. Else the first keys, with everybody who waits
/// for one of them.
fn pick<K: Eq + Hash, V>(waiting: &mut VecDeque<Queued<Request<K, V>>>, batch_max: usize) -> Taken<K, V> {
    if waiting.len() <= batch_max {
        return Taken::All(std::mem::take(waiting));
    }
    let mut batch = Batch::new();
    let mut left = VecDeque::with_capacity(waiting.len());
    for Queued { since, item } in waiting.drain(..) {
        if let Some(item) = join(&mut batch, item, batch_max) {
            left.push_back(Queued { since, item });
        }
    }
    *waiting = left;
    Taken::Some(batch)
}

fn group<K: Eq + Hash, V>(requests: VecDeque<Queued<Request<K, V>>>) -> Batch<K, V> {
    let mut batch = Batch::with_capacity(requests.len());
    for Queued { item, .. } in requests {
        join(&mut batch, item, usize::MAX);
    }
    batch
}

/// Adds a request to a batch, or gives it back where that is full. Who no longer waits is left out.
fn join<K: Eq + Hash, V>(batch: &mut Batch<K, V>, request: Request<K, V>, max: usize) -> Option<Request<K, V>> {
    let Request { key, answer } = request;
    if answer.is_closed() {
        return None;
    }
    let is_full = batch.len() >= max;
    match batch.entry(key) {
        Entry::Occupied(mut same) => same.get_mut().push(answer),
        Entry::Vacant(other) if is_full => return Some(Request { key: other.into_key(), answer }),
        Entry::Vacant(new) => drop(new.insert(vec![answer])),
    }
    None
}

/// Gives everybody what was found. Who has gone meanwhile gets nothing, which is no fault.
fn answer<K: Eq + Hash, V: Clone>(batch: Batch<K, V>, found: Found<K, V>) {
    match found {
        Ok(mut found) => {
            for (key, answers) in batch {
                let value = found.remove(&key);
                for answer in answers {
                    drop(answer.send(Ok(value.clone())));
                }
            }
        }
        Err(error) => {
            for answer in batch.into_values().flatten() {
                drop(answer.send(Err(error.clone())));
            }
        }
    }
}

#[cfg(test)]
mod tests;
