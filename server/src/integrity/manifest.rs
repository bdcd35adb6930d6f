//! What a release consists of, and the revision that follows from it.

use std::collections::BTreeMap;

use super::digest::sha256_hex;

/// Length of a revision in hex digits: clients of the Hub take it for a git commit.
const REVISION_DIGITS: usize = 40;

/// One file of a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// How long it is.
    pub size_bytes: u64,
    /// SHA-256 of its content, 64 lower-case hex digits.
    pub sha256: String,
}

/// The files of a release by their paths.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Manifest {
    files: BTreeMap<String, Entry>,
}

impl Manifest {
    /// The manifest of these files; of two with one path the later counts.
    pub fn new(files: impl IntoIterator<Item = (String, Entry)>) -> Self {
        Self { files: files.into_iter().collect() }
    }

    /// The one way to write it down: JSON without spaces, files in the order of their paths' bytes, keys in the order below.
    pub fn canonical_json(&self) -> String {
        let files: Vec<_> = self
            .files
            .iter()
            .map(|(path, entry)| serde_json::json!({ "path": path, "sha256": entry.sha256, "size": entry.size_bytes }))
            .collect();
        serde_json::json!({ "format": "sluice-release-1", "files": files }).to_string()
    }

    /// The first 40 hex digits of the canonical JSON's SHA-256. Equal files give an equal revision, wherever and whenever they
    /// are published; any difference in a path or a byte gives another.
    pub fn revision(&self) -> String {
        let mut revision = sha256_hex(self.canonical_json().as_bytes());
        revision.truncate(REVISION_DIGITS);
        revision
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, content: &str) -> (String, Entry) {
        (path.to_owned(), Entry { size_bytes: content.len() as u64, sha256: sha256_hex(content.as_bytes()) })
    }

    /// The format is a promise: whoever recomputes a revision in ten years does it by this string.
    #[test]
    fn the_canonical_form_never_changes() {
        let manifest = Manifest::new([file("b.txt", "b"), file("a.txt", "")]);
        let json = concat!(
            r#"{"format":"sluice-release-1","files":["#,
            r#"{"path":"a.txt","sha256":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":0},"#,
            r#"{"path":"b.txt","sha256":"3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d","size":1}]}"#
        );
        assert_eq!(manifest.canonical_json(), json);
        assert_eq!(manifest.revision(), sha256_hex(json.as_bytes())[..40]);
    }

    #[test]
    fn the_revision_changes_with_the_content_and_with_nothing_else() {
        let one = Manifest::new([file("config.json", "{}"), file("model.safetensors", "weights")]);
        let same = Manifest::new([file("model.safetensors", "weights"), file("config.json", "{}")]);
        assert_eq!(one.revision(), same.revision());
        for other in [
            Manifest::new([file("config.json", "{ }"), file("model.safetensors", "weights")]),
            Manifest::new([file("config.json", "{}"), file("model2.safetensors", "weights")]),
            Manifest::new([file("config.json", "{}")]),
        ] {
            assert_ne!(one.revision(), other.revision());
        }
    }
}
