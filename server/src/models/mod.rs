//! The models' own pages: the list, each model's card, files, licence and releases, how to fetch it and how to verify it, and whether a
//! machine can run it.
//!
//! A room of its own, above `access`, because a model's page is as much about the reader's standing as about the model, and
//! `catalog` may not know who may have what. It only reads: nothing is changed from here.

mod api;
mod howto;
mod memory;
mod pages;
mod proof;
mod routes;
mod standing;

pub use api::Operations;
pub use routes::configure;
