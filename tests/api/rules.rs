//! The field rules are stated three times: by the service, by the tables' constraints and by the public document.
//! Here the three judge the same posts.

use diesel::RunQueryDsl as _;
use diesel::result::{DatabaseErrorKind, Error};
use diesel::sql_types::{Bool, Nullable, Text};
use jsonschema::Validator;
use posts_api::db::DbConnection;
use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};

use crate::harness::{Api, Database, Postgres, Sqlite, for_all, start};
use crate::posts::WHITE_SPACE;

/// What each of the three says of a post: whether it may be stored.
#[derive(Debug, PartialEq, Eq)]
struct Verdicts {
    service: bool,
    table: bool,
    document: bool,
}

impl Verdicts {
    const fn unanimous(allowed: bool) -> Self {
        Self { service: allowed, table: allowed, document: allowed }
    }
}

async fn served_schema(api: &Api) -> Validator {
    let document = api.get("/openapi.json").await.json();
    let schema = json!({"$ref": "#/components/schemas/NewPost", "components": document["components"]});
    jsonschema::validator_for(&schema).unwrap()
}

async fn service_takes(api: &Api, post: &Value) -> bool {
    let answer = api.post("/posts", post).await;
    match answer.status {
        201 => true,
        422 => false,
        _ => panic!("{answer:?}"),
    }
}

/// Whether an INSERT past the service goes through. The post must have all four fields.
fn table_takes(connection: &mut DbConnection, post: &Value) -> bool {
    let text = |name: &str| match &post[name] {
        Value::Null => Some(None),
        Value::String(text) => Some(Some(text.clone())),
        _ => None,
    };
    let published = match &post["published"] {
        Value::Null => Some(None),
        Value::Bool(published) => Some(Some(*published)),
        _ => None,
    };
    // A value of another type has no way into a typed column.
    let (Some(title), Some(author), Some(content), Some(published)) =
        (text("title"), text("author"), text("content"), published)
    else {
        return false;
    };
    let inserted = diesel::sql_query(
        "INSERT INTO posts (title, author, content, published, created_on, updated_on) \
         VALUES ($1, $2, $3, $4, '2026-11-22T09:30:00.000000Z', '2026-11-22T09:30:00.000000Z')",
    )
    .bind::<Nullable<Text>, _>(title)
    .bind::<Nullable<Text>, _>(author)
    .bind::<Nullable<Text>, _>(content)
    .bind::<Nullable<Bool>, _>(published)
    .execute(connection);
    match inserted {
        Ok(rows) => rows == 1,
        Err(Error::DatabaseError(DatabaseErrorKind::CheckViolation | DatabaseErrorKind::NotNullViolation, _)) => false,
        // PostgreSQL's text cannot hold a NUL: it never reaches the constraints.
        Err(Error::DatabaseError(_, message)) if message.message().ends_with("\"UTF8\": 0x00") => false,
        Err(other) => panic!("{other:?}"),
    }
}

async fn verdicts(api: &Api, connection: &mut DbConnection, schema: &Validator, post: &Value) -> Verdicts {
    Verdicts {
        service: service_takes(api, post).await,
        table: table_takes(connection, post),
        document: schema.is_valid(post),
    }
}

/// A post with one field of interest.
fn post_with(field: &str, value: &Value) -> Value {
    let mut post = json!({"title": "Hello", "author": "Ada", "content": "Text", "published": true});
    post[field] = value.clone();
    post
}

/// What some call white space, and Unicode does not.
const LOOKS_BLANK: [char; 12] = [
    '\u{1c}', '\u{1d}', '\u{1e}', '\u{1f}', '\u{ad}', '\u{180e}', '\u{200b}', '\u{200d}', '\u{2060}', '\u{2800}',
    '\u{3164}', '\u{feff}',
];

#[rstest]
#[tokio::test]
async fn service_table_and_document_agree_on_every_edge(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let mut connection = api.database.connect();
    let schema = served_schema(&api).await;
    let mut cases = vec![
        ("title", json!(null), false),
        ("author", json!(null), true),
        ("content", json!(null), true),
        ("title", json!(""), false),
        ("author", json!(""), false),
        ("content", json!(""), true),
        ("title", json!(7), false),
        ("author", json!(false), false),
        ("content", json!(["Text"]), false),
        ("content", json!({}), false),
        ("published", json!(true), true),
        ("published", json!(false), true),
        ("published", json!(null), false),
        ("published", json!(0), false),
        ("published", json!(1), false),
        ("published", json!("true"), false),
    ];
    for field in ["title", "author"] {
        for unit in ["a", "é", "漢", "😀", "\u{10ffff}", "\u{301}"] {
            cases.push((field, unit.repeat(255).into(), true));
            cases.push((field, unit.repeat(256).into(), false));
        }
        for text in ["\0", "a\0", "\0a", "a\0b", "\0\0\0", " \0 ", "\n\0"] {
            cases.push((field, text.into(), false));
        }
        // The end of a line is no end of the text.
        for text in ["a\n", "\na", "\na\n", "\r\na\r\n", " a ", "\u{85}a", "a\u{2028}", "\u{fffe}", "\u{ffff}"] {
            cases.push((field, text.into(), true));
        }
        cases.push((field, format!("{}a", " ".repeat(254)).into(), true));
        cases.push((field, format!("a{}", "\n".repeat(254)).into(), true));
        cases.push((field, format!("a{}", "\0".repeat(300)).into(), false));
        cases.extend(LOOKS_BLANK.map(|c| (field, c.to_string().into(), true)));
    }
    let blanks =
        WHITE_SPACE.chars().map(String::from).chain([WHITE_SPACE.to_owned(), " ".repeat(255), " ".repeat(256)]);
    for blank in blanks {
        let short_enough = blank.chars().count() <= 255;
        cases.push(("title", blank.as_str().into(), false));
        cases.push(("author", blank.as_str().into(), short_enough));
        cases.push(("content", blank.into(), true));
    }
    for text in ["\0", "a\0b", "\0\n"] {
        cases.push(("content", text.into(), false));
    }
    for unit in ["a", "😀"] {
        cases.push(("content", unit.repeat(1_000_000).into(), true));
        cases.push(("content", unit.repeat(1_000_001).into(), false));
    }
    cases.push(("content", format!("{}\0", "a".repeat(999_999)).into(), false));

    for (field, value, allowed) in cases {
        let found = verdicts(&api, &mut connection, &schema, &post_with(field, &value)).await;
        let shown: String = format!("{value:?}").chars().take(100).collect();
        assert_eq!(found, Verdicts::unanimous(allowed), "{field}: {shown}");
    }
}

#[rstest]
#[tokio::test]
async fn service_and_document_agree_on_the_shape(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let schema = served_schema(&api).await;
    for (post, allowed) in [
        (json!({"title": "Hello"}), true),
        (json!({"title": "Hello", "author": null, "content": null, "published": false}), true),
        (json!({}), false),
        (json!({"author": "Ada"}), false),
        (json!({"title": "Hello", "colour": "red"}), false),
        (json!({"title": "Hello", "colour": null}), false),
        (json!({"title": "Hello", "Title": "Hello"}), false),
        (json!({"title": "Hello", "id": 1}), false),
        (json!({"title": "Hello", "owner_id": null}), false),
        (json!({"title": "Hello", "created_on": "2026-11-22T09:30:00.000000Z"}), false),
        (json!({"title": "Hello", "updated_on": "2026-11-22T09:30:00.000000Z"}), false),
        (json!({"title": "Hello", "version": 1}), false),
        (json!(null), false),
        (json!([]), false),
        (json!([{"title": "Hello"}]), false),
        (json!("Hello"), false),
        (json!(7), false),
        (json!(true), false),
    ] {
        assert_eq!((service_takes(&api, &post).await, schema.is_valid(&post)), (allowed, allowed), "{post}");
    }
}

/// Text of all kinds, and often where a rule has its edge.
fn text() -> impl Strategy<Value = String> {
    let white_space: Vec<char> = WHITE_SPACE.chars().collect();
    let chars = prop_oneof![
        8 => any::<char>(),
        2 => prop::sample::select(white_space.clone()),
        2 => prop::sample::select(&LOOKS_BLANK[..]),
        1 => Just('\0'),
    ];
    let blank =
        prop_oneof![9 => prop::sample::select(white_space.clone()), 1 => prop::sample::select(&LOOKS_BLANK[..])];
    let without_nul = any::<char>().prop_filter("no NUL", |c| *c != '\0');
    prop_oneof![
        prop::collection::vec(chars, 0..12),
        prop::collection::vec(blank, 0..8),
        prop::collection::vec(without_nul, 253..258),
    ]
    .prop_map(String::from_iter)
}

/// Text that the contract allows in every field.
fn allowed_text() -> impl Strategy<Value = String> {
    text().prop_filter("allowed as a title", |text| {
        let blank = text.chars().all(|c| WHITE_SPACE.contains(c));
        text.chars().count() <= 255 && !text.contains('\0') && !blank
    })
}

#[rstest]
fn service_table_and_document_agree_on_any_post(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let posts = (text(), prop::option::of(text()), prop::option::of(text()), any::<bool>());
    for_all(64, posts, async |(title, author, content, published)| {
        let post = json!({"title": title, "author": author, "content": content, "published": published});
        let schema = served_schema(&api).await;
        let found = verdicts(&api, &mut api.database.connect(), &schema, &post).await;
        assert_eq!(found, Verdicts::unanimous(found.service), "{post}");
    });
}

#[rstest]
fn any_allowed_text_comes_back_byte_for_byte(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let posts = (allowed_text(), prop::option::of(allowed_text()), prop::option::of(allowed_text()));
    for_all(64, posts, async |(title, author, content)| {
        let sent = json!({"title": title, "author": author, "content": content});
        let created = api.create(sent.clone()).await;
        let path = format!("/posts/{}", created["id"]);
        let read = api.get(&path).await.json();
        for (name, value) in sent.as_object().unwrap() {
            assert_eq!(created[name], *value);
            assert_eq!(read[name], *value);
        }
        // Written again, in each of the ways, it is what is there already.
        assert_eq!(api.put(&path, &read).await.json(), read);
        assert_eq!(api.patch(&path, &sent).await.json(), read);
        let replace = json!([{"op": "replace", "path": "/title", "value": title}]);
        assert_eq!(api.json_patch(&path, replace).await.json(), read);
    });
}
