//! What goes on besides requests, again and again.

use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use actix_web::web::Data;
use futures_util::FutureExt as _;

use crate::auth::Auth;
use crate::db::{Db, Timestamp};
use crate::http::idempotency;
use crate::posts;

/// Catches up on what was written past the service, and forgets what has passed, again and again.
pub(super) async fn keep_house(auth: Data<Auth>, db: Db, period: Duration) {
    let mut last = Clock::look();
    loop {
        contained(posts::index_missing_posts(&db)).await;
        tokio::time::sleep(period).await;
        let now = Clock::look();
        if now.has_jumped_ahead_since(last) {
            tracing::warn!("the clock has jumped ahead: nothing is forgotten this time");
        } else {
            contained(auth.forget(&db)).await;
            contained(idempotency::forget(&db)).await;
        }
        last = now;
    }
}

/// Does what goes on besides requests. Where it panics it fails alone, and is done again when its time comes; the panic's
/// hook has logged it.
async fn contained(work: impl Future<Output = ()>) {
    drop(AssertUnwindSafe(work).catch_unwind().await);
}

/// A moment by the system's clock, which may be set, and by one that only counts on.
#[derive(Clone, Copy, Debug)]
struct Clock {
    set: Timestamp,
    counted: Instant,
}

impl Clock {
    /// By how much the two may differ: more than what is corrected in passing, less than anything is kept for.
    const TOLERANCE: Duration = Duration::from_mins(30);

    fn look() -> Self {
        Self { set: Timestamp::now(), counted: Instant::now() }
    }

    /// Whether the time of the system is ahead of what has passed: set by mistake it may be set back before long, and what
    /// was forgotten meanwhile would be gone.
    fn has_jumped_ahead_since(self, last: Self) -> bool {
        self.set > last.set + self.counted.saturating_duration_since(last.counted) + Self::TOLERANCE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_that_panics_leaves_the_rest_alone() {
        contained(async { panic!("the panic of this test") }).await;
        let mut is_done = false;
        contained(async { is_done = true }).await;
        assert!(is_done);
    }

    #[test]
    fn a_clock_that_is_set_ahead_is_told_from_time_that_passes() {
        let last = Clock::look();
        let hour = Duration::from_hours(1);
        let later = |set: Timestamp, counted: Duration| Clock { set, counted: last.counted + counted };
        assert!(!later(last.set, Duration::ZERO).has_jumped_ahead_since(last));
        assert!(!later(last.set + hour, hour).has_jumped_ahead_since(last));
        assert!(!later(last.set - hour, Duration::ZERO).has_jumped_ahead_since(last));
        assert!(later(last.set + hour, Duration::ZERO).has_jumped_ahead_since(last));
        assert!(later(last.set + 100 * hour, hour).has_jumped_ahead_since(last));
    }
}
