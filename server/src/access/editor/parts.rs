//! The pages of a section, a question or a clause, and the steps up, down and out.

use actix_web::HttpResponse;
use actix_web::web::{Data, Path, Query};
use askama::Template;
use serde::Deserialize;
use sqlx::PgConnection;

use super::super::form::{Field, Kind, Layout};
use super::super::forms;
use super::super::store;
use super::draft;
use super::edit::{self, Part, Way};
use super::overview::{base, refused};
use super::typed::Typed;
use super::words;
use crate::accounts::Admin;
use crate::catalog::{self, Model};
use crate::error::{Error, FieldError};
use crate::http::page::{page, page_with_faults};
use crate::http::{Form, Frame, filters, see_other};
use crate::ids::ModelId;
use crate::portal::Portal;

#[derive(Template)]
#[template(path = "admin/form_part.html")]
struct PartPage {
    frame: Frame,
    model: Model,
    base: String,
    action: String,
    part: Part,
    /// What it is called now; nothing for a new one.
    was: Option<String>,
    typed: Typed,
    sections: Vec<(String, String)>,
    /// What a condition can be on: its name, and what it can be.
    causes: Vec<(String, String)>,
    kinds: &'static [(&'static str, &'static str)],
    /// Why it was not saved, when somebody else came first.
    conflict: Option<String>,
    /// Nothing can be saved until somebody begins a draft.
    is_without_draft: bool,
    faults: Vec<FieldError>,
}

#[derive(Deserialize)]
pub(super) struct Into {
    section: Option<String>,
}

/// `GET /admin/models/{id}/form/new/{part}`
pub(super) async fn fresh(
    portal: Data<Portal>,
    frame: Frame,
    _: Admin,
    path: Path<(ModelId, String)>,
    into: Query<Into>,
) -> Result<HttpResponse, Error> {
    let part = Part::parse(&path.1)?;
    let mut db = portal.db.acquire().await?;
    let draft = match draft::existing(&mut db, path.0).await {
        Ok(draft) => draft,
        Err(cause) => {
            drop(db);
            return refused(&portal, frame, path.0, "", cause).await;
        }
    };
    let typed = match part {
        Part::Section => Typed::default(),
        Part::Question => {
            let last = draft.layout.sections.last().map(|section| section.id.clone());
            Typed::new_question(&into.section.clone().or(last).unwrap_or_default())
        }
        Part::Clause => Typed::new_clause(),
    };
    let typed = Typed { edition: draft.edition, ..typed };
    page(&part_page(&mut db, frame, path.0, part, None, &draft.layout, typed).await?)
}

/// `GET /admin/models/{id}/form/{part}/{name}`
pub(super) async fn part(
    portal: Data<Portal>,
    frame: Frame,
    _: Admin,
    path: Path<(ModelId, String, String)>,
) -> Result<HttpResponse, Error> {
    let (model, part, name) = path.into_inner();
    let part = Part::parse(&part)?;
    let mut db = portal.db.acquire().await?;
    let draft = match draft::existing(&mut db, model).await {
        Ok(draft) => draft,
        Err(cause) => {
            drop(db);
            return refused(&portal, frame, model, "", cause).await;
        }
    };
    let typed = Typed { edition: draft.edition, ..typed_of(&draft.layout, part, &name)? };
    page(&part_page(&mut db, frame, model, part, Some(name), &draft.layout, typed).await?)
}

fn typed_of(layout: &Layout, part: Part, name: &str) -> Result<Typed, Error> {
    Ok(match part {
        Part::Section => Typed::of_section(&layout.sections[edit::find_section(layout, name)?]),
        Part::Clause => Typed::of_clause(&layout.clauses[edit::find_clause(layout, name)?]),
        Part::Question => {
            let (s, f) = edit::find_question(layout, name)?;
            Typed::of_question(&layout.sections[s].id, &layout.sections[s].fields[f])
        }
    })
}

async fn part_page(
    db: &mut PgConnection,
    frame: Frame,
    model: ModelId,
    part: Part,
    was: Option<String>,
    layout: &Layout,
    typed: Typed,
) -> Result<PartPage, Error> {
    let base = base(model);
    Ok(PartPage {
        frame,
        model: catalog::find_model_by_id(db, model).await?,
        action: was.as_ref().map_or(format!("{base}/new/{}", part.as_str()), |name| format!("{base}/{}/{name}", part.as_str())),
        base,
        part,
        sections: layout.sections.iter().map(|section| (section.id.clone(), section.title.clone())).collect(),
        causes: layout.fields().filter(|field| Some(&field.name) != was.as_ref()).flat_map(causes).collect(),
        kinds: words::KINDS,
        typed,
        was,
        conflict: None,
        is_without_draft: false,
        faults: vec![],
    })
}

/// What a condition on this question can be on.
fn causes(field: &Field) -> Vec<(String, String)> {
    match &field.kind {
        Kind::Choice { of } => {
            let values: Vec<&str> = of.iter().map(|listed| listed.value.as_str()).collect();
            vec![(field.name.clone(), format!("{}: {}", field.label, values.join(", ")))]
        }
        Kind::Country => vec![(field.name.clone(), format!("{}: two letters such as IT", field.label))],
        Kind::Ticks { of } => {
            of.iter().map(|listed| (field.box_name(&listed.value), format!("{}, {}: on", field.label, listed.label))).collect()
        }
        Kind::Line { .. } | Kind::Text { .. } | Kind::Email | Kind::Url | Kind::Orcid | Kind::Months => vec![],
    }
}

/// `POST /admin/models/{id}/form/new/{part}`
pub(super) async fn add(
    portal: Data<Portal>,
    frame: Frame,
    by: Admin,
    path: Path<(ModelId, String)>,
    Form(typed): Form<Typed>,
) -> Result<HttpResponse, Error> {
    let part = Part::parse(&path.1)?;
    put(&portal, frame, &by, path.0, part, None, typed).await
}

/// `POST /admin/models/{id}/form/{part}/{name}`
pub(super) async fn save(
    portal: Data<Portal>,
    frame: Frame,
    by: Admin,
    path: Path<(ModelId, String, String)>,
    Form(typed): Form<Typed>,
) -> Result<HttpResponse, Error> {
    let (model, part, name) = path.into_inner();
    let part = Part::parse(&part)?;
    put(&portal, frame, &by, model, part, Some(name), typed).await
}

/// Saves a part. What cannot be saved comes back as it was typed; after somebody else's change with the edition of now, so that whoever
/// has looked at the draft can save again. What somebody else removed would be added; where there is no draft any more, one is begun first.
async fn put(
    portal: &Portal,
    frame: Frame,
    by: &Admin,
    model: ModelId,
    part: Part,
    was: Option<String>,
    typed: Typed,
) -> Result<HttpResponse, Error> {
    let (conflict, faults) = match try_put(portal, by, model, part, was.as_deref(), &typed).await {
        Ok(anchor) => return Ok(see_other(&format!("{}#{anchor}", base(model)), Some("Saved in the draft."))),
        Err(Error::Invalid(faults)) => (None, faults),
        Err(Error::Conflict(why) | Error::Stale(why)) => (Some(why.to_string()), vec![]),
        Err(other) => return Err(other),
    };
    let mut db = portal.db.acquire().await?;
    let draft = store::find_form_draft(&mut db, model).await?;
    let is_without_draft = draft.is_none();
    let (layout, edition) = match draft {
        Some(draft) => (draft.layout, draft.edition),
        None => (forms::current(&mut db, model).await?.layout().clone(), typed.edition),
    };
    let (was, conflict) = match (was, conflict) {
        (Some(name), Some(why)) if typed_of(&layout, part, &name).is_err() => {
            (None, Some(format!("{why}; the {} {name} is no longer in it, and would be added", part.word())))
        }
        kept => kept,
    };
    let again = part_page(&mut db, frame, model, part, was, &layout, Typed { edition, ..typed }).await?;
    page_with_faults(&PartPage { conflict, is_without_draft, faults, ..again })
}

async fn try_put(portal: &Portal, by: &Admin, model: ModelId, part: Part, was: Option<&str>, typed: &Typed) -> Result<String, Error> {
    match part {
        Part::Section => {
            let section = typed.section();
            let anchor = format!("section-{}", section.id);
            draft::change(portal, by, model, typed.edition, |layout| edit::put_section(layout, was, section)).await?;
            Ok(anchor)
        }
        Part::Question => {
            let field = typed.question()?;
            let anchor = format!("question-{}", field.name);
            draft::change(portal, by, model, typed.edition, |layout| edit::put_question(layout, was, &typed.section, field)).await?;
            Ok(anchor)
        }
        Part::Clause => {
            let clause = typed.clause()?;
            let anchor = format!("clause-{}", clause.id);
            draft::change(portal, by, model, typed.edition, |layout| edit::put_clause(layout, was, clause)).await?;
            Ok(anchor)
        }
    }
}

#[derive(Deserialize)]
pub(super) struct Step {
    edition: i64,
    way: String,
}

/// `POST /admin/models/{id}/form/{part}/{name}/move`
pub(super) async fn shift(
    portal: Data<Portal>,
    frame: Frame,
    by: Admin,
    path: Path<(ModelId, String, String)>,
    Form(step): Form<Step>,
) -> Result<HttpResponse, Error> {
    let (model, part, name) = path.into_inner();
    let part = Part::parse(&part)?;
    let way = match step.way.as_str() {
        "up" => Way::Up,
        "down" => Way::Down,
        _ => return Err(FieldError::new("way", "is up or down").into()),
    };
    let place = format!("{}-{name}", part.word());
    match draft::change(&portal, &by, model, step.edition, |layout| edit::shift(layout, part, &name, way)).await {
        Ok(()) => Ok(see_other(&format!("{}#{place}", base(model)), None)),
        Err(cause) => refused(&portal, frame, model, &place, cause).await,
    }
}

#[derive(Deserialize)]
pub(super) struct Removal {
    edition: i64,
}

/// `POST /admin/models/{id}/form/{part}/{name}/remove`
pub(super) async fn remove(
    portal: Data<Portal>,
    frame: Frame,
    by: Admin,
    path: Path<(ModelId, String, String)>,
    Form(sent): Form<Removal>,
) -> Result<HttpResponse, Error> {
    let (model, part, name) = path.into_inner();
    let part = Part::parse(&part)?;
    match draft::change(&portal, &by, model, sent.edition, |layout| edit::remove(layout, part, &name)).await {
        Ok(()) => {
            let told = format!("The {} {name} was removed from the draft. Published versions keep it.", part.word());
            Ok(see_other(&base(model), Some(&told)))
        }
        Err(cause) => refused(&portal, frame, model, &format!("{}-{name}", part.word()), cause).await,
    }
}
