//! Who somebody is: accounts, sign-up and sign-in, sessions, access tokens.
//! Never decides who may have which model; that is `access`.

mod account;
mod api;
mod device;
mod erase;
mod program;
mod routes;
mod secret;
mod session;
mod sign_in;
mod signup;
mod store;
mod token;

pub use account::{Account, Email, Password, Role};
pub use api::{Operations, Person};
pub use erase::{confirm_password, erase_account};
pub use program::{AdministeringProgram, ApplyingProgram, Program, ReviewingProgram};
pub use routes::configure;
pub use session::{Admin, Reviewer, SignedIn, Unasked, Via, Visitor, identify, look_again};
pub use signup::{SIGN_IN_LINK_HOURS, add_account, sign_in_link};
pub use store::{
    account_row, any_admin, count as count_accounts, device_rows, erased_since, find as find_account, find_all as find_accounts,
    find_by_email, forget_ways_in, link_rows, list as list_accounts, lock_account, lock_admins, never_entered_admin, reviewers,
    session_rows, set_disabled, set_role, token_ids, token_rows,
};
pub use token::{Scope, TOKEN_DAYS_DEFAULT, Token, TokenHolder, make_token};

/// Removes sessions, links and codes that have ended.
pub async fn sweep(portal: &crate::portal::Portal) -> Result<(), crate::error::Error> {
    let now = portal.clock.now();
    store::sweep(&mut *portal.db.acquire().await?, now, now - session::SESSION_IDLE).await
}
