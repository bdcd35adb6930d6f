//! The admin's lists as files, streamed: people, grants, models, generations. A page of rows is fetched when the reader has taken the one
//! before.

use actix_web::HttpResponse;
use actix_web::web::{Data, Path};
use sqlx::PgConnection;

use crate::access;
use crate::accounts::{self, Account, Admin};
use crate::catalog::{self, Model};
use crate::clock::Timestamp;
use crate::error::Error;
use crate::http::csv::moment;
use crate::http::table::{Cell, Column, Format, head, line};
use crate::ids::{AccountId, GenerationId, GrantId, ModelId};
use crate::playground;
use crate::portal::Portal;

/// Rows fetched at once.
const PAGE_ROWS: i64 = 1_000;
/// Models written.
const MODELS_MAX: i64 = 100_000;

/// One of the lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum List {
    People,
    Grants,
    Models,
    Generations,
}

/// Behind which row the next page begins.
#[derive(Debug, Clone, Copy)]
enum Place {
    Person(AccountId),
    Grant(GrantId),
    Generation(GenerationId),
}

/// `GET /admin/people.{ending}`
pub(super) async fn people(portal: Data<Portal>, _: Admin, ending: Path<String>) -> Result<HttpResponse, Error> {
    List::People.file(portal, &ending)
}

/// `GET /admin/grants.{ending}`
pub(super) async fn grants(portal: Data<Portal>, _: Admin, ending: Path<String>) -> Result<HttpResponse, Error> {
    List::Grants.file(portal, &ending)
}

/// `GET /admin/models.{ending}`
pub(super) async fn models(portal: Data<Portal>, _: Admin, ending: Path<String>) -> Result<HttpResponse, Error> {
    List::Models.file(portal, &ending)
}

/// `GET /admin/usage/generations.{ending}`
pub(super) async fn generations(portal: Data<Portal>, _: Admin, ending: Path<String>) -> Result<HttpResponse, Error> {
    List::Generations.file(portal, &ending)
}

impl List {
    fn name(self) -> &'static str {
        match self {
            List::People => "people",
            List::Grants => "grants",
            List::Models => "models",
            List::Generations => "generations",
        }
    }

    fn columns(self) -> Vec<Column> {
        let keys: &[&'static str] = match self {
            List::People => &["id", "name", "email", "role", "created_at", "verified_at", "closed_at"],
            List::Grants => &["id", "name", "email", "model", "granted_at", "expires_at", "application", "reason"],
            List::Models => &["id", "model", "gate", "on_offer", "created_at"],
            List::Generations => {
                &["id", "started_at", "finished_at", "email", "model", "via", "prompt_tokens", "completion_tokens", "finish_reason"]
            }
        };
        keys.iter().map(|key| Column { key, label: key }).collect()
    }

    fn file(self, portal: Data<Portal>, ending: &str) -> Result<HttpResponse, Error> {
        let name = format!("{}.{ending}", self.name());
        let (_, format) = Format::of(&name).ok_or(Error::NotFound("file"))?;
        let first = match format {
            Format::Csv => head(&self.columns()),
            Format::JsonLines => String::new(),
        };
        let file = format.streamed(self.name(), first, None, move |after| {
            let portal = portal.clone();
            async move {
                let (rows, next) = self.page(&portal, after).await?;
                let columns = self.columns();
                Ok((rows.iter().map(|row| line(format, &columns, row)).collect(), next.map(Some)))
            }
        });
        Ok(file)
    }

    /// The rows behind `after`, and where the next begin, if there may be some.
    async fn page(self, portal: &Portal, after: Option<Place>) -> Result<(Vec<Vec<Cell>>, Option<Place>), Error> {
        let mut db = portal.db.acquire().await?;
        match (self, after) {
            (List::People, Some(Place::Person(before))) => people_rows(&mut db, Some(before)).await,
            (List::People, _) => people_rows(&mut db, None).await,
            (List::Grants, Some(Place::Grant(before))) => grant_rows(&mut db, portal.clock.now(), Some(before)).await,
            (List::Grants, _) => grant_rows(&mut db, portal.clock.now(), None).await,
            (List::Generations, Some(Place::Generation(before))) => generation_rows(&mut db, Some(before)).await,
            (List::Generations, _) => generation_rows(&mut db, None).await,
            (List::Models, _) => Ok((model_rows(&mut db).await?, None)),
        }
    }
}

type Rows = (Vec<Vec<Cell>>, Option<Place>);

async fn people_rows(db: &mut PgConnection, before: Option<AccountId>) -> Result<Rows, Error> {
    let people = accounts::list_accounts(db, "", before, PAGE_ROWS).await?;
    let next = people.last().filter(|_| is_full(people.len())).map(|last| Place::Person(last.id));
    let rows = people.into_iter().map(|person| {
        vec![
            text(person.id),
            text(&person.name),
            text(&person.email),
            text(person.role.as_str()),
            at(Some(person.created_at)),
            at(person.email_verified_at),
            at(person.disabled_at),
        ]
    });
    Ok((rows.collect(), next))
}

async fn grant_rows(db: &mut PgConnection, now: Timestamp, before: Option<GrantId>) -> Result<Rows, Error> {
    let held = access::grants_in_force(db, now, before, PAGE_ROWS).await?;
    let next = held.last().filter(|_| is_full(held.len())).map(|last| Place::Grant(last.grant.id));
    let people = accounts::find_accounts(db, &held.iter().map(|held| held.account).collect::<Vec<_>>()).await?;
    let models = catalog::find_models(db, &held.iter().map(|held| held.model).collect::<Vec<_>>()).await?;
    let rows = held.into_iter().map(|held| {
        let person = person(&people, held.account);
        vec![
            text(held.grant.id),
            person.map_or(Cell::Nothing, |person| text(&person.name)),
            person.map_or(Cell::Nothing, |person| text(&person.email)),
            model(&models, held.model),
            at(Some(held.grant.granted_at)),
            at(Some(held.grant.expires_at)),
            held.application.map_or(Cell::Nothing, text),
            text(&held.reason),
        ]
    });
    Ok((rows.collect(), next))
}

async fn generation_rows(db: &mut PgConnection, before: Option<GenerationId>) -> Result<Rows, Error> {
    let made = playground::recent(db, before, PAGE_ROWS).await?;
    let next = made.last().filter(|_| is_full(made.len())).map(|last| Place::Generation(last.id));
    let people = accounts::find_accounts(db, &made.iter().map(|made| made.account).collect::<Vec<_>>()).await?;
    let models = catalog::find_models(db, &made.iter().map(|made| made.model).collect::<Vec<_>>()).await?;
    let rows = made.into_iter().map(|made| {
        vec![
            text(made.id),
            at(Some(made.started_at)),
            at(made.finished_at),
            person(&people, made.account).map_or(Cell::Nothing, |person| text(&person.email)),
            model(&models, made.model),
            text(&made.source),
            Cell::Count(made.prompt_tokens.into()),
            Cell::Count(made.completion_tokens.into()),
            made.finish_reason.as_deref().map_or(Cell::Nothing, text),
        ]
    });
    Ok((rows.collect(), next))
}

async fn model_rows(db: &mut PgConnection) -> Result<Vec<Vec<Cell>>, Error> {
    let models = catalog::list_all_models(db, MODELS_MAX).await?;
    let on_offer = catalog::main_releases(db, &models.iter().map(|model| model.id).collect::<Vec<_>>()).await?;
    let rows = models.into_iter().map(|model| {
        let offered = if on_offer.contains_key(&model.id) { "yes" } else { "no" };
        vec![text(model.id), text(model.full_name()), text(model.gate.as_str()), text(offered), at(Some(model.created_at))]
    });
    Ok(rows.collect())
}

fn is_full(rows: usize) -> bool {
    rows as i64 == PAGE_ROWS
}

fn text(words: impl std::fmt::Display) -> Cell {
    Cell::Text(words.to_string())
}

fn at(moment_of: Option<Timestamp>) -> Cell {
    moment_of.map_or(Cell::Nothing, |at| Cell::Text(moment(at)))
}

fn person(people: &[Account], id: AccountId) -> Option<&Account> {
    people.iter().find(|person| person.id == id)
}

fn model(models: &[Model], id: ModelId) -> Cell {
    models.iter().find(|model| model.id == id).map_or(Cell::Nothing, |model| text(model.full_name()))
}
