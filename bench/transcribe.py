"""What CPU time does `ms.transcribe` take for a minute of music, with a transcriber of the paper's size?"""

import hashlib
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

from bench.processes import in_a_process, memory_mb
from client import MusicSearch
from singing.alphabet import CHARACTERS

TITLE = "Transcribing lyrics"
RATE_HZ = 16_000
MINUTES = 3
SETTINGS: tuple[str, ...] = ()  # the paper's


def measure() -> str:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        size = in_a_process(_export, folder, SETTINGS)
        cpu_s, wall_s, mb = in_a_process(_transcribe, folder, MINUTES)
    return (
        "A multi-task network of the paper's sizes with random weights, exported in float16 without the gate, and "
        f"noise of {MINUTES:g} minutes at {RATE_HZ // 1000} kHz; the best character of each frame, without a language "
        "model. The first call, which opens the model, does not count.\n\n"
        "| graph | CPU time, a minute of music | time, a minute of music | peak memory |\n"
        "|---|---|---|---|\n"
        f"| {size / 1e6:.0f} MB | {cpu_s / MINUTES:.1f} s | {wall_s / MINUTES:.1f} s | {mb:,.0f} MB |"
    )


def _export(folder: Path, settings: tuple[str, ...]) -> int:
    """Write `lyrics_transcriber/` of random weights, and return the size of its graph."""
    import torch

    from export.transcriber import GRAPH
    from export.transcriber_graph import export_graph, output_shapes, type_transcriber
    from export.triton_config import TranscriberParameters, write_transcriber_config
    from train.lyrics.config import LyricsConfig
    from train.lyrics.networks import LyricsModel

    torch.manual_seed(0)
    config = LyricsConfig.with_overrides(settings).model
    graph = export_graph(type_transcriber(LyricsModel(config)))
    content = graph.SerializeToString(deterministic=True)
    parameters = TranscriberParameters(
        sample_rate_hz=config.frontend.sample_rate_hz,
        window_samples=config.frontend.window_samples,
        characters=CHARACTERS,
        method=config.method,
        model_name="random weights",
        fingerprint=hashlib.sha256(content).hexdigest(),
        parity_error="",
    )
    path = folder / GRAPH
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    text = write_transcriber_config(parameters, outputs=output_shapes(graph))
    (path.parents[1] / "config.pbtxt").write_text(text, encoding="utf-8")
    return len(content)


def _transcribe(folder: Path, minutes: float) -> tuple[float, float, float]:
    """CPU seconds of the process, seconds, and the peak memory in MB."""
    rng = np.random.default_rng(0)
    for name, seconds in (("short", 1), ("long", 60 * minutes)):
        sound = rng.uniform(-0.1, 0.1, round(seconds * RATE_HZ)).astype(np.float32)
        soundfile.write(folder / f"{name}.flac", sound, RATE_HZ)
    with MusicSearch(folder / "library") as ms:
        ms.transcribe(folder / "short.flac", model=folder)
        started = time.process_time(), time.perf_counter()
        ms.transcribe(folder / "long.flac", model=folder)
        return time.process_time() - started[0], time.perf_counter() - started[1], memory_mb("VmHWM")
