//! A hostile config.json.

use inference::{Activation, OptConfig};
use serde_json::{Map, Value};

use super::files::assert_clear;

/// Takes the bytes for config.json.
pub fn config(data: &[u8]) {
    match OptConfig::parse(data) {
        Err(error) => assert_clear(&error),
        Ok(config) => agrees(&config, &serde_json::from_slice(data).unwrap()),
    }
}

/// The oracle reads the same file as a plain map: every field that is there means what it says, and the shape is one a model can have.
fn agrees(config: &OptConfig, fields: &Map<String, Value>) {
    let field = |name: &str| fields.get(name).filter(|value| !value.is_null());
    assert_eq!(field("model_type").and_then(Value::as_str), Some("opt"));
    for (name, size, default) in [
        ("vocab_size", config.vocab_size, 50_272),
        ("hidden_size", config.hidden_size, 768),
        ("word_embed_proj_dim", config.word_embed_proj_dim, config.hidden_size),
        ("num_hidden_layers", config.num_hidden_layers, 12),
        ("num_attention_heads", config.num_attention_heads, 12),
        ("ffn_dim", config.ffn_dim, 3072),
        ("max_position_embeddings", config.max_position_embeddings, 2048),
    ] {
        assert_eq!(field(name).map_or(Some(default as u64), Value::as_u64), Some(size as u64), "{name}");
        assert!((1..=1 << 20).contains(&size), "{name} {size}");
    }
    for (name, flag, default) in [
        ("do_layer_norm_before", config.do_layer_norm_before, true),
        ("_remove_final_layer_norm", config.remove_final_layer_norm, false),
        ("enable_bias", config.enable_bias, true),
        ("layer_norm_elementwise_affine", config.layer_norm_elementwise_affine, true),
        ("tie_word_embeddings", config.tie_word_embeddings, true),
    ] {
        assert_eq!(field(name).map_or(Some(default), Value::as_bool), Some(flag), "{name}");
    }
    let activation = field("activation_function").map_or(Some("relu"), Value::as_str);
    assert_eq!(activation, Some(if config.activation == Activation::Gelu { "gelu" } else { "relu" }));
    assert_eq!(config.head_dim() * config.num_attention_heads, config.hidden_size);
    // A list without end would be looked through for every token that is made.
    assert!(config.eos_token_ids.len() <= 64, "{} end-of-text tokens", config.eos_token_ids.len());
    for bits in [32, 16, 8, 4] {
        let footprint = config.footprint(bits);
        assert!(footprint.parameters > 0 && footprint.weights_bytes > 0 && footprint.kv_bytes_context >= footprint.kv_bytes_per_token);
    }
}
