//! The program from its start to its end: settings, what it prints, signals, a database that comes late.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Output;

use posts_api::db::{DatabaseUrl, migrations};
use rstest::rstest;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::harness::{
    Connection, Database, PASSWORD, Postgres, Program, Running, SIGNING_KEY, Sqlite, TestDatabase, User, eventually,
    start,
};

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

#[tokio::test]
async fn the_program_alone_serves_on_a_file_of_its_own() {
    let mut server = Program::new(&[]).serve();
    let file = server.folder.path().canonicalize().unwrap().join("data/posts.db");
    assert!(server.greeting.contains(&format!("data   SQLite, {}", file.display())), "{}", server.greeting);
    for page in ["/docs", "/admin"] {
        assert!(server.greeting.contains(&format!("  {}\n", server.url(page))), "{}", server.greeting);
    }
    let tried = server.greeting.lines().last().unwrap().strip_prefix("  try    curl ").unwrap().to_owned();
    assert_eq!(tried, server.url("/posts"));
    assert_eq!(server.get("/posts").await.status, 200);
    let token = server.set_up().await;
    let created = server.request("POST", "/posts").bearing(&token).json(&json!({"title": "Hello"})).await;
    assert_eq!((created.status, &created.json()["owner_id"]), (201, &json!(1)));
    assert!(file.exists());
}

/// A private key of another kind: ECDSA on P-256, in PKCS #8.
const ANOTHER_KEY: &str = "-----BEGIN PRIVATE KEY-----\n\
    MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgHlJKQz4VIoUB0lug\n\
    I1RxgsbQdgmeGvKoln7Wq5RSl/uhRANCAARd9q2qcHdGeIqXAyQ3lHE366z9k2o/\n\
    hbYiyoK+7brLrfwYcMJuPXGHljJjLjqRm7KNC+cKHX0+n9VjqjCMS+KS\n\
    -----END PRIVATE KEY-----\n";

#[test]
fn a_setting_that_is_wrong_ends_the_program_with_status_2_and_one_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let no_pem = file("no-pem", "s3cr3t");
    let public_key = file("public-key", &SIGNING_KEY.replace("PRIVATE", "PUBLIC"));
    let another_key = file("another-key", ANOTHER_KEY);
    let good_key = file("good-key", SIGNING_KEY);
    let two_keys = format!("{good_key},{no_pem}");
    let make_one = format!("`posts key generate > {no_pem}`");
    let wrong: [(&[&str], &str); 30] = [
        (&["--bind", "nowhere"], "write an address and a port"),
        (&["--workers", "0"], "1..=512"),
        (&["--workers", "many"], "invalid value 'many' for '--workers"),
        (&["--database-url", "mysql://h/d"], "scheme is not known"),
        (&["--database-url", "host=127.0.0.1 port=1 dbname=x"], "has no scheme"),
        (&["--database-url", "sqlite:no/such/folder/posts.db"], "make it first"),
        (&["--database-url", "postgres://h/d"], "posts key generate"),
        (&["--database-password-file", "none"], "cannot be read"),
        (&["--data-dir", "/dev/null/data"], "choose another with --data-dir"),
        (&["--pool-size", "0"], "1..=1000"),
        (&["--replica-url", "postgres://u:s3cr3t@standby/d"], "replicas are PostgreSQL's"),
        (
            &["--replica-url", "mysql://u:s3cr3t@h/d"],
            "a replica's URL is wrong: the database URL's scheme is not known",
        ),
        (
            &["--database-url", "postgres://h/d", "--replica-url", "sqlite:s3cr3t.db"],
            "name a standby of --database-url",
        ),
        (&["--migrate", "maybe"], "possible values: on, off"),
        (&["--signing-key", "none"], "cannot be read"),
        (&["--signing-key", "none"], "`posts key generate > none`"),
        (&["--signing-key", &no_pem], "is no PEM file"),
        (&["--signing-key", &public_key], "holds no private key"),
        (&["--signing-key", &another_key], "holds no Ed25519 key"),
        (&["--signing-key", &two_keys], &make_one),
        (&["--issuer", ""], "--issuer"),
        (&["--audience", ""], "--audience"),
        (&["--public-url", "blog.example"], "write the whole address"),
        (&["--public-url", "https://blog.example:99999"], "write the whole address"),
        (&["--public-url", "https://blog.example/a;b"], "write the whole address"),
        (&["--cors-origin", "https://app.example/path"], "without a path"),
        (&["--trusted-proxy", "10.0.0.0/99"], "write an address or a network"),
        (&["--request-timeout", "soon"], "write a number of seconds"),
        (&["--log-format", "xml"], "possible values: text, json"),
        (&["--no-such-flag"], "--no-such-flag"),
    ];
    for (arguments, expected) in wrong {
        let output = Program::new(arguments).output();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(expected), "{arguments:?}: {}", stderr(&output));
        assert_eq!(stderr(&output).trim_end().lines().count(), 1, "{arguments:?}: {}", stderr(&output));
        assert!(!stderr(&output).contains("s3cr3t"), "{arguments:?}: {}", stderr(&output));
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
    let with_password = Program::new(&["--database-url", "mysql://u:s3cr3t@h/d"]).output();
    assert!(!stderr(&with_password).contains("s3cr3t"), "{}", stderr(&with_password));
    let variable = Program::new(&[]).env("POSTS_BODY_LIMIT", "much").output();
    assert_eq!(variable.status.code(), Some(2), "{}", stderr(&variable));
}

#[cfg(not(feature = "tls"))]
#[test]
fn a_url_that_asks_for_tls_is_refused_with_the_features_name() {
    let output = Program::new(&["--database-url", "postgres://h/d?sslmode=require"]).output();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("--features tls"), "{}", stderr(&output));
}

#[test]
fn a_flag_wins_over_a_variable() {
    let server = Program::new(&["serve", "--data-dir", "flagged"]).env("POSTS_DATA_DIR", "variable").serve();
    assert!(server.folder.path().join("flagged/posts.db").exists());
    assert!(!server.folder.path().join("variable").exists());
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn requests_are_served_by_as_many_workers_as_are_asked_for() {
    for count in [1, 3] {
        let server = Program::new(&["--workers", &count.to_string()]).serve();
        let workers = || server.threads().iter().filter(|name| name.starts_with("actix-rt|")).count();
        eventually("they are as many", || async { workers() == count }).await;
        assert_eq!(server.get("/posts").await.status, 200);
    }
}

#[test]
fn an_address_that_is_taken_ends_the_program_with_status_1() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let output = Program::new(&["--bind", &taken.local_addr().unwrap().to_string()]).output();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("choose another address with --bind"), "{}", stderr(&output));
}

#[test]
fn the_document_is_printed_as_it_is_committed() {
    let program = Program::new(&["openapi"]);
    let folder = program.folder().to_owned();
    let printed = program.output();
    assert_eq!(printed.status.code(), Some(0));
    let committed = include_str!("../../openapi/openapi.json");
    let mend = "run `cargo run -- openapi > openapi/openapi.json`";
    assert!(std::str::from_utf8(&printed.stdout).unwrap() == committed, "{mend}");
    assert!(!folder.exists() || std::fs::read_dir(folder).unwrap().next().is_none(), "it made something");
}

#[tokio::test]
async fn a_signal_lets_what_is_in_flight_finish_and_ends_with_status_0() {
    for signal in ["TERM", "INT"] {
        let mut server = Program::new(&["--drain-delay", "1"]).serve();
        let token = server.set_up().await;
        let body = json!({"title": "In flight"}).to_string();
        let (first, rest) = body.split_at(5);
        let mut request = Connection::open(server.address).await;
        let head = format!(
            "POST /posts HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{first}",
            body.len()
        );
        request.send(head).await;

        let ready = || async { server.get("/health/ready").await.status };
        assert_eq!(ready().await, 200);
        server.signal(signal);
        eventually("readiness is off", || async { ready().await == 503 }).await;

        request.send(rest).await;
        assert_eq!(request.answer("POST", "/posts").await.status, 201);
        request.closes().await;
        let (status, log) = server.wait();
        assert_eq!(status, Some(0), "{log}");
    }
}

/// Then the file is all there is, and can be copied.
#[tokio::test]
async fn a_server_that_has_stopped_leaves_one_file() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let names = || {
        let files = std::fs::read_dir(folder.path()).unwrap();
        let mut names: Vec<_> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    for run in 1..=3 {
        let mut server = Program::new(&["--data-dir", data, "--drain-delay", "0.2"]).serve();
        if run == 1 {
            let token = server.set_up().await;
            let created = server.request("POST", "/posts").bearing(&token).json(&json!({"title": "Hello"})).await;
            assert_eq!(created.status, 201);
        }
        // Lanes that read, and what reads past them.
        for path in ["/posts/1", "/posts", "/posts?q=hello", "/health/ready"] {
            assert_eq!(server.get(path).await.status, 200, "{path}");
        }
        assert_eq!(names(), ["posts.db", "posts.db-shm", "posts.db-wal", "signing-key.pem"]);
        server.signal("TERM");
        let (status, log) = server.wait();
        assert_eq!(status, Some(0), "{log}");
        assert_eq!(names(), ["posts.db", "signing-key.pem"], "{log}");
    }
}

/// To a server that listens on IPv6 it has another address, `::ffff:127.0.0.1`.
#[tokio::test]
async fn a_proxy_that_comes_by_ipv4_is_known_to_a_server_on_both() {
    if std::net::TcpListener::bind("[::]:0").is_err() {
        return;
    }
    let server = Program::new(&["--trusted-proxy", "127.0.0.1", "--log-format", "json"]).serve_on("[::]:0");
    let mut proxy = Connection::open(([127, 0, 0, 1], server.address.port()).into()).await;
    for forwarded in ["", "X-Forwarded-For: 198.51.100.7\r\n", "X-Forwarded-For: ::ffff:198.51.100.8\r\n"] {
        proxy.send(format!("GET /posts HTTP/1.1\r\nHost: posts\r\n{forwarded}\r\n")).await;
        assert_eq!(proxy.answer("GET", "/posts").await.status, 200);
    }
    drop(proxy);
    server.signal("TERM");
    let (_, log) = server.wait();
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let clients: Vec<_> =
        lines.filter(|line| line["message"] == "request").map(|line| line["client"].clone()).collect();
    assert_eq!(clients, ["127.0.0.1", "198.51.100.7", "198.51.100.8"]);
}

#[tokio::test]
async fn a_head_that_does_not_arrive_is_not_waited_for() {
    let server = Program::new(&["--head-timeout", "0.3"]).serve();
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"GET /posts HTTP/1.1\r\nHost:").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
}

#[tokio::test]
async fn the_server_starts_before_postgresql_and_serves_when_it_comes() {
    let Some(database) = TestDatabase::create(Postgres) else { return };
    database.drop_it();
    let mut server = Program::on(&database, &[]).serve();
    let status = async |path: &str| server.get(path).await.status;
    assert_eq!(status("/health/live").await, 200);
    assert_eq!(status("/health/ready").await, 503);
    assert_eq!(status("/posts").await, 503);
    database.create_it_empty();
    eventually("it is ready", || async { status("/health/ready").await == 200 }).await;
    assert_eq!(status("/posts").await, 200);
    // Whether there is a user shows only now.
    let token = server.set_up().await;
    let me = server.get("/auth/me").bearing(&token).await;
    assert_eq!((me.status, &me.json()["role"]), (200, &json!("admin")));
}

#[tokio::test]
async fn a_server_whose_postgresql_is_not_there_says_no_secret() {
    let url = "postgres://posts:s3cr3t@127.0.0.1:1/posts";
    let server = Program::new(&["--log", "trace"]).with_signing_key().env("DATABASE_URL", url).serve();
    let answer = server.get("/posts").await;
    assert_eq!(answer.status, 503);
    assert!(!answer.text().contains("s3cr3t"));
    assert!(!server.greeting.contains("s3cr3t"), "{}", server.greeting);
    server.signal("TERM");
    let (status, log) = server.wait();
    assert_eq!(status, Some(0));
    assert!(log.contains("cannot be reached"), "{log}");
    assert!(!log.contains("s3cr3t"), "{log}");
}

#[rstest]
#[test]
fn an_old_schema_is_refused_where_migrations_are_off(#[values(Sqlite, Postgres)] database: Database) {
    let Some(database) = TestDatabase::create(database) else { return };
    database.undo_migrations();
    let url = database.address();
    let status = |expected: &str| {
        let output = Program::new(&["migrate", "--status", "--database-url", url]).output();
        let printed = String::from_utf8(output.stdout).unwrap();
        assert!(printed.lines().count() >= 1 && printed.lines().all(|line| line.starts_with(expected)), "{printed}");
    };

    status("missing");
    let refused = Program::on(&database, &["--migrate", "off"]).output();
    assert_eq!(refused.status.code(), Some(1));
    assert!(stderr(&refused).contains("run `posts migrate`"), "{}", stderr(&refused));
    let migrated = Program::new(&["migrate", "--database-url", url]).output();
    assert_eq!(migrated.status.code(), Some(0), "{}", stderr(&migrated));
    status("applied");
    Program::on(&database, &["--migrate", "off"]).serve();
}

#[rstest]
#[test]
fn of_eight_servers_that_start_at_once_one_migrates(#[values(Sqlite, Postgres)] database: Database) {
    let Some(database) = TestDatabase::create(database) else { return };
    database.undo_migrations();
    let url = DatabaseUrl::parse(database.address()).unwrap();
    let applied: Vec<_> = std::thread::scope(|scope| {
        let servers: Vec<_> = (0..8).map(|_| scope.spawn(|| migrations::run(&url).unwrap().len())).collect();
        servers.into_iter().map(|server| server.join().unwrap()).collect()
    });
    let steps = migrations::status(&url).unwrap().len();
    assert_eq!(applied.iter().sum::<usize>(), steps, "{applied:?}");
}

#[tokio::test]
async fn a_health_check_is_answered_by_the_exit_status() {
    let server = Program::new(&[]).serve();
    let ask = |address: &str| Program::new(&["health", "--bind", address]).output();
    let address = server.address.to_string();
    assert_eq!(ask(&address).status.code(), Some(0));
    drop(server);
    let nobody = ask(&address);
    assert_eq!(nobody.status.code(), Some(1));
    assert!(stderr(&nobody).contains("no answer"), "{}", stderr(&nobody));
}

#[tokio::test]
async fn each_request_is_one_line_in_the_log_and_shows_no_secret() {
    let mut server = Program::new(&["--log-format", "json"]).serve();
    let setup_token = server.setup_token();
    let post = |path: &str, body: &Value| server.request("POST", path).json(body);
    let admin = json!({"setup_token": setup_token, "email": "ada@example.org", "password": PASSWORD});
    let signed_in = post("/auth/setup", &admin).await.json();
    let [token, refresh_token] = ["access_token", "refresh_token"].map(|name| signed_in[name].as_str().unwrap());
    let get = |path: &str| server.get(path);
    let my_id = get("/posts/7?colour=s3cr3t").bearing(token).header("X-Request-Id", "my-id").await;
    assert_eq!(my_id.status, 400);
    assert_eq!(get("/posts/7?token=s3cr3t").await.status, 401);
    assert_eq!(get("/posts/7").bearing("s3cr3t").await.status, 401);
    assert_eq!(post("/auth/login", &json!({"email": "ada@example.org", "password": "s3cr3t"})).await.status, 401);
    let key = json!({"name": "nightly import", "role": "reader"});
    let key = post("/api-keys", &key).bearing(token).await.json()["key"].as_str().unwrap().to_owned();
    assert_eq!(get("/auth/me").bearing(&key).await.status, 200);
    assert_eq!(post("/auth/refresh", &json!({"refresh_token": refresh_token})).await.status, 200);
    let secrets = ["s3cr3t", PASSWORD, &setup_token, token, refresh_token, &key];

    server.signal("TERM");
    let (_, log) = server.wait();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.iter().filter(|line| line["message"] == "request").count(), 8, "{log}");
    let mine = |line: &&Value| line["message"] == "request" && line["id"] == "my-id";
    let [line] = lines.iter().filter(mine).collect::<Vec<_>>()[..] else { panic!("not one line: {log}") };
    assert_eq!(line["client"], "127.0.0.1");
    assert_eq!(line["method"], "GET");
    assert_eq!(line["route"], "/posts/{id}");
    assert_eq!(line["status"], 400);
    assert!(line["duration_ms"].is_number(), "{line}");
    for secret in secrets {
        assert!(!log.contains(secret), "{secret}: {log}");
    }
}

#[tokio::test]
async fn logs_are_text_where_that_is_asked_for() {
    let server = Program::new(&["--log-format", "text"]).serve();
    server.get("/nowhere").await;
    server.signal("TERM");
    let (_, log) = server.wait();
    let line = log.lines().find(|line| line.contains(" request ")).unwrap_or_else(|| panic!("{log}"));
    assert!(line.contains("INFO") && line.contains("method=GET") && line.contains("status=404"), "{line}");
}

/// A database with a password that is in a file: the server reads it there.
#[tokio::test]
async fn the_password_may_come_from_a_file() {
    let Some(database) = TestDatabase::create(Postgres) else { return };
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "not asked for").unwrap();
    let path = file.path().to_str().unwrap();
    let server = Program::on(&database, &["--database-password-file", path]).serve();
    assert_eq!(server.get("/health/ready").await.status, 200);
}

#[rstest]
#[tokio::test]
async fn a_stopped_server_closes_its_address(#[values(Sqlite, Postgres)] database: Database) {
    let mut api = start!(database);
    api.create(json!({"title": "Last words"})).await;
    api.stop();
    assert!(TcpStream::connect(api.address).await.is_err());
}

// Who signs in, and how the first of them does.

/// Whose access token this is, as the server sees it.
async fn status_of_me(server: &Running, token: &str) -> u16 {
    server.get("/auth/me").bearing(token).await.status
}

#[tokio::test]
async fn the_signing_key_is_made_once_for_nobody_else_to_read() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let serve = || Program::new(&["--data-dir", data.to_str().unwrap()]).serve();
    let mut first = serve();
    let token = first.set_up().await;
    assert_eq!(status_of_me(&first, &token).await, 200);
    let file = data.join("signing-key.pem");
    let made = std::fs::read_to_string(&file).unwrap();
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::metadata(&data).unwrap().permissions().mode() & 0o777, 0o700);
    for file in ["posts.db", "posts.db-wal", "posts.db-shm"] {
        let permissions = std::fs::metadata(data.join(file)).unwrap().permissions();
        assert_eq!(permissions.mode() & 0o777, 0o600, "{file} holds the hashes of passwords");
    }
    let names = |folder: &Path| {
        let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| !name.starts_with("posts.db")).collect::<Vec<_>>()
    };
    assert_eq!(names(&data), ["signing-key.pem"], "nothing is left of its making");
    drop(first);

    let second = serve();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), made);
    assert_eq!(status_of_me(&second, &token).await, 200, "a token of before the restart");
    drop(second);

    std::fs::remove_file(&file).unwrap();
    let third = serve();
    assert_ne!(std::fs::read_to_string(&file).unwrap(), made);
    assert_eq!(status_of_me(&third, &token).await, 401, "what another key signed");
}

#[tokio::test]
async fn a_key_that_the_program_prints_can_be_used() {
    let folder = tempfile::tempdir().unwrap();
    let files = ["old", "new"].map(|name| {
        let printed = Program::new(&["key", "generate"]).output();
        assert_eq!(printed.status.code(), Some(0), "{}", stderr(&printed));
        assert!(printed.stderr.is_empty(), "{}", stderr(&printed));
        let file = folder.path().join(name);
        std::fs::write(&file, printed.stdout).unwrap();
        file.to_str().unwrap().to_owned()
    });
    let [old, new] = &files;
    let data = folder.path().join("data");
    let serve = |keys: &[&String]| {
        let keys = keys.iter().flat_map(|key| ["--signing-key", key.as_str()]);
        let arguments: Vec<_> = ["--data-dir", data.to_str().unwrap()].into_iter().chain(keys).collect();
        Program::new(&arguments).serve()
    };
    let mut server = serve(&[old]);
    let token = server.set_up().await;
    assert_eq!(status_of_me(&server, &token).await, 200);
    assert!(!data.join("signing-key.pem").exists(), "where one is named, none is made");
    drop(server);
    // While keys are exchanged, what the old one signed counts as long as the old one is named.
    assert_eq!(status_of_me(&serve(&[new, old]), &token).await, 200);
    assert_eq!(status_of_me(&serve(&[new]), &token).await, 401);
}

#[rstest]
#[tokio::test]
async fn a_setup_token_is_printed_at_each_start_until_there_is_a_user(#[values(Sqlite, Postgres)] database: Database) {
    let Some(database) = TestDatabase::create(database) else { return };
    let first = Program::on(&database, &[]).serve().setup_token();
    let mut server = Program::on(&database, &[]).serve();
    let second = server.setup_token();
    assert_ne!(first, second);
    server.signal("TERM");
    assert_eq!(server.printed_since(), "");

    // Whatever the user may do: who comes first must not be able to make an admin beside it.
    User::create(&database, "reader");
    let mut server = Program::on(&database, &[]).serve();
    for setup_token in [&first, &second] {
        let body = json!({"setup_token": setup_token, "email": "eve@example.org", "password": PASSWORD});
        assert_eq!(server.request("POST", "/auth/setup").json(&body).await.status, 403);
    }
    server.signal("TERM");
    assert_eq!(server.printed_since(), "");
}

#[rstest]
#[tokio::test]
async fn a_server_that_others_can_reach_warns_while_there_is_no_admin(#[values(Sqlite, Postgres)] database: Database) {
    let Some(database) = TestDatabase::create(database) else { return };
    let log_of_a_start = async |address: &str| {
        let mut server = Program::on(&database, &[]).serve_on(address);
        assert_eq!(server.get("/posts").await.status, 200);
        server.signal("TERM");
        server.printed_since();
        server.wait().1
    };
    let warning = "there is no admin";
    for _ in 0..2 {
        assert!(log_of_a_start("0.0.0.0:0").await.contains(warning));
    }
    assert!(!log_of_a_start("127.0.0.1:0").await.contains(warning));
    User::create(&database, "editor");
    assert!(log_of_a_start("0.0.0.0:0").await.contains(warning));
    let admin = User::create(&database, "admin");
    assert!(!log_of_a_start("0.0.0.0:0").await.contains(warning));
    database.execute(&format!("UPDATE users SET disabled = true WHERE id = {}", admin.id)).unwrap();
    assert!(log_of_a_start("0.0.0.0:0").await.contains(warning));
}
