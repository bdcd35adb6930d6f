//! The applicant's pages: the form, my applications, one application.

use actix_web::HttpResponse;
use actix_web::web::{self, Data, Path};
use askama::Template;

use super::answers_view::{self, Answered, AnsweredSection};
use super::application::{Application, State};
use super::apply::{self, Opening, Prefill, Sent};
use super::form_view::{Control, FormView};
use super::grant::HeldGrant;
use super::state_view::{Badge, GrantView, badge, name_of, turn};
use super::{desk, form, forms, held, hub_requests, store};
use crate::accounts::SignedIn;
use crate::audit;
use crate::catalog::{self, Model};
use crate::clock::Timestamp;
use crate::error::{Error, FieldError};
use crate::http::page::{page, page_limited, page_with_faults};
use crate::http::{Form, Frame, see_other, when};
use crate::ids::{ApplicationId, ModelId};
use crate::portal::Portal;

/// How many of somebody's applications are listed; the newest.
const APPLICATIONS_MAX: i64 = 200;

/// How much of the record is listed with an application.
const RECORDED_MAX: i64 = 50;

/// The room's URLs.
pub fn configure(cfg: &mut web::ServiceConfig) {
    cfg.route("/applications", web::get().to(applications))
        .route("/applications/{id}", web::get().to(application))
        .route("/applications/{id}/withdraw", web::post().to(withdraw))
        .route("/review", web::get().to(desk::queue))
        .route("/review/{id}", web::get().to(desk::case))
        .route("/review/{id}/approve", web::post().to(desk::approve))
        .route("/review/{id}/decline", web::post().to(desk::decline))
        .route("/review/{id}/revoke", web::post().to(desk::revoke))
        .route("/api/models/{org}/{name}/user-access-request/handle", web::post().to(hub_requests::handle))
        .route("/api/models/{org}/{name}/user-access-request/grant", web::post().to(hub_requests::grant))
        .route("/api/models/{org}/{name}/user-access-request/{status}", web::get().to(hub_requests::list))
        .route("/{org}/{name}/apply", web::get().to(apply_page))
        .route("/{org}/{name}/apply", web::post().to(submit))
        .route("/{org}/{name}/apply/draft", web::post().to(save_draft));
}

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
    /// Whether the answers were written on another form, and what of them has no place on this one.
    is_moved: bool,
    left_over: Vec<Answered>,
    licence: Option<String>,
    licence_sha256: String,
    licence_fault: Option<String>,
    saved: Option<String>,
    copied_from: Option<ApplicationId>,
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

async fn apply_page(portal: Data<Portal>, frame: Frame, by: SignedIn, path: Path<(String, String)>) -> Result<HttpResponse, Error> {
    let model = model_of(&portal, &path).await?;
    let name = model.full_name();
    let no_form = match apply::open(&portal, by.account.id, &model).await? {
        Opening::Form(prefill) => return page(&form_page(&portal, frame, &by, &model, prefill, &[]).await?),
        Opening::NotNeeded => NoFormPage {
            frame,
            title: format!("{name} is open"),
            text: "Everybody may download it; no application is needed.".into(),
            next: model.path(),
            label: "To the model",
        },
        Opening::Granted(grant) => NoFormPage {
            frame,
            title: format!("You have access to {name}"),
            text: format!("It holds until {}. After that you can apply again with the same answers.", when::day(grant.expires_at)),
            next: model.path(),
            label: "To the model",
        },
        Opening::Waiting(id) => NoFormPage {
            frame,
            title: format!("You have applied for {name}"),
            text: "Your application waits for a reviewer; you get a mail as soon as it is decided.".into(),
            next: format!("/applications/{id}"),
            label: "See your application",
        },
    };
    page(&no_form)
}

async fn form_page(
    portal: &Portal,
    frame: Frame,
    by: &SignedIn,
    model: &Model,
    prefill: Prefill,
    faults: &[FieldError],
) -> Result<ApplyPage, Error> {
    let mut db = portal.db.acquire().await?;
    let filled = forms::fill(&mut db, model.id, None, prefill.answers).await?;
    let licence = match &model.licence_sha256 {
        Some(sha256) => catalog::licence(&mut db, sha256).await?.map(|licence| licence.body),
        None => None,
    };
    Ok(ApplyPage {
        frame,
        name: by.account.name.clone(),
        email: by.account.email.to_string(),
        model: model.full_name(),
        action: format!("{}/apply", model.path()),
        form: FormView::new(&filled.form, &filled.answers, faults),
        form_sha256: filled.form.sha256().to_owned(),
        is_moved: filled.is_moved && faults.is_empty(),
        left_over: filled.left_over,
        licence,
        licence_sha256: model.licence_sha256.clone().unwrap_or_default(),
        licence_fault: faults.iter().find(|fault| fault.field == form::LICENCE_SHOWN).map(|fault| fault.message.to_string()),
        saved: prefill.saved_at.map(when::minute),
        copied_from: prefill.copied_from,
    })
}

async fn submit(
    portal: Data<Portal>,
    frame: Frame,
    by: SignedIn,
    path: Path<(String, String)>,
    Form(fields): Form<Vec<(String, String)>>,
) -> Result<HttpResponse, Error> {
    let model = model_of(&portal, &path).await?;
    let answers = forms::read(&mut *portal.db.acquire().await?, fields).await?;
    match apply::submit(&portal, &by.account, &model, answers.clone()).await {
        Ok(Sent::Fresh(id)) => {
            Ok(see_other(&format!("/applications/{id}"), Some("Your application was sent. A receipt is on its way to you.")))
        }
        Ok(Sent::Already(id)) => Ok(see_other(&format!("/applications/{id}"), Some("This application had been sent already."))),
        Err(Error::Invalid(faults)) => {
            let prefill = Prefill { answers: apply::as_agreed_under(answers, &model), ..Prefill::default() };
            page_with_faults(&form_page(&portal, frame, &by, &model, prefill, &faults).await?)
        }
        Err(Error::Limited { retry_after_s }) => page_limited(&too_often(frame, &model, retry_after_s), retry_after_s),
        Err(other) => Err(other),
    }
}

fn too_often(frame: Frame, model: &Model, retry_after_s: u32) -> NoFormPage {
    let wait = when::wait(retry_after_s);
    NoFormPage {
        frame,
        title: "Not sent yet".into(),
        text: format!("You have sent several applications in a short time. Your answers are kept as a draft; send them again in {wait}."),
        next: format!("{}/apply", model.path()),
        label: "To the draft",
    }
}

async fn save_draft(
    portal: Data<Portal>,
    by: SignedIn,
    path: Path<(String, String)>,
    Form(fields): Form<Vec<(String, String)>>,
) -> Result<HttpResponse, Error> {
    let model = model_of(&portal, &path).await?;
    let answers = forms::read(&mut *portal.db.acquire().await?, fields).await?;
    apply::save_draft(&portal, &by.account, &model, answers).await?;
    Ok(see_other(&format!("{}/apply", model.path()), Some("Draft saved. Only you can see it; come back to it at any time.")))
}

#[derive(Template)]
#[template(path = "access/applications.html")]
struct ApplicationsPage {
    frame: Frame,
    applications: Vec<ApplicationRow>,
    grants: Vec<GrantView>,
}

struct ApplicationRow {
    path: String,
    model: String,
    title: String,
    badge: Badge,
    turn: String,
}

async fn applications(portal: Data<Portal>, frame: Frame, by: SignedIn) -> Result<HttpResponse, Error> {
    let now = portal.clock.now();
    let mut db = portal.db.acquire().await?;
    let applications = store::of_applicant(&mut db, by.account.id, APPLICATIONS_MAX).await?;
    let grants = held::grants_of(&mut db, by.account.id).await?;
    let mut ids: Vec<ModelId> = applications.iter().map(|application| application.model).collect();
    ids.extend(grants.iter().map(|held| held.model));
    let models = catalog::find_models(&mut db, &ids).await?;
    page(&ApplicationsPage {
        frame,
        applications: applications.iter().map(|application| row(application, &models, now)).collect(),
        grants: grants.iter().map(|held| GrantView::new(held, &models, now)).collect(),
    })
}

fn row(application: &Application, models: &[Model], now: Timestamp) -> ApplicationRow {
    ApplicationRow {
        path: format!("/applications/{}", application.id),
        model: name_of(models, application.model).0,
        title: application.answers.get("title").to_owned(),
        badge: badge(&application.state),
        turn: turn(application, now),
    }
}

#[derive(Template)]
#[template(path = "access/application.html")]
struct ApplicationPage {
    frame: Frame,
    id: ApplicationId,
    model: String,
    model_path: String,
    badge: Badge,
    turn: String,
    steps: Vec<Step>,
    decision: Option<Decision>,
    grant: Option<GrantView>,
    sections: Vec<AnsweredSection>,
    recorded: Vec<Recorded>,
    may_withdraw: bool,
    is_draft: bool,
    may_apply_again: bool,
}

/// One step of the timeline.
struct Step {
    what: &'static str,
    at: Option<String>,
    /// `done`, `now` or `next`.
    class: &'static str,
}

/// What stands on the record about it.
struct Recorded {
    seq: i64,
    what: String,
    at: String,
}

/// What the reviewer told the applicant.
struct Decision {
    headline: String,
    advice: &'static str,
    lines: Vec<String>,
    class: &'static str,
}

async fn application(portal: Data<Portal>, frame: Frame, by: SignedIn, id: Path<ApplicationId>) -> Result<HttpResponse, Error> {
    let now = portal.clock.now();
    let mut db = portal.db.acquire().await?;
    let application = store::find(&mut db, *id).await?;
    if application.applicant != by.account.id {
        return Err(Error::NotFound("application"));
    }
    let grants = held::grants_of(&mut db, by.account.id).await?;
    let models = catalog::find_models(&mut db, &[application.model]).await?;
    let of_model: Vec<&HeldGrant> = grants.iter().filter(|held| held.model == application.model).collect();
    let grant = of_model.iter().find(|held| held.application == Some(application.id)).map(|held| GrantView::new(held, &models, now));
    let has_access = of_model.iter().any(|held| GrantView::new(held, &models, now).holds);
    let mut subjects = vec![application.id.to_string()];
    subjects.extend(grant.as_ref().map(|grant| grant.id.to_string()));
    let events = audit::page(&mut db, &audit::Filter { subjects: Some(subjects), ..audit::Filter::default() }, RECORDED_MAX).await?;
    let (model, model_path) = name_of(&models, application.model);
    page(&ApplicationPage {
        frame,
        id: application.id,
        model,
        model_path,
        badge: badge(&application.state),
        turn: turn(&application, now),
        steps: steps(&application),
        decision: decision(&application.state),
        grant,
        sections: answers_view::read(&forms::of(&mut db, &application).await?, &application.answers),
        recorded: events.iter().rev().map(recorded).collect(),
        may_withdraw: matches!(application.state, State::Draft | State::Submitted { .. }),
        is_draft: matches!(application.state, State::Draft),
        may_apply_again: !has_access && !matches!(application.state, State::Draft | State::Submitted { .. }),
    })
}

fn recorded(event: &audit::Row) -> Recorded {
    let words = event.kind.replace(['.', '_'], " ");
    let what = words[..1].to_uppercase() + &words[1..];
    Recorded { seq: event.seq, what, at: when::minute(event.at) }
}

fn steps(application: &Application) -> Vec<Step> {
    let done = |what, at| Step { what, at: Some(when::minute(at)), class: "done" };
    let begun = done("Begun", application.created_at);
    let sent = |at| done("Sent", at);
    let next = |what| Step { what, at: None, class: "next" };
    match &application.state {
        State::Draft => vec![begun, Step { what: "Your turn: finish it and send it", at: None, class: "now" }, next("A reviewer decides")],
        State::Submitted { at } => {
            vec![begun, sent(*at), Step { what: "A reviewer reads it", at: None, class: "now" }, next("You get a mail with the decision")]
        }
        State::Approved { submitted_at, at, .. } => vec![begun, sent(*submitted_at), done("Approved", *at)],
        State::Declined { submitted_at, at, .. } => vec![begun, sent(*submitted_at), done("Declined", *at)],
        State::Withdrawn { submitted_at, at } => {
            std::iter::once(begun).chain(submitted_at.map(sent)).chain([done("Withdrawn by you", *at)]).collect()
        }
    }
}

fn decision(state: &State) -> Option<Decision> {
    let lines = |text: &str| text.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect();
    match state {
        State::Approved { note, .. } => {
            Some(Decision { headline: "Your application was approved.".into(), advice: "", lines: lines(note), class: "ok" })
        }
        State::Declined { reason, text, .. } => {
            let headline = format!("Your application was declined. Reason: {}.", reason.label());
            Some(Decision { headline, advice: reason.advice(), lines: lines(text), class: "bad" })
        }
        State::Draft | State::Submitted { .. } | State::Withdrawn { .. } => None,
    }
}

async fn withdraw(
    portal: Data<Portal>,
    by: SignedIn,
    id: Path<ApplicationId>,
    _: Form<Vec<(String, String)>>,
) -> Result<HttpResponse, Error> {
    apply::withdraw(&portal, by.account.id, *id).await?;
    Ok(see_other(&format!("/applications/{id}"), Some("Your application was withdrawn. You may apply again at any time.")))
}
