//! Grants in force: who may have which model, since when and until when; and one grant: suspending it, revoking it, letting it go on.

use actix_web::HttpResponse;
use actix_web::web::{Data, Path, Query};
use askama::Template;
use serde::Deserialize;

use crate::access::{self, HeldGrant, Note, Revoked, StandingWords, standing_words};
use crate::accounts::{self, Account, Admin, Reviewer};
use crate::catalog::{self, Model};
use crate::clock::Timestamp;
use crate::error::{Error, FieldError};
use crate::http::page::{page, page_with_faults};
use crate::http::{Form, Frame, see_other, when};
use crate::ids::{AccountId, ApplicationId, GrantId, ModelId};
use crate::portal::Portal;

/// Grants on one page.
const PAGE: usize = 50;

#[derive(Template)]
#[template(path = "admin/grants.html")]
struct GrantsPage {
    frame: Frame,
    /// Those that somebody proposed to revoke: another person's turn.
    proposed: Vec<GrantRow>,
    grants: Vec<GrantRow>,
    older: Option<GrantId>,
}

struct GrantRow {
    id: GrantId,
    person: Option<Account>,
    model: Option<Model>,
    since: String,
    until: String,
    left: String,
    words: StandingWords,
    /// Where it came from, if not from an operator.
    application: Option<ApplicationId>,
    reason: String,
}

impl GrantRow {
    fn new(held: HeldGrant, people: &[Account], models: &[Model], now: Timestamp) -> Self {
        Self {
            id: held.grant.id,
            person: people.iter().find(|account| account.id == held.account).cloned(),
            model: models.iter().find(|model| model.id == held.model).cloned(),
            since: when::day(held.grant.granted_at),
            until: when::day(held.grant.expires_at),
            left: when::left(held.grant.expires_at - now),
            words: standing_words(&held.grant, now),
            application: held.application,
            reason: held.reason,
        }
    }

    /// Whose it is, as a label that tells it from others.
    fn label(&self) -> String {
        let person = self.person.as_ref().map_or_else(|| "a removed account".into(), |account| account.email.to_string());
        let model = self.model.as_ref().map_or_else(|| "a removed model".into(), Model::full_name);
        format!("the access of {person} to {model}")
    }
}

#[derive(Deserialize)]
pub(super) struct Paging {
    before: Option<GrantId>,
}

/// `GET /admin/grants`
pub(super) async fn grants(portal: Data<Portal>, frame: Frame, _: Admin, paging: Query<Paging>) -> Result<HttpResponse, Error> {
    let now = portal.clock.now();
    let mut db = portal.db.acquire().await?;
    let mut held = access::grants_in_force(&mut db, now, paging.before, PAGE as i64 + 1).await?;
    let is_more = held.len() > PAGE;
    held.truncate(PAGE);
    let proposed = match paging.before {
        None => access::revocations_proposed(&mut db, now, PAGE as i64).await?,
        Some(_) => vec![],
    };
    let all = || held.iter().chain(&proposed);
    let people = accounts::find_accounts(&mut db, &all().map(|held| held.account).collect::<Vec<AccountId>>()).await?;
    let models = catalog::find_models(&mut db, &all().map(|held| held.model).collect::<Vec<ModelId>>()).await?;
    page(&GrantsPage {
        frame,
        proposed: proposed.into_iter().map(|held| GrantRow::new(held, &people, &models, now)).collect(),
        older: held.last().filter(|_| is_more).map(|last| last.grant.id),
        grants: held.into_iter().map(|held| GrantRow::new(held, &people, &models, now)).collect(),
    })
}

#[derive(Template)]
#[template(path = "admin/grant.html")]
struct GrantPage {
    frame: Frame,
    row: GrantRow,
    scopes: Vec<&'static str>,
    /// While it runs something can be done about it.
    is_running: bool,
    is_own: bool,
    suspended: Option<NoteView>,
    proposed: Option<NoteView>,
    /// Whether whoever reads this has made the proposal.
    is_own_proposal: bool,
    /// Whether revoking takes two.
    needs_two: bool,
    sent: Sent,
    faults: Vec<FieldError>,
}

impl GrantPage {
    fn fault(&self, form: &str) -> Option<&str> {
        self.faults.iter().find(|fault| fault.field == "reason" && self.sent.form == form).map(|fault| fault.message.as_ref())
    }
}

/// What somebody did about a grant.
struct NoteView {
    by: String,
    at: String,
    reason: String,
}

/// A form that came back: which, and what was typed.
#[derive(Default)]
struct Sent {
    form: &'static str,
    reason: String,
}

/// `GET /admin/grants/{id}`
pub(super) async fn grant(portal: Data<Portal>, frame: Frame, by: Reviewer, id: Path<GrantId>) -> Result<HttpResponse, Error> {
    page(&grant_page(&portal, frame, &by, *id, Sent::default(), vec![]).await?)
}

async fn grant_page(
    portal: &Portal,
    frame: Frame,
    by: &Reviewer,
    id: GrantId,
    sent: Sent,
    faults: Vec<FieldError>,
) -> Result<GrantPage, Error> {
    let now = portal.clock.now();
    let mut db = portal.db.acquire().await?;
    let held = access::find_grant(&mut db, id).await?;
    let grant = &held.grant;
    let others = [&grant.suspended, &grant.proposed].into_iter().flatten().filter_map(|note| note.by);
    let people = accounts::find_accounts(&mut db, &others.chain([held.account]).collect::<Vec<AccountId>>()).await?;
    let models = catalog::find_models(&mut db, &[held.model]).await?;
    // To whom it concerns, a reviewer is a reviewer.
    let is_own = held.account == by.0.id;
    let note = |note: &Note| NoteView {
        by: match people.iter().find(|person| Some(person.id) == note.by) {
            Some(_) if is_own => "a reviewer".into(),
            Some(person) => person.name.clone(),
            None => "the operator".into(),
        },
        at: when::minute(note.at),
        reason: note.reason.clone(),
    };
    Ok(GrantPage {
        frame,
        scopes: grant.scopes.iter().map(|scope| scope.means()).collect(),
        is_running: grant.standing(now).is_running(),
        is_own,
        suspended: grant.suspended.as_ref().map(note),
        proposed: grant.proposed.as_ref().map(note),
        is_own_proposal: grant.proposed.as_ref().is_some_and(|note| note.by == Some(by.0.id)),
        needs_two: access::policy::of(&mut db, held.model).await?.revoking_takes_two(now),
        row: GrantRow::new(held, &people, &models, now),
        sent,
        faults,
    })
}

#[derive(Deserialize)]
pub(super) struct Reason {
    #[serde(default)]
    reason: String,
}

/// `POST /admin/grants/{id}/revoke`: at once, or as a proposal where it takes two.
pub(super) async fn revoke(
    portal: Data<Portal>,
    frame: Frame,
    by: Reviewer,
    id: Path<GrantId>,
    Form(typed): Form<Reason>,
) -> Result<HttpResponse, Error> {
    match access::revoke(&portal, Some(by.0.id), *id, &typed.reason).await {
        Ok(revoked) => Ok(done(*id, revoked.told())),
        Err(Error::Invalid(faults)) => {
            page_with_faults(&grant_page(&portal, frame, &by, *id, Sent { form: "revoke", reason: typed.reason }, faults).await?)
        }
        Err(other) => Err(other),
    }
}

/// `POST /admin/grants/{id}/suspend`
pub(super) async fn suspend(
    portal: Data<Portal>,
    frame: Frame,
    by: Reviewer,
    id: Path<GrantId>,
    Form(typed): Form<Reason>,
) -> Result<HttpResponse, Error> {
    match access::suspend(&portal, &by, *id, &typed.reason).await {
        Ok(_) => Ok(done(*id, "Suspended. Access is not valid anywhere until a reviewer reinstates it, and its holder gets a mail.")),
        Err(Error::Invalid(faults)) => {
            page_with_faults(&grant_page(&portal, frame, &by, *id, Sent { form: "suspend", reason: typed.reason }, faults).await?)
        }
        Err(other) => Err(other),
    }
}

type Nothing = Form<Vec<(String, String)>>;

/// `POST /admin/grants/{id}/reinstate`
pub(super) async fn reinstate(portal: Data<Portal>, by: Reviewer, id: Path<GrantId>, _: Nothing) -> Result<HttpResponse, Error> {
    let held = access::reinstate(&portal, &by, *id).await?;
    let told = if held.grant.proposed.is_some() { "No longer suspended, but revoking it is still proposed." } else { REINSTATED };
    Ok(done(*id, told))
}

/// `POST /admin/grants/{id}/confirm`: another person agrees that it is revoked.
pub(super) async fn confirm(portal: Data<Portal>, by: Reviewer, id: Path<GrantId>, _: Nothing) -> Result<HttpResponse, Error> {
    let held = access::confirm_revocation(&portal, &by, *id).await?;
    Ok(done(*id, Revoked::Done(held).told()))
}

/// `POST /admin/grants/{id}/reject`: another person does not agree.
pub(super) async fn reject(portal: Data<Portal>, by: Reviewer, id: Path<GrantId>, _: Nothing) -> Result<HttpResponse, Error> {
    let held = access::reject_revocation(&portal, &by, *id).await?;
    let told = if held.grant.suspended.is_some() { "Not revoked. It stays suspended, as it was before." } else { REJECTED };
    Ok(done(*id, told))
}

const REINSTATED: &str = "Reinstated. Access is valid again, and its holder gets a mail.";
const REJECTED: &str = "Rejected. Access is valid again, and its holder gets a mail.";

fn done(id: GrantId, told: &str) -> HttpResponse {
    see_other(&format!("/admin/grants/{id}"), Some(told))
}
