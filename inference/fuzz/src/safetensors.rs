//! A hostile safetensors file, read through the same door as a model's.

use inference::checkpoint::{Tensor, TensorIndex, tensors, verify_file};
use safetensors::{Dtype, SafeTensors};

use super::files::{CONFIG, Folder, assert_clear};

/// Takes the bytes for model.safetensors. What the reference implementation refuses is refused, and what both take is the same.
pub fn safetensors(data: &[u8]) {
    let folder = Folder::of(&[("config.json", CONFIG), ("model.safetensors", data)]);
    let faults = verify_file("model.safetensors", &folder.path().join("model.safetensors"), &|_| {});
    match (tensors(&folder.checkpoint()), SafeTensors::deserialize(data)) {
        (Err(error), _) => {
            assert_clear(&error);
            assert_eq!(faults.len(), 1, "the check agrees with the load: {faults:?}");
        }
        (Ok(_), Err(problem)) => panic!("the reference implementation refuses it: {problem}"),
        (Ok(ours), Ok(theirs)) => {
            agree(&ours, &theirs);
            let bad: Vec<&Tensor> = ours.tensors().iter().filter(|tensor| tensor.first_not_finite().is_some()).collect();
            assert_eq!(faults.len(), bad.len(), "the check names every tensor with numbers that are not finite: {faults:?}");
        }
    }
}

/// The same tensors, with the same numbers.
pub fn agree(ours: &TensorIndex, theirs: &SafeTensors<'_>) {
    assert_eq!(ours.tensors().len(), theirs.len());
    for tensor in ours.tensors() {
        let their = theirs.tensor(tensor.name()).expect("a tensor of this name");
        let dtype = match tensor.dtype() {
            inference::checkpoint::Dtype::F32 => Dtype::F32,
            inference::checkpoint::Dtype::F16 => Dtype::F16,
            inference::checkpoint::Dtype::Bf16 => Dtype::BF16,
        };
        assert_eq!((dtype, tensor.shape()), (their.dtype(), their.shape()), "{}", tensor.name());
        assert!(tensor.bytes() == their.data(), "the bytes of {}", tensor.name());
        let numbers = tensor.to_f32();
        assert_eq!(numbers.len(), tensor.shape().iter().product::<usize>());
        assert_eq!(tensor.first_not_finite(), numbers.iter().position(|number| !number.is_finite()), "{}", tensor.name());
    }
}
