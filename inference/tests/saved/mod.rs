//! Weights as Meta's training saved them: written here byte by byte, for the tests of the engine and for those of the command line.
#![allow(clippy::unwrap_used, reason = "in tests a failure is a panic")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;

use inference::Checkpoint;
use inference::checkpoint::tensors;
use zip::write::SimpleFileOptions;

/// A tensor of halves: name, shape, bytes.
pub type Half = (String, Vec<usize>, Vec<u8>);

/// What Meta's training would call these weights of the usual layout, whole.
pub fn weights(fixture: &Path) -> Vec<Half> {
    let index = tensors(&Checkpoint::open_dir(fixture).unwrap()).unwrap();
    let named = |name: &str| {
        let plain = name.strip_prefix("model.").unwrap_or(name);
        plain.replace("decoder.final_layer_norm.", "decoder.layer_norm.")
    };
    let kept = index.tensors().iter().filter(|tensor| tensor.name() != "lm_head.weight");
    kept.map(|tensor| (named(tensor.name()), tensor.shape().to_vec(), tensor.bytes().to_vec())).collect()
}

fn text(text: &str) -> Vec<u8> {
    [b"X".as_slice(), &(text.len() as u32).to_le_bytes(), text.as_bytes()].concat()
}

fn int(number: usize) -> Vec<u8> {
    [b"J".as_slice(), &(number as u32).to_le_bytes()].concat()
}

fn tuple(items: &[usize]) -> Vec<u8> {
    [b"(".to_vec(), items.iter().flat_map(|item| int(*item)).collect(), b"t".to_vec()].concat()
}

/// `torch.save({"args": Namespace(…), "model": OrderedDict(…), "optimizer_history": […]}, path)`, in protocol 2.
pub fn save(path: &Path, tensors: &[Half]) {
    let mut pickle = b"\x80\x02}(".to_vec();
    pickle.extend([text("args"), b"cargparse\nNamespace\n)\x81}(".to_vec(), text("arch"), text("transformer_lm"), b"ub".to_vec()].concat());
    pickle.extend([text("cfg"), b"ccollections\ndefaultdict\ncbuiltins\ndict\n\x85R(".to_vec(), text("x"), b"NuX".to_vec()].concat());
    pickle.extend([&2000u32.to_le_bytes()[..], &[b'k'; 2000], b"N"].concat());
    pickle.extend([text("model"), b"ccollections\nOrderedDict\n)R(".to_vec()].concat());
    for (number, (name, shape, bytes)) in tensors.iter().enumerate() {
        let strides: Vec<usize> = (0..shape.len()).map(|place| shape[place + 1..].iter().product()).collect();
        pickle.extend(
            [text(name), b"ctorch._utils\n_rebuild_tensor_v2\n((".to_vec(), text("storage"), b"ctorch\nHalfStorage\n".to_vec()].concat(),
        );
        pickle.extend([text(&number.to_string()), text("cpu"), int(bytes.len() / 2), b"tQ".to_vec(), int(0)].concat());
        pickle.extend([tuple(shape), tuple(&strides), b"\x89ccollections\nOrderedDict\n)RtR".to_vec()].concat());
    }
    pickle.extend([b"u".to_vec(), text("optimizer_history"), b"](G\x3f\xf0\x00\x00\x00\x00\x00\x00\x88eu.".to_vec()].concat());

    let mut archive = zip::ZipWriter::new(fs::File::create(path).unwrap());
    let stored = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    archive.start_file("archive/data.pkl", stored).unwrap();
    archive.write_all(&pickle).unwrap();
    for (number, (_, _, bytes)) in tensors.iter().enumerate() {
        archive.start_file(format!("archive/data/{number}"), stored).unwrap();
        archive.write_all(bytes).unwrap();
    }
    archive.finish().unwrap();
}

/// The rows or columns of part `part` of `parts`.
fn slice((name, shape, bytes): &Half, along: usize, part: usize, parts: usize) -> Half {
    let (rows, row_bytes) = (shape[0], bytes.len() / shape[0]);
    let (taken, mut shape) = (shape[along] / parts, shape.clone());
    assert_eq!(taken * parts, shape[along], "{name} cannot be cut in {parts}");
    shape[along] = taken;
    let bytes = match along {
        0 => bytes[part * taken * row_bytes..(part + 1) * taken * row_bytes].to_vec(),
        _ => (0..rows).flat_map(|row| bytes[row * row_bytes + part * taken * 2..][..taken * 2].to_vec()).collect(),
    };
    (name.clone(), shape, bytes)
}

/// The part's weights as Megatron cuts them.
pub fn cut(whole: &[Half], part: usize, parts: usize) -> Vec<Half> {
    let along = |name: &str| match name {
        name if name.contains("_proj.") && !name.contains("out_proj") || name.contains("fc1") || name.contains("embed_tokens") => Some(0),
        name if name.ends_with("out_proj.weight") || name.ends_with("fc2.weight") => Some(1),
        _ => None,
    };
    whole.iter().map(|tensor| along(&tensor.0).map_or_else(|| tensor.clone(), |along| slice(tensor, along, part, parts))).collect()
}

/// Keys, values and queries in one, in this order.
pub fn fused(tensors: &[Half]) -> Vec<Half> {
    let by_name: BTreeMap<&str, &Half> = tensors.iter().map(|tensor| (tensor.0.as_str(), tensor)).collect();
    let mut fused: Vec<Half> =
        tensors.iter().filter(|tensor| !["q_proj", "k_proj", "v_proj"].iter().any(|kind| tensor.0.contains(kind))).cloned().collect();
    for (name, shape, keys) in tensors.iter().filter(|tensor| tensor.0.contains("k_proj")) {
        let bytes = |kind: &str| by_name[name.replace("k_proj", kind).as_str()].2.clone();
        let mut shape = shape.clone();
        shape[0] *= 3;
        fused.push((name.replace("k_proj", "qkv_proj"), shape, [keys.clone(), bytes("v_proj"), bytes("q_proj")].concat()));
    }
    fused
}
