"""The gate: a graph is written only if it gives what torch gives, on real music, on hard signals, in every batch.

Three computations of every item are compared: torch in float32 (the truth), the exported graph on ONNX Runtime's
CPU provider, and the typed model in torch, which really computes in float16. The last stands in for a GPU: the CPU
provider widens float16 to float32, so it sees neither the rounding nor an overflow.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import soundfile
import torch
from torch import Tensor, nn

from export import ExportError
from export.sources import AudioWindow
from train.data.audio import load_crop
from train.data.manifest import read_manifest
from train.data.tokenizer import TextTokenizer

MIN_COSINE = 0.999
MAX_DEVIATION = 1e-5  # largest difference of a component between an item alone and in a batch, padded or not
WINDOWS, CAPTIONS = 32, 64  # real ones, besides the hard ones below
BATCH = 3  # unseen by the exporter, and it leaves a remainder
PADDED_LENGTHS = (16, 32, 77)  # tokens, as text_tokenizer pads; capped at the model's maximum

HARD_TEXTS = ("a", "!?", "piano " * 200, "тихая музыка 静かな曲 🎹")


@dataclass(frozen=True)
class ParityData:
    """Waveforms, float32 [window.samples] in -1…1, by name; and texts."""

    windows: dict[str, np.ndarray]
    texts: tuple[str, ...]


@dataclass(frozen=True)
class ParityRow:
    """How one graph compares with torch float32 over all its items."""

    graph: str
    items: int
    worst_cosine: float
    mean_cosine: float
    worst_float16_cosine: float
    deviation: float


def load_parity_data(manifest: Path, *, window: AudioWindow) -> ParityData:
    """WINDOWS windows and CAPTIONS different captions spread evenly over the manifest's tracks, and the hard items.

    Raises:
        ExportError: the manifest has too few of either.
        ManifestError, AudioDecodeError: the manifest or an audio file cannot be read.
    """
    if not manifest.is_file():
        raise ExportError(
            f"no music to check the graphs with: {manifest} does not exist; "
            f"give --parity-data a manifest with {WINDOWS} windows and {CAPTIONS} captions"
        )
    rows = _spread(read_manifest(manifest), CAPTIONS)
    crops = [(row, place) for row in rows for place in range(_count_windows(row.audio, window=window))]
    captions = list(dict.fromkeys(caption for row in rows for caption in row.captions))
    if len(crops) < WINDOWS or len(captions) < CAPTIONS:
        raise ExportError(
            f"{manifest} gives {len(crops)} windows of {window.seconds:g} s and {len(captions)} different captions; "
            f"the parity check needs {WINDOWS} and {CAPTIONS}: give --parity-data a larger manifest"
        )
    windows = {
        f"{row.audio.name}, window {place}": load_crop(
            row.audio, sample_rate_hz=window.sample_rate_hz, samples=window.samples, window=place
        )
        for row, place in _spread(crops, WINDOWS)
    }
    return ParityData(windows | hard_signals(window), (*_spread(captions, CAPTIONS), *HARD_TEXTS))


def hard_signals(window: AudioWindow) -> dict[str, np.ndarray]:
    """Signals where a log-mel front end or float16 breaks first; deterministic, float32 [window.samples] in -1…1."""
    rng = np.random.default_rng(0)
    time_s = np.arange(window.samples) / window.sample_rate_hz
    noise = rng.standard_normal(window.samples)
    tone = np.sin(2 * np.pi * 220 * time_s)
    chord = sum(np.sin(2 * np.pi * hz * time_s) for hz in (261.6, 329.6, 392.0, 523.3)) / 4
    click = np.zeros_like(time_s)
    click[len(click) // 2] = 1.0
    signals = {
        "silence": np.zeros_like(time_s),
        "a tone at -60 dB": 1e-3 * tone,
        "noise at -90 dB": 3e-5 * noise,
        "white noise": 0.2 * noise,
        "a clipped tone": 10 * tone,
        "a chord": 0.8 * chord,
        "drum-like bursts": 0.5 * noise * np.exp(-20 * (time_s % 0.5)),
        "one click": click,
    }
    return {name: np.clip(signal, -1, 1).astype(np.float32) for name, signal in signals.items()}


def check_audio(graph: bytes, windows: dict[str, np.ndarray], *, model: nn.Module, typed: nn.Module) -> ParityRow:
    """Compare the audio graph with `model`; `typed` is the float16 model that the graph was exported from.

    Raises:
        ExportError: an item's cosine is below MIN_COSINE, or its vector depends on its neighbours in the batch.
    """
    run = _open(graph)
    waveforms = np.stack(list(windows.values()))
    batches = [run(waveforms[start : start + BATCH]) for start in range(0, len(waveforms), BATCH)]
    return _compare(
        "audio_encoder",
        list(windows),
        truth=_in_torch(model.embed_audio, [(waveform[None],) for waveform in waveforms]),
        float16=_in_torch(typed.embed_audio, [(waveform[None],) for waveform in waveforms]),
        exported=np.concatenate([run(waveform[None]) for waveform in waveforms]),
        variants={f"in a batch of {BATCH}": np.concatenate(batches)},
    )


def check_text(
    graph: bytes, texts: Sequence[str], *, model: nn.Module, typed: nn.Module, tokenizer: TextTokenizer, max_tokens: int
) -> ParityRow:
    """Compare the text graph with `model`: without padding, and padded to each served length in a batch.

    Raises:
        ExportError: an item's cosine is below MIN_COSINE, or its vector depends on padding or on its neighbours.
    """
    run = _open(graph)
    tokens = [[part.numpy().astype(np.int32) for part in tokenizer([text])] for text in texts]
    exported = np.concatenate([run(ids, mask) for ids, mask in tokens])
    variants = {}
    for length in sorted({min(length, max_tokens) for length in PADDED_LENGTHS}):
        embeddings = exported.copy()
        fitting = [index for index, (ids, _) in enumerate(tokens) if ids.shape[1] <= length]
        for start in range(0, len(fitting), BATCH):
            chosen = fitting[start : start + BATCH]
            padded = (_pad([tokens[index][part] for index in chosen], length=length) for part in (0, 1))
            embeddings[chosen] = run(*padded)
        variants[f"padded to {length} tokens in a batch of {BATCH}"] = embeddings
    return _compare(
        "text_encoder",
        [f"“{text if len(text) <= 60 else text[:57] + '…'}”" for text in texts],
        truth=_in_torch(model.embed_text, tokens),
        float16=_in_torch(typed.embed_text, tokens),
        exported=exported,
        variants=variants,
    )


def _compare(
    graph: str,
    names: Sequence[str],
    *,
    truth: np.ndarray,
    float16: np.ndarray,
    exported: np.ndarray,
    variants: dict[str, np.ndarray],
) -> ParityRow:
    """All arrays are float32 [items, dim] with unit rows."""
    cosines = {"ONNX Runtime": _cosines(truth, exported), "torch in float16": _cosines(truth, float16)}
    for runtime, values in cosines.items():
        worst = int(np.argmin(values))
        if not values[worst] >= MIN_COSINE:
            raise ExportError(
                f"{graph}: {runtime} and torch in float32 disagree on {names[worst]}: "
                f"cosine {values[worst]:.6f}, expected at least {MIN_COSINE}"
            )
    deviation = 0.0
    for variant, embeddings in variants.items():
        by_item = np.abs(embeddings - exported).max(axis=1)
        worst = int(np.argmax(by_item))
        if not by_item[worst] <= MAX_DEVIATION:
            raise ExportError(
                f"{graph}: the vector of {names[worst]} {variant} differs from the one alone by "
                f"{by_item[worst]:.1e}, expected at most {MAX_DEVIATION:.0e}"
            )
        deviation = max(deviation, float(by_item[worst]))
    onnx, half = cosines.values()
    return ParityRow(graph, len(names), float(onnx.min()), float(onnx.mean()), float(half.min()), deviation)


def _cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """By row, float64 [items]; -1 where either row is not finite: an overflow agrees with nothing."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    with np.errstate(all="ignore"):
        cosines = (a * b).sum(axis=1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))
    return np.nan_to_num(cosines, nan=-1.0)


def _open(graph: bytes) -> Callable[..., np.ndarray]:
    """A function from the graph's inputs, in their order, to its only output."""
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    names = [tensor.name for tensor in session.get_inputs()]
    return lambda *arrays: session.run(None, dict(zip(names, arrays, strict=True)))[0]


def _in_torch(embed: Callable[..., Tensor], items: Sequence[Sequence[np.ndarray]]) -> np.ndarray:
    with torch.inference_mode():
        return np.concatenate([embed(*map(torch.from_numpy, item)).numpy() for item in items])


def _pad(rows: Sequence[np.ndarray], *, length: int) -> np.ndarray:
    return np.concatenate([np.pad(row, ((0, 0), (0, length - row.shape[1]))) for row in rows])


def _count_windows(path: Path, *, window: AudioWindow) -> int:
    """Windows of a track as a catalogue cuts them: hop = window, the last one if at least half full."""
    try:
        return int(soundfile.info(path).duration / window.seconds + 0.5)
    except (soundfile.LibsndfileError, OSError) as exc:
        raise ExportError(f"cannot decode {path} of the parity data: {exc}") from exc


def _spread(items: Sequence[Any], count: int) -> list[Any]:
    """`count` of the items at even distances, or all if there are fewer."""
    return [items[index * len(items) // count] for index in range(count)] if len(items) > count else list(items)
