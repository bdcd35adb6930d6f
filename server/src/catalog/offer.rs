//! Putting a stored release on offer: the model takes its gate, licence and summary, `main` and a tag point at it, and the record says so.
//! What is published in one go and what was a draft first both come through here, in the transaction of the caller, who holds
//! `lock_publication`.

use sqlx::PgConnection;

use super::check::LicenceText;
use super::model::{Gate, Licence, MAIN, Model};
use super::{card, store};
use crate::audit::{self, Event};
use crate::clock::Timestamp;
use crate::error::Error;
use crate::ids::{AccountId, ReleaseId};
use crate::integrity::sha256_hex;

/// How a release is offered.
#[derive(Debug, Clone, Copy, Default)]
pub struct Terms<'a> {
    /// Who may have the model. Not said: as it is.
    pub gate: Option<Gate>,
    /// A tag for the release (see [`super::parse_tag`]).
    pub tag: Option<&'a str>,
}

/// What a model takes from the texts of its newest release.
#[derive(Debug)]
pub(super) struct Face {
    licence: Option<Licence>,
    summary: String,
}

impl Face {
    pub(super) fn of(card: Option<&str>, licence: Option<&LicenceText>) -> Self {
        let licence =
            licence.map(|text| Licence { sha256: sha256_hex(text.body.as_bytes()), name: text.name.clone(), body: text.body.clone() });
        Self { licence, summary: card.map(card::summary).unwrap_or_default() }
    }
}

/// Makes `release` what people get who ask for none by name; says what the model is now, and whether the release was not on offer before.
pub(super) async fn put_on_offer(
    tx: &mut PgConnection,
    now: Timestamp,
    by: Option<AccountId>,
    before: Model,
    (release, revision): (ReleaseId, &str),
    (terms, face): (&Terms<'_>, Face),
) -> Result<(Model, bool), Error> {
    if let Some(licence) = &face.licence {
        store::insert_licence(tx, licence, now).await?;
    }
    let was_on_offer = store::main_of(tx, before.id).await?.is_some();
    let gate_before = before.gate;
    let licence_sha256 = face.licence.map(|licence| licence.sha256);
    let created_at = if was_on_offer { before.created_at } else { now };
    let model = Model { gate: terms.gate.unwrap_or(gate_before), licence_sha256, summary: face.summary, created_at, ..before };
    store::save_model(tx, &model).await?;
    if !was_on_offer {
        let event = Event::ModelOffered { model: model.id, name: model.full_name(), gate: model.gate.as_str() };
        audit::record(tx, now, by, &event).await?;
    } else if model.gate != gate_before {
        audit::record(tx, now, by, &Event::GateChanged { model: model.id, gate: model.gate.as_str() }).await?;
    }
    let is_new = store::set_published(tx, release, now, by).await?;
    if is_new {
        audit::record(tx, now, by, &Event::ReleasePublished { model: model.id, revision: revision.to_owned() }).await?;
    }
    name(tx, now, by, &model, (release, revision), terms.tag).await?;
    Ok((model, is_new))
}

/// Points `main` at the release, and the tag if one was asked for. Tags do not move: people cite them.
async fn name(
    tx: &mut PgConnection,
    now: Timestamp,
    by: Option<AccountId>,
    model: &Model,
    (release, revision): (ReleaseId, &str),
    tag: Option<&str>,
) -> Result<(), Error> {
    let names = store::names(tx, model.id).await?;
    let points_at = |name: &str| names.iter().find(|known| known.name == name).map(|known| known.revision.as_str());
    let moved = |name: &str, from: Option<&str>| Event::ReleaseNamed {
        model: model.id,
        name: name.to_owned(),
        from: from.map(str::to_owned),
        to: revision.to_owned(),
    };
    let before = points_at(MAIN);
    if before != Some(revision) {
        store::point(tx, model.id, MAIN, false, release, now).await?;
        audit::record(tx, now, by, &moved(MAIN, before)).await?;
    }
    let Some(tag) = tag else { return Ok(()) };
    match points_at(tag) {
        None => {
            store::point(tx, model.id, tag, true, release, now).await?;
            audit::record(tx, now, by, &moved(tag, None)).await
        }
        Some(known) if known == revision => Ok(()),
        Some(known) => {
            Err(Error::Conflict(format!("the tag {tag} stands for {known} already, and tags do not move; choose another").into()))
        }
    }
}
