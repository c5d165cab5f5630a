//! What is broken under PostgreSQL, and what may not get lost: `docs/reliability.md`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection as _;
use futures_util::future::{join_all, join3};
use rstest::rstest;
use serde_json::json;

use crate::connections::{ReadOnly, terminate};
use crate::harness::{
    Answer, Api, Cut, History, Postgres, Proxy, Report, Request, Standby, TestDatabase, Token, Traffic, eventually,
    faults, say,
};

const WRITERS: usize = 12;
const READERS: usize = 6;

/// The deadline of requests, where a test waits for it.
const TIMEOUT: Duration = Duration::from_secs(2);

/// What is read while something is broken. The last two need no post.
const READS: [&str; 5] = ["/posts?limit=5", "/posts?q=counter&limit=5", "/posts/1", "/auth/me", "/health/live"];

/// What came of a fault.
#[derive(Default)]
struct Outcome {
    report: Report,
    reads: Reads,
    recoveries: Vec<Duration>,
}

/// Answers to reads, by path and status, and how long the last of all took.
#[derive(Default)]
struct Reads {
    statuses: BTreeMap<(&'static str, u16), usize>,
    longest: Duration,
}

/// Writes and reads while `fault` goes on, which says how long each recovery took, and then looks at what is there.
async fn press(api: &Api, fault: impl Future<Output = Vec<Duration>>) -> Outcome {
    let call = |method: &str, path: &str| request(api, method, path);
    let history = History::begin(&call).await;
    let over = AtomicBool::new(false);
    let reads = Mutex::default();
    let fault = async {
        let recoveries = fault.await;
        over.store(true, Ordering::Relaxed);
        recoveries
    };
    let readers = join_all((0..READERS).map(|_| read(api, &over, &reads)));
    let ((), _, recoveries) = join3(history.write(WRITERS, &call, &over), readers, fault).await;
    let report = history.check(&call).await;
    Outcome { report, reads: reads.into_inner().unwrap(), recoveries }
}

/// A request of a user's who may write, with a token that outlasts the run.
fn request(api: &Api, method: &str, path: &str) -> Request {
    api.request(method, path).bearing(&Token::of(api.root.id).sign())
}

async fn read(api: &Api, over: &AtomicBool, reads: &Mutex<Reads>) {
    for path in READS.iter().copied().cycle() {
        if over.load(Ordering::Relaxed) {
            return;
        }
        let begun = Instant::now();
        let answer = request(api, "GET", path).await;
        assert!(answer.status != 503 || is_to_come_back(&answer), "{path}: {answer:?}");
        {
            let mut reads = reads.lock().unwrap();
            *reads.statuses.entry((path, answer.status)).or_default() += 1;
            reads.longest = reads.longest.max(begun.elapsed());
        }
        // Who is refused at once must not keep the machine from the fault's end.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn is_to_come_back(answer: &Answer) -> bool {
    !answer.header("retry-after").is_empty() && answer.text().contains("/problems/unavailable")
}

/// How long it takes from now until a write is acknowledged.
async fn recovery(api: &Api) -> Duration {
    let begun = Instant::now();
    let write = || async { request(api, "POST", "/posts").json(&json!({"title": "Again"})).await.status == 201 };
    eventually("it writes again", write).await;
    begun.elapsed()
}

async fn wait(milliseconds: impl std::ops::RangeBounds<u64>) {
    tokio::time::sleep(Duration::from_millis(fastrand::u64(milliseconds))).await;
}

/// Does what blocks, such as a statement past the service, while writers and readers go on.
async fn beside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

/// Starts a service whose posts are there to be read.
async fn start(database: TestDatabase, timeout: Duration) -> Api {
    let api = Api::start(database, |config| {
        config.database.pool_size = 16;
        config.database.timeout = timeout;
    });
    eventually("it is ready", || async { api.get("/health/ready").await.status == 200 }).await;
    api.create(json!({"title": "A counter", "published": true})).await;
    api
}

const PATIENT: Duration = Duration::from_secs(30);

impl Outcome {
    fn add(&mut self, other: Self) {
        self.report.add(other.report);
        self.recoveries.extend(other.recoveries);
        for (read, count) in other.reads.statuses {
            *self.reads.statuses.entry(read).or_default() += count;
        }
        self.reads.longest = self.reads.longest.max(other.reads.longest);
    }

    /// Says the figures and looks at them.
    #[track_caller]
    fn assert_sound(&self, fault: &str) {
        let Self { report, reads, recoveries } = self;
        let mut sorted = recoveries.clone();
        sorted.sort_unstable();
        let times = match &sorted[..] {
            [] => String::new(),
            [.., longest] => {
                let middle = sorted[sorted.len() / 2].as_millis();
                format!("; writes again after {middle} ms, at most {} ms", longest.as_millis())
            }
        };
        let Reads { statuses, longest } = reads;
        say(&format!("PostgreSQL, {fault}: {report}{times}; reads {statuses:?}, at most {} ms", longest.as_millis()));
        report.assert_sound();
        report.assert_only(&[200, 201, 204, 412, 503]);
        assert!(report.acknowledged > 0, "{report}");
        assert!(statuses.keys().all(|(_, status)| [200, 503].contains(status)), "{statuses:?}");
        self.assert_served("/health/live");
    }

    /// Looks that no read of this was refused.
    #[track_caller]
    fn assert_served(&self, path: &'static str) {
        let statuses = &self.reads.statuses;
        assert!(!statuses.contains_key(&(path, 503)), "{statuses:?}");
        assert!(statuses.contains_key(&(path, 200)), "{statuses:?}");
    }
}

/// How connections end while requests are under way.
#[derive(Clone, Copy, Debug)]
enum End {
    Terminated,
    Cut(Cut),
}

#[rstest]
#[tokio::test]
async fn connections_that_end_under_way_fail_no_read_and_lose_no_acknowledged_write(
    #[values(End::Terminated, End::Cut(Cut::Closed), End::Cut(Cut::Reset), End::Cut(Cut::Unnoticed))] end: End,
) {
    let Some(database) = TestDatabase::create(Postgres) else { return };
    let proxy = Proxy::to(&database);
    let api = start(database.behind(&proxy), PATIENT).await;
    let times = faults(3, 100);
    let outcome = press(&api, async {
        let mut recoveries = Vec::new();
        for _ in 0..times {
            // Longer than it takes to connect anew: a read is tried twice, not more.
            wait(600..800).await;
            match end {
                End::Terminated => {
                    let database = api.database.shared();
                    beside(move || terminate(&database)).await;
                }
                End::Cut(how) => proxy.cut(how),
            }
            recoveries.push(recovery(&api).await);
        }
        recoveries
    });
    let outcome = outcome.await;
    outcome.assert_sound(&format!("connections {end:?} {times} times"));
    for path in READS {
        outcome.assert_served(path);
    }
}

#[tokio::test]
async fn what_was_acknowledged_survives_the_restart_of_postgresql() {
    let Some(database) = TestDatabase::create_on_a_durable_server_of_its_own() else { return };
    let api = start(database, PATIENT).await;
    let times = faults(3, 50);
    let outcome = press(&api, async {
        let mut recoveries = Vec::new();
        for number in 0..times {
            wait(0..600).await;
            // At once, as in a crash, and in peace, but with what is under way undone.
            let signal = ["QUIT", "INT"][number % 2];
            let database = api.database.shared();
            beside(move || database.cluster().restart(signal)).await;
            recoveries.push(recovery(&api).await);
        }
        recoveries
    });
    outcome.await.assert_sound(&format!("restarted {times} times"));
}

#[tokio::test]
async fn a_network_that_swallows_all_is_answered_in_time() {
    let Some(database) = TestDatabase::create(Postgres) else { return };
    let proxy = Proxy::to(&database);
    let api = start(database.behind(&proxy), TIMEOUT).await;
    let times = faults(2, 20);
    let outcome = press(&api, async {
        let mut recoveries = Vec::new();
        for number in 0..times {
            wait(0..500).await;
            proxy.set(Traffic::Swallowed);
            tokio::time::sleep(2 * TIMEOUT).await;
            // What was sent meanwhile arrives late, or never.
            if number % 2 == 1 {
                proxy.cut(Cut::Reset);
            }
            proxy.set(Traffic::Passes);
            recoveries.push(recovery(&api).await);
        }
        recoveries
    });
    let outcome = outcome.await;
    outcome.assert_sound(&format!("black-holed {times} times"));
    // Who asks is looked up first, and what is asked for then: each in its own time.
    assert!(outcome.reads.longest < 3 * TIMEOUT, "{:?}", outcome.reads.longest);
}

#[tokio::test]
async fn a_table_that_is_locked_holds_up_nothing_that_does_not_need_it() {
    let Some(database) = TestDatabase::create(Postgres) else { return };
    let api = start(database, TIMEOUT).await;
    let times = faults(2, 20);
    let outcome = press(&api, async {
        let mut recoveries = Vec::new();
        for _ in 0..times {
            wait(0..500).await;
            let database = api.database.shared();
            let mut holder = beside(move || {
                let mut holder = database.connect();
                holder.batch_execute("BEGIN; LOCK TABLE posts IN ACCESS EXCLUSIVE MODE").unwrap();
                holder
            })
            .await;
            for (method, path) in [("GET", "/posts/1"), ("POST", "/posts")] {
                let request = request(&api, method, path);
                let refused =
                    if method == "POST" { request.json(&json!({"title": "Refused"})).await } else { request.await };
                assert!(refused.status == 503 && is_to_come_back(&refused), "{refused:?}");
            }
            holder.batch_execute("COMMIT").unwrap();
            recoveries.push(recovery(&api).await);
        }
        recoveries
    });
    let outcome = outcome.await;
    outcome.assert_sound(&format!("posts locked {times} times"));
    outcome.assert_served("/auth/me");
    assert!(outcome.reads.longest < 3 * TIMEOUT, "{:?}", outcome.reads.longest);
}

#[tokio::test]
async fn a_slow_network_makes_nothing_fail() {
    let Some(database) = TestDatabase::create(Postgres) else { return };
    let proxy = Proxy::to(&database);
    let api = start(database.behind(&proxy), PATIENT).await;
    let times = faults(1, 5);
    let outcome = press(&api, async {
        // Each way.
        for delay in [25, 50, 100].into_iter().cycle().take(3 * times) {
            proxy.set(Traffic::Delayed(Duration::from_millis(delay)));
            wait(2000..3000).await;
        }
        proxy.set(Traffic::Passes);
        vec![recovery(&api).await]
    });
    let outcome = outcome.await;
    outcome.assert_sound(&format!("50, 100 and 200 ms away, {times} times"));
    for path in READS {
        outcome.assert_served(path);
    }
    outcome.report.assert_only(&[200, 201, 204, 412]);
    assert_eq!(outcome.report.unknown, 0, "{}", outcome.report);
}

#[tokio::test]
async fn a_server_that_turns_read_only_refuses_writes_and_is_read_on() {
    let Some(database) = TestDatabase::create_on_a_server_of_its_own() else { return };
    let api = start(database, PATIENT).await;
    let times = faults(3, 50);
    let outcome = press(&api, async {
        let mut recoveries = Vec::new();
        for _ in 0..times {
            wait(0..500).await;
            let database = api.database.shared();
            beside(move || ReadOnly::AtOnce.set(&database, "on")).await;
            ReadOnly::AtOnce.wait_until_it_is(&api.database, "on").await;
            wait(200..500).await;
            let refused = request(&api, "POST", "/posts").json(&json!({"title": "Refused"})).await;
            assert!(refused.status == 503 && is_to_come_back(&refused), "{refused:?}");
            let database = api.database.shared();
            beside(move || ReadOnly::AtOnce.set(&database, "off")).await;
            recoveries.push(recovery(&api).await);
        }
        recoveries
    });
    let outcome = outcome.await;
    outcome.assert_sound(&format!("read-only {times} times"));
    for path in READS {
        outcome.assert_served(path);
    }
}

#[tokio::test]
async fn what_was_acknowledged_is_on_the_standby_that_takes_over() {
    let times = faults(2, 20);
    let mut total = Outcome::default();
    for number in 0..times {
        let Some(primary) = TestDatabase::create_on_a_durable_server_of_its_own() else { return };
        let standby = Arc::new(primary.start_standby());
        primary.require_a_standby();
        let api = start(primary.or_on(&standby), PATIENT).await;
        let outcome = press(&api, async {
            wait(200..1000).await;
            primary.cluster().signal(["KILL", "QUIT"][number % 2]);
            wait(0..300).await;
            let standby = Arc::clone(&standby);
            beside(move || standby.promote()).await;
            vec![recovery(&api).await]
        });
        total.add(outcome.await);
    }
    total.assert_sound(&format!("primary killed and standby promoted {times} times"));
}

/// A commit that waits for a standby is on the primary's disk already. To cancel its wait would have PostgreSQL report it as
/// done, although the standby does not have it.
#[tokio::test]
async fn a_commit_that_no_standby_confirms_is_never_acknowledged() {
    let Some(database) = TestDatabase::create_on_a_durable_server_of_its_own() else { return };
    let standby = Arc::new(database.start_standby());
    database.require_a_standby();
    let api = start(database, TIMEOUT).await;
    let times = faults(2, 20);
    let outcome = press(&api, async {
        let mut recoveries = Vec::new();
        for number in 0..times {
            wait(0..500).await;
            let stopped = Arc::clone(&standby);
            beside(move || stopped.cluster().stop("INT")).await;
            let key = format!("without-a-standby-{number}");
            let write = || {
                let post = request(&api, "POST", "/posts").json(&json!({"title": &key, "author": "unconfirmed"}));
                post.header("Idempotency-Key", &key)
            };
            let begun = Instant::now();
            while begun.elapsed() < 2 * TIMEOUT {
                let unknown = write().await;
                assert_eq!(unknown.status, 503, "{unknown:?}");
                assert!(is_to_come_back(&unknown), "{unknown:?}");
            }
            standby.cluster().start_again();
            recoveries.push(recovery(&api).await);
            eventually("what was unknown is known", || async { write().await.status == 201 }).await;
        }
        recoveries
    });
    let outcome = outcome.await;
    outcome.assert_sound(&format!("without a standby {times} times"));
    for path in ["/posts?limit=5", "/posts?q=counter&limit=5", "/posts/1", "/auth/me"] {
        outcome.assert_served(path);
    }
    assert!(outcome.report.unknown > 0, "{}", outcome.report);
    assert_eq!(api.database.count("posts", "author = 'unconfirmed'"), times);
    // A statement may have been, while it waited for another's row: that comes before its commit.
    let log = api.database.cluster().log();
    for cancelled in ["canceling wait for synchronous", "canceling the wait for synchronous"] {
        assert!(!log.contains(cancelled), "{log}");
    }
}

#[tokio::test]
async fn who_wrote_reads_it_whatever_becomes_of_the_standby() {
    let Some(database) = TestDatabase::create_on_a_server_of_its_own() else { return };
    let standby = Arc::new(database.start_standby());
    let url = standby.url();
    let api = Api::start(database, |config| {
        config.database.pool_size = 16;
        config.database.replicas = vec![url];
    });
    api.create(json!({"title": "A counter", "published": true})).await;
    // The readers do not say what they must see.
    eventually("the standby has it", || async { api.get("/posts/1").await.status == 200 }).await;
    let times = faults(2, 30);
    let with_it = |work: fn(&Standby)| {
        let standby = Arc::clone(&standby);
        beside(move || work(&standby))
    };
    let outcome = press(&api, async {
        for _ in 0..times {
            wait(0..500).await;
            with_it(Standby::hold).await;
            wait(500..1500).await;
            with_it(Standby::resume).await;
            wait(0..500).await;
            with_it(|standby| standby.cluster().stop("QUIT")).await;
            wait(0..1500).await;
            standby.cluster().start_again();
            with_it(|standby| drop(standby.connect())).await;
            // As long as one that has failed is left alone, and a little more.
            wait(5000..6000).await;
        }
        Vec::new()
    });
    let outcome = outcome.await;
    outcome.assert_sound(&format!("a standby held up and ended {times} times"));
    for path in READS {
        outcome.assert_served(path);
    }
    outcome.report.assert_only(&[200, 201, 204, 412]);
}
