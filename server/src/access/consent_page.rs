//! The holder's page of what has changed: the text of a licence, clauses with the words they had before, and agreeing to them.

use actix_web::HttpResponse;
use actix_web::web::{Data, Path};
use askama::Template;

use super::consent::AskedClause;
use super::holder::own;
use super::state_view::name_of;
use super::{consent, store};
use crate::accounts::SignedIn;
use crate::catalog;
use crate::error::{Error, FieldError};
use crate::http::page::{page, page_with_faults};
use crate::http::{Form, Frame, filters, see_other, when};
use crate::ids::GrantId;
use crate::portal::Portal;

#[derive(Template)]
#[template(path = "access/consent.html")]
struct ConsentPage {
    frame: Frame,
    id: GrantId,
    model: String,
    title: String,
    /// What is asked; nothing when it was agreed to.
    asked: Option<AskedView>,
    ticked: Vec<String>,
    faults: Vec<FieldError>,
}

struct AskedView {
    shown: String,
    licence: Option<LicenceView>,
    by: String,
    is_late: bool,
    clauses: Vec<AskedClause>,
}

struct LicenceView {
    sha256: String,
    text: String,
}

/// `GET /grants/{id}/consent`
pub(super) async fn show(portal: Data<Portal>, frame: Frame, by: SignedIn, id: Path<GrantId>) -> Result<HttpResponse, Error> {
    page(&consent_page(&portal, frame, &by, *id, vec![], vec![]).await?)
}

async fn consent_page(
    portal: &Portal,
    frame: Frame,
    by: &SignedIn,
    id: GrantId,
    ticked: Vec<String>,
    faults: Vec<FieldError>,
) -> Result<ConsentPage, Error> {
    let now = portal.clock.now();
    let mut db = portal.db.acquire().await?;
    let held = own(store::find_grant(&mut db, id).await?, by)?;
    let models = catalog::find_models(&mut db, &[held.model]).await?;
    let model = name_of(&models, held.model).0;
    let due = if held.grant.standing(now).is_running() { consent::due(&mut db, &held).await? } else { None };
    let Some(due) = due else {
        let title = format!("What you agreed to for {model}");
        return Ok(ConsentPage { frame, id, model, title, asked: None, ticked, faults });
    };
    let title = due.title(&model);
    let shown = due.shown();
    let licence = match due.licence_sha256 {
        Some(sha256) => {
            let text = catalog::licence(&mut db, &sha256).await?.map(|licence| licence.body).unwrap_or_default();
            Some(LicenceView { sha256, text })
        }
        None => None,
    };
    let asked = AskedView { shown, licence, by: when::minute(due.by), is_late: now >= due.by, clauses: due.clauses };
    Ok(ConsentPage { frame, id, model, title, asked: Some(asked), ticked, faults })
}

/// `POST /grants/{id}/consent`
pub(super) async fn agree(
    portal: Data<Portal>,
    frame: Frame,
    by: SignedIn,
    id: Path<GrantId>,
    Form(fields): Form<Vec<(String, String)>>,
) -> Result<HttpResponse, Error> {
    let shown = fields.iter().find(|(name, _)| name == "shown").map(|(_, value)| value.clone()).unwrap_or_default();
    let ticked: Vec<String> = fields.into_iter().filter(|(_, value)| value == "on").map(|(name, _)| name).collect();
    match consent::agree(&portal, by.account.id, *id, &shown, &ticked).await {
        Ok(()) => Ok(see_other(&format!("/grants/{id}"), Some("Thank you. What you agreed to is on record, and your access goes on."))),
        Err(Error::Invalid(faults)) => {
            // Ticks under what has changed meanwhile are made again.
            let ticked = if faults.iter().any(|fault| fault.field == "shown") { vec![] } else { ticked };
            page_with_faults(&consent_page(&portal, frame, &by, *id, ticked, faults).await?)
        }
        Err(other) => Err(other),
    }
}
