//! What a release consists of, and the revision that follows from it.

use std::collections::BTreeMap;

use data_encoding::HEXLOWER;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::digest::{CHUNK_BYTES, ChunkDigests, sha256_hex};

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

/// What a file is to whoever verifies a release: weights and documents are signed apart, so that an edited card touches no weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Tensors.
    Weights,
    /// Card, licence, settings, tokenizer: everything else.
    Document,
}

impl Kind {
    /// By the file's ending.
    pub fn of(path: &str) -> Self {
        let ending = path.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase());
        if ending.is_some_and(|ending| ["safetensors", "gguf", "onnx"].contains(&ending.as_str())) { Self::Weights } else { Self::Document }
    }

    /// As the manifest has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Weights => "weights",
            Self::Document => "document",
        }
    }
}

/// A file of a release with all its digests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileProof {
    /// Its path in the release.
    pub path: String,
    /// How long it is.
    pub size_bytes: u64,
    /// SHA-256, 64 hex digits.
    pub sha256: String,
    /// BLAKE3, 64 hex digits.
    pub blake3: String,
    /// The digests of its chunks.
    pub chunks: Vec<ChunkDigests>,
}

impl FileProof {
    /// As a page of the manifest lists it.
    pub fn to_json(&self) -> Value {
        let chunks: Vec<Value> =
            self.chunks.iter().map(|chunk| json!({ "sha256": chunk.sha256_hex(), "blake3": chunk.blake3_hex() })).collect();
        json!({
            "path": self.path, "size": self.size_bytes, "sha256": self.sha256, "blake3": self.blake3,
            "kind": Kind::of(&self.path).as_str(), "chunks": chunks,
        })
    }
}

/// The pages of a manifest taken together, whatever they were cut into: SHA-256 over every file's JSON, without spaces, in the order of
/// paths, a line feed after each. It stands in the signature of the chunks, so that what only the manifest says (BLAKE3) is signed, too.
pub fn manifest_sha256(files: &[FileProof]) -> String {
    let mut hasher = ManifestHasher::default();
    files.iter().for_each(|file| hasher.update(&file.to_json().to_string()));
    HEXLOWER.encode(&hasher.finish())
}

/// Computes [`manifest_sha256`] of files as somebody lists them.
#[derive(Debug, Clone, Default)]
pub struct ManifestHasher(Sha256);

impl ManifestHasher {
    /// The next file's JSON, without spaces and with its keys in the order listed.
    pub fn update(&mut self, file_json: &str) {
        self.0.update(file_json);
        self.0.update("\n");
    }

    /// The digest.
    pub fn finish(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

/// One page of `manifest.json`: as many of the files as fit, and at least one. `next`: what to ask for the page after it.
pub fn manifest_page(model: &str, revision: &str, files: &[FileProof], bytes_max: usize) -> String {
    let (mut listed, mut length) = (Vec::new(), 0);
    for file in files {
        let entry = file.to_json().to_string();
        if length + entry.len() > bytes_max && !listed.is_empty() {
            break;
        }
        length += entry.len() + 1;
        listed.push(entry);
    }
    let next = (listed.len() < files.len()).then(|| files[listed.len() - 1].path.as_str());
    format!(
        r#"{{"format":"sluice-manifest-1","model":{},"revision":{},"chunk_bytes":{CHUNK_BYTES},"files":[{}],"next":{}}}"#,
        json!(model),
        json!(revision),
        listed.join(","),
        json!(next),
    )
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

    #[test]
    fn the_pages_of_a_manifest_hold_every_file_once() {
        let chunk = ChunkDigests { sha256: [1; 32], blake3: [2; 32] };
        let proof = |n: usize| FileProof {
            path: format!("model-{n:05}.safetensors"),
            size_bytes: 7,
            sha256: "1".repeat(64),
            blake3: "2".repeat(64),
            chunks: vec![chunk; n % 5],
        };
        let files: Vec<FileProof> = (0..50).map(proof).collect();
        let (mut from, mut seen, mut pages) = (0, Vec::new(), 0);
        loop {
            let page = manifest_page("lab/x", &"0".repeat(40), &files[from..], 4_000);
            assert!(page.len() < 4_200, "{}", page.len());
            let page: Value = serde_json::from_str(&page).unwrap();
            seen.extend(page["files"].as_array().unwrap().clone());
            pages += 1;
            let Some(next) = page["next"].as_str() else { break };
            from = files.iter().position(|file| file.path == next).unwrap() + 1;
        }
        assert_eq!(seen, files.iter().map(FileProof::to_json).collect::<Vec<_>>());
        assert!(pages > 5);
        let lines: String = seen.iter().map(|file| format!("{file}\n")).collect();
        assert_eq!(manifest_sha256(&files), sha256_hex(lines.as_bytes()));
        // A file that alone is longer than a page has a page of its own.
        assert_eq!(manifest_page("lab/x", "", &files[4..6], 1).matches("\"path\"").count(), 1);
    }
}
