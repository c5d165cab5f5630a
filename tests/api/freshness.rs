//! Once a write is answered, no read that begins later shows an older state, on whatever server.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use rstest::rstest;
use serde_json::{Value, json};

use crate::harness::{Answer, Api, Database, Postgres, Sqlite, Token, User, items, load_duration, start};

const READERS: usize = 64;
const WRITERS: usize = 8;

/// How many posts there are at a time.
const POSTS: usize = 12;

/// What every post has in its title or its content.
const WORD: &str = "lantern";

/// The version of a post that is gone, which is newer than any.
const GONE: i64 = i64::MAX;

/// A post, and the newest version that a writer was told of.
struct Tracked {
    id: i64,
    acknowledged: AtomicI64,
    /// Whether somebody has begun to delete it, so that it may be gone before that is acknowledged.
    may_be_gone: AtomicBool,
}

impl Tracked {
    fn new(created: &Value) -> Arc<Self> {
        let (id, version) = (created["id"].as_i64().unwrap(), created["version"].as_i64().unwrap());
        Arc::new(Self { id, acknowledged: version.into(), may_be_gone: false.into() })
    }

    fn path(&self) -> String {
        format!("/posts/{}", self.id)
    }

    fn acknowledged(&self) -> i64 {
        self.acknowledged.load(Ordering::SeqCst)
    }

    fn acknowledge(&self, version: i64) {
        self.acknowledged.fetch_max(version, Ordering::SeqCst);
    }

    /// Asserts that what a read saw is no older than what was acknowledged before it began.
    fn assert_fresh(&self, seen: Option<i64>, acknowledged: i64, how: &str) {
        let id = self.id;
        match seen {
            Some(version) => assert!(version >= acknowledged, "{how}: post {id} is of {version}, not {acknowledged}"),
            None => assert!(self.may_be_gone.load(Ordering::SeqCst), "{how}: post {id} is not there"),
        }
    }
}

/// Two servers on one database, and the posts there.
struct Nodes {
    apis: [Api; 2],
    posts: Mutex<Vec<Arc<Tracked>>>,
    end: Instant,
    reads: [AtomicUsize; 3],
    writes: AtomicUsize,
    refused: AtomicUsize,
}

impl Nodes {
    async fn start(api: Api) -> Arc<Self> {
        let mut posts = Vec::new();
        for _ in 0..POSTS {
            posts.push(Tracked::new(&api.create(content()).await));
        }
        let apis = [api.another(|_| {}), api];
        let end = Instant::now() + load_duration();
        let (reads, writes, refused) = Default::default();
        Arc::new(Self { apis, posts: posts.into(), end, reads, writes, refused })
    }

    fn any(&self) -> &Api {
        &self.apis[fastrand::usize(..2)]
    }

    fn posts(&self) -> Vec<Arc<Tracked>> {
        self.posts.lock().unwrap().clone()
    }

    async fn write(&self) {
        let place = fastrand::usize(..POSTS);
        let post = Arc::clone(&self.posts.lock().unwrap()[place]);
        let answer = match fastrand::usize(..8) {
            0 => return self.replace(place, &post).await,
            1 | 2 => self.any().put(&post.path(), content()).await,
            _ => self.any().patch(&post.path(), content()).await,
        };
        match answer.status {
            200 => post.acknowledge(answer.json()["version"].as_i64().unwrap()),
            404 => post.assert_fresh(None, 0, "a write"),
            _ => self.refuse(&answer),
        }
        self.writes.fetch_add(1, Ordering::Relaxed);
    }

    /// Deletes a post and puts another in its place.
    async fn replace(&self, place: usize, post: &Tracked) {
        post.may_be_gone.store(true, Ordering::SeqCst);
        let deleted = self.any().delete(&post.path()).await;
        match deleted.status {
            204 => post.acknowledge(GONE),
            // By another writer, who will be told, and puts another there.
            404 => return,
            _ => return self.refuse(&deleted),
        }
        let created = loop {
            let created = self.any().post("/posts", content()).await;
            if created.status == 201 {
                break Tracked::new(&created.json());
            }
            self.refuse(&created);
        };
        self.posts.lock().unwrap()[place] = created;
        self.writes.fetch_add(2, Ordering::Relaxed);
    }

    /// A write may be refused; whether it took place is not known then.
    fn refuse(&self, answer: &Answer) {
        assert_eq!(answer.status, 503, "{answer:?}");
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    async fn read(&self) {
        // Before the request begins: what is acknowledged later, it need not show.
        let posts = self.posts();
        let noted: Vec<_> = posts.iter().map(|post| (post, post.acknowledged())).collect();
        let kind = fastrand::usize(..3);
        match kind {
            0 => self.read_one(noted[fastrand::usize(..POSTS)]).await,
            1 => {
                let found = self.read_list("/posts?sort=-updated_on&limit=100", &noted).await;
                let times: Vec<_> = found.iter().map(|item| item["updated_on"].as_str().unwrap()).collect();
                assert!(times.is_sorted_by(|a, b| a >= b), "{times:?}");
            }
            _ => drop(self.read_list(&format!("/posts?q={WORD}&limit=100"), &noted).await),
        }
        self.reads[kind].fetch_add(1, Ordering::Relaxed);
    }

    async fn read_one(&self, (post, acknowledged): (&Arc<Tracked>, i64)) {
        let answer = self.any().get(&post.path()).await;
        assert!([200, 404].contains(&answer.status), "{answer:?}");
        let seen = (answer.status == 200).then(|| answer.json()["version"].as_i64().unwrap());
        post.assert_fresh(seen, acknowledged, "GET");
    }

    async fn read_list(&self, list: &str, noted: &[(&Arc<Tracked>, i64)]) -> Vec<Value> {
        let found = items(&self.any().get(list).await);
        for (post, acknowledged) in noted {
            let item = found.iter().find(|item| item["id"] == post.id);
            let seen = item.map(|item| item["version"].as_i64().unwrap());
            post.assert_fresh(seen, *acknowledged, list);
        }
        found
    }
}

/// What a post says next: something else than before, and the word now in one field and now in another, so that a
/// search ranks it otherwise.
fn content() -> Value {
    let number = fastrand::usize(..1_000_000);
    let (title, content) = if fastrand::usize(..2) == 0 { (WORD, "a light") } else { ("A light", WORD) };
    json!({"title": format!("{title} {number}"), "content": content, "published": true})
}

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_read_is_older_than_an_answered_write(#[values(Sqlite, Postgres)] database: Database) {
    let nodes = Nodes::start(start!(database)).await;
    let tasks = (0..READERS + WRITERS).map(|number| {
        let nodes = Arc::clone(&nodes);
        tokio::spawn(async move {
            while Instant::now() < nodes.end {
                if number < WRITERS { nodes.write().await } else { nodes.read().await }
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    let [one, list, search] = nodes.reads.each_ref().map(|count| count.load(Ordering::Relaxed));
    let (writes, refused) = (nodes.writes.load(Ordering::Relaxed), nodes.refused.load(Ordering::Relaxed));
    #[expect(clippy::print_stdout, reason = "the figures, for a run by hand")]
    {
        println!("{database:?}: {one} posts, {list} lists, {search} searches; {writes} writes, {refused} refused");
    }
    assert!(one > 0 && list > 0 && search > 0 && writes > 0);
}

const ROLES: [&str; 3] = ["reader", "author", "editor"];

/// The role of a user's API key.
const KEY_ROLE: usize = 1;

/// What a user is at a time.
#[derive(Clone, Copy, Debug)]
struct Standing {
    /// The place in [`ROLES`].
    role: usize,
    disabled: bool,
    /// Which of the user's passwords it is.
    generation: i64,
}

#[derive(Clone, Copy, Debug)]
enum Credential {
    /// An access token from a sign-in with that password.
    Token(i64),
    Key,
}

impl Standing {
    fn another(mut self) -> Self {
        match fastrand::usize(..16) {
            // Seldom: to hash it takes a while.
            0 => self.generation += 1,
            1..=7 => self.disabled = !self.disabled,
            _ => self.role = (self.role + 1 + fastrand::usize(..2)) % 3,
        }
        self
    }

    /// The role that its bearer has, if it is good.
    fn role_by(self, credential: Credential) -> Option<&'static str> {
        let is_good = match credential {
            Credential::Token(generation) => generation == self.generation,
            Credential::Key => true,
        };
        let role = if matches!(credential, Credential::Key) { self.role.min(KEY_ROLE) } else { self.role };
        (is_good && !self.disabled).then_some(ROLES[role])
    }
}

/// A user, and what it has been.
struct Standings {
    user: User,
    key: String,
    /// All that was ever asked for, also what is not answered yet.
    asked: Mutex<Vec<Standing>>,
    /// The last one that is answered.
    acknowledged: AtomicUsize,
}

impl Standings {
    async fn create(api: &Api) -> Arc<Self> {
        let user = api.user(ROLES[2]);
        let key = api.api_key(&user, ROLES[KEY_ROLE]).await;
        let first = Standing { role: 2, disabled: false, generation: 1 };
        Arc::new(Self { user, key, asked: vec![first].into(), acknowledged: 0.into() })
    }

    /// Makes something else of the user.
    async fn change(&self, api: &Api) {
        let (before, after, number) = {
            let mut asked = self.asked.lock().unwrap();
            let before = *asked.last().unwrap();
            let after = before.another();
            asked.push(after);
            (before, after, asked.len() - 1)
        };
        let mut patch = json!({"role": ROLES[after.role], "disabled": after.disabled});
        if after.generation > before.generation {
            patch["password"] = json!(format!("a password that is number {number}"));
        }
        let answer = api.patch(&format!("/users/{}", self.user.id), patch).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        self.acknowledged.store(number, Ordering::SeqCst);
    }

    /// Calls with one of the user's credentials.
    async fn call(&self, api: &Api) {
        let acknowledged = self.acknowledged.load(Ordering::SeqCst);
        let generation = self.asked.lock().unwrap()[acknowledged].generation;
        let credential = match fastrand::usize(..4) {
            0 => Credential::Key,
            1 => Credential::Token(generation - 1),
            _ => Credential::Token(generation),
        };
        let answer = api.me(&self.bearer(credential)).await;
        assert!([200, 401].contains(&answer.status), "{answer:?}");
        let role = (answer.status == 200).then(|| answer.json()["role"].as_str().unwrap().to_owned());
        let standings = self.asked.lock().unwrap()[acknowledged..].to_vec();
        let could = standings.iter().any(|standing| standing.role_by(credential) == role.as_deref());
        assert!(could, "{role:?} by {credential:?} of a user who was only {standings:?}");
    }

    fn bearer(&self, credential: Credential) -> String {
        let Credential::Token(generation) = credential else { return self.key.clone() };
        let mut token = Token::of(self.user.id);
        token.claims["jti"] = json!(format!("{generation}.00000000000000000000000000000000"));
        token.sign()
    }
}

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_caller_is_who_it_was_before_an_answered_change(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let mut users = Vec::new();
    for _ in 0..4 {
        users.push(Standings::create(&api).await);
    }
    let apis = Arc::new([api.another(|_| {}), api]);
    let end = Instant::now() + load_duration();
    let tasks = (0..4 + 32).map(|number| {
        let (apis, users) = (Arc::clone(&apis), users.clone());
        tokio::spawn(async move {
            let mut count = [0, 0];
            while Instant::now() < end {
                let (api, user) = (&apis[fastrand::usize(..2)], &users[number % 4]);
                if number < 4 {
                    user.change(api).await;
                } else {
                    user.call(api).await;
                }
                count[usize::from(number >= 4)] += 1;
            }
            count
        })
    });
    let (mut changes, mut calls) = (0, 0);
    for task in tasks.collect::<Vec<_>>() {
        let [changed, called] = task.await.unwrap();
        changes += changed;
        calls += called;
    }
    #[expect(clippy::print_stdout, reason = "the figures, for a run by hand")]
    {
        println!("{database:?}: {changes} changes of users, {calls} calls");
    }
    assert!(changes > 0 && calls > 0);
}
