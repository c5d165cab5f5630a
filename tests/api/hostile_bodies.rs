//! Bodies that are made to cost: each is refused as a problem, in little time and memory, and changes nothing.

use std::time::{Duration, Instant};

use rstest::rstest;
use serde_json::{Value, json};

use crate::harness::{Api, Database, Postgres, Program, Running, Sqlite, TestDatabase, start};

/// As many bytes as a body may have.
const LARGE: usize = 16 << 20;

/// No refusal takes longer, in a debug build on a machine that is busy with other tests.
const SOON: Duration = Duration::from_secs(5);

const JSON: &str = "application/json";
const MERGE_PATCH: &str = "application/merge-patch+json";
const JSON_PATCH: &str = "application/json-patch+json";

/// This again and again, in brackets, as large as a body may be.
fn array_of(element: &str) -> Vec<u8> {
    format!("[{}0]", element.repeat((LARGE - 10) / element.len())).into()
}

/// An object with so many members, of which none is known.
fn object_of(members: usize) -> Vec<u8> {
    let members: Vec<_> = (0..members).map(|number| format!("\"{number:x}\":0")).collect();
    format!("{{{}}}", members.join(",")).into()
}

/// What no parser should be taken in by: its name, itself, and what it is called.
fn hostile() -> Vec<(&'static str, Vec<u8>, u16, &'static str)> {
    let malformed = |name, body: &[u8]| (name, body.to_vec(), 400, "malformed-json");
    let invalid = |name, body: Vec<u8>| (name, body, 422, "validation-failed");
    let too_large = |name, body| (name, body, 413, "content-too-large");
    vec![
        malformed("arrays in one another", "[".repeat(100_000).as_bytes()),
        malformed("objects in one another", "{\"a\":".repeat(100_000).as_bytes()),
        malformed("a huge number", br#"{"title": 1e999999}"#),
        malformed("a number of 10,000 digits", format!("{{\"title\": {}}}", "9".repeat(10_000)).as_bytes()),
        malformed("a number of 16 MiB", "9".repeat(LARGE).as_bytes()),
        malformed("a key given twice", br#"{"title": "a", "title": "b"}"#),
        malformed("half a surrogate pair", br#"{"title": "\ud800"}"#),
        malformed("a surrogate pair the wrong way round", br#"{"title": "\udc00\ud800"}"#),
        malformed("no UTF-8", b"{\"title\": \"\xff\"}"),
        malformed("a NUL in two bytes", b"{\"title\": \"\xc0\x80\"}"),
        malformed("a byte order mark", b"\xef\xbb\xbf{\"title\": \"a\"}"),
        malformed("UTF-16", b"\xff\xfe{\0}\0"),
        malformed("a NUL as it is", b"{\"title\": \"a\0b\"}"),
        malformed("16 MiB of nothing", " ".repeat(LARGE).as_bytes()),
        malformed("one document after the other", br#"{"title": "a"} {"title": "b"}"#),
        invalid("a NUL that is escaped", br#"{"title": "a\u0000b"}"#.to_vec()),
        invalid("a NUL in a key", br#"{"title": "a", "\u0000": 1}"#.to_vec()),
        invalid("a title of 16 MiB", format!("{{\"title\": \"{}\"}}", "a".repeat(LARGE - 20)).into()),
        invalid("a title of escapes", format!("{{\"title\": \"{}\"}}", "\\u0041".repeat((LARGE - 20) / 6)).into()),
        invalid("as many members as there may be values", object_of(9_999)),
        too_large("one more", object_of(10_000)),
        too_large("16 MiB of numbers", array_of("1,")),
        too_large("16 MiB of empty arrays", array_of("[],")),
        too_large("16 MiB of small objects", array_of("{\"\":0},")),
        too_large("16 MiB of keys", object_of(1_300_000)),
    ]
}

/// Sends this, and asserts that it is refused soon.
async fn assert_refused(api: &Api, request: (&str, &str, &str), name: &str, body: Vec<u8>, status: u16, code: &str) {
    let (method, path, media_type) = request;
    let context = format!("{method} {path} with {name}");
    let sent = Instant::now();
    let answer = api.request(method, path).body(media_type, body).await;
    assert!(sent.elapsed() < SOON, "{context}: {:?}", sent.elapsed());
    assert_eq!(answer.status, status, "{context}: {answer:?}");
    answer.problem(code);
}

#[tokio::test]
async fn a_body_that_is_made_to_cost_is_refused_soon_and_changes_nothing() {
    let api = start_with_a_post().await;
    let before = api.get("/posts").await.body;
    for (name, body, status, code) in hostile() {
        for request in [("POST", "/posts", JSON), ("PUT", "/posts/1", JSON), ("PATCH", "/posts/1", MERGE_PATCH)] {
            assert_refused(&api, request, name, body.clone(), status, code).await;
        }
    }
    assert_eq!(api.get("/posts").await.body, before);
}

/// A server with one post, on SQLite: what is refused before anything is stored is the same on both databases.
async fn start_with_a_post() -> Api {
    let api = Api::start(TestDatabase::create(Sqlite).expect("SQLite is always there"), |_| {});
    api.create(json!({"title": "Hello", "content": "So it begins."})).await;
    api
}

/// No patch of ours does so. Where it may, a few hundred kilobytes make a document that is deeper than the stack of who
/// walks down it, and that ends the program.
#[rstest]
#[tokio::test]
async fn a_json_patch_makes_no_document_deeper_than_one_that_could_be_sent(
    #[values(Sqlite, Postgres)] database: Database,
) {
    let api = start!(database);
    let post = api.create(json!({"title": "Hello"})).await;
    let nested = |depth: usize| (0..depth).fold(json!(0), |inner, _| json!({"a": inner}));
    let add = |path: String, value: Value| json!({"op": "add", "path": path, "value": value});
    // Each makes it twice as deep.
    let mut copies = vec![add("/x".to_owned(), nested(1))];
    copies.extend(
        (0..16).map(|number| json!({"op": "copy", "from": "/x", "path": "/x".to_owned() + &"/a".repeat(1 << number)})),
    );
    let mut moves = vec![add("/x".to_owned(), nested(100))];
    moves.extend([
        add("/y".to_owned(), nested(50)),
        json!({"op": "move", "from": "/x", "path": "/y".to_owned() + &"/a".repeat(50)}),
    ]);
    for (name, operations) in [
        ("adds", (0..1_000).map(|depth| add("/x".repeat(depth + 1), json!({}))).collect()),
        ("deep adds", (0..50).map(|number| add("/a".repeat(100 * number + 1), nested(100))).collect()),
        (
            "replaces",
            vec![
                json!({"op": "replace", "path": "", "value": nested(100)}),
                json!({"op": "replace", "path": "/a".repeat(100), "value": nested(100)}),
            ],
        ),
        ("copies", copies),
        ("moves", moves),
    ] {
        let answer = api.json_patch("/posts/1", Value::Array(operations)).await;
        assert_eq!(answer.status, 422, "{name}: {answer:?}");
        assert_eq!(answer.problem("validation-failed")["errors"][0]["code"], "too_much", "{name}");
    }
    // As deep as may be, and away again.
    let operations = json!([
        add("/x".to_owned(), nested(100)),
        add("/x".to_owned() + &"/a".repeat(100), nested(26)),
        {"op": "remove", "path": "/x"},
    ]);
    assert_eq!(api.json_patch("/posts/1", operations).await.status, 200);
    assert_eq!(api.get("/posts/1").await.json(), post);
}

#[tokio::test]
async fn a_json_patch_that_is_made_to_cost_is_refused_soon_or_carried_out() {
    let api = start_with_a_post().await;
    let tests = |count| vec![json!({"op": "test", "path": "/title", "value": "Hello"}); count];
    let front = |count: usize| {
        let mut operations = vec![json!({"op": "add", "path": "/x", "value": vec![0; count]})];
        operations.extend(vec![json!({"op": "add", "path": "/x/0", "value": 0}); count / 4]);
        operations
    };
    let mut doubling = vec![json!({"op": "add", "path": "/x", "value": ["a".repeat(1 << 16)]})];
    doubling.extend(vec![json!({"op": "copy", "from": "/x", "path": "/x/0"}); 60]);
    let large = "a".repeat(1 << 20);
    for (name, operations, status) in [
        ("2,000 operations", tests(2_000), 200),
        ("too many operations", tests(4_000), 413),
        ("an array that is filled from its front", front(4_000), 422),
        ("what doubles itself", doubling, 422),
        ("a test of something large", vec![json!({"op": "test", "path": "/content", "value": large})], 409),
        ("copies of the content", vec![json!({"op": "copy", "from": "/content", "path": "/title"}); 2_000], 200),
    ] {
        let sent = Instant::now();
        let answer = api.json_patch("/posts/1", Value::Array(operations)).await;
        assert!(sent.elapsed() < SOON, "{name}: {:?}", sent.elapsed());
        assert_eq!(answer.status, status, "{name}: {answer:?}");
    }
}

/// The most memory that a program has had since this was last asked, in KiB.
fn peak(server: &Running) -> usize {
    let peak = server.memory("VmHWM");
    std::fs::write(format!("/proc/{}/clear_refs", server.id()), "5").unwrap();
    peak
}

/// A tree of small objects takes a hundred times its bytes, and who is not signed in may send one, too.
#[tokio::test]
async fn bodies_that_are_made_to_cost_take_little_memory() {
    let mut server = Program::new(&[]).serve();
    let token = server.set_up().await;
    assert_eq!(server.get("/posts").await.status, 200);
    peak(&server);
    for (name, body, status, _) in hostile().into_iter().filter(|(_, body, ..)| body.len() > LARGE / 2) {
        let before = server.memory("VmRSS");
        let answer = server.request("POST", "/posts").bearing(&token).body(JSON, body.clone()).await;
        assert_eq!(answer.status, status, "{name}");
        // The body while it grows, twice as much at most when its buffer is about to, and what is made of it.
        let grown = peak(&server).saturating_sub(before);
        assert!(grown < 100 << 10, "{name}: {grown} KiB");
        let before = server.memory("VmRSS");
        let answer = server.request("POST", "/auth/login").body(JSON, body).await;
        assert_eq!(answer.status, 413, "{name}");
        let grown = peak(&server).saturating_sub(before);
        assert!(grown < 8 << 10, "{name}: {grown} KiB");
    }
}

#[tokio::test]
async fn who_is_not_signed_in_sends_little() {
    let api = start_with_a_post().await;
    let body = |length: usize| json!({"email": "ada@example.org", "password": "x".repeat(length)}).to_string();
    for path in ["/auth/login", "/auth/refresh", "/auth/logout", "/auth/setup"] {
        let fits = api.request("POST", path).body(JSON, body(60 << 10)).anonymous().await;
        assert_eq!(fits.status, 422, "{path}");
        let answer = api.request("POST", path).body(JSON, body(64 << 10)).anonymous().await;
        assert_eq!(answer.status, 413, "{path}");
    }
}

/// A body of ten thousand times its size, and codings around codings: none is unpacked, so none costs anything.
#[tokio::test]
async fn what_is_compressed_is_not_unpacked() {
    let api = start_with_a_post().await;
    let before = api.get("/posts").await.body;
    // As a bomb begins; nobody looks any further.
    let bomb = vec![0x1f_u8; 10 << 20];
    for coding in ["gzip", "x-gzip", "deflate", "br", "zstd", "compress", "gzip, gzip", "identity, gzip", "unknown", ""]
    {
        for (method, path, media_type) in
            [("POST", "/posts", JSON), ("PUT", "/posts/1", JSON), ("PATCH", "/posts/1", JSON_PATCH)]
        {
            let sent = Instant::now();
            let request = api.request(method, path).body(media_type, bomb.clone());
            let answer = request.header("Content-Encoding", coding).await;
            assert!(sent.elapsed() < SOON, "{coding}: {:?}", sent.elapsed());
            assert_eq!((answer.status, answer.header("accept-encoding")), (415, "identity"), "{coding}: {answer:?}");
        }
    }
    let request = api.post("/posts", json!({"title": "Two lines"})).another_header("Content-Encoding", "identity");
    let answer = request.another_header("Content-Encoding", "gzip").await;
    assert_eq!(answer.status, 415, "a second line counts, too");
    assert_eq!(api.get("/posts").await.body, before);
}
