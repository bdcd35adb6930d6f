//! The weights of a model on a card: what lies where, and how it gets there.

use std::collections::BTreeMap;

use super::layout::{ALIGNMENT, Held, Layout, Order};
use super::upload::Upload;
use crate::checkpoint::{Checkpoint, Dtype, Tensor, TensorIndex, tensors};
use crate::device::Threads;
use crate::device::cuda::{Buffer, Card};
use crate::error::Error;
use crate::opt::config::{Activation, OptConfig};
use crate::opt::weights::{expected_tensors, find};
use crate::options::Precision;

/// All weights of a model.
#[derive(Debug)]
pub(super) struct Weights {
    /// What all addresses lead into.
    _memory: Buffer,
    bytes: usize,
    /// (vocab, embed)
    pub(super) embed_tokens: Matrix,
    /// f32 (positions + 2, hidden)
    pub(super) embed_positions: u64,
    /// (hidden, embed) and (embed, hidden)
    pub(super) projection: Option<(Matrix, Matrix)>,
    pub(super) layers: Vec<Layer>,
    pub(super) final_layer_norm: Option<Norm>,
    /// (vocab, embed); the embedding if they are tied
    pub(super) lm_head: Matrix,
    /// BLAKE3 over the tensors the model uses.
    pub(super) digest: blake3::Hash,
}

/// One layer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layer {
    pub(super) self_attn_layer_norm: Norm,
    /// (3 · hidden, hidden): queries, keys and values, one below the other
    pub(super) qkv_proj: Matrix,
    pub(super) out_proj: Matrix,
    pub(super) final_layer_norm: Norm,
    pub(super) fc1: Matrix,
    /// By column, if zeros are to be found before it.
    pub(super) fc2: Matrix,
}

/// A matrix and its bias. An address of 0 is none.
#[derive(Debug, Clone, Copy)]
pub(super) struct Matrix {
    pub(super) layout: Layout,
    pub(super) weights: u64,
    pub(super) scales: u64,
    pub(super) zeros: u64,
    /// Singles.
    pub(super) bias: u64,
    /// The same as 16 bits of the matrix's kind, where it is added by cuBLASLt.
    pub(super) narrow_bias: u64,
}

/// Gain and bias in singles; addresses of 0 where the model has none.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Norm {
    pub(super) gain: u64,
    pub(super) bias: u64,
}

/// What will lie where. Addresses count from the beginning of the memory.
struct Plan<'a> {
    tensors: BTreeMap<String, &'a Tensor>,
    pieces: Vec<Piece<'a>>,
    bytes: usize,
    config: &'a OptConfig,
    precision: Precision,
    base: u64,
}

struct Piece<'a> {
    tensors: Vec<&'a Tensor>,
    kind: Kind,
    at: usize,
}

enum Kind {
    Matrix(Layout),
    Singles,
    /// 16 bits, as this layout's weights.
    Narrow(Layout),
}

impl Weights {
    /// Bytes the weights will take on a card.
    pub(super) fn bytes_of(config: &OptConfig, index: &TensorIndex, precision: Precision) -> Result<u64, Error> {
        let mut plan = Plan::new(config, index, precision, 0)?;
        plan.all()?;
        Ok(plan.bytes as u64)
    }

    /// Bytes of the memory they take.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes as u64
    }

    /// Finds, checks and uploads every tensor the config asks for. Errors are those of the CPU's.
    pub(super) fn load(
        config: &OptConfig,
        checkpoint: &Checkpoint,
        precision: Precision,
        card: &Card,
        threads: &Threads,
    ) -> Result<Self, Error> {
        let index = tensors(checkpoint)?;
        let bytes = usize::try_from(Self::bytes_of(config, &index, precision)?).unwrap_or(usize::MAX);
        let memory = card.alloc(bytes)?;
        let mut plan = Plan::new(config, &index, precision, memory.address())?;
        let parts = plan.all()?;
        let mut upload = Upload::new(card, threads)?;
        let mut digest = blake3::Hasher::new();
        for piece in &plan.pieces {
            let to = memory.address() + piece.at as u64;
            if !matches!(piece.kind, Kind::Narrow(_)) {
                for tensor in &piece.tensors {
                    digest.update(upload.check(tensor)?.as_bytes());
                }
            }
            match &piece.kind {
                Kind::Matrix(layout) => upload.matrix(layout, &piece.tensors, to)?,
                Kind::Singles => upload.singles(&piece.tensors, to)?,
                Kind::Narrow(layout) => {
                    let numbers = piece.tensors.iter().flat_map(|tensor| tensor.to_f32());
                    let narrow: Vec<u16> = numbers.map(|number| layout.narrow(number)).collect();
                    upload.bytes(bytemuck::cast_slice(&narrow), to)?;
                }
            }
        }
        upload.end()?;
        let Parts { embed_tokens, embed_positions, projection, layers, final_layer_norm, lm_head } = parts;
        let digest = digest.finalize();
        Ok(Self { _memory: memory, bytes, embed_tokens, embed_positions, projection, layers, final_layer_norm, lm_head, digest })
    }
}

struct Parts {
    embed_tokens: Matrix,
    embed_positions: u64,
    projection: Option<(Matrix, Matrix)>,
    layers: Vec<Layer>,
    final_layer_norm: Option<Norm>,
    lm_head: Matrix,
}

impl<'a> Plan<'a> {
    fn new(config: &'a OptConfig, index: &'a TensorIndex, precision: Precision, base: u64) -> Result<Self, Error> {
        let tensors = find(&expected_tensors(config), index)?.into_iter().collect();
        Ok(Self { tensors, pieces: Vec::new(), bytes: 0, config, precision, base })
    }

    fn all(&mut self) -> Result<Parts, Error> {
        let embed_tokens = self.aside("embed_tokens")?;
        let embed_positions = self.singles(&["embed_positions.weight".to_owned()])?;
        let projection = match self.config.has_projection() {
            true => Some((self.aside("project_in")?, self.aside("project_out")?)),
            false => None,
        };
        let layers = (0..self.config.num_hidden_layers).map(|layer| self.layer(layer)).collect::<Result<Vec<_>, _>>()?;
        let final_layer_norm = match self.config.has_final_layer_norm() {
            true => Some(self.norm("final_layer_norm")?),
            false => None,
        };
        let lm_head = if self.config.tie_word_embeddings { embed_tokens } else { self.aside("lm_head")? };
        Ok(Parts { embed_tokens, embed_positions, projection, layers, final_layer_norm, lm_head })
    }

    fn layer(&mut self, layer: usize) -> Result<Layer, Error> {
        let name = |part: &str| format!("layers.{layer}.{part}");
        let qkv = ["q_proj", "k_proj", "v_proj"].map(|part| name(&format!("self_attn.{part}")));
        Ok(Layer {
            self_attn_layer_norm: self.norm(&name("self_attn_layer_norm"))?,
            qkv_proj: self.linear(&qkv, |_| Order::ByRow)?,
            out_proj: self.linear(&[name("self_attn.out_proj")], |_| Order::ByRow)?,
            final_layer_norm: self.norm(&name("final_layer_norm"))?,
            fc1: self.linear(&[name("fc1")], |_| Order::ByRow)?,
            fc2: self.linear(&[name("fc2")], self.order_behind_activation())?,
        })
    }

    /// Columns can be left out behind a ReLU. At four bits they share their scales, and are read row by row.
    fn order_behind_activation(&self) -> impl Fn(Held) -> Order + use<> {
        let activation = self.config.activation;
        move |held| match (activation, held) {
            (Activation::Gelu, _) | (_, Held::Int4) => Order::ByRow,
            (Activation::Relu, _) => Order::ByColumn,
        }
    }

    fn linear(&mut self, names: &[String], order: impl Fn(Held) -> Order) -> Result<Matrix, Error> {
        let weights: Vec<String> = names.iter().map(|name| format!("{name}.weight")).collect();
        let mut matrix = self.matrix(&weights, Held::of_layers, order)?;
        if self.config.enable_bias {
            let biases: Vec<String> = names.iter().map(|name| format!("{name}.bias")).collect();
            matrix.bias = self.singles(&biases)?;
            let tensors = self.pieces.last().map(|piece| piece.tensors.clone()).unwrap_or_default();
            matrix.narrow_bias = self.place(tensors, Kind::Narrow(matrix.layout), 2 * matrix.layout.rows);
        }
        Ok(matrix)
    }

    /// A matrix outside of the layers, which has no bias: embedding, head, and what stands between them and the stream.
    fn aside(&mut self, name: &str) -> Result<Matrix, Error> {
        self.matrix(&[format!("{name}.weight")], Held::aside, |_| Order::ByRow)
    }

    fn matrix(
        &mut self,
        names: &[String],
        held: impl Fn(Precision, Dtype) -> Held,
        order: impl Fn(Held) -> Order,
    ) -> Result<Matrix, Error> {
        let tensors = names.iter().map(|name| self.take(name)).collect::<Result<Vec<_>, _>>()?;
        let dtype = tensors.iter().map(|tensor| tensor.dtype()).reduce(|one, other| if one == other { one } else { Dtype::F32 });
        let held = held(self.precision, dtype.unwrap_or(Dtype::F32));
        let cols = tensors.first().and_then(|tensor| tensor.shape().last()).copied().unwrap_or(1);
        let rows = tensors.iter().map(|tensor| tensor.shape()[0]).sum();
        let layout = Layout { held, order: order(held), rows, cols };
        let (scales, zeros, bytes) = layout.parts();
        let weights = self.place(tensors, Kind::Matrix(layout), bytes);
        Ok(Matrix { layout, weights, scales: weights + scales as u64, zeros: weights + zeros as u64, bias: 0, narrow_bias: 0 })
    }

    fn norm(&mut self, name: &str) -> Result<Norm, Error> {
        if !self.config.layer_norm_elementwise_affine {
            return Ok(Norm::default());
        }
        Ok(Norm { gain: self.singles(&[format!("{name}.weight")])?, bias: self.singles(&[format!("{name}.bias")])? })
    }

    fn singles(&mut self, names: &[String]) -> Result<u64, Error> {
        let tensors = names.iter().map(|name| self.take(name)).collect::<Result<Vec<_>, _>>()?;
        let count: usize = tensors.iter().map(|tensor| tensor.shape().iter().product::<usize>()).sum();
        Ok(self.place(tensors, Kind::Singles, 4 * count))
    }

    fn take(&mut self, name: &str) -> Result<&'a Tensor, Error> {
        self.tensors.remove(name).ok_or_else(|| Error::Internal { problem: format!("tensor `{name}` was not looked for") })
    }

    fn place(&mut self, tensors: Vec<&'a Tensor>, kind: Kind, bytes: usize) -> u64 {
        let at = self.bytes;
        self.bytes = (at + bytes).next_multiple_of(ALIGNMENT);
        self.pieces.push(Piece { tensors, kind, at });
        self.base + at as u64
    }
}
