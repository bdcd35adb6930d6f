//! Mails: written in the transaction of the change they tell of, sent by a worker. Nothing is sent from inside a request.
//! Every mail has one template, of text; its HTML follows from that. What somebody has chosen not to get is never written.

mod again;
mod bounce;
mod client;
mod filters;
mod html;
mod letter;
mod messages;
mod outbox;
mod retention;
mod store;
mod topic;
mod worker;

pub use again::{send_again, why_not_again};
pub use bounce::{REPORT_BYTES_MAX, Returned, take_returned};
pub use client::{Delivery, Mailer, Trouble};
pub use messages::{GrantedBy, Message, TokenMaker, Waiting};
pub use outbox::{enqueue, enqueue_all, hold, let_go, take_back};
pub use retention::{WORDS_LIFE, forget_words};
pub use store::{
    Counts, Filter, Mail, State, begin_digest, choice_rows, counts, find, forget, paces, page, readers_without_digest, retry_all, rows_to,
    set_pace, unreachable,
};
pub use topic::{Pace, Topic};
pub use worker::{SENDERS, empty, send_next};
