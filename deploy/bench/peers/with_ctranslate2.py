"""CTranslate2 (https://github.com/OpenNMT/CTranslate2). Its int8 rounds activations to eight bits for each token."""

import json

import ctranslate2
from ctranslate2.converters import TransformersConverter

from measure import THREADS


def convert(folder, precision, work):
    if not (place(precision, work) / "model.bin").exists():
        TransformersConverter(str(folder)).convert(str(place(precision, work)), quantization=precision, force=True)


def place(precision, work):
    return work / f"ctranslate2-{precision}"


def load(folder, precision, work):
    converted = place(precision, work)
    names = json.loads((converted / "vocabulary.json").read_text())
    model = ctranslate2.Generator(str(converted), device="cpu", compute_type=precision, inter_threads=1, intra_threads=THREADS)

    def generate(prompts, new):
        tokens = [[names[id] for id in prompt] for prompt in prompts]
        made = model.generate_batch(
            tokens, min_length=new, max_length=new, sampling_topk=1, include_prompt_in_result=False, max_batch_size=0, end_token=[]
        )
        return [answer.sequences_ids[0] for answer in made]

    return generate
