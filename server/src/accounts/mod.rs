//! Who somebody is: accounts, sign-up and sign-in, sessions, access tokens.
//! Never decides who may have which model; that is `access`.

mod account;

mod secret;
mod session;

mod store;
mod token;

pub use account::{Account, Email, Password, Role};
pub use session::{Admin, Reviewer, SignedIn, Via, Visitor, identify};
pub use store::{any_admin, find as find_account, find_by_email, list as list_accounts, reviewers, set_role, sweep};
pub use token::{Scope, Token, make_token};
