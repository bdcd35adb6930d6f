//! Stories through the real server, and the rules of the house.
#![allow(clippy::unwrap_used, reason = "in tests a failure is a panic")]

mod accounts;
mod cluster;
mod download;
mod house;
mod playground;
mod publish;
mod serve;
