"""On one GPU, within six minutes: how fast does it embed and train, and does it give the CPU's vectors?

For a machine that has torch with CUDA, torchaudio, transformers and little else. The shipped graph runs where ONNX
Runtime has a GPU's provider. Torch runs the same towers with random weights, in float16.
"""

import importlib.util
import math
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import bench.absent  # noqa: F401 - before what it stands for is imported
from train.config import AudioResNetConfig, Config, ModelConfig, TextBertConfig, load_recipe
from train.data.manifest import Row
from train.dual_encoder import DualEncoder
from train.grad_cache import backward_in_chunks
from train.objective import Objective
from train.optimizer import build_optimizer

TITLE = "One GPU"
GRAPH = Path(__file__).parents[1] / "model_repository/audio_encoder/1/model.onnx"
PROVIDERS = {"CUDA": "CUDAExecutionProvider", "TensorRT": "TensorrtExecutionProvider"}
BATCHES = (1, 8, 32, 128, 512)
COMPILED = 128  # the batch for which torch.compile makes a graph
BLOCK_S, ROUNDS = 0.4, 3
MATRIX = 8_192
LIMIT_S = 330.0  # what has not begun by then is left out
TRAINED = ("starter", "muscall", "muscall_ssl", "mulan_resnet", "mulan_ast", "dcase")
STEPS, TOKENS = 3, 16
DIM, AXES, GRAPH_ROWS = 391, 128, 200_000
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
NO_TEXT = TextBertConfig(init_from=None, vocab_size=64, hidden=32, layers=1, heads=2, feed_forward=64)

Embed = Callable[[Tensor], Any]


def measure() -> str | None:
    if not torch.cuda.is_available():
        print("this machine has no GPU that torch can use")
        return None
    return measure_on(torch.device("cuda"))


def measure_on(device: torch.device, *, batches: Sequence[int] = BATCHES, batch_size: int | None = None) -> str:
    """The section's text.

    Args:
        device: the GPU, or the CPU for a trial of this code.
        batches: of the embedding, windows.
        batch_size: of the trainings, pairs, in place of each recipe's own.
    """
    started_at = time.monotonic()

    def is_over() -> bool:
        return time.monotonic() - started_at > LIMIT_S

    rate = _matrix_rate(device)
    lines = [
        f"{_name(device)}, torch {torch.__version__}. torch multiplies two {MATRIX}x{MATRIX} float16 matrices at "
        f"{rate / 1e12:.0f} TFLOP/s; *share*: of that rate, at the best batch, the convolutions and matrix products of "
        "a window as torch counts them. Waveforms lie on the GPU. *Cosine*: the worst of 8 windows with the float32 "
        "model on the CPU. CLAP takes its log-mel, the others the waveform.",
        "",
        f"| | side | {' | '.join(f'batch {batch}: ms, windows/s' for batch in batches)} | share | cosine |",
        f"|---|---|{'---|' * (len(batches) + 2)}",
    ]
    for name, sides in MODELS.items():
        if is_over():
            lines.append(f"| {name} | left out after {LIMIT_S:.0f} s |{' |' * (len(batches) + 2)}")
            continue
        lines += _embedding_rows(name, sides(device), device=device, batches=batches, matrix_rate=rate)
        print(lines[-1], flush=True)
    lines += [
        "",
        f"Training on one batch that lies ready in host memory, {STEPS} steps after a first one, texts of {TOKENS} "
        "tokens: both towers, the loss, gradient caching where the recipe has it, and the optimizer; without loader, "
        "augmentation and the memory of words.",
        "",
        "| recipe | batch | precision | pairs/s | s a step | peak GPU memory |",
        "|---|---|---|---|---|---|",
    ]
    for name in TRAINED:
        if is_over():
            lines.append(f"| {name} | left out after {LIMIT_S:.0f} s | | | | |")
            continue
        lines.append(_training_row(name, device=device, batch_size=batch_size))
        print(lines[-1], flush=True)
    return "\n".join([*lines, "", _index_line()])


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "The CPU"


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _seconds(call: Callable[[], object], device: torch.device) -> float:
    """Of a call: the median of rounds of at least BLOCK_S."""
    for _ in range(2):
        call()
    _wait(device)
    rounds = []
    for _ in range(ROUNDS):
        done, started_at = 0, time.perf_counter()
        while time.perf_counter() - started_at < BLOCK_S or not done:
            call()
            _wait(device)
            done += 1
        rounds.append((time.perf_counter() - started_at) / done)
    return statistics.median(rounds)


def _matrix_rate(device: torch.device) -> float:
    size = MATRIX if device.type == "cuda" else 512
    dtype = torch.float16 if device.type == "cuda" else torch.float32
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    return 2 * size**3 / _seconds(lambda: left @ right, device)


# -- embedding ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Sides:
    """Ways to embed the same windows.

    Attributes:
        inputs: 8 windows, on the CPU.
        expected: what the float32 model gives for them on the CPU, unit vectors.
        embed: by side.
        flop: of a window; None where nobody counts.
    """

    inputs: Tensor
    expected: Tensor
    embed: dict[str, Embed]
    flop: float | None


def _noise(samples: int) -> Tensor:
    return 0.1 * torch.randn(8, samples, generator=torch.Generator().manual_seed(0))


def _ours(config: ModelConfig, device: torch.device) -> _Sides:
    torch.manual_seed(0)
    model = DualEncoder(config).eval()
    return _of_torch(
        model.audio_tower,
        inputs=_noise(config.frontend.window_samples),
        before=model.frontend,
        after=lambda features: nn.functional.normalize(model.project_audio(features.float()), dim=1),
        parts=(model,),
        device=device,
    )


def _clap(device: torch.device) -> _Sides:
    from transformers import ClapConfig, ClapModel

    torch.manual_seed(0)
    model = ClapModel(ClapConfig()).eval()
    log_mel = -35 + 10 * torch.randn(8, 1, 1001, 64, generator=torch.Generator().manual_seed(0))

    class Audio(nn.Module):
        def forward(self, features: Tensor) -> Tensor:
            pooled: Tensor = model.audio_model(input_features=features).pooler_output
            return pooled

    tower = Audio()
    tower.model = model.audio_model
    return _of_torch(
        tower,
        inputs=log_mel,
        before=nn.Identity(),
        after=lambda pooled: nn.functional.normalize(model.audio_projection(pooled.float()), dim=1),
        parts=(model,),
        device=device,
    )


def _of_torch(
    tower: nn.Module,
    *,
    inputs: Tensor,
    before: nn.Module,
    after: Embed,
    parts: Sequence[nn.Module],
    device: torch.device,
) -> _Sides:
    """The tower in float16, between what stays float32."""
    with torch.inference_mode():
        with FlopCounterMode(display=False) as counter:
            expected = after(tower(before(inputs)))
        flop = counter.get_total_flops() / len(inputs)
    for part in parts:
        part.to(device)
    half = torch.float16 if device.type == "cuda" else torch.float32
    # Torch's overloads of `to` have no memory_format with a type or a device.
    tower.to(half, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def embed(windows: Tensor) -> Tensor:
        embedding: Tensor = after(tower(before(windows).to(half)))
        return embedding

    return _Sides(inputs, expected, {"torch": embed, "torch.compile": torch.compile(embed, dynamic=False)}, flop)


def _shipped(device: torch.device) -> _Sides:
    """The graph that ships, in ONNX Runtime; its inputs and outputs stay on the GPU."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    on_cpu = onnxruntime.InferenceSession(str(GRAPH), providers=["CPUExecutionProvider"])
    inputs = _noise(on_cpu.get_inputs()[0].shape[1])
    (expected,) = on_cpu.run(["embedding"], {"waveform": inputs.numpy()})

    def on_gpu(session: onnxruntime.InferenceSession) -> Embed:
        def embed(windows: Tensor) -> Tensor:
            binding = session.io_binding()
            binding.bind_input("waveform", "cuda", 0, np.float32, tuple(windows.shape), windows.data_ptr())
            binding.bind_output("embedding", "cuda")
            session.run_with_iobinding(binding)
            return torch.from_numpy(binding.copy_outputs_to_cpu()[0])

        return embed

    sides = {}
    for side, provider in PROVIDERS.items():
        if provider in onnxruntime.get_available_providers():
            onnxruntime.preload_dlls()
            session = onnxruntime.InferenceSession(str(GRAPH), providers=[provider])
            if provider in session.get_providers():  # its libraries are there too
                sides[f"ONNX Runtime, {side}"] = on_gpu(session)
    return _Sides(inputs, torch.from_numpy(expected), sides, None)


MODELS: dict[str, Callable[[torch.device], _Sides]] = {
    "the shipped graph": _shipped,
    "its learned half": lambda device: _ours(
        ModelConfig(**{**vars(load_recipe("starter").model), "text": NO_TEXT}), device
    ),
    "ResNet-50, width 64, 10 s": lambda device: _ours(
        ModelConfig(audio=AudioResNetConfig(width=64), text=NO_TEXT), device
    ),
    "CLAP (HTSAT), 10 s": _clap,
}


@torch.inference_mode()
def _embedding_rows(
    name: str, sides: _Sides, *, device: torch.device, batches: Sequence[int], matrix_rate: float
) -> Iterator[str]:
    if not sides.embed:
        yield f"| {name} | this ONNX Runtime opens nothing on a GPU |{' |' * (len(batches) + 2)}"
    for side, embed in sides.embed.items():
        times: dict[int, float] = {}
        windows = sides.inputs.to(device)
        try:
            found = embed(windows).float().cpu()
            for batch in batches:
                if side == "torch.compile" and batch != COMPILED:
                    continue
                repeated = torch.cat([windows] * math.ceil(batch / len(windows)))[:batch]
                times[batch] = _seconds(lambda: embed(repeated), device)  # noqa: B023
        except (RuntimeError, torch.OutOfMemoryError) as exc:
            yield f"| {name} | {side} failed: {' '.join(str(exc).split())[:100]} |{' |' * (len(batches) + 2)}"
            continue
        told = {batch: f"{1e3 * seconds:.2f}, {batch / seconds:,.0f}" for batch, seconds in times.items()}
        cells = [told.get(batch, "") for batch in batches]
        best = max((batch / seconds for batch, seconds in times.items()), default=0.0)
        share = f"{best * sides.flop / matrix_rate:.0%}" if sides.flop else ""
        cosine = float(nn.functional.cosine_similarity(found, sides.expected, dim=1).min())
        yield f"| {name} | {side} | {' | '.join(cells)} | {share} | {cosine:.5f} |"


# -- training ----------------------------------------------------------------------------------------------


def _training_row(name: str, *, device: torch.device, batch_size: int | None) -> str:
    # Published weights are not at hand, and speed does not depend on them.
    config = load_recipe(name, overrides=["model.audio.init_from=null"] if name == "mulan_ast" else [])
    optim, size = config.optim, batch_size or config.optim.batch_size
    peak = ""
    try:
        if device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(device)
        seconds = _step_s(config, size=size, device=device)
        if device.type == "cuda":
            peak = f"{torch.cuda.max_memory_allocated(device) / 1e9:.1f} GB"
    except (RuntimeError, torch.OutOfMemoryError) as exc:
        return f"| {name} | {size} | failed: {' '.join(str(exc).split())[:100]} | | | |"
    chunk = f", {optim.chunk_size} at a time" if optim.chunk_size else ""
    return f"| {name} | {size}{chunk} | {optim.precision} | {size / seconds:,.0f} | {seconds:.2f} | {peak} |"


def _step_s(config: Config, *, size: int, device: torch.device) -> float:
    """What a step of training takes, as `train.loop` makes it."""
    torch.manual_seed(0)
    model = DualEncoder(config.model).train()
    # Torch's overloads of `to` have no memory_format with a device.
    model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    rows = [Row(Path("none"), ("",), str(row), "train", ("music", str(row % 9))) for row in range(size)]
    objective = Objective(config.loss, rows=rows, width=model.audio_tower.width).to(device)
    optimizer = build_optimizer(model, objective, config.optim)
    if config.optim.compile:
        model.audio_tower.compile()
    dtype = DTYPES[config.optim.precision]
    waveforms = 0.1 * torch.randn(min(size, 64), config.model.frontend.window_samples)
    waveforms = torch.cat([waveforms] * math.ceil(size / len(waveforms)))[:size]
    ids = torch.randint(5, config.model.text.vocab_size, (size, TOKENS))
    sentences = nn.functional.normalize(torch.randn(size, 384, device=device), dim=1)
    autocast = torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32)

    def features(part: Tensor) -> Tensor:
        log_mel = model.log_mel(part)
        with autocast:
            return model.audio_features(log_mel)

    def encode(part: slice) -> list[Tensor]:
        some = waveforms[part].to(device, non_blocking=True)
        heard = features(some)
        tokens = ids[part].to(device)
        with autocast:
            encoded = [heard, model.project_audio(heard), model.embed_text(tokens, torch.ones_like(tokens))]
        if config.loss.views_share:
            encoded.append(features(torch.cat([some, some])).unflatten(0, (2, len(some))).transpose(0, 1))
        return encoded

    def loss_of(heard: Tensor, audio: Tensor, text: Tensor, *views: Tensor) -> Tensor:
        loss: Tensor = objective(
            heard,
            audio=audio,
            text=text,
            views=views[0] if views else None,
            places=torch.arange(size, device=device),
            captioned=torch.ones(size, dtype=torch.bool, device=device),
            sentences=sentences,
            temperature=model.log_temperature.exp(),
        )
        return loss

    chunk = config.optim.chunk_size or size
    spent_s = []
    for _ in range(STEPS + 1):
        started_at = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        chunks = [slice(first, first + chunk) for first in range(0, size, chunk)]
        backward_in_chunks(chunks, model=model, encode=encode, loss_of=loss_of)
        torch.nn.utils.clip_grad_norm_([*model.parameters(), *objective.parameters()], config.optim.clip_norm)
        optimizer.step()
        _wait(device)
        spent_s.append(time.perf_counter() - started_at)
    return statistics.median(spent_s[1:])


# -- the index ---------------------------------------------------------------------------------------------


def _index_line() -> str:
    if importlib.util.find_spec("hnswlib") is None:
        return "hnswlib is not installed here: the search index, which CPUs build, was not measured."
    from client.index.hnsw import HnswIndex

    rng = np.random.default_rng(0)
    axes = np.linalg.qr(rng.standard_normal((DIM, AXES)))[0].astype(np.float32)
    index = HnswIndex(dim=DIM, axes=axes)
    started_at = time.perf_counter()
    for first in range(0, GRAPH_ROWS, 8_192):
        rows = rng.standard_normal((min(8_192, GRAPH_ROWS - first), 32)).astype(np.float32) @ axes[:, :32].T
        index.add(np.arange(first, first + len(rows)), rows / np.linalg.norm(rows, axis=1, keepdims=True))
    seconds = time.perf_counter() - started_at
    return (
        f"The search index is the {os.cpu_count()} cores' work: {GRAPH_ROWS:,} vectors along {AXES} axes in "
        f"{seconds:.0f} s."
    )
