"""Adding beside clapback, the closest product, with the same CLAP weights on the same 200 MP3.

Needs `pip install clapback-cli==0.3.0`, which nothing else here does. Takes half an hour.
"""

import importlib.util
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from transformers import ClapConfig, ClapModel

from bench import train_throughput
from bench.export_clap import VOCABULARY, save_random_clap
from bench.ingest import copies_of_mp3s
from client.encoders.local import LocalEncoder

TITLE = "Adding beside clapback"
TRACKS = 200
COMPARED = 5  # files
PROJECT = Path(__file__).parents[1]
TELLING = (
    "import atexit, sys; from bench.processes import memory_mb; "
    "atexit.register(lambda: print('peak', memory_mb('VmHWM'), file=sys.stderr)); "
)
COMMAND = f"{TELLING}from client.cli import main; raise SystemExit(main())"
CLAPBACK = f"{TELLING}from clapback_cli.cli import main; main()"


def measure(*, tracks: int = TRACKS) -> str | None:
    if importlib.util.find_spec("clapback_cli") is None:
        return None
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        music = folder / "music"
        music.mkdir()
        files = copies_of_mp3s(music, copies=-(-tracks // train_throughput.FILES))
        for surplus in files[tracks:]:
            os.unlink(surplus)
        # Random weights of the usual size make one vector of all texts, which the exporter refuses.
        spread = {"initializer_factor": 4.0}
        text = {"vocab_size": VOCABULARY, "pad_token_id": 0, **spread}
        save_random_clap(folder / "clap", ClapConfig(text_config=text, audio_config=spread))
        models = folder / "clapback_models"
        models.mkdir()
        _export_for_clapback(folder / "clap", models / "clap_audio.onnx")
        export = [PROJECT / "export/to_onnx.py", folder / "clap", "--out", folder / "repository", "--precision", "fp32"]
        subprocess.run([sys.executable, *map(str, export)], check=True)
        os.environ["CLAPBACK_MODEL_DIR"] = str(models)
        theirs = _run([CLAPBACK, "--home", folder / "home", "index", music])
        ours = _run([COMMAND, "add", folder / "library", music, "--encoder", folder / "repository"])
        compared = _compare(files[:COMPARED], folder / "repository")
    return "\n".join(
        [
            "`laion/clap-htsat-unfused`'s sizes with random weights, exported in float32 by each product's own rules; "
            f"{tracks} MP3 of three minutes, 44.1 kHz, stereo, in the page cache. Each command ran once, from an empty "
            "folder until it ended.",
            "",
            "| | seconds | CPU seconds | peak memory of its process |",
            "|---|---|---|---|",
            f"| `clapback index` 0.3.0 | {theirs[0]:.0f} | {theirs[1]:.0f} | {theirs[2]:.0f} MB |",
            f"| `music-search add` | {ours[0]:.0f} | {ours[1]:.0f} | {ours[2]:.0f} MB |",
            "",
            f"Ours takes {ours[0] / theirs[0]:.2f} of its time (asked for: 0.5). The vectors of its windows of "
            f"{COMPARED} files (48 kHz, 10 s from the start, made unit) and ours of the same samples differ by at most "
            f"{compared.worst:.1e} in any component (asked for: 1e-4), cosine {compared.cosine:.6f}.",
            "",
            "The network is most of it: from samples to a vector, a window takes clapback "
            f"{1e3 * compared.theirs_s:.0f} ms, one by one on all cores, and us {1e3 * compared.ours_s:.0f} ms, one on "
            "each core.",
            "",
            "On purpose ours differs: channels are mixed as ITU-R BS.775 says and not averaged; what is left after the "
            "last whole window is heard too where it is half a window or more; windows become unit vectors before "
            "their mean, so that none outweighs the others; pauses do not count.",
        ]
    )


def _run(arguments: list[object]) -> tuple[float, float, float]:
    """Seconds, CPU seconds of a command and its processes, and its own peak memory in MB."""
    before = os.times()
    started_at = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", *map(str, arguments)],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    seconds = time.perf_counter() - started_at
    after = os.times()
    cpu_s = after.children_user + after.children_system - before.children_user - before.children_system
    return seconds, cpu_s, float(done.stderr.rpartition("peak ")[2])


class _Audio(nn.Module):
    """What clapback's file is: log-mel float32 [n, 1, 1001, 64] -> features float32 [n, 512], of any length."""

    def __init__(self, model: ClapModel) -> None:
        super().__init__()
        self.audio_model, self.audio_projection = model.audio_model, model.audio_projection

    def forward(self, log_mel: Tensor) -> Tensor:
        features: Tensor = self.audio_projection(self.audio_model(input_features=log_mel).pooler_output)
        return features


def _export_for_clapback(folder: Path, path: Path) -> None:
    model = _Audio(ClapModel.from_pretrained(folder)).eval()
    torch.onnx.export(model, (torch.zeros(1, 1, 1001, 64),), path, input_names=["input_features"], dynamo=True)


@dataclass(frozen=True)
class _Compared:
    """The largest difference of a component, and the least cosine, of both products' windows; seconds a window."""

    worst: float
    cosine: float
    theirs_s: float
    ours_s: float


def _compare(files: list[str], repository: Path) -> _Compared:
    from clapback_embed import audio_session
    from clapback_embed.chunking import stream_windows
    from clapback_embed.mel import log_mel

    session = audio_session()
    encoder = LocalEncoder(repository, device="cpu")
    worst, cosine = 0.0, 1.0
    taken_s: dict[str, list[float]] = {"theirs": [], "ours": []}
    for path in files:
        windows = np.stack(list(stream_windows(path)))
        started_at = time.perf_counter()
        theirs = [session.run(None, {"input_features": log_mel(window)[None, None]})[0][0] for window in windows]
        heard_at = time.perf_counter()
        ours = encoder.embed_windows(windows)
        taken_s["ours"].append((time.perf_counter() - heard_at) / len(windows))
        taken_s["theirs"].append((heard_at - started_at) / len(windows))
        unit = np.array(theirs) / np.linalg.norm(theirs, axis=1, keepdims=True)
        worst = max(worst, float(np.abs(unit - ours).max()))
        cosine = min(cosine, float((unit * ours).sum(axis=1).min()))
    return _Compared(worst, cosine, statistics.median(taken_s["theirs"]), statistics.median(taken_s["ours"]))
