//! The document at `/api/openapi.json`, held against the routes that are registered and against answers that were given.

use std::collections::BTreeSet;
use std::path::Path;

use reqwest::Method;
use serde_json::{Value, json};
use sqlx::PgPool;
use tests::{Page, Person, TestPortal};

use crate::route_table;

/// The document, and which of its operations were tried.
pub struct Document {
    whole: Value,
    tried: BTreeSet<(String, String)>,
    nobody: Person,
}

impl Document {
    /// As the portal serves it.
    pub async fn of(portal: &TestPortal) -> Self {
        let page = portal.visitor().fetch("/api/openapi.json").await;
        assert_eq!(page.status, 200, "{}", page.text);
        let nobody = portal.visitor().with_token(&format!("slc_{}", "a".repeat(48)));
        Self { whole: page.json(), tried: BTreeSet::new(), nobody }
    }

    /// Does it, and holds the answer against the schema; then asks with a token that is none, and holds the refusal against its own. What
    /// describes no refusal of tokens has none.
    /// `fill` stands for what the pattern leaves open (a space between one and the next), or behind it with `?`.
    pub async fn tries(&mut self, program: &Person, method: &str, pattern: &str, fill: &str, body: Option<Value>) -> Value {
        let path = filled(pattern, fill);
        let told = &self.whole["paths"][pattern][method.to_lowercase()];
        assert!(told.is_object(), "{method} {pattern} is not described");
        if let Some(body) = &body {
            self.fits(&told["requestBody"]["content"]["application/json"]["schema"], body, &format!("what {method} {path} sends"));
        }
        let refused = asks(&self.nobody, method, &path, body.as_ref()).await;
        let refusal = &told["responses"]["401"]["content"]["application/problem+json"]["schema"];
        if refusal.is_null() {
            assert!(refused.status < 300, "{method} {path}: {} {}", refused.status, refused.text);
        } else {
            assert_eq!(refused.status, 401, "{method} {path}: {}", refused.text);
            self.fits(refusal, &refused.json(), &format!("401 of {method} {path}"));
        }
        let answer = asks(program, method, &path, body.as_ref()).await;
        let described = &told["responses"][answer.status.to_string()];
        assert!(answer.status < 300 && described.is_object(), "{method} {path}: {} {}", answer.status, answer.text);
        self.tried.insert((method.to_owned(), pattern.to_owned()));
        if matches!(answer.status, 202 | 204) {
            return Value::Null;
        }
        let answer = answer.json();
        self.fits(&described["content"]["application/json"]["schema"], &answer, &format!("the answer of {method} {path}"));
        answer
    }

    /// Panics unless `value` is what `schema` describes, and nothing besides.
    #[track_caller]
    fn fits(&self, schema: &Value, value: &Value, what: &str) {
        assert!(schema.is_object(), "{what} has no schema");
        let mut components = self.whole["components"].clone();
        for described in components["schemas"].as_object_mut().unwrap().values_mut() {
            closed(described);
        }
        let mut schema = schema.clone();
        closed(&mut schema);
        let whole = json!({ "allOf": [schema], "components": components });
        let validator = jsonschema::draft202012::new(&whole).unwrap_or_else(|cause| panic!("{what}: {cause}"));
        let faults: Vec<String> = validator.iter_errors(value).map(|fault| format!("{}: {fault}", fault.instance_path())).collect();
        assert!(faults.is_empty(), "{what} is not as described: {faults:#?}\n{value:#}");
    }

    /// Panics unless every operation was tried.
    pub fn was_tried_whole(&self) {
        let missing: Vec<_> = described(&self.whole).difference(&self.tried).cloned().collect();
        assert!(missing.is_empty(), "never tried: {missing:?}");
    }
}

/// What a schema with fields does not name, an answer may not have: here, so that nothing is forgotten in the document.
fn closed(schema: &mut Value) {
    if let Some(fields) = schema.as_object_mut() {
        if fields.contains_key("properties") {
            fields.entry("additionalProperties").or_insert(Value::Bool(false));
        }
        fields.values_mut().for_each(closed);
    } else if let Some(list) = schema.as_array_mut() {
        list.iter_mut().for_each(closed);
    }
}

/// The path that a pattern stands for.
fn filled(pattern: &str, fill: &str) -> String {
    if fill.starts_with('?') {
        return format!("{pattern}{fill}");
    }
    let mut path = pattern.replace("{org}/{name}", "{both}");
    for word in fill.split(' ') {
        if let (Some(from), Some(to)) = (path.find('{'), path.find('}')) {
            path.replace_range(from..=to, word);
        }
    }
    path
}

async fn asks(program: &Person, method: &str, path: &str, body: Option<&Value>) -> Page {
    let request = program.request(Method::from_bytes(method.as_bytes()).unwrap(), path);
    let request = match body {
        Some(body) => request.json(body),
        None => request,
    };
    Page::of(request.send().await.unwrap()).await
}

/// Every operation that the document describes, as method and path.
pub fn described(document: &Value) -> BTreeSet<(String, String)> {
    let paths = document["paths"].as_object().unwrap().iter();
    paths.flat_map(|(path, item)| item.as_object().unwrap().keys().map(|method| (method.to_uppercase(), path.clone()))).collect()
}

fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get("$ref").and_then(Value::as_str));
            fields.values().for_each(|field| references(field, found));
        }
        Value::Array(list) => list.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

#[sqlx::test(migrator = "server::MIGRATOR")]
async fn what_is_described_is_registered_and_the_other_way_round(db: PgPool) {
    let portal = TestPortal::start(db).await;
    let document = Document::of(&portal).await.whole;
    let mut routes = route_table::registered();
    routes.retain(|(_, pattern)| pattern.starts_with("/api/v1/"));
    let told = described(&document);
    assert!(routes.len() > 40, "{routes:?}");
    let (missing, extra) = (routes.difference(&told).collect::<Vec<_>>(), told.difference(&routes).collect::<Vec<_>>());
    assert!(missing.is_empty() && extra.is_empty(), "not described: {missing:?}; described and not there: {extra:?}");
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1."));
    let mut refs = Vec::new();
    references(&document, &mut refs);
    for reference in refs {
        assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference} leads nowhere");
    }
    // One name for one operation, and every body has an example.
    let mut names = BTreeSet::new();
    for (method, path) in &told {
        let operation = &document["paths"][path][method.to_lowercase()];
        assert!(names.insert(operation["operationId"].as_str().unwrap()), "{method} {path} shares its name");
        assert!(operation["summary"].is_string() && operation["tags"][0].is_string(), "{method} {path}");
        let body = &operation["requestBody"]["content"]["application/json"]["schema"]["$ref"];
        if let Some(schema) = body.as_str().and_then(|path| document.pointer(path.trim_start_matches('#'))) {
            assert!(schema["example"].is_object() && schema["additionalProperties"] == false, "{method} {path}: {schema}");
        }
    }
    let visitor = portal.visitor();
    let start = visitor.get("/api/docs").await;
    start.says("Authorization: Bearer $SLUICE_TOKEN").says("/api/openapi.json");
    for (method, path) in &told {
        let operation = &document["paths"][path][method.to_lowercase()];
        let (tag, name) = (operation["tags"][0].as_str().unwrap(), operation["operationId"].as_str().unwrap());
        start.says(&format!("href=\"/api/docs/{tag}#{name}\""));
        let page = visitor.get(&format!("/api/docs/{tag}")).await;
        assert_eq!(page.status, 200, "{tag}");
        page.says(path).says(&format!("id=\"{name}\""));
    }
    for nothing in ["/api/docs/nothing", "/api/docs/", "/api/docs/models/x", "/api/docs/%3Cb%3E"] {
        assert_eq!(visitor.get(nothing).await.status, 404, "{nothing}");
    }
    let mut codes = BTreeSet::new();
    collect_codes(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../server/src"), &mut codes);
    assert!(codes.len() > 20, "{codes:?}");
    for code in codes {
        start.says(&format!("<code>{code}</code>"));
    }
}

/// Every code with which the source refuses by a condition.
fn collect_codes(folder: &Path, codes: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        // What the Hub's and OpenAI's interfaces say is their own.
        if path.is_dir() && !path.ends_with("openai") {
            collect_codes(&path, codes);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let found = text.split("code: \"").skip(1).chain(text.split("refused(\"").skip(1)).filter_map(|rest| rest.split('"').next());
            let is_code = |word: &str| word != "token_invalid" && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
            codes.extend(found.filter(|word| is_code(word)).map(str::to_owned));
        }
    }
}
