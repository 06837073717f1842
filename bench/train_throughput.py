"""Does the loader keep a training step busy, and what does a step of each recipe cost?"""

import itertools
import json
import multiprocessing
import resource
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import soundfile
import torch
from tokenizers import Tokenizer
from torch.utils.data import DataLoader
from torchaudio.functional import resample
from transformers import BertConfig, BertModel

import train.loop
from train.config import Config, ModelConfig, load_recipe
from train.data.pairs import Batch, Joined, collate
from train.dual_encoder import DualEncoder
from train.pretrained import pretrained_folder

TITLE = "Training: the loader, and a step of each recipe"
CACHE = Path(__file__).parent / "cache" / "train_throughput"
COLLECTION = Path(__file__).parents[1] / "demo" / "collection"
FORMATS = ("flac", "mp3")
FILES, FILE_S, FILE_RATE_HZ = 16, 180, 44_100
ROUNDS = 3
LOADER_STEPS, STEPS, MULAN_STEPS = 20, 8, 2
ROUNDS_OF_TOWER = 9
TOWERS = ("starter", "muscall", "dcase")
MINILM = "all-MiniLM-L6-v2"
# Published weights that only a network has are replaced by random ones of the same shape.
RECIPES = {
    "starter": ["optim.batch_size=64"],
    "muscall": ["optim.batch_size=16", f"model.text.tokenizer={MINILM}"],
    "muscall_ssl": ["optim.batch_size=16", f"model.text.tokenizer={MINILM}"],
    "mulan_resnet": ["optim.batch_size=16", "optim.chunk_size=8", "data.mixture={}", "model.text.init_from={bert}"],
    "mulan_ast": [
        *("optim.batch_size=16", "optim.chunk_size=8", "data.mixture={}", "model.text.init_from={bert}"),
        "model.audio.init_from=null",
    ],
    "dcase": ["optim.batch_size=32"],
    "dcase_cl": ["optim.batch_size=32"],
}


def measure() -> str:
    manifests = {suffix: _manifest(suffix) for suffix in FORMATS}
    lines = [
        f"Tracks of {FILE_S // 60} minutes, {FILE_RATE_HZ / 1000:g} kHz, stereo. *Model only* trains on one batch that "
        "lies ready in the training process; the three sides alternate, "
        f"{ROUNDS} rounds of {LOADER_STEPS} steps, medians.",
        "",
        "| MusCALL as released (width 16, 20 s), batch 16 | pairs/s | model only | step ÷ model-only step |",
        "|---|---|---|---|",
    ]
    sides = {suffix: (manifest, True) for suffix, manifest in manifests.items()}
    sides["model only"] = (manifests["flac"], False)
    rates: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(ROUNDS):
        for side, (manifest, decode) in sides.items():
            rates[side].append(_in_a_process("muscall", manifest, decode=decode, steps=LOADER_STEPS)[0])
    model = statistics.median(rates["model only"])
    for suffix in FORMATS:
        loader = statistics.median(rates[suffix])
        lines.append(f"| decoding {suffix.upper()} | {loader:.1f} | {model:.1f} | {model / loader:.2f} |")
    lines += [
        "",
        f"One run of {STEPS} steps a recipe, of {MULAN_STEPS} for MuLan's, which take minutes. Peak memory is that of "
        "the training process alone, without the two that decode.",
        "",
        "| recipe | batch | precision | pairs/s | peak memory |",
        "|---|---|---|---|---|",
    ]
    for name in RECIPES:
        config = _config(name)
        steps = MULAN_STEPS if name.startswith("mulan") else STEPS
        rate, peak_gb = _in_a_process(name, manifests["flac"], decode=True, steps=steps)
        optim = config.optim
        batch = f"{optim.batch_size}" + (f", {optim.chunk_size} at a time" if optim.chunk_size else "")
        lines.append(f"| {name} | {batch} | {optim.precision} | {rate:.1f} | {peak_gb:.1f} GB |")
    lines += [
        "",
        "The audio tower alone, forward and backward, on 16 windows in float32: its log-mel by the fast Fourier "
        "transform with which it trains, and by the convolution that is exported. The two alternate, "
        f"{ROUNDS_OF_TOWER} rounds, medians.",
        "",
        "| recipe | by FFT | by convolution | convolution ÷ FFT |",
        "|---|---|---|---|",
    ]
    for name in TOWERS:
        by_fft, by_convolution = _tower_ms(_config(name).model)
        lines.append(f"| {name} | {by_fft:.0f} ms | {by_convolution:.0f} ms | {by_convolution / by_fft:.2f} |")
    return "\n".join(lines)


def _tower_ms(config: ModelConfig) -> tuple[float, float]:
    model = DualEncoder(config).train()
    waveforms = 0.1 * torch.randn(16, config.frontend.window_samples)
    took_ms: dict[bool, list[float]] = {False: [], True: []}
    for _ in range(ROUNDS_OF_TOWER):
        for exports, times in took_ms.items():
            with mock.patch.object(torch.compiler, "is_exporting", lambda exports=exports: exports):
                started_at = time.perf_counter()
                model.embed_audio(waveforms).sum().backward()
                times.append(1e3 * (time.perf_counter() - started_at))
    return statistics.median(took_ms[False]), statistics.median(took_ms[True])


def _config(name: str, *, overrides: Sequence[str] = ()) -> Config:
    own = [setting.replace("{bert}", str(_random_bert())) for setting in RECIPES[name]]
    return load_recipe(name, overrides=[*own, "optim.epochs=2", *overrides])


def _in_a_process(
    name: str, data: Path, *, decode: bool, steps: int, overrides: Sequence[str] = ()
) -> tuple[float, float]:
    """Pairs a second of the second epoch and peak memory in GB, in a fresh process so that none helps another."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_train, name, data, decode=decode, steps=steps, overrides=overrides).result()


def _train(name: str, data: Path, *, decode: bool, steps: int, overrides: Sequence[str]) -> tuple[float, float]:
    config = _config(name, overrides=overrides)
    with tempfile.TemporaryDirectory(dir=data.parent) as folder:
        repeat = _repeat_shard if data.suffix == ".tar" else _repeat_manifest
        repeated = repeat(data, Path(folder), times=steps * config.optim.batch_size)
        with mock.patch.object(train.loop, "Joined", Joined if decode else _RepeatedBatch):
            train.loop.train(config, manifest=repeated, run=Path(folder) / "run")
        last = (Path(folder) / "run" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()[-1]
    return json.loads(last)["pairs_per_s"], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def _repeat_manifest(manifest: Path, folder: Path, *, times: int) -> Path:
    """A manifest with so many training rows, and one to validate."""
    rows = [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines()]
    training = [{**rows[i % len(rows)], "audio": f"../{rows[i % len(rows)]['audio']}"} for i in range(times)]
    lines = [json.dumps(row) for row in (*training, {**training[0], "split": "val"})]
    (folder / "manifest.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return folder / "manifest.jsonl"


def _repeat_shard(shard: Path, folder: Path, *, times: int) -> Path:
    """The same of a shard, in whose index a recording stands as often."""
    rows = [json.loads(line) for line in shard.with_suffix(".jsonl").read_text(encoding="utf-8").splitlines()]
    training = [rows[i % len(rows)] for i in range(times)]
    lines = [json.dumps(row) for row in (*training, {**rows[0], "row": {**rows[0]["row"], "split": "val"}})]
    (folder / "000.jsonl").write_text("\n".join(lines), encoding="utf-8")
    (folder / "000.tar").symlink_to(shard.resolve())
    return folder / "000.tar"


class _RepeatedBatch(Joined):
    """Training takes one batch, made in the first epoch, for all its steps. No worker loads anything."""

    def __init__(self, loader: DataLoader[Any], *, parts: int) -> None:
        super().__init__(loader, parts=parts)
        self.batch: Batch | None = None

    def __iter__(self) -> Iterator[Batch]:
        if self.batch is None:
            keys = itertools.chain(*itertools.islice(self.loader.batch_sampler or (), self.parts))
            self.batch = collate([self.loader.dataset[key] for key in keys])
        return itertools.repeat(self.batch, len(self))


def _manifest(suffix: str) -> Path:
    """Long stereo files, each of several tracks of the demo collection one after the other."""
    manifest = CACHE / suffix / "manifest.jsonl"
    if manifest.is_file():
        return manifest
    manifest.parent.mkdir(parents=True, exist_ok=True)
    rows = [json.loads(line) for line in (COLLECTION / "manifest.jsonl").read_text(encoding="utf-8").splitlines()]
    tracks = [soundfile.read(COLLECTION / row["audio"], dtype="float32") for row in rows]
    mono = np.concatenate([resample(torch.from_numpy(samples), rate, FILE_RATE_HZ).numpy() for samples, rate in tracks])
    written = []
    for number in range(FILES):
        samples = np.roll(mono, -number * 20 * FILE_RATE_HZ)[: FILE_S * FILE_RATE_HZ]
        stereo = np.stack([samples, np.roll(samples, 200)], axis=1).clip(-1, 1)
        soundfile.write(manifest.parent / f"{number}.{suffix}", stereo, FILE_RATE_HZ)
        row = rows[number]
        written.append({"audio": f"{number}.{suffix}", "captions": row["captions"], "labels": ["music"]})
    manifest.write_text("\n".join(json.dumps(row) for row in written), encoding="utf-8")
    return manifest


def _random_bert() -> Path:
    """BERT-base's shape with random weights, and a WordPiece tokenizer of its vocabulary."""
    folder = CACHE / "bert"
    if not (folder / "config.json").is_file():
        BertModel(BertConfig()).save_pretrained(folder)
        tokenizer = pretrained_folder(MINILM, key="text.init_from") / "tokenizer.json"
        Tokenizer.from_file(str(tokenizer)).save(str(folder / "tokenizer.json"))
    return folder
