//! One case on one screen: who applies, what they answered and what changed, the thread, and the panel that decides.

use actix_web::HttpResponse;
use actix_web::web::{Data, Path};
use askama::Template;
use time::Duration;

use super::answers_view::{self, AnsweredSection};
use super::application::{Application, UNDO};
use super::check::Attestation;
use super::checklist::{self, POINTS};
use super::decline::DeclineReason;
use super::difference::{Difference, differences};
use super::grant::GRANT_LIFE_MAX;
use super::people::People;
use super::queue_page::{clock, decider};
use super::state::State;
use super::state_view::{Badge, GrantView, badge, name_of};
use super::thread_view::{self, CommentView};
use super::{evidence, forms, held, review, revoke as revoking, store, thread};
use crate::accounts::{self, Account, Reviewer};
use crate::catalog::{self, Model};
use crate::clock::Timestamp;
use crate::error::{Error, FieldError};
use crate::http::page::{page, page_with_faults};
use crate::http::{self, Frame, see_other, when};
use crate::ids::{AccountId, ApplicationId, GrantId, ModelId};
use crate::mail::Message;
use crate::portal::Portal;

/// How many of an applicant's applications a case shows.
const HISTORY_MAX: i64 = 50;

#[derive(Template)]
#[template(path = "access/case.html")]
struct CasePage {
    frame: Frame,
    id: ApplicationId,
    version: i64,
    model: String,
    model_path: String,
    applicant: Account,
    joined: String,
    title: String,
    badge: Badge,
    clock: Option<Badge>,
    chips: Vec<Badge>,
    sent: String,
    waited: Option<String>,
    asked_months: String,
    sections: Vec<AnsweredSection>,
    changed: Vec<Difference>,
    attestations: Vec<Attestation>,
    licence_sha256: Option<String>,
    comments: Vec<CommentView>,
    claim: Option<ClaimView>,
    appeal: Option<AppealView>,
    outcome: Option<Outcome>,
    may_undo: bool,
    undo_until: String,
    points: Vec<PointView>,
    history: Vec<HistoryRow>,
    grants: Vec<GrantView>,
    live_grant: Option<GrantView>,
    barred: Option<&'static str>,
    is_waiting: bool,
    /// Whether somebody else sees to it, who is asked or taken over from first.
    is_anothers: bool,
    panel: Panel,
    preview: Option<Preview>,
    others: Vec<String>,
    reasons: [DeclineReason; 8],
    until_min: String,
    until_max: String,
}

/// Who sees to it.
struct ClaimView {
    by: String,
    since: String,
    is_mine: bool,
}

/// What was said against the decline before.
struct AppealView {
    at: String,
    against: String,
    lines: Vec<String>,
}

/// How it was decided, or what it waits for.
struct Outcome {
    headline: String,
    lines: Vec<String>,
}

struct PointView {
    name: &'static str,
    wording: &'static str,
    is_ticked: bool,
}

struct HistoryRow {
    path: String,
    model: String,
    title: String,
    badge: Badge,
    sent: String,
}

/// The mail as its reader would get it.
struct Preview {
    to: String,
    subject: String,
    body: String,
}

/// The forms of the panel, as they were filled in, with what was wrong.
#[derive(Default)]
struct Panel {
    until: String,
    note: String,
    reason: String,
    text: String,
    changes: String,
    fields: Vec<String>,
    comment: String,
    revoke_reason: String,
    /// Which form the faults are of, or which one is looked at.
    form: &'static str,
    faults: Vec<FieldError>,
}

impl Panel {
    fn fault(&self, form: &str, field: &str) -> Option<&str> {
        self.faults.iter().find(|fault| self.form == form && fault.field == field).map(|fault| fault.message.as_ref())
    }

    fn means(&self, field: &str) -> bool {
        self.fields.iter().any(|name| name == field)
    }

    fn with(self, form: &'static str, faults: Vec<FieldError>) -> Self {
        Self { form, faults, ..self }
    }
}

pub(super) async fn case(portal: Data<Portal>, frame: Frame, by: Reviewer, id: Path<ApplicationId>) -> Result<HttpResponse, Error> {
    page(&case_page(&portal, frame, &by, *id, Panel::default(), None).await?)
}

async fn case_page(
    portal: &Portal,
    frame: Frame,
    by: &Reviewer,
    id: ApplicationId,
    panel: Panel,
    preview: Option<Preview>,
) -> Result<CasePage, Error> {
    let (now, reader) = (portal.clock.now(), by.0.id);
    let mut db = portal.db.acquire().await?;
    let file = store::case_file(&mut db, id).await?;
    let application = &file.application;
    let sent = application.state.sent().ok_or(Error::NotFound("application"))?;
    let history = store::of_applicant(&mut db, application.applicant, HISTORY_MAX).await?;
    let grants = held::grants_of(&mut db, application.applicant).await?;
    let model_ids: Vec<ModelId> = history.iter().map(|a| a.model).chain(grants.iter().map(|held| held.model)).collect();
    let models = catalog::find_models(&mut db, &model_ids).await?;
    let looking = portal.cases_seen.look(id, reader, now);
    let people = people_of(&mut db, application, &file.comments, &looking).await?;
    let applicant = people.find(application.applicant).cloned().ok_or(Error::NotFound("account"))?;
    let (model, model_path) = name_of(&models, application.model);
    let live = grants.iter().filter(|held| held.model == application.model).map(|held| GrantView::new(held, &models, now));
    let asked = application.asked_for().unwrap_or(Duration::days(30));
    let form = forms::of(&mut db, application).await?;
    let answers = file.sendings.first().unwrap_or(&application.answers);
    let earlier = history.iter().filter(|a| a.id != id && a.state.sent().is_some()).count() as i64;
    let decided_at = decided_at(&application.state);
    Ok(CasePage {
        id,
        version: application.version,
        model,
        model_path,
        joined: when::day(applicant.created_at),
        title: answers.get("title").to_owned(),
        badge: badge(&application.state),
        clock: clock(&application.state, now),
        chips: evidence::chips(Some(&applicant), answers, earlier),
        sent: when::minute(sent.at),
        waited: matches!(application.state, State::Submitted(_)).then(|| when::span(now - sent.at)),
        asked_months: answers.get("months").to_owned(),
        sections: answers_view::read(&form, answers),
        changed: file.sendings.get(1).map(|before| differences(&form, before, answers)).unwrap_or_default(),
        licence_sha256: application.licence_sha256.clone(),
        comments: file.comments.iter().map(|comment| thread_view::for_reviewer(&form, comment, reader, &people.0)).collect(),
        claim: sent.claim.map(|claim| ClaimView {
            by: people.name(claim.by),
            since: when::span(now - claim.at),
            is_mine: claim.by == reader,
        }),
        appeal: sent.appeal.as_ref().map(|appeal| AppealView {
            at: when::minute(appeal.at),
            against: people.name(appeal.against),
            lines: appeal.text.lines().map(str::to_owned).collect(),
        }),
        outcome: outcome(application, &people),
        may_undo: decided_at.is_some_and(|(who, at)| who == reader && now - at < UNDO),
        undo_until: decided_at.map(|(_, at)| when::minute(at + UNDO)).unwrap_or_default(),
        points: POINTS
            .iter()
            .map(|p| PointView { name: p.name, wording: p.wording, is_ticked: file.checked.iter().any(|c| c == p.name) })
            .collect(),
        history: history.iter().filter(|a| a.id != id).filter_map(|a| history_row(a, &models)).collect(),
        grants: grants.iter().map(|held| GrantView::new(held, &models, now)).collect(),
        live_grant: live.into_iter().find(|grant| grant.holds),
        barred: barred(application, reader),
        is_waiting: matches!(application.state, State::Submitted(_)),
        is_anothers: sent.claim.is_some_and(|claim| claim.by != reader),
        panel: Panel { until: if panel.until.is_empty() { when::date_field((now + asked).date()) } else { panel.until }, ..panel },
        preview,
        others: looking.iter().map(|id| people.name(*id)).collect(),
        reasons: DeclineReason::ALL,
        until_min: when::date_field(now.date()),
        until_max: when::date_field((now + GRANT_LIFE_MAX - Duration::DAY).date()),
        attestations: file.attestations,
        applicant,
        frame,
    })
}

/// Everybody whose name stands on the page, in one query.
pub(super) async fn people_of(
    db: &mut sqlx::PgConnection,
    application: &Application,
    comments: &[super::comment::Comment],
    looking: &[AccountId],
) -> Result<People, Error> {
    let sent = application.state.sent();
    let mut ids = vec![application.applicant];
    ids.extend(sent.and_then(|sent| sent.claim).map(|claim| claim.by));
    ids.extend(sent.and_then(|sent| sent.appeal.as_ref()).map(|appeal| appeal.against));
    ids.extend(decider(&application.state));
    if let State::ChangesRequested { changes, .. } = &application.state {
        ids.push(changes.by);
    }
    ids.extend(comments.iter().map(|comment| comment.author));
    ids.extend(looking);
    Ok(People(accounts::find_accounts(db, &ids).await?))
}

fn decided_at(state: &State) -> Option<(AccountId, Timestamp)> {
    match state {
        State::Approved { by, at, .. } | State::Declined { by, at, .. } => Some((*by, *at)),
        State::Draft | State::Submitted(_) | State::ChangesRequested { .. } | State::Withdrawn { .. } | State::Lapsed { .. } => None,
    }
}

/// Why this reader must not decide on it, whatever its state.
fn barred(application: &Application, reader: AccountId) -> Option<&'static str> {
    let appeal = application.state.sent().and_then(|sent| sent.appeal.as_ref());
    if application.applicant == reader {
        Some("This is your own application; another reviewer will decide on it.")
    } else if appeal.is_some_and(|appeal| appeal.against == reader) {
        Some("This appeal is against your decision; another reviewer will decide on it.")
    } else {
        None
    }
}

fn outcome(application: &Application, people: &People) -> Option<Outcome> {
    let lines = |text: &str| text.lines().map(str::to_owned).collect();
    match &application.state {
        State::Approved { by, at, note, .. } => {
            Some(Outcome { headline: format!("Approved by {} on {}.", people.name(*by), when::minute(*at)), lines: lines(note) })
        }
        State::Declined { by, at, reason, text, .. } => Some(Outcome {
            headline: format!("Declined by {} on {}. Reason: {}.", people.name(*by), when::minute(*at), reason.label()),
            lines: lines(text),
        }),
        State::ChangesRequested { changes, .. } => {
            let until = application.lapses_at().map(when::day).unwrap_or_default();
            let headline = format!(
                "{} asked for changes on {}. It is the applicant's turn until {until}.",
                people.name(changes.by),
                when::minute(changes.at)
            );
            Some(Outcome { headline, lines: lines(&changes.text) })
        }
        State::Withdrawn { at, .. } => {
            Some(Outcome { headline: format!("Withdrawn by the applicant on {}.", when::minute(*at)), lines: vec![] })
        }
        State::Lapsed { at, .. } => {
            Some(Outcome { headline: format!("Lapsed on {}: the applicant did not send it again.", when::minute(*at)), lines: vec![] })
        }
        State::Draft | State::Submitted(_) => None,
    }
}

/// Drafts are their applicant's alone.
fn history_row(application: &Application, models: &[Model]) -> Option<HistoryRow> {
    application.state.sent().map(|sent| HistoryRow {
        path: format!("/review/{}", application.id),
        model: name_of(models, application.model).0,
        title: application.answers.get("title").to_owned(),
        badge: badge(&application.state),
        sent: when::day(sent.at),
    })
}

/// The same page with the faults of one of its forms, or the error itself.
async fn came_back(
    portal: &Portal,
    frame: Frame,
    by: &Reviewer,
    id: ApplicationId,
    panel: Panel,
    form: &'static str,
    error: Error,
) -> Result<HttpResponse, Error> {
    match error {
        Error::Invalid(faults) => page_with_faults(&case_page(portal, frame, by, id, panel.with(form, faults), None).await?),
        other => Err(other),
    }
}

/// Whoever acts says which version they saw.
#[derive(serde::Deserialize)]
pub(super) struct Seen {
    version: Option<i64>,
}

/// Notes that a reviewer still has the case on the screen, and tells the page's script who else does and how the case stands.
pub(super) async fn seen(portal: Data<Portal>, by: Reviewer, id: Path<ApplicationId>, _: http::Form<Seen>) -> Result<HttpResponse, Error> {
    let mut db = portal.db.acquire().await?;
    let application = store::find(&mut db, *id).await?;
    if application.state.sent().is_none() {
        return Err(Error::NotFound("application"));
    }
    let looking = portal.cases_seen.look(*id, by.0.id, portal.clock.now());
    let people = accounts::find_accounts(&mut db, &looking).await?;
    let names: Vec<String> = people.into_iter().map(|account| account.name).collect();
    Ok(HttpResponse::Ok().json(serde_json::json!({ "others": names, "version": application.version })))
}

pub(super) async fn claim(
    portal: Data<Portal>,
    by: Reviewer,
    id: Path<ApplicationId>,
    http::Form(sent): http::Form<Seen>,
) -> Result<HttpResponse, Error> {
    review::claim(&portal, &by, *id, sent.version).await?;
    Ok(see_other(&format!("/review/{id}"), Some("It is yours. Others see that you see to it.")))
}

pub(super) async fn release(
    portal: Data<Portal>,
    by: Reviewer,
    id: Path<ApplicationId>,
    _: http::Form<Seen>,
) -> Result<HttpResponse, Error> {
    review::release(&portal, &by, *id).await?;
    Ok(see_other(&format!("/review/{id}"), Some("Given back to everybody.")))
}

pub(super) async fn check(
    portal: Data<Portal>,
    _: Reviewer,
    id: Path<ApplicationId>,
    http::Form(posted): http::Form<Vec<(String, String)>>,
) -> Result<HttpResponse, Error> {
    store::set_checked(&mut *portal.db.acquire().await?, *id, &checklist::ticked(&posted)).await?;
    Ok(see_other(&format!("/review/{id}"), Some("Checklist saved.")))
}

#[derive(serde::Deserialize)]
pub(super) struct Words {
    lane: String,
    #[serde(default)]
    text: String,
}

pub(super) async fn comment(
    portal: Data<Portal>,
    frame: Frame,
    by: Reviewer,
    id: Path<ApplicationId>,
    http::Form(sent): http::Form<Words>,
) -> Result<HttpResponse, Error> {
    let written = match sent.lane.parse() {
        Ok(lane) => thread::answer(&portal, &by, *id, lane, &sent.text).await,
        Err(fault) => Err(FieldError::into(fault)),
    };
    match written {
        Ok(()) => Ok(see_other(&format!("/review/{id}"), Some("Comment written."))),
        Err(error) => came_back(&portal, frame, &by, *id, Panel { comment: sent.text, ..Panel::default() }, "comment", error).await,
    }
}

/// A request for changes: the words, and a box for each question that is meant.
pub(super) async fn changes(
    portal: Data<Portal>,
    frame: Frame,
    by: Reviewer,
    id: Path<ApplicationId>,
    http::Form(posted): http::Form<Vec<(String, String)>>,
) -> Result<HttpResponse, Error> {
    let value = |name: &str| posted.iter().find(|(posted, _)| posted == name).map(|(_, value)| value.as_str()).unwrap_or_default();
    let fields: Vec<String> = posted.iter().filter_map(|(name, _)| name.strip_prefix("field_")).map(str::to_owned).collect();
    let mut db = portal.db.acquire().await?;
    let application = store::find(&mut db, *id).await?;
    let known = answers_view::known(&forms::of(&mut db, &application).await?, &fields);
    drop(db);
    match review::request_changes(&portal, &by, *id, value("version").parse().ok(), value("text"), known.clone()).await {
        Ok(()) => Ok(see_other(
            &format!("/review/{id}"),
            Some("Sent back. The applicant gets a mail with your words and keeps the place in the queue."),
        )),
        Err(error) => {
            let panel = Panel { changes: value("text").to_owned(), fields: known, ..Panel::default() };
            came_back(&portal, frame, &by, *id, panel, "changes", error).await
        }
    }
}

#[derive(serde::Deserialize)]
pub(super) struct Approval {
    until: String,
    #[serde(default)]
    note: String,
    version: Option<i64>,
    preview: Option<String>,
}

pub(super) async fn approve(
    portal: Data<Portal>,
    frame: Frame,
    by: Reviewer,
    id: Path<ApplicationId>,
    http::Form(sent): http::Form<Approval>,
) -> Result<HttpResponse, Error> {
    let until = when::last_moment_of("until", &sent.until);
    let panel = Panel { until: sent.until, note: sent.note.clone(), form: "approve", ..Panel::default() };
    let decided = match until {
        Ok(until) if sent.preview.is_some() => {
            let message = review::approval_mail(&portal, *id, until, &sent.note).await?;
            return page(&case_page(&portal, frame, &by, *id, panel, Some(preview(&message)?)).await?);
        }
        Ok(until) => review::approve(&portal, &by, *id, sent.version, until, &sent.note).await,
        Err(fault) => Err(fault.into()),
    };
    match decided {
        Ok(grant) => Ok(see_other(
            &format!("/review/{id}"),
            Some(&format!(
                "Approved until {}. The mail leaves in ten minutes; until then you can take this back.",
                when::day(grant.expires_at)
            )),
        )),
        Err(error) => came_back(&portal, frame, &by, *id, panel, "approve", error).await,
    }
}

fn preview(message: &Message) -> Result<Preview, Error> {
    Ok(Preview { to: message.recipient().to_owned(), subject: message.subject(), body: message.body()? })
}

#[derive(serde::Deserialize)]
pub(super) struct Refusal {
    #[serde(default)]
    reason: String,
    #[serde(default)]
    text: String,
    version: Option<i64>,
    preview: Option<String>,
}

pub(super) async fn decline(
    portal: Data<Portal>,
    frame: Frame,
    by: Reviewer,
    id: Path<ApplicationId>,
    http::Form(sent): http::Form<Refusal>,
) -> Result<HttpResponse, Error> {
    let reason = sent.reason.parse::<DeclineReason>();
    let panel = Panel { reason: sent.reason, text: sent.text.clone(), form: "decline", ..Panel::default() };
    let decided = match reason {
        Ok(reason) if sent.preview.is_some() => {
            let message = review::decline_mail(&portal, *id, reason, &sent.text).await?;
            return page(&case_page(&portal, frame, &by, *id, panel, Some(preview(&message)?)).await?);
        }
        Ok(reason) => review::decline(&portal, &by, *id, sent.version, reason, &sent.text).await,
        Err(fault) => Err(Error::from(fault)),
    };
    match decided {
        Ok(()) => Ok(see_other(
            &format!("/review/{id}"),
            Some("Declined. The mail with the reason and your words leaves in ten minutes; until then you can take this back."),
        )),
        Err(error) => came_back(&portal, frame, &by, *id, panel, "decline", error).await,
    }
}

pub(super) async fn undo(portal: Data<Portal>, by: Reviewer, id: Path<ApplicationId>, _: http::Form<Seen>) -> Result<HttpResponse, Error> {
    review::undo(&portal, &by, *id).await?;
    Ok(see_other(&format!("/review/{id}"), Some("Taken back. No mail left, and the application waits again, with you.")))
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
    http::Form(sent): http::Form<Revocation>,
) -> Result<HttpResponse, Error> {
    match revoking::revoke(&portal, Some(by.0.id), sent.grant, &sent.reason).await {
        Ok(revoked) => Ok(see_other(&format!("/review/{id}"), Some(revoked.told()))),
        Err(error) => came_back(&portal, frame, &by, *id, Panel { revoke_reason: sent.reason, ..Panel::default() }, "revoke", error).await,
    }
}
