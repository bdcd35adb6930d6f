//! Mails: written in the transaction of the change they tell of, sent by a worker. Nothing is sent from inside a request.

mod client;
mod messages;
mod outbox;
mod worker;

pub use client::{Delivery, Mailer};
pub use messages::Message;
pub use outbox::{Mail, counts, enqueue, find, hold, page, retry, take_back};
pub use worker::send_next;
