//! The desk: its lists, and one case with all that a reviewer reads of it.

use std::collections::BTreeMap;

use actix_web::web::{Data, Path, Query};
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::super::answers_view::in_words;
use super::super::application::{Application, UNDO};
use super::super::difference::differences;
use super::super::evidence::Known;
use super::super::form::Form;
use super::super::people::People;
use super::super::view::View;
use super::super::{case_page, evidence, forms, held, store};
use super::grants::{GrantLine, lines};
use super::view::{ApplicationLine, Said, Word, said, typed, word};
use crate::accounts::{self, Person, ReviewingProgram};
use crate::catalog;
use crate::error::{Error, FieldError};
use crate::http::api::{Cut, Listed, Moment, Refused, answer, cursor, limit};
use crate::http::search::words_query;
use crate::ids::{AccountId, ApplicationId, ModelId};
use crate::portal::Portal;

/// How many of an applicant's applications a case tells of.
const HISTORY_MAX: i64 = 50;

/// What stands behind the `?` of the queue.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Asked {
    /// `all` that wait (unless said), `mine`, `unclaimed`, `overdue`, `applicant` for those whose turn is theirs, or `decided`.
    view: Option<String>,
    /// Instead of a view: words of title, organisation, name or address. What is found comes in one page, the newest first.
    q: Option<String>,
    /// 1 to 200 items a page; 50 unless said.
    limit: Option<i64>,
    /// From the address of the page before.
    cursor: Option<String>,
}

/// A case, in short.
#[derive(Serialize, ToSchema)]
struct CaseLine {
    /// The application.
    application: ApplicationLine,
    /// Whose it is.
    applicant: AccountId,
    /// Their name.
    name: String,
    /// Who sees to it; null while it is nobody's. Of your own application that is "A reviewer".
    claimed_by: Option<String>,
    /// Whether it was declined before, and is read a second time.
    is_appeal: bool,
    /// Where they work; empty where the form does not ask.
    organisation: String,
    /// As what, in words; empty where the form does not ask.
    role: String,
    /// What is known about them, in a few words each.
    evidence: Vec<String>,
}

/// One case.
#[derive(Serialize, ToSchema)]
pub(super) struct Case {
    /// The application.
    application: ApplicationLine,
    /// Who applies.
    applicant: Person,
    /// What is known about them, in a few words each.
    evidence: Vec<String>,
    /// The answers as they were sent last, by the names of the form's questions.
    answers: BTreeMap<String, String>,
    /// What changed since the sending before.
    changed: Vec<Changed>,
    /// What was attested.
    attested: Vec<Attested>,
    /// Who sees to it; null while it is nobody's.
    claim: Option<Claim>,
    /// What was said against a decline before.
    appeal: Option<AppealTold>,
    /// The decision, or what was asked to be changed.
    word: Option<Word>,
    /// The points of the checklist that are ticked.
    checked: Vec<String>,
    /// The thread, with what reviewers wrote among themselves.
    thread: Vec<Said>,
    /// The applicant's other applications, the newest first.
    history: Vec<ApplicationLine>,
    /// Their grants.
    grants: Vec<GrantLine>,
    /// Who else has had it on the screen in the last two minutes.
    looking: Vec<String>,
    /// For how many months access is asked.
    asked_months: String,
    /// Why you must not decide on it, whatever its state; null if you may.
    barred: Option<&'static str>,
    /// Until when you can take your decision back; null where there is none of yours, or it is too late.
    undo_until: Option<Moment>,
}

#[derive(Serialize, ToSchema)]
struct Changed {
    /// The question.
    question: String,
    /// Its lines before.
    before: Vec<String>,
    /// Its lines now.
    after: Vec<String>,
}

#[derive(Serialize, ToSchema)]
struct Attested {
    /// The clause's stable id.
    clause: String,
    /// The words that were agreed to.
    wording: String,
    /// The licence text that was shown with it; null for terms of this site.
    licence_sha256: Option<String>,
    /// When.
    at: Moment,
}

/// Why it is read a second time.
#[derive(Serialize, ToSchema)]
struct AppealTold {
    /// When it was made.
    at: Moment,
    /// Whose decline it is against; another reviewer decides.
    against: String,
    /// What the applicant says.
    text: String,
}

#[derive(Serialize, ToSchema)]
struct Claim {
    /// Who.
    by: String,
    /// Since when.
    at: Moment,
}

/// The queue
///
/// A view of the desk, or what a search finds.
#[utoipa::path(get, path = "/api/v1/review", operation_id = "list_cases", tag = "review", params(Asked),
    responses((status = 200, body = Listed<CaseLine>), Refused), security(("token" = ["review"])))]
pub(super) async fn list(
    portal: Data<Portal>,
    request: HttpRequest,
    ReviewingProgram(by): ReviewingProgram,
    asked: Query<Asked>,
) -> Result<HttpResponse, Error> {
    let now = portal.clock.now();
    let cut = Cut { config: &portal.config, request: &request, limit: limit(asked.limit)? };
    let names = View::ALL.map(View::as_str).join(", ");
    let view = asked
        .view
        .as_deref()
        .map_or(Ok(View::All), |name| View::named(name).ok_or(FieldError::new("view", format!("is one of {names}"))))?;
    let after: Option<ApplicationId> = cursor(asked.cursor.as_deref())?;
    let mut db = portal.db.acquire().await?;
    let (found, next) = match asked.q.as_deref().map(str::trim).filter(|q| !q.is_empty()) {
        None => {
            let mut found = store::view(&mut db, view, by.0.id, now, after, cut.rows()).await?;
            let next = cut.next(&mut found, |one| one.id);
            (found, next)
        }
        Some(words) => match words_query(words) {
            Some(query) => (store::search(&mut db, &query, cut.limit as i64).await?, None),
            None => (vec![], None),
        },
    };
    let models = catalog::find_models(&mut db, &found.iter().map(|one| one.model).collect::<Vec<ModelId>>()).await?;
    let claims = found.iter().filter_map(|one| Some(one.state.sent()?.claim?.by));
    let applicants: Vec<AccountId> = found.iter().map(|one| one.applicant).collect();
    let known = store::known(&mut db, &found, now).await?;
    let forms = forms::of_each(&mut db, &found).await?;
    let people = People(accounts::find_accounts(&mut db, &applicants.iter().copied().chain(claims).collect::<Vec<_>>()).await?);
    let known = |one: &Application| known.get(&one.id).copied().unwrap_or_default();
    let sent_last = store::sent_last(&mut db, &found).await?;
    let short = |one: &Application| ApplicationLine::new(one, sent_last.get(&one.id).copied(), &models, now);
    let line = |one: &Application| line(short(one), one, forms.of(one), &known(one), &people, by.0.id);
    Ok(answer(&Listed { items: found.iter().map(line).collect(), next }))
}

fn line(short: ApplicationLine, one: &Application, form: &Form, known: &Known, people: &People, reader: AccountId) -> CaseLine {
    let reviewer = |id| if one.applicant == reader { "A reviewer".to_owned() } else { people.name(id) };
    let sent = one.state.sent();
    let chips = evidence::chips(people.find(one.applicant), &one.answers, known);
    CaseLine {
        organisation: one.answers.get("organisation").to_owned(),
        role: in_words(form, "role", &one.answers).to_owned(),
        evidence: chips.into_iter().map(|chip| chip.word.into_owned()).collect(),
        application: short,
        applicant: one.applicant,
        name: people.name(one.applicant),
        claimed_by: sent.and_then(|sent| sent.claim).map(|claim| reviewer(claim.by)),
        is_appeal: one.is_appeal(),
    }
}

/// A view of the desk.
#[derive(Serialize, ToSchema)]
struct ViewLine {
    /// Its name: what the queue takes as `view`.
    #[schema(example = "unclaimed")]
    view: &'static str,
    /// The same in words.
    label: &'static str,
    /// How many cases are in it; null where nobody counts.
    count: Option<i64>,
}

/// The views of the desk
///
/// With the number of cases in each.
#[utoipa::path(get, path = "/api/v1/review/views", operation_id = "list_views", tag = "review",
    responses((status = 200, body = Listed<ViewLine>), Refused), security(("token" = ["review"])))]
pub(super) async fn views(portal: Data<Portal>, ReviewingProgram(by): ReviewingProgram) -> Result<HttpResponse, Error> {
    let counts = store::view_counts(&mut *portal.db.acquire().await?, by.0.id, portal.clock.now()).await?;
    let line = |view: View| ViewLine { view: view.as_str(), label: view.label(), count: view.count(&counts) };
    Ok(answer(&Listed { items: View::ALL.into_iter().map(line).collect(), next: None }))
}

/// One case
///
/// All that its page shows; your own application is none (`own_application`). Whoever asks counts as looking at it for two minutes, and
/// others are told so.
#[utoipa::path(get, path = "/api/v1/review/{id}", operation_id = "get_case", tag = "review",
    params(("id" = String, Path, description = "The application's id.")),
    responses((status = 200, body = Case), Refused), security(("token" = ["review"])))]
pub(super) async fn case(
    portal: Data<Portal>,
    ReviewingProgram(by): ReviewingProgram,
    id: Path<ApplicationId>,
) -> Result<HttpResponse, Error> {
    Ok(answer(&read(&portal, by.0.id, *id).await?))
}

/// The case as this reviewer reads it. Errors: `NotFound` for what was never sent, `Forbidden` for one's own.
pub(super) async fn read(portal: &Portal, reader: AccountId, id: ApplicationId) -> Result<Case, Error> {
    let now = portal.clock.now();
    let mut db = portal.db.acquire().await?;
    let file = store::case_file(&mut db, id).await?.into_sent();
    let application = &file.application;
    let sent = application.case_for(reader)?;
    let history = store::of_applicant(&mut db, application.applicant, HISTORY_MAX).await?;
    let history = store::as_sent(&mut db, history).await?;
    let grants = held::grants_of(&mut db, application.applicant).await?;
    let model_ids: Vec<ModelId> = history.iter().map(|a| a.model).chain(grants.iter().map(|held| held.model)).collect();
    let models = catalog::find_models(&mut db, &model_ids).await?;
    let looking = portal.cases_seen.look(id, reader, now);
    let people = case_page::people_of(&mut db, application, &file.comments, &looking).await?;
    let applicant = people.find(application.applicant).ok_or(Error::NotFound("account"))?;
    let form = forms::of(&mut db, application).await?;
    let sent_last = store::sent_last(&mut db, &history).await?;
    let answers = &application.answers;
    let others = || history.iter().filter(|one| one.id != id && one.state.sent().is_some());
    Ok(Case {
        application: ApplicationLine::new(application, file.sent_last_at, &models, now),
        applicant: applicant.into(),
        evidence: evidence::chips(Some(applicant), answers, &file.known(now)).into_iter().map(|chip| chip.word.into_owned()).collect(),
        answers: typed(answers),
        changed: file
            .sendings
            .get(1)
            .map(|before| differences(&form, before, answers))
            .unwrap_or_default()
            .into_iter()
            .map(|one| Changed { question: one.label, before: one.before, after: one.after })
            .collect(),
        attested: file
            .attestations
            .into_iter()
            .map(|one| Attested { clause: one.clause, wording: one.wording, licence_sha256: one.licence_sha256, at: one.at.into() })
            .collect(),
        claim: sent.claim.map(|claim| Claim { by: people.name(claim.by), at: claim.at.into() }),
        appeal: sent.appeal.as_ref().map(|appeal| AppealTold {
            at: appeal.at.into(),
            against: people.name(appeal.against),
            text: appeal.text.clone(),
        }),
        word: word(&application.state, Some(&people)),
        checked: file.checked.clone(),
        thread: file.comments.iter().map(|comment| said(comment, &people, None)).collect(),
        history: others().map(|one| ApplicationLine::new(one, sent_last.get(&one.id).copied(), &models, now)).collect(),
        grants: lines(&mut db, &grants, now).await?,
        asked_months: answers.get("months").to_owned(),
        barred: case_page::barred(application, reader),
        undo_until: case_page::decided_at(&application.state)
            .filter(|(who, at)| *who == reader && now - *at < UNDO)
            .map(|(_, at)| Moment(at + UNDO)),
        looking: looking.iter().map(|id| people.name(*id)).collect(),
    })
}
