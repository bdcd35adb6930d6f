//! Reading, checking and rewriting the files of a model in the Hugging Face layout. Everything here treats the files as
//! hostile: headers, pickles and sizes are checked before they are believed, nothing in a file is ever run, and a fault names
//! the file and the tensor. Knows the names and shapes OPT needs; computes nothing.

mod convert;
mod entries;
mod facts;
mod files;
mod index;
mod metaseq;
mod pickle;
mod progress;
mod safetensors;
mod tensor;
mod tokenizer_json;
mod torch;
mod verify;

pub use convert::{Converted, convert};
pub(crate) use entries::Entries;
pub use facts::{TensorFacts, digest_of_all, facts, file_facts};
pub use files::Checkpoint;
pub(crate) use index::tensors_unread;
pub use index::{TensorIndex, tensors, weight_files};
pub use metaseq::is_part;
pub use progress::{Advance, convert_bytes, verify_bytes};
pub use tensor::{Dtype, Tensor};
pub use tokenizer_json::build_tokenizer_json;
pub use verify::{Examined, Fault, examine, verify, verify_file};
