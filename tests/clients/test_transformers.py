"""`transformers.from_pretrained` by name, where torch is installed already: a forward pass equals the one from the published folder."""

from conftest import GATED


def test_a_model_loaded_by_name_computes_what_the_published_one_does(hub, token, demo):
    code = f"""
import torch
from transformers import AutoModelForCausalLM
loaded = [AutoModelForCausalLM.from_pretrained(source, token="{token}").eval() for source in ("{GATED}", r"{demo}")]
ids = torch.tensor([[2, 17, 42, 99]])
with torch.no_grad():
    far, near = (model(ids).logits for model in loaded)
print(torch.equal(far, near))
"""
    assert hub.python(code, token) == "True"
