//! Where a query's terms stand in a text, for people to see.

use std::cmp::Reverse;
use std::ops::Range;

use serde::Serialize;
use utoipa::ToSchema;

use super::Query;
use super::words::{Word, words};

/// The most words of a fragment.
const FRAGMENT_WORDS: usize = 30;

/// The most words of a fragment before its first hit.
const CONTEXT_WORDS: usize = 8;

/// The most code points of a fragment: words, and what is between them, may be of any length.
const FRAGMENT_LENGTH: usize = 300;

/// The most code points of a fragment before its first hit.
const CONTEXT_LENGTH: usize = 100;

/// Where a search's terms were found. HTML: the text is escaped, and each hit is within `<mark>` and `</mark>`. A
/// field in which there is none is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[schema(example = json!({"title": "<mark>Hello</mark>, world", "content": "… then it said <mark>hello</mark> &amp; left …"}))]
pub struct Highlights {
    /// The whole title.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub title: Option<String>,
    /// The whole byline.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub author: Option<String>,
    /// The part of the text with most of the terms, at most some 30 words, with `…` where something is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub content: Option<String>,
}

impl Highlights {
    /// Looks for the terms that a query finds, in the fields of a post.
    #[must_use]
    pub fn of(query: &Query, title: &str, author: Option<&str>, content: Option<&str>) -> Self {
        let whole = |text: &str| Some(Searched::find(query, text)?.mark(0..text.len()));
        let fragment = |text: &str| {
            let searched = Searched::find(query, text)?;
            Some(searched.mark(searched.fragment()?))
        };
        Self { title: whole(title), author: author.and_then(whole), content: content.and_then(fragment) }
    }
}

/// A text in which terms were found.
struct Searched<'a> {
    text: &'a str,
    words: Vec<Word<'a>>,
    /// In the order in which they begin.
    hits: Vec<Hit>,
}

/// A term that was found.
struct Hit {
    /// Which one it is of the query's.
    term: usize,
    /// The number of its first word in the text.
    first: usize,
    /// Where it stands, in bytes.
    range: Range<usize>,
}

impl<'a> Searched<'a> {
    /// `None` where there is no hit.
    fn find(query: &Query, text: &'a str) -> Option<Self> {
        let terms: Vec<Vec<_>> = query.found().iter().map(|term| term.words().collect()).collect();
        let words: Vec<_> = words(text).collect();
        let mut hits = Vec::new();
        for first in 0..words.len() {
            for (number, term) in terms.iter().enumerate() {
                let Some(run) = words.get(first..first + term.len()) else { continue };
                if let [begin, ..] = run
                    && let [.., end] = run
                    && run.iter().map(|word| &*word.folded).eq(term.iter().copied())
                {
                    hits.push(Hit { term: number, first, range: begin.range.start..end.range.end });
                }
            }
        }
        (!hits.is_empty()).then_some(Self { text, words, hits })
    }

    /// The part of the text to show: from shortly before a hit, the first of those after which most terms follow soon.
    fn fragment(&self) -> Option<Range<usize>> {
        let terms_from = |number: usize, hit: &Hit| {
            let last = hit.first + FRAGMENT_WORDS - CONTEXT_WORDS;
            let near = self.hits.iter().skip(number).take_while(|near| near.first < last);
            near.fold(0_u64, |terms, near| terms | 1 << near.term).count_ones()
        };
        let (_, hit) = self.hits.iter().enumerate().min_by_key(|(number, hit)| Reverse(terms_from(*number, hit)))?;

        let first = hit.first.saturating_sub(CONTEXT_WORDS);
        let begin = (first == 0).then_some(0);
        let starts = self.words.iter().take(hit.first).skip(first).map(|word| word.range.start);
        let fits = |start: &usize| self.is_within(CONTEXT_LENGTH, *start..hit.range.start);
        let start = begin.into_iter().chain(starts).find(fits).unwrap_or(hit.range.start);

        let last = first + FRAGMENT_WORDS;
        let end = (last >= self.words.len()).then_some(self.text.len());
        let ends = self.words.iter().take(last).skip(hit.first).map(|word| word.range.end);
        let fits = |end: &usize| self.is_within(FRAGMENT_LENGTH, start..*end);
        let end = end.into_iter().chain(ends.rev()).find(fits);
        Some(start..end.unwrap_or_else(|| self.nth_from(start, FRAGMENT_LENGTH).unwrap_or(self.text.len())))
    }

    /// Whether a part of the text has at most so many code points.
    fn is_within(&self, length: usize, part: Range<usize>) -> bool {
        self.nth_from(part.start, length).is_none_or(|end| part.end <= end)
    }

    /// Where the code point is that is so many after another. `None` where the text ends before.
    fn nth_from(&self, start: usize, count: usize) -> Option<usize> {
        let (offset, _) = self.text.get(start..)?.char_indices().nth(count)?;
        Some(start + offset)
    }

    /// A part of the text, escaped, with its hits marked. Hits that overlap are within one mark.
    fn mark(&self, part: Range<usize>) -> String {
        let mut html = String::new();
        if part.start > 0 {
            html.push('…');
        }
        let mut done = part.start;
        let mut hits = self.hits.iter().map(|hit| hit.range.clone()).peekable();
        while let Some(mut mark) = hits.next() {
            while let Some(next) = hits.next_if(|next| next.start < mark.end) {
                mark.end = mark.end.max(next.end);
            }
            let (start, end) = (mark.start.max(done), mark.end.min(part.end));
            if start < end {
                self.escape_into(&mut html, done..start);
                html.push_str("<mark>");
                self.escape_into(&mut html, start..end);
                html.push_str("</mark>");
                done = end;
            }
        }
        self.escape_into(&mut html, done..part.end);
        if part.end < self.text.len() {
            html.push('…');
        }
        html
    }

    fn escape_into(&self, html: &mut String, part: Range<usize>) {
        for c in self.text.get(part).unwrap_or_default().chars() {
            match c {
                '&' => html.push_str("&amp;"),
                '<' => html.push_str("&lt;"),
                '>' => html.push_str("&gt;"),
                '"' => html.push_str("&quot;"),
                '\'' => html.push_str("&#39;"),
                _ => html.push(c),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn highlights(query: &str, title: &str, author: Option<&str>, content: Option<&str>) -> Highlights {
        Highlights::of(&Query::parse(query).unwrap(), title, author, content)
    }

    /// The highlights of a title.
    fn title(query: &str, text: &str) -> String {
        highlights(query, text, None, None).title.unwrap_or_default()
    }

    /// The highlights of a content.
    fn content(query: &str, text: &str) -> String {
        highlights(query, "", None, Some(text)).content.unwrap_or_default()
    }

    /// The text that a browser shows.
    fn shown(html: &str) -> String {
        let text = html.replace("<mark>", "").replace("</mark>", "");
        let text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&#39;", "'");
        text.replace("&amp;", "&")
    }

    #[test]
    fn only_fields_with_a_hit_have_highlights() {
        let found = highlights("ada -world", "Hello, world", Some("Ada L."), Some("Nothing"));
        assert_eq!(json!(found), json!({"author": "<mark>Ada</mark> L."}));
        assert_eq!(json!(highlights("x", "Hello", None, None)), json!({}));
    }

    #[test]
    fn each_hit_is_marked_as_it_is_written() {
        let cases = [
            ("hello", "Hello, HELLO hellos", "<mark>Hello</mark>, <mark>HELLO</mark> hellos"),
            ("cafe", "(Cafe\u{301})", "(<mark>Cafe\u{301}</mark>)"),
            ("strasse", "Straße 5", "<mark>Straße</mark> 5"),
            // A phrase is one mark, and its words alone are none.
            ("\"a b\"", "a b, a; A - B b", "<mark>a b</mark>, a; <mark>A - B</mark> b"),
            ("a \"a b\"", "a b a", "<mark>a b</mark> <mark>a</mark>"),
            ("\"a b\" \"b c\"", "a b c", "<mark>a b c</mark>"),
            ("\"a a\"", "a a a", "<mark>a a a</mark>"),
            ("e-mail", "An e-mail", "An <mark>e</mark>-<mark>mail</mark>"),
        ];
        for (query, text, expected) in cases {
            assert_eq!(title(query, text), expected, "{query}");
            assert_eq!(content(query, text), expected, "{query}");
        }
    }

    #[test]
    fn everything_but_the_marks_is_escaped() {
        let text = "<b>\"x\" & 'y'</b> <mark>";
        assert_eq!(
            title("x mark", text),
            "&lt;b&gt;&quot;<mark>x</mark>&quot; &amp; &#39;y&#39;&lt;/b&gt; &lt;<mark>mark</mark>&gt;"
        );
        // Neither an entity's name nor its number is a word of the text.
        assert_eq!(title("amp x", "& x"), "&amp; <mark>x</mark>");
    }

    fn numbers(range: Range<usize>) -> String {
        range.map(|number| number.to_string()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_fragment_begins_and_ends_with_whole_words() {
        let text = numbers(0..100);
        let expected = |before: &str, from: usize, to: usize, after: &str| {
            format!("{before}{}{after}", numbers(from..to)).replace("50", "<mark>50</mark>")
        };
        assert_eq!(content("50", &text), expected("…", 42, 72, "…"));
        assert_eq!(content("50", &numbers(45..100)), expected("", 45, 75, "…"));
        assert_eq!(content("50", &numbers(30..60)), expected("…", 42, 60, ""));
        assert_eq!(content("50", "[50]"), "[<mark>50</mark>]");
        // Words that are longer come to fewer.
        let long = "l".repeat(60);
        let text = format!("{long} {long} x {long} {long} {long} {long} {long}");
        assert_eq!(content("x", &text), format!("…{long} <mark>x</mark> {long} {long} {long}…"));
    }

    #[test]
    fn a_fragment_is_where_most_terms_are() {
        let text = format!("a {} b a a {} a b c {}", numbers(0..50), numbers(0..50), numbers(0..50));
        let found = content("a b c", &text);
        assert!(found.contains("<mark>a</mark> <mark>b</mark> <mark>c</mark> 0 1 2"), "{found}");
        assert!(content("a d", &text).starts_with("<mark>a</mark> 0 1"));
    }

    #[test]
    fn a_fragment_is_short_however_long_words_and_gaps_are() {
        let (word, gap) = ("é".repeat(100_000), "\u{1f600}".repeat(100_000));
        for text in [
            format!("{word} x {word}"),
            format!("{gap} x {gap}"),
            format!("{gap}x{gap}y{gap}"),
            format!("x{gap}y"),
            word.clone(),
            format!("{gap}{word}{gap}"),
        ] {
            let found = content(&format!("x y \"x y\" {}", "e".repeat(300)), &text);
            assert!(found.contains("<mark>"));
            let length = shown(&found).trim_matches('…').chars().count();
            assert!(length <= FRAGMENT_LENGTH, "{length}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn without_its_marks_a_highlight_is_a_part_of_the_text(
            text in "([aAbcéß]{1,3}|[ ,&<>\"'…\u{301}\u{1f600}]{1,3}|<mark>|&amp;|[a-z]{50,150}){0,80}",
            query in "[abc]|\"[abc] [abc]\"|[abc]{1,2} \"a b c\" e",
        ) {
            let query = Query::parse(&query).unwrap();
            let found = Highlights::of(&query, &text, Some(&text), Some(&text));
            prop_assert_eq!(&found.title, &found.author);
            prop_assert_eq!(found.title.is_some(), found.content.is_some());
            if let (Some(whole), Some(fragment)) = (found.title, found.content) {
                prop_assert_eq!(shown(&whole), text.clone());
                let part = shown(&fragment);
                let inner = part.strip_prefix('…').unwrap_or(&part);
                let inner = inner.strip_suffix('…').unwrap_or(inner);
                prop_assert!(text.contains(&part) || text.contains(inner), "{}", part);
                prop_assert!(part.chars().count() <= FRAGMENT_LENGTH + 2);
                for marks in [whole, fragment] {
                    prop_assert!(marks.contains("<mark>"));
                    for mark in marks.split("<mark>").skip(1) {
                        let (hit, _) = mark.split_once("</mark>").unwrap();
                        prop_assert!(!hit.is_empty() && !hit.contains('<'));
                    }
                }
            }
        }
    }
}
