//! Excerpts of any HTML, or of what is none. An input is a content.

use posts_api::posts::excerpt::{LENGTH_MAX, excerpt};

/// An excerpt is short, plain and tidy, and of a plain text its first words.
pub fn holds(data: &[u8]) {
    let content = String::from_utf8_lossy(data);
    let found = excerpt(&content);
    assert!(found.chars().count() <= LENGTH_MAX);
    assert!(!found.contains("  ") && found.trim() == found, "{found:?}");
    assert!(found.chars().all(|c| c == ' ' || !c.is_whitespace()), "{found:?}");
    if !content.contains('\0') {
        assert!(!found.contains('\0'), "{found:?}");
    }
    // As HTML that says the same, it is its own excerpt.
    assert_eq!(excerpt(&found.replace('&', "&amp;").replace('<', "&lt;")), found);
    if !content.contains(['<', '&', '\0']) {
        assert_is_begin(&found, &content.split_whitespace().collect::<Vec<_>>().join(" "));
    }
}

fn assert_is_begin(found: &str, words: &str) {
    match found.strip_suffix('…').filter(|_| found != words) {
        None => assert_eq!(found, words),
        Some(first) => {
            let rest = words.strip_prefix(first);
            // Whole words, but where there is one that fills it alone, or that was not read to its end.
            assert!(
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(' ') || !first.contains(' ')),
                "{found:?}"
            );
        }
    }
}
