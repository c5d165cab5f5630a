//! Contract section 1 and 2: the post, and what can be done with it.

use rstest::rstest;
use serde_json::json;

use crate::harness::{Database, Postgres, Sqlite, start};

#[rstest]
#[tokio::test]
async fn a_created_post_comes_back_as_it_was_sent(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let created =
        api.post("/posts", json!({"title": "Hello", "author": "Ada", "content": "", "published": false})).await;
    assert_eq!(created.status, 201);
    assert_eq!(created.header("location"), "/posts/1");
    let post = created.json();
    assert_eq!(post["content"], "");
    assert_eq!(api.get("/posts/1").await.json(), post);
}
