//! Copies of the recorded models, for tests that spoil them.

use std::fs;
use std::path::{Path, PathBuf};

use inference::Checkpoint;

pub fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/opt")
}

/// A copy of a fixture that a test may spoil.
pub struct Copy(tempfile::TempDir);

impl Copy {
    pub fn of(name: &str) -> Self {
        let copy = tempfile::tempdir().unwrap();
        for entry in fs::read_dir(fixtures().join(name)).unwrap() {
            let path = entry.unwrap().path();
            fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
        }
        Self(copy)
    }

    pub fn path(&self, file: &str) -> PathBuf {
        self.0.path().join(file)
    }

    pub fn checkpoint(&self) -> Checkpoint {
        Checkpoint::open_dir(self.0.path()).unwrap()
    }
}

#[track_caller]
pub fn assert_names(message: &str, places: &[&str]) {
    assert!(places.iter().all(|place| message.contains(place)), "{message:?} should name {places:?}");
}
