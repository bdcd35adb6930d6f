//! The admin's lists as files: people, grants, models and their releases, generations, jobs, the store.

use actix_web::HttpResponse;
use actix_web::web::{Data, Path, Query};
use serde_json::json;

use super::people::Search;
use super::releases::{self, ReleaseRow};
use crate::access;
use crate::accounts::{self, Account, Admin};
use crate::catalog::{self, Model};
use crate::error::Error;
use crate::http::table::{Cell, FILE_ROWS, Format, behind};
use crate::ids::{AccountId, GenerationId, GrantId, ModelId};
use crate::jobs::Job;
use crate::playground;
use crate::portal::Portal;

/// Rows of a file that is written at once.
const ROWS_MAX: i64 = 100_000;

/// `GET /admin/people.{ending}`: everybody whom the search finds.
pub(super) async fn people(portal: Data<Portal>, _: Admin, format: Format, search: Query<Search>) -> HttpResponse {
    const KEYS: &[&str] = &["id", "name", "email", "role", "created_at", "verified_at", "closed_at"];
    let search = search.words().to_owned();
    format.streamed("people", KEYS, move |before: Option<AccountId>| {
        let (portal, search) = (portal.clone(), search.clone());
        async move {
            let people = accounts::list_accounts(&mut *portal.db.acquire().await?, &search, before, FILE_ROWS).await?;
            let cells = |person: &Account| {
                vec![
                    Cell::text(person.id),
                    Cell::text(&person.name),
                    Cell::text(&person.email),
                    Cell::text(person.role.as_str()),
                    Cell::at(person.created_at),
                    Cell::at(person.email_verified_at),
                    Cell::at(person.disabled_at),
                ]
            };
            Ok((people.iter().map(cells).collect(), behind(&people, FILE_ROWS, |last| last.id)))
        }
    })
}

/// `GET /admin/grants.{ending}`
pub(super) async fn grants(portal: Data<Portal>, _: Admin, format: Format) -> HttpResponse {
    const KEYS: &[&str] = &["id", "name", "email", "model", "granted_at", "expires_at", "standing", "application", "reason"];
    format.streamed("grants", KEYS, move |before: Option<GrantId>| {
        let portal = portal.clone();
        async move {
            let (mut db, now) = (portal.db.acquire().await?, portal.clock.now());
            let held = access::grants_in_force(&mut db, now, before, FILE_ROWS).await?;
            let people = accounts::find_accounts(&mut db, &held.iter().map(|held| held.account).collect::<Vec<_>>()).await?;
            let models = catalog::find_models(&mut db, &held.iter().map(|held| held.model).collect::<Vec<_>>()).await?;
            let next = behind(&held, FILE_ROWS, |last| last.grant.id);
            let cells = |held: access::HeldGrant| {
                let person = person(&people, held.account);
                vec![
                    Cell::text(held.grant.id),
                    Cell::maybe(person.map(|person| &person.name)),
                    Cell::maybe(person.map(|person| &person.email)),
                    Cell::maybe(model(&models, held.model)),
                    Cell::at(held.grant.granted_at),
                    Cell::at(held.grant.expires_at),
                    Cell::text(held.grant.standing(now).as_str()),
                    Cell::maybe(held.application),
                    Cell::text(held.reason),
                ]
            };
            Ok((held.into_iter().map(cells).collect(), next))
        }
    })
}

/// `GET /admin/usage/generations.{ending}`
pub(super) async fn generations(portal: Data<Portal>, _: Admin, format: Format) -> HttpResponse {
    const KEYS: &[&str] =
        &["id", "started_at", "finished_at", "email", "model", "via", "prompt_tokens", "completion_tokens", "finish_reason"];
    format.streamed("generations", KEYS, move |before: Option<GenerationId>| {
        let portal = portal.clone();
        async move {
            let mut db = portal.db.acquire().await?;
            let made = playground::recent(&mut db, before, FILE_ROWS).await?;
            let people = accounts::find_accounts(&mut db, &made.iter().map(|made| made.account).collect::<Vec<_>>()).await?;
            let models = catalog::find_models(&mut db, &made.iter().map(|made| made.model).collect::<Vec<_>>()).await?;
            let next = behind(&made, FILE_ROWS, |last| last.id);
            let cells = |made: playground::Generated| {
                vec![
                    Cell::text(made.id),
                    Cell::at(made.started_at),
                    Cell::at(made.finished_at),
                    Cell::maybe(person(&people, made.account).map(|person| &person.email)),
                    Cell::maybe(model(&models, made.model)),
                    Cell::text(made.source),
                    Cell::Count(made.prompt_tokens.into()),
                    Cell::Count(made.completion_tokens.into()),
                    Cell::maybe(made.finish_reason),
                ]
            };
            Ok((made.into_iter().map(cells).collect(), next))
        }
    })
}

/// `GET /admin/models.{ending}`
pub(super) async fn models(portal: Data<Portal>, _: Admin, format: Format) -> Result<HttpResponse, Error> {
    let mut db = portal.db.acquire().await?;
    let models = catalog::list_all_models(&mut db, ROWS_MAX).await?;
    let on_offer = catalog::main_releases(&mut db, &models.iter().map(|model| model.id).collect::<Vec<_>>()).await?;
    let cells = |model: &Model| {
        let offered = if on_offer.contains_key(&model.id) { "yes" } else { "no" };
        vec![
            Cell::text(model.id),
            Cell::text(model.full_name()),
            Cell::text(model.gate.as_str()),
            Cell::text(offered),
            Cell::at(model.created_at),
        ]
    };
    let rows: Vec<_> = models.iter().map(cells).collect();
    Ok(format.whole("models", &["id", "model", "gate", "on_offer", "created_at"], &rows))
}

/// `GET /admin/models/{id}.{ending}`: the drafts and releases of a model.
pub(super) async fn releases(portal: Data<Portal>, _: Admin, format: Format, id: Path<(ModelId, String)>) -> Result<HttpResponse, Error> {
    let mut db = portal.db.acquire().await?;
    let model = catalog::find_model_by_id(&mut db, id.0).await?;
    let cells = |mut row: ReleaseRow| {
        row.names.sort();
        vec![
            Cell::text(row.id),
            Cell::text(row.revision),
            Cell::text(row.names.join(" ")),
            Cell::text(row.state.as_str()),
            Cell::at(row.since),
            Cell::at(row.yanked_at),
            Cell::maybe(row.yanked.map(|(_, reason)| reason)),
            Cell::text(row.notes),
        ]
    };
    let rows: Vec<_> = releases::rows(&mut db, model.id).await?.into_iter().map(cells).collect();
    let keys = ["id", "revision", "names", "state", "since", "yanked_at", "yank_reason", "notes"];
    Ok(format.whole(&format!("releases-of-{}", model.name), &keys, &rows))
}

/// `GET /admin/jobs.{ending}`
pub(super) async fn jobs(portal: Data<Portal>, _: Admin, format: Format) -> HttpResponse {
    let ms = |length: std::time::Duration| Cell::Count(i64::try_from(length.as_millis()).unwrap_or(i64::MAX));
    let count = |count: u64| Cell::Count(i64::try_from(count).unwrap_or(i64::MAX));
    let cells = |job: Job| {
        let state = job.state();
        let (fault_at, fault) = job.last_fault.unzip();
        vec![
            Cell::text(job.name),
            Cell::text(state.as_str()),
            Cell::at(job.last_at),
            ms(job.last_took),
            ms(job.every),
            count(job.runs),
            count(job.failures),
            Cell::at(fault_at),
            Cell::maybe(fault),
        ]
    };
    let rows: Vec<_> = portal.jobs.all().into_iter().map(cells).collect();
    let keys = ["job", "state", "ended_at", "took_ms", "rests_ms", "runs", "failures", "failed_at", "fault"];
    format.whole("jobs", &keys, &rows)
}

/// `GET /admin/store/faulty.{ending}`: objects that are not what they were.
pub(super) async fn faulty(portal: Data<Portal>, _: Admin, format: Format) -> Result<HttpResponse, Error> {
    let faulty = catalog::faulty(&mut *portal.db.acquire().await?, ROWS_MAX).await?;
    let cells = |object: catalog::Faulty| {
        vec![Cell::text(object.sha256), Cell::text(object.fault), Cell::at(object.checked_at), Cell::Parts(json!(object.files))]
    };
    let rows: Vec<_> = faulty.into_iter().map(cells).collect();
    Ok(format.whole("faulty", &["sha256", "fault", "seen_at", "files"], &rows))
}

/// `GET /admin/store/rounds.{ending}`: how often the store was read back, and what was found.
pub(super) async fn rounds(portal: Data<Portal>, _: Admin, format: Format) -> Result<HttpResponse, Error> {
    let rounds = catalog::rounds(&mut *portal.db.acquire().await?, ROWS_MAX).await?;
    let cells = |round: catalog::Round| {
        vec![
            Cell::text(round.id),
            Cell::at(round.started_at),
            Cell::at(round.last_at),
            Cell::at(round.finished_at),
            Cell::Count(round.objects),
            Cell::Count(round.bytes),
            Cell::Count(round.faults),
        ]
    };
    let rows: Vec<_> = rounds.into_iter().map(cells).collect();
    Ok(format.whole("rounds", &["id", "started_at", "last_at", "finished_at", "objects", "bytes", "faults"], &rows))
}

fn person(people: &[Account], id: AccountId) -> Option<&Account> {
    people.iter().find(|person| person.id == id)
}

fn model(models: &[Model], id: ModelId) -> Option<String> {
    models.iter().find(|model| model.id == id).map(Model::full_name)
}
