//! Hands one mail to the SMTP server, or keeps it as `.eml`.

use std::path::{Path, PathBuf};

use lettre::message::Mailbox;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
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

    /// Sends one mail. The error is for the outbox page: it says what the server said.
    pub(super) async fn send(&self, mail: &Mail) -> Result<(), String> {
        let body = mail.body.clone().ok_or("its text is gone: it was sent before")?;
        let message = lettre::Message::builder()
            .from(self.from.clone())
            .to(mail.recipient.parse().map_err(|cause| format!("the address {:?} cannot be used: {cause}", mail.recipient))?)
            .subject(&mail.subject)
            .message_id(Some(format!("<{}@{}>", mail.id, self.from.email.domain())))
            .raw_header(HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".into()))
            .header(ContentType::TEXT_PLAIN)
            .body(body)
            .map_err(|cause| cause.to_string())?;
        match &self.delivery {
            Delivery::Smtp(transport) => transport.send(message).await.map(drop).map_err(|cause| cause.to_string()),
            Delivery::Folder(folder) => {
                let path = folder.join(format!("{}.eml", mail.id));
                write_private(&path, &message.formatted()).await.map_err(|cause| format!("{}: {cause}", path.display()))
            }
        }
    }
}

/// Writes a file that this user alone may read: a mail may carry a one-time link.
async fn write_private(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let options: tokio::fs::OpenOptions = data_dir::private_file().into();
    let mut file = options.clone().write(true).truncate(true).open(path).await?;
    tokio::io::AsyncWriteExt::write_all(&mut file, content).await?;
    tokio::io::AsyncWriteExt::flush(&mut file).await
}
