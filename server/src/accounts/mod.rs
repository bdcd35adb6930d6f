//! Who somebody is: accounts, sign-up and sign-in, sessions, access tokens.
//! Never decides who may have which model; that is `access`.

mod account;
mod api;
mod browser;
mod device;
mod erase;
mod guess;
mod mail_choice;
mod notice;
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
    account_row, any_admin, browser_rows, count as count_accounts, device_rows, erased_since, find as find_account,
    find_all as find_accounts, find_by_email, forget_ways_in, link_rows, list as list_accounts, lock_account, lock_admins,
    never_entered_admin, reviewers, session_rows, set_disabled, set_role, token_ids, token_rows,
};
pub use token::{Scope, TOKEN_DAYS_DEFAULT, Token, TokenHolder, make_token};

/// Tells owners whose tokens end soon, and removes sessions, links, codes and browsers that have ended.
pub async fn sweep(portal: &crate::portal::Portal) -> Result<(), crate::error::Error> {
    while notice::tell(portal).await? {}
    let now = portal.clock.now();
    let mut db = portal.db.acquire().await?;
    store::sweep_browsers(&mut db, now - browser::KNOWN_LIFE).await?;
    store::sweep(&mut db, now, now - session::SESSION_IDLE).await
}
