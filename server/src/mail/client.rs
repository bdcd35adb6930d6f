//! Hands one mail to the SMTP server, or keeps it as `.eml`; remembers what is wrong with the server.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::transport::smtp::response::{Category, Severity};
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use url::Url;

use super::letter::Sender;
use super::store::Mail;
use crate::clock::Timestamp;
use crate::config::MailConfig;
use crate::data_dir;
use crate::error::Error;
use crate::ids::MailId;

/// How long one try may take on the whole, from the connection to the server's receipt. `lettre` bounds the connection alone, so that a
/// server that falls silent later would hold a worker for ever. Less than a claim lasts (`outbox::CLAIM`), or another worker would send
/// the same mail.
pub(super) const TRY_MAX: std::time::Duration = std::time::Duration::from_secs(90);
const CONNECT_MAX: std::time::Duration = std::time::Duration::from_secs(20);
/// How long a server that cannot be used is left alone: a try in a while finds out whether it is back, and thousands would find out no more.
const REST: time::Duration = time::Duration::seconds(15);

/// The way mails leave.
#[derive(Clone)]
pub struct Mailer {
    sender: Sender,
    delivery: Delivery,
    trouble: Arc<Mutex<Option<Trouble>>>,
}

/// Where mails go.
#[derive(Clone)]
pub enum Delivery {
    /// To a mail server.
    Smtp(AsyncSmtpTransport<Tokio1Executor>),
    /// Into a folder, one `.eml` each, readable in the admin's outbox.
    Folder(PathBuf),
}

/// What is wrong with the mail server, as the last try found.
#[derive(Debug, Clone)]
pub struct Trouble {
    /// What it said, or did not.
    pub text: String,
    /// When it was first found so.
    pub since: Timestamp,
    rests_until: Timestamp,
}

/// Why a mail could not be sent, for the outbox page.
#[derive(Debug)]
pub(super) struct Failure {
    /// What the server said.
    pub(super) text: String,
    pub(super) kind: FailureKind,
}

/// Whose fault it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FailureKind {
    /// The mail is refused, and would be again.
    Refused,
    /// The mail is not taken now.
    NotNow,
    /// The server cannot be used, whatever the mail: it is not there, its certificate is not known, the password is wrong.
    Away,
}

impl Failure {
    fn refused(text: impl Into<String>) -> Self {
        Self { text: text.into(), kind: FailureKind::Refused }
    }

    /// What an error of the transport means for a mail. 5xx refuses the mail, but 53x refuses us; 421 is a server that goes away.
    fn of(error: &lettre::transport::smtp::Error, mail: &Mail) -> Self {
        let kind = match error.status() {
            Some(code) if code.category == Category::Unspecified3 || code.category == Category::Connections => FailureKind::Away,
            Some(code) if code.severity == Severity::PermanentNegativeCompletion => FailureKind::Refused,
            Some(_) => FailureKind::NotNow,
            // It has no SMTPUTF8.
            None if error.is_client() && !mail.recipient.is_ascii() => FailureKind::Refused,
            None => FailureKind::Away,
        };
        Self { text: told(error), kind }
    }
}

/// An error and what it comes from, each once.
fn told(error: &lettre::transport::smtp::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        let told = next.to_string();
        if !text.contains(&told) {
            text = format!("{text}: {told}");
        }
        cause = next.source();
    }
    text
}

impl Mailer {
    /// As configured; without a server, mails are kept in `folder`. `home`: the portal's public address without a path.
    pub fn new(config: &MailConfig, home: String, folder: &Path) -> Result<Self, Error> {
        let from = config.from.parse().map_err(Error::internal)?;
        let delivery = match &config.smtp_url {
            Some(url) => Delivery::Smtp(transport(url.reveal(), config.smtp_ca.as_deref())?),
            None => {
                data_dir::make_private(folder)?;
                Delivery::Folder(folder.to_owned())
            }
        };
        Ok(Self { sender: Sender { from, home }, delivery, trouble: Arc::default() })
    }

    /// Whether mails stay here, to be read in the admin's outbox.
    pub fn keeps_mails(&self) -> bool {
        matches!(self.delivery, Delivery::Folder(_))
    }

    /// Whether the server can be used now: it answers, and takes our password if we have one. Nothing is sent. Else, what it said.
    pub async fn try_out(&self) -> Result<(), String> {
        let Delivery::Smtp(transport) = &self.delivery else { return Ok(()) };
        match tokio::time::timeout(CONNECT_MAX, transport.test_connection()).await {
            Ok(Ok(true)) => Ok(()),
            Ok(Ok(false)) => Err("it greets, and then does not answer".into()),
            Ok(Err(error)) => Err(told(&error)),
            Err(_) => Err(format!("no answer in {} s", CONNECT_MAX.as_secs())),
        }
    }

    /// What is wrong with the server, while something is.
    pub fn trouble(&self) -> Option<Trouble> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether the server is left alone for now.
    pub(super) fn rests(&self, now: Timestamp) -> bool {
        self.trouble().is_some_and(|trouble| now < trouble.rests_until)
    }

    /// Removes what lies on disk of these mails. What cannot be removed is told to the log, for whoever runs the portal.
    pub async fn forget(&self, mails: &[MailId]) {
        let Delivery::Folder(folder) = &self.delivery else { return };
        for mail in mails {
            let path = folder.join(format!("{mail}.eml"));
            match tokio::fs::remove_file(&path).await {
                Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => {
                    tracing::error!(path = %path.display(), error = %cause, "a mail that is not to be kept any more is still there; remove it");
                }
                Ok(()) | Err(_) => {}
            }
        }
    }

    /// Sends one mail.
    pub(super) async fn send(&self, mail: &Mail, now: Timestamp) -> Result<(), Failure> {
        let message = self.sender.compose(mail).map_err(Failure::refused)?;
        let sent = match &self.delivery {
            Delivery::Smtp(transport) => match tokio::time::timeout(TRY_MAX, transport.send(message)).await {
                Ok(sent) => sent.map(drop).map_err(|error| Failure::of(&error, mail)),
                Err(_) => Err(Failure { text: format!("no answer in {} s", TRY_MAX.as_secs()), kind: FailureKind::Away }),
            },
            Delivery::Folder(folder) => {
                let path = folder.join(format!("{}.eml", mail.id));
                let written = write_private(&path, &message.formatted()).await;
                written.map_err(|cause| Failure { text: format!("{}: {cause}", path.display()), kind: FailureKind::Away })
            }
        };
        self.note(&sent, now);
        sent
    }

    fn note(&self, sent: &Result<(), Failure>, now: Timestamp) {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        *trouble = match sent {
            Err(Failure { text, kind: FailureKind::Away }) => {
                let since = trouble.as_ref().map_or(now, |trouble| trouble.since);
                Some(Trouble { text: text.clone(), since, rests_until: now + REST })
            }
            Ok(()) | Err(Failure { kind: FailureKind::Refused | FailureKind::NotNow, .. }) => None,
        };
    }
}

/// The connection pool. With a `ca`, its certificates are believed besides the machine's own.
fn transport(url: &str, ca: Option<&Path>) -> Result<AsyncSmtpTransport<Tokio1Executor>, Error> {
    let mut builder = AsyncSmtpTransport::<Tokio1Executor>::from_url(url).map_err(Error::internal)?.timeout(Some(CONNECT_MAX));
    if let Some(path) = ca {
        let url = Url::parse(url).map_err(Error::internal)?;
        let wanted = url.query_pairs().find(|(key, _)| key == "tls").map(|(_, value)| value.into_owned());
        let parameters = TlsParameters::builder(url.host_str().unwrap_or_default().to_owned())
            .add_root_certificate(certificates(path)?)
            .build_rustls()
            .map_err(Error::internal)?;
        builder = match (url.scheme(), wanted.as_deref()) {
            ("smtps", _) => builder.tls(Tls::Wrapper(parameters)),
            (_, Some("required")) => builder.tls(Tls::Required(parameters)),
            (_, Some("opportunistic")) => builder.tls(Tls::Opportunistic(parameters)),
            _ => builder,
        };
    }
    Ok(builder.build())
}

fn certificates(path: &Path) -> Result<Certificate, Error> {
    let unusable = |cause: &str| Error::internal(format!("SLUICE_SMTP_CA: {}: {cause}", path.display()));
    let pem = std::fs::read(path).map_err(|cause| unusable(&cause.to_string()))?;
    if !String::from_utf8_lossy(&pem).contains("-----BEGIN CERTIFICATE-----") {
        return Err(unusable("holds no certificate in PEM"));
    }
    Certificate::from_pem(&pem).map_err(|cause| unusable(&cause.to_string()))
}

/// Writes a file that this user alone may read: a mail may carry a one-time link.
async fn write_private(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let options: tokio::fs::OpenOptions = data_dir::private_file().into();
    let mut file = options.clone().write(true).truncate(true).open(path).await?;
    tokio::io::AsyncWriteExt::write_all(&mut file, content).await?;
    tokio::io::AsyncWriteExt::flush(&mut file).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_try_ends_before_its_claim_does() {
        assert!(TRY_MAX + std::time::Duration::from_secs(10) < super::super::outbox::CLAIM.unsigned_abs());
    }
}
