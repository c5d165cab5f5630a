//! The main job on real input, and many clients at once.

use std::path::Path;
use std::time::Instant;

use rstest::rstest;
use serde_json::{Value, json};

use crate::harness::{Database, Postgres, Sqlite, load_duration, say, start};

/// Posts that people wrote, an object a line, where they lie beside the checkout.
fn real_posts() -> Option<Vec<Value>> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/rust-blog.ndjson");
    let text = std::fs::read_to_string(file).ok()?;
    Some(text.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

#[rstest]
#[tokio::test]
async fn real_posts_come_back_byte_for_byte(#[values(Sqlite, Postgres)] database: Database) {
    let Some(posts) = real_posts() else { return };
    assert_eq!(posts.len(), 750);
    let api = start!(database);
    for (index, post) in posts.iter().enumerate() {
        let sent = json!({
            "title": post["title"], "author": post["author"], "content": post["content"], "published": post["published"],
        });
        let created = api.create(sent.clone()).await;
        let stored = api.get(&format!("/posts/{}", created["id"])).await.json();
        assert_eq!(stored, created);
        for (field, value) in sent.as_object().unwrap() {
            assert_eq!(stored[field], *value, "{field} of post {index}");
        }
    }
}

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_clients_at_once_see_no_error_but_a_503_that_says_when_to_come_back(
    #[values(Sqlite, Postgres)] database: Database,
) {
    let api = std::sync::Arc::new(start!(database));
    let end = Instant::now() + load_duration();
    let clients = (0..64).map(|client| {
        let api = std::sync::Arc::clone(&api);
        tokio::spawn(async move {
            let mut refused = 0;
            let mut answered = 0;
            while Instant::now() < end {
                let created = api.post("/posts", json!({"title": format!("Post of client {client}")})).await;
                // The harness has seen to it that a 503 has Retry-After.
                if created.status == 503 {
                    refused += 1;
                    continue;
                }
                assert_eq!(created.status, 201, "{created:?}");
                let path = created.header("location").to_owned();
                let changed =
                    api.patch(&path, json!({"content": "Changed"})).header("If-Match", created.header("etag")).await;
                assert!([200, 503].contains(&changed.status), "{changed:?}");
                for path in [path.as_str(), "/posts?limit=5"] {
                    let read = api.get(path).await;
                    assert!([200, 503].contains(&read.status), "{read:?}");
                }
                let deleted = api.delete(&path).await;
                assert!([204, 503].contains(&deleted.status), "{deleted:?}");
                answered += 5;
            }
            (answered, refused)
        })
    });
    let (mut answered, mut refused) = (0, 0);
    for client in clients.collect::<Vec<_>>() {
        let (answers, refusals) = client.await.unwrap();
        answered += answers;
        refused += refusals;
    }
    say(&format!("{database:?}: {answered} answered, {refused} refused in {:?}", load_duration()));
    assert!(answered > 0);
}
