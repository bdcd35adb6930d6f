//! What the database keeps of accounts, sessions, tokens, one-time links and programs that wait to be signed in: one file for each.

mod account;
mod browser;
mod device;
mod erase;
mod export;
mod link;
mod session;
mod token;

pub use account::{
    any_admin, count, find, find_all, find_by_email, list, lock_admins, never_entered_admin, reviewers, set_disabled, set_role,
};
pub(super) use account::{insert_account, password_hash, set_name, set_password_hash, set_verified};
pub(super) use browser::{forget_browsers, keep_browsers, knows_browser, meet_browser, sweep_browsers};
pub(super) use device::{
    decide, end_device_sign_ins, insert_device_sign_in, lock_device_sign_in, note_poll, use_device_sign_in, waiting_with_code,
};
pub(super) use erase::set_erased;
pub use erase::{erased_since, forget_ways_in, lock_account, token_ids};
pub use export::{account_row, browser_rows, device_rows, link_rows, session_rows, token_rows};
pub(super) use link::{end_links, insert_link, peek_link, use_link};
pub(super) use session::{
    Session, end_other_sessions, end_session, find_by_session, insert_session, session_lives, sessions, sweep, touch_session,
};
pub(super) use token::{
    claim_token_notices, find_by_token, insert_token, live_tokens, lock_by_secret, lock_parent, lock_token, lock_tokens, revoke_all_tokens,
    revoke_leaked, revoke_token, token_works, tokens, touch_token,
};
