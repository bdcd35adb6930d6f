//! Meta's own checkpoints of OPT: one `.pt`, or one for each part of a model that several processors held together
//! (`…-model_part-0.pt`, …). Names and order of the numbers are brought into those of the Hugging Face layout; no number changes.
//! (facebookresearch/metaseq: `stitch_fsdp_ckpt.py` says along which dimension each weight was cut.)
//!
//! Parts are joined into a file that has no name, beside the parts or else in the system's folder for such things, and mapped like any
//! other: it takes as much disk as the weights, for as long as somebody reads them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::files::Checkpoint;
use super::progress::Advance;
use super::tensor::{Tensor, size_bytes};
use super::torch;
use crate::error::Error;
use crate::mmap::Mapped;

const PART: &str = "-model_part-";
/// The most parts: OPT-175B was trained in 8.
const PARTS_MAX: usize = 64;

/// The files that hold the weights, in the order of their parts; none if there is no `.pt`.
pub(super) fn parts(checkpoint: &Checkpoint) -> Result<Vec<String>, Error> {
    let all: Vec<&String> = checkpoint.files().keys().filter(|name| name.ends_with(".pt")).collect();
    if let Some(flat) = all.iter().find(|name| name.contains("-shard")) {
        let how =
            "is a shard of flattened weights; join the shards of each part first, with metaseq's reshard_fsdp and --unflatten-weights True";
        return Err(Error::unsupported(flat.as_str(), how));
    }
    match all[..] {
        [] => Ok(vec![]),
        [only] if !only.contains(PART) => Ok(vec![only.clone()]),
        _ => numbered(&all),
    }
}

fn numbered(all: &[&String]) -> Result<Vec<String>, Error> {
    let prefix = all[0].split(PART).next().unwrap_or_default();
    let wanted: Vec<String> = (0..all.len()).map(|number| format!("{prefix}{PART}{number}.pt")).collect();
    if let Some(odd) = all.iter().find(|name| !wanted.contains(name)) {
        let problem =
            format!("does not belong to {} parts named {prefix}{PART}0.pt and on: put nothing but one model's parts here", all.len());
        return Err(Error::corrupt(odd.as_str(), problem));
    }
    if wanted.len() > PARTS_MAX {
        return Err(Error::corrupt(all[0].as_str(), format!("is one of {} parts; at most {PARTS_MAX} are read", wanted.len())));
    }
    Ok(wanted)
}

/// Whether a file is by its name one of several parts: its tensors are then shares of the model's.
pub fn is_part(file: &str) -> bool {
    file.contains(PART) && file.ends_with(".pt")
}

/// The tensors of one file, under the names that transformers gives them: the model's, or a part's share of each. Flattened weights are left as
/// they are, since what is in them cannot be told.
pub(super) fn read_one(file: &str, path: &Path, checksums: Option<Advance<'_>>) -> Result<Vec<Tensor>, Error> {
    let tensors = torch::read(file, path, torch::Holds::Model, checksums)?;
    if tensors.iter().any(is_flat) {
        return Ok(tensors);
    }
    whole(&[file.to_owned()], &[weights_of(tensors)], path)
}

/// The model's tensors under the names that transformers gives them.
pub(super) fn read(checkpoint: &Checkpoint, files: &[String], checksums: Option<Advance<'_>>) -> Result<Vec<Tensor>, Error> {
    let mut parts = Vec::with_capacity(files.len());
    for file in files {
        let path = checkpoint.path(file).ok_or_else(|| Error::missing(file))?;
        let tensors = torch::read(file, path, torch::Holds::Model, checksums)?;
        if let Some(flat) = tensors.iter().find(|tensor| is_flat(tensor)) {
            let how = "holds flattened weights; unflatten them first, with metaseq's reshard_fsdp and --unflatten-weights True";
            return Err(Error::unsupported(format!("{file}: {}", flat.name), how));
        }
        parts.push(weights_of(tensors));
    }
    let first = files.first().and_then(|file| checkpoint.path(file)).unwrap_or(Path::new(""));
    whole(files, &parts, first)
}

fn is_flat(tensor: &Tensor) -> bool {
    tensor.name.contains("flat_param")
}

/// By name, without what is no weight.
fn weights_of(mut tensors: Vec<Tensor>) -> Vec<Tensor> {
    tensors.retain(|tensor| !is_remark(&tensor.name));
    tensors.sort_by(|one, other| one.name.cmp(&other.name));
    tensors
}

/// What the parts are together. `first` is where the first of them lies.
fn whole(files: &[String], parts: &[Vec<Tensor>], first: &Path) -> Result<Vec<Tensor>, Error> {
    let mut pieces = Vec::new();
    for parts in same_names(files, parts)? {
        if parts[0].name.contains(".qkv_proj.") {
            pieces.extend(thirds(&parts)?);
        } else {
            pieces.push((renamed(&parts[0].name), parts.into_iter().cloned().collect()));
        }
    }
    let mut tensors = join(first, pieces)?;
    drop_tied_head(&mut tensors);
    Ok(tensors)
}

/// What metaseq keeps beside the weights.
fn is_remark(name: &str) -> bool {
    name.ends_with(".version") || name.ends_with("._float_tensor")
}

/// For each name, its tensor in every part.
fn same_names<'a>(files: &[String], parts: &'a [Vec<Tensor>]) -> Result<Vec<Vec<&'a Tensor>>, Error> {
    for (file, part) in files.iter().zip(parts).skip(1) {
        let odd = part.iter().find(|tensor| parts[0].binary_search_by(|other| other.name.cmp(&tensor.name)).is_err());
        if let Some(odd) = odd {
            return Err(Error::corrupt(file, format!("holds `{}`, which {} does not", odd.name, files[0])));
        }
        if part.len() != parts[0].len() {
            return Err(Error::corrupt(file, format!("holds {} tensors, and {} holds {}", part.len(), files[0], parts[0].len())));
        }
    }
    Ok((0..parts.first().map_or(0, Vec::len)).map(|place| parts.iter().map(|part| &part[place]).collect()).collect())
}

/// Keys, values and queries lie together, in this order whatever the name says; each is its own tensor elsewhere.
fn thirds(parts: &[&Tensor]) -> Result<Vec<(String, Vec<Tensor>)>, Error> {
    let mut split: Vec<(String, Vec<Tensor>)> =
        ["k", "v", "q"].iter().map(|kind| (renamed(&parts[0].name.replace(".qkv_proj.", &format!(".{kind}_proj."))), Vec::new())).collect();
    for part in parts {
        let rows = part.shape.first().copied().unwrap_or_default();
        if rows == 0 || rows % 3 != 0 {
            return Err(Error::corrupt(&part.file, format!("`{}` of shape {:?} is not three in one", part.name, part.shape)));
        }
        let length = part.range.len() / 3;
        for (place, (name, pieces)) in split.iter_mut().enumerate() {
            let start = part.range.start + place * length;
            let mut piece = (*part).clone();
            piece.name.clone_from(name);
            piece.shape[0] = rows / 3;
            piece.range = start..start + length;
            pieces.push(piece);
        }
    }
    Ok(split)
}

fn renamed(name: &str) -> String {
    name.replace("decoder.layer_norm.", "decoder.final_layer_norm.")
        .replace("decoder.project_in_dim.", "decoder.project_in.")
        .replace("decoder.project_out_dim.", "decoder.project_out.")
        .replace("decoder.output_projection.", "lm_head.")
}

/// How a weight was cut over the parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    /// Every part has some of its rows.
    Rows,
    /// Every part has some of its columns.
    Columns,
    /// Every part has all of it.
    Not,
}

fn cut(name: &str) -> Cut {
    let ends = |endings: &[&str]| endings.iter().any(|ending| name.ends_with(ending));
    let rows = [".q_proj.weight", ".k_proj.weight", ".v_proj.weight", ".q_proj.bias", ".k_proj.bias", ".v_proj.bias"];
    if ends(&rows) || ends(&[".fc1.weight", ".fc1.bias", "embed_tokens.weight", "lm_head.weight"]) {
        Cut::Rows
    } else if ends(&[".out_proj.weight", ".fc2.weight"]) {
        Cut::Columns
    } else {
        Cut::Not
    }
}

/// Joins what was cut. What was not is taken from the first part, once all of them are seen to have the same.
fn join(first: &Path, pieces: Vec<(String, Vec<Tensor>)>) -> Result<Vec<Tensor>, Error> {
    let (mut whole, mut cuts) = (Vec::new(), Vec::new());
    for (name, mut parts) in pieces {
        let first = &parts[0];
        if let Some(odd) = parts.iter().find(|part| part.dtype != first.dtype || part.shape.len() != first.shape.len()) {
            return Err(Error::corrupt(&odd.file, format!("`{}` is another kind of tensor than in {}", odd.name, first.file)));
        }
        match cut(&name) {
            _ if parts.len() == 1 => whole.push(Tensor { name, ..parts.swap_remove(0) }),
            Cut::Not => {
                if let Some(odd) = parts.iter().find(|part| part.bytes() != first.bytes()) {
                    let problem = format!("`{}` differs from that in {}; every part should have the same", odd.name, first.file);
                    return Err(Error::corrupt(&odd.file, problem));
                }
                whole.push(Tensor { name, ..parts.swap_remove(0) });
            }
            how => cuts.push((name, how, parts)),
        }
    }
    if !cuts.is_empty() {
        whole.extend(write_joined(first, cuts)?);
    }
    whole.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(whole)
}

fn write_joined(first: &Path, cuts: Vec<(String, Cut, Vec<Tensor>)>) -> Result<Vec<Tensor>, Error> {
    let beside = first.parent().unwrap_or(Path::new(""));
    let (file, path) = nameless(beside).or_else(|_| nameless(&std::env::temp_dir())).map_err(|source| Error::io(beside, source))?;
    let failed = |source| Error::io(&path, source);
    let mut out = BufWriter::with_capacity(1 << 20, file);
    let (mut begin, mut places) = (0, Vec::with_capacity(cuts.len()));
    for (name, how, parts) in &cuts {
        let shape = joined_shape(*how, parts)?;
        let length = size_bytes(parts[0].dtype, &shape)
            .ok_or_else(|| Error::corrupt(&parts[0].file, format!("`{name}` has an impossible shape")))?;
        write_rows(&mut out, *how, parts).map_err(failed)?;
        places.push((shape, begin..begin + length));
        begin += length;
    }
    let map = Mapped::of(&out.into_inner().map_err(|error| failed(error.into_error()))?).map_err(failed)?;
    let joined = cuts.into_iter().zip(places).map(|((name, _, parts), (shape, range))| Tensor {
        name,
        dtype: parts[0].dtype,
        shape,
        file: parts[0].file.clone(),
        map: map.clone(),
        range,
    });
    Ok(joined.collect())
}

/// The shape of the whole. Every part has an equal share.
fn joined_shape(how: Cut, parts: &[Tensor]) -> Result<Vec<usize>, Error> {
    let along = if how == Cut::Columns { 1 } else { 0 };
    let mut shape = parts[0].shape.clone();
    if let Some(odd) = parts.iter().find(|part| part.shape != shape || shape.len() <= along) {
        let problem = format!("`{}` has shape {:?}, and {shape:?} in {}; parts have equal shares", odd.name, odd.shape, parts[0].file);
        return Err(Error::corrupt(&odd.file, problem));
    }
    shape[along] = shape[along].saturating_mul(parts.len());
    Ok(shape)
}

fn write_rows(out: &mut impl Write, how: Cut, parts: &[Tensor]) -> io::Result<()> {
    if how == Cut::Rows {
        return parts.iter().try_for_each(|part| out.write_all(part.bytes()));
    }
    let row = |part: &Tensor, number: usize| {
        let length = part.shape[1] * part.dtype.bytes();
        number * length..(number + 1) * length
    };
    (0..parts[0].shape[0]).try_for_each(|number| parts.iter().try_for_each(|part| out.write_all(&part.bytes()[row(part, number)])))
}

/// A file for this user alone that is gone with the last who reads it.
fn nameless(folder: &Path) -> io::Result<(File, PathBuf)> {
    use std::os::unix::fs::OpenOptionsExt;
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let name = format!(".sluice-joined-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
    let path = folder.join(name);
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    fs::remove_file(&path)?;
    Ok((file, path))
}

/// The head is the table of tokens again; transformers stores it once.
fn drop_tied_head(tensors: &mut Vec<Tensor>) {
    let named = |name: &str| tensors.iter().position(|tensor| tensor.name == name);
    if let (Some(head), Some(table)) = (named("lm_head.weight"), named("decoder.embed_tokens.weight"))
        && tensors[head].shape == tensors[table].shape
        && tensors[head].bytes() == tensors[table].bytes()
    {
        tensors.remove(head);
    }
}
