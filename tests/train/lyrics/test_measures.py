"""The measures against values worked out by hand."""

import sys

import numpy as np
import pytest

from singing.sung import Note
from train.evaluate.errors import EvaluationError
from train.lyrics.measures import (
    character_error_rate,
    framewise_error,
    score_notes,
    score_onsets,
    word_error_rate,
)

SUNG = [Note(1.0, 1.4, 60), Note(2.0, 2.4, 62), Note(3.0, 3.4, 64)]


def test_word_error_rate_by_hand():
    pytest.importorskip("jiwer")
    # One word replaced and one inserted, of 3; then one deleted and none, of 2 and 1: 3 of 6.
    assert word_error_rate(["the cat sat", "oh no", "hey"], ["the bat sat down", "oh", "hey"]) == pytest.approx(3 / 6)
    assert word_error_rate(["love"], ["love"]) == 0
    assert word_error_rate(["love"], [""]) == 1
    # Nobody sang in the second, so its two words are inserted.
    assert word_error_rate(["love me", ""], ["love me", "so much"]) == pytest.approx(2 / 2)


def test_character_error_rate_by_hand():
    pytest.importorskip("jiwer")
    # b for c, a space and "no" inserted: 1 + 3 of 3 + 2 characters.
    assert character_error_rate(["cat", "hi"], ["bat", "hi no"]) == pytest.approx(4 / 5)
    assert character_error_rate(["cat", ""], ["cat", "no"]) == pytest.approx(2 / 3)


def test_error_rates_of_nothing_are_refused():
    pytest.importorskip("jiwer")
    with pytest.raises(ValueError, match="no reference has a word"):
        word_error_rate([""], ["a"])
    with pytest.raises(ValueError, match="2 references and 1 hypotheses"):
        word_error_rate(["a", "b"], ["a"])


def test_onsets_by_hand():
    """Of four estimates two are within 50 ms of a reference of their own; the last finds its reference taken."""
    pytest.importorskip("mir_eval")
    found = [Note(1.04, 1.3, 70), Note(2.07, 2.4, 62), Note(3.0, 3.2, 64), Note(3.01, 3.3, 64)]
    scores = score_onsets(SUNG, found)
    assert scores == pytest.approx((2 / 4, 2 / 3, 2 * (1 / 2) * (2 / 3) / (1 / 2 + 2 / 3)))


def test_notes_by_hand():
    """The first estimate of the same four has a wrong key."""
    pytest.importorskip("mir_eval")
    found = [Note(1.04, 1.3, 70), Note(2.2, 2.4, 62), Note(3.0, 9.2, 64), Note(3.01, 3.3, 64)]
    scores = score_notes(SUNG, found)
    assert scores == pytest.approx((1 / 4, 1 / 3, 2 * (1 / 4) * (1 / 3) / (1 / 4 + 1 / 3)))
    assert score_notes(SUNG, [note._replace(key=note.key + 12) for note in SUNG]) == (0, 0, 0)
    assert score_notes(SUNG, [note._replace(key=note.key + 1) for note in SUNG]) == (0, 0, 0)
    assert score_notes(SUNG, SUNG) == (1, 1, 1)


def test_scores_of_nothing_are_zero():
    pytest.importorskip("mir_eval")
    assert score_notes(SUNG, []) == score_notes([], SUNG) == (0, 0, 0)
    assert score_onsets(SUNG, []) == score_onsets([], SUNG) == (0, 0, 0)


def test_framewise_error_by_hand():
    """Eq. 10: 3 of 4 frames are right, the silent one among them."""
    assert framewise_error(np.array([60, 60, 128, 64]), np.array([60, 62, 128, 64])) == pytest.approx(1 / 4)
    with pytest.raises(ValueError, match="same number"):
        framewise_error(np.array([60]), np.array([60, 60]))


@pytest.mark.parametrize(
    ("package", "call"),
    [("jiwer", lambda: word_error_rate(["a"], ["a"])), ("mir_eval", lambda: score_notes(SUNG, SUNG))],
)
def test_without_the_extra_it_is_named(monkeypatch: pytest.MonkeyPatch, package: str, call):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(EvaluationError, match=rf"{package}, which did not load .*musicsearch\[lyrics\]"):
        call()
