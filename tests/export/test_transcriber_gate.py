"""The transcriber's gate names what is wrong with a graph, and counts what people would read otherwise.

The graph is the one of `tests.spelling_transcriber`, whose answers are known, and the model is its twin in torch. The
twin may hear sounds a little higher: where a sound lies between two characters, or keys, it then takes the other one.
"""

import json
from functools import partial

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from export import ExportError
from export.hard_items import SILENCE
from export.transcriber_parity import check_transcriber
from export.triton_config import TranscriberParameters
from singing.alphabet import CHARACTERS, CLASSES
from singing.sung import PITCHES
from tests.spelling_transcriber import CERTAIN, FRAMES, SCALE, STEP, build_spelling_transcriber, spell
from train.lyrics.networks import Estimates

BETWEEN = 2.4995  # the class of "a" is 2 and nearer than that of "b", by 20 * (0.5005² - 0.4995²) = 0.02 of a logit
HIGHER = 0.001  # then "b" is nearer by as much


class Speller(torch.nn.Module):
    """The twin.

    Args:
        higher: added to the number that a sound stands for.
        silent: added to the numbers of a window of zeros.
        parts: "words", "notes" or both: what the model has.
    """

    def __init__(self, *, higher: float = 0.0, silent: float = 0.0, parts: str = "words and notes") -> None:
        super().__init__()
        self.higher, self.silent = higher, silent
        self.transcriber = True if "words" in parts else None
        self.pitch_onset = True if "notes" in parts else None

    def forward(self, waveforms: torch.Tensor) -> Estimates:
        is_silent = waveforms.abs().amax(dim=(1, 2))[:, None] == 0
        written, sung = (
            SCALE * waveforms[:, channel].unflatten(1, (frames, -1)).mean(dim=2)
            + torch.where(is_silent, self.silent, self.higher)
            for channel, frames in ((0, FRAMES), (1, 2 * FRAMES))
        )
        characters, pitch = (
            -CERTAIN * (numbers[:, None] - torch.arange(classes)[:, None]).square()
            for numbers, classes in ((written, CLASSES), (sung, PITCHES))
        )
        onset = CERTAIN * (sung - 30.5)[:, None]
        return Estimates(pitch if self.pitch_onset else None, onset, characters if self.transcriber else None)


def sound(*numbers: float) -> NDArray[np.float32]:
    """Silence between the numbers, in which a "b" after an "a" is another character: float32 [2, samples]."""
    frames = np.zeros(FRAMES, np.float32)
    frames[: 2 * len(numbers) : 2] = numbers
    return np.stack([np.repeat(frames / SCALE, STEP)] * 2)


WINDOWS = {
    SILENCE: np.zeros((2, FRAMES * STEP), np.float32),
    "a line": np.stack([spell("one two thre_e_f")] * 2),
    **{f"certain {number}": sound(2, 3, 4, 5, 6, 7, 8) for number in range(5)},
    "between": sound(BETWEEN, 3, 4, 5, 6, 7, 8),
}
TEXT_OF_LINE = "one two threef"
LETTERS = len(TEXT_OF_LINE) + 6 * 7
FRAMES_OF_NOTES = 7 * 2 * FRAMES  # of all windows but silence


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = build_spelling_transcriber(tmp_path_factory.mktemp("spelling"))
    return (folder / "lyrics_transcriber/1/model.onnx").read_bytes()


@pytest.fixture
def check(graph: bytes):
    return partial(check_transcriber, graph=graph, windows=WINDOWS, model=Speller(), typed=Speller(), precision="fp16")


def test_equal_answers_differ_in_nothing(check):
    parity = check()
    assert {window.name: window.text for window in parity.windows} == {
        SILENCE: "",
        "a line": TEXT_OF_LINE,
        **dict.fromkeys(list(WINDOWS)[2:], "abcdefg"),
    }
    assert (parity.character_error_rate, parity.float16_character_error_rate) == (0, 0)
    assert (parity.key_difference, parity.float16_key_difference) == (0, 0)
    assert parity.worst_error < 1e-4
    alone = check(typed=None, precision="fp32")
    assert alone.accepted.max_error == 0.001
    assert (alone.float16_character_error_rate, alone.float16_key_difference) == (None, None)
    assert all(window.float16_error is None for window in alone.windows)


@pytest.mark.parametrize(
    ("model", "float16", "of_graph", "of_float16"), [(0, HIGHER, 0, 1), (HIGHER, HIGHER, 1, 0), (HIGHER, 0, 1, 1)]
)
def test_other_characters_and_keys_are_counted_for_each_runtime(
    check, model: float, float16: float, of_graph: int, of_float16: int
):
    """A character lasts two frames of notes."""
    parity = check(model=Speller(higher=model), typed=Speller(higher=float16))
    assert parity.character_error_rate == pytest.approx(of_graph / LETTERS)
    assert parity.float16_character_error_rate == pytest.approx(of_float16 / LETTERS)
    assert parity.key_difference == pytest.approx(2 * of_graph / FRAMES_OF_NOTES)
    assert parity.float16_key_difference == pytest.approx(2 * of_float16 / FRAMES_OF_NOTES)
    assert parity.worst_error == pytest.approx(0.01, rel=0.05)
    between = parity.windows[-1]
    assert (between.error > 1e-3, between.float16_error > 1e-3) == (bool(of_graph), bool(of_float16))
    cells = dict(parity.rows())
    assert cells["CER with PyTorch's texts"] == f"{100 * of_graph / LETTERS:.2f} %"
    assert cells["CER in float16 arithmetic"] == f"{100 * of_float16 / LETTERS:.2f} %"
    assert cells["frames with another key"] == f"{200 * of_graph / FRAMES_OF_NOTES:.2f} %"
    assert cells["frames with another key in float16 arithmetic"] == f"{200 * of_float16 / FRAMES_OF_NOTES:.2f} %"
    parameters = TranscriberParameters(16_000, FRAMES * STEP, CHARACTERS, "multi-task", "spelling", "f00", "0.01")
    content = json.loads(parity.to_json(parameters))
    assert content["fingerprint"] == "f00"
    assert content["float16_key_difference"] == pytest.approx(2 * of_float16 / FRAMES_OF_NOTES, abs=1e-3)


@pytest.mark.parametrize("runtime", ["ONNX Runtime", "torch in float16"])
@pytest.mark.parametrize(
    ("parts", "what"), [("words and notes", "characters"), ("words", "characters"), ("notes", "keys")]
)
def test_too_many_others_are_refused(check, runtime: str, parts: str, what: str):
    higher = Speller(higher=HIGHER, parts=parts), Speller(parts=parts)
    windows = WINDOWS | {"two": sound(BETWEEN, 3, BETWEEN, 3, BETWEEN, 3, BETWEEN)}
    model, typed = higher if runtime == "ONNX Runtime" else higher[::-1]
    share = 5 / (LETTERS + 7) if what == "characters" else 10 / (FRAMES_OF_NOTES + 2 * FRAMES)
    with pytest.raises(
        ExportError,
        match=f"{runtime} and torch in float32 read the same music differently: a share of {share:.4f} of the {what} "
        r"differs, expected at most 0\.03",
    ):
        check(windows=windows, model=model, typed=typed)


def test_music_without_words_has_no_error_rate_unless_some_are_written(check):
    rest = {"a rest": np.zeros((2, FRAMES * STEP), np.float32)}
    assert check(windows=rest).character_error_rate is None
    breath = {"a breath": sound(1.4995)}  # between a space and "a"
    assert check(windows=breath).character_error_rate is None
    with pytest.raises(ExportError, match="a share of inf of the characters differs"):
        check(windows=breath, typed=Speller(higher=HIGHER))


@pytest.mark.parametrize("runtime", ["ONNX Runtime", "torch in float16"])
def test_a_probability_may_differ_by_the_limit_and_no_more(check, runtime: str):
    for higher, precision, accepted in ((0.004, "fp16", True), (0.006, "fp16", False), (0.0003, "fp32", False)):
        models = Speller(higher=higher), Speller()
        model, typed = models if runtime == "ONNX Runtime" else models[::-1]
        if accepted:
            check(model=model, typed=typed, precision=precision)
            continue
        limit = {"fp16": "5e-02", "fp32": "1e-03"}[precision]
        with pytest.raises(
            ExportError,
            match=f"{runtime} and torch in float32 disagree on “between”: a probability differs by .*, expected at "
            f"most {limit}",
        ):
            check(model=model, typed=typed, precision=precision)


@pytest.mark.parametrize(("silent", "accepted"), [(5.0, True), (float("nan"), False)])
def test_silence_must_be_finite_and_no_more(check, silent: float, accepted: bool):
    if accepted:
        parity = check(typed=Speller(silent=silent))
        assert parity.windows[0].float16_error == pytest.approx(1)
        assert parity.worst_error < 1e-4
        assert check(model=Speller(silent=silent)).worst_error < 1e-4
    else:
        with pytest.raises(ExportError, match="torch in float16 and torch in float32 disagree on “silence”"):
            check(typed=Speller(silent=silent))


@pytest.mark.parametrize(("share", "accepted"), [(0.0005, True), (0.002, False)])
def test_a_window_must_not_hear_the_others_of_its_batch(check, graph: bytes, share: float, accepted: bool):
    """Of each probability of a key, a share of the largest in the batch; the key itself has 1 or 0."""
    leaking = onnx.load_from_string(graph)
    (last,) = [node for node in leaking.graph.node if "pitch" in node.output]
    last.output[0] = "own"
    leaking.graph.initializer.append(numpy_helper.from_array(np.array([0]), "batch"))
    leaking.graph.initializer.append(numpy_helper.from_array(np.array(share, np.float32), "share"))
    leaking.graph.node.extend(
        [
            helper.make_node("ReduceMax", ["own", "batch"], ["of_all"], keepdims=1),
            helper.make_node("Sub", ["of_all", "own"], ["of_others"]),
            helper.make_node("Mul", ["of_others", "share"], ["leaked"]),
            helper.make_node("Add", ["own", "leaked"], ["pitch"]),
        ]
    )
    check = partial(check, graph=leaking.SerializeToString())

    if accepted:
        assert max(window.deviation for window in check().windows) == pytest.approx(share, rel=0.01)
    else:
        with pytest.raises(ExportError, match=r"a probability of “.+” in a batch differs from that alone by 2\.0e-03"):
            check()
