"""The parity check: a graph is written only if it agrees with torch on real music, hard signals and all batch sizes.

Different items must also get different vectors. A tokenizer that knows no words, or a projection that collapsed in
training, gives every text the same vector. A graph of such a model agrees with torch and is useless.

For every item, three results are compared:

* torch in float32, the reference;
* the exported graph on ONNX Runtime's CPU provider;
* for a float16 graph, the float16 model in torch, which really rounds to float16.

The third one stands in for a GPU. The CPU provider widens float16 to float32, so it shows neither the rounding nor an
overflow. A GPU multiplies float16 values, sums in float32 and rounds the sum. `ProductsOfFloat16` does the same.

Then both graphs are compared together, on more captions: how many of torch's ten best windows for a text the graphs
find, and whether captions still find their own tracks.
"""

import itertools
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import onnxruntime
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torch.overrides import TorchFunctionMode

from export import ExportError
from export.hard_items import SILENCE
from export.parity_data import ParityData
from export.sources import Model
from export.towers import type_float16
from export.triton_config import ModelParameters, padded_lengths
from train.data.tokenizer import TextTokenizer

BATCHES = (17, 3, 2)  # sizes that the exporter did not see; each item is also run alone
TOP = 10
SEARCH_BATCH = 32  # captions
MAX_NORM_ERROR = 1e-4  # a vector is normalised in float32, so the real error is about 1e-7
# Upper limit of the median cosine of two different items in torch. Float16 may lower an item's cosine with torch by 1 -
# 0.9995. A cosine distance grows with the square of the Euclidean distance. So two items whose cosine distance is 4
# times that are only twice as far apart as rounding may move one of them. Working CLAPs give texts 0.2 to 0.3,
# laion/larger_clap_music 0.9993.
MAX_ALIKE = 0.998
# The precision of a score between 0.5 and 1. The best scores of a hardly trained model lie there. Scores that are
# closer than this in torch are equal in that precision, so either window may be the tenth. In INT8 only the weights of
# the text graph are quantised; the audio graph is float16.
SCORE_STEP = {"fp16": 2**-11, "fp32": 2**-24, "int8": 2**-11}
# A float32 sum of n products, in any order, equals the exact sum of inputs with a relative error of up to about sqrt(n)
# x 2^-24 (Higham and Mary 2019). The longest sums of a front end have n_fft = 1,024 terms. The error is 114 dB below
# each sample, which nobody hears. But it changes cells that are 100 dB below the partials of a chord, and the vector
# depends on those cells.
ROUNDING = 1024**0.5 * 2**-24


@dataclass(frozen=True)
class Thresholds:
    """The limits that a graph must meet.

    Args:
        min_cosine: minimum cosine of each item with torch in float32. An item that is sensitive to rounding has a lower
            limit: the cosine in torch between the item and the same item after its samples are changed by ROUNDING.
        max_deviation: largest difference of any component between an item alone and in a batch, padded or not.
        min_overlap: minimum share of torch's ten best windows for a text that the graphs also find, mean over all
            texts, 0 to 1.
        max_recall_drop: maximum drop of R@10, as a fraction: the captions whose own track leaves the ten best, minus
            the captions whose own track enters them. At least one caption is allowed, however few there are.

    Raises:
        ExportError: a limit is negative or NaN, or a cosine or share is above 1.
    """

    min_cosine: float
    min_overlap: float
    max_deviation: float = 1e-5
    max_recall_drop: float = 0.002

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if math.isnan(value) or value < 0:
                raise ExportError(f"the threshold {name} is {value}; give a number of at least 0")
        for name in ("min_cosine", "min_overlap"):
            if getattr(self, name) > 1:
                raise ExportError(
                    f"the threshold {name} is {getattr(self, name)}, which no graph reaches; give 1 or less"
                )


# Limits by precision. Float32 differs from torch only in the order of its sums. INT8 was measured at 0.9992
# (export.int8). For 486 captions, INT8 finds 98.8 % of the shipped model's ten best windows. Errors as large as those
# of float16 leave 99.9 %.
STRICT = {
    "fp16": Thresholds(min_cosine=0.9995, min_overlap=0.99),
    "fp32": Thresholds(min_cosine=0.999999, min_overlap=0.998),
    "int8": Thresholds(min_cosine=0.995, min_overlap=0.97),
}


@dataclass(frozen=True)
class ItemParity:
    """The result of one item.

    Args:
        cosine: of the graph's vector with that of torch in float32.
        float16_cosine: of torch in float16 with torch in float32; None if the graph is not in float16.
        max_error: largest difference of a component from torch in float32.
        deviation: largest difference of a component between the item alone and in any batch or padding.
    """

    name: str
    cosine: float
    float16_cosine: float | None
    max_error: float
    deviation: float


@dataclass(frozen=True)
class GraphParity:
    """The comparison of one graph with torch in float32.

    Args:
        truth: torch's vectors, float32 [items, dim] with unit rows.
        exported: the graph's vectors, float32 [items, dim] with unit rows.
        uncounted: items that need not agree with torch. They must have unit norm and must not depend on their
            neighbours in the batch.
    """

    graph: str
    items: tuple[ItemParity, ...]
    truth: NDArray[np.float32] = field(repr=False)
    exported: NDArray[np.float32] = field(repr=False)
    uncounted: frozenset[str] = frozenset()

    @property
    def worst_cosine(self) -> float:
        return min(item.cosine for item in self.items if item.name not in self.uncounted)

    @property
    def mean_cosine(self) -> float:
        return float(np.mean([item.cosine for item in self.items if item.name not in self.uncounted]))

    @property
    def worst_float16_cosine(self) -> float | None:
        counted = (item.float16_cosine for item in self.items if item.name not in self.uncounted)
        return min((cosine for cosine in counted if cosine is not None), default=None)

    @property
    def max_error(self) -> float:
        return max(item.max_error for item in self.items)

    @property
    def deviation(self) -> float:
        return max(item.deviation for item in self.items)


@dataclass(frozen=True)
class SearchParity:
    """The comparison of both graphs' search results with those of torch in float32.

    Args:
        top_10_overlap: share of the graphs' ten best windows that are among torch's, mean over `texts` texts. A window
            also counts if torch scores it as high as its tenth, within one step of the precision.
        captions: number of captions that R@10 is measured on, those of `tracks`.
        tracks: number of tracks that R@10 is measured on, those with windows.
        torch_recall: R@10 of captions that find their own track, in torch, a fraction; None for at most ten tracks.
        recall: the same for the graphs.
    """

    top_10_overlap: float
    texts: int
    captions: int
    tracks: int
    torch_recall: float | None
    recall: float | None

    def sentence(self) -> str:
        overlap = (
            f"For {self.texts} texts, {100 * self.top_10_overlap:.1f} % of the ten best windows are those of PyTorch"
        )
        if self.recall is None or self.torch_recall is None:
            return f"{overlap}; R@10 is not measured, because the parity data has at most ten tracks."
        return (
            f"{overlap}; R@10 of {self.captions} captions among {self.tracks} tracks is {100 * self.recall:.1f} % "
            f"({100 * self.torch_recall:.1f} % in PyTorch)."
        )


@dataclass(frozen=True)
class Parity:
    """All results of the parity check. Pairs are (audio graph, text graph).

    Args:
        precisions: "fp16", "fp32" or "int8".
        accepted: the limits that were met.
    """

    precisions: tuple[str, str]
    accepted: tuple[Thresholds, Thresholds]
    audio: GraphParity
    text: GraphParity
    search: SearchParity

    @property
    def worst_cosine(self) -> float:
        """The worst cosine of all items of both graphs, float16 arithmetic included."""
        graphs = (self.audio, self.text)
        return min(
            cosine
            for cosines in ((graph.worst_cosine, graph.worst_float16_cosine) for graph in graphs)
            for cosine in cosines
            if cosine is not None
        )

    def rows(self) -> list[tuple[str, str, str]]:
        """A table for people, with the columns label, audio graph, text graph."""
        labels = (
            "precision",
            "items compared with PyTorch in float32",
            "cosine, worst",
            "cosine, mean",
            "cosine, worst in float16 arithmetic",
            "largest error of a component",
            "largest difference between alone and in a batch or padded",
        )
        audio, text = (
            (
                precision,
                str(len(graph.items)),
                f"{graph.worst_cosine:.7f}",
                f"{graph.mean_cosine:.7f}",
                "-" if graph.worst_float16_cosine is None else f"{graph.worst_float16_cosine:.7f}",
                f"{graph.max_error:.0e}",
                f"{graph.deviation:.0e} of {accept.max_deviation:.0e}",
            )
            for graph, precision, accept in zip((self.audio, self.text), self.precisions, self.accepted, strict=True)
        )
        return list(zip(labels, audio, text, strict=True))

    def to_json(self, parameters: ModelParameters) -> str:
        """The content of `parity.json`, rounded so that the last bit of a sum changes nothing."""
        graphs = (self.audio, self.text)
        content = {
            "model_name": parameters.model_name,
            "fingerprint": parameters.fingerprint,
            "graphs": {
                graph.graph: {
                    "precision": precision,
                    "accepted": asdict(accept),
                    "worst_cosine": graph.worst_cosine,
                    "mean_cosine": graph.mean_cosine,
                    "worst_float16_cosine": graph.worst_float16_cosine,
                    "max_error": graph.max_error,
                    "deviation": graph.deviation,
                    "items": [asdict(item) for item in graph.items],
                }
                for graph, precision, accept in zip(graphs, self.precisions, self.accepted, strict=True)
            },
            "search": asdict(self.search),
        }
        return json.dumps(round_numbers(content), ensure_ascii=False, indent=1) + "\n"


def float32_needed(
    model: Model, groups: Sequence[tuple[str, ...]], windows: Mapping[str, NDArray[np.float32]], *, min_cosine: float
) -> tuple[str, ...]:
    """Return the modules that must stay float32 for float16 to pass with some margin.

    These are the names in the first `groups`: as few groups as possible, at least one, and all if no number of groups
    is enough. The margin is half of what the check allows. The rounding of the graph itself and the search use the
    rest.
    """
    if not groups:
        return ()
    counted = [(window[None],) for name, window in windows.items() if name != SILENCE]
    truth = _in_torch(model.embed_audio, counted)
    kept: tuple[str, ...] = ()
    for group in groups:
        kept += group
        typed = type_float16(model, float32=kept)
        if _cosines(truth, _in_torch(typed.embed_audio, counted)).min() >= 1 - (1 - min_cosine) / 2:
            break
    return kept


def check_audio(
    graph: bytes, windows: Mapping[str, NDArray[np.float32]], *, model: Model, typed: Model | None, accept: Thresholds
) -> GraphParity:
    """Compare the audio graph with `model`.

    Args:
        typed: the float16 model that the graph was exported from, if any.

    Raises:
        ExportError: different windows get the same vector, the cosine of an item is too low, or a vector has no unit
            norm or depends on its neighbours in the batch.
    """
    run = _open(graph)
    waveforms = np.stack(list(windows.values()))
    items = [(waveform[None],) for waveform in waveforms]
    truth = _in_torch(model.embed_audio, items)

    def rounded(row: int) -> float:
        noise = np.random.default_rng(0).standard_normal(waveforms.shape[1])
        changed = (waveforms[row] * (1 + ROUNDING * noise)).astype(np.float32)
        return float(_cosines(truth[row : row + 1], _in_torch(model.embed_audio, [(changed[None],)]))[0])

    return _compare(
        "audio_encoder",
        list(windows),
        truth=truth,
        rounded=rounded,
        uncounted=frozenset({SILENCE}),
        float16=_in_torch(typed.embed_audio, items) if typed else None,
        exported=np.concatenate([run(waveform) for (waveform,) in items]),
        variants=[
            (f"in a batch of {len(rows)}", rows, run(waveforms[rows]))
            for rows in shuffled_batches(np.arange(len(waveforms)))
        ],
        accept=accept,
    )


def check_text(
    graph: bytes,
    texts: Sequence[str],
    *,
    model: Model,
    typed: Model | None,
    tokenizer: TextTokenizer,
    max_tokens: int,
    accept: Thresholds,
) -> GraphParity:
    """Compare the text graph with `model`, without padding and padded to each served length in a batch.

    Raises:
        ExportError: different texts get the same vector, the cosine of an item is too low, or a vector has no unit norm
            or depends on padding or on its neighbours in the batch.
    """
    run = _open(graph)
    tokens = [tuple(part.numpy().astype(np.int32) for part in tokenizer([text])) for text in texts]
    variants = []
    for length in padded_lengths(max_tokens):
        fitting = np.array([index for index, (ids, _) in enumerate(tokens) if ids.shape[1] <= length], dtype=int)
        for rows in shuffled_batches(fitting):
            ids, mask = ([tokens[index][part] for index in rows] for part in (0, 1))
            padded = (_pad(ids, length=length, value=tokenizer.pad_id), _pad(mask, length=length, value=0))
            variants.append((f"padded to {length} tokens in a batch of {len(rows)}", rows, run(*padded)))
    return _compare(
        "text_encoder",
        texts,
        truth=_in_torch(model.embed_text, tokens),
        float16=_in_torch(typed.embed_text, tokens) if typed else None,
        exported=np.concatenate([run(ids, mask) for ids, mask in tokens]),
        variants=variants,
        accept=accept,
    )


def embed_captions(
    graph: bytes, captions: Sequence[str], *, model: Model, tokenizer: TextTokenizer
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Embed each caption with torch in float32 and with the graph: float32 [captions, dim] twice, unit rows."""
    run = _open(graph)
    truth, exported = [], []
    order = sorted(range(len(captions)), key=lambda row: len(captions[row]))  # similar lengths need little padding
    for start in range(0, len(order), SEARCH_BATCH):
        tokens = tokenizer([captions[row] for row in order[start : start + SEARCH_BATCH]])
        items = tuple(part.numpy().astype(np.int32) for part in tokens)
        truth.append(_in_torch(model.embed_text, [items]))
        exported.append(run(*items))
    rows = np.argsort(order)
    return np.concatenate(truth)[rows], np.concatenate(exported)[rows]


def check_search(
    audio: GraphParity,
    captions: tuple[NDArray[np.float32], NDArray[np.float32]],
    *,
    data: ParityData,
    accept: Thresholds,
    step: float = 0.0,
) -> SearchParity:
    """Compare which windows and tracks the captions find in torch and with the graphs.

    The vector of a track is the normalised mean of its windows.

    Args:
        captions: the vectors of `data.text_tracks`, in its order, as `embed_captions` returns them.
        step: scores in torch that differ by at most this are equal; SCORE_STEP of the graphs' precision.

    Raises:
        ExportError: the ten best windows differ by more than `accept` allows, or R@10 drops by more.
    """
    sides = list(zip(captions, (audio.truth, audio.exported), strict=True))
    by_torch, by_graphs = (texts @ windows.T for texts, windows in sides)
    tenth = np.take_along_axis(by_torch, _best(by_torch), axis=1)[:, -1:]
    overlap = float((np.take_along_axis(by_torch, _best(by_graphs), axis=1) >= tenth - step).mean())
    if not overlap >= accept.min_overlap:
        raise ExportError(
            f"the graphs find other windows than torch: they find a share of {overlap:.4f} of torch's ten best "
            f"windows for a text (mean of {len(by_torch)} texts), expected at least {accept.min_overlap:g}"
        )

    tracks = sorted(set(data.window_tracks.values()))
    heard = [row for row, track in enumerate(data.text_tracks.values()) if track in tracks]
    own = [tracks.index(track) for track in data.text_tracks.values() if track in tracks]
    if len(tracks) <= TOP or not heard:
        return SearchParity(overlap, len(by_torch), len(heard), len(tracks), None, None)
    names = [item.name for item in audio.items]
    members = [[row for row, name in enumerate(names) if data.window_tracks.get(name) == track] for track in tracks]
    found = []
    for texts, windows in sides:
        vectors = np.stack([windows[rows].mean(axis=0) for rows in members])
        scores = texts[heard] @ (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).T
        ranks = (scores >= scores[np.arange(len(own)), own][:, None]).sum(axis=1)
        found.append(ranks <= TOP)
    before, after = found
    lost, gained = int((before & ~after).sum()), int((after & ~before).sum())
    if lost - gained > max(1, accept.max_recall_drop * len(heard)):
        raise ExportError(
            f"the graphs search worse than torch: of {len(heard)} captions, {lost} lose their own track from the "
            f"ten best and {gained} gain it, R@10 {before.mean():.3f} -> {after.mean():.3f}; expected a drop of at "
            f"most {accept.max_recall_drop:g}, or one caption"
        )
    return SearchParity(overlap, len(by_torch), len(heard), len(tracks), float(before.mean()), float(after.mean()))


def _compare(
    graph: str,
    names: Sequence[str],
    *,
    truth: NDArray[np.float32],
    float16: NDArray[np.float32] | None,
    exported: NDArray[np.float32],
    variants: Sequence[tuple[str, NDArray[np.int64], NDArray[np.float32]]],
    accept: Thresholds,
    rounded: Callable[[int], float] | None = None,
    uncounted: frozenset[str] = frozenset(),
) -> GraphParity:
    """Compare the vectors of one graph with those of torch and raise ExportError if they miss the limits.

    Args:
        truth: vectors of torch in float32, float32 [items, dim]; so are `float16` and `exported`.
        variants: each is a description, the rows of its items, and their vectors.
        rounded: returns the cosine in torch between an item and the same item changed by ROUNDING.
    """
    counted = np.array([name not in uncounted for name in names])
    _check_different(graph, truth[counted])
    cosines = {"ONNX Runtime": _cosines(truth, exported)}
    if float16 is not None:
        cosines["torch in float16"] = _cosines(truth, float16)
    for runtime, values in cosines.items():
        least = np.where(counted, accept.min_cosine, 0.0)  # vectors that are not finite have cosine -1
        if rounded:
            for row in np.flatnonzero(~(values >= least)):
                least[row] = min(least[row], rounded(int(row)))
        worst = int(np.argmin(values - least))
        if not values[worst] >= least[worst]:
            raise ExportError(
                f"{graph}: {runtime} and torch in float32 disagree on {_quote(names[worst])}: "
                f"cosine {values[worst]:.7f}, expected at least {accept.min_cosine}"
                + (
                    f", or {least[worst]:.7f} for this item, because rounding alone changes it that much"
                    if 0 < least[worst] < accept.min_cosine
                    else ""
                )
            )
    norms = np.nan_to_num(np.abs(np.linalg.norm(exported, axis=1) - 1), nan=np.inf)
    worst = int(np.argmax(norms))
    if norms[worst] > MAX_NORM_ERROR:
        raise ExportError(
            f"{graph}: the vector of {_quote(names[worst])} has a norm of {np.linalg.norm(exported[worst]):.6f}, "
            "expected 1"
        )
    deviations = np.zeros(len(names))
    for variant, rows, embeddings in variants:
        by_item = np.abs(embeddings - exported[rows]).max(axis=1)
        worst = int(np.argmax(by_item))
        if not by_item[worst] <= accept.max_deviation:
            raise ExportError(
                f"{graph}: the vector of {_quote(names[rows[worst]])} {variant} differs from its vector alone by "
                f"{by_item[worst]:.1e}, expected at most {accept.max_deviation:.0e}"
            )
        deviations[rows] = np.maximum(deviations[rows], by_item)
    errors = np.abs(exported - truth).max(axis=1)
    halves = cosines.get("torch in float16")
    items = [
        ItemParity(
            name=name,
            cosine=float(cosines["ONNX Runtime"][row]),
            float16_cosine=None if halves is None else float(halves[row]),
            max_error=float(errors[row]),
            deviation=float(deviations[row]),
        )
        for row, name in enumerate(names)
    ]
    return GraphParity(graph, tuple(items), truth, exported, uncounted)


def _check_different(graph: str, truth: NDArray[np.float32]) -> None:
    """Raise ExportError if the vectors of different items, float32 [items, dim], are almost the same."""
    alike = float(np.median((truth @ truth.T)[np.triu_indices(len(truth), k=1)]))
    if alike > MAX_ALIKE:
        kind, cause = {
            "audio_encoder": ("windows", "its audio tower or projection has collapsed or was not trained"),
            "text_encoder": ("texts", "its tokenizer knows no words, or its text tower or projection has collapsed"),
        }[graph]
        raise ExportError(
            f"{graph}: different {kind} get the same vector in torch itself (median cosine {alike:.5f}, expected at "
            f"most {MAX_ALIKE}), so a search cannot tell them apart: {cause}; give another checkpoint"
        )


def _best(scores: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return the columns of the TOP best scores of each row."""
    return np.argsort(-scores, axis=1, kind="stable")[:, :TOP]


def shuffled_batches(rows: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Yield all rows once in batches of 17, 3, 2, 17, … and a rest, shuffled so that hard and real items are mixed."""
    rows = np.random.default_rng(0).permutation(rows)
    for size in itertools.cycle(BATCHES):
        if not len(rows):
            return
        yield rows[:size]
        rows = rows[size:]


def _quote(name: str) -> str:
    return f"“{name if len(name) <= 60 else name[:57] + '…'}”"


def _cosines(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the cosine of each row, float64 [items]; -1 if either row is not finite, for example after an overflow."""
    some, others = a.astype(np.float64), b.astype(np.float64)
    with np.errstate(all="ignore"):
        cosines = (some * others).sum(axis=1) / (np.linalg.norm(some, axis=1) * np.linalg.norm(others, axis=1))
    numbers: NDArray[np.float64] = np.nan_to_num(cosines, nan=-1.0)
    return numbers


def _open(graph: bytes) -> Callable[..., NDArray[np.float32]]:
    """Return a function that takes the graph's inputs, in their order, and returns its only output."""
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # torch needs the cores in between
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    names = [tensor.name for tensor in session.get_inputs()]
    return lambda *arrays: session.run(None, dict(zip(names, arrays, strict=True)))[0]


class ProductsOfFloat16(TorchFunctionMode):
    """Computes float16 linear layers and convolutions in float32 and rounds the result to float16.

    torch itself gives the same result. But on a CPU without float16 arithmetic, its convolutions reach only 0.6
    GFLOP/s. One window of MuQ-MuLan needs 264 GFLOP of convolutions. torch had not finished it after nine minutes; this
    class takes 8 s.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func not in (F.linear, F.conv1d, F.conv2d) or args[0].dtype != torch.float16:
            return func(*args, **(kwargs or {}))
        widened = [part.float() if isinstance(part, Tensor) else part for part in args]
        return func(*widened, **(kwargs or {})).half()


def _in_torch(
    embed: Callable[..., Tensor], items: Sequence[Sequence[NDArray[np.float32] | NDArray[np.int32]]]
) -> NDArray[np.float32]:
    with torch.inference_mode(), ProductsOfFloat16():
        return np.concatenate([embed(*map(torch.from_numpy, item)).numpy() for item in items])


def round_numbers(content: Any) -> Any:
    """Round each number in nested dicts and lists to 7 places, small ones to 2 digits."""
    if isinstance(content, dict):
        return {key: round_numbers(value) for key, value in content.items()}
    if isinstance(content, list):
        return [round_numbers(value) for value in content]
    if isinstance(content, float):
        return round(content, 7) if abs(content) > 1e-2 else float(f"{content:.1e}")
    return content


def _pad(rows: Sequence[NDArray[np.int32]], *, length: int, value: int) -> NDArray[np.int32]:
    return np.concatenate([np.pad(row, ((0, 0), (0, length - row.shape[1])), constant_values=value) for row in rows])
