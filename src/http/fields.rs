//! Reading an object's fields by their rules: every fault is found, not only the first.

use serde_json::{Map, Value};

use super::problem::{Fault, Problem};
use crate::db::Timestamp;

/// The most unknown fields that an answer names: it would else be many times as large as what it answers.
const UNKNOWN_MAX: usize = 100;

/// What a string may be. Lengths are in code points, and a NUL is never allowed.
#[derive(Clone, Copy, Debug)]
pub struct Text {
    /// The fewest code points.
    pub min: usize,
    /// The most code points.
    pub max: usize,
    /// Whether white space alone will do.
    pub blank: bool,
}

impl Text {
    /// All that is wrong with a string by this rule. The string is never changed.
    fn faults(&self, name: &str, text: &str) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut fault = |code, detail| faults.push(Fault::at_pointer(pointer(name), code, detail));
        let length = text.chars().count();
        if !(self.min..=self.max).contains(&length) {
            let code = if length < self.min { "too_short" } else { "too_long" };
            let Self { min, max, .. } = self;
            fault(code, format!("`{name}` must have {min} to {max} characters; this one has {length}."));
        }
        if text.contains('\0') {
            fault("contains_nul", format!("`{name}` must not contain the character U+0000."));
        }
        if !self.blank && !text.is_empty() && text.chars().all(char::is_whitespace) {
            fault("blank", format!("`{name}` must contain a character that is not white space."));
        }
        faults
    }
}

/// An object whose fields are taken one by one. What is left at the end is unknown.
#[derive(Debug)]
pub struct Fields {
    object: Map<String, Value>,
    faults: Vec<Fault>,
}

impl Fields {
    /// Begins to read a body. A body that is JSON but no object is a fault of its own.
    pub fn of(body: Value) -> Result<Self, Problem> {
        match body {
            Value::Object(object) => Ok(Self { object, faults: Vec::new() }),
            other => {
                let detail = format!("The body must be an object; this is {}.", kind(&other));
                Err(Problem::validation(vec![Fault::at_pointer("", "wrong_type", detail)]))
            }
        }
    }

    /// A string that must be there.
    pub fn text(&mut self, name: &str, rule: &Text) -> Option<String> {
        if let Some(value) = self.object.remove(name) {
            self.read_text(name, value, rule, "a string")
        } else {
            self.fault(name, "required", format!("`{name}` is required."));
            None
        }
    }

    /// A string or null, which is also what it is when it is left out.
    pub fn nullable_text(&mut self, name: &str, rule: &Text) -> Option<Option<String>> {
        match self.object.remove(name) {
            None | Some(Value::Null) => Some(None),
            Some(value) => self.read_text(name, value, rule, "a string or null").map(Some),
        }
    }

    /// A boolean, with what it is when it is left out.
    pub fn boolean(&mut self, name: &str, default: bool) -> Option<bool> {
        match self.object.remove(name) {
            None => Some(default),
            Some(Value::Bool(value)) => Some(value),
            Some(other) => self.wrong_type(name, "true or false", &other),
        }
    }

    /// One of a few words that must be there.
    pub fn choice<T>(&mut self, name: &str, expected: &str, parse: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        let Some(value) = self.object.remove(name) else {
            self.fault(name, "required", format!("`{name}` is required."));
            return None;
        };
        let Value::String(word) = value else { return self.wrong_type(name, "a string", &value) };
        let chosen = parse(&word);
        if chosen.is_none() {
            self.fault(name, "invalid", format!("`{name}` must be {expected}."));
        }
        chosen
    }

    /// An instant or null, which is also what it is when it is left out.
    pub fn nullable_instant(&mut self, name: &str) -> Option<Option<Timestamp>> {
        let value = match self.object.remove(name) {
            None | Some(Value::Null) => return Some(None),
            Some(value) => value,
        };
        let Value::String(text) = value else { return self.wrong_type(name, "a string or null", &value) };
        let instant = Timestamp::parse(&text);
        if instant.is_none() {
            self.fault(name, "invalid", format!("`{name}` must be an instant, as 2026-11-22T09:30:00Z."));
        }
        instant.map(Some)
    }

    /// A field that the server sets. Where something is stored, the same value may be sent back.
    pub fn read_only(&mut self, name: &str, stored: Option<&Value>) {
        let Some(sent) = self.object.remove(name) else { return };
        if Some(&sent) != stored {
            let mend = if stored.is_some() { "Leave it out, or send it back as it is." } else { "Leave it out." };
            self.fault(name, "read_only", format!("`{name}` is set by the server. {mend}"));
        }
    }

    /// Notes a fault that these rules do not know.
    pub fn fault(&mut self, name: &str, code: &'static str, detail: impl Into<String>) {
        self.faults.push(Fault::at_pointer(pointer(name), code, detail));
    }

    /// Whether there is such a field.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.object.contains_key(name)
    }

    /// Ends the reading: what was read, or everything that is wrong.
    pub fn finish<T>(mut self, read: Option<T>) -> Result<T, Problem> {
        for name in self.object.keys().take(UNKNOWN_MAX) {
            self.faults.push(unknown(name));
        }
        match read {
            Some(value) if self.faults.is_empty() => Ok(value),
            _ => Err(Problem::validation(self.faults)),
        }
    }

    fn read_text(&mut self, name: &str, value: Value, rule: &Text, expected: &str) -> Option<String> {
        match value {
            Value::String(text) => {
                let faults = rule.faults(name, &text);
                let holds = faults.is_empty();
                self.faults.extend(faults);
                holds.then_some(text)
            }
            other => self.wrong_type(name, expected, &other),
        }
    }

    fn wrong_type<T>(&mut self, name: &str, expected: &str, found: &Value) -> Option<T> {
        let detail = format!("`{name}` must be {expected}; this is {}.", kind(found));
        self.fault(name, "wrong_type", detail);
        None
    }
}

fn unknown(name: &str) -> Fault {
    Fault::at_pointer(pointer(name), "unknown_field", "There is no such field.")
}

/// The JSON Pointer to a member of the document (RFC 6901 §3).
fn pointer(name: &str) -> String {
    format!("/{}", name.replace('~', "~0").replace('/', "~1"))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
