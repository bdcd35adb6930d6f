//! The reviewer's pages: the queue, and one case on one screen.

use actix_web::HttpResponse;
use actix_web::web::{Data, Path};
use askama::Template;
use time::{Duration, Time};

use super::answers_view::{self, AnsweredSection, in_words};
use super::application::{Application, State};
use super::check::Attestation;
use super::decline::DeclineReason;
use super::grant::GRANT_LIFE_MAX;
use super::state_view::{Badge, GrantView, badge, name_of};
use super::{form, forms, held, review, store};
use crate::accounts::{self, Account, Reviewer};
use crate::catalog::{self, Model};
use crate::clock::Timestamp;
use crate::error::{Error, FieldError};
use crate::http::page::{page, page_with_faults};
use crate::http::{Form, Frame, see_other, when};
use crate::ids::{AccountId, ApplicationId, GrantId, ModelId};
use crate::portal::Portal;

/// How many waiting applications one page shows, the longest waiting first.
const QUEUE_MAX: i64 = 100;
/// How many of the latest decisions stand below them.
const DECIDED_MAX: i64 = 20;
/// How many of an applicant's applications a case shows.
const HISTORY_MAX: i64 = 50;

#[derive(Template)]
#[template(path = "access/queue.html")]
struct QueuePage {
    frame: Frame,
    waiting_total: i64,
    waiting: Vec<QueueRow>,
    decided: Vec<DecidedRow>,
}

struct QueueRow {
    path: String,
    model: String,
    applicant: String,
    title: String,
    organisation: String,
    role: String,
    waited: String,
    is_verified: bool,
    earlier: i64,
    is_own: bool,
}

struct DecidedRow {
    path: String,
    model: String,
    applicant: String,
    badge: Badge,
    by: String,
    at: String,
}

/// The people of a list of applications, looked up together.
struct People(Vec<Account>);

impl People {
    fn name(&self, id: AccountId) -> String {
        self.find(id).map_or_else(|| "a removed account".into(), |account| account.name.clone())
    }

    fn find(&self, id: AccountId) -> Option<&Account> {
        self.0.iter().find(|account| account.id == id)
    }
}

pub(super) async fn queue(portal: Data<Portal>, frame: Frame, by: Reviewer) -> Result<HttpResponse, Error> {
    let now = portal.clock.now();
    let mut db = portal.db.acquire().await?;
    let waiting = store::waiting(&mut db, QUEUE_MAX).await?;
    let decided = store::decided(&mut db, DECIDED_MAX).await?;
    let waiting_total = store::count_waiting(&mut db).await?;
    let model_ids: Vec<ModelId> = waiting.iter().chain(&decided).map(|application| application.model).collect();
    let models = catalog::find_models(&mut db, &model_ids).await?;
    let applicants: Vec<AccountId> = waiting.iter().map(|application| application.applicant).collect();
    let sent = store::sent_by(&mut db, &applicants).await?;
    let deciders = decided.iter().flat_map(|application| [Some(application.applicant), decider(&application.state)]).flatten();
    let forms = forms::of_each(&mut db, &waiting).await?;
    let people = People(accounts::find_accounts(&mut db, &applicants.iter().copied().chain(deciders).collect::<Vec<_>>()).await?);
    let earlier = |id| sent.iter().find(|(account, _)| *account == id).map_or(0, |(_, sent)| sent - 1);
    page(&QueuePage {
        frame,
        waiting_total,
        waiting: waiting.iter().map(|a| queue_row(a, forms.of(a), &models, &people, earlier(a.applicant), by.0.id, now)).collect(),
        decided: decided.iter().map(|application| decided_row(application, &models, &people)).collect(),
    })
}

fn queue_row(
    application: &Application,
    form: &form::Form,
    models: &[Model],
    people: &People,
    earlier: i64,
    reader: AccountId,
    now: Timestamp,
) -> QueueRow {
    QueueRow {
        path: format!("/review/{}", application.id),
        model: name_of(models, application.model).0,
        applicant: people.name(application.applicant),
        title: application.answers.get("title").to_owned(),
        organisation: application.answers.get("organisation").to_owned(),
        role: in_words(form, "role", &application.answers).to_owned(),
        waited: application.state.submitted_at().map(|at| when::span(now - at)).unwrap_or_default(),
        is_verified: people.find(application.applicant).is_some_and(|account| account.email_verified_at.is_some()),
        earlier,
        is_own: application.applicant == reader,
    }
}

fn decided_row(application: &Application, models: &[Model], people: &People) -> DecidedRow {
    DecidedRow {
        path: format!("/review/{}", application.id),
        model: name_of(models, application.model).0,
        applicant: people.name(application.applicant),
        badge: badge(&application.state),
        by: decider(&application.state).map(|id| people.name(id)).unwrap_or_default(),
        at: when::minute(application.updated_at),
    }
}

fn decider(state: &State) -> Option<AccountId> {
    match state {
        State::Approved { by, .. } | State::Declined { by, .. } => Some(*by),
        State::Draft | State::Submitted { .. } | State::Withdrawn { .. } => None,
    }
}

#[derive(Template)]
#[template(path = "access/case.html")]
struct CasePage {
    frame: Frame,
    id: ApplicationId,
    model: String,
    model_path: String,
    applicant: Account,
    verified: Option<String>,
    joined: String,
    title: String,
    badge: Badge,
    sent: String,
    waited: Option<String>,
    asked_months: String,
    sections: Vec<AnsweredSection>,
    attestations: Vec<Attestation>,
    licence_sha256: Option<String>,
    outcome: Option<Outcome>,
    history: Vec<HistoryRow>,
    grants: Vec<GrantView>,
    live_grant: Option<GrantView>,
    is_own: bool,
    panel: Panel,
    reasons: [DeclineReason; 8],
    until_min: String,
    until_max: String,
}

/// How it was decided.
struct Outcome {
    headline: String,
    lines: Vec<String>,
}

struct HistoryRow {
    path: String,
    model: String,
    title: String,
    badge: Badge,
    sent: String,
}

/// The forms of the decision panel, as they were filled in, with what was wrong.
#[derive(Default)]
struct Panel {
    until: String,
    note: String,
    reason: String,
    text: String,
    revoke_reason: String,
    /// `approve`, `decline` or `revoke`: which form the faults are of.
    at_fault: &'static str,
    faults: Vec<FieldError>,
}

impl Panel {
    fn fault(&self, form: &str, field: &str) -> Option<&str> {
        self.faults.iter().find(|fault| self.at_fault == form && fault.field == field).map(|fault| fault.message.as_ref())
    }
}

pub(super) async fn case(portal: Data<Portal>, frame: Frame, by: Reviewer, id: Path<ApplicationId>) -> Result<HttpResponse, Error> {
    page(&case_page(&portal, frame, &by, *id, Panel::default()).await?)
}

async fn case_page(portal: &Portal, frame: Frame, by: &Reviewer, id: ApplicationId, panel: Panel) -> Result<CasePage, Error> {
    let now = portal.clock.now();
    let mut db = portal.db.acquire().await?;
    let application = store::find(&mut db, id).await?;
    let Some(submitted_at) = application.state.submitted_at() else {
        return Err(Error::NotFound("application"));
    };
    let applicant = accounts::find_account(&mut db, application.applicant).await?;
    let attestations = store::attestations(&mut db, id).await?;
    let history = store::of_applicant(&mut db, applicant.id, HISTORY_MAX).await?;
    let grants = held::grants_of(&mut db, applicant.id).await?;
    let model_ids: Vec<ModelId> = history.iter().map(|a| a.model).chain(grants.iter().map(|held| held.model)).collect();
    let models = catalog::find_models(&mut db, &model_ids).await?;
    let people = People(accounts::find_accounts(&mut db, &decider(&application.state).into_iter().collect::<Vec<_>>()).await?);
    let (model, model_path) = name_of(&models, application.model);
    let live = grants.iter().filter(|held| held.model == application.model).map(|held| GrantView::new(held, &models, now));
    let asked = application.asked_for().unwrap_or(Duration::days(30));
    Ok(CasePage {
        id,
        model,
        model_path,
        verified: applicant.email_verified_at.map(when::day),
        joined: when::day(applicant.created_at),
        title: application.answers.get("title").to_owned(),
        badge: badge(&application.state),
        sent: when::minute(submitted_at),
        waited: matches!(application.state, State::Submitted { .. }).then(|| when::span(now - submitted_at)),
        asked_months: application.answers.get("months").to_owned(),
        sections: answers_view::read(&forms::of(&mut db, &application).await?, &application.answers),
        attestations,
        licence_sha256: application.licence_sha256.clone(),
        outcome: outcome(&application.state, &people),
        history: history.iter().filter(|a| a.id != id).filter_map(|a| history_row(a, &models)).collect(),
        grants: grants.iter().map(|held| GrantView::new(held, &models, now)).collect(),
        live_grant: live.into_iter().find(|grant| grant.holds),
        is_own: application.applicant == by.0.id,
        panel: Panel { until: if panel.until.is_empty() { when::date_field((now + asked).date()) } else { panel.until }, ..panel },
        reasons: DeclineReason::ALL,
        until_min: when::date_field(now.date()),
        until_max: when::date_field((now + GRANT_LIFE_MAX - Duration::DAY).date()),
        applicant,
        frame,
    })
}

fn outcome(state: &State, people: &People) -> Option<Outcome> {
    let lines = |text: &str| text.lines().map(str::to_owned).collect();
    match state {
        State::Approved { by, at, note, .. } => {
            Some(Outcome { headline: format!("Approved by {} on {}.", people.name(*by), when::minute(*at)), lines: lines(note) })
        }
        State::Declined { by, at, reason, text, .. } => Some(Outcome {
            headline: format!("Declined by {} on {}. Reason: {}.", people.name(*by), when::minute(*at), reason.label()),
            lines: lines(text),
        }),
        State::Withdrawn { at, .. } => {
            Some(Outcome { headline: format!("Withdrawn by the applicant on {}.", when::minute(*at)), lines: vec![] })
        }
        State::Draft | State::Submitted { .. } => None,
    }
}

/// Drafts are their applicant's alone.
fn history_row(application: &Application, models: &[Model]) -> Option<HistoryRow> {
    application.state.submitted_at().map(|sent| HistoryRow {
        path: format!("/review/{}", application.id),
        model: name_of(models, application.model).0,
        title: application.answers.get("title").to_owned(),
        badge: badge(&application.state),
        sent: when::day(sent),
    })
}

#[derive(serde::Deserialize)]
pub(super) struct Approval {
    until: String,
    #[serde(default)]
    note: String,
}

pub(super) async fn approve(
    portal: Data<Portal>,
    frame: Frame,
    by: Reviewer,
    id: Path<ApplicationId>,
    Form(sent): Form<Approval>,
) -> Result<HttpResponse, Error> {
    let decided = match last_moment_of(&sent.until) {
        Ok(until) => review::approve(&portal, &by, *id, until, &sent.note).await,
        Err(fault) => Err(fault.into()),
    };
    match decided {
        Ok(grant) => Ok(see_other(
            &format!("/review/{id}"),
            Some(&format!("Approved until {}. The applicant gets a mail.", when::day(grant.expires_at))),
        )),
        Err(Error::Invalid(faults)) => {
            let panel = Panel { until: sent.until, note: sent.note, at_fault: "approve", faults, ..Panel::default() };
            page_with_faults(&case_page(&portal, frame, &by, *id, panel).await?)
        }
        Err(other) => Err(other),
    }
}

/// Access granted "until" a day holds through that day, UTC.
fn last_moment_of(day: &str) -> Result<Timestamp, FieldError> {
    let date = when::parse_date_field(day).ok_or_else(|| FieldError::new("until", "is a day such as 2027-03-31"))?;
    Ok(date.with_time(Time::from_hms(23, 59, 59).expect("a time of day")).assume_utc())
}

#[derive(serde::Deserialize)]
pub(super) struct Refusal {
    #[serde(default)]
    reason: String,
    #[serde(default)]
    text: String,
}

pub(super) async fn decline(
    portal: Data<Portal>,
    frame: Frame,
    by: Reviewer,
    id: Path<ApplicationId>,
    Form(sent): Form<Refusal>,
) -> Result<HttpResponse, Error> {
    let decided = match sent.reason.parse() {
        Ok(reason) => review::decline(&portal, &by, *id, reason, &sent.text).await,
        Err(fault) => Err(Error::from(fault)),
    };
    match decided {
        Ok(()) => Ok(see_other(&format!("/review/{id}"), Some("Declined. The applicant gets a mail with the reason and your words."))),
        Err(Error::Invalid(faults)) => {
            let panel = Panel { reason: sent.reason, text: sent.text, at_fault: "decline", faults, ..Panel::default() };
            page_with_faults(&case_page(&portal, frame, &by, *id, panel).await?)
        }
        Err(other) => Err(other),
    }
}

#[derive(serde::Deserialize)]
pub(super) struct Revocation {
    grant: GrantId,
    #[serde(default)]
    reason: String,
}

pub(super) async fn revoke(
    portal: Data<Portal>,
    frame: Frame,
    by: Reviewer,
    id: Path<ApplicationId>,
    Form(sent): Form<Revocation>,
) -> Result<HttpResponse, Error> {
    match super::revoke::revoke(&portal, Some(by.0.id), sent.grant, &sent.reason).await {
        Ok(_) => Ok(see_other(&format!("/review/{id}"), Some("Revoked. It holds nowhere any more, and its holder gets a mail."))),
        Err(Error::Invalid(faults)) => {
            let panel = Panel { revoke_reason: sent.reason, at_fault: "revoke", faults, ..Panel::default() };
            page_with_faults(&case_page(&portal, frame, &by, *id, panel).await?)
        }
        Err(other) => Err(other),
    }
}
