"""`generate` as transformers has it, for every peer whose model looks like one of its."""

import torch


def generator(model):
    model.generation_config.eos_token_id = None

    def generate(prompts, new):
        ids = torch.tensor(prompts)
        with torch.inference_mode():
            made = model.generate(
                ids, attention_mask=torch.ones_like(ids), max_new_tokens=new, min_new_tokens=new, do_sample=False, pad_token_id=1
            )
        return made[:, ids.shape[1] :].tolist()

    return generate
