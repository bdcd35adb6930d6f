//! One case on one screen: who applies, what they answered and what changed, the thread, and the panel that decides.

use actix_web::HttpResponse;
use actix_web::web::{Data, Path};
use askama::Template;
use time::Duration;

use super::answers_view::{self, AnsweredSection};
use super::application::{Application, OWN_APPLICATION, UNDO};
use super::case_history::{self, Happened};
use super::check::Attestation;
use super::checklist::POINTS;
use super::decline::DeclineReason;
use super::difference::{Difference, differences};
use super::grant::GRANT_LIFE_MAX;
use super::people::People;
use super::queue_page::{clock, decider};
use super::recorded::about;
use super::scope::{GrantScope, ScopeBox};
use super::state::State;
use super::state_view::{Badge, GrantView, badge, badge_named, name_of};
use super::store::OtherCase;
use super::thread_view::{self, CommentView};
use super::{evidence, forms, held, store};
use crate::accounts::{self, Account, Reviewer};
use crate::audit;
use crate::catalog::{self, Model};
use crate::clock::Timestamp;
use crate::error::{Error, FieldError};
use crate::http::page::page;
use crate::http::{Frame, see_other, when};
use crate::ids::{AccountId, ApplicationId, ModelId};
use crate::mail::Message;
use crate::portal::Portal;

#[derive(Template)]
#[template(path = "access/case.html")]
pub(super) struct CasePage {
    frame: Frame,
    id: ApplicationId,
    version: i64,
    /// How many comments are shown.
    read: usize,
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
    scopes: Vec<ScopeBox>,
    sections: Vec<AnsweredSection>,
    changed: Vec<Difference>,
    attestations: Vec<Attestation>,
    licence_sha256: Option<String>,
    comments: Vec<CommentView>,
    claim: Option<ClaimView>,
    appeal: Option<AppealView>,
    outcome: Option<Outcome>,
    /// The grant that came of it, and how it stands.
    given: Option<GrantView>,
    /// What happened to it and was written about it, in its order.
    happened: Vec<Happened>,
    may_undo: bool,
    undo_until: String,
    points: Vec<PointView>,
    history: Vec<HistoryRow>,
    grants: Vec<GrantView>,
    live_grant: Option<GrantView>,
    barred: Option<&'static str>,
    /// What keeps the applicant from the model, if they are blocked: until when, and why.
    blocked: Option<(String, String)>,
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

impl CasePage {
    /// Whether the forms that decide stand on the page.
    fn may_decide(&self) -> bool {
        self.is_waiting && self.barred.is_none() && !self.is_anothers
    }

    /// What was written into forms that do not stand on the page any more.
    fn left_over(&self) -> impl Iterator<Item = &str> {
        let panel = &self.panel;
        let decision = [&panel.note, &panel.changes, &panel.text].map(|text| (text, self.may_decide()));
        let written = decision.into_iter().chain([(&panel.revoke_reason, self.live_grant.is_some())]);
        written.filter(|(text, is_on_page)| !is_on_page && !text.trim().is_empty()).map(|(text, _)| text.as_str())
    }
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
pub(super) struct Preview {
    pub(super) to: String,
    pub(super) subject: String,
    pub(super) body: String,
}

impl Preview {
    /// Of this mail.
    pub(super) fn of(message: &Message) -> Result<Self, Error> {
        Ok(Self { to: message.recipient().to_owned(), subject: message.subject(), body: message.body()? })
    }
}

/// The forms of the panel, as they were filled in, with what was wrong.
pub(super) struct Panel {
    pub(super) until: String,
    /// The uses that are ticked.
    pub(super) scopes: Vec<GrantScope>,
    pub(super) note: String,
    pub(super) reason: String,
    pub(super) text: String,
    pub(super) changes: String,
    pub(super) fields: Vec<String>,
    pub(super) comment: String,
    pub(super) revoke_reason: String,
    /// Which form the faults are of, or which one is looked at.
    pub(super) form: &'static str,
    pub(super) faults: Vec<FieldError>,
    /// Why nothing was done, where the case is not as it was seen.
    pub(super) refused: Option<String>,
}

impl Default for Panel {
    fn default() -> Self {
        Self {
            until: String::new(),
            scopes: GrantScope::ALL.into(),
            note: String::new(),
            reason: String::new(),
            text: String::new(),
            changes: String::new(),
            fields: vec![],
            comment: String::new(),
            revoke_reason: String::new(),
            form: "",
            faults: vec![],
            refused: None,
        }
    }
}

impl Panel {
    fn fault(&self, form: &str, field: &str) -> Option<&str> {
        self.faults.iter().find(|fault| self.form == form && fault.field == field).map(|fault| fault.message.as_ref())
    }

    /// Whether this field has the first of the faults: there its reader goes on.
    fn is_first(&self, form: &str, field: &str) -> bool {
        self.form == form && self.faults.first().is_some_and(|fault| fault.field == field)
    }

    fn means(&self, field: &str) -> bool {
        self.fields.iter().any(|name| name == field)
    }

    pub(super) fn with(self, form: &'static str, faults: Vec<FieldError>) -> Self {
        Self { form, faults, ..self }
    }
}

pub(super) async fn case(portal: Data<Portal>, frame: Frame, by: Reviewer, id: Path<ApplicationId>) -> Result<HttpResponse, Error> {
    match case_page(&portal, frame, &by, *id, Panel::default(), None).await {
        Err(Error::Forbidden(refusal)) if refusal.code == OWN_APPLICATION => {
            Ok(see_other(&format!("/applications/{id}"), Some("This is your own application; another reviewer decides on it.")))
        }
        case => page(&case?),
    }
}

/// The page as it stands for this reviewer; `panel` as it was filled in, `preview` when a mail is looked at first. Errors: `NotFound` for
/// what was never sent, `Forbidden` for one's own.
pub(super) async fn case_page(
    portal: &Portal,
    frame: Frame,
    by: &Reviewer,
    id: ApplicationId,
    panel: Panel,
    preview: Option<Preview>,
) -> Result<CasePage, Error> {
    let (now, reader) = (portal.clock.now(), by.0.id);
    let mut db = portal.db.acquire().await?;
    let file = store::case_file(&mut db, id).await?.into_sent();
    let application = &file.application;
    let sent = application.case_for(reader)?;
    let events = audit::page(&mut db, &about(vec![id.to_string()]), case_history::EVENTS_MAX).await?;
    let grants = held::grants_of(&mut db, application.applicant).await?;
    let others = file.others.iter().map(|other| ModelId::from(other.model));
    let model_ids: Vec<ModelId> = others.chain([application.model]).chain(grants.iter().map(|held| held.model)).collect();
    let models = catalog::find_models(&mut db, &model_ids).await?;
    let looking = portal.cases_seen.look(id, reader, now);
    let named: Vec<AccountId> = looking.iter().copied().chain(events.iter().filter_map(|event| event.actor)).collect();
    let people = people_of(&mut db, application, &file.comments, &named).await?;
    let applicant = people.find(application.applicant).cloned().ok_or(Error::NotFound("account"))?;
    let (model, model_path) = name_of(&models, application.model);
    let live = grants.iter().filter(|held| held.model == application.model).map(|held| GrantView::new(held, &models, now));
    let asked = application.asked_for().unwrap_or(Duration::days(30));
    let form = forms::of(&mut db, application).await?;
    let answers = &application.answers;
    let decided_at = decided_at(&application.state);
    let blocked = file.bar.as_ref().filter(|bar| now < bar.until);
    Ok(CasePage {
        id,
        version: application.version,
        read: file.comments.len(),
        model,
        model_path,
        joined: when::day(applicant.created_at),
        title: answers.get("title").to_owned(),
        badge: badge(&application.state),
        clock: clock(&application.state, now),
        chips: evidence::chips(Some(&applicant), answers, &file.known(now)),
        blocked: blocked.map(|bar| (when::day(bar.until), bar.reason.clone())),
        sent: when::minute(sent.at),
        waited: matches!(application.state, State::Submitted(_)).then(|| when::span(now - sent.at)),
        scopes: ScopeBox::all(&panel.scopes),
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
        given: grants.iter().find(|held| held.application == Some(id)).map(|held| GrantView::new(held, &models, now)),
        happened: case_history::for_reviewer(&events, &people),
        may_undo: decided_at.is_some_and(|(who, at)| who == reader && now - at < UNDO),
        undo_until: decided_at.map(|(_, at)| when::minute(at + UNDO)).unwrap_or_default(),
        points: POINTS
            .iter()
            .map(|p| PointView { name: p.name, wording: p.wording, is_ticked: file.checked.iter().any(|c| c == p.name) })
            .collect(),
        history: file.others.iter().map(|other| history_row(other, &models)).collect(),
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
    others: &[AccountId],
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
    ids.extend(others);
    Ok(People(accounts::find_accounts(db, &ids).await?))
}

pub(super) fn decided_at(state: &State) -> Option<(AccountId, Timestamp)> {
    match state {
        State::Approved { by, at, .. } | State::Declined { by, at, .. } => Some((*by, *at)),
        State::Draft | State::Submitted(_) | State::ChangesRequested { .. } | State::Withdrawn { .. } | State::Lapsed { .. } => None,
    }
}

/// Why this reader must not decide on it, whatever its state.
pub(super) fn barred(application: &Application, reader: AccountId) -> Option<&'static str> {
    let appeal = application.state.sent().and_then(|sent| sent.appeal.as_ref());
    appeal
        .is_some_and(|appeal| appeal.against == reader)
        .then_some("This appeal is against your decision; another reviewer will decide on it.")
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

fn history_row(other: &OtherCase, models: &[Model]) -> HistoryRow {
    HistoryRow {
        path: format!("/review/{}", ApplicationId::from(other.id)),
        model: name_of(models, ModelId::from(other.model)).0,
        title: other.title.trim().to_owned(),
        badge: badge_named(&other.state),
        sent: when::day(other.sent_at),
    }
}
