//! Agreeing to a licence that has changed: its admin says that the change matters, holders agree clause by clause within some days.

use sqlx::PgConnection;
use time::Duration;

use super::clause::{Clause, Source};
use super::grant::HeldGrant;
use super::{forms, store};
use crate::accounts::{self, Admin};
use crate::audit::{self, Event};
use crate::catalog;
use crate::clock::Timestamp;
use crate::error::{Error, FieldError};
use crate::http::when;
use crate::ids::{AccountId, GrantId, ModelId};
use crate::mail::{self, Message};
use crate::portal::Portal;

/// The most days that holders may be given to agree.
pub const GRACE_DAYS_MAX: i64 = 180;

/// A change of a model's licence that holders have to agree to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LicenceChange {
    /// The new text, by its SHA-256.
    pub licence_sha256: String,
    /// When it was said that it matters.
    pub announced_at: Timestamp,
    /// The first moment at which access rests for whoever has not agreed.
    pub grace_until: Timestamp,
}

/// The last change of a model's licence that was announced, if any was.
pub async fn last_change(db: &mut PgConnection, model: ModelId) -> Result<Option<LicenceChange>, Error> {
    store::last_change(db, model).await
}

/// Asks every holder to agree to the licence as it is now, within so many days. Says how many are asked.
/// Errors: `Conflict` without a licence, or when it was announced already; `Invalid` for the days.
pub async fn announce(portal: &Portal, by: &Admin, model: ModelId, grace_days: &str) -> Result<usize, Error> {
    let now = portal.clock.now();
    let days = grace_days.trim().parse().ok().filter(|days| (0..=GRACE_DAYS_MAX).contains(days));
    let days = days.ok_or_else(|| FieldError::new("grace_days", format!("is a whole number from 0 to {GRACE_DAYS_MAX}")))?;
    let mut tx = portal.db.begin().await?;
    let model = catalog::find_model_by_id(&mut tx, model).await?;
    let licence_sha256 = model.licence_sha256.clone().ok_or(Error::Conflict("this model has no licence text to agree to".into()))?;
    let change = LicenceChange { licence_sha256, announced_at: now, grace_until: now + Duration::days(days) };
    store::insert_change(&mut tx, model.id, &change, by.0.id).await?;
    let event = Event::LicenceChangeAnnounced {
        model: model.id,
        licence_sha256: change.licence_sha256.clone(),
        grace_until: when::hub(change.grace_until),
    };
    audit::record(&mut tx, now, Some(by.0.id), &event).await?;
    let asked = store::consents_due(&mut tx, model.id, now).await?;
    let holders = accounts::find_accounts(&mut tx, &asked.iter().map(|held| held.account).collect::<Vec<AccountId>>()).await?;
    for held in &asked {
        let Some(holder) = holders.iter().find(|holder| holder.id == held.account) else { continue };
        let message = Message::LicenceChanged {
            to: holder.email.to_string(),
            name: holder.name.clone(),
            model: model.full_name(),
            until: when::minute(change.grace_until),
            link: portal.config.url_of(&format!("/grants/{}/consent", held.grant.id)),
        };
        mail::enqueue(&mut tx, now, &message).await?;
    }
    tx.commit().await?;
    Ok(asked.len())
}

/// What a holder is asked to agree to.
pub(super) struct Due {
    pub(super) licence_sha256: String,
    /// Until when their access goes on without.
    pub(super) by: Timestamp,
    /// The clauses that the licence asks for, as the model's form has them.
    pub(super) clauses: Vec<Clause>,
}

/// What the holder of this grant is asked to agree to, if anything.
pub(super) async fn due(db: &mut PgConnection, held: &HeldGrant) -> Result<Option<Due>, Error> {
    let (Some(by), Some(change)) = (held.grant.consent_due_at, store::last_change(db, held.model).await?) else { return Ok(None) };
    let form = forms::current(db, held.model).await?;
    let mut clauses: Vec<Clause> = form.clauses().iter().filter(|clause| clause.source == Source::Licence).cloned().collect();
    if clauses.is_empty() {
        let (field, id, wording) =
            ("agree_licence".into(), "licence".into(), "I have read the licence as it is now, and agree to it.".into());
        clauses.push(Clause { field, id, source: Source::Licence, wording });
    }
    Ok(Some(Due { licence_sha256: change.licence_sha256, by, clauses }))
}

/// Agrees for a holder to the text that was `shown`, with the boxes `ticked`. Errors: `NotFound` for anybody else's grant, `Conflict` if
/// nothing is asked or access is over, `Invalid` for each clause that is missing, and if another text is asked for by now.
pub async fn agree(portal: &Portal, holder: AccountId, id: GrantId, shown: &str, ticked: &[String]) -> Result<(), Error> {
    let now = portal.clock.now();
    let mut tx = portal.db.begin().await?;
    let held = store::lock_grant(&mut tx, id).await?;
    if held.account != holder {
        return Err(Error::NotFound("grant"));
    }
    if !held.grant.standing(now).is_running() {
        return Err(Error::Conflict("this access is over; nothing has to be agreed to".into()));
    }
    let due = due(&mut tx, &held).await?.ok_or(Error::Conflict("you have agreed to the licence as it is; nothing was changed".into()))?;
    let mut faults = Vec::new();
    if shown != due.licence_sha256 {
        faults.push(FieldError::new("licence_shown", "changed while you were reading; read the new text and agree to its clauses"));
    }
    for clause in due.clauses.iter().filter(|clause| !ticked.contains(&clause.field)) {
        faults.push(FieldError::new(clause.field.clone(), "has to be agreed to"));
    }
    if !faults.is_empty() {
        return Err(Error::Invalid(faults));
    }
    store::insert_consent(&mut tx, id, &due.licence_sha256, &due.clauses, now).await?;
    audit::record(&mut tx, now, Some(holder), &Event::ConsentGiven { grant: id, licence_sha256: due.licence_sha256 }).await?;
    tx.commit().await?;
    Ok(())
}
