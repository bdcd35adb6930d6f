"""OpenVINO (https://github.com/openvinotoolkit/openvino) by optimum-intel. Its int8 and int4 round activations too, for each token."""

from optimum.intel import OVModelForCausalLM, OVWeightQuantizationConfig

from hugging_face import generator
from measure import THREADS

# What it computes in, and how its weights are stored.
PRECISIONS = {
    "fp32": ("f32", None),
    "bf16": ("bf16", None),
    "int8": ("f32", OVWeightQuantizationConfig(bits=8)),
    "int4": ("f32", OVWeightQuantizationConfig(bits=4, group_size=32, sym=False, ratio=1.0)),
}


def convert(folder, precision, work):
    _, quantised = PRECISIONS[precision]
    if not (place(precision, work) / "openvino_model.xml").exists():
        # Unless it is told not to, it stores models of more than a thousand million parameters in eight bits.
        model = OVModelForCausalLM.from_pretrained(
            folder, export=True, compile=False, load_in_8bit=False, quantization_config=quantised
        )
        model.save_pretrained(place(precision, work))
    if not quantised:
        stored = sum(file.stat().st_size for file in place(precision, work).glob("*.bin"))
        given = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
        assert stored > 0.9 * given, f"{place(precision, work)} holds {stored} bytes of {given}: remove it, and it is made anew"


def place(precision, work):
    _, quantised = PRECISIONS[precision]
    return work / ("openvino-" + (precision if quantised else "whole"))


def load(folder, precision, work):
    computed, _ = PRECISIONS[precision]
    settings = {"INFERENCE_PRECISION_HINT": computed, "INFERENCE_NUM_THREADS": str(THREADS), "PERFORMANCE_HINT": "LATENCY"}
    return generator(OVModelForCausalLM.from_pretrained(place(precision, work), ov_config=settings))
