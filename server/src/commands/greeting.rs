//! What `sluice serve` says once it is ready: where it is, what it has brought along, what to do next, how to end it.

use inference::DeviceChoice;

use super::result;
use crate::accounts::SIGN_IN_LINK_HOURS;
use crate::catalog::human_bytes;
use crate::config::Config;

/// The account of the first start; its holder changes nothing but the password, or makes others with `sluice user add`.
pub(super) const FIRST_ADMIN: &str = "admin@localhost";

/// What differs from one start to the next.
pub(super) struct Greeting {
    /// The database in use, in a few words.
    pub(super) database: String,
    /// Whether mails are kept as files, for want of a mail server.
    pub(super) mails_kept: bool,
    /// The demo models published at this start.
    pub(super) demos: Vec<&'static str>,
    /// For as long as no admin has signed in: the link of this start.
    pub(super) admin_link: Option<String>,
    /// Applications that nobody has decided on.
    pub(super) waiting: i64,
}

/// Says it on stdout.
pub(super) fn greet(config: &Config, greeting: &Greeting) {
    lines(config, greeting).iter().for_each(|line| result(line));
}

/// The card that models go to, if there is one and nobody has asked for the CPU.
fn engine(config: &Config) -> String {
    let cards = inference::cards();
    match cards.all().iter().find(|card| card.is_able() && config.engine.device != DeviceChoice::Cpu) {
        Some(card) if config.engine.device == DeviceChoice::Cuda => format!("  engine    OPT on {}", card.name),
        Some(card) => format!("  engine    OPT on {}, and on this machine's CPU what the card cannot hold", card.name),
        None => format!("  engine    OPT on this machine's CPU, up to {} of memory for models", human_bytes(config.engine.memory_bytes)),
    }
}

fn lines(config: &Config, greeting: &Greeting) -> Vec<String> {
    let url = |path| config.url_of(path);
    let mut lines = vec![format!("Sluice is ready at {}", url("/")), String::new()];
    lines.push(format!("  database  {}", greeting.database));
    lines.push(format!("  weights   {}", config.objects));
    lines.push(engine(config));
    lines.push(match greeting.mails_kept {
        true => format!("  mail      not sent but kept: read it at {}, or set SLUICE_SMTP_URL", url("/admin/mail")),
        false => "  mail      sent by the server of SLUICE_SMTP_URL".into(),
    });
    if !greeting.demos.is_empty() {
        lines.push(format!("  demo      published just now: {}", greeting.demos.join(", ")));
    }
    lines.extend([String::new(), "What to do next".into(), String::new()]);
    match &greeting.admin_link {
        Some(link) => lines.extend([
            format!("  Sign in as {FIRST_ADMIN} with this link. It works once, within {SIGN_IN_LINK_HOURS} hours, and is the only one that does:"),
            "  a link of an earlier start no longer works, and the next start prints a new one until somebody has come in.".into(),
            String::new(),
            format!("    {link}"),
            String::new(),
        ]),
        None => lines.extend([
            format!("  Sign in at {}", url("/sign-in")),
            "  An admin who has lost the password gets a new way in from: sluice user link EMAIL".into(),
        ]),
    }
    if greeting.waiting > 0 {
        let (count, verb) = if greeting.waiting == 1 { ("application", "waits") } else { ("applications", "wait") };
        lines.push(format!("  {} {count} {verb} for a decision at {}", greeting.waiting, url("/review")));
    }
    lines.push(format!("  Try a model at {}", url("/playground")));
    lines.push("  Publish your own with: sluice publish DIR ORG/NAME".into());
    lines.extend([String::new(), "Stop with Ctrl-C.".into()]);
    lines
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
    use super::*;

    fn said(greeting: &Greeting) -> String {
        let config = Config::from_lookup(|name| (name == "SLUICE_PUBLIC_URL").then(|| "https://weights.example.org".to_owned())).unwrap();
        lines(&config, greeting).join("\n")
    }

    #[test]
    fn a_later_start_says_where_to_go_on() {
        let later = Greeting { database: "a private PostgreSQL".into(), mails_kept: false, demos: vec![], admin_link: None, waiting: 2 };
        let said = said(&later);
        for needed in
            ["https://weights.example.org/sign-in", "sluice user link EMAIL", "2 applications wait", "/review", "Stop with Ctrl-C."]
        {
            assert!(said.contains(needed), "{needed}: {said}");
        }
        assert!(!said.contains("demo"), "{said}");
    }

    #[test]
    fn no_line_is_too_long_for_a_terminal() {
        let link = "https://weights.example.org/sign-in/link?key=k".to_owned();
        let first = Greeting { database: "a".into(), mails_kept: true, demos: vec!["a/b"], admin_link: Some(link), waiting: 1 };
        let said = said(&first);
        assert!(said.contains("1 application waits"), "{said}");
        assert!(said.lines().all(|line| line.chars().count() <= 120), "{said}");
    }
}
