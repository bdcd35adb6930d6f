//! The Hub's own interface for access requests, so that `huggingface_hub` lists applications and decides on them. What is decided here is
//! decided by the same rules, on the same record, with the same mails as at the desk. It asks for a token with the scope `review`, as the
//! desk's other programs do: deciding is a reviewer's work, and a token that runs the portal (`admin`) does not decide in passing.

use actix_web::HttpResponse;
use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderValue};
use actix_web::middleware::Next;
use actix_web::web::{Bytes, Data, Path, Query};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use sqlx::PgConnection;
use time::Duration;

use super::application::{Application, Approval};
use super::decline::DeclineReason;
use super::form::Form;
use super::grant::HeldGrant;
use super::review::Seen;
use super::scope::GrantScope;
use super::state::State;
use super::{answers_view, forms, operate, review, store};
use crate::accounts::{self, Account, Email, ReviewingProgram};
use crate::catalog::{self, Model};
use crate::error::{Error, FieldError};
use crate::http::{problem, when};
use crate::ids::{AccountId, ApplicationId};
use crate::portal::Portal;

/// Requests on one page, unless fewer are asked for.
const PAGE: i64 = 1_000;
/// How long a grant holds that was given without an application.
const GRANT_DAYS: u16 = 365;

/// The states of a request, in the Hub's words.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Status {
    Pending,
    Accepted,
    Rejected,
}

impl Status {
    fn named(name: &str) -> Option<Self> {
        [Status::Pending, Status::Accepted, Status::Rejected].into_iter().find(|status| status.as_str() == name)
    }

    fn as_str(self) -> &'static str {
        match self {
            Status::Pending => "pending",
            Status::Accepted => "accepted",
            Status::Rejected => "rejected",
        }
    }
}

#[derive(Deserialize)]
pub(super) struct Paging {
    limit: Option<i64>,
    cursor: Option<String>,
}

/// Refusals as the Hub's library reads them: it shows people what stands under `error`, so the next step and its address stand there, too.
pub(super) async fn refused_in_words(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let answer = next.call(request).await?.map_into_boxed_body();
    let Some((detail, mend)) = problem::told(answer.response()) else { return Ok(answer) };
    let step = answer.request().app_data::<Data<Portal>>().zip(mend);
    let step = step.map(|(portal, mend)| format!(" {}: {}", mend.label, portal.config.url_of(&mend.path)));
    let body = json!({ "error": format!("{detail}{}", step.unwrap_or_default()) }).to_string();
    let mut answer = answer.map_body(|_, _| BoxBody::new(body));
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(answer)
}

/// `GET /api/models/{org}/{name}/user-access-request/{status}`
pub(super) async fn list(
    portal: Data<Portal>,
    _: ReviewingProgram,
    path: Path<(String, String, String)>,
    paging: Query<Paging>,
) -> Result<HttpResponse, Error> {
    let (org, name, status) = path.into_inner();
    let status = Status::named(&status).ok_or(Error::NotFound("list of requests"))?;
    let mut db = portal.db.acquire().await?;
    let model = model_of(&mut db, &org, &name).await?;
    let limit = paging.limit.unwrap_or(PAGE).clamp(1, PAGE);
    let (requests, last) = match status {
        Status::Accepted => {
            let after = cursor(&paging)?;
            let held = store::in_force_for(&mut db, model.id, portal.clock.now(), after, limit).await?;
            let people = people(&mut db, held.iter().map(|held| held.account)).await?;
            let rows: Vec<Value> = held.iter().filter_map(|held| Some(accepted(held, find(&people, held.account)?))).collect();
            (rows, held.last().filter(|_| held.len() as i64 == limit).map(|last| last.grant.id.to_string()))
        }
        Status::Pending | Status::Rejected => {
            let (after, state) = (cursor(&paging)?, if matches!(status, Status::Pending) { "submitted" } else { "declined" });
            let found = store::of_model(&mut db, model.id, state, after, limit).await?;
            let forms = forms::of_each(&mut db, &found).await?;
            let people = people(&mut db, found.iter().map(|application| application.applicant)).await?;
            let rows: Vec<Value> =
                found.iter().filter_map(|one| Some(request(one, forms.of(one), status, find(&people, one.applicant)?))).collect();
            (rows, found.last().filter(|_| found.len() as i64 == limit).map(|last| last.id.to_string()))
        }
    };
    let mut answer = HttpResponse::Ok();
    answer.insert_header((header::CACHE_CONTROL, "private, no-store"));
    if let Some(last) = last {
        let here = format!("/api/models/{}/user-access-request/{}", model.full_name(), status.as_str());
        let next = format!("<{}?limit={limit}&cursor={last}>; rel=\"next\"", portal.config.url_of(&here));
        answer.insert_header((header::LINK, HeaderValue::try_from(next).map_err(Error::internal)?));
    }
    Ok(answer.json(requests))
}

fn cursor<Id: std::str::FromStr>(paging: &Paging) -> Result<Option<Id>, FieldError> {
    let id = paging.cursor.as_deref().map(str::parse).transpose();
    id.map_err(|_| FieldError::new("cursor", "is what the link to the next page says"))
}

/// An application as the Hub tells of it. `fields` are the answers, by the names that the form gives them and in its words.
fn request(application: &Application, form: &Form, status: Status, person: &Account) -> Value {
    let answered = answers_view::read(form, &application.answers).into_iter().flat_map(|section| section.answers);
    let fields: Map<String, Value> = answered.map(|answer| (answer.label, json!(answer.lines.join("\n")))).collect();
    json!({
        "user": user(person),
        "requestId": application.id,
        "status": status.as_str(),
        "timestamp": when::hub(application.state.sent().map_or(application.created_at, |sent| sent.at)),
        "fields": fields,
    })
}

fn accepted(held: &HeldGrant, person: &Account) -> Value {
    json!({
        "user": user(person),
        "requestId": held.application.map_or_else(|| held.grant.id.to_string(), |application| application.to_string()),
        "status": Status::Accepted.as_str(),
        "timestamp": when::hub(held.grant.granted_at),
        "expiresAt": when::hub(held.grant.expires_at),
    })
}

/// People have no name for programs here but their address, as `whoami` says, too.
fn user(person: &Account) -> Value {
    json!({ "_id": person.id, "user": person.email.as_str(), "fullname": person.name, "email": person.email.as_str() })
}

/// What is to become of a request.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Handling {
    status: Status,
    request_id: Option<String>,
    user: Option<String>,
    rejection_reason: Option<String>,
}

/// `POST /api/models/{org}/{name}/user-access-request/handle`
pub(super) async fn handle(
    portal: Data<Portal>,
    ReviewingProgram(by): ReviewingProgram,
    path: Path<(String, String)>,
    body: Bytes,
) -> Result<HttpResponse, Error> {
    let handling: Handling = read(&body)?;
    let mut db = portal.db.acquire().await?;
    let model = model_of(&mut db, &path.0, &path.1).await?;
    let application = meant(&mut db, &model, &handling).await?;
    drop(db);
    match handling.status {
        Status::Accepted => {
            let until = portal.clock.now() + application.asked_for().unwrap_or(Duration::days(30));
            review::approve(&portal, &by, application.id, Seen::default(), Approval { until, scopes: &GrantScope::ALL, note: "" }).await?;
        }
        Status::Rejected => {
            let words = handling.rejection_reason.as_deref().unwrap_or_default();
            let declined = review::decline(&portal, &by, application.id, Seen::default(), DeclineReason::Other, words).await;
            declined.map_err(as_rejection)?;
        }
        Status::Pending => {
            let way = "a decision is not taken back to pending here: revoke the access at /review, and the person may apply again";
            return Err(Error::Conflict(way.into()));
        }
    }
    Ok(HttpResponse::Ok().json(json!({})))
}

/// What is wrong with the words of a decline, under the name that they have here.
fn as_rejection(error: Error) -> Error {
    let renamed = |fault: FieldError| if fault.field == "text" { FieldError::new("rejection_reason", fault.message) } else { fault };
    match error {
        Error::Invalid(faults) => Error::Invalid(faults.into_iter().map(renamed).collect()),
        other => other,
    }
}

/// The application that is meant: by its id, or the newest of an account. Drafts are their applicant's alone.
async fn meant(db: &mut PgConnection, model: &Model, handling: &Handling) -> Result<Application, Error> {
    let found = match (&handling.request_id, &handling.user) {
        (Some(id), _) => Some(store::find(db, id.parse::<ApplicationId>().map_err(|_| Error::NotFound("access request"))?).await?),
        (None, Some(user)) => {
            let applicant = person(db, user).await?.id;
            store::latest(db, applicant, model.id).await?
        }
        (None, None) => return Err(FieldError::new("user", "say whose request is meant, by user or requestId").into()),
    };
    found
        .filter(|application| application.model == model.id && !matches!(application.state, State::Draft))
        .ok_or(Error::NotFound("access request"))
}

#[derive(Deserialize)]
pub(super) struct Granting {
    user: String,
}

/// `POST /api/models/{org}/{name}/user-access-request/grant`: access without an application.
pub(super) async fn grant(
    portal: Data<Portal>,
    ReviewingProgram(by): ReviewingProgram,
    path: Path<(String, String)>,
    body: Bytes,
) -> Result<HttpResponse, Error> {
    let granting: Granting = read(&body)?;
    let mut db = portal.db.acquire().await?;
    let model = model_of(&mut db, &path.0, &path.1).await?;
    let person = person(&mut db, &granting.user).await?;
    drop(db);
    let reason = "given with a program, without an application";
    let grant = operate::give(&portal, Some(by.0.id), &person, &model, reason, GRANT_DAYS).await?;
    Ok(HttpResponse::Ok().json(json!({ "user": person.email.as_str(), "grant": grant.id, "expiresAt": when::hub(grant.expires_at) })))
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, FieldError> {
    serde_json::from_slice(body).map_err(|cause| FieldError::new("body", cause.to_string()))
}

async fn model_of(db: &mut PgConnection, org: &str, name: &str) -> Result<Model, Error> {
    catalog::find_model(db, org, name).await?.ok_or(Error::NotFound("model"))
}

async fn person(db: &mut PgConnection, user: &str) -> Result<Account, Error> {
    let email = Email::parse(user).map_err(|_| Error::NotFound("account"))?;
    accounts::find_by_email(db, &email).await?.ok_or(Error::NotFound("account"))
}

async fn people(db: &mut PgConnection, ids: impl Iterator<Item = AccountId>) -> Result<Vec<Account>, Error> {
    accounts::find_accounts(db, &ids.collect::<Vec<_>>()).await
}

fn find(people: &[Account], id: AccountId) -> Option<&Account> {
    people.iter().find(|person| person.id == id)
}
