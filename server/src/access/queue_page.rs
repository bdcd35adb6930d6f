//! The desk: the views of the queue, the search, and what stands in each row.

use actix_web::HttpResponse;
use actix_web::web::{Data, Query};
use askama::Template;
use serde::Deserialize;
use sqlx::PgConnection;
use url::form_urlencoded;

use super::answers_view::in_words;
use super::application::Application;
use super::evidence::{self, Known};
use super::form::Form;
use super::state::{Sent, State};
use super::state_view::{Badge, badge, name_of};
use super::store::{self, ViewCounts};
use super::view::View;
use super::{forms, people::People};
use crate::accounts::{self, Reviewer};
use crate::catalog::{self, Model};
use crate::clock::Timestamp;
use crate::error::Error;
use crate::http::page::page;
use crate::http::search::words_query;
use crate::http::{Frame, when};
use crate::ids::{AccountId, ApplicationId, ModelId};
use crate::portal::Portal;

/// How many applications one page shows.
const PAGE: usize = 50;

/// What is asked for.
#[derive(Deserialize)]
pub(super) struct Asked {
    view: Option<String>,
    q: Option<String>,
    after: Option<ApplicationId>,
}

impl Asked {
    /// The view meant. Errors: `NotFound` for a name that is none.
    pub(super) fn view(&self) -> Result<View, Error> {
        self.view.as_deref().map_or(Ok(View::All), |name| View::named(name).ok_or(Error::NotFound("view")))
    }

    /// What is searched for; empty when a view is meant.
    pub(super) fn words(&self) -> &str {
        self.q.as_deref().unwrap_or_default().trim()
    }
}

#[derive(Template)]
#[template(path = "access/queue.html")]
struct QueuePage {
    frame: Frame,
    tabs: DeskTabs,
    view: View,
    /// What was searched for; empty when a view is shown.
    q: String,
    rows: Vec<QueueRow>,
    /// From behind which row on this page goes.
    after: Option<ApplicationId>,
    next: Option<String>,
    /// The same applications as files: what stands behind their `?`.
    exports: String,
}

impl QueuePage {
    /// Whether anything on the page can be selected.
    fn may_select(&self) -> bool {
        self.rows.iter().any(|row| row.may_select)
    }
}

/// The tabs of the desk, as they stand on each of its lists.
pub(super) struct DeskTabs {
    pub(super) views: Vec<Tab>,
    /// Requests for a renewal that wait.
    pub(super) renewals: i64,
    /// Grants that somebody else proposed to revoke.
    pub(super) to_confirm: i64,
}

pub(super) struct Tab {
    pub(super) view: View,
    pub(super) count: Option<i64>,
    pub(super) is_here: bool,
}

impl DeskTabs {
    /// `here`: the view that is shown, if it is one.
    fn new(counts: &ViewCounts, here: Option<View>) -> Self {
        let tab = |view: View| Tab { view, count: view.count(counts), is_here: here == Some(view) };
        Self { views: View::ALL.into_iter().map(tab).collect(), renewals: counts.renewals, to_confirm: counts.to_confirm }
    }

    /// Those of a list beside the views.
    pub(super) async fn read(db: &mut PgConnection, reader: AccountId, now: Timestamp) -> Result<Self, Error> {
        Ok(Self::new(&store::view_counts(db, reader, now).await?, None))
    }
}

struct QueueRow {
    id: ApplicationId,
    path: String,
    model: String,
    applicant: String,
    title: String,
    organisation: String,
    role: String,
    badge: Badge,
    chips: Vec<Badge>,
    /// Whose it is, in a few words; empty while it is nobody's.
    seen_to: String,
    /// How long it has waited, or when it was decided.
    when: String,
    /// The clock against the promised time.
    clock: Option<Badge>,
    may_select: bool,
    /// Whether it is nobody's, and its reader may take it on; as it was seen in this version.
    may_claim: bool,
    version: i64,
}

pub(super) async fn queue(portal: Data<Portal>, frame: Frame, by: Reviewer, asked: Query<Asked>) -> Result<HttpResponse, Error> {
    let now = portal.clock.now();
    let (view, q) = (asked.view()?, asked.words());
    let mut db = portal.db.acquire().await?;
    let mut found = match (q.is_empty(), words_query(q)) {
        (true, _) => store::view(&mut db, view, by.0.id, now, asked.after, PAGE as i64 + 1).await?,
        (false, Some(query)) => store::search(&mut db, &query, PAGE as i64).await?,
        (false, None) => vec![],
    };
    let has_more = found.len() > PAGE;
    found.truncate(PAGE);
    let counts = store::view_counts(&mut db, by.0.id, now).await?;
    let models = catalog::find_models(&mut db, &found.iter().map(|one| one.model).collect::<Vec<ModelId>>()).await?;
    let applicants: Vec<AccountId> = found.iter().map(|one| one.applicant).collect();
    let known = store::known(&mut db, &found, now).await?;
    let others = found.iter().flat_map(|one| [one.state.sent().and_then(|sent| sent.claim).map(|claim| claim.by), decider(&one.state)]);
    let forms = forms::of_each(&mut db, &found).await?;
    let people = People(accounts::find_accounts(&mut db, &applicants.iter().copied().chain(others.flatten()).collect::<Vec<_>>()).await?);
    let next = found.last().filter(|_| has_more && q.is_empty()).map(|last| format!("/review?view={}&after={}", view.as_str(), last.id));
    let searched = form_urlencoded::Serializer::new(String::new()).append_pair("q", q).finish();
    page(&QueuePage {
        frame,
        tabs: DeskTabs::new(&counts, Some(view).filter(|_| q.is_empty())),
        view,
        q: q.to_owned(),
        after: asked.after,
        rows: found
            .iter()
            .map(|one| row(one, forms.of(one), &models, &people, &known.get(&one.id).copied().unwrap_or_default(), by.0.id, now))
            .collect(),
        next,
        exports: if q.is_empty() { format!("view={}", view.as_str()) } else { searched },
    })
}

fn row(
    application: &Application,
    form: &Form,
    models: &[Model],
    people: &People,
    known: &Known,
    reader: AccountId,
    now: Timestamp,
) -> QueueRow {
    let is_own = application.applicant == reader;
    let mut chips = evidence::chips(people.find(application.applicant), &application.answers, known);
    if application.is_appeal() {
        chips.push(Badge { word: "Appeal".into(), class: "info" });
    }
    if is_own {
        chips.push(Badge { word: "Your own".into(), class: "warn" });
    }
    QueueRow {
        id: application.id,
        path: if is_own { format!("/applications/{}", application.id) } else { format!("/review/{}", application.id) },
        model: name_of(models, application.model).0,
        applicant: people.name(application.applicant),
        title: application.answers.get("title").to_owned(),
        organisation: application.answers.get("organisation").to_owned(),
        role: in_words(form, "role", &application.answers).to_owned(),
        badge: badge(&application.state),
        chips,
        seen_to: seen_to(&application.state, |id| reviewer_name(application, people, reader, id)),
        when: moment(&application.state, now),
        clock: clock(&application.state, now),
        may_select: !is_own && matches!(application.state, State::Submitted(_)),
        may_claim: !is_own && may_be_claimed(&application.state, reader),
        version: application.version,
    }
}

/// Whether nobody sees to it, and it is not an appeal against this reader.
fn may_be_claimed(state: &State, reader: AccountId) -> bool {
    let is_free = |sent: &Sent| sent.claim.is_none() && sent.appeal.as_ref().is_none_or(|appeal| appeal.against != reader);
    matches!(state, State::Submitted(sent) if is_free(sent))
}

/// A reviewer in the words of this reader: to an applicant, a reviewer is a reviewer.
fn reviewer_name(application: &Application, people: &People, reader: AccountId, id: AccountId) -> String {
    match id {
        _ if application.applicant == reader => "A reviewer".to_owned(),
        id if id == reader => "You".to_owned(),
        id => people.name(id),
    }
}

/// Who has decided or sees to it, by `name`; empty while it is nobody's.
pub(super) fn seen_to(state: &State, name: impl Fn(AccountId) -> String) -> String {
    let claimed = || state.sent().and_then(|sent| sent.claim).map(|claim| claim.by);
    decider(state).or_else(claimed).map(name).unwrap_or_default()
}

fn moment(state: &State, now: Timestamp) -> String {
    match state {
        State::Approved { at, .. } | State::Declined { at, .. } => when::minute(*at),
        State::Withdrawn { at, .. } | State::Lapsed { at, .. } => when::minute(*at),
        State::Draft | State::Submitted(_) | State::ChangesRequested { .. } => {
            state.sent().map(|sent| when::span(now - sent.at)).unwrap_or_default()
        }
    }
}

/// How the promise stands: kept easily, soon due, or broken. Nothing while it is not the reviewers' turn.
pub(super) fn clock(state: &State, now: Timestamp) -> Option<Badge> {
    let State::Submitted(sent) = state else { return None };
    let left = sent.due_at - now;
    Some(if left.is_negative() {
        Badge { word: format!("Overdue by {}", when::span(-left)).into(), class: "bad" }
    } else {
        Badge { word: format!("{} left", when::left(left)).into(), class: if left.whole_days() < 2 { "warn" } else { "" } }
    })
}

/// Who decided, if somebody has.
pub(super) fn decider(state: &State) -> Option<AccountId> {
    match state {
        State::Approved { by, .. } | State::Declined { by, .. } => Some(*by),
        State::Draft | State::Submitted(_) | State::ChangesRequested { .. } | State::Withdrawn { .. } | State::Lapsed { .. } => None,
    }
}
