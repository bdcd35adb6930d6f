//! Where the reader stands with a model, and the next step, in words.

use sqlx::PgConnection;

use crate::access::{self, Action, Permit, Verdict};
use crate::accounts::Visitor;
use crate::catalog::{Gate, Model};
use crate::clock::Timestamp;
use crate::error::{Error, Mend};

/// What the page says to this reader.
pub(super) struct Standing {
    /// Whether they may have the weights now.
    pub(super) allowed: bool,
    /// One sentence.
    pub(super) message: String,
    /// The next step, if there is one to take here.
    pub(super) next: Option<Mend>,
}

/// Asks the one question and puts the answer into words.
pub(super) async fn standing(db: &mut PgConnection, visitor: &Visitor, model: &Model, now: Timestamp) -> Result<Standing, Error> {
    if visitor.account().is_none() && model.gate == Gate::Application {
        return Ok(Standing {
            allowed: false,
            message: "Access needs an account and an approved application. The licence can be read by everybody.".into(),
            next: Some(Mend { path: format!("{}/apply", model.path()), label: "Apply for access" }),
        });
    }
    Ok(match access::authorize(db, visitor, model, Action::Download, now).await? {
        Verdict::Allowed(permit) => Standing {
            allowed: true,
            message: match (model.gate, permit.until) {
                (Gate::Open, _) => "Open: anybody may download it, without an account.".into(),
                (Gate::Application, Some(until)) => format!("You have access until {}.", until.date()),
                (Gate::Application, None) => "You have access as an admin.".into(),
            },
            next: None,
        },
        Verdict::Refused(refusal) => {
            let mut message = refusal.message;
            if let Verdict::Allowed(Permit { trial: Some(trial), .. }) = access::authorize(db, visitor, model, Action::Try, now).await? {
                message += &format!(" Until then you may try it in the playground, with {} tokens.", trial.tokens_left);
            }
            Standing { allowed: false, message, next: refusal.mend }
        }
    })
}
