//! Contract sections 1 and 2: the post, and what can be done with it.

use rstest::rstest;
use serde_json::{Value, json};

use crate::harness::{Answer, Api, Database, Postgres, Sqlite, ids, start};

/// The characters with Unicode's property `White_Space`.
pub const WHITE_SPACE: &str = "\t\n\u{b}\u{c}\r \u{85}\u{a0}\u{1680}\u{2000}\u{2001}\u{2002}\u{2003}\u{2004}\u{2005}\
                           \u{2006}\u{2007}\u{2008}\u{2009}\u{200a}\u{2028}\u{2029}\u{202f}\u{205f}\u{3000}";

/// Sends a JSON text as it is.
async fn send(api: &Api, method: &str, path: &str, body: impl Into<Vec<u8>>) -> Answer {
    api.request(method, path).body("application/json", body).await
}

/// Sends a body with each of the operations that take a post. Post 1 must exist.
async fn send_to_all(api: &Api, body: impl AsRef<[u8]>) -> [Answer; 3] {
    let body = body.as_ref();
    [
        send(api, "POST", "/posts", body).await,
        send(api, "PUT", "/posts/1", body).await,
        send(api, "PATCH", "/posts/1", body).await,
    ]
}

/// The post with other values in some fields.
fn with(post: &Value, changes: &Value) -> Value {
    let mut post = post.clone();
    for (name, value) in changes.as_object().unwrap() {
        post[name] = value.clone();
    }
    post
}

/// The names in a header that is a list, in order, however the server writes it.
fn names<'a>(answer: &'a Answer, header: &str) -> Vec<&'a str> {
    let mut names: Vec<_> = answer.header(header).split(',').map(str::trim).collect();
    names.sort_unstable();
    names
}

// What a post holds.

#[rstest]
#[tokio::test]
async fn a_created_post_comes_back_as_it_was_sent(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let created =
        api.post("/posts", json!({"title": "Hello", "author": "Ada", "content": "", "published": false})).await;
    assert_eq!(created.status, 201);
    assert_eq!(created.header("location"), "/posts/1");
    assert_eq!(created.header("content-type"), "application/json");
    let post = created.json();
    assert_eq!(post["title"], "Hello");
    assert_eq!(post["author"], "Ada");
    assert_eq!(post["content"], "");
    assert_eq!(post["published"], false);
    assert_eq!(api.get("/posts/1").await.json(), post);
}

#[rstest]
#[tokio::test]
async fn what_is_left_out_takes_its_default(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let post = api.create(json!({"title": "Hello"})).await;
    let expected = json!({
        "id": 1,
        "title": "Hello",
        "author": null,
        "content": null,
        "published": true,
        "owner_id": api.root.id,
        "created_on": post["created_on"],
        "updated_on": post["created_on"],
        "version": 1,
    });
    assert_eq!(post, expected);
}

#[rstest]
#[tokio::test]
async fn strings_are_kept_byte_for_byte(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    for text in [
        "  spaces before and after  ",
        "\ttab, and a line's end\r\n",
        "a\rb\nc\r\nd\n\re",
        "👩‍👩‍👧‍👦 🏳️‍🌈 🇪🇺",
        "e\u{301} and \u{e9}, A\u{30a} and \u{c5} and \u{212b}",
        "Z\u{351}\u{36b}\u{343}a\u{327}\u{338}lgo",
        "שלום, \u{202e}عالم\u{202c} \u{200f}",
        "<script>alert('&amp;')</script><!-- -->",
        "' OR 1=1; -- \\ % _ \" ` $1 ? :a",
        "\u{feff}a byte order mark first",
        "\u{1}\u{8}\u{1b}\u{7f}\u{9f}",
        "\u{fffd}\u{fffe}\u{ffff}\u{10ffff}\u{e000}",
        "\u{2028}\u{2029}\u{200b}\u{ad}",
        "null",
    ] {
        let sent = json!({"title": text, "author": text, "content": text});
        let created = api.create(sent.clone()).await;
        let path = format!("/posts/{}", created["id"]);
        let put = api.put(&path, &sent).await;
        assert_eq!(put.status, 200, "{put:?}");
        for post in [&created, &put.json(), &api.get(&path).await.json()] {
            assert_eq!(post["title"], text);
            assert_eq!(post["author"], text);
            assert_eq!(post["content"], text);
        }
    }
}

#[rstest]
#[tokio::test]
async fn escapes_stand_for_their_characters(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let body = r#" {"titl\u0065": "\u0041\ud83d\ude00\uD83D\uDE00e\u0301\/\\\"\b\f\n\r\t\u001f\ufeff"} "#;
    let created = send(&api, "POST", "/posts", body).await;
    assert_eq!(created.status, 201, "{created:?}");
    let title = "A😀😀e\u{301}/\\\"\u{8}\u{c}\n\r\t\u{1f}\u{feff}";
    assert_eq!(created.json()["title"], title);
    assert_eq!(api.get("/posts/1").await.json()["title"], title);
}

#[rstest]
#[tokio::test]
async fn a_content_may_have_a_million_characters_of_any_kind(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let content = "a😀\u{301}\n".repeat(250_000);
    let post = api.create(json!({"title": "long", "content": content})).await;
    assert!(post["content"] == content, "the answer has another content");

    let astral = "😀".repeat(1_000_000);
    let escaped = format!(r#"{{"title": "escaped", "content": "{}"}}"#, r"\ud83d\ude00".repeat(1_000_000));
    let put = send(&api, "PUT", "/posts/1", escaped).await;
    assert_eq!(put.status, 200);
    assert!(api.get("/posts/1").await.json()["content"] == astral, "the stored content is another");

    let too_long = json!({"title": "too long", "content": format!("{astral}a")});
    api.post("/posts", &too_long).await.faults("validation-failed", &["/content too_long"]);
    api.put("/posts/1", &too_long).await.faults("validation-failed", &["/content too_long"]);
    api.patch("/posts/1", &too_long).await.faults("validation-failed", &["/content too_long"]);
}

#[rstest]
#[tokio::test]
async fn lengths_are_counted_in_code_points(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let longest = ["a".repeat(255), "é".repeat(255), "😀".repeat(255), "e\u{301}".repeat(127) + "e"];
    for text in longest {
        let post = api.create(json!({"title": text, "author": text})).await;
        assert_eq!(post["title"], text);
        assert_eq!(post["author"], text);
    }
    for text in ["a".repeat(256), "é".repeat(256), "😀".repeat(256), "e\u{301}".repeat(128)] {
        for answer in send_to_all(&api, json!({"title": text, "author": text}).to_string()).await {
            answer.faults("validation-failed", &["/title too_long", "/author too_long"]);
        }
    }
    for answer in send_to_all(&api, r#"{"title": "", "author": "", "content": ""}"#).await {
        answer.faults("validation-failed", &["/title too_short", "/author too_short"]);
    }
    let post = api.create(json!({"title": "😀", "author": " "})).await;
    assert_eq!([&post["title"], &post["author"]], ["😀", " "]);
}

#[rstest]
#[tokio::test]
async fn a_nul_is_refused_in_every_string(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let stored = api.create(json!({"title": "Hello", "author": "Ada", "content": "Text"})).await;
    for field in ["title", "author", "content"] {
        for text in ["\0", "\0after", "before\0", "in\0side"] {
            let body = with(&json!({"title": "Hello"}), &json!({field: text}));
            for answer in send_to_all(&api, body.to_string()).await {
                answer.faults("validation-failed", &[&format!("/{field} contains_nul")]);
            }
        }
    }
    assert_eq!(api.get("/posts/1").await.json(), stored);
}

#[rstest]
#[tokio::test]
async fn a_title_of_white_space_alone_is_refused(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    api.create(json!({"title": "Hello"})).await;
    let each = WHITE_SPACE.chars().map(String::from);
    for title in each.chain([WHITE_SPACE.to_owned(), " ".repeat(255)]) {
        api.post("/posts", json!({"title": title})).await.faults("validation-failed", &["/title blank"]);
    }
    for answer in send_to_all(&api, r#"{"title": " \u3000\r\n"}"#).await {
        answer.faults("validation-failed", &["/title blank"]);
    }
}

#[rstest]
#[tokio::test]
async fn what_only_looks_blank_is_a_title(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    for title in [
        "\u{feff}", "\u{200b}", "\u{200c}", "\u{200d}", "\u{2060}", "\u{180e}", "\u{2800}", "\u{3164}", "\u{ad}",
        "\u{1}", "\u{1c}", "\u{1d}", "\u{1e}", "\u{1f}", "\u{7f}", "\u{301}",
    ] {
        assert_eq!(api.create(json!({"title": title})).await["title"], title);
    }
    let title = format!("{WHITE_SPACE}.{WHITE_SPACE}");
    assert_eq!(api.create(json!({"title": title})).await["title"], title);
}

#[rstest]
#[tokio::test]
async fn null_an_empty_string_and_blanks_are_three_things(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    for (author, content) in [
        (json!(null), json!(null)),
        (json!(null), json!("")),
        (json!(WHITE_SPACE), json!(WHITE_SPACE)),
        (json!("null"), json!("null")),
    ] {
        let post = api.create(json!({"title": "Hello", "author": author, "content": content})).await;
        let read = api.get(&format!("/posts/{}", post["id"])).await.json();
        assert_eq!([&read["author"], &read["content"]], [&author, &content]);
    }
}

// What is refused.

#[rstest]
#[tokio::test]
async fn a_value_of_another_type_is_refused(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let stored = api.create(json!({"title": "Hello"})).await;
    let others = [json!(0), json!(1), json!(1.5), json!([]), json!(["Hello"]), json!({}), json!({"title": "Hello"})];
    for (field, more) in [
        ("title", vec![json!(true)]),
        ("author", vec![json!(false)]),
        ("content", vec![json!(true)]),
        ("published", vec![json!("true"), json!("")]),
    ] {
        for value in others.iter().chain(&more) {
            let body = with(&json!({"title": "Hello"}), &json!({field: value}));
            for answer in send_to_all(&api, body.to_string()).await {
                answer.faults("validation-failed", &[&format!("/{field} wrong_type")]);
            }
        }
    }
    for body in [json!({"title": null}), json!({"title": "Hello", "published": null})] {
        let field = if body["title"].is_null() { "title" } else { "published" };
        let expected = format!("/{field} wrong_type");
        api.post("/posts", &body).await.faults("validation-failed", &[&expected]);
        api.put("/posts/1", &body).await.faults("validation-failed", &[&expected]);
    }
    api.post("/posts", json!({})).await.faults("validation-failed", &["/title required"]);
    api.put("/posts/1", json!({})).await.faults("validation-failed", &["/title required"]);
    assert_eq!(api.get("/posts/1").await.json(), stored);
}

#[rstest]
#[tokio::test]
async fn an_unknown_field_is_refused(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let stored = api.create(json!({"title": "Hello"})).await;
    for (name, pointer) in [
        ("colour", "/colour"),
        ("Title", "/Title"),
        ("title ", "/title "),
        ("", "/"),
        ("a/b~c", "/a~1b~0c"),
        ("__proto__", "/__proto__"),
        ("created_on[gte]", "/created_on[gte]"),
        ("\u{0}", "/\u{0}"),
    ] {
        for value in [json!(null), json!("red"), json!({"title": "Hello"})] {
            let body = with(&json!({"title": "Hello"}), &json!({name: value}));
            for answer in send_to_all(&api, body.to_string()).await {
                answer.faults("validation-failed", &[&format!("{pointer} unknown_field")]);
            }
        }
    }
    assert_eq!(api.get("/posts/1").await.json(), stored);
}

#[rstest]
#[tokio::test]
async fn a_new_post_may_not_have_what_the_server_sets(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let stored = api.create(json!({"title": "Hello"})).await;
    for field in ["id", "owner_id", "created_on", "updated_on", "version"] {
        for value in [stored[field].clone(), json!(null), json!(1), json!("2026-11-22T09:30:00.000000Z")] {
            let answer = api.post("/posts", with(&json!({"title": "Hello"}), &json!({field: value}))).await;
            answer.faults("validation-failed", &[&format!("/{field} read_only")]);
        }
    }
    assert_eq!(ids(&api.get("/posts").await), [1]);
}

#[rstest]
#[tokio::test]
async fn what_was_read_can_be_edited_and_written_back(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let read = api.create(json!({"title": "Hello", "author": "Ada"})).await;
    let put = api.put("/posts/1", with(&read, &json!({"content": "More"}))).await.json();
    let expected = json!({"content": "More", "version": 2, "updated_on": put["updated_on"]});
    assert_eq!(put, with(&read, &expected));

    let patched = api.patch("/posts/1", with(&put, &json!({"author": null}))).await.json();
    let expected = json!({"author": null, "version": 3, "updated_on": patched["updated_on"]});
    assert_eq!(patched, with(&put, &expected));

    // An integer is the same number however it is written.
    let written = send(&api, "PUT", "/posts/1", r#"{"title": "Hello", "id": 1.0, "version": 30e-1}"#).await;
    assert_eq!(written.status, 200, "{written:?}");
}

#[rstest]
#[tokio::test]
async fn what_the_server_sets_cannot_be_changed(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let stored = api.create(json!({"title": "Hello"})).await;
    for (field, values) in [
        ("id", [json!(2), json!("1"), json!(null)]),
        ("owner_id", [json!(api.root.id + 1), json!(""), json!(null)]),
        ("created_on", [json!("2026-11-22T09:30:00.000000Z"), json!(""), json!(null)]),
        ("updated_on", [json!("2026-11-22T09:30:00.000000Z"), json!(0), json!(null)]),
        ("version", [json!(2), json!("1"), json!(null)]),
    ] {
        for value in values {
            let body = with(&stored, &json!({field: value, "title": "Changed"}));
            let expected = format!("/{field} read_only");
            api.put("/posts/1", &body).await.faults("validation-failed", &[&expected]);
            api.patch("/posts/1", &body).await.faults("validation-failed", &[&expected]);
        }
    }
    assert_eq!(api.get("/posts/1").await.json(), stored);
}

#[rstest]
#[tokio::test]
async fn every_fault_is_reported_at_once(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    api.create(json!({"title": "Hello"})).await;
    let body = json!({
        "title": " ",
        "author": "a".repeat(256),
        "content": "\0",
        "published": 1,
        "id": 2,
        "version": 7,
        "colour": "red",
        "shape": null,
    });
    for answer in send_to_all(&api, body.to_string()).await {
        let expected = [
            "/title blank",
            "/author too_long",
            "/content contains_nul",
            "/published wrong_type",
            "/id read_only",
            "/version read_only",
            "/colour unknown_field",
            "/shape unknown_field",
        ];
        answer.faults("validation-failed", &expected);
    }
}

#[rstest]
#[tokio::test]
async fn a_string_that_breaks_two_rules_has_two_faults(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let long_and_nul = json!({"title": "a\0".repeat(128), "author": "\0".repeat(256)});
    let expected = ["/title too_long", "/title contains_nul", "/author too_long", "/author contains_nul"];
    api.post("/posts", long_and_nul).await.faults("validation-failed", &expected);
    let long_and_blank = json!({"title": " ".repeat(256)});
    api.post("/posts", long_and_blank).await.faults("validation-failed", &["/title too_long", "/title blank"]);
}

#[rstest]
#[tokio::test]
async fn what_is_no_json_is_malformed(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let stored = api.create(json!({"title": "Hello"})).await;
    let texts = [
        "",
        " \r\n\t",
        "hello",
        "{",
        r#"{"title": "Hello""#,
        r#"{"title": "Hello",}"#,
        r#"{"title": "Hello"} {}"#,
        r#"{"title": "Hello"}x"#,
        "{'title': 'Hello'}",
        r#"{title: "Hello"}"#,
        r#"{"title": Hello}"#,
        r#"{"title": "Hello"} // a comment"#,
        r#"{"title": "Hello", "id": NaN}"#,
        r#"{"title": "Hello", "id": 01}"#,
        r#"{"title": "Hello", "id": +1}"#,
        r#"{"title": "Hello", "published": True}"#,
        "title=Hello",
        // Strings that are none.
        "{\"title\": \"a\nb\"}",
        "{\"title\": \"a\u{0}b\"}",
        r#"{"title": "\x41"}"#,
        r#"{"title": "\u12g4"}"#,
        r#"{"title": "\u{41}"}"#,
        // Half a surrogate pair.
        r#"{"title": "\ud800"}"#,
        r#"{"title": "\ud83dx"}"#,
        r#"{"title": "\ud83d\u0041"}"#,
        r#"{"title": "\ude00\ud83d"}"#,
        r#"{"title": "Hello", "content": "\udfff"}"#,
        r#"{"title": "Hello", "\ud800": 1}"#,
    ];
    // No UTF-8: a stray byte, an overlong form, a surrogate, beyond Unicode, cut off, Latin-1, UTF-16.
    let bytes: [&[u8]; 8] = [
        b"{\"title\": \"\xff\"}",
        b"{\"title\": \"\xc0\x80\"}",
        b"{\"title\": \"\xed\xa0\x80\"}",
        b"{\"title\": \"\xf4\x90\x80\x80\"}",
        b"{\"title\": \"\xf0\x9f\x98\"}",
        b"{\"title\": \"caf\xe9\"}",
        b"{\"title\": \"Hello\", \"\xff\": 1}",
        b"{\0\"\0t\0i\0t\0l\0e\0\"\0:\0\"\0H\0i\0\"\0}\0",
    ];
    for body in texts.map(str::as_bytes).into_iter().chain(bytes) {
        for answer in send_to_all(&api, body).await {
            assert_eq!(answer.status, 400, "{:?} {answer:?}", String::from_utf8_lossy(body));
            answer.problem("malformed-json");
        }
    }
    // Without a body there is nothing to say a type of.
    for (method, path) in [("POST", "/posts"), ("PUT", "/posts/1"), ("PATCH", "/posts/1")] {
        api.request(method, path).await.problem("malformed-json");
    }
    assert_eq!(api.get("/posts/1").await.json(), stored);
    assert_eq!(ids(&api.get("/posts").await), [1]);
}

#[rstest]
#[tokio::test]
async fn a_key_given_twice_is_malformed(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let stored = api.create(json!({"title": "Hello"})).await;
    for body in [
        r#"{"title": "One", "title": "Two"}"#,
        r#"{"title": "Same", "title": "Same"}"#,
        r#"{"title": "One", "author": null, "title": "Two"}"#,
        r#"{"title": "One", "titl\u0065": "Two"}"#,
        r#"{"title": "One", "x": {"a": 1, "a": 2}}"#,
        r#"{"title": "One", "x": [[{"a": 1, "b": 2, "\u0061": 3}]]}"#,
        r#"{"title": "One", "": 1, "": 2}"#,
    ] {
        for answer in send_to_all(&api, body).await {
            assert_eq!(answer.status, 400, "{body} {answer:?}");
            answer.problem("malformed-json");
        }
    }
    // The same key in two objects is nothing of the kind, and letters that look alike are two keys.
    let body = r#"{"title": "One", "x": [{"a": 1}, {"a": 2}], "é": 1, "e\u0301": 2}"#;
    let answer = send(&api, "POST", "/posts", body).await;
    answer.faults("validation-failed", &["/x unknown_field", "/é unknown_field", "/e\u{301} unknown_field"]);
    assert_eq!(api.get("/posts/1").await.json(), stored);
}

#[rstest]
#[tokio::test]
async fn json_that_is_no_object_is_refused(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let stored = api.create(json!({"title": "Hello"})).await;
    for body in ["null", "true", "7", "1.5", "\"title\"", "[]", r#"[{"title": "Hello"}]"#] {
        for answer in send_to_all(&api, body).await {
            assert_eq!(answer.status, 422, "{body} {answer:?}");
            answer.faults("validation-failed", &[" wrong_type"]);
        }
    }
    assert_eq!(api.get("/posts/1").await.json(), stored);
}

#[rstest]
#[tokio::test]
async fn post_and_put_take_json_only(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    api.create(json!({"title": "Hello"})).await;
    let body = r#"{"title": "Hello"}"#;
    for (method, path, status) in [("POST", "/posts", 201), ("PUT", "/posts/1", 200)] {
        for media_type in [
            "application/json",
            "application/json; charset=utf-8",
            "application/json;charset=UTF-8",
            "application/json; charset=\"utf-8\"",
            "Application/JSON",
        ] {
            let answer = api.request(method, path).body(media_type, body).await;
            assert_eq!(answer.status, status, "{method} {media_type} {answer:?}");
        }
        for media_type in [
            "application/json; charset=iso-8859-1",
            "application/json; charset=utf-16",
            "application/merge-patch+json",
            "application/json-patch+json",
            "application/problem+json",
            "application/jsonp",
            "application/*",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            "text/json",
            "text/plain",
            "json",
            "",
        ] {
            let answer = api.request(method, path).body(media_type, body).await;
            assert_eq!(answer.status, 415, "{method} {media_type:?} {answer:?}");
            answer.problem("unsupported-media-type");
        }
        api.request(method, path).untyped_body(body).await.problem("unsupported-media-type");
    }
}

// What is done with posts.

#[rstest]
#[tokio::test]
async fn an_id_is_never_given_again(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    for _ in 0..3 {
        api.create(json!({"title": "Hello"})).await;
    }
    for (deleted, next) in [(3, 4), (2, 5), (5, 6)] {
        assert_eq!(api.delete(&format!("/posts/{deleted}")).await.status, 204);
        assert_eq!(api.create(json!({"title": "Hello"})).await["id"], next);
    }
    for id in [1, 4, 6] {
        assert_eq!(api.delete(&format!("/posts/{id}")).await.status, 204);
    }
    let created = api.post("/posts", json!({"title": "Hello"})).await;
    assert_eq!(created.header("location"), "/posts/7");
    assert_eq!(created.json()["id"], 7);
}

#[rstest]
#[tokio::test]
async fn times_are_utc_with_microseconds_and_never_run_backwards(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let first = api.create(json!({"title": "Hello"})).await;
    let second = api.create(json!({"title": "Hello"})).await;
    let changed = api.put("/posts/1", json!({"title": "Changed"})).await.json();
    assert_eq!(api.get("/posts/1").await.json(), changed);
    let times =
        [&first["created_on"], &second["created_on"], &changed["updated_on"]].map(|time| time.as_str().unwrap());
    for time in times {
        let shape: String = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        assert_eq!(shape, "0000-00-00T00:00:00.000000Z", "{time}");
    }
    // Of one width, and so in order as text, too.
    assert!(times.is_sorted(), "{times:?}");
    assert_eq!(first["created_on"], first["updated_on"]);
    assert_eq!(first["created_on"], changed["created_on"]);

    // The clock was ahead at the last change: the next one is not earlier than that.
    let ahead = "2999-12-31T23:59:59.999999Z";
    api.database.execute(&format!("UPDATE posts SET updated_on = '{ahead}' WHERE id = 1")).unwrap();
    let changed = api.put("/posts/1", json!({"title": "Again"})).await.json();
    assert_eq!([&changed["updated_on"], &changed["version"]], [&json!(ahead), &json!(3)]);
}

#[rstest]
#[tokio::test]
async fn every_change_is_a_new_version_with_its_own_tag(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    api.create(json!({"title": "Another"})).await;
    let created = api.post("/posts", json!({"title": "One"})).await;
    let put = api.put("/posts/2", json!({"title": "Two"})).await;
    let merged = api.patch("/posts/2", json!({"title": "Three"})).await;
    let patched = api.json_patch("/posts/2", json!([{"op": "replace", "path": "/title", "value": "Four"}])).await;
    for (version, answer) in (1..).zip([created, put, merged, patched]) {
        assert_eq!(answer.json()["version"], version);
        assert_eq!(answer.header("etag"), format!("\"2.{version}\""));
        assert!(answer.header("last-modified").ends_with(" GMT"), "{answer:?}");
    }
    let read = api.get("/posts/2").await;
    assert_eq!(read.header("etag"), "\"2.4\"");
    assert_eq!([&read.json()["title"], &read.json()["version"]], [&json!("Four"), &json!(4)]);
    assert_eq!(api.get("/posts/1").await.header("etag"), "\"1.1\"");
}

#[rstest]
#[tokio::test]
async fn put_replaces_all_that_can_be_written(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let before = api.create(json!({"title": "Hello", "author": "Ada", "content": "Text", "published": false})).await;
    let answer = api.put("/posts/1", json!({"title": "Hello"})).await;
    assert_eq!(answer.status, 200);
    let after = answer.json();
    let expected = json!({
        "author": null, "content": null, "published": true, "version": 2, "updated_on": after["updated_on"],
    });
    assert_eq!(after, with(&before, &expected));
    assert_eq!(api.get("/posts/1").await.json(), after);
}

#[rstest]
#[tokio::test]
async fn what_does_not_exist_is_not_created_by_a_change(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    for path in ["/posts/1", "/posts/9007199254740991"] {
        api.get(path).await.problem("not-found");
        api.put(path, json!({"title": "Hello"})).await.problem("not-found");
        api.patch(path, json!({"title": "Hello"})).await.problem("not-found");
        api.json_patch(path, json!([])).await.problem("not-found");
        api.delete(path).await.problem("not-found");
    }
    assert_eq!(api.get("/posts").await.json(), json!({"items": [], "next_cursor": null}));
}

#[rstest]
#[tokio::test]
async fn a_write_that_changes_nothing_leaves_no_trace(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let written = json!({"title": "Hello", "author": "Ada", "content": "", "published": false});
    let created = api.create(written.clone()).await;
    let before = api.get("/posts/1").await;
    for answer in [
        api.put("/posts/1", &written).await,
        api.put("/posts/1", &created).await,
        api.patch("/posts/1", json!({})).await,
        api.patch("/posts/1", &written).await,
        api.json_patch("/posts/1", json!([])).await,
        api.json_patch("/posts/1", json!([{"op": "replace", "path": "/author", "value": "Ada"}])).await,
    ] {
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.json(), created);
        for name in ["etag", "last-modified"] {
            assert_eq!(answer.header(name), before.header(name), "{answer:?}");
        }
    }
    // A post with defaults: left out is the same as said.
    let created = api.create(json!({"title": "Hello"})).await;
    let put = api.put("/posts/2", json!({"title": "Hello", "author": null, "content": null, "published": true})).await;
    assert_eq!(put.json(), created);
    // `""` and null are two values.
    assert_eq!(api.put("/posts/2", json!({"title": "Hello", "content": ""})).await.json()["version"], 2);
}

#[rstest]
#[tokio::test]
async fn a_deleted_post_is_gone(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    for _ in 0..2 {
        api.create(json!({"title": "Hello"})).await;
    }
    let deleted = api.delete("/posts/1").await;
    assert_eq!((deleted.status, deleted.text()), (204, ""));
    assert_eq!(deleted.header("content-type"), "");
    api.delete("/posts/1").await.problem("not-found");
    api.get("/posts/1").await.problem("not-found");
    api.put("/posts/1", json!({"title": "Hello"})).await.problem("not-found");
    assert_eq!(ids(&api.get("/posts").await), [2]);
}

// What HTTP asks of every path.

#[rstest]
#[tokio::test]
async fn head_answers_as_get_without_the_body(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    api.create(json!({"title": "Hello"})).await;
    for path in ["/posts", "/posts?limit=1", "/posts/1", "/posts/2", "/posts/01", "/posts?limit=0"] {
        let [get, head] = [api.get(path).await, api.request("HEAD", path).await];
        assert_eq!(head.status, get.status, "{path}");
        assert!(head.body.is_empty(), "{path}");
        let comparable = |answer: &Answer| {
            let mut headers = answer.headers.clone();
            headers.remove("date");
            headers.remove("x-request-id");
            // Request ids are all of one length, so that this is the same for problems, too.
            assert!(headers.contains_key("content-length"), "{path} {answer:?}");
            headers
        };
        assert_eq!(comparable(&head), comparable(&get), "{path}");
    }
}

#[rstest]
#[tokio::test]
async fn options_tells_what_a_path_takes(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let list = api.request("OPTIONS", "/posts").await;
    assert_eq!((list.status, list.text()), (204, ""));
    assert_eq!(names(&list, "allow"), ["GET", "HEAD", "OPTIONS", "POST"]);
    assert_eq!(list.header("accept-patch"), "");
    let post = api.request("OPTIONS", "/posts/1").await;
    assert_eq!((post.status, post.text()), (204, ""));
    assert_eq!(names(&post, "allow"), ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "PUT"]);
    let patches = ["application/json", "application/json-patch+json", "application/merge-patch+json"];
    assert_eq!(names(&post, "accept-patch"), patches);
    api.request("OPTIONS", "/nothing").await.problem("not-found");
}

#[rstest]
#[tokio::test]
async fn another_method_is_refused_with_those_that_are_taken(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let stored = api.create(json!({"title": "Hello"})).await;
    let list: &[&str] = &["GET", "HEAD", "OPTIONS", "POST"];
    let post: &[&str] = &["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "PUT"];
    for (path, methods, allow) in [
        ("/posts", &["PUT", "PATCH", "DELETE", "TRACE", "BREW", "get", "Post"], list),
        ("/posts/1", &["POST", "TRACE", "BREW", "LINK", "get", "delete", "PURGE"], post),
        ("/posts/2", &["POST", "TRACE", "BREW", "LINK", "get", "delete", "PURGE"], post),
    ] {
        for method in methods {
            let answer = api.request(method, path).await;
            assert_eq!(answer.status, 405, "{method} {path} {answer:?}");
            answer.problem("method-not-allowed");
            assert_eq!(names(&answer, "allow"), allow, "{method} {path}");
        }
    }
    assert_eq!(api.get("/posts/1").await.json(), stored);
}

#[rstest]
#[tokio::test]
async fn only_plain_decimals_name_a_post(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let stored = api.create(json!({"title": "Hello"})).await;
    for id in "0 00 01 001 +1 -1 1.0 1. 1e0 1abc abc 0x1 1_ 1,1 1;a=b 1.json %2F1 %201 1%20 %2B1 %2b1 1%00 %00 1%0A \
        １ ١ % %zz %ff 1% null {id} 9007199254740992 9223372036854775807 9223372036854775808 \
        18446744073709551617 340282366920938463463374607431768211457 -9223372036854775808"
        .split(' ')
    {
        let path = format!("/posts/{id}");
        let answers = [
            api.get(&path).await,
            api.put(&path, json!({"title": "Changed"})).await,
            api.patch(&path, json!({"title": "Changed"})).await,
            api.delete(&path).await,
        ];
        for answer in answers {
            assert_eq!(answer.status, 404, "{path} {answer:?}");
        }
    }
    assert_eq!(api.get("/posts/1").await.json(), stored);
}

#[rstest]
#[tokio::test]
async fn a_path_has_one_spelling(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    api.create(json!({"title": "Hello"})).await;
    for path in "/posts/ /posts/1/ //posts /posts//1 /posts// /Posts /POSTS/1 /post /posts/1/1 /posts%2F1 /posts%2f \
        /posts;a=b /posts%20 /%20posts /posts%00 /posts.json /posts%3Flimit=1"
        .split(' ')
    {
        let answer = api.get(path).await;
        assert_eq!(answer.status, 404, "{path} {answer:?}");
        assert_eq!(api.delete(path).await.status, 404, "{path}");
        assert_eq!(api.post(path, json!({"title": "Hello"})).await.status, 404, "{path}");
    }
    // No client library sends these.
    for path in ["/posts/./1", "/posts/../posts/1", "/./posts", "/posts/1/.", "/posts/%2e/1"] {
        let mut connection = api.connect().await;
        connection.send(format!("GET {path} HTTP/1.1\r\nHost: posts\r\n\r\n")).await;
        assert_eq!(connection.answer("GET", path).await.status, 404, "{path}");
    }
    assert_eq!(ids(&api.get("/posts").await), [1]);
}

/// RFC 9110 §4.2.3: a letter or digit and its percent-encoded form are the same.
#[rstest]
#[tokio::test]
async fn percent_encoding_what_needs_none_names_the_same_post(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let post = api.create(json!({"title": "Hello"})).await;
    for path in ["/posts/%31", "/p%6Fsts/1", "/%70%6f%73%74%73/%31"] {
        let answer = api.get(path).await;
        assert_eq!(answer.status, 200, "{path} {answer:?}");
        assert_eq!(answer.json(), post);
    }
    api.get("/posts/%30%31").await.problem("not-found");
}

// The list.

#[rstest]
#[tokio::test]
async fn the_list_begins_with_the_newest(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    assert_eq!(api.get("/posts").await.json(), json!({"items": [], "next_cursor": null}));
    for number in 1..=4 {
        api.create(json!({"title": format!("Number {number}")})).await;
    }
    assert_eq!(ids(&api.get("/posts").await), [4, 3, 2, 1]);
    // By the time of creation, and not of the last change; ties by id, in the same direction.
    api.put("/posts/1", json!({"title": "Changed"})).await;
    assert_eq!(ids(&api.get("/posts").await), [4, 3, 2, 1]);
    api.database.execute("UPDATE posts SET created_on = '2001-01-01T00:00:00.000000Z' WHERE id = 3").unwrap();
    assert_eq!(ids(&api.get("/posts").await), [4, 2, 1, 3]);
    api.database.execute("UPDATE posts SET created_on = '2001-01-01T00:00:00.000000Z'").unwrap();
    let list = api.get("/posts").await;
    assert_eq!(ids(&list), [4, 3, 2, 1]);
    for post in list.json()["items"].as_array().unwrap() {
        assert_eq!(*post, api.get(&format!("/posts/{}", post["id"])).await.json());
    }
}

#[rstest]
#[tokio::test]
async fn a_page_has_as_many_posts_as_the_limit_says(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    for _ in 0..103 {
        api.create(json!({"title": "Hello"})).await;
    }
    for (query, count) in
        [("", 20), ("?", 20), ("?limit=1", 1), ("?limit=21", 21), ("?limit=100", 100), ("?l%69mit=%32", 2)]
    {
        let expected: Vec<i64> = (1..=103).rev().take(count).collect();
        assert_eq!(ids(&api.get(&format!("/posts{query}")).await), expected, "{query}");
    }
}

#[rstest]
#[tokio::test]
async fn a_query_that_cannot_be_used_is_refused(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    api.create(json!({"title": "Hello"})).await;
    let cases: [(&str, &[&str]); 17] = [
        ("limit=0", &["limit out_of_range"]),
        ("limit=101", &["limit out_of_range"]),
        ("limit=99999999999999999999", &["limit out_of_range"]),
        ("limit=-1", &["limit invalid"]),
        ("limit=%2B1", &["limit invalid"]),
        ("limit=+1", &["limit invalid"]),
        ("limit=1.0", &["limit invalid"]),
        ("limit=1e1", &["limit invalid"]),
        ("limit=ten", &["limit invalid"]),
        ("limit=%D9%A1", &["limit invalid"]),
        ("limit=", &["limit empty"]),
        ("limit", &["limit empty"]),
        ("limit=%FF", &["limit invalid"]),
        ("limit=1&limit=1", &["limit duplicate"]),
        ("Limit=1", &["Limit unknown_parameter"]),
        ("colour=red&shape", &["colour unknown_parameter", "shape unknown_parameter"]),
        ("limit=0&colour=red", &["limit out_of_range", "colour unknown_parameter"]),
    ];
    for (query, faults) in cases {
        let answer = api.get(&format!("/posts?{query}")).await;
        assert_eq!(answer.status, 400, "{query} {answer:?}");
        answer.faults("malformed-query", faults);
    }
    api.get("/posts/1?limit=1").await.faults("malformed-query", &["limit unknown_parameter"]);
}
