//! The holder's page of a licence that has changed: the text, its clauses, and agreeing to them.

use actix_web::HttpResponse;
use actix_web::web::{Data, Path};
use askama::Template;

use super::clause::Clause;
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
    /// What is asked; nothing when it was agreed to.
    asked: Option<AskedView>,
    ticked: Vec<String>,
    faults: Vec<FieldError>,
}

struct AskedView {
    licence_sha256: String,
    text: String,
    by: String,
    is_late: bool,
    clauses: Vec<Clause>,
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
    let asked = match consent::due(&mut db, &held).await? {
        Some(due) if held.grant.standing(now).is_running() => Some(AskedView {
            text: catalog::licence(&mut db, &due.licence_sha256).await?.map(|licence| licence.body).unwrap_or_default(),
            licence_sha256: due.licence_sha256,
            by: when::minute(due.by),
            is_late: now >= due.by,
            clauses: due.clauses,
        }),
        Some(_) | None => None,
    };
    Ok(ConsentPage { frame, id, model: name_of(&models, held.model).0, asked, ticked, faults })
}

/// `POST /grants/{id}/consent`
pub(super) async fn agree(
    portal: Data<Portal>,
    frame: Frame,
    by: SignedIn,
    id: Path<GrantId>,
    Form(fields): Form<Vec<(String, String)>>,
) -> Result<HttpResponse, Error> {
    let shown = fields.iter().find(|(name, _)| name == "licence_shown").map(|(_, value)| value.clone()).unwrap_or_default();
    let ticked: Vec<String> = fields.into_iter().filter(|(_, value)| value == "on").map(|(name, _)| name).collect();
    match consent::agree(&portal, by.account.id, *id, &shown, &ticked).await {
        Ok(()) => Ok(see_other(&format!("/grants/{id}"), Some("Thank you. What you agreed to is on the record; your access goes on."))),
        Err(Error::Invalid(faults)) => {
            // Ticks under a text that has changed meanwhile are made again.
            let ticked = if faults.iter().any(|fault| fault.field == "licence_shown") { vec![] } else { ticked };
            page_with_faults(&consent_page(&portal, frame, &by, *id, ticked, faults).await?)
        }
        Err(other) => Err(other),
    }
}
