//! config.json of an OPT checkpoint: parsed, checked, and refused by the field's name where it asks for what we do not do.

use serde_json::{Map, Value};

use crate::checkpoint::Entries;
use crate::error::Error;

/// The name of the file, for messages.
pub(crate) const CONFIG_FILE: &str = "config.json";

/// LayerNorm's epsilon: torch's default, which config.json never states.
pub(crate) const LAYER_NORM_EPSILON: f32 = 1e-5;

/// Positions are learned, and the first two rows of their table are never used.
pub(crate) const POSITION_OFFSET: usize = 2;

/// The widest a layer may be: sums over so many columns still fit the 32 bits the kernels count in. OPT-175B has 49,152.
const WIDTH_MAX: usize = 1 << 16;

/// The longest context, in tokens. The scores of one attended tile are then 8 MiB for each thread, beside which nothing counts them.
const CONTEXT_TOKENS_MAX: usize = 1 << 16;

/// The most end-of-text tokens: each is looked for among all candidates whenever a token is drawn. Models have one or two.
const EOS_TOKENS_MAX: usize = 64;

/// The nonlinearity between the two halves of the feed-forward block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// max(x, 0): all of OPT.
    Relu,
    /// x · Φ(x) with the exact error function: Galactica.
    Gelu,
}

/// The shape of an OPT model. A value that exists is consistent: heads divide the width, nothing is zero or absurd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptConfig {
    /// Rows of the embedding; the last few may have no token.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of the embedding; where it differs from `hidden_size`, `project_in` and `project_out` stand between (350M).
    pub word_embed_proj_dim: usize,
    /// Number of layers.
    pub num_hidden_layers: usize,
    /// Number of attention heads.
    pub num_attention_heads: usize,
    /// Width of the feed-forward block.
    pub ffn_dim: usize,
    /// Tokens the context holds.
    pub max_position_embeddings: usize,
    /// LayerNorm before each block (true) or after (350M).
    pub do_layer_norm_before: bool,
    /// The final norm is absent although the layers are pre-norm (checkpoints fine-tuned before transformers 4.20.1).
    pub remove_final_layer_norm: bool,
    /// The nonlinearity.
    pub activation: Activation,
    /// The linear layers have a bias.
    pub enable_bias: bool,
    /// The norms have a gain and a bias.
    pub layer_norm_elementwise_affine: bool,
    /// The output head is the embedding.
    pub tie_word_embeddings: bool,
    /// Beginning-of-text token.
    pub bos_token_id: Option<u32>,
    /// End-of-text tokens.
    pub eos_token_ids: Vec<u32>,
}

/// How much memory a model takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Footprint {
    /// Number of weights.
    pub parameters: u64,
    /// Bytes of all weights. At 8 and 4 bits the norms, biases and positions stay at 16, and scales are counted (one 16-bit scale for 32 weights at 4, one for each row at 8).
    pub weights_bytes: u64,
    /// Bytes of keys and values for one token: 32-bit numbers with 32-bit weights, else 16-bit.
    pub kv_bytes_per_token: u64,
    /// The same for the whole context of one sequence.
    pub kv_bytes_context: u64,
}

impl OptConfig {
    /// Reads config.json. `Corrupt` if it is not JSON of the right types, `Unsupported` naming the field it asks too much in.
    pub fn parse(json: &[u8]) -> Result<Self, Error> {
        let Entries(fields) = serde_json::from_slice(json)
            .map_err(|problem| Error::corrupt(CONFIG_FILE, format!("not a JSON object with each field once: {problem}")))?;
        let fields: Map<String, Value> = fields.into_iter().collect();
        let fields = Fields(&fields);
        match fields.get("model_type") {
            Some(Value::String(kind)) if kind == "opt" => {}
            Some(other) => return Err(Error::unsupported("model_type", format!("is {other}; this engine runs \"opt\" only"))),
            None => return Err(Error::unsupported("model_type", "is missing from config.json; this engine runs \"opt\" only")),
        }
        if fields.get("quantization_config").is_some() {
            return Err(Error::unsupported("quantization_config", "is set; give the weights in fp16, bf16 or fp32 instead"));
        }
        let activation = match fields.get("activation_function") {
            None => Activation::Relu,
            Some(Value::String(name)) if name == "relu" => Activation::Relu,
            Some(Value::String(name)) if name == "gelu" => Activation::Gelu,
            Some(other) => {
                return Err(Error::unsupported("activation_function", format!("is {other}; \"relu\" and \"gelu\" are understood")));
            }
        };
        let hidden_size = fields.size("hidden_size", 768, WIDTH_MAX)?;
        let config = Self {
            vocab_size: fields.size("vocab_size", 50_272, 1 << 20)?,
            hidden_size,
            word_embed_proj_dim: fields.size("word_embed_proj_dim", hidden_size, WIDTH_MAX)?,
            num_hidden_layers: fields.size("num_hidden_layers", 12, 1024)?,
            num_attention_heads: fields.size("num_attention_heads", 12, 1024)?,
            ffn_dim: fields.size("ffn_dim", 3072, WIDTH_MAX)?,
            max_position_embeddings: fields.size("max_position_embeddings", 2048, CONTEXT_TOKENS_MAX)?,
            do_layer_norm_before: fields.flag("do_layer_norm_before", true)?,
            remove_final_layer_norm: fields.flag("_remove_final_layer_norm", false)?,
            activation,
            enable_bias: fields.flag("enable_bias", true)?,
            layer_norm_elementwise_affine: fields.flag("layer_norm_elementwise_affine", true)?,
            tie_word_embeddings: fields.flag("tie_word_embeddings", true)?,
            bos_token_id: fields.tokens("bos_token_id", 2)?.first().copied(),
            eos_token_ids: fields.tokens("eos_token_id", 2)?,
        };
        if !config.hidden_size.is_multiple_of(config.num_attention_heads) {
            return Err(Error::corrupt(
                CONFIG_FILE,
                format!("`hidden_size` {} is not a multiple of `num_attention_heads` {}", config.hidden_size, config.num_attention_heads),
            ));
        }
        Ok(config)
    }

    /// Width of one attention head.
    pub fn head_dim(&self) -> usize {
        self.hidden_size / self.num_attention_heads
    }

    /// Whether a norm stands between the last layer and the head.
    pub fn has_final_layer_norm(&self) -> bool {
        self.do_layer_norm_before && !self.remove_final_layer_norm
    }

    /// Whether the embedding is narrower (or wider) than the residual stream.
    pub fn has_projection(&self) -> bool {
        self.word_embed_proj_dim != self.hidden_size
    }

    /// The memory the model takes with weights of `weight_bits` (32, 16, 8 or 4) bits.
    pub fn footprint(&self, weight_bits: u32) -> Footprint {
        let wide = |n: usize| n as u64;
        let (hidden, ffn, layers) = (wide(self.hidden_size), wide(self.ffn_dim), wide(self.num_hidden_layers));
        let bias = u64::from(self.enable_bias);
        let norm = if self.layer_norm_elementwise_affine { 2 * hidden } else { 0 };
        let tables = if self.tie_word_embeddings { 1 } else { 2 };

        // (rows, cols) of every matrix that lower precisions shrink.
        let mut matrices = vec![(wide(self.vocab_size) * tables, wide(self.word_embed_proj_dim))];
        matrices.extend([(4 * hidden * layers, hidden), (ffn * layers, hidden), (hidden * layers, ffn)]);
        if self.has_projection() {
            matrices.extend([(hidden, wide(self.word_embed_proj_dim)), (wide(self.word_embed_proj_dim), hidden)]);
        }
        let in_matrices: u64 = matrices.iter().map(|(rows, cols)| rows * cols).sum();
        let aside = wide(self.max_position_embeddings + POSITION_OFFSET) * hidden
            + layers * (2 * norm + bias * (4 * hidden + ffn + hidden))
            + if self.has_final_layer_norm() { norm } else { 0 };
        let aside_bytes = aside * if weight_bits == 32 { 4 } else { 2 };
        let scales_bytes: u64 = match weight_bits {
            8 => matrices.iter().map(|(rows, _)| rows * 2).sum(),
            4 => matrices.iter().map(|(rows, cols)| rows * cols.div_ceil(32) * 2).sum(),
            _ => 0,
        };
        let kv_bytes_per_token = 2 * layers * hidden * if weight_bits == 32 { 4 } else { 2 };
        Footprint {
            parameters: in_matrices + aside,
            weights_bytes: (in_matrices * u64::from(weight_bits)).div_ceil(8) + scales_bytes + aside_bytes,
            kv_bytes_per_token,
            kv_bytes_context: kv_bytes_per_token * wide(self.max_position_embeddings),
        }
    }
}

/// The fields of config.json, read with their defaults. `null` stands for a missing key, as transformers reads it.
struct Fields<'a>(&'a Map<String, Value>);

impl Fields<'_> {
    fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    fn size(&self, name: &str, default: usize, max: usize) -> Result<usize, Error> {
        let Some(value) = self.get(name) else { return Ok(default) };
        value
            .as_u64()
            .and_then(|size| usize::try_from(size).ok())
            .filter(|size| (1..=max).contains(size))
            .ok_or_else(|| Error::corrupt(CONFIG_FILE, format!("`{name}` is {value}; a whole number from 1 to {max} is expected")))
    }

    fn flag(&self, name: &str, default: bool) -> Result<bool, Error> {
        let Some(value) = self.get(name) else { return Ok(default) };
        value.as_bool().ok_or_else(|| Error::corrupt(CONFIG_FILE, format!("`{name}` is {value}; true or false is expected")))
    }

    /// One token id or a list of them.
    fn tokens(&self, name: &str, default: u32) -> Result<Vec<u32>, Error> {
        let wrong = |value: &Value| Error::corrupt(CONFIG_FILE, format!("`{name}` is {value}; a token id is expected"));
        let id = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
        match self.get(name) {
            None => Ok(vec![default]),
            Some(Value::Array(ids)) if ids.len() > EOS_TOKENS_MAX => {
                Err(Error::corrupt(CONFIG_FILE, format!("`{name}` lists {} tokens; at most {EOS_TOKENS_MAX} are read", ids.len())))
            }
            Some(Value::Array(ids)) => ids.iter().map(|value| id(value).ok_or_else(|| wrong(value))).collect(),
            Some(value) => Ok(vec![id(value).ok_or_else(|| wrong(value))?]),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
    use super::*;

    fn refusal(json: &str) -> String {
        OptConfig::parse(json.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn missing_keys_take_the_defaults_of_the_125m_model() {
        let config = OptConfig::parse(br#"{"model_type": "opt"}"#).unwrap();
        assert_eq!((config.vocab_size, config.hidden_size, config.num_hidden_layers), (50_272, 768, 12));
        assert_eq!(config.head_dim(), 64);
        assert!(config.has_final_layer_norm() && !config.has_projection());
    }

    #[test]
    fn the_footprints_are_those_of_the_published_sizes() {
        let opt_125m = OptConfig::parse(br#"{"model_type": "opt"}"#).unwrap().footprint(16);
        assert_eq!(opt_125m.parameters, 125_239_296);
        assert_eq!(opt_125m.weights_bytes, 2 * 125_239_296);
        assert_eq!(opt_125m.kv_bytes_per_token, 36_864);

        let opt_350m = br#"{"model_type": "opt", "hidden_size": 1024, "word_embed_proj_dim": 512, "num_hidden_layers": 24,
            "num_attention_heads": 16, "ffn_dim": 4096, "do_layer_norm_before": false}"#;
        assert_eq!(OptConfig::parse(opt_350m).unwrap().footprint(16).parameters, 331_196_416);

        let opt_175b =
            br#"{"model_type": "opt", "hidden_size": 12288, "num_hidden_layers": 96, "num_attention_heads": 96, "ffn_dim": 49152}"#;
        let opt_175b = OptConfig::parse(opt_175b).unwrap();
        assert_eq!(opt_175b.footprint(16).parameters, 174_604_468_224);
        assert!(opt_175b.footprint(4).weights_bytes < opt_175b.footprint(8).weights_bytes);
    }

    #[test]
    fn what_is_not_done_is_refused_by_the_fields_name() {
        assert!(refusal(r#"{"model_type": "llama"}"#).contains("`model_type` is \"llama\""));
        assert!(refusal("{}").contains("`model_type`"));
        assert!(refusal(r#"{"model_type": "opt", "activation_function": "swish"}"#).contains("`activation_function`"));
        assert!(refusal(r#"{"model_type": "opt", "quantization_config": {"bits": 4}}"#).contains("`quantization_config`"));
    }

    #[test]
    fn absurd_shapes_are_refused_by_the_fields_name() {
        for (field, value) in [
            ("hidden_size", "0"),
            ("hidden_size", "-1"),
            ("num_hidden_layers", "1e30"),
            ("hidden_size", "65537"),
            ("word_embed_proj_dim", "65537"),
            ("ffn_dim", "\"big\""),
            ("ffn_dim", "65537"),
            ("max_position_embeddings", "65537"),
            ("vocab_size", "99999999999"),
        ] {
            let message = refusal(&format!(r#"{{"model_type": "opt", "{field}": {value}}}"#));
            assert!(message.contains(&format!("`{field}`")), "{message}");
        }
        let many = format!(r#"{{"model_type": "opt", "eos_token_id": [{}2]}}"#, "2, ".repeat(1000));
        assert!(refusal(&many).contains("`eos_token_id` lists 1001 tokens"));
        assert!(refusal(r#"{"model_type": "opt", "num_attention_heads": 7}"#).contains("`num_attention_heads`"));
        assert!(refusal(r#"{"model_type": "opt", "enable_bias": "no"}"#).contains("`enable_bias`"));
        assert!(refusal("[1]").contains("config.json"));
    }

    #[test]
    fn a_field_given_twice_is_refused_by_its_name() {
        let message = refusal(r#"{"model_type": "opt", "ffn_dim": 3072, "ffn_dim": 4096}"#);
        assert!(message.contains("`ffn_dim` stands there twice"), "{message}");
    }
}
