//! The rules of access to a model, as its admin sets them, and a change of its licence that matters.

use actix_web::HttpResponse;
use actix_web::web::{Data, Path};
use serde::Deserialize;

use super::releases::model_page;
use crate::access::policy::Rules;
use crate::access::{Policy, consent, policy};
use crate::accounts::Admin;
use crate::error::Error;
use crate::http::page::page_with_faults;
use crate::http::{Form, Frame, see_other};
use crate::ids::ModelId;
use crate::portal::Portal;

/// The form, as it was typed.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct PolicyForm {
    pub(super) revoke_needs_two: Option<String>,
    pub(super) trial_tokens: String,
    pub(super) answer_days: String,
    pub(super) reapply_days: String,
    /// The version of the rules that were seen.
    pub(super) version: Option<i64>,
}

impl PolicyForm {
    /// The form of the rules as they are.
    pub(super) fn of(Rules { policy, version, .. }: &Rules) -> Self {
        Self {
            revoke_needs_two: policy.revoke_needs_two.then(|| "on".into()),
            trial_tokens: policy.trial_tokens.to_string(),
            answer_days: policy.answer_days.to_string(),
            reapply_days: policy.reapply_days.to_string(),
            version: Some(*version),
        }
    }
}

/// `POST /admin/models/{id}/policy`
pub(super) async fn set(
    portal: Data<Portal>,
    frame: Frame,
    by: Admin,
    id: Path<ModelId>,
    Form(sent): Form<PolicyForm>,
) -> Result<HttpResponse, Error> {
    match Policy::parse(sent.revoke_needs_two.is_some(), &sent.trial_tokens, &sent.answer_days, &sent.reapply_days) {
        Ok(policy) => {
            let changed = policy::set(&portal, &by, *id, policy, sent.version).await?;
            let told = if changed { "Saved. The rules apply from now on." } else { "Those were the rules already; nothing was changed." };
            Ok(see_other(&format!("/admin/models/{id}"), Some(told)))
        }
        Err(faults) => page_with_faults(&model_page(&portal, frame, *id, Some(sent), faults).await?),
    }
}

/// The form that says that a licence's change matters.
#[derive(Deserialize)]
pub(super) struct ChangeForm {
    #[serde(default)]
    grace_days: String,
    /// The text that was seen.
    licence_shown: Option<String>,
}

/// `POST /admin/models/{id}/licence-change`: holders are asked to agree to the licence as it is now.
pub(super) async fn announce_licence(
    portal: Data<Portal>,
    frame: Frame,
    by: Admin,
    id: Path<ModelId>,
    Form(sent): Form<ChangeForm>,
) -> Result<HttpResponse, Error> {
    match consent::announce(&portal, &by, *id, sent.licence_shown.as_deref(), &sent.grace_days).await {
        Ok(asked) => {
            let mails = if asked == 1 { "1 holder gets a mail".to_owned() } else { format!("{asked} holders get a mail") };
            Ok(see_other(&format!("/admin/models/{id}"), Some(&format!("Announced. {mails} and are asked to agree."))))
        }
        Err(Error::Invalid(faults)) => page_with_faults(&model_page(&portal, frame, *id, None, faults).await?),
        Err(other) => Err(other),
    }
}
