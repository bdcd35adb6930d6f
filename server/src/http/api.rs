//! What the operations of `/api/v1` share: bodies, pages of lists, moments, and how the document tells of refusals.

use std::collections::BTreeMap;

use actix_web::dev::Payload;
use actix_web::http::header::CACHE_CONTROL;
use actix_web::{FromRequest, HttpMessage, HttpRequest, HttpResponse, web};
use futures_util::future::LocalBoxFuture;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{IntoResponses, PartialSchema, ToSchema};

use super::csrf::FORM_BYTES_MAX;
use super::when;
use crate::clock::Timestamp;
use crate::config::Config;
use crate::error::{Error, FieldError};

/// How many items a page of a list has unless asked otherwise.
const LIMIT_DEFAULT: i64 = 50;
/// How many it has at most.
const LIMIT_MAX: i64 = 200;

/// A JSON body, as large as a form may be unless said otherwise. No body at all counts as `{}`.
pub struct Body<T, const BYTES_MAX: usize = FORM_BYTES_MAX>(pub T);

impl<T: DeserializeOwned + 'static, const BYTES_MAX: usize> FromRequest for Body<T, BYTES_MAX> {
    type Error = Error;
    type Future = LocalBoxFuture<'static, Result<Self, Error>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let is_json = request.content_type().eq_ignore_ascii_case("application/json");
        let bytes = web::Payload::from_request(request, payload);
        Box::pin(async move {
            let fault = |message: String| Error::from(FieldError::new("body", message));
            let bytes = bytes.await.map_err(|cause| fault(format!("cannot be read: {cause}")))?;
            let too_large = |_| fault(format!("has more than {} KiB", BYTES_MAX / 1024));
            let bytes =
                bytes.to_bytes_limited(BYTES_MAX).await.map_err(too_large)?.map_err(|cause| fault(format!("cannot be read: {cause}")))?;
            if !bytes.is_empty() && !is_json {
                return Err(fault("is JSON, and the header Content-Type says application/json".into()));
            }
            let json = if bytes.is_empty() { b"{}" } else { bytes.as_ref() };
            serde_json::from_slice(json).map(Body).map_err(|cause| fault(cause.to_string()))
        })
    }
}

/// Nothing that has to be said.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({}))]
pub struct Nothing {}

/// How many items of a list somebody asked for. Errors: `Invalid` for none, fewer, or more than a page has.
pub fn limit(asked: Option<i64>) -> Result<usize, FieldError> {
    let limit = asked.unwrap_or(LIMIT_DEFAULT);
    let known = (1..=LIMIT_MAX).contains(&limit).then_some(limit as usize);
    known.ok_or_else(|| FieldError::new("limit", format!("is a number from 1 to {LIMIT_MAX}")))
}

/// The place in a list that a `cursor` names. Errors: `Invalid` for what no page gave.
pub fn cursor<Place: std::str::FromStr>(asked: Option<&str>) -> Result<Option<Place>, FieldError> {
    let place = asked.map(str::parse).transpose();
    place.map_err(|_| FieldError::new("cursor", "is what the address of the next page says; begin again without it"))
}

/// One page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct Listed<T> {
    /// The items of this page.
    pub items: Vec<T>,
    /// The address of the next page; null on the last one.
    pub next: Option<String>,
}

/// Where a list is cut, and what the address of its next page is made of.
pub struct Cut<'a> {
    /// For the portal's own address.
    pub config: &'a Config,
    /// What was asked; filters go along to the next page.
    pub request: &'a HttpRequest,
    /// How many items the page has.
    pub limit: usize,
}

impl Cut<'_> {
    /// How many rows to look up: one more than the page has, to know whether there is another.
    pub fn rows(&self) -> i64 {
        self.limit as i64 + 1
    }

    /// Cuts the rows to the page, and says where the next begins: behind the place of its last row.
    pub fn next<Row, Place: ToString>(&self, rows: &mut Vec<Row>, place: impl Fn(&Row) -> Place) -> Option<String> {
        let is_more = rows.len() > self.limit;
        rows.truncate(self.limit);
        let last = rows.last().filter(|_| is_more)?;
        let query = self.request.query_string().as_bytes();
        let others = url::form_urlencoded::parse(query).filter(|(name, _)| name != "cursor");
        let query = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(others)
            .append_pair("cursor", &place(last).to_string())
            .finish();
        Some(self.config.url_of(&format!("{}?{query}", self.request.path())))
    }
}

/// An answer, which is its asker's alone.
pub fn answer(body: &impl Serialize) -> HttpResponse {
    HttpResponse::Ok().insert_header((CACHE_CONTROL, "private, no-store")).json(body)
}

/// A moment, UTC.
#[derive(Debug, Clone, Copy)]
pub struct Moment(pub Timestamp);

impl From<Timestamp> for Moment {
    fn from(at: Timestamp) -> Self {
        Self(at)
    }
}

impl Serialize for Moment {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&when::hub(self.0))
    }
}

impl PartialSchema for Moment {
    fn schema() -> RefOr<utoipa::openapi::Schema> {
        use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, SchemaFormat, Type};
        ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
            .description(Some("A moment, UTC."))
            .examples(["2026-03-02T09:00:00.000Z"])
            .into()
    }
}

impl ToSchema for Moment {}

/// Why something was refused (RFC 9457, `application/problem+json`).
#[derive(Serialize, ToSchema)]
pub struct Problem {
    /// Always `about:blank`.
    r#type: String,
    /// In a few words, for people.
    title: String,
    /// The status of the answer.
    status: u16,
    /// In one stable word, for programs.
    #[schema(example = "stale")]
    code: String,
    /// What is missing, in a sentence.
    detail: String,
    /// Where it can be mended, or seen as it is now.
    mend: Option<Mending>,
    /// What was sent and cannot be accepted, field by field.
    errors: Option<Vec<Fault>>,
}

/// The next step after a refusal.
#[derive(Serialize, ToSchema)]
pub struct Mending {
    /// A page of the portal, as a path from its root.
    #[schema(example = "/account/tokens")]
    pub path: String,
    /// The words on the button.
    pub label: String,
}

impl From<crate::error::Mend> for Mending {
    fn from(mend: crate::error::Mend) -> Self {
        Self { path: mend.path, label: mend.label.to_owned() }
    }
}

/// One field that cannot be accepted.
#[derive(Serialize, ToSchema)]
pub struct Fault {
    /// Its name.
    field: String,
    /// What is wrong, and what would be right.
    message: String,
}

fn refusals(statuses: &[(&str, &str)]) -> BTreeMap<String, RefOr<Response>> {
    let refusal = |(status, why): &(&str, &str)| {
        let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
        let response = ResponseBuilder::new().description(*why).content("application/problem+json", content).build();
        ((*status).to_owned(), RefOr::T(response))
    };
    statuses.iter().map(refusal).collect()
}

const BAD_TOKEN: (&str, &str) = ("401", "No token, or one that does not work.");
const NOT_FOUND: (&str, &str) = ("404", "There is no such thing, or it is not yours to see.");
const TOO_OFTEN: (&str, &str) = ("429", "Too often; the header Retry-After says when to come back.");
const INVALID: (&str, &str) = ("422", "What was sent makes no sense; every fault by its field.");

/// How something that everybody may read is refused.
pub struct Unreadable;

impl IntoResponses for Unreadable {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        refusals(&[BAD_TOKEN, NOT_FOUND, INVALID])
    }
}

/// How something is refused that anybody may say, whoever they are.
pub struct Unheard;

impl IntoResponses for Unheard {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        refusals(&[INVALID, TOO_OFTEN])
    }
}

/// How something that needs a token is refused.
pub struct Refused;

impl IntoResponses for Refused {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        refusals(&[
            BAD_TOKEN,
            ("403", "Known, and not allowed: `code` says which condition is missing, `mend` where to meet it."),
            NOT_FOUND,
            INVALID,
        ])
    }
}

/// How something that changes the state of a thing is refused.
pub struct NotDone;

impl IntoResponses for NotDone {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let mut all = Refused::responses();
        all.append(&mut refusals(&[
            ("409", "The state of the thing does not allow it (`conflict`), or it changed since you looked (`stale`); `mend` is where to go on."),
            TOO_OFTEN,
        ]));
        all
    }
}
