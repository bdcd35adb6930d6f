//! Hands one mail to the SMTP server, or keeps it as `.eml`.

use std::path::{Path, PathBuf};

use lettre::message::Mailbox;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::transport::smtp::response::{Category, Severity};
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};

use super::outbox::Mail;
use crate::config::MailConfig;
use crate::data_dir;
use crate::error::Error;

/// The way mails leave.
#[derive(Clone)]
pub struct Mailer {
    from: Mailbox,
    delivery: Delivery,
}

/// Where mails go.
#[derive(Clone)]
pub enum Delivery {
    /// To a mail server.
    Smtp(AsyncSmtpTransport<Tokio1Executor>),
    /// Into a folder, one `.eml` each, readable in the admin's outbox.
    Folder(PathBuf),
}

/// Why a mail could not be sent, for the outbox page.
#[derive(Debug)]
pub(super) struct Failure {
    /// What the server said.
    pub(super) text: String,
    /// The mail itself is refused (55x), so that another try would be refused alike. A refused password (53x) is not of this kind:
    /// with the setting mended, the mail can go.
    pub(super) lasting: bool,
}

impl Failure {
    fn lasting(text: impl Into<String>) -> Self {
        Self { text: text.into(), lasting: true }
    }
}

impl From<lettre::transport::smtp::Error> for Failure {
    fn from(error: lettre::transport::smtp::Error) -> Self {
        let refused = |code: lettre::transport::smtp::response::Code| {
            code.severity == Severity::PermanentNegativeCompletion && code.category == Category::MailSystem
        };
        Self { lasting: error.status().is_some_and(refused), text: error.to_string() }
    }
}

impl Mailer {
    /// As configured; without a server, mails are kept in `folder`.
    pub fn new(config: &MailConfig, folder: &Path) -> Result<Self, Error> {
        let from = config.from.parse().map_err(Error::internal)?;
        let delivery = match &config.smtp_url {
            Some(url) => {
                let builder = AsyncSmtpTransport::<Tokio1Executor>::from_url(url).map_err(Error::internal)?;
                Delivery::Smtp(builder.timeout(Some(std::time::Duration::from_secs(30))).build())
            }
            None => {
                data_dir::make_private(folder)?;
                Delivery::Folder(folder.to_owned())
            }
        };
        Ok(Self { from, delivery })
    }

    /// Whether mails stay here, to be read in the admin's outbox.
    pub fn keeps_mails(&self) -> bool {
        matches!(self.delivery, Delivery::Folder(_))
    }

    /// Sends one mail.
    pub(super) async fn send(&self, mail: &Mail) -> Result<(), Failure> {
        let message = self.message(mail)?;
        match &self.delivery {
            Delivery::Smtp(transport) => Ok(transport.send(message).await.map(drop)?),
            Delivery::Folder(folder) => {
                let path = folder.join(format!("{}.eml", mail.id));
                let written = write_private(&path, &message.formatted()).await;
                written.map_err(|cause| Failure { text: format!("{}: {cause}", path.display()), lasting: false })
            }
        }
    }

    fn message(&self, mail: &Mail) -> Result<lettre::Message, Failure> {
        let body = mail.body.clone().ok_or_else(|| Failure::lasting("its text is gone: it was sent before"))?;
        let unusable = |cause| Failure::lasting(format!("the address {:?} cannot be used: {cause}", mail.recipient));
        lettre::Message::builder()
            .from(self.from.clone())
            .to(mail.recipient.parse().map_err(unusable)?)
            .subject(&mail.subject)
            .message_id(Some(format!("<{}@{}>", mail.id, self.from.email.domain())))
            .raw_header(HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".into()))
            .header(ContentType::TEXT_PLAIN)
            .body(body)
            .map_err(|cause| Failure::lasting(cause.to_string()))
    }
}

/// Writes a file that this user alone may read: a mail may carry a one-time link.
async fn write_private(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let options: tokio::fs::OpenOptions = data_dir::private_file().into();
    let mut file = options.clone().write(true).truncate(true).open(path).await?;
    tokio::io::AsyncWriteExt::write_all(&mut file, content).await?;
    tokio::io::AsyncWriteExt::flush(&mut file).await
}
