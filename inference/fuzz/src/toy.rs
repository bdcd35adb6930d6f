//! Small right files for the fuzzer to spoil: shards, a tokenizer, and whole models.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use inference::checkpoint::build_tokenizer_json;
use serde_json::{Map, json};

use super::said::Said;

/// A safetensors file with one number of each name.
pub fn shard(names: &[&str]) -> Vec<u8> {
    let tensors: Vec<(String, Vec<usize>, Vec<u8>)> =
        names.iter().map(|name| ((*name).to_owned(), vec![1], 1f32.to_le_bytes().to_vec())).collect();
    container("F32", &tensors)
}

/// Rows a model needs for the tokenizer below.
pub const TOKENS: usize = 268;

/// A tokenizer with a token for each byte and a few longer ones, two of which cut a character in half.
pub static BYTE_TOKENIZER: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let prints = |byte: &u32| matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
    let shifted = (0x100..).take((0..256).filter(|byte| !prints(byte)).count());
    let alphabet = (0..256).filter(prints).chain(shifted).map(|code| char::from_u32(code).unwrap().to_string());
    let merges = ["h e", "Ġ t", "Ġt he", "Ã ©", "ð Ł", "ðŁ ĺ", "Ġ Ġ", "Ċ Ċ"];
    let merged = merges.map(|merge| merge.replace(' ', ""));
    let vocab: BTreeMap<String, usize> =
        ["<s>", "<pad>", "</s>", "<unk>"].map(str::to_owned).into_iter().chain(alphabet).chain(merged).zip(0..).collect();
    assert_eq!(vocab.len(), TOKENS);
    build_tokenizer_json(&serde_json::to_vec(&vocab).unwrap(), merges.join("\n").as_bytes(), None).unwrap()
});

/// A model that is right, of a shape that was said.
pub struct Toy {
    pub config: Vec<u8>,
    pub weights: Vec<u8>,
    pub speaks: bool,
}

impl Toy {
    pub fn said(said: &mut Said<'_>) -> Self {
        let (heads, head_dim) = (said.one_of(&[1, 2, 3]), said.one_of(&[1, 4, 5, 8, 16]));
        let hidden = heads * head_dim;
        let embed = said.one_of(&[hidden, hidden, 1, 12]);
        let (layers, ffn) = (said.one_of(&[1, 2]), said.one_of(&[1, 8, 17, 40]));
        let (vocab, context) = (said.one_of(&[300, 300, 1, 2, 33]), said.one_of(&[1, 2, 31, 40, 100]));
        let flags = said.byte();
        let flag = |bit: u8| flags >> bit & 1 == 0;
        let (before, final_norm, bias, affine, tied) = (flag(0), flag(1), flag(2), flag(3), flag(4));
        let dtype = said.one_of(&["F32", "F16", "BF16"]);
        let scale = said.one_of(&[0.2, 0.01, 3.0, 1e4, 1e18, 3e37]);
        let config = json!({
            "model_type": "opt", "vocab_size": vocab, "hidden_size": hidden, "word_embed_proj_dim": embed, "num_hidden_layers": layers,
            "num_attention_heads": heads, "ffn_dim": ffn, "max_position_embeddings": context, "do_layer_norm_before": before,
            "_remove_final_layer_norm": !final_norm, "activation_function": if flag(5) { "relu" } else { "gelu" }, "enable_bias": bias,
            "layer_norm_elementwise_affine": affine, "tie_word_embeddings": tied, "eos_token_id": if flag(6) { 2 } else { 0 },
        });
        let mut shapes = vec![("embed_tokens.weight".to_owned(), vec![vocab, embed])];
        let mut add = |name: String, shape: &[usize]| shapes.push((name, shape.to_vec()));
        add("embed_positions.weight".to_owned(), &[context + 2, hidden]);
        if embed != hidden {
            add("project_in.weight".to_owned(), &[hidden, embed]);
            add("project_out.weight".to_owned(), &[embed, hidden]);
        }
        let norm = |name: &str, add: &mut dyn FnMut(String, &[usize])| {
            if affine {
                add(format!("{name}.weight"), &[hidden]);
                add(format!("{name}.bias"), &[hidden]);
            }
        };
        for layer in 0..layers {
            let attention = ["q_proj", "k_proj", "v_proj", "out_proj"].map(|name| (format!("self_attn.{name}"), hidden, hidden));
            for (name, rows, cols) in attention.into_iter().chain([("fc1".to_owned(), ffn, hidden), ("fc2".to_owned(), hidden, ffn)]) {
                add(format!("layers.{layer}.{name}.weight"), &[rows, cols]);
                if bias {
                    add(format!("layers.{layer}.{name}.bias"), &[rows]);
                }
            }
            norm(&format!("layers.{layer}.self_attn_layer_norm"), &mut add);
            norm(&format!("layers.{layer}.final_layer_norm"), &mut add);
        }
        if before && final_norm {
            norm("final_layer_norm", &mut add);
        }
        if !tied {
            shapes.push(("lm_head.weight".to_owned(), vec![vocab, embed]));
        }
        let mut noise = 1_u64;
        let tensors: Vec<(String, Vec<usize>, Vec<u8>)> = shapes
            .into_iter()
            .map(|(name, shape)| {
                let count = shape.iter().product();
                let bytes = (0..count).flat_map(|_| number(dtype, scale, &mut noise)).collect();
                // Both ways of naming them are met with: with and without a prefix for the whole.
                (if name.starts_with("lm_head") { name } else { format!("model.decoder.{name}") }, shape, bytes)
            })
            .collect();
        Self { config: serde_json::to_vec(&config).unwrap(), weights: container(dtype, &tensors), speaks: vocab >= TOKENS && said.flag() }
    }
}

/// The next weight, within ± `scale`.
fn number(dtype: &str, scale: f32, noise: &mut u64) -> Vec<u8> {
    *noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    let number = ((*noise >> 40) as f32 / (1 << 23) as f32 - 1.0) * scale;
    let bits = number.to_bits();
    match dtype {
        "F32" => bits.to_le_bytes().to_vec(),
        "BF16" => bits.to_le_bytes()[2..].to_vec(),
        // Cut off, not rounded; what is too small for a half is 0, and what is too large has the largest exponent.
        _ => match (bits >> 23 & 0xff).checked_sub(112).filter(|exponent| *exponent > 0).map(|exponent| exponent.min(30)) {
            Some(exponent) => ((bits >> 31 << 15 | exponent << 10 | bits >> 13 & 0x3ff) as u16).to_le_bytes().to_vec(),
            None => vec![0; 2],
        },
    }
}

/// A safetensors file of these tensors: name, shape, bytes.
fn container(dtype: &str, tensors: &[(String, Vec<usize>, Vec<u8>)]) -> Vec<u8> {
    let (mut header, mut body) = (Map::new(), Vec::new());
    for (name, shape, bytes) in tensors {
        header.insert(name.clone(), json!({ "dtype": dtype, "shape": shape, "data_offsets": [body.len(), body.len() + bytes.len()] }));
        body.extend_from_slice(bytes);
    }
    let header = serde_json::to_vec(&header).unwrap();
    [&(header.len() as u64).to_le_bytes(), header.as_slice(), &body].concat()
}
