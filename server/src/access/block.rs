//! Blocks: somebody is kept from one model, or from all, for a time and a reason. Apart from every decision on an application: a decline
//! bars nobody, and a block says nothing about a project.

use sqlx::PgConnection;
use time::Duration;

use super::revoke::{let_decision_go, parse_reason};
use super::{held, store};
use crate::accounts::{self, Account, Reviewer, Role};
use crate::audit::{self, Event};
use crate::catalog;
use crate::clock::Timestamp;
use crate::error::{Error, FieldError, Mend, Refusal};
use crate::http::when;
use crate::ids::{AccountId, BlockId, ModelId};
use crate::mail::{self, Message};
use crate::portal::Portal;

/// The longest a block may stand; another can follow it.
pub const BLOCK_LIFE_MAX: Duration = Duration::days(3 * 366);

/// What a block that names no model keeps somebody from.
pub(super) const EVERY_MODEL: &str = "every model";

/// A block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Its id.
    pub id: BlockId,
    /// Who is kept out.
    pub account: AccountId,
    /// From which model; from all when none is named.
    pub model: Option<ModelId>,
    /// Why, as the person reads it.
    pub reason: String,
    /// Who set it; nobody where it followed an address from an account that was erased.
    pub set_by: Option<AccountId>,
    /// Since when it stands.
    pub set_at: Timestamp,
    /// The first moment at which it does not stand any more.
    pub expires_at: Timestamp,
    /// When somebody lifted it before that.
    pub lifted_at: Option<Timestamp>,
}

impl Block {
    /// Whether it stands now.
    pub fn stands(&self, now: Timestamp) -> bool {
        self.lifted_at.is_none() && now < self.expires_at
    }
}

/// What a block says to whoever it keeps out. It stands until its moment, whatever that is worth now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bar {
    /// The first moment at which it does not stand any more.
    pub until: Timestamp,
    /// Why.
    pub reason: String,
    /// From which model; from all when none is named.
    pub model: Option<ModelId>,
}

impl Bar {
    /// What it keeps somebody from: the model that they asked for, or every one.
    pub(super) fn what<'a>(&self, model: &'a str) -> &'a str {
        if self.model.is_some() { model } else { EVERY_MODEL }
    }

    /// The refusal, if it stands now.
    pub(super) fn refusal(&self, model: &str, now: Timestamp) -> Option<Refusal> {
        (now < self.until).then(|| Refusal {
            code: "blocked",
            message: format!(
                "You are blocked from {} until {}: {}.",
                self.what(model),
                when::day(self.until),
                self.reason.trim_end_matches('.')
            ),
            mend: Some(Mend { path: "/applications".into(), label: "See your applications" }),
        })
    }
}

/// Refuses to give access to somebody who is blocked from this model: the block is lifted first. Errors: `Conflict`, for whoever gives it.
pub(super) async fn refuse_gift(
    db: &mut PgConnection,
    account: &accounts::Account,
    model: &catalog::Model,
    now: Timestamp,
) -> Result<(), Error> {
    match store::footing(db, account.id, model.id).await?.bar.filter(|bar| now < bar.until) {
        Some(bar) => {
            let (name, model, until) = (&account.name, model.full_name(), when::day(bar.until));
            let what = bar.what(&model);
            Err(Error::Conflict(format!("{name} is blocked from {what} until {until}; lift the block first. Nothing was changed").into()))
        }
        None => Ok(()),
    }
}

/// Refuses whoever is blocked from this model. Errors: `Forbidden` with the reason and the end.
pub async fn refuse(db: &mut PgConnection, account: AccountId, model: &catalog::Model, now: Timestamp) -> Result<(), Error> {
    refuse_by(store::footing(db, account, model.id).await?.bar.as_ref(), model, now)
}

/// The same where it is known what keeps them out.
pub(super) fn refuse_by(bar: Option<&Bar>, model: &catalog::Model, now: Timestamp) -> Result<(), Error> {
    match bar.and_then(|bar| bar.refusal(&model.full_name(), now)) {
        Some(refusal) => Err(refusal.into()),
        None => Ok(()),
    }
}

/// Every block there ever was against an account, the newest first.
pub async fn of(db: &mut PgConnection, account: AccountId) -> Result<Vec<Block>, Error> {
    store::blocks(db, account).await
}

/// Keeps somebody out: no grant of theirs holds and nothing can be applied for, from the next request on.
/// Errors: `Invalid` for the reason or the end, `Forbidden` against oneself, `Conflict` against an admin, `NotFound` for an unknown account or model.
pub async fn set(
    portal: &Portal,
    by: &Reviewer,
    account: AccountId,
    model: Option<ModelId>,
    expires_at: Timestamp,
    reason: &str,
) -> Result<Block, Error> {
    let now = portal.clock.now();
    if account == by.0.id {
        return Err(own_block("You cannot block yourself.").into());
    }
    let reason = parse_reason(reason)?;
    if expires_at <= now {
        return Err(FieldError::new("until", "choose a day in the future").into());
    }
    if expires_at - now > BLOCK_LIFE_MAX {
        return Err(FieldError::new("until", "choose an earlier day; a block lasts three years at most, and another can follow it").into());
    }
    let mut tx = portal.db.begin().await?;
    let person = accounts::find_account(&mut tx, account).await?;
    if person.role == Role::Admin {
        return Err(Error::Conflict("an admin may use every model, blocked or not; change the role first, then block".into()));
    }
    let block = Block { id: BlockId::fresh(), account, model, reason, set_by: Some(by.0.id), set_at: now, expires_at, lifted_at: None };
    announce(&mut tx, portal, &block, &person).await?;
    tx.commit().await?;
    Ok(block)
}

/// Puts a block into force, on the record, and tells `person`, whom it keeps out.
pub(super) async fn announce(tx: &mut PgConnection, portal: &Portal, block: &Block, person: &Account) -> Result<(), Error> {
    let Block { account, model, expires_at, .. } = *block;
    let what = match model {
        Some(model) => catalog::find_model_by_id(tx, model).await?.full_name(),
        None => EVERY_MODEL.into(),
    };
    for held in held::grants_of(tx, account).await?.iter().filter(|held| model.is_none_or(|model| model == held.model)) {
        let_decision_go(tx, held, block.set_at).await?;
    }
    store::insert_block(tx, block).await?;
    let event = Event::BlockSet { account, block: block.id, model, until: when::hub(expires_at), reason: block.reason.clone() };
    audit::record(tx, block.set_at, block.set_by, &event).await?;
    let message = Message::Blocked {
        to: person.email.to_string(),
        name: person.name.clone(),
        what,
        until: when::day(expires_at),
        reason: block.reason.clone(),
        link: portal.config.url_of("/applications"),
    };
    mail::enqueue(tx, block.set_at, &message).await
}

/// Lets somebody in again before the block's end: what they had holds again. Errors: `NotFound`, `Conflict` if it does not stand,
/// `Forbidden` for oneself.
pub async fn lift(portal: &Portal, by: &Reviewer, account: AccountId, id: BlockId) -> Result<Block, Error> {
    let now = portal.clock.now();
    let mut tx = portal.db.begin().await?;
    let block = store::lock_block(&mut tx, id).await?;
    if block.account != account {
        return Err(Error::NotFound("block"));
    }
    if block.account == by.0.id {
        return Err(own_block("Another reviewer has to lift your block.").into());
    }
    if !block.stands(now) {
        let over = Error::Conflict("this block has ended already; nothing was changed".into());
        return Err(over.mended_by(format!("/admin/people/{account}"), "See their blocks"));
    }
    let person = accounts::find_account(&mut tx, block.account).await?;
    let what = match block.model {
        Some(model) => catalog::find_model_by_id(&mut tx, model).await?.full_name(),
        None => EVERY_MODEL.into(),
    };
    store::lift_block(&mut tx, id, by.0.id, now).await?;
    audit::record(&mut tx, now, Some(by.0.id), &Event::BlockLifted { account: block.account, block: id }).await?;
    let message =
        Message::BlockLifted { to: person.email.to_string(), name: person.name, what, link: portal.config.url_of("/applications") };
    mail::enqueue(&mut tx, now, &message).await?;
    tx.commit().await?;
    Ok(Block { lifted_at: Some(now), ..block })
}

/// Nobody sets or lifts a block of their own; whoever runs the portal sees the others.
fn own_block(message: &str) -> Refusal {
    Refusal {
        code: "own_block",
        message: message.into(),
        mend: Some(Mend { path: "/applications".into(), label: "See your applications" }),
    }
}
