//! Several applications at once: first what would happen to each, then what did. Each is a command of its own, under its own rules.

use actix_web::HttpResponse;
use actix_web::web::Data;
use askama::Template;
use sqlx::PgConnection;
use time::Duration;

use super::application::{Application, Approval, decline_text, seen_version};
use super::case_page::Preview;
use super::decline::DeclineReason;
use super::people::People;
use super::review::Seen;
use super::scope::{GrantScope, ScopeBox};
use super::state::State;
use super::state_view::name_of;
use super::{review, scope, store};
use crate::accounts::{self, Reviewer};
use crate::catalog;
use crate::clock::Timestamp;
use crate::error::{Error, FieldError};
use crate::http::page::{page, page_with_faults};
use crate::http::{Form, Frame, see_other, when};
use crate::ids::{AccountId, ApplicationId};
use crate::portal::Portal;

/// How many are acted on at once.
pub(super) const AT_ONCE: usize = 100;

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Claim,
    Release,
    Approve,
    Decline,
}

impl Action {
    /// The action of this name. Errors: there is none.
    pub(super) fn named(name: &str) -> Result<Self, FieldError> {
        let known = [Action::Claim, Action::Release, Action::Approve, Action::Decline].into_iter().find(|action| action.as_str() == name);
        known.ok_or_else(|| FieldError::new("action", "is claim, release, approve or decline"))
    }

    fn as_str(self) -> &'static str {
        match self {
            Action::Claim => "claim",
            Action::Release => "release",
            Action::Approve => "approve",
            Action::Decline => "decline",
        }
    }

    /// Whether it says yes or no.
    pub(super) fn decides(self) -> bool {
        match self {
            Action::Claim | Action::Release => false,
            Action::Approve | Action::Decline => true,
        }
    }

    fn label(self) -> &'static str {
        match self {
            Action::Claim => "Claim",
            Action::Release => "Release",
            Action::Approve => "Approve",
            Action::Decline => "Decline",
        }
    }
}

/// What is done to each: an action with what it takes.
#[derive(Debug, Clone)]
pub(super) struct Order<'a> {
    pub(super) action: Action,
    /// For an approval: what access is for.
    pub(super) scopes: Vec<GrantScope>,
    /// For a decline: why.
    pub(super) reason: DeclineReason,
    /// For a decline: what the applicants read.
    pub(super) text: &'a str,
}

impl Order<'_> {
    /// An action before anything is said about it.
    fn of(action: Action) -> Self {
        Self { action, scopes: GrantScope::ALL.into(), reason: DeclineReason::PurposeUnclear, text: DeclineReason::PurposeUnclear.words() }
    }
}

#[derive(Template)]
#[template(path = "access/bulk.html")]
struct BulkPage {
    frame: Frame,
    action: Action,
    items: Vec<Item>,
    /// Whether this is what happened; else what would.
    is_done: bool,
    scopes: Vec<ScopeBox>,
    reason: String,
    text: String,
    fault: Option<FieldError>,
    reasons: [DeclineReason; 8],
    /// One of the mails that would be sent.
    preview: Option<Preview>,
    /// The queue as it was when these were selected: its address, and what stands behind the `?` of it.
    queue: String,
    place: Vec<(String, String)>,
}

impl BulkPage {
    fn fault(&self, field: &str) -> Option<&str> {
        self.fault.as_ref().filter(|fault| fault.field == field).map(|fault| fault.message.as_ref())
    }

    fn count(&self) -> usize {
        self.items.iter().filter(|item| item.fault.is_none()).count()
    }

    /// How many its title speaks of: those that are acted on, or were meant to be.
    fn meant(&self) -> usize {
        if self.is_done { self.items.len() } else { self.count() }
    }
}

struct Item {
    id: ApplicationId,
    version: i64,
    /// How many comments there are.
    comments: i64,
    path: String,
    applicant: String,
    model: String,
    /// What happens, or has happened.
    told: String,
    /// Why it does not.
    fault: Option<String>,
}

/// What was posted: the boxes that were ticked, the versions they were seen in, and what to do.
struct Posted {
    action: Action,
    ids: Vec<ApplicationId>,
    /// What was selected as well and could not be changed this way when it was looked at.
    skipped: Vec<ApplicationId>,
    fields: Vec<(String, String)>,
}

impl Posted {
    fn read(fields: Vec<(String, String)>) -> Result<Self, Error> {
        let action = Action::named(fields.iter().find(|(name, _)| name == "action").map(|(_, value)| value.as_str()).unwrap_or_default())?;
        let (ids, mut skipped) = (named(&fields, "id")?, named(&fields, "skipped")?);
        skipped.retain(|id| !ids.contains(id));
        match ids.len() + skipped.len() {
            count if count > AT_ONCE => Err(FieldError::new("id", format!("{count} are selected; at most {AT_ONCE} at once")).into()),
            _ => Ok(Self { action, ids, skipped, fields }),
        }
    }

    /// All that were selected.
    fn selected(&self) -> Vec<ApplicationId> {
        self.ids.iter().chain(&self.skipped).copied().collect()
    }

    fn value(&self, name: &str) -> &str {
        self.fields.iter().find(|(posted, _)| posted == name).map(|(_, value)| value.as_str()).unwrap_or_default()
    }

    /// What is to be done to each. Errors: a use that is none, none at all for an approval, or no reason or words for a decline.
    fn order(&self) -> Result<Order<'_>, FieldError> {
        let scopes = GrantScope::posted(&self.fields)?;
        let reason = match (self.action, self.value("reason").parse()) {
            (Action::Decline, reason) => {
                let reason = reason?;
                decline_text(self.value("text"))?;
                reason
            }
            (Action::Approve, _) if scopes.is_empty() => return Err(scope::none_chosen()),
            (Action::Claim | Action::Release | Action::Approve, _) => DeclineReason::Other,
        };
        Ok(Order { action: self.action, scopes, reason, text: self.value("text") })
    }

    fn seen(&self, id: ApplicationId) -> Seen {
        let seen = |what: &str| seen_version(self.value(&format!("{what}_{id}")));
        Seen { version: seen("version"), comments: seen("comments") }
    }
}

/// The applications of the fields of this name, each once.
fn named(fields: &[(String, String)], field: &'static str) -> Result<Vec<ApplicationId>, FieldError> {
    let mut ids: Vec<ApplicationId> = Vec::new();
    for (_, id) in fields.iter().filter(|(name, _)| name == field) {
        let id = id.parse().map_err(|_| FieldError::new(field, "is no application"))?;
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    Ok(ids)
}

/// `GET` of an address that only forms are sent to, as by a reload: the queue.
pub(super) async fn to_queue(_: Reviewer) -> HttpResponse {
    see_other("/review", None)
}

/// Back to the view of the queue that it was sent from, where nothing is selected.
fn nothing_selected(fields: &[(String, String)]) -> Option<HttpResponse> {
    if fields.iter().any(|(name, _)| name == "id") {
        return None;
    }
    Some(see_other(&queue(&place(fields)), Some("Select at least one application first.")))
}

/// Where in the queue these fields were sent from.
fn place(fields: &[(String, String)]) -> Vec<(String, String)> {
    fields.iter().filter(|(name, value)| matches!(name.as_str(), "view" | "q" | "after") && !value.is_empty()).cloned().collect()
}

fn queue(place: &[(String, String)]) -> String {
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(place).finish();
    if query.is_empty() { "/review".to_owned() } else { format!("/review?{query}") }
}

/// `POST /review/bulk`: what would happen to each.
pub(super) async fn preview(
    portal: Data<Portal>,
    frame: Frame,
    by: Reviewer,
    Form(fields): Form<Vec<(String, String)>>,
) -> Result<HttpResponse, Error> {
    if let Some(back) = nothing_selected(&fields) {
        return Ok(back);
    }
    let posted = Posted::read(fields)?;
    let mut db = portal.db.acquire().await?;
    let items = foreseen(&mut db, &posted.selected(), &Order::of(posted.action), by.0.id, portal.clock.now()).await?;
    page(&bulk_page(frame, &posted, items, false, None))
}

fn bulk_page(frame: Frame, posted: &Posted, items: Vec<Item>, is_done: bool, fault: Option<FieldError>) -> BulkPage {
    let (reason, text) = (posted.value("reason"), posted.value("text"));
    // Where nothing was written the page comes back with words to begin with.
    let brought = reason.parse().ok().filter(|_| text.trim().is_empty()).map_or(text, |reason: DeclineReason| reason.words());
    let place = place(&posted.fields);
    BulkPage {
        queue: queue(&place),
        place,
        preview: None,
        frame,
        action: posted.action,
        items,
        is_done,
        scopes: ScopeBox::all(&GrantScope::posted(&posted.fields).unwrap_or_default()),
        reason: reason.to_owned(),
        text: brought.to_owned(),
        fault,
        reasons: DeclineReason::ALL,
    }
}

/// Each as it stands now: what the action does to it, or why it does nothing.
async fn foreseen(
    db: &mut PgConnection,
    ids: &[ApplicationId],
    order: &Order<'_>,
    by: AccountId,
    now: Timestamp,
) -> Result<Vec<Item>, Error> {
    let found = store::find_all(db, ids).await?;
    let models = catalog::find_models(db, &found.iter().map(|one| one.model).collect::<Vec<_>>()).await?;
    let people = People(accounts::find_accounts(db, &found.iter().map(|one| one.applicant).collect::<Vec<_>>()).await?);
    let comments = store::comment_counts(db, ids).await?;
    let sent = found.into_iter().filter(|one| one.state.sent().is_some());
    let item = |one: Application| {
        let (id, version) = (one.id, one.version);
        let (applicant, model) = (people.name(one.applicant), name_of(&models, one.model).0);
        let outcome = outcome(order, one, by, now);
        let (told, fault) = match outcome {
            Ok(told) => (told, None),
            Err(error) => (String::new(), Some(error.to_string())),
        };
        let comments = comments.get(&id).copied().unwrap_or_default();
        Item { id, version, comments, path: format!("/review/{id}"), applicant, model, told, fault }
    };
    Ok(sent.map(item).collect())
}

/// What the action makes of an application, by the same rules that will make it.
pub(super) fn outcome(order: &Order<'_>, application: Application, by: AccountId, now: Timestamp) -> Result<String, Error> {
    let until = until(&application, now);
    match order.action {
        Action::Claim => {
            let is_mine = |sent: &super::state::Sent| sent.claim.is_some_and(|claim| claim.by == by);
            if application.state.sent().is_some_and(is_mine) && matches!(application.state, State::Submitted(_)) {
                return Err(Error::Conflict("it is yours already".into()));
            }
            application.claim(by, now).map(|_| "becomes yours".to_owned())
        }
        Action::Release => application.release(by, now).map(|_| "is given back to everybody".to_owned()),
        Action::Approve => application
            .approve(by, Approval { until, scopes: &order.scopes, note: "" }, now)
            .map(|(_, grant)| format!("gets access until {}, as asked for", when::day(grant.expires_at))),
        Action::Decline => {
            application.decline(by, order.reason, order.text, now).map(|_| "is declined, with your reason and words".to_owned())
        }
    }
}

/// Does it to one of them, as it was `seen`.
pub(super) async fn carry_out(
    portal: &Portal,
    by: &Reviewer,
    order: &Order<'_>,
    application: &Application,
    seen: Seen,
) -> Result<(), Error> {
    match order.action {
        Action::Claim => review::claim(portal, by, application.id, seen.version).await,
        Action::Release => review::release(portal, by, application.id, seen.version).await,
        Action::Approve => {
            let approval = Approval { until: until(application, portal.clock.now()), scopes: &order.scopes, note: "" };
            review::approve(portal, by, application.id, seen, approval).await.map(drop)
        }
        Action::Decline => review::decline(portal, by, application.id, seen, order.reason, order.text).await,
    }
}

/// The end of access that was asked for.
fn until(application: &Application, now: Timestamp) -> Timestamp {
    now + application.asked_for().unwrap_or(Duration::days(30))
}

/// The mail that this one would get, where one is sent. Errors: `Conflict` where an approval would be refused.
async fn example(portal: &Portal, by: &Reviewer, order: &Order<'_>, first: &Application) -> Result<Option<Preview>, Error> {
    let mail = match order.action {
        Action::Claim | Action::Release => return Ok(None),
        Action::Approve => {
            let approval = Approval { until: until(first, portal.clock.now()), scopes: &order.scopes, note: "" };
            review::approval_mail(portal, by, first.id, Seen::default(), approval).await?
        }
        Action::Decline => review::decline_mail(portal, by, first.id, order.reason, order.text).await?,
    };
    Ok(Some(Preview::of(&mail)?))
}

/// `POST /review/bulk/do`: does it to each, and says how each went.
pub(super) async fn act(
    portal: Data<Portal>,
    frame: Frame,
    by: Reviewer,
    Form(fields): Form<Vec<(String, String)>>,
) -> Result<HttpResponse, Error> {
    if let Some(back) = nothing_selected(&fields) {
        return Ok(back);
    }
    let posted = Posted::read(fields)?;
    let now = portal.clock.now();
    let mut db = portal.db.acquire().await?;
    let order = match posted.order() {
        Ok(order) => order,
        Err(fault) => {
            let items = foreseen(&mut db, &posted.selected(), &Order::of(posted.action), by.0.id, now).await?;
            return page_with_faults(&bulk_page(frame, &posted, items, false, Some(fault)));
        }
    };
    let mut items = foreseen(&mut db, &posted.selected(), &order, by.0.id, now).await?;
    let applications = store::find_all(&mut db, &posted.ids).await?;
    drop(db);
    if !posted.value("preview").is_empty() {
        let mut preview = None;
        for item in items.iter_mut().filter(|item| item.fault.is_none()) {
            let Some(first) = applications.iter().find(|one| one.id == item.id) else { continue };
            match example(&portal, &by, &order, first).await {
                Err(refused @ Error::Conflict(_)) => item.fault = Some(refused.to_string()),
                shown => {
                    preview = shown?;
                    break;
                }
            }
        }
        return page(&BulkPage { preview, ..bulk_page(frame, &posted, items, false, None) });
    }
    for item in items.iter_mut().filter(|item| posted.skipped.contains(&item.id)) {
        item.fault.get_or_insert_with(|| "it could not be changed this way when you looked at it; look at it again".into());
    }
    for item in items.iter_mut().filter(|item| item.fault.is_none()) {
        let Some(application) = applications.iter().find(|one| one.id == item.id) else { continue };
        let seen = posted.seen(item.id);
        match carry_out(&portal, &by, &order, application, seen).await {
            Ok(()) => {}
            // One that fails does not keep the others from being done; our own fault is no answer to give.
            Err(fault @ (Error::Internal(_) | Error::Unavailable(_))) => return Err(fault),
            Err(refused) => item.fault = Some(refused.to_string()),
        }
    }
    page(&bulk_page(frame, &posted, items, true, None))
}
