//! Limits on what fails: sign-ins, refreshes, setups. Each server counts for itself, and counts failures alone: who
//! gets it right uses nothing up, for nobody.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix_web::http::header::{self, HeaderName, HeaderValue};
use governor::clock::{Clock, DefaultClock};
use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::state::keyed::ShrinkableKeyedStateStore;
use governor::{NotUntil, Quota, RateLimiter};
use metrics::counter;

use crate::http::problem::{Code, Problem};

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// All limits.
#[derive(Debug)]
pub(super) struct Limits {
    /// Wrong passwords for one account from one address.
    account_from_address: Arc<Limit>,
    /// Wrong passwords for one account, from wherever.
    account: Arc<Limit>,
    /// Wrong passwords from one address, for whichever account.
    address: Arc<Limit>,
    refresh: Arc<Limit>,
    setup: Arc<Limit>,
    /// Makes keys: what is limited may be long, and is for nobody to choose so that it meets another's.
    hasher: RandomState,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            account_from_address: Limit::new("login", 5, Duration::from_mins(1)),
            account: Limit::new("login-account", 10, Duration::from_secs(30)),
            address: Limit::new("login-address", 40, Duration::from_secs(5)),
            refresh: Limit::new("refresh", 100, Duration::from_secs(1)),
            setup: Limit::new("setup", 20, Duration::from_secs(30)),
            hasher: RandomState::new(),
        }
    }
}

impl Limits {
    /// An attempt to prove that one is the user with this e-mail, in lower case.
    pub(super) fn sign_in(&self, email_key: &str, address: Option<IpAddr>) -> Attempt {
        let block = block(address);
        Attempt {
            refusing: vec![
                (Arc::clone(&self.account_from_address), self.hasher.hash_one((email_key, block))),
                (Arc::clone(&self.address), self.hasher.hash_one(block)),
            ],
            counting: Some((Arc::clone(&self.account), self.hasher.hash_one(email_key))),
        }
    }

    /// An attempt to use a refresh token.
    pub(super) fn refresh(&self, address: Option<IpAddr>) -> Attempt {
        Attempt { refusing: vec![(Arc::clone(&self.refresh), self.hasher.hash_one(block(address)))], counting: None }
    }

    /// An attempt to use a setup token.
    pub(super) fn set_up(&self, address: Option<IpAddr>) -> Attempt {
        Attempt { refusing: vec![(Arc::clone(&self.setup), self.hasher.hash_one(block(address)))], counting: None }
    }

    /// Forgets what has passed.
    pub(super) fn forget(&self) {
        for limit in [&self.account_from_address, &self.account, &self.address, &self.refresh, &self.setup] {
            limit.counter.retain_recent();
            limit.counter.shrink_to_fit();
        }
    }
}

/// An address as far as it tells clients apart: of IPv6 a client commands a whole /64.
fn block(address: Option<IpAddr>) -> Option<IpAddr> {
    address.map(|address| match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) & (u128::MAX << 64)).into()),
        v4 @ IpAddr::V4(_) => v4,
    })
}

/// Something that may fail only so often.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    /// The limits that refuse it before it is made.
    refusing: Vec<(Arc<Limit>, u64)>,
    /// A limit that refuses it once it has failed.
    counting: Option<(Arc<Limit>, u64)>,
}

impl Attempt {
    /// Refuses what has failed too often.
    pub(super) fn check(&self) -> Result<(), Problem> {
        self.refusing.iter().try_for_each(|(limit, key)| limit.check(*key))
    }

    /// Counts a failure.
    ///
    /// Where one account is guessed at from many addresses, this is a 429. Each guess was looked at, since one of those
    /// addresses may be its owner's, whom nobody must keep out.
    pub(super) fn failed(&self) -> Result<(), Problem> {
        for (limit, key) in &self.refusing {
            // Another may have reached the limit meanwhile; this one was made before.
            let _ = limit.count(*key);
        }
        self.counting.iter().try_for_each(|(limit, key)| limit.count(*key))
    }
}

/// So many at once for each key, and one more in each period.
#[derive(Debug)]
struct Limit {
    name: &'static str,
    counter: RateLimiter<u64, Buckets, DefaultClock>,
    /// The same limit, to look at without counting.
    observer: RateLimiter<u64, Observed, DefaultClock>,
}

impl Limit {
    fn new(name: &'static str, burst: u32, period: Duration) -> Arc<Self> {
        let burst = NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::with_period(period).unwrap_or(Quota::per_second(NonZeroU32::MIN)).allow_burst(burst);
        let buckets = Buckets::default();
        Arc::new(Self {
            name,
            counter: RateLimiter::new(quota, buckets.clone(), DefaultClock::default()),
            observer: RateLimiter::new(quota, Observed(buckets), DefaultClock::default()),
        })
    }

    fn check(&self, key: u64) -> Result<(), Problem> {
        self.observer.check_key(&key).map_err(|until| self.refuse(&until))
    }

    fn count(&self, key: u64) -> Result<(), Problem> {
        self.counter.check_key(&key).map_err(|until| self.refuse(&until))
    }

    /// The 429, with what draft-ietf-httpapi-ratelimit-headers says of the limit.
    fn refuse(&self, until: &NotUntil<<DefaultClock as Clock>::Instant>) -> Problem {
        let (name, quota) = (self.name, until.quota());
        counter!("posts_limits_refused_total", "limit" => name).increment(1);
        let (burst, window) = (quota.burst_size(), quota.burst_size_replenished_in().as_secs());
        let seconds = until.wait_time_from(self.counter.clock().now()).as_secs() + 1;
        let value = |text: String| HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""));
        Problem::new(Code::TooManyRequests, format!("Too many of these have failed. Try again in {seconds} seconds."))
            .with_header(header::RETRY_AFTER, seconds.into())
            .with_header(RATE_LIMIT_POLICY, value(format!("\"{name}\";q={burst};w={window}")))
            .with_header(RATE_LIMIT, value(format!("\"{name}\";r=0;t={seconds}")))
    }
}

/// The limiter's memory: for each key, when its bucket will be full again.
#[derive(Clone, Debug, Default)]
struct Buckets(Arc<Mutex<HashMap<u64, Nanos>>>);

impl Buckets {
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Nanos>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StateStore for Buckets {
    type Key = u64;

    fn measure_and_replace<T, F, E>(&self, key: &u64, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let mut buckets = self.lock();
        let (outcome, full_at) = decide(buckets.get(key).copied())?;
        buckets.insert(*key, full_at);
        Ok(outcome)
    }
}

impl ShrinkableKeyedStateStore<u64> for Buckets {
    fn retain_recent(&self, drop_below: Nanos) {
        self.lock().retain(|_, full_at| full_at.as_u64() > drop_below.as_u64());
    }

    fn shrink_to_fit(&self) {
        self.lock().shrink_to_fit();
    }

    fn len(&self) -> usize {
        self.lock().len()
    }

    fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }
}

/// The same memory, where nothing is replaced.
#[derive(Clone, Debug)]
struct Observed(Buckets);

impl StateStore for Observed {
    type Key = u64;

    fn measure_and_replace<T, F, E>(&self, key: &u64, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        decide(self.0.lock().get(key).copied()).map(|(outcome, _)| outcome)
    }
}
