//! Passwords: which ones will do, and how they are kept.
//!
//! A hash takes 19 MiB and some 30 ms of a core on purpose. So hashing has a lane of its own: two threads of low
//! priority with a bounded queue before them. A flood of sign-ins then waits for itself, and not the readers for it.

use std::fmt;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};
use metrics::gauge;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use zxcvbn::{Score, zxcvbn};

use crate::http::problem::{Code, Problem};

/// The fewest characters of a password.
pub const LENGTH_MIN: usize = 12;
/// The most bytes.
pub const SIZE_MAX: usize = 1024;

/// How many are hashed at once.
const THREADS: usize = 2;
/// How many may wait. The last of them waits some four seconds.
const WAITING_MAX: usize = 256;

/// What OWASP recommends for argon2id: 19 MiB, two passes, one lane. They are kept with each hash.
fn hasher() -> Argon2<'static> {
    Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::DEFAULT)
}

/// What is wrong with a password, by which a client can tell what to ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weakness {
    /// Fewer than [`LENGTH_MIN`] characters.
    TooShort,
    /// More than [`SIZE_MAX`] bytes.
    TooLong,
    /// Easy to guess, by what is known of how people choose them.
    TooWeak,
}

/// Whether a password may be chosen, by a user with this e-mail. Takes some milliseconds.
pub fn judge(password: &str, email: &str) -> Result<(), Weakness> {
    if password.len() > SIZE_MAX {
        return Err(Weakness::TooLong);
    }
    if password.chars().count() < LENGTH_MIN {
        return Err(Weakness::TooShort);
    }
    let mailbox = email.split('@').next().unwrap_or_default();
    if zxcvbn(password, &[email, mailbox, "posts"]).score() < Score::Three {
        return Err(Weakness::TooWeak);
    }
    Ok(())
}

/// The hash of a password, with its parameters (a PHC string).
pub fn hash(password: &SecretString) -> Result<String, Problem> {
    let hash = hasher().hash_password(password.expose_secret().as_bytes());
    hash.map(|hash| hash.to_string()).map_err(|error| Problem::internal(&error))
}

/// Whether this is the password behind the hash. Takes as long where there is no hash, so that how long it takes does
/// not tell whether there is such a user.
pub fn is_right(password: &SecretString, stored: Option<&str>) -> Result<bool, Problem> {
    let password = password.expose_secret().as_bytes();
    let Some(stored) = stored else {
        let hashed = hasher().hash_password_with_salt(password, &[0; 16]);
        return hashed.map(|_| false).map_err(|error| Problem::internal(&error));
    };
    let stored = PasswordHash::new(stored).map_err(|error| Problem::internal(&error))?;
    match hasher().verify_password(password, &stored) {
        Ok(()) => Ok(true),
        Err(argon2::password_hash::Error::PasswordInvalid) => Ok(false),
        Err(error) => Err(Problem::internal(&error)),
    }
}

/// Whether a hash was made in another way than hashes are made now.
#[must_use]
pub fn is_outdated(stored: &str) -> bool {
    let Ok(hash) = PasswordHash::new(stored) else { return true };
    let Ok(parameters) = Params::try_from(&hash) else { return true };
    let cost = |parameters: &Params| (parameters.m_cost(), parameters.t_cost(), parameters.p_cost());
    hash.algorithm != Algorithm::Argon2id.ident()
        || hash.version != Some(Version::V0x13.into())
        || cost(&parameters) != cost(&Params::DEFAULT)
}

type Job = Box<dyn FnOnce() + Send>;

/// The threads that work on passwords. They end when the last handle is dropped.
#[derive(Clone)]
pub struct PasswordLane {
    jobs: Sender<Job>,
    room: Arc<Semaphore>,
}

impl PasswordLane {
    /// Starts the threads.
    pub fn start() -> std::io::Result<Self> {
        let (jobs, queue) = channel();
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..THREADS {
            let queue = Arc::clone(&queue);
            std::thread::Builder::new().name("password".to_owned()).spawn(move || work_off(&queue))?;
        }
        Ok(Self { jobs, room: Arc::new(Semaphore::new(WAITING_MAX)) })
    }

    /// Refuses where there is no room for one more at this moment.
    pub fn admit(&self) -> Result<(), Problem> {
        if self.room.available_permits() > 0 { Ok(()) } else { Err(no_room()) }
    }

    /// A place among those that wait, for who has something else to do first. Fails with a 503 where there is none.
    pub fn place(&self) -> Result<Place, Problem> {
        let room = Arc::clone(&self.room).try_acquire_owned().map_err(|_| no_room())?;
        gauge!("posts_passwords_waiting").increment(1);
        Ok(Place { jobs: self.jobs.clone(), _room: room })
    }

    /// Runs work that takes a core for a while. Fails with a 503 where too much of it waits.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        self.place()?.run(work).await
    }
}

fn no_room() -> Problem {
    Problem::new(Code::Unavailable, "Too many sign in at this moment. Try again.")
}

/// A place among those that wait for the threads.
pub struct Place {
    jobs: Sender<Job>,
    _room: OwnedSemaphorePermit,
}

impl Place {
    /// Runs work when its turn comes, and not where nobody waits for it any more.
    pub async fn run<T: Send + 'static>(
        self,
        work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let (answer, answered) = oneshot::channel();
        let jobs = self.jobs.clone();
        let job: Job = Box::new(move || {
            drop(self);
            if !answer.is_closed() {
                // Who asked may be gone by now.
                let _ = answer.send(work());
            }
        });
        jobs.send(job).map_err(|ended| Problem::internal(&ended))?;
        answered.await.map_err(|panicked| Problem::internal(&panicked))?
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        gauge!("posts_passwords_waiting").decrement(1);
    }
}

fn work_off(queue: &Mutex<Receiver<Job>>) {
    lower_priority();
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        // The panic's hook has logged it; who waits for the answer sees that none comes.
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(job));
    }
}

/// Lets everything else on the machine go first. On Linux this is a thread's own; elsewhere it would be the process's.
fn lower_priority() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(19) {
        tracing::debug!(%error, "the priority of a thread cannot be lowered");
    }
}

impl fmt::Debug for PasswordLane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PasswordLane").finish_non_exhaustive()
    }
}
