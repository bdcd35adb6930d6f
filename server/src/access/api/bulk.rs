//! Several cases at once, each by a command of its own: one that is refused keeps no other from being done.

use actix_web::HttpResponse;
use actix_web::web::Data;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::super::bulk::{AT_ONCE, Action, carry_out};
use super::super::decline::DeclineReason;
use super::super::store;
use crate::accounts::ReviewingProgram;
use crate::error::{Error, FieldError};
use crate::http::api::{Body, Listed, NotDone, answer};
use crate::ids::ApplicationId;
use crate::portal::Portal;

/// What is to be done, and to which.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "action": "decline", "reason": "duplicate", "text": "",
    "cases": [{ "id": "app_01kjp2n3v8e8rbb3wd8jxq4m5c", "version": 3 }] }))]
pub(super) struct Order {
    /// `claim`, `release`, `approve` until the end that was asked for, or `decline`.
    action: String,
    /// For a decline: its reason.
    reason: Option<String>,
    /// For a decline: what the applicants read besides.
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
}

/// What became of one.
#[derive(Serialize, ToSchema)]
struct Outcome {
    /// The application.
    id: ApplicationId,
    /// Whether it was done.
    done: bool,
    /// Why not, in one stable word.
    code: Option<&'static str>,
    /// The same in a sentence.
    detail: Option<String>,
}

/// Act on several cases
///
/// Says of each what became of it.
#[utoipa::path(post, path = "/api/v1/review/bulk", operation_id = "act_on_cases", tag = "review", request_body = Order,
    responses((status = 200, body = Listed<Outcome>), NotDone), security(("token" = ["review"])))]
pub(super) async fn act(
    portal: Data<Portal>,
    ReviewingProgram(by): ReviewingProgram,
    Body(order): Body<Order>,
) -> Result<HttpResponse, Error> {
    let action = Action::named(&order.action)?;
    let reason = match (action, &order.reason) {
        (Action::Decline, reason) => reason.as_deref().unwrap_or_default().parse::<DeclineReason>()?,
        (Action::Claim | Action::Release | Action::Approve, _) => DeclineReason::Other,
    };
    let ids: Vec<ApplicationId> = order.cases.iter().map(|chosen| chosen.id).collect();
    if ids.is_empty() || ids.len() > AT_ONCE {
        return Err(FieldError::new("cases", format!("has 1 to {AT_ONCE} cases")).into());
    }
    if (1..ids.len()).any(|at| ids[..at].contains(&ids[at])) {
        return Err(FieldError::new("cases", "names one twice").into());
    }
    let found = store::find_all(&mut *portal.db.acquire().await?, &ids).await?;
    let mut items = Vec::new();
    for Chosen { id, version } in order.cases {
        let done = match found.iter().find(|one| one.id == id) {
            Some(one) => carry_out(&portal, &by, action, one, version, reason, &order.text).await,
            None => Err(Error::NotFound("application")),
        };
        items.push(match done {
            Ok(()) => Outcome { id, done: true, code: None, detail: None },
            // Our own fault is no answer to give.
            Err(fault @ (Error::Internal(_) | Error::Unavailable(_))) => return Err(fault),
            Err(refused) => Outcome { id, done: false, code: Some(refused.code()), detail: Some(refused.to_string()) },
        });
    }
    Ok(answer(&Listed { items, next: None }))
}
