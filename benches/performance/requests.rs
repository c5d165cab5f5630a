//! Requests as they go over the wire.

use crate::program::Program;

/// How many requests differ; then they come again.
const DIFFERENT: usize = 20_000;

/// A request without a body.
pub(crate) fn get(path: &str, headers: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: bench\r\n{headers}\r\n")
}

/// The same with a body of JSON.
pub(crate) fn post(path: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
    )
}

/// Numbers from 1 to `max` in an order that is always the same and looks like none.
fn ids(max: usize) -> impl Iterator<Item = usize> {
    (0..DIFFERENT).scan(0x2545_f491_4f6c_dd1d_u64, move |state, _| {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        Some(usize::try_from(*state % u64::try_from(max).unwrap()).unwrap() + 1)
    })
}

pub(crate) fn gets(posts: usize, headers: &str) -> Vec<String> {
    ids(posts).map(|id| get(&format!("/posts/{id}"), headers)).collect()
}

pub(crate) fn authorization(program: &Program) -> String {
    format!("Authorization: Bearer {}\r\n", program.sign_in())
}

pub(crate) fn new_post() -> (String, String, String) {
    let content = (0..50).map(|word| format!("syllable{}", word * 61 % 997)).collect::<Vec<_>>().join(" ");
    ("A title of some words and number 0".to_owned(), "Author 7".to_owned(), content)
}

pub(crate) fn posts(program: &Program) -> Vec<String> {
    let (title, author, content) = new_post();
    let body = serde_json::json!({"title": title, "author": author, "content": content}).to_string();
    vec![post("/posts", &authorization(program), &body)]
}
