//! The document: what is served is what is committed, and it says what the routes do.

use std::collections::BTreeSet;

use rstest::rstest;
use serde_json::Value;

use crate::harness::{Database, Postgres, Sqlite, start};

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

fn committed() -> Value {
    serde_json::from_str(include_str!("../../openapi/openapi.json")).unwrap()
}

/// Method, path and the operation.
fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let paths = document["paths"].as_object().unwrap();
    let operations = paths.iter().flat_map(|(path, item)| {
        let methods = METHODS.iter().filter(|method| item.get(**method).is_some());
        methods.map(|method| (method.to_uppercase(), path.clone(), item[*method].clone()))
    });
    operations.collect()
}

#[rstest]
#[tokio::test]
async fn the_served_document_is_the_committed_one(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let served = api.get("/openapi.json").await;
    assert_eq!(served.header("content-type"), "application/json");
    assert!(served.json() == committed(), "write it anew: cargo run -- openapi > openapi/openapi.json");
    assert_eq!(served.json()["openapi"], "3.1.0");
}

#[rstest]
#[tokio::test]
async fn every_operation_of_the_document_is_served(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    for (method, path, _) in operations(&committed()) {
        let allowed = api.request("OPTIONS", &path.replace("{id}", "7")).await;
        assert_eq!(allowed.status, 204, "{method} {path}");
        assert!(allowed.header("allow").split(", ").any(|allowed| allowed == method), "{method} {path}: {allowed:?}");
    }
}

#[rstest]
#[tokio::test]
async fn every_method_of_a_documented_path_is_in_the_document(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let document = committed();
    for (path, item) in document["paths"].as_object().unwrap() {
        let answer = api.request("OPTIONS", &path.replace("{id}", "7")).await;
        let served: BTreeSet<_> =
            answer.header("allow").split(", ").filter(|method| !["HEAD", "OPTIONS"].contains(method)).collect();
        let documented: BTreeSet<_> = item.as_object().unwrap().keys().map(|method| method.to_uppercase()).collect();
        assert_eq!(served, documented.iter().map(String::as_str).collect(), "{path}");
    }
}

#[test]
fn every_operation_says_what_it_does_and_what_can_happen() {
    let document = committed();
    let mut ids = BTreeSet::new();
    for (method, path, operation) in operations(&document) {
        let place = format!("{method} {path}");
        assert!(ids.insert(operation["operationId"].as_str().unwrap().to_owned()), "{place}");
        assert!(operation["summary"].is_string() && operation["tags"][0].is_string(), "{place}");
        let responses = operation["responses"].as_object().unwrap();
        assert!(responses.keys().any(|status| status.starts_with('2')), "{place}");
        assert!(responses.contains_key("500"), "{place}");
        for (status, response) in responses {
            let response = match response["$ref"].as_str() {
                Some(reference) => document.pointer(reference.trim_start_matches('#')).unwrap(),
                None => response,
            };
            assert!(response["description"].is_string(), "{place} {status}");
            if status.starts_with(['4', '5']) {
                let schema = &response["content"]["application/problem+json"]["schema"]["$ref"];
                assert_eq!(schema, "#/components/schemas/Problem", "{place} {status}");
            }
        }
    }
    let posts = ["createPost", "deletePost", "getPost", "listPosts", "replacePost", "updatePost"];
    assert!(posts.iter().all(|id| ids.contains(*id)), "{ids:?}");
}
