"""An INT8 text graph for servers without a GPU; `--text-int8` serves it as text_encoder instead of the float graph.

It replaces the float graph, because all vectors of a catalogue must come from one model. The configuration, the
ensemble and the client do not change. The fingerprint says that it is another model.

The weights of linear layers are INT8, in blocks of 32 weights with one scale per block. Activations are quantised to
INT8 at run time, block by block for each token. The operator is ONNX Runtime's MatMulNBits, from the `com.microsoft`
domain, which TensorRT does not support. It supports 8 bits since ONNX Runtime 1.22, which Triton has since 25.06.
Embeddings are float16, because a lookup needs no arithmetic. Everything else is float32.

`quantize_dynamic` is faster, but it computes one scale over the whole batch. A vector then depends on its neighbours in
the batch and on padding. Measured on the starter model's 120 captions: `quantize_dynamic` has cosine 0.988 with torch,
and 0.984 with the same caption in another batch. This graph has cosine 0.9992 with torch, and a caption alone and in a
batch differ by 4e-8.
"""

import copy

import onnx

from export.towers import quiet

BLOCK = 32  # number of weights of a column that share a scale
INT8_ARITHMETIC = 4  # MatMulNBits' accuracy_level: activations are INT8 too


def quantise(graph: onnx.ModelProto) -> onnx.ModelProto:
    """Return the text graph with INT8 linear layers and the same inputs and output."""
    # A late import, because this module sets the logging of the whole process to its most verbose level.
    from onnxruntime.quantization.matmul_nbits_quantizer import DefaultWeightOnlyQuantConfig, MatMulNBitsQuantizer

    graph = copy.deepcopy(graph)
    del graph.graph.value_info[:]  # the quantiser renames what they describe
    config = DefaultWeightOnlyQuantConfig(
        block_size=BLOCK, is_symmetric=True, accuracy_level=INT8_ARITHMETIC, bits=8, op_types_to_quantize=("MatMul",)
    )
    quantiser = MatMulNBitsQuantizer(graph, algo_config=config)
    with quiet():
        quantiser.process()
    quantised: onnx.ModelProto = quantiser.model.model
    return quantised
