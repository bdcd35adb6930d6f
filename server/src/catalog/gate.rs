//! Changing who may have a model.

use super::model::Gate;
use super::store;
use crate::accounts::Admin;
use crate::audit::{self, Event};
use crate::error::Error;
use crate::ids::ModelId;
use crate::portal::Portal;

/// Opens or closes a model. From the next request on the new gate holds: grants stay as they are, and count again when it closes.
/// Says whether that was a change.
pub async fn change_gate(portal: &Portal, by: &Admin, id: ModelId, gate: Gate) -> Result<bool, Error> {
    let mut tx = portal.db.begin().await?;
    store::find_model_by_id(&mut tx, id).await?;
    let changed = store::set_gate(&mut tx, id, gate).await?;
    if changed {
        audit::record(&mut tx, portal.clock.now(), Some(by.0.id), &Event::GateChanged { model: id, gate: gate.as_str() }).await?;
    }
    tx.commit().await?;
    Ok(changed)
}
