//! PyTorch's `.bin`: a zip archive whose `data.pkl` is a pickle naming tensors, and whose `data/N` members are their bytes.
//! The members must be stored uncompressed, so that a tensor is a slice of the mapped file. (PyTorch, torch/serialization.py.)

use std::collections::HashMap;
use std::io::{Cursor, Read};
use std::ops::Range;
use std::path::Path;

use zip::{CompressionMethod, ZipArchive};

use super::pickle::{self, Rebuilt};
use super::progress::{Advance, Counted};
use super::tensor::{Tensor, size_bytes};
use crate::error::Error;
use crate::mmap::Mapped;

/// The longest pickle that is read. OPT-175B's 1,540 tensors take about 400 kB.
const PICKLE_BYTES_MAX: usize = 4 << 20;
/// The most members of an archive.
const MEMBERS_MAX: usize = 1 << 16;

/// What a file is expected to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holds {
    /// A dict of tensors, and nothing else.
    StateDict,
    /// The same under "model", beside whatever training left there; or by itself.
    Model,
}

/// The tensors of one file. Nothing in it is run: see `pickle`. With `checksums` every byte is read, compared and told.
pub(super) fn read(file: &str, path: &Path, holds: Holds, checksums: Option<Advance<'_>>) -> Result<Vec<Tensor>, Error> {
    let map = Mapped::open(path)?;
    let members = members(file, &map, checksums)?;
    let mut roots: Vec<&str> = members.keys().filter_map(|name| name.strip_suffix("/data.pkl")).collect();
    roots.sort_unstable();
    let root = match roots[..] {
        [root] => root,
        [] => return Err(Error::corrupt(file, "holds no data.pkl; it is not a PyTorch checkpoint")),
        [first, second, ..] => {
            return Err(Error::corrupt(file, format!("holds {first}/data.pkl and {second}/data.pkl; a PyTorch checkpoint has one")));
        }
    };
    if let Some(order) = members.get(&format!("{root}/byteorder"))
        && &map[order.clone()] != b"little"
    {
        return Err(Error::unsupported(format!("{file}: byteorder"), "is not little; save the checkpoint on a little-endian machine"));
    }
    let pickled = &map[members[&format!("{root}/data.pkl")].clone()];
    if pickled.len() > PICKLE_BYTES_MAX {
        return Err(Error::corrupt(file, format!("data.pkl has {} bytes; at most {PICKLE_BYTES_MAX} are read", pickled.len())));
    }
    let tensors = match holds {
        Holds::StateDict => pickle::state_dict(file, pickled)?,
        Holds::Model => pickle::model(file, pickled)?,
    };
    tensors.into_iter().map(|rebuilt| locate(file, &map, &members, root, rebuilt)).collect()
}

/// Every member's place in the file, by name.
fn members(file: &str, map: &Mapped, checksums: Option<Advance<'_>>) -> Result<HashMap<String, Range<usize>>, Error> {
    let bad = |problem: zip::result::ZipError| Error::corrupt(file, format!("not a readable zip archive: {problem}"));
    if !map.starts_with(b"PK") {
        return Err(Error::corrupt(
            file,
            "is not a zip archive (PyTorch before 1.6 wrote another format); load and save it with a newer PyTorch, or convert it to safetensors",
        ));
    }
    let mut archive = ZipArchive::new(Cursor::new(&map[..])).map_err(bad)?;
    if archive.len() > MEMBERS_MAX {
        return Err(Error::corrupt(file, format!("has {} members; at most {MEMBERS_MAX} are read", archive.len())));
    }
    let mut members = HashMap::with_capacity(archive.len());
    let mut bytes_in_all = 0_usize;
    for number in 0..archive.len() {
        let mut member = archive.by_index(number).map_err(bad)?;
        let name = member.name().map_err(bad)?.into_owned();
        if member.compression() != CompressionMethod::Stored || member.encrypted() {
            return Err(Error::corrupt(file, format!("member {name:?} is compressed or encrypted; PyTorch stores members as they are")));
        }
        let range = member
            .data_start()
            .and_then(|start| Some(usize::try_from(start).ok()?..usize::try_from(start.checked_add(member.size())?).ok()?))
            .filter(|range| range.end <= map.len())
            .ok_or_else(|| Error::corrupt(file, format!("member {name:?} reaches past the end of the file")))?;
        // Members that lay in each other would be read again and again: 65,536 of them over some gigabytes for days.
        bytes_in_all = bytes_in_all
            .checked_add(range.len())
            .filter(|bytes| *bytes <= map.len())
            .ok_or_else(|| Error::corrupt(file, format!("its members hold more than the file's {} bytes: they overlap", map.len())))?;
        if let Some(advance) = checksums {
            // Reading to the end makes the zip reader compare the checksum; PyTorch itself does not.
            std::io::copy(&mut member.by_ref(), &mut Counted(advance))
                .map_err(|problem| Error::corrupt(file, format!("member {name:?} is damaged: {problem}")))?;
        }
        drop(member);
        if members.insert(name.clone(), range).is_some() {
            return Err(Error::corrupt(file, format!("member {name:?} appears twice")));
        }
    }
    Ok(members)
}

/// Finds a tensor's bytes, and checks that they lie in its storage without gaps.
fn locate(file: &str, map: &Mapped, members: &HashMap<String, Range<usize>>, root: &str, rebuilt: Rebuilt) -> Result<Tensor, Error> {
    let corrupt = |problem: String| Error::corrupt(file, format!("tensor `{}` {problem}", rebuilt.name));
    let storage = members
        .get(&format!("{root}/data/{}", rebuilt.storage_key))
        .ok_or_else(|| corrupt(format!("is in storage {:?}, which is missing", rebuilt.storage_key)))?;
    let size = size_bytes(rebuilt.dtype, &rebuilt.shape).ok_or_else(|| corrupt(format!("has an impossible shape, {:?}", rebuilt.shape)))?;
    if !is_row_major(&rebuilt.shape, &rebuilt.stride) {
        return Err(corrupt(format!("is not contiguous: shape {:?}, strides {:?}", rebuilt.shape, rebuilt.stride)));
    }
    let range = rebuilt
        .storage_offset
        .checked_mul(rebuilt.dtype.bytes())
        .and_then(|offset| storage.start.checked_add(offset))
        .and_then(|start| Some(start..start.checked_add(size)?))
        .filter(|range| range.end <= storage.end)
        .ok_or_else(|| corrupt(format!("of shape {:?} reaches past the end of its storage", rebuilt.shape)))?;
    Ok(Tensor { name: rebuilt.name, dtype: rebuilt.dtype, shape: rebuilt.shape, file: file.to_owned(), map: map.clone(), range })
}

/// Whether the strides (in elements) are those of a tensor without gaps. The stride of a dimension of one does not matter.
fn is_row_major(shape: &[usize], stride: &[usize]) -> bool {
    let mut expected = 1_usize;
    shape.len() == stride.len()
        && shape.iter().zip(stride).rev().all(|(dim, stride)| {
            let fits = *dim == 1 || *stride == expected;
            // Only a tensor without elements can come to overflow, and its bytes are none.
            expected = expected.saturating_mul(*dim);
            fits
        })
}
