//! Several cases at once, each by a command of its own: one that is refused keeps no other from being done.

use actix_web::HttpResponse;
use actix_web::web::Data;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::super::application::decline_text;
use super::super::bulk::{self, AT_ONCE, Action, carry_out, outcome};
use super::super::decline::DeclineReason;
use super::super::review::{Seen, refuse_unread};
use super::super::scope::{self, GrantScope};
use super::super::store;
use crate::accounts::ReviewingProgram;
use crate::error::{Error, FieldError};
use crate::http::api::{Body, Listed, NotDone, answer};
use crate::ids::ApplicationId;
use crate::portal::Portal;

/// What is to be done, and to which.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "action": "decline", "reason": "duplicate", "text": "See your other application.",
    "cases": [{ "id": "app_01kjp2n3v8e8rbb3wd8jxq4m5c", "version": 3, "comments": 2 }] }))]
pub(super) struct Order {
    /// `claim`, `release`, `approve` until the end that was asked for, or `decline`.
    action: String,
    /// For an approval: what access is for, of `download`, `playground` and `api`; all of them unless said.
    scopes: Option<Vec<String>>,
    /// For a decline: its reason.
    reason: Option<String>,
    /// For a decline, which needs it: what the applicants read.
    #[serde(default)]
    text: String,
    /// 1 to 100 cases, each once.
    cases: Vec<Chosen>,
}

/// One of them.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Chosen {
    /// The application's id.
    id: ApplicationId,
    /// The version that was seen.
    version: Option<i64>,
    /// For a decision: how many entries of the thread were seen; if somebody else has written since, it is refused (`stale`).
    comments: Option<i64>,
}

/// What became of one, or would.
#[derive(Serialize, ToSchema)]
struct Outcome {
    /// The application.
    id: ApplicationId,
    /// Whether it was done, or would be.
    done: bool,
    /// What would happen to it, in a few words; null once it was done, or where it would not be.
    told: Option<String>,
    /// Why not, in one stable word.
    code: Option<&'static str>,
    /// The same in a sentence.
    detail: Option<String>,
}

impl Outcome {
    /// Errors: our own fault, which is no answer to give.
    fn of(id: ApplicationId, done: Result<Option<String>, Error>) -> Result<Self, Error> {
        match done {
            Ok(told) => Ok(Self { id, done: true, told, code: None, detail: None }),
            Err(fault @ (Error::Internal(_) | Error::Unavailable(_))) => Err(fault),
            Err(refused) => Ok(Self { id, done: false, told: None, code: Some(refused.code()), detail: Some(refused.to_string()) }),
        }
    }
}

impl Order {
    /// What it says is done to each. Errors: what makes no sense, whichever the cases.
    fn checked(&self) -> Result<bulk::Order<'_>, Error> {
        let action = Action::named(&self.action)?;
        let scopes = GrantScope::chosen(self.scopes.as_deref())?;
        let reason = match (action, &self.reason) {
            (Action::Decline, reason) => {
                decline_text(&self.text)?;
                reason.as_deref().unwrap_or_default().parse()?
            }
            (Action::Approve, _) if scopes.is_empty() => return Err(scope::none_chosen().into()),
            (Action::Claim | Action::Release | Action::Approve, _) => DeclineReason::Other,
        };
        if self.cases.is_empty() || self.cases.len() > AT_ONCE {
            return Err(FieldError::new("cases", format!("has 1 to {AT_ONCE} cases")).into());
        }
        let ids = self.ids();
        if (1..ids.len()).any(|at| ids[..at].contains(&ids[at])) {
            return Err(FieldError::new("cases", "names one twice").into());
        }
        Ok(bulk::Order { action, scopes, reason, text: &self.text })
    }

    fn ids(&self) -> Vec<ApplicationId> {
        self.cases.iter().map(|chosen| chosen.id).collect()
    }
}

/// Act on several cases
///
/// Says of each what became of it.
#[utoipa::path(post, path = "/api/v1/review/bulk", operation_id = "act_on_cases", tag = "review", request_body = Order,
    responses((status = 200, body = Listed<Outcome>), NotDone), security(("token" = ["review"])))]
pub(super) async fn act(
    portal: Data<Portal>,
    ReviewingProgram(by): ReviewingProgram,
    Body(sent): Body<Order>,
) -> Result<HttpResponse, Error> {
    let order = sent.checked()?;
    let found = store::find_all(&mut *portal.db.acquire().await?, &sent.ids()).await?;
    let mut items = Vec::new();
    for Chosen { id, version, comments } in &sent.cases {
        let seen = Seen { version: *version, comments: *comments };
        let done = match found.iter().find(|one| one.id == *id) {
            Some(one) => carry_out(&portal, &by, &order, one, seen).await.map(|()| None),
            None => Err(Error::NotFound("application")),
        };
        items.push(Outcome::of(*id, done)?);
    }
    Ok(answer(&Listed { items, next: None }))
}

/// See what an action on several cases would do
///
/// Takes what the action itself takes, and does nothing.
#[utoipa::path(post, path = "/api/v1/review/bulk/preview", operation_id = "preview_action", tag = "review", request_body = Order,
    responses((status = 200, body = Listed<Outcome>), NotDone), security(("token" = ["review"])))]
pub(super) async fn preview(
    portal: Data<Portal>,
    ReviewingProgram(by): ReviewingProgram,
    Body(sent): Body<Order>,
) -> Result<HttpResponse, Error> {
    let order = sent.checked()?;
    let now = portal.clock.now();
    let mut db = portal.db.acquire().await?;
    let found = store::find_all(&mut db, &sent.ids()).await?;
    let mut items = Vec::new();
    for Chosen { id, version, comments } in &sent.cases {
        // A draft is its applicant's alone.
        let one = found.iter().find(|one| one.id == *id && one.state.sent().is_some()).ok_or(Error::NotFound("application"));
        let told = match one.and_then(|one| outcome(&order, one.clone().seen_as(*version)?, by.0.id, now)) {
            Ok(told) if order.action.decides() => refuse_unread(&mut db, &by, *id, *comments).await.map(|()| told),
            told => told,
        };
        items.push(Outcome::of(*id, told.map(Some))?);
    }
    Ok(answer(&Listed { items, next: None }))
}
