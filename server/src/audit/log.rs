//! The log that the record is integrated into: a Merkle tree in files of the data folder, signed at every step. The database is written
//! first, then the tiles, then the checkpoint; whoever is killed in between goes on from what the checkpoint says.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use sqlx::{Acquire, PgPool};
use tokio::sync::{Mutex as AsyncMutex, watch};
use url::Url;

use super::merkle::{Frontier, Hash, path};
use super::note::{Checkpoint, LogKey, LogSigner, NotBelieved};
use super::store::{self, Committed};
use super::tiles::{Growth, Nodes, Tiles, replace};
use super::verify::Checked;
use crate::data_dir;
use crate::error::Error;

/// Events integrated in one transaction.
const BATCH_EVENTS: i64 = 2_048;

const KEY_FILE: &str = "log.key";
const VKEY_FILE: &str = "log.vkey";
const LOCK_FILE: &str = "log.lock";
const CHECKPOINT_FILE: &str = "checkpoint";
const TILE_FOLDER: &str = "tile";

/// How a log goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Entries that the newest checkpoint speaks of.
    pub signed: u64,
    /// Why nothing is integrated any more, if it is so.
    pub fault: Option<String>,
    /// What was found when all of it was last looked through. Nothing before the first time since the start.
    pub checked: Option<Checked>,
}

/// The log's folder and key, and how it goes.
#[derive(Debug)]
pub struct Log {
    folder: PathBuf,
    tiles: Tiles,
    signer: LogSigner,
    /// Where the tree ends. Nothing until it was read, and after a failure.
    tree: AsyncMutex<Option<Frontier>>,
    fault: Mutex<Option<String>>,
    checked: Mutex<Option<Checked>>,
    grown: watch::Sender<u64>,
}

impl Log {
    /// Opens the log in `folder`; the first time, makes its key, named after the portal's URL as it is then. Errors: what the disk says,
    /// `PermissionDenied` if others may read the key, `InvalidData` if a file is not what it should be.
    pub fn open(folder: &Path, public_url: &Url) -> io::Result<Self> {
        data_dir::make_private(folder)?;
        fs::create_dir_all(folder.join(TILE_FOLDER))?;
        let (key_path, vkey_path) = (folder.join(KEY_FILE), folder.join(VKEY_FILE));
        if !vkey_path.exists() {
            // A portal and a command may both come first: one makes the key, the other finds it.
            let lock = data_dir::private_file().write(true).truncate(false).open(folder.join(LOCK_FILE))?;
            lock.lock()?;
            if !vkey_path.exists() {
                let name = name_of(public_url);
                let document = LogSigner::generate().ok_or_else(|| io::Error::other("the system gives no randomness for a key"))?;
                let signer = LogSigner::from_pkcs8(&name, &document).map_err(|fault| broken(&key_path, fault.0))?;
                replace(&key_path, &document)?;
                replace(&vkey_path, format!("{}\n", signer.key()).as_bytes())?;
            }
        }
        if fs::metadata(&key_path)?.permissions().mode() & 0o077 != 0 {
            let problem = format!("{}: others on this machine may read the key of the audit log: chmod 600 it", key_path.display());
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, problem));
        }
        let key = LogKey::parse(&fs::read_to_string(&vkey_path)?).map_err(|fault| broken(&vkey_path, fault.0))?;
        let signer = LogSigner::from_pkcs8(&key.name, &fs::read(&key_path)?).map_err(|fault| broken(&key_path, fault.0))?;
        if *signer.key() != key {
            return Err(broken(&key_path, "is not the key that log.vkey names"));
        }
        let tiles = Tiles::in_folder(folder.join(TILE_FOLDER));
        Ok(Self {
            folder: folder.to_owned(),
            tiles,
            signer,
            tree: AsyncMutex::default(),
            fault: Mutex::default(),
            checked: Mutex::default(),
            grown: watch::Sender::default(),
        })
    }

    /// The key that its checkpoints are signed with.
    pub fn key(&self) -> &LogKey {
        self.signer.key()
    }

    /// The newest signed note. Nothing before the first event.
    pub fn note(&self) -> io::Result<Option<String>> {
        match fs::read_to_string(self.folder.join(CHECKPOINT_FILE)) {
            Ok(note) => Ok(Some(note)),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(cause) => Err(cause),
        }
    }

    /// What the newest note says. Errors: what the disk says, `InvalidData` if it is not signed by this log.
    pub fn checkpoint(&self) -> io::Result<Option<Checkpoint>> {
        let not_ours = |fault: NotBelieved| broken(&self.folder.join(CHECKPOINT_FILE), fault.0);
        self.note()?.map(|note| Checkpoint::open(&note, self.key()).map_err(not_ours)).transpose()
    }

    /// Tells of every time that the log has grown, and how many entries it has then: whoever may have lost something by what took place
    /// looks at it now.
    pub fn grown(&self) -> watch::Receiver<u64> {
        self.grown.subscribe()
    }

    /// The tiles.
    pub fn tiles(&self) -> &Tiles {
        &self.tiles
    }

    /// The newest note, and the proof that entry `index` is in the log it speaks of. `None` if that is not so (yet).
    pub fn prove(&self, index: u64) -> io::Result<Option<(String, Vec<Hash>)>> {
        let (Some(note), Some(checkpoint)) = (self.note()?, self.checkpoint()?) else { return Ok(None) };
        if index >= checkpoint.size {
            return Ok(None);
        }
        let mut nodes = Nodes::new(&self.tiles, checkpoint.size);
        Ok(Some((note, path(index, checkpoint.size, &mut |height, index| nodes.node(height, index))?)))
    }

    /// How it goes, for whoever watches it.
    pub fn standing(&self) -> Standing {
        let fault = self.fault.lock().map(|fault| fault.clone()).unwrap_or_default();
        let checked = self.checked.lock().map(|checked| checked.clone()).unwrap_or_default();
        match self.checkpoint() {
            Ok(checkpoint) => Standing { signed: checkpoint.map_or(0, |checkpoint| checkpoint.size), fault, checked },
            Err(cause) => Standing { signed: 0, fault: fault.or(Some(cause.to_string())), checked },
        }
    }

    pub(super) fn keep_checked(&self, found: Checked) {
        if let Ok(mut checked) = self.checked.lock() {
            *checked = Some(found);
        }
    }

    /// Gives every waiting event its place, and says how many there were. Where database and log contradict each other nothing is signed
    /// any more, so that nobody's proof is spoilt: [`Log::standing`] says why, and it is looked at again each time.
    pub async fn integrate(&self, db: &PgPool) -> Result<usize, Error> {
        let mut kept = self.tree.lock().await;
        let mut db = db.acquire().await?;
        let mut tree = match kept.take() {
            Some(tree) => tree,
            None => match self.catch_up(&mut db).await? {
                Ok(tree) => tree,
                Err(fault) => {
                    self.tell(Some(fault));
                    return Ok(0);
                }
            },
        };
        let mut integrated = 0;
        loop {
            let mut tx = db.begin().await?;
            let events = store::take_pending(&mut tx, BATCH_EVENTS).await?;
            let first = tree.size();
            if let Some(fault) = self.contradiction(&mut tx, first).await? {
                self.tell(Some(fault));
                return Ok(integrated);
            }
            if events.is_empty() {
                break;
            }
            let mut growth = Growth::default();
            let hashes: Vec<Hash> = events.iter().map(Committed::hash).collect();
            hashes.iter().for_each(|hash| tree.push(*hash, |height, index, node| growth.take(height, index, node)));
            store::insert_leaves(&mut tx, first, &events, &hashes).await?;
            tx.commit().await?;
            self.publish(&growth, &tree)?;
            self.grown.send_replace(tree.size());
            integrated += events.len();
        }
        self.tell(None);
        *kept = Some(tree);
        Ok(integrated)
    }

    /// Whether what was signed last holds against the ends of tiles and database, which takes no longer for a longer log: how many entries
    /// were signed, or what contradicts what. [`verify`](super::verify) looks at all of them.
    pub async fn check_end(&self, db: &mut sqlx::PgConnection) -> Result<Result<u64, String>, Error> {
        Ok(self.signed_tree(db).await?.map(|tree| tree.size()))
    }

    /// The tree as the checkpoint says.
    async fn signed_tree(&self, db: &mut sqlx::PgConnection) -> Result<Result<Frontier, String>, Error> {
        let checkpoint = match self.checkpoint() {
            Err(cause) if cause.kind() == io::ErrorKind::InvalidData => return Ok(Err(cause.to_string())),
            read => read?,
        };
        let size = checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.size);
        let mut nodes = Nodes::new(&self.tiles, size);
        let Ok(tree) = Frontier::of(size, |height, index| nodes.node(height, index)) else {
            return Ok(Err("tiles of the log are missing or cut".into()));
        };
        if checkpoint.is_some_and(|checkpoint| checkpoint.root != tree.root()) {
            return Ok(Err("the log's tiles do not lead to the root that was signed".into()));
        }
        Ok(self.contradiction_below(db, size).await?.map_or(Ok(tree), Err))
    }

    /// The same, and on to where the database is: a process may have been killed between the two.
    async fn catch_up(&self, db: &mut sqlx::PgConnection) -> Result<Result<Frontier, String>, Error> {
        let mut tree = match self.signed_tree(db).await? {
            Ok(tree) => tree,
            Err(fault) => return Ok(Err(fault)),
        };
        loop {
            let entries = store::logged_between(db, tree.size(), BATCH_EVENTS.unsigned_abs()).await?;
            if entries.is_empty() {
                return Ok(Ok(tree));
            }
            let mut growth = Growth::default();
            for entry in entries {
                let at = tree.size();
                let fitting = entry.leaf().map(|leaf| leaf.hash()).filter(|hash| entry.index.unsigned_abs() == at && entry.hash == hash);
                let Some(hash) = fitting else {
                    return Ok(Err(format!("entry {at} of the database does not fit an event: rows were changed")));
                };
                tree.push(hash, |height, index, node| growth.take(height, index, node));
            }
            self.publish(&growth, &tree)?;
        }
    }

    /// What the end of the database's entries says against a log of `size`. It is asked before every batch, also of a portal that runs: two
    /// rows of an index and a tile.
    async fn contradiction(&self, db: &mut sqlx::PgConnection, size: u64) -> Result<Option<String>, Error> {
        let below = self.contradiction_below(db, size).await?;
        if below.is_some() || store::leaf_hash(db, size).await?.is_none() {
            return Ok(below);
        }
        // The catch-up of the next round takes it along if it fits an event.
        Ok(Some(format!("the log has {size} entries, the database more: rows came in behind its back")))
    }

    /// The same, but for what the database has beyond.
    async fn contradiction_below(&self, db: &mut sqlx::PgConnection, size: u64) -> Result<Option<String>, Error> {
        let Some(last) = size.checked_sub(1) else { return Ok(None) };
        let Ok(logged) = Nodes::new(&self.tiles, size).node(0, last) else { return Ok(Some("tiles of the log are missing or cut".into())) };
        if store::leaf_hash(db, last).await? == Some(logged) {
            return Ok(None);
        }
        let in_database = store::leaf_count(db).await?;
        Ok(Some(match in_database < size {
            true => {
                format!("the log has {size} entries, the database {in_database}: an older copy of it was restored, or rows were removed")
            }
            false => format!("entry {last} is another in the database than in the log: rows were changed or removed"),
        }))
    }

    fn publish(&self, growth: &Growth, tree: &Frontier) -> io::Result<()> {
        growth.write(&self.tiles)?;
        replace(&self.folder.join(CHECKPOINT_FILE), self.signer.checkpoint(tree.size(), tree.root()).as_bytes())
    }

    fn tell(&self, fault: Option<String>) {
        let Ok(mut told) = self.fault.lock() else { return };
        if let Some(fault) = fault.as_deref().filter(|fault| told.as_deref() != Some(*fault)) {
            tracing::error!(fault, "the audit log stands still; `sluice audit verify` tells more");
        }
        *told = fault;
    }
}

/// A URL without its scheme, as origins are written: `weights.example.org/audit`.
fn name_of(public_url: &Url) -> String {
    let after_scheme = public_url.as_str().split_once("://").map_or(public_url.as_str(), |(_, rest)| rest);
    format!("{}/audit", after_scheme.trim_end_matches('/').replace('+', "%2B"))
}

fn broken(path: &Path, problem: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{}: {problem}", path.display()))
}
