//! How mails leave: `SLUICE_SMTP_URL` and what belongs to it.

use std::path::PathBuf;

use lettre::message::Mailbox;
use lettre::{AsyncSmtpTransport, Tokio1Executor};
use url::{Host, Url};

use super::{Fault, Secret, parsed};

/// How mails leave.
#[derive(Clone, Debug)]
pub struct MailConfig {
    /// `SLUICE_SMTP_URL`: `smtp://`, `smtps://` with user and password; unset, mails are kept as `.eml` files.
    pub smtp_url: Option<Secret>,
    /// `SLUICE_SMTP_CA`: certificates that are believed for it besides the machine's own.
    pub smtp_ca: Option<PathBuf>,
    /// `SLUICE_MAIL_FROM`: the sender.
    pub from: String,
    /// `SLUICE_MAIL_DIGEST_HOUR`: the hour, UTC, from which on a working day's digests are sent.
    pub digest_hour: u8,
}

/// Reads the settings and notes every fault. Addresses of mail servers carry passwords, so none is repeated.
pub(super) fn read(faults: &mut Vec<Fault>, get: &dyn Fn(&'static str) -> Option<String>) -> MailConfig {
    let smtp_url = get("SLUICE_SMTP_URL");
    if let Some(problem) = smtp_url.as_deref().and_then(problem_of) {
        faults.push(Fault { variable: "SLUICE_SMTP_URL", problem: problem.into(), example: "smtps://user:password@mail.example.org" });
    }
    let from = parsed(faults, "SLUICE_MAIL_FROM", get("SLUICE_MAIL_FROM"), "Sluice <sluice@localhost>", |raw| {
        raw.parse::<Mailbox>().map(|_| raw.to_owned()).map_err(|_| "not a sender's address".into())
    });
    let digest_hour = parsed(faults, "SLUICE_MAIL_DIGEST_HOUR", get("SLUICE_MAIL_DIGEST_HOUR"), "6", |raw| {
        raw.trim().parse().ok().filter(|hour| *hour < 24).ok_or_else(|| "not an hour of the day, 0 to 23".into())
    });
    MailConfig { smtp_url: smtp_url.map(Secret::new), smtp_ca: get("SLUICE_SMTP_CA").map(PathBuf::from), from, digest_hour }
}

/// Why this is no address of a mail server.
fn problem_of(raw: &str) -> Option<&'static str> {
    let Some(url) = Url::parse(raw).ok().filter(|url| matches!(url.scheme(), "smtp" | "smtps")) else {
        return Some("not an smtp:// or smtps:// URL");
    };
    if AsyncSmtpTransport::<Tokio1Executor>::from_url(raw).is_err() {
        return Some("not understood: after the host and the port comes nothing, or ?tls=required, or ?tls=opportunistic");
    }
    let is_secured = url.scheme() == "smtps" || url.query_pairs().any(|(key, _)| key == "tls");
    let is_here = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        // The parser of other schemes than the web's takes addresses for names.
        None => false,
    };
    let is_here =
        is_here || url.host_str().is_some_and(|host| host.parse::<std::net::Ipv4Addr>().is_ok_and(|address| address.is_loopback()));
    let sends_password_openly = url.password().is_some() && !is_secured && !is_here;
    sends_password_openly
        .then_some("with it the password would go over the network for everybody to read; add ?tls=required, or use smtps://")
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;

    fn with(name: &'static str, value: &'static str) -> Result<Config, Vec<Fault>> {
        Config::from_lookup(move |variable| (variable == name).then(|| value.to_owned()))
    }

    #[test]
    fn a_mail_server_is_named_with_its_security() {
        for right in [
            "smtps://user:secret@mail.example.org",
            "smtp://user:secret@mail.example.org:587?tls=required",
            "smtp://user:secret@mail.example.org?tls=opportunistic",
            "smtp://mail.example.org:25",
            "smtp://user:secret@localhost:2525",
            "smtp://user:secret@127.0.0.1:2525",
        ] {
            let config = with("SLUICE_SMTP_URL", right).unwrap_or_else(|faults| panic!("{right}: {faults:?}"));
            assert!(!format!("{config:?}").contains("secret@"), "passwords are not printed");
        }
        for wrong in [
            "mail.example.org",
            "http://mail.example.org",
            "smtp://user:secret@mail.example.org",
            "smtp://mail.example.org?tls=maybe",
            "smtps://",
        ] {
            let faults = with("SLUICE_SMTP_URL", wrong).expect_err(wrong);
            assert_eq!(faults.iter().map(|fault| fault.variable).collect::<Vec<_>>(), ["SLUICE_SMTP_URL"], "{wrong}");
            assert!(!faults[0].to_string().contains("secret"), "{}", faults[0]);
        }
    }

    #[test]
    fn the_digest_s_hour_is_one_of_the_day() {
        assert_eq!(with("SLUICE_MAIL_DIGEST_HOUR", "23").expect("an hour").mail.digest_hour, 23);
        for wrong in ["24", "-1", "six"] {
            assert_eq!(with("SLUICE_MAIL_DIGEST_HOUR", wrong).expect_err(wrong)[0].variable, "SLUICE_MAIL_DIGEST_HOUR");
        }
    }
}
