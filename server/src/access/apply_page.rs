//! The form that somebody applies with, and what stands there instead of it.

use actix_web::http::header::ACCEPT;
use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;
use serde_json::json;

use super::answers::Answers;
use super::answers_view::Answered;
use super::application::{Application, seen_version};
use super::apply::{self, Opening, Prefill, Sent};
use super::form_view::{Control, FormView};
use super::grant::Standing;
use super::state_view::told_to_holder;
use super::{form, forms};
use crate::accounts::{Account, SignedIn};
use crate::catalog::{self, Model};
use crate::error::{Error, FieldError, Mend};
use crate::http::page::{page, page_in_conflict, page_limited, page_with_faults};
use crate::http::{Form, Frame, see_other, when};
use crate::ids::ApplicationId;
use crate::portal::Portal;

/// The hidden field that says which version of the application the page was drawn from.
const VERSION: &str = "version";

#[derive(Template)]
#[template(path = "access/apply.html")]
struct ApplyPage {
    frame: Frame,
    name: String,
    email: String,
    model: String,
    action: String,
    form: FormView,
    form_sha256: String,
    /// Where it only shows how a form would look.
    preview: Option<Preview>,
    /// Whether the answers were written on another form, and what of them has no place on this one.
    is_moved: bool,
    left_over: Vec<Answered>,
    licence: Option<String>,
    licence_sha256: String,
    licence_fault: Option<String>,
    /// Whether the clauses have to be ticked again because the licence has another text now.
    licence_changed: bool,
    saved: Option<String>,
    copied_from: Option<ApplicationId>,
    version: i64,
    /// Whether what was typed here is shown, and another window has saved something else meanwhile.
    is_stale: bool,
    asked: Option<Asked>,
}

/// What a reviewer asks to be changed.
struct Asked {
    id: ApplicationId,
    lines: Vec<String>,
    fields: Vec<String>,
}

impl ApplyPage {
    /// Whether the reviewer means this question.
    fn is_asked(&self, name: &str) -> bool {
        self.asked.as_ref().is_some_and(|asked| asked.fields.iter().any(|field| field == name))
    }
}

#[derive(Template)]
#[template(path = "access/no_form.html")]
struct NoFormPage {
    frame: Frame,
    title: String,
    text: String,
    next: String,
    label: &'static str,
}

async fn model_of(portal: &Portal, path: &(String, String)) -> Result<Model, Error> {
    let mut db = portal.db.acquire().await?;
    catalog::find_model(&mut db, &path.0, &path.1).await?.ok_or(Error::NotFound("model"))
}

pub(super) async fn apply_page(
    portal: Data<Portal>,
    frame: Frame,
    by: SignedIn,
    path: Path<(String, String)>,
) -> Result<HttpResponse, Error> {
    let model = model_of(&portal, &path).await?;
    let (name, now) = (model.full_name(), portal.clock.now());
    let no_form = match apply::open(&portal, by.account.id, &model).await? {
        Opening::Form(prefill) => return page(&form_page(&portal, frame, &by.account, &model, prefill, &[]).await?),
        Opening::NotNeeded => NoFormPage {
            frame,
            title: format!("{name} is open"),
            text: "Anybody may download it; no application is needed.".into(),
            next: model.path(),
            label: "Go to the model",
        },
        Opening::Granted(grant) if grant.standing(now) != Standing::Holds => NoFormPage {
            frame,
            title: format!("Your access to {name} does not hold now"),
            text: told_to_holder(&grant, now).told,
            next: format!("/grants/{}", grant.id),
            label: "See your access",
        },
        Opening::Granted(grant) => NoFormPage {
            frame,
            title: format!("You have access to {name}"),
            text: format!("It is valid until {}. You can ask for a renewal from 60 days before its end.", when::day(grant.expires_at)),
            next: model.path(),
            label: "Go to the model",
        },
        Opening::Stopped(refusal) => {
            let mend = refusal.mend.unwrap_or(Mend { path: model.path(), label: "Go to the model" });
            NoFormPage {
                frame,
                title: format!("Your access to {name} does not hold now"),
                text: refusal.message,
                next: mend.path,
                label: mend.label,
            }
        }
        Opening::Waiting(id) => NoFormPage {
            frame,
            title: format!("You have applied for {name}"),
            text: "Your application is waiting for a reviewer; you will get a mail as soon as it is decided.".into(),
            next: format!("/applications/{id}"),
            label: "See your application",
        },
        Opening::Declined { id, from, may_appeal } => NoFormPage {
            frame,
            title: format!("Your application for {name} was declined"),
            text: if may_appeal {
                let from = when::day(from);
                format!(
                    "You may apply again from {from}. Until then you can appeal, if something was overlooked: another reviewer decides."
                )
            } else {
                format!("You may apply again from {}.", when::day(from))
            },
            next: format!("/applications/{id}"),
            label: if may_appeal { "See the reason, or appeal" } else { "See your application" },
        },
    };
    page(&no_form)
}

async fn form_page(
    portal: &Portal,
    frame: Frame,
    by: &Account,
    model: &Model,
    prefill: Prefill,
    faults: &[FieldError],
) -> Result<ApplyPage, Error> {
    let mut db = portal.db.acquire().await?;
    let filled = forms::fill(&mut db, model.id, prefill.form_sha256.as_deref(), prefill.answers).await?;
    let licence = match &model.licence_sha256 {
        Some(sha256) => catalog::licence(&mut db, sha256).await?.map(|licence| licence.body),
        None => None,
    };
    Ok(ApplyPage {
        frame,
        name: by.name.clone(),
        email: by.email.to_string(),
        model: model.full_name(),
        action: format!("{}/apply", model.path()),
        form: FormView::new(&filled.form, &filled.answers, faults),
        form_sha256: filled.form.sha256().to_owned(),
        preview: None,
        is_moved: filled.is_moved && faults.is_empty(),
        left_over: filled.left_over,
        licence,
        licence_sha256: model.licence_sha256.clone().unwrap_or_default(),
        licence_fault: faults.iter().find(|fault| fault.field == form::LICENCE_SHOWN).map(|fault| fault.message.to_string()),
        licence_changed: prefill.licence_changed,
        saved: prefill.saved_at.filter(|_| faults.is_empty()).map(when::minute),
        copied_from: prefill.copied_from.filter(|_| faults.is_empty()),
        version: prefill.version.unwrap_or(Application::FIRST_VERSION),
        is_stale: false,
        asked: prefill.changes.map(|(id, changes)| Asked {
            id,
            lines: changes.text.lines().map(str::to_owned).collect(),
            fields: changes.fields,
        }),
    })
}

/// What is said above a form that is looked at, and where the way back leads.
pub(super) struct Preview {
    pub(super) told: String,
    pub(super) back: String,
}

/// The page as applicants would see it under this form, from which nothing can be sent.
pub(super) async fn preview_page(
    portal: &Portal,
    frame: Frame,
    by: &Account,
    model: &Model,
    form: &form::Form,
    preview: Preview,
) -> Result<impl Template, Error> {
    let page = form_page(portal, frame, by, model, Prefill::default(), &[]).await?;
    let answers = Prefill::default().answers;
    Ok(ApplyPage { form: FormView::new(form, &answers, &[]), form_sha256: form.sha256().to_owned(), preview: Some(preview), ..page })
}

pub(super) async fn submit(
    portal: Data<Portal>,
    frame: Frame,
    by: SignedIn,
    path: Path<(String, String)>,
    Form(fields): Form<Vec<(String, String)>>,
) -> Result<HttpResponse, Error> {
    let model = model_of(&portal, &path).await?;
    let seen = version_of(&fields);
    let answers = forms::read(&mut *portal.db.acquire().await?, fields).await?;
    match apply::submit(&portal, &by.account, &model, answers.clone(), seen).await {
        Ok(Sent::Fresh(id)) => {
            Ok(see_other(&format!("/applications/{id}"), Some("Your application was sent. A receipt is on its way to you.")))
        }
        Ok(Sent::Again(id)) => Ok(see_other(&format!("/applications/{id}"), Some("Sent again. You kept your place in the queue."))),
        Ok(Sent::Already(id)) => Ok(see_other(&format!("/applications/{id}"), Some("This application had been sent already."))),
        Err(Error::Invalid(faults)) => page_with_faults(&typed_page(&portal, frame, &by.account, &model, answers, &faults).await?),
        Err(Error::Stale(_)) => stale(&portal, frame, &by.account, &model, answers).await,
        Err(Error::Limited { retry_after_s }) => page_limited(&too_often(frame, &model, retry_after_s), retry_after_s),
        Err(other) => Err(other),
    }
}

/// The version that the posted page was drawn from.
fn version_of(fields: &[(String, String)]) -> Option<i64> {
    fields.iter().find(|(name, _)| name == VERSION).and_then(|(_, value)| seen_version(value))
}

/// The form with what was typed, for the application as it is now.
async fn typed_page(
    portal: &Portal,
    frame: Frame,
    by: &Account,
    model: &Model,
    answers: Answers,
    faults: &[FieldError],
) -> Result<ApplyPage, Error> {
    let (answers, licence_changed) = apply::as_agreed_under(answers, model);
    let prefill = match apply::open(portal, by.id, model).await? {
        Opening::Form(kept) => Prefill { answers: answers.with_left_over_of(&kept.answers), licence_changed, ..kept },
        _ => Prefill { answers, licence_changed, ..Prefill::default() },
    };
    form_page(portal, frame, by, model, prefill, faults).await
}

/// The form with what was typed on a page that is old: nothing was kept of it yet, and sending or saving it once more says that it counts.
async fn stale(portal: &Portal, frame: Frame, by: &Account, model: &Model, answers: Answers) -> Result<HttpResponse, Error> {
    let page = typed_page(portal, frame, by, model, answers, &[]).await?;
    page_in_conflict(&ApplyPage { is_stale: true, ..page })
}

fn too_often(frame: Frame, model: &Model, retry_after_s: u32) -> NoFormPage {
    let wait = when::wait(retry_after_s);
    NoFormPage {
        frame,
        title: "Not sent yet".into(),
        text: format!("You have sent several applications in a short time. Your answers are kept as a draft; send them again in {wait}."),
        next: format!("{}/apply", model.path()),
        label: "Go to the draft",
    }
}

/// Keeps a draft. The page's script asks for JSON while somebody writes.
pub(super) async fn save_draft(
    portal: Data<Portal>,
    request: HttpRequest,
    frame: Frame,
    by: SignedIn,
    path: Path<(String, String)>,
    Form(fields): Form<Vec<(String, String)>>,
) -> Result<HttpResponse, Error> {
    let model = model_of(&portal, &path).await?;
    let by_script = request.headers().get(ACCEPT).is_some_and(|accept| accept == "application/json");
    let seen = version_of(&fields);
    let answers = forms::read(&mut *portal.db.acquire().await?, fields).await?;
    let draft = match apply::save_draft(&portal, &by.account, &model, answers.clone(), seen).await {
        Err(Error::Stale(_)) if !by_script => return stale(&portal, frame, &by.account, &model, answers).await,
        saved => saved?,
    };
    if by_script {
        let form = forms::of(&mut *portal.db.acquire().await?, &draft).await?;
        let sections = FormView::new(&form, &draft.answers, &[]).sections;
        let sections = sections.iter().map(|of| json!({ "id": of.id, "answered": of.answered, "needed": of.needed }));
        let saved = json!({
            "version": draft.version,
            "saved_at": when::minute(draft.updated_at),
            "sections": sections.collect::<Vec<_>>(),
        });
        return Ok(HttpResponse::Ok().json(saved));
    }
    Ok(see_other(&format!("{}/apply", model.path()), Some("Draft saved. Only you can see it; come back to it at any time.")))
}
