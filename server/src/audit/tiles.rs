//! The hashes of the log on disk, laid out as c2sp.org/tlog-tiles serves them: files of up to 256 hashes. A tile that is not full yet lies
//! under its full name and is only ever written on at its end; readers take as many hashes as the log they know of has.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::merkle::Hash;
use crate::data_dir;

/// Hashes in a full tile; a tile is a subtree of height 8.
pub const TILE_HASHES: u64 = 1 << TILE_HEIGHT;
const TILE_HEIGHT: u32 = 8;
const HASH_BYTES: usize = size_of::<Hash>();

/// The folder of tiles.
#[derive(Debug)]
pub struct Tiles {
    folder: PathBuf,
}

impl Tiles {
    /// Those in this folder, which has to be there.
    pub fn in_folder(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// The first `width` hashes of a tile. Errors: `UnexpectedEof` if it has fewer.
    pub fn read(&self, level: u32, tile: u64, width: u64) -> io::Result<Vec<u8>> {
        let mut bytes = fs::read(self.path(level, tile))?;
        let length = usize::try_from(width).map_err(io::Error::other)? * HASH_BYTES;
        if bytes.len() < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        bytes.truncate(length);
        Ok(bytes)
    }

    fn path(&self, level: u32, tile: u64) -> PathBuf {
        self.folder.join(level.to_string()).join(tile_name(tile))
    }
}

/// The number of a tile as a path: three digits an element, all but the last beginning with `x`.
fn tile_name(tile: u64) -> String {
    let mut name = format!("{:03}", tile % 1000);
    let mut rest = tile / 1000;
    while rest > 0 {
        name = format!("x{:03}/{name}", rest % 1000);
        rest /= 1000;
    }
    name
}

/// Reads the opposite of [`tile_name`], and the width behind `.p/` (all 256 without). Nothing else is a tile's name.
pub fn parse_name(name: &str) -> Option<(u64, u64)> {
    let (number, width) = match name.split_once(".p/") {
        Some((number, width)) => (number, width.parse().ok().filter(|width| (1..TILE_HASHES).contains(width))?),
        None => (name, TILE_HASHES),
    };
    let tile = number.replace(['x', '/'], "").parse().ok()?;
    let again = if width == TILE_HASHES { tile_name(tile) } else { format!("{}.p/{width}", tile_name(tile)) };
    (again == name).then_some((tile, width))
}

/// Looks up the roots of perfect subtrees, and keeps the tiles it has read.
#[derive(Debug)]
pub struct Nodes<'a> {
    tiles: &'a Tiles,
    size: u64,
    read: HashMap<(u32, u64), Vec<u8>>,
}

impl<'a> Nodes<'a> {
    /// Those of a log of `size` entries.
    pub fn new(tiles: &'a Tiles, size: u64) -> Self {
        Self { tiles, size, read: HashMap::new() }
    }

    /// The root of the perfect subtree over the entries `index << height .. (index + 1) << height`. Errors: what the disk says.
    pub fn node(&mut self, height: u32, index: u64) -> io::Result<Hash> {
        let (level, above) = (height / TILE_HEIGHT, height % TILE_HEIGHT);
        let first = index << above;
        let tile = self.tile(level, first / TILE_HASHES)?;
        let start = (first % TILE_HASHES) as usize * HASH_BYTES;
        let hashes = tile.get(start..start + (HASH_BYTES << above)).ok_or(io::ErrorKind::UnexpectedEof)?;
        let mut tree = super::merkle::Frontier::default();
        hashes.as_chunks::<HASH_BYTES>().0.iter().for_each(|hash| tree.push(*hash, |_, _, _| ()));
        Ok(tree.root())
    }

    fn tile(&mut self, level: u32, tile: u64) -> io::Result<&[u8]> {
        if !self.read.contains_key(&(level, tile)) {
            let width = (self.size >> (TILE_HEIGHT * level)).saturating_sub(tile * TILE_HASHES).min(TILE_HASHES);
            self.read.insert((level, tile), self.tiles.read(level, tile, width)?);
        }
        Ok(&self.read[&(level, tile)])
    }
}

/// Hashes that are to be written, by tile.
#[derive(Debug, Default)]
pub struct Growth {
    tiles: BTreeMap<(u32, u64), (u64, Vec<u8>)>,
}

impl Growth {
    /// Takes the root of a subtree that is complete now; only those of whole tiles are kept.
    pub fn take(&mut self, height: u32, index: u64, hash: &Hash) {
        if height.is_multiple_of(TILE_HEIGHT) {
            let tile = self.tiles.entry((height / TILE_HEIGHT, index / TILE_HASHES)).or_insert((index % TILE_HASHES, Vec::new()));
            tile.1.extend_from_slice(hash);
        }
    }

    /// Writes them where they belong, over whatever a killed process may have left there, and waits until they are on the disk.
    pub fn write(&self, tiles: &Tiles) -> io::Result<()> {
        for ((level, tile), (first, hashes)) in &self.tiles {
            let path = tiles.path(*level, *tile);
            let folder = path.parent().unwrap_or(&tiles.folder);
            let is_new = !path.exists();
            if is_new {
                fs::create_dir_all(folder)?;
            }
            let file = data_dir::private_file().write(true).truncate(false).open(&path)?;
            file.write_all_at(hashes, first * HASH_BYTES as u64)?;
            file.sync_data()?;
            if is_new {
                sync_up_to(folder, &tiles.folder)?;
            }
        }
        Ok(())
    }
}

/// Waits until the names in `folder`, and of the folders above it up to `top`, are on the disk.
fn sync_up_to(folder: &Path, top: &Path) -> io::Result<()> {
    for folder in folder.ancestors() {
        File::open(folder)?.sync_all()?;
        if folder == top {
            break;
        }
    }
    Ok(())
}

/// Replaces a small file by another content, so that there is always one or the other.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let fresh = path.with_extension("new");
    let mut file = data_dir::private_file().write(true).truncate(true).open(&fresh)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
    use super::*;
    use crate::audit::merkle::{Frontier, leaf_hash};

    #[test]
    fn names_are_those_of_the_specification() {
        assert_eq!(tile_name(1_234_067), "x001/x234/067");
        assert_eq!(tile_name(0), "000");
        assert_eq!(parse_name("x001/x234/067"), Some((1_234_067, 256)));
        assert_eq!(parse_name("005.p/12"), Some((5, 12)));
        for wrong in ["5", "005.p/0", "005.p/256", "005.p/012", "001/234", "x000/005", "../key", "", "x001", "-01", "+01"] {
            assert_eq!(parse_name(wrong), None, "{wrong}");
        }
    }

    /// 70,000 entries: the example of the specification.
    #[test]
    fn tiles_have_the_widths_of_the_specification_and_give_every_subtree_back() {
        let folder = tempfile::tempdir().unwrap();
        let tiles = Tiles::in_folder(folder.path().to_owned());
        let mut tree = Frontier::default();
        for batch in [1, 254, 2, 65_000, 4_743] {
            let mut growth = Growth::default();
            for n in tree.size()..tree.size() + batch {
                tree.push(leaf_hash(&n.to_be_bytes()), |height, index, hash| growth.take(height, index, hash));
            }
            growth.write(&tiles).unwrap();
            let mut nodes = Nodes::new(&tiles, tree.size());
            assert_eq!(Frontier::of(tree.size(), |height, index| nodes.node(height, index)).unwrap(), tree);
        }
        let hashes = |level, tile| fs::metadata(tiles.path(level, tile)).unwrap().len() / 32;
        assert_eq!((hashes(0, 272), hashes(0, 273), hashes(1, 0), hashes(1, 1), hashes(2, 0)), (256, 112, 256, 17, 1));
        assert!(tiles.read(0, 273, 113).is_err());
        assert!(tiles.read(0, 274, 1).is_err());
    }
}
