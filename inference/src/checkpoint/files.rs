//! The files of one model, by name.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::opt::{CONFIG_FILE, OptConfig};

/// The largest config.json, tokenizer or index file that is read into memory: 64 MiB.
const SMALL_FILE_BYTES_MAX: u64 = 64 << 20;

/// The files of one model: the name each has in the Hugging Face layout ("config.json", "model-00001-of-00002.safetensors")
/// and where it lies on this disk. The two differ where an object store keeps files under names of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    files: BTreeMap<String, PathBuf>,
    /// What is known of their content, by name.
    digests: BTreeMap<String, String>,
}

impl Checkpoint {
    /// Takes the regular files directly in `dir`. `Io` if it cannot be read, `Missing` if there is no config.json.
    pub fn open_dir(dir: &Path) -> Result<Self, Error> {
        let mut files = BTreeMap::new();
        for entry in std::fs::read_dir(dir).map_err(|source| Error::io(dir, source))? {
            let entry = entry.map_err(|source| Error::io(dir, source))?;
            let path = entry.path();
            let Ok(name) = entry.file_name().into_string() else { continue };
            if path.is_file() {
                files.insert(name, path);
            }
        }
        Self::from_files(files)
    }

    /// Takes files by name. `Missing` if config.json is not among them, `Corrupt` if a name is not a plain file name.
    pub fn from_files(files: BTreeMap<String, PathBuf>) -> Result<Self, Error> {
        if let Some(name) = files.keys().find(|name| !is_plain(name)) {
            return Err(Error::corrupt(name, "is not a plain file name"));
        }
        if !files.contains_key(CONFIG_FILE) {
            return Err(Error::missing(CONFIG_FILE));
        }
        Ok(Self { files, digests: BTreeMap::new() })
    }

    /// The same, where the digests of some files' content are known, by name. Files of equal digests are taken for equal, wherever they lie.
    pub fn with_digests(mut self, digests: BTreeMap<String, String>) -> Self {
        self.digests = digests;
        self
    }

    /// Equal only for files of these names with equal content, found without reading it. Where a file's digest is known it speaks for the
    /// content; else its place on the disk, its size and the times of its last change do, the second of which (ctime) no program can set.
    pub(crate) fn identity(&self, names: &[String]) -> Result<blake3::Hash, Error> {
        let mut identity = blake3::Hasher::new();
        for name in names {
            let path = self.path(name).ok_or_else(|| Error::missing(name))?;
            let content = match self.digests.get(name) {
                Some(digest) => format!("digest {digest}"),
                None => {
                    let about = std::fs::metadata(path).map_err(|source| Error::io(path, source))?;
                    let (changed, written) = ((about.ctime(), about.ctime_nsec()), (about.mtime(), about.mtime_nsec()));
                    format!("place {} {} size {} {changed:?} {written:?}", about.dev(), about.ino(), about.len())
                }
            };
            identity.update(format!("{name:?} {content}\n").as_bytes());
        }
        Ok(identity.finalize())
    }

    /// Names and paths, in the order of the names.
    pub fn files(&self) -> &BTreeMap<String, PathBuf> {
        &self.files
    }

    /// Where the file of this name lies.
    pub fn path(&self, name: &str) -> Option<&Path> {
        self.files.get(name).map(PathBuf::as_path)
    }

    /// The model's shape, from config.json.
    pub fn config(&self) -> Result<OptConfig, Error> {
        OptConfig::parse(&self.read(CONFIG_FILE)?)
    }

    /// The bytes of a small file. `Missing` if it is not there, `Corrupt` if it is over 64 MiB.
    pub fn read(&self, name: &str) -> Result<Vec<u8>, Error> {
        self.read_if_present(name)?.ok_or_else(|| Error::missing(name))
    }

    /// The bytes of a small file, or `None` if the checkpoint has no such file.
    pub fn read_if_present(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        let Some(path) = self.path(name) else { return Ok(None) };
        let size = std::fs::metadata(path).map_err(|source| Error::io(path, source))?.len();
        if size > SMALL_FILE_BYTES_MAX {
            return Err(Error::corrupt(name, format!("has {size} bytes, over the {SMALL_FILE_BYTES_MAX} such a file may have")));
        }
        std::fs::read(path).map(Some).map_err(|source| Error::io(path, source))
    }

    /// tokenizer.json: the stored one, or one built from vocab.json and merges.txt; `None` if the checkpoint has neither.
    pub fn tokenizer_json(&self) -> Result<Option<Vec<u8>>, Error> {
        if let Some(stored) = self.read_if_present("tokenizer.json")? {
            return Ok(Some(stored));
        }
        let (Some(vocab), Some(merges)) = (self.read_if_present("vocab.json")?, self.read_if_present("merges.txt")?) else {
            return Ok(None);
        };
        let config = self.read_if_present("tokenizer_config.json")?;
        super::build_tokenizer_json(&vocab, &merges, config.as_deref()).map(Some)
    }
}

/// Whether a name could only mean a file directly in the checkpoint's folder.
pub(super) fn is_plain(name: &str) -> bool {
    !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\\', '\0'])
}
