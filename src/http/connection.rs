//! Connections of which nothing comes: who is silent for too long, or takes nothing of an answer, is let go, and who has
//! sent the last request is heard no further.
//!
//! The framework waits only so long for the first head of a connection, and without end for one that has begun after
//! another's answer; and it waits without end for a client that does not read. This holds a second handle on each
//! connection's socket, and closes by that what it has waited for long enough.

use std::any::Any;
use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use actix_web::HttpRequest;
use actix_web::dev::Extensions;
use actix_web::rt::net::TcpStream;
use socket2::{SockRef, Socket};

/// How often the connections are looked at: a sixteenth of how long they may be silent, and at most so long.
const LOOK_PERIOD_MAX: Duration = Duration::from_secs(5);

/// In the place of a time: a request is at work.
const AT_WORK: u64 = u64::MAX;

/// All connections of a server, as long as they last.
#[derive(Clone, Debug)]
pub struct Connections {
    known: Arc<Mutex<Vec<Weak<Connection>>>>,
    begun: Instant,
    /// How long a connection may be without a request at work.
    silence_max: Duration,
    /// How long a client may take nothing of what waits to be sent.
    stall_max: Duration,
}

/// What is known of a connection.
#[derive(Debug)]
pub(super) struct Connection {
    socket: Socket,
    begun: Instant,
    /// Since when no request is at work, in milliseconds from the begin, or [`AT_WORK`].
    silent_since: AtomicU64,
    /// Whether the last request has come.
    is_over: AtomicBool,
}

impl Connections {
    /// None yet.
    #[must_use]
    pub fn new(silence_max: Duration, stall_max: Duration) -> Self {
        Self { known: Arc::default(), begun: Instant::now(), silence_max, stall_max }
    }

    /// Takes in a connection that has just been made.
    pub fn admit(&self, io: &dyn Any, data: &mut Extensions) {
        let Some(stream) = io.downcast_ref::<TcpStream>() else { return };
        let socket = SockRef::from(stream);
        // The kernel's own word for it: so long unacknowledged, or with no room at the other side.
        #[cfg(target_os = "linux")]
        if let Err(error) = socket.set_tcp_user_timeout(Some(self.stall_max)) {
            tracing::debug!(%error, "a client that takes no answer will be waited for");
        }
        let Ok(handle) = socket.try_clone() else {
            // No more files: one that nobody watches could take its place for ever.
            let _ = socket.shutdown(Shutdown::Both);
            return;
        };
        let connection = Arc::new(Connection {
            socket: handle,
            begun: self.begun,
            silent_since: AtomicU64::new(milliseconds(self.begun.elapsed())),
            is_over: AtomicBool::new(false),
        });
        self.known().push(Arc::downgrade(&connection));
        data.insert(connection);
    }

    /// Lets go of those that are silent for too long, again and again.
    pub async fn keep(self) {
        loop {
            tokio::time::sleep((self.silence_max / 16).min(LOOK_PERIOD_MAX)).await;
            let latest = milliseconds(self.begun.elapsed().saturating_sub(self.silence_max));
            self.known().retain(|connection| {
                let Some(connection) = connection.upgrade() else { return false };
                if connection.silent_since.load(Ordering::Relaxed) < latest {
                    connection.hear_no_further();
                }
                true
            });
        }
    }

    fn known(&self) -> MutexGuard<'_, Vec<Weak<Connection>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection {
    /// The one that a request came by.
    pub(super) fn of(request: &HttpRequest) -> Option<Arc<Self>> {
        request.conn_data::<Arc<Self>>().cloned()
    }

    /// Notes that a request is at work.
    pub(super) fn begin(&self) {
        self.silent_since.store(AT_WORK, Ordering::Relaxed);
    }

    /// Notes that its answer is there. To send it may take a while yet, which is no silence that would be cut short: what
    /// is under way goes out in any case.
    pub(super) fn end(&self) {
        self.silent_since.store(milliseconds(self.begun.elapsed()), Ordering::Relaxed);
    }

    /// Notes that no request may come after this one, and says whether that was so before.
    pub(super) fn is_over_after(&self, is_last: bool) -> bool {
        self.is_over.fetch_or(is_last, Ordering::Relaxed)
    }

    /// To the server the client has said all; what is left to send is sent, and then the connection is closed.
    fn hear_no_further(&self) {
        // That the client has closed it already is no fault.
        let _ = self.socket.shutdown(Shutdown::Read);
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(AT_WORK - 1)
}
