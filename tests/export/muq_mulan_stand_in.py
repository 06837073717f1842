"""The tensors of a MuQ-MuLan by the names and shapes that the package `muq` gives them, in the layout of its folders.

Their values depend on nothing but their name and shape, so the package's vectors of the same folder are golden values
(`muq_mulan_golden.py` records them).
"""

import json
import zlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import Tensor

MUQ, ROBERTA = "OpenMuQ/MuQ-large-msd-iter", "xlm-roberta-base"
MEAN, STD = 6.768444971712967, 18.417922652295623  # decibels of the Million Song Dataset, in every published MuQ
SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")
SAMPLE_RATE_HZ = 24_000
TEXTS = ("calm piano", "a zither, recorded in 1923", "тихая музыка")


@dataclass(frozen=True)
class Sizes:
    """Of everything that a MuQ-MuLan leaves open."""

    window_s: int = 10
    channels: int = 512
    conformer_width: int = 1024
    conformer_hidden: int = 4096
    conformer_layers: int = 12
    conformer_heads: int = 16
    used_layer: int = -1
    width: int = 768
    heads: int = 8
    head_width: int = 64
    layers: int = 8
    text_width: int = 768
    text_hidden: int = 3072
    text_layers: int = 12
    text_heads: int = 12
    vocabulary: int = 250_002
    positions: int = 514
    dim: int = 512


FULL = Sizes()
TINY = Sizes(
    window_s=1,
    channels=6,
    conformer_width=16,
    conformer_hidden=24,
    conformer_layers=3,
    conformer_heads=2,
    used_layer=2,
    width=12,
    heads=2,
    head_width=8,
    layers=2,
    text_width=20,
    text_hidden=28,
    text_layers=2,
    text_heads=4,
    vocabulary=300,
    positions=66,
    dim=10,
)

# Those whose vectors were recorded: a middle layer and two widths; the last layer and one width; as published.
SIZES = {"tiny": TINY, "tiny, last layer": replace(TINY, used_layer=-1, text_width=TINY.width), "full": FULL}


def save_muq_mulan(folder: Path, sizes: Sizes = TINY) -> Path:
    """A folder as `MuQMuLan.save_pretrained` makes it, and within it, by name, the two that it was started from."""
    transformer = {"dim": sizes.width, "tf_depth": sizes.layers, "heads": sizes.heads, "dim_head": sizes.head_width}
    _save_json(
        folder / "config.json",
        {
            "mulan": {"sr": SAMPLE_RATE_HZ, "clip_secs": sizes.window_s, "dim_latent": sizes.dim},
            "audio_model": {
                "name": MUQ,
                "model_dim": sizes.conformer_width,
                "use_layer_idx": sizes.used_layer,
            },
            "text_model": {"name": ROBERTA, "model_dim": sizes.text_width, "use_layer_idx": -1},
            "audio_transformer": transformer,
            "text_transformer": transformer,
        },
    )
    conformer = {
        "num_attention_heads": sizes.conformer_heads,
        "intermediate_size": sizes.conformer_hidden,
        "hidden_act": "swish",
        "position_embeddings_type": "rotary",
        "rotary_embedding_base": 10_000,
        "conv_depthwise_kernel_size": 31,
        "layer_norm_eps": 1e-5,
        # Of what is never called, or only in training.
        "num_conv_pos_embeddings": 4,
        "num_conv_pos_embedding_groups": 2,
        "feat_extract_activation": "gelu",
        "layerdrop": 0.0,
        **dict.fromkeys(("hidden_dropout", "activation_dropout", "attention_dropout", "conformer_conv_dropout"), 0.0),
    }
    _save_json(
        folder / MUQ / "config.json",
        {
            "label_rate": 25,
            "hop_length": 240,
            "n_mels": 128,
            "conv_dim": sizes.channels,
            "encoder_dim": sizes.conformer_width,
            "encoder_depth": sizes.conformer_layers,
            "stat": {"melspec_2048_mean": MEAN, "melspec_2048_std": STD},
            "w2v2_config": conformer,
        },
    )
    _save_json(
        folder / ROBERTA / "config.json",
        {
            "model_type": "xlm-roberta",
            "vocab_size": sizes.vocabulary,
            "hidden_size": sizes.text_width,
            "num_hidden_layers": sizes.text_layers,
            "num_attention_heads": sizes.text_heads,
            "intermediate_size": sizes.text_hidden,
            "max_position_embeddings": sizes.positions,
            "type_vocab_size": 1,
            "layer_norm_eps": 1e-5,
            "bos_token_id": 0,
            "pad_token_id": 1,
            "eos_token_id": 2,
        },
    )
    _tokenizer().save(str(folder / ROBERTA / "tokenizer.json"))
    _save_json(
        folder / ROBERTA / "tokenizer_config.json",
        {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "<pad>", "unk_token": "<unk>"},
    )
    save_file(make_tensors(sizes), folder / "model.safetensors", {"format": "pt"})
    return folder


def make_clips(sizes: Sizes) -> list[np.ndarray]:
    """float32 [samples]: noise, a sweep, clicks over a hum, all of a whole window, and 0.6 of the sweep."""
    samples = sizes.window_s * SAMPLE_RATE_HZ
    time_s = np.arange(samples) / SAMPLE_RATE_HZ
    noise = 0.3 * np.random.RandomState(0).uniform(-1, 1, samples)
    sweep = 0.5 * np.sin(2 * np.pi * (100 + 300 * time_s) * time_s)
    clicks = np.where(np.arange(samples) % 4000 == 1000, 0.9, 1e-3 * np.cos(2 * np.pi * 50 * time_s))
    return [clip.astype(np.float32) for clip in (noise, sweep, clicks, sweep[: samples * 6 // 10])]


def make_tensors(sizes: Sizes) -> dict[str, Tensor]:
    """Those that a vector depends on."""
    return {name: _values(name, shape) for name, shape in _shapes(sizes).items()}


def _save_json(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1), encoding="utf-8")


def _tokenizer() -> Tokenizer:
    """XLM-RoBERTa's special tokens, and single bytes."""
    tokens = [*SPECIAL, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokenizer = Tokenizer(models.BPE({token: place for place, token in enumerate(tokens)}, [], unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return tokenizer


def _shapes(sizes: Sizes) -> dict[str, tuple[int, ...]]:
    audio = _linear("proj", sizes.conformer_width, sizes.width) | _under("model.model", _muq(sizes))
    text = _under("model", _roberta(sizes))
    if sizes.text_width != sizes.width:
        text |= _linear("proj", sizes.text_width, sizes.width)
    both = _under("transformer", _transformer(sizes))
    latents = _linear("audio_to_latents", sizes.width, sizes.dim) | _linear("text_to_latents", sizes.width, sizes.dim)
    return _under("mulan", latents | _under("audio", audio | both) | _under("text", text | both))


def _muq(sizes: Sizes) -> dict[str, tuple[int, ...]]:
    width, hidden = sizes.conformer_width, sizes.conformer_hidden
    shapes = _linear("conv.linear", sizes.channels * 32, width) | _norm("conformer.layer_norm", width)
    for place, channels_in in enumerate((1, sizes.channels)):
        for number, inside in ((1, channels_in), (2, sizes.channels), (3, channels_in)):
            shapes[f"conv.conv.{place}.conv{number}.weight"] = (sizes.channels, inside, 3, 3)
            shapes[f"conv.conv.{place}.conv{number}.bias"] = (sizes.channels,)
            shapes |= _batch_norm(f"conv.conv.{place}.bn{number}", sizes.channels)
    layer = {
        "conv_module.pointwise_conv1.weight": (2 * width, width, 1),
        "conv_module.depthwise_conv.weight": (width, 1, 31),
        "conv_module.pointwise_conv2.weight": (width, width, 1),
    } | _batch_norm("conv_module.batch_norm", width)
    for name in ("ffn1_layer_norm", "self_attn_layer_norm", "conv_module.layer_norm", "ffn2_layer_norm"):
        layer |= _norm(name, width)
    layer |= _norm("final_layer_norm", width)
    for name in ("ffn1", "ffn2"):
        layer |= _linear(f"{name}.intermediate_dense", width, hidden) | _linear(f"{name}.output_dense", hidden, width)
    for name in ("q", "k", "v", "out"):
        layer |= _linear(f"self_attn.linear_{name}", width, width)
    for place in range(sizes.conformer_layers):
        shapes |= _under(f"conformer.layers.{place}", layer)
    return shapes


def _transformer(sizes: Sizes) -> dict[str, tuple[int, ...]]:
    width, inner, hidden = sizes.width, sizes.heads * sizes.head_width, sizes.width * 8 // 3
    layer = {
        "0.norm.learned_gamma": (width,),
        "0.to_q.weight": (inner, width),
        "0.to_kv.weight": (2 * inner, width),
        "0.q_scale": (sizes.head_width,),
        "0.k_scale": (sizes.head_width,),
        "0.to_out.0.weight": (width, inner),
        "1.0.learned_gamma": (width,),
        "1.1.weight": (2 * hidden, width),
        "1.4.weight": (width, hidden),
    }
    return {f"layers.{place}.{name}": shape for place in range(sizes.layers) for name, shape in layer.items()}


def _roberta(sizes: Sizes) -> dict[str, tuple[int, ...]]:
    width, hidden = sizes.text_width, sizes.text_hidden
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (sizes.vocabulary, width),
        "embeddings.position_embeddings.weight": (sizes.positions, width),
        "embeddings.token_type_embeddings.weight": (1, width),
    } | _norm("embeddings.LayerNorm", width)
    layer = _norm("attention.output.LayerNorm", width) | _norm("output.LayerNorm", width)
    for name in ("self.query", "self.key", "self.value", "output.dense"):
        layer |= _linear(f"attention.{name}", width, width)
    layer |= _linear("intermediate.dense", width, hidden) | _linear("output.dense", hidden, width)
    for place in range(sizes.text_layers):
        shapes |= _under(f"encoder.layer.{place}", layer)
    return shapes


def _under(prefix: str, shapes: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    return {f"{prefix}.{name}": shape for name, shape in shapes.items()}


def _linear(name: str, inside: int, out: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (out, inside), f"{name}.bias": (out,)}


def _norm(name: str, width: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def _batch_norm(name: str, width: int) -> dict[str, tuple[int, ...]]:
    return _norm(name, width) | {f"{name}.running_mean": (width,), f"{name}.running_var": (width,)}


def _values(name: str, shape: tuple[int, ...]) -> Tensor:
    """Random, by a generator whose numbers NumPy keeps as they are; scaled so that each layer counts."""
    noise = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape).astype(np.float32)
    if name.endswith("running_var"):
        return torch.from_numpy(0.75 + 0.25 * np.tanh(noise))
    if name.endswith(("bias", "running_mean")):
        return torch.from_numpy(0.1 * noise)
    if len(shape) == 1:
        return torch.from_numpy(1 + 0.1 * noise)
    if "embeddings" in name:
        return torch.from_numpy(noise)
    return torch.from_numpy(noise / np.prod(shape[1:]).astype(np.float32) ** 0.5)
