//! Generates the client from the service's OpenAPI document, into the build folder.
//!
//! The document is OpenAPI 3.1 and progenitor reads 3.0, so what it does not know is rewritten on the way: in memory,
//! and no more than it needs.

use std::{env, error::Error, fs, path::Path};

use progenitor::{GenerationSettings, Generator, InterfaceStyle};
use serde_json::{Value, json};

const DOCUMENT: &str = "../../openapi/openapi.json";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={DOCUMENT}");
    println!("cargo::rerun-if-changed=build.rs");
    let mut document: Value = serde_json::from_str(&fs::read_to_string(DOCUMENT)?)?;
    document["openapi"] = json!("3.0.3");
    rewrite(&mut document);

    let mut generator = Generator::new(GenerationSettings::new().with_interface(InterfaceStyle::Builder));
    let code = generator.generate_tokens(&serde_json::from_value(document)?)?;
    // Laid out as a person would, so that it can be read: an editor jumps into it.
    let code = prettyplease::unparse(&syn::parse2(code)?);
    fs::write(Path::new(&env::var("OUT_DIR")?).join("posts.rs"), code)?;
    Ok(())
}

/// Says in the words of OpenAPI 3.0 what a part of the document says, and all that is within it.
fn rewrite(value: &mut Value) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(rewrite),
        Value::Object(object) => {
            // 3.1: `"type": ["string", "null"]`. 3.0: `"type": "string", "nullable": true`.
            if let Some(Value::Array(types)) = object.get("type") {
                let kind = types.iter().find(|kind| *kind != "null").cloned();
                let nullable = types.iter().any(|kind| kind == "null");
                object.insert("type".into(), kind.into());
                object.insert("nullable".into(), nullable.into());
            }
            // With limits, each string of each schema becomes a type of its own, which takes another crate to check
            // what the server checks anyway, and says better. A property may have such a name: that is an object.
            for limit in ["maxLength", "maximum", "minLength", "minimum", "pattern"] {
                if object.get(limit).is_some_and(|value| !value.is_object()) {
                    object.remove(limit);
                }
            }
            if let Some(Value::Object(content)) = object.get_mut("content") {
                // A body has one media type: `application/json`, which the service takes for a merge patch.
                content.remove("application/json-patch+json");
                content.remove("application/merge-patch+json");
                // Only what is `application/json` becomes a type, and a problem should be one.
                let kinds: Vec<_> = content.keys().filter(|kind| kind.ends_with("+json")).cloned().collect();
                for kind in kinds {
                    let json = content.remove(&kind);
                    content.insert("application/json".into(), json.into());
                }
            }
            object.values_mut().for_each(rewrite);
        }
        _ => {}
    }
}
