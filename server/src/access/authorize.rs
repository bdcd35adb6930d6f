//! The one question: may this visitor do this with this model, now? Pages, the Hub interface, tokens, playground and API all ask here.

use sqlx::PgConnection;

use super::block::Bar;
use super::grant::{Grant, Standing};
use super::scope::GrantScope;
use super::store;
use crate::accounts::{Role, Scope, Via, Visitor};
use crate::catalog::{Gate, Model};
use crate::clock::Timestamp;
use crate::error::{Error, Mend, Refusal};
use crate::http::when;
use crate::ids::{AccountId, ApplicationId, GrantId, ModelId};

/// What somebody wants to do with a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Fetch its weights.
    Download,
    /// Let it generate on the playground's page.
    Try,
    /// Let it generate by a program.
    Generate,
}

impl Action {
    /// What a token has to carry for it.
    fn scope(self) -> Scope {
        match self {
            Action::Download => Scope::Download,
            Action::Try | Action::Generate => Scope::Api,
        }
    }

    /// What a grant has to be for.
    fn of_grant(self) -> GrantScope {
        match self {
            Action::Download => GrantScope::Download,
            Action::Try => GrantScope::Playground,
            Action::Generate => GrantScope::Api,
        }
    }
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Yes.
    Allowed(Permit),
    /// No, for this reason, to be mended there.
    Refused(Refusal),
}

impl Verdict {
    /// The permit, or the refusal as an error.
    pub fn permit(self) -> Result<Permit, Error> {
        match self {
            Verdict::Allowed(permit) => Ok(permit),
            Verdict::Refused(refusal) => Err(refusal.into()),
        }
    }
}

/// What an allowed action rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permit {
    /// The grant; none for open models and for admins.
    pub grant: Option<GrantId>,
    /// Until when it holds.
    pub until: Option<Timestamp>,
    /// From when on it is paused unless its holder agrees to what has changed.
    pub agree_by: Option<Timestamp>,
    /// What it is limited to, while an application waits.
    pub trial: Option<Trial>,
}

/// What is left of the tokens that somebody may have in the playground while their application waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trial {
    /// The application that waits.
    pub application: ApplicationId,
    /// So many may still be read and made together. Generations that run count with what they have read.
    pub tokens_left: i64,
    /// So many of them are set aside, and given back as far as they are not made.
    pub set_aside: i64,
}

impl Trial {
    /// What is said where it does not suffice: what it waits for is the application.
    pub fn refusal(&self, code: &'static str, message: String) -> Refusal {
        let mend = Some(Mend { path: format!("/applications/{}", self.application), label: "See your application" });
        Refusal { code, message, mend }
    }
}

/// Where an account stands with a gated model that it has no grant for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LatestApplication {
    /// Begun, not sent.
    Draft,
    /// Waiting for a reviewer.
    Submitted(ApplicationId),
    /// Sent back: a reviewer asks for changes.
    ChangesRequested(ApplicationId),
    /// Declined; the page says why.
    Declined(ApplicationId),
    /// Approved, withdrawn or lapsed: nothing is open.
    Closed,
}

/// Where an account stands with a gated model: its latest grant and application, and what keeps it out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Footing {
    pub(super) grant: Option<Grant>,
    pub(super) application: Option<LatestApplication>,
    pub(super) bar: Option<Bar>,
    /// While the application waits and the model's rules allow it: what is left to try it with, which may be nothing.
    pub(super) trial: Option<Trial>,
    /// Until when a decline keeps them from applying again; it may be over, and is not asked while an application is open.
    pub(super) cools_until: Option<Timestamp>,
    /// Whether a request to renew the grant waits for a reviewer.
    pub(super) renewal_waits: bool,
}

/// Decides, from what the database says now. Errors are of the database only: a refusal is a value.
pub async fn authorize(db: &mut PgConnection, visitor: &Visitor, model: &Model, action: Action, now: Timestamp) -> Result<Verdict, Error> {
    let [verdict] = authorize_actions(db, visitor, model, [action], now).await?;
    Ok(verdict)
}

/// The same question about several actions, in one query: the verdicts in the order of `actions`.
pub async fn authorize_actions<const N: usize>(
    db: &mut PgConnection,
    visitor: &Visitor,
    model: &Model,
    actions: [Action; N],
    now: Timestamp,
) -> Result<[Verdict; N], Error> {
    let doors = actions.map(|action| (action, at_the_door(visitor, model, action)));
    let gated = doors.iter().find_map(|(_, door)| match door {
        Door::Settled(_) => None,
        Door::Gated(account) => Some(*account),
    });
    let footing = match gated {
        Some(account) => store::footing(db, account, model.id).await?,
        None => Footing::default(),
    };
    Ok(doors.map(|(action, door)| match door {
        Door::Settled(verdict) => verdict,
        Door::Gated(_) => judge(model, &footing, action, now),
    }))
}

/// The same, where whoever asks holds the grant in hand. Nothing means that it does not suffice, and not why: ask [`authorize`] for that.
pub fn permit_with(visitor: &Visitor, model: &Model, action: Action, grant: Option<&Grant>, now: Timestamp) -> Option<Permit> {
    let verdict = match at_the_door(visitor, model, action) {
        Door::Settled(verdict) => verdict,
        Door::Gated(_) => judge(model, &Footing { grant: grant.cloned(), ..Footing::default() }, action, now),
    };
    match verdict {
        Verdict::Allowed(permit) => Some(permit),
        Verdict::Refused(_) => None,
    }
}

/// The same question about many models, in one query: the verdicts in the order of `models`.
pub async fn authorize_each(
    db: &mut PgConnection,
    visitor: &Visitor,
    models: &[Model],
    action: Action,
    now: Timestamp,
) -> Result<Vec<Verdict>, Error> {
    let gated = models.iter().filter(|model| matches!(at_the_door(visitor, model, action), Door::Gated(_))).map(|model| model.id).collect();
    let footings = match visitor.account_id() {
        Some(account) => store::footings(db, account, gated).await?,
        None => Default::default(),
    };
    let verdicts = models.iter().map(|model| match at_the_door(visitor, model, action) {
        Door::Settled(verdict) => verdict,
        Door::Gated(_) => judge(model, &footings.get(&model.id).cloned().unwrap_or_default(), action, now),
    });
    Ok(verdicts.collect())
}

/// What is left of a trial. The application stays as it is until the end of the transaction, so that who counts on it counts alone.
/// Nothing when no application waits any more.
pub async fn lock_trial(tx: &mut PgConnection, account: AccountId, model: ModelId) -> Result<Option<Trial>, Error> {
    match store::lock_open(tx, account, model).await? {
        Some(_) => Ok(store::footing(tx, account, model).await?.trial),
        None => Ok(None),
    }
}

/// What can be said before the database is asked.
enum Door {
    /// All of it.
    Settled(Verdict),
    /// It depends on where this account stands with the model.
    Gated(AccountId),
}

fn at_the_door(visitor: &Visitor, model: &Model, action: Action) -> Door {
    let (account, via) = match visitor {
        Visitor::BadToken => return Door::Settled(Verdict::Refused(bad_token())),
        Visitor::Anonymous if model.gate == Gate::Open && action == Action::Download => return Door::Settled(allowed(None)),
        Visitor::Anonymous => return Door::Settled(Verdict::Refused(signed_out(model))),
        Visitor::Known { account, via } => (account, via),
    };
    if let Via::Token { scopes, .. } = via
        && !scopes.contains(&action.scope())
    {
        return Door::Settled(Verdict::Refused(scope_missing(action.scope())));
    }
    if model.gate == Gate::Open || account.role == Role::Admin {
        return Door::Settled(allowed(None));
    }
    Door::Gated(account.id)
}

/// The rule for a gated model, without a database: a grant that holds and is for this, or the reason why there is none.
fn judge(model: &Model, footing: &Footing, action: Action, now: Timestamp) -> Verdict {
    let name = model.full_name();
    if let Some(refusal) = footing.bar.as_ref().and_then(|bar| bar.refusal(&name, now)) {
        return Verdict::Refused(refusal);
    }
    let refusal = match footing.grant.as_ref().map(|grant| (grant, grant.standing(now))) {
        Some((grant, Standing::Holds)) if grant.scopes.contains(&action.of_grant()) => return allowed(Some(grant)),
        Some((grant, Standing::Holds)) => scope_not_granted(&name, grant, action),
        Some((grant, standing)) => match stopped(&name, grant, standing) {
            Some(refusal) => refusal,
            None => without_access(model, footing, Some((grant, standing)), now),
        },
        None => without_access(model, footing, None, now),
    };
    match footing.trial {
        Some(trial) if action == Action::Try && may_try(footing, now) && trial.tokens_left > 0 => {
            Verdict::Allowed(Permit { grant: None, until: None, agree_by: None, trial: Some(trial) })
        }
        Some(trial) if action == Action::Try && may_try(footing, now) => {
            let message = format!("{} You have used the tokens that you may try it with until then.", refusal.message);
            Verdict::Refused(trial.refusal("trial_used", message))
        }
        Some(_) | None => Verdict::Refused(refusal),
    }
}

/// Whether nothing but a decision is missing: an application waits, and no grant runs, whatever it is for, or was taken back.
fn may_try(footing: &Footing, now: Timestamp) -> bool {
    let waits = matches!(footing.application, Some(LatestApplication::Submitted(_) | LatestApplication::ChangesRequested(_)));
    waits && footing.grant.as_ref().is_none_or(|grant| matches!(grant.standing(now), Standing::Expired | Standing::Closed))
}

/// What is said to somebody whose grant, if they ever had one, is over.
fn without_access(model: &Model, footing: &Footing, over: Option<(&Grant, Standing)>, now: Timestamp) -> Refusal {
    let name = model.full_name();
    let apply = |label| Some(Mend { path: format!("{}/apply", model.path()), label });
    let see = |id: ApplicationId| Some(Mend { path: format!("/applications/{id}"), label: "See your application" });
    match (footing.application, over) {
        (Some(LatestApplication::Submitted(id)), _) => Refusal {
            code: "application_pending",
            message: format!("Your application for {name} is waiting for a reviewer."),
            mend: see(id),
        },
        (Some(LatestApplication::Draft), _) => Refusal {
            code: "application_draft",
            message: format!("Your application for {name} has not been sent yet."),
            mend: apply("Finish your application"),
        },
        (Some(LatestApplication::ChangesRequested(id)), _) => Refusal {
            code: "changes_requested",
            message: format!("A reviewer asks for changes to your application for {name}; it is your turn."),
            mend: see(id),
        },
        (_, Some((grant, Standing::Expired))) if footing.renewal_waits => Refusal {
            code: "grant_expired",
            message: format!("Your access to {name} ended on {}. Your renewal is waiting for a reviewer.", when::day(grant.expires_at)),
            mend: see_grant(grant, "See it"),
        },
        (_, Some((grant, Standing::Expired))) => Refusal {
            code: "grant_expired",
            message: format!("Your access to {name} ended on {}.", when::day(grant.expires_at)),
            mend: if grant.can_be_renewed(now).is_ok() { see_grant(grant, "Renew it") } else { apply("Apply again") },
        },
        (_, Some((_, Standing::Closed))) => {
            Refusal { code: "grant_closed", message: format!("You have closed your access to {name}."), mend: apply("Apply again") }
        }
        (declined, Some((grant, Standing::Revoked))) => Refusal {
            code: "grant_revoked",
            message: format!("Your access to {name} was revoked."),
            // A decline since then says from when on one may apply again.
            mend: match declined {
                Some(LatestApplication::Declined(id)) => see(id),
                _ => see_grant(grant, "See why"),
            },
        },
        (Some(LatestApplication::Declined(id)), _) => {
            let declined = format!("Your application for {name} was declined.");
            let (message, mend) = match footing.cools_until.filter(|from| now < *from) {
                Some(from) => (format!("{declined} You may apply again from {}.", when::day(from)), see(id)),
                None => (declined, apply("Apply again")),
            };
            Refusal { code: "application_declined", message, mend }
        }
        (Some(LatestApplication::Closed) | None, _) => Refusal {
            code: "no_application",
            message: format!("Access to {name} needs an approved application."),
            mend: apply("Apply for access"),
        },
    }
}

fn see_grant(grant: &Grant, label: &'static str) -> Option<Mend> {
    Some(Mend { path: format!("/grants/{}", grant.id), label })
}

fn scope_not_granted(name: &str, grant: &Grant, action: Action) -> Refusal {
    Refusal {
        code: "grant_scope",
        message: format!("Your access to {name} does not let you {}.", action.of_grant().means()),
        mend: see_grant(grant, "See what it is for"),
    }
}

fn consent_needed(name: &str, grant: &Grant) -> Refusal {
    Refusal {
        code: "consent_needed",
        message: format!("What you agreed to for {name} has changed; your access is paused until you agree to the new version."),
        mend: Some(Mend { path: format!("/grants/{}/consent", grant.id), label: "Read and agree" }),
    }
}

/// What is said to the holder of a grant whose time runs and that does not hold; nothing where it holds or is over.
pub(super) fn stopped(name: &str, grant: &Grant, standing: Standing) -> Option<Refusal> {
    match standing {
        Standing::Suspended | Standing::Blocked => Some(suspended(name, grant)),
        Standing::ConsentNeeded => Some(consent_needed(name, grant)),
        Standing::Holds | Standing::Expired | Standing::Closed | Standing::Revoked => None,
    }
}

fn suspended(name: &str, grant: &Grant) -> Refusal {
    let reason = grant.stopped().map_or("a reviewer is looking into it", |note| note.reason.trim_end_matches('.'));
    Refusal {
        code: "grant_suspended",
        message: format!("Your access to {name} is suspended: {reason}."),
        mend: see_grant(grant, "See your access"),
    }
}

fn allowed(grant: Option<&Grant>) -> Verdict {
    Verdict::Allowed(Permit {
        grant: grant.map(|grant| grant.id),
        until: grant.map(|grant| grant.expires_at),
        agree_by: grant.and_then(|grant| grant.consent_due_at),
        trial: None,
    })
}

/// What is said to a token that opens nothing, whatever it was shown for.
pub fn bad_token() -> Refusal {
    Refusal {
        code: "token_invalid",
        message: "This access token is unknown, expired or revoked.".into(),
        mend: Some(Mend { path: "/account/tokens".into(), label: "Make a new token" }),
    }
}

fn signed_out(model: &Model) -> Refusal {
    Refusal {
        code: "signed_out",
        message: format!("Access to {} needs an account: sign in, or send an access token.", model.full_name()),
        mend: Some(Mend { path: "/sign-in".into(), label: "Sign in" }),
    }
}

fn scope_missing(scope: Scope) -> Refusal {
    Refusal {
        code: "token_scope",
        message: format!("This access token does not carry the scope '{}'.", scope.as_str()),
        mend: Some(Mend { path: "/account/tokens".into(), label: "Make a token that does" }),
    }
}
