//! Every object we may store; paths are built here and nowhere else.

/// The name of an object in the store.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ObjectKey {
    /// A file of a release, by the SHA-256 of its content (64 lower-case hex digits).
    File {
        /// The digest.
        sha256: String,
    },
}

impl ObjectKey {
    /// The object with this content. Panics unless `sha256` is 64 hex digits: digests come from our own hasher or table.
    pub fn file(sha256: &str) -> Self {
        assert!(sha256.len() == 64 && sha256.bytes().all(|b| b.is_ascii_hexdigit()), "a SHA-256 has 64 hex digits, not {sha256:?}");
        ObjectKey::File { sha256: sha256.to_ascii_lowercase() }
    }

    /// The object whose path ends with this name, if it is a name of ours.
    pub(super) fn named(name: &str) -> Option<Self> {
        let is_digest = name.len() == 64 && name.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        is_digest.then(|| ObjectKey::file(name))
    }

    /// The SHA-256 of its content, 64 lower-case hex digits.
    pub fn sha256(&self) -> &str {
        match self {
            ObjectKey::File { sha256 } => sha256,
        }
    }

    /// Its path below the store's root. Two levels of folders, so that no folder grows large.
    pub fn path(&self) -> String {
        match self {
            ObjectKey::File { sha256 } => format!("sha256/{}/{}/{sha256}", &sha256[..2], &sha256[2..4]),
        }
    }
}
