//! The weights of an OPT model: which tensors there must be, found in a checkpoint, checked, and laid out for
//! the kernels.

use std::collections::BTreeMap;

use super::config::{Activation, OptConfig, POSITION_OFFSET};
use super::packed::{Matrix, Order, Packed, Plan, Table, Vector};
use crate::cache::PackedCache;
use crate::checkpoint::{Checkpoint, Dtype, Tensor, TensorIndex, tensors};
use crate::device::Threads;
use crate::error::Error;
use crate::ops::linear::Format;
use crate::options::Precision;

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
    pub(crate) packed: Packed,
    /// (vocab, embed)
    pub(crate) embed_tokens: Matrix,
    /// (positions + 2, hidden)
    pub(crate) embed_positions: Table,
    /// (hidden, embed) and (embed, hidden)
    pub(crate) projection: Option<(Linear, Linear)>,
    pub(crate) layers: Vec<Layer>,
    pub(crate) final_layer_norm: Option<Norm>,
    /// (vocab, embed); the embedding if they are tied
    pub(crate) lm_head: Linear,
    /// BLAKE3 over the tensors the model uses: their types, shapes and bytes.
    pub(crate) digest: blake3::Hash,
}

/// One layer.
#[derive(Debug)]
pub(crate) struct Layer {
    pub(crate) self_attn_layer_norm: Norm,
    /// (3 · hidden, hidden): queries, keys and values, one below the other
    pub(crate) qkv_proj: Linear,
    pub(crate) out_proj: Linear,
    pub(crate) final_layer_norm: Norm,
    pub(crate) fc1: Linear,
    pub(crate) fc2: Linear,
}

/// A matrix and its bias, which is empty where the model has none.
#[derive(Debug)]
pub(crate) struct Linear {
    pub(crate) weight: Matrix,
    pub(crate) bias: Vector,
}

/// Gain and bias, both empty where the model has none.
#[derive(Debug, Default)]
pub(crate) struct Norm {
    pub(crate) gain: Vector,
    pub(crate) bias: Vector,
}

impl Weights {
    /// Finds and packs every tensor the config asks for, unless the cache has them packed. `Corrupt` names the tensor that is missing, of
    /// another shape, double or not finite; `Unsupported` the first that the model has no use for.
    pub(crate) fn load(
        config: &OptConfig,
        checkpoint: &Checkpoint,
        precision: Precision,
        threads: &Threads,
        cache: Option<&PackedCache>,
    ) -> Result<Self, Error> {
        let index = tensors(checkpoint)?;
        let (plan, laid_out) = Self::plan(config, &index, precision)?;
        let Some(cache) = cache else {
            let (packed, digest) = plan.fill(threads)?;
            return Ok(laid_out(packed, digest));
        };
        let files = checkpoint.identity(index.weight_files())?;
        let entry = cache.entry(plan.key(files));
        if let Some((packed, digest)) = plan.find(&entry, threads) {
            return Ok(laid_out(packed, digest));
        }
        let (mut packed, digest) = plan.fill(threads)?;
        // Files that changed under our hands may be half of one and half of the other.
        if checkpoint.identity(index.weight_files())? == files {
            packed.keep(entry, digest);
        }
        Ok(laid_out(packed, digest))
    }

    /// Bytes the weights will take.
    pub(crate) fn bytes(config: &OptConfig, index: &TensorIndex, precision: Precision) -> Result<u64, Error> {
        Ok(Self::plan(config, index, precision)?.0.bytes() as u64)
    }

    /// What lies where, in the order a step reads it; and how to make the weights once the memory is filled.
    fn plan<'a>(
        config: &OptConfig,
        index: &'a TensorIndex,
        precision: Precision,
    ) -> Result<(Plan<'a>, impl FnOnce(Packed, blake3::Hash) -> Self + use<>), Error> {
        let mut layout = Layout { plan: Plan::new(find(&expected_tensors(config), index)?), config, precision };
        let embed_tokens = layout.aside("embed_tokens")?;
        let embed_positions = layout.plan.table("embed_positions.weight")?;
        let projection = match config.has_projection() {
            true => Some((layout.aside("project_in")?, layout.aside("project_out")?)),
            false => None,
        };
        let layers = (0..config.num_hidden_layers).map(|layer| layout.layer(layer)).collect::<Result<Vec<_>, _>>()?;
        let final_layer_norm = match config.has_final_layer_norm() {
            true => Some(layout.norm("final_layer_norm")?),
            false => None,
        };
        let lm_head = match config.tie_word_embeddings {
            true => Linear { weight: embed_tokens.weight, bias: Vector::default() },
            false => layout.aside("lm_head")?,
        };
        let embed_tokens = embed_tokens.weight;
        Ok((layout.plan, move |packed, digest| Self {
            packed,
            embed_tokens,
            embed_positions,
            projection,
            layers,
            final_layer_norm,
            lm_head,
            digest,
        }))
    }
}

/// The tensor for each expected name, in the order expected.
pub(super) fn find<'a>(expected: &[Expected], index: &'a TensorIndex) -> Result<Vec<(String, &'a Tensor)>, Error> {
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

/// How the weights of a model are laid out.
struct Layout<'a, 'c> {
    plan: Plan<'a>,
    config: &'c OptConfig,
    precision: Precision,
}

impl Layout<'_, '_> {
    fn layer(&mut self, layer: usize) -> Result<Layer, Error> {
        let name = |part: &str| format!("layers.{layer}.{part}");
        Ok(Layer {
            self_attn_layer_norm: self.norm(&name("self_attn_layer_norm"))?,
            qkv_proj: self.linear(&[name("self_attn.q_proj"), name("self_attn.k_proj"), name("self_attn.v_proj")], Order::Panels)?,
            out_proj: self.linear(&[name("self_attn.out_proj")], Order::Panels)?,
            final_layer_norm: self.norm(&name("final_layer_norm"))?,
            fc1: self.linear(&[name("fc1")], Order::Panels)?,
            fc2: self.linear(
                &[name("fc2")],
                match self.config.activation {
                    Activation::Relu => Order::Bands,
                    Activation::Gelu => Order::Panels,
                },
            )?,
        })
    }

    fn linear(&mut self, names: &[String], order: Order) -> Result<Linear, Error> {
        let precision = self.precision;
        let bias = match self.config.enable_bias {
            true => self.plan.vector(&names.iter().map(|name| format!("{name}.bias")).collect::<Vec<_>>())?,
            false => Vector::default(),
        };
        let names: Vec<String> = names.iter().map(|name| format!("{name}.weight")).collect();
        Ok(Linear { weight: self.plan.matrix(&names, order, |dtype| layer_format(precision, dtype))?, bias })
    }

    /// A matrix outside of the layers, which has no bias: embedding, head, and what stands between them and the stream.
    fn aside(&mut self, name: &str) -> Result<Linear, Error> {
        let precision = self.precision;
        let weight = self.plan.matrix(&[format!("{name}.weight")], Order::Panels, |dtype| aside_format(precision, dtype))?;
        Ok(Linear { weight, bias: Vector::default() })
    }

    fn norm(&mut self, name: &str) -> Result<Norm, Error> {
        if !self.config.layer_norm_elementwise_affine {
            return Ok(Norm::default());
        }
        Ok(Norm { gain: self.plan.vector(&[format!("{name}.weight")])?, bias: self.plan.vector(&[format!("{name}.bias")])? })
    }
}

/// How a precision holds the matrices of the layers.
fn layer_format(precision: Precision, dtype: Dtype) -> Format {
    match (precision, dtype) {
        (Precision::Exact, Dtype::F32) => Format::F32,
        (Precision::Exact, Dtype::F16) => Format::F16,
        (Precision::Exact, Dtype::Bf16) => Format::Bf16Wide,
        (Precision::Bf16, _) => Format::Bf16,
        (Precision::Int8, _) => Format::Int8,
        (Precision::Int4, _) => Format::Int4,
    }
}

/// The others are few and sensitive: never below eight bits.
fn aside_format(precision: Precision, dtype: Dtype) -> Format {
    match layer_format(precision, dtype) {
        Format::Int4 => Format::Int8,
        format => format,
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
