"""The `config.pbtxt` of every model in the repository: protobuf text that Triton reads as it is."""

import hashlib
import json
from dataclasses import asdict, dataclass
from string import Template

from export.tensorrt_check.profiles import BATCH, LENGTH, MAX_BATCH, Profile, profile_of

# Where ONNX Runtime keeps what TensorRT built. It makes the last folder of the path only, so the one above must exist,
# as /tmp does in every container.
ENGINES = "/tmp/musicsearch-tensorrt"
PADDED_LENGTHS = (16, 32, 77)  # tokens, as in model_repository/text_tokenizer/1/model.py
WORKSPACE_BYTES = 4 * 2**30  # at most, while an engine is built and run


@dataclass(frozen=True)
class ModelParameters:
    """What client and server must agree on; travels as model parameters in both encoders' `config.pbtxt`.

    `parity_cosine` is for people: the worst cosine with PyTorch in float32 that the gate saw (`export.parity`).
    """

    sample_rate_hz: int
    window_samples: int
    embedding_dim: int
    max_text_tokens: int
    model_name: str
    fingerprint: str
    parity_cosine: str


def padded_lengths(max_tokens: int) -> tuple[int, ...]:
    """What `text_tokenizer` pads to, in tokens: PADDED_LENGTHS that are shorter than the model's longest, and that."""
    return (*(length for length in PADDED_LENGTHS if length < max_tokens), max_tokens)


def fingerprint(audio_graph: bytes, text_graph: bytes, tokenizer: bytes) -> str:
    """SHA-256, in hex, of the three files' own SHA-256 digests in this order."""
    digests = [hashlib.sha256(content).digest() for content in (audio_graph, text_graph, tokenizer)]
    return hashlib.sha256(b"".join(digests)).hexdigest()


def write_configs(parameters: ModelParameters, *, text_tensorrt: bool = False) -> dict[str, str]:
    """Model name -> the text of its `config.pbtxt`.

    Args:
        text_tensorrt: on a GPU, run the text graph on TensorRT too, and not on the CUDA provider.
    """
    audio = profile_of({"waveform": (BATCH, parameters.window_samples)}, max_tokens=1)
    tokens = {"input_ids": (BATCH, LENGTH), "attention_mask": (BATCH, LENGTH)}
    text = profile_of(tokens, max_tokens=parameters.max_text_tokens)
    lengths = padded_lengths(parameters.max_text_tokens)
    values = asdict(parameters) | {
        "max_batch": MAX_BATCH,
        "lengths": f"{', '.join(map(str, lengths[:-1]))} or {lengths[-1]}" if lengths[1:] else str(lengths[0]),
        "parameters": _entries(asdict(parameters)),
        "token_parameters": _entries({"max_text_tokens": parameters.max_text_tokens}),
        "audio_accelerator": _accelerator(audio, engines=f"audio-{parameters.fingerprint[:16]}"),
        "text_accelerator": (
            _accelerator(text, engines=f"text-{parameters.fingerprint[:16]}") if text_tensorrt else _TEXT_ON_CUDA
        ),
    }
    return {name: template.substitute(values) for name, template in _TEMPLATES.items()}


def _accelerator(profile: Profile, *, engines: str) -> str:
    """The `optimization` that gives a graph to TensorRT; `engines` begins the names of its files."""
    options = {
        "max_workspace_size_bytes": WORKSPACE_BYTES,
        "trt_engine_cache_enable": "true",
        "trt_engine_cache_path": ENGINES,
        "trt_engine_cache_prefix": engines,
        "trt_timing_cache_enable": "true",
        "trt_timing_cache_path": ENGINES,
        "trt_profile_min_shapes": profile.minimum,
        "trt_profile_opt_shapes": profile.usual,
        "trt_profile_max_shapes": profile.maximum,
    }
    lines = "\n".join(f'  parameters {{ key: "{key}" value: "{value}" }}' for key, value in options.items())
    return _ACCELERATOR.substitute(options=lines)


def _entries(parameters: dict[str, str | int]) -> str:
    # A JSON string without \u escapes is a protobuf text string.
    quoted = {key: json.dumps(str(value), ensure_ascii=False) for key, value in parameters.items()}
    return "\n".join(f'parameters {{ key: "{key}" value: {{ string_value: {text} }} }}' for key, text in quoted.items())


_ACCELERATOR = Template("""\
# An instance on a GPU runs the graph on TensorRT; one on a CPU passes this over. Without precision_mode ONNX Runtime
# builds a strongly typed network, which computes in float16 and float32 as the graph says: do not set it.
# The first start builds an engine, which takes minutes, and later starts load it: mount a volume there to keep it. ONNX
# Runtime names an engine by the graph's structure and not by its weights, so the prefix names the weights. A Triton
# without TensorRT in its ONNX Runtime refuses "tensorrt" on a GPU: delete this block there.
optimization { execution_accelerators { gpu_execution_accelerator [ {
  name: "tensorrt"
$options
} ] } }
""")

_TEXT_ON_CUDA = """\
# No accelerator: on a GPU the CUDA provider runs this graph. A query is little work, its length and batch vary, and the
# CUDA provider is ready at once, where TensorRT builds an engine for minutes and holds its kernels fit for one length.
# `to_onnx.py --text-tensorrt` chooses TensorRT.
"""

_TEMPLATES = {
    "audio_encoder": Template("""\
# Written by export/to_onnx.py. One window of mono audio -> its embedding.
name: "audio_encoder"
backend: "onnxruntime"

# 64 windows are 41 MB of samples at 16 kHz and 10 s: enough work for a GPU, well under gRPC's limit for a message.
max_batch_size: $max_batch
input [ { name: "waveform" data_type: TYPE_FP32 dims: [ $window_samples ] } ]  # -1 to 1
output [ { name: "embedding" data_type: TYPE_FP32 dims: [ $embedding_dim ] } ]  # unit L2 norm

# Indexing sends many windows at once and cares for throughput: waiting 5 ms costs less than a window's own computation
# on a CPU and fills a GPU's batch.
dynamic_batching { max_queue_delay_microseconds: 5000 }

# No kind: a GPU where there is one, else the CPU. One instance already uses every core of a CPU; Triton's default there
# is two, which would hold the weights twice and fight for the cores.
instance_group [ { count: 1 } ]

$audio_accelerator
# What a client must know; an index remembers the fingerprint of the model that made it.
$parameters
"""),
    "text_encoder": Template("""\
# Written by export/to_onnx.py. Token ids -> embedding.
name: "text_encoder"
backend: "onnxruntime"

max_batch_size: $max_batch
input [
  { name: "input_ids" data_type: TYPE_INT32 dims: [ -1 ] },
  { name: "attention_mask" data_type: TYPE_INT32 dims: [ -1 ] }  # 1 for a token, 0 for padding
]
output [ { name: "embedding" data_type: TYPE_FP32 dims: [ $embedding_dim ] } ]  # unit L2 norm

# Somebody waits for each query: half a millisecond is enough to meet others under load. Requests of equal length form a
# batch, and the tokenizer pads to $lengths tokens only.
dynamic_batching { max_queue_delay_microseconds: 500 }

# No kind: a GPU where there is one, else the CPU (one instance uses every core).
instance_group [ { count: 1 } ]

$text_accelerator
# What a client must know; an index remembers the fingerprint of the model that made it.
$parameters
"""),
    "text_tokenizer": Template("""\
# Written by export/to_onnx.py. Text -> token ids and mask, padded to $lengths tokens.
name: "text_tokenizer"
backend: "python"

max_batch_size: 64
input [ { name: "text" data_type: TYPE_STRING dims: [ 1 ] } ]  # UTF-8
output [
  { name: "input_ids" data_type: TYPE_INT32 dims: [ -1 ] },
  { name: "attention_mask" data_type: TYPE_INT32 dims: [ -1 ] }
]

# Takes what is queued, waits for nothing: a text costs some 0.1 ms.
dynamic_batching { }

# Tokenizing never gains from a GPU; without the kind, Triton would start one of these for each GPU.
instance_group [ { count: 1 kind: KIND_CPU } ]

$token_parameters
"""),
    "text_embedding": Template("""\
# Written by export/to_onnx.py. Text -> embedding: the tokenizer, then the text encoder, in one call.
name: "text_embedding"
platform: "ensemble"

# An ensemble does not batch by itself; its steps do.
max_batch_size: 64
input [ { name: "text" data_type: TYPE_STRING dims: [ 1 ] } ]  # UTF-8
output [ { name: "embedding" data_type: TYPE_FP32 dims: [ $embedding_dim ] } ]  # unit L2 norm
ensemble_scheduling {
  step [
    {
      model_name: "text_tokenizer"
      model_version: -1
      input_map { key: "text" value: "text" }
      output_map { key: "input_ids" value: "input_ids" }
      output_map { key: "attention_mask" value: "attention_mask" }
    },
    {
      model_name: "text_encoder"
      model_version: -1
      input_map { key: "input_ids" value: "input_ids" }
      input_map { key: "attention_mask" value: "attention_mask" }
      output_map { key: "embedding" value: "embedding" }
    }
  ]
}
"""),
}
