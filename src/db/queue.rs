//! What waits for the threads of a lane: first come, first served, and no more than may wait.

use std::collections::VecDeque;

use super::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// A bounded queue between tasks, which put something in and never block, and threads, which wait for it.
pub(super) struct Queue<T> {
    state: Mutex<State<T>>,
    arrival: Condvar,
    capacity: usize,
}

struct State<T> {
    waiting: VecDeque<T>,
    /// How many threads have nothing to do. Only these are woken, since to wake nobody is a system call, too.
    idle: usize,
    /// Whether somebody who put something in is about to wake a thread.
    wake_is_due: bool,
    is_closed: bool,
}

/// Wakes a thread when dropped, if there is still something for it to do.
#[must_use = "dropped, it wakes a thread; to let more come together first, drop it later"]
pub(super) struct Wake<T>(Arc<Queue<T>>);

impl<T> Drop for Wake<T> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.wake_is_due = false;
        let is_wanted = !state.waiting.is_empty() && state.idle > 0;
        drop(state);
        if is_wanted {
            self.0.arrival.notify_one();
        }
    }
}

impl<T> Queue<T> {
    pub(super) fn new(capacity: usize) -> Self {
        let state = State { waiting: VecDeque::new(), idle: 0, wake_is_due: false, is_closed: false };
        Self { state: Mutex::new(state), arrival: Condvar::new(), capacity }
    }

    /// Puts something at the end. Gives it back where as much waits as may. Where all threads are at rest, and nobody is
    /// about to wake one, that is left to the caller.
    pub(super) fn push(self: &Arc<Self>, item: T) -> Result<Option<Wake<T>>, T> {
        let mut state = self.lock();
        if state.waiting.len() >= self.capacity {
            return Err(item);
        }
        state.waiting.push_back(item);
        let wake = state.idle > 0 && !state.wake_is_due;
        state.wake_is_due |= wake;
        drop(state);
        Ok(wake.then(|| Wake(Arc::clone(self))))
    }

    /// Waits until there is something, and picks of it. `None` when the queue is closed.
    pub(super) fn take<B>(&self, pick: impl FnOnce(&mut VecDeque<T>) -> B) -> Option<B> {
        let mut state = self.lock();
        while state.waiting.is_empty() {
            if state.is_closed {
                return None;
            }
            state.idle += 1;
            state = self.arrival.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        }
        let picked = pick(&mut state.waiting);
        // One arrival wakes one thread, which may have left something for another.
        let is_more_than_one_job = !state.waiting.is_empty() && state.idle > 0;
        drop(state);
        if is_more_than_one_job {
            self.arrival.notify_one();
        }
        Some(picked)
    }

    /// The first that waits, if any does.
    pub(super) fn pop(&self) -> Option<T> {
        self.lock().waiting.pop_front()
    }

    /// Lets the threads finish what waits, and then go.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.arrival.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // Nothing that panics runs under the lock but a caller's comparison of keys, which leaves the queue whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
