"""Makes a valid OPT of about 4 GiB whose weights are all zero, as a sparse file: large_model.py FOLDER [--noise].

It computes nothing of interest; it is there to be published and downloaded. With --noise the weights are random and finite, so that
nothing on the way can make them smaller or leave them out.
"""

import json
import os
import pathlib
import shutil
import struct
import sys

SIZE_BYTES = 4 << 30
HIDDEN = 4096
POSITIONS = 512
F16_BYTES = 2
BLOCK_BYTES = 64 << 20
# The exponent of a 16-bit number without its top bit is never the one of infinities and NaN.
FINITE = bytes(byte & 0xBF for byte in range(256))


def shapes(vocabulary):
    """Every tensor of an OPT with one layer."""
    layer = "model.decoder.layers.0"
    found = {"model.decoder.embed_tokens.weight": [vocabulary, HIDDEN], "model.decoder.embed_positions.weight": [POSITIONS + 2, HIDDEN]}
    for name in ("self_attn.k_proj", "self_attn.v_proj", "self_attn.q_proj", "self_attn.out_proj", "fc1", "fc2"):
        found |= {f"{layer}.{name}.weight": [HIDDEN, HIDDEN], f"{layer}.{name}.bias": [HIDDEN]}
    for name in (f"{layer}.self_attn_layer_norm", f"{layer}.final_layer_norm", "model.decoder.final_layer_norm"):
        found |= {f"{name}.weight": [HIDDEN], f"{name}.bias": [HIDDEN]}
    return found


def size_bytes(shape):
    count = F16_BYTES
    for length in shape:
        count *= length
    return count


def main(folder, noise):
    demo = pathlib.Path(__file__).parents[1] / "demo/opt-verse-6m"
    folder.mkdir(parents=True, exist_ok=True)
    without_words = sum(map(size_bytes, shapes(0).values()))
    tensors = shapes((SIZE_BYTES - without_words) // size_bytes([1, HIDDEN]))
    header, end = {"__metadata__": {"format": "pt"}}, 0
    for name, shape in tensors.items():
        begin, end = end, end + size_bytes(shape)
        header[name] = {"dtype": "F16", "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with (folder / "model.safetensors").open("wb") as weights:
        weights.write(struct.pack("<Q", len(text)) + text)
        for begin in range(0, end if noise else 0, BLOCK_BYTES):
            block = bytearray(os.urandom(min(BLOCK_BYTES, end - begin)))
            block[1::2] = block[1::2].translate(FINITE)
            weights.write(block)
        weights.truncate(8 + len(text) + end)
    config = json.loads((demo / "config.json").read_text())
    config |= {"hidden_size": HIDDEN, "word_embed_proj_dim": HIDDEN, "ffn_dim": HIDDEN, "num_attention_heads": 32}
    config |= {"num_hidden_layers": 1, "max_position_embeddings": POSITIONS}
    config["vocab_size"] = tensors["model.decoder.embed_tokens.weight"][0]
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    # No tokenizer: there is none for so many rows.
    shutil.copy(demo / "generation_config.json", folder)


main(pathlib.Path(sys.argv[1]), "--noise" in sys.argv)
