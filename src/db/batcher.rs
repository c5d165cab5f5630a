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
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::Error;
use super::intake::{Asked, Batches, Intake, Lane, guarded};
use super::queue::Queued;

/// Answers requests for what is found by a key, many with one query. Dropped, it ends its threads.
pub struct Batcher<K: Clone + Eq + Hash, V> {
    intake: Intake<ByKey<K, V>>,
}

/// What a query found.
type Found<K, V> = Result<HashMap<K, V>, Error>;

type Answered<V> = Result<Option<V>, Error>;

type Answer<V> = oneshot::Sender<Answered<V>>;

/// What one query asks for, and who waits for it.
type Batch<K, V> = Vec<(K, Vec<Answer<V>>)>;

/// The keys that are waited for, each once and in the order in which they were first asked for, and who waits for them.
struct ByKey<K, V> {
    keys: VecDeque<(Instant, K)>,
    askers: HashMap<K, Vec<Answer<V>>>,
    len: usize,
}

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

    /// Refuses where there is no room for one more at this moment.
    pub fn admit(&self) -> Result<(), Error> {
        self.intake.admit()
    }

    /// What the key stands for, at this moment or later; `None` where there is nothing.
    ///
    /// Refuses at once where as many wait as may. Who no longer waits for the future costs nothing: its key is left out.
    pub async fn get(&self, key: K) -> Result<Option<V>, Error> {
        self.intake.answer(self.ask(key)?).await?
    }

    /// Puts the key into the queue.
    fn ask(&self, key: K) -> Result<Asked<ByKey<K, V>, Answered<V>>, Error> {
        self.intake.ask(|answer| (key, answer))
    }
}

impl<K: Clone + Eq + Hash, V> std::fmt::Debug for Batcher<K, V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batcher").field("intake", &self.intake).finish_non_exhaustive()
    }
}

impl<K: Clone + Eq + Hash, V> ByKey<K, V> {
    /// The first keys, no more than so many, with everybody who waits for one of them.
    fn take(&mut self, max: usize) -> Batch<K, V> {
        let Self { keys, askers, len } = self;
        let first = keys.drain(..max.min(keys.len()));
        let batch: Batch<K, V> = first.filter_map(|(_, key)| askers.remove_entry(&key)).collect();
        *len -= batch.iter().map(|(_, answers)| answers.len()).sum::<usize>();
        batch
    }
}

impl<K, V> Default for ByKey<K, V> {
    fn default() -> Self {
        Self { keys: VecDeque::new(), askers: HashMap::new(), len: 0 }
    }
}

impl<K: Clone + Eq + Hash, V> Queued for ByKey<K, V> {
    type Item = (K, Answer<V>);

    fn add(&mut self, (key, answer): Self::Item, since: Instant) {
        match self.askers.entry(key) {
            Entry::Occupied(mut same) => same.get_mut().push(answer),
            Entry::Vacant(other) => {
                self.keys.push_back((since, other.key().clone()));
                other.insert(vec![answer]);
            }
        }
        self.len += 1;
    }

    fn len(&self) -> usize {
        self.len
    }

    fn first(&self) -> Option<Instant> {
        self.keys.front().map(|&(since, _)| since)
    }
}

/// What a thread does: one query after the other, until the lane is to end.
fn serve<K, V>(batches: &Batches<ByKey<K, V>>, batch_max: usize, query: &impl Fn(&[K]) -> Found<K, V>)
where
    K: Clone + Eq + Hash,
    V: Clone,
{
    while let Some(mut batch) = batches.take(|waiting| waiting.take(batch_max)) {
        // Who no longer waits is left out.
        batch.retain_mut(|(_, answers)| {
            answers.retain(|answer| !answer.is_closed());
            !answers.is_empty()
        });
        if batch.is_empty() {
            continue;
        }
        let keys: Vec<K> = batch.iter().map(|(key, _)| key.clone()).collect();
        batches.count(keys.len());
        answer(batch, guarded(|| query(&keys)));
    }
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
            for answer in batch.into_iter().flat_map(|(_, answers)| answers) {
                drop(answer.send(Err(error.clone())));
            }
        }
    }
}

#[cfg(test)]
mod tests;
