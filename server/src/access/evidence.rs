//! What is known about who applies, in chips: what a reviewer would look up first.

use super::answers::Answers;
use super::state_view::Badge;
use crate::accounts::Account;

/// Providers at which anybody gets an address: it says nothing about where somebody works.
const FREE_MAIL: &[&str] = &[
    "gmail.com",
    "googlemail.com",
    "outlook.com",
    "hotmail.com",
    "live.com",
    "yahoo.com",
    "icloud.com",
    "me.com",
    "aol.com",
    "gmx.de",
    "gmx.net",
    "web.de",
    "mail.ru",
    "yandex.ru",
    "qq.com",
    "163.com",
    "126.com",
    "proton.me",
    "protonmail.com",
    "zoho.com",
    "tutanota.com",
];

/// What is known of an application beside its answers and its applicant's account.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Known {
    /// How many others the same person has sent before it.
    pub(super) earlier: i64,
    /// Whether they are blocked from what they apply for.
    pub(super) is_blocked: bool,
    /// Whether the newest mail to them came back, or was given up.
    pub(super) is_unreachable: bool,
    /// Whether it is open, and the last word to each other is a comment of theirs.
    pub(super) is_unanswered: bool,
}

/// Whose address it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Domain {
    /// Of a university or a public body, by the name alone.
    Institution,
    /// At a provider that gives one to anybody.
    FreeMail,
    /// Of anybody else.
    Other,
}

/// What the domain of an address says. Names under `edu`, `gov`, `mil` and `ac.*`, `edu.*`, `gov.*` are given to institutions alone.
pub(super) fn domain(email: &str) -> Domain {
    let domain = email.rsplit_once('@').map_or("", |(_, domain)| domain);
    if FREE_MAIL.contains(&domain) {
        return Domain::FreeMail;
    }
    let mut labels = domain.rsplit('.');
    let (last, before) = (labels.next().unwrap_or_default(), labels.next().unwrap_or_default());
    let is_given = |label: &str| matches!(label, "edu" | "gov" | "mil" | "int");
    let is_second = last.len() == 2 && (matches!(before, "ac") || is_given(before)) && labels.next().is_some();
    if is_given(last) || is_second { Domain::Institution } else { Domain::Other }
}

/// The chips of one application: what asks for something first.
pub(super) fn chips(account: Option<&Account>, answers: &Answers, known: &Known) -> Vec<Badge> {
    let mut chips = Vec::new();
    let mut chip = |word: String, class| chips.push(Badge { word: word.into(), class });
    if known.is_blocked {
        chip("Blocked".into(), "bad");
    }
    if known.is_unreachable {
        chip("Mail does not arrive".into(), "bad");
    }
    if known.is_unanswered {
        chip("Unanswered comment".into(), "warn");
    }
    match account {
        Some(account) => {
            match account.email_verified_at {
                Some(_) => chip("Address verified".into(), "ok"),
                None => chip("Address not verified".into(), "warn"),
            }
            match domain(account.email.as_str()) {
                Domain::Institution => chip("Institutional address".into(), "ok"),
                Domain::FreeMail => chip("Free-mail address".into(), "warn"),
                Domain::Other => {}
            }
            if account.disabled_at.is_some() {
                chip("Account closed".into(), "bad");
            }
        }
        None => chip("Account removed".into(), "bad"),
    }
    if !answers.get("orcid").is_empty() {
        chip("ORCID given".into(), "ok");
    }
    if !answers.get("sponsor_email").is_empty() {
        chip("Sponsor named".into(), "");
    }
    if answers.get("commercial") == "yes" {
        chip("Commercial in part".into(), "warn");
    }
    if known.earlier > 0 {
        chip(format!("{} earlier", known.earlier), "info");
    }
    chips
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_says_what_its_registry_promises_and_no_more() {
        for (email, expected) in [
            ("ada@university.edu", Domain::Institution),
            ("ada@cs.ox.ac.uk", Domain::Institution),
            ("ada@anu.edu.au", Domain::Institution),
            ("ada@nist.gov", Domain::Institution),
            ("ada@gmail.com", Domain::FreeMail),
            ("ada@unito.it", Domain::Other),
            ("ada@edu.example.com", Domain::Other),
            ("ada@ac.uk", Domain::Other),
            ("ada@notgmail.com", Domain::Other),
        ] {
            assert_eq!(domain(email), expected, "{email}");
        }
    }
}
