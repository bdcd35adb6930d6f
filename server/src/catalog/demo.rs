//! The demo models: on the first start there is something to apply for, to download and to try.

use std::sync::Arc;

use super::meter::Meter;
use super::model::Gate;
use super::offer::Terms;
use super::publish::{Order, Outcome, publish};
use super::store;
use crate::error::Error;
use crate::portal::Portal;
use crate::storage::StagedFolder;

macro_rules! demo_files {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_bytes!(concat!("../../../deploy/demo/opt-verse-6m/", $name)))),*]
    };
}

/// What both have in common. In the binary, because it has to work far from the source.
const FILES: &[(&str, &[u8])] = demo_files![
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "training.json",
    "valid.txt",
];

/// One demo model.
struct Demo {
    name: &'static str,
    gate: Gate,
    card: &'static str,
    licence: &'static str,
}

const DEMOS: &[Demo] = &[
    Demo {
        name: "sluice/opt-verse-6m",
        gate: Gate::Open,
        card: include_str!("../../../deploy/demo/opt-verse-6m/README.md"),
        licence: include_str!("../../../deploy/demo/opt-verse-6m/LICENSE.md"),
    },
    Demo {
        name: "sluice/opt-verse-6m-gated",
        gate: Gate::Application,
        card: include_str!("../../../deploy/demo/opt-verse-6m-gated/README.md"),
        licence: include_str!("../../../deploy/demo/licence-sample.md"),
    },
];

/// Publishes those demo models that are missing, unless something else is on offer: then this is a portal in use, and no place
/// for demonstrations. Says which. Interrupted between the two, the next start publishes the other.
pub async fn publish_if_empty(portal: &Portal) -> Result<Vec<&'static str>, Error> {
    let names: Vec<String> = DEMOS.iter().map(|demo| demo.name.to_owned()).collect();
    let present = store::only_these_models(&mut *portal.db.acquire().await?, &names).await?;
    let Some(present) = present else { return Ok(vec![]) };
    let missing: Vec<&Demo> = DEMOS.iter().filter(|demo| !present.iter().any(|name| name == demo.name)).collect();
    for demo in &missing {
        let folder = unpack(portal, demo)?;
        let name = demo.name.parse()?;
        let terms = Terms { gate: Some(demo.gate), tag: None };
        let order = Order { dir: folder.path(), name: &name, terms: Some(terms), notes: "", by: None };
        match publish(portal, &order, &Arc::new(Meter::default())).await? {
            Outcome::Published(_) => {}
            Outcome::Unfit(faults) => {
                let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
                return Err(Error::internal(format!("the demo model {} is not fit: {}", demo.name, faults.join("; "))));
            }
        }
    }
    Ok(missing.iter().map(|demo| demo.name).collect())
}

fn unpack(portal: &Portal, demo: &Demo) -> Result<StagedFolder, Error> {
    let folder = portal.objects.staging().stage_folder()?;
    for (name, bytes) in FILES {
        std::fs::write(folder.path().join(name), bytes)?;
    }
    std::fs::write(folder.path().join("README.md"), demo.card)?;
    std::fs::write(folder.path().join("LICENSE.md"), demo.licence)?;
    Ok(folder)
}
