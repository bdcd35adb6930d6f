//! An example of what a schema describes.

use serde_json::{Map, Value, json};

/// Deeper than any schema of ours; ends a circle.
const DEPTH_MAX: usize = 12;

/// What `schema` points at, if it points.
pub(super) fn resolve<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    match schema["$ref"].as_str().and_then(|path| path.strip_prefix('#')) {
        Some(path) => document.pointer(path).unwrap_or(schema),
        None => schema,
    }
}

/// One value that the schema allows: the one it names itself where it names one.
pub(super) fn example(document: &Value, schema: &Value) -> Value {
    made(document, schema, 0)
}

fn made(document: &Value, schema: &Value, depth: usize) -> Value {
    let schema = resolve(document, schema);
    if let Some(example) = schema.get("example").or_else(|| schema["examples"].get(0)) {
        return example.clone();
    }
    if depth >= DEPTH_MAX {
        return Value::Null;
    }
    for choice in ["oneOf", "anyOf", "allOf"] {
        if let Some(first) = schema[choice].as_array().and_then(|all| all.iter().find(|one| one["type"] != "null")) {
            return made(document, first, depth + 1);
        }
    }
    if let Some(first) = schema["enum"].get(0) {
        return first.clone();
    }
    match kind(schema) {
        "array" => json!([made(document, &schema["items"], depth + 1)]),
        "object" => {
            let fields = schema["properties"].as_object().into_iter().flatten();
            Value::Object(fields.map(|(name, field)| (name.clone(), made(document, field, depth + 1))).collect::<Map<_, _>>())
        }
        "integer" | "number" => schema.get("minimum").cloned().unwrap_or(json!(1)),
        "boolean" => json!(false),
        "string" => json!("…"),
        _ => Value::Null,
    }
}

/// The type's name; of one that may be null, the other.
pub(super) fn kind(schema: &Value) -> &str {
    match &schema["type"] {
        Value::String(name) => name,
        Value::Array(names) => names.iter().filter_map(Value::as_str).find(|name| *name != "null").unwrap_or_default(),
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_without_examples_gets_one_of_its_types() {
        let document = json!({ "components": { "schemas": {
            "Id": { "type": "string", "examples": ["app_1"] },
            "Thing": { "type": "object", "properties": {
                "id": { "$ref": "#/components/schemas/Id" },
                "note": { "type": ["string", "null"] },
                "inner": { "oneOf": [{ "type": "null" }, { "$ref": "#/components/schemas/Thing" }] },
            } },
        } } });
        let list = json!({ "type": "array", "items": { "$ref": "#/components/schemas/Thing" } });
        let made = example(&document, &list);
        assert_eq!((&made[0]["id"], &made[0]["note"], &made[0]["inner"]["id"]), (&json!("app_1"), &json!("…"), &json!("app_1")));
    }
}
