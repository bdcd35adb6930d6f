//! From `pytorch_model*.bin`, or Meta's own `.pt`, to safetensors: the same numbers bit for bit, in a container that holds nothing to run.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use super::files::Checkpoint;
use super::index::{Format, tensors_watched};
use super::progress::Advance;
use super::safetensors::{self, METADATA};
use super::tensor::Tensor;
use crate::error::Error;

/// One file that a conversion wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Converted {
    /// Its name in the Hugging Face layout.
    pub name: String,
    /// Where it lies.
    pub path: PathBuf,
    /// Its size.
    pub size_bytes: u64,
    /// Whether an earlier conversion that was interrupted had written it already.
    pub was_there: bool,
}

/// Rewrites the checkpoint's `.bin` or `.pt` weights into `out` as `model.safetensors`, or, past `shard_bytes_max` bytes of tensors, as
/// `model-00001-of-0000n.safetensors` with their index. Types and bytes are kept, equal input gives equal files, and memory
/// stays at a buffer: tensors go from the mapped file to the new one. Other files are not touched. A checkpoint that is safetensors already
/// gives `Unsupported`; whatever `tensors` finds wrong is passed on.
///
/// A file gets its name when it is complete. Interrupted and called again on the same folder, it compares what lies there under that
/// name with the source, byte for byte, keeps what agrees and writes the rest; anything else in the folder may be overwritten.
/// Tells `advance` how far it is (see [`super::convert_bytes`]).
pub fn convert(checkpoint: &Checkpoint, out: &Path, shard_bytes_max: u64, advance: Advance<'_>) -> Result<Vec<Converted>, Error> {
    let index = tensors_watched(checkpoint, advance)?;
    match index.format() {
        Format::Torch | Format::Metaseq => {}
        Format::Safetensors => {
            return Err(Error::unsupported("model.safetensors", "is there already; only pytorch_model.bin is converted"));
        }
    }
    if index.get(METADATA).is_some() {
        return Err(Error::unsupported(METADATA, "is the name of a tensor, and safetensors keep it for what is none; rename the tensor"));
    }
    let shards = shards(index.tensors(), shard_bytes_max);
    if let [only] = shards.as_slice() {
        return Ok(vec![write_shard("model.safetensors".to_owned(), only, out, advance)?]);
    }
    let mut written = Vec::with_capacity(shards.len() + 1);
    let mut weight_map = BTreeMap::new();
    for (number, shard) in shards.iter().enumerate() {
        let name = format!("model-{:05}-of-{:05}.safetensors", number + 1, shards.len());
        weight_map.extend(shard.iter().map(|tensor| (tensor.name().to_owned(), name.clone())));
        written.push(write_shard(name, shard, out, advance)?);
    }
    let body = serde_json::json!({ "metadata": { "total_size": index.bytes() }, "weight_map": weight_map });
    let body = format!("{body:#}\n");
    written.push(write("model.safetensors.index.json".to_owned(), out, |file| file.write_all(body.as_bytes()))?);
    Ok(written)
}

/// Tensors in checkpoint order, cut where the next would not fit; a tensor is never split. At least one shard.
fn shards(tensors: &[Tensor], shard_bytes_max: u64) -> Vec<Vec<&Tensor>> {
    let mut shards = vec![Vec::new()];
    let mut used_bytes = 0;
    for tensor in tensors {
        let size_bytes = tensor.bytes().len() as u64;
        if used_bytes > 0 && used_bytes + size_bytes > shard_bytes_max {
            shards.push(Vec::new());
            used_bytes = 0;
        }
        used_bytes += size_bytes;
        shards.last_mut().expect("there is always one shard").push(tensor);
    }
    for shard in &mut shards {
        // Wider numbers first, so that each lies aligned; otherwise in order.
        shard.sort_by_key(|tensor| std::cmp::Reverse(tensor.dtype().bytes()));
    }
    shards
}

fn write_shard(name: String, shard: &[&Tensor], out: &Path, advance: Advance<'_>) -> Result<Converted, Error> {
    let path = out.join(&name);
    if safetensors::is_written(&path, shard, advance).map_err(|source| Error::io(&path, source))? {
        let size_bytes = path.metadata().map_err(|source| Error::io(&path, source))?.len();
        return Ok(Converted { name, path, size_bytes, was_there: true });
    }
    write(name, out, |file| safetensors::write(file, shard, advance))
}

fn write(name: String, out: &Path, body: impl FnOnce(&mut BufWriter<File>) -> std::io::Result<()>) -> Result<Converted, Error> {
    let (path, partial) = (out.join(&name), out.join(format!("{name}.partial")));
    let failed = |source| Error::io(&path, source);
    let mut file = BufWriter::with_capacity(1 << 20, File::create(&partial).map_err(failed)?);
    body(&mut file).map_err(failed)?;
    let file = file.into_inner().map_err(|error| failed(error.into_error()))?;
    file.sync_all().map_err(failed)?;
    let size_bytes = file.metadata().map_err(failed)?.len();
    std::fs::rename(&partial, &path).map_err(failed)?;
    Ok(Converted { name, path, size_bytes, was_there: false })
}
