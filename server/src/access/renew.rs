//! Renewing a grant: its holder asks, a reviewer decides; what nobody can decide any more lapses.

use sqlx::PgConnection;

use super::grant::HeldGrant;
use super::renewal::{AFTER_END, Asked, Renewal};
use super::revoke::{holder_and_model, lock_of_another};
use super::store;
use crate::accounts::{self, Account, Reviewer};
use crate::audit::{self, Event};
use crate::clock::Timestamp;
use crate::error::Error;
use crate::http::when;
use crate::ids::{AccountId, GrantId, RenewalId};
use crate::mail::{self, Message};
use crate::portal::Portal;

/// How many requests lapse in one go.
const LAPSE_AT_ONCE: i64 = 100;

/// Asks to renew a grant. Errors: `NotFound` for anybody else's, `Conflict` if it cannot be renewed now or that was asked already,
/// `Limited` after many.
pub async fn ask(portal: &Portal, holder: &Account, id: GrantId, asked: Asked) -> Result<RenewalId, Error> {
    let now = portal.clock.now();
    let mut tx = portal.db.begin().await?;
    let held = lock_own(&mut tx, holder.id, id).await?;
    let renewal = Renewal::ask(&held.grant, asked, now).map_err(at_own_grant(id))?;
    store::insert_renewal(&mut tx, &renewal).await.map_err(at_own_grant(id))?;
    portal.limits.renewals.check(&holder.id.to_string())?;
    let months = renewal.asked.months;
    audit::record(&mut tx, now, Some(holder.id), &Event::RenewalRequested { grant: id, renewal: renewal.id, months }).await?;
    let (_, model) = holder_and_model(&mut tx, &held).await?;
    let reviewers = accounts::reviewers(&mut tx).await?.into_iter().filter(|reviewer| reviewer.id != holder.id);
    let messages: Vec<Message> = reviewers
        .map(|reviewer| Message::RenewalToReview {
            to: reviewer.email.to_string(),
            name: reviewer.name,
            holder: holder.name.clone(),
            model: model.full_name(),
            months,
            link: portal.config.url_of(&format!("/review/renewals/{}", renewal.id)),
        })
        .collect();
    mail::enqueue_all(&mut tx, now, &messages).await?;
    tx.commit().await?;
    Ok(renewal.id)
}

/// Takes the open request back. Errors: `NotFound` for anybody else's grant, `Conflict` if none is open.
pub async fn withdraw(portal: &Portal, holder: AccountId, id: GrantId) -> Result<(), Error> {
    let now = portal.clock.now();
    let mut tx = portal.db.begin().await?;
    lock_own(&mut tx, holder, id).await?;
    let newest = store::renewals_of(&mut tx, id).await?.into_iter().next();
    let newest = newest.ok_or(Error::Conflict("no renewal was asked for".into())).map_err(at_own_grant(id))?;
    let renewal = newest.withdraw(now).map_err(at_own_grant(id))?;
    store::save_renewal(&mut tx, &renewal).await?;
    audit::record(&mut tx, now, Some(holder), &Event::RenewalWithdrawn { grant: id, renewal: renewal.id }).await?;
    tx.commit().await?;
    Ok(())
}

/// Lets the grant go on until `until`. Errors: `Conflict` if it was decided or cannot be renewed, `Forbidden` for one's own, `Invalid` for
/// the end or the note.
pub async fn approve(portal: &Portal, by: &Reviewer, id: RenewalId, until: Timestamp, note: &str) -> Result<(), Error> {
    let now = portal.clock.now();
    let mut tx = portal.db.begin().await?;
    let (renewal, held) = lock_for_decision(&mut tx, by, id).await?;
    let (renewal, grant) = renewal.approve(held.grant.clone(), by.0.id, until, note, now).map_err(at_the_renewal(id))?;
    store::save_renewal(&mut tx, &renewal).await?;
    store::move_end(&mut tx, grant.id, grant.expires_at, now).await?;
    let event = Event::GrantRenewed { grant: grant.id, renewal: id, until: when::hub(until) };
    audit::record(&mut tx, now, Some(by.0.id), &event).await?;
    let (holder, model) = holder_and_model(&mut tx, &held).await?;
    let message = Message::AccessRenewed {
        to: holder.email.to_string(),
        name: holder.name,
        model: model.full_name(),
        until: when::day(until),
        note: renewal.state.words().to_owned(),
        link: portal.config.url_of(&format!("/grants/{}", grant.id)),
    };
    mail::enqueue(&mut tx, now, &message).await?;
    tx.commit().await?;
    Ok(())
}

/// Leaves the end as it is, and says why. Errors: `Conflict` if it was decided, `Forbidden` for one's own, `Invalid` without words.
pub async fn decline(portal: &Portal, by: &Reviewer, id: RenewalId, text: &str) -> Result<(), Error> {
    let now = portal.clock.now();
    let mut tx = portal.db.begin().await?;
    let (renewal, held) = lock_for_decision(&mut tx, by, id).await?;
    let renewal = renewal.decline(by.0.id, text, now).map_err(at_the_renewal(id))?;
    store::save_renewal(&mut tx, &renewal).await?;
    audit::record(&mut tx, now, Some(by.0.id), &Event::RenewalDeclined { grant: renewal.grant, renewal: id }).await?;
    let (holder, model) = holder_and_model(&mut tx, &held).await?;
    let message = Message::RenewalDeclined {
        to: holder.email.to_string(),
        name: holder.name,
        model: model.full_name(),
        until: when::day(held.grant.expires_at),
        is_over: held.grant.expires_at <= now,
        text: renewal.state.words().to_owned(),
        link: portal.config.url_of(&format!("/grants/{}", renewal.grant)),
    };
    mail::enqueue(&mut tx, now, &message).await?;
    tx.commit().await?;
    Ok(())
}

/// Closes the requests that nobody can decide any more, and tells their holders. Says whether more may be left.
pub async fn lapse(portal: &Portal) -> Result<bool, Error> {
    let now = portal.clock.now();
    let mut db = portal.db.acquire().await?;
    let over = store::renewals_to_lapse(&mut db, now - AFTER_END, LAPSE_AT_ONCE).await?;
    drop(db);
    for renewal in &over {
        let mut tx = portal.db.begin().await?;
        // The grant first, as everywhere: of a reviewer and this one at once, one waits for the other.
        let held = store::lock_grant(&mut tx, renewal.grant).await?;
        let Ok(renewal) = store::lock_renewal(&mut tx, renewal.id).await?.lapse(now) else { continue };
        if held.grant.can_be_renewed(now).is_ok() {
            continue;
        }
        store::save_renewal(&mut tx, &renewal).await?;
        audit::record(&mut tx, now, None, &Event::RenewalLapsed { grant: renewal.grant, renewal: renewal.id }).await?;
        let (holder, model) = holder_and_model(&mut tx, &held).await?;
        let link = portal.config.url_of(&format!("{}/apply", model.path()));
        let message = Message::RenewalLapsed { to: holder.email.to_string(), name: holder.name, model: model.full_name(), link };
        mail::enqueue(&mut tx, now, &message).await?;
        tx.commit().await?;
    }
    Ok(over.len() as i64 == LAPSE_AT_ONCE)
}

/// A holder who is refused looks at their access as it is now.
fn at_own_grant(id: GrantId) -> impl Fn(Error) -> Error {
    move |refused| refused.mended_by(format!("/grants/{id}"), "See your access")
}

/// A reviewer who is refused looks at the request as it is now.
fn at_the_renewal(id: RenewalId) -> impl Fn(Error) -> Error {
    move |refused| refused.mended_by(format!("/review/renewals/{id}"), "Look at the request again")
}

async fn lock_own(tx: &mut PgConnection, holder: AccountId, id: GrantId) -> Result<HeldGrant, Error> {
    let held = store::lock_grant(tx, id).await?;
    if held.account == holder { Ok(held) } else { Err(Error::NotFound("grant")) }
}

/// The request and its grant, locked in that order in which everybody locks them: the grant first.
async fn lock_for_decision(tx: &mut PgConnection, by: &Reviewer, id: RenewalId) -> Result<(Renewal, HeldGrant), Error> {
    let grant = store::find_renewal(tx, id).await?.grant;
    let held = lock_of_another(tx, grant, by).await?;
    Ok((store::lock_renewal(tx, id).await?, held))
}
