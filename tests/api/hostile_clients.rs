//! Clients that break the rules of the wire, and what a proxy may be made to forward: what is sent once is answered once at
//! most, where a request ends is never guessed, and nothing of a body is carried out as a request.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::harness::{Api, Connection, Sqlite, TestDatabase};

/// A request that anything may be followed by. Its answer shows that the connection goes on.
const PROBE: &str = "GET /health/live HTTP/1.1\r\nHost: probe\r\n\r\n";
const PROBED: &str = "{\"status\":\"ok\"}";

/// What came back.
#[derive(Debug)]
struct Heard {
    text: String,
    statuses: Vec<u16>,
}

impl Heard {
    /// Whether what came after was a request to the server, too.
    fn went_on(&self) -> bool {
        self.text.contains(PROBED)
    }
}

/// Sends this, and listens until the server has answered the probe or closed the connection.
async fn send(address: SocketAddr, bytes: &[u8]) -> Heard {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The server may have closed it before all was sent.
    let _ = stream.write_all(bytes).await;
    let mut heard = Vec::new();
    let listen = async {
        let mut buffer = vec![0; 1 << 16];
        // A reset is an end, too.
        while let Ok(count @ 1..) = stream.read(&mut buffer).await {
            heard.extend_from_slice(&buffer[..count]);
            if String::from_utf8_lossy(&heard).contains(PROBED) {
                break;
            }
        }
    };
    let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(500)]);
    tokio::time::timeout(Duration::from_secs(20), listen).await.unwrap_or_else(|_| panic!("no end: {shown}"));
    let text = String::from_utf8_lossy(&heard).into_owned();
    let statuses = text.split("HTTP/1.1 ").skip(1).map(|answer| answer[..3].parse().unwrap()).collect();
    Heard { text, statuses }
}

/// A server with a post that must not be deleted, and the request that would.
struct Target {
    api: Api,
    delete: String,
}

impl Target {
    async fn start() -> Self {
        let database = TestDatabase::create(Sqlite).expect("SQLite is always there");
        let api = Api::start(database, |config| config.body.timeout = Duration::from_secs(1));
        api.create(json!({"title": "Stays"})).await;
        let delete = format!("DELETE /posts/1 HTTP/1.1\r\nHost: x\r\n{}\r\n", api.authorization());
        Self { api, delete }
    }

    /// The head of a POST that its author may make, with these lines.
    fn post(&self, lines: &str) -> String {
        let authorization = self.api.authorization();
        format!("POST /posts HTTP/1.1\r\nHost: x\r\n{authorization}Content-Type: application/json\r\n{lines}\r\n")
    }

    /// Asserts that nothing has been carried out.
    async fn assert_untouched(&self, context: &str) {
        let posts = self.api.get("/posts").await.json();
        let titles: Vec<_> = posts["items"].as_array().unwrap().iter().map(|post| &post["title"]).collect();
        assert_eq!(titles, ["Stays"], "{context}");
    }

    /// Sends this, and asserts that it is refused with this status at most, and nothing heard after it.
    async fn assert_refused(&self, name: &str, bytes: &[u8], status: u16) {
        let heard = send(self.api.address, &[bytes, PROBE.as_bytes()].concat()).await;
        assert!(!heard.went_on(), "{name}: {heard:?}");
        let fits = heard.statuses.is_empty() || heard.statuses == [status];
        assert!(fits, "{name}: {heard:?}");
    }
}

/// Lines that leave it open where the body ends. `{n}` is its length.
const FRAMINGS: [&str; 41] = [
    "Content-Length: {n}\r\nTransfer-Encoding: chunked\r\n",
    "Transfer-Encoding: chunked\r\nContent-Length: {n}\r\n",
    "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n",
    "Content-Length: {n}\r\nContent-Length: {n}\r\n",
    "Content-Length: {n}\r\nContent-Length: 0\r\n",
    "Content-Length: 0\r\nContent-Length: {n}\r\n",
    "Content-Length: {n}, {n}\r\n",
    "Content-Length: {n},0\r\n",
    "Content-Length: +{n}\r\n",
    "Content-Length: -1\r\n",
    "Content-Length: 0x10\r\n",
    "Content-Length: 1e1\r\n",
    "Content-Length: {n};\r\n",
    "Content-Length: 1 0\r\n",
    "Content-Length:\r\n",
    "Content-Length: \x0b{n}\r\n",
    "Content-Length: 99999999999999999999\r\n",
    "Content-Length: {n}\r\n 0\r\n",
    "Content-Length : {n}\r\n",
    "Content-Length\t: {n}\r\n",
    " Content-Length: {n}\r\n",
    "Transfer-Encoding: xchunked\r\n",
    "Transfer-Encoding: chunked, identity\r\n",
    "Transfer-Encoding: identity\r\n",
    "Transfer-Encoding: identity, chunked\r\n",
    "Transfer-Encoding: gzip, chunked\r\n",
    "Transfer-Encoding: chunked, chunked\r\n",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
    "Transfer-Encoding: chunked;q=1\r\n",
    "Transfer-Encoding: \"chunked\"\r\n",
    "Transfer-Encoding: chunked,\r\n",
    "Transfer-Encoding: ,chunked\r\n",
    "Transfer-Encoding:\r\n",
    "Transfer-Encoding: \x0bchunked\r\n",
    "Transfer-Encoding: chun\0ked\r\n",
    "Transfer-Encoding : chunked\r\n",
    "Transfer-Encoding:\r\n chunked\r\n",
    "X: y\r\n Transfer-Encoding: chunked\r\n",
    "X: y\rTransfer-Encoding: chunked\r\n",
    "Upgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: {n}\r\n",
];

#[tokio::test]
async fn where_a_body_ends_is_never_guessed() {
    let target = Target::start().await;
    let json = "{\"title\": \"Smuggled\"}";
    let chunked = format!("{:x}\r\n{json}\r\n0\r\n\r\n", json.len());
    // What is the rest of the body to one may be the next request to another.
    let ended = format!("0\r\n\r\n{}", target.delete);
    for framing in FRAMINGS {
        let all = [json, &chunked, &ended, &target.delete].map(|body| {
            let bytes = target.post(&framing.replace("{n}", &body.len().to_string())) + body;
            let target = &target;
            async move { target.assert_refused(framing, bytes.as_bytes(), 400).await }
        });
        futures_util::future::join_all(all).await;
        target.assert_untouched(framing).await;
    }
}

/// Bodies in chunks that are none. `{json}` is what they would have stored.
const CHUNKS: [&str; 17] = [
    "0x15\r\n{json}\r\n0\r\n\r\n",
    "-15\r\n{json}\r\n0\r\n\r\n",
    "+15\r\n{json}\r\n0\r\n\r\n",
    " 15\r\n{json}\r\n0\r\n\r\n",
    "15 1\r\n{json}\r\n0\r\n\r\n",
    "15g\r\n{json}\r\n0\r\n\r\n",
    "\r\n15\r\n{json}\r\n0\r\n\r\n",
    ";a=b\r\n{json}\r\n0\r\n\r\n",
    "15\n{json}\r\n0\r\n\r\n",
    "15\r{json}\r\n0\r\n\r\n",
    "15;a\n{json}\r\n0\r\n\r\n",
    "15;a\0\r\n{json}\r\n0\r\n\r\n",
    "15\r\n{json}0\r\n\r\n",
    "15\r\n{json}\n0\r\n\r\n",
    "15\r\n{json}\r\n0\n\n",
    "15\r\n{json}\r\n0\r\n\rX",
    "10000000000000015\r\n{json}\r\n0\r\n\r\n",
];

#[tokio::test]
async fn a_chunk_that_is_none_ends_the_connection_and_nothing_is_stored() {
    let target = Target::start().await;
    let json = "{\"title\": \"Smuggled\"}";
    assert_eq!(json.len(), 0x15);
    for chunks in CHUNKS {
        let bytes = target.post("Transfer-Encoding: chunked\r\n") + &chunks.replace("{json}", json);
        target.assert_refused(chunks, (bytes + &target.delete).as_bytes(), 400).await;
        target.assert_untouched(chunks).await;
    }
    // Also where nobody reads them: the answer may be out already, and nothing comes after it.
    for chunks in CHUNKS {
        let head = "GET /posts HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
        let bytes = head.to_owned() + &chunks.replace("{json}", json) + &target.delete;
        target.assert_refused(chunks, bytes.as_bytes(), 200).await;
        target.assert_untouched(chunks).await;
    }
}

/// Heads that are none, or of another protocol.
const HEADS: [&str; 27] = [
    "GET /posts\r\n\r\n",
    "GET /posts HTTP/0.9\r\nHost: x\r\n\r\n",
    "GET /posts HTTP/1.2\r\nHost: x\r\n\r\n",
    "GET /posts HTTP/2.0\r\nHost: x\r\n\r\n",
    "GET /posts HTTP/11\r\nHost: x\r\n\r\n",
    "GET /posts http/1.1\r\nHost: x\r\n\r\n",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "GET /posts HTTP/1.1\r\n\r\n",
    "GET /posts HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
    "GET  /posts HTTP/1.1\r\nHost: x\r\n\r\n",
    "GET\t/posts HTTP/1.1\r\nHost: x\r\n\r\n",
    "GET /po sts HTTP/1.1\r\nHost: x\r\n\r\n",
    "GET /posts\0 HTTP/1.1\r\nHost: x\r\n\r\n",
    " GET /posts HTTP/1.1\r\nHost: x\r\n\r\n",
    "G\u{e9}T /posts HTTP/1.1\r\nHost: x\r\n\r\n",
    "GET /posts/\u{e9} HTTP/1.1\r\nHost: x\r\n\r\n",
    "GET /posts?q=\u{e9} HTTP/1.1\r\nHost: x\r\n\r\n",
    "GET /posts HTTP/1.1\r\nHost: x\r\n: a\r\n\r\n",
    "GET /posts HTTP/1.1\r\nHost: x\r\nX\r\n\r\n",
    "GET /posts HTTP/1.1\r\nHost: x\r\nX : a\r\n\r\n",
    "GET /posts HTTP/1.1\r\nHost: x\r\nX\u{e9}: a\r\n\r\n",
    "GET /posts HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n",
    "GET /posts HTTP/1.1\r\nHost: x\r\nX: a\rb\r\n\r\n",
    "GET /posts HTTP/1.1\r\nHost: x\r\nX: a\r\n b\r\n\r\n",
    "GET /posts HTTP/1.1\r\n Host: x\r\n\r\n",
    "POST /posts HTTP/1.0\r\nHost: x\r\n\r\n",
    "PUT /posts/1 HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
];

#[tokio::test]
async fn a_head_that_is_none_ends_the_connection() {
    let target = Target::start().await;
    for head in HEADS {
        target.assert_refused(head, (head.to_owned() + &target.delete).as_bytes(), 400).await;
    }
    target.assert_untouched("heads").await;
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let target = Target::start().await;
    let get = |lines: &str| format!("GET /posts HTTP/1.1\r\nHost: x\r\n{lines}\r\n");
    let address = target.api.address;
    for (name, bytes, status) in [
        ("a value of 1 MiB", get(&format!("X: {}\r\n", "a".repeat(1 << 20))), 431),
        ("10,000 fields", get(&"X: y\r\n".repeat(10_000)), 431),
        ("97 fields", get(&"X: y\r\n".repeat(97)), 431),
        ("an address of 1 MiB", format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(1 << 20)), 431),
        ("an address of 66,000 bytes", format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(66_000)), 400),
        // The framework knows no such name, and the connection ends without a word.
        ("a name of 70,000 bytes", get(&format!("{}: y\r\n", "a".repeat(70_000))), 400),
    ] {
        target.assert_refused(name, bytes.as_bytes(), status).await;
    }
    // What the framework takes, the service looks at.
    for (name, bytes, status, code) in [
        ("a value of 70,000 bytes", get(&format!("X: {}\r\n", "a".repeat(70_000))), 431, "header-fields-too-large"),
        (
            "a path of 65,000 bytes",
            format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(65_000)),
            404,
            "not-found",
        ),
        (
            "a query of 65,000 bytes",
            format!("GET /posts?q={} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(65_000)),
            400,
            "malformed-query",
        ),
    ] {
        let heard = send(address, (bytes + PROBE).as_bytes()).await;
        assert_eq!(heard.statuses, [status, 200], "{name}");
        assert!(heard.text.contains(&format!("/problems/{code}")), "{name}: {heard:?}");
    }
}

#[tokio::test]
async fn what_is_no_utf_8_once_it_is_decoded_is_a_problem() {
    let target = Target::start().await;
    for (address, status) in [
        ("/posts/%FF", 404),
        ("/posts/%", 404),
        ("/posts/%zz", 404),
        ("/posts/1%00", 404),
        ("/posts/%31", 200),
        ("/posts?q=%FF", 400),
        ("/posts?q=%00", 400),
        ("/posts?q=%zz", 400),
        ("/posts?q=%C0%80", 400),
        ("/posts?%FF=1", 400),
        ("/posts?cursor=%FF", 400),
    ] {
        let bytes = format!("GET {address} HTTP/1.1\r\nHost: x\r\n{}\r\n{PROBE}", target.api.authorization());
        let heard = send(target.api.address, bytes.as_bytes()).await;
        assert_eq!(heard.statuses, [status, 200], "{address}: {heard:?}");
    }
    // Header values that the service reads.
    for (name, statuses) in [
        ("Authorization", &[401][..]),
        ("If-Match", &[400]),
        ("If-None-Match", &[400]),
        ("If-Modified-Since", &[200, 400]),
        ("Idempotency-Key", &[200]),
        ("Accept", &[200]),
        ("Accept-Encoding", &[200, 406]),
        ("Origin", &[200]),
        ("Cookie", &[200]),
        ("Prefer", &[200]),
        ("X-Request-Id", &[200]),
        ("X-Forwarded-For", &[200]),
        ("Posts-Position", &[200, 400]),
        ("Host", &[400]),
    ] {
        let host = if name == "Host" { "" } else { "Host: x\r\n" };
        let bytes =
            [format!("GET /posts HTTP/1.1\r\n{host}{name}: ").as_bytes(), b"\xff\xc3\r\n\r\n", PROBE.as_bytes()]
                .concat();
        let heard = send(target.api.address, &bytes).await;
        assert!(heard.went_on() && statuses.contains(&heard.statuses[0]), "{name}: {heard:?}");
    }
}

/// What is unusual, and leaves no doubt: it is answered, once, and the connection goes on.
#[tokio::test]
async fn what_is_unusual_and_clear_is_answered_once() {
    let target = Target::start().await;
    let delete = &target.delete;
    let length = delete.len();
    let with =
        |method: &str, lines: &str, body: &str| format!("{method} /posts/1 HTTP/1.1\r\nHost: x\r\n{lines}\r\n{body}");
    let chunked = format!("{length:x}\r\n{delete}\r\n0\r\n\r\n");
    for (name, bytes, statuses) in [
        ("a GET with a body", with("GET", &format!("Content-Length: {length}\r\n"), delete), vec![200]),
        ("a HEAD with a body", with("HEAD", &format!("Content-Length: {length}\r\n"), delete), vec![200]),
        ("a DELETE with a body", with("DELETE", &format!("Content-Length: {length}\r\n"), delete), vec![401]),
        ("a GET with a body in chunks", with("GET", "Transfer-Encoding: chunked\r\n", &chunked), vec![200]),
        ("spaces around a length", with("GET", &format!("Content-Length: \t{length} \r\n"), delete), vec![200]),
        ("zeros before a length", with("GET", &format!("Content-Length: 000{length}\r\n"), delete), vec![200]),
        ("chunked in capitals", with("GET", "Transfer-Encoding: \tCHUNKED \r\n", &chunked), vec![200]),
        ("a name that looks like another", with("GET", "Content_Length: 5\r\nX-Content-Length: 5\r\n", ""), vec![200]),
        ("the whole address", "GET http://other.example/posts HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), vec![200]),
        ("OPTIONS of the server", "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), vec![404]),
        ("lines that end with LF", "GET /posts HTTP/1.1\nHost: x\n\n".to_owned(), vec![200]),
        ("empty lines before", "\r\n\r\nGET /posts HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), vec![200]),
        ("HTTP/1.0 that lives on", "GET /posts HTTP/1.0\r\nConnection: keep-alive\r\n\r\n".to_owned(), vec![200]),
        (
            "an offer of HTTP/2",
            with(
                "GET",
                "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
                "",
            ),
            vec![200],
        ),
        (
            "an offer of HTTP/2 with a body",
            with("GET", &format!("Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: {length}\r\n"), delete),
            vec![200],
        ),
        ("an unknown expectation", with("GET", "Expect: 200-maybe\r\n", ""), vec![200]),
        ("an expectation without a body", with("GET", "Expect: 100-continue\r\n", ""), vec![100, 200]),
    ] {
        let heard = send(target.api.address, (bytes + PROBE).as_bytes()).await;
        assert!(heard.went_on(), "{name}: {heard:?}");
        let expected = [statuses, vec![200]].concat();
        assert_eq!(heard.statuses, expected, "{name}: {heard:?}");
    }
    target.assert_untouched("what is unusual").await;
}

/// A tunnel, or a web socket: all that follows is none of the server's requests.
#[tokio::test]
async fn what_follows_a_wish_for_another_protocol_is_not_carried_out() {
    let target = Target::start().await;
    let requests = [
        ("CONNECT x:80 HTTP/1.1\r\nHost: x:80\r\n\r\n", 404),
        ("CONNECT /posts HTTP/1.1\r\nHost: x\r\n\r\n", 405),
        ("GET /posts HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", 200),
        ("GET /posts HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\r\n", 200),
    ];
    let all = requests.map(|(head, status)| {
        let bytes = head.to_owned() + &target.delete;
        let target = &target;
        async move { target.assert_refused(head, bytes.as_bytes(), status).await }
    });
    futures_util::future::join_all(all).await;
    target.assert_untouched("what followed").await;
}

/// Who says that this is the last request has said it: nothing else is carried out (RFC 9112 §9.6). Of HTTP/1.0 every one
/// is, unless it says otherwise, and what seems to follow may be its body.
#[tokio::test]
async fn nothing_is_carried_out_after_the_last_request() {
    let target = Target::start().await;
    let authorization = target.api.authorization();
    for head in [
        "GET /posts HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_owned(),
        "GET /posts HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Close\r\n\r\n".to_owned(),
        "GET /posts HTTP/1.0\r\nHost: x\r\n\r\n".to_owned(),
        format!("PUT /posts/1 HTTP/1.0\r\nHost: x\r\n{authorization}Content-Type: application/json\r\n\r\n"),
        format!("DELETE /posts/7 HTTP/1.0\r\nHost: x\r\n{authorization}\r\n"),
    ] {
        let heard = send(target.api.address, (head.clone() + &target.delete + &target.delete + PROBE).as_bytes()).await;
        assert!(!heard.went_on(), "{head}: {heard:?}");
        // What came late may be refused, and is not carried out.
        assert!(heard.statuses.iter().skip(1).all(|status| *status == 400), "{head}: {heard:?}");
        target.assert_untouched(&head).await;
    }
    let late = send(target.api.address, ("GET /posts HTTP/1.0\r\n\r\n".to_owned() + PROBE).as_bytes()).await;
    assert!(late.text.contains("came after the last request"), "{late:?}");
}

/// A name or an address, and maybe a port (RFC 9112 §3.2): proxies and servers that read it in different ways send one
/// site's answers to another's visitors.
#[tokio::test]
async fn a_host_that_is_none_is_a_problem() {
    let target = Target::start().await;
    for (host, status) in [
        ("blog.example", 200),
        ("blog.example:8080", 200),
        ("[2001:db8::1]:8080", 200),
        ("xn--bcher-kva.example", 200),
        ("", 200),
        ("a b", 400),
        ("http://x", 400),
        ("x/y", 400),
        ("a@x", 400),
        ("x?y", 400),
        ("x#y", 400),
        ("x\\y", 400),
        ("\u{e9}", 400),
    ] {
        let bytes = format!("GET /posts HTTP/1.1\r\nHost: {host}\r\n\r\n{PROBE}");
        let heard = send(target.api.address, bytes.as_bytes()).await;
        assert_eq!(heard.statuses, [status, 200], "{host}: {heard:?}");
        assert_eq!(heard.text.contains("/problems/malformed-header"), status == 400, "{host}: {heard:?}");
    }
}

#[tokio::test]
async fn a_client_may_wait_for_the_word_to_go_on() {
    let target = Target::start().await;
    let expecting = |length: usize| target.post(&format!("Expect: 100-continue\r\nContent-Length: {length}\r\n"));
    let body = "{\"title\": \"Expected\"}";
    let mut stream = TcpStream::connect(target.api.address).await.unwrap();
    stream.write_all(expecting(body.len()).as_bytes()).await.unwrap();
    let mut word = [0; 25];
    stream.read_exact(&mut word).await.unwrap();
    assert_eq!(&word, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all((body.to_owned() + PROBE).as_bytes()).await.unwrap();
    let mut answers = Vec::new();
    while !String::from_utf8_lossy(&answers).contains(PROBED) {
        assert_ne!(stream.read_buf(&mut answers).await.unwrap(), 0);
    }
    assert!(answers.starts_with(b"HTTP/1.1 201"), "{}", String::from_utf8_lossy(&answers));
    // Who is refused need not send the body, and the connection ends.
    let heard = send(target.api.address, expecting(17 << 20).as_bytes()).await;
    assert_eq!(heard.statuses, [100, 413], "{heard:?}");
}

/// Each is answered, in its order, however many come at once.
#[tokio::test]
async fn a_thousand_requests_that_are_sent_at_once_are_each_answered_in_order() {
    let target = Target::start().await;
    let mut connection = Connection::open(target.api.address).await;
    let requests = (0..1_000).map(|number| format!("GET /posts/9{number:03} HTTP/1.1\r\nHost: x\r\n\r\n"));
    connection.send(requests.collect::<Vec<_>>().concat()).await;
    for number in 0..1_000 {
        let path = format!("/posts/9{number:03}");
        let answer = connection.answer("GET", &path).await;
        assert_eq!(answer.problem("not-found")["instance"], path);
    }
}

/// Extensions and trailers have no length of their own: they end with the time that a body has.
#[tokio::test]
async fn a_body_whose_extensions_or_trailers_never_end_is_not_waited_for() {
    let target = Target::start().await;
    let send = async |begin: &str| {
        let mut stream = TcpStream::connect(target.api.address).await.unwrap();
        stream.write_all((target.post("Transfer-Encoding: chunked\r\n") + begin).as_bytes()).await.unwrap();
        let (mut reader, mut writer) = stream.into_split();
        let write = tokio::spawn(async move { while writer.write_all(&[b'a'; 1 << 14]).await.is_ok() {} });
        let mut answer = Vec::new();
        let read = async { while !matches!(reader.read_buf(&mut answer).await, Ok(0) | Err(_)) {} };
        tokio::time::timeout(Duration::from_secs(10), read).await.expect("an end");
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with("HTTP/1.1 408"), "{begin}: {answer}");
        write.await.unwrap();
    };
    futures_util::future::join(send("5;a="), send("0\r\nX: ")).await;
    target.assert_untouched("endless").await;
}
