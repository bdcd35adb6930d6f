//! The reviewer's pages of renewals: those that wait, and one of them with what its holder used the model for.

use actix_web::HttpResponse;
use actix_web::web::{Data, Path};
use askama::Template;
use serde::Deserialize;
use time::{Duration, Time};

use super::grant::GRANT_LIFE_MAX;
use super::holder::{Used, used};
use super::people::People;
use super::queue_page::DeskTabs;
use super::renewal::{Renewal, RenewalState};
use super::state_view::{Badge, StandingWords, name_of, standing_words};
use super::{renew, store};
use crate::accounts::{self, Account, Reviewer};
use crate::catalog;
use crate::clock::Timestamp;
use crate::error::{Error, FieldError};
use crate::http::page::{page, page_with_faults};
use crate::http::{Form, Frame, see_other, when};
use crate::ids::{AccountId, ApplicationId, GrantId, ModelId, RenewalId};
use crate::portal::Portal;

/// How many waiting requests one page shows, the longest waiting first.
const WAITING_MAX: i64 = 100;

#[derive(Template)]
#[template(path = "access/renewals.html")]
struct RenewalsPage {
    frame: Frame,
    tabs: DeskTabs,
    rows: Vec<RenewalRow>,
}

struct RenewalRow {
    id: RenewalId,
    holder: String,
    model: String,
    months: u8,
    until: String,
    waited: String,
}

/// `GET /review/renewals`
pub(super) async fn list(portal: Data<Portal>, frame: Frame, by: Reviewer) -> Result<HttpResponse, Error> {
    let now = portal.clock.now();
    let mut db = portal.db.acquire().await?;
    let waiting = store::open_renewals(&mut db, None, WAITING_MAX).await?;
    let held = store::find_grants(&mut db, &waiting.iter().map(|renewal| renewal.grant).collect::<Vec<GrantId>>()).await?;
    let models = catalog::find_models(&mut db, &held.iter().map(|held| held.model).collect::<Vec<ModelId>>()).await?;
    let people = accounts::find_accounts(&mut db, &held.iter().map(|held| held.account).collect::<Vec<AccountId>>()).await?;
    let rows = waiting.iter().filter_map(|renewal| {
        let held = held.iter().find(|held| held.grant.id == renewal.grant)?;
        Some(RenewalRow {
            id: renewal.id,
            holder: people.iter().find(|person| person.id == held.account)?.name.clone(),
            model: name_of(&models, held.model).0,
            months: renewal.asked.months,
            until: when::day(held.grant.expires_at),
            waited: when::span(now - renewal.asked_at),
        })
    });
    page(&RenewalsPage { frame, tabs: DeskTabs::read(&mut db, by.0.id, now).await?, rows: rows.collect() })
}

#[derive(Template)]
#[template(path = "access/renewal.html")]
struct RenewalPage {
    frame: Frame,
    id: RenewalId,
    grant: GrantId,
    holder: Account,
    model: String,
    model_path: String,
    words: StandingWords,
    application: Option<ApplicationId>,
    badge: Badge,
    /// How it was decided, with what was written.
    outcome: Option<(String, Vec<String>)>,
    summary: Vec<String>,
    publications: Vec<String>,
    months: u8,
    used: Used,
    is_open: bool,
    is_own: bool,
    sent: Decision,
    until_min: String,
    until_max: String,
    faults: Vec<FieldError>,
}

impl RenewalPage {
    fn fault(&self, form: &str, field: &str) -> Option<&str> {
        self.faults.iter().find(|fault| self.sent.form == form && fault.field == field).map(|fault| fault.message.as_ref())
    }

    /// Whether the page opens at this field: it has the first fault.
    fn opens_at(&self, form: &str, field: &str) -> bool {
        self.sent.form == form && self.faults.first().is_some_and(|fault| fault.field == field)
    }
}

/// A form of the page, as it was typed.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Decision {
    until: String,
    text: String,
    /// Which form it was.
    #[serde(skip)]
    form: &'static str,
}

/// `GET /review/renewals/{id}`
pub(super) async fn renewal(portal: Data<Portal>, frame: Frame, by: Reviewer, id: Path<RenewalId>) -> Result<HttpResponse, Error> {
    page(&renewal_page(&portal, frame, &by, *id, Decision::default(), vec![]).await?)
}

async fn renewal_page(
    portal: &Portal,
    frame: Frame,
    by: &Reviewer,
    id: RenewalId,
    mut sent: Decision,
    faults: Vec<FieldError>,
) -> Result<RenewalPage, Error> {
    let now = portal.clock.now();
    let mut db = portal.db.acquire().await?;
    let renewal = store::find_renewal(&mut db, id).await?;
    let held = store::find_grant(&mut db, renewal.grant).await?;
    let models = catalog::find_models(&mut db, &[held.model]).await?;
    let (model, model_path) = name_of(&models, held.model);
    let decider = decider(&renewal.state);
    let named: Vec<AccountId> = decider.into_iter().chain([held.account]).collect();
    let people = People(accounts::find_accounts(&mut db, &named).await?);
    let holder = people.find(held.account).ok_or(Error::NotFound("account"))?.clone();
    if sent.until.is_empty() {
        sent.until = when::date_field(renewal.would_end(&held.grant, now).date());
    }
    Ok(RenewalPage {
        frame,
        id,
        grant: held.grant.id,
        holder,
        model,
        model_path,
        words: standing_words(&held.grant, now),
        application: held.application,
        badge: badge(&renewal.state),
        outcome: outcome(&renewal, &decider.map(|by| people.name(by)).unwrap_or_default()),
        summary: lines(&renewal.asked.summary),
        publications: lines(&renewal.asked.publications),
        months: renewal.asked.months,
        used: used(&mut db, &held).await?,
        is_open: renewal.state == RenewalState::Open,
        is_own: held.account == by.0.id,
        sent,
        until_min: when::date_field(held.grant.expires_at.max(now).date()),
        until_max: when::date_field((now + GRANT_LIFE_MAX - Duration::DAY).date()),
        faults,
    })
}

fn decider(state: &RenewalState) -> Option<AccountId> {
    match state {
        RenewalState::Approved { by, .. } | RenewalState::Declined { by, .. } => Some(*by),
        RenewalState::Open | RenewalState::Withdrawn { .. } | RenewalState::Lapsed { .. } => None,
    }
}

/// The badge of a state.
pub(super) fn badge(state: &RenewalState) -> Badge {
    match state {
        RenewalState::Open => Badge { word: "In review".into(), class: "info" },
        RenewalState::Approved { .. } => Badge { word: "Renewed".into(), class: "ok" },
        RenewalState::Declined { .. } => Badge { word: "Declined".into(), class: "bad" },
        RenewalState::Withdrawn { .. } => Badge { word: "Withdrawn".into(), class: "" },
        RenewalState::Lapsed { .. } => Badge { word: "Lapsed".into(), class: "warn" },
    }
}

fn outcome(renewal: &Renewal, decider: &str) -> Option<(String, Vec<String>)> {
    let headline = match &renewal.state {
        RenewalState::Open => return None,
        RenewalState::Approved { at, .. } => format!("Renewed by {decider} on {}.", when::minute(*at)),
        RenewalState::Declined { at, .. } => format!("Declined by {decider} on {}.", when::minute(*at)),
        RenewalState::Withdrawn { at } => format!("Withdrawn by the holder on {}.", when::minute(*at)),
        RenewalState::Lapsed { at } => format!("Lapsed on {}.", when::minute(*at)),
    };
    Some((headline, lines(renewal.state.words())))
}

/// The lines of a text that say something.
pub(super) fn lines(text: &str) -> Vec<String> {
    text.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect()
}

/// `POST /review/renewals/{id}/approve`
pub(super) async fn approve(
    portal: Data<Portal>,
    frame: Frame,
    by: Reviewer,
    id: Path<RenewalId>,
    Form(sent): Form<Decision>,
) -> Result<HttpResponse, Error> {
    let decided = match last_moment_of(&sent.until) {
        Ok(until) => renew::approve(&portal, &by, *id, until, &sent.text).await,
        Err(fault) => Err(fault.into()),
    };
    answer(&portal, frame, &by, *id, decided, Decision { form: "approve", ..sent }, "Renewed. The holder gets a mail.").await
}

/// `POST /review/renewals/{id}/decline`
pub(super) async fn decline(
    portal: Data<Portal>,
    frame: Frame,
    by: Reviewer,
    id: Path<RenewalId>,
    Form(sent): Form<Decision>,
) -> Result<HttpResponse, Error> {
    let decided = renew::decline(&portal, &by, *id, &sent.text).await;
    answer(&portal, frame, &by, *id, decided, Decision { form: "decline", ..sent }, "Declined. The holder gets a mail with your words.")
        .await
}

async fn answer(
    portal: &Portal,
    frame: Frame,
    by: &Reviewer,
    id: RenewalId,
    decided: Result<(), Error>,
    sent: Decision,
    told: &str,
) -> Result<HttpResponse, Error> {
    match decided {
        Ok(()) => Ok(see_other(&format!("/review/renewals/{id}"), Some(told))),
        Err(Error::Invalid(faults)) => page_with_faults(&renewal_page(portal, frame, by, id, sent, faults).await?),
        Err(other) => Err(other),
    }
}

/// Access "until" a day holds through that day, UTC.
fn last_moment_of(day: &str) -> Result<Timestamp, FieldError> {
    let date = when::parse_date_field(day).ok_or_else(|| FieldError::new("until", "enter a day, such as 2027-03-31"))?;
    Ok(date.with_time(Time::from_hms(23, 59, 59).expect("a time of day")).assume_utc())
}
