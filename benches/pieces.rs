//! What the pieces of a request cost, each alone and without a database.
//!
//! 1. In time, and against the run before: `cargo bench --bench pieces`.
//! 2. In instructions, which valgrind counts and which hardly differ between runs:
//!    `cargo bench --bench pieces -- --instructions`.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "where a bench cannot go on, it fails; its figures are printed"
)]

use std::env;
use std::hint::black_box;
use std::io::ErrorKind;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::http::header;
use actix_web::test::TestRequest;
use actix_web::{FromRequest as _, HttpRequest, HttpResponse};
use criterion::Criterion;
use posts_api::db::Timestamp;
use posts_api::http::conditional::ReadConditions;
use posts_api::http::cursor::CursorKeys;
use posts_api::http::json::parse;
use posts_api::http::page::RenderedPage;
use posts_api::http::patch::Patch;
use posts_api::http::prefer::Prefer;
use posts_api::http::query::Parameters;
use posts_api::posts::{NewPost, Post, PostList};
use posts_api::search;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// Something to be run again and again. All that it needs is ready.
type Piece = Box<dyn Fn()>;

/// Makes a piece ready.
type Prepare = fn() -> Piece;

const PIECES: [(&str, Prepare); 12] = [
    ("post-json", post_json),
    ("post-answer", post_answer),
    ("page-answer", page_answer),
    ("not-modified", not_modified),
    ("list-query", list_query),
    ("cursor-seal", cursor_seal),
    ("cursor-open", cursor_open),
    ("new-post", new_post),
    ("merge-patch", merge_patch),
    ("json-patch", json_patch),
    ("fold-ascii", fold_ascii),
    ("fold-unicode", fold_unicode),
];

/// Before one is counted: what is made once in a process is made by then.
const WARM_UP: usize = 10;

const ASCII: &str = "<p>Once a <em>week</em>, the keeper of the lighthouse wrote down what the sea had brought: \
                     \"two oars, a bottle, and 31 planks\".</p>\n";

const UNICODE: &str =
    "Żółte łódki płyną, 三隻の船が来る。Οι βάρκες γυρίζουν — три лодки, và một chiếc thuyền nhỏ; où sont-elles? ";

/// What the list of the newest posts binds its cursors to, as `PostList` says it.
const LIST: &str = concat!(
    r#"["posts",{"By":{"key":"CreatedOn","descending":true}},{"author":null,"published":null,"#,
    r#""created_on":{"gte":null,"gt":null,"lte":null,"lt":null},"#,
    r#""updated_on":{"gte":null,"gt":null,"lte":null,"lt":null},"q":null}]"#,
);

fn main() -> ExitCode {
    // Cargo adds `--bench` to what it was given.
    let arguments: Vec<String> = env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["--instructions"] => return count_instructions(),
        ["--once", name] => run_once(name),
        _ => measure_time(),
    }
    ExitCode::SUCCESS
}

fn measure_time() {
    let criterion = Criterion::default().warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(2));
    let mut criterion = criterion.configure_from_args();
    for (name, prepare) in PIECES {
        let piece = prepare();
        criterion.bench_function(name, |bencher| bencher.iter(&piece));
    }
    criterion.final_summary();
}

/// Runs each piece once in a process of its own, under callgrind. Its profile stays in the folder for temporary files.
fn count_instructions() -> ExitCode {
    for (name, _) in PIECES {
        let profile = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.callgrind"));
        let run = Command::new("valgrind")
            .args(["--tool=callgrind", "--toggle-collect=pieces::counted*"])
            .arg(format!("--callgrind-out-file={}", profile.display()))
            .arg(env::current_exe().unwrap())
            .args(["--once", name])
            .output();
        let output = match run {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                eprintln!("There is no valgrind, which counts the instructions. On Debian: apt-get install valgrind");
                return ExitCode::FAILURE;
            }
            run => run.unwrap(),
        };
        let report = String::from_utf8_lossy(&output.stderr);
        let collected = report.lines().find_map(|line| line.split_once("Collected : ")?.1.trim().parse::<u64>().ok());
        let count = collected.filter(|count| output.status.success() && *count > 0);
        println!("{name}: {} instructions", count.unwrap_or_else(|| panic!("{name} was not counted:\n{report}")));
    }
    ExitCode::SUCCESS
}

fn run_once(name: &str) {
    let (_, prepare) = PIECES.iter().find(|(known, _)| *known == name).expect("a piece's name");
    let piece = prepare();
    for _ in 0..WARM_UP {
        piece();
    }
    counted(&piece);
}

/// What callgrind counts, by its name.
#[inline(never)]
fn counted(piece: &Piece) {
    piece();
    // So that it is still in this function afterwards, and did not end in a jump.
    black_box(piece);
}

fn piece<T>(run: impl Fn() -> T + 'static) -> Piece {
    Box::new(move || {
        black_box(run());
    })
}

/// Serialising a post.
fn post_json() -> Piece {
    let post = post(7);
    piece(move || serde_json::to_vec(black_box(&post)).unwrap())
}

/// A post with its `ETag` and `Last-Modified`, as PUT and PATCH answer; GET has the same fields in a type of its own.
fn post_answer() -> Piece {
    let post = post(7);
    piece(move || black_box(&post).validators().set_on(&mut HttpResponse::Ok()).json(&post))
}

/// A page of 20 posts, with its `ETag` and its links.
fn page_answer() -> Piece {
    #[derive(Serialize)]
    struct Page {
        items: Vec<Post>,
        next_cursor: Option<String>,
    }
    let next_cursor = Some(cursor_keys().seal(LIST, &position()).unwrap());
    let page = Page { items: (0..20).map(post).collect(), next_cursor };
    let request = TestRequest::get().uri("/posts?sort=-created_on&limit=20").to_http_request();
    let conditions = read_conditions(&request);
    piece(move || {
        let page = black_box(&page);
        let rendered = RenderedPage::of(page, page.next_cursor.clone()).unwrap();
        rendered.answer(&request, &conditions, Prefer { count: false }).unwrap()
    })
}

/// Reading a request's conditions, and answering that nothing changed.
fn not_modified() -> Piece {
    let post = post(7);
    let request = TestRequest::get()
        .uri("/posts/7")
        .insert_header((header::ACCEPT_ENCODING, "gzip, deflate, br, zstd"))
        .insert_header((header::IF_NONE_MATCH, "\"7.3;gzip\""))
        .insert_header((header::IF_MODIFIED_SINCE, "Sun, 22 Nov 2026 09:30:00 GMT"))
        .to_http_request();
    piece(move || read_conditions(black_box(&request)).not_modified(&post.validators()).unwrap().unwrap().finish())
}

/// Reading a query with search words, an order, a filter, a choice of fields and a limit.
fn list_query() -> Piece {
    let query = "q=rust+%22web+service%22+-java&sort=-updated_on&published=true&created_on[gte]=2026-11-01T00:00:00Z\
                 &fields=title,excerpt,published&limit=50";
    let request = TestRequest::get().uri(&format!("/posts?{query}")).to_http_request();
    piece(move || PostList::read(Parameters::of(black_box(&request))).unwrap())
}

fn cursor_seal() -> Piece {
    let (keys, position) = (cursor_keys(), position());
    piece(move || keys.seal(LIST, black_box(&position)).unwrap())
}

fn cursor_open() -> Piece {
    let keys = cursor_keys();
    let cursor = keys.seal(LIST, &position()).unwrap();
    piece(move || keys.open::<Position>(LIST, black_box(&cursor)).unwrap())
}

/// Reading the body of a POST.
fn new_post() -> Piece {
    let body = json!({"title": "Hello, world", "author": "Ada", "content": text(ASCII, 1000), "published": true});
    let body = body.to_string();
    piece(move || NewPost::read(parse(black_box(body.as_bytes())).unwrap()).unwrap())
}

/// Changing a post by a merge patch that is read already.
fn merge_patch() -> Piece {
    let patch = Patch::Merge(json!({"title": "Hello again", "published": false}));
    let post = post(7);
    piece(move || NewPost::read_patched(black_box(&patch), &post).unwrap())
}

/// The same by a JSON Patch.
fn json_patch() -> Piece {
    let operations = json!([
        {"op": "test", "path": "/version", "value": 3},
        {"op": "replace", "path": "/title", "value": "Hello again"},
        {"op": "replace", "path": "/published", "value": false},
    ]);
    let patch = Patch::json(operations).unwrap();
    let post = post(7);
    piece(move || NewPost::read_patched(black_box(&patch), &post).unwrap())
}

/// The words of a text, as the index of posts has them.
fn fold_ascii() -> Piece {
    let text = text(ASCII, 4000);
    piece(move || search::fold(black_box(&text)))
}

/// The same of a text with accents and other letters.
fn fold_unicode() -> Piece {
    let text = text(UNICODE, 4000);
    piece(move || search::fold(black_box(&text)))
}

/// Where a page begins, in the shape in which cursors have it.
#[derive(Deserialize, Serialize)]
enum Position {
    CreatedOn(Timestamp, i64),
}

fn position() -> Position {
    Position::CreatedOn(instant(), 7)
}

fn instant() -> Timestamp {
    Timestamp::parse("2026-11-22T09:30:00.123456Z").unwrap()
}

fn post(id: i64) -> Post {
    Post {
        id,
        title: "Hello, world".to_owned(),
        author: Some("Ada".to_owned()),
        content: Some(text(ASCII, 1000)),
        published: true,
        owner_id: Some(1),
        created_on: instant(),
        updated_on: instant(),
        version: 3,
    }
}

/// So many bytes or a few less of a text, again and again.
fn text(pattern: &str, length: usize) -> String {
    pattern.repeat(length / pattern.len())
}

fn cursor_keys() -> CursorKeys {
    CursorKeys::new([[7; 32]]).unwrap()
}

fn read_conditions(request: &HttpRequest) -> ReadConditions {
    ReadConditions::from_request(request, &mut Payload::None).into_inner().unwrap()
}
