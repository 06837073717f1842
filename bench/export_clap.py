"""Does a CLAP's exported graph give what transformers' own pipeline gives, and what does each cost?"""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import nn
from transformers import ClapConfig, ClapFeatureExtractor, ClapModel, ClapProcessor, PreTrainedTokenizerFast

from bench.export_speed import MINILM, THREADS, alternate, open_graph, read_captions, real_windows
from bench.processes import in_a_process
from export.hard_items import hard_signals
from export.sources import load_source
from export.tensorrt_check.parity_items import token_items
from export.towers import export_audio, export_text, type_float16
from train.pretrained import pretrained_folder

Item = TypeVar("Item")

TITLE = "Export: CLAP beside transformers' own pipeline"
STARTER = Path(__file__).parents[1] / "model_repository/audio_encoder/1/model.onnx"
TEXTS = 40
VOCABULARY = 30_522  # MiniLM's


def measure() -> str:
    return in_a_process(_measure)


def _measure() -> str:
    with tempfile.TemporaryDirectory() as folder:
        save_random_clap(Path(folder), ClapConfig(text_config={"vocab_size": VOCABULARY, "pad_token_id": 0}))
        model, processor = ClapModel.from_pretrained(folder).eval(), ClapProcessor.from_pretrained(folder)
        source = load_source(folder)
    rate = source.window.sample_rate_hz
    twins = {"float16": type_float16(source.model), "float32": source.model}
    signals = [signal for name, signal in hard_signals(source.window).items() if name != "silence"]
    clips = [*signals, *real_windows(source.window)]
    captions = read_captions()[1][:TEXTS]
    audio_graphs = {side: export_audio(twin, samples=source.window.samples) for side, twin in twins.items()}
    audio_row = _row(
        "audio",
        graphs=audio_graphs,
        items=clips,
        feed=lambda clip: {"waveform": clip[None]},
        prepare=lambda clip: processor.feature_extractor(clip, sampling_rate=rate, return_tensors="pt"),
        embed=model.get_audio_features,
    )
    text_row = _row(
        "text",
        graphs={side: export_text(twin, max_tokens=source.max_text_tokens) for side, twin in twins.items()},
        items=captions,
        feed=lambda words: next(iter(token_items([words], tokenizer=source.tokenizer).values())),
        prepare=lambda words: processor.tokenizer(words, return_tensors="pt"),
        embed=model.get_text_features,
    )
    return "\n".join(
        [
            "`laion/clap-htsat-unfused`'s sizes, random weights. transformers' pipeline is its feature extractor or "
            f"tokenizer and its model, in float32; the items are {len(clips)} windows of 10 s (hard signals, and music "
            f"of the demo collection) and {len(captions)} captions. One item at a time, {THREADS[-1]} threads; the "
            "sides alternate, medians.",
            "",
            "| | worst cosine float16 | float32 | MB float16 | ms float16 | float32 | transformers | its model alone |",
            "|---|" + "---|" * 7,
            audio_row,
            text_row,
            "",
            _beside_the_starter(audio_graphs["float16"], clips[-1]),
        ]
    )


def _beside_the_starter(clap: onnx.ModelProto, clip: NDArray[np.float32]) -> str:
    graphs = {"starter": STARTER.read_bytes(), "CLAP": clap.SerializeToString()}
    sessions = {name: open_graph(graph, threads=1) for name, graph in graphs.items()}
    samples = sessions["starter"].get_inputs()[0].shape[1]
    windows = {"starter": np.resize(clip, samples).astype(np.float32), "CLAP": clip}
    sides = {name: partial(session.run, None, {"waveform": windows[name][None]}) for name, session in sessions.items()}
    starter_s, clap_s = alternate(sides, threads=1).values()
    return (
        f"The starter that ships beside CLAP's audio graph, a window of 10 s on one thread, alternating: "
        f"{1e3 * starter_s:.1f} ms and {1e3 * clap_s:.1f} ms, {starter_s / clap_s:.2f} of it."
    )


def _row(
    tower: str,
    *,
    graphs: Mapping[str, onnx.ModelProto],
    items: Sequence[Item],
    feed: Callable[[Item], Mapping[str, NDArray[np.float32] | NDArray[np.int32]]],
    prepare: Callable[[Item], Mapping[str, Any]],
    embed: Callable[..., Any],
) -> str:
    with torch.inference_mode():
        truth = np.concatenate([embed(**prepare(item)).pooler_output.numpy() for item in items])
    sessions = {side: open_graph(graph.SerializeToString(), threads=THREADS[-1]) for side, graph in graphs.items()}
    cosines = []
    for session in sessions.values():
        found = np.concatenate([session.run(None, feed(item))[0] for item in items])
        cosines.append(f"{(found * truth).sum(axis=1).min():.7f}")
    item = items[-1]
    fed, prepared = feed(item), prepare(item)
    sides: dict[str, Callable[[], object]] = {
        side: partial(session.run, None, fed) for side, session in sessions.items()
    }
    sides |= {"transformers": lambda: embed(**prepare(item)), "model": lambda: embed(**prepared)}
    times = alternate(sides, threads=THREADS[-1]).values()
    size_mb = graphs["float16"].ByteSize() / 1e6
    return f"| {tower} | {' | '.join(cosines)} | {size_mb:.0f} | {' | '.join(f'{1e3 * time:.1f}' for time in times)} |"


def save_random_clap(folder: Path, config: ClapConfig, *, tokenizer_file: Path | None = None) -> None:
    """A CLAP of these sizes with a tokenizer, MiniLM's by default."""
    if tokenizer_file is None:
        tokenizer_file = pretrained_folder(MINILM, key="text.init_from") / "tokenizer.json"
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(tokenizer_file), pad_token="[PAD]", unk_token="[UNK]")
    torch.manual_seed(0)
    model = ClapModel(config)
    norm = model.audio_model.audio_encoder.batch_norm  # of decibels
    nn.init.normal_(norm.get_buffer("running_mean"), -35, 10)
    nn.init.uniform_(norm.get_buffer("running_var"), 100, 400)
    model.save_pretrained(folder)
    truncation = "fusion" if model.audio_model.config.enable_fusion else "rand_trunc"
    ClapProcessor(ClapFeatureExtractor(frequency_min=50, truncation=truncation), tokenizer).save_pretrained(folder)
