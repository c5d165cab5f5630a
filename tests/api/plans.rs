//! How both databases read a list: along an index that has the order, without a sort and without a look at every post.

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use diesel::sql_types::Text;
use posts_api::db::DbConnection;
use serde_json::Value;

use crate::harness::{Api, Postgres, Request, Sqlite, TestDatabase};

#[derive(QueryableByName)]
struct Line {
    #[diesel(sql_type = Text)]
    line: String,
}

/// The columns of EXPLAIN cannot be renamed.
#[derive(QueryableByName)]
struct PostgresPlan {
    #[diesel(sql_type = Text, column_name = "QUERY PLAN")]
    line: String,
}

#[derive(QueryableByName)]
struct SqlitePlan {
    #[diesel(sql_type = Text)]
    detail: String,
}

/// Indexed, too, if without words: or the server would do that, and its statements would be the last.
const POSTS: &str = "INSERT INTO posts (title, author, published, created_on, updated_on) \
    SELECT 'Title ' || (number * 7919 % 1000), 'Author ' || (number % 100), number % 10 <> 0, \
    timestamptz '2001-01-01T00:00:00Z' + number * interval '1 minute', timestamptz '2001-01-01T00:00:00Z' + number * interval '1 hour' \
    FROM generate_series(1, 50000) AS number; \
    INSERT INTO posts_search (post_id, title, author, content) SELECT id, '', '', '' FROM posts; \
    ANALYZE posts";

/// The list that the server read last, with `$1` for its first value and so on.
fn last_statement(connection: &mut PgConnection) -> String {
    let rows: Vec<Line> = diesel::sql_query(
        "SELECT query AS line FROM pg_stat_activity \
         WHERE datname = current_database() AND application_name = 'posts' AND query LIKE '%\"posts\".\"created_on\"%' \
         ORDER BY query_start DESC LIMIT 1",
    )
    .load(connection)
    .unwrap();
    let [statement] = <[Line; 1]>::try_from(rows).ok().expect("a connection, which has just read a list");
    statement.line
}

/// How PostgreSQL would run a statement with values like those that a list has.
fn plan_of_postgres(connection: &mut PgConnection, statement: &str) -> Vec<String> {
    connection.batch_execute(&format!("DEALLOCATE ALL; PREPARE list AS {statement}")).unwrap();
    let types: Vec<Line> = diesel::sql_query(
        "SELECT type::text AS line FROM pg_prepared_statements, unnest(parameter_types) WITH ORDINALITY AS types (type, place) \
         WHERE name = 'list' ORDER BY place",
    )
    .load(connection)
    .unwrap();
    let values: Vec<_> = types
        .iter()
        .map(|Line { line }| match line.as_str() {
            "boolean" => "true",
            "bigint" => "21",
            "text" => "'Author 7'",
            "timestamp with time zone" => "'2001-01-10T00:00:00Z'",
            other => panic!("a value of type {other}"),
        })
        .collect();
    let values = if values.is_empty() { String::new() } else { format!("({})", values.join(", ")) };
    let plan: Vec<PostgresPlan> = diesel::sql_query(format!("EXPLAIN EXECUTE list{values}")).load(connection).unwrap();
    plan.into_iter().map(|plan| plan.line).collect()
}

/// How SQLite would run the same statement.
fn plan_of_sqlite(connection: &mut SqliteConnection, statement: &str) -> Vec<String> {
    let plan: Vec<SqlitePlan> = diesel::sql_query(format!("EXPLAIN QUERY PLAN {statement}")).load(connection).unwrap();
    plan.into_iter().map(|plan| plan.detail).collect()
}

#[tokio::test]
async fn each_page_of_each_order_is_read_along_an_index() {
    let Some(database) = TestDatabase::create(Postgres) else { return };
    database.execute(POSTS).unwrap();
    let other = TestDatabase::create(Sqlite).unwrap();
    let (DbConnection::Postgres(mut postgres), DbConnection::Sqlite(mut sqlite)) =
        (database.connect(), other.connect())
    else {
        panic!("one of each");
    };
    let api = Api::start(database, |config| config.database.pool_size = 1);
    let author = api.user("author");
    let callers: [(&str, &dyn Fn(Request) -> Request); 3] =
        [("nobody", &Request::anonymous), ("author", &|get| get.by(&author)), ("admin", &|get| get)];
    let filters = [
        ("", &["created_on", "updated_on", "title", "id"][..]),
        ("&published=true", &["created_on", "updated_on", "title", "id"]),
        ("&published=false", &["created_on", "updated_on", "title", "id"]),
        ("&author=Author+7", &["created_on"]),
        ("&created_on[gte]=2001-01-02T00:00:00Z&created_on[lt]=2001-02-01T00:00:00Z", &["created_on"]),
        ("&updated_on[gt]=2001-01-02T00:00:00Z", &["updated_on"]),
    ];
    for (caller, as_caller) in callers {
        for (filter, sorts) in filters {
            for sort in sorts.iter().flat_map(|sort| [(*sort).to_owned(), format!("-{sort}")]) {
                let mut path = format!("/posts?sort={sort}{filter}");
                for page in ["first", "second"] {
                    let answer = as_caller(api.get(&path)).await;
                    assert_eq!(answer.status, 200, "{path} {answer:?}");
                    let statement = last_statement(&mut postgres);
                    let plans = [plan_of_postgres(&mut postgres, &statement), plan_of_sqlite(&mut sqlite, &statement)];
                    for plan in plans {
                        let text = format!("{caller}: {path}, {page} page\n{statement}\n{}", plan.join("\n"));
                        for bad in ["Seq Scan", "Sort", "Bitmap", "TEMP B-TREE", "MULTI-INDEX"] {
                            assert!(!plan.iter().any(|line| line.contains(bad)), "{bad}: {text}");
                        }
                        // SQLite says "SCAN … USING INDEX" of a walk along an index, and "SCAN posts" of all rows; but
                        // along the ids those are the order.
                        let all = plan.iter().any(|line| line == "SCAN posts");
                        assert!(!all || sort.trim_start_matches('-') == "id", "{text}");
                    }
                    match answer.json()["next_cursor"] {
                        Value::String(ref cursor) => path = format!("{path}&cursor={cursor}"),
                        _ => break,
                    }
                }
            }
        }
    }
}
