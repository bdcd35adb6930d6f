//! The page for people, drawn from the document alone.

use askama::Template;
use serde_json::Value;

use super::example::{example, kind, resolve};
use crate::http::Frame;

#[derive(Template)]
#[template(path = "openapi/docs.html")]
pub(super) struct DocsPage {
    frame: Frame,
    about: String,
    groups: Vec<Group>,
}

/// The operations under one tag.
struct Group {
    name: String,
    about: String,
    operations: Vec<Operation>,
}

struct Operation {
    anchor: String,
    method: String,
    path: String,
    summary: String,
    about: String,
    /// What a token needs; nothing where none is needed.
    needs: Option<String>,
    parameters: Vec<Row>,
    fields: Vec<Row>,
    answers: Vec<Answer>,
    body: Option<String>,
    curl: String,
}

/// A parameter or a field of the body.
struct Row {
    name: String,
    kind: String,
    is_required: bool,
    about: String,
}

struct Answer {
    status: String,
    about: String,
    example: Option<String>,
}

impl DocsPage {
    pub(super) fn new(frame: Frame, document: &Value) -> Self {
        let groups = list(&document["tags"]).map(|tag| Group {
            name: text(&tag["name"]),
            about: text(&tag["description"]),
            operations: operations(document, &tag["name"]),
        });
        Self { frame, about: text(&document["info"]["description"]), groups: groups.collect() }
    }
}

fn operations(document: &Value, tag: &Value) -> Vec<Operation> {
    let paths = document["paths"].as_object().into_iter().flatten();
    let each = paths.flat_map(|(path, item)| item.as_object().into_iter().flatten().map(move |(method, told)| (path, method, told)));
    each.filter(|(_, _, told)| list(&told["tags"]).any(|named| named == tag))
        .map(|(path, method, told)| operation(document, path, method, told))
        .collect()
}

fn operation(document: &Value, path: &str, method: &str, told: &Value) -> Operation {
    let method = method.to_uppercase();
    let schema = resolve(document, &told["requestBody"]["content"]["application/json"]["schema"]);
    let body = (!schema.is_null()).then(|| example(document, schema));
    let scopes = list(&told["security"][0]["token"]).map(text).collect::<Vec<_>>().join(", ");
    let is_open = told["security"].as_array().is_none_or(Vec::is_empty);
    let pretty = |value: &Value| serde_json::to_string_pretty(value).unwrap_or_default();
    Operation {
        anchor: text(&told["operationId"]),
        summary: text(&told["summary"]),
        about: text(&told["description"]),
        needs: (!is_open).then(|| if scopes.is_empty() { "any token".into() } else { format!("a token with the scope {scopes}") }),
        parameters: list(&told["parameters"])
            .map(|parameter| {
                row(document, &text(&parameter["name"]), &parameter["schema"], parameter["required"] == true, &parameter["description"])
            })
            .collect(),
        fields: fields(document, schema),
        answers: told["responses"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(status, answer)| {
                let schema = &answer["content"]["application/json"]["schema"];
                let example = (!schema.is_null()).then(|| pretty(&example(document, schema)));
                Answer { status: status.clone(), about: text(&answer["description"]), example }
            })
            .collect(),
        curl: curl(document, &method, path, told, body.as_ref()),
        body: body.as_ref().map(pretty),
        method,
        path: path.to_owned(),
    }
}

fn fields(document: &Value, schema: &Value) -> Vec<Row> {
    let properties = schema["properties"].as_object().into_iter().flatten();
    properties
        .map(|(name, field)| row(document, name, field, list(&schema["required"]).any(|one| one == name.as_str()), &field["description"]))
        .collect()
}

fn row(document: &Value, name: &str, schema: &Value, is_required: bool, about: &Value) -> Row {
    let inner = list(&schema["oneOf"]).find(|one| one["type"] != "null").unwrap_or(schema);
    let kind = match (kind(resolve(document, inner)), &inner["items"]) {
        ("array", items) => format!("list of {}", kind(resolve(document, items))),
        ("", _) => "any".into(),
        (kind, _) => kind.to_owned(),
    };
    Row { name: name.to_owned(), kind, is_required, about: text(about) }
}

/// A line to paste, with the token in a variable.
fn curl(document: &Value, method: &str, path: &str, told: &Value, body: Option<&Value>) -> String {
    let mut line = "curl".to_owned();
    if method != "GET" {
        line += &format!(" -X {method}");
    }
    if !told["security"].as_array().is_none_or(Vec::is_empty) {
        line += " -H \"Authorization: Bearer $SLUICE_TOKEN\"";
    }
    if let Some(body) = body {
        line += &format!(" \\\n  -H 'Content-Type: application/json' -d '{}'", body.to_string().replace('\'', "'\\''"));
    }
    format!("{line} \\\n  '{}{path}'", text(&document["servers"][0]["url"]))
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
