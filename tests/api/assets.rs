//! What stays the same while the program runs (pages, their files, the document): coded once, and tagged.

use posts_api::http::problem::Code;
use rstest::rstest;

use crate::harness::{Api, Database, Postgres, Sqlite, start};

const CODINGS: [&str; 4] = ["gzip", "br", "zstd", "deflate"];

/// A picture that is compressed by its format.
const PICTURE: &str = "/docs/favicon-32x32.png";

/// Everything of the kind, but the picture.
async fn assets(api: &Api) -> Vec<String> {
    let page = api.get("/admin").await;
    let own = page.text().split('"').filter_map(|part| part.strip_prefix("./admin/"));
    let admin = own.map(|file| format!("/admin/{file}"));
    let console = ["swagger-ui-bundle.js", "swagger-ui.css", "console.js", "console.css"];
    let problems = Code::ALL.iter().map(|code| format!("/problems/{}", code.as_str()));
    ["/openapi.json", "/admin", "/admin/licenses.txt", "/docs"]
        .map(str::to_owned)
        .into_iter()
        .chain(admin)
        .chain(console.map(|file| format!("/docs/{file}")))
        .chain(problems.take(2))
        .collect()
}

#[rstest]
#[tokio::test]
async fn an_asset_has_a_tag_of_its_own_in_each_coding(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    let assets = assets(&api).await;
    assert!(assets.iter().any(|path| path.starts_with("/admin/index-")), "{assets:?}");
    for path in assets {
        let plain = api.get(&path).await;
        let state = plain.header("etag").trim_matches('"');
        assert_eq!((plain.status, plain.header("content-encoding"), state.len()), (200, "", 43), "{path}");
        for coding in CODINGS {
            let get = || api.get(&path).header("Accept-Encoding", coding);
            let coded = get().await;
            assert_eq!((coded.status, coded.header("content-encoding")), (200, coding), "{path}");
            assert_eq!(coded.header("etag"), format!("\"{state};{coding}\""), "{path}");
            assert_eq!(coded.header("content-length"), coded.body.len().to_string(), "{path} in {coding}");
            assert_eq!(coded.decoded(), plain.body, "{path} in {coding}");
            // Once made, the same bytes again, as the tag says.
            assert!(get().await.body == coded.body, "{path} in {coding}");
        }
    }
}

/// RFC 9110 §15.4.5, and a cache takes over the policy that a 304 has (RFC 9111 §3.2).
#[rstest]
#[tokio::test]
async fn who_has_an_asset_is_told_so_in_each_coding(#[values(Sqlite, Postgres)] database: Database) {
    const SAME: [&str; 4] = ["etag", "cache-control", "content-security-policy", "vary"];
    let api = start!(database);
    let mut paths = assets(&api).await;
    paths.push(PICTURE.to_owned());
    for path in paths {
        for coding in ["identity", "gzip", "br", "zstd", "deflate"] {
            let get = || api.get(&path).header("Accept-Encoding", coding);
            let full = get().await;
            for tags in [full.header("etag"), "*", &format!("\"another\", W/{}", full.header("etag"))] {
                let spared = get().header("If-None-Match", tags).await;
                assert_eq!((spared.status, spared.header("content-encoding")), (304, ""), "{path} in {coding}: {tags}");
                assert!(spared.body.is_empty());
                for name in SAME {
                    assert_eq!(spared.header(name), full.header(name), "{path} in {coding}: {tags}, {name}");
                }
            }
            for tags in ["\"another\"", "\"another;gzip\""] {
                assert_eq!(get().header("If-None-Match", tags).await.status, 200, "{path} in {coding}: {tags}");
                get().header("If-Match", tags).await.problem("precondition-failed");
            }
            assert_eq!(get().header("If-Match", full.header("etag")).await.status, 200, "{path} in {coding}");
            get().header("If-None-Match", "untidy").await.problem("malformed-header");
        }
    }
}

#[rstest]
#[tokio::test]
async fn head_says_of_an_asset_what_get_says(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    for path in ["/openapi.json", "/admin", "/docs/console.js", "/problems/conflict", PICTURE] {
        for coding in ["identity", "gzip", "br", "zstd", "deflate"] {
            let head = || api.request("HEAD", path).header("Accept-Encoding", coding);
            let (get, short) = (api.get(path).header("Accept-Encoding", coding).await, head().await);
            assert_eq!((short.status, short.body.len()), (200, 0), "{path} in {coding}");
            for (name, value) in
                get.headers.iter().filter(|(name, _)| !["date", "x-request-id"].contains(&name.as_str()))
            {
                assert_eq!(short.headers.get(name), Some(value), "{path} in {coding}: {name}");
            }
            assert_eq!(head().header("If-None-Match", get.header("etag")).await.status, 304, "{path} in {coding}");
        }
    }
}

#[rstest]
#[tokio::test]
async fn an_assets_coding_is_one_that_the_request_allows(#[values(Sqlite, Postgres)] database: Database) {
    let api = start!(database);
    for (accepted, coding) in [
        ("", ""),
        ("identity", ""),
        ("unknown", ""),
        ("gzip;q=0", ""),
        ("*", ""),
        ("gzip;q=0, br;q=0, *;q=0, identity", ""),
        ("gzip;q=0.5, br", "br"),
        ("gzip, br;q=0.5, zstd;q=0.1", "gzip"),
        ("unknown, zstd;q=0.1", "zstd"),
        ("gzip, deflate, br, zstd", "br"),
        ("gzip, identity;q=0", "gzip"),
        ("deflate, *;q=0", "deflate"),
        ("GZIP", "gzip"),
    ] {
        let answer = api.get("/openapi.json").header("Accept-Encoding", accepted).await;
        assert_eq!((answer.status, answer.header("content-encoding")), (200, coding), "{accepted:?}");
    }
    for refused in ["identity;q=0", "*;q=0", "identity;q=0, unknown"] {
        api.get("/openapi.json").header("Accept-Encoding", refused).await.problem("not-acceptable");
    }
    let picture = api.get(PICTURE).header("Accept-Encoding", "gzip, br").await;
    assert_eq!((picture.status, picture.header("content-encoding")), (200, ""), "it would get no smaller");
}
