//! The page of a model's form: what is asked now, the draft of the next one, and every form before.

use actix_web::HttpResponse;
use actix_web::web::{Data, Path};
use askama::Template;
use serde::Deserialize;

use super::super::form::Form as ApplicationForm;
use super::super::store::{self, FormWork};
use super::draft;
use super::view::LayoutView;
use crate::accounts::{self, Account, Admin};
use crate::catalog::{self, Gate, Model};
use crate::error::Error;
use crate::http::page::{page, page_in_conflict};
use crate::http::{Form, Frame, see_other, when};
use crate::ids::{AccountId, ModelId};
use crate::portal::Portal;

#[derive(Template)]
#[template(path = "admin/form.html")]
struct FormPage {
    frame: Frame,
    model: Model,
    base: String,
    layout: LayoutView,
    draft: Option<DraftRow>,
    versions: Vec<VersionRow>,
    /// Since when holders are asked to agree to the clauses that are asked now, and from when on access rests.
    announced: Option<(String, String)>,
    /// The form's address from where this page stands.
    here: String,
    /// A step that was not done.
    refused: Option<Refused>,
}

/// Why a step was not done, and the place on the page that it was about; an empty one is the page itself.
struct Refused {
    why: String,
    place: String,
}

/// What is told about a draft.
struct DraftRow {
    edition: i64,
    at: String,
    by: String,
}

/// A form that was published, or the built-in one.
struct VersionRow {
    version: i32,
    short: String,
    sha256: String,
    since: String,
    by: String,
    is_current: bool,
}

impl FormPage {
    fn current(&self) -> &VersionRow {
        // The built-in form is always among them.
        self.versions.iter().find(|row| row.is_current).unwrap_or(&self.versions[0])
    }

    /// Why a step was not done that was about this place.
    fn refused_at(&self, kind: &str, name: &str) -> Option<&str> {
        let refused =
            self.refused.as_ref().filter(|refused| refused.place.strip_prefix(kind).and_then(|rest| rest.strip_prefix('-')) == Some(name));
        refused.map(|refused| refused.why.as_str())
    }
}

/// The address of a model's form.
pub(super) fn base(model: ModelId) -> String {
    format!("/admin/models/{model}/form")
}

/// The address of a model's form as it is written on a page at `path`, the form's own or one below it. In full it would be a tenth of the
/// page's weight.
fn from_here(path: &str, model: ModelId) -> String {
    match path.strip_prefix(&base(model)).map_or(0, |below| below.matches('/').count()) {
        0 => "form".into(),
        1 => ".".into(),
        depth => vec![".."; depth - 1].join("/"),
    }
}

/// `GET /admin/models/{id}/form`
pub(super) async fn form(portal: Data<Portal>, frame: Frame, _: Admin, id: Path<ModelId>) -> Result<HttpResponse, Error> {
    page(&form_page(&portal, frame, *id).await?)
}

/// The form's page as it is now, for whom a step was refused: nothing was changed, and they see why. Errors: all but `Conflict` and
/// `Stale`, as they are.
pub(super) async fn refused(portal: &Portal, frame: Frame, id: ModelId, place: &str, cause: Error) -> Result<HttpResponse, Error> {
    let (Error::Conflict(why) | Error::Stale(why)) = cause else { return Err(cause) };
    let refused = Some(Refused { why: why.to_string(), place: place.to_owned() });
    page_in_conflict(&FormPage { refused, ..form_page(portal, frame, id).await? })
}

async fn form_page(portal: &Portal, frame: Frame, id: ModelId) -> Result<FormPage, Error> {
    let mut db = portal.db.acquire().await?;
    let model = catalog::find_model_by_id(&mut db, id).await?;
    let versions = store::form_versions(&mut db, id).await?;
    let FormWork { draft, asked } = store::form_work(&mut db, id).await?;
    let who: Vec<AccountId> =
        versions.iter().map(|version| version.published_by).chain(draft.as_ref().map(|draft| draft.updated_by)).collect();
    let people = accounts::find_accounts(&mut db, &who).await?;
    let announced = match versions.first() {
        Some(version) => store::form_change(&mut db, id, &version.form_sha256).await?,
        None => None,
    };
    let built_in = ApplicationForm::built_in();
    let asked = asked.as_ref().map_or(built_in, |(_, form)| form);
    let layout = LayoutView::new(draft.as_ref().map_or(asked.layout(), |draft| &draft.layout));
    let first = VersionRow {
        version: 0,
        short: built_in.sha256()[..12].to_owned(),
        sha256: built_in.sha256().to_owned(),
        since: String::new(),
        by: "comes with the portal".into(),
        is_current: versions.is_empty(),
    };
    let rows = versions.iter().enumerate().map(|(place, version)| VersionRow {
        version: version.version,
        short: version.form_sha256[..12].to_owned(),
        sha256: version.form_sha256.clone(),
        since: when::minute(version.since),
        by: name_of(&people, version.published_by),
        is_current: place == 0,
    });
    let here = from_here(&frame.path, id);
    Ok(FormPage {
        frame,
        base: base(id),
        layout,
        draft: draft.map(|draft| DraftRow {
            edition: draft.edition,
            at: when::minute(draft.updated_at),
            by: name_of(&people, draft.updated_by),
        }),
        versions: rows.chain([first]).collect(),
        announced: announced.map(|(at, until)| (when::minute(at), when::minute(until))),
        model,
        here,
        refused: None,
    })
}

fn name_of(people: &[Account], id: AccountId) -> String {
    people.iter().find(|account| account.id == id).map_or_else(|| "a removed account".into(), |account| account.name.clone())
}

#[derive(Deserialize)]
pub(super) struct Start {
    version: i32,
}

/// `POST /admin/models/{id}/form/start`
pub(super) async fn start(
    portal: Data<Portal>,
    frame: Frame,
    by: Admin,
    id: Path<ModelId>,
    Form(sent): Form<Start>,
) -> Result<HttpResponse, Error> {
    catalog::find_model_by_id(&mut *portal.db.acquire().await?, *id).await?;
    match draft::start(&portal, &by, *id, sent.version).await {
        Ok(()) => Ok(see_other(&base(*id), Some("This is your draft. Applicants do not see it until you publish it."))),
        Err(cause) => refused(&portal, frame, *id, "", cause).await,
    }
}

#[derive(Deserialize)]
pub(super) struct Seen {
    pub(super) edition: i64,
}

/// `POST /admin/models/{id}/form/discard`
pub(super) async fn discard(
    portal: Data<Portal>,
    frame: Frame,
    _: Admin,
    id: Path<ModelId>,
    Form(seen): Form<Seen>,
) -> Result<HttpResponse, Error> {
    match draft::discard(&portal, *id, seen.edition).await {
        Ok(()) => Ok(see_other(&base(*id), Some("The draft was discarded. Applicants are asked what they were asked before."))),
        Err(cause) => refused(&portal, frame, *id, "", cause).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_is_found_from_every_page_below_it() {
        let model = ModelId::fresh();
        let portal = url::Url::parse("http://127.0.0.1").expect("it is an address");
        for path in ["", "/", "/start", "/new/questions", "/questions/title", "/questions/title/move"] {
            let page = portal.join(&format!("{}{path}", base(model))).expect("a path of ours");
            let part = format!("{}/sections/you", from_here(page.path(), model));
            assert_eq!(page.join(&part).expect("a path of ours").path(), format!("{}/sections/you", base(model)), "{path}");
        }
    }
}
