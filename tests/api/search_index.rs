//! The index of the posts' words: a row of it is never stale, only ever missing, and both databases find the same.

use posts_api::posts::search::candidates;
use posts_api::search::{Query, Rank, fold};
use rstest::rstest;
use serde_json::json;

use crate::harness::{Api, Database, Postgres, Sqlite, TestDatabase, eventually, start};

/// The ids of the posts that match, the best first.
fn found(database: &TestDatabase, query: &str) -> Vec<i64> {
    let query = Query::parse(query).unwrap();
    let mut connection = database.connect();
    let ranks = Rank::ALL.into_iter();
    ranks.flat_map(|rank| candidates(&mut connection, &query, rank, None, 10_000).unwrap()).collect()
}

/// Inserts posts past the service, each a title, a byline and a text.
fn import(database: &TestDatabase, posts: &[[Option<String>; 3]]) {
    let literal = |text: &Option<String>| {
        text.as_ref().map_or("NULL".to_owned(), |text| format!("'{}'", text.replace('\'', "''")))
    };
    let row = |post: &[Option<String>; 3]| {
        let [title, author, content] = post.each_ref().map(literal);
        format!("({title}, {author}, {content}, '2026-11-24T12:00:00.000000Z', '2026-11-24T12:00:00.000000Z')")
    };
    let rows: Vec<_> = posts.iter().map(row).collect();
    let into = "INSERT INTO posts (title, author, content, created_on, updated_on) VALUES";
    database.execute(&format!("{into} {}", rows.join(", "))).unwrap();
}

/// Waits until every post is indexed.
async fn indexed(api: &Api) {
    eventually("every post is indexed", || async {
        api.database.count("posts_search", "true") == api.database.count("posts", "true")
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn a_post_is_found_by_what_it_says_now(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let post = api.create(json!({"title": "Café", "author": "Ada L.", "content": "Three red umbrellas."})).await;
    let id = post["id"].as_i64().unwrap();
    let path = format!("/posts/{id}");
    let is_found = |query: &str| found(&api.database, query) == [id];
    for query in ["CAFE", "ada", "\"red umbrellas\"", "l three cafe", "red -blue"] {
        assert!(is_found(query), "{query}");
    }
    // Words that stand in no field, or a phrase that would lie across two.
    for query in
        ["umbrella", "blue", "\"umbrellas red\"", "\"cafe ada\"", "\"l three\"", "cafe -red", "cafe -\"ada l\""]
    {
        assert!(!is_found(query), "{query}");
    }

    assert_eq!(api.patch(&path, json!({"content": "Two blue ones."})).await.status, 200);
    assert!(is_found("cafe ada blue") && !is_found("red"));
    // What is not about words leaves the index alone.
    assert_eq!(api.patch(&path, json!({"published": false})).await.status, 200);
    assert!(is_found("cafe ada blue"));
    assert_eq!(api.put(&path, json!({"title": "Tea"})).await.status, 200);
    assert!(is_found("tea") && !is_found("cafe") && !is_found("ada") && !is_found("blue"));
    assert_eq!(api.patch(&path, json!({"author": "Grace"})).await.status, 200);
    assert!(is_found("tea grace"));

    assert_eq!(api.delete(&path).await.status, 204);
    assert_eq!(found(&api.database, "tea"), [0; 0]);
    assert_eq!(api.database.count("posts_search", "true"), 0);
}

#[rstest]
#[tokio::test]
async fn a_change_past_the_service_is_found_late_and_never_wrongly(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let changes = [
        "UPDATE posts SET title = 'new'",
        "UPDATE posts SET author = 'new'",
        "UPDATE posts SET content = 'new'",
        "UPDATE posts SET content = NULL",
        "DELETE FROM posts",
    ];
    let replacement = "INSERT OR REPLACE INTO posts (id, title, created_on, updated_on) \
                       SELECT id, 'new', created_on, updated_on FROM posts";
    let renumbering = "UPDATE posts SET id = id + 1000";
    let changes =
        changes.into_iter().chain((database == Sqlite).then_some([replacement, renumbering]).into_iter().flatten());
    for change in changes {
        let post = api.create(json!({"title": "old", "author": "old", "content": "old"})).await;
        assert_eq!(found(&api.database, "old"), [post["id"].as_i64().unwrap()]);
        // Nothing is said anew.
        api.database.execute("UPDATE posts SET published = false, title = title").unwrap();
        assert_eq!(found(&api.database, "old"), [post["id"].as_i64().unwrap()]);

        api.database.execute(change).unwrap();
        assert_eq!(found(&api.database, "old"), [0; 0], "{change}");
        let another = api.another(|_| {});
        indexed(&another).await;
        assert_eq!(found(&api.database, "new").len(), usize::from(change.contains("'new'")), "{change}");
        api.database.execute("DELETE FROM posts").unwrap();
    }
}

#[rstest]
#[tokio::test]
async fn an_import_is_indexed_by_the_servers_that_start(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let posts: Vec<_> = (1..=3000).map(|number| [Some(format!("Number {number}")), None, None]).collect();
    import(&api.database, &posts);
    let others = [api.another(|_| {}), api.another(|_| {})];
    // Those who write get their turn meanwhile.
    for number in 3001..=3020 {
        api.create(json!({"title": format!("Number {number}")})).await;
    }
    indexed(&others[0]).await;
    assert_eq!(found(&api.database, "number"), (1..=3020).rev().collect::<Vec<_>>());
    assert_eq!(found(&api.database, "2718"), [2718]);
}

#[rstest]
#[tokio::test]
async fn a_text_may_have_any_words_and_any_number_of_them(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    // 250,000 words, each of its own.
    let letters: Vec<_> = ('\u{4e00}'..'\u{4e80}').collect();
    let mut words = letters.iter().flat_map(|a| letters.iter().flat_map(|b| letters.iter().map(|c| [*a, *b, *c])));
    let mut text = |between: char| {
        let words = words.by_ref().take(250_000);
        words.flat_map(|word| word.into_iter().chain([between])).collect::<String>()
    };
    let distinct = text(' ');
    let cases = [
        ("distinct", distinct.clone(), distinct.split(' ').nth(200_000).unwrap()),
        ("emoji", text('\u{1f600}'), "emoji"),
        ("accents", "e\u{301}\u{327}\u{301} ".repeat(200_000), "\"e e e\""),
        ("equal", "the ".repeat(250_000), "\"the the the\" -\"the a\""),
        ("one", "x".repeat(1_000_000), &"x".repeat(300)),
        ("hangul", "한".repeat(1_000_000), &"한".repeat(300)),
        ("marks", format!("a{}", "\u{301}".repeat(999_999)), "a"),
        ("signs", "\u{1f600}%_\\'\"*".repeat(140_000), "signs"),
    ];
    for (title, content, query) in cases {
        assert!((800_000..=1_000_000).contains(&content.chars().count()), "{title}");
        let id = api.create(json!({"title": title, "content": content})).await["id"].as_i64().unwrap();
        assert_eq!(found(&api.database, &format!("{title} {query}")), [id], "{title}");
    }
}

/// Numbers without an order to be seen in them, the same in each run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % limit
    }

    fn one_of<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len())]
    }

    fn text(&mut self, words: usize, separators: &[&str]) -> String {
        (0..words).map(|_| [self.one_of(&WORDS), self.one_of(separators)].concat()).collect()
    }
}

/// Many that are equal when they are folded, in several scripts.
const WORDS: [&str; 32] = [
    "rust",
    "Rust",
    "RUST",
    "the",
    "The",
    "of",
    "a",
    "web",
    "service",
    "café",
    "cafe\u{301}",
    "CAFE",
    "Straße",
    "STRASSE",
    "東京",
    "日本",
    "がく",
    "かく",
    "ΣΟΦΌΣ",
    "σοφός",
    "привет",
    "Ёлка",
    "елка",
    "שָׁלוֹם",
    "שלום",
    "नमस्ते",
    "e-mail",
    "foo_bar",
    "1.0",
    "2026",
    "don't",
    "x",
];

const SEPARATORS: [&str; 8] = [" ", " ", " ", ", ", "\n", "-", " <b>", " \u{1f600} "];

/// What a query finds by reading every post: the rank, and the ids, the highest first.
fn read_through(posts: &[(i64, [String; 3])], query: &Query, rank: Rank) -> Vec<i64> {
    let has = |text: &str, term: &str| format!(" {text} ").contains(&format!(" {term} "));
    let matches = posts.iter().rev().filter(|(_, texts)| {
        let anywhere = |term: &str| texts.iter().any(|text| has(text, term));
        let in_title = query.found().iter().filter(|term| has(&texts[0], term.as_str())).count();
        let ranked = match in_title {
            0 => Rank::NoneInTitle,
            some if some < query.found().len() => Rank::SomeInTitle,
            _ => Rank::AllInTitle,
        };
        query.found().iter().all(|term| anywhere(term.as_str()))
            && !query.excluded().iter().any(|term| anywhere(term.as_str()))
            && rank == ranked
    });
    matches.map(|(id, _)| *id).collect()
}

#[rstest]
#[tokio::test]
async fn the_index_finds_what_reading_every_post_finds(#[values(Sqlite, Postgres)] database: Database) {
    let Some(database) = TestDatabase::create(database) else { return };
    let mut dice = Dice(7);
    let posts: Vec<_> = (0..400)
        .map(|_| {
            let words = 1 + dice.below(4);
            let title = dice.text(words, &SEPARATORS);
            let words = dice.below(3);
            let author = (words > 0).then(|| dice.text(words, &SEPARATORS));
            let words = dice.below(40);
            [Some(title), author, (words > 2).then(|| dice.text(words, &SEPARATORS))]
        })
        .collect();
    import(&database, &posts);
    database.execute("DELETE FROM posts WHERE id % 7 = 3 OR id BETWEEN 150 AND 250").unwrap();
    let api = Api::start(database, |_| {});
    indexed(&api).await;

    let texts = posts.iter().map(|post| post.each_ref().map(|text| fold(text.as_deref().unwrap_or_default())));
    let posts: Vec<_> = (1..).zip(texts).filter(|(id, _)| id % 7 != 3 && !(150..=250).contains(id)).collect();
    let mut connection = api.database.connect();
    let mut hits = 0;
    for _ in 0..300 {
        let terms = 1 + dice.below(4);
        let text: String = (0..terms)
            .map(|number| {
                let minus = if number > 0 && dice.below(4) == 0 { "-" } else { "" };
                match dice.below(3) {
                    0 => {
                        let words = 1 + dice.below(3);
                        format!("{minus}\"{}\" ", dice.text(words, &[" "]))
                    }
                    _ => format!("{minus}{} ", dice.one_of(&WORDS)),
                }
            })
            .collect();
        let query = Query::parse(&text).unwrap();
        let limit = [1, 3, 20, 1000][dice.below(4)];
        for rank in Rank::ALL {
            let mut ids = Vec::new();
            loop {
                let page = candidates(&mut connection, &query, rank, ids.last().copied(), limit).unwrap();
                assert!(page.len() <= usize::try_from(limit).unwrap());
                let is_last = page.len() < usize::try_from(limit).unwrap();
                ids.extend(page);
                if is_last {
                    break;
                }
            }
            assert_eq!(ids, read_through(&posts, &query, rank), "{text} {rank:?}");
            hits += ids.len();
        }
    }
    assert!(hits > 1000, "{hits}");
}
