"""Writes the `config.pbtxt` of every model in the repository, protobuf text that Triton reads unchanged."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from string import Template

from export.tensorrt_check.profiles import BATCH, LENGTH, MAX_BATCH, USUAL_BATCH, Profile, profile_of

# Cache folder of ONNX Runtime for TensorRT engines. It creates only the last folder of the path, so the parent must
# exist. /tmp exists in every container.
ENGINES = "/tmp/musicsearch-tensorrt"
PADDED_LENGTHS = (16, 32, 77)  # tokens, as in model_repository/text_tokenizer/1/model.py
WORKSPACE_BYTES = 4 * 2**30  # maximum while an engine is built and run

# Limits of one request. They are model parameters, so the operator of a server can change them in config.pbtxt.
TEXT_LIMITS = {"max_text_bytes": 16_384}  # dozens of times what a model can read; no query is longer
AUDIO_LIMITS = {
    "max_audio_bytes": 64 * 2**20,  # the default limit of Triton's HTTP endpoint
    "max_audio_s": 3600,
}
# Of the transcriber. A window of 16 s of two sounds is 2 MB, and its widest layer gives 20 MB.
TRANSCRIBER_BATCH, USUAL_TRANSCRIBER_BATCH = 16, 4  # at most, and what the client sends at a time


@dataclass(frozen=True)
class ModelParameters:
    """The values that client and server must agree on: model parameters in both encoders' `config.pbtxt`.

    `parity_cosine` is for people. It is the worst cosine with PyTorch in float32 in the parity check (`export.parity`).
    """

    sample_rate_hz: int
    window_samples: int
    embedding_dim: int
    max_text_tokens: int
    model_name: str
    fingerprint: str
    parity_cosine: str


@dataclass(frozen=True)
class TranscriberParameters:
    """The values that client and server must agree on: model parameters in `lyrics_transcriber/config.pbtxt`.

    `characters` are what the classes after the blank stand for. `parity_error` is for people. It is the largest
    difference of a probability from PyTorch in float32 in the parity check (`export.transcriber_parity`).
    """

    sample_rate_hz: int
    window_samples: int
    characters: str
    method: str
    model_name: str
    fingerprint: str
    parity_error: str


def padded_lengths(max_tokens: int) -> tuple[int, ...]:
    """Return the lengths in tokens that `text_tokenizer` pads to: the PADDED_LENGTHS below the maximum, then that."""
    return (*(length for length in PADDED_LENGTHS if length < max_tokens), max_tokens)


def fingerprint(audio_graph: bytes, text_graph: bytes, tokenizer: bytes) -> str:
    """Return the SHA-256, in hex, of the SHA-256 digests of the three files in this order."""
    digests = [hashlib.sha256(content).digest() for content in (audio_graph, text_graph, tokenizer)]
    return hashlib.sha256(b"".join(digests)).hexdigest()


def write_configs(parameters: ModelParameters, *, text_tensorrt: bool = False) -> dict[str, str]:
    """Return the text of each model's `config.pbtxt` by model name.

    Args:
        text_tensorrt: on a GPU, run the text graph on TensorRT too, instead of the CUDA provider.
    """
    audio = profile_of({"waveform": (BATCH, parameters.window_samples)}, max_tokens=1)
    tokens = {"input_ids": (BATCH, LENGTH), "attention_mask": (BATCH, LENGTH)}
    text = profile_of(tokens, max_tokens=parameters.max_text_tokens)
    lengths = padded_lengths(parameters.max_text_tokens)
    values = asdict(parameters) | {
        "threads": _THREADS,
        "max_batch": MAX_BATCH,
        "lengths": f"{', '.join(map(str, lengths[:-1]))} or {lengths[-1]}" if lengths[1:] else str(lengths[0]),
        "version": _VERSION,
        "parameters": _entries(asdict(parameters)),
        "text_queue": _TEXT_QUEUE,
        "token_parameters": _entries({"max_text_tokens": parameters.max_text_tokens} | TEXT_LIMITS),
        "file_parameters": _entries(
            {
                "sample_rate_hz": parameters.sample_rate_hz,
                "window_samples": parameters.window_samples,
                "windows_per_call": USUAL_BATCH,
            }
            | AUDIO_LIMITS
        ),
        "audio_warmup": "".join(
            _warmup({"waveform": ("FP32", (parameters.window_samples,))}, batch_size=size) for size in (1, USUAL_BATCH)
        ),
        "text_warmup": "".join(
            _warmup(dict.fromkeys(tokens, ("INT32", (length,))), batch_size=size)
            for length, size in [*((length, 1) for length in lengths), (lengths[0], MAX_BATCH)]
        ),
        "audio_accelerator": _accelerator(audio, engines=f"audio-{parameters.fingerprint[:16]}"),
        "text_accelerator": (
            _accelerator(text, engines=f"text-{parameters.fingerprint[:16]}") if text_tensorrt else _TEXT_ON_CUDA
        ),
    }
    return {name: template.substitute(values) for name, template in _TEMPLATES.items()}


def write_transcriber_config(parameters: TranscriberParameters, *, outputs: Mapping[str, Sequence[int]]) -> str:
    """Return the text of the transcriber's `config.pbtxt`.

    Args:
        outputs: the shape of each output of the graph without the batch axis, by name.
    """
    shape = (2, parameters.window_samples)
    profile = profile_of(
        {"waveforms": (BATCH, *shape)},
        max_tokens=1,
        usual_batch=USUAL_TRANSCRIBER_BATCH,
        max_batch=TRANSCRIBER_BATCH,
    )
    declared = [
        f'  {{ name: "{name}" data_type: TYPE_FP32 dims: [ {", ".join(map(str, dims))} ] }}'
        for name, dims in outputs.items()
    ]
    return _TRANSCRIBER.substitute(
        version=_VERSION,
        threads=_THREADS,
        max_batch=TRANSCRIBER_BATCH,
        window_samples=parameters.window_samples,
        outputs=",\n".join(declared),
        warmup="".join(
            _warmup({"waveforms": ("FP32", shape)}, batch_size=size) for size in (1, USUAL_TRANSCRIBER_BATCH)
        ),
        accelerator=_accelerator(profile, engines=f"transcriber-{parameters.fingerprint[:16]}"),
        parameters=_entries(asdict(parameters)),
    )


def _accelerator(profile: Profile, *, engines: str) -> str:
    """Write the `optimization` block that runs a graph on TensorRT; `engines` is the prefix of its cache files."""
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


def _warmup(inputs: Mapping[str, tuple[str, Sequence[int]]], *, batch_size: int) -> str:
    """Write a warm-up request with zeros, from {"waveform": ("FP32", (160_000,))} and a batch size."""
    shapes = ", ".join(f"{name} {'x'.join(map(str, (batch_size, *dims)))}" for name, (_, dims) in inputs.items())
    lines = [
        f'  inputs {{ key: "{name}" value: {{ data_type: TYPE_{kind} dims: [ {", ".join(map(str, dims))} ] '
        "zero_data: true } }\n"
        for name, (kind, dims) in inputs.items()
    ]
    return f'model_warmup {{ name: "{shapes}" batch_size: {batch_size}\n{"".join(lines)}}}\n'


def _entries(parameters: Mapping[str, str | int]) -> str:
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

# A block that is the same in every model's file.
_VERSION = """\
# The newest version alone: an older one beside it would hold its weights a second time, and an index knows one model.
version_policy { latest { num_versions: 1 } }
"""

_THREADS = """\
# On a CPU: one thread an instance, so raise `count` to the number of cores. ONNX Runtime's threads spin while they wait
# for each other, and instances with a thread for each core take the cores from one another: up to twice the CPU time a
# run, and half the rate. On a GPU hardly anything is left to these threads.
parameters { key: "intra_op_thread_count" value: { string_value: "1" } }
"""

_TEXT_QUEUE = """\
  default_queue_policy {
    # More than 256 waiting queries, four full batches, are refused at once.
    max_queue_size: 256
    # Nobody waits 5 s for a search. A caller may ask for less.
    default_timeout_microseconds: 5000000
    timeout_action: REJECT
    allow_timeout_override: true
  }"""

_TRANSCRIBER = Template("""\
# Written by export/to_onnx.py. A window of a song -> what is sung in each frame of it.
name: "lyrics_transcriber"
backend: "onnxruntime"

$version
# $max_batch windows of 16 s at 16 kHz are 33 MB of samples, and the widest layer gives 330 MB.
max_batch_size: $max_batch
# Two sounds, from -1 to 1: the mixture and the separated voice. Who has no separation gives the mixture twice.
input [ { name: "waveforms" data_type: TYPE_FP32 dims: [ 2, $window_samples ] } ]
# characters: natural logarithms of probabilities of the blank and of `characters`. pitch: probabilities of the MIDI
# keys 0 to 127, and of none. onset: probability that a note begins.
output [
$outputs
]

dynamic_batching {
  # A song's windows come together; what comes while both instances work leaves as one batch.
  max_queue_delay_microseconds: 1000
  default_queue_policy {
    # More than 32 waiting requests are refused at once: they would hold 1 GB if each were full.
    max_queue_size: 32
    # Twice the time of audio_encoder, because a window is much more work. A caller may ask for less.
    default_timeout_microseconds: 60000000
    timeout_action: REJECT
    allow_timeout_override: true
  }
}

# No kind: a GPU where there is one, else the CPU. Two for the reason in audio_encoder's file.
instance_group [ { count: 2 } ]

$threads
# Ready only when both have run: a lone window, and what the client sends at a time.
$warmup
$accelerator
# What a client must know.
$parameters
""")

_TEMPLATES = {
    "audio_encoder": Template("""\
# Written by export/to_onnx.py. One window of mono audio -> its embedding.
name: "audio_encoder"
backend: "onnxruntime"

$version
# 64 windows are 41 MB of samples at 16 kHz and 10 s: enough work for a GPU, well under gRPC's limit for a message.
max_batch_size: $max_batch
# Samples from -1 to 1. A graph cannot refuse: NaN or infinity gives that window, and no other, an embedding of NaN. The
# client and audio_embedding neither send nor take one.
input [ { name: "waveform" data_type: TYPE_FP32 dims: [ $window_samples ] } ]
output [ { name: "embedding" data_type: TYPE_FP32 dims: [ $embedding_dim ] } ]  # unit L2 norm

dynamic_batching {
  # Indexing sends many windows at once, and what comes while both instances work leaves as one batch. To wait longer
  # for others gives one instance the windows of both: on two cores, four callers got 16 windows/s with 5 ms and 27
  # with 1. No preferred sizes: no window waits for a certain number.
  max_queue_delay_microseconds: 1000
  default_queue_policy {
    # More than 64 waiting requests are refused at once: they would hold 2.6 GB if each were full.
    max_queue_size: 64
    # One that has waited 30 s is refused, because its caller will give up soon. A caller may ask for less.
    default_timeout_microseconds: 30000000
    timeout_action: REJECT
    allow_timeout_override: true
  }
}

# No kind: a GPU where there is one, else the CPU. Two, because Triton does not wake the batcher of a bounded queue for
# a request that comes while no instance is free: with a single one such requests slept for up to 500 ms. The price is
# the weights a second time.
instance_group [ { count: 2 } ]

$threads
# Ready only when both have run: a lone window, and what the client and audio_embedding send at a time. On the CUDA
# provider the first run of a shape searches the convolutions' kernels.
$audio_warmup
$audio_accelerator
# 0 is EXHAUSTIVE, ONNX Runtime's own default, for whatever the CUDA provider runs: it tries every kernel of a
# convolution, once a shape, and keeps the fastest.
parameters { key: "cudnn_conv_algo_search" value: { string_value: "0" } }

# What a client must know; an index remembers the fingerprint of the model that made it.
$parameters
"""),
    "text_encoder": Template("""\
# Written by export/to_onnx.py. Token ids -> embedding.
name: "text_encoder"
backend: "onnxruntime"

$version
max_batch_size: $max_batch
# A graph cannot refuse: an id outside the vocabulary counts as the nearest inside, so that no other text of its batch
# fails with it. text_tokenizer sends none.
input [
  { name: "input_ids" data_type: TYPE_INT32 dims: [ -1 ] },
  { name: "attention_mask" data_type: TYPE_INT32 dims: [ -1 ] }  # 1 for a token, 0 for padding
]
output [ { name: "embedding" data_type: TYPE_FP32 dims: [ $embedding_dim ] } ]  # unit L2 norm

dynamic_batching {
  # Somebody waits for each query: half a millisecond is enough to meet others under load. Requests of equal length form
  # a batch, and the tokenizer pads to $lengths tokens only. No preferred sizes: no query waits for a certain number.
  max_queue_delay_microseconds: 500
$text_queue
}

# No kind: a GPU where there is one, else the CPU. Two for the reason in audio_encoder's file.
instance_group [ { count: 2 } ]

$threads
# Ready only when these have run: a query of each padded length, and a full batch of the shortest, which most fit.
$text_warmup
$text_accelerator
# What a client must know; an index remembers the fingerprint of the model that made it.
$parameters
"""),
    "text_tokenizer": Template("""\
# Written by export/to_onnx.py. Text -> token ids and mask, padded to $lengths tokens.
name: "text_tokenizer"
backend: "python"

$version
max_batch_size: $max_batch
input [ { name: "text" data_type: TYPE_STRING dims: [ 1 ] } ]  # UTF-8
output [
  { name: "input_ids" data_type: TYPE_INT32 dims: [ -1 ] },
  { name: "attention_mask" data_type: TYPE_INT32 dims: [ -1 ] },
  { name: "token_count" data_type: TYPE_INT32 dims: [ 1 ] }  # of the whole text
]

dynamic_batching {
  # No delay: takes what is queued and waits for nothing, a text costs some 0.1 ms.
$text_queue
}

# Two, so that one long text does not hold up the others. Tokenizing never gains from a GPU; without the kind, Triton
# would start them for each GPU.
instance_group [ { count: 2 kind: KIND_CPU } ]

# Longer texts are cut to max_text_tokens, which token_count tells, and refused beyond max_text_bytes (UTF-8).
$token_parameters
"""),
    "text_embedding": Template("""\
# Written by export/to_onnx.py. Text -> embedding: the tokenizer, then the text encoder, in one call.
name: "text_embedding"
platform: "ensemble"

$version
# An ensemble does not batch by itself; its steps do, and their queues bound it.
max_batch_size: $max_batch
input [ { name: "text" data_type: TYPE_STRING dims: [ 1 ] } ]  # UTF-8
# A text of more tokens than max_text_tokens (in text_encoder's file) is cut: embed its sentences apart, and average.
output [
  { name: "embedding" data_type: TYPE_FP32 dims: [ $embedding_dim ] },  # unit L2 norm
  { name: "token_count" data_type: TYPE_INT32 dims: [ 1 ] }
]

# The same words are searched again and again, and the same bytes always give the same vector. A server without
# --cache-config passes this over.
response_cache { enable: true }

ensemble_scheduling {
  step [
    {
      model_name: "text_tokenizer"
      model_version: -1
      input_map { key: "text" value: "text" }
      output_map { key: "input_ids" value: "input_ids" }
      output_map { key: "attention_mask" value: "attention_mask" }
      output_map { key: "token_count" value: "token_count" }
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
    "audio_embedding": Template("""\
# Written by export/to_onnx.py. An audio file, as it is -> embeddings of the track and of its windows, in one call.
name: "audio_embedding"
backend: "python"

$version
# One file a request, because files have different numbers of windows; audio_encoder batches the windows of all. So a
# file is also a whole HTTP body:
#   curl -H 'Content-Type: application/octet-stream' -H 'Inference-Header-Content-Length: 0' --data-binary @song.mp3 URL
# Always with that type, as curl's own says that the body is a web form, and Triton would read it as one. The answer is
# JSON, as long as its header of that name says, and then the tensors' bytes in the same order.
max_batch_size: 0
input [ { name: "audio" data_type: TYPE_STRING dims: [ 1 ] } ]  # the bytes of a file: mp3, flac, ogg, m4a, wav, ...
output [
  { name: "embedding" data_type: TYPE_FP32 dims: [ $embedding_dim ] },  # unit L2 norm
  { name: "window_embeddings" data_type: TYPE_FP32 dims: [ -1, $embedding_dim ] },  # unit L2 norm
  { name: "window_start_s" data_type: TYPE_FP32 dims: [ -1 ] }
]

# Batches nothing, see above; here for its queue.
dynamic_batching { default_queue_policy {
  # More than 32 waiting files are refused at once: they would hold 2.1 GB if each were of the largest size.
  max_queue_size: 32
  # One that has waited a minute is refused, because its caller will give up soon. A caller may ask for less.
  default_timeout_microseconds: 60000000
  timeout_action: REJECT
  allow_timeout_override: true
} }

# Each decodes one file at a time on one core, while audio_encoder embeds the other's windows: a GPU with many cores
# beside it is busy only with more of them. Decoding never gains from a GPU.
instance_group [ { count: 2 kind: KIND_CPU } ]

# The windows that audio_encoder takes, how many go to it at a time (2 instances x 32 fill its batch), and what is
# refused beyond: bytes of a file, seconds of sound.
$file_parameters
"""),
}
