//! What writers were told, held against what is stored: the judge of every test that breaks something.
//!
//! Writers press on a service that is being broken, and note of each write what came of it:
//!
//! - **acknowledged**: answered with success. It must be there, whatever happens.
//! - **refused**: answered with a failure that says that nothing was changed. It must not be there.
//! - **unknown**: no answer, or one that says that nobody knows. It may be there. It is sent again, with the same
//!   `Idempotency-Key` or `If-Match`, and must then be there once. Half of the posts are created without a key: what is
//!   unknown of those is not sent again, and may be there once or not at all.
//!
//! ```ignore
//! let call = |method: &str, path: &str| api.request(method, path);
//! let history = History::begin(&call).await;
//! let over = AtomicBool::new(false);
//! join(history.write(8, &call, &over), break_something_and_then_set(&over)).await;
//! history.check(&call).await.assert_sound();
//! ```
//!
//! A call may lead to whichever server is there; see [`Call`]. A check may be made again later, after further faults.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use posts_api::db::Position;
use serde_json::{Value, json};

use super::{Answer, Request, items};

/// Makes a request of a method and a path, by a user who may write: to one server, or to one of several.
pub type Call<'a> = &'a (dyn Fn(&str, &str) -> Request + Sync);

/// How long the service may take until it answers again, once the fault is over.
const PATIENCE: Duration = Duration::from_secs(30);

/// What writers sent to a service, and what came of it.
pub struct History {
    /// The author of all its posts, by whom they are found again.
    name: String,
    posts: Mutex<Vec<Post>>,
    /// A post that all writers count up, each on the version that it has read: no count may get lost.
    counter: String,
    counted: AtomicUsize,
    maybe_counted: AtomicUsize,
    report: Mutex<Report>,
    /// How far a replica must have come to show all that was acknowledged.
    position: Mutex<Option<Position>>,
}

/// One post, which one writer creates, changes and deletes.
#[derive(Clone)]
struct Post {
    /// Its title, and the `Idempotency-Key` that it is created with.
    key: String,
    /// Whether it is created with one. Without, the service goes another way, and what is unknown stays so.
    is_keyed: bool,
    path: String,
    /// The `ETag` of what is stored.
    etag: String,
    /// What is stored for all that was acknowledged. `None` where there is no post.
    stored: Option<State>,
    /// The write after that whose outcome nobody knows. There is none after it.
    unknown: Option<Write>,
    /// The newest version that was acknowledged.
    version: u64,
}

/// A version and its content.
type State = (u64, String);

#[derive(Clone, Debug)]
enum Write {
    Create,
    /// Of the version that is stored, to this content.
    Change(String),
    Delete,
}

enum Outcome {
    Acknowledged(Answer),
    Refused,
    Unknown,
}

/// What may be wrong with what is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// Acknowledged, and not there.
    Lost,
    /// There more than once.
    Doubled,
    /// There, although it was refused or deleted.
    Undead,
    /// A version before one that was acknowledged.
    Backwards,
    /// Anything else that is not as it was acknowledged.
    Changed,
}

/// What is wrong, and the story of it.
type Finding = (Wrong, String);

/// What a check found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Writes by what came of them.
    pub acknowledged: usize,
    pub refused: usize,
    pub unknown: usize,
    /// Answers to writes by status; and to the reads between them, where one failed.
    pub statuses: BTreeMap<u16, usize>,
    findings: Vec<Finding>,
}

impl History {
    /// Begins one, on a service that works.
    pub async fn begin(call: Call<'_>) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("history-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let counter = call("POST", "/posts").json(&json!({"title": format!("{name} counter"), "content": "0"})).await;
        assert_eq!(counter.status, 201, "{counter:?}");
        Self {
            name,
            posts: Mutex::default(),
            counter: counter.header("location").to_owned(),
            counted: AtomicUsize::new(0),
            maybe_counted: AtomicUsize::new(0),
            report: Mutex::default(),
            position: Mutex::default(),
        }
    }

    /// Reads what shows all that was acknowledged.
    fn read(&self, call: Call<'_>, path: &str) -> Request {
        let position = *lock(&self.position);
        let read = call("GET", path);
        if let Some(position) = position { read.header("Posts-Position", position.to_string()) } else { read }
    }

    /// Where reads go to replicas, an answer says what they must have come to.
    fn note_position(&self, answer: &Answer) {
        let position = answer.header("posts-position").parse().ok();
        let mut newest = lock(&self.position);
        *newest = position.max(*newest);
    }

    /// Has so many writers write until it is over.
    pub async fn write(&self, writers: usize, call: Call<'_>, over: &AtomicBool) {
        join_all((0..writers).map(|_| self.write_alone(call, over))).await;
    }

    async fn write_alone(&self, call: Call<'_>, over: &AtomicBool) {
        while !over.load(Ordering::Relaxed) {
            let number = {
                let mut posts = lock(&self.posts);
                let number = posts.len();
                posts.push(Post::new(format!("{}-{number}", self.name)));
                number
            };
            let mut post = lock(&self.posts)[number].clone();
            let always = [Write::Create, Write::Change("once".to_owned()), Write::Change("twice".to_owned())];
            let delete = (fastrand::u8(..4) == 0).then_some(Write::Delete);
            for write in always.into_iter().chain(delete) {
                if !over.load(Ordering::Relaxed) && post.unknown.is_none() {
                    self.carry_out(&mut post, write, call).await;
                }
            }
            lock(&self.posts)[number] = post;
            if !over.load(Ordering::Relaxed) {
                self.count(call).await;
            }
            // Who is refused at once must not keep the machine from the fault's end.
            tokio::time::sleep(Duration::from_millis(fastrand::u64(..3))).await;
        }
    }

    /// Sends a write and notes what came of it. One that needs a post that is not there is left out.
    async fn carry_out(&self, post: &mut Post, write: Write, call: Call<'_>) {
        let Some(request) = post.request(&write, &self.name, call) else { return };
        match self.send(request).await {
            Outcome::Acknowledged(answer) => {
                post.acknowledge(&write, &answer);
                self.look(post, call).await;
            }
            Outcome::Refused => {}
            Outcome::Unknown => post.unknown = Some(write),
        }
    }

    async fn send(&self, request: Request) -> Outcome {
        let outcome = match request.attempt().await {
            Ok(answer) => {
                self.note(answer.status);
                outcome(answer)
            }
            Err(_) => Outcome::Unknown,
        };
        let mut report = lock(&self.report);
        match &outcome {
            Outcome::Acknowledged(answer) => {
                self.note_position(answer);
                report.acknowledged += 1;
            }
            Outcome::Refused => report.refused += 1,
            Outcome::Unknown => report.unknown += 1,
        }
        drop(report);
        outcome
    }

    fn note(&self, status: u16) {
        *lock(&self.report).statuses.entry(status).or_default() += 1;
    }

    /// Reads what was just acknowledged: no answer is older than its request.
    async fn look(&self, post: &Post, call: Call<'_>) {
        let Ok(answer) = self.read(call, &post.path).attempt().await else { return };
        if !matches!(answer.status, 200 | 404) {
            return self.note(answer.status);
        }
        let seen = (answer.status == 200).then(|| state(&answer.json()));
        if seen != post.stored {
            let told = format!("{}: {:?} was acknowledged, and read at once {seen:?}", post.key, post.stored);
            self.found(post.judge(seen.as_ref()), told);
        }
    }

    /// Counts the shared post up by one, unless somebody else does so at the same time.
    async fn count(&self, call: Call<'_>) {
        let Ok(read) = self.read(call, &self.counter).attempt().await else { return };
        if read.status != 200 {
            return self.note(read.status);
        }
        let count: usize = read.json()["content"].as_str().unwrap().parse().unwrap();
        let change = json!({"content": (count + 1).to_string()});
        match self.send(patch(call, &self.counter, &change, read.header("etag"))).await {
            Outcome::Acknowledged(_) => self.counted.fetch_add(1, Ordering::Relaxed),
            Outcome::Refused => 0,
            Outcome::Unknown => self.maybe_counted.fetch_add(1, Ordering::Relaxed),
        };
    }

    /// Once the fault is over: reads all, sends again what nobody knows the outcome of, and reads all again.
    pub async fn check(&self, call: Call<'_>) -> Report {
        self.judge(call).await;
        let mut posts = lock(&self.posts).clone();
        for post in &mut posts {
            self.settle(post, call).await;
        }
        *lock(&self.posts) = posts;
        self.judge(call).await;
        lock(&self.report).clone()
    }

    async fn judge(&self, call: Call<'_>) {
        let mut stored: BTreeMap<String, Vec<State>> = BTreeMap::new();
        for post in self.stored(call).await {
            stored.entry(post["title"].as_str().unwrap().to_owned()).or_default().push(state(&post));
        }
        for post in lock(&self.posts).iter() {
            let there = stored.remove(&post.key).unwrap_or_default();
            let told = format!("{}: {:?} was acknowledged, and there is {there:?}", post.key, post.stored);
            if there.len() > 1 {
                self.found(Wrong::Doubled, told);
            } else if !post.may_be().contains(&there.first().cloned()) {
                self.found(post.judge(there.first()), told);
            }
        }
        for (key, there) in stored {
            self.found(Wrong::Undead, format!("{key}: nobody sent it, and there is {there:?}"));
        }
        self.judge_counter(call).await;
    }

    fn found(&self, wrong: Wrong, told: String) {
        lock(&self.report).findings.push((wrong, told));
    }

    /// Its content is how often it was counted, and so is its version.
    async fn judge_counter(&self, call: Call<'_>) {
        let stored = answered(|| self.read(call, &self.counter)).await;
        let least = self.counted.load(Ordering::Relaxed);
        let most = least + self.maybe_counted.load(Ordering::Relaxed);
        let told = format!("counted {least} to {most} times, and there is {stored:?}");
        if stored.status != 200 {
            return self.found(Wrong::Lost, told);
        }
        let (version, content) = state(&stored.json());
        let count: i64 = content.parse().unwrap();
        let [least, most] = [least, most].map(|count| i64::try_from(count).unwrap());
        if count < least {
            self.found(Wrong::Lost, told);
        } else if count > most || i64::try_from(version).unwrap() != count + 1 {
            self.found(Wrong::Changed, told);
        }
    }

    /// All posts of this history, page by page.
    async fn stored(&self, call: Call<'_>) -> Vec<Value> {
        let first = format!("/posts?author={}&limit=100", self.name);
        let mut stored = Vec::new();
        let mut path = first.clone();
        loop {
            let page = answered(|| self.read(call, &path)).await;
            stored.extend(items(&page));
            let Some(cursor) = page.json()["next_cursor"].as_str().map(str::to_owned) else { return stored };
            path = format!("{first}&cursor={cursor}");
        }
    }

    /// Sends the write again whose outcome nobody knows. From then on it was carried out.
    async fn settle(&self, post: &mut Post, call: Call<'_>) {
        if !post.is_keyed && matches!(post.unknown, Some(Write::Create)) {
            return;
        }
        let Some(write) = post.unknown.take() else { return };
        let request = || post.request(&write, &self.name, call).expect("it was sent before");
        let answer = answered(request).await;
        self.note_position(&answer);
        match (&write, answer.status) {
            (Write::Create, 201) | (Write::Change(_), 200) => post.acknowledge(&write, &answer),
            // It had been carried out; what is there is looked at afterwards.
            (Write::Change(content), 412) => {
                post.version += 1;
                post.stored = Some((post.version, content.clone()));
            }
            (Write::Delete, 204 | 404) => post.stored = None,
            _ => self.found(Wrong::Changed, format!("{}, {write:?} again: {answer:?}", post.key)),
        }
    }
}

impl Post {
    fn new(key: String) -> Self {
        let is_keyed = fastrand::bool();
        Self { key, is_keyed, path: String::new(), etag: String::new(), stored: None, unknown: None, version: 0 }
    }

    /// The request that carries out a write, where there is what it needs.
    fn request(&self, write: &Write, author: &str, call: Call<'_>) -> Option<Request> {
        if self.stored.is_none() && !matches!(write, Write::Create) {
            return None;
        }
        Some(match write {
            Write::Create => {
                let body = json!({"title": self.key, "author": author, "content": "new"});
                let create = call("POST", "/posts").json(&body);
                if self.is_keyed { create.header("Idempotency-Key", &self.key) } else { create }
            }
            Write::Change(content) => patch(call, &self.path, &json!({"content": content}), &self.etag),
            Write::Delete => call("DELETE", &self.path),
        })
    }

    fn acknowledge(&mut self, write: &Write, answer: &Answer) {
        self.stored = match write {
            Write::Delete => None,
            Write::Create | Write::Change(_) => Some(state(&answer.json())),
        };
        if let Some((version, _)) = &self.stored {
            self.version = *version;
        }
        answer.header("etag").clone_into(&mut self.etag);
        if let Write::Create = write {
            answer.header("location").clone_into(&mut self.path);
        }
    }

    /// What may be stored, for all that is known.
    fn may_be(&self) -> Vec<Option<State>> {
        let unknown = self.unknown.as_ref().map(|write| match write {
            Write::Create => Some((1, "new".to_owned())),
            Write::Change(content) => Some((self.version + 1, content.clone())),
            Write::Delete => None,
        });
        [Some(self.stored.clone()), unknown].into_iter().flatten().collect()
    }

    /// What is wrong where something else is there.
    fn judge(&self, there: Option<&State>) -> Wrong {
        match (&self.stored, there) {
            (Some(_), None) => Wrong::Lost,
            (None, Some(_)) => Wrong::Undead,
            (Some((acknowledged, _)), Some((version, _))) if version < acknowledged => Wrong::Backwards,
            _ => Wrong::Changed,
        }
    }
}

impl Report {
    /// Adds what another check found.
    pub fn add(&mut self, other: Self) {
        self.acknowledged += other.acknowledged;
        self.refused += other.refused;
        self.unknown += other.unknown;
        for (status, count) in other.statuses {
            *self.statuses.entry(status).or_default() += count;
        }
        self.findings.extend(other.findings);
    }

    /// How often this was found.
    pub fn count(&self, wrong: Wrong) -> usize {
        self.findings.iter().filter(|finding| finding.0 == wrong).count()
    }

    /// Fails the test where anything is not as it was acknowledged.
    #[track_caller]
    pub fn assert_sound(&self) {
        assert!(self.findings.is_empty(), "{self}\n{:#?}", self.findings);
    }

    /// Says that no status came but these.
    #[track_caller]
    pub fn assert_only(&self, statuses: &[u16]) {
        let expected: BTreeSet<_> = statuses.iter().copied().collect();
        let others: Vec<_> = self.statuses.keys().filter(|status| !expected.contains(status)).collect();
        assert!(others.is_empty(), "{others:?}: {self}");
    }
}

/// A line for `docs/reliability.md`.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (lost, doubled) = (self.count(Wrong::Lost), self.count(Wrong::Doubled));
        let wrong = self.findings.len() - lost - doubled;
        let Self { acknowledged, refused, unknown, statuses, .. } = self;
        write!(
            f,
            "{acknowledged} acknowledged, {refused} refused, {unknown} unknown and sent again; {lost} lost, \
             {doubled} doubled, {wrong} otherwise wrong; answers {statuses:?}"
        )
    }
}

/// What an answer to a write says of it.
fn outcome(answer: Answer) -> Outcome {
    if answer.status < 300 {
        return Outcome::Acknowledged(answer);
    }
    // A fault of the server's says nothing of what it did before.
    let is_unknown = answer.status == 500 || answer.text().contains("may have been carried out");
    if is_unknown { Outcome::Unknown } else { Outcome::Refused }
}

/// Asks until there is an answer that is more than to come back later.
async fn answered(request: impl Fn() -> Request) -> Answer {
    let end = Instant::now() + PATIENCE;
    loop {
        let answer = request().attempt().await;
        let comes_back = match &answer {
            Ok(answer) => answer.status == 503 || answer.text().contains("/problems/idempotency-in-progress"),
            Err(_) => true,
        };
        if !comes_back {
            return answer.unwrap();
        }
        assert!(Instant::now() < end, "it does not recover: {answer:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn state(post: &Value) -> State {
    (post["version"].as_u64().unwrap(), post["content"].as_str().unwrap().to_owned())
}

/// A merge patch of what has this `ETag`.
fn patch(call: Call<'_>, path: &str, body: &Value, etag: &str) -> Request {
    call("PATCH", path).json(body).header("Content-Type", "application/merge-patch+json").header("If-Match", etag)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
