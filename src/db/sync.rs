//! What the queue and the lanes are synchronised by: the standard library's; in this crate's own tests the model checker's, which
//! tries the orders in which threads may come to run.

#[cfg(not(test))]
pub(super) use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

#[cfg(test)]
pub(super) use shuttle::sync::{Arc, Condvar, Mutex, MutexGuard};
#[cfg(test)]
pub(super) use std::sync::PoisonError;

#[cfg(test)]
use shuttle::thread;
#[cfg(not(test))]
use std::thread;

/// Starts a thread of a lane. It ends when its work does; nobody waits for that.
pub(super) fn spawn(lane: &str, work: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    thread::Builder::new().name(lane.to_owned()).spawn(work).map(drop)
}
