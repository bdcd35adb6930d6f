//! Agreeing to what has changed: the text of a licence, or the clauses of a form. Its admin says that the change matters, holders agree
//! clause by clause within some days.

use sqlx::PgConnection;
use time::Duration;

use super::clause::{Clause, Source};
use super::form::{Form, Layout};
use super::grant::HeldGrant;
use super::{forms, store};
use crate::accounts::{self, Account, Admin};
use crate::audit::{self, Event};
use crate::catalog::{self, Model};
use crate::clock::Timestamp;
use crate::error::{Error, FieldError};
use crate::http::when;
use crate::ids::{AccountId, GrantId, ModelId};
use crate::mail::{self, Message};
use crate::portal::Portal;

/// The most days that holders may be given to agree.
pub const GRACE_DAYS_MAX: i64 = 180;

/// What holders have to agree to, by its SHA-256.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Terms {
    /// The text of a licence.
    Licence(String),
    /// A form, for its clauses.
    Form(String),
}

impl Terms {
    /// The SHA-256 of the licence, if it is one.
    pub fn licence(&self) -> Option<&str> {
        match self {
            Terms::Licence(sha256) => Some(sha256),
            Terms::Form(_) => None,
        }
    }

    /// The SHA-256 of the form, if it is one.
    pub fn form(&self) -> Option<&str> {
        match self {
            Terms::Licence(_) => None,
            Terms::Form(sha256) => Some(sha256),
        }
    }
}

/// A change that holders have to agree to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What they agree to.
    pub terms: Terms,
    /// When it was said that it matters.
    pub announced_at: Timestamp,
    /// The first moment at which access rests for whoever has not agreed.
    pub grace_until: Timestamp,
}

/// The last change of a model's licence that was announced, if any was.
pub async fn last_change(db: &mut PgConnection, model: ModelId) -> Result<Option<Change>, Error> {
    store::last_change(db, model).await
}

/// The last change of a model's licence, and whom its licence as it is now would be asked of.
#[derive(Debug, Clone)]
pub struct Asking {
    /// The last change that was announced, if any was.
    pub last: Option<Change>,
    /// Holders who have not agreed to it.
    pub holders: i64,
    /// Applicants who wait and have agreed to another text; they are asked once they hold access.
    pub applicants: i64,
}

impl Asking {
    /// Whether nobody would be asked, now or later.
    pub fn is_of_nobody(&self) -> bool {
        self.holders == 0 && self.applicants == 0
    }
}

/// See [`Asking`].
pub async fn asking(db: &mut PgConnection, model: &Model, now: Timestamp) -> Result<Asking, Error> {
    store::asking(db, model.id, model.licence_sha256.as_deref(), now).await
}

/// How long holders have to agree, as somebody typed it in days. Errors: no number, or too many.
pub(super) fn grace(typed: &str) -> Result<Duration, FieldError> {
    let days = typed.trim().parse().ok().filter(|days| (0..=GRACE_DAYS_MAX).contains(days));
    let days = days.ok_or_else(|| FieldError::new("grace_days", format!("enter a whole number from 0 to {GRACE_DAYS_MAX}")))?;
    Ok(Duration::days(days))
}

/// Asks every holder to agree to the licence as it is now, within so many days. `seen`: the text that whoever asks has read. Says how many
/// are asked. Errors: `Conflict` without a licence, when it was announced already, or with nobody to ask; `Stale` for another text; `Invalid` for the days.
pub async fn announce(portal: &Portal, by: &Admin, model: ModelId, seen: Option<&str>, grace_days: &str) -> Result<usize, Error> {
    let now = portal.clock.now();
    let grace = grace(grace_days)?;
    let mut tx = portal.db.begin().await?;
    let model = catalog::find_model_by_id(&mut tx, model).await?;
    let licence_sha256 = model.licence_sha256.clone().ok_or(Error::Conflict("this model has no licence text to agree to".into()))?;
    if seen.is_some_and(|seen| seen != licence_sha256) {
        let stale = Error::Stale("the licence of this model changed since you looked; read the new text, then ask".into());
        return Err(stale.mended_by(format!("{}/licence", model.path()), "Read the new text"));
    }
    let asking = asking(&mut tx, &model, now).await?;
    let here = || format!("/admin/models/{}", model.id);
    if let Some(last) = asking.last.as_ref().filter(|last| last.terms.licence() == Some(&licence_sha256)) {
        let told = format!("holders were asked to agree to this text already on {}; nothing was changed", when::minute(last.announced_at));
        return Err(Error::Conflict(told.into()).mended_by(here(), "See the licence"));
    }
    if asking.is_of_nobody() {
        let told = "everybody who has access, or waits for it, has agreed to this text already; there is nobody to ask";
        return Err(Error::Conflict(told.into()).mended_by(here(), "See the licence"));
    }
    let change = Change { terms: Terms::Licence(licence_sha256.clone()), announced_at: now, grace_until: now + grace };
    let event = Event::LicenceChangeAnnounced { model: model.id, licence_sha256, grace_until: when::hub(change.grace_until) };
    audit::record(&mut tx, now, Some(by.0.id), &event).await?;
    let asked = ask(&mut tx, by, model.id, &change, |holder, grant| Message::LicenceChanged {
        to: holder.email.to_string(),
        name: holder.name.clone(),
        model: model.full_name(),
        until: (!grace.is_zero()).then(|| when::minute(change.grace_until)),
        link: page_of(portal, grant),
    })
    .await?;
    tx.commit().await?;
    Ok(asked)
}

/// The same for the clauses of a form that has just been published in place of `from`, in the transaction that publishes it. Errors:
/// `Invalid` if no clause is new or has other words.
pub(super) async fn announce_form(
    tx: &mut PgConnection,
    portal: &Portal,
    by: &Admin,
    model: &Model,
    (from, to): (&Form, &Form),
    grace: Duration,
) -> Result<usize, Error> {
    let now = portal.clock.now();
    let news = news(from.layout(), to.layout());
    if news.is_empty() {
        return Err(FieldError::new("material", "no clause is new or reworded, so there is nothing to agree to").into());
    }
    let change = Change { terms: Terms::Form(to.sha256().to_owned()), announced_at: now, grace_until: now + grace };
    let event =
        Event::ClausesChangeAnnounced { model: model.id, form_sha256: to.sha256().to_owned(), grace_until: when::hub(change.grace_until) };
    audit::record(tx, now, Some(by.0.id), &event).await?;
    let clauses: Vec<String> = news.iter().map(|clause| clause.wording.clone()).collect();
    ask(tx, by, model.id, &change, |holder, grant| Message::ClausesChanged {
        to: holder.email.to_string(),
        name: holder.name.clone(),
        model: model.full_name(),
        until: (!grace.is_zero()).then(|| when::minute(change.grace_until)),
        clauses: clauses.clone(),
        link: page_of(portal, grant),
    })
    .await
}

/// The clauses of a form that are not, in these words, in the one before it.
pub(super) fn news<'a>(from: &Layout, to: &'a Layout) -> Vec<&'a Clause> {
    let is_known = |clause: &Clause| from.clauses.iter().any(|known| known.id == clause.id && known.wording == clause.wording);
    to.clauses.iter().filter(|clause| !is_known(clause)).collect()
}

fn page_of(portal: &Portal, grant: GrantId) -> String {
    portal.config.url_of(&format!("/grants/{grant}/consent"))
}

/// Keeps a change, and writes a mail to everybody whom it asks. Says how many these are.
async fn ask(
    tx: &mut PgConnection,
    by: &Admin,
    model: ModelId,
    change: &Change,
    message: impl Fn(&Account, GrantId) -> Message,
) -> Result<usize, Error> {
    let now = change.announced_at;
    store::insert_change(tx, model, change, by.0.id).await?;
    let asked = store::consents_due(tx, model, &change.terms, now).await?;
    let holders = accounts::find_accounts(tx, &asked.iter().map(|(_, account)| *account).collect::<Vec<AccountId>>()).await?;
    for (grant, account) in &asked {
        let Some(holder) = holders.iter().find(|holder| holder.id == *account) else { continue };
        mail::enqueue(tx, now, &message(holder, *grant)).await?;
    }
    Ok(asked.len())
}

/// What a holder is asked to agree to.
pub(super) struct Due {
    /// The licence that has changed, if it has.
    pub(super) licence_sha256: Option<String>,
    /// Until when their access goes on without.
    pub(super) by: Timestamp,
    /// Every clause, once.
    pub(super) clauses: Vec<AskedClause>,
    terms: Vec<(Terms, Vec<Clause>)>,
}

/// A clause to agree to.
pub(super) struct AskedClause {
    pub(super) clause: Clause,
    /// What the holder agreed to in its place, where that has other words.
    pub(super) before: Option<String>,
}

impl Due {
    /// What has changed, in a sentence.
    pub(super) fn title(&self, model: &str) -> String {
        match (&self.licence_sha256, self.terms.len()) {
            (None, _) => format!("The terms for {model} have changed"),
            (Some(_), 1) => format!("The licence of {model} has changed"),
            (Some(_), _) => format!("The licence and the terms for {model} have changed"),
        }
    }

    /// The names of all that is asked, for the page that shows it.
    pub(super) fn shown(&self) -> String {
        let names = self.terms.iter().map(|(terms, _)| match terms {
            Terms::Licence(sha256) | Terms::Form(sha256) => sha256.as_str(),
        });
        names.collect::<Vec<_>>().join("+")
    }
}

/// What the holder of this grant is asked to agree to, if anything.
pub(super) async fn due(db: &mut PgConnection, held: &HeldGrant) -> Result<Option<Due>, Error> {
    let Some(by) = held.grant.consent_due_at else { return Ok(None) };
    let store::TermsDue { terms: changed, agreed } = store::terms_due(db, held).await?;
    let current = forms::current(db, held.model).await?;
    let mut terms = Vec::new();
    for due in changed {
        let clauses = match &due {
            Terms::Licence(_) => of_licence(&current),
            Terms::Form(sha256) if sha256 == current.sha256() => not_agreed(&current, &agreed),
            Terms::Form(sha256) => {
                let form = forms::named(db, sha256).await?.ok_or_else(|| Error::internal(format!("the form {sha256} is gone")))?;
                not_agreed(&form, &agreed)
            }
        };
        terms.push((due, clauses));
    }
    let mut clauses: Vec<AskedClause> = Vec::new();
    for clause in terms.iter().flat_map(|(_, clauses)| clauses) {
        if clauses.iter().all(|asked| asked.clause.field != clause.field) {
            let before = agreed.iter().find(|(id, wording)| *id == clause.id && *wording != clause.wording);
            clauses.push(AskedClause { clause: clause.clone(), before: before.map(|(_, wording)| wording.clone()) });
        }
    }
    let licence_sha256 = terms.iter().find_map(|(terms, _)| terms.licence().map(str::to_owned));
    Ok((!terms.is_empty()).then_some(Due { licence_sha256, by, clauses, terms }))
}

/// The clauses that a licence asks for, as a form has them.
fn of_licence(form: &Form) -> Vec<Clause> {
    let clauses = form.clauses().iter().filter(|clause| clause.source == Source::Licence).cloned().collect();
    or_all_of_it(clauses, "licence", Source::Licence, "I have read the licence as it is now, and agree to it.")
}

/// The clauses of a form that somebody has not agreed to in these words.
fn not_agreed(form: &Form, agreed: &[(String, String)]) -> Vec<Clause> {
    let is_agreed = |clause: &Clause| agreed.iter().any(|(id, wording)| *id == clause.id && *wording == clause.wording);
    let clauses = form.clauses().iter().filter(|clause| !is_agreed(clause)).cloned().collect();
    or_all_of_it(clauses, "clauses", Source::Site, "I have read what is agreed to as it is now, and agree to it.")
}

/// The clauses, or where there are none one for the whole.
fn or_all_of_it(clauses: Vec<Clause>, id: &str, source: Source, wording: &str) -> Vec<Clause> {
    if clauses.is_empty() {
        return vec![Clause { field: format!("agree_{id}"), id: id.into(), source, wording: wording.into() }];
    }
    clauses
}

/// Agrees for a holder to what was `shown` (see [`Due::shown`]), with the boxes `ticked`. Errors: `NotFound` for anybody else's grant,
/// `Conflict` if nothing is asked or access is over, `Invalid` for each clause that is missing, and if something else is asked for by now.
pub async fn agree(portal: &Portal, holder: AccountId, id: GrantId, shown: &str, ticked: &[String]) -> Result<(), Error> {
    let now = portal.clock.now();
    let mut tx = portal.db.begin().await?;
    let held = store::lock_grant(&mut tx, id).await?;
    if held.account != holder {
        return Err(Error::NotFound("grant"));
    }
    if !held.grant.standing(now).is_running() {
        let over = Error::Conflict("this access is over; nothing has to be agreed to".into());
        return Err(over.mended_by(format!("/grants/{id}"), "See your access"));
    }
    let done = || Error::Conflict("you have agreed to everything as it is; nothing was changed".into());
    let due = due(&mut tx, &held).await?.ok_or_else(|| done().mended_by(format!("/grants/{id}"), "See your access"))?;
    let mut faults = Vec::new();
    if shown != due.shown() {
        faults.push(FieldError::new("shown", "this changed while you were reading; read it again and agree to its clauses"));
    }
    for asked in due.clauses.iter().filter(|asked| !ticked.contains(&asked.clause.field)) {
        faults.push(FieldError::new(asked.clause.field.clone(), "you have to agree to this"));
    }
    if !faults.is_empty() {
        return Err(Error::Invalid(faults));
    }
    for (terms, clauses) in due.terms {
        store::insert_consent(&mut tx, id, &terms, &clauses, now).await?;
        let event = Event::ConsentGiven {
            grant: id,
            licence_sha256: terms.licence().map(str::to_owned),
            form_sha256: terms.form().map(str::to_owned),
        };
        audit::record(&mut tx, now, Some(holder), &event).await?;
    }
    tx.commit().await?;
    Ok(())
}
