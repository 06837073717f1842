"""A complete model repository small enough to build in a test, and whose right answers are known.

It has the layout, the parameters and the tensors of the real `model_repository/`, so both the client's
in-process encoder and a real tritonserver take it as it is. The "model" is a closed form:

* audio: power in `dim` log-spaced bands (DFT at each band's centre, Hann window, mean over frames),
  normalised to sum 1, square root: unit L2 norm. A pure tone lights the bands around its frequency.
* text: mean of the word vectors under the attention mask, unit L2 norm. The words "low", "middle" and
  "high" point at the bands around `TONES_HZ[word]`, so `search("low tone")` must find a low tone.
"""

import hashlib
import shutil
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

TONES_HZ = {"low": 150.0, "middle": 600.0, "high": 2400.0}
MAX_TEXT_TOKENS = 40  # so that the padding buckets are 16, 32 and 40: the last one is capped

_SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
_WORDS = [*TONES_HZ, "a", "the", "track", "tone", "sound", "music", "of", "and", ",", ".", "##s", "é"]
_TOKENIZER_SOURCE = Path(__file__).parents[1] / "model_repository/text_tokenizer/1/model.py"


def build_tiny_repository(
    folder: Path, *, sample_rate_hz: int = 16_000, window_s: float = 1.0, dim: int = 16, seed: int = 0
) -> Path:
    """Write the repository into `folder` (made if absent) and return it; another `seed` is another model."""
    window_samples = round(sample_rate_hz * window_s)
    bands_hz = np.geomspace(60.0, 0.45 * sample_rate_hz, dim)
    audio = _audio_graph(bands_hz, sample_rate_hz=sample_rate_hz, window_samples=window_samples)
    text = _text_graph(bands_hz, seed=seed)
    tokenizer = _tokenizer().to_str().encode()

    digests = [hashlib.sha256(content).digest() for content in (audio, text, tokenizer)]
    parameters = {
        "sample_rate_hz": sample_rate_hz,
        "window_samples": window_samples,
        "embedding_dim": dim,
        "max_text_tokens": MAX_TEXT_TOKENS,
        "model_name": "tiny",
        "fingerprint": hashlib.sha256(b"".join(digests)).hexdigest(),
    }
    for model, file_name, content in [
        ("audio_encoder", "model.onnx", audio),
        ("text_encoder", "model.onnx", text),
        ("text_tokenizer", "tokenizer.json", tokenizer),
        ("text_embedding", ".gitkeep", b""),
    ]:
        path = folder / model / "1" / file_name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    shutil.copy(_TOKENIZER_SOURCE, folder / "text_tokenizer/1/model.py")

    embedding = f'output [ {{ name: "embedding" data_type: TYPE_FP32 dims: [ {dim} ] }} ]\n'
    token_tensors = (
        '{ name: "input_ids" data_type: TYPE_INT32 dims: [ -1 ] }, '
        '{ name: "attention_mask" data_type: TYPE_INT32 dims: [ -1 ] }'
    )
    length = '{ name: "token_count" data_type: TYPE_INT32 dims: [ 1 ] }'
    text_input = 'input [ { name: "text" data_type: TYPE_STRING dims: [ 1 ] } ]\n'
    _write_config(
        folder / "audio_encoder",
        'backend: "onnxruntime"\nmax_batch_size: 8\n'
        f'input [ {{ name: "waveform" data_type: TYPE_FP32 dims: [ {window_samples} ] }} ]\n' + embedding,
        parameters,
    )
    _write_config(
        folder / "text_encoder",
        f'backend: "onnxruntime"\nmax_batch_size: 16\ninput [ {token_tensors} ]\n' + embedding,
        parameters,
    )
    _write_config(
        folder / "text_tokenizer",
        f'backend: "python"\nmax_batch_size: 16\n{text_input}output [ {token_tensors}, {length} ]\n',
        {"max_text_tokens": MAX_TEXT_TOKENS, "max_text_bytes": 8192},
    )
    _write_config(
        folder / "text_embedding",
        f'platform: "ensemble"\nmax_batch_size: 16\n{text_input}{embedding}output [ {length} ]\n'
        "ensemble_scheduling { step [\n"
        '  { model_name: "text_tokenizer" model_version: -1\n'
        '    input_map { key: "text" value: "text" }\n'
        '    output_map { key: "input_ids" value: "input_ids" }\n'
        '    output_map { key: "attention_mask" value: "attention_mask" }\n'
        '    output_map { key: "token_count" value: "token_count" } },\n'
        '  { model_name: "text_encoder" model_version: -1\n'
        '    input_map { key: "input_ids" value: "input_ids" }\n'
        '    input_map { key: "attention_mask" value: "attention_mask" }\n'
        '    output_map { key: "embedding" value: "embedding" } }\n'
        "] }\n",
        {},
    )
    return folder


def _write_config(folder: Path, body: str, parameters: dict[str, object]) -> None:
    lines = [
        f'parameters {{ key: "{key}" value: {{ string_value: "{value}" }} }}\n' for key, value in parameters.items()
    ]
    (folder / "config.pbtxt").write_text(f'name: "{folder.name}"\n{body}' + "".join(lines))


def _audio_graph(bands_hz: np.ndarray, *, sample_rate_hz: int, window_samples: int) -> bytes:
    frame = 512
    time_s = np.arange(frame) / sample_rate_hz
    phase = 2 * np.pi * bands_hz[:, None] * time_s
    hann = np.hanning(frame)
    constants = {
        "cosine": (np.cos(phase) * hann)[:, None, :].astype(np.float32),
        "sine": (np.sin(phase) * hann)[:, None, :].astype(np.float32),
        "channel_axis": np.array([1]),
        "time_axis": np.array([2]),
        "floor": np.array([1e-9], np.float32),
    }
    nodes = [
        helper.make_node("Unsqueeze", ["waveform", "channel_axis"], ["signal"]),
        helper.make_node("Conv", ["signal", "cosine"], ["real"], strides=[frame // 2]),
        helper.make_node("Conv", ["signal", "sine"], ["imaginary"], strides=[frame // 2]),
        helper.make_node("Mul", ["real", "real"], ["real_power"]),
        helper.make_node("Mul", ["imaginary", "imaginary"], ["imaginary_power"]),
        helper.make_node("Add", ["real_power", "imaginary_power"], ["power"]),
        helper.make_node("ReduceMean", ["power", "time_axis"], ["mean_power"], keepdims=0),
        helper.make_node("Add", ["mean_power", "floor"], ["floored"]),
        helper.make_node("ReduceSum", ["floored", "channel_axis"], ["total"], keepdims=1),
        helper.make_node("Div", ["floored", "total"], ["share"]),
        helper.make_node("Sqrt", ["share"], ["embedding"]),
    ]
    inputs = [helper.make_tensor_value_info("waveform", TensorProto.FLOAT, ["batch", window_samples])]
    return _serialise("audio_encoder", nodes, inputs, constants, dim=len(bands_hz))


def _text_graph(bands_hz: np.ndarray, *, seed: int) -> bytes:
    vocabulary = _SPECIAL + _WORDS
    table = 0.05 * np.random.default_rng(seed).standard_normal((len(vocabulary), len(bands_hz)))
    for word, tone_hz in TONES_HZ.items():
        table[vocabulary.index(word)] = np.exp(-(np.log2(bands_hz / tone_hz) ** 2))
    table[vocabulary.index("[PAD]")] = 100.0  # a graph that ignored the mask would show at once
    constants = {
        "table": table.astype(np.float32),
        "token_axis": np.array([1]),
        "last_axis": np.array([2]),
        "first_id": np.array(0, np.int32),
        "last_id": np.array(len(vocabulary) - 1, np.int32),
    }
    nodes = [
        helper.make_node("Max", ["input_ids", "first_id"], ["raised"]),  # as the exporter's graphs do
        helper.make_node("Min", ["raised", "last_id"], ["ids"]),
        helper.make_node("Gather", ["table", "ids"], ["vectors"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last_axis"], ["weights"]),
        helper.make_node("Mul", ["vectors", "weights"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "token_axis"], ["sum"], keepdims=0),
        helper.make_node("ReduceL2", ["sum", "token_axis"], ["norm"], keepdims=1),
        helper.make_node("Div", ["sum", "norm"], ["embedding"]),
    ]
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT32, ["batch", "length"])
        for name in ("input_ids", "attention_mask")
    ]
    return _serialise("text_encoder", nodes, inputs, constants, dim=len(bands_hz))


def _serialise(
    name: str,
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    constants: dict[str, np.ndarray],
    *,
    dim: int,
) -> bytes:
    graph = helper.make_graph(
        nodes,
        name,
        inputs,
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", dim])],
        [numpy_helper.from_array(value, key) for key, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()


def _tokenizer() -> Tokenizer:
    vocabulary = {token: index for index, token in enumerate(_SPECIAL + _WORDS)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True, strip_accents=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[(token, vocabulary[token]) for token in ("[CLS]", "[SEP]")]
    )
    # As in the file of all-MiniLM-L6-v2: fixed lengths of its own, which every reader must override.
    tokenizer.enable_truncation(24)
    tokenizer.enable_padding(length=24, pad_id=vocabulary["[PAD]"], pad_token="[PAD]")
    return tokenizer
