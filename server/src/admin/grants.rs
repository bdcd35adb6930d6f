//! Grants in force: who may have which model, since when and until when, and taking one back.

use actix_web::HttpResponse;
use actix_web::web::{Data, Path, Query};
use askama::Template;
use serde::Deserialize;

use crate::access::{self, HeldGrant, Standing};
use crate::accounts::{self, Account, Admin};
use crate::catalog::{self, Model};
use crate::clock::Timestamp;
use crate::error::{Error, FieldError};
use crate::http::page::{page, page_with_faults};
use crate::http::{Form, Frame, filters, see_other, when};
use crate::ids::{AccountId, ApplicationId, GrantId, ModelId};
use crate::portal::Portal;

/// Grants on one page.
const PAGE: usize = 50;

#[derive(Template)]
#[template(path = "admin/grants.html")]
struct GrantsPage {
    frame: Frame,
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
            left: when::span(held.grant.expires_at - now),
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
    let people = accounts::find_accounts(&mut db, &held.iter().map(|held| held.account).collect::<Vec<AccountId>>()).await?;
    let models = catalog::find_models(&mut db, &held.iter().map(|held| held.model).collect::<Vec<ModelId>>()).await?;
    page(&GrantsPage {
        frame,
        older: held.last().filter(|_| is_more).map(|last| last.grant.id),
        grants: held.into_iter().map(|held| GrantRow::new(held, &people, &models, now)).collect(),
    })
}

#[derive(Template)]
#[template(path = "admin/grant.html")]
struct GrantPage {
    frame: Frame,
    row: GrantRow,
    holds: bool,
    reason: String,
    faults: Vec<FieldError>,
}

/// `GET /admin/grants/{id}`
pub(super) async fn grant(portal: Data<Portal>, frame: Frame, _: Admin, id: Path<GrantId>) -> Result<HttpResponse, Error> {
    page(&grant_page(&portal, frame, *id, String::new(), vec![]).await?)
}

async fn grant_page(portal: &Portal, frame: Frame, id: GrantId, reason: String, faults: Vec<FieldError>) -> Result<GrantPage, Error> {
    let now = portal.clock.now();
    let mut db = portal.db.acquire().await?;
    let held = access::find_grant(&mut db, id).await?;
    let people = accounts::find_accounts(&mut db, &[held.account]).await?;
    let models = catalog::find_models(&mut db, &[held.model]).await?;
    let holds = held.grant.standing(now) == Standing::Holds;
    Ok(GrantPage { frame, row: GrantRow::new(held, &people, &models, now), holds, reason, faults })
}

#[derive(Deserialize)]
pub(super) struct Revocation {
    #[serde(default)]
    reason: String,
}

/// `POST /admin/grants/{id}/revoke`
pub(super) async fn revoke(
    portal: Data<Portal>,
    frame: Frame,
    by: Admin,
    id: Path<GrantId>,
    Form(sent): Form<Revocation>,
) -> Result<HttpResponse, Error> {
    match access::revoke(&portal, Some(by.0.id), *id, &sent.reason).await {
        Ok(_) => Ok(see_other("/admin/grants", Some("Revoked. It holds nowhere any more, and its holder gets a mail."))),
        Err(Error::Invalid(faults)) => page_with_faults(&grant_page(&portal, frame, *id, sent.reason, faults).await?),
        Err(other) => Err(other),
    }
}
