//! Clients that take their time, by mistake or on purpose, one and a thousand: they are not waited for without end, and
//! nobody else waits for them.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use crate::harness::{Api, Program, Running, Sqlite, TestDatabase, User, eventually, faults, say};

fn start(change: impl FnOnce(&mut posts_api::config::Config)) -> Api {
    Api::start(TestDatabase::create(Sqlite).expect("SQLite is always there"), change)
}

const IN_A_SECOND: Duration = Duration::from_secs(1);

/// Reads what comes until the connection ends, which it must, and says after how long it did.
async fn until_the_end(stream: &mut TcpStream) -> (String, Duration) {
    let (begun, mut heard) = (Instant::now(), Vec::new());
    // A reset is an end, too.
    let end = tokio::time::timeout(Duration::from_secs(30), stream.read_to_end(&mut heard));
    let _ = end.await.expect("the connection ends");
    (String::from_utf8_lossy(&heard).into_owned(), begun.elapsed())
}

/// Sends a byte now and then, as long as anybody takes it.
async fn drip(stream: &mut TcpStream, bytes: &[u8]) {
    for byte in bytes {
        if stream.write_all(&[*byte]).await.is_err() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_head_that_comes_byte_by_byte_or_stops_ends_in_a_408() {
    let api = start(|config| config.head_timeout = IN_A_SECOND);
    let head = "GET /posts HTTP/1.1\r\nHost: blog.example\r\nX-Long: ".to_owned() + &"x".repeat(100);
    let send = async |count: usize, is_dripping: bool| {
        let mut stream = TcpStream::connect(api.address).await.unwrap();
        let begun = Instant::now();
        if is_dripping {
            drip(&mut stream, &head.as_bytes()[..count]).await;
        } else {
            stream.write_all(&head.as_bytes()[..count]).await.unwrap();
        }
        let (answer, _) = until_the_end(&mut stream).await;
        assert!(begun.elapsed() < 12 * IN_A_SECOND, "{count}: {:?}", begun.elapsed());
        assert!(answer.starts_with("HTTP/1.1 408") || is_dripping, "{count}: {answer}");
    };
    let all = [(0, false), (30, false), (head.len(), true)].map(|(count, is_dripping)| send(count, is_dripping));
    futures_util::future::join_all(all).await;
}

/// The framework has no time for any head but the first: who had one answer could keep the connection with half a head.
#[tokio::test]
async fn a_further_head_is_not_waited_for_either() {
    let api = start(|config| {
        config.head_timeout = Duration::from_millis(500);
        config.keep_alive = IN_A_SECOND;
    });
    let send = async |rest: &str| {
        let mut stream = TcpStream::connect(api.address).await.unwrap();
        stream.write_all(format!("GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n{rest}").as_bytes()).await.unwrap();
        let (answers, elapsed) = until_the_end(&mut stream).await;
        assert_eq!(answers.matches("HTTP/1.1 ").count(), 1, "{rest}: {answers}");
        assert!(elapsed > IN_A_SECOND / 2 && elapsed < 10 * IN_A_SECOND, "{rest}: {elapsed:?}");
    };
    futures_util::future::join_all(["", "G", "GET /posts HTTP/1.1\r\nHost:"].map(send)).await;
}

/// To be at work is no silence, and neither is a body that comes in its time.
#[tokio::test]
async fn who_is_slow_and_in_time_is_answered() {
    let api = start(|config| {
        config.head_timeout = IN_A_SECOND;
        config.keep_alive = IN_A_SECOND;
    });
    let mut connection = api.connect().await;
    for number in 0..faults(1, 3) {
        let body = "{\"title\": \"Slowly\"}";
        let head = "POST /posts HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n".to_owned();
        let length = format!("Content-Length: {}\r\n\r\n", body.len());
        connection.send(head + &api.authorization() + &length).await;
        tokio::time::sleep(5 * IN_A_SECOND / 2).await;
        connection.send(body).await;
        assert_eq!(connection.answer("POST", "/posts").await.status, 201, "{number}");
    }
}

#[tokio::test]
async fn a_slow_body_ends_in_a_408_and_one_that_nobody_reads_in_its_answer() {
    let api = start(|config| config.body.timeout = IN_A_SECOND);
    let requests = [
        ("POST", "/posts", 408),
        ("PUT", "/posts/1", 408),
        ("PATCH", "/posts/1", 408),
        ("POST", "/auth/login", 408),
        ("GET", "/posts", 200),
        ("GET", "/health/live", 200),
        ("DELETE", "/posts/7", 404),
        ("POST", "/nothing", 404),
        ("PUT", "/posts", 405),
    ];
    let framings = [("Content-Length: 1000", "{"), ("Transfer-Encoding: chunked", "3e8\r\n{")];
    let send = async |(method, path, status): (&str, &str, u16), (framing, begin): (&str, &str)| {
        let mut stream = TcpStream::connect(api.address).await.unwrap();
        let authorization = api.authorization();
        let json = "Content-Type: application/json";
        let head = format!("{method} {path} HTTP/1.1\r\nHost: x\r\n{authorization}{json}\r\n{framing}\r\n\r\n");
        stream.write_all((head + begin).as_bytes()).await.unwrap();
        drip(&mut stream, &[b' '; 10]).await;
        let (answer, elapsed) = until_the_end(&mut stream).await;
        assert!(elapsed < 10 * IN_A_SECOND, "{method} {path} {framing}: {elapsed:?}");
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{method} {path} {framing}: {answer}");
        assert!(status != 408 || answer.contains("/problems/request-timeout"), "{answer}");
    };
    let all = requests.into_iter().flat_map(|request| framings.map(|framing| send(request, framing)));
    futures_util::future::join_all(all).await;
}

/// Connects with room for few bytes that have not been read.
async fn connect_without_reading(address: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4 << 10).unwrap();
    socket.connect(address).await.unwrap()
}

/// Creates posts that make a page of some MiB.
async fn fill(request: impl Fn() -> crate::harness::Request) {
    for _ in 0..10 {
        let answer = request().json(&json!({"title": "Large", "content": "x".repeat(900_000)})).await;
        assert_eq!(answer.status, 201);
    }
}

const PAGE: &str = "GET /posts?limit=10 HTTP/1.1\r\nHost: x\r\n\r\n";

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_client_that_takes_nothing_of_its_answer_is_let_go() {
    let api = start(|config| config.keep_alive = IN_A_SECOND);
    fill(|| api.request("POST", "/posts")).await;
    let mut stalled = connect_without_reading(api.address).await;
    stalled.write_all(PAGE.as_bytes()).await.unwrap();
    let mut slow = connect_without_reading(api.address).await;
    slow.write_all(PAGE.as_bytes()).await.unwrap();
    // This one takes a little now and then, for longer than nothing is waited for.
    let mut taken = 0;
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(150)).await;
        taken += slow.read(&mut [0; 1 << 13]).await.unwrap();
    }
    let (answer, _) = until_the_end(&mut slow).await;
    assert!(taken + answer.len() > 9_000_000, "who is slow gets all of it: {taken} and {}", answer.len());
    let (answer, _) = until_the_end(&mut stalled).await;
    assert!(answer.len() < 9_000_000, "what was not taken in time is not sent: {}", answer.len());
}

/// Requests by those who keep the rules, until told to stop: how many were answered, and the longest that one took.
async fn served_well(server: &Running, user: &User, duration: Duration) -> (usize, Duration) {
    let begun = Instant::now();
    let client = async |number: usize| {
        let (mut answered, mut longest) = (0, Duration::ZERO);
        while begun.elapsed() < duration {
            let sent = Instant::now();
            let (answer, expected) = match (number + answered) % 4 {
                0 => (server.request("POST", "/posts").by(user).json(&json!({"title": "Served"})).await, 201),
                1 => (server.get("/posts?limit=1").await, 200),
                2 => (server.get("/auth/me").by(user).await, 200),
                _ => (server.get("/posts?q=served&limit=1").await, 200),
            };
            assert_eq!(answer.status, expected, "{answer:?}");
            longest = longest.max(sent.elapsed());
            answered += 1;
        }
        (answered, longest)
    };
    let clients = futures_util::future::join_all((0..8).map(client)).await;
    let longest = clients.iter().map(|(_, longest)| *longest).max().unwrap();
    (clients.iter().map(|(answered, _)| answered).sum(), longest)
}

/// What a slow client has sent so far.
fn slow_beginning(number: usize, token: &str) -> String {
    match number % 3 {
        0 => "GET /posts HTTP/1.1\r\nHost: x\r\nX-Slow: ".to_owned(),
        1 => format!(
            "POST /posts HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n\
             Content-Length: 100000\r\n\r\n{{\"title\": \"{}",
            "x".repeat(10_000)
        ),
        _ => "GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
    }
}

async fn slow_clients(server: &Running, count: usize, token: &str) -> Vec<TcpStream> {
    let mut streams = Vec::with_capacity(count);
    for number in 0..count {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(slow_beginning(number, token).as_bytes()).await.unwrap();
        streams.push(stream);
    }
    streams
}

/// This many files for this process, which has both ends of none of these connections.
#[cfg(target_os = "linux")]
fn allow_many_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
}

/// What a slow client may cost: what was read of it and not used, a buffer each way, and what is known of its request.
#[cfg(target_os = "linux")]
const KIB_OF_A_SLOW_CLIENT: usize = 64;

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_thousand_slow_clients_keep_nobody_from_being_served() {
    const COUNT: usize = 1_000;
    allow_many_files();
    let database = TestDatabase::create(Sqlite).unwrap();
    let user = User::create(&database, "author");
    // Longer than it takes to begin them all; the last of them are there while others are served.
    let (wait, hold) = (faults(4, 20), faults(1, 5));
    let arguments = [format!("--head-timeout={wait}"), format!("--body-timeout={wait}"), "--grace=2".to_owned()];
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let server = Program::on(&database, &arguments).serve();
    let create = server.request("POST", "/posts").by(&user).json(&json!({"title": "Served"})).await;
    assert_eq!(create.status, 201);
    served_well(&server, &user, IN_A_SECOND / 2).await;
    let (memory, files) = (server.memory("VmRSS"), server.open_files());

    for _ in 0..hold {
        let slow = slow_clients(&server, COUNT, &user.token).await;
        eventually("all are connected", || async { server.open_files() >= files + COUNT }).await;
        let (answered, longest) = served_well(&server, &user, IN_A_SECOND).await;
        let grown = server.memory("VmRSS").saturating_sub(memory);
        say(&format!("{COUNT} slow clients: {grown} KiB; {answered} answers meanwhile, the slowest after {longest:?}"));
        assert!(answered > 50, "{answered}");
        assert!(grown < COUNT * KIB_OF_A_SLOW_CLIENT, "{grown} KiB");
        // Those that are only idle may be so for longer.
        let idle: Vec<_> = slow.into_iter().skip(2).step_by(3).collect();
        eventually("who was slow is let go", || async { server.open_files() <= files + 2 * idle.len() + 20 }).await;
        drop(idle);
        eventually("all files are closed", || async { server.open_files() <= files + 20 }).await;
    }

    let slow = slow_clients(&server, COUNT / 2, &user.token).await;
    let stopped = Instant::now();
    server.signal("TERM");
    let (status, log) = server.wait();
    assert_eq!(status, Some(0));
    assert!(stopped.elapsed() < Duration::from_secs(2 + 8), "{:?}", stopped.elapsed());
    assert!(!log.contains("panic"), "{log}");
    drop(slow);
}

/// Each has asked for a page of 9 MiB. Those that are equal are one, however many clients do not take it.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn clients_that_do_not_read_cost_little_and_keep_no_server_from_stopping() {
    const COUNT: usize = 50;
    let database = TestDatabase::create(Sqlite).unwrap();
    let user = User::create(&database, "author");
    let server = Program::on(&database, &["--grace", "1"]).serve();
    fill(|| server.request("POST", "/posts").by(&user)).await;
    assert_eq!(server.get("/posts?limit=10").await.status, 200);
    let memory = server.memory("VmRSS");
    let mut stalled = Vec::new();
    for number in 0..COUNT {
        let mut stream = connect_without_reading(server.address).await;
        let coding = if number % 5 == 0 { "Accept-Encoding: gzip\r\n" } else { "" };
        let request = format!("GET /posts?limit=10 HTTP/1.1\r\nHost: x\r\n{coding}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        stalled.push(stream);
    }
    let (answered, longest) = served_well(&server, &user, IN_A_SECOND).await;
    let grown = server.memory("VmRSS").saturating_sub(memory) >> 10;
    say(&format!("{COUNT} clients that do not read: {grown} MiB; {answered} answers meanwhile, at most {longest:?}"));
    assert!(answered > 8, "{answered}");
    assert!(grown < 2 * COUNT, "{grown} MiB");
    let stopped = Instant::now();
    server.signal("TERM");
    let (status, _) = server.wait();
    assert_eq!(status, Some(0));
    assert!(stopped.elapsed() < Duration::from_secs(1 + 9), "{:?}", stopped.elapsed());
}

/// Who comes when there are no more files waits in the system, and is served when others have gone.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_server_without_files_for_more_connections_goes_on() {
    let server = Program::new(&[]).after("ulimit -n 96").serve();
    let ask = async |stream: &mut TcpStream, patience: Duration| {
        stream.write_all(b"GET /posts HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut answer = [0; 15];
        let read = tokio::time::timeout(patience, stream.read_exact(&mut answer)).await;
        // The rest of the answer, which comes with its beginning.
        let _ = tokio::time::timeout(IN_A_SECOND, stream.read(&mut [0; 1 << 13])).await;
        read.is_ok_and(|read| read.is_ok()) && answer == *b"HTTP/1.1 200 OK"
    };
    let mut first = TcpStream::connect(server.address).await.unwrap();
    assert!(ask(&mut first, 20 * IN_A_SECOND).await);
    let mut crowd = Vec::new();
    for _ in 0..200 {
        crowd.push(TcpStream::connect(server.address).await.unwrap());
    }
    tokio::time::sleep(IN_A_SECOND / 2).await;
    let worked = server.time_at_work();
    let mut late = TcpStream::connect(server.address).await.unwrap();
    assert!(!ask(&mut late, IN_A_SECOND).await, "there was a place for all");
    for _ in 0..5 {
        assert!(ask(&mut first, 20 * IN_A_SECOND).await, "who was there first goes on");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let worked = server.time_at_work().saturating_sub(worked);
    assert!(worked < IN_A_SECOND, "it does not spin: {worked:?}");
    drop(crowd);
    drop(late);
    let mut next = TcpStream::connect(server.address).await.unwrap();
    let others = async { while !ask(&mut next, IN_A_SECOND).await {} };
    tokio::time::timeout(20 * IN_A_SECOND, others).await.expect("others are served again");
    server.signal("TERM");
    let (status, log) = server.wait();
    assert_eq!(status, Some(0));
    assert!(!log.contains("\"level\":\"ERROR\""), "{log}");
}
