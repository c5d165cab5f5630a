//! Patches. An input is a document and a patch, each JSON.

use posts_api::db::Timestamp;
use posts_api::http::json::parse;
use posts_api::http::patch::Patch;
use posts_api::http::problem::{Code, Problem};
use posts_api::posts::{NewPost, Post};
use serde_json::{Map, Value};

use super::{assert_is_refusal, lines, tokens};

/// How deep, and how large in JSON, what the operations put somewhere may get before the service may refuse it.
const DEPTH_MAX: usize = 100;
const SIZE_MAX: usize = 100_000;

/// Patches do what the standards say, or nothing.
pub fn holds(data: &[u8]) {
    let Some([document, patch]) = lines(data) else { return };
    let (Ok(document), Ok(patch)) = (parse(document.as_bytes()), parse(patch.as_bytes())) else { return };
    assert_merges(&document, &patch);
    assert_operates(&document, &patch);
    for patch in [Ok(Patch::Merge(patch.clone())), Patch::json(patch)].into_iter().flatten() {
        assert_patches_a_post(&patch);
    }
}

fn assert_merges(document: &Value, patch: &Value) {
    let once = Patch::Merge(patch.clone()).apply(document.clone()).unwrap();
    assert_eq!(once, merged(document.clone(), patch));
    assert_eq!(Patch::Merge(patch.clone()).apply(once.clone()).unwrap(), once);
    assert!(!patch.is_object() || once.is_object());
}

/// RFC 7396 §2.
fn merged(target: Value, patch: &Value) -> Value {
    let Value::Object(patch) = patch else { return patch.clone() };
    let mut target = if let Value::Object(target) = target { target } else { Map::new() };
    for (name, value) in patch {
        let member = target.remove(name).unwrap_or_default();
        if !value.is_null() {
            target.insert(name.clone(), merged(member, value));
        }
    }
    target.into()
}

fn assert_operates(document: &Value, patch: &Value) {
    let mut reference = Reference { document: document.clone(), size: 0 };
    let expected = reference.carry_out(patch);
    let found = Patch::json(patch.clone()).and_then(|patch| patch.apply(document.clone()));
    if let Err(problem) = &found {
        assert!([Code::MalformedJson, Code::ValidationFailed, Code::Conflict].contains(&problem.code()));
        assert_eq!(problem.faults().len(), 1);
        assert_is_refusal(problem);
    }
    match (found, expected) {
        (_, Err(Failure::TooLarge)) => {}
        (Ok(found), Ok(())) => assert_eq!(found, reference.document),
        (Err(problem), Err(Failure::Malformed(index))) => {
            assert_eq!((problem.code(), first_token(&problem)), (Code::MalformedJson, index));
        }
        (Err(problem), Err(Failure::At(index, code))) => {
            assert_eq!((problem.code(), first_token(&problem)), (code, Some(index)));
        }
        (found, expected) => panic!("{found:?}, not {expected:?}"),
    }
}

/// The operation that a problem is about.
fn first_token(problem: &Problem) -> Option<usize> {
    let fault = serde_json::to_value(&problem.faults()[0]).unwrap();
    tokens(fault["pointer"].as_str().unwrap()).unwrap().first()?.parse().ok()
}

fn assert_patches_a_post(patch: &Patch) {
    let at = Timestamp::parse("2026-11-22T09:30:00Z").unwrap();
    let stored = Post {
        id: 7,
        title: "A title".to_owned(),
        author: Some("Ada".to_owned()),
        content: None,
        published: true,
        owner_id: Some(1),
        created_on: at,
        updated_on: at,
        version: 3,
    };
    if let Err(problem) = NewPost::read_patched(patch, &stored) {
        assert!([Code::ValidationFailed, Code::Conflict].contains(&problem.code()), "{problem:?}");
        assert!(!problem.faults().is_empty());
        assert_is_refusal(&problem);
    }
}

#[derive(Debug)]
enum Failure {
    /// The operation with this number is none; `None`: there are no operations at all.
    Malformed(Option<usize>),
    At(usize, Code),
    TooLarge,
}

/// RFC 6902, one operation after the other.
struct Reference {
    document: Value,
    /// Of what was put somewhere.
    size: usize,
}

struct Operation<'a> {
    name: &'a str,
    path: Vec<String>,
    from: Vec<String>,
    value: &'a Value,
}

impl<'a> Operation<'a> {
    fn read(operation: &'a Value) -> Option<Self> {
        let name = operation.get("op")?.as_str()?;
        let pointer = |member: &str| tokens(operation.get(member)?.as_str()?);
        let (from, value) = match name {
            "add" | "replace" | "test" => (Vec::new(), operation.get("value")?),
            "move" | "copy" => (pointer("from")?, &Value::Null),
            "remove" => (Vec::new(), &Value::Null),
            _ => return None,
        };
        Some(Self { name, path: pointer("path")?, from, value })
    }
}

impl Reference {
    fn carry_out(&mut self, patch: &Value) -> Result<(), Failure> {
        let operations = patch.as_array().ok_or(Failure::Malformed(None))?.iter().enumerate();
        let operations = operations.map(|(index, it)| Operation::read(it).ok_or(Failure::Malformed(Some(index))));
        for (index, operation) in operations.collect::<Result<Vec<_>, _>>()?.iter().enumerate() {
            let code = if operation.name == "test" { Code::Conflict } else { Code::ValidationFailed };
            self.weigh(operation)?;
            self.operate(operation).ok_or(Failure::At(index, code))?;
        }
        Ok(())
    }

    fn operate(&mut self, Operation { name, path, from, value }: &Operation<'_>) -> Option<()> {
        match *name {
            "add" => self.add(path, (*value).clone()),
            "remove" => self.remove(path).map(drop),
            "replace" => {
                *find_mut(&mut self.document, path)? = (*value).clone();
                Some(())
            }
            "move" => {
                if path.len() > from.len() && path.starts_with(from) {
                    return None;
                }
                let value = self.remove(from)?;
                self.add(path, value)
            }
            "copy" => {
                let value = find(&self.document, from)?.clone();
                self.add(path, value)
            }
            _ => (find(&self.document, path)? == *value).then_some(()),
        }
    }

    /// Counts what an operation puts somewhere, and the elements that it may shift.
    fn weigh(&mut self, Operation { path, from, value, .. }: &Operation<'_>) -> Result<(), Failure> {
        let source = find(&self.document, from).filter(|_| !from.is_empty() || value.is_null());
        for value in [Some(*value), source].into_iter().flatten() {
            if path.len() + depth(value) > DEPTH_MAX {
                return Err(Failure::TooLarge);
            }
            self.size += value.to_string().len();
        }
        for pointer in [path, from] {
            let parent = pointer.split_last().and_then(|(_, parent)| find(&self.document, parent));
            self.size += parent.and_then(Value::as_array).map_or(0, Vec::len);
        }
        if self.size > SIZE_MAX { Err(Failure::TooLarge) } else { Ok(()) }
    }

    fn add(&mut self, path: &[String], value: Value) -> Option<()> {
        let Some((last, parent)) = path.split_last() else {
            self.document = value;
            return Some(());
        };
        match find_mut(&mut self.document, parent)? {
            Value::Object(members) => _ = members.insert(last.clone(), value),
            Value::Array(elements) => {
                let index = if last == "-" { elements.len() } else { index(last)? };
                if index > elements.len() {
                    return None;
                }
                elements.insert(index, value);
            }
            _ => return None,
        }
        Some(())
    }

    /// The document itself cannot be taken away: there would be none.
    fn remove(&mut self, path: &[String]) -> Option<Value> {
        let (last, parent) = path.split_last()?;
        match find_mut(&mut self.document, parent)? {
            Value::Object(members) => members.remove(last),
            Value::Array(elements) => {
                let index = index(last).filter(|index| *index < elements.len())?;
                Some(elements.remove(index))
            }
            _ => None,
        }
    }
}

fn find<'a>(document: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter().try_fold(document, |value, token| match value {
        Value::Object(members) => members.get(token),
        Value::Array(elements) => elements.get(index(token)?),
        _ => None,
    })
}

fn find_mut<'a>(document: &'a mut Value, path: &[String]) -> Option<&'a mut Value> {
    path.iter().try_fold(document, |value, token| match value {
        Value::Object(members) => members.get_mut(token),
        Value::Array(elements) => elements.get_mut(index(token)?),
        _ => None,
    })
}

/// RFC 6901 §4: digits without a leading zero.
fn index(token: &str) -> Option<usize> {
    let is_plain = token.bytes().all(|byte| byte.is_ascii_digit()) && (token == "0" || !token.starts_with('0'));
    token.parse().ok().filter(|_| is_plain)
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(elements) => 1 + elements.iter().map(depth).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}
