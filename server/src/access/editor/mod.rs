//! The form editor of an admin: a draft that is changed in small steps, looked at, compared with what is asked now, and published.
//! Every page works without script; every change says which edition of the draft it was made on.

pub(super) mod api;
mod compare;
mod draft;
mod edit;
mod json;
mod overview;
mod parts;
mod publish;
mod routes;
mod typed;
mod view;
mod words;

pub(super) use routes::configure;
