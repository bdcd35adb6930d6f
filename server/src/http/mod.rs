//! Tools for talking HTTP: pages, problems, forms, files of our own. Knows no capability; who is looking comes as plain values.

pub mod allowance;
pub mod api;
pub mod assets;
pub mod compress;
pub mod csrf;
pub mod csv;
pub mod filters;
pub mod limits;
pub mod oauth;
pub mod page;
pub mod places;
pub mod plot;
pub mod presence;
pub mod problem;
pub mod search;
pub mod signed_out;
pub mod sse;
pub mod table;
pub mod unseen;
pub mod when;
pub mod wire;

pub use csrf::Form;
pub use page::{Frame, Viewer, see_other};
