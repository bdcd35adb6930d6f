//! What is kept and what leaves: weights, mails, keys.

use url::Url;

use super::Finding;
use crate::clock::Clock;
use crate::config::{Config, ObjectsConfig};
use crate::error::Error;
use crate::integrity::Keyring;
use crate::mail::Mailer;
use crate::storage::{Objects, Problem};

/// An object goes in, is read, and goes.
pub(super) async fn objects(config: &Config) -> Finding {
    let part = "object store";
    let tried = match Objects::open(config) {
        Ok(objects) => objects.try_out().await,
        Err(cause) => Err(Problem::Disk(cause)),
    };
    let Err(problem) = tried else {
        return Finding::right(part, format!("{}: an object was written, read and removed", config.objects));
    };
    let folder = match &config.objects {
        ObjectsConfig::Folder(folder) => folder.display().to_string(),
        ObjectsConfig::S3(_) => config.data_dir.display().to_string(),
    };
    let advice = match &problem {
        Problem::Disk(_) => {
            format!("make {folder} writable for this user and see that its disk has room, or name another place in SLUICE_OBJECTS")
        }
        Problem::Refused(_) => "give this key the right to list, read, write and delete in the bucket, or use another".to_owned(),
        Problem::Clock(_) => "set this machine's clock, or the store's: `timedatectl` tells whether it follows a time server".to_owned(),
        Problem::NoBucket(_) => "make the bucket, or name another in SLUICE_OBJECTS".to_owned(),
        Problem::Unreachable(_) => "start the store, or correct AWS_ENDPOINT_URL and AWS_REGION".to_owned(),
        Problem::Missing(_) | Problem::Spoilt(_) | Problem::Other(_) => {
            "look into the log of the store: it does not keep what it is given".to_owned()
        }
    };
    Finding::failed(part, format!("{}: {problem}", config.objects), advice)
}

/// Connects and signs in; sends nothing.
pub(super) async fn mail(config: &Config) -> Finding {
    let (part, folder) = ("mail", config.data_dir.join("mail"));
    let mailer = match Mailer::new(&config.mail, config.url_of(""), &folder) {
        Ok(mailer) => mailer,
        Err(Error::Internal(fault)) => {
            return Finding::failed(part, fault.to_string(), "correct SLUICE_SMTP_CA, or make its file readable");
        }
        Err(fault) => return Finding::failed(part, fault.to_string(), format!("make {} writable for this user", folder.display())),
    };
    let Some(url) = &config.mail.smtp_url else {
        return Finding::note(
            part,
            format!("no mail server: mails are kept as files in {} and shown at /admin/mail", folder.display()),
            "set SLUICE_SMTP_URL and SLUICE_MAIL_FROM before people depend on mails",
        );
    };
    // The address carries a password; host and port do not.
    let url = Url::parse(url.reveal()).ok();
    let host = url.as_ref().and_then(Url::host_str).unwrap_or("the server");
    let port = url.as_ref().and_then(Url::port).map_or_else(String::new, |port| format!(", port {port}"));
    match mailer.try_out().await {
        Ok(()) => Finding::right(part, format!("{host}{port} takes mails from us; none was sent")),
        Err(fault) => Finding::failed(
            part,
            format!("{host}{port} cannot be used: {fault}"),
            "start it, or correct SLUICE_SMTP_URL (host, port, user, password, ?tls=…); mails wait in the outbox meanwhile",
        ),
    }
}

/// Whether releases can be signed.
pub(super) fn keys(config: &Config) -> Finding {
    let (part, folder) = ("keys", config.data_dir.join("keys"));
    if !folder.exists() {
        return Finding::note(
            part,
            format!("there are none yet in {}", folder.display()),
            "nothing now: the first start makes one, and then it belongs in the backup",
        );
    }
    let listed = Keyring::open(&folder, Clock::System.now()).and_then(|keyring| keyring.list());
    match listed {
        Ok(list) => {
            let before = list.len().saturating_sub(1);
            let id = list.first().map_or("", |key| key.id.get(..16).unwrap_or(&key.id));
            Finding::right(part, format!("{id}… signs, readable by this user alone; {before} before it are listed"))
        }
        Err(fault) => Finding::failed(
            part,
            fault.to_string(),
            format!("restore {} from a backup, or give it back to this user alone (chmod 600)", folder.display()),
        ),
    }
}
