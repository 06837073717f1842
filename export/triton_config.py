"""The `config.pbtxt` of every model in the repository: protobuf text that Triton reads as it is."""

import hashlib
import json
from dataclasses import asdict, dataclass
from string import Template


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


def fingerprint(audio_graph: bytes, text_graph: bytes, tokenizer: bytes) -> str:
    """SHA-256, in hex, of the three files' own SHA-256 digests in this order."""
    digests = [hashlib.sha256(content).digest() for content in (audio_graph, text_graph, tokenizer)]
    return hashlib.sha256(b"".join(digests)).hexdigest()


def write_configs(parameters: ModelParameters) -> dict[str, str]:
    """Model name -> the text of its `config.pbtxt`."""
    values = asdict(parameters) | {
        "parameters": _entries(asdict(parameters)),
        "token_parameters": _entries({"max_text_tokens": parameters.max_text_tokens}),
    }
    return {name: template.substitute(values) for name, template in _TEMPLATES.items()}


def _entries(parameters: dict[str, str | int]) -> str:
    # A JSON string without \u escapes is a protobuf text string.
    quoted = {key: json.dumps(str(value), ensure_ascii=False) for key, value in parameters.items()}
    return "\n".join(f'parameters {{ key: "{key}" value: {{ string_value: {text} }} }}' for key, text in quoted.items())


_TEMPLATES = {
    "audio_encoder": Template("""\
# Written by export/to_onnx.py. One window of mono audio -> its embedding.
name: "audio_encoder"
backend: "onnxruntime"

# 64 windows are 41 MB of samples at 16 kHz and 10 s: enough work for a GPU, well under gRPC's limit for a message.
max_batch_size: 64
input [ { name: "waveform" data_type: TYPE_FP32 dims: [ $window_samples ] } ]  # -1 to 1
output [ { name: "embedding" data_type: TYPE_FP32 dims: [ $embedding_dim ] } ]  # unit L2 norm

# Indexing sends many windows at once and cares for throughput: waiting 5 ms costs less than a window's own computation
# on a CPU and fills a GPU's batch.
dynamic_batching { max_queue_delay_microseconds: 5000 }

# No kind: a GPU where there is one, else the CPU. One instance already uses every core of a CPU; Triton's default there
# is two, which would hold the weights twice and fight for the cores.
instance_group [ { count: 1 } ]

# What a client must know; an index remembers the fingerprint of the model that made it.
$parameters
"""),
    "text_encoder": Template("""\
# Written by export/to_onnx.py. Token ids -> embedding.
name: "text_encoder"
backend: "onnxruntime"

max_batch_size: 64
input [
  { name: "input_ids" data_type: TYPE_INT32 dims: [ -1 ] },
  { name: "attention_mask" data_type: TYPE_INT32 dims: [ -1 ] }  # 1 for a token, 0 for padding
]
output [ { name: "embedding" data_type: TYPE_FP32 dims: [ $embedding_dim ] } ]  # unit L2 norm

# Somebody waits for each query: half a millisecond is enough to meet others under load. Requests of equal length form a
# batch, and the tokenizer pads to three lengths only.
dynamic_batching { max_queue_delay_microseconds: 500 }

# No kind: a GPU where there is one, else the CPU (one instance uses every core).
instance_group [ { count: 1 } ]

# What a client must know; an index remembers the fingerprint of the model that made it.
$parameters
"""),
    "text_tokenizer": Template("""\
# Written by export/to_onnx.py. Text -> token ids and mask, padded to 16, 32, 77 or the longest that the model takes.
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
