//! One operation as its page tells of it.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::example::{example, resolve};
use super::fields::{self, Row, list, text};
use super::words::{Lines, Words};

/// A body longer than this stands over several lines.
const LINE_CHARS_MAX: usize = 64;

/// One operation.
pub(super) struct Operation {
    /// Its place on the page.
    pub(super) anchor: String,
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) summary: String,
    pub(super) about: Words,
    pub(super) needs: Needs,
    pub(super) parameters: Vec<Row>,
    /// The fields of what is sent.
    pub(super) fields: Vec<Row>,
    pub(super) curl: Lines,
    pub(super) answer: Answer,
    /// The statuses with which it is refused.
    pub(super) refusals: Vec<String>,
}

/// `GET` and the others.
pub(super) struct Method(pub(super) String);

impl Method {
    /// As the document writes it, in small letters.
    pub(super) fn of(name: &str) -> Self {
        Self(name.to_uppercase())
    }

    /// The class that gives it its colour.
    pub(super) fn colour(&self) -> &'static str {
        match self.0.as_str() {
            "GET" => "info",
            "DELETE" => "bad",
            "PUT" => "warn",
            _ => "ok",
        }
    }
}

/// What has to be shown.
pub(super) enum Needs {
    /// Nothing: everybody may.
    Nothing,
    /// Any token.
    Token,
    /// A token with this scope.
    Scope(String),
}

/// What comes back when it is done.
pub(super) struct Answer {
    pub(super) status: String,
    pub(super) about: Words,
    pub(super) body: Body,
}

/// What an answer carries.
pub(super) enum Body {
    Nothing,
    /// An example, and what its fields mean.
    Told {
        example: Lines,
        fields: Vec<Row>,
    },
    /// The same as that of another operation on the page: its place and its summary.
    As(String, String),
}

/// Every operation under a tag, in the order of the paths.
pub(super) fn under<'a>(document: &'a Value, tag: &'a Value) -> impl Iterator<Item = (&'a str, &'a str, &'a Value)> {
    let paths = document["paths"].as_object().into_iter().flatten();
    let each = paths
        .flat_map(|(path, item)| item.as_object().into_iter().flatten().map(move |(method, told)| (path.as_str(), method.as_str(), told)));
    each.filter(move |(_, _, told)| list(&told["tags"]).any(|named| named == tag))
}

/// All of them told. Of answers that are alike the first has the example.
pub(super) fn all(document: &Value, tag: &Value) -> Vec<Operation> {
    let mut shown = Shown::default();
    under(document, tag).map(|(path, method, told)| operation(document, path, method, told, &mut shown)).collect()
}

/// What was shown on the page so far.
#[derive(Default)]
struct Shown {
    /// Answers, by their schema: the place and the summary of the operation.
    answers: HashMap<String, (String, String)>,
    /// Schemas whose fields were told, by their names.
    schemas: HashSet<String>,
}

fn operation(document: &Value, path: &str, method: &str, told: &Value, shown: &mut Shown) -> Operation {
    let method = Method::of(method);
    let schema = resolve(document, &told["requestBody"]["content"]["application/json"]["schema"]);
    let body = (!schema.is_null()).then(|| example(document, schema));
    let (anchor, summary) = (text(&told["operationId"]), text(&told["summary"]));
    let responses = || told["responses"].as_object().into_iter().flatten();
    let done = responses().find(|(status, _)| status.starts_with('2'));
    Operation {
        about: Words(text(&told["description"])),
        needs: needs(told),
        parameters: fields::parameters(document, told),
        fields: fields::sent(document, schema),
        curl: Lines(curl(document, &method.0, path, told, body.as_ref())),
        answer: match done {
            Some((status, answer)) => Answer {
                status: status.clone(),
                about: Words(text(&answer["description"])),
                body: answered(document, answer, (&anchor, &summary), shown),
            },
            None => Answer { status: String::new(), about: Words::default(), body: Body::Nothing },
        },
        refusals: responses().map(|(status, _)| status).filter(|status| !status.starts_with('2')).cloned().collect(),
        anchor,
        method,
        path: path.to_owned(),
        summary,
    }
}

fn needs(told: &Value) -> Needs {
    if told["security"].as_array().is_none_or(Vec::is_empty) {
        return Needs::Nothing;
    }
    let scopes: Vec<String> = list(&told["security"][0]["token"]).map(text).collect();
    if scopes.is_empty() { Needs::Token } else { Needs::Scope(scopes.join(", ")) }
}

fn answered(document: &Value, answer: &Value, (anchor, summary): (&str, &str), shown: &mut Shown) -> Body {
    let schema = &answer["content"]["application/json"]["schema"];
    if schema.is_null() {
        return Body::Nothing;
    }
    if let Some((anchor, summary)) = shown.answers.get(&schema.to_string()) {
        return Body::As(anchor.clone(), summary.clone());
    }
    shown.answers.insert(schema.to_string(), (anchor.to_owned(), summary.to_owned()));
    let example = serde_json::to_string_pretty(&example(document, schema)).unwrap_or_default();
    Body::Told { example: Lines(example), fields: fields::answered(document, schema, &mut shown.schemas) }
}

/// Lines to paste, with the token in a variable.
fn curl(document: &Value, method: &str, path: &str, told: &Value, body: Option<&Value>) -> String {
    let mut lines = "curl".to_owned();
    if method != "GET" {
        lines += &format!(" -X {method}");
    }
    if !told["security"].as_array().is_none_or(Vec::is_empty) {
        lines += " -H \"Authorization: Bearer $SLUICE_TOKEN\"";
    }
    if let Some(body) = body {
        let short = body.to_string();
        let json = if short.len() > LINE_CHARS_MAX { serde_json::to_string_pretty(body).unwrap_or(short) } else { short };
        lines += &format!(" \\\n  -H 'Content-Type: application/json' \\\n  -d '{}'", json.replace('\'', "'\\''"));
    }
    format!("{lines} \\\n  '{}{path}'", text(&document["servers"][0]["url"]))
}
