//! Contract section 3: conditional requests. No update is lost, and nothing is sent twice.

use std::time::{Duration, SystemTime};

use futures_util::future::join_all;
use rstest::rstest;
use serde_json::{Value, json};

use crate::harness::{Answer, Api, Database, Postgres, Request, Sqlite, start};

const WRITES: [&str; 3] = ["PUT", "PATCH", "DELETE"];

/// A post at its second version, with what conditions are made of.
struct Subject {
    path: String,
    id: String,
    tag: String,
    modified: SystemTime,
    post: Value,
}

impl Subject {
    async fn create(api: &Api) -> Self {
        let id = api.create(json!({"title": "first"})).await["id"].to_string();
        let path = format!("/posts/{id}");
        let changed = api.patch(&path, json!({"title": "second"})).await;
        let (tag, modified) = (changed.header("etag"), changed.header("last-modified"));
        assert_eq!(tag, format!("\"{id}.2\""));
        let modified = httpdate::parse_http_date(modified).unwrap();
        Self { path, id, tag: tag.to_owned(), modified, post: changed.json() }
    }

    /// A request under conditions, in which `{id}` is the post's id, `{modified}` its date, and `{earlier}` and
    /// `{later}` are an hour off.
    fn request(&self, api: &Api, method: &str, conditions: &[(&str, &str)]) -> Request {
        let hour = Duration::from_hours(1);
        let mut request = match method {
            "PUT" => api.put(&self.path, json!({"title": "third"})),
            "PATCH" => api.patch(&self.path, json!({"title": "third"})),
            _ => api.request(method, &self.path),
        };
        for (name, value) in conditions {
            let value = value
                .replace("{id}", &self.id)
                .replace("{modified}", &httpdate::fmt_http_date(self.modified))
                .replace("{earlier}", &httpdate::fmt_http_date(self.modified - hour))
                .replace("{later}", &httpdate::fmt_http_date(self.modified + hour));
            request = request.another_header(name, &value);
        }
        request
    }
}

/// Every write under these conditions, each to a post of its own: they either take place, or have the status and
/// leave the post alone.
async fn assert_writes(api: &Api, conditions: &[(&str, &str)], expected: u16) {
    for method in WRITES {
        let subject = Subject::create(api).await;
        let answer = subject.request(api, method, conditions).await;
        let now = api.get(&subject.path).await;
        let context = format!("{method} {conditions:?}: {answer:?}");
        match (expected, method) {
            (200, "DELETE") => assert_eq!((answer.status, now.status), (204, 404), "{context}"),
            (200, _) => {
                assert_eq!(answer.status, 200, "{context}");
                assert_eq!(answer.header("etag"), format!("\"{}.3\"", subject.id), "{context}");
                assert_eq!(now.json(), answer.json(), "{context}");
            }
            _ => {
                assert_eq!(answer.status, expected, "{context}");
                assert_eq!(now.json(), subject.post, "{context}");
            }
        }
        if expected == 412 {
            answer.problem("precondition-failed");
            assert_eq!(answer.header("etag"), subject.tag, "{context}");
        }
    }
}

/// GET and HEAD under these conditions.
async fn assert_reads(api: &Api, subject: &Subject, conditions: &[(&str, &str)], expected: u16) {
    for method in ["GET", "HEAD"] {
        let answer = subject.request(api, method, conditions).await;
        let context = format!("{method} {conditions:?}: {answer:?}");
        assert_eq!(answer.status, expected, "{context}");
        match expected {
            200 if method == "GET" => assert_eq!(answer.json(), subject.post, "{context}"),
            304 => assert!(answer.body.is_empty(), "{context}"),
            412 => assert_eq!(answer.header("etag"), subject.tag, "{context}"),
            _ => {}
        }
    }
}

#[rstest]
#[tokio::test]
async fn if_match_lets_a_write_through_that_builds_on_the_current_version(
    #[values(Sqlite, Postgres)] database: Database,
) {
    let api = start!(database);
    for tags in [
        "\"{id}.2\"",
        "*",
        "\"{id}.2;gzip\"",
        "\"{id}.2;any,thing;at+all\"",
        "\"{id}.1\", \"{id}.2\"",
        "\"other\",, W/\"weak\" ,\t\"{id}.2\",",
    ] {
        assert_writes(&api, &[("If-Match", tags)], 200).await;
    }
    assert_writes(&api, &[("If-Match", "\"{id}.1\""), ("If-Match", "\"{id}.2\"")], 200).await;
}

#[rstest]
#[tokio::test]
async fn if_match_stops_a_write_that_builds_on_anything_else(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    for tags in [
        "\"{id}.1\"",
        "\"{id}.3\"",
        "\"{id}.1;gzip\"",
        "W/\"{id}.2\"",
        "W/\"{id}.2;gzip\"",
        "\"{id}.20\"",
        "\"{id}.02\"",
        "\"{id}\"",
        "\"2\"",
        "\"\"",
        "\"*\"",
        "\"0.2\"",
        "\"{id}.1\", \"{id}.3\"",
    ] {
        assert_writes(&api, &[("If-Match", tags)], 412).await;
    }
    assert_writes(&api, &[("If-Match", "\"{id}.1\""), ("If-Match", "\"{id}.3\"")], 412).await;
}

#[rstest]
#[tokio::test]
async fn a_condition_that_cannot_be_read_stops_everything(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let subject = Subject::create(&api).await;
    for name in ["If-Match", "If-None-Match"] {
        for value in
            ["", ",", "{id}.2", "\"{id}.2", "{id}.2\"", "w/\"{id}.2\"", "*, \"{id}.2\"", "\"a\" \"b\"", "\"a b\""]
        {
            for method in WRITES.into_iter().chain(["GET"]) {
                let answer = subject.request(&api, method, &[(name, value)]).await;
                assert_eq!(answer.status, 400, "{method} {name}: {value:?}");
                answer.faults("malformed-header", &[&format!("{name} invalid")]);
            }
        }
        assert_writes(&api, &[(name, "*"), (name, "\"{id}.2\"")], 400).await;
    }
    let both = subject.request(&api, "PUT", &[("If-Match", "x"), ("If-None-Match", "y")]).await;
    both.faults("malformed-header", &["If-Match invalid", "If-None-Match invalid"]);
    assert_eq!(api.get(&subject.path).await.json(), subject.post);
}

#[rstest]
#[tokio::test]
async fn no_condition_makes_something_of_nothing(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let subject = Subject::create(&api).await;
    assert_eq!(api.delete(&subject.path).await.status, 204);
    for conditions in
        [("If-Match", "*"), ("If-Match", "\"{id}.2\""), ("If-None-Match", "*"), ("If-None-Match", "\"a\"")]
    {
        for method in WRITES.into_iter().chain(["GET"]) {
            let answer = subject.request(&api, method, &[conditions]).await;
            assert_eq!(answer.status, 404, "{method} {conditions:?}");
        }
    }
}

#[rstest]
#[tokio::test]
async fn if_none_match_spares_a_client_what_it_has(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let subject = Subject::create(&api).await;
    for (tags, status) in [
        ("\"{id}.2\"", 304),
        ("W/\"{id}.2\"", 304),
        ("\"{id}.2;br\"", 304),
        ("\"{id}.1\", \"{id}.2\"", 304),
        ("*", 304),
        ("\"{id}.1\"", 200),
        ("\"{id}.20\"", 200),
        ("\"*\"", 200),
    ] {
        assert_reads(&api, &subject, &[("If-None-Match", tags)], status).await;
    }
    assert_reads(&api, &subject, &[("If-None-Match", "\"{id}.1\""), ("If-None-Match", "\"{id}.2\"")], 304).await;
}

#[rstest]
#[tokio::test]
async fn if_none_match_on_a_write_asks_that_the_state_is_not_there(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    for (tags, status) in [
        ("*", 412),
        ("\"{id}.2\"", 412),
        ("W/\"{id}.2\"", 412),
        ("\"{id}.2;gzip\"", 412),
        ("\"{id}.1\", \"{id}.2\"", 412),
        ("\"{id}.1\"", 200),
    ] {
        assert_writes(&api, &[("If-None-Match", tags)], status).await;
    }
}

#[rstest]
#[tokio::test]
async fn reads_may_be_bound_to_a_version_and_a_date(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let subject = Subject::create(&api).await;
    for (name, value, status) in [
        ("If-Match", "\"{id}.2\"", 200),
        ("If-Match", "*", 200),
        ("If-Match", "\"{id}.1\"", 412),
        ("If-Match", "W/\"{id}.2\"", 412),
        ("If-Modified-Since", "{modified}", 304),
        ("If-Modified-Since", "{later}", 304),
        ("If-Modified-Since", "{earlier}", 200),
        ("If-Modified-Since", "nonsense", 200),
        ("If-Unmodified-Since", "{modified}", 200),
        ("If-Unmodified-Since", "{later}", 200),
        ("If-Unmodified-Since", "{earlier}", 412),
        ("If-Unmodified-Since", "nonsense", 200),
        // The two obsolete forms of a date, which a server must read (RFC 9110 §5.6.7).
        ("If-Unmodified-Since", "Sunday, 06-Nov-94 08:49:37 GMT", 412),
        ("If-Unmodified-Since", "Sun Nov  6 08:49:37 1994", 412),
    ] {
        assert_reads(&api, &subject, &[(name, value)], status).await;
    }
}

#[rstest]
#[tokio::test]
async fn writes_may_be_bound_to_a_date(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    for (name, value, status) in [
        ("If-Unmodified-Since", "{modified}", 200),
        ("If-Unmodified-Since", "{later}", 200),
        ("If-Unmodified-Since", "{earlier}", 412),
        ("If-Unmodified-Since", "nonsense", 200),
        // For reads only.
        ("If-Modified-Since", "{later}", 200),
        ("If-Modified-Since", "{earlier}", 200),
    ] {
        assert_writes(&api, &[(name, value)], status).await;
    }
}

/// RFC 9110 §13.1.3 and §13.1.4: a field with more than one member is ignored.
#[rstest]
#[tokio::test]
async fn two_dates_are_none(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let subject = Subject::create(&api).await;
    assert_reads(&api, &subject, &[("If-Modified-Since", "{later}"), ("If-Modified-Since", "{earlier}")], 200).await;
    let unmodified = [("If-Unmodified-Since", "{earlier}"), ("If-Unmodified-Since", "{later}")];
    assert_reads(&api, &subject, &unmodified, 200).await;
    assert_writes(&api, &unmodified, 200).await;
}

#[rstest]
#[tokio::test]
async fn dates_yield_to_tags_and_if_match_comes_first(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let subject = Subject::create(&api).await;
    let current = "\"{id}.2\"";
    let stale = "\"{id}.1\"";
    for (conditions, status) in [
        ([("If-None-Match", current), ("If-Modified-Since", "{earlier}")], 304),
        ([("If-None-Match", stale), ("If-Modified-Since", "{later}")], 200),
        ([("If-Match", current), ("If-Unmodified-Since", "{earlier}")], 200),
        ([("If-Match", stale), ("If-Unmodified-Since", "{later}")], 412),
        ([("If-Match", stale), ("If-None-Match", current)], 412),
        ([("If-Match", current), ("If-None-Match", current)], 304),
        ([("If-Match", current), ("If-Modified-Since", "{later}")], 304),
        ([("If-Unmodified-Since", "{earlier}"), ("If-None-Match", current)], 412),
    ] {
        assert_reads(&api, &subject, &conditions, status).await;
    }
    for (conditions, status) in [
        ([("If-Match", current), ("If-Unmodified-Since", "{earlier}")], 200),
        ([("If-Match", stale), ("If-Unmodified-Since", "{later}")], 412),
        ([("If-Match", current), ("If-None-Match", "*")], 412),
        ([("If-Match", current), ("If-None-Match", stale)], 200),
    ] {
        assert_writes(&api, &conditions, status).await;
    }
}

/// RFC 9110 §15.4.5: a 304 carries the fields of the 200 in its place, or caches go wrong.
#[rstest]
#[case::etag("etag")]
#[case::last_modified("last-modified")]
#[case::cache_control("cache-control")]
#[case::vary("vary")]
#[tokio::test]
async fn a_304_says_what_the_200_would(#[values(Sqlite, Postgres)] database: Database, #[case] header: &str) {
    let api = start!(database);
    for published in [true, false] {
        let subject = Subject::create(&api).await;
        api.patch(&subject.path, json!({"published": published})).await;
        for coding in ["identity", "gzip"] {
            let full = api.get(&subject.path).header("Accept-Encoding", coding).await;
            assert_eq!(full.status, 200);
            for (name, value) in [
                ("If-None-Match", full.header("etag")),
                ("If-None-Match", "*"),
                ("If-Modified-Since", full.header("last-modified")),
            ] {
                let spared = api.get(&subject.path).header("Accept-Encoding", coding).header(name, value).await;
                assert_eq!(spared.status, 304);
                let context = format!("{name}: {value}, {coding}, published: {published}");
                assert_eq!(spared.header(header).to_lowercase(), full.header(header).to_lowercase(), "{context}");
            }
        }
    }
}

#[rstest]
#[tokio::test]
async fn a_server_can_ask_for_if_match(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database, |config| config.require_if_match = true);
    let created = api.post("/posts", json!({"title": "first"})).await;
    assert_eq!(created.status, 201, "a post that is new has no version to build on");
    assert_eq!(api.get("/posts/1").await.status, 200);
    for method in WRITES {
        for conditions in
            [&[][..], &[("If-Unmodified-Since", "Sun, 06 Nov 2094 08:49:37 GMT")], &[("If-None-Match", "\"a\"")]]
        {
            let request = api.request(method, "/posts/1").json(&json!({"title": "second"}));
            let answer = conditions.iter().fold(request, |request, (name, value)| request.header(name, value)).await;
            assert_eq!(answer.status, 428, "{method} {conditions:?}");
            answer.problem("precondition-required");
        }
    }
    assert_eq!(api.get("/posts/1").await.json(), created.json());
    let changed = api.patch("/posts/1", json!({"title": "second"})).header("If-Match", created.header("etag")).await;
    assert_eq!(changed.status, 200);
    assert_eq!(api.delete("/posts/1").header("If-Match", "*").await.status, 204);
}

/// Reads a number from a post and writes the next, under `If-Match`.
async fn count_up(api: &Api) -> Answer {
    let read = api.get("/posts/1").await;
    let count: u32 = read.json()["content"].as_str().unwrap().parse().unwrap();
    api.patch("/posts/1", json!({"content": (count + 1).to_string()})).header("If-Match", read.header("etag")).await
}

#[rstest]
#[tokio::test]
async fn of_many_writers_none_undoes_anothers_change(#[values(Sqlite, Postgres)] database: Database) {
    const WRITERS: usize = 64;
    const ROUNDS: usize = 20;
    let api = start!(database);
    let other = api.another(|_| {});
    api.create(json!({"title": "Count", "content": "0"})).await;
    let writer = async |api: &Api| {
        let mut statuses = Vec::new();
        for _ in 0..ROUNDS {
            statuses.push(count_up(api).await.status);
        }
        statuses
    };
    let servers = [&api, &other].into_iter().cycle();
    let statuses = join_all(servers.take(WRITERS).map(writer)).await.concat();
    let successes = statuses.iter().filter(|status| **status == 200).count();
    let refused = statuses.iter().filter(|status| **status == 412).count();
    assert_eq!(successes + refused, WRITERS * ROUNDS, "{statuses:?}");
    assert!(successes >= ROUNDS, "a round that nobody won");
    let post = api.get("/posts/1").await.json();
    assert_eq!(post["version"], 1 + successes);
    assert_eq!(post["content"], successes.to_string());
}

#[rstest]
#[tokio::test]
async fn of_many_writers_with_one_tag_one_wins(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    for _ in 0..5 {
        let subject = Subject::create(&api).await;
        let writes = (0..4).flat_map(|_| WRITES).map(|method| {
            let request = subject.request(&api, method, &[("If-Match", "\"{id}.2\"")]);
            async move { request.await.status }
        });
        let statuses = join_all(writes).await;
        let winners = statuses.iter().filter(|status| [200, 204].contains(*status)).count();
        assert_eq!(winners, 1, "{statuses:?}");
        // Where a DELETE won, the others find nothing.
        let lost = if statuses.contains(&204) { 404 } else { 412 };
        assert_eq!(statuses.iter().filter(|status| **status == lost).count(), statuses.len() - 1, "{statuses:?}");
    }
}
