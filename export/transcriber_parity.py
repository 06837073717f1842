"""The transcriber's parity check: a graph is written only if it says what torch says, alone and in any batch.

The items are the windows of `export.parity_data`. For each, torch in float32 is compared with the exported graph on
ONNX Runtime's CPU provider. For a float16 graph it is also compared with the float16 model in torch, which stands in
for a GPU (see `export.parity`). The check compares the probabilities, and also what people read: the text of the best
path and the most probable key of each frame.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torchaudio.functional import edit_distance

from export import ExportError
from export.hard_items import SILENCE
from export.parity import ProductsOfFloat16, round_numbers, shuffled_batches
from export.transcriber_graph import Probabilities
from export.triton_config import TranscriberParameters
from singing.decoding import best_path
from train.lyrics.networks import LyricsModel

Outputs = Mapping[str, NDArray[np.float32]]  # of one window, by name; the characters as probabilities


@dataclass(frozen=True)
class TranscriberThresholds:
    """The limits that a graph must meet.

    Args:
        max_error: largest difference of a probability from torch in float32.
        max_differences: largest share of characters and of keys that differ from torch's, over all items. It is not 0:
            if two characters are equally probable, rounding decides. In a barely trained network in float16, a
            hundredth of all differ.
        max_deviation: largest difference of a probability between a window alone and in a batch.
    """

    max_error: float
    max_differences: float
    max_deviation: float = 1e-3


STRICT = {
    "fp16": TranscriberThresholds(max_error=0.05, max_differences=0.03),
    "fp32": TranscriberThresholds(max_error=0.001, max_differences=0.001),
}


@dataclass(frozen=True)
class WindowParity:
    """The result of one window.

    Args:
        text: torch's, of the best path; "" for a model without words.
        error: largest difference of a probability between the graph and torch in float32.
        float16_error: the same of torch in float16; None if the graph is not in float16.
        deviation: largest difference of a probability between the window alone and in a batch.
    """

    name: str
    text: str
    error: float
    float16_error: float | None
    deviation: float


@dataclass(frozen=True)
class TranscriberParity:
    """The comparison of a graph with torch in float32.

    Args:
        precision: "fp16" or "fp32".
        accepted: the limits that were met.
        character_error_rate: inserted, deleted and replaced characters of the graph's texts, divided by the characters
            of torch's. None if torch writes nothing.
        float16_character_error_rate: the same of torch in float16; None also for a graph that is not in float16.
        key_difference: share of the frames whose most probable key is another. None for a model without notes.
        float16_key_difference: the same of torch in float16; None also for a graph that is not in float16.
    """

    precision: str
    accepted: TranscriberThresholds
    windows: tuple[WindowParity, ...]
    character_error_rate: float | None
    float16_character_error_rate: float | None
    key_difference: float | None
    float16_key_difference: float | None

    @property
    def worst_error(self) -> float:
        """The largest difference of a probability, float16 arithmetic included; that of silence does not count."""
        counted = [window for window in self.windows if window.name != SILENCE]
        return max(error for window in counted for error in (window.error, window.float16_error or 0.0))

    def rows(self) -> list[tuple[str, str]]:
        """A table for people, with the columns label and value."""
        return [
            ("precision", self.precision),
            ("windows compared with PyTorch in float32", str(len(self.windows))),
            ("CER with PyTorch's texts", _percent(self.character_error_rate)),
            ("CER in float16 arithmetic", _percent(self.float16_character_error_rate)),
            ("frames with another key", _percent(self.key_difference)),
            ("frames with another key in float16 arithmetic", _percent(self.float16_key_difference)),
            ("largest error of a probability", f"{self.worst_error:.0e} of {self.accepted.max_error:.0e}"),
            (
                "largest difference between alone and in a batch",
                f"{max(window.deviation for window in self.windows):.0e} of {self.accepted.max_deviation:.0e}",
            ),
        ]

    def to_json(self, parameters: TranscriberParameters) -> str:
        """The content of `parity.json`, rounded so that the last bit of a sum changes nothing."""
        content = {"model_name": parameters.model_name, "fingerprint": parameters.fingerprint, **asdict(self)}
        return json.dumps(round_numbers(content), ensure_ascii=False, indent=1) + "\n"


def check_transcriber(
    graph: bytes,
    windows: Mapping[str, NDArray[np.float32]],
    *,
    model: LyricsModel,
    typed: LyricsModel | None,
    precision: str,
) -> TranscriberParity:
    """Compare the graph with `model`.

    Args:
        windows: float32 [2, window_samples] by name; see `export.parity_data.load_windows`.
        typed: the float16 model that the graph was exported from, if any.
        precision: chooses the limits.

    Raises:
        ExportError: a probability is not finite, differs too much, or depends on the other windows of the batch; or the
            texts or keys differ.
    """
    accept = STRICT[precision]
    run = _open(graph)
    names = list(windows)
    truth = _in_torch(Probabilities(model), windows.values())
    graphs = [run(window[None])[0] for window in windows.values()]
    compared = {"ONNX Runtime": graphs}
    if typed is not None:
        compared["torch in float16"] = _in_torch(Probabilities(typed), windows.values())
    # The probabilities of silence must only be finite; it has no sound that could be rounded alike.
    counted = [place for place, name in enumerate(names) if name != SILENCE]
    errors, rates, keys = {}, {}, {}
    for runtime, outputs in compared.items():
        errors[runtime] = [_largest_difference(*pair) for pair in zip(truth, outputs, strict=True)]
        limited = [place for place, error in enumerate(errors[runtime]) if place in counted or np.isinf(error)]
        worst = max(limited, key=errors[runtime].__getitem__)
        if errors[runtime][worst] > accept.max_error:
            raise ExportError(
                f"lyrics_transcriber: {runtime} and torch in float32 disagree on “{names[worst]}”: a probability "
                f"differs by {errors[runtime][worst]:.1e}, expected at most {accept.max_error:.0e}"
            )
        rates[runtime], keys[runtime] = _compare_what_is_read([(truth[place], outputs[place]) for place in counted])
        for what, share in (("characters", rates[runtime]), ("keys", keys[runtime])):
            if share is not None and share > accept.max_differences:
                raise ExportError(
                    f"lyrics_transcriber: {runtime} and torch in float32 read the same music differently: a share of "
                    f"{share:.4f} of the {what} differs, expected at most {accept.max_differences:g}"
                )
    deviations = _deviations(run, windows, alone=graphs)
    worst = max(range(len(names)), key=lambda place: deviations[place])
    if not deviations[worst] <= accept.max_deviation:
        raise ExportError(
            f"lyrics_transcriber: a probability of “{names[worst]}” in a batch differs from that alone by "
            f"{deviations[worst]:.1e}, expected at most {accept.max_deviation:.0e}"
        )
    halves = errors.get("torch in float16")
    return TranscriberParity(
        precision,
        accept,
        tuple(
            WindowParity(
                name,
                _text(truth[place]),
                errors["ONNX Runtime"][place],
                None if halves is None else halves[place],
                deviations[place],
            )
            for place, name in enumerate(names)
        ),
        character_error_rate=rates["ONNX Runtime"],
        float16_character_error_rate=rates.get("torch in float16"),
        key_difference=keys["ONNX Runtime"],
        float16_key_difference=keys.get("torch in float16"),
    )


def _deviations(
    run: Callable[[NDArray[np.float32]], list[Outputs]],
    windows: Mapping[str, NDArray[np.float32]],
    *,
    alone: Sequence[Outputs],
) -> list[float]:
    """Return each window's largest difference of a probability between alone and in a batch."""
    waveforms = list(windows.values())
    deviations = [0.0] * len(waveforms)
    for rows in shuffled_batches(np.arange(len(waveforms))):
        together = run(np.stack([waveforms[row] for row in rows]))
        for row, outputs in zip(rows.tolist(), together, strict=True):
            deviations[row] = _largest_difference(alone[row], outputs)
    return deviations


def _compare_what_is_read(pairs: Sequence[tuple[Outputs, Outputs]]) -> tuple[float | None, float | None]:
    """Return the character error rate and the share of other keys, of (torch's, another's) outputs of windows."""
    rate = keys = None
    if "characters" in pairs[0][0]:
        texts = [(_text(truth), _text(other)) for truth, other in pairs]
        total = sum(len(text) for text, _ in texts)
        edits = sum(edit_distance(*texts_of_one) for texts_of_one in texts)
        rate = edits / total if total else (float("inf") if edits else None)
    if "pitch" in pairs[0][0]:
        keys = float(
            np.mean([truth["pitch"].argmax(axis=0) != other["pitch"].argmax(axis=0) for truth, other in pairs])
        )
    return rate, keys


def _text(outputs: Outputs) -> str:
    return best_path(outputs["characters"]) if "characters" in outputs else ""


def _largest_difference(one: Outputs, other: Outputs) -> float:
    """Return the largest difference of a probability; infinity if one is not a number."""
    differences = (np.abs(values - other[name]).max() for name, values in one.items())
    return max(float(np.nan_to_num(difference, nan=np.inf)) for difference in differences)


def _by_window(names: Sequence[str], outputs: Sequence[NDArray[np.float32]]) -> list[Outputs]:
    """Split the outputs of a batch, and turn logarithms into probabilities."""
    named = dict(zip(names, outputs, strict=True))
    if "characters" in named:
        named["characters"] = np.exp(named["characters"])
    return [{name: values[row] for name, values in named.items()} for row in range(len(outputs[0]))]


def _in_torch(model: Probabilities, windows: Iterable[NDArray[np.float32]]) -> list[Outputs]:
    with torch.inference_mode(), ProductsOfFloat16():
        results = [[part.numpy() for part in model(torch.from_numpy(window[None]))] for window in windows]
    return [_by_window(model.names, result)[0] for result in results]


def _open(graph: bytes) -> Callable[[NDArray[np.float32]], list[Outputs]]:
    """Return a function that takes waveforms, float32 [batch, 2, samples], and returns the outputs of each window."""
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # torch needs the cores in between
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    names = [tensor.name for tensor in session.get_outputs()]
    return lambda waveforms: _by_window(names, session.run(names, {"waveforms": waveforms}))


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.2f} %"
