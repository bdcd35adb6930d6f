//! From a prompt to tokens: the playground's page and the OpenAI interface, both by `complete`.
//! Never decides who may use a model (that is `access`), and keeps counts, never texts.

mod code;
mod complete;
mod fault;
mod form;
mod leave;
mod openai;
mod prompt;
mod quota;
mod routes;
mod store;
mod trial;
mod usable;

pub use complete::checkpoint;
pub use fault::Fault;
pub use prompt::Settings;
pub use routes::configure;
pub use store::{Generated, Volume, close_interrupted, recent, rows_of, volumes};
