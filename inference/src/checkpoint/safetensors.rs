//! The safetensors container: eight bytes of header length, a JSON header, the tensors' bytes without gaps. Read with every
//! field checked before it is believed; written so that equal tensors give equal bytes. (huggingface/safetensors, README "Format".)

use std::fs::File;
use std::io::{self, Read, Write};
use std::marker::PhantomData;
use std::path::Path;

use serde::de::{Deserialize, Deserializer};

use super::entries::Each;
use super::progress::Advance;
use super::tensor::{Dtype, PIECE_BYTES, TENSORS_MAX, Tensor, size_bytes};
use crate::error::Error;
use crate::mmap::Mapped;

/// The longest header that is read: 256 bytes for each of the most tensors. The format allows 100 MB; OPT-175B's takes 250 kB in all.
const HEADER_BYTES_MAX: u64 = (TENSORS_MAX * 256) as u64;
/// The most dimensions of a tensor. OPT's have one or two.
const DIMENSIONS_MAX: usize = 8;

/// The entry of a header that is no tensor.
pub(super) const METADATA: &str = "__metadata__";

/// The tensors of one file. `Corrupt` names what is wrong; `Unsupported` names a tensor stored in a type we do not read.
pub(super) fn read(file: &str, path: &Path) -> Result<Vec<Tensor>, Error> {
    let map = Mapped::open(path)?;
    let corrupt = |problem: String| Error::corrupt(file, problem);
    let Some((length, rest)) = map.split_first_chunk::<8>() else {
        return Err(corrupt(format!("has {} bytes, too few for a safetensors header", map.len())));
    };
    let header_bytes = u64::from_le_bytes(*length);
    let header = usize::try_from(header_bytes)
        .ok()
        .filter(|_| header_bytes <= HEADER_BYTES_MAX)
        .and_then(|header_bytes| rest.get(..header_bytes))
        .ok_or_else(|| {
            let bytes = map.len();
            corrupt(format!("claims a header of {header_bytes} bytes in a file of {bytes}; at most {HEADER_BYTES_MAX} are read"))
        })?;
    let header_end = 8 + header.len();
    let data_bytes = map.len() - header_end;

    // As a whole, since serde_json does not look at bytes it skips.
    let text = str::from_utf8(header).map_err(|problem| corrupt(format!("the header is not valid: {problem}")))?;
    let Header(entries) = serde_json::from_str(text).map_err(|problem| corrupt(format!("the header is not valid: {problem}")))?;
    let mut tensors = Vec::with_capacity(entries.len());
    for (name, entry) in entries {
        if entry.shape.len() > DIMENSIONS_MAX {
            return Err(corrupt(format!("tensor `{name}` claims {} dimensions; at most {DIMENSIONS_MAX} are read", entry.shape.len())));
        }
        let dtype = match entry.dtype.as_str() {
            "F32" => Dtype::F32,
            "F16" => Dtype::F16,
            "BF16" => Dtype::Bf16,
            other => return Err(Error::unsupported(name, format!("is stored as {other}; F32, F16 and BF16 are understood"))),
        };
        let [begin, end] = entry.data_offsets;
        if begin > end || end > data_bytes {
            return Err(corrupt(format!("tensor `{name}` claims bytes {begin} to {end} of {data_bytes}")));
        }
        if size_bytes(dtype, &entry.shape) != Some(end - begin) {
            return Err(corrupt(format!("tensor `{name}` claims shape {:?} of {} in {} bytes", entry.shape, entry.dtype, end - begin)));
        }
        tensors.push(Tensor {
            name,
            dtype,
            shape: entry.shape,
            file: file.to_owned(),
            map: map.clone(),
            range: header_end + begin..header_end + end,
        });
    }
    check_tiling(file, &tensors, header_end, map.len())?;
    Ok(tensors)
}

/// The tensors must follow each other without gap or overlap and fill the file: then nothing is hidden in it.
fn check_tiling(file: &str, tensors: &[Tensor], data_begin: usize, data_end: usize) -> Result<(), Error> {
    let mut by_place: Vec<&Tensor> = tensors.iter().collect();
    by_place.sort_by_key(|tensor| (tensor.range.start, tensor.range.end));
    let mut reached = data_begin;
    for tensor in by_place {
        let (name, start) = (&tensor.name, tensor.range.start);
        if start < reached {
            return Err(Error::corrupt(file, format!("tensor `{name}` overlaps the one before it")));
        }
        if start > reached {
            return Err(Error::corrupt(file, format!("{} bytes before tensor `{name}` belong to no tensor", start - reached)));
        }
        reached = tensor.range.end;
    }
    if reached != data_end {
        return Err(Error::corrupt(file, format!("the last {} bytes belong to no tensor", data_end - reached)));
    }
    Ok(())
}

/// Writes the tensors in the given order. Equal input gives equal bytes.
pub(super) fn write(out: &mut impl Write, tensors: &[&Tensor], advance: Advance<'_>) -> io::Result<()> {
    out.write_all(&front(tensors)?)?;
    for piece in pieces(tensors) {
        out.write_all(piece)?;
        advance(piece.len() as u64);
    }
    Ok(())
}

/// Whether the file at `path` is, byte for byte, what [`write`] would write. `false` if there is none.
pub(super) fn is_written(path: &Path, tensors: &[&Tensor], advance: Advance<'_>) -> io::Result<bool> {
    let front = front(tensors)?;
    let size_bytes = front.len() + tensors.iter().map(|tensor| tensor.range.len()).sum::<usize>();
    let mut file = match File::open(path) {
        Ok(file) if file.metadata()?.len() == size_bytes as u64 => file,
        Ok(_) => return Ok(false),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(cause) => return Err(cause),
    };
    let mut found = vec![0; PIECE_BYTES.max(front.len())];
    for piece in std::iter::once(front.as_slice()).chain(pieces(tensors)) {
        let found = &mut found[..piece.len()];
        file.read_exact(found)?;
        if found != piece {
            return Ok(false);
        }
        advance(piece.len() as u64);
    }
    Ok(true)
}

/// The tensors' bytes, a handful at a time.
fn pieces<'a>(tensors: &'a [&Tensor]) -> impl Iterator<Item = &'a [u8]> {
    tensors.iter().flat_map(|tensor| tensor.bytes().chunks(PIECE_BYTES))
}

/// What stands before the tensors' bytes: the header and its length.
fn front(tensors: &[&Tensor]) -> io::Result<Vec<u8>> {
    let mut entries = serde_json::Map::new();
    entries.insert(METADATA.to_owned(), serde_json::json!({ "format": "pt" }));
    let mut begin = 0;
    for tensor in tensors {
        let end = begin + tensor.range.len();
        entries.insert(
            tensor.name.clone(),
            serde_json::json!({ "dtype": tensor.dtype.name(), "shape": tensor.shape, "data_offsets": [begin, end] }),
        );
        begin = end;
    }
    let mut header = serde_json::to_vec(&entries)?;
    // Padded to eight bytes, so that the numbers lie aligned.
    header.resize(header.len().next_multiple_of(8), b' ');
    Ok([&(header.len() as u64).to_le_bytes(), header.as_slice()].concat())
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: [usize; 2],
}

/// The header's entries, but for what people wrote about the file.
struct Header(Vec<(String, Entry)>);

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let each = Each { what: "an object of tensors", aside: Some(METADATA), entries_max: TENSORS_MAX, value: PhantomData };
        deserializer.deserialize_map(each).map(Self)
    }
}
