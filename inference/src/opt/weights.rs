//! The weights of an OPT model: which tensors there must be, found in a checkpoint, checked, and copied to where they are computed with.

use std::collections::BTreeMap;

use half::{bf16, f16};
use rayon::prelude::*;

use super::config::{OptConfig, POSITION_OFFSET};
use crate::checkpoint::{Dtype, Tensor, TensorIndex};
use crate::device::Matrix;
use crate::error::Error;

/// A tensor the model has, by its name without prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Expected {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    /// `false`: may be there, and is ignored (`lm_head.weight` beside a tied embedding).
    pub(crate) required: bool,
}

/// A tensor's name without the prefix, of which there are two: `decoder.` as Meta published, `model.decoder.` as transformers saves.
pub(crate) fn plain_name(name: &str) -> &str {
    name.strip_prefix("model.").unwrap_or(name).strip_prefix("decoder.").unwrap_or(name)
}

/// Every tensor a model of this shape has.
pub(crate) fn expected_tensors(config: &OptConfig) -> Vec<Expected> {
    let (hidden, ffn, embed) = (config.hidden_size, config.ffn_dim, config.word_embed_proj_dim);
    let mut tensors = Vec::new();
    let mut add = |name: String, shape: &[usize]| tensors.push(Expected { name, shape: shape.to_vec(), required: true });

    add("embed_tokens.weight".to_owned(), &[config.vocab_size, embed]);
    add("embed_positions.weight".to_owned(), &[config.max_position_embeddings + POSITION_OFFSET, hidden]);
    if config.has_projection() {
        add("project_in.weight".to_owned(), &[hidden, embed]);
        add("project_out.weight".to_owned(), &[embed, hidden]);
    }
    for layer in 0..config.num_hidden_layers {
        let linears = [("self_attn.q_proj", hidden, hidden), ("self_attn.k_proj", hidden, hidden), ("self_attn.v_proj", hidden, hidden)]
            .into_iter()
            .chain([("self_attn.out_proj", hidden, hidden), ("fc1", ffn, hidden), ("fc2", hidden, ffn)]);
        for (name, rows, cols) in linears {
            add(format!("layers.{layer}.{name}.weight"), &[rows, cols]);
            if config.enable_bias {
                add(format!("layers.{layer}.{name}.bias"), &[rows]);
            }
        }
        if config.layer_norm_elementwise_affine {
            for name in ["self_attn_layer_norm", "final_layer_norm"] {
                add(format!("layers.{layer}.{name}.weight"), &[hidden]);
                add(format!("layers.{layer}.{name}.bias"), &[hidden]);
            }
        }
    }
    if config.has_final_layer_norm() && config.layer_norm_elementwise_affine {
        add("final_layer_norm.weight".to_owned(), &[hidden]);
        add("final_layer_norm.bias".to_owned(), &[hidden]);
    }
    tensors.push(Expected {
        name: "lm_head.weight".to_owned(),
        shape: vec![config.vocab_size, embed],
        required: !config.tie_word_embeddings,
    });
    tensors
}

/// All weights of a model.
#[derive(Debug)]
pub(crate) struct Weights {
    /// (vocab, embed)
    pub(crate) embed_tokens: Matrix,
    /// (positions + 2, hidden)
    pub(crate) embed_positions: Matrix,
    /// (hidden, embed) and (embed, hidden)
    pub(crate) projection: Option<(Matrix, Matrix)>,
    pub(crate) layers: Vec<Layer>,
    pub(crate) final_layer_norm: Option<Norm>,
    /// (vocab, embed); `None`: the embedding
    pub(crate) lm_head: Option<Matrix>,
    /// BLAKE3 over the tensors the model uses: their names, types, shapes and bytes.
    pub(crate) digest: blake3::Hash,
    pub(crate) bytes: u64,
}

/// One layer.
#[derive(Debug)]
pub(crate) struct Layer {
    pub(crate) self_attn_layer_norm: Norm,
    pub(crate) q_proj: Linear,
    pub(crate) k_proj: Linear,
    pub(crate) v_proj: Linear,
    pub(crate) out_proj: Linear,
    pub(crate) final_layer_norm: Norm,
    pub(crate) fc1: Linear,
    pub(crate) fc2: Linear,
}

/// A matrix and its bias, which is empty where the model has none.
#[derive(Debug)]
pub(crate) struct Linear {
    pub(crate) weight: Matrix,
    pub(crate) bias: Vec<f32>,
}

/// Gain and bias, both empty where the model has none.
#[derive(Debug, Default)]
pub(crate) struct Norm {
    pub(crate) gain: Vec<f32>,
    pub(crate) bias: Vec<f32>,
}

impl Weights {
    /// Finds and copies every tensor the config asks for. `Corrupt` names the tensor that is missing, of another shape, double or not
    /// finite; `Unsupported` the first that the model has no use for.
    pub(crate) fn load(config: &OptConfig, index: &TensorIndex) -> Result<Self, Error> {
        let expected = expected_tensors(config);
        let found = find(&expected, index)?;
        let copied: Vec<(String, Copied)> =
            found.into_par_iter().map(|(name, tensor)| Ok((name, Copied::of(tensor)?))).collect::<Result<_, Error>>()?;
        let mut digest = blake3::Hasher::new();
        for (name, copied) in &copied {
            digest.update(name.as_bytes()).update(copied.digest.as_bytes());
        }
        let mut tensors = Tensors(copied.into_iter().collect());

        let bytes = tensors.0.values().map(|copied| copied.matrix.bytes()).sum();
        Ok(Self {
            embed_tokens: tensors.matrix("embed_tokens.weight")?,
            embed_positions: tensors.matrix("embed_positions.weight")?,
            projection: match config.has_projection() {
                true => Some((tensors.matrix("project_in.weight")?, tensors.matrix("project_out.weight")?)),
                false => None,
            },
            layers: (0..config.num_hidden_layers).map(|layer| tensors.layer(config, layer)).collect::<Result<_, _>>()?,
            final_layer_norm: match config.has_final_layer_norm() {
                true => Some(tensors.norm(config, "final_layer_norm")?),
                false => None,
            },
            lm_head: match config.tie_word_embeddings {
                true => None,
                false => Some(tensors.matrix("lm_head.weight")?),
            },
            digest: digest.finalize(),
            bytes,
        })
    }
}

/// The tensor for each expected name, in the order expected.
fn find<'a>(expected: &[Expected], index: &'a TensorIndex) -> Result<Vec<(String, &'a Tensor)>, Error> {
    let mut present: BTreeMap<&str, &Tensor> = BTreeMap::new();
    for tensor in index.tensors() {
        if let Some(other) = present.insert(plain_name(tensor.name()), tensor) {
            return Err(Error::corrupt(
                tensor.file(),
                format!("tensor `{}` stands for the same weight as `{}`", tensor.name(), other.name()),
            ));
        }
    }
    let mut found = Vec::with_capacity(expected.len());
    for expected in expected {
        match present.remove(expected.name.as_str()) {
            None if expected.required => {
                let files = index.weight_files().join(", ");
                return Err(Error::corrupt(&files, format!("tensor `{}` is missing", expected.name)));
            }
            None => {}
            Some(tensor) if tensor.shape() != expected.shape => {
                return Err(Error::corrupt(
                    tensor.file(),
                    format!("tensor `{}` has shape {:?}; config.json asks for {:?}", tensor.name(), tensor.shape(), expected.shape),
                ));
            }
            Some(tensor) if expected.required => found.push((expected.name.clone(), tensor)),
            Some(_) => {}
        }
    }
    match present.into_values().next() {
        Some(extra) => {
            Err(Error::unsupported(extra.name(), format!("in {} is no weight of the model config.json describes", extra.file())))
        }
        None => Ok(found),
    }
}

/// A tensor in memory of our own, with the digest of what it was made from.
struct Copied {
    matrix: Matrix,
    digest: blake3::Hash,
}

impl Copied {
    fn of(tensor: &Tensor) -> Result<Self, Error> {
        fn numbers<const N: usize, T>(bytes: &[u8], number: impl Fn([u8; N]) -> T) -> Vec<T> {
            bytes.as_chunks::<N>().0.iter().map(|bytes| number(*bytes)).collect()
        }
        if let Some(place) = tensor.first_not_finite() {
            return Err(Error::corrupt(tensor.file(), format!("tensor `{}`: number {place} is NaN or infinite", tensor.name())));
        }
        let mut digest = blake3::Hasher::new();
        digest.update(format!("{} {:?}", tensor.dtype().name(), tensor.shape()).as_bytes()).update(tensor.bytes());
        let cols = tensor.shape().last().copied().unwrap_or(1);
        let matrix = match tensor.dtype() {
            Dtype::F32 => Matrix::F32 { cols, data: numbers(tensor.bytes(), f32::from_le_bytes) },
            Dtype::F16 => Matrix::F16 { cols, data: numbers(tensor.bytes(), f16::from_le_bytes) },
            Dtype::Bf16 => Matrix::Bf16 { cols, data: numbers(tensor.bytes(), bf16::from_le_bytes) },
        };
        Ok(Self { matrix, digest: digest.finalize() })
    }
}

/// The copied tensors, handed out by name.
struct Tensors(BTreeMap<String, Copied>);

impl Tensors {
    fn matrix(&mut self, name: &str) -> Result<Matrix, Error> {
        // `find` has seen every name asked for here; the error guards against the two lists parting.
        let copied = self.0.remove(name).ok_or_else(|| Error::Internal { problem: format!("tensor `{name}` was not loaded") })?;
        Ok(copied.matrix)
    }

    fn vector(&mut self, name: &str) -> Result<Vec<f32>, Error> {
        Ok(match self.matrix(name)? {
            Matrix::F32 { data, .. } => data,
            Matrix::F16 { data, .. } => data.into_iter().map(f16::to_f32).collect(),
            Matrix::Bf16 { data, .. } => data.into_iter().map(bf16::to_f32).collect(),
        })
    }

    fn linear(&mut self, config: &OptConfig, name: &str) -> Result<Linear, Error> {
        let bias = if config.enable_bias { self.vector(&format!("{name}.bias"))? } else { Vec::new() };
        Ok(Linear { weight: self.matrix(&format!("{name}.weight"))?, bias })
    }

    fn norm(&mut self, config: &OptConfig, name: &str) -> Result<Norm, Error> {
        if !config.layer_norm_elementwise_affine {
            return Ok(Norm::default());
        }
        Ok(Norm { gain: self.vector(&format!("{name}.weight"))?, bias: self.vector(&format!("{name}.bias"))? })
    }

    fn layer(&mut self, config: &OptConfig, layer: usize) -> Result<Layer, Error> {
        let name = |part: &str| format!("layers.{layer}.{part}");
        Ok(Layer {
            self_attn_layer_norm: self.norm(config, &name("self_attn_layer_norm"))?,
            q_proj: self.linear(config, &name("self_attn.q_proj"))?,
            k_proj: self.linear(config, &name("self_attn.k_proj"))?,
            v_proj: self.linear(config, &name("self_attn.v_proj"))?,
            out_proj: self.linear(config, &name("self_attn.out_proj"))?,
            final_layer_norm: self.norm(config, &name("final_layer_norm"))?,
            fc1: self.linear(config, &name("fc1"))?,
            fc2: self.linear(config, &name("fc2"))?,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
    use super::*;

    #[test]
    fn both_prefixes_mean_the_same_weight() {
        assert_eq!(plain_name("model.decoder.layers.0.fc1.weight"), "layers.0.fc1.weight");
        assert_eq!(plain_name("decoder.layers.0.fc1.weight"), "layers.0.fc1.weight");
        assert_eq!(plain_name("lm_head.weight"), "lm_head.weight");
        assert_eq!(plain_name("model.lm_head.weight"), "model.lm_head.weight");
    }

    #[test]
    fn the_tensor_counts_are_those_of_the_published_sizes() {
        let required = |json: &[u8]| expected_tensors(&OptConfig::parse(json).unwrap()).iter().filter(|tensor| tensor.required).count();
        assert_eq!(required(br#"{"model_type": "opt"}"#), 196);
        let opt_350m = br#"{"model_type": "opt", "hidden_size": 1024, "word_embed_proj_dim": 512, "num_hidden_layers": 24,
            "num_attention_heads": 16, "ffn_dim": 4096, "do_layer_norm_before": false}"#;
        assert_eq!(required(opt_350m), 388);
    }

    #[test]
    fn the_footprint_counts_the_tensors() {
        for json in [
            r#"{"model_type": "opt"}"#,
            r#"{"model_type": "opt", "enable_bias": false, "tie_word_embeddings": false}"#,
            r#"{"model_type": "opt", "layer_norm_elementwise_affine": false, "word_embed_proj_dim": 512}"#,
        ] {
            let config = OptConfig::parse(json.as_bytes()).unwrap();
            let numbers: usize = expected_tensors(&config)
                .iter()
                .filter(|tensor| tensor.required)
                .map(|tensor| tensor.shape.iter().product::<usize>())
                .sum();
            assert_eq!(config.footprint(16).parameters, numbers as u64, "{json}");
        }
    }
}
