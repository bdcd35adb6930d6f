//! The pages for people, drawn from the document alone: where to begin, and one for each tag.

use askama::Template;
use serde_json::Value;

use super::codes::{Code, GENERAL, OF_ACCESS};
use super::fields::{list, text};
use super::operation::{Body, Method, Needs, Operation, all, under};
use crate::accounts::Scope;
use crate::http::Frame;

#[derive(Template)]
#[template(path = "openapi/start.html")]
pub(super) struct StartPage {
    frame: Frame,
    /// The portal's own address.
    base: String,
    tags: Vec<Contents>,
    general: &'static [Code],
    of_access: &'static [Code],
    scopes: [Scope; 5],
}

/// A tag, and what is under it.
struct Contents {
    name: String,
    about: String,
    operations: Vec<Entry>,
}

struct Entry {
    anchor: String,
    method: Method,
    summary: String,
}

impl StartPage {
    pub(super) fn new(frame: Frame, document: &Value) -> Self {
        let entry = |(_, method, told): (&str, &str, &Value)| Entry {
            anchor: text(&told["operationId"]),
            method: Method::of(method),
            summary: text(&told["summary"]),
        };
        let tags = list(&document["tags"]).map(|tag| Contents {
            name: text(&tag["name"]),
            about: text(&tag["description"]),
            operations: under(document, &tag["name"]).map(entry).collect(),
        });
        let base = text(&document["servers"][0]["url"]);
        Self { frame, base, tags: tags.collect(), general: GENERAL, of_access: OF_ACCESS, scopes: Scope::ALL }
    }
}

#[derive(Template)]
#[template(path = "openapi/tag.html")]
pub(super) struct TagPage {
    frame: Frame,
    name: String,
    about: String,
    /// The names of all tags, for the way to the others.
    names: Vec<String>,
    operations: Vec<Operation>,
}

impl TagPage {
    /// Nothing for a tag that there is not.
    pub(super) fn new(frame: Frame, document: &Value, name: &str) -> Option<Self> {
        let tag = list(&document["tags"]).find(|tag| tag["name"] == name)?;
        Some(Self {
            frame,
            name: name.to_owned(),
            about: text(&tag["description"]),
            names: list(&document["tags"]).map(|tag| text(&tag["name"])).collect(),
            operations: all(document, &tag["name"]),
        })
    }
}
