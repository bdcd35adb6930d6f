//! The lists of applicants and reviewers as files: the queue, renewals, one's own applications and access.

use actix_web::HttpResponse;
use actix_web::web::{Data, Query};
use sqlx::PgConnection;

use super::answers_view::in_words;
use super::application::Application;
use super::people::People;
use super::queue_page::{Asked, decider, seen_to};
use super::state::State;
use super::state_view::{name_of, turn};
use super::stopped::{Stopped, StoppedGrant, Why};
use super::{evidence, forms, held, store};
use crate::accounts::{self, Reviewer, SignedIn};
use crate::catalog;
use crate::clock::Timestamp;
use crate::error::Error;
use crate::http::search::words_query;
use crate::http::table::{Cell, FILE_ROWS, Format, Rows, behind};
use crate::ids::{AccountId, ApplicationId, GrantId, ModelId, RenewalId};
use crate::portal::Portal;

/// Applications fetched at once; each has all its answers.
const APPLICATION_ROWS: i64 = 200;

/// `GET /review.{ending}`: the applications of a view, or all that a search finds.
pub(super) async fn queue(portal: Data<Portal>, by: Reviewer, format: Format, asked: Query<Asked>) -> Result<HttpResponse, Error> {
    const KEYS: &[&str] = &[
        "id",
        "state",
        "submitted_at",
        "due_at",
        "decided_at",
        "model",
        "applicant",
        "email",
        "title",
        "organisation",
        "role",
        "evidence",
        "seen_to",
    ];
    let (view, words) = (asked.view()?, asked.words().to_owned());
    let (reader, query) = (by.0.id, words_query(&words));
    Ok(format.streamed("applications", KEYS, move |after: Option<ApplicationId>| {
        let (portal, query, is_view) = (portal.clone(), query.clone(), words.is_empty());
        async move {
            let (mut db, now) = (portal.db.acquire().await?, portal.clock.now());
            let found = match (is_view, query) {
                (true, _) => store::view(&mut db, view, reader, now, after, APPLICATION_ROWS).await?,
                (false, Some(query)) => store::search_after(&mut db, &query, after, APPLICATION_ROWS).await?,
                (false, None) => vec![],
            };
            Ok((cases(&mut db, &found, reader, now).await?, behind(&found, APPLICATION_ROWS, |last| last.id)))
        }
    }))
}

/// Of the reader's own application nothing is told that is among reviewers: what is known about its applicant, and who sees to it.
async fn cases(db: &mut PgConnection, found: &[Application], reader: AccountId, now: Timestamp) -> Result<Vec<Vec<Cell>>, Error> {
    let models = catalog::find_models(db, &found.iter().map(|one| one.model).collect::<Vec<ModelId>>()).await?;
    let applicants: Vec<AccountId> = found.iter().map(|one| one.applicant).collect();
    let known = store::known(db, found, now).await?;
    let others = found.iter().flat_map(|one| [one.state.sent().and_then(|sent| sent.claim).map(|claim| claim.by), decider(&one.state)]);
    let people = People(accounts::find_accounts(db, &applicants.iter().copied().chain(others.flatten()).collect::<Vec<_>>()).await?);
    let forms = forms::of_each(db, found).await?;
    let cells = |one: &Application| {
        let person = people.find(one.applicant);
        let sent = one.state.sent();
        let chips = evidence::chips(person, &one.answers, &known.get(&one.id).copied().unwrap_or_default());
        let evidence = chips.iter().map(|chip| chip.word.as_ref()).collect::<Vec<_>>().join("; ");
        let is_own = one.applicant == reader;
        let unless_own = |words: String| Cell::maybe(Some(words).filter(|words| !is_own && !words.is_empty()));
        vec![
            Cell::text(one.id),
            Cell::text(one.state.as_str()),
            Cell::at(sent.map(|sent| sent.at)),
            Cell::at(sent.map(|sent| sent.due_at)),
            Cell::at(decided_at(&one.state)),
            Cell::text(name_of(&models, one.model).0),
            Cell::maybe(person.map(|person| &person.name)),
            Cell::maybe(person.map(|person| &person.email)),
            Cell::text(one.answers.get("title")),
            Cell::text(one.answers.get("organisation")),
            Cell::text(in_words(forms.of(one), "role", &one.answers)),
            unless_own(evidence),
            unless_own(seen_to(&one.state, |id| people.name(id))),
        ]
    };
    Ok(found.iter().map(cells).collect())
}

fn decided_at(state: &State) -> Option<Timestamp> {
    match state {
        State::Approved { at, .. } | State::Declined { at, .. } => Some(*at),
        State::Draft | State::Submitted(_) | State::ChangesRequested { .. } | State::Withdrawn { .. } | State::Lapsed { .. } => None,
    }
}

/// `GET /review/renewals.{ending}`: all that wait, the longest waiting first.
pub(super) async fn renewals(portal: Data<Portal>, _: Reviewer, format: Format) -> HttpResponse {
    const KEYS: &[&str] = &["id", "asked_at", "holder", "email", "model", "expires_at", "months", "grant"];
    format.streamed("renewals", KEYS, move |after: Option<RenewalId>| {
        let portal = portal.clone();
        async move {
            let mut db = portal.db.acquire().await?;
            let waiting = store::open_renewals(&mut db, after, FILE_ROWS).await?;
            let held = store::find_grants(&mut db, &waiting.iter().map(|renewal| renewal.grant).collect::<Vec<GrantId>>()).await?;
            let models = catalog::find_models(&mut db, &held.iter().map(|held| held.model).collect::<Vec<ModelId>>()).await?;
            let people = accounts::find_accounts(&mut db, &held.iter().map(|held| held.account).collect::<Vec<AccountId>>()).await?;
            let rows = waiting.iter().filter_map(|renewal| {
                let held = held.iter().find(|held| held.grant.id == renewal.grant)?;
                let person = people.iter().find(|person| person.id == held.account);
                Some(vec![
                    Cell::text(renewal.id),
                    Cell::at(renewal.asked_at),
                    Cell::maybe(person.map(|person| &person.name)),
                    Cell::maybe(person.map(|person| &person.email)),
                    Cell::text(name_of(&models, held.model).0),
                    Cell::at(held.grant.expires_at),
                    Cell::Count(renewal.asked.months.into()),
                    Cell::text(renewal.grant),
                ])
            });
            Ok((rows.collect(), behind(&waiting, FILE_ROWS, |last| last.id)))
        }
    })
}

/// The most of each kind that stand in the file of stopped access.
const STOPPED_MAX: i64 = 10_000;

/// `GET /review/grants.{ending}`: access that somebody proposed to revoke, the longest waiting first, and that is suspended.
pub(super) async fn stopped(portal: Data<Portal>, by: Reviewer, format: Format) -> Result<HttpResponse, Error> {
    const KEYS: &[&str] = &["id", "why", "since", "by", "reason", "may_confirm", "holder", "email", "model", "expires_at"];
    let stopped = Stopped::read(&portal, by.0.id, STOPPED_MAX).await?;
    let cells = |one: &StoppedGrant| {
        let person = stopped.people.find(one.held.account);
        vec![
            Cell::text(one.held.grant.id),
            Cell::text(one.why.as_str()),
            Cell::at(one.note.at),
            Cell::text(stopped.by(one)),
            Cell::text(&one.note.reason),
            Cell::Parts((one.why == Why::ToConfirm).into()),
            Cell::maybe(person.map(|person| &person.name)),
            Cell::maybe(person.map(|person| &person.email)),
            Cell::text(name_of(&stopped.models, one.held.model).0),
            Cell::at(one.held.grant.expires_at),
        ]
    };
    Ok(format.whole("stopped-access", KEYS, &stopped.grants.iter().map(cells).collect::<Vec<_>>()))
}

/// `GET /applications.{ending}`: one's own.
pub(super) async fn applications(portal: Data<Portal>, by: SignedIn, format: Format) -> HttpResponse {
    const KEYS: &[&str] = &["id", "model", "title", "state", "created_at", "submitted_at", "due_at", "turn"];
    format.streamed("my-applications", KEYS, move |after: Option<ApplicationId>| {
        let (portal, account) = (portal.clone(), by.account.id);
        async move { own_applications(&portal, account, after).await }
    })
}

async fn own_applications(portal: &Portal, account: AccountId, after: Option<ApplicationId>) -> Result<Rows<ApplicationId>, Error> {
    let (mut db, now) = (portal.db.acquire().await?, portal.clock.now());
    let own = store::of_applicant_after(&mut db, account, after, APPLICATION_ROWS).await?;
    let models = catalog::find_models(&mut db, &own.iter().map(|one| one.model).collect::<Vec<ModelId>>()).await?;
    let sent_last = store::sent_last(&mut db, &own).await?;
    let cells = |one: &Application| {
        let sent = one.state.sent();
        vec![
            Cell::text(one.id),
            Cell::text(name_of(&models, one.model).0),
            Cell::text(one.answers.get("title")),
            Cell::text(one.state.as_str()),
            Cell::at(one.created_at),
            Cell::at(sent.map(|sent| sent.at)),
            Cell::at(sent.map(|sent| sent.due_at)),
            Cell::text(turn(one, sent_last.get(&one.id).copied(), now)),
        ]
    };
    Ok((own.iter().map(cells).collect(), behind(&own, APPLICATION_ROWS, |last| last.id)))
}

/// `GET /grants.{ending}`: one's own access.
pub(super) async fn grants(portal: Data<Portal>, by: SignedIn, format: Format) -> Result<HttpResponse, Error> {
    let (mut db, now) = (portal.db.acquire().await?, portal.clock.now());
    let held = held::grants_of(&mut db, by.account.id).await?;
    let models = catalog::find_models(&mut db, &held.iter().map(|held| held.model).collect::<Vec<ModelId>>()).await?;
    let cells = |held: &super::HeldGrant| {
        let scopes: Vec<&str> = held.grant.scopes.iter().map(|scope| scope.as_str()).collect();
        vec![
            Cell::text(held.grant.id),
            Cell::text(name_of(&models, held.model).0),
            Cell::text(held.grant.standing(now).as_str()),
            Cell::text(scopes.join(" ")),
            Cell::at(held.grant.granted_at),
            Cell::at(held.grant.expires_at),
            Cell::maybe(held.application),
        ]
    };
    let rows: Vec<_> = held.iter().map(cells).collect();
    Ok(format.whole("my-access", &["id", "model", "standing", "scopes", "granted_at", "expires_at", "application"], &rows))
}
