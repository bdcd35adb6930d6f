//! The applicant's own pages: what they have applied for, and one application with where it stands.

use actix_web::HttpResponse;
use actix_web::web::{Data, Path};
use askama::Template;

use super::answers_view::{self, AnsweredSection};
use super::application::Application;
use super::apply;
use super::block::{self, Block, EVERY_MODEL};
use super::check::Attestation;
use super::form::Form;
use super::grant::HeldGrant;
use super::recorded::{RECORDED_MAX, Recorded, about};
use super::state::State;
use super::state_view::{Badge, GrantView, badge, name_of, turn};
use super::thread_view::{self, CommentView};
use super::{case_history, forms, held, store, thread, waits};
use crate::accounts::{Account, SignedIn};
use crate::audit;
use crate::catalog::{self, Model};
use crate::clock::Timestamp;
use crate::error::{Error, FieldError};
use crate::http::page::{page, page_with_faults};
use crate::http::{self, Frame, see_other, when};
use crate::ids::{ApplicationId, ModelId};
use crate::portal::Portal;

/// How many of somebody's applications are listed; the newest.
const APPLICATIONS_MAX: i64 = 200;

#[derive(Template)]
#[template(path = "access/applications.html")]
struct ApplicationsPage {
    frame: Frame,
    blocked: Vec<Blocked>,
    applications: Vec<ApplicationRow>,
    grants: Vec<GrantView>,
}

/// What keeps its reader out.
struct Blocked {
    /// Of which model, or of every one.
    from: String,
    until: String,
    reason: String,
}

impl Blocked {
    fn by(block: Block, models: &[Model]) -> Self {
        let from = block.model.map_or_else(|| EVERY_MODEL.into(), |model| name_of(models, model).0);
        Self { from, until: when::day(block.expires_at), reason: block.reason }
    }
}

struct ApplicationRow {
    path: String,
    model: String,
    title: String,
    badge: Badge,
    turn: String,
}

pub(super) async fn applications(portal: Data<Portal>, frame: Frame, by: SignedIn) -> Result<HttpResponse, Error> {
    let now = portal.clock.now();
    let mut db = portal.db.acquire().await?;
    let applications = store::of_applicant(&mut db, by.account.id, APPLICATIONS_MAX).await?;
    let grants = held::grants_of(&mut db, by.account.id).await?;
    let mut ids: Vec<ModelId> = applications.iter().map(|application| application.model).collect();
    ids.extend(grants.iter().map(|held| held.model));
    let mut blocks = block::of(&mut db, by.account.id).await?;
    blocks.retain(|block| block.stands(now));
    ids.extend(blocks.iter().filter_map(|block| block.model));
    let models = catalog::find_models(&mut db, &ids).await?;
    let sent_last = store::sent_last(&mut db, &applications).await?;
    page(&ApplicationsPage {
        frame,
        blocked: blocks.into_iter().map(|block| Blocked::by(block, &models)).collect(),
        applications: applications.iter().map(|one| row(one, sent_last.get(&one.id).copied(), &models, now)).collect(),
        grants: grants.iter().map(|held| GrantView::for_holder(held, &models, now)).collect(),
    })
}

fn row(application: &Application, sent_last_at: Option<Timestamp>, models: &[Model], now: Timestamp) -> ApplicationRow {
    ApplicationRow {
        path: format!("/applications/{}", application.id),
        model: name_of(models, application.model).0,
        title: application.answers.get("title").to_owned(),
        badge: badge(&application.state),
        turn: turn(application, sent_last_at, now),
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
    /// The place in the queue and the usual wait, while it waits.
    waits: Option<String>,
    /// What would make a decision quicker, while it waits.
    quicker: Vec<&'static str>,
    asked: Option<Asked>,
    steps: Vec<Step>,
    decision: Option<Decision>,
    grant: Option<GrantView>,
    sections: Vec<AnsweredSection>,
    comments: Vec<CommentView>,
    recorded: Vec<Recorded>,
    /// What keeps them from the model, if they are blocked.
    blocked: Option<Blocked>,
    /// What was attested, and under which texts.
    attestations: Vec<Attestation>,
    licence_sha256: Option<String>,
    form_sha256: Option<String>,
    may_withdraw: bool,
    may_comment: bool,
    may_appeal: bool,
    is_appeal: bool,
    is_draft: bool,
    may_apply_again: bool,
    apply_again_from: Option<String>,
    entry: Entry,
}

/// What a reviewer asks to be changed.
struct Asked {
    lines: Vec<String>,
    /// The questions that are meant, by name and in words.
    fields: Vec<(String, String)>,
    until: String,
}

/// What was typed into the page's own forms and came back with a fault.
#[derive(Default)]
struct Entry {
    comment: String,
    comment_fault: Option<String>,
    appeal: String,
    appeal_fault: Option<String>,
}

/// One step of the timeline.
pub(super) struct Step {
    pub(super) what: String,
    pub(super) at: Option<Timestamp>,
    /// `done`, `now` or `next`.
    pub(super) class: &'static str,
}

impl Step {
    fn moment(&self) -> Option<String> {
        self.at.map(when::minute)
    }
}

/// What the reviewer told the applicant.
struct Decision {
    headline: String,
    advice: &'static str,
    lines: Vec<String>,
    class: &'static str,
}

pub(super) async fn application(portal: Data<Portal>, frame: Frame, by: SignedIn, id: Path<ApplicationId>) -> Result<HttpResponse, Error> {
    page(&application_page(&portal, frame, &by.account, *id, Entry::default()).await?)
}

async fn application_page(
    portal: &Portal,
    frame: Frame,
    reader: &Account,
    id: ApplicationId,
    entry: Entry,
) -> Result<ApplicationPage, Error> {
    let now = portal.clock.now();
    let mut db = portal.db.acquire().await?;
    let file = store::case_file(&mut db, id).await?;
    let application = file.application;
    if application.applicant != reader.id {
        return Err(Error::NotFound("application"));
    }
    let grants = held::grants_of(&mut db, reader.id).await?;
    let models = catalog::find_models(&mut db, &[application.model]).await?;
    let of_model: Vec<&HeldGrant> = grants.iter().filter(|held| held.model == application.model).collect();
    let grant = of_model.iter().find(|held| held.application == Some(id)).map(|held| GrantView::for_holder(held, &models, now));
    let has_access = of_model.iter().any(|held| GrantView::new(held, &models, now).holds);
    let mut subjects = vec![id.to_string()];
    subjects.extend(grant.as_ref().map(|grant| grant.id.to_string()));
    let events = audit::page(&mut db, &about(subjects), case_history::EVENTS_MAX).await?;
    let recorded = events.iter().filter(|event| !event.is_among_reviewers()).take(RECORDED_MAX as usize);
    let is_waiting = matches!(application.state, State::Submitted(_));
    let waits = if is_waiting { waits::waits(&mut db, &application).await? } else { None };
    let (model, model_path) = name_of(&models, application.model);
    let cooling = apply::cooling(&mut db, &application, now).await?;
    let state = &application.state;
    let blocked = file.bar.filter(|bar| now < bar.until);
    let blocked = blocked.map(|bar| Blocked { from: bar.what(&model).to_owned(), until: when::day(bar.until), reason: bar.reason });
    let form = forms::of(&mut db, &application).await?;
    Ok(ApplicationPage {
        frame,
        id,
        model,
        model_path,
        badge: badge(state),
        turn: turn(&application, file.sent_last_at, now),
        waits: waits.map(|waits| waits.told()),
        quicker: if is_waiting { quicker(&application) } else { vec![] },
        asked: asked(&application, &form),
        steps: steps(&application, &events, now),
        decision: decision(state),
        grant,
        sections: answers_view::read(&form, &application.answers),
        comments: thread_view::for_applicant(&form, &file.comments, reader),
        recorded: recorded.map(Recorded::of).collect::<Vec<_>>().into_iter().rev().collect(),
        may_withdraw: state.is_open(),
        may_comment: thread::may_write(&application, &grants, now),
        may_appeal: application.may_be_appealed(now).is_ok() && !has_access && blocked.is_none(),
        is_appeal: application.is_appeal(),
        is_draft: matches!(state, State::Draft),
        may_apply_again: !has_access && !state.is_open() && cooling.is_none() && blocked.is_none(),
        attestations: file.attestations,
        licence_sha256: application.licence_sha256,
        form_sha256: application.form_sha256,
        blocked,
        apply_again_from: cooling.map(when::day),
        entry,
    })
}

fn asked(application: &Application, form: &Form) -> Option<Asked> {
    let State::ChangesRequested { changes, .. } = &application.state else { return None };
    Some(Asked {
        lines: changes.text.lines().map(str::to_owned).collect(),
        fields: changes.fields.iter().map(|field| (field.clone(), answers_view::asked_in_words(form, field))).collect(),
        until: application.lapses_at().map(when::day).unwrap_or_default(),
    })
}

/// What reviewers look for, and did not find.
pub(super) fn quicker(application: &Application) -> Vec<&'static str> {
    let mut tips = Vec::new();
    if application.answers.get("orcid").is_empty() {
        tips.push("An ORCID iD: it confirms who you are.");
    }
    if application.answers.get("profile_url").is_empty() {
        tips.push("A profile or publications page at your institution.");
    }
    tips
}

/// Every step there was, and what comes next. `events`: the record of the application, the newest first.
pub(super) fn steps(application: &Application, events: &[audit::Row], now: Timestamp) -> Vec<Step> {
    let done = |what: &str, at| Step { what: what.to_owned(), at: Some(at), class: "done" };
    let current = |what: String| Step { what, at: None, class: "now" };
    let next = |what: &str| Step { what: what.to_owned(), at: None, class: "next" };
    let mut steps = vec![done("Begun", application.created_at)];
    if let Some(sent) = application.state.sent() {
        steps.push(done("Sent", sent.at));
        if let Some(claim) = sent.claim {
            steps.push(done("Claimed by a reviewer", claim.at));
        }
    }
    steps.extend(case_history::for_applicant(events).into_iter().map(|(what, at)| done(what, at)));
    steps.sort_by_key(|step| step.at);
    match &application.state {
        State::Draft => steps.extend([current("Your turn: finish it and send it".into()), next("A reviewer decides")]),
        State::Submitted(sent) => {
            let promise = if now < sent.due_at {
                format!("A reviewer reads it; an answer is promised by {}", when::day(sent.due_at))
            } else {
                format!("Overdue: an answer was promised by {}. The reviewers see that, too", when::day(sent.due_at))
            };
            steps.extend([current(promise), next("You get a mail with the decision")]);
        }
        State::ChangesRequested { .. } => {
            steps.extend([current("Your turn: change it and send it again".into()), next("The reviewer reads it again")]);
        }
        State::Approved { .. } | State::Declined { .. } => {}
        State::Withdrawn { at, .. } => steps.push(done("Withdrawn by you", *at)),
        State::Lapsed { at, .. } => steps.push(done("Lapsed, because it was not sent in time", *at)),
    }
    steps
}

fn decision(state: &State) -> Option<Decision> {
    let lines = |text: &str| text.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect();
    match state {
        State::Approved { sent, note, .. } => {
            let headline = match &sent.appeal {
                Some(_) => "Your appeal was decided: another reviewer has approved your application.",
                None => "Your application was approved.",
            };
            Some(Decision { headline: headline.into(), advice: "", lines: lines(note), class: "ok" })
        }
        State::Declined { sent, reason, text, .. } => {
            let decided = match &sent.appeal {
                Some(_) => "Your appeal was decided: your application stays declined.",
                None => "Your application was declined.",
            };
            let headline = format!("{decided} Reason: {}.", reason.label());
            Some(Decision { headline, advice: reason.advice(), lines: lines(text), class: "bad" })
        }
        State::Draft | State::Submitted(_) | State::ChangesRequested { .. } | State::Withdrawn { .. } | State::Lapsed { .. } => None,
    }
}

pub(super) async fn withdraw(
    portal: Data<Portal>,
    by: SignedIn,
    id: Path<ApplicationId>,
    _: http::Form<Vec<(String, String)>>,
) -> Result<HttpResponse, Error> {
    apply::withdraw(&portal, by.account.id, *id).await?;
    Ok(see_other(&format!("/applications/{id}"), Some("Your application was withdrawn.")))
}

#[derive(serde::Deserialize)]
pub(super) struct Words {
    #[serde(default)]
    text: String,
}

pub(super) async fn comment(
    portal: Data<Portal>,
    frame: Frame,
    by: SignedIn,
    id: Path<ApplicationId>,
    http::Form(sent): http::Form<Words>,
) -> Result<HttpResponse, Error> {
    match thread::write(&portal, &by.account, *id, &sent.text).await {
        Ok(()) => {
            let told = "Your comment was posted. The reviewer of your application gets a mail, or all reviewers while it has none.";
            Ok(see_other(&format!("/applications/{id}#last-comment"), Some(told)))
        }
        Err(Error::Invalid(faults)) => {
            let entry = Entry { comment: sent.text, comment_fault: first(&faults), ..Entry::default() };
            page_with_faults(&application_page(&portal, frame, &by.account, *id, entry).await?)
        }
        Err(other) => Err(other),
    }
}

pub(super) async fn appeal(
    portal: Data<Portal>,
    frame: Frame,
    by: SignedIn,
    id: Path<ApplicationId>,
    http::Form(sent): http::Form<Words>,
) -> Result<HttpResponse, Error> {
    match apply::appeal(&portal, &by.account, *id, &sent.text).await {
        Ok(()) => Ok(see_other(&format!("/applications/{id}"), Some("Your appeal was sent. Another reviewer will decide."))),
        Err(Error::Invalid(faults)) => {
            let entry = Entry { appeal: sent.text, appeal_fault: first(&faults), ..Entry::default() };
            page_with_faults(&application_page(&portal, frame, &by.account, *id, entry).await?)
        }
        Err(other) => Err(other),
    }
}

fn first(faults: &[FieldError]) -> Option<String> {
    faults.first().map(|fault| fault.message.to_string())
}
