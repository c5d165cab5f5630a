//! Who may import whom: downwards only, by the order of the modules in `lib.rs`, and no further than these rules say.

#![expect(clippy::unwrap_used, reason = "where a test cannot go on, it fails")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Only these rooms know every resource.
const KNOW_RESOURCES: [&str; 2] = ["routes", "openapi"];

/// Who knows one besides: `posts user` is for when nobody can sign in, and posts are indexed in the background.
const KNOW_ONE: [(&str, &str); 2] = [("cli", "users"), ("server", "posts")];

/// A source file: its module path, and what it uses.
struct Module {
    name: String,
    text: String,
}

impl Module {
    fn room(&self) -> &str {
        self.name.split("::").next().unwrap()
    }

    /// The rooms of this crate that the file names.
    fn imports(&self) -> BTreeSet<String> {
        let mut rooms = BTreeSet::new();
        for (index, _) in self.text.match_indices("crate::") {
            let rest = &self.text[index + "crate::".len()..];
            let names = match rest.strip_prefix('{') {
                // `use crate::{a, b::c};`
                Some(list) => list.split('}').next().unwrap().split(',').map(str::trim).collect(),
                None => vec![rest],
            };
            for name in names {
                let room: String = name.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                rooms.insert(room);
            }
        }
        rooms.remove(self.room());
        rooms
    }
}

fn modules() -> Vec<Module> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut modules = Vec::new();
    let mut folders = vec![source.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                modules.push(Module { name: name(&source, &path), text: without_comments(&path) });
            }
        }
    }
    assert!(modules.len() > 20, "the source was not found");
    modules
}

fn name(source: &Path, path: &Path) -> String {
    let path = path.strip_prefix(source).unwrap().with_extension("");
    let name = path.to_str().unwrap().replace('/', "::");
    name.trim_end_matches("::mod").to_owned()
}

fn without_comments(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// The rooms, from the command line down, as `lib.rs` lists them.
fn order(modules: &[Module]) -> Vec<String> {
    let map = modules.iter().find(|module| module.name == "lib").unwrap();
    let names = map.text.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    names.map(str::to_owned).collect()
}

#[test]
fn imports_go_downwards_only() {
    let modules = modules();
    let order = order(&modules);
    let rank = |room: &str| order.iter().position(|known| known == room);
    for module in modules.iter().filter(|module| module.name != "lib" && module.name != "main") {
        let own = rank(module.room()).unwrap_or_else(|| panic!("lib.rs does not list {}", module.name));
        for imported in module.imports() {
            let Some(other) = rank(&imported) else { panic!("{} names crate::{imported}", module.name) };
            assert!(own < other, "{} imports {imported}, which is above it", module.name);
        }
    }
}

#[test]
fn only_the_map_and_the_document_know_every_resource() {
    let modules = modules();
    // A resource is a folder with a store.
    let resources: Vec<_> = modules.iter().filter_map(|module| module.name.strip_suffix("::store")).collect();
    assert!(resources.contains(&"posts"));
    for module in modules.iter().filter(|module| !KNOW_RESOURCES.contains(&module.room())) {
        let mut known: Vec<_> =
            module.imports().into_iter().filter(|room| resources.contains(&room.as_str())).collect();
        known.retain(|room| !KNOW_ONE.contains(&(module.room(), room)));
        assert!(known.is_empty(), "{} knows {known:?}", module.name);
    }
}

#[test]
fn a_store_knows_no_http_and_handlers_know_no_sql() {
    for module in modules() {
        let forbidden: &[&str] = match module.name.rsplit("::").next().unwrap() {
            _ if module.room() == "search" => &["actix_web::", "diesel::"],
            // `posts::search` is a part of the store.
            "store" | "search" => &["actix_web::", "crate::http"],
            "handlers" => &["diesel::", "crate::db::schema"],
            _ if module.room() == "db" => &["actix_web::"],
            _ => &[],
        };
        for library in forbidden {
            assert!(!module.text.contains(library), "{} uses {library}", module.name);
        }
    }
}
