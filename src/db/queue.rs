//! What waits for the threads of a lane: first come, first served, and no more than may wait, nor for longer than is
//! reasonable.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Where the first in a queue has waited for so long, nobody else is let in: who came now would wait as long at least, and
/// is better told at once, while it can still try elsewhere. A queue that is long and moves is none of that.
const PATIENCE: Duration = Duration::from_secs(5);

/// Whether one more may wait at this moment, where so many do and the first has done so since then.
pub(super) fn has_room(waiting: usize, max: usize, first: Option<Instant>, now: Instant) -> bool {
    waiting < max && first.is_none_or(|since| now.saturating_duration_since(since) < PATIENCE)
}

/// A bounded queue between tasks, which put something in and never block, and threads, which wait for it.
pub(super) struct Queue<Q> {
    state: Mutex<State<Q>>,
    arrival: Condvar,
    capacity: usize,
}

/// What waits, the first first. Each of these is done under the queue's lock, and so takes no longer where more waits.
pub(super) trait Queued: Default {
    /// What is put in.
    type Item;

    /// Adds what came at this moment.
    fn add(&mut self, item: Self::Item, since: Instant);

    /// How much was put in that still waits.
    fn len(&self) -> usize;

    /// Since when the first has waited, if anything waits.
    fn first(&self) -> Option<Instant>;
}

/// What waits, each for itself.
pub(super) struct InOrder<T>(VecDeque<(Instant, T)>);

struct State<Q> {
    waiting: Q,
    /// How many threads have nothing to do. Only these are woken, since to wake nobody is a system call, too.
    idle: usize,
    /// Whether somebody who put something in is about to wake a thread.
    wake_is_due: bool,
    is_closed: bool,
}

/// Wakes a thread when dropped, if there is still something for it to do.
#[must_use = "dropped, it wakes a thread; to let more come together first, drop it later"]
pub(super) struct Wake<Q: Queued>(Arc<Queue<Q>>);

impl<Q: Queued> Drop for Wake<Q> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.wake_is_due = false;
        let is_wanted = state.waiting.first().is_some() && state.idle > 0;
        drop(state);
        if is_wanted {
            self.0.arrival.notify_one();
        }
    }
}

impl<Q: Queued> Queue<Q> {
    pub(super) fn new(capacity: usize) -> Self {
        let state = State { waiting: Q::default(), idle: 0, wake_is_due: false, is_closed: false };
        Self { state: Mutex::new(state), arrival: Condvar::new(), capacity }
    }

    /// Puts something in. Gives it back where as much waits as may, or the first has waited for too long. Where all
    /// threads are at rest, and nobody is about to wake one, that is left to the caller.
    pub(super) fn push(self: &Arc<Self>, item: Q::Item) -> Result<Option<Wake<Q>>, Q::Item> {
        let mut state = self.lock();
        let since = Instant::now();
        if !state.has_room(self.capacity, since) {
            return Err(item);
        }
        state.waiting.add(item, since);
        let wake = state.idle > 0 && !state.wake_is_due;
        state.wake_is_due |= wake;
        drop(state);
        Ok(wake.then(|| Wake(Arc::clone(self))))
    }

    /// Waits until there is something, and picks of it. `None` when the queue is closed.
    pub(super) fn take<B>(&self, pick: impl FnOnce(&mut Q) -> B) -> Option<B> {
        let mut state = self.lock();
        while state.waiting.first().is_none() {
            if state.is_closed {
                return None;
            }
            state.idle += 1;
            state = self.arrival.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        }
        let picked = pick(&mut state.waiting);
        // One arrival wakes one thread, which may have left something for another.
        let is_more_than_one_job = state.waiting.first().is_some() && state.idle > 0;
        drop(state);
        if is_more_than_one_job {
            self.arrival.notify_one();
        }
        Some(picked)
    }

    /// Whether there is room for one more at this moment.
    pub(super) fn has_room(&self) -> bool {
        self.lock().has_room(self.capacity, Instant::now())
    }

    /// Lets the threads finish what waits, and then go.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.arrival.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State<Q>> {
        // Nothing that panics runs under the lock but a caller's comparison of keys, which leaves the queue whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Queue<InOrder<T>> {
    /// The first that waits, if anything does.
    pub(super) fn pop(&self) -> Option<T> {
        self.lock().waiting.pop()
    }
}

impl<Q: Queued> State<Q> {
    fn has_room(&self, capacity: usize, now: Instant) -> bool {
        has_room(self.waiting.len(), capacity, self.waiting.first(), now)
    }
}

impl<T> InOrder<T> {
    /// The first, if anything waits.
    pub(super) fn pop(&mut self) -> Option<T> {
        self.0.pop_front().map(|(_, item)| item)
    }
}

impl<T> Default for InOrder<T> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<T> Queued for InOrder<T> {
    type Item = T;

    fn add(&mut self, item: T, since: Instant) {
        self.0.push_back((since, item));
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn first(&self) -> Option<Instant> {
        self.0.front().map(|&(since, _)| since)
    }
}
