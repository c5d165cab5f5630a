//! How posts are read: by lanes, in which many requests are one query. See [`Batcher`].

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use actix_web::web::Bytes;

use super::list::{Position, PostList};
use super::{Post, PostPage, Scope, store};
use crate::db::{self, Batcher, Db, DbConnection, Lane, Reader, Replica};
use crate::http::cursor::CursorKeys;
use crate::http::page::RenderedPage;
use crate::http::problem::Problem;
use crate::http::read_after::ReadAfter;

/// Two queries at once keep both sides busy: while one is being answered, the next is being sent.
const BY_ID: Lane = Lane { name: "posts", threads: 2, batch: 128, waiting: 4096 };

/// A query a page, so that a batch is those who ask for the same.
const PAGES: Lane = Lane { name: "pages", threads: 2, batch: 1, waiting: 1024 };

/// As pages, apart from them: nobody who wants a page should wait for what takes long.
const SEARCHES: Lane = Lane { name: "searches", threads: 2, batch: 1, waiting: 256 };

/// The same, of the replicas.
const OF_REPLICAS: [Lane; 3] = [
    Lane { name: "replica-posts", ..BY_ID },
    Lane { name: "replica-pages", ..PAGES },
    Lane { name: "replica-searches", ..SEARCHES },
];

/// How posts are read: from replicas where there are any, else from the database itself.
#[derive(Debug)]
pub struct Reads {
    db: Db,
    lanes: Lanes,
    /// One for each replica.
    of_replicas: Vec<Lanes>,
    /// Whose turn it is.
    turn: AtomicUsize,
}

#[derive(Debug)]
struct Lanes {
    by_id: Batcher<i64, Arc<StoredPost>>,
    pages: Pages,
    /// Searches and counts.
    searches: Pages,
}

type Pages = Batcher<Arc<PageKey>, Result<Arc<RenderedPage>, Problem>>;

/// A post as it was read for whoever asked at that moment.
#[derive(Debug)]
pub(super) struct StoredPost {
    pub(super) post: Post,
    json: OnceLock<serde_json::Result<Bytes>>,
}

/// A page, as equal requests for it have in common.
#[derive(Debug, Eq, Hash, PartialEq)]
pub(super) struct PageKey {
    pub(super) scope: Scope,
    pub(super) list: PostList,
    /// The list's name, to which its cursors are bound.
    pub(super) name: String,
    pub(super) after: Option<Position>,
    pub(super) with_total: bool,
}

impl Reads {
    /// Starts the lanes' threads.
    pub fn start(db: &Db, cursors: &Arc<CursorKeys>) -> io::Result<Self> {
        let of_replica = |replica: &Replica| Lanes::start(replica.reader(), OF_REPLICAS, cursors);
        Ok(Self {
            db: db.clone(),
            lanes: Lanes::start(db.reader(), [BY_ID, PAGES, SEARCHES], cursors)?,
            of_replicas: db.replicas().iter().map(of_replica).collect::<Result<_, _>>()?,
            turn: AtomicUsize::new(0),
        })
    }

    /// Refuses a search that there is no room for at this moment. With replicas it shows later where it would wait.
    pub(super) fn admit_search(&self) -> Result<(), Problem> {
        if self.of_replicas.is_empty() {
            self.lanes.searches.admit()?;
        }
        Ok(())
    }

    /// The post with this id. Fails with 404 where there is none in the scope.
    pub(super) async fn post(&self, scope: Scope, id: i64, after: ReadAfter) -> Result<Arc<StoredPost>, Problem> {
        let found = self.read(after, async |lanes| lanes.by_id.get(id).await).await?;
        found.filter(|stored| scope.covers(&stored.post)).ok_or_else(Problem::not_found)
    }

    /// A page of the list.
    pub(super) async fn page(&self, key: PageKey, after: ReadAfter) -> Result<Arc<RenderedPage>, Problem> {
        let key = Arc::new(key);
        let is_search = key.list.filter.q.is_some() || key.with_total;
        let page = async |lanes: &Lanes| {
            let lane = if is_search { &lanes.searches } else { &lanes.pages };
            lane.get(Arc::clone(&key)).await
        };
        self.read(after, page).await?.ok_or_else(Problem::not_found)?
    }

    /// Reads from a replica that shows what the caller has written; where there is none, or it fails, from the primary.
    async fn read<T>(
        &self,
        after: ReadAfter,
        read: impl AsyncFn(&Lanes) -> Result<T, db::Error>,
    ) -> Result<T, db::Error> {
        if let Some((replica, lanes)) = self.replica(after).await {
            match read(lanes).await {
                Err(error) => replica.leave_alone(&error),
                found => return found,
            }
        }
        read(&self.lanes).await
    }

    async fn replica(&self, ReadAfter(position): ReadAfter) -> Option<(&Replica, &Lanes)> {
        // Before workers count together whose turn it is.
        if self.of_replicas.is_empty() {
            return None;
        }
        let well: Vec<_> =
            self.db.replicas().iter().zip(&self.of_replicas).filter(|(replica, _)| replica.is_well()).collect();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed).checked_rem(well.len())?;
        let (replica, lanes) = *well.get(turn)?;
        match position {
            Some(position) if !replica.has_reached(position).await => None,
            _ => Some((replica, lanes)),
        }
    }
}

impl Lanes {
    fn start(reader: &Reader, [by_id, pages, searches]: [Lane; 3], cursors: &Arc<CursorKeys>) -> io::Result<Self> {
        let start = |lane| {
            let cursors = Arc::clone(cursors);
            reader.batcher(lane, move |connection, keys: &[Arc<PageKey>]| {
                let page = |key: &Arc<PageKey>| {
                    let listed = list(connection, key)?;
                    Ok((Arc::clone(key), render(key, listed, &cursors).map(Arc::new)))
                };
                keys.iter().map(page).collect()
            })
        };
        Ok(Self {
            by_id: reader.batcher(by_id, |connection, ids: &[i64]| {
                let posts = store::find_all(connection, ids)?;
                Ok(posts.into_iter().map(|post| (post.id, Arc::new(post.into()))).collect())
            })?,
            pages: start(pages)?,
            searches: start(searches)?,
        })
    }
}

impl From<Post> for StoredPost {
    fn from(post: Post) -> Self {
        Self { post, json: OnceLock::new() }
    }
}

impl StoredPost {
    /// The whole post as JSON, made once for all who want it.
    pub(super) fn json(&self) -> Result<Bytes, Problem> {
        let json = self.json.get_or_init(|| {
            let mut json = Vec::with_capacity(self.post.content.as_ref().map_or(0, String::len) + 512);
            serde_json::to_writer(&mut json, &self.post)?;
            Ok(json.into())
        });
        json.as_ref().cloned().map_err(|error| Problem::internal(error))
    }
}

/// The posts of a page and one more where there is a further page; and how many there are on all, where that is asked for.
type Listed = (Vec<Post>, Option<i64>);

fn list(connection: &mut DbConnection, key: &PageKey) -> Result<Listed, db::Error> {
    let PageKey { scope, list, after, with_total, .. } = key;
    let read = |connection: &mut DbConnection| {
        let posts = store::list(connection, *scope, list, after.as_ref())?;
        let total = with_total.then(|| store::count(connection, *scope, &list.filter)).transpose()?;
        Ok((posts, total))
    };
    let is_one_statement = list.filter.q.is_none() && !with_total;
    if is_one_statement { read(connection) } else { db::snapshot(connection, read) }
}

/// Here and not on a worker: to look for hits takes a while where texts are long.
fn render(key: &PageKey, (mut posts, total): Listed, cursors: &CursorKeys) -> Result<RenderedPage, Problem> {
    let PageKey { list, name, .. } = key;
    let next = list.page.cut(&mut posts).map(|last| list.position_of(last));
    let items = posts.into_iter().map(|post| list.item(post)).collect();
    let next_cursor = next.map(|position| cursors.seal(name, &position)).transpose()?;
    let page = PostPage { items, next_cursor, total };
    RenderedPage::of(&page, page.next_cursor.clone())
}
