//! Sluice: the portal through which a lab releases model weights responsibly.
//!
//! The rooms, from the ground up; a room imports only from rooms below it (`tests/journeys/house.rs` holds that):
//! ground (`error`, `ids`, `clock`, `config`) → tools (`http`, `audit`, `mail`, `storage`, `postgres`) → `portal`
//! (beside it `client`, for the other end of the line) → `accounts` → `catalog` → `access` → `downloads`, `playground`, `models`, `record` → `privacy` → `admin` → `serve`, `routes`, `openapi`, `metrics`, `workers`, `commands`.

pub mod access;
pub mod accounts;
pub mod admin;
pub mod audit;
pub mod catalog;
pub mod client;
pub mod clock;
pub mod commands;
pub mod config;
pub mod data_dir;
pub mod database;
pub mod downloads;
pub mod error;
pub mod http;
pub mod ids;
pub mod integrity;
pub mod jobs;
pub mod mail;
mod metrics;
pub mod models;
pub mod openapi;
pub mod playground;
pub mod portal;
pub mod postgres;
pub mod privacy;
pub mod record;
pub mod routes;
pub mod serve;
pub mod storage;
pub mod workers;

pub use database::MIGRATOR;
