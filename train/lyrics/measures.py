"""The paper's measures (§4.1.4, eq. 10): error rates of words and characters, of notes and of frames."""

from collections.abc import Sequence
from types import ModuleType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from singing.sung import Note
from train.evaluate.errors import EvaluationError

ONSET_TOLERANCE_S = 0.05  # of mir_eval, as Molina et al. 2014 have it, the paper's reference [29]


class Scores(NamedTuple):
    """Fractions in 0…1."""

    precision: float
    recall: float
    f: float


def word_error_rate(references: Sequence[str], hypotheses: Sequence[str]) -> float:
    """WER: inserted, deleted and replaced words of all texts, divided by the words of all references.

    Args:
        references: what was sung, as `plain_text` leaves it.
        hypotheses: what was transcribed, one per reference.

    Returns:
        A fraction; more than 1 where much is inserted.

    Raises:
        ValueError: the lists differ in length, or no reference has a word.
        EvaluationError: jiwer is not installed.
    """
    return _error_rate(references, hypotheses, of_words=True)


def character_error_rate(references: Sequence[str], hypotheses: Sequence[str]) -> float:
    """CER: the same as `word_error_rate` with characters, of which the space is one."""
    return _error_rate(references, hypotheses, of_words=False)


def count_word_errors(reference: str, hypothesis: str) -> tuple[int, int]:
    """Inserted, deleted and replaced words of one text, and the words of its reference.

    Raises:
        EvaluationError: jiwer is not installed.
    """
    return _count_errors(reference, hypothesis, of_words=True)


def count_character_errors(reference: str, hypothesis: str) -> tuple[int, int]:
    """The same as `count_word_errors` with characters, of which the space is one."""
    return _count_errors(reference, hypothesis, of_words=False)


def _count_errors(reference: str, hypothesis: str, *, of_words: bool) -> tuple[int, int]:
    jiwer = _jiwer()
    counted = (jiwer.process_words if of_words else jiwer.process_characters)(reference, hypothesis)
    errors = counted.substitutions + counted.deletions + counted.insertions
    return errors, counted.substitutions + counted.deletions + counted.hits


def _error_rate(references: Sequence[str], hypotheses: Sequence[str], *, of_words: bool) -> float:
    if len(references) != len(hypotheses):
        raise ValueError(f"got {len(references)} references and {len(hypotheses)} hypotheses; give one per reference")
    counts = [_count_errors(*pair, of_words=of_words) for pair in zip(references, hypotheses, strict=True)]
    total = sum(length for _, length in counts)
    if not total:
        raise ValueError("no reference has a word; give texts of what was sung")
    return sum(errors for errors, _ in counts) / total


def score_onsets(references: Sequence[Note], estimates: Sequence[Note]) -> Scores:
    """COn: share of the estimated notes that begin within 50 ms of a reference's, each of which counts once.

    Args:
        references: the notes that were sung.
        estimates: the notes that were found.

    Returns:
        All 0 where one of the two is empty.

    Raises:
        EvaluationError: mir_eval is not installed.
    """
    if not references or not estimates:  # mir_eval would warn
        return Scores(0.0, 0.0, 0.0)
    precision, recall, f = _mir_eval().onset_precision_recall_f1(
        _intervals(references), _intervals(estimates), onset_tolerance=ONSET_TOLERANCE_S
    )
    return Scores(precision, recall, f)


def score_notes(references: Sequence[Note], estimates: Sequence[Note]) -> Scores:
    """COnP: the same as `score_onsets`, and the key must be right too."""
    if not references or not estimates:
        return Scores(0.0, 0.0, 0.0)
    precision, recall, f, _ = _mir_eval().precision_recall_f1_overlap(
        _intervals(references),
        _hertz(references),
        _intervals(estimates),
        _hertz(estimates),
        onset_tolerance=ONSET_TOLERANCE_S,
        offset_ratio=None,
    )
    return Scores(precision, recall, f)


def framewise_error(references: NDArray[np.int64], estimates: NDArray[np.int64]) -> float:
    """Eq. 10: share of the frames whose class, a key or no pitch, is wrong.

    Args:
        references: int64 [frames].
        estimates: int64 [frames].

    Raises:
        ValueError: the lengths differ, or there is no frame.
    """
    if references.shape != estimates.shape or not references.size:
        raise ValueError(f"got {references.shape} and {estimates.shape} frames; expected the same number, 1 or more")
    return 1 - float(np.count_nonzero(references == estimates)) / references.size


def _intervals(notes: Sequence[Note]) -> NDArray[np.float64]:
    return np.array([[note.start_s, note.end_s] for note in notes], np.float64).reshape(-1, 2)


def _hertz(notes: Sequence[Note]) -> NDArray[np.float64]:
    return np.array([440.0 * 2 ** ((note.key - 69) / 12) for note in notes])


def check_packages() -> None:
    """Raise EvaluationError unless the packages of the measures are installed."""
    _jiwer()
    _mir_eval()


def _jiwer() -> ModuleType:
    try:
        import jiwer
    except ImportError as exc:
        raise EvaluationError(
            f"error rates need jiwer, which did not load ({exc}); install it: pip install 'musicsearch[lyrics]'"
        ) from exc
    module: ModuleType = jiwer
    return module


def _mir_eval() -> ModuleType:
    try:
        from mir_eval import transcription
    except ImportError as exc:
        raise EvaluationError(
            f"scores of notes need mir_eval, which did not load ({exc}); install it: pip install 'musicsearch[lyrics]'"
        ) from exc
    module: ModuleType = transcription
    return module
