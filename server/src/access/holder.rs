//! The holder's page of a grant: where it stands, what it was used for, asking for a renewal, and giving it back.

use actix_web::HttpResponse;
use actix_web::web::{Data, Path};
use askama::Template;
use serde::Deserialize;
use sqlx::PgConnection;

use super::close::{self, DELETED};
use super::grant::{Grant, HeldGrant, Standing};
use super::recorded::{Recorded, recorded};
use super::renewal::{Asked, Renewal, RenewalState};
use super::renewals::{badge, lines};
use super::state_view::{Badge, StandingWords, name_of, told_to_holder};
use super::{renew, store};
use crate::accounts::SignedIn;
use crate::catalog;
use crate::clock::Timestamp;
use crate::error::{Error, FieldError};
use crate::http::page::{page, page_with_faults};
use crate::http::{Form, Frame, filters, see_other, when};
use crate::ids::{ApplicationId, GrantId};
use crate::portal::Portal;

#[derive(Template)]
#[template(path = "access/grant.html")]
struct GrantPage {
    frame: Frame,
    id: GrantId,
    model: String,
    model_path: String,
    words: StandingWords,
    since: String,
    until: String,
    /// The day of its end, once it is over.
    ended: Option<String>,
    scopes: Vec<&'static str>,
    application: Option<ApplicationId>,
    /// Whether somebody has stopped it, and its holder may say something to that.
    may_write: bool,
    reason: String,
    used: Used,
    recorded: Vec<Recorded>,
    is_running: bool,
    holds: bool,
    /// Until when its holder is kept out, if they are.
    blocked_until: Option<String>,
    /// Whether a new application is the way to go on.
    may_apply_again: bool,
    /// By when its holder has to agree to what has changed, if they have to.
    agree_by: Option<String>,
    renewing: Renewing,
    renewals: Vec<RenewalRow>,
    sent: Sent,
    deleted: &'static str,
    faults: Vec<FieldError>,
}

/// What can be done about its end.
enum Renewing {
    /// Ask for a renewal.
    Form,
    /// Wait for a reviewer, or withdraw.
    Waits,
    /// Nothing now, and why.
    Not(String),
}

/// A request that was made.
struct RenewalRow {
    asked: String,
    months: u8,
    badge: Badge,
    words: Vec<String>,
    /// What its reader wrote, while a reviewer's turn lasts.
    said: Vec<String>,
}

/// What the ledgers say about the use of a model since a grant for it was given.
pub(super) struct Used {
    pub(super) files: i64,
    pub(super) sent: String,
    pub(super) generations: i64,
    pub(super) tokens: i64,
    pub(super) last: Option<String>,
}

/// The forms of the page, as they were typed.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Sent {
    summary: String,
    publications: String,
    months: String,
    deleted: Option<String>,
}

/// `GET /grants/{id}`
pub(super) async fn grant(portal: Data<Portal>, frame: Frame, by: SignedIn, id: Path<GrantId>) -> Result<HttpResponse, Error> {
    page(&grant_page(&portal, frame, &by, *id, Sent::default(), vec![]).await?)
}

async fn grant_page(
    portal: &Portal,
    frame: Frame,
    by: &SignedIn,
    id: GrantId,
    sent: Sent,
    faults: Vec<FieldError>,
) -> Result<GrantPage, Error> {
    let now = portal.clock.now();
    let mut db = portal.db.acquire().await?;
    let held = own(store::find_grant(&mut db, id).await?, by)?;
    let grant = &held.grant;
    let models = catalog::find_models(&mut db, &[held.model]).await?;
    let (model, model_path) = name_of(&models, held.model);
    let renewals = store::renewals_of(&mut db, id).await?;
    let standing = grant.standing(now);
    let blocked_until = grant.blocked_until.filter(|until| now < *until);
    Ok(GrantPage {
        frame,
        id,
        model,
        model_path,
        words: told_to_holder(grant, now),
        since: when::day(grant.granted_at),
        until: when::day(grant.expires_at),
        scopes: grant.scopes.iter().map(|scope| scope.means()).collect(),
        application: held.application,
        may_write: held.application.is_some() && standing.is_running() && grant.stopped().is_some(),
        used: used(&mut db, &held).await?,
        recorded: recorded(&mut db, vec![id.to_string()]).await?,
        ended: (!standing.is_running()).then(|| when::day(grant.ended_at().map_or(grant.expires_at, |at| at.min(grant.expires_at)))),
        is_running: standing.is_running(),
        holds: standing == Standing::Holds,
        blocked_until: blocked_until.map(when::day),
        may_apply_again: match standing {
            Standing::Closed | Standing::Revoked => blocked_until.is_none(),
            // Other access has followed one that was ended after its time.
            Standing::Expired => grant.ended.is_none() && blocked_until.is_none(),
            Standing::Holds | Standing::Suspended | Standing::Blocked | Standing::ConsentNeeded => false,
        },
        agree_by: grant.consent_due_at.filter(|_| standing.is_running()).map(when::minute),
        renewing: renewing(grant, &renewals, now),
        renewals: renewals.iter().map(row).collect(),
        reason: held.reason,
        sent: Sent { months: if sent.months.is_empty() { "6".into() } else { sent.months }, ..sent },
        deleted: DELETED,
        faults,
    })
}

fn renewing(grant: &Grant, renewals: &[Renewal], now: Timestamp) -> Renewing {
    if renewals.iter().any(|renewal| renewal.state == RenewalState::Open) {
        return Renewing::Waits;
    }
    match grant.can_be_renewed(now) {
        Ok(()) => Renewing::Form,
        Err(why) => Renewing::Not(why.to_string()),
    }
}

fn row(renewal: &Renewal) -> RenewalRow {
    RenewalRow {
        asked: when::day(renewal.asked_at),
        months: renewal.asked.months,
        badge: badge(&renewal.state),
        words: lines(renewal.state.words()),
        said: match renewal.state {
            RenewalState::Open => [lines(&renewal.asked.summary), lines(&renewal.asked.publications)].concat(),
            RenewalState::Approved { .. }
            | RenewalState::Declined { .. }
            | RenewalState::Withdrawn { .. }
            | RenewalState::Lapsed { .. } => {
                vec![]
            }
        },
    }
}

/// What the ledgers say about a grant, in words.
pub(super) async fn used(db: &mut PgConnection, held: &HeldGrant) -> Result<Used, Error> {
    let used = store::used(db, held.account, held.model, held.grant.granted_at).await?;
    Ok(Used {
        files: used.files,
        sent: catalog::human_bytes(used.sent_bytes.unsigned_abs()),
        generations: used.generations,
        tokens: used.tokens,
        last: used.last_at.map(when::day),
    })
}

/// For everybody else it does not exist.
pub(super) fn own(held: HeldGrant, by: &SignedIn) -> Result<HeldGrant, Error> {
    if held.account == by.account.id { Ok(held) } else { Err(Error::NotFound("grant")) }
}

/// `POST /grants/{id}/renew`
pub(super) async fn renew(
    portal: Data<Portal>,
    frame: Frame,
    by: SignedIn,
    id: Path<GrantId>,
    Form(sent): Form<Sent>,
) -> Result<HttpResponse, Error> {
    let asked = Asked::parse(&sent.summary, &sent.publications, &sent.months).map_err(Error::Invalid);
    let done = match asked {
        Ok(asked) => renew::ask(&portal, &by.account, *id, asked).await,
        Err(faults) => Err(faults),
    };
    match done {
        Ok(_) => Ok(see_other(&format!("/grants/{id}"), Some("Sent. A reviewer reads it, and you get a mail with the decision."))),
        Err(Error::Invalid(faults)) => page_with_faults(&grant_page(&portal, frame, &by, *id, sent, faults).await?),
        Err(other) => Err(other),
    }
}

/// `POST /grants/{id}/renew/withdraw`
pub(super) async fn withdraw(
    portal: Data<Portal>,
    by: SignedIn,
    id: Path<GrantId>,
    _: Form<Vec<(String, String)>>,
) -> Result<HttpResponse, Error> {
    renew::withdraw(&portal, by.account.id, *id).await?;
    Ok(see_other(&format!("/grants/{id}"), Some("Withdrawn. The end of your access stays as it is; you may ask again.")))
}

/// `POST /grants/{id}/close`
pub(super) async fn close(
    portal: Data<Portal>,
    frame: Frame,
    by: SignedIn,
    id: Path<GrantId>,
    Form(sent): Form<Sent>,
) -> Result<HttpResponse, Error> {
    match close::close(&portal, by.account.id, *id, sent.deleted.is_some()).await {
        Ok(_) => Ok(see_other(&format!("/grants/{id}"), Some("Closed. Thank you; a receipt of what you attested is on its way."))),
        Err(Error::Invalid(faults)) => page_with_faults(&grant_page(&portal, frame, &by, *id, sent, faults).await?),
        Err(other) => Err(other),
    }
}
