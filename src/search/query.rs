//! What a search asks for: words, `"a phrase"`, `-word`, `-"a phrase"`.

use serde::{Deserialize, Serialize};

use super::words::{Word, fold, words};

/// The most code points of a query.
pub const LENGTH_MAX: usize = 500;

/// The most words of a query, over all its terms.
const WORDS_MAX: usize = 32;

/// What a search asks for: at least one term to find, and terms that must not be there.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize)]
pub struct Query {
    found: Vec<Term>,
    excluded: Vec<Term>,
}

/// A word, or a phrase: words that follow one another within one field.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize)]
pub struct Term(String);

/// Why a text is no query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidQuery {
    /// It is longer than 500 code points.
    #[error("A search must not be longer than {LENGTH_MAX} characters. Leave words out.")]
    TooLong,
    /// It has more than 32 words.
    #[error("A search must not have more than {WORDS_MAX} words, those of its phrases counted. Leave some out.")]
    TooManyWords,
    /// It is empty, or has punctuation only, or only terms that must not be there.
    #[error("The search has no word to find. Give it one, of letters or digits and without a `-` before it.")]
    NothingToFind,
}

impl InvalidQuery {
    /// The same for programs.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::TooLong => "too_long",
            Self::TooManyWords => "too_many_words",
            Self::NothingToFind => "no_word",
        }
    }
}

/// How well a post matches. Within a rank the newest post comes first, so that the order of two posts depends on
/// nothing but these two, whatever is written meanwhile.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub enum Rank {
    /// The title has all terms.
    AllInTitle,
    /// The title has some of the terms.
    SomeInTitle,
    /// The title has none of the terms.
    NoneInTitle,
}

impl Rank {
    /// The ranks, the best first.
    pub const ALL: [Self; 3] = [Self::AllInTitle, Self::SomeInTitle, Self::NoneInTitle];
}

impl Term {
    fn of(text: &str) -> Option<Self> {
        let words: Vec<_> = words(text).map(|word| word.folded).collect();
        (!words.is_empty()).then(|| Self(words.join(" ")))
    }

    /// The folded words, with one space between.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The folded words, at least one.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        self.0.split(' ')
    }

    /// Whether it has more than one word.
    #[must_use]
    pub fn is_phrase(&self) -> bool {
        self.0.contains(' ')
    }
}

impl Query {
    /// Reads a query. Words are separated by what is no letter or digit. A `-` excludes the word or the phrase that it
    /// stands directly before, if it stands at the begin or after white space. Of a token without white space that has
    /// several words, as `e-mail`, each is found, and `-e-mail` excludes the phrase. A quote that is never closed is
    /// overlooked, and so are terms that are given twice.
    pub fn parse(text: &str) -> Result<Self, InvalidQuery> {
        if text.chars().count() > LENGTH_MAX {
            return Err(InvalidQuery::TooLong);
        }
        let mut query = Self { found: Vec::new(), excluded: Vec::new() };
        let mut rest = text;
        while !rest.is_empty() {
            let token = rest.trim_start();
            let begins = token.len() < rest.len() || rest.len() == text.len();
            let (excluded, token) = match token.strip_prefix('-') {
                Some(after) if begins && after.starts_with(|c: char| c == '"' || c.is_alphanumeric()) => (true, after),
                _ => (false, token),
            };
            let quoted = token.strip_prefix('"');
            if let Some((phrase, after)) = quoted.and_then(|inner| inner.split_once('"')) {
                query.add(Term::of(phrase), excluded);
                rest = after;
                continue;
            }
            let token = quoted.unwrap_or(token);
            let end = token.find(|c: char| c == '"' || c.is_whitespace()).unwrap_or(token.len());
            let (token, after) = token.split_at(end);
            if excluded {
                query.add(Term::of(token), true);
            } else {
                for Word { folded, .. } in words(token) {
                    query.add(Some(Term(folded.into_owned())), false);
                }
            }
            rest = after;
        }
        let terms = query.found.iter().chain(&query.excluded);
        if terms.flat_map(Term::words).count() > WORDS_MAX {
            Err(InvalidQuery::TooManyWords)
        } else if query.found.is_empty() {
            Err(InvalidQuery::NothingToFind)
        } else {
            Ok(query)
        }
    }

    fn add(&mut self, term: Option<Term>, excluded: bool) {
        let terms = if excluded { &mut self.excluded } else { &mut self.found };
        terms.extend(term.filter(|term| !terms.contains(term)));
    }

    /// The rank of a post that matches, by its title.
    #[must_use]
    pub fn rank(&self, title: &str) -> Rank {
        let title = format!(" {} ", fold(title));
        let hits = self.found.iter().filter(|term| title.contains(&format!(" {} ", term.as_str()))).count();
        match hits {
            0 => Rank::NoneInTitle,
            hits if hits == self.found.len() => Rank::AllInTitle,
            _ => Rank::SomeInTitle,
        }
    }

    /// The terms that a post must have, all of them, each once. There is at least one.
    #[must_use]
    pub fn found(&self) -> &[Term] {
        &self.found
    }

    /// The terms that a post must not have, each once.
    #[must_use]
    pub fn excluded(&self) -> &[Term] {
        &self.excluded
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The terms found, and those excluded.
    fn terms(text: &str) -> (Vec<String>, Vec<String>) {
        let query = Query::parse(text).unwrap();
        let texts = |terms: &[Term]| terms.iter().map(|term| term.as_str().to_owned()).collect();
        (texts(query.found()), texts(query.excluded()))
    }

    #[test]
    fn a_query_has_words_phrases_and_what_must_not_be_there() {
        let cases: [(&str, &[&str], &[&str]); 22] = [
            ("Rust", &["rust"], &[]),
            ("  Rust\u{3000}WEB\tservice ", &["rust", "web", "service"], &[]),
            ("\"Rust web\" service", &["rust web", "service"], &[]),
            ("rust -java -\"web Service\"", &["rust"], &["java", "web service"]),
            // A token may have several words.
            ("e-mail foo_bar", &["e", "mail", "foo", "bar"], &[]),
            ("rust -foo-bar -x_y", &["rust"], &["foo bar", "x y"]),
            // Phrases of one word, and of none.
            ("\"Rust\" -\"Go\" \"\" \"!\" -\"?\"", &["rust"], &["go"]),
            // Where a `-` excludes, and where it does not.
            ("-java rust", &["rust"], &["java"]),
            ("rust - java", &["rust", "java"], &[]),
            ("rust --java", &["rust", "java"], &[]),
            ("rust -_java", &["rust", "java"], &[]),
            ("\"rust\"-java", &["rust", "java"], &[]),
            ("rust\"a b\"c", &["rust", "a b", "c"], &[]),
            ("rust \u{2212}5 -5", &["rust", "5"], &["5"]),
            // A quote that is never closed.
            ("rust \"web service", &["rust", "web", "service"], &[]),
            ("rust\"web", &["rust", "web"], &[]),
            ("\"a b\" \"c", &["a b", "c"], &[]),
            ("rust -\"web service", &["rust", "service"], &["web"]),
            ("rust \"", &["rust"], &[]),
            // Equal terms.
            ("Rust RUST \"rust\" \"a b\" \"A, B\" -x -X", &["rust", "a b"], &["x"]),
            ("Éléphant \u{1f418}", &["elephant"], &[]),
            ("a OR b AND (c*) NOT ^d title:e", &["a", "or", "b", "and", "c", "not", "d", "title", "e"], &[]),
        ];
        for (text, found, excluded) in cases {
            let (is_found, is_excluded) = terms(text);
            assert_eq!((is_found, is_excluded), (to_vec(found), to_vec(excluded)), "{text}");
        }
    }

    fn to_vec(terms: &[&str]) -> Vec<String> {
        terms.iter().map(|&term| term.to_owned()).collect()
    }

    #[test]
    fn a_query_without_a_word_to_find_is_refused() {
        for text in ["", " ", "-word", "-\"a phrase\" -b", "!?", "\"\"", "\"", "-", "\u{1f600}", "\u{5b0}"] {
            assert_eq!(Query::parse(text), Err(InvalidQuery::NothingToFind), "{text:?}");
        }
    }

    #[test]
    fn a_query_is_500_characters_and_32_words_at_most() {
        let long = "é".repeat(500);
        assert!(Query::parse(&long).is_ok());
        assert_eq!(Query::parse(&(long + "e")), Err(InvalidQuery::TooLong));

        let numbers = |count: usize| (1..=count).map(|number| number.to_string()).collect::<Vec<_>>().join(" ");
        assert!(Query::parse(&numbers(32)).is_ok());
        assert_eq!(Query::parse(&numbers(33)), Err(InvalidQuery::TooManyWords));
        assert_eq!(Query::parse(&format!("a \"{}\" -b", numbers(31))), Err(InvalidQuery::TooManyWords));
        // Terms that are given twice count once.
        assert!(Query::parse(&"word ".repeat(100)).is_ok());
    }

    #[test]
    fn a_title_has_all_terms_or_some_or_none() {
        let query = Query::parse("red \"apple pie\" -green").unwrap();
        for (title, rank) in [
            ("Apple-Pie, RED", Rank::AllInTitle),
            ("An apple pie", Rank::SomeInTitle),
            ("Red pie, apple", Rank::SomeInTitle),
            ("Redder apple pies", Rank::NoneInTitle),
            ("", Rank::NoneInTitle),
        ] {
            assert_eq!(query.rank(title), rank, "{title}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_text_is_read_or_refused(text in "[-\" a-cé!\u{301}\u{5b0}]{0,40}|\\PC{0,60}") {
            if let Ok(query) = Query::parse(&text) {
                prop_assert!(!query.found().is_empty());
                for term in query.found().iter().chain(query.excluded()) {
                    // No sign that means something to a database.
                    prop_assert!(term.as_str().chars().all(|c| c == ' ' || !c.is_ascii() || c.is_ascii_alphanumeric()));
                    prop_assert!(term.words().all(|word| !word.is_empty()));
                }
            }
        }
    }
}
