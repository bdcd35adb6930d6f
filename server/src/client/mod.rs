//! What `sluice pull`, `verify` and `login` do on somebody else's machine, where there is no portal, no database and no engine.
//! Never sees Portal; never trusts the network, a mirror, the clock or the disk: only signatures, and digests that were signed.

mod backoff;
mod endpoint;
mod fault;
mod fetch;
mod folder;
mod glob;
mod hash;
mod journal;
mod keys;
mod lanes;
mod login;
mod manifest;
mod meter;
mod names;
mod plan;
mod proof;
mod pull;
mod release;
mod signed;
mod source;
mod verify;
mod wire;

pub use endpoint::{Endpoint, ModelRef};
pub use fault::Fault;
pub use folder::{InTheWay, What};
pub use login::{Fate, Invitation, kept_endpoint, kept_token, login, logout};
pub use meter::Meter;
pub use pull::{Order, Pulled, pull};
pub use signed::{is_of_others, verify_by_what_lies_there, verify_signed};
pub use verify::{Differing, Findings, verify};
