//! Files as a stranger would give them, and what a refusal of them may look like.

use std::fs;
use std::path::Path;

use inference::{Checkpoint, Error};

/// A config.json that is right, for targets that are about another file.
pub const CONFIG: &[u8] = br#"{"model_type": "opt", "vocab_size": 320, "hidden_size": 4, "num_hidden_layers": 1, "num_attention_heads": 2, "ffn_dim": 8, "max_position_embeddings": 40}"#;

/// The most bytes of a refusal: it is read by people, and quotes no more than a line of a hostile file.
const REFUSAL_BYTES_MAX: usize = 4096;

/// A folder with a model's files, gone when it is dropped.
pub struct Folder(tempfile::TempDir);

impl Folder {
    pub fn of(files: &[(&str, &[u8])]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            fs::write(folder.path().join(name), bytes).unwrap();
        }
        Self(folder)
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// The checkpoint in it; every folder here has a config.json.
    pub fn checkpoint(&self) -> Checkpoint {
        Checkpoint::open_dir(self.path()).unwrap()
    }
}

/// A refusal blames the input and says how, in few words.
#[track_caller]
pub fn assert_clear(error: &Error) {
    assert!(!matches!(error, Error::Io { .. } | Error::Closed { .. } | Error::Internal { .. }), "not the input's fault: {error}");
    let text = error.to_string();
    assert!(text.len() <= REFUSAL_BYTES_MAX, "a refusal of {} bytes: {:.200}…", text.len(), text);
}
