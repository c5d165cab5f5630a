//! The resource's queries.

use std::ops::RangeInclusive;

use diesel::dsl::{AsExprOf, max, sql};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{self, AstPass, QueryFragment, QueryId};
use diesel::sql_types::{Array, BigInt, Bool, Integer, Nullable, Text};

use super::list::{Content, Filter, Key, Order, Position, PostList, Sort};
use super::{NewPost, Post, Scope, excerpt, search};
use crate::db::schema::posts;
use crate::db::types::Timestamptz;
use crate::db::{self, Backend, DbConnection, Timestamp};
use crate::search::{Query, Rank};

/// How long the stretches are in which the posts that match are looked for, of a list in an order of its own.
const STRETCHES: [i64; 2] = [4096, 32_768];

/// So many posts that match are sooner read, all of them, than a further stretch is walked through.
const FEW: i64 = 2500;

/// The most posts that the index of words is asked for at once.
const CANDIDATES_MAX: i64 = 10_000;

#[declare_sql_function]
extern "SQL" {
    /// So many characters of a text, from this one on; the first is 1.
    fn substr(text: Nullable<Text>, first: Integer, count: Integer) -> Nullable<Text>;
}

/// A post's columns, with something else for its content.
type Columns<Content> = (
    posts::id,
    posts::title,
    posts::author,
    Content,
    posts::published,
    posts::owner_id,
    posts::created_on,
    posts::updated_on,
    posts::version,
);

/// A condition on posts.
type Condition<'a> = Box<dyn BoxableExpression<posts::table, Backend, SqlType = Nullable<Bool>> + 'a>;

/// The posts of a page, and the one after it.
pub(super) fn list(
    connection: &mut DbConnection,
    scope: Scope,
    list: &PostList,
    after: Option<&Position>,
) -> QueryResult<Vec<Post>> {
    match &list.order {
        Order::By(sort) => in_order(connection, scope, list, *sort, after),
        Order::Relevance(query) => most_relevant(connection, scope, list, query, after),
    }
}

fn in_order(
    connection: &mut DbConnection,
    scope: Scope,
    list: &PostList,
    sort: Sort,
    after: Option<&Position>,
) -> QueryResult<Vec<Post>> {
    match &list.filter.q {
        None => ordered(scope, list, sort, after).limit(list.page.look_ahead()).load(connection),
        Some(query) => matching_in_order(connection, scope, list, query, sort, after.cloned()),
    }
}

/// The list's posts from a position on, in an order.
fn ordered<'a>(
    scope: Scope,
    list: &'a PostList,
    sort: Sort,
    after: Option<&'a Position>,
) -> posts::BoxedQuery<'a, Backend> {
    let mut posts = conditions(scope, &list.filter).into_iter().fold(posts_of(list), QueryDsl::filter);
    if let Some(position) = after {
        posts = posts.filter(beyond(position, if sort.descending { "<" } else { ">" }));
    }
    match sort {
        Sort { key: Key::CreatedOn, descending: false } => posts.order((posts::created_on, posts::id)),
        Sort { key: Key::CreatedOn, descending: true } => posts.order((posts::created_on.desc(), posts::id.desc())),
        Sort { key: Key::UpdatedOn, descending: false } => posts.order((posts::updated_on, posts::id)),
        Sort { key: Key::UpdatedOn, descending: true } => posts.order((posts::updated_on.desc(), posts::id.desc())),
        Sort { key: Key::Title, descending: false } => posts.order((posts::title, posts::id)),
        Sort { key: Key::Title, descending: true } => posts.order((posts::title.desc(), posts::id.desc())),
        Sort { key: Key::Id, descending: false } => posts.order(posts::id),
        Sort { key: Key::Id, descending: true } => posts.order(posts::id.desc()),
    }
}

/// The index of words knows nothing of the order, so that all posts that match would have to be read to find the first
/// of them. It is asked for those in a stretch of the list at first: whose ids lie close together, as posts are mostly
/// changed in the order in which they were created. With titles it is no use.
fn matching_in_order(
    connection: &mut DbConnection,
    scope: Scope,
    list: &PostList,
    query: &Query,
    sort: Sort,
    mut after: Option<Position>,
) -> QueryResult<Vec<Post>> {
    let mut found: Vec<Post> = Vec::new();
    let stretches: &[i64] = if matches!(sort.key, Key::Title) { &[] } else { &STRETCHES };
    for &length in stretches {
        let Some((ids, end)) = stretch(connection, scope, list, sort, after.as_ref(), length)? else {
            return Ok(found);
        };
        let matches = search::matches(connection, query, ids);
        let up_to = beyond(&end, if sort.descending { ">=" } else { "<=" });
        let posts = ordered(scope, list, sort, after.as_ref()).filter(matches).filter(up_to);
        found.extend(posts.limit(missing(list, &found)).load::<Post>(connection)?);
        if missing(list, &found) <= 0 {
            return Ok(found);
        }
        after = Some(end);
        let highest: Option<i64> = posts::table.select(max(posts::id)).first(connection)?;
        let found = i64::try_from(found.len()).unwrap_or(i64::MAX);
        if found.saturating_add(1).saturating_mul(highest.unwrap_or(0) / length) <= FEW {
            // As rare as they have been so far.
            break;
        }
    }
    let matches = search::matches(connection, query, search::ANY_ID);
    let posts = ordered(scope, list, sort, after.as_ref()).filter(matches);
    found.extend(posts.limit(missing(list, &found)).load::<Post>(connection)?);
    Ok(found)
}

/// Between which ids the next so many posts of a list are, whatever their words, and the position of the last of them.
fn stretch(
    connection: &mut DbConnection,
    scope: Scope,
    list: &PostList,
    sort: Sort,
    after: Option<&Position>,
    length: i64,
) -> QueryResult<Option<(RangeInclusive<i64>, Position)>> {
    let ids = ordered(scope, list, sort, after).select(posts::id).limit(length).load::<i64>(connection)?;
    let (Some(lowest), Some(highest), Some(end)) = (ids.iter().min(), ids.iter().max(), ids.last()) else {
        return Ok(None);
    };
    let end = posts::table.find(end).select(columns(no_content())).first::<Post>(connection)?;
    Ok(Some((*lowest..=*highest, list.position_of(&end))))
}

/// How many posts a page, with the one after it, lacks.
fn missing(list: &PostList, found: &[Post]) -> i64 {
    list.page.look_ahead() - i64::try_from(found.len()).unwrap_or(i64::MAX)
}

/// Rank by rank, the newest first. The index of words knows nothing of what else is asked, so it is asked for some posts,
/// and for more of them as long as too few of those belong to the list.
fn most_relevant(
    connection: &mut DbConnection,
    scope: Scope,
    list: &PostList,
    query: &Query,
    after: Option<&Position>,
) -> QueryResult<Vec<Post>> {
    let (first, mut before) = match after {
        Some(Position::Rank(rank, id)) => (*rank, Some(*id)),
        _ => (Rank::AllInTitle, None),
    };
    let mut found: Vec<Post> = Vec::new();
    for rank in Rank::ALL.into_iter().filter(|rank| *rank >= first) {
        let mut candidates = list.page.look_ahead();
        loop {
            let missing = missing(list, &found);
            if missing <= 0 {
                return Ok(found);
            }
            let ids = search::candidates(connection, query, rank, before, candidates)?;
            let Some(&lowest) = ids.last() else { break };
            before = Some(lowest);
            let are_all = i64::try_from(ids.len()).is_ok_and(|count| count < candidates);
            let posts = conditions(scope, &list.filter).into_iter().fold(posts_of(list), QueryDsl::filter);
            let posts = posts.filter(posts::id.eq_any(ids)).order(posts::id.desc()).limit(missing);
            found.extend(posts.load::<Post>(connection)?);
            if are_all {
                break;
            }
            candidates = (candidates * 4).min(CANDIDATES_MAX);
        }
        before = None;
    }
    Ok(found)
}

/// All posts, with as much of each as a list shows.
fn posts_of<'a>(list: &PostList) -> posts::BoxedQuery<'a, Backend> {
    match list.content() {
        Content::Whole => posts::table.into_boxed(),
        Content::Start => {
            let start = substr(posts::content, 1, i32::from(excerpt::READ_MAX) + 1);
            posts::table.select(columns(start)).into_boxed()
        }
        Content::Nothing => posts::table.select(columns(no_content())).into_boxed(),
    }
}

/// A post's columns, with something else for its content.
fn columns<Content>(content: Content) -> Columns<Content> {
    (
        posts::id,
        posts::title,
        posts::author,
        content,
        posts::published,
        posts::owner_id,
        posts::created_on,
        posts::updated_on,
        posts::version,
    )
}

fn no_content() -> AsExprOf<Option<String>, Nullable<Text>> {
    None::<String>.into_sql::<Nullable<Text>>()
}

/// How many posts a list has on all its pages.
pub(super) fn count(connection: &mut DbConnection, scope: Scope, filter: &Filter) -> QueryResult<i64> {
    let mut count = conditions(scope, filter).into_iter().fold(posts::table.count().into_boxed(), QueryDsl::filter);
    if let Some(query) = &filter.q {
        count = count.filter(search::matches(connection, query, search::ANY_ID));
    }
    count.first(connection)
}

/// What the posts of a list have in common, but for the words that are searched for.
fn conditions(scope: Scope, filter: &Filter) -> Vec<Condition<'_>> {
    let Filter { author, published, created_on, updated_on, q: _ } = filter;
    let mut conditions: Vec<Condition<'_>> = match scope {
        // An equation and not the column alone: SQLite uses an index that begins with it only so.
        Scope::Published => vec![Box::new(posts::published.eq(true).nullable())],
        Scope::PublishedOrOwnedBy(user) => vec![Box::new(posts::published.nullable().or(posts::owner_id.eq(user)))],
        Scope::All => Vec::new(),
    };
    if let Some(published) = published {
        conditions.push(Box::new(posts::published.eq(published).nullable()));
    }
    if let Some(author) = author {
        conditions.push(Box::new(posts::author.eq(author)));
    }
    if let Some(at) = created_on.gte {
        conditions.push(Box::new(posts::created_on.ge(at).nullable()));
    }
    if let Some(at) = created_on.gt {
        conditions.push(Box::new(posts::created_on.gt(at).nullable()));
    }
    if let Some(at) = created_on.lte {
        conditions.push(Box::new(posts::created_on.le(at).nullable()));
    }
    if let Some(at) = created_on.lt {
        conditions.push(Box::new(posts::created_on.lt(at).nullable()));
    }
    if let Some(at) = updated_on.gte {
        conditions.push(Box::new(posts::updated_on.ge(at).nullable()));
    }
    if let Some(at) = updated_on.gt {
        conditions.push(Box::new(posts::updated_on.gt(at).nullable()));
    }
    if let Some(at) = updated_on.lte {
        conditions.push(Box::new(posts::updated_on.le(at).nullable()));
    }
    if let Some(at) = updated_on.lt {
        conditions.push(Box::new(posts::updated_on.lt(at).nullable()));
    }
    conditions
}

/// That a post is before or after a position, as the operator says. Key and id are compared as a pair, which an index
/// answers at once however many posts have that key; two comparisons with OR between them would walk through all before
/// it.
fn beyond<'a>(position: &'a Position, operator: &str) -> Condition<'a> {
    let pair = |key: &str| sql::<Nullable<Bool>>(&format!("(posts.{key}, posts.id) {operator} ("));
    match position {
        Position::CreatedOn(at, id) => {
            Box::new(pair("created_on").bind::<Timestamptz, _>(at).sql(", ").bind::<BigInt, _>(id).sql(")"))
        }
        Position::UpdatedOn(at, id) => {
            Box::new(pair("updated_on").bind::<Timestamptz, _>(at).sql(", ").bind::<BigInt, _>(id).sql(")"))
        }
        Position::Title(title, id) => {
            Box::new(pair("title").bind::<Text, _>(title).sql(", ").bind::<BigInt, _>(id).sql(")"))
        }
        Position::Id(id) => Box::new(sql::<Nullable<Bool>>(&format!("posts.id {operator} ")).bind::<BigInt, _>(id)),
        // Of a list by relevance, which goes its own way.
        Position::Rank(..) => Box::new(false.into_sql::<Bool>().nullable()),
    }
}

/// Those of the posts with these ids that there are, whoever may see them.
pub(super) fn find_all(connection: &mut DbConnection, ids: &[i64]) -> QueryResult<Vec<Post>> {
    let posts = posts::table.filter(posts::id.eq_any(ids));
    db::load_on_either(connection, posts)
}

/// Finds a post and keeps others from changing it until the transaction ends.
pub(super) fn find_for_update(connection: &mut DbConnection, scope: Scope, id: i64) -> QueryResult<Option<Post>> {
    let post: Option<Post> = match connection {
        DbConnection::Postgres(postgres) => posts::table.find(id).for_update().first(postgres).optional()?,
        // The transaction has held the write lock since its begin. Not `first`: SQLite compiles a statement with a limit
        // that is bound anew each time.
        DbConnection::Sqlite(sqlite) => posts::table.find(id).get_result(sqlite).optional()?,
    };
    Ok(post.filter(|post| scope.covers(post)))
}

/// A post to be created, and whose.
#[derive(Debug)]
pub(super) struct OwnedPost {
    pub(super) owner_id: i64,
    pub(super) post: NewPost,
}

impl OwnedPost {
    /// How long its texts are.
    pub(super) fn size(&self) -> usize {
        let NewPost { title, author, content, published: _ } = &self.post;
        title.len() + author.as_ref().map_or(0, String::len) + content.as_ref().map_or(0, String::len)
    }
}

pub(super) fn insert(connection: &mut DbConnection, OwnedPost { owner_id, post }: &OwnedPost) -> QueryResult<Post> {
    let now = Timestamp::now();
    let post = diesel::insert_into(posts::table)
        .values((post, posts::owner_id.eq(owner_id), posts::created_on.eq(now), posts::updated_on.eq(now)))
        .returning(posts::all_columns)
        .get_result(connection)?;
    search::index(connection, &post)?;
    Ok(post)
}

/// Creates posts, on PostgreSQL with one statement, and gives them in the same order; `None` for one that was left out
/// by a trigger of somebody else's.
pub(super) fn insert_all(connection: &mut DbConnection, posts: &[OwnedPost]) -> QueryResult<Vec<Option<Post>>> {
    match connection {
        DbConnection::Postgres(postgres) => InsertAll::of(posts).load(postgres),
        DbConnection::Sqlite(_) => posts.iter().map(|post| insert(connection, post).map(Some)).collect(),
    }
}

/// The statement that creates posts and their words, however many. It is always the same, and so stays prepared.
#[derive(Default)]
struct InsertAll<'a> {
    titles: Vec<&'a str>,
    authors: Vec<Option<&'a str>>,
    contents: Vec<Option<&'a str>>,
    published: Vec<bool>,
    owner_ids: Vec<i64>,
    created_on: Vec<Timestamp>,
    title_words: Vec<String>,
    author_words: Vec<String>,
    content_words: Vec<String>,
}

impl<'a> InsertAll<'a> {
    fn of(posts: &'a [OwnedPost]) -> Self {
        let mut all = Self::default();
        for OwnedPost { owner_id, post: NewPost { title, author, content, published } } in posts {
            let [title_words, author_words, content_words] =
                search::words_of(title, author.as_deref(), content.as_deref());
            all.titles.push(title);
            all.authors.push(author.as_deref());
            all.contents.push(content.as_deref());
            all.published.push(*published);
            all.owner_ids.push(*owner_id);
            all.created_on.push(Timestamp::now());
            all.title_words.push(title_words);
            all.author_words.push(author_words);
            all.content_words.push(content_words);
        }
        all
    }
}

impl QueryId for InsertAll<'_> {
    type QueryId = InsertAll<'static>;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl query_builder::Query for InsertAll<'_> {
    type SqlType = Nullable<posts::SqlType>;
}

impl RunQueryDsl<PgConnection> for InsertAll<'_> {}

impl QueryFragment<Pg> for InsertAll<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        // The ids first, so that each row that was stored is known by its own. Words of a text that a trigger changed
        // would be others': they are left to the background.
        out.push_sql(
            "WITH new AS ( \
                 SELECT nextval(pg_get_serial_sequence('posts', 'id')) AS id, sent.* FROM unnest(",
        );
        out.push_bind_param::<Array<Text>, _>(&self.titles)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<Nullable<Text>>, _>(&self.authors)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<Nullable<Text>>, _>(&self.contents)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<Bool>, _>(&self.published)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<BigInt>, _>(&self.owner_ids)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<Timestamptz>, _>(&self.created_on)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<Text>, _>(&self.title_words)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<Text>, _>(&self.author_words)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<Text>, _>(&self.content_words)?;
        out.push_sql(
            ") WITH ORDINALITY AS sent \
                 (title, author, content, published, owner_id, created_on, title_words, author_words, content_words, place) \
             ), created AS ( \
                 INSERT INTO posts (id, title, author, content, published, owner_id, created_on, updated_on) \
                 OVERRIDING SYSTEM VALUE \
                 SELECT id, title, author, content, published, owner_id, created_on, created_on FROM new \
                 RETURNING id, title, author, content, published, owner_id, created_on, updated_on, version \
             ), indexed AS ( \
                 INSERT INTO posts_search (post_id, title, author, content) \
                 SELECT new.id, title_words, author_words, content_words FROM new JOIN created ON created.id = new.id \
                 AND (created.title, created.author, created.content) \
                     IS NOT DISTINCT FROM (new.title, new.author, new.content) \
             ) \
             SELECT created.* FROM new LEFT JOIN created ON created.id = new.id ORDER BY new.place",
        );
        Ok(())
    }
}

/// Replaces what the post says, as its next version. Time never runs backwards for a post, also where the
/// clock does.
pub(super) fn update(connection: &mut DbConnection, stored: &Post, post: &NewPost) -> QueryResult<Post> {
    let now = Timestamp::now().max(stored.updated_on);
    let post: Post = diesel::update(posts::table.find(stored.id))
        .set((post, posts::updated_on.eq(now), posts::version.eq(stored.version + 1)))
        .returning(posts::all_columns)
        .get_result(connection)?;
    if (&post.title, &post.author, &post.content) != (&stored.title, &stored.author, &stored.content) {
        search::index(connection, &post)?;
    }
    Ok(post)
}

pub(super) fn delete(connection: &mut DbConnection, id: i64) -> QueryResult<usize> {
    diesel::delete(posts::table.find(id)).execute(connection)
}
