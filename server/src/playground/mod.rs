//! From a prompt to tokens: the playground's page and the OpenAI interface, both by `complete`.
//! Never decides who may use a model (that is `access`), and keeps counts, never texts.

mod complete;
mod fault;
mod openai;
mod prompt;
mod quota;
mod store;
mod usable;

pub use store::{Generated, close_interrupted, recent};
/// x
pub fn configure(cfg: &mut actix_web::web::ServiceConfig) { openai::configure(cfg); }
