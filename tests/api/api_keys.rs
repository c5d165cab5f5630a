//! Contract section 6: API keys, from the first sight of one to its end.

use std::path::Path;
use std::time::Duration;

use diesel::deserialize::QueryableByName;
use diesel::sql_types::Text;
use diesel::{RunQueryDsl as _, sql_query};
use futures_util::future::join_all;
use posts_api::db::{DbConnection, Timestamp};
use rstest::rstest;
use serde_json::{Value, json};

use crate::harness::{Answer, Api, Database, PASSWORD, Postgres, Sqlite, TestDatabase, User, eventually, start};

/// Creates a key, and returns its id and the key.
async fn create(api: &Api, owner: &str, body: Value) -> (i64, String) {
    let answer = api.post("/api-keys", body).bearing(owner).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let created = answer.json();
    (created["id"].as_i64().unwrap(), created["key"].as_str().unwrap().to_owned())
}

/// Creates a key with this role that does not expire.
async fn create_with_role(api: &Api, owner: &User, role: &str) -> (i64, String) {
    create(api, &owner.token, json!({"name": "nightly import", "role": role})).await
}

/// The status and the role that a key has.
async fn effect(api: &Api, key: &str) -> (u16, Option<String>) {
    let me = api.get("/auth/me").bearing(key).await;
    (me.status, me.json()["role"].as_str().map(str::to_owned))
}

async fn list(api: &Api, owner: &User) -> Vec<Value> {
    let answer = api.get("/api-keys").by(owner).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["items"].as_array().unwrap().clone()
}

/// An instant as far ahead, as a client writes it.
fn ahead(by: Duration) -> String {
    json!(Timestamp::now() + by).as_str().unwrap().to_owned()
}

const HOUR: Duration = Duration::from_hours(1);

// To create one.

#[rstest]
#[tokio::test]
async fn a_created_key_is_shown_and_works(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let author = api.user("author");
    let before = json!(Timestamp::now());
    let answer = api.post("/api-keys", json!({"name": " nightly\timport ", "role": "author"})).by(&author).await;
    let after = json!(Timestamp::now());
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!(answer.header("location"), "/api-keys/1");
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.header("cache-control"), "no-store");

    let created = answer.json();
    let key = created["key"].as_str().unwrap();
    let parts: Vec<_> = key.split('_').collect();
    let is_hexadecimal = |part: &str| part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    assert_eq!((parts.len(), parts[0], parts[1].len(), parts[2].len()), (3, "posts", 8, 64), "{key}");
    assert!(is_hexadecimal(parts[1]) && is_hexadecimal(parts[2]), "{key}");
    let created_on = created["created_on"].as_str().unwrap();
    assert!(before.as_str().unwrap() <= created_on && created_on <= after.as_str().unwrap(), "{created}");
    let expected = json!({
        "id": 1,
        "name": " nightly\timport ",
        "role": "author",
        "prefix": parts[1],
        "created_on": created_on,
        "expires_on": null,
        "last_used_on": null,
        "key": key,
    });
    assert_eq!(created, expected);

    let me = api.get("/auth/me").bearing(key).await;
    assert_eq!(me.json(), json!({"id": author.id, "email": author.email, "role": "author"}));
    let post = api.post("/posts", json!({"title": "Hello"})).bearing(key).await;
    assert_eq!((post.status, &post.json()["owner_id"]), (201, &json!(author.id)));

    // No other is like it.
    let (_, other) = create_with_role(&api, &author, "author").await;
    assert!(other[15..] != key[15..] && other[6..14] != key[6..14], "{key} {other}");
}

#[rstest]
#[tokio::test]
async fn only_what_is_exactly_the_key_is_the_key(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let (_, key) = create_with_role(&api, &api.user("author"), "author").await;
    let (other_prefix, secret) = (format!("posts_00000000_{}", &key[15..]), &key[15..]);
    let wrong = [&key.to_uppercase(), &key[..78], &format!("{key}0"), &other_prefix, &key[6..], secret, "posts_"];
    for wrong in wrong {
        assert_eq!(effect(&api, wrong).await.0, 401, "{wrong}");
    }
    let (first, rest) = key.split_at(78);
    let last = if rest == "0" { "1" } else { "0" };
    assert_eq!(effect(&api, &format!("{first}{last}")).await.0, 401);
    assert_eq!(effect(&api, &key).await, (200, Some("author".to_owned())));
    // The scheme's name is in whatever case (RFC 9110 §11.1).
    let lower = api.get("/auth/me").anonymous().header("Authorization", format!("bearer {key}")).await;
    assert_eq!(lower.status, 200);
}

#[rstest]
#[tokio::test]
async fn a_key_is_shown_once_and_kept_nowhere(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let author = api.user("author");
    let (id, key) = create_with_role(&api, &author, "author").await;
    let (prefix, secret) = (&key[6..14], &key[15..]);
    let listed = api.get("/api-keys").by(&author).await;
    let expected = json!({"items": [{
        "id": id,
        "name": "nightly import",
        "role": "author",
        "prefix": prefix,
        "created_on": listed.json()["items"][0]["created_on"],
        "expires_on": null,
        "last_used_on": null,
    }]});
    assert_eq!(listed.json(), expected);
    assert_eq!(listed.header("cache-control"), "no-store");

    let kept = everything_kept(&api.database);
    let holds = |part: &[u8]| kept.windows(part.len()).any(|window| window == part);
    let hexadecimal = |bytes: &[u8]| data_encoding::HEXLOWER.encode(bytes).into_bytes();
    // That it would be found if it were there.
    assert!(holds(prefix.as_bytes()) && holds(b"nightly import"));
    for part in [key.as_str(), secret, &secret[..16], &secret[48..]] {
        assert!(!holds(part.as_bytes()) && !holds(part.to_uppercase().as_bytes()), "{part}");
        assert!(!holds(&hexadecimal(part.as_bytes())), "{part} in hexadecimal");
    }
    assert!(!holds(&data_encoding::HEXLOWER.decode(secret.as_bytes()).unwrap()), "the secret's bytes");
}

/// The bytes of the database: of SQLite its files, of PostgreSQL the table as text, in which bytes are hexadecimal.
fn everything_kept(database: &TestDatabase) -> Vec<u8> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        row: String,
    }
    match database.connect() {
        DbConnection::Sqlite(_) => {
            let file = Path::new(database.address().strip_prefix("sqlite:").unwrap());
            let files = std::fs::read_dir(file.parent().unwrap()).unwrap();
            files.flat_map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect()
        }
        DbConnection::Postgres(mut postgres) => {
            let rows: Vec<Row> = sql_query("SELECT api_keys::text AS row FROM api_keys").load(&mut postgres).unwrap();
            rows.into_iter().flat_map(|row| row.row.into_bytes()).collect()
        }
    }
}

#[rstest]
#[tokio::test]
async fn what_breaks_a_rule_is_refused_with_all_its_faults(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let author = api.user("author");
    let past = json!(Timestamp::now());
    let with = |name: &str, value: Value| {
        let mut body = json!({"name": "nightly import", "role": "author"});
        body[name] = value;
        body
    };
    for (body, faults) in [
        (json!({}), vec!["/name required", "/role required"]),
        (json!([]), vec![" wrong_type"]),
        (
            json!({"name": null, "role": null, "expires_on": 7}),
            vec!["/name wrong_type", "/role wrong_type", "/expires_on wrong_type"],
        ),
        (
            json!({"name": "", "role": "Author", "expires_on": "soon", "id": 7, "prefix": "0"}),
            vec![
                "/name too_short",
                "/role invalid",
                "/expires_on invalid",
                "/id unknown_field",
                "/prefix unknown_field",
            ],
        ),
        (with("name", json!("x".repeat(101))), vec!["/name too_long"]),
        (with("name", json!("𝒳".repeat(101))), vec!["/name too_long"]),
        (with("name", json!(" \u{2003}\n")), vec!["/name blank"]),
        (with("name", json!("a\0b")), vec!["/name contains_nul"]),
        (with("name", json!(7)), vec!["/name wrong_type"]),
        (with("role", json!("owner")), vec!["/role invalid"]),
        (with("role", json!("")), vec!["/role invalid"]),
        (with("key", json!("posts_")), vec!["/key unknown_field"]),
        (with("user_id", json!(1)), vec!["/user_id unknown_field"]),
        (with("last_used_on", json!(null)), vec!["/last_used_on unknown_field"]),
        (with("expires_on", past), vec!["/expires_on out_of_range"]),
        (with("expires_on", json!("2020-01-01T00:00:00Z")), vec!["/expires_on out_of_range"]),
        (with("expires_on", json!("0000-01-01T00:00:00Z")), vec!["/expires_on out_of_range"]),
        (with("expires_on", json!("2099-02-30T00:00:00Z")), vec!["/expires_on invalid"]),
        (with("expires_on", json!("2099-01-01")), vec!["/expires_on invalid"]),
        (with("expires_on", json!("2099-01-01T00:00:00")), vec!["/expires_on invalid"]),
        (with("expires_on", json!("")), vec!["/expires_on invalid"]),
        (with("expires_on", json!(false)), vec!["/expires_on wrong_type"]),
    ] {
        let answer = api.post("/api-keys", &body).by(&author).await;
        assert_eq!(answer.status, 422, "{body}");
        answer.faults("validation-failed", &faults);
    }
    assert_eq!(list(&api, &author).await, Vec::<Value>::new());

    let longest = "𝒳".repeat(100);
    for name in [longest.as_str(), "x", "  \u{2003}x", "nightly import", "nightly import"] {
        let created = api.post("/api-keys", with("name", json!(name))).by(&author).await;
        assert_eq!((created.status, created.json()["name"].as_str()), (201, Some(name)));
    }
}

// What it may do.

#[rstest]
#[tokio::test]
async fn a_key_has_no_role_above_that_of_who_makes_it(#[values(Sqlite, Postgres)] database: Database) {
    const ROLES: [&str; 4] = ["reader", "author", "editor", "admin"];
    let api = start!(database);
    for (rank, own) in ROLES.into_iter().enumerate() {
        let user = api.user(own);
        let mut last = String::new();
        for (wanted, role) in ROLES.into_iter().enumerate() {
            let answer = api.post("/api-keys", json!({"name": "nightly import", "role": role})).by(&user).await;
            if wanted > rank {
                assert_eq!(answer.status, 403, "{role} by {own}");
                answer.problem("forbidden");
            } else {
                assert_eq!(answer.status, 201, "{role} by {own}");
                answer.json()["key"].as_str().unwrap().clone_into(&mut last);
                assert_eq!(effect(&api, &last).await, (200, Some(role.to_owned())));
            }
        }
        // Nor is what a key makes above the key, whoever owns it.
        let admin_owned = create_with_role(&api, &api.root, own).await.1;
        for (wanted, role) in ROLES.into_iter().enumerate() {
            let body = json!({"name": "made by a key", "role": role});
            let status = api.post("/api-keys", body).bearing(&admin_owned).await.status;
            assert_eq!(status, if wanted > rank { 403 } else { 201 }, "{role} by a key with the role {own}");
        }
        assert_eq!(list(&api, &user).await.len(), rank + 1);
    }
}

#[rstest]
#[tokio::test]
async fn what_a_key_may_do_is_the_lesser_of_its_role_and_its_owners(#[values(Sqlite, Postgres)] database: Database) {
    const ROLES: [&str; 4] = ["reader", "author", "editor", "admin"];
    let api = start!(database);
    let other = api.another(|_| {});
    let user = api.user("admin");
    let keys = join_all(ROLES.map(|role| create_with_role(&api, &user, role))).await;
    // Down and up again.
    for (rank, own) in [(3, "admin"), (2, "editor"), (0, "reader"), (1, "author"), (3, "admin")] {
        let changed = api.patch(&format!("/users/{}", user.id), json!({"role": own})).await;
        assert_eq!(changed.status, 200);
        for (key_rank, (_, key)) in keys.iter().enumerate() {
            let lesser = ROLES[rank.min(key_rank)].to_owned();
            assert_eq!(effect(&other, key).await, (200, Some(lesser.clone())), "{own}");
            let users = api.get("/users").bearing(key).await;
            assert_eq!(users.status, if lesser == "admin" { 200 } else { 403 }, "{own}");
        }
        // The list says what the keys were given.
        let roles: Vec<_> = list(&api, &user).await.iter().map(|key| key["role"].clone()).collect();
        let given = json!(ROLES);
        let mut sorted = roles.clone();
        sorted.sort_by_key(|role| ROLES.iter().position(|known| role == known));
        assert_eq!(json!(sorted), given);
    }
}

// How long it counts.

#[rstest]
#[tokio::test]
async fn a_key_counts_until_it_expires(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let author = api.user("author");
    for (sent, kept) in [
        (json!("2099-01-01T00:00:00Z"), json!("2099-01-01T00:00:00.000000Z")),
        (json!("2099-01-01T00:00:00+02:00"), json!("2098-12-31T22:00:00.000000Z")),
        (json!("2098-12-31t23:30:00.1234567-00:30"), json!("2099-01-01T00:00:00.123456Z")),
        (json!("9999-12-31T23:59:59.999999Z"), json!("9999-12-31T23:59:59.999999Z")),
        (json!(null), json!(null)),
    ] {
        let body = json!({"name": "nightly import", "role": "author", "expires_on": sent});
        let created = api.post("/api-keys", body).by(&author).await;
        assert_eq!((created.status, &created.json()["expires_on"]), (201, &kept), "{sent}");
        let key = created.json()["key"].as_str().unwrap().to_owned();
        assert_eq!(effect(&api, &key).await.0, 200, "{sent}");
        let listed = list(&api, &author).await.pop().unwrap();
        assert_eq!(listed["expires_on"], kept);

        let expire = |on: &str| format!("UPDATE api_keys SET expires_on = '{on}' WHERE id = {}", created.json()["id"]);
        api.database.execute(&expire("2026-01-01T00:00:00.000000Z")).unwrap();
        let refused = api.get("/posts").bearing(&key).await;
        assert_eq!(refused.status, 401);
        assert_eq!(refused.header("www-authenticate"), "Bearer error=\"invalid_token\"");
        // It is still there, for its owner to see and delete.
        assert_eq!(list(&api, &author).await.last().unwrap()["expires_on"], "2026-01-01T00:00:00.000000Z");
    }
    // The end is exact.
    let (_, key) = create(
        &api,
        &author.token,
        json!({"name": "short", "role": "author", "expires_on": ahead(Duration::from_millis(500))}),
    )
    .await;
    eventually("the key expires", async || effect(&api, &key).await.0 == 401).await;
}

#[rstest]
#[tokio::test]
async fn a_key_that_expires_makes_only_keys_that_expire_no_later(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let author = api.user("author");
    let body = |expires_on: &str| json!({"name": "made by a key", "role": "author", "expires_on": expires_on});
    let limit = ahead(HOUR * 2);
    let (_, key) = create(&api, &author.token, body(&limit)).await;
    for (expires_on, status) in [
        (json!(null), 403),
        (json!(ahead(HOUR * 3)), 403),
        (json!(limit), 201),
        (json!(ahead(HOUR)), 201),
        (json!("2020-01-01T00:00:00Z"), 422),
    ] {
        let body = json!({"name": "made by a key", "role": "author", "expires_on": expires_on});
        assert_eq!(api.post("/api-keys", body).bearing(&key).await.status, status, "{expires_on}");
    }
    let left_out = api.post("/api-keys", json!({"name": "made by a key", "role": "author"})).bearing(&key).await;
    assert_eq!(left_out.status, 403);
    left_out.problem("forbidden");
    assert_eq!(list(&api, &author).await.len(), 3);

    // Who signed in, or has a key that does not expire, may make what is wanted.
    let (_, lasting) = create_with_role(&api, &author, "author").await;
    let (_, made) = create(&api, &lasting, json!({"name": "made by a key", "role": "author"})).await;
    assert_eq!(effect(&api, &made).await.0, 200);
}

#[rstest]
#[tokio::test]
async fn a_key_goes_on_when_the_password_changes(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let author = api.user("author");
    let (_, key) = create_with_role(&api, &author, "author").await;
    let words = ["an entirely different sentence", "and yet another one for the night"];
    let body = json!({"current_password": PASSWORD, "new_password": words[0]});
    assert_eq!(api.put("/auth/password", body).by(&author).await.status, 204);
    assert_eq!(effect(&api, &author.token).await.0, 401);
    assert_eq!(effect(&api, &key).await, (200, Some("author".to_owned())));
    let reset = api.patch(&format!("/users/{}", author.id), json!({"password": words[1]})).await;
    assert_eq!(reset.status, 200);
    assert_eq!(effect(&api, &key).await, (200, Some("author".to_owned())));
}

// To know and to delete them.

#[rstest]
#[tokio::test]
async fn a_list_has_ones_own_keys_the_oldest_first(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let [author, other] = ["author", "author"].map(|role| api.user(role));
    let mut ids = Vec::new();
    for name in ["c", "a", "b", "a"] {
        ids.push(create(&api, &author.token, json!({"name": name, "role": "reader"})).await.0);
        create(&api, &other.token, json!({"name": "another's", "role": "reader"})).await;
    }
    // Through a key of one's own, too; an admin sees no more.
    let (own, key) = create_with_role(&api, &author, "reader").await;
    ids.push(own);
    let listed = api.get("/api-keys").bearing(&key).await;
    let found: Vec<_> = listed.json()["items"].as_array().unwrap().iter().map(|key| key["id"].clone()).collect();
    assert_eq!(json!(found), json!(ids));
    assert_eq!(list(&api, &api.root).await, Vec::<Value>::new());

    assert_eq!(api.delete(&format!("/api-keys/{}", ids[1])).by(&author).await.status, 204);
    let found: Vec<_> = list(&api, &author).await.iter().map(|key| key["id"].clone()).collect();
    assert_eq!(json!(found), json!([ids[0], ids[2], ids[3], ids[4]]));

    let [get, head] = [api.get("/api-keys").by(&author).await, api.request("HEAD", "/api-keys").by(&author).await];
    assert_eq!((head.status, head.body.len()), (200, 0));
    for header in ["content-type", "cache-control", "vary"] {
        assert_eq!(head.header(header), get.header(header), "{header}");
    }
    assert_eq!(head.header("content-length"), get.body.len().to_string());
    for query in ["limit=2", "cursor=x", "colour=blue"] {
        let answer = api.get(&format!("/api-keys?{query}")).by(&author).await;
        assert_eq!(answer.status, 400, "{query}");
        answer.problem("malformed-query");
    }
}

#[rstest]
#[tokio::test]
async fn another_method_is_told_what_there_is(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let (id, _) = create_with_role(&api, &api.root, "reader").await;
    let one = format!("/api-keys/{id}");
    for (path, methods, allowed) in [
        ("/api-keys", ["PUT", "PATCH", "DELETE", "PROPFIND"], "GET, HEAD, POST, OPTIONS"),
        (one.as_str(), ["GET", "HEAD", "PUT", "PATCH"], "DELETE, OPTIONS"),
    ] {
        for method in methods {
            let answer = api.request(method, path).await;
            assert_eq!((answer.status, answer.header("allow")), (405, allowed), "{method} {path}");
        }
        let options = api.request("OPTIONS", path).anonymous().await;
        assert_eq!((options.status, options.header("allow")), (204, allowed), "{path}");
    }
    assert_eq!(list(&api, &api.root).await.len(), 1);
}

#[rstest]
#[tokio::test]
async fn a_deleted_key_is_refused_at_once_on_every_server(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let other = api.another(|_| {});
    let author = api.user("author");
    let [(id, key), (itself, key_itself), (_, kept)] = [
        create_with_role(&api, &author, "author").await,
        create_with_role(&api, &author, "reader").await,
        create_with_role(&api, &author, "author").await,
    ];
    for server in [&api, &other] {
        assert_eq!(effect(server, &key).await.0, 200);
    }
    let path = format!("/api-keys/{id}");
    let deleted = api.delete(&path).by(&author).await;
    assert_eq!((deleted.status, deleted.body.len()), (204, 0));
    // A key may delete itself.
    assert_eq!(other.delete(&format!("/api-keys/{itself}")).bearing(&key_itself).await.status, 204);
    for server in [&api, &other] {
        for key in [&key, &key_itself] {
            assert_eq!(effect(server, key).await.0, 401);
            assert_eq!(server.get("/posts").bearing(key).await.status, 401);
        }
        assert_eq!(effect(server, &kept).await.0, 200);
        assert_eq!(server.delete(&path).by(&author).await.status, 404);
    }
    // Its id is not given again.
    let (last, _) = create_with_role(&api, &author, "author").await;
    assert_eq!(api.delete(&format!("/api-keys/{last}")).by(&author).await.status, 204);
    assert!(create_with_role(&api, &author, "author").await.0 > last);
}

#[rstest]
#[tokio::test]
async fn anothers_key_is_as_if_it_did_not_exist(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let author = api.user("author");
    let (id, key) = create_with_role(&api, &author, "author").await;
    let without_own = |answer: &Answer| {
        let mut body = answer.json();
        for own in ["instance", "request_id"] {
            body.as_object_mut().unwrap().remove(own);
        }
        body
    };
    for role in ["reader", "author", "editor", "admin"] {
        let caller = api.user(role);
        let (_, callers_key) = create_with_role(&api, &caller, role).await;
        for credential in [&caller.token, &callers_key] {
            let hidden = api.delete(&format!("/api-keys/{id}")).bearing(credential).await;
            assert_eq!(hidden.status, 404, "{role}");
            for nothing in ["999", "0", "01", "abc", "99999999999999999999"] {
                let missing = api.delete(&format!("/api-keys/{nothing}")).bearing(credential).await;
                assert_eq!(without_own(&missing), without_own(&hidden), "{role}: {nothing}");
            }
        }
    }
    assert_eq!(effect(&api, &key).await.0, 200);
    assert_eq!(list(&api, &author).await.len(), 1);
}

#[rstest]
#[tokio::test]
async fn a_user_has_at_most_a_hundred_keys(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let [author, other] = ["author", "author"].map(|role| api.user(role));
    join_all((0..90).map(|_| create_with_role(&api, &author, "author"))).await;
    // Also where many are made at once, and few of them may be.
    let body = json!({"name": "nightly import", "role": "author"});
    let answers = join_all((0..30).map(|_| async { api.post("/api-keys", &body).by(&author).await })).await;
    let created = answers.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(created, 10);
    for refused in answers.iter().filter(|answer| answer.status != 201) {
        assert_eq!(refused.status, 409);
        refused.problem("conflict");
    }
    let keys = list(&api, &author).await;
    assert_eq!(keys.len(), 100);

    // Another's are not counted. What is deleted makes room; what has expired does not.
    create_with_role(&api, &other, "author").await;
    let first = &keys[0]["id"];
    let expire = format!("UPDATE api_keys SET expires_on = '2026-01-01T00:00:00.000000Z' WHERE id = {first}");
    api.database.execute(&expire).unwrap();
    assert_eq!(api.post("/api-keys", &body).by(&author).await.status, 409);
    assert_eq!(api.delete(&format!("/api-keys/{first}")).by(&author).await.status, 204);
    assert_eq!(api.post("/api-keys", &body).by(&author).await.status, 201);
    assert_eq!(api.post("/api-keys", &body).by(&author).await.status, 409);
}

// When it was used.

/// The start of this hour, and what is half an hour into it.
fn this_hour() -> (Value, String) {
    let hour = Timestamp::now().start_of_hour();
    (json!(hour), json!(hour + HOUR / 2).as_str().unwrap().to_owned())
}

#[rstest]
#[tokio::test]
async fn the_hour_of_a_keys_last_use_is_kept_and_written_once(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let author = api.user("author");
    let [(first, key), (second, other)] =
        [create_with_role(&api, &author, "author").await, create_with_role(&api, &author, "author").await];
    let used_on = async |id: i64| {
        let keys = list(&api, &author).await;
        keys.into_iter().find(|key| key["id"] == id).unwrap()["last_used_on"].clone()
    };
    let set = |id: i64, used_on: &str| {
        let set = format!("UPDATE api_keys SET last_used_on = '{used_on}' WHERE id = {id}");
        api.database.execute(&set).unwrap();
    };
    assert_eq!((used_on(first).await, used_on(second).await), (json!(null), json!(null)));

    // An attempt that is refused for another reason is a use, too.
    assert_eq!(api.get("/users").bearing(&key).await.status, 403);
    eventually("the first use is noted", async || used_on(first).await == this_hour().0).await;
    assert_eq!(used_on(second).await, json!(null));

    // Within the hour nothing is written: what stands there stays, while a later note arrives.
    let (hour, within) = this_hour();
    set(first, &within);
    for _ in 0..5 {
        assert_eq!(effect(&api, &key).await.0, 200);
    }
    assert_eq!(effect(&api, &other).await.0, 200);
    eventually("the other's use is noted", async || !used_on(second).await.is_null()).await;
    let unchanged = used_on(first).await;
    assert!(unchanged == json!(within) || this_hour().0 != hour, "{unchanged}");

    // In the next hour it is.
    set(first, "2026-01-01T10:00:00.000000Z");
    assert_eq!(effect(&api, &key).await.0, 200);
    eventually("the later use is noted", async || used_on(first).await == this_hour().0).await;
}
