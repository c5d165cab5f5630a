//! Contract section 2, PATCH: JSON Merge Patch (RFC 7396) and JSON Patch (RFC 6902), first over HTTP, then as laws
//! of the library.

use posts_api::http::json::parse;
use posts_api::http::patch::Patch;
use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Map, Value, json};

use crate::harness::{Answer, Api, Database, Postgres, Sqlite, start};

const MERGE_PATCH: &str = "application/merge-patch+json";
const JSON_PATCH: &str = "application/json-patch+json";

/// A post that has no default anywhere, and its path.
async fn create(api: &Api) -> (Value, String) {
    let post = api.create(json!({"title": "T", "author": "A", "content": "C", "published": false})).await;
    let path = format!("/posts/{}", post["id"]);
    (post, path)
}

/// Asserts that a change came through: these fields have new values, the version is the next, the rest is as it was.
async fn assert_changed(api: &Api, answer: &Answer, before: &Value, changes: &Value) {
    assert_eq!(answer.status, 200, "{changes} {answer:?}");
    let after = answer.json();
    let mut expected = before.clone();
    for (name, value) in changes.as_object().unwrap() {
        expected[name] = value.clone();
    }
    expected["version"] = json!(before["version"].as_i64().unwrap() + 1);
    expected["updated_on"] = after["updated_on"].clone();
    assert_eq!(after, expected);
    assert_eq!(answer.header("etag"), format!("\"{}.{}\"", after["id"], after["version"]));
    assert_eq!(api.get(&format!("/posts/{}", after["id"])).await.json(), after);
}

// Merge patches over HTTP.

#[rstest]
#[tokio::test]
async fn a_merge_patch_sets_what_it_has(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    for (patch, changes) in [
        (json!({"title": "New"}), json!({"title": "New"})),
        (json!({"content": ""}), json!({"content": ""})),
        (json!({"published": true, "author": " "}), json!({"published": true, "author": " "})),
        // Null means back to the default.
        (json!({"author": null}), json!({"author": null})),
        (json!({"published": null}), json!({"published": true})),
        (
            json!({"author": null, "content": null, "published": null}),
            json!({"author": null, "content": null, "published": true}),
        ),
        // What the server sets may be there as it was read.
        (json!({"title": "New", "version": 1, "owner_id": api.root.id}), json!({"title": "New"})),
    ] {
        for media_type in [MERGE_PATCH, "application/json", "application/json; charset=utf-8"] {
            let (before, path) = create(&api).await;
            let answer = api.request("PATCH", &path).body(media_type, patch.to_string()).await;
            assert_changed(&api, &answer, &before, &changes).await;
        }
    }
}

#[rstest]
#[tokio::test]
async fn a_merge_patch_that_breaks_a_rule_changes_nothing(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let (before, path) = create(&api).await;
    let cases: [(Value, &[&str]); 18] = [
        (json!({"title": null}), &["/title required"]),
        (json!({"title": " "}), &["/title blank"]),
        (json!({"title": {"a": "New"}}), &["/title wrong_type"]),
        (json!({"title": ["New"]}), &["/title wrong_type"]),
        (json!({"author": ""}), &["/author too_short"]),
        (json!({"content": "\0"}), &["/content contains_nul"]),
        (json!({"published": "true"}), &["/published wrong_type"]),
        (json!({"colour": "red"}), &["/colour unknown_field"]),
        (json!({"colour": null}), &["/colour unknown_field"]),
        (json!({"colour": {"hue": null}}), &["/colour unknown_field"]),
        (json!({"id": null}), &["/id read_only"]),
        (json!({"created_on": null}), &["/created_on read_only"]),
        (json!({"version": 2}), &["/version read_only"]),
        (json!({"version": {}}), &["/version read_only"]),
        (
            json!({"title": null, "author": "", "colour": null, "id": 0}),
            &["/title required", "/author too_short", "/colour unknown_field", "/id read_only"],
        ),
        // As a merge patch these replace the whole document, and what they leave is no post.
        (json!(null), &[" wrong_type"]),
        (json!("New"), &[" wrong_type"]),
        (json!([{"op": "replace", "path": "/title", "value": "New"}]), &[" wrong_type"]),
    ];
    for (patch, faults) in cases {
        for media_type in [MERGE_PATCH, "application/json"] {
            let answer = api.request("PATCH", &path).body(media_type, patch.to_string()).await;
            assert_eq!(answer.status, 422, "{patch} {answer:?}");
            answer.faults("validation-failed", faults);
        }
    }
    assert_eq!(api.get(&path).await.json(), before);
}

// JSON Patches over HTTP.

#[rstest]
#[tokio::test]
async fn a_json_patch_carries_out_its_operations(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    for (operations, changes) in [
        (json!([{"op": "replace", "path": "/title", "value": "New"}]), json!({"title": "New"})),
        (json!([{"op": "add", "path": "/title", "value": "New"}]), json!({"title": "New"})),
        (json!([{"op": "replace", "path": "/content", "value": null}]), json!({"content": null})),
        (json!([{"op": "remove", "path": "/author"}]), json!({"author": null})),
        (json!([{"op": "remove", "path": "/published"}]), json!({"published": true})),
        (json!([{"op": "copy", "from": "/title", "path": "/author"}]), json!({"author": "T"})),
        (json!([{"op": "move", "from": "/author", "path": "/content"}]), json!({"author": null, "content": "A"})),
        // Each sees what those before it did, also where that could not stay.
        (
            json!([
                {"op": "add", "path": "/draft", "value": {"lines": ["one"]}},
                {"op": "add", "path": "/draft/lines/-", "value": "two"},
                {"op": "test", "path": "/draft", "value": {"lines": ["one", "two"]}},
                {"op": "move", "from": "/draft/lines/1", "path": "/content"},
                {"op": "remove", "path": "/draft"},
            ]),
            json!({"content": "two"}),
        ),
        (
            json!([
                {"op": "remove", "path": "/title"},
                {"op": "add", "path": "/title", "value": "New"},
                {"op": "replace", "path": "/title", "value": "Newer"},
            ]),
            json!({"title": "Newer"}),
        ),
        // Members that the standard does not know are none of its business.
        (json!([{"op": "replace", "path": "/title", "value": "New", "why": "it was old"}]), json!({"title": "New"})),
        (json!([{"op": "remove", "path": "/author", "value": 1, "from": 2}]), json!({"author": null})),
    ] {
        let (before, path) = create(&api).await;
        let answer = api.json_patch(&path, &operations).await;
        assert_changed(&api, &answer, &before, &changes).await;
    }
}

#[rstest]
#[tokio::test]
async fn a_json_patch_replaces_the_whole_post(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let (before, path) = create(&api).await;
    let mut edited = before.clone();
    edited["title"] = json!("New");
    edited.as_object_mut().unwrap().remove("author");
    let answer = api.json_patch(&path, json!([{"op": "replace", "path": "", "value": edited}])).await;
    assert_changed(&api, &answer, &before, &json!({"title": "New", "author": null})).await;
}

#[rstest]
#[tokio::test]
async fn a_test_that_holds_lets_the_patch_go_on(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let (before, path) = create(&api).await;
    for (pointer, value) in [
        ("/title", "\"T\""),
        ("/title", r#""\u0054""#),
        ("/published", "false"),
        ("/owner_id", &api.root.id.to_string()),
        // Numbers are equal when their values are.
        ("/version", "1"),
        ("/version", "1.0"),
        ("/version", "1e0"),
        ("/version", "10E-1"),
        ("", &before.to_string()),
    ] {
        let patch = format!(r#"[{{"op": "test", "path": "{pointer}", "value": {value}}}]"#);
        let answer = api.request("PATCH", &path).body(JSON_PATCH, patch).await;
        assert_eq!(answer.status, 200, "{pointer} {value} {answer:?}");
        assert_eq!(answer.json(), before);
    }
    let operations = json!([
        {"op": "test", "path": "/version", "value": 1},
        {"op": "replace", "path": "/title", "value": "New"},
        {"op": "test", "path": "/title", "value": "New"},
    ]);
    let answer = api.json_patch(&path, operations).await;
    assert_changed(&api, &answer, &before, &json!({"title": "New"})).await;
}

#[rstest]
#[tokio::test]
async fn a_test_that_fails_is_a_conflict(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let (before, path) = create(&api).await;
    for test in [
        json!({"op": "test", "path": "/title", "value": "t"}),
        json!({"op": "test", "path": "/title", "value": null}),
        json!({"op": "test", "path": "/version", "value": 2}),
        json!({"op": "test", "path": "/version", "value": 1.5}),
        json!({"op": "test", "path": "/version", "value": "1"}),
        json!({"op": "test", "path": "/version", "value": true}),
        json!({"op": "test", "path": "/published", "value": null}),
        json!({"op": "test", "path": "/owner_id", "value": ""}),
        json!({"op": "test", "path": "/owner_id", "value": null}),
        json!({"op": "test", "path": "/colour", "value": null}),
        json!({"op": "test", "path": "/title/0", "value": "T"}),
        json!({"op": "test", "path": "", "value": {"title": "T"}}),
    ] {
        let answer = api.json_patch(&path, json!([test])).await;
        assert_eq!(answer.status, 409, "{test} {answer:?}");
        answer.faults("conflict", &["/0 test_failed"]);
    }
    // Wherever it stands, nothing is changed.
    let operations = json!([
        {"op": "replace", "path": "/title", "value": "New"},
        {"op": "remove", "path": "/author"},
        {"op": "test", "path": "/title", "value": "T"},
        {"op": "replace", "path": "/content", "value": "New"},
    ]);
    api.json_patch(&path, operations).await.faults("conflict", &["/2 test_failed"]);
    assert_eq!(api.get(&path).await.json(), before);
}

#[rstest]
#[tokio::test]
async fn a_json_patch_that_cannot_be_applied_changes_nothing(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let (before, path) = create(&api).await;
    for operation in [
        json!({"op": "remove", "path": "/colour"}),
        json!({"op": "remove", "path": ""}),
        json!({"op": "replace", "path": "/colour", "value": "red"}),
        json!({"op": "replace", "path": "/Title", "value": "New"}),
        json!({"op": "replace", "path": "/title/", "value": "New"}),
        json!({"op": "add", "path": "/colour/hue", "value": 1}),
        json!({"op": "add", "path": "/title/0", "value": "New"}),
        json!({"op": "add", "path": "/title/-", "value": "New"}),
        json!({"op": "add", "path": "/owner_id/name", "value": "Ada"}),
        json!({"op": "move", "from": "/colour", "path": "/title"}),
        json!({"op": "move", "from": "", "path": "/title"}),
        json!({"op": "move", "from": "/title", "path": "/title/title"}),
        json!({"op": "copy", "from": "/colour", "path": "/title"}),
        json!({"op": "copy", "from": "/title", "path": "/colour/hue"}),
    ] {
        let operations = json!([{"op": "replace", "path": "/title", "value": "New"}, operation]);
        let answer = api.json_patch(&path, &operations).await;
        assert_eq!(answer.status, 422, "{operation} {answer:?}");
        answer.problem("validation-failed");
    }
    assert_eq!(api.get(&path).await.json(), before);
}

#[rstest]
#[tokio::test]
async fn a_json_patch_whose_result_breaks_a_rule_changes_nothing(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let (before, path) = create(&api).await;
    let cases: [(Value, &[&str]); 16] = [
        (json!([{"op": "remove", "path": "/title"}]), &["/title required"]),
        (json!([{"op": "move", "from": "/title", "path": "/author"}]), &["/title required"]),
        (json!([{"op": "replace", "path": "/title", "value": null}]), &["/title wrong_type"]),
        (json!([{"op": "replace", "path": "/title", "value": "\u{3000}"}]), &["/title blank"]),
        (json!([{"op": "replace", "path": "/published", "value": null}]), &["/published wrong_type"]),
        (json!([{"op": "add", "path": "/content", "value": "\0"}]), &["/content contains_nul"]),
        (json!([{"op": "copy", "from": "/version", "path": "/author"}]), &["/author wrong_type"]),
        (json!([{"op": "add", "path": "/colour", "value": null}]), &["/colour unknown_field"]),
        (json!([{"op": "copy", "from": "", "path": "/a~1b"}]), &["/a~1b unknown_field"]),
        (json!([{"op": "replace", "path": "/id", "value": 99}]), &["/id read_only"]),
        (json!([{"op": "remove", "path": "/version"}]), &["/version read_only"]),
        (json!([{"op": "add", "path": "/owner_id", "value": api.root.id + 1}]), &["/owner_id read_only"]),
        (json!([{"op": "remove", "path": "/owner_id"}]), &["/owner_id read_only"]),
        (json!([{"op": "replace", "path": "", "value": null}]), &[" wrong_type"]),
        (json!([{"op": "copy", "from": "/title", "path": ""}]), &[" wrong_type"]),
        (
            json!([
                {"op": "remove", "path": "/title"},
                {"op": "add", "path": "/author", "value": ""},
                {"op": "add", "path": "/colour", "value": "red"},
            ]),
            &["/title required", "/author too_short", "/colour unknown_field"],
        ),
    ];
    for (operations, faults) in cases {
        let answer = api.json_patch(&path, &operations).await;
        assert_eq!(answer.status, 422, "{operations} {answer:?}");
        answer.faults("validation-failed", faults);
    }
    assert_eq!(api.get(&path).await.json(), before);
}

#[rstest]
#[tokio::test]
async fn what_is_no_json_patch_document_is_malformed(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let (before, path) = create(&api).await;
    for document in [
        json!(null),
        json!(7),
        json!("remove"),
        json!({}),
        json!({"op": "remove", "path": "/author"}),
        json!([null]),
        json!(["remove"]),
        json!([[]]),
        json!([{}]),
        json!([{"path": "/author"}]),
        json!([{"op": "remove"}]),
        json!([{"op": "delete", "path": "/author"}]),
        json!([{"op": "Remove", "path": "/author"}]),
        json!([{"op": null, "path": "/author"}]),
        json!([{"op": "remove", "path": null}]),
        json!([{"op": "remove", "path": ["author"]}]),
        json!([{"op": "remove", "path": "author"}]),
        json!([{"op": "remove", "path": "#/author"}]),
        json!([{"op": "remove", "path": "/author~"}]),
        json!([{"op": "remove", "path": "/author~2"}]),
        json!([{"op": "add", "path": "/author"}]),
        json!([{"op": "replace", "path": "/author"}]),
        json!([{"op": "test", "path": "/author"}]),
        json!([{"op": "move", "path": "/author"}]),
        json!([{"op": "copy", "path": "/author"}]),
        json!([{"op": "copy", "path": "/author", "from": 1}]),
        json!([{"op": "copy", "path": "/author", "from": "title"}]),
        json!([{"op": "remove", "path": "/author"}, {"op": "remove"}]),
        // Not only when its turn comes.
        json!([{"op": "test", "path": "/author", "value": "no"}, {"op": "remove"}]),
    ] {
        let answer = api.json_patch(&path, &document).await;
        assert_eq!(answer.status, 400, "{document} {answer:?}");
        answer.problem("malformed-json");
    }
    for text in ["", "[", r#"[{"op": "remove", "op": "test", "path": "/author", "value": "A"}]"#] {
        let answer = api.request("PATCH", &path).body(JSON_PATCH, text).await;
        assert_eq!(answer.status, 400, "{text} {answer:?}");
        answer.problem("malformed-json");
    }
    assert_eq!(api.get(&path).await.json(), before);
}

#[rstest]
#[tokio::test]
async fn a_patch_that_changes_nothing_makes_no_version(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let (before, path) = create(&api).await;
    for operations in [
        json!([]),
        json!([{"op": "test", "path": "/version", "value": 1}]),
        json!([{"op": "replace", "path": "/title", "value": "T"}]),
        json!([{"op": "move", "from": "/title", "path": "/title"}]),
        json!([{"op": "add", "path": "/colour", "value": "red"}, {"op": "remove", "path": "/colour"}]),
        json!([{"op": "remove", "path": "/title"}, {"op": "add", "path": "/title", "value": "T"}]),
    ] {
        let answer = api.json_patch(&path, &operations).await;
        assert_eq!(answer.status, 200, "{operations} {answer:?}");
        assert_eq!(answer.json(), before);
        assert_eq!(answer.header("etag"), "\"1.1\"");
    }
}

/// A document that copies itself into itself grows twofold with each operation.
#[rstest]
#[tokio::test]
async fn a_json_patch_that_grows_without_bound_is_refused(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let (before, path) = create(&api).await;
    let copies = (0..64).map(|number| json!({"op": "copy", "from": "", "path": format!("/{number}")}));
    let answer = api.json_patch(&path, copies.collect::<Value>()).await;
    assert_eq!(answer.status, 422, "{answer:?}");
    answer.problem("validation-failed");
    assert_eq!(api.get(&path).await.json(), before);
}

#[rstest]
#[tokio::test]
async fn another_media_type_is_refused_with_those_that_are_read(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let (before, path) = create(&api).await;
    let patch = r#"{"title": "New"}"#;
    let mut answers = vec![api.request("PATCH", &path).untyped_body(patch).await];
    for media_type in [
        "text/plain",
        "application/xml",
        "application/patch+json",
        "application/json-patch",
        "application/merge-patch+json; charset=iso-8859-1",
        "nonsense",
    ] {
        answers.push(api.request("PATCH", &path).body(media_type, patch).await);
    }
    for answer in answers {
        assert_eq!(answer.status, 415, "{answer:?}");
        answer.problem("unsupported-media-type");
        for media_type in [MERGE_PATCH, JSON_PATCH] {
            let mut read = answer.header("accept-patch").split(',').map(str::trim);
            assert!(read.any(|read| read == media_type), "{answer:?}");
        }
    }
    assert_eq!(api.get(&path).await.json(), before);
}

// The library, without a server.

fn merge(document: &Value, patch: &Value) -> Value {
    Patch::Merge(patch.clone()).apply(document.clone()).unwrap()
}

/// The document with the operations carried out, or the code of the problem.
fn patched(document: &Value, operations: Value) -> Result<Value, String> {
    let apply = |patch: Patch| patch.apply(document.clone());
    Patch::json(operations).and_then(apply).map_err(|problem| problem.to_string().split(':').next().unwrap().to_owned())
}

/// Each element that is put before others moves all of them.
#[test]
fn a_json_patch_that_shifts_without_bound_is_refused() {
    let document = Value::from(vec![0; 100_000]);
    for operation in [
        json!({"op": "add", "path": "/0", "value": 0}),
        json!({"op": "remove", "path": "/0"}),
        json!({"op": "copy", "from": "/0", "path": "/0"}),
        json!({"op": "move", "from": "/0", "path": "/99999"}),
    ] {
        let times = |count: usize| patched(&document, vec![operation.clone(); count].into());
        assert!(times(50).is_ok(), "{operation}");
        assert_eq!(times(1000), Err("validation-failed".to_owned()), "{operation}");
    }
}

#[test]
fn the_merge_patches_of_the_standard_give_its_results() {
    // RFC 7396, appendix A.
    for (original, patch, result) in [
        (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
        (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
        (json!({"a": "b"}), json!({"a": null}), json!({})),
        (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
        (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
        (json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]})),
        (json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
        (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
        (json!(["a", "b"]), json!(["c", "d"]), json!(["c", "d"])),
        (json!({"a": "b"}), json!(["c"]), json!(["c"])),
        (json!({"a": "foo"}), json!(null), json!(null)),
        (json!({"a": "foo"}), json!("bar"), json!("bar")),
        (json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1})),
        (json!([1, 2]), json!({"a": "b", "c": null}), json!({"a": "b"})),
        (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
    ] {
        assert_eq!(merge(&original, &patch), result, "{original} with {patch}");
    }
}

#[test]
fn the_json_patches_of_the_standard_give_its_results() {
    // RFC 6902, appendix A, but for A.13.
    for (original, operations, result) in [
        // A.1 to A.7
        (
            json!({"foo": "bar"}),
            json!([{"op": "add", "path": "/baz", "value": "qux"}]),
            Ok(json!({"baz": "qux", "foo": "bar"})),
        ),
        (
            json!({"foo": ["bar", "baz"]}),
            json!([{"op": "add", "path": "/foo/1", "value": "qux"}]),
            Ok(json!({"foo": ["bar", "qux", "baz"]})),
        ),
        (json!({"baz": "qux", "foo": "bar"}), json!([{"op": "remove", "path": "/baz"}]), Ok(json!({"foo": "bar"}))),
        (
            json!({"foo": ["bar", "qux", "baz"]}),
            json!([{"op": "remove", "path": "/foo/1"}]),
            Ok(json!({"foo": ["bar", "baz"]})),
        ),
        (
            json!({"baz": "qux", "foo": "bar"}),
            json!([{"op": "replace", "path": "/baz", "value": "boo"}]),
            Ok(json!({"baz": "boo", "foo": "bar"})),
        ),
        (
            json!({"foo": {"bar": "baz", "waldo": "fred"}, "qux": {"corge": "grault"}}),
            json!([{"op": "move", "from": "/foo/waldo", "path": "/qux/thud"}]),
            Ok(json!({"foo": {"bar": "baz"}, "qux": {"corge": "grault", "thud": "fred"}})),
        ),
        (
            json!({"foo": ["all", "grass", "cows", "eat"]}),
            json!([{"op": "move", "from": "/foo/1", "path": "/foo/3"}]),
            Ok(json!({"foo": ["all", "cows", "eat", "grass"]})),
        ),
        // A.8 to A.12
        (
            json!({"baz": "qux", "foo": ["a", 2, "c"]}),
            json!([{"op": "test", "path": "/baz", "value": "qux"}, {"op": "test", "path": "/foo/1", "value": 2}]),
            Ok(json!({"baz": "qux", "foo": ["a", 2, "c"]})),
        ),
        (json!({"baz": "qux"}), json!([{"op": "test", "path": "/baz", "value": "bar"}]), Err("conflict")),
        (
            json!({"foo": "bar"}),
            json!([{"op": "add", "path": "/child", "value": {"grandchild": {}}}]),
            Ok(json!({"foo": "bar", "child": {"grandchild": {}}})),
        ),
        (
            json!({"foo": "bar"}),
            json!([{"op": "add", "path": "/baz", "value": "qux", "xyz": 123}]),
            Ok(json!({"foo": "bar", "baz": "qux"})),
        ),
        (json!({"foo": "bar"}), json!([{"op": "add", "path": "/baz/bat", "value": "qux"}]), Err("validation-failed")),
        // A.14 to A.16
        (
            json!({"/": 9, "~1": 10}),
            json!([{"op": "test", "path": "/~01", "value": 10}]),
            Ok(json!({"/": 9, "~1": 10})),
        ),
        (json!({"/": 9, "~1": 10}), json!([{"op": "test", "path": "/~01", "value": "10"}]), Err("conflict")),
        (
            json!({"foo": ["bar"]}),
            json!([{"op": "add", "path": "/foo/-", "value": ["abc", "def"]}]),
            Ok(json!({"foo": ["bar", ["abc", "def"]]})),
        ),
    ] {
        let found = patched(&original, operations.clone());
        assert_eq!(found.as_ref().map_err(String::as_str), result.as_ref().map_err(|code| *code), "{operations}");
    }
    // A.13: `op` is there twice.
    let document = r#"[{"op": "add", "path": "/baz", "value": "qux", "op": "remove"}]"#;
    assert!(parse(document.as_bytes()).is_err());
}

#[test]
fn the_edges_of_json_patch_are_where_the_standard_puts_them() {
    let array = json!(["a", "b"]);
    for (operation, result) in [
        (json!({"op": "add", "path": "/2", "value": "c"}), Ok(json!(["a", "b", "c"]))),
        (json!({"op": "add", "path": "/3", "value": "c"}), Err("validation-failed")),
        (json!({"op": "add", "path": "/01", "value": "c"}), Err("validation-failed")),
        (json!({"op": "add", "path": "/+1", "value": "c"}), Err("validation-failed")),
        (json!({"op": "add", "path": "/-1", "value": "c"}), Err("validation-failed")),
        (json!({"op": "add", "path": "/a", "value": "c"}), Err("validation-failed")),
        (json!({"op": "add", "path": "/99999999999999999999", "value": "c"}), Err("validation-failed")),
        (json!({"op": "add", "path": "", "value": "c"}), Ok(json!("c"))),
        (json!({"op": "remove", "path": "/2"}), Err("validation-failed")),
        (json!({"op": "remove", "path": "/-"}), Err("validation-failed")),
        (json!({"op": "replace", "path": "/-", "value": "c"}), Err("validation-failed")),
        (json!({"op": "replace", "path": "/01", "value": "c"}), Err("validation-failed")),
        (json!({"op": "test", "path": "/00", "value": "a"}), Err("conflict")),
        (json!({"op": "test", "path": "/-", "value": "b"}), Err("conflict")),
        (json!({"op": "copy", "from": "/-", "path": "/0"}), Err("validation-failed")),
        // After the value was taken away, there are fewer places to put it.
        (json!({"op": "move", "from": "/0", "path": "/1"}), Ok(json!(["b", "a"]))),
        (json!({"op": "move", "from": "/0", "path": "/2"}), Err("validation-failed")),
        (json!({"op": "move", "from": "/0", "path": "/-"}), Ok(json!(["b", "a"]))),
    ] {
        let found = patched(&array, json!([operation]));
        assert_eq!(found.as_ref().map_err(String::as_str), result.as_ref().map_err(|code| *code), "{operation}");
    }
    // A path that begins with the same letters is not inside.
    let moved = patched(&json!({"a": 1}), json!([{"op": "move", "from": "/a", "path": "/ab"}]));
    assert_eq!(moved, Ok(json!({"ab": 1})));
}

fn object_of(values: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
    // Few keys, so that documents meet in them, and those that a pointer must escape.
    let keys = prop::sample::select(vec!["a", "b", "é", "", "0", "-", "/", "~", "~1"]);
    prop::collection::vec((keys, values), 0..5).prop_map(|members| {
        members.into_iter().map(|(key, value)| (key.to_owned(), value)).collect::<Map<_, _>>().into()
    })
}

fn json_of(leaves: impl Strategy<Value = Value> + 'static) -> impl Strategy<Value = Value> {
    leaves.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from), object_of(inner)]
    })
}

fn leaf_but_null() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<bool>().prop_map(Value::from),
        any::<i8>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ]
}

fn any_json() -> impl Strategy<Value = Value> {
    json_of(prop_oneof![1 => Just(Value::Null), 3 => leaf_but_null()])
}

/// The shortest merge patch that makes one document of another.
fn merge_patch(from: &Value, to: &Value) -> Value {
    let (Value::Object(old), Value::Object(new)) = (from, to) else { return to.clone() };
    let removed = old.keys().filter(|&key| !new.contains_key(key)).map(|key| (key.clone(), Value::Null));
    let changed = new.iter().filter(|&(key, value)| old.get(key) != Some(value));
    let changed =
        changed.map(|(key, value)| (key.clone(), old.get(key).map_or(value.clone(), |old| merge_patch(old, value))));
    removed.chain(changed).collect::<Map<_, _>>().into()
}

/// The pointers to everything in a document, with the values there.
fn places<'a>(value: &'a Value, pointer: &str, found: &mut Vec<(String, &'a Value)>) {
    found.push((pointer.to_owned(), value));
    match value {
        Value::Array(elements) => {
            for (index, element) in elements.iter().enumerate() {
                places(element, &format!("{pointer}/{index}"), found);
            }
        }
        Value::Object(members) => {
            for (name, member) in members {
                places(member, &format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1")), found);
            }
        }
        _ => {}
    }
}

fn all_places(document: &Value) -> Vec<(String, &Value)> {
    let mut found = Vec::new();
    places(document, "", &mut found);
    found
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn to_merge_twice_is_to_merge_once(document in any_json(), patch in any_json()) {
        let once = merge(&document, &patch);
        prop_assert_eq!(merge(&once, &patch), once);
    }

    #[test]
    fn to_merge_an_empty_object_changes_nothing(document in object_of(any_json())) {
        prop_assert_eq!(merge(&document, &json!({})), document);
    }

    #[test]
    fn a_merge_patch_made_from_two_documents_leads_from_one_to_the_other(
        from in any_json(),
        to in json_of(leaf_but_null()),
    ) {
        prop_assert_eq!(merge(&from, &merge_patch(&from, &to)), to);
    }

    #[test]
    fn to_remove_what_was_added_restores_the_document(document in any_json(), value in any_json()) {
        for (pointer, place) in all_places(&document) {
            let paths: Vec<String> = match place {
                Value::Array(elements) => (0..=elements.len()).map(|index| format!("{pointer}/{index}")).collect(),
                Value::Object(_) => vec![format!("{pointer}/new")],
                _ => continue,
            };
            for path in paths {
                let operations = json!([
                    {"op": "add", "path": path, "value": value},
                    {"op": "test", "path": path, "value": value},
                    {"op": "remove", "path": path},
                ]);
                prop_assert_eq!(patched(&document, operations), Ok(document.clone()));
            }
        }
    }

    #[test]
    fn to_test_what_is_there_changes_nothing(document in any_json()) {
        let tests: Value =
            all_places(&document).iter().map(|(path, value)| json!({"op": "test", "path": path, "value": value})).collect();
        prop_assert_eq!(patched(&document, tests), Ok(document));
    }

    #[test]
    fn to_move_is_to_copy_and_remove(document in object_of(any_json())) {
        for (from, _) in all_places(&document).iter().skip(1) {
            let moved = patched(&document, json!([{"op": "move", "from": from, "path": "/new"}]));
            prop_assert!(moved.is_ok());
            let copied = json!([{"op": "copy", "from": from, "path": "/new"}, {"op": "remove", "path": from}]);
            prop_assert_eq!(moved, patched(&document, copied));
        }
    }

    #[test]
    fn a_patch_that_fails_says_so_and_never_panics(document in any_json(), paths in prop::collection::vec("(/[ab0~1-]{0,3}){0,3}", 2)) {
        for op in ["add", "remove", "replace", "move", "copy", "test"] {
            let operation = json!([{"op": op, "from": paths[0], "path": paths[1], "value": null}]);
            if let Err(code) = patched(&document, operation) {
                prop_assert!(["malformed-json", "validation-failed", "conflict"].contains(&code.as_str()), "{}", code);
            }
        }
    }
}
