//! Meta's own `.pt` checkpoints: one file or model-parallel parts, with what training left beside the weights.
#![allow(clippy::unwrap_used, reason = "in tests a failure is a panic")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use inference::Checkpoint;
use inference::checkpoint::{TensorFacts, convert, digest_of_all, examine, facts, file_facts, tensors};
use zip::write::SimpleFileOptions;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/opt").join(name)
}

/// A tensor of halves: name, shape, bytes.
type Half = (String, Vec<usize>, Vec<u8>);

/// What Meta's training would call the fixture's weights, whole.
fn weights() -> Vec<Half> {
    let index = tensors(&Checkpoint::open_dir(&fixture("preln-fp16-sharded")).unwrap()).unwrap();
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
fn save(path: &Path, tensors: &[Half]) {
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
fn cut(whole: &[Half], part: usize, parts: usize) -> Vec<Half> {
    let along = |name: &str| match name {
        name if name.contains("_proj.") && !name.contains("out_proj") || name.contains("fc1") || name.contains("embed_tokens") => Some(0),
        name if name.ends_with("out_proj.weight") || name.ends_with("fc2.weight") => Some(1),
        _ => None,
    };
    whole.iter().map(|tensor| along(&tensor.0).map_or_else(|| tensor.clone(), |along| slice(tensor, along, part, parts))).collect()
}

/// Keys, values and queries in one, in this order.
fn fused(tensors: &[Half]) -> Vec<Half> {
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

fn folder(parts: &[(&str, Vec<Half>)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::copy(fixture("preln-fp16-sharded").join("config.json"), folder.path().join("config.json")).unwrap();
    for (name, tensors) in parts {
        save(&folder.path().join(name), tensors);
    }
    folder
}

/// The digest of every tensor, by its name without a prefix.
fn digests(facts: &[TensorFacts]) -> BTreeMap<String, String> {
    facts.iter().map(|tensor| (tensor.name.trim_start_matches("model.").to_owned(), tensor.digest.clone())).collect()
}

#[test]
fn one_file_and_parts_are_the_same_model_in_the_usual_layout() {
    let (whole, nothing) = (weights(), &|_| {});
    let mut expected = digests(&facts(&Checkpoint::open_dir(&fixture("preln-fp16-sharded")).unwrap(), nothing).unwrap());
    expected.remove("lm_head.weight");
    let mut with_head = whole.clone();
    let table = with_head.iter().find(|tensor| tensor.0 == "decoder.embed_tokens.weight").unwrap().clone();
    with_head.push(("decoder.output_projection.weight".into(), table.1, table.2));
    with_head.push(("decoder.version".into(), vec![1], vec![0, 0x42]));
    for parts in [
        vec![("reshard.pt", with_head)],
        vec![("consolidated.pt", fused(&whole))],
        vec![("reshard-model_part-0.pt", cut(&whole, 0, 2)), ("reshard-model_part-1.pt", cut(&whole, 1, 2))],
        vec![("reshard-model_part-0.pt", fused(&cut(&whole, 0, 2))), ("reshard-model_part-1.pt", fused(&cut(&whole, 1, 2)))],
    ] {
        let folder = folder(&parts);
        let checkpoint = Checkpoint::open_dir(folder.path()).unwrap();
        let examined = examine(&checkpoint, nothing);
        assert_eq!(examined.faults, [], "{}", parts[0].0);
        assert_eq!(digests(&examined.tensors), expected, "{}", parts[0].0);
        let out = tempfile::tempdir().unwrap();
        convert(&checkpoint, out.path(), u64::MAX, nothing).unwrap();
        let written = file_facts("model.safetensors", &out.path().join("model.safetensors"), nothing).unwrap();
        assert_eq!(digests(&written), expected, "the container does not matter");
        assert_eq!(digest_of_all(&written), digest_of_all(&examined.tensors), "nor does the order");
        let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left.len(), parts.len() + 1, "nothing is left beside the parts: {left:?}");
    }
}

#[test]
fn parts_that_do_not_belong_together_are_refused_by_name() {
    let whole = weights();
    let two = |second: Vec<Half>| folder(&[("x-model_part-0.pt", cut(&whole, 0, 2)), ("x-model_part-1.pt", second)]);
    let mut other_norm = cut(&whole, 1, 2);
    other_norm.iter_mut().find(|tensor| tensor.0.contains("layer_norm")).unwrap().2[0] ^= 1;
    let mut less = cut(&whole, 1, 2);
    less.pop();
    let flat = vec![("decoder.flat_param_0".to_owned(), vec![4], vec![0; 8])];
    for (folder, words) in [
        (two(other_norm), "differs from that in"),
        (two(less), "holds"),
        (two(whole.clone()), "equal shares"),
        (folder(&[("x-model_part-0.pt", whole.clone()), ("x-model_part-2.pt", whole.clone())]), "x-model_part-2.pt"),
        (folder(&[("x-model_part-0-shard0.pt", flat.clone())]), "unflatten-weights"),
        (folder(&[("x.pt", flat)]), "unflatten-weights"),
    ] {
        let refused = tensors(&Checkpoint::open_dir(folder.path()).unwrap()).map(|_| ()).unwrap_err().to_string();
        assert!(refused.contains(words), "{refused}");
    }
}

#[test]
fn what_is_not_a_number_is_counted_and_named() {
    let mut whole = weights();
    let spoilt = whole.iter_mut().find(|tensor| tensor.0.ends_with("fc1.bias")).unwrap();
    spoilt.2[..4].copy_from_slice(&[0x00, 0x7e, 0x00, 0x7c]);
    let (name, count) = (spoilt.0.clone(), spoilt.1[0] as u64);
    let folder = folder(&[("reshard.pt", whole)]);
    let examined = examine(&Checkpoint::open_dir(folder.path()).unwrap(), &|_| {});
    assert_eq!(examined.faults.len(), 1);
    assert!(examined.faults[0].place.contains(&name) && examined.faults[0].problem.contains("NaN"), "{:?}", examined.faults);
    let facts = examined.tensors.iter().find(|tensor| tensor.name == name).unwrap();
    assert_eq!((facts.count, facts.finite), (count, count - 2));
}

#[test]
fn the_numbers_of_a_tensor_are_those_of_its_definition() {
    let index = tensors(&Checkpoint::open_dir(&fixture("preln-fp32")).unwrap()).unwrap();
    let all = facts(&Checkpoint::open_dir(&fixture("preln-fp32")).unwrap(), &|_| {}).unwrap();
    for (tensor, facts) in index.tensors().iter().zip(&all) {
        let numbers: Vec<f64> = tensor.to_f32().into_iter().map(f64::from).collect();
        let mean = numbers.iter().sum::<f64>() / numbers.len() as f64;
        let variance = numbers.iter().map(|number| (number - mean).powi(2)).sum::<f64>() / numbers.len() as f64;
        let absmax = numbers.iter().fold(0.0, |most: f64, number| most.max(number.abs()));
        assert!((facts.mean - mean).abs() < 1e-9 && (facts.std - variance.sqrt()).abs() < 1e-6, "{facts:?}");
        assert_eq!((facts.absmax, facts.finite), (absmax, numbers.len() as u64));
        let dims: Vec<String> = tensor.shape().iter().map(ToString::to_string).collect();
        let said = [format!("F32\n[{}]\n", dims.join(",")).as_bytes(), tensor.bytes()].concat();
        assert_eq!(facts.digest, blake3::hash(&said).to_hex().to_string(), "the definition, in one line");
    }
}
