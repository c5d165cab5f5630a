//! `--replica-url`: reads go to standbys, whoever wrote reads what it wrote, and what a standby cannot do the primary does.

use serde_json::json;

use crate::harness::{Answer, Api, Standby, TestDatabase, eventually, ids};

/// A server on a primary with a standby. `None` where this machine has no PostgreSQL.
fn start() -> Option<(Api, Standby)> {
    let database = TestDatabase::create_on_a_server_of_its_own()?;
    let standby = database.start_standby();
    let url = standby.url();
    Some((Api::start(database, |config| config.database.replicas = vec![url]), standby))
}

/// Waits until the standby shows a post, or no longer does.
async fn until(api: &Api, path: &str, status: u16) {
    eventually(&format!("{path} is {status}"), || async { api.get(path).await.status == status }).await;
}

/// What a metric says of the first replica: of that of all tests in this process.
async fn metric(api: &Api, name: &str) -> u64 {
    let metrics = api.get("/metrics").await;
    let start = format!("{name}{{replica=\"1\"}} ");
    metrics.text().lines().find_map(|line| line.strip_prefix(&start)?.parse().ok()).unwrap()
}

fn title(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["title"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn reads_go_to_the_standby_and_who_wrote_reads_what_it_wrote() {
    let Some((api, standby)) = start() else { return };
    api.create(json!({"title": "kept apple"})).await;
    api.create(json!({"title": "gone apple"})).await;
    until(&api, "/posts/2", 200).await;
    standby.hold();

    let changed = api.patch("/posts/1", json!({"title": "new apple"})).await;
    let replaced = api.put("/posts/1", json!({"title": "newer apple"})).await;
    let deleted = api.delete("/posts/2").await;
    let created = api.post("/posts", json!({"title": "third apple"})).await;
    for answer in [&changed, &replaced, &deleted, &created] {
        let position = answer.header("posts-position");
        let cookie = answer.header("set-cookie");
        assert_eq!(cookie, format!("posts_position={position}; HttpOnly; SameSite=Strict; Path=/"), "{answer:?}");
    }

    let late = metric(&api, "posts_db_replica_late_total").await;
    let lists = ["/posts?sort=id", "/posts?q=apple&sort=id", "/posts?q=apple"];
    // Who does not say what it must see, sees what the standby does.
    assert_eq!(title(&api.get("/posts/1").await), "kept apple");
    assert_eq!(api.get("/posts/2").await.status, 200);
    assert_eq!(api.get("/posts/3").await.status, 404);
    for list in lists {
        assert_eq!(ids(&api.get(list).await).len(), 2, "{list}");
    }
    let position = created.header("posts-position").as_bytes();
    for (name, value) in [
        ("Posts-Position", position.to_vec()),
        ("Cookie", [b"a=b; posts_position=", position].concat()),
        // Another's cookie, in another coding; and an older one of ours, for a longer path.
        ("Cookie", [b"name=caf\xe9; posts_position=", position].concat()),
        ("Cookie", [b"posts_position=0/1; posts_position=", position].concat()),
        ("Posts-Position", b"nonsense".to_vec()),
        ("Cookie", b"posts_position=".to_vec()),
    ] {
        let get = |path: &str| api.get(path).header(name, &value);
        let value = value.escape_ascii();
        assert_eq!(title(&get("/posts/1").await), "newer apple", "{name}: {value}");
        assert_eq!(get("/posts/2").await.status, 404, "{name}: {value}");
        assert_eq!(get("/posts/3").await.status, 200, "{name}: {value}");
        for list in lists {
            let mut found = ids(&get(list).await);
            found.sort_unstable();
            assert_eq!(found, [1, 3], "{list} {name}: {value}");
        }
    }
    assert!(metric(&api, "posts_db_replica_late_total").await > late, "the standby was late, and that was counted");
    // The condition of a write is held to the primary's state.
    api.patch("/posts/1", json!({"title": "lost"})).header("If-Match", "\"1.1\"").await.problem("precondition-failed");

    standby.resume();
    until(&api, "/posts/3", 200).await;
    assert_eq!(title(&api.get("/posts/1").await), "newer apple");
}

#[tokio::test]
async fn who_may_do_what_is_never_the_standbys_word() {
    let Some((api, standby)) = start() else { return };
    let author = api.user("author");
    api.create(json!({"title": "draft", "published": false})).await;
    until(&api, "/posts/1", 200).await;
    standby.hold();
    assert_eq!(api.get("/auth/me").by(&author).await.status, 200, "a user whom the standby does not know");
    let disabled = api.patch(&format!("/users/{}", author.id), json!({"disabled": true})).await;
    assert_eq!(disabled.status, 200, "{disabled:?}");
    assert_eq!(disabled.header("posts-position"), "", "only posts are read from replicas");
    api.get("/posts/1").by(&author).await.problem("unauthorized");
}

#[tokio::test]
async fn a_standby_that_is_gone_is_missed_by_nobody() {
    let Some((api, standby)) = start() else { return };
    api.create(json!({"title": "apple"})).await;
    until(&api, "/posts/1", 200).await;
    let failures = metric(&api, "posts_db_replica_failures_total").await;
    drop(standby);
    for number in 0..200 {
        let created = api.create(json!({"title": "apple"})).await;
        let path = format!("/posts/{}", created["id"]);
        // It may have gone in the middle of this.
        assert_eq!(api.get("/posts/1").await.status, 200, "{number}");
        assert_eq!(api.get("/posts?q=apple").await.status, 200, "{number}");
        let get = api.get(&path).header("Posts-Position", "FFFFFFFF/0").await;
        assert_eq!(get.status, 200, "{number}");
    }
    assert!(metric(&api, "posts_db_replica_failures_total").await > failures, "it failed, and was counted");
}

#[tokio::test]
async fn a_standby_may_be_out_of_reach_at_the_start() {
    let Some(database) = TestDatabase::create_on_a_server_of_its_own() else { return };
    let nowhere = posts_api::db::DatabaseUrl::parse("postgres:///nothing?host=/nowhere").unwrap();
    let api = Api::start(database, |config| config.database.replicas = vec![nowhere]);
    api.create(json!({"title": "apple"})).await;
    assert_eq!(title(&api.get("/posts/1").await), "apple");
}

#[tokio::test]
async fn without_replicas_there_is_nothing_to_name() {
    let Some(database) = TestDatabase::create(crate::harness::Postgres) else { return };
    let api = Api::start(database, |_| {});
    let created = api.post("/posts", json!({"title": "apple"})).await;
    assert_eq!((created.status, created.header("posts-position"), created.header("set-cookie")), (201, "", ""));
    assert_eq!(api.get("/posts/1").header("Posts-Position", "nonsense").await.status, 200);
}
