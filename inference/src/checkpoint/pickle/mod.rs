//! A pickle machine that knows the opcodes and the three globals a PyTorch state dict needs, and runs nothing: a "call" builds
//! one of our own values, and every other global is refused by name. (CPython, Lib/pickletools.py; PyTorch, torch/_utils.py.)
//!
//! Values live in arenas and refer to each other by number, so that hostile nesting or cycles cannot exhaust the stack, and
//! everything built is bounded by the length of the pickle.

mod machine;
mod value;

use machine::Machine;
use value::Value;

use super::tensor::{Dtype, TENSORS_MAX};
use crate::error::Error;

/// A tensor as the pickle describes it; nothing of it has been checked against the storage.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rebuilt {
    pub(super) name: String,
    pub(super) dtype: Dtype,
    pub(super) storage_key: String,
    /// In elements.
    pub(super) storage_offset: usize,
    pub(super) shape: Vec<usize>,
    /// In elements.
    pub(super) stride: Vec<usize>,
}

/// Runs the pickle of a state dict: a dict from names to tensors.
pub(super) fn state_dict(file: &str, pickled: &[u8]) -> Result<Vec<Rebuilt>, Error> {
    let mut machine = Machine::new(file, pickled);
    let Value::Dict(top) = machine.run()? else { return Err(machine.corrupt("does not hold a dict of tensors")) };
    tensors(machine, top)
}

/// Runs the pickle of a checkpoint of training: a dict whose "model" is a state dict, and the rest anything. The rest is passed over:
/// what it names is not looked up, what it calls is not called.
pub(super) fn model(file: &str, pickled: &[u8]) -> Result<Vec<Rebuilt>, Error> {
    let mut machine = Machine::passing_over(file, pickled);
    let Value::Dict(top) = machine.run()? else { return Err(machine.corrupt("does not hold a dict")) };
    let named = |(key, value): &(Value, Value)| match (key, value) {
        (Value::Str(name), Value::Dict(inner)) if machine.heap.strings[*name] == "model" => Some(*inner),
        _ => None,
    };
    let inner = machine.heap.dicts[top].iter().find_map(named);
    tensors(machine, inner.unwrap_or(top))
}

fn tensors(mut machine: Machine<'_>, top: usize) -> Result<Vec<Rebuilt>, Error> {
    let entries = std::mem::take(&mut machine.heap.dicts[top]);
    if entries.len() > TENSORS_MAX {
        return Err(machine.corrupt(&format!("holds {} tensors; at most {TENSORS_MAX} are read", entries.len())));
    }
    entries
        .into_iter()
        .map(|(key, value)| match (key, value) {
            (Value::Str(name), Value::Tensor(tensor)) => {
                let tensor = &machine.heap.tensors[tensor];
                let storage = &machine.heap.storages[tensor.storage];
                Ok(Rebuilt {
                    name: machine.heap.strings[name].clone(),
                    dtype: storage.dtype,
                    storage_key: machine.heap.strings[storage.key].clone(),
                    storage_offset: tensor.offset,
                    shape: tensor.shape.clone(),
                    stride: tensor.stride.clone(),
                })
            }
            (Value::Str(name), Value::Opaque(what)) => Err(machine.corrupt(&format!(
                "holds `{}`, which {} made; only tensors of Float, Half and BFloat16 storages are understood, and nothing is run",
                machine.heap.strings[name], machine.heap.strings[what]
            ))),
            (Value::Str(name), _) => Err(machine
                .corrupt(&format!("holds `{}`, which is not a tensor; save the model's state_dict() alone", machine.heap.strings[name]))),
            _ => Err(machine.corrupt("holds an entry whose name is not text")),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
    use super::*;
    use proptest::prelude::*;

    /// `{'w': _rebuild_tensor_v2(storage '0' of halves, 0, (2, 3), (3, 1))}`, in protocol 2.
    fn one_tensor() -> Vec<u8> {
        let text = |text: &str| [b"X".as_slice(), &(text.len() as u32).to_le_bytes(), text.as_bytes()].concat();
        [
            b"\x80\x02ccollections\nOrderedDict\n)Rq\x00(".to_vec(),
            text("w"),
            b"ctorch._utils\n_rebuild_tensor_v2\n((".to_vec(),
            text("storage"),
            b"ctorch\nHalfStorage\n".to_vec(),
            text("0"),
            text("cpu"),
            b"K\x06tQK\x00K\x02K\x03\x86K\x03K\x01\x86\x89ccollections\nOrderedDict\n)RtRu.".to_vec(),
        ]
        .concat()
    }

    fn refusal(pickled: &[u8]) -> String {
        state_dict("weights.bin", pickled).unwrap_err().to_string()
    }

    #[test]
    fn a_state_dict_is_read() {
        let tensors = state_dict("weights.bin", &one_tensor()).unwrap();
        let expected = Rebuilt {
            name: "w".to_owned(),
            dtype: Dtype::F16,
            storage_key: "0".to_owned(),
            storage_offset: 0,
            shape: vec![2, 3],
            stride: vec![3, 1],
        };
        assert_eq!(tensors, [expected]);
    }

    #[test]
    fn a_global_that_could_run_something_is_refused_by_name() {
        let message = refusal(b"\x80\x02cos\nsystem\nX\x02\x00\x00\x00id\x85R.");
        assert!(message.contains("os.system"), "{message}");
        let message = refusal(b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93.");
        assert!(message.contains("builtins.eval"), "{message}");
        let message = refusal(b"\x80\x02ctorch\nLongStorage\n.");
        assert!(message.contains("torch.LongStorage"), "{message}");
        let message = refusal(b"\x80\x02i__builtin__\nexec\n.");
        assert!(message.contains("opcode 0x69"), "{message}");
    }

    #[test]
    fn a_pickle_cut_short_anywhere_is_refused() {
        let whole = one_tensor();
        for length in 0..whole.len() {
            assert!(state_dict("weights.bin", &whole[..length]).is_err(), "cut at {length}");
        }
    }

    #[test]
    fn deep_nesting_and_cycles_are_only_numbers() {
        let deep = [b")".as_slice(), &b"\x85".repeat(1 << 20), b"."].concat();
        assert!(refusal(&deep).contains("dict of tensors"));
        let cycle = b"}q\x00X\x01\x00\x00\x00ah\x00s.";
        assert!(refusal(cycle).contains("not a tensor"));
    }

    #[test]
    fn a_short_pickle_cannot_ask_for_much_memory() {
        let long_text = [b"X".as_slice(), &2000u32.to_le_bytes(), &[b'a'; 2000], b"."].concat();
        assert!(refusal(&long_text).contains("2000 bytes"));
        // One pair, recalled a hundred thousand times.
        let many = [b"}(K\x01q\x00".as_slice(), &b"h\x00".repeat(199_999), b"u."].concat();
        assert!(refusal(&many).contains("100000 tensors"));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = state_dict("weights.bin", &bytes);
        }

        #[test]
        fn no_changed_byte_makes_it_panic(place in 0usize..200, byte in any::<u8>()) {
            let mut pickled = one_tensor();
            let place = place % pickled.len();
            pickled[place] = byte;
            let _ = state_dict("weights.bin", &pickled);
        }
    }
}
