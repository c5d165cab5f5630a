//! What waits for the threads of a lane: first come, first served, and no more than may wait.

use std::collections::VecDeque;

use super::sync::{Condvar, Mutex, MutexGuard, PoisonError};

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
    is_closed: bool,
}

impl<T> Queue<T> {
    pub(super) fn new(capacity: usize) -> Self {
        let state = State { waiting: VecDeque::new(), idle: 0, is_closed: false };
        Self { state: Mutex::new(state), arrival: Condvar::new(), capacity }
    }

    /// Puts something at the end. Gives it back where as much waits as may.
    pub(super) fn push(&self, item: T) -> Result<(), T> {
        let mut state = self.lock();
        if state.waiting.len() >= self.capacity {
            return Err(item);
        }
        state.waiting.push_back(item);
        let somebody_is_idle = state.idle > 0;
        drop(state);
        if somebody_is_idle {
            self.arrival.notify_one();
        }
        Ok(())
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

    /// Lets the threads finish what waits, and then go.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.arrival.notify_all();
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.lock().waiting.len()
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // Nothing that panics runs under the lock but a caller's comparison of keys, which leaves the queue whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
