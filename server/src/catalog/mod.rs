//! What is offered: models, their immutable releases, and how a folder of weights becomes one.
//! Never decides who may have it; that is `access`.

mod model;
mod store;

pub use model::{Gate, Model, Release, ReleaseFile, ReleaseName};
pub use store::{file, files, find_model, find_model_by_id, list_models, names, release, resolve};
