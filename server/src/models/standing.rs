//! Where the reader stands with a model, and the next step, in words.

use sqlx::PgConnection;

use crate::access::{self, Action, Permit, Verdict};
use crate::accounts::Visitor;
use crate::catalog::{Gate, Model};
use crate::clock::Timestamp;
use crate::error::{Error, Mend};
use crate::http::when;
use crate::ids::GrantId;

/// What the page says to this reader.
pub(super) struct Standing {
    /// Whether they may have the weights now.
    pub(super) allowed: bool,
    /// One sentence.
    pub(super) message: String,
    /// The next step, if there is one to take here.
    pub(super) next: Option<Mend>,
    /// The grant that it rests on, which has a page.
    pub(super) grant: Option<GrantId>,
    /// Whether access goes on for now, and its holder has to agree to what has changed.
    pub(super) asks_consent: bool,
}

/// Asks the one question and puts the answer into words.
pub(super) async fn standing(db: &mut PgConnection, visitor: &Visitor, model: &Model, now: Timestamp) -> Result<Standing, Error> {
    if visitor.account().is_none() && model.gate == Gate::Application {
        return Ok(Standing {
            allowed: false,
            message: "Access needs an account and an approved application. The licence can be read by everybody.".into(),
            next: Some(Mend { path: format!("{}/apply", model.path()), label: "Apply for access" }),
            grant: None,
            asks_consent: false,
        });
    }
    let [download, attempt] = access::authorize_actions(db, visitor, model, [Action::Download, Action::Try], now).await?;
    Ok(match download {
        Verdict::Allowed(permit) => {
            let mut message = match (model.gate, permit.until) {
                (Gate::Open, _) => "Open: anybody may download it, without an account.".into(),
                (Gate::Application, Some(until)) => format!("You have access until {}.", when::day(until)),
                (Gate::Application, None) => "You have access as an admin.".into(),
            };
            if let Some(by) = permit.agree_by {
                message += &format!(" What you agreed to has changed: agree by {}, or your access will be paused.", when::minute(by));
            }
            let agree = |grant: GrantId| Mend { path: format!("/grants/{grant}/consent"), label: "Read and agree" };
            let next = permit.grant.filter(|_| permit.agree_by.is_some()).map(agree);
            Standing { allowed: true, message, asks_consent: next.is_some(), next, grant: permit.grant }
        }
        Verdict::Refused(refusal) => {
            let mut message = refusal.message;
            if let Verdict::Allowed(Permit { trial: Some(trial), .. }) = attempt {
                message += &format!(" Until then you may try it in the playground, with {} tokens.", trial.tokens_left);
            }
            Standing { allowed: false, message, next: refusal.mend, grant: None, asks_consent: false }
        }
    })
}
