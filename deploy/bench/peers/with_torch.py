"""PyTorch by transformers (https://github.com/huggingface/transformers): eager, and compiled by inductor with a static cache."""

import torch
from transformers import AutoModelForCausalLM

from hugging_face import generator
from measure import THREADS

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "bf16-compiled": torch.bfloat16}


def load(folder, precision, work):
    torch.set_num_threads(THREADS)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=PRECISIONS[precision]).eval()
    if precision.endswith("compiled"):
        import torch._inductor.config as inductor

        inductor.freezing = True
        model.generation_config.cache_implementation = "static"
        model.forward = torch.compile(model.forward)
    return generator(model)
