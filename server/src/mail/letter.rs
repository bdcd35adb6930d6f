//! One mail as it travels: headers, text and HTML. The same mail is composed the same way at every try, so that a mail server, and a
//! person who got it twice, can tell that it is one.

use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart, SinglePart};

use super::html::html;
use super::store::Mail;
use super::topic::Topic;

/// Where the preferences are.
const PREFERENCES: &str = "/account/mail";

/// Who writes, and from where.
#[derive(Clone)]
pub(super) struct Sender {
    pub(super) from: Mailbox,
    /// The portal's public address, without a path.
    pub(super) home: String,
}

impl Sender {
    /// The mail for the wire. Errors, in words: an address that is none, a text that is gone.
    pub(super) fn compose(&self, mail: &Mail) -> Result<lettre::Message, String> {
        let text = mail.body.as_deref().ok_or("its text is gone: it was sent before")?;
        let unusable = |cause| format!("the address {:?} cannot be used: {cause}", mail.recipient);
        let preferences = format!("{}{PREFERENCES}", self.home);
        let mut footer = format!("Sent by the portal at {}\n", self.home);
        let mut message = lettre::Message::builder()
            .from(self.from.clone())
            .to(mail.recipient.parse().map_err(unusable)?)
            .subject(&mail.subject)
            .date(mail.created_at.into())
            .message_id(Some(format!("<{}@{}>", mail.id, self.from.email.domain())))
            .raw_header(header("Auto-Submitted", "auto-generated".into()));
        if Topic::of(&mail.kind).is_some() {
            footer.push_str(&format!("Choose which mails you get: {preferences}\n"));
            message = message.raw_header(header("List-Unsubscribe", format!("<{preferences}>")));
        }
        let parts = MultiPart::alternative()
            .boundary(format!("part_of_{}", mail.id))
            // "-- " is what mail programs take for the beginning of what is not the letter itself.
            .singlepart(SinglePart::plain(format!("{}\n\n-- \n{footer}", text.trim_end())))
            .singlepart(SinglePart::html(html(&mail.subject, text, &footer, &self.home)));
        message.multipart(parts).map_err(|cause| cause.to_string())
    }
}

fn header(name: &'static str, value: String) -> HeaderValue {
    HeaderValue::new(HeaderName::new_from_ascii_str(name), value)
}
