//! The index of the posts' words: how it is kept, and what is found in it. A part of the store.
//!
//! **A row of `posts_search` is never stale, only ever missing.** Triggers delete it with the post, and when the post's
//! text changes, whoever does that. What writes posts here puts it back in the same transaction; what was written past
//! the service is indexed in the background ([`index_missing_posts`]), and not found until then.

use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use diesel::dsl::{exists, max, not, sql};
use diesel::expression::BoxableExpression;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Bool, Text};

use super::Post;
use crate::db::schema::{posts, posts_search};
use crate::db::{Backend, Db, DbConnection, Error};
use crate::search::{Query, Rank, Term, fold};

/// PostgreSQL's index keeps the ids in blocks that have all but so many bits in common.
const BLOCK_BITS: u32 = 11;

/// How many blocks the index is asked for at most. It looks through the posts of each.
const BLOCKS_MAX: i64 = 64;

/// How many ids PostgreSQL is asked for at first, and the rest of their block. The newest posts with a frequent word are
/// soon found.
const FIRST_WINDOW: i64 = 2048;

/// How many times larger each further window is. A rare word takes few of them.
const WINDOW_GROWTH: i64 = 32;

/// All ids that there can be.
pub const ANY_ID: RangeInclusive<i64> = 1..=i64::MAX;

/// How many ids the background work looks up at once.
const BATCH: i64 = 100;

/// How long the background work keeps others from writing, but for the post that it is at.
const TURN: Duration = Duration::from_millis(100);

/// Whether `posts_search` has the term in the title, on PostgreSQL.
const IN_TITLE: &str = "strpos(' ' || title || ' ', ' ' || term || ' ') > 0";

/// Whether it has the term in any field: no term has the line break that is between them.
const IN_POST: &str =
    "strpos(' ' || title || E' \\n ' || author || E' \\n ' || content || ' ', ' ' || term || ' ') > 0";

/// A post's row on PostgreSQL.
#[derive(AsChangeset, Insertable)]
#[diesel(table_name = posts_search, primary_key(post_id))]
struct Words {
    post_id: i64,
    title: String,
    author: String,
    content: String,
}

#[derive(QueryableByName)]
struct Id {
    #[diesel(sql_type = BigInt)]
    id: i64,
}

/// Makes a post be found by what it says now. Call it in the transaction that writes the post.
pub(super) fn index(connection: &mut DbConnection, post: &Post) -> QueryResult<()> {
    let [title, author, content] = words_of(&post.title, post.author.as_deref(), post.content.as_deref());
    let words = Words { post_id: post.id, title, author, content };
    match connection {
        DbConnection::Postgres(postgres) => diesel::insert_into(posts_search::table)
            .values(&words)
            .on_conflict(posts_search::post_id)
            .do_update()
            .set(&words)
            .execute(postgres),
        DbConnection::Sqlite(sqlite) => {
            sql_query("INSERT OR REPLACE INTO posts_search (rowid, title, author, content) VALUES (?, ?, ?, ?)")
                .bind::<BigInt, _>(words.post_id)
                .bind::<Text, _>(words.title)
                .bind::<Text, _>(words.author)
                .bind::<Text, _>(words.content)
                .execute(sqlite)
        }
    }
    .map(drop)
}

/// What a post is found by, as both databases keep it: the words of its title, its author and its content.
pub(super) fn words_of(title: &str, author: Option<&str>, content: Option<&str>) -> [String; 3] {
    [fold(title), fold(author.unwrap_or_default()), fold(content.unwrap_or_default())]
}

/// The ids of the posts that match a query and have this rank, the highest first: at most `limit` of those below
/// `before`. What a reader may see is for the caller to look at.
///
/// A page costs a few milliseconds at any depth, whether its words are rare or frequent. What costs more is a phrase
/// that occurs nowhere and whose words are in many posts.
pub fn candidates(
    connection: &mut DbConnection,
    query: &Query,
    rank: Rank,
    before: Option<i64>,
    limit: i64,
) -> QueryResult<Vec<i64>> {
    if rank == Rank::SomeInTitle && query.found().len() == 1 {
        // Of one term, the title has all or none.
        return Ok(Vec::new());
    }
    let before = before.unwrap_or(i64::MAX);
    match connection {
        DbConnection::Postgres(postgres) => candidates_on_postgres(postgres, query, rank, before, limit),
        DbConnection::Sqlite(sqlite) => {
            let rows = sql_query(
                "SELECT rowid AS id FROM posts_search WHERE posts_search MATCH ? AND rowid < ? \
                 ORDER BY rowid DESC LIMIT ?",
            );
            let rows = rows
                .bind::<Text, _>(match_expression(query, Some(rank)))
                .bind::<BigInt, _>(before)
                .bind::<BigInt, _>(limit);
            Ok(rows.load::<Id>(sqlite)?.into_iter().map(|row| row.id).collect())
        }
    }
}

/// Looks in the newest posts first, and then in ever larger parts of the rest. The index knows which posts have a word
/// and not which of these are the newest, so that without bounds a word that a million posts have would bring a
/// million rows to sort. Of a few blocks, it reads no more than what they have; for more of them, to compare ids is less.
fn candidates_on_postgres(
    connection: &mut PgConnection,
    query: &Query,
    rank: Rank,
    before: i64,
    limit: i64,
) -> QueryResult<Vec<i64>> {
    let (indexed, ranked) = match rank {
        Rank::AllInTitle => (
            "string_to_array(title, ' ') @> string_to_array($1, ' ')".to_owned(),
            format!("NOT EXISTS (SELECT FROM unnest(string_to_array($4, E'\\n')) AS term WHERE NOT {IN_TITLE})"),
        ),
        Rank::SomeInTitle => (
            "posts_search_words(title, author, content) @> string_to_array($1, ' ') \
             AND string_to_array(title, ' ') && string_to_array($1, ' ')"
                .to_owned(),
            format!(
                "EXISTS (SELECT FROM unnest(string_to_array($4, E'\\n')) AS term WHERE {IN_TITLE}) \
                 AND EXISTS (SELECT FROM unnest(string_to_array($4, E'\\n')) AS term WHERE NOT {IN_TITLE})"
            ),
        ),
        Rank::NoneInTitle => (
            "posts_search_words(title, author, content) @> string_to_array($1, ' ')".to_owned(),
            format!("NOT EXISTS (SELECT FROM unnest(string_to_array($4, E'\\n')) AS term WHERE {IN_TITLE})"),
        ),
    };
    // The OFFSET keeps the two parts apart: what takes a post's whole text to decide is decided of one post after the
    // other, and only until there are enough.
    let statement = |first: i64, last: i64| {
        let within = within(first, last);
        format!(
            "SELECT post_id AS id FROM ( \
             SELECT * FROM posts_search WHERE {indexed} AND {within} \
             ORDER BY post_id DESC OFFSET 0 \
         ) AS candidates \
         WHERE post_id BETWEEN {first} AND {last} AND {ranked} \
         AND NOT EXISTS (SELECT FROM unnest(string_to_array($2, E'\\n')) AS term WHERE NOT {IN_POST}) \
         AND NOT EXISTS (SELECT FROM unnest(string_to_array($3, E'\\n')) AS term WHERE {IN_POST}) \
         ORDER BY post_id DESC LIMIT $5"
        )
    };
    let highest: Option<i64> = posts_search::table.select(max(posts_search::post_id)).first(connection)?;
    let mut before = before.min(highest.unwrap_or(0).saturating_add(1));
    let mut window = FIRST_WINDOW;
    let mut ids = Vec::new();
    let limit = usize::try_from(limit).unwrap_or_default();
    while before > 1 && ids.len() < limit {
        let from = start_of_block(before.saturating_sub(window)).max(1);
        // Not kept as a prepared statement: each run is planned for its own bounds.
        let rows = sql_query(statement(from, before - 1))
            .bind::<Text, _>(words(query.found()))
            .bind::<Text, _>(phrases(query.found()))
            .bind::<Text, _>(lines(query.excluded()))
            .bind::<Text, _>(lines(query.found()))
            .bind::<BigInt, _>(i64::try_from(limit - ids.len()).unwrap_or(i64::MAX));
        ids.extend(rows.load::<Id>(connection)?.into_iter().map(|row| row.id));
        before = from;
        window = window.saturating_mul(WINDOW_GROWTH);
    }
    Ok(ids)
}

fn start_of_block(id: i64) -> i64 {
    id >> BLOCK_BITS << BLOCK_BITS
}

/// That an id in PostgreSQL's index is between these; where they span few blocks, that it is in one of those.
fn within(first: i64, last: i64) -> String {
    let (first_block, last_block) = (first >> BLOCK_BITS, last >> BLOCK_BITS);
    if last_block - first_block < BLOCKS_MAX {
        format!("ARRAY[post_id >> {BLOCK_BITS}] && ARRAY(SELECT generate_series({first_block}::bigint, {last_block}))")
    } else {
        format!("post_id BETWEEN {first} AND {last}")
    }
}

/// That a post matches a query, in whatever rank: a condition for a query of posts in an order of its own. The
/// connection says which database the query is for. Where it is known between which ids the posts are, the index is not
/// asked for others.
#[must_use]
pub fn matches(
    connection: &DbConnection,
    query: &Query,
    ids: RangeInclusive<i64>,
) -> Box<dyn BoxableExpression<posts::table, Backend, SqlType = Bool>> {
    let (first, last) = ids.into_inner();
    match connection {
        DbConnection::Postgres(_) => Box::new(
            sql::<Bool>(&format!(
                "posts.id IN (SELECT post_id FROM posts_search \
                 WHERE {} AND posts_search_words(title, author, content) @> string_to_array(",
                within(first, last)
            ))
            .bind::<Text, _>(words(query.found()))
            .sql(", ' ') AND NOT EXISTS (SELECT FROM unnest(string_to_array(")
            .bind::<Text, _>(phrases(query.found()))
            .sql(&format!(", E'\\n')) AS term WHERE NOT {IN_POST}"))
            .sql(") AND NOT EXISTS (SELECT FROM unnest(string_to_array(")
            .bind::<Text, _>(phrases(query.excluded()))
            .sql(&format!(", E'\\n')) AS term WHERE {IN_POST})"))
            // All posts that match are read, so that the index pays for the words that must not be there, too.
            .sql(&format!(
                " AND post_id NOT IN (SELECT post_id FROM posts_search \
                 WHERE {} AND posts_search_words(title, author, content) && string_to_array(",
                within(first, last)
            ))
            .bind::<Text, _>(words(query.excluded().iter().filter(|term| !term.is_phrase())))
            .sql(", ' ')))"),
        ),
        DbConnection::Sqlite(_) => Box::new(
            sql::<Bool>("posts.id IN (SELECT rowid FROM posts_search WHERE posts_search MATCH ")
                .bind::<Text, _>(match_expression(query, None))
                .sql(&format!(" AND rowid BETWEEN {first} AND {last})")),
        ),
    }
}

/// All words of the terms, with a space between.
fn words<'a>(terms: impl IntoIterator<Item = &'a Term>) -> String {
    joined(terms, " ")
}

/// The terms, each on a line.
fn lines<'a>(terms: impl IntoIterator<Item = &'a Term>) -> String {
    joined(terms, "\n")
}

/// The phrases among the terms, each on a line. For words alone the index is enough.
fn phrases(terms: &[Term]) -> String {
    lines(terms.iter().filter(|term| term.is_phrase()))
}

fn joined<'a>(terms: impl IntoIterator<Item = &'a Term>, separator: &str) -> String {
    terms.into_iter().map(Term::as_str).collect::<Vec<_>>().join(separator)
}

/// The query in the language of SQLite's FTS5, for a rank or for all of them. Terms consist of letters, digits, marks
/// and spaces, so that nothing in their quotes can end these.
fn match_expression(query: &Query, rank: Option<Rank>) -> String {
    let quoted = |terms: &[Term]| terms.iter().map(|term| format!("\"{}\"", term.as_str())).collect::<Vec<_>>();
    let all = quoted(query.found()).join(" AND ");
    let any = quoted(query.found()).join(" OR ");
    let mut excluded = quoted(query.excluded());
    let found = match rank {
        None => format!("({all})"),
        Some(Rank::AllInTitle) => format!("(title : ({all}))"),
        Some(Rank::SomeInTitle) => {
            excluded.push(format!("(title : ({all}))"));
            format!("(({all}) AND (title : ({any})))")
        }
        Some(Rank::NoneInTitle) => {
            excluded.push(format!("(title : ({any}))"));
            format!("({all})")
        }
    };
    if excluded.is_empty() { found } else { format!("{found} NOT ({})", excluded.join(" OR ")) }
}

/// Indexes posts that are not: those of a release before this one, of an import past the service, of another program that
/// writes posts.
pub async fn index_missing_posts(db: &Db) {
    match index_missing(db).await {
        Ok(0) => {}
        Ok(posts) => tracing::info!(posts, "posts that were not indexed can be found now"),
        Err(error) => tracing::warn!(%error, "posts that are not indexed could not be"),
    }
}

/// Looks for posts without holding up anybody, and indexes them a few at a time.
async fn index_missing(db: &Db) -> Result<usize, Error> {
    let (mut indexed, mut last) = (0, 0);
    loop {
        let ids = db.read(move |connection| Ok::<_, Error>(missing(connection, last)?)).await?;
        if ids.is_empty() {
            return Ok(indexed);
        }
        let (done, count) = db.write(move |connection| Ok::<_, Error>(index_in_turn(connection, ids)?)).await?;
        (last, indexed) = (done, indexed + count);
    }
}

/// The first posts above an id that are not indexed.
fn missing(connection: &mut DbConnection, after: i64) -> QueryResult<Vec<i64>> {
    let statement = match connection {
        DbConnection::Postgres(_) => {
            "SELECT id FROM posts WHERE id > $1 \
             AND NOT EXISTS (SELECT FROM posts_search WHERE post_id = posts.id) ORDER BY id LIMIT $2"
        }
        // The plus keeps it from the table, whose every page has a text on it, to an index, which has the ids as well.
        DbConnection::Sqlite(_) => {
            "SELECT id FROM posts WHERE +id > ? \
             AND NOT EXISTS (SELECT 1 FROM posts_search WHERE rowid = posts.id) ORDER BY +id LIMIT ?"
        }
    };
    let rows = sql_query(statement).bind::<BigInt, _>(after).bind::<BigInt, _>(BATCH);
    Ok(rows.load::<Id>(connection)?.into_iter().map(|row| row.id).collect())
}

/// Indexes posts until the turn is over. Returns the last one's id, and how many it were.
fn index_in_turn(connection: &mut DbConnection, ids: Vec<i64>) -> QueryResult<(i64, usize)> {
    let begun = Instant::now();
    let (mut last, mut indexed) = (0, 0);
    for id in ids {
        let post: Option<Post> = match connection {
            // Who has the post locked indexes it, or leaves it for the next time. Another server may have been here.
            DbConnection::Postgres(postgres) => posts::table
                .find(id)
                .filter(not(exists(posts_search::table.find(id))))
                .for_update()
                .skip_locked()
                .first(postgres)
                .optional()?,
            DbConnection::Sqlite(sqlite) => posts::table.find(id).first(sqlite).optional()?,
        };
        if let Some(post) = post {
            index(connection, &post)?;
            indexed += 1;
        }
        last = id;
        if begun.elapsed() > TURN {
            break;
        }
    }
    Ok((last, indexed))
}

#[cfg(test)]
mod tests {
    use diesel::connection::SimpleConnection as _;

    use super::*;
    use crate::db::{DatabaseUrl, migrations};

    #[test]
    fn a_list_in_an_order_of_its_own_has_the_posts_that_match() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("posts.db");
        migrations::run(&DatabaseUrl::sqlite(&path)).unwrap();
        let mut connection = DbConnection::Sqlite(SqliteConnection::establish(path.to_str().unwrap()).unwrap());
        let rows = "INSERT INTO posts (title, content, created_on, updated_on) \
                    SELECT column1, column2, '2026-11-24T12:00:00.000000Z', '2026-11-24T12:00:00.000000Z' FROM (VALUES \
                    ('b c', 'x'), ('A', 'b, c'), ('a', 'c b'), ('B', 'a x'), ('\u{e1} b', NULL))";
        connection.batch_execute(rows).unwrap();
        let ids = missing(&mut connection, 0).unwrap();
        assert_eq!(ids, [1, 2, 3, 4, 5]);
        assert_eq!(index_in_turn(&mut connection, ids).unwrap(), (5, 5));

        let mut found = |query: &str| -> Vec<i64> {
            let query = Query::parse(query).unwrap();
            let list = posts::table.filter(matches(&connection, &query, ANY_ID)).order(posts::id).select(posts::id);
            list.load(&mut connection).unwrap()
        };
        assert_eq!(found("a"), [2, 3, 4, 5]);
        assert_eq!(found("b a"), [2, 3, 4, 5]);
        assert_eq!(found("\"b c\""), [1, 2]);
        assert_eq!(found("a -x -\"b c\""), [3, 5]);
        assert_eq!(found("nothing"), [0; 0]);
    }
}
