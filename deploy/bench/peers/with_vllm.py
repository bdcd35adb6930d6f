"""vLLM's CPU engine (https://github.com/vllm-project/vllm), compiled, its prefix cache off."""

import os

os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "2")
os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "0-1")
os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")

from vllm import LLM, SamplingParams  # noqa: E402
from vllm.inputs import TokensPrompt  # noqa: E402


def load(folder, precision, work):
    model = LLM(
        model=str(folder), dtype="bfloat16", max_model_len=2048, enable_prefix_caching=False, skip_tokenizer_init=True, max_num_seqs=32
    )

    def generate(prompts, new):
        settings = SamplingParams(temperature=0, max_tokens=new, ignore_eos=True, detokenize=False)
        made = model.generate([TokensPrompt(prompt_token_ids=prompt) for prompt in prompts], settings, use_tqdm=False)
        return [answer.outputs[0].token_ids for answer in made]

    return generate
