//! Contract section 5: lists. Orders, filters, pages that hold while others write, and what they cost to ask for.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::join3;
use posts_api::auth::{SigningKey, SigningKeys};
use rstest::rstest;
use serde_json::{Value, json};

use crate::harness::{Answer, Api, Database, Postgres, Request, Sqlite, ids, items, start};

const SORTS: [&str; 4] = ["created_on", "updated_on", "title", "id"];

fn cursor(answer: &Answer) -> Option<String> {
    answer.json()["next_cursor"].as_str().map(str::to_owned)
}

/// The target of the link with this relation.
fn link(answer: &Answer, relation: &str) -> Option<String> {
    let links = answer.header("link").split(", ");
    let mut links = links.filter_map(|link| link.strip_prefix('<')?.split_once(&format!(">; rel=\"{relation}\"")));
    links.next().map(|(target, rest)| {
        assert_eq!(rest, "");
        target.to_owned()
    })
}

/// The ids of a list, page by page, along the links of `next`.
async fn walk(api: &Api, path: &str, as_caller: impl Fn(Request) -> Request) -> Vec<i64> {
    let mut found = Vec::new();
    let mut next = Some(path.to_owned());
    while let Some(path) = next {
        let page = as_caller(api.get(&path)).await;
        found.extend(ids(&page));
        next = link(&page, "next");
        assert_eq!(next.is_some(), cursor(&page).is_some(), "{page:?}");
    }
    found
}

/// Makes a request one caller's.
type AsCaller<'a> = Box<dyn Fn(Request) -> Request + 'a>;

// Orders.

#[rstest]
#[tokio::test]
async fn each_order_goes_both_ways_and_ties_follow_the_id(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    for title in ["b", "a", "b", "c", "a"] {
        api.create(json!({"title": title})).await;
    }
    api.database
        .execute(
            "UPDATE posts SET created_on = CASE id WHEN 1 THEN '2003-01-01T00:00:00.000000Z' \
             ELSE '2002-01-01T00:00:00.000000Z' END, updated_on = '2030-01-01T00:00:00.000000Z' WHERE id <> 4"
                .replace("'200", if database == Postgres { "timestamptz '200" } else { "'200" })
                .as_str(),
        )
        .unwrap();
    for (sort, expected) in [
        ("created_on", [2, 3, 5, 1, 4]),
        ("updated_on", [4, 1, 2, 3, 5]),
        ("title", [2, 5, 1, 3, 4]),
        ("id", [1, 2, 3, 4, 5]),
    ] {
        let reversed: Vec<_> = expected.iter().rev().copied().collect();
        assert_eq!(ids(&api.get(&format!("/posts?sort={sort}")).await), expected, "{sort}");
        assert_eq!(ids(&api.get(&format!("/posts?sort=-{sort}")).await), reversed, "-{sort}");
        for limit in 1..=5 {
            assert_eq!(walk(&api, &format!("/posts?sort={sort}&limit={limit}"), |get| get).await, expected);
            assert_eq!(walk(&api, &format!("/posts?limit={limit}&sort=-{sort}"), |get| get).await, reversed);
        }
    }
    assert_eq!(ids(&api.get("/posts").await), ids(&api.get("/posts?sort=-created_on").await));
}

#[rstest]
#[tokio::test]
async fn titles_are_ordered_by_code_point(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    // In UTF-16 the last two would change places; in a dictionary, most would.
    let ordered =
        ["!", "10", "9", "A", "B", "Z", "_", "a", "a b", "aa", "ab", "b", "Ä", "ä", "ω", "一", "\u{ff5e}", "😀"];
    let mut shuffled = ordered;
    shuffled.sort_by_key(|title| title.bytes().rev().collect::<Vec<_>>());
    for title in shuffled {
        api.create(json!({"title": title})).await;
    }
    for limit in [100, 1, 4] {
        let mut titles = Vec::new();
        let mut next = Some(format!("/posts?sort=title&limit={limit}"));
        while let Some(path) = next {
            let page = api.get(&path).await;
            titles.extend(items(&page).iter().map(|item| item["title"].as_str().unwrap().to_owned()));
            next = link(&page, "next");
        }
        assert_eq!(titles, ordered);
    }
}

// Filters.

#[rstest]
#[tokio::test]
async fn filters_leave_the_posts_that_fit_all_of_them(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    for (author, published) in [
        (Some("Ada"), true),
        (Some("ada"), true),
        (Some("Ada "), false),
        (Some("Ada"), false),
        (None, true),
        (Some(""), true),
    ] {
        let author = author.filter(|author| !author.is_empty());
        api.create(json!({"title": "Hello", "author": author, "published": published})).await;
    }
    for id in 1..=6 {
        let hour = format!("2026-11-22T0{id}:00:00.000000Z");
        let day = format!("2026-12-0{id}T00:00:00.000001Z");
        let update = format!("UPDATE posts SET created_on = '{hour}', updated_on = '{day}' WHERE id = {id}");
        api.database.execute(&update).unwrap();
    }
    for (query, expected) in [
        ("author=Ada", vec![4, 1]),
        ("author=ada", vec![2]),
        ("author=Ada%20", vec![3]),
        ("author=Ada+", vec![3]),
        ("author=nobody", vec![]),
        ("author=%25", vec![]),
        ("author=A_a", vec![]),
        ("published=true", vec![6, 5, 2, 1]),
        ("published=false", vec![4, 3]),
        ("published=false&author=Ada", vec![4]),
        ("created_on[gte]=2026-11-22T03:00:00Z", vec![6, 5, 4, 3]),
        ("created_on%5Bgt%5D=2026-11-22T03:00:00Z", vec![6, 5, 4]),
        ("created_on[lte]=2026-11-22T03:00:00Z", vec![3, 2, 1]),
        ("created_on[lt]=2026-11-22T03:00:00Z", vec![2, 1]),
        // Another zone, other decimals: the same instant.
        ("created_on[lt]=2026-11-22T05:00:00.0%2B02:00", vec![2, 1]),
        ("created_on[lt]=2026-11-22t01:00:00.000-02:00", vec![2, 1]),
        ("created_on[gt]=2026-11-22T02:59:59.999999Z&created_on[lt]=2026-11-22T03:00:00.000001Z", vec![3]),
        ("updated_on[gte]=2026-12-05T00:00:00.000001Z", vec![6, 5]),
        ("updated_on[gt]=2026-12-05T00:00:00.000001Z", vec![6]),
        ("updated_on[lte]=2026-12-02T00:00:00.000001Z", vec![2, 1]),
        ("updated_on[lt]=2026-12-02T00:00:00.000001Z&published=true", vec![1]),
        ("created_on[gte]=2026-11-22T02:00:00Z&updated_on[lt]=2026-12-04T00:00:00Z", vec![3, 2]),
        ("created_on[gte]=0000-01-01T00:00:00Z&created_on[lte]=9999-12-31T23:59:59.999999Z", vec![6, 5, 4, 3, 2, 1]),
        ("created_on[gt]=2026-11-23T00:00:00Z&created_on[lt]=2026-11-22T00:00:00Z", vec![]),
    ] {
        let list = api.get(&format!("/posts?{query}")).header("Prefer", "count=exact").await;
        assert_eq!(ids(&list), expected, "{query}");
        assert_eq!(list.json()["total"], expected.len(), "{query}");
        for sort in SORTS {
            let mut walked = walk(&api, &format!("/posts?limit=1&{query}&sort={sort}"), |get| get).await;
            walked.sort_by(|one, other| other.cmp(one));
            assert_eq!(walked, expected, "{query} {sort}");
        }
    }
}

#[rstest]
#[tokio::test]
async fn a_list_shows_what_its_caller_may_see(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let (author, other) = (api.user("author"), api.user("author"));
    let (editor, reader) = (api.user("editor"), api.user("reader"));
    for (owner, published) in [(&author, true), (&author, false), (&other, false), (&other, true), (&author, false)] {
        api.post("/posts", json!({"title": "Hello", "published": published})).by(owner).await;
    }
    let callers: [(&str, AsCaller<'_>, [Vec<i64>; 3]); 5] = [
        ("anonymous", Box::new(Request::anonymous), [vec![4, 1], vec![4, 1], vec![]]),
        ("reader", Box::new(|get| get.by(&reader)), [vec![4, 1], vec![4, 1], vec![]]),
        ("author", Box::new(|get| get.by(&author)), [vec![5, 4, 2, 1], vec![4, 1], vec![5, 2]]),
        ("other", Box::new(|get| get.by(&other)), [vec![4, 3, 1], vec![4, 1], vec![3]]),
        ("editor", Box::new(|get| get.by(&editor)), [vec![5, 4, 3, 2, 1], vec![4, 1], vec![5, 3, 2]]),
    ];
    for (name, as_caller, expected) in &callers {
        for (filter, expected) in ["", "&published=true", "&published=false"].iter().zip(expected) {
            for sort in SORTS {
                let path = format!("/posts?sort=-{sort}{filter}");
                let list = as_caller(api.get(&path)).header("Prefer", "count=exact").await;
                assert_eq!(ids(&list), *expected, "{name} {path}");
                assert_eq!(list.json()["total"], expected.len(), "{name} {path}");
                assert_eq!(walk(&api, &format!("{path}&limit=1"), as_caller).await, *expected, "{name} {path}");
            }
        }
    }
    // A cursor carries no rights: who comes with another's sees what it may see.
    let page = api.get("/posts?limit=1").by(&editor).await;
    let next = link(&page, "next").unwrap();
    assert_eq!(ids(&api.get(&next.replace("limit=1", "limit=9")).anonymous().await), [4, 1]);
    let public = ["anonymous", "reader"];
    for (name, as_caller, _) in &callers {
        let list = as_caller(api.get("/posts")).await;
        assert_eq!(list.header("cache-control"), if public.contains(name) { "no-cache" } else { "no-store" }, "{name}");
    }
}

#[rstest]
#[tokio::test]
async fn a_query_that_cannot_be_used_is_refused_with_all_that_is_wrong(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let cases: [(&str, &[&str]); 29] = [
        ("sort=colour", &["sort unknown_value"]),
        ("sort=", &["sort empty"]),
        ("sort=--id", &["sort unknown_value"]),
        ("sort=%2Bid", &["sort unknown_value"]),
        ("sort=Title", &["sort unknown_value"]),
        ("sort=title,id", &["sort unknown_value"]),
        ("sort=id&sort=id", &["sort duplicate"]),
        ("author=", &["author empty"]),
        ("author=a%00b", &["author nul"]),
        ("author=%FF", &["author invalid"]),
        ("author=a&author=b", &["author duplicate"]),
        ("published=1", &["published unknown_value"]),
        ("published=TRUE", &["published unknown_value"]),
        ("published=null", &["published unknown_value"]),
        ("created_on=2026-11-22T09:30:00Z", &["created_on unknown_parameter"]),
        ("created_on[eq]=2026-11-22T09:30:00Z", &["created_on[eq] unknown_parameter"]),
        ("created_on[gte]=", &["created_on[gte] empty"]),
        ("created_on[gte]=2026-11-22", &["created_on[gte] invalid"]),
        ("created_on[gte]=yesterday", &["created_on[gte] invalid"]),
        ("created_on[gte]=2026-11-22T09:30:00", &["created_on[gte] invalid"]),
        ("created_on[gte]=2026-11-22T09:30:00+01:00", &["created_on[gte] invalid"]),
        ("updated_on[lt]=2026-02-30T09:30:00Z", &["updated_on[lt] invalid"]),
        ("title[gte]=a", &["title[gte] unknown_parameter"]),
        ("fields=", &["fields empty"]),
        ("fields=title,", &["fields unknown_name"]),
        ("fields=title,colour,shape", &["fields unknown_name", "fields unknown_name"]),
        ("fields=title,,title", &["fields unknown_name"]),
        ("cursor=", &["cursor empty"]),
        (
            "limit=0&sort=x&published=maybe&created_on[gt]=x&updated_on[lt]=y&fields=z&page=2",
            &[
                "limit out_of_range",
                "sort unknown_value",
                "published unknown_value",
                "created_on[gt] invalid",
                "updated_on[lt] invalid",
                "fields unknown_name",
                "page unknown_parameter",
            ],
        ),
    ];
    for (query, faults) in cases {
        let answer = api.get(&format!("/posts?{query}")).await;
        assert_eq!(answer.status, 400, "{query} {answer:?}");
        answer.faults("malformed-query", faults);
    }
    // As much as a head may hold is not answered with as much again.
    for (query, fault) in [
        ((0..3000).map(|number| format!("p{number}=1")).collect::<Vec<_>>().join("&"), "p100 too_many"),
        (
            format!("fields={}", (0..5000).map(|name| name.to_string()).collect::<Vec<_>>().join(",")),
            "fields unknown_name",
        ),
    ] {
        let answer = api.get(&format!("/posts?{query}")).await;
        assert!(answer.status == 400 && answer.body.len() < 32_000, "{answer:?}");
        let problem = answer.problem("malformed-query");
        let faults = problem["errors"].as_array().unwrap();
        let found =
            |entry: &Value| format!("{} {}", entry["parameter"].as_str().unwrap(), entry["code"].as_str().unwrap());
        assert!(faults.iter().any(|entry| found(entry) == fault), "{problem}");
    }
    let plus = api.get("/posts?created_on[gte]=2026-11-22T09:30:00+01:00").await;
    assert!(plus.text().contains("%2B"), "{plus:?}");
}

// Cursors.

#[rstest]
#[tokio::test]
async fn a_cursor_is_for_one_list(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    for number in 0..5 {
        api.create(json!({"title": format!("Number {number}"), "author": "Ada"})).await;
    }
    let cursor_of = async |path: &str| cursor(&api.get(path).await).expect("a further page");
    let newest = cursor_of("/posts?limit=2").await;
    let by_author = cursor_of("/posts?limit=2&author=Ada&created_on[gt]=2001-01-01T00:00:00Z").await;
    let users = api.user("reader");
    let of_users = cursor_of("/users?limit=1").await;
    for path in [
        // The order that nobody asked for has a name, and how many were asked for, or which fields, is no matter.
        format!("/posts?limit=3&cursor={newest}"),
        format!("/posts?cursor={newest}&sort=-created_on"),
        format!("/posts?cursor={newest}&fields=title"),
        format!("/posts?author=Ada&cursor={by_author}&created_on%5Bgt%5D=2001-01-01T01:00:00%2B01:00"),
        format!("/users?limit=7&cursor={of_users}"),
    ] {
        let list = api.get(&path).await;
        assert_eq!(list.status, 200, "{path} {list:?}");
    }
    assert_eq!(ids(&api.get(&format!("/users?cursor={of_users}")).await), [users.id]);
    for path in [
        format!("/posts?cursor={newest}&sort=created_on"),
        format!("/posts?cursor={newest}&sort=-updated_on"),
        format!("/posts?cursor={newest}&sort=id"),
        format!("/posts?cursor={newest}&author=Ada"),
        format!("/posts?cursor={newest}&published=true"),
        format!("/posts?cursor={newest}&updated_on[gt]=2001-01-01T00:00:00Z"),
        format!("/posts?cursor={by_author}"),
        format!("/posts?cursor={by_author}&author=Ada"),
        format!("/posts?cursor={by_author}&author=ada&created_on[gt]=2001-01-01T00:00:00Z"),
        format!("/posts?cursor={by_author}&author=Ada&created_on[gte]=2001-01-01T00:00:00Z"),
        format!("/posts?cursor={of_users}"),
        format!("/posts?cursor={of_users}&sort=id"),
        format!("/users?cursor={newest}"),
    ] {
        let answer = api.get(&path).await;
        assert_eq!(answer.status, 400, "{path} {answer:?}");
        answer.faults("invalid-cursor", &["cursor invalid"]);
    }
}

#[rstest]
#[tokio::test]
async fn a_cursor_cannot_be_made_up_or_changed_and_says_nothing(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    for _ in 0..3 {
        api.create(json!({"title": "umbrella umbrella umbrella"})).await;
    }
    let good = cursor(&api.get("/posts?limit=1&sort=title").await).unwrap();
    let bytes = data_encoding::BASE64URL_NOPAD.decode(good.as_bytes()).unwrap();
    assert!(!String::from_utf8_lossy(&bytes).contains("umbrella"));
    let encode = |bytes: &[u8]| data_encoding::BASE64URL_NOPAD.encode(bytes);
    let mut bad: Vec<String> = (0..bytes.len() * 8)
        .map(|bit| {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            encode(&changed)
        })
        .collect();
    bad.extend((0..bytes.len()).map(|length| encode(&bytes[..length])).filter(|cursor| !cursor.is_empty()));
    bad.extend([encode(&[bytes.clone(), vec![0]].concat()), format!("{good}="), format!("{good}A"), encode(&[0; 64])]);
    bad.extend(["null", "0", "MTIz", "eyJpZCI6MX0", "%22", "' OR 1=1 --", "😀"].map(str::to_owned));
    bad.push("A".repeat(20_000));
    for cursor in bad {
        let answer = api.get(&format!("/posts?limit=1&sort=title&cursor={cursor}")).await;
        assert_eq!(answer.status, 400, "{cursor} {answer:?}");
        answer.faults("invalid-cursor", &["cursor invalid"]);
    }
    assert_eq!(ids(&api.get(&format!("/posts?limit=1&sort=title&cursor={good}")).await), [2]);
}

#[rstest]
#[tokio::test]
async fn every_server_reads_the_others_cursors_also_while_keys_are_exchanged(
    #[values(Sqlite, Postgres)] database: Database,
) {
    let api = start!(database);
    let new = SigningKey::from_pem(&SigningKey::generate().unwrap()).unwrap();
    let old = || SigningKey::from_pem(crate::harness::SIGNING_KEY).unwrap();
    let with = |keys: Vec<SigningKey>| api.another(|config| config.auth.keys = SigningKeys::new(keys).unwrap());
    let (same, both, only_new) = (with(vec![old()]), with(vec![new.clone(), old()]), with(vec![new]));
    for _ in 0..3 {
        api.create(json!({"title": "Hello"})).await;
    }
    let from_old = link(&api.get("/posts?limit=2").anonymous().await, "next").unwrap();
    let from_both = link(&both.get("/posts?limit=2").anonymous().await, "next").unwrap();
    for (server, path) in [(&same, &from_old), (&both, &from_old), (&both, &from_both), (&only_new, &from_both)] {
        assert_eq!(ids(&server.get(path).anonymous().await), [1]);
    }
    for (server, path) in [(&only_new, &from_old), (&api, &from_both)] {
        server.get(path).anonymous().await.problem("invalid-cursor");
    }
}

#[rstest]
#[tokio::test]
async fn links_lead_through_the_list_with_what_was_asked_for(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    for _ in 0..3 {
        api.create(json!({"title": "Hello", "author": "Ada & \"Ben\", >o<"})).await;
    }
    let path =
        "/posts?author=Ada%20%26+%22Ben%22,%20%3Eo%3C&created_on[gt]=2001-01-01T00:00:00%2B01:00&fields=author&limit=2";
    let first = api.get(path).await;
    assert_eq!(ids(&first), [3, 2]);
    let next = api.get(&link(&first, "next").unwrap()).await;
    assert_eq!(ids(&next), [1]);
    assert_eq!(items(&next)[0], json!({"id": 1, "author": "Ada & \"Ben\", >o<"}));
    assert_eq!(link(&next, "next"), None);
    assert_eq!(cursor(&next), None);
    // Both lead to the same first page.
    assert_eq!(link(&next, "first"), link(&first, "first"));
    assert_eq!(api.get(&link(&next, "first").unwrap()).await.json(), first.json());
    assert_eq!(api.get("/posts").await.header("link"), "</posts>; rel=\"first\"");
    assert_eq!(api.get("/users").await.header("link"), "</users>; rel=\"first\"");
    let head = api.request("HEAD", path).await;
    assert_eq!(head.header("link"), first.header("link"));
}

// Paging under writes.

#[rstest]
#[tokio::test]
async fn a_walk_through_a_hundred_thousand_posts_meets_each_that_nobody_touches_once(
    #[values(Sqlite, Postgres)] database: Database,
) {
    const COUNT: usize = 100_000;
    let api = start!(database);
    api.database.load(COUNT);
    // The odd ones stay as they are, and the writers may do as they like with the even ones.
    let untouched = |id: &i64| id % 2 == 1 && *id <= i64::try_from(COUNT).unwrap();
    for sort in ["-created_on", "title"] {
        let walked = AtomicBool::new(false);
        let write = |step: i64| {
            let (api, walked) = (&api, &walked);
            async move {
                let mut id = step;
                while !walked.load(Ordering::Relaxed) {
                    let title = format!("Title {}", id * 31 % 1000);
                    api.create(json!({"title": title})).await;
                    // From both ends and across the middle; one that is gone already is gone.
                    let even = (id * 7919 * 2) % i64::try_from(COUNT).unwrap();
                    let answer = api.delete(&format!("/posts/{even}")).await;
                    assert!([204, 404].contains(&answer.status), "{answer:?}");
                    id += 2;
                }
            }
        };
        let reader = async {
            let found = walk(&api, &format!("/posts?limit=100&fields=id&sort={sort}"), |get| get).await;
            walked.store(true, Ordering::Relaxed);
            found
        };
        let (found, (), ()) = join3(reader, write(1), write(2)).await;
        let distinct: BTreeSet<_> = found.iter().copied().collect();
        assert_eq!(distinct.len(), found.len(), "no post twice");
        let met = distinct.iter().copied().filter(untouched).count();
        assert_eq!(met, COUNT / 2, "every untouched post");
    }
}

// Fields.

#[rstest]
#[tokio::test]
async fn only_the_fields_that_were_asked_for_are_sent(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let post = api.create(json!({"title": "Hello", "content": "World"})).await;
    for (fields, expected) in [
        ("title", json!({"id": 1, "title": "Hello"})),
        ("id", json!({"id": 1})),
        ("content,author", json!({"id": 1, "author": null, "content": "World"})),
        ("version,id", json!({"id": 1, "version": 1})),
        ("version,version,id,version", json!({"id": 1, "version": 1})),
        ("id,title,author,content,published,owner_id,created_on,updated_on,version", post.clone()),
    ] {
        let one = api.get(&format!("/posts/1?fields={fields}")).await;
        assert_eq!((one.status, one.json()), (200, expected.clone()), "{fields}");
        for fields in [fields.to_owned(), fields.replace(',', "%2C")] {
            let list = api.get(&format!("/posts?fields={fields}")).await.json();
            assert_eq!(list["items"], json!([expected]), "{fields}");
        }
    }
    api.get("/posts/1?fields=colour").await.faults("malformed-query", &["fields unknown_name"]);
    api.get("/posts/1?fields=highlights").await.faults("malformed-query", &["fields unknown_name"]);
    api.get("/posts/2?fields=title").await.problem("not-found");
}

#[rstest]
#[tokio::test]
async fn an_excerpt_is_the_contents_first_words_as_plain_text(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let long = "All work &amp; no play. ".repeat(40_000);
    let picture = format!("<img src=\"data:image/png;base64,{}\">", "A".repeat(500_000));
    let cut = format!("{}…", "All work & no play. ".repeat(10).trim_end());
    for (content, excerpt) in [
        (json!(null), json!(null)),
        (json!(""), json!("")),
        (json!("<p>Good, <b>wor</b>ld</p><p>caf&eacute;&nbsp;😀</p>"), json!("Good, world café 😀")),
        (json!("<style>p { color: red }</style>\n<script>alert('<p>')</script>"), json!("")),
        (json!("&lt;script&gt; of text"), json!("<script> of text")),
        (json!("1 < 2, *Markdown*\n\n- one"), json!("1 < 2, *Markdown* - one")),
        (json!(long), json!(cut)),
        (json!("é".repeat(1_000_000)), json!(format!("{}…", "é".repeat(199)))),
        (json!("😀 ".repeat(100)), json!("😀 ".repeat(100).trim_end())),
        (json!(format!("<p>Look:</p>{picture}")), json!("Look:…")),
        (json!(picture), json!("…")),
        (json!(format!("{:16000}", "All of it")), json!("All of it")),
        (json!(format!("{:16001}", "Not all of it")), json!("Not all of it…")),
    ] {
        let id = &api.create(json!({"title": "Hello", "content": content})).await["id"];
        let item = async |fields: &str| {
            let list = api.get(&format!("/posts?limit=1&sort=-id{fields}")).await.json();
            list["items"][0].clone()
        };
        let expected = json!({"id": id, "excerpt": excerpt});
        assert_eq!(item("&fields=excerpt").await, expected);
        assert_eq!(api.get(&format!("/posts/{id}?fields=excerpt")).await.json(), expected);
        // The same, however much of the content is read.
        let beside = json!({"id": id, "excerpt": excerpt, "content": content});
        assert_eq!(item("&fields=content,excerpt").await, beside);
        let found = json!({"id": id, "excerpt": excerpt, "highlights": {"title": "<mark>Hello</mark>"}});
        assert_eq!(item("&q=hello&fields=highlights,excerpt").await, found);
        // Only where it is asked for by name.
        assert_eq!(item("").await.get("excerpt"), None);
        assert_eq!(item("&fields=title").await, json!({"id": id, "title": "Hello"}));
        assert_eq!(api.get(&format!("/posts/{id}")).await.json().get("excerpt"), None);
    }
    let found = api.get("/posts?q=hello&fields=id,excerpt&limit=2&sort=id").await.json();
    assert_eq!(found["items"], json!([{"id": 1, "excerpt": null}, {"id": 2, "excerpt": ""}]));
    let found = api.get("/posts?q=eacute&fields=excerpt").await.json();
    assert_eq!(found["items"], json!([{"id": 3, "excerpt": "Good, world café 😀"}]));
}

#[rstest]
#[tokio::test]
async fn fields_and_codings_are_variants_that_a_write_takes_back(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let content = "All work and no play. ".repeat(200);
    for (query, coding, tag) in [
        ("", "", "\"{id}.1\""),
        ("", "gzip", "\"{id}.1;gzip\""),
        ("?fields=content", "", "\"{id}.1;content\""),
        ("?fields=content,title,id", "", "\"{id}.1;id+title+content\""),
        ("?fields=content,title", "br", "\"{id}.1;title+content+br\""),
        ("?fields=title,content", "zstd", "\"{id}.1;title+content+zstd\""),
    ] {
        let post = api.create(json!({"title": "Hello", "content": content})).await;
        let path = format!("/posts/{}", post["id"]);
        let get = |query: &str| {
            let get = api.get(&format!("{path}{query}"));
            if coding.is_empty() { get } else { get.header("Accept-Encoding", coding) }
        };
        let answer = get(query).await;
        let tag = tag.replace("{id}", &post["id"].to_string());
        assert_eq!((answer.status, answer.header("etag")), (200, tag.as_str()), "{query} {coding}");
        // Who has it, has it; who has other fields of the same version has something else.
        let again = get(query).header("If-None-Match", &tag).await;
        assert_eq!((again.status, again.header("etag")), (304, tag.as_str()), "{query} {coding}");
        assert_eq!(get("?fields=version").header("If-None-Match", &tag).await.status, 200, "{query} {coding}");
        // Each names the version well enough to build on it.
        let written = api.patch(&path, json!({"title": "Changed"})).header("If-Match", &tag).await;
        assert_eq!(written.status, 200, "{tag} {written:?}");
        let stale = api.patch(&path, json!({"title": "Lost"})).header("If-Match", &tag).await;
        assert_eq!((stale.status, stale.header("etag")), (412, format!("\"{}.2\"", post["id"]).as_str()));
    }
}

// Counts.

#[rstest]
#[tokio::test]
async fn a_list_is_counted_where_that_is_preferred(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    api.database.load(250);
    for (prefer, counted) in [
        ("count=exact", true),
        ("Count = \"exact\"", true),
        ("respond-async, count=exact; foo=bar, wait=10", true),
        ("count=estimated", false),
        ("count", false),
        ("count=exactly", false),
        ("count=none, count=exact", false),
        ("return=minimal", false),
        (";=,\"", false),
    ] {
        for (path, total) in [("/posts?limit=3", 250), ("/posts?limit=3&published=false", 83), ("/users", 1)] {
            let list = api.get(path).header("Prefer", prefer).await;
            let body = list.json();
            assert_eq!(list.status, 200, "{prefer}");
            assert_eq!(body.get("total"), counted.then_some(&json!(total)), "{prefer} {path}");
            assert_eq!(list.header("preference-applied"), if counted { "count=exact" } else { "" }, "{prefer}");
            assert!(list.header("vary").contains("Prefer"), "{list:?}");
        }
    }
    let next = link(&api.get("/posts?limit=100").header("Prefer", "count=exact").await, "next").unwrap();
    let second = api.get(&next).header("Prefer", "count=exact").await;
    assert_eq!(second.json()["total"], 250);
}

// Tags of lists.

#[rstest]
#[tokio::test]
async fn a_list_has_a_tag_over_its_bytes(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    for number in 0..5 {
        api.create(json!({"title": format!("Number {number}"), "content": "All work and no play. ".repeat(50)})).await;
    }
    for path in ["/posts", "/posts?limit=2", "/posts?sort=title&limit=1&fields=title", "/users", "/users?limit=1"] {
        let list = api.get(path).await;
        let tag = list.header("etag").to_owned();
        assert!(tag.starts_with('"') && !tag.contains(';'), "{tag}");
        assert_eq!(list.header("last-modified"), "");
        for known in [tag.as_str(), "\"other\", W/{tag}", "*"] {
            let again = api.get(path).header("If-None-Match", known.replace("{tag}", &tag)).await;
            assert_eq!((again.status, again.header("etag"), again.body.len()), (304, tag.as_str(), 0), "{path}");
            for name in ["cache-control", "link", "vary"] {
                assert_eq!(again.header(name), list.header(name), "{path}: {name}");
            }
        }
        assert_eq!(api.get(path).header("If-None-Match", "\"other\"").await.status, 200);
        // Of a list nobody knows since when it is what it is.
        let since = "Fri, 31 Dec 2100 23:59:59 GMT";
        assert_eq!(api.get(path).header("If-Modified-Since", since).await.status, 200);
        assert_eq!(api.get(path).header("If-Match", "\"other\"").await.status, 412);
        assert_eq!(api.get(path).header("If-Match", &tag).await.status, 200);
    }
    let plain = api.get("/posts").await;
    let coded = api.get("/posts").header("Accept-Encoding", "gzip").await;
    let tag = plain.header("etag").trim_matches('"').to_owned();
    assert_eq!(coded.header("etag"), format!("\"{tag};gzip\""));
    let again = api.get("/posts").header("Accept-Encoding", "gzip").header("If-None-Match", coded.header("etag")).await;
    assert_eq!(again.status, 304);
    api.patch("/posts/1", json!({"content": "Some play."})).await;
    let changed = api.get("/posts").header("If-None-Match", plain.header("etag")).await;
    assert_eq!(changed.status, 200);
    assert_ne!(changed.header("etag"), plain.header("etag"));
}
