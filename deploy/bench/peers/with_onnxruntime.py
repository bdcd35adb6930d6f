"""ONNX Runtime (https://github.com/microsoft/onnxruntime) by optimum. Its int8 rounds activations to eight bits for each tensor."""

import onnxruntime
from onnxruntime.quantization import QuantType, quantize_dynamic
from optimum.onnxruntime import ORTModelForCausalLM

from hugging_face import generator
from measure import THREADS


def convert(folder, precision, work):
    whole, stored = work / "onnxruntime-fp32", work / f"onnxruntime-{precision}"
    if not (whole / "model.onnx").exists():
        ORTModelForCausalLM.from_pretrained(folder, export=True).save_pretrained(whole)
    if not (stored / "model.onnx").exists():
        stored.mkdir(parents=True, exist_ok=True)
        (stored / "config.json").write_text((whole / "config.json").read_text())
        quantize_dynamic(
            whole / "model.onnx", stored / "model.onnx", weight_type=QuantType.QInt8, per_channel=True,
            extra_options={"MatMulConstBOnly": True}, use_external_data_format=(whole / "model.onnx_data").exists(),
        )  # fmt: skip


def load(folder, precision, work):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    return generator(ORTModelForCausalLM.from_pretrained(work / f"onnxruntime-{precision}", session_options=options, use_io_binding=True))
