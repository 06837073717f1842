"""MuQ-MuLan as the package `muq` publishes it: `OpenMuQ/MuQ-MuLan-large`, or a folder with the same layout.

The folder holds a `config.json` and the weights of both towers. The config names the two published models that the
towers were initialised from, MuQ and XLM-RoBERTa. Only their configurations and the tokenizer are fetched, because the
folder has all weights. Sizes are read from the tensors, everything else from the configurations.

A vector equals that of `muq.MuQMuLan` for a clip of half a window to one window (of 10 s at 24 kHz), or for a text
alone. For texts in a batch see `export.sources.muq_towers`. There are two exceptions:

* A client pads a short clip with zeros. So the clip is taken to end at its last sample that is not zero. A window that
  ends in exact silence is therefore repeated as well.
* In a longer recording, the package fills the last window with the start of the recording. Ours sees one window only,
  so it repeats the content of that window.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import XLMRobertaConfig
from transformers.activations import ACT2FN

from export.sources.assembled import AssembledDualEncoder
from export.sources.muq_towers import (
    N_MELS,
    SAMPLE_RATE_HZ,
    ConformerLayer,
    ConvolutionBlock,
    CosineLayer,
    MulanText,
    MuqAudio,
    MuqFrontend,
)
from export.sources.parts import read_configuration
from export.sources.source import AudioWindow, Source, first_names
from train.checkpoint import CheckpointError, read_tensors, unwrap_names
from train.data.tokenizer import TextTokenizer
from train.hub import published_file, published_folder

PUBLISHED = "OpenMuQ/MuQ-MuLan-large"
LICENCES = {"OpenMuQ/": "CC BY-NC 4.0, as OpenMuQ publishes the weights: not for commercial use"}
SAFE_WEIGHTS, PICKLED_WEIGHTS = "model.safetensors", "pytorch_model.bin"
BLOCK_STRIDES = {25: (2, 2), 50: (2, 1)}  # strides over the frames, by steps per second; MuQ has 100 frames per second
AUDIO, MUQ, TEXT = "mulan.audio.", "mulan.audio.model.model.", "mulan.text."

# Tensors of the training, tensors that MuQ itself does not need (prediction targets and a convolution that it never
# calls), and buffers that the configuration determines.
UNUSED = re.compile(
    r"mulan\.(contrast|multi_layer_contrastive_learning|(text|audio)_layers_indices|audio\.aggregator)\b"
    rf"|{re.escape(MUQ)}(linear|cls_token|quantizer\w*|rvq|recon_proj|conformer\.(pos_conv_embed|embed_positions))\b"
    rf"|{re.escape(TEXT)}model\.(pooler\b|embeddings\.(position|token_type)_ids$)"
    r"|.*\.num_batches_tracked$"
)
BLOCK_PARTS = {
    "body.0": "conv1",
    "body.1": "bn1",
    "body.3": "conv2",
    "body.4": "bn2",
    "shortcut.0": "conv3",
    "shortcut.1": "bn3",
}
CONFORMER_PARTS = {
    "before.0": "ffn1_layer_norm",
    "before.1": "ffn1.intermediate_dense",
    "before.3": "ffn1.output_dense",
    "attention.norm": "self_attn_layer_norm",
    "attention.query": "self_attn.linear_q",
    "attention.key": "self_attn.linear_k",
    "attention.value": "self_attn.linear_v",
    "attention.output": "self_attn.linear_out",
    "convolution.norm": "conv_module.layer_norm",
    "convolution.gated": "conv_module.pointwise_conv1",
    "convolution.depthwise": "conv_module.depthwise_conv",
    "convolution.batch_norm": "conv_module.batch_norm",
    "convolution.output": "conv_module.pointwise_conv2",
    "after.0": "ffn2_layer_norm",
    "after.1": "ffn2.intermediate_dense",
    "after.3": "ffn2.output_dense",
    "norm": "final_layer_norm",
}
COSINE_PARTS = {
    "attention_norm.weight": "0.norm.learned_gamma",
    "query": "0.to_q",
    "key_value": "0.to_kv",
    "query_scale": "0.q_scale",
    "key_scale": "0.k_scale",
    "output": "0.to_out.0",
    "feed_forward_norm.weight": "1.0.learned_gamma",
    "gated": "1.1",
    "narrow": "1.4",
}
POINTWISE = ("pointwise_conv1.weight", "pointwise_conv2.weight")  # convolutions of one step: our linear layers


def describes_muq_mulan(config: Mapping[str, Any]) -> bool:
    """Tell whether this is the content of a MuQ-MuLan's `config.json`."""
    return all(isinstance(config.get(part), Mapping) for part in ("mulan", "audio_model", "text_model"))


def describes_muq(config: Mapping[str, Any]) -> bool:
    """Tell whether this is the content of the `config.json` of a MuQ, the audio tower that a MuQ-MuLan starts from."""
    return "w2v2_config" in config and "conv_dim" in config


def load_muq_mulan(name: str, config: Mapping[str, Any]) -> Source:
    """Load a MuQ-MuLan from its folder or by hub name.

    Args:
        config: the content of its `config.json`. It names a MuQ and an XLM-RoBERTa. Both may lie in its folder under
            these names. Otherwise the names are folders or hub names.

    Raises:
        CheckpointError: a part cannot be fetched or is of another kind, or tensors are missing, unknown or have
            contradicting sizes.
    """
    settings = _Settings(config, f"{name}/config.json")
    rate, seconds = settings.number("mulan.sr"), settings.number("mulan.clip_secs")
    if rate != SAMPLE_RATE_HZ:
        raise CheckpointError(
            f"{name} has a sample rate of {rate:g} Hz; expected {SAMPLE_RATE_HZ:,} Hz, the rate of MuQ's front end"
        )
    window = AudioWindow(SAMPLE_RATE_HZ, round(rate * seconds))
    audio_name, text_name = settings.text("audio_model.name"), settings.text("text_model.name")
    if "muq" not in audio_name.lower() or "xlm-roberta" not in text_name.lower():
        raise CheckpointError(
            f"{name} was started from {audio_name} and {text_name}; only a MuQ with an XLM-RoBERTa can be exported"
        )
    try:
        audio_name, text_name = (_inside(name, part) for part in (audio_name, text_name))
        muq = _Settings(read_configuration(audio_name), f"{audio_name}/config.json")
        roberta, padding_id = _roberta(text_name)
        tokenizer = _tokenizer(text_name, vocab_size=roberta.vocab_size, padding_id=padding_id)
    except CheckpointError as exc:
        raise CheckpointError(
            f"{name} needs {audio_name} and {text_name}, from the hub or in its folder: {exc}"
        ) from exc
    tensors, folder = _tensors(name)

    hop_samples = int(muq.number("hop_length", default=240))
    blocks = _blocks(tensors, strides=_strides(muq))
    steps = window.samples // hop_samples
    for block in blocks:
        steps = -(-steps // block.stride)
    conformer, conformer_norm = _conformer(tensors, muq, index=int(settings.number("audio_model.use_layer_idx")))
    width, conformer_width = _shape(tensors, f"{AUDIO}proj.weight", axes=2)
    projection: nn.Module = nn.Identity()
    if f"{TEXT}proj.weight" in tensors:
        projection = _linear(tensors, f"{TEXT}proj")
    audio_projection = _linear(tensors, "mulan.audio_to_latents")
    text_tower = MulanText(
        roberta, padding_id=padding_id, projection=projection, transformer=_transformer(tensors, f"{TEXT}transformer.")
    )
    model = AssembledDualEncoder(
        frontend=MuqFrontend(
            samples=window.samples,
            hop_samples=hop_samples,
            mean=muq.number("stat.melspec_2048_mean"),
            std=muq.number("stat.melspec_2048_std"),
        ),
        audio_tower=MuqAudio(
            blocks=blocks,
            conformer=conformer,
            conformer_norm=conformer_norm,
            transformer=_transformer(tensors, f"{AUDIO}transformer."),
            conformer_width=conformer_width,
            width=width,
            steps=steps,
            rotary_base=muq.number("w2v2_config.rotary_embedding_base", default=10_000),
        ),
        text_tower=text_tower,
        audio_projection=audio_projection,
        text_projection=_linear(tensors, "mulan.text_to_latents"),
    )
    _load_tensors(model, tensors, name=name)
    published = folder != Path(name)
    licence = next((text for owner, text in LICENCES.items() if name.startswith(owner)), None)
    return Source(
        model=model.eval(),
        tokenizer=TextTokenizer(tokenizer, max_tokens=text_tower.max_tokens),
        name=name if published else Path(name).resolve().name,
        window=window,
        embedding_dim=audio_projection.out_features,
        max_text_tokens=text_tower.max_tokens,
        metrics={},
        provenance={"made_by": "muq MuQMuLan"}
        | ({"licence": licence} if licence else {})
        | ({"hub_name": name, "hub_revision": folder.name} if published else {}),
    )


class _Settings:
    """Reads values of a configuration by dotted names."""

    def __init__(self, content: Mapping[str, Any], file: str) -> None:
        self.content, self.file = content, file

    def number(self, key: str, *, default: float | None = None) -> float:
        value = self._find(key, default=default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._refusal(key, value, expected="a number")
        return value

    def text(self, key: str, *, default: str | None = None) -> str:
        value = self._find(key, default=default)
        if not isinstance(value, str):
            raise self._refusal(key, value, expected="a text")
        return value

    def _find(self, key: str, *, default: Any) -> Any:
        value: Any = self.content
        for part in key.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        return default if value is None else value

    def _refusal(self, key: str, value: Any, *, expected: str) -> CheckpointError:
        return CheckpointError(
            f"{self.file} gives {value!r} for {key}; expected {expected}, as in {PUBLISHED}: copy or download it again"
        )


def _inside(name: str, part: str) -> str:
    """Return the path of `part` in the folder `name`, or `part` itself if it is not there."""
    inside = Path(name) / part
    return str(inside) if inside.is_dir() else part


def _roberta(name: str) -> tuple[XLMRobertaConfig, int]:
    """Return the configuration and the id of the padding token."""
    content = read_configuration(name)
    if content.get("model_type") != "xlm-roberta":
        raise CheckpointError(f"{name} is a model of type {content.get('model_type')!r}; expected 'xlm-roberta'")
    try:
        config = XLMRobertaConfig.from_dict(content)
    except Exception as exc:  # transformers raises its own
        raise CheckpointError(f"{name}/config.json is not a configuration of XLM-RoBERTa: {exc}") from exc
    if config.pad_token_id is None:
        raise CheckpointError(f"{name}/config.json gives no pad_token_id; copy or download it again")
    return config, config.pad_token_id


def _tokenizer(name: str, *, vocab_size: int, padding_id: int) -> str:
    """Return the text of its `tokenizer.json`, with the padding settings."""
    path = published_file(name, "tokenizer.json")
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as exc:  # the library raises plain Exception
        raise CheckpointError(f"{path} is not a tokenizer.json: {exc}") from exc
    token = tokenizer.id_to_token(padding_id)
    if tokenizer.get_vocab_size() > vocab_size or token is None:
        raise CheckpointError(
            f"{path} has {tokenizer.get_vocab_size()} tokens, but {name}/config.json has {vocab_size}; copy or "
            "download both again"
        )
    tokenizer.no_truncation()
    tokenizer.enable_padding(pad_id=padding_id, pad_token=token)
    return tokenizer.to_str()


def _tensors(name: str) -> tuple[dict[str, Tensor], Path]:
    """Return the tensors by name, and the folder of the weights file."""
    folder = published_folder(name, patterns=(SAFE_WEIGHTS,))
    if not (folder / SAFE_WEIGHTS).is_file():
        folder = published_folder(name, patterns=(PICKLED_WEIGHTS,))
    safe, pickled = folder / SAFE_WEIGHTS, folder / PICKLED_WEIGHTS
    if safe.is_file():
        try:
            return unwrap_names(load_file(safe), path=safe), folder
        except Exception as exc:  # safetensors raises its own exceptions
            raise CheckpointError(f"{safe} holds no complete weights: {exc}; copy or download it again") from exc
    if not pickled.is_file():
        raise CheckpointError(f"{name} has neither {SAFE_WEIGHTS} nor {PICKLED_WEIGHTS}; give the whole folder")
    return unwrap_names(read_tensors(pickled), path=pickled), folder


def _shape(tensors: Mapping[str, Tensor], name: str, *, axes: int) -> tuple[int, ...]:
    if name not in tensors or tensors[name].ndim != axes:
        raise CheckpointError(
            f"the weights have no tensor {name} of {axes} axes; expected the weights of a MuQ-MuLan from muq 0.1"
        )
    return tuple(tensors[name].shape)


def _linear(tensors: Mapping[str, Tensor], name: str) -> nn.Linear:
    outputs, inputs = _shape(tensors, f"{name}.weight", axes=2)
    return nn.Linear(inputs, outputs)


def _count(tensors: Mapping[str, Tensor], prefix: str) -> int:
    """Count the different numbers that follow `prefix` in the tensor names."""
    pattern = re.compile(rf"{re.escape(prefix)}(\d+)\.")
    return len({match[1] for match in map(pattern.match, tensors) if match})


def _strides(muq: _Settings) -> tuple[int, ...]:
    rate, mels = muq.number("label_rate", default=25), muq.number("n_mels", default=N_MELS)
    if rate not in BLOCK_STRIDES or mels != N_MELS:
        raise CheckpointError(
            f"{muq.file} gives {rate:g} steps a second and {mels:g} mels; expected "
            f"{' or '.join(map(str, BLOCK_STRIDES))} and {N_MELS}, as muq 0.1 has them"
        )
    return BLOCK_STRIDES[int(rate)]


def _blocks(tensors: Mapping[str, Tensor], *, strides: tuple[int, ...]) -> list[ConvolutionBlock]:
    blocks = []
    for place, stride in enumerate(strides):
        channels, channels_in, _, _ = _shape(tensors, f"{MUQ}conv.conv.{place}.conv1.weight", axes=4)
        blocks.append(ConvolutionBlock(channels_in, channels, stride=stride))
    return blocks


def _conformer(
    tensors: Mapping[str, Tensor], muq: _Settings, *, index: int
) -> tuple[list[ConformerLayer], nn.LayerNorm | nn.Identity]:
    """Build the layers that compute hidden state `index` of MuQ: the input of each layer, then the last output."""
    positions = muq.text("w2v2_config.position_embeddings_type")
    if positions != "rotary":
        raise CheckpointError(f"{muq.file} gives {positions!r} positions; only 'rotary' ones can be exported")
    layers = _count(tensors, f"{MUQ}conformer.layers.")
    if not -layers - 1 <= index <= layers:
        raise CheckpointError(
            f"the weights have {layers} Conformer layers; expected at least {abs(index)} (use_layer_idx)"
        )
    used = index if index >= 0 else layers + 1 + index
    heads = int(muq.number("w2v2_config.num_attention_heads"))
    activation = muq.text("w2v2_config.hidden_act")
    if activation not in ACT2FN:
        raise CheckpointError(f"{muq.file} gives the activation {activation!r}; expected one that transformers knows")
    made = []
    for place in range(used):
        names = f"{MUQ}conformer.layers.{place}."
        hidden, width = _shape(tensors, f"{names}ffn1.intermediate_dense.weight", axes=2)
        _, _, kernel = _shape(tensors, f"{names}conv_module.depthwise_conv.weight", axes=3)
        if heads < 1 or width % (2 * heads):
            raise CheckpointError(f"the Conformer is {width} wide; expected a multiple of twice its {heads} heads")
        made.append(ConformerLayer(width, hidden=hidden, heads=heads, kernel=kernel, activation=activation))
    if used < layers:
        return made, nn.Identity()
    (width,) = _shape(tensors, f"{MUQ}conformer.layer_norm.weight", axes=1)
    return made, nn.LayerNorm(width, eps=muq.number("w2v2_config.layer_norm_eps", default=1e-5))


def _transformer(tensors: Mapping[str, Tensor], prefix: str) -> list[CosineLayer]:
    layers = []
    for place in range(_count(tensors, f"{prefix}layers.")):
        names = f"{prefix}layers.{place}."
        (head_width,) = _shape(tensors, f"{names}0.q_scale", axes=1)
        inner, width = _shape(tensors, f"{names}0.to_q.weight", axes=2)
        _, hidden = _shape(tensors, f"{names}1.4.weight", axes=2)
        layers.append(CosineLayer(width, head_width=head_width, heads=inner // head_width, hidden=hidden))
    return layers


def _names(model: AssembledDualEncoder) -> dict[str, str]:
    """Map the name of each of our tensors to theirs."""
    beginnings = {
        "audio_tower.flatten.": f"{MUQ}conv.linear.",
        "audio_tower.conformer_norm.": f"{MUQ}conformer.layer_norm.",
        "audio_tower.projection.": f"{AUDIO}proj.",
        "text_tower.roberta.": f"{TEXT}model.",
        "text_tower.projection.": f"{TEXT}proj.",
        "audio_projection.": "mulan.audio_to_latents.",
        "text_projection.": "mulan.text_to_latents.",
    }
    for ours, theirs, parts in (
        ("audio_tower.blocks.", f"{MUQ}conv.conv.", BLOCK_PARTS),
        ("audio_tower.conformer.", f"{MUQ}conformer.layers.", CONFORMER_PARTS),
        ("audio_tower.transformer.", f"{AUDIO}transformer.layers.", COSINE_PARTS),
        ("text_tower.transformer.", f"{TEXT}transformer.layers.", COSINE_PARTS),
    ):
        for place in range(_length(model, ours.rstrip("."))):
            beginnings |= {f"{ours}{place}.{part}": f"{theirs}{place}.{name}" for part, name in parts.items()}
    names = {}
    for key in model.state_dict():
        if not key.endswith("num_batches_tracked"):
            ours = max((beginning for beginning in beginnings if key.startswith(beginning)), key=len)
            names[key] = beginnings[ours] + key.removeprefix(ours)
    return names


def _length(model: AssembledDualEncoder, name: str) -> int:
    """Return the number of modules in a sequence."""
    return len(list(model.get_submodule(name).children()))


def _load_tensors(model: AssembledDualEncoder, tensors: Mapping[str, Tensor], *, name: str) -> None:
    names = _names(model)
    missing = sorted(set(names.values()) - set(tensors))
    # Layers above the one that is used also have weights.
    above = re.compile(rf"{re.escape(MUQ)}conformer\.(layers\.(\d+)|layer_norm)\.")
    layers = _length(model, "audio_tower.conformer")
    unknown = []
    for tensor in sorted(set(tensors) - set(names.values())):
        match = above.match(tensor)
        if not UNUSED.match(tensor) and not (match and int(match[2] or layers) >= layers):
            unknown.append(tensor)
    if missing or unknown:
        raise CheckpointError(
            f"the weights of {name} are not the weights of a MuQ-MuLan from muq 0.1 (missing: {first_names(missing)}; "
            f"unknown: {first_names(unknown)}); copy or download it again"
        )
    loaded = {
        key: tensors[theirs].squeeze(-1) if theirs.endswith(POINTWISE) else tensors[theirs]
        for key, theirs in names.items()
    }
    for key, parameter in model.state_dict().items():
        if key in loaded and loaded[key].shape != parameter.shape:
            raise CheckpointError(
                f"the tensor {names[key]} of {name} has the shape {tuple(loaded[key].shape)}; its configurations and "
                f"other tensors expect {tuple(parameter.shape)}: copy or download all of them again"
            )
    with torch.no_grad():
        model.load_state_dict(loaded, strict=False)  # only the batch counters are missing
