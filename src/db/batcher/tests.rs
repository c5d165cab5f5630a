//! The lane in the orders in which its threads and those who ask may come to run: thousands of each scenario, picked by a
//! model checker. That one fails, too, where everybody waits for somebody: a wake-up that is lost is seen.

use std::panic::resume_unwind;

use rstest::rstest;
use shuttle::future::block_on;
use shuttle::sync::atomic::{AtomicU64, Ordering};
use shuttle::sync::{Condvar, Mutex, MutexGuard, mpsc};
use shuttle::thread;

use super::super::sync::Arc;
use super::*;

/// How many orders are tried by each way of picking them.
const ORDERS: usize = 500;

/// Enough that no queue is full, no batch either.
const MANY: usize = 128;

type Answered<V> = oneshot::Receiver<Result<Option<V>, Error>>;

/// Tries a scenario in orders of any kind, and in those where somebody is held up for long, which are rare among them.
fn in_many_orders(scenario: impl Fn() + Clone + Send + Sync + 'static) {
    shuttle::check_random(scenario.clone(), ORDERS);
    shuttle::check_pct(scenario, ORDERS, 3);
}

fn lane(threads: usize, batch: usize, waiting: usize) -> Lane {
    Lane { name: "test", threads, batch, waiting }
}

fn start<V, F>(lane: Lane, query: F) -> Arc<Batcher<usize, V>>
where
    V: Clone + Send + 'static,
    F: Fn(&[usize]) -> Result<HashMap<usize, V>, Error> + Send + Sync + 'static,
{
    let checked = move |keys: &[usize]| {
        let different: std::collections::HashSet<_> = keys.iter().collect();
        assert_eq!(different.len(), keys.len(), "a query asks for a key once");
        assert!((1..=lane.batch).contains(&keys.len()), "a query asks for something, and not for too much");
        query(keys)
    };
    Arc::new(Batcher::start(lane, Duration::MAX, checked).unwrap())
}

/// Puts a key into the queue. What wakes a thread is somebody else's to drop, sooner or later.
fn ask<K, V>(batcher: &Batcher<K, V>, key: K) -> Result<oneshot::Receiver<Result<Option<V>, Error>>, Error>
where
    K: Clone + Eq + Hash + Send + 'static,
    V: Clone + Send + 'static,
{
    let Asked { answered, wake } = batcher.ask(key)?;
    if let Some(wake) = wake {
        thread::spawn(move || drop(wake));
    }
    Ok(answered)
}

fn answer_of<V>(answered: Answered<V>) -> Result<Option<V>, Error> {
    block_on(answered).expect("who is not refused is answered")
}

/// Finds of each key the key.
fn echo(keys: &[usize]) -> HashMap<usize, usize> {
    keys.iter().map(|&key| (key, key)).collect()
}

/// A database of two counters, and how far those who count were told that they came.
#[derive(Default)]
struct Counters {
    stored: [AtomicU64; 2],
    acknowledged: [AtomicU64; 2],
}

impl Counters {
    fn count(&self, key: usize) {
        let version = self.stored[key].fetch_add(1, Ordering::SeqCst) + 1;
        self.acknowledged[key].fetch_max(version, Ordering::SeqCst);
    }

    /// Sees the state at its begin, as a query does, and takes a while.
    fn query(&self, keys: &[usize]) -> HashMap<usize, u64> {
        let found = keys.iter().map(|&key| (key, self.stored[key].load(Ordering::SeqCst))).collect();
        thread::yield_now();
        found
    }
}

#[rstest]
fn no_answer_is_older_than_its_request(#[values(1, 2)] threads: usize, #[values(1, 2, MANY)] batch: usize) {
    in_many_orders(move || {
        let counters = Arc::new(Counters::default());
        let batcher = start(lane(threads, batch, MANY), {
            let counters = Arc::clone(&counters);
            move |keys| Ok(counters.query(keys))
        });
        let writers = (0..2).map(|_| {
            let counters = Arc::clone(&counters);
            thread::spawn(move || (0..4).for_each(|number| counters.count(number % 2)))
        });
        let readers = (0..3).map(|reader| {
            let (counters, batcher) = (Arc::clone(&counters), Arc::clone(&batcher));
            thread::spawn(move || {
                for number in 0..3 {
                    let key = (reader + number) % 2;
                    let acknowledged = counters.acknowledged[key].load(Ordering::SeqCst);
                    let seen = answer_of(ask(&batcher, key).unwrap()).unwrap().unwrap();
                    assert!(seen >= acknowledged, "{seen} is older than {acknowledged}");
                }
            })
        });
        let all: Vec<_> = writers.chain(readers).collect();
        for one in all {
            one.join().unwrap();
        }
    });
}

#[rstest]
fn every_request_is_answered_whoever_else_goes_away(
    #[values(1, 2, 3)] threads: usize,
    #[values(1, 2, MANY)] batch: usize,
) {
    in_many_orders(move || {
        let batcher = start(lane(threads, batch, MANY), |keys| {
            thread::yield_now();
            Ok(echo(keys))
        });
        let clients = (0..4).map(|client| {
            let batcher = Arc::clone(&batcher);
            thread::spawn(move || {
                let own = ask(&batcher, client).unwrap();
                let shared = ask(&batcher, MANY).unwrap();
                let abandoned = [ask(&batcher, client + 10).unwrap(), ask(&batcher, MANY).unwrap()];
                thread::yield_now();
                drop(abandoned);
                assert_eq!(answer_of(shared).unwrap(), Some(MANY));
                assert_eq!(answer_of(own).unwrap(), Some(client));
                assert_eq!(answer_of(ask(&batcher, client).unwrap()).unwrap(), Some(client));
            })
        });
        clients.collect::<Vec<_>>().into_iter().for_each(|client| client.join().unwrap());
    });
}

/// What tells when the last thread that could run a query has gone.
struct Presence(Mutex<mpsc::Sender<()>>);

#[rstest]
fn a_lane_that_is_dropped_answers_who_waits_and_ends_its_threads(
    #[values(1, 3)] threads: usize,
    #[values(1, MANY)] batch: usize,
) {
    in_many_orders(move || {
        let (present, ends) = mpsc::channel();
        let present = Presence(Mutex::new(present));
        let batcher = start(lane(threads, batch, MANY), move |keys| {
            let _ = &present.0;
            thread::yield_now();
            Ok(echo(keys))
        });
        let waiting: Vec<_> = (0..4).map(|key| (key, ask(&batcher, key).unwrap())).collect();
        drop(batcher);
        for (key, answered) in waiting {
            assert_eq!(answer_of(answered).unwrap(), Some(key));
        }
        ends.recv().expect_err("nothing is ever sent: this is the end of the threads");
    });
}

/// Holds up the first query until it is opened, and notes what each one asks for.
#[derive(Default)]
struct Gate {
    state: Mutex<GateState>,
    changed: Condvar,
}

#[derive(Default)]
struct GateState {
    queries: Vec<Vec<usize>>,
    is_open: bool,
}

impl Gate {
    fn pass(&self, keys: &[usize]) {
        let mut state = self.lock();
        let mut keys = keys.to_vec();
        keys.sort_unstable();
        state.queries.push(keys);
        self.changed.notify_all();
        drop(self.changed.wait_while(state, |state| !state.is_open).unwrap());
    }

    fn wait_for_query(&self) {
        drop(self.changed.wait_while(self.lock(), |state| state.queries.is_empty()).unwrap());
    }

    fn open(&self) {
        self.lock().is_open = true;
        self.changed.notify_all();
    }

    fn queries(&self) -> Vec<Vec<usize>> {
        self.lock().queries.clone()
    }

    fn lock(&self) -> MutexGuard<'_, GateState> {
        self.state.lock().unwrap()
    }
}

/// A lane with one thread, which has begun a query for key 0.
fn held_up(batch: usize, waiting: usize) -> (Arc<Gate>, Arc<Batcher<usize, usize>>, Answered<usize>) {
    let gate = Arc::new(Gate::default());
    let batcher = start(lane(1, batch, waiting), {
        let gate = Arc::clone(&gate);
        move |keys| {
            gate.pass(keys);
            Ok(echo(keys))
        }
    });
    let first = ask(&batcher, 0).unwrap();
    gate.wait_for_query();
    (gate, batcher, first)
}

/// One wake-up may be for more than one query: who was woken passes it on.
#[test]
fn what_one_thread_leaves_another_takes_at_once() {
    in_many_orders(|| {
        let other_ran = Arc::new((Mutex::new(false), Condvar::new()));
        let batcher = start(lane(2, 1, MANY), move |keys| {
            let (ran, changed) = &*other_ran;
            let mut ran = ran.lock().unwrap();
            if keys == [1] {
                *ran = true;
                changed.notify_all();
            }
            while !*ran {
                ran = changed.wait(ran).unwrap();
            }
            Ok(echo(keys))
        });
        let answers = [ask(&batcher, 0).unwrap(), ask(&batcher, 1).unwrap()];
        assert_eq!(answers.map(|answered| answer_of(answered).unwrap()), [Some(0), Some(1)]);
    });
}

#[test]
fn who_went_away_before_the_query_is_not_asked_for() {
    in_many_orders(|| {
        let (gate, batcher, first) = held_up(MANY, MANY);
        let wanted = ask(&batcher, 2).unwrap();
        drop((ask(&batcher, 1).unwrap(), ask(&batcher, 2).unwrap()));
        gate.open();
        assert_eq!((answer_of(first).unwrap(), answer_of(wanted).unwrap()), (Some(0), Some(2)));
        assert_eq!(gate.queries(), [[0], [2]]);
    });
}

#[rstest]
fn equal_requests_that_wait_are_one_query(#[values(1, 2, MANY)] batch: usize) {
    in_many_orders(move || {
        let (gate, batcher, first) = held_up(batch, MANY);
        let askers = (0..6).map(|number| {
            let batcher = Arc::clone(&batcher);
            thread::spawn(move || (1 + number % 2, ask(&batcher, 1 + number % 2).unwrap()))
        });
        let waiting: Vec<_> = askers.collect::<Vec<_>>().into_iter().map(|asker| asker.join().unwrap()).collect();
        gate.open();
        assert_eq!(answer_of(first).unwrap(), Some(0));
        for (key, answered) in waiting {
            assert_eq!(answer_of(answered).unwrap(), Some(key));
        }
        let queries = gate.queries();
        assert_eq!(queries.len(), if batch == 1 { 3 } else { 2 }, "{queries:?}");
    });
}

#[test]
fn who_asked_first_is_served_first() {
    in_many_orders(|| {
        let (gate, batcher, first) = held_up(2, MANY);
        let waiting = [5, 3, 4, 3, 1, 5].map(|key| (key, ask(&batcher, key).unwrap()));
        gate.open();
        assert_eq!(answer_of(first).unwrap(), Some(0));
        for (key, answered) in waiting {
            assert_eq!(answer_of(answered).unwrap(), Some(key));
        }
        assert_eq!(gate.queries(), [vec![0], vec![3, 5], vec![1, 4]]);
    });
}

#[test]
fn a_full_queue_refuses() {
    in_many_orders(|| {
        let (gate, batcher, first) = held_up(MANY, 3);
        let askers = (0..5).map(|_| {
            let batcher = Arc::clone(&batcher);
            thread::spawn(move || ask(&batcher, 1))
        });
        let asked: Vec<_> = askers.collect::<Vec<_>>().into_iter().map(|asker| asker.join().unwrap()).collect();
        gate.open();
        assert_eq!(answer_of(first).unwrap(), Some(0));
        let (accepted, refused): (Vec<_>, Vec<_>) = asked.into_iter().partition(Result::is_ok);
        assert_eq!((accepted.len(), refused.len()), (3, 2));
        assert!(refused.into_iter().all(|refused| matches!(refused, Err(Error::Overloaded))));
        for answered in accepted {
            assert_eq!(answer_of(answered.unwrap()).unwrap(), Some(1));
        }
        assert_eq!(answer_of(ask(&batcher, 2).unwrap()).unwrap(), Some(2), "there is room again");
    });
}

#[rstest]
fn a_queue_that_is_not_full_refuses_nobody(#[values(1, 2)] threads: usize, #[values(1, 2)] batch: usize) {
    in_many_orders(move || {
        let batcher = start(lane(threads, batch, 3), |keys| {
            thread::yield_now();
            Ok(echo(keys))
        });
        let clients = (0..3).map(|client| {
            let batcher = Arc::clone(&batcher);
            thread::spawn(move || {
                for key in [client, 7, client] {
                    assert_eq!(answer_of(ask(&batcher, key).unwrap()).unwrap(), Some(key));
                }
            })
        });
        clients.collect::<Vec<_>>().into_iter().for_each(|client| client.join().unwrap());
    });
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Outcome {
    Found,
    Failed,
    Panicked,
}

impl Outcome {
    /// Queries end in one way after the other.
    const fn of(number: usize) -> Self {
        match number % 3 {
            0 => Self::Failed,
            1 => Self::Panicked,
            _ => Self::Found,
        }
    }
}

#[rstest]
fn an_error_or_a_panic_reaches_all_of_its_query_and_nobody_else(
    #[values(1, 2)] threads: usize,
    #[values(1, 2, MANY)] batch: usize,
) {
    in_many_orders(move || {
        let queries: Arc<Mutex<Vec<Vec<usize>>>> = Arc::default();
        let batcher = start(lane(threads, batch, MANY), {
            let queries = Arc::clone(&queries);
            move |keys: &[usize]| {
                let mut queries = queries.lock().unwrap();
                let number = queries.len();
                queries.push(keys.to_vec());
                drop(queries);
                match Outcome::of(number) {
                    Outcome::Found => Ok(keys.iter().map(|&key| (key, number)).collect()),
                    Outcome::Failed => Err(Error::Unreachable(number.to_string())),
                    // Not `panic!`, whose hook prints each of the many.
                    Outcome::Panicked => resume_unwind(Box::new(())),
                }
            }
        });
        let clients = (0..3).map(|client| {
            let batcher = Arc::clone(&batcher);
            let ask = move |key| {
                let (outcome, number) = match answer_of(ask(&batcher, key).unwrap()) {
                    Ok(number) => (Outcome::Found, number),
                    Err(Error::Unreachable(number)) => (Outcome::Failed, number.parse().ok()),
                    Err(Error::Panicked) => (Outcome::Panicked, None),
                    Err(other) => panic!("{other}"),
                };
                (key, outcome, number)
            };
            thread::spawn(move || [client, 7, client].map(ask))
        });
        let answers: Vec<_> =
            clients.collect::<Vec<_>>().into_iter().flat_map(|client| client.join().unwrap()).collect();
        let queries = queries.lock().unwrap();
        for &(key, outcome, number) in &answers {
            if let Some(number) = number {
                assert!(Outcome::of(number) == outcome && queries[number].contains(&key), "{answers:?} {queries:?}");
            }
        }
        for (number, keys) in queries.iter().enumerate() {
            let outcome = Outcome::of(number);
            let by_it = (outcome != Outcome::Panicked).then_some(number);
            let is_reached = |key: &usize| answers.contains(&(*key, outcome, by_it));
            assert!(keys.iter().all(is_reached), "{answers:?} {queries:?}");
        }
        // Of a panic nobody is told whose query it was: who met one was in one.
        for &(key, ..) in answers.iter().filter(|(_, outcome, _)| *outcome == Outcome::Panicked) {
            let mut panicked = queries.iter().skip(1).step_by(3);
            assert!(panicked.any(|keys| keys.contains(&key)), "{answers:?} {queries:?}");
        }
    });
}
