//! What a word is, and which words are equal.
//!
//! A change here changes what is found only for posts that are indexed anew: with it goes a migration that empties
//! `posts_search`, which the service then fills again.

use std::borrow::Cow;
use std::iter;
use std::ops::Range;

use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::{canonical_combining_class, is_combining_mark};

/// The most code points of a folded word that count: what follows is not told apart. A database's index takes no
/// keys of any length.
const LENGTH_MAX: usize = 255;

/// Whether a mark of this canonical combining class is a diacritic: the points of Hebrew, Arabic and Syriac, and the
/// accents that any letter may have. Others belong to their letter: nuktas, viramas, the voicing of kana, the vowels of
/// Telugu, Thai, Lao and Tibetan.
const fn is_diacritic(combining_class: u8) -> bool {
    matches!(combining_class, 10..=36 | 200..)
}

/// A word in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word<'a> {
    /// Where it stands, in bytes.
    pub range: Range<usize>,
    /// Its letters and digits without case and diacritics, at most 255 code points. Words that fold to the same are
    /// equal.
    pub folded: Cow<'a, str>,
}

/// The words of a text: each run of letters and digits, with the marks that follow them.
pub fn words(text: &str) -> impl Iterator<Item = Word<'_>> {
    let mut rest = text;
    iter::from_fn(move || {
        loop {
            let (_, run) = rest.split_at(rest.find(char::is_alphanumeric)?);
            let (word, after) = run.split_at(run.find(|c| !continues_word(c)).unwrap_or(run.len()));
            rest = after;
            let folded = fold_word(word);
            // A run of vowel points without a letter has nothing that could be looked for.
            if !folded.is_empty() {
                let start = text.len() - run.len();
                return Some(Word { range: start..start + word.len(), folded });
            }
        }
    })
}

/// The folded words of a text, with one space between. To fold them again changes nothing.
#[must_use]
pub fn fold(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    for word in words(text) {
        if !folded.is_empty() {
            folded.push(' ');
        }
        folded.push_str(&word.folded);
    }
    folded
}

fn continues_word(c: char) -> bool {
    c.is_alphanumeric() || (!c.is_ascii() && is_combining_mark(c))
}

fn fold_word(word: &str) -> Cow<'_, str> {
    if !word.is_ascii() {
        return Cow::Owned(fold_unicode(word));
    }
    let word = word.get(..LENGTH_MAX).unwrap_or(word);
    if word.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(word.to_ascii_lowercase())
    } else {
        Cow::Borrowed(word)
    }
}

fn fold_unicode(word: &str) -> String {
    // Decomposed before the case goes, too, so that it makes no difference how an accented letter was typed.
    word.nfd()
        .flat_map(fold_case)
        .nfd()
        .filter(|c| !is_diacritic(canonical_combining_class(*c)))
        .skip_while(|c| !c.is_alphanumeric())
        .take(LENGTH_MAX)
        .collect()
}

/// By way of the capital, which letters share that differ in nothing else: ς and σ, ſ and s, ß and ss. First in lower
/// case, since ẞ is its own capital.
fn fold_case(c: char) -> impl Iterator<Item = char> {
    c.to_lowercase().flat_map(char::to_uppercase).flat_map(char::to_lowercase)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Each character alone as a text. Those that are in no word fold to nothing.
    fn every_character() -> impl Iterator<Item = String> {
        (char::MIN..=char::MAX).map(String::from)
    }

    #[test]
    fn a_word_is_a_run_of_letters_and_digits() {
        let cases = [
            ("Hello, world!", "hello world"),
            ("e-mail foo_bar don't C++ C#", "e mail foo bar don t c c"),
            ("https://example.org/a?b=1.5", "https example org a b 1 5"),
            ("<p>Ünïcode&nbsp;x</p>", "p unicode nbsp x p"),
            ("東京 2026年🎉party", "東京 2026年 party"),
            ("٣ ½ Ⅷ", "٣ ½ ⅷ"),
            ("!? \u{301} \u{1f600}", ""),
        ];
        for (text, expected) in cases {
            assert_eq!(fold(text), expected, "{text}");
        }
    }

    #[test]
    fn case_and_diacritics_make_no_difference() {
        let equal: [&[&str]; 9] = [
            &["Straße", "STRASSE", "STRAẞE", "strasse"],
            &["ΟΔΌΣ", "οδός", "οδοσ"],
            &["ſüß", "SÜSS", "suss"],
            &["Caf\u{e9}", "cafe\u{301}", "CAFE"],
            &["İstanbul", "istanbul", "ISTANBUL"],
            &["Việt", "viet"],
            &["ёлка", "ЕЛКА"],
            &["שָׁלוֹם", "שלום"],
            &["مُحَمَّد", "محمد"],
        ];
        for words in equal {
            let folded: Vec<_> = words.iter().map(|word| fold(word)).collect();
            assert!(folded.iter().all(|word| *word == folded[0]), "{folded:?}");
        }
        let different: [[&str; 2]; 7] =
            [["か", "が"], ["क", "क़"], ["कम", "क्म"], ["ø", "o"], ["ﬁ", "f"], ["Ⓐ", "a"], ["ดุ", "ดู"]];
        for [one, other] in different {
            assert_ne!(fold(one), fold(other));
        }
    }

    #[test]
    fn the_words_stand_where_they_were_found() {
        let text = "¿Où «été»?";
        let found: Vec<_> = words(text).map(|word| (&text[word.range], word.folded)).collect();
        assert_eq!(found, [("Où", "ou".into()), ("été", "ete".into())]);
    }

    #[test]
    fn a_long_word_counts_as_far_as_its_first_255_code_points() {
        for letter in ["x", "X", "é", "漢", "한"] {
            let longer = letter.repeat(1000);
            let found: Vec<_> = words(&longer).collect();
            assert_eq!((found.len(), found[0].range.clone()), (1, 0..longer.len()), "{letter}");
            assert_eq!(found[0].folded.chars().count(), 255, "{letter}");
            assert_eq!(fold(&longer), fold(&letter.repeat(500)));
        }
    }

    #[test]
    fn a_folded_character_is_a_word_that_folds_to_itself() {
        for text in every_character() {
            let folded = fold(&text);
            assert_eq!(fold(&folded), folded, "{text:?}");
            assert!(folded.chars().all(|c| c != ' ' && continues_word(c)), "{text:?} {folded:?}");
            assert!(folded.chars().all(|c| !c.is_ascii() || c.is_ascii_lowercase() || c.is_ascii_digit()), "{text:?}");
        }
    }

    #[test]
    fn it_makes_no_difference_how_a_character_is_typed() {
        for text in every_character() {
            assert_eq!(fold(&text.nfd().collect::<String>()), fold(&text), "{text:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn to_fold_twice_is_to_fold_once(text: String) {
            let folded = fold(&text);
            prop_assert_eq!(fold(&folded), folded);
        }

        #[test]
        fn composed_and_decomposed_texts_have_the_same_words(text: String) {
            prop_assert_eq!(fold(&text.nfd().collect::<String>()), fold(&text));
            prop_assert_eq!(fold(&text.nfc().collect::<String>()), fold(&text));
        }

        #[test]
        fn words_stand_one_after_the_other_on_the_borders_of_characters(text: String) {
            let mut end = 0;
            for word in words(&text) {
                prop_assert!(end <= word.range.start && word.range.start < word.range.end);
                prop_assert!(text.get(word.range.clone()).is_some());
                prop_assert!(!word.folded.contains(' '));
                end = word.range.end;
            }
        }

        #[test]
        fn the_short_way_for_ascii_leads_where_the_long_one_does(word in "[0-9A-Za-z]{1,300}") {
            prop_assert_eq!(fold_word(&word).into_owned(), fold_unicode(&word));
        }
    }
}
