//! A portal's address, and the URLs below it.

use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use url::Url;

use super::fault::Fault;

/// What stays as it is in a path; everything else is escaped.
const PLAIN_PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// Where a portal answers: scheme, host and port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint(Url);

impl Endpoint {
    /// An `http` or `https` address without a path.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        match Url::parse(text.trim()) {
            Ok(url)
                if matches!(url.scheme(), "http" | "https")
                    && url.has_host()
                    && url.query().is_none()
                    && url.username().is_empty()
                    && matches!(url.path(), "" | "/") =>
            {
                Ok(Self(url))
            }
            _ => Err(Fault::Usage(format!("{text:?} is no address of a portal, such as https://weights.example.org"))),
        }
    }

    /// The address of `path`, which begins with `/` and is escaped as far as it needs to be.
    pub(super) fn url(&self, path: &str) -> Url {
        let mut url = self.0.clone();
        url.set_path(path);
        url
    }

    /// Whether `url` is this portal, and so may see the token: the same scheme, host and port.
    pub(super) fn is_home_of(&self, url: &Url) -> bool {
        self.0.origin() == url.origin()
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

/// A model's name: `ORG/NAME`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelRef {
    org: String,
    name: String,
}

impl ModelRef {
    /// Two parts of letters, digits, `-`, `_` and `.`.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        let is_part = |part: &str| {
            !part.is_empty()
                && part.len() <= 96
                && !part.starts_with('.')
                && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
        };
        match text.split_once('/') {
            Some((org, name)) if is_part(org) && is_part(name) => Ok(Self { org: org.into(), name: name.into() }),
            _ => Err(Fault::Usage(format!("{text:?} is no model's name, such as acme/opt-125m"))),
        }
    }

    /// The second part, which a folder is called by.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where one revision's files lie on its portal.
    pub(super) fn files_at(&self, revision: &str) -> String {
        format!("/{self}/resolve/{revision}")
    }

    /// Where what proves one revision lies.
    pub(super) fn proof_at(&self, revision: &str, file: &str) -> String {
        format!("/{self}/proof/{revision}/{file}")
    }

    /// Where one learns what a name of a revision means now.
    pub(super) fn revision_at(&self, revision: &str) -> String {
        format!("/api/models/{self}/revision/{}", escape(revision).replace('/', "%2F"))
    }
}

impl fmt::Display for ModelRef {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.org, self.name)
    }
}

/// A path with everything escaped that is not plain in a URL.
pub(super) fn escape(path: &str) -> String {
    utf8_percent_encode(path, PLAIN_PATH).to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
    use super::*;

    #[test]
    fn addresses_without_a_path_are_portals() {
        let portal = Endpoint::parse("https://weights.example.org/").unwrap();
        assert_eq!(portal.to_string(), "https://weights.example.org");
        assert_eq!(portal.url("/a/b%20c").as_str(), "https://weights.example.org/a/b%20c");
        for wrong in ["weights.example.org", "ftp://x", "https://x/y", "https://x?y", "https://user@x", ""] {
            assert!(matches!(Endpoint::parse(wrong), Err(Fault::Usage(_))), "{wrong}");
        }
    }

    #[test]
    fn the_token_is_for_the_same_origin_only() {
        let portal = Endpoint::parse("http://portal.example:8080").unwrap();
        for (url, home) in [
            ("http://portal.example:8080/x", true),
            ("https://portal.example:8080/x", false),
            ("http://portal.example:9000/x", false),
            ("http://portal.example.evil:8080/x", false),
        ] {
            assert_eq!(portal.is_home_of(&Url::parse(url).unwrap()), home, "{url}");
        }
    }

    #[test]
    fn models_have_two_parts() {
        assert_eq!(ModelRef::parse("acme/opt-125m").unwrap().revision_at("refs/pr/1"), "/api/models/acme/opt-125m/revision/refs%2Fpr%2F1");
        for wrong in ["acme", "acme/", "/x", "a/b/c", "../x", "a/..", "a b/c"] {
            assert!(ModelRef::parse(wrong).is_err(), "{wrong}");
        }
    }
}
