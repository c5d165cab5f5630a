//! The first words of a content that may be HTML, Markdown or plain text, for a list to show.

use html5gum::emitters::callback::{CallbackEmitter, CallbackEvent};
use html5gum::{Span, Tokenizer};

/// The most code points of an excerpt.
pub const LENGTH_MAX: usize = 200;

/// How much of a content is looked at, in code points. A long text costs no more than that, in a list least of all.
pub const READ_MAX: u16 = 16_000;

/// Elements that do not part the words around their tags. All others do: better a space too many than two words in one.
const WITHIN_WORDS: [&[u8]; 36] = [
    b"a", b"abbr", b"acronym", b"b", b"bdi", b"bdo", b"big", b"cite", b"code", b"data", b"del", b"dfn", b"em", b"font",
    b"i", b"ins", b"kbd", b"label", b"mark", b"nobr", b"q", b"rb", b"ruby", b"s", b"samp", b"small", b"span",
    b"strike", b"strong", b"sub", b"sup", b"time", b"tt", b"u", b"var", b"wbr",
];

/// Elements whose text no page shows. There are no tags in it, so that the next one is where it ends.
const HIDDEN: [&[u8]; 6] = [b"iframe", b"noembed", b"noscript", b"script", b"style", b"title"];

/// The first words of a content as plain text, with `…` where there is more: at most [`LENGTH_MAX`] code points, of the
/// first [`READ_MAX`]. Whoever has not all of the content must have one code point more than these.
///
/// Where no tag is, HTML takes a text as it stands, but for the references to characters.
#[must_use]
pub fn excerpt(content: &str) -> String {
    let end = content.char_indices().nth(READ_MAX.into()).map(|(end, _)| end);
    let start = end.and_then(|end| content.get(..end)).unwrap_or(content);
    let mut words = Words::default();
    let mut emitter = CallbackEmitter::new(|event: CallbackEvent<'_>, _: Span<()>| words.take(&event));
    emitter.naively_switch_states(true);
    // Up to where there is enough, or to the end.
    Tokenizer::new_with_emitter(start, emitter).next();
    words.cut(end.is_none())
}

/// Words with single spaces between them.
#[derive(Default)]
struct Words {
    text: String,
    /// Of the text, in code points.
    length: usize,
    /// Whether what comes next is another word.
    parted: bool,
    hidden: bool,
}

impl Words {
    /// Takes what the tokenizer found, and says when there is enough.
    fn take(&mut self, event: &CallbackEvent<'_>) -> Option<()> {
        match event {
            CallbackEvent::OpenStartTag { name } => {
                self.hidden = HIDDEN.contains(name);
                self.parted |= !WITHIN_WORDS.contains(name);
            }
            CallbackEvent::EndTag { name } => {
                self.hidden = false;
                self.parted |= !WITHIN_WORDS.contains(name);
            }
            CallbackEvent::String { value } if !self.hidden => {
                String::from_utf8_lossy(value).chars().take_while(|&c| self.push(c)).for_each(drop);
            }
            _ => {}
        }
        self.is_enough().then_some(())
    }

    /// Adds a character, and says whether there is room for more.
    fn push(&mut self, c: char) -> bool {
        if c.is_whitespace() {
            self.parted = true;
            return true;
        }
        if std::mem::take(&mut self.parted) && self.length > 0 {
            self.text.push(' ');
            self.length += 1;
        }
        self.text.push(c);
        self.length += 1;
        !self.is_enough()
    }

    fn is_enough(&self) -> bool {
        self.length > LENGTH_MAX
    }

    /// The text, or as many whole words of it as fit where it, or what was read, is not all.
    fn cut(mut self, is_all: bool) -> String {
        if is_all && !self.is_enough() {
            return self.text;
        }
        let fits = self.text.char_indices().nth(LENGTH_MAX - 1).map_or(self.text.len(), |(end, _)| end);
        let (head, rest) = self.text.split_at(fits);
        let is_whole = if rest.is_empty() { self.parted } else { rest.starts_with(' ') };
        let end = if is_whole { None } else { head.rfind(' ') };
        self.text.truncate(end.unwrap_or(fits));
        self.text.push('…');
        self.text
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn html_is_read_as_a_page_shows_it() {
        let cases = [
            ("", ""),
            ("<p>One</p><p>two</p>", "One two"),
            ("<h1>One</h1>two<br>three<hr/>four<ul><li>five<li>six</ul>", "One two three four five six"),
            ("<b>B</b>old <A HREF='x'>li</A>nk<sup>2</sup> H<sub>2</sub>O", "Bold link2 H2O"),
            ("one<table><tr><td>two<td>three</table>four", "one two three four"),
            (" \t<div>\n  <div>&nbsp;one\u{a0}\u{2003}two\r\n</div>&#10;</div>\u{3000}", "one two"),
            ("one<!-- two --><!doctype html><?php three ?>four<!---->", "onefour"),
            ("a<script>if (1 < 2) { '<p>x</p>' }</script>b<STYLE>p > a {}</STYLE>c", "a b c"),
            ("<title>x</title><noscript><img src=x></noscript><iframe>x</iframe>y", "y"),
            ("<script>alert(1)", ""),
            ("<textarea><b></textarea> <xmp><i></xmp>", "<b> <i>"),
            (
                "&lt;b&gt; &amp;amp; &eacute;&#x1F600; &copy &nosuch; &#0; AT&T",
                "<b> &amp; é😀 © &nosuch; \u{fffd} AT&T",
            ),
            ("<img src='data:image/png;base64,AAAA' alt='a > b'>shown", "shown"),
            ("<p title='unfinished", ""),
        ];
        for (html, text) in cases {
            assert_eq!(excerpt(html), text, "{html}");
        }
    }

    #[test]
    fn a_text_that_is_no_html_is_kept() {
        for text in
            ["a < b", "a <- b", "1<2 & 3>2", "<>", "a > b", "**Bold**, `code` and [a link](/x)", "< b", "x <", "</"]
        {
            assert_eq!(excerpt(text), text);
        }
        assert_eq!(excerpt("# A title\n\n- one\n- two\n"), "# A title - one - two");
    }

    #[test]
    fn a_long_text_ends_with_a_whole_word() {
        let whole = "word ".repeat(40);
        assert_eq!(excerpt(&whole), whole.trim_end());
        assert_eq!(excerpt(&format!("{whole}end")), format!("{}…", whole.trim_end()));
        // The last that fits, and one that does not.
        let sixty = "é".repeat(60);
        let three = format!("{sixty} {sixty} {sixty}");
        let cut = |last: usize| format!("{three} {} end", "é".repeat(last));
        assert_eq!(excerpt(&cut(16)), format!("{three} {}…", "é".repeat(16)));
        assert_eq!(excerpt(&cut(17)), format!("{three}…"));
        // There is no other place to cut.
        assert_eq!(excerpt(&"é".repeat(200)), "é".repeat(200));
        assert_eq!(excerpt(&"é".repeat(201)), format!("{}…", "é".repeat(199)));
        assert_eq!(excerpt(&"<b>é</b>".repeat(201)), format!("{}…", "é".repeat(199)));
        assert_eq!(excerpt(&"<p>é</p>".repeat(101)), format!("{}…", "é ".repeat(100).trim_end()));
    }

    #[test]
    fn what_is_beyond_the_first_characters_is_more() {
        let read = usize::from(READ_MAX);
        let padded = |text: &str, length: usize| format!("{text}{}", " ".repeat(length - text.chars().count()));
        assert_eq!(excerpt(&padded("one two", read)), "one two");
        assert_eq!(excerpt(&padded("one two", read + 1)), "one two…");
        // The last word that was read may go on.
        let picture = |end: usize, text: &str| format!("<img src='{}'>{text}", "A".repeat(end - 12 - text.len()));
        assert_eq!(excerpt(&picture(read, "one two")), "one two");
        assert_eq!(excerpt(&format!("{}th", picture(read, "one two"))), "one…");
        assert_eq!(excerpt(&format!("{}<p>th", picture(read, "one two<p>"))), "one two…");
        assert_eq!(excerpt(&format!("{}th", picture(read, "two"))), "two…");
        // Of a picture that has no end nothing is shown.
        assert_eq!(excerpt(&picture(1_000_000, "one two")), "…");
        assert_eq!(excerpt(&format!("one two {}", picture(1_000_000, "three"))), "one two…");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn every_text_has_one(
            text in prop_oneof![
                any::<String>(),
                "([a-c<>&;#/!'\"=\\-\\[\\]? \n\r\u{0}é😀]{1,3}|</?(p|b|script|title|textarea|xmp|plaintext|svg|br)[ />]|<!--|--!?>|<!\\[CDATA\\[|<!DOCTYPE |&(#x?[0-9a-f]{1,7}|amp|notin|not);?|[a-z]{90,250}){0,60}",
            ],
        ) {
            let found = excerpt(&text);
            prop_assert!(found.chars().count() <= LENGTH_MAX);
            prop_assert!(!found.contains("  ") && found.trim() == found, "{:?}", found);
            if !text.contains(['<', '&', '\0']) {
                let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
                match found.strip_suffix('…').filter(|_| found != words) {
                    None => prop_assert_eq!(found, words),
                    Some(first) => {
                        let rest = words.strip_prefix(first);
                        prop_assert!(rest.is_some_and(|rest| rest.starts_with(' ') || !first.contains(' ')), "{:?}", found);
                    }
                }
            }
        }
    }
}
