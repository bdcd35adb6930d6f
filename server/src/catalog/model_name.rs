//! `org/name`: how a model is called, everywhere.

use std::fmt;
use std::str::FromStr;

use crate::error::FieldError;

/// How long an organisation's or a model's name may be, in characters: the limit of the Hub's clients.
const PART_CHARS_MAX: usize = 96;

/// First segments of the portal's own addresses, and words that clients of the Hub read as kinds of repositories. An
/// organisation of such a name would hide a page, or be hidden by it.
pub const RESERVED_ORGS: &[&str] = &[
    "account",
    "admin",
    "api",
    "applications",
    "audit",
    "datasets",
    "detokenize",
    "favicon.ico",
    "grants",
    "healthz",
    "join",
    "kernels",
    "links",
    "metrics",
    "models",
    "new",
    "oauth",
    "playground",
    "readyz",
    "review",
    "robots.txt",
    "settings",
    "sign-in",
    "sign-out",
    "sign-up",
    "spaces",
    "static",
    "tokenize",
    "tokenizer_info",
    "v1",
    "verify",
];

/// A model's full name, fit to be an address and a Hub repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelName {
    org: String,
    name: String,
}

impl ModelName {
    /// The organisation that offers it.
    pub fn org(&self) -> &str {
        &self.org
    }

    /// Its name within the organisation.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl FromStr for ModelName {
    type Err = FieldError;

    fn from_str(text: &str) -> Result<Self, FieldError> {
        let fault = |message: String| FieldError::new("model", message);
        let Some((org, name)) = text.split_once('/') else {
            return Err(fault(format!("{text:?} is no model's name; write ORG/NAME, such as acme/opt-125m")));
        };
        for part in [org, name] {
            if let Err(problem) = check_part(part) {
                return Err(fault(format!("{part:?} {problem}")));
            }
        }
        if RESERVED_ORGS.contains(&org.to_ascii_lowercase().as_str()) {
            return Err(fault(format!("{org:?} is a word of the portal's own addresses; choose another name for the organisation")));
        }
        Ok(Self { org: org.to_owned(), name: name.to_owned() })
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.org, self.name)
    }
}

/// What the Hub's clients accept as one part of a repository's name.
fn check_part(part: &str) -> Result<(), String> {
    if part.is_empty() || part.len() > PART_CHARS_MAX {
        return Err(format!("has to have 1 to {PART_CHARS_MAX} characters"));
    }
    if let Some(odd) = part.chars().find(|c| !c.is_ascii_alphanumeric() && !"-_.".contains(*c)) {
        return Err(format!("contains {odd:?}; letters, digits, '-', '_' and '.' are allowed"));
    }
    if !part.starts_with(|c: char| c.is_ascii_alphanumeric()) || part.ends_with(['-', '.']) {
        return Err("has to begin with a letter or digit, and may not end with '-' or '.'".into());
    }
    if part.contains("--") || part.contains("..") || part.to_ascii_lowercase().ends_with(".git") {
        return Err("may not contain '--' or '..' nor end with '.git'".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_real_models_are_names() {
        for name in ["facebook/opt-125m", "acme/OPT_6.7b", "a/b", "1x/2.0"] {
            assert_eq!(name.parse::<ModelName>().map(|parsed| parsed.to_string()), Ok(name.to_owned()));
        }
    }

    #[test]
    fn what_clients_would_refuse_is_refused_here() {
        let long = "x".repeat(97);
        for name in [
            "opt",
            "",
            "/x",
            "x/",
            "a/b/c",
            "-a/b",
            "a/b-",
            "a/.b",
            "a/b..c",
            "a/b--c",
            "a/b.git",
            "a b/c",
            "a/ü",
            "a/b#c",
            &format!("a/{long}"),
        ] {
            assert!(name.parse::<ModelName>().is_err(), "{name:?}");
        }
    }

    #[test]
    fn the_portals_own_words_are_no_organisations() {
        for word in RESERVED_ORGS {
            assert!(format!("{word}/x").parse::<ModelName>().is_err(), "{word}");
            assert!(format!("{}/x", word.to_uppercase()).parse::<ModelName>().is_err(), "{word}");
        }
        assert!(".well-known/x".parse::<ModelName>().is_err());
        assert!(RESERVED_ORGS.is_sorted(), "the list is kept in order so that a gap is seen");
    }
}
