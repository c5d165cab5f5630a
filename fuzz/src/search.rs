//! Searches. An input is a query, and a text to look in.

use posts_api::search::{Highlights, LENGTH_MAX, Query, Rank, Term, fold, words};

use super::lines;

/// Of a word that is not all there is kept so much, in code points.
const WORD_MAX: usize = 255;

/// The most code points of a fragment, with the signs at its ends.
const FRAGMENT_MAX: usize = 302;

/// A query is read or refused, and read again as it was read; what is highlighted is what it asks for.
pub fn holds(data: &[u8]) {
    let Some([query, text]) = lines(data) else { return };
    assert_words(text);
    assert_words(query);
    let Ok(query) = Query::parse(query) else { return };
    assert_reads_again(&query);
    assert_highlights(&query, text);
}

/// Words stand one after the other on the borders of characters, and fold to what folds to itself.
fn assert_words(text: &str) {
    let mut end = 0;
    let mut all = Vec::new();
    for word in words(text) {
        assert!(end <= word.range.start && word.range.start < word.range.end);
        let found = text.get(word.range.clone()).unwrap();
        assert_eq!(fold(found), *word.folded);
        assert!((1..=WORD_MAX).contains(&word.folded.chars().count()));
        assert!(!word.folded.contains(' '));
        end = word.range.end;
        all.push(word.folded);
    }
    let folded = fold(text);
    assert_eq!(all.join(" "), folded);
    assert_eq!(fold(&folded), folded);
}

/// A query that is written as it was read is read as the same.
fn assert_reads_again(query: &Query) {
    assert!(!query.found().is_empty());
    let written = |sign: &str, term: &Term| {
        assert_eq!(fold(term.as_str()), term.as_str());
        if term.is_phrase() { format!("{sign}\"{}\"", term.as_str()) } else { format!("{sign}{}", term.as_str()) }
    };
    let found = query.found().iter().map(|term| written("", term));
    let excluded = query.excluded().iter().map(|term| written("-", term));
    let text = found.chain(excluded).collect::<Vec<_>>().join(" ");
    // Folding makes some letters two.
    if text.chars().count() <= LENGTH_MAX {
        assert_eq!(Query::parse(&text).as_ref(), Ok(query), "{text:?}");
    }
}

fn assert_highlights(query: &Query, text: &str) {
    let found = Highlights::of(query, text, Some(text), Some(text));
    let folded = format!(" {} ", fold(text));
    let is_there = |term: &Term| folded.contains(&format!(" {} ", term.as_str()));
    let hits = query.found().iter().filter(|term| is_there(term)).count();
    let rank = match hits {
        0 => Rank::NoneInTitle,
        hits if hits == query.found().len() => Rank::AllInTitle,
        _ => Rank::SomeInTitle,
    };
    assert_eq!(query.rank(text), rank);
    assert_eq!((found.title.is_some(), found.content.is_some()), (hits > 0, hits > 0));
    assert_eq!(found.title, found.author);
    if let (Some(whole), Some(fragment)) = (found.title, found.content) {
        assert_eq!(shown(&whole), text);
        for mark in marks(&whole) {
            let mark = shown(mark);
            let (first, last) = (words(&mark).next().unwrap(), words(&mark).last().unwrap());
            assert_eq!(first.range.start..last.range.end, 0..mark.len(), "{mark:?} is not of whole words");
            let mark = format!(" {} ", fold(&mark));
            assert!(query.found().iter().any(|term| mark.contains(&format!(" {} ", term.as_str()))), "{mark:?}");
        }
        let part = shown(&fragment);
        assert!(part.chars().count() <= FRAGMENT_MAX);
        let inner = part.strip_prefix('…').unwrap_or(&part);
        let inner = inner.strip_suffix('…').unwrap_or(inner);
        assert!(text.contains(&part) || text.contains(inner), "{part:?}");
        assert!(marks(&fragment).next().is_some());
    }
}

/// The text that a browser shows. There is no tag in it but the marks, and each is closed.
fn shown(html: &str) -> String {
    let text = html.replace("<mark>", "").replace("</mark>", "");
    assert!(!text.contains(['<', '>', '"', '\'']), "{html:?}");
    assert_eq!(html.matches("<mark>").count(), html.matches("</mark>").count());
    let text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&#39;", "'");
    text.replace("&amp;", "&")
}

fn marks(html: &str) -> impl Iterator<Item = &str> {
    html.split("<mark>").skip(1).map(|rest| {
        let (mark, _) = rest.split_once("</mark>").expect("each mark is closed before the next");
        assert!(!mark.is_empty());
        mark
    })
}
