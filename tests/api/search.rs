//! Contract section 5, `q`: what a search finds, in which order, and what it shows of it. The same on both databases.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::join3;
use rstest::rstest;
use serde_json::{Value, json};

use crate::harness::queries::{hostile_queries, posts, queries, texts};
use crate::harness::{Answer, Api, Database, Postgres, Sqlite, TestDatabase, ids, start};

async fn import(api: &Api, posts: &[Value]) {
    for post in posts {
        let [title, author, content] = texts(post);
        let author = (!author.is_empty()).then_some(author);
        api.create(json!({"title": title, "author": author, "content": content})).await;
    }
}

fn encoded(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

async fn search(api: &Api, query: &str, more: &str) -> Answer {
    api.get(&format!("/posts?q={}{more}", encoded(query))).await
}

/// The ids of all pages.
async fn walk(api: &Api, query: &str, more: &str) -> Vec<i64> {
    let list = format!("/posts?q={}{more}", encoded(query));
    let (mut found, mut path) = (Vec::new(), list.clone());
    loop {
        let page = api.get(&path).await;
        found.extend(ids(&page));
        match &page.json()["next_cursor"] {
            Value::String(cursor) => path = format!("{list}&cursor={cursor}"),
            _ => return found,
        }
    }
}

#[rstest]
#[tokio::test]
async fn a_search_finds_whole_words_whatever_their_case_and_accents(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    import(
        &api,
        &[
            json!({"title": "Hello, World!", "author": "Ada Lovelace", "content": "The café is open: naïve, déjà-vu."}),
            json!({"title": "Worlds apart", "author": "Zoë", "content": "<p>Stra\u{df}e &amp; snake_case_word</p>"}),
            json!({"title": "Привет, мир", "author": "Ёлка", "content": "東京タワー ΟΔΟΣ 3.14 C++ e-mail"}),
            json!({"title": "cafe\u{301}", "content": "hello world hello"}),
        ],
    )
    .await;
    for (query, expected) in [
        ("hello", vec![1, 4]),
        ("HELLO", vec![1, 4]),
        ("hell", vec![]),
        ("hellos", vec![]),
        ("world", vec![1, 4]),
        ("worlds", vec![2]),
        ("cafe", vec![4, 1]),
        ("CAFÉ", vec![4, 1]),
        ("zoe", vec![2]),
        ("lovelace", vec![1]),
        ("strasse", vec![2]),
        ("STRAẞE", vec![2]),
        ("p", vec![2]),
        ("amp", vec![2]),
        ("case", vec![2]),
        ("snake_case", vec![2]),
        ("мир", vec![3]),
        ("елка", vec![3]),
        ("οδός", vec![3]),
        ("東京タワー", vec![3]),
        ("東京", vec![]),
        ("3 14", vec![3]),
        ("3.14", vec![3]),
        ("14 3", vec![3]),
        ("C", vec![3]),
        ("email", vec![]),
        ("e-mail", vec![3]),
        ("hello cafe", vec![4, 1]),
        ("hello mir", vec![]),
        ("\"hello world\"", vec![1, 4]),
        ("\"world hello\"", vec![4]),
        // A phrase lies within one field, and words need not.
        ("\"world ada\"", vec![]),
        ("world ada", vec![1]),
        ("\"deja vu\"", vec![1]),
        ("hello -ada", vec![4]),
        ("hello -\"world hello\"", vec![1]),
        ("-ada hello -naive", vec![4]),
        ("hello -hello", vec![]),
    ] {
        assert_eq!(ids(&search(&api, query, "").await), expected, "{query}");
        let counted = api.get(&format!("/posts?q={}", encoded(query))).header("Prefer", "count=exact").await;
        assert_eq!(counted.json()["total"], expected.len(), "{query}");
    }
}

#[rstest]
#[tokio::test]
async fn hits_in_titles_come_first_then_the_newest(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let titles = ["x", "Red", "Red apple", "x", "Apple", "An apple, red", "red apple pie"];
    for (number, title) in titles.iter().enumerate() {
        api.create(json!({"title": title, "author": format!("{}", number % 2), "content": "A red apple."})).await;
    }
    for (query, expected) in [
        ("red apple", vec![7, 6, 3, 5, 2, 4, 1]),
        ("\"red apple\"", vec![7, 3, 6, 5, 4, 2, 1]),
        ("apple -pie", vec![6, 5, 3, 4, 2, 1]),
        ("a apple", vec![7, 6, 5, 3, 4, 2, 1]),
    ] {
        assert_eq!(ids(&search(&api, query, "").await), expected, "{query}");
        for limit in 1..=4 {
            assert_eq!(walk(&api, query, &format!("&limit={limit}")).await, expected, "{query} {limit}");
        }
        for (sort, reverse) in [("id", false), ("-id", true), ("created_on", false), ("-updated_on", true)] {
            let mut sorted = expected.clone();
            sorted.sort_unstable();
            if reverse {
                sorted.reverse();
            }
            assert_eq!(walk(&api, query, &format!("&limit=2&sort={sort}")).await, sorted, "{query} {sort}");
        }
    }
    assert_eq!(walk(&api, "red", "&limit=1&author=0").await, [7, 3, 5, 1]);
    assert_eq!(ids(&search(&api, "red", "&sort=title&limit=3").await), [6, 5, 2]);
    assert_eq!(ids(&search(&api, "red", "&created_on[gt]=2100-01-01T00:00:00Z").await), Vec::<i64>::new());
}

#[rstest]
#[tokio::test]
async fn a_search_finds_what_its_caller_may_see_and_what_is_so_now(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let (author, editor) = (api.user("author"), api.user("editor"));
    // More than a first look takes, of which most are not for everybody.
    for number in 0..130 {
        api.create(json!({"title": "Secret plan", "published": number % 40 == 0})).await;
    }
    api.post("/posts", json!({"title": "My plan", "published": false})).by(&author).await;
    for limit in [100, 3] {
        let more = format!("&limit={limit}");
        let list = format!("/posts?q=plan{more}");
        assert_eq!(ids(&api.get(&list).anonymous().await)[..3], [121, 81, 41]);
        assert_eq!(ids(&api.get(&list).by(&author).await)[..3], [131, 121, 81]);
        assert_eq!(walk(&api, "plan", &more).await, (1..=131).rev().collect::<Vec<_>>());
    }
    let counted = api.get("/posts?q=plan").anonymous().header("Prefer", "count=exact").await;
    assert_eq!(counted.json()["total"], 4);
    assert_eq!(ids(&api.get("/posts?q=my").by(&editor).await), [131]);

    // What is changed or gone is not found as it was.
    api.patch("/posts/131", json!({"title": "My idea"})).await;
    assert_eq!(ids(&search(&api, "my plan", "").await), Vec::<i64>::new());
    assert_eq!(ids(&search(&api, "my idea", "").await), [131]);
    api.put("/posts/131", json!({"title": "New", "author": "Ada", "content": "thing"})).await;
    assert_eq!(ids(&search(&api, "ada thing", "").await), [131]);
    api.patch("/posts/131", json!({"content": null})).await;
    assert_eq!(ids(&search(&api, "thing", "").await), Vec::<i64>::new());
    api.delete("/posts/131").await;
    assert_eq!(ids(&search(&api, "new", "").await), Vec::<i64>::new());
}

#[rstest]
#[tokio::test]
async fn a_walk_through_what_was_found_meets_each_post_that_nobody_touches_once(
    #[values(Sqlite, Postgres)] database: Database,
) {
    let api = start!(database);
    let kinds = [
        json!({"title": "Red apple"}),
        json!({"title": "Red", "content": "apple"}),
        json!({"title": "x", "content": "An apple, red."}),
    ];
    for number in 0..300 {
        api.create(kinds[number % 3].clone()).await;
    }
    let walked = AtomicBool::new(false);
    let write = |first: usize| {
        let (api, walked, kinds) = (&api, &walked, &kinds);
        async move {
            let mut number = first;
            while !walked.load(Ordering::Relaxed) {
                api.create(kinds[number % 3].clone()).await;
                // The even ones are the writers'.
                let even = number * 7 % 150 * 2 + 2;
                let answer = api.delete(&format!("/posts/{even}")).await;
                assert!([204, 404].contains(&answer.status), "{answer:?}");
                number += 2;
            }
        }
    };
    let reader = async {
        let found = walk(&api, "red apple", "&limit=7&fields=id").await;
        walked.store(true, Ordering::Relaxed);
        found
    };
    let (found, (), ()) = join3(reader, write(0), write(1)).await;
    let untouched: Vec<_> = found.iter().copied().filter(|id| id % 2 == 1 && *id <= 300).collect();
    let expected = [1, 2, 0].map(|kind| (1..=300).rev().filter(move |id| id % 3 == kind && id % 2 == 1));
    assert_eq!(untouched, expected.into_iter().flatten().collect::<Vec<_>>());
    let distinct: BTreeSet<_> = found.iter().collect();
    assert_eq!(distinct.len(), found.len(), "no post twice");
}

/// Where a post is in an order.
type KeyOf = fn(i64) -> (i64, i64);

/// Whether a post has the words.
type Has = fn(i64) -> bool;

/// The index knows the posts' ids, and nothing of the order that is asked for: where ids say much of it, little, and
/// nothing.
#[rstest]
#[tokio::test]
async fn a_search_in_an_order_of_its_own_meets_every_post_however_rare_its_words(
    #[values(Sqlite, Postgres)] database: Database,
) {
    const COUNT: i64 = 150_000;
    let api = start!(database);
    api.database.load(usize::try_from(COUNT).unwrap());
    let id = if database == Postgres { "post_id" } else { "rowid" };
    let sql = format!(
        "UPDATE posts SET created_on = {}, updated_on = {}; DELETE FROM posts_search; \
         INSERT INTO posts_search ({id}, title, author, content) SELECT id, '', '', \
         CASE WHEN id % 50 = 0 THEN 'often ' ELSE '' END || CASE WHEN id % 1000 = 0 THEN 'seldom ' ELSE '' END \
         || CASE WHEN id = 77 THEN 'once ' ELSE '' END || CASE WHEN id % 100 = 0 THEN 'even ' ELSE '' END FROM posts",
        api.database.minute("(id + 3 - id % 4 * 2)"),
        api.database.minute("(200000 + id * 7919 % 150011)"),
    );
    api.database.execute(&sql).unwrap();

    let orders: [(&str, KeyOf); 4] = [
        ("created_on", |id| (id + 3 - id % 4 * 2, id)),
        ("updated_on", |id| (id * 7919 % 150_011, id)),
        ("id", |id| (id, id)),
        ("title", |id| (id * 7919 % 1000, id)),
    ];
    let queries: [(&str, Has); 5] = [
        ("often", |id| id % 50 == 0),
        ("often -even", |id| id % 100 == 50),
        ("seldom often", |id| id % 1000 == 0),
        ("once", |id| id == 77),
        ("once seldom", |_| false),
    ];
    for (sort, key) in orders {
        for (query, has) in queries {
            let mut expected: Vec<_> = (1..=COUNT).filter(|id| id % 3 != 0 && has(*id)).collect();
            // Titles are texts.
            expected.sort_by_key(|id| (if sort == "title" { key(*id).0.to_string() } else { String::new() }, key(*id)));
            for descending in ["", "-"] {
                let found =
                    walk(&api, query, &format!("&published=true&limit=100&fields=id&sort={descending}{sort}")).await;
                assert!(found == expected, "{query} by {descending}{sort}: {} of {}", found.len(), expected.len());
                expected.reverse();
            }
        }
    }
}

#[rstest]
#[tokio::test]
async fn highlights_show_the_hits_and_nothing_that_a_browser_would_run(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let content =
        format!("{} <script>alert(\"x\")</script> & more café {}", "before ".repeat(100), "after ".repeat(100));
    api.create(json!({"title": "The <b>café</b>", "author": "O'Hara", "content": content})).await;
    let highlights = async |query: &str, more: &str| {
        let answer = search(&api, query, more).await.json();
        answer["items"][0]["highlights"].clone()
    };
    let found = highlights("cafe", "").await;
    assert_eq!(found["title"], "The &lt;b&gt;<mark>café</mark>&lt;/b&gt;");
    assert_eq!(found.get("author"), None);
    let fragment = found["content"].as_str().unwrap();
    assert!(
        fragment.contains("&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt; &amp; more <mark>café</mark>"),
        "{fragment}"
    );
    assert!(fragment.starts_with('…') && fragment.ends_with('…') && fragment.len() < 500, "{fragment}");
    assert_eq!(highlights("hara", "").await, json!({"author": "O&#39;<mark>Hara</mark>"}));
    assert_eq!(
        highlights("\"b café\" -nothing", "&sort=id").await,
        json!({"title": "The &lt;<mark>b&gt;café</mark>&lt;/b&gt;"})
    );
    // With `fields`, where they are asked for; without `q`, nowhere.
    let item = async |path: &str| api.get(path).await.json()["items"][0].clone();
    assert_eq!(item("/posts?q=hara&fields=author").await, json!({"id": 1, "author": "O'Hara"}));
    let expected = json!({"id": 1, "highlights": {"author": "O&#39;<mark>Hara</mark>"}});
    assert_eq!(item("/posts?q=hara&fields=highlights").await, expected);
    assert_eq!(item("/posts?fields=highlights").await, json!({"id": 1}));
    assert_eq!(item("/posts").await.get("highlights"), None);
}

#[rstest]
#[tokio::test]
async fn a_search_without_a_word_or_with_too_many_is_refused(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    for (query, fault) in [
        ("%20", "q no_word"),
        ("-word", "q no_word"),
        ("-a+-%22b+c%22", "q no_word"),
        ("%22%22", "q no_word"),
        ("%F0%9F%98%80", "q no_word"),
        ("!%3F", "q no_word"),
        ("", "q empty"),
        ("a%00b", "q nul"),
        ("%FF", "q invalid"),
        (&"a".repeat(501), "q too_long"),
        (&"é".repeat(501), "q too_long"),
        (&(1..=33).map(|number| number.to_string()).collect::<Vec<_>>().join("+"), "q too_many_words"),
    ] {
        let answer = api.get(&format!("/posts?q={query}&sort=id")).await;
        assert_eq!(answer.status, 400, "{query} {answer:?}");
        answer.faults("malformed-query", &[fault]);
    }
    api.get("/posts?q=-a&limit=0").await.faults("malformed-query", &["q no_word", "limit out_of_range"]);
    assert_eq!(api.get(&format!("/posts?q={}", "é".repeat(500))).await.status, 200);
}

#[rstest]
#[tokio::test]
async fn a_cursor_belongs_to_what_was_searched_for(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    for _ in 0..3 {
        api.create(json!({"title": "Hello, world"})).await;
    }
    let cursor = search(&api, "hello -x", "&limit=1").await.json()["next_cursor"].as_str().unwrap().to_owned();
    for (query, status) in [
        ("q=hello+-x", 200),
        // The same search in other letters.
        ("q=-X+H%C3%89LLO+hello", 200),
        ("q=hello", 400),
        ("q=world+-x", 400),
        ("q=%22hello+world%22+-x", 400),
        ("q=hello+-x&sort=-id", 400),
        ("q=hello+-x&published=true", 400),
        ("limit=1", 400),
    ] {
        let answer = api.get(&format!("/posts?cursor={cursor}&{query}")).await;
        assert_eq!(answer.status, status, "{query} {answer:?}");
    }
}

#[tokio::test]
async fn both_databases_find_the_same_posts_in_the_same_order() {
    let Some(postgres) = TestDatabase::create(Postgres) else { return };
    let postgres = Api::start(postgres, |_| {});
    let sqlite = Api::start(TestDatabase::create(Sqlite).unwrap(), |_| {});
    let posts = posts();
    import(&postgres, &posts).await;
    import(&sqlite, &posts).await;
    let queries = queries(&posts);
    assert!(queries.len() >= 200, "{}", queries.len());
    let mut found = 0;
    for query in &queries {
        let more = "&limit=10&fields=highlights";
        let (one, other) = (search(&postgres, query, more).await, search(&sqlite, query, more).await);
        let without_cursor = |answer: &Answer| {
            assert_eq!(answer.status, 200, "{query} {answer:?}");
            answer.json()["items"].clone()
        };
        // With the same marks in them, too.
        assert_eq!(without_cursor(&one), without_cursor(&other), "{query}");
        let walked = walk(&postgres, query, "&limit=100&fields=id").await;
        assert_eq!(walked, walk(&sqlite, query, "&limit=100&fields=id").await, "{query}");
        found += usize::from(!walked.is_empty());
    }
    assert!(found * 2 > queries.len(), "most of them find something: {found} of {}", queries.len());
}

#[rstest]
#[tokio::test]
async fn a_hostile_query_is_words_or_a_400(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    import(&api, &posts()).await;
    let count = api.database.count("posts", "true");
    for query in hostile_queries() {
        for more in ["", "&sort=title"] {
            let answer = search(&api, &query, more).await;
            assert!([200, 400].contains(&answer.status), "{query:?} {answer:?}");
            if answer.status == 400 {
                answer.problem("malformed-query");
            }
        }
    }
    assert_eq!(api.database.count("posts", "true"), count);
}
