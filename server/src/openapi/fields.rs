//! Parameters and fields as rows of a table: a name, a kind, what it means.

use std::collections::HashSet;

use serde_json::Value;

use super::example::{kind, resolve};
use super::words::Words;

/// Deeper than this, the fields of fields are left to the example.
const DEPTH_MAX: usize = 3;

/// A parameter, a field that is sent, or one that comes back.
#[derive(Debug, PartialEq)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) is_needed: bool,
    pub(super) about: Words,
}

/// The parameters of an operation: those in its path, then those behind the `?`.
pub(super) fn parameters(document: &Value, told: &Value) -> Vec<Row> {
    let row = |parameter: &Value| Row {
        name: text(&parameter["name"]),
        kind: kind_of(document, &parameter["schema"]),
        is_needed: parameter["required"] == true,
        about: Words(text(&parameter["description"])),
    };
    list(&told["parameters"]).map(row).collect()
}

/// The fields of what is sent.
pub(super) fn sent(document: &Value, schema: &Value) -> Vec<Row> {
    let needed: Vec<&Value> = list(&schema["required"]).collect();
    let row = |(name, field): (&String, &Value)| Row {
        name: name.clone(),
        kind: kind_of(document, field),
        is_needed: needed.iter().any(|needed| *needed == name.as_str()),
        about: about(document, field),
    };
    schema["properties"].as_object().into_iter().flatten().map(row).collect()
}

/// The fields of what comes back, with those of the fields. What is in `known`, by the name of its schema, was told of before on the page; a
/// list is told of by its items, because every list is alike.
pub(super) fn answered(document: &Value, schema: &Value, known: &mut HashSet<String>) -> Vec<Row> {
    let mut rows = Vec::new();
    let whole = resolve(document, schema);
    let is_list = whole["properties"].as_object().is_some_and(|fields| fields.len() == 2 && fields.contains_key("items"));
    let told = if is_list { &whole["properties"]["items"]["items"] } else { schema };
    add(document, told, "", DEPTH_MAX, known, &mut rows);
    rows
}

fn add(document: &Value, schema: &Value, before: &str, depth: usize, known: &mut HashSet<String>, rows: &mut Vec<Row>) {
    let name_of_it = reference(schema).map(str::to_owned);
    if depth == 0 || name_of_it.is_some_and(|name| !known.insert(name)) {
        return;
    }
    for (name, field) in inner(document, schema)["properties"].as_object().into_iter().flatten() {
        let name = format!("{before}{name}");
        rows.push(Row { name: name.clone(), kind: kind_of(document, field), is_needed: false, about: about(document, field) });
        let whole = inner(document, field);
        match kind(whole) {
            "array" => add(document, &whole["items"], &format!("{name}[]."), depth - 1, known, rows),
            _ => add(document, field, &format!("{name}."), depth - 1, known, rows),
        }
    }
}

/// What is said of a field: where it stands, or else of its kind.
fn about(document: &Value, field: &Value) -> Words {
    let said = [&field["description"], &choice(field)["description"], &inner(document, field)["description"]];
    Words(said.into_iter().find(|said| said.is_string()).map(text).unwrap_or_default())
}

/// Of a schema that may be null, the other one.
fn choice(schema: &Value) -> &Value {
    list(&schema["oneOf"]).find(|one| one["type"] != "null").unwrap_or(schema)
}

/// The schema that is meant.
fn inner<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    resolve(document, choice(resolve(document, schema)))
}

fn reference(schema: &Value) -> Option<&str> {
    choice(schema)["$ref"].as_str()
}

fn kind_of(document: &Value, schema: &Value) -> String {
    let whole = inner(document, schema);
    match kind(whole) {
        "array" => format!("list of {}", kind_of(document, &whole["items"])),
        "" => "any".into(),
        kind => kind.to_owned(),
    }
}

pub(super) fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

pub(super) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_of_fields_are_named_by_their_way_and_told_once() {
        let document = json!({ "components": { "schemas": {
            "Inner": { "type": "object", "properties": { "at": { "type": ["string", "null"], "description": "When." } } },
            "Whole": { "type": "object", "required": ["all"], "properties": {
                "all": { "type": "array", "items": { "$ref": "#/components/schemas/Inner" } },
                "last": { "oneOf": [{ "type": "null" }, { "$ref": "#/components/schemas/Inner" }], "description": "The last." },
            } },
        } } });
        let whole = json!({ "$ref": "#/components/schemas/Whole" });
        let mut known = HashSet::new();
        let rows = answered(&document, &whole, &mut known);
        let told: Vec<(&str, &str, &str)> = rows.iter().map(|row| (row.name.as_str(), row.kind.as_str(), row.about.0.as_str())).collect();
        let expected = [("all", "list of object", ""), ("all[].at", "string", "When."), ("last", "object", "The last.")];
        assert_eq!(told, expected, "and what is in the last one was told");
        assert_eq!(answered(&document, &whole, &mut known), [], "all of it was");
        let needed: Vec<bool> = sent(&document, resolve(&document, &whole)).iter().map(|row| row.is_needed).collect();
        assert_eq!(needed, [true, false]);
        let listed = json!({ "properties": { "items": { "type": "array", "items": whole }, "next": { "type": "string" } } });
        assert_eq!(answered(&document, &listed, &mut HashSet::new())[0].name, "all", "of a list, the items");
    }
}
