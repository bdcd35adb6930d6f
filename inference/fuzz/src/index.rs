//! A hostile model.safetensors.index.json beside two shards that are right.

use std::collections::BTreeMap;

use inference::checkpoint::{tensors, verify};
use serde_json::Value;

use super::files::{CONFIG, Folder, assert_clear};
use super::toy::shard;

/// Takes the bytes for the index. It is taken only if it says of every tensor where it is, and nothing else.
pub fn index(data: &[u8]) {
    let (first, second) = (shard(&["a", "b"]), shard(&["c"]));
    let folder = Folder::of(&[
        ("config.json", CONFIG),
        ("1.safetensors", &first),
        ("2.safetensors", &second),
        ("model.safetensors.index.json", data),
    ]);
    let checkpoint = folder.checkpoint();
    match tensors(&checkpoint) {
        Err(error) => assert_clear(&error),
        Ok(index) => {
            let found: BTreeMap<&str, &str> = index.tensors().iter().map(|tensor| (tensor.name(), tensor.file())).collect();
            let said: Value = serde_json::from_slice(data).unwrap();
            let said: BTreeMap<&str, &str> =
                said["weight_map"].as_object().unwrap().iter().map(|(name, file)| (name.as_str(), file.as_str().unwrap())).collect();
            assert_eq!(found, said);
            assert!(found.iter().all(|(name, file)| (*file == "1.safetensors") == ["a", "b"].contains(name)), "{found:?}");
        }
    }
    // These are no weights of a model, so that there is always a fault to name; none may be longer than a refusal.
    let faults = verify(&checkpoint, &|_| {});
    assert!(!faults.is_empty() && faults.iter().all(|fault| fault.to_string().len() < 8192), "{faults:?}");
}
