"""What does a window or a text cost in ONNX Runtime, and what in torch with the same weights?"""

import dataclasses
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from unittest import mock

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from bench.processes import in_a_process
from client import MusicSearch
from export.hard_items import hard_signals
from export.int8 import quantise
from export.sources import AudioWindow
from export.tensorrt_check.ranges import widen
from export.towers import export_audio, export_text, type_embeddings, type_float16
from tests.lived_in import live_in
from train.config import AudioResNetConfig, ModelConfig, TextBertConfig, load_recipe
from train.data.audio import load_crop
from train.data.tokenizer import TextTokenizer
from train.dual_encoder import DualEncoder
from train.pretrained import pretrained_folder
from train.towers.text_bert import TextBert

Result = TypeVar("Result")

TITLE = "Export: ONNX Runtime beside torch"
PROJECT = Path(__file__).parents[1]
CACHE = Path(__file__).parent / "cache"
COLLECTION = PROJECT / "demo/collection"
MINILM = "all-MiniLM-L6-v2"
ROUNDS, BLOCK_S = 5, 0.2  # a side runs for about BLOCK_S, then the next one does
SLOW_S, SLOW_ROUNDS = 2.0, 3  # of a call
THREADS, BATCHES, LENGTHS = (1, 2), (1, 8), (8, 16, 77)
REAL_WINDOWS = 8
SGEMM = 2048
PRODUCTS = ("torch", "NumPy", "ONNX Runtime")
ONNX_SIDES = ("float16", "float32", "int8")

# The half of a dual encoder that is not measured.
_NO_TEXT = TextBertConfig(init_from=None, vocab_size=64, hidden=32, layers=1, heads=2, feed_forward=64)
_NO_AUDIO = AudioResNetConfig(width=2, blocks=(1, 1, 1, 1), features=32)
_AST = load_recipe("mulan_ast", overrides=["model.audio.init_from=null"]).model

AUDIO = {
    "ResNet-50, width 16, 20 s": dataclasses.replace(load_recipe("muscall").model, text=_NO_TEXT),
    "ResNet-50, width 64, 10 s": ModelConfig(audio=AudioResNetConfig(width=64), text=_NO_TEXT),
    "AST, 10 s": dataclasses.replace(_AST, text=_NO_TEXT),
}
TEXT = {
    "MiniLM, mean": ModelConfig(audio=_NO_AUDIO),
    "BERT-base, CLS": ModelConfig(audio=_NO_AUDIO, text=load_recipe("mulan_resnet").model.text),
}
PRODUCTS_BESIDE = "ResNet-50, width 64, 10 s"
ONE_THREAD_TOO_SLOW = "AST, 10 s"  # eight windows on one thread take most of a minute


@dataclass(frozen=True)
class Cell:
    """Medians in seconds a call, by side: of ONNX_SIDES or PRODUCTS, "eager" or "compile"."""

    threads: int
    batch: int
    length: int
    times: dict[str, float]

    def per_item_ms(self, side: str) -> float:
        return 1e3 * self.times[side] / self.batch

    def ratio(self, side: str, *, to: str = "float16") -> str:
        return f"{self.times[side] / self.times[to]:.2f}"


@dataclass(frozen=True)
class Measured:
    """One tower: `worst_cosine` by graph is to the float32 graph over all items, `sizes` are in bytes."""

    cells: list[Cell]
    gflop: float
    worst_cosine: dict[str, float]
    sizes: dict[str, int]


def measure() -> str:
    audio = {name: in_a_process(_measure_audio, name) for name in AUDIO}
    text = {name: in_a_process(_measure_text, name) for name in TEXT}
    return "\n\n".join(
        [
            f"Random weights (MiniLM: the published ones), the same on every side. The sides alternate in one process, "
            f"{ROUNDS} rounds of {BLOCK_S:g} s each ({SLOW_ROUNDS} calls where one takes {SLOW_S:g} s), medians. The "
            "graph is the typed float16 one, which serves CPU and GPU; *float32*, *eager* and *compile* are the times "
            "of its float32 twin, of torch and of torch.compile, in float32 all, over its own; torch's log-mel is an "
            "FFT, the graph's a convolution. Left out is the "
            f"{ONE_THREAD_TOO_SLOW}, at batch {BATCHES[-1]} on one thread: a call takes most of a minute.",
            _audio_table(audio),
            _products_table(audio[PRODUCTS_BESIDE]),
            _text_table(text),
            _length_lines(text),
            _precision_table(audio | text),
            in_a_process(_int8_recall),
        ]
    )


def _audio_table(audio: dict[str, Measured]) -> str:
    lines = [
        "| audio | GFLOP a window | threads | batch | ms a window | float32 | eager | compile |",
        "|---|" + "---|" * 7,
    ]
    for name, measured in audio.items():
        for cell in measured.cells:
            ratios = " | ".join(cell.ratio(side) for side in ("float32", "eager", "compile"))
            lines.append(
                f"| {name} | {measured.gflop:.1f} | {cell.threads} | {cell.batch} | "
                f"{cell.per_item_ms('float16'):.1f} | {ratios} |"
            )
    return "\n".join(lines)


def _text_table(text: dict[str, Measured]) -> str:
    lines = ["| text | threads | batch | tokens | ms a text | float32 | eager | compile | int8 |", "|---|" + "---|" * 8]
    for name, measured in text.items():
        for cell in measured.cells:
            ratios = " | ".join(cell.ratio(side) for side in ("float32", "eager", "compile", "int8"))
            lines.append(
                f"| {name} | {cell.threads} | {cell.batch} | {cell.length} | "
                f"{cell.per_item_ms('float16'):.2f} | {ratios} |"
            )
    return "\n".join(lines)


def _products_table(measured: Measured) -> str:
    lines = [
        f"The {PRODUCTS_BESIDE}, beside the {SGEMM}x{SGEMM} float32 matrix product of three libraries, which alternate "
        "with it: its share of the rate of each, the fastest one's in bold. Counted are convolutions and matrix "
        "products, in torch. Near 1 the graph runs as fast as a BLAS computes: beyond it are only fewer operations "
        "(Winograd's convolutions, a pruned tower), lower precision (the BF16 or INT8 instructions of newer "
        "processors) or more cores. The torch and NumPy of PyPI compute with MKL and OpenBLAS.",
        "",
        f"| threads | batch | GFLOP/s | {' | '.join(f'of {name}' for name in PRODUCTS)} |",
        "|---|" + "---|" * (2 + len(PRODUCTS)),
    ]
    for cell in measured.cells:
        graph = measured.gflop * cell.batch / cell.times["float16"]
        rates = {name: 2e-9 * SGEMM**3 / cell.times[name] for name in PRODUCTS}
        fastest = max(rates, key=rates.__getitem__)
        shares = {name: f"{graph / rate:.2f} ({rate:.0f} GFLOP/s)" for name, rate in rates.items()}
        shares[fastest] = f"**{shares[fastest]}**"
        lines.append(f"| {cell.threads} | {cell.batch} | {graph:.0f} | {' | '.join(shares.values())} |")
    return "\n".join(lines)


def _length_lines(text: dict[str, Measured]) -> str:
    lines = []
    for name, measured in text.items():
        times = {
            (cell.batch, cell.length): cell.times["float16"] for cell in measured.cells if cell.threads == THREADS[-1]
        }
        one, eight = (times[batch, LENGTHS[-1]] / times[batch, 16] for batch in BATCHES)
        lines.append(
            f"{name}: one text of {LENGTHS[-1]} tokens takes {one:.1f} times as long as one of 16, and {BATCHES[-1]} "
            f"take {eight:.1f} times as long ({THREADS[-1]} threads)."
        )
    lines.append(
        "We had wanted 3 times for one text: a short one alone is bound by reading the weights, as int8's gain shows."
    )
    return "\n".join(lines)


def _precision_table(measured: dict[str, Measured]) -> str:
    lines = [
        "| to float32, on ONNX Runtime | worst cosine float16 | int8 | MB float32 | float16 | int8 |",
        "|---|---|---|---|---|---|",
    ]
    for name, one in measured.items():
        cosines = (f"{one.worst_cosine[side]:.6f}" if side in one.worst_cosine else "" for side in ("float16", "int8"))
        sizes = (f"{one.sizes[side] / 1e6:.1f}" if side in one.sizes else "" for side in ("float32", "float16", "int8"))
        lines.append(f"| {name} | {' | '.join((*cosines, *sizes))} |")
    parity = json.loads((PROJECT / "model_repository/parity.json").read_text(encoding="utf-8"))
    worst = parity["graphs"]["audio_encoder"]["worst_cosine"]
    lines += [
        "",
        f"The worst of the shipped, trained one is {worst:.6f} (`parity.json`). The random ResNets have BatchNorms as "
        "trained (`tests/lived_in.py`): the gain of the residual branches decides how rounding grows with depth.",
    ]
    return "\n".join(lines)


def _measure_audio(name: str) -> Measured:
    config = AUDIO[name]
    window = AudioWindow(config.frontend.sample_rate_hz, config.frontend.window_samples)
    torch.manual_seed(0)
    model = DualEncoder(config).eval()
    signals = np.stack(list(hard_signals(window).values()))
    live_in(model, window=window)
    graphs = {
        "float16": export_audio(type_float16(model), samples=window.samples).SerializeToString(),
        "float32": export_audio(model, samples=window.samples).SerializeToString(),
    }
    embed = _compiled(model.embed_audio, dynamic=False)
    cells = []
    for threads in THREADS:
        sessions = {side: open_graph(graph, threads=threads) for side, graph in graphs.items()}
        for batch in BATCHES:
            if name == ONE_THREAD_TOO_SLOW and threads == 1 and batch > 1:
                continue
            waveform = np.resize(signals, (batch, window.samples))
            sides = _sides(sessions, {"waveform": waveform}, eager=model.embed_audio, compiled=embed)
            if name == PRODUCTS_BESIDE:
                sides |= _products(threads=threads)
            cells.append(Cell(threads, batch, 0, alternate(sides, threads=threads)))
    items = [*signals, *real_windows(window)]
    sessions = {side: open_graph(graph, threads=THREADS[-1]) for side, graph in graphs.items()}
    embeddings = {
        side: np.concatenate([session.run(None, {"waveform": item[None]})[0] for item in items])
        for side, session in sessions.items()
    }
    with mock.patch.object(torch.compiler, "is_exporting", return_value=True):  # the graph's convolution, and no FFT
        gflop = _count_gflop(model.embed_audio, torch.zeros(1, window.samples))
    return Measured(cells, gflop, _worst_cosines(embeddings), {side: len(graph) for side, graph in graphs.items()})


def _measure_text(name: str) -> Measured:
    config = TEXT[name]
    torch.manual_seed(0)
    model = DualEncoder(config).eval()
    tower = model.text_tower
    if isinstance(config.text, TextBertConfig) and isinstance(tower, TextBert) and config.text.init_from == MINILM:
        tower.load_pretrained(pretrained_folder(MINILM, key="text.init_from"))
    max_tokens = config.text.max_tokens
    typed = {"float16": type_float16(model), "float32": model, "int8": type_embeddings(model)}
    exported = {side: export_text(twin, max_tokens=max_tokens) for side, twin in typed.items()}
    exported["int8"] = quantise(exported["int8"])
    graphs = {side: graph.SerializeToString() for side, graph in exported.items()}
    embed = _compiled(model.embed_text, dynamic=True)
    cells = []
    for threads in THREADS:
        sessions = {side: open_graph(graph, threads=threads) for side, graph in graphs.items()}
        for batch in BATCHES:
            for length in LENGTHS:
                ids = np.random.default_rng(0).integers(1_000, config.text.vocab_size, (batch, length), dtype=np.int32)
                feed = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
                sides = _sides(sessions, feed, eager=model.embed_text, compiled=embed)
                cells.append(Cell(threads, batch, length, alternate(sides, threads=threads)))
    tokenizer_file = pretrained_folder(MINILM, key="text.init_from") / "tokenizer.json"
    tokenizer = TextTokenizer(tokenizer_file.read_text(encoding="utf-8"), max_tokens=max_tokens)
    _, captions = read_captions()
    sessions = {side: open_graph(graph, threads=THREADS[-1]) for side, graph in graphs.items()}
    embeddings = {side: _embed_texts(session, captions, tokenizer=tokenizer) for side, session in sessions.items()}
    tokens = torch.ones(1, LENGTHS[-1], dtype=torch.int32)
    gflop = _count_gflop(model.embed_text, tokens, tokens)
    return Measured(cells, gflop, _worst_cosines(embeddings), {side: len(graph) for side, graph in graphs.items()})


def _int8_recall() -> str:
    """The shipped model's text graph, as it is and quantized, on the demo collection."""
    graph = onnx.load(PROJECT / "model_repository/text_encoder/1/model.onnx")
    tokenizer_file = PROJECT / "model_repository/text_tokenizer/1/tokenizer.json"
    tokenizer = TextTokenizer(tokenizer_file.read_text(encoding="utf-8"), max_tokens=LENGTHS[-1])
    rows, captions = read_captions()
    owners = np.array([index for index, row in enumerate(rows) for _ in row["captions"]])
    with tempfile.TemporaryDirectory() as library, MusicSearch(library) as ms:
        audio = ms.embed_audio([COLLECTION / row["audio"] for row in rows])
    recalls = {}
    for side, one in {"float16": graph, "int8": quantise(widen(graph))}.items():
        session = open_graph(one.SerializeToString(), threads=THREADS[-1])
        text = _embed_texts(session, captions, tokenizer=tokenizer)
        best = np.argsort(-(text @ audio.T), axis=1)[:, :10]
        recalls[side] = 100 * float((best == owners[:, None]).any(axis=1).mean())
    return (
        f"The shipped model's text graph quantized to int8: text→audio R@10 {recalls['int8']:.1f} % against "
        f"{recalls['float16']:.1f} % ({len(captions)} captions of the {len(rows)} tracks of the demo collection)."
    )


def _sides(
    sessions: dict[str, onnxruntime.InferenceSession],
    feed: Mapping[str, NDArray[np.float32] | NDArray[np.int32]],
    *,
    eager: Callable[..., Any],
    compiled: Callable[..., Any],
) -> dict[str, Callable[[], object]]:
    tensors = [torch.from_numpy(array) for array in feed.values()]
    graphs: dict[str, Callable[[], object]] = {
        side: partial(session.run, None, feed) for side, session in sessions.items()
    }
    return graphs | {"eager": lambda: eager(*tensors), "compile": lambda: compiled(*tensors)}


def _products(*, threads: int) -> dict[str, Callable[[], object]]:
    """One matrix product by each of PRODUCTS; that of torch has the threads that torch is set to."""
    threadpool_limits(threads, user_api="blas")  # NumPy's, from here on
    a, b = np.random.default_rng(0).random((2, SGEMM, SGEMM), dtype=np.float32)
    out = np.empty_like(a)
    tensors = [torch.from_numpy(array) for array in (a, b, out)]
    size = f"float[{SGEMM},{SGEMM}]"
    graph = onnx.parser.parse_model(
        f'<ir_version: 10, opset_import: ["": 18]> product ({size} a, {size} b) => ({size} c) {{ c = MatMul(a, b) }}'
    )
    session = open_graph(graph.SerializeToString(), threads=threads)
    return {
        "torch": lambda: torch.mm(*tensors[:2], out=tensors[2]),
        "NumPy": lambda: np.matmul(a, b, out=out),
        "ONNX Runtime": lambda: session.run(None, {"a": a, "b": b}),
    }


def alternate(sides: Mapping[str, Callable[[], object]], *, threads: int) -> dict[str, float]:
    """Median seconds a call of each side."""
    torch.set_num_threads(threads)
    with torch.inference_mode():
        once = {}
        for name, run in sides.items():
            run()  # compiles, and fills caches
            once[name] = _time(run, calls=1)
        rounds = SLOW_ROUNDS if max(once.values()) > SLOW_S else ROUNDS
        calls = {name: max(1, round(BLOCK_S / seconds)) for name, seconds in once.items()}
        times: dict[str, list[float]] = {name: [] for name in sides}
        for _ in range(rounds):
            for name, run in sides.items():
                times[name].append(_time(run, calls=calls[name]))
    return {name: statistics.median(measured) for name, measured in times.items()}


def _time(run: Callable[[], object], *, calls: int) -> float:
    started = time.perf_counter()
    for _ in range(calls):
        run()
    return (time.perf_counter() - started) / calls


def open_graph(graph: bytes, *, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # Else its threads go on waiting actively while another side is measured.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def _compiled(embed: Callable[..., Any], *, dynamic: bool) -> Callable[..., Any]:
    """One compilation serves every number of threads; it is kept for the next run of the bench."""
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(CACHE / "inductor"))
    import torch._inductor.config as inductor  # imports slowly

    inductor.cpp.dynamic_threads = True
    return torch.compile(embed, dynamic=dynamic)


def _count_gflop(embed: Callable[..., Any], *inputs: torch.Tensor) -> float:
    # The counter knows no fused attention of the CPU; by the formula it is made of products that it does know.
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        embed(*inputs)
    flops: int = counter.get_total_flops()
    return flops / 1e9


def _worst_cosines(embeddings: dict[str, NDArray[np.float32]]) -> dict[str, float]:
    truth = embeddings["float32"]
    return {side: float((rows * truth).sum(axis=1).min()) for side, rows in embeddings.items() if side != "float32"}


def _embed_texts(
    session: onnxruntime.InferenceSession, texts: Sequence[str], *, tokenizer: TextTokenizer
) -> NDArray[np.float32]:
    rows = []
    for text in texts:
        ids, mask = (part.numpy().astype(np.int32) for part in tokenizer([text]))
        rows.append(session.run(None, {"input_ids": ids, "attention_mask": mask})[0])
    return np.concatenate(rows)


def read_captions() -> tuple[list[dict[str, Any]], list[str]]:
    rows = [json.loads(line) for line in (COLLECTION / "manifest.jsonl").read_text(encoding="utf-8").splitlines()]
    return rows, [caption for row in rows for caption in row["captions"]]


def real_windows(window: AudioWindow) -> list[NDArray[np.float32]]:
    rows, _ = read_captions()
    files = [COLLECTION / row["audio"] for row in rows[:: max(1, len(rows) // REAL_WINDOWS)][:REAL_WINDOWS]]
    return [load_crop(file, sample_rate_hz=window.sample_rate_hz, samples=window.samples, window=0) for file in files]
