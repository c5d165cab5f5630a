//! How posts are read: by lanes, in which many requests are one query. See [`Batcher`].

use std::io;
use std::sync::{Arc, OnceLock};

use actix_web::web::Bytes;

use super::list::{Position, PostList};
use super::{Post, PostPage, Scope, store};
use crate::db::{self, Batcher, Db, DbConnection, Lane};
use crate::http::cursor::CursorKeys;
use crate::http::page::RenderedPage;
use crate::http::problem::Problem;

/// Two queries at once keep both sides busy: while one is being answered, the next is being sent.
const BY_ID: Lane = Lane { name: "posts", threads: 2, batch: 128, waiting: 4096 };

/// A query a page, so that a batch is those who ask for the same.
const PAGES: Lane = Lane { name: "pages", threads: 2, batch: 1, waiting: 1024 };

/// As pages, apart from them: nobody who wants a page should wait for what takes long.
const SEARCHES: Lane = Lane { name: "searches", threads: 2, batch: 1, waiting: 256 };

/// The lanes.
#[derive(Debug)]
pub struct Reads {
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
        let pages = |lane| {
            let cursors = Arc::clone(cursors);
            db.batcher(lane, move |connection, keys: &[Arc<PageKey>]| {
                let page = |key: &Arc<PageKey>| {
                    let listed = list(connection, key)?;
                    Ok((Arc::clone(key), render(key, listed, &cursors).map(Arc::new)))
                };
                keys.iter().map(page).collect()
            })
        };
        Ok(Self {
            by_id: db.batcher(BY_ID, |connection, ids: &[i64]| {
                let posts = store::find_all(connection, ids)?;
                Ok(posts.into_iter().map(|post| (post.id, Arc::new(post.into()))).collect())
            })?,
            pages: pages(PAGES)?,
            searches: pages(SEARCHES)?,
        })
    }

    /// The post with this id. Fails with 404 where there is none in the scope.
    pub(super) async fn post(&self, scope: Scope, id: i64) -> Result<Arc<StoredPost>, Problem> {
        let found = self.by_id.get(id).await?;
        found.filter(|stored| scope.covers(&stored.post)).ok_or_else(Problem::not_found)
    }

    /// A page of the list.
    pub(super) async fn page(&self, key: PageKey) -> Result<Arc<RenderedPage>, Problem> {
        let lane = if key.list.filter.q.is_some() || key.with_total { &self.searches } else { &self.pages };
        lane.get(Arc::new(key)).await?.ok_or_else(Problem::not_found)?
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
