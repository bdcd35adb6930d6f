//! From a draft to the form that is asked: looked at as applicants will see it, compared with what is asked now, published.

use actix_web::HttpResponse;
use actix_web::web::{Data, Path};
use askama::Template;
use serde::Deserialize;
use sqlx::PgConnection;
use time::Duration;

use super::super::apply_page::{Preview, preview_page};
use super::super::consent;
use super::super::form::Form as ApplicationForm;
use super::super::forms;
use super::super::store::{self, Affected, FormDraft, FormVersion, FormWork};
use super::compare::{self, Change};
use super::draft;
use super::overview::{base, refused};
use super::view::LayoutView;
use crate::accounts::{self, Account, Admin};
use crate::audit::{self, Event};
use crate::catalog::{self, Model};
use crate::clock::Timestamp;
use crate::error::{Error, FieldError};
use crate::http::page::{page, page_in_conflict, page_with_faults};
use crate::http::{Form, Frame, filters, see_other};
use crate::ids::{ApplicationId, ModelId};
use crate::portal::Portal;

/// How many of the applications that keep their form are named.
pub(super) const WAITING_MAX: i64 = 50;

/// `GET /admin/models/{id}/form/preview`: the apply page, drawn from the draft.
pub(super) async fn preview(portal: Data<Portal>, frame: Frame, by: Admin, id: Path<ModelId>) -> Result<HttpResponse, Error> {
    let mut db = portal.db.acquire().await?;
    let model = catalog::find_model_by_id(&mut db, *id).await?;
    let draft = match draft::existing(&mut db, *id).await {
        Ok(draft) => draft,
        Err(cause) => {
            drop(db);
            return refused(&portal, frame, *id, "", cause).await;
        }
    };
    drop(db);
    let told = Preview { told: "This is how applicants would see your draft. Nothing can be sent from here.".into(), back: base(*id) };
    // Drawn even where it breaks rules, so that it can be seen what is wrong.
    page(&preview_page(&portal, frame, &by.0, &model, &ApplicationForm::unchecked(draft.layout), told).await?)
}

/// `GET /admin/models/{id}/form/versions/{version}`: the apply page, drawn from a form that was published.
pub(super) async fn version(portal: Data<Portal>, frame: Frame, by: Admin, path: Path<(ModelId, i32)>) -> Result<HttpResponse, Error> {
    let (id, version) = path.into_inner();
    let mut db = portal.db.acquire().await?;
    let model = catalog::find_model_by_id(&mut db, id).await?;
    let form = draft::published(&mut db, id, version).await?;
    drop(db);
    let which = if version == 0 { "the built-in form".to_owned() } else { format!("version {version} of the form") };
    let told = format!("This is {which}, as applicants see it. Its SHA-256 is {}. Nothing can be sent from here.", form.sha256());
    page(&preview_page(&portal, frame, &by.0, &model, &form, Preview { told, back: base(id) }).await?)
}

#[derive(Template)]
#[template(path = "admin/form_compare.html")]
struct ComparePage {
    frame: Frame,
    model: Model,
    base: String,
    edition: i64,
    changes: Vec<Change>,
    layout: LayoutView,
    affected: Affected,
    /// How many clauses are new or have other words.
    news: usize,
    sent: PublishForm,
    faults: Vec<FieldError>,
    /// Who waits, and where the case is.
    waiting: Vec<(String, String)>,
    /// What the version would be called.
    next: i32,
    /// Why it was not published.
    refused: Option<String>,
}

/// `GET /admin/models/{id}/form/compare`
pub(super) async fn compare(portal: Data<Portal>, frame: Frame, _: Admin, id: Path<ModelId>) -> Result<HttpResponse, Error> {
    match compare_page(&portal, frame.clone(), *id, PublishForm::fresh(), vec![]).await {
        Ok(compared) => page(&compared),
        Err(cause) => refused(&portal, frame, *id, "", cause).await,
    }
}

/// Errors: `Conflict` if there is no draft.
async fn compare_page(
    portal: &Portal,
    frame: Frame,
    id: ModelId,
    sent: PublishForm,
    faults: Vec<FieldError>,
) -> Result<ComparePage, Error> {
    let mut db = portal.db.acquire().await?;
    let model = catalog::find_model_by_id(&mut db, id).await?;
    let compared = compared(&mut db, id, portal.clock.now()).await?;
    let name = |applicant: Option<Account>| applicant.map_or_else(|| "a removed account".into(), |account| account.name);
    Ok(ComparePage {
        frame,
        model,
        base: base(id),
        edition: compared.draft.edition,
        changes: compared.changes,
        layout: LayoutView::new(&compared.draft.layout),
        affected: compared.affected,
        news: compared.news,
        sent,
        faults,
        waiting: compared.waiting.into_iter().map(|(id, applicant)| (name(applicant), format!("/review/{id}"))).collect(),
        next: compared.next,
        refused: None,
    })
}

/// A draft beside the form that is asked now.
pub(super) struct Compared {
    pub(super) draft: FormDraft,
    /// What its version would be called.
    pub(super) next: i32,
    pub(super) changes: Vec<Change>,
    /// How many clauses are new or have other words.
    pub(super) news: usize,
    /// Whom it would meet.
    pub(super) affected: Affected,
    /// Of those who wait, the first, with their applicants; none who was forgotten.
    pub(super) waiting: Vec<(ApplicationId, Option<Account>)>,
}

/// What publishing the draft would change, and for whom. Errors: `Conflict` if there is no draft.
pub(super) async fn compared(db: &mut PgConnection, model: ModelId, now: Timestamp) -> Result<Compared, Error> {
    let FormWork { draft, asked } = store::form_work(db, model).await?;
    let draft = draft.ok_or_else(|| draft::none(model))?;
    let (version, current) = asked.unwrap_or_else(|| (0, ApplicationForm::built_in().clone()));
    let (from, to) = (current.layout(), &draft.layout);
    let affected = store::affected_by_form(db, model, &compare::names_left(from, to), now).await?;
    let waiting = store::waiting_for_model(db, model, WAITING_MAX).await?;
    let people = accounts::find_accounts(db, &waiting.iter().map(|(_, applicant)| *applicant).collect::<Vec<_>>()).await?;
    let applicant = |id| people.iter().find(|account| account.id == id).cloned();
    Ok(Compared {
        next: version + 1,
        changes: compare::changes(from, to),
        news: consent::news(from, to).len(),
        affected,
        waiting: waiting.into_iter().map(|(id, account)| (id, applicant(account))).collect(),
        draft,
    })
}

/// The form of the page.
#[derive(Clone, Deserialize)]
pub(super) struct PublishForm {
    edition: i64,
    /// Whether the change of the clauses matters, so that holders are asked.
    material: Option<String>,
    #[serde(default)]
    grace_days: String,
}

impl PublishForm {
    fn fresh() -> Self {
        Self { edition: 0, material: None, grace_days: "30".into() }
    }
}

/// `POST /admin/models/{id}/form/publish`. What cannot be published is compared again, as it is now.
pub(super) async fn publish(
    portal: Data<Portal>,
    frame: Frame,
    by: Admin,
    id: Path<ModelId>,
    Form(sent): Form<PublishForm>,
) -> Result<HttpResponse, Error> {
    let grace = sent.material.is_some().then(|| consent::grace(&sent.grace_days)).transpose();
    let published = match grace {
        Ok(grace) => make_current(&portal, &by, *id, sent.edition, grace).await,
        Err(fault) => Err(fault.into()),
    };
    match published {
        Ok(published) => {
            let asked = match published.asked {
                None => String::new(),
                Some(1) => " 1 holder gets a mail and is asked to agree.".into(),
                Some(asked) => format!(" {asked} holders get a mail and are asked to agree."),
            };
            let told = format!("Published. New applicants answer version {}.{asked}", published.version);
            Ok(see_other(&base(*id), Some(&told)))
        }
        Err(Error::Invalid(faults)) => page_with_faults(&compare_page(&portal, frame, *id, sent, faults).await?),
        Err(Error::Conflict(why) | Error::Stale(why)) => match compare_page(&portal, frame.clone(), *id, sent, vec![]).await {
            Ok(compared) => page_in_conflict(&ComparePage { refused: Some(why.to_string()), ..compared }),
            // The draft is gone.
            Err(Error::Conflict(_)) => refused(&portal, frame, *id, "", Error::Conflict(why)).await,
            Err(cause) => Err(cause),
        },
        Err(other) => Err(other),
    }
}

/// What came of publishing a form.
pub(super) struct Published {
    /// What the version is called.
    pub(super) version: i32,
    /// How many holders are asked to agree to its clauses, if it was said that they matter.
    pub(super) asked: Option<usize>,
}

/// Lets the model ask its draft from now on: a new version, on record; with `grace`, holders agree to its new clauses within so long.
/// Errors: `Stale` if the draft is not as it was seen; `Conflict` if there is none, or it breaks rules, or asks what is asked already;
/// `Invalid` if no clause is new.
pub(super) async fn make_current(
    portal: &Portal,
    by: &Admin,
    id: ModelId,
    edition: i64,
    grace: Option<Duration>,
) -> Result<Published, Error> {
    let now = portal.clock.now();
    let mut tx = portal.db.begin().await?;
    let draft = draft::lock(&mut tx, id, edition).await?;
    let form = ApplicationForm::new(draft.layout).map_err(|faults| {
        let many = if faults.len() == 1 { "1 thing has".to_owned() } else { format!("{} things have", faults.len()) };
        let told = format!("{many} to be fixed before publishing; the form’s page lists them");
        Error::Conflict(told.into()).mended_by(base(id), "Go to the form")
    })?;
    let from = forms::current(&mut tx, id).await?;
    if from == form {
        return Err(
            Error::Conflict("the draft is the same as the current form; nothing was changed".into()).mended_by(base(id), "Go to the form")
        );
    }
    let last = draft::current_version(&mut tx, id).await?.map_or(0, |version| version.version);
    let to = form.sha256().to_owned();
    let version = FormVersion { version: last + 1, form_sha256: to.clone(), since: now, published_by: by.0.id };
    store::insert_form(&mut tx, &form, Some(by.0.id), now).await?;
    store::insert_form_version(&mut tx, id, &version).await?;
    store::delete_form_draft(&mut tx, id).await?;
    let event = Event::FormPublished { model: id, from: from.sha256().to_owned(), to };
    audit::record(&mut tx, now, Some(by.0.id), &event).await?;
    let asked = match grace {
        Some(grace) => {
            let model = catalog::find_model_by_id(&mut tx, id).await?;
            Some(consent::announce_form(&mut tx, portal, by, &model, (&from, &form), grace).await?)
        }
        None => None,
    };
    tx.commit().await?;
    Ok(Published { version: version.version, asked })
}
