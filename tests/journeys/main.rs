//! Stories through the real server, and the rules of the house.
#![allow(clippy::unwrap_used, reason = "in tests a failure is a panic")]

mod access_rules;
mod accounts;
mod admin;
mod application_life;
mod apply_and_review;
mod cluster;
mod delivery;
mod device;
mod download;
mod drafts;
mod gated;
mod generate;
mod grants;
mod house;
mod hub_requests;
mod killed;
mod metrics;
mod models;
mod objects;
mod one_question;
mod outbox;
mod playground;
mod policy;
mod proofs;
mod publish;
mod publish_killed;
mod pull;
mod quota;
mod ready;
mod record;
mod serve;
mod smtp;
mod store_health;
mod who_may;
mod yank;
