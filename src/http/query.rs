//! Reading query parameters by their rules: every fault is found, not only the first.

use std::collections::BTreeSet;

use actix_web::HttpRequest;
use percent_encoding::percent_decode_str;
use utoipa::openapi::path::{Parameter, ParameterIn};
use utoipa::openapi::{ObjectBuilder, Type};

use super::problem::{Code, Fault, Problem};
use super::schema::parameter;
use crate::db::Timestamp;

/// The most parameters that are read, and the most names in one that are answered. Whoever sends more is told so once, and
/// not of each.
const COUNT_MAX: usize = 100;

/// Parameters that are taken one by one. What is left at the end is unknown.
#[derive(Debug)]
pub struct Parameters {
    pairs: Vec<(String, String)>,
    faults: Vec<Fault>,
}

impl Parameters {
    /// Decodes a request's query.
    #[must_use]
    pub fn of(request: &HttpRequest) -> Self {
        let mut parameters = Self { pairs: Vec::new(), faults: Vec::new() };
        let pairs = request.query_string().split('&').filter(|pair| !pair.is_empty());
        for (index, pair) in pairs.enumerate() {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if index == COUNT_MAX {
                let detail = format!("A query must not have more than {COUNT_MAX} parameters; this is the next.");
                parameters.faults.push(Fault::at_parameter(name, "too_many", detail));
                break;
            }
            let name_as_sent = name;
            match (decode(name), decode(value)) {
                (Some(name), Some(value)) => {
                    if parameters.pairs.iter().any(|(known, _)| *known == name) {
                        let detail = format!("`{name}` is given twice.");
                        parameters.faults.push(Fault::at_parameter(name, "duplicate", detail));
                    } else {
                        parameters.pairs.push((name, value));
                    }
                }
                _ => parameters.faults.push(Fault::at_parameter(
                    name_as_sent,
                    "invalid",
                    "The name and the value must be percent-encoded UTF-8.",
                )),
            }
        }
        parameters
    }

    /// A whole number within bounds.
    pub fn integer(&mut self, name: &str, min: u32, max: u32) -> Option<u32> {
        let value = self.take(name)?;
        let number = value.parse().ok().filter(|_| value.bytes().all(|byte| byte.is_ascii_digit()));
        match number {
            Some(number) if (min..=max).contains(&number) => return Some(number),
            _ => {}
        }
        let code = if value.bytes().all(|byte| byte.is_ascii_digit()) { "out_of_range" } else { "invalid" };
        self.fault(name, code, format!("`{name}` must be a whole number from {min} to {max}."));
        None
    }

    /// A text, as it is.
    pub fn text(&mut self, name: &str) -> Option<String> {
        let value = self.take(name)?;
        if value.contains('\0') {
            self.fault(name, "nul", format!("`{name}` must not contain U+0000, which no text has."));
            return None;
        }
        Some(value)
    }

    /// `true` or `false`.
    pub fn boolean(&mut self, name: &str) -> Option<bool> {
        self.choice(name, &[("true", true), ("false", false)])
    }

    /// One of a few words, and what it stands for.
    pub fn choice<T: Copy>(&mut self, name: &str, choices: &[(&str, T)]) -> Option<T> {
        let value = self.take(name)?;
        let chosen = choices.iter().find(|(word, _)| *word == value).map(|(_, choice)| *choice);
        if chosen.is_none() {
            let words = choices.iter().map(|(word, _)| format!("`{word}`")).collect::<Vec<_>>().join(", ");
            self.fault(name, "unknown_value", format!("`{name}` must be one of {words}."));
        }
        chosen
    }

    /// Some of these names, with commas between them, in whatever order and number: those of `known` that are there.
    pub fn names(&mut self, name: &str, known: &[&'static str]) -> Option<Vec<&'static str>> {
        let value = self.take(name)?;
        let unknown: BTreeSet<_> = value.split(',').filter(|chosen| !known.contains(chosen)).collect();
        for unknown in unknown.into_iter().take(COUNT_MAX) {
            let list = known.join(",");
            self.fault(name, "unknown_name", format!("`{name}` names `{unknown}`, and may name {list}."));
        }
        Some(known.iter().copied().filter(|known| value.split(',').any(|chosen| chosen == *known)).collect())
    }

    /// An instant in RFC 3339, of any zone.
    pub fn instant(&mut self, name: &str) -> Option<Timestamp> {
        let value = self.take(name)?;
        let instant = Timestamp::parse(&value);
        if instant.is_none() {
            let hint = if value.contains(' ') { " In a query, `+` is written `%2B`." } else { "" };
            let detail = format!("`{name}` must be an instant in RFC 3339, as in 2026-11-22T09:30:00Z.{hint}");
            self.fault(name, "invalid", detail);
        }
        instant
    }

    /// A text that is read by rules of its own, which say what is wrong with it: a code, and what mends it.
    pub fn parsed<T>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, (&'static str, String)>,
    ) -> Option<T> {
        let value = self.text(name)?;
        parse(&value).map_err(|(code, detail)| self.fault(name, code, detail)).ok()
    }

    /// Ends the reading: nothing, or everything that is wrong.
    pub fn finish(mut self) -> Result<(), Problem> {
        for (name, _) in std::mem::take(&mut self.pairs) {
            self.fault(&name, "unknown_parameter", "There is no such parameter.".to_owned());
        }
        if self.faults.is_empty() {
            return Ok(());
        }
        let detail = match self.faults.len() {
            1 => "A query parameter cannot be used; see `errors`.".to_owned(),
            count => format!("{count} query parameters cannot be used; see `errors`."),
        };
        Err(Problem::new(Code::MalformedQuery, detail).with_faults(self.faults))
    }

    fn take(&mut self, name: &str) -> Option<String> {
        let index = self.pairs.iter().position(|(known, _)| known == name)?;
        let (_, value) = self.pairs.swap_remove(index);
        if value.is_empty() {
            self.fault(name, "empty", format!("`{name}` has no value. Give it one, or leave it out."));
            return None;
        }
        Some(value)
    }

    fn fault(&mut self, name: &str, code: &'static str, detail: String) {
        self.faults.push(Fault::at_parameter(name, code, detail));
    }
}

/// What [`Parameters::text`] takes, as the document shows it.
#[must_use]
pub fn text_schema() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String).min_length(Some(1)).pattern(Some(r"^[^\u0000]*$"))
}

/// A query parameter, as the document shows it.
#[must_use]
pub fn query_parameter(name: &str, description: &str, schema: ObjectBuilder) -> Parameter {
    parameter(ParameterIn::Query, name, description, schema)
}

/// Percent-decoding as forms do it (`+` is a space), without the leniency: what is no UTF-8 is refused.
fn decode(text: &str) -> Option<String> {
    let text = text.replace('+', " ");
    let escapes_are_whole = text
        .split('%')
        .skip(1)
        .all(|rest| rest.get(..2).is_some_and(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit())));
    let decoded = percent_decode_str(&text).decode_utf8().ok().filter(|_| escapes_are_whole)?;
    Some(decoded.into_owned())
}
