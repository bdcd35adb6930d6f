//! One person: what they have access to, what keeps them out, and setting or lifting a block.

use actix_web::HttpResponse;
use actix_web::web::{Data, Path};
use askama::Template;
use serde::Deserialize;
use time::{Duration, Time};

use crate::access::{self, BLOCK_LIFE_MAX, SentApplication, StandingWords, block, standing_words};
use crate::accounts::{self, Account, Reviewer};
use crate::catalog::{self, Model};
use crate::clock::Timestamp;
use crate::error::{Error, FieldError};
use crate::http::page::{page, page_with_faults};
use crate::http::{Form, Frame, filters, see_other, when};
use crate::ids::{AccountId, BlockId, GrantId, ModelId};
use crate::portal::Portal;

/// Models to choose from.
const MODELS_MAX: i64 = 1_000;
/// For how long a block stands unless somebody chooses another end.
const BLOCK_LIFE: Duration = Duration::days(90);

#[derive(Template)]
#[template(path = "admin/person.html")]
struct PersonPage {
    frame: Frame,
    person: Account,
    is_own: bool,
    /// The newest mail to them came back, or was given up.
    is_unreachable: bool,
    applications: Vec<ApplicationRow>,
    grants: Vec<GrantRow>,
    blocks: Vec<BlockRow>,
    models: Vec<Model>,
    sent: BlockForm,
    faults: Vec<FieldError>,
    until_min: String,
    until_max: String,
}

struct ApplicationRow {
    path: String,
    model: String,
    sent: SentApplication,
    at: String,
}

struct GrantRow {
    id: GrantId,
    model: String,
    words: StandingWords,
}

struct BlockRow {
    id: BlockId,
    what: String,
    reason: String,
    by: String,
    since: String,
    until: String,
    lifted: Option<String>,
    stands: bool,
}

/// The form for a block, as it was typed.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct BlockForm {
    /// A model's id; empty for every model.
    model: String,
    until: String,
    reason: String,
}

/// `GET /admin/people/{id}`
pub(super) async fn person(portal: Data<Portal>, frame: Frame, by: Reviewer, id: Path<AccountId>) -> Result<HttpResponse, Error> {
    page(&person_page(&portal, frame, &by, *id, BlockForm::default(), vec![]).await?)
}

async fn person_page(
    portal: &Portal,
    frame: Frame,
    by: &Reviewer,
    id: AccountId,
    mut sent: BlockForm,
    faults: Vec<FieldError>,
) -> Result<PersonPage, Error> {
    let now = portal.clock.now();
    let mut db = portal.db.acquire().await?;
    let blocks = block::of(&mut db, id).await?;
    let named: Vec<AccountId> = blocks.iter().filter_map(|block| block.set_by).chain([id]).collect();
    let people = accounts::find_accounts(&mut db, &named).await?;
    let person = people.iter().find(|account| account.id == id).ok_or(Error::NotFound("account"))?.clone();
    let known = access::known_person(&mut db, id).await?;
    let grants = access::grants_of(&mut db, id).await?;
    let models = catalog::list_all_models(&mut db, MODELS_MAX).await?;
    let name = |id: ModelId| models.iter().find(|model| model.id == id).map_or_else(|| "a removed model".into(), Model::full_name);
    if sent.until.is_empty() {
        sent.until = when::date_field((now + BLOCK_LIFE).date());
    }
    let grants =
        grants.into_iter().map(|held| GrantRow { id: held.grant.id, model: name(held.model), words: standing_words(&held.grant, now) });
    let is_own = id == by.0.id;
    let applications = known.applications.into_iter().map(|sent| ApplicationRow {
        path: if is_own { format!("/applications/{}", sent.id) } else { format!("/review/{}", sent.id) },
        model: name(sent.model),
        at: when::day(sent.sent_at),
        sent,
    });
    let applications = applications.collect();
    let blocks = blocks.into_iter().map(|block| BlockRow {
        id: block.id,
        what: block.model.map_or_else(|| "Every model".into(), name),
        by: match block.set_by {
            // To whom it concerns, a reviewer is a reviewer.
            Some(_) if is_own => "a reviewer".into(),
            Some(by) => people.iter().find(|account| account.id == by).map_or_else(String::new, |setter| setter.name.clone()),
            None => "the portal".into(),
        },
        since: when::minute(block.set_at),
        until: when::day(block.expires_at),
        lifted: block.lifted_at.map(when::day),
        stands: block.stands(now),
        reason: block.reason,
    });
    Ok(PersonPage {
        frame,
        is_own,
        is_unreachable: known.is_unreachable,
        applications,
        grants: grants.collect(),
        blocks: blocks.collect(),
        person,
        sent,
        faults,
        until_min: when::date_field(now.date()),
        until_max: when::date_field((now + BLOCK_LIFE_MAX - Duration::DAY).date()),
        models,
    })
}

/// `POST /admin/people/{id}/block`
pub(super) async fn block(
    portal: Data<Portal>,
    frame: Frame,
    by: Reviewer,
    id: Path<AccountId>,
    Form(sent): Form<BlockForm>,
) -> Result<HttpResponse, Error> {
    let set = match (which(&sent.model), last_moment_of(&sent.until)) {
        (Ok(model), Ok(until)) => block::set(&portal, &by, *id, model, until, &sent.reason).await.map(drop),
        (model, until) => Err(Error::Invalid([model.err(), until.err()].into_iter().flatten().collect())),
    };
    match set {
        Ok(()) => {
            Ok(see_other(&format!("/admin/people/{id}"), Some("Blocked. Their access is paused, and they get a mail with the reason.")))
        }
        Err(Error::Invalid(faults)) => page_with_faults(&person_page(&portal, frame, &by, *id, sent, faults).await?),
        Err(other) => Err(other),
    }
}

fn which(model: &str) -> Result<Option<ModelId>, FieldError> {
    match model {
        "" => Ok(None),
        id => id.parse().map(Some).map_err(|_| FieldError::new("model", "choose one of those on this page")),
    }
}

/// A block "until" a day stands through that day, UTC.
fn last_moment_of(day: &str) -> Result<Timestamp, FieldError> {
    let date = when::parse_date_field(day).ok_or_else(|| FieldError::new("until", "enter a day, such as 2027-03-31"))?;
    Ok(date.with_time(Time::from_hms(23, 59, 59).expect("a time of day")).assume_utc())
}

/// `POST /admin/people/{id}/blocks/{block}/lift`
pub(super) async fn lift(
    portal: Data<Portal>,
    by: Reviewer,
    ids: Path<(AccountId, BlockId)>,
    _: Form<Vec<(String, String)>>,
) -> Result<HttpResponse, Error> {
    let (account, id) = ids.into_inner();
    block::lift(&portal, &by, account, id).await?;
    Ok(see_other(&format!("/admin/people/{account}"), Some("Lifted. What they had holds again, and they get a mail.")))
}
