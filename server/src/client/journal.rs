//! What a folder has already, written down so that nothing that happens to us makes it say more than is true.
//!
//! The journal is a file of fixed-size records, each with a checksum, only ever appended to. A record is written after the bytes it
//! speaks of; a background beat syncs first the bytes, then the journal. It therefore survives the end of the process as it is, and
//! the end of the machine's power up to the last beat. A torn or spoilt record costs what it speaks of and nothing else.
//! The journal is no proof: what an earlier run wrote is read and compared once more before its file gets its name. Of files that have
//! their names it is believed, and therefore only if nobody but this user can have written it.

use std::collections::{BTreeSet, HashMap};
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Mutex;

use super::folder::{fresh, nofollow};
use super::release::Digest;

/// How the file begins.
const MAGIC: &[u8; 16] = b"sluice-journal-1";
/// kind, three spare bytes, chunk · path · digest · fingerprint · checksum
const RECORD_BYTES: usize = 8 + 16 + 16 + 24 + 8;
/// This user's alone.
const MODE: u32 = 0o600;
/// Above this a journal that mostly speaks of the past is written anew.
const COMPACT_BYTES: u64 = 16 << 20;

/// What tells a file from the same file changed: inode, time of the last write, time of the last change of any kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Fingerprint([u64; 3]);

impl From<&Metadata> for Fingerprint {
    fn from(metadata: &Metadata) -> Self {
        let nanos = |seconds: i64, nanos: i64| seconds.wrapping_mul(1_000_000_000).wrapping_add(nanos).cast_unsigned();
        let written = nanos(metadata.mtime(), metadata.mtime_nsec());
        Self([metadata.ino(), written, nanos(metadata.ctime(), metadata.ctime_nsec())])
    }
}

/// One thing that became true.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entry {
    /// The partial file of `path` was begun: what was said of an earlier one is void.
    Begun { path: Id, inode: u64 },
    /// A chunk lies in the partial file and was right by a list that gives it this SHA-256.
    Chunk { path: Id, chunk: u32, digest: Id },
    /// The file has its name and this fingerprint, and was right by what was listed of it: of which this is the digest.
    Done { path: Id, digest: Id, as_it_is: Fingerprint },
}

/// The first half of a SHA-256: of a path, or of a content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Id([u8; 16]);

impl Id {
    pub(super) fn of_path(path: &str) -> Self {
        Self::of(&Digest::of(path.as_bytes()))
    }

    pub(super) fn of(digest: &Digest) -> Self {
        let mut half = [0; 16];
        half.copy_from_slice(&digest.0[..16]);
        Self(half)
    }
}

/// What is known of one path.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Known {
    /// The whole file, as it was when it got its name.
    pub(super) done: Option<(Id, Fingerprint)>,
    /// The partial file that `chunks` lie in.
    pub(super) inode: Option<u64>,
    /// Chunks that were right when they were written, by their number.
    pub(super) chunks: HashMap<u32, Id>,
}

/// An open journal.
pub(super) struct Journal {
    file: Mutex<File>,
    known: HashMap<Id, Known>,
}

impl Journal {
    /// Opens it, or begins one; what cannot be read, and what others may have written, is as if it had not been written.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(MODE).custom_flags(nofollow()).open(path);
        let mut file = options?;
        if !is_ours(&file.metadata()?) {
            let known = HashMap::new();
            return Ok(Self { file: Mutex::new(rewritten(path, &known)?), known });
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let known = read(&bytes);
        let whole = MAGIC.len() + bytes.len().saturating_sub(MAGIC.len()) / RECORD_BYTES * RECORD_BYTES;
        if bytes.len() < MAGIC.len() || !bytes.starts_with(MAGIC) {
            file.set_len(0)?;
            file.rewind()?;
            file.write_all(MAGIC)?;
        } else if bytes.len() as u64 > COMPACT_BYTES {
            file = rewritten(path, &known)?;
        } else {
            // What comes after a torn record has to begin where records begin.
            file.set_len(whole as u64)?;
        }
        file.seek(io::SeekFrom::End(0))?;
        file.sync_data()?;
        Ok(Self { file: Mutex::new(file), known })
    }

    /// What a journal says, without opening it for writing.
    pub(super) fn peek(path: &Path) -> HashMap<Id, Known> {
        let is_ours = std::fs::symlink_metadata(path).is_ok_and(|metadata| is_ours(&metadata));
        if is_ours { std::fs::read(path).map(|bytes| read(&bytes)).unwrap_or_default() } else { HashMap::new() }
    }

    /// What was known when it was opened.
    pub(super) fn known(&self) -> &HashMap<Id, Known> {
        &self.known
    }

    /// Writes one entry down. It outlives the process from here on.
    pub(super) fn append(&self, entry: Entry) -> io::Result<()> {
        self.lock().write_all(&encode(entry))
    }

    /// Lets what was written outlive the machine, too. The bytes it speaks of have to be synced before.
    pub(super) fn sync(&self) -> io::Result<()> {
        let file = self.lock().try_clone()?;
        file.sync_data()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, File> {
        self.file.lock().expect("nobody panics while writing a record")
    }
}

/// Whether nobody but this user can have written it.
fn is_ours(metadata: &Metadata) -> bool {
    metadata.is_file() && metadata.uid() == rustix::process::geteuid().as_raw() && metadata.mode() & 0o022 == 0 && metadata.nlink() == 1
}

/// What a journal of these bytes says.
fn read(bytes: &[u8]) -> HashMap<Id, Known> {
    let mut known: HashMap<Id, Known> = HashMap::new();
    let Some(records) = bytes.strip_prefix(MAGIC) else { return known };
    for entry in records.chunks_exact(RECORD_BYTES).filter_map(decode) {
        match entry {
            Entry::Begun { path, inode } => {
                let of = known.entry(path).or_default();
                of.inode = Some(inode);
                of.chunks.clear();
            }
            Entry::Chunk { path, chunk, digest } => {
                known.entry(path).or_default().chunks.insert(chunk, digest);
            }
            Entry::Done { path, digest, as_it_is } => {
                known.insert(path, Known { done: Some((digest, as_it_is)), ..Known::default() });
            }
        }
    }
    known
}

/// The same knowledge in as few records as it takes, put in the old one's place at once.
fn rewritten(path: &Path, known: &HashMap<Id, Known>) -> io::Result<File> {
    let new = path.with_extension("new");
    let mut bytes = MAGIC.to_vec();
    for (path, known) in known {
        let done = known.done.map(|(digest, as_it_is)| Entry::Done { path: *path, digest, as_it_is });
        let begun = known.inode.map(|inode| Entry::Begun { path: *path, inode });
        let numbers: BTreeSet<&u32> = known.chunks.keys().collect();
        let chunks = numbers.into_iter().map(|chunk| Entry::Chunk { path: *path, chunk: *chunk, digest: known.chunks[chunk] });
        done.into_iter().chain(begun).chain(chunks).for_each(|entry| bytes.extend_from_slice(&encode(entry)));
    }
    let mut file = fresh(&new, MODE)?;
    file.write_all(&bytes)?;
    file.sync_data()?;
    std::fs::rename(&new, path)?;
    Ok(file)
}

fn encode(entry: Entry) -> [u8; RECORD_BYTES] {
    let mut record = [0; RECORD_BYTES];
    let (kind, chunk, path, digest, fingerprint) = match entry {
        Entry::Begun { path, inode } => (1, 0, path, Id([0; 16]), [inode, 0, 0]),
        Entry::Chunk { path, chunk, digest } => (2, chunk, path, digest, [0; 3]),
        Entry::Done { path, digest, as_it_is } => (3, 0, path, digest, as_it_is.0),
    };
    record[0] = kind;
    record[4..8].copy_from_slice(&u32::to_le_bytes(chunk));
    record[8..24].copy_from_slice(&path.0);
    record[24..40].copy_from_slice(&digest.0);
    for (number, part) in fingerprint.iter().zip(record[40..64].chunks_exact_mut(8)) {
        part.copy_from_slice(&number.to_le_bytes());
    }
    let checksum = checksum(&record[..64]);
    record[64..].copy_from_slice(&checksum);
    record
}

fn decode(record: &[u8]) -> Option<Entry> {
    let (said, check) = record.split_at(64);
    if check != checksum(said) {
        return None;
    }
    let number = |at: usize| said[at..at + 8].try_into().map(u64::from_le_bytes).ok();
    let path = Id(said[8..24].try_into().ok()?);
    let digest = Id(said[24..40].try_into().ok()?);
    match said[0] {
        1 => Some(Entry::Begun { path, inode: number(40)? }),
        2 => Some(Entry::Chunk { path, chunk: u32::from_le_bytes(said[4..8].try_into().ok()?), digest }),
        3 => Some(Entry::Done { path, digest, as_it_is: Fingerprint([number(40)?, number(48)?, number(56)?]) }),
        _ => None,
    }
}

fn checksum(said: &[u8]) -> [u8; 8] {
    let mut first = [0; 8];
    first.copy_from_slice(&blake3::hash(said).as_bytes()[..8]);
    first
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
    use super::*;

    fn entries() -> Vec<Entry> {
        let (a, b) = (Id::of_path("a"), Id::of_path("b"));
        let digest = Id([7; 16]);
        vec![
            Entry::Begun { path: a, inode: 9 },
            Entry::Chunk { path: a, chunk: 0, digest },
            Entry::Chunk { path: a, chunk: 5, digest },
            Entry::Begun { path: b, inode: 10 },
            Entry::Chunk { path: b, chunk: 1, digest },
            Entry::Done { path: b, digest, as_it_is: Fingerprint([10, 11, 12]) },
        ]
    }

    fn written(folder: &Path) -> std::path::PathBuf {
        let path = folder.join("journal");
        let journal = Journal::open(&path).unwrap();
        entries().into_iter().for_each(|entry| journal.append(entry).unwrap());
        path
    }

    #[test]
    fn what_was_written_is_known_to_the_next_run() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::open(&written(folder.path())).unwrap();
        let a = &journal.known()[&Id::of_path("a")];
        assert_eq!((a.inode, a.chunks.len(), a.done), (Some(9), 2, None));
        let b = &journal.known()[&Id::of_path("b")];
        assert_eq!(b.done, Some((Id([7; 16]), Fingerprint([10, 11, 12]))));
        assert!(b.chunks.is_empty(), "a whole file has no chunks to speak of");
    }

    #[test]
    fn wherever_it_breaks_off_the_whole_records_before_count_and_new_ones_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let whole = std::fs::read(written(folder.path())).unwrap();
        let path = folder.path().join("torn");
        for length in 0..=whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            let journal = Journal::open(&path).unwrap();
            let kept = length.saturating_sub(MAGIC.len()) / RECORD_BYTES;
            assert_eq!(journal.known(), &read(&[MAGIC.as_slice(), &whole[MAGIC.len()..][..kept * RECORD_BYTES]].concat()), "{length}");
            journal.append(Entry::Begun { path: Id::of_path("c"), inode: 3 }).unwrap();
            assert!(Journal::peek(&path).contains_key(&Id::of_path("c")), "{length}");
        }
    }

    #[test]
    fn no_flipped_bit_makes_it_say_what_was_never_written() {
        let folder = tempfile::tempdir().unwrap();
        let whole = std::fs::read(written(folder.path())).unwrap();
        let all = entries();
        for bit in 0..whole.len() * 8 {
            let mut spoilt = whole.clone();
            spoilt[bit / 8] ^= 1 << (bit % 8);
            let Some(records) = spoilt.strip_prefix(MAGIC) else { continue };
            let said: Vec<Entry> = records.chunks_exact(RECORD_BYTES).filter_map(decode).collect();
            assert_eq!(said.len(), all.len() - 1, "bit {bit}");
            assert!(said.iter().all(|entry| all.contains(entry)), "bit {bit}");
        }
    }

    #[test]
    fn a_journal_written_anew_says_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = written(folder.path());
        let before = Journal::peek(&path);
        drop(rewritten(&path, &before).unwrap());
        assert_eq!(Journal::peek(&path), before);
    }
}
