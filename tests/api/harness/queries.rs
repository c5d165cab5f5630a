//! Posts to search in, and what to search for: ordinary queries, and hostile ones.

use std::collections::BTreeSet;

use serde_json::{Value, json};

/// Posts that people wrote, where they are beside the checkout; else some that nobody did.
pub fn posts() -> Vec<Value> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data/rust-blog.ndjson");
    if let Ok(text) = std::fs::read_to_string(path) {
        return text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    }
    let words = "release async Größe café the of borrow checker 東京 привет ΟΔΟΣ 1.75 e-mail naïve it's rust crate trait \
                 stable nightly compiler cargo macro Straße façade lifetime edition déjà vu owner thread 2.0 generic panic \
                 слово Ωμέγα build test release-notes survey weekly";
    let words = words.split_whitespace();
    let words: Vec<_> = words.collect();
    let text = |seed: usize, length: usize| {
        let picked = (0..length).map(|place| words[(seed * 31 + place * place * 7 + place) % words.len()]);
        picked.collect::<Vec<_>>().join(if seed.is_multiple_of(2) { " " } else { ", " })
    };
    (0..300)
        .map(|seed| json!({"title": text(seed, 3), "author": text(seed + 1, 2), "content": text(seed + 2, 40)}))
        .collect()
}

/// A post's strings, as a search looks at them.
pub fn texts(post: &Value) -> [&str; 3] {
    ["title", "author", "content"].map(|field| post[field].as_str().unwrap_or_default())
}

/// Queries made of what the posts say: words, pairs, phrases, in other letters, with some that must not be there.
pub fn queries(posts: &[Value]) -> Vec<String> {
    let mut queries = BTreeSet::new();
    for (number, post) in posts.iter().enumerate().step_by(posts.len() / 45 + 1) {
        let text = texts(post)[if number % 3 == 0 { 0 } else { 2 }];
        let words: Vec<_> = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
        let word = |place: usize| words.get(place % words.len().max(1)).copied().unwrap_or("rust");
        let (one, two, three) = (word(number), word(number + 1), word(number * 5 + 3));
        queries.extend([
            one.to_uppercase(),
            format!("{two} {three}"),
            format!("\"{one} {two}\""),
            format!("{one} -{three}"),
            format!("\"{one}, {two}\" -\"{two} {three}\" the"),
        ]);
    }
    queries.extend(
        ["the", "rust", "a the of", "rust -the", "\"the rust\"", "naive cafe", "1 0", "c++"].map(str::to_owned),
    );
    queries.into_iter().collect()
}

/// What wants to be something else than words: of each database's language of search, of SQL, of nothing.
const HOSTILE: &[&str] = &[
    "\"",
    "''",
    "-",
    "--",
    "\"\"",
    "(",
    "))",
    "*",
    "^",
    ":",
    "title:",
    "{title} :",
    "NEAR(a b, 2)",
    "AND",
    "OR",
    "NOT",
    "a OR",
    "NOT a",
    "+",
    "\\",
    "\\'",
    "%",
    "_",
    "&",
    "|",
    "!",
    "<->",
    "a:*",
    "a & !b",
    "<2>",
    ":A",
    "'; DROP TABLE posts; --",
    "' OR 1=1",
    "$1",
    "?",
    "?1",
    "@a",
    "#",
    "\t",
    "\n",
    "\r\n",
    "\u{b}",
    "\u{85}",
    "\u{2028}",
    "\u{feff}",
    "\u{202e}",
    "\u{200d}",
    "\u{301}",
    "\u{5b0}",
    "a\u{301}\u{301}\u{301}\u{301}",
    "é",
    "ß",
    "İ",
    "ﬃ",
    "ǆ",
    "ℵ",
    "٣",
    "Ⅷ",
    "½",
    "𝒜",
    "😀",
    "👩‍👩‍👧",
    "漢字",
    "한국어",
    "the",
    "a",
    "rust",
    "<script>",
    "</mark>",
    "&lt;",
    "0x1f",
    "1e999",
    "-5",
    "1.5",
    "null",
    "~",
    "`",
    "[a-z]+",
    "(a+)+$",
    "..",
    "/*",
    "*/",
];

/// Queries made of these, alone, together and in quotes; and of as much as a query may have.
pub fn hostile_queries() -> Vec<String> {
    let mut queries: Vec<String> = HOSTILE.iter().map(|&part| part.to_owned()).collect();
    let mut seed = 7_usize;
    while queries.len() < 500 {
        let mut query = String::new();
        for _ in 0..2 + seed % 9 {
            seed = (seed * 6_364_136 + 1_442_695) % 2_147_483_647;
            query.push_str(HOSTILE[seed % HOSTILE.len()]);
            query.push_str(["", " ", " -", "\"", " \""][seed / 7 % 5]);
        }
        queries.push(query);
    }
    let numbers: Vec<_> = (0..32).map(|number| number.to_string()).collect();
    queries.extend([
        "\"".repeat(500),
        "-".repeat(500),
        "a ".repeat(250),
        "(".repeat(500),
        "\u{301}".repeat(500),
        format!("a{}", "\u{301}".repeat(499)),
        "漢".repeat(500),
        "\"a\" ".repeat(120),
        numbers.join(" "),
        format!("\"{}\"", numbers.join(" ")),
        format!("the -{}", numbers[..31].join(" -")),
        "the of and to a in is that it for".to_owned(),
        "\"the the the the the the the the\"".to_owned(),
        "\"of the\" \"in the\" \"to the\" \"and the\" -\"on the\" -\"for the\"".to_owned(),
    ]);
    queries
}
