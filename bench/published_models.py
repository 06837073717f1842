"""What do the published models that the exporter takes weigh, and what does a window or a text cost on the CPU?"""

import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from transformers import ClapConfig

from bench.export_clap import save_random_clap
from bench.export_speed import open_graph, real_windows
from bench.processes import in_a_process
from export.sources import load_source
from export.towers import export_audio, export_text, type_float16
from tests.export import muq_mulan_stand_in as muq_mulan

TITLE = "Published models: download and cost"
GOLDEN = Path(muq_mulan.__file__).with_name("muq_mulan_golden.json")
STARTER = Path(__file__).parents[1] / "model_repository"
TOKENS = 16  # the shortest length that a client pads to
CALLS = 5

LARGER = {"depths": [2, 2, 12, 2], "hidden_size": 1024, "patch_embeds_hidden_size": 128}
CLAPS = {
    "laion/clap-htsat-unfused": ClapConfig(text_config={"pad_token_id": 0}),
    "laion/clap-htsat-fused": ClapConfig(
        text_config={"pad_token_id": 0}, audio_config={"enable_fusion": True, "aff_block_r": 4}
    ),
    "laion/larger_clap_general": ClapConfig(text_config={"pad_token_id": 0}, audio_config=LARGER),
}
MUQ_MULAN = "OpenMuQ/MuQ-MuLan-large"
LICENCES = dict.fromkeys(CLAPS, "Apache-2.0") | {MUQ_MULAN: "CC BY-NC 4.0"}


@dataclass(frozen=True)
class Cost:
    """Bytes of the weights and of both graphs, milliseconds of one core, and the worst cosine where one is known."""

    window_s: float
    sample_rate_hz: int
    dim: int
    weights: int
    graphs: tuple[int, int]
    window_ms: float
    text_ms: float
    cosine: float | None = None


def measure() -> str:
    starter = in_a_process(_measure_starter)
    rows, cosine = [], float("nan")
    for name, licence in LICENCES.items():
        cost = in_a_process(_measure_published, name)
        cosine = cost.cosine or cosine
        audio, text = (size / 1e6 for size in cost.graphs)
        rows.append(
            f"| `{name}` | {licence} | {cost.weights / 1e6:.0f} MB | {audio:.0f} + {text:.0f} MB "
            f"| {cost.window_s:g} s at {cost.sample_rate_hz / 1000:g} kHz | {cost.dim} | {cost.window_ms:.0f} ms "
            f"| {cost.window_ms / starter:.0f} | {cost.text_ms:.0f} ms |"
        )
    return "\n".join(
        [
            "Random weights of the published sizes; nothing was downloaded. The download is the weights in float32. "
            f"Times are of one core (CPU time of one thread, the least of {CALLS} calls), of the float16 graphs in "
            f"ONNX Runtime, a window of music or a text of {TOKENS} tokens at a time; *starter* is the window's time "
            f"over that of the shipped model in the same run ({starter:.0f} ms). The worst cosine of MuQ-MuLan's "
            f"graphs with what the package `muq` gives for the same weights is {cosine:.7f}, of {len(muq_mulan.TEXTS)} "
            f"texts and {len(muq_mulan.make_clips(muq_mulan.TINY))} clips; CLAP's is above.",
            "",
            "| | licence of the weights | download | graphs | window | dim | a window | starter | a text |",
            "|---|" + "---|" * 8,
            *rows,
        ]
    )


def _measure_starter() -> float:
    session = open_graph((STARTER / "audio_encoder/1/model.onnx").read_bytes(), threads=1)
    samples = session.get_inputs()[0].shape[1]
    noise = np.random.default_rng(0).uniform(-0.1, 0.1, (1, samples)).astype(np.float32)
    return _least_ms(lambda: session.run(None, {"waveform": noise}))


def _measure_published(name: str) -> Cost:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        if name == MUQ_MULAN:
            muq_mulan.save_muq_mulan(folder, muq_mulan.FULL)
        else:
            save_random_clap(folder, CLAPS[name])
        weights = (folder / "model.safetensors").stat().st_size
        source = load_source(folder)
    typed = type_float16(source.model)
    graphs = (
        export_audio(typed, samples=source.window.samples).SerializeToString(),
        export_text(typed, max_tokens=source.max_text_tokens).SerializeToString(),
    )
    tokenizer, window = source.tokenizer, source.window
    dim = source.embedding_dim
    del source, typed
    audio, text = (open_graph(graph, threads=1) for graph in graphs)
    heard = real_windows(window)[0][None]
    tokens = {key: np.ones((1, TOKENS), np.int32) for key in ("input_ids", "attention_mask")}
    cosine = None
    if name == MUQ_MULAN:
        golden = json.loads(GOLDEN.read_text(encoding="utf-8"))["full"]
        clips = [np.pad(clip, (0, window.samples - len(clip))) for clip in muq_mulan.make_clips(muq_mulan.FULL)]
        found = [audio.run(None, {"waveform": clip[None]})[0][0] for clip in clips]
        for words in muq_mulan.TEXTS:
            ids, mask = (part.int().numpy() for part in tokenizer([words]))
            found.append(text.run(None, {"input_ids": ids, "attention_mask": mask})[0][0])
        cosine = float((np.stack(found) * np.array(golden["audio"] + golden["text"])).sum(axis=1).min())
    return Cost(
        window_s=window.seconds,
        sample_rate_hz=window.sample_rate_hz,
        dim=dim,
        weights=weights,
        graphs=(len(graphs[0]), len(graphs[1])),
        window_ms=_least_ms(lambda: audio.run(None, {"waveform": heard})),
        text_ms=_least_ms(lambda: text.run(None, tokens)),
        cosine=cosine,
    )


def _least_ms(run: Callable[[], object]) -> float:
    """Of the whole process: other programs that want the same core do not count."""
    torch.set_num_threads(1)
    run()
    times = []
    for _ in range(CALLS):
        started = time.process_time()
        run()
        times.append(time.process_time() - started)
    return 1e3 * min(times)
