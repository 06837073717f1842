"""Decodes probabilities to words and notes (§3.2), with NumPy alone.

Characters come from the best path, or from a beam search with a language model. Notes come from peaks of the onset
probability and from the most probable keys.
"""

from collections.abc import Sequence
from itertools import pairwise
from math import exp, inf, log1p
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from singing.alphabet import BLANK, CHARACTERS, collapse, decode, encode
from singing.sung import NO_PITCH, Note, Word

BEAM = 25
ONSET_THRESHOLD = 0.4
ONSET_WINDOW_S = 0.05  # a peak is the highest within half of this on either side
# Weight of the language model's logarithm, and a bonus for each character, because a language model prefers short
# texts. The paper does not give its values.
LANGUAGE_WEIGHT = 0.5
CHARACTER_BONUS = 0.7
NEGLIGIBLE = -9.0  # natural logarithm: characters below 0.0001 are not tried


class LanguageModel(Protocol):
    """Gives the natural logarithm of a character's probability, given the characters before it."""

    def log_probability(self, character: str, *, after: str) -> float: ...


def best_path(log_probabilities: NDArray[np.float32]) -> str:
    """Decode greedily: take the most probable class of each frame, and collapse them to a text.

    Args:
        log_probabilities: float32 [34, frames].

    Returns:
        Words, one space between them.
    """
    path = log_probabilities.argmax(axis=0).tolist()
    return " ".join(decode(collapse(path)).split())


def beam_search(
    log_probabilities: NDArray[np.float32],
    *,
    beam: int = BEAM,
    language_model: LanguageModel | None = None,
    language_weight: float = LANGUAGE_WEIGHT,
    character_bonus: float = CHARACTER_BONUS,
) -> str:
    """Find the most probable text by a beam search. The probability of a text is the sum over all its paths.

    Without a language model the score of a text is the logarithm of its probability. With a language model, each
    character adds its weighted logarithm and the bonus. (Graves et al. 2006; Hannun et al. 2014, algorithm 1.)

    Args:
        log_probabilities: natural logarithms, float32 [34, frames].
        beam: how many prefixes of texts are kept after each frame, 1 or more.
        language_model: None: only the probabilities count.
        language_weight: weight of the language model.
        character_bonus: added for each character, if there is a language model.

    Returns:
        Words, one space between them.

    Raises:
        ValueError: the beam is below 1.
    """
    if beam < 1:
        raise ValueError(f"the beam is {beam}; expected 1 or more")
    # For each prefix: logarithms of the probability of its paths that end in a blank, and in its last character.
    kept: dict[str, tuple[float, float]] = {"": (0.0, -inf)}
    told: dict[str, float] = {"": 0.0}
    for frame in log_probabilities.T:
        scores = frame.tolist()
        tried = [(CHARACTERS[i - 1], scores[i]) for i in range(1, len(scores)) if scores[i] > NEGLIGIBLE]
        of_character = dict(zip(CHARACTERS, scores[1:], strict=True))
        blanks: dict[str, float] = {}
        endings: dict[str, float] = {}
        for text, (blank, ending) in kept.items():
            total = _add(blank, ending)
            blanks[text] = total + scores[BLANK]
            if text:
                endings[text] = _add(endings.get(text, -inf), ending + of_character[text[-1]])
            for character, score in tried:
                longer = text + character
                # The same character again is a new one only after a blank.
                before = blank if text and text[-1] == character else total
                endings[longer] = _add(endings.get(longer, -inf), before + score)
                if longer not in told:
                    told[longer] = told[text]
                    if language_model is not None:
                        told[longer] += character_bonus
                        told[longer] += language_weight * language_model.log_probability(character, after=text)
        both = {text: (blanks.get(text, -inf), endings.get(text, -inf)) for text in {**blanks, **endings}}
        best = sorted(both, key=lambda text: _add(*both[text]) + told[text], reverse=True)[:beam]
        kept = {text: both[text] for text in best}
        told = {text: told[text] for text in best}
    return " ".join(next(iter(kept)).split())


def _add(first: float, second: float) -> float:
    """Logarithm of the sum of two probabilities that are given as logarithms."""
    low, high = (first, second) if first < second else (second, first)
    return high if low == -inf else high + log1p(exp(low - high))


def align(log_probabilities: NDArray[np.float32], text: str) -> list[int]:
    """Find the frame in which each character of a text is most probable, along the best path of the text.

    Args:
        log_probabilities: natural logarithms, float32 [34, frames].
        text: characters of the alphabet; it must fit into the frames.

    Returns:
        One frame for each character, ascending.

    Raises:
        ValueError: the text is too long for the frames.
    """
    if not text:
        return []
    classes = encode(text)
    # A blank before, between and after the characters: states 0, 2, 4 ... of Graves et al. 2006 (§4.1).
    states = np.full(2 * len(classes) + 1, BLANK)
    states[1::2] = classes
    may_skip = np.zeros(len(states), bool)
    may_skip[3::2] = states[3::2] != states[1:-2:2]
    frames = log_probabilities.shape[1]
    score = np.full(len(states), -np.inf)
    score[:2] = log_probabilities[states[:2], 0]
    came_from = np.zeros((frames, len(states)), np.int64)
    for frame in range(1, frames):
        stay, step, skip = score, np.roll(score, 1), np.where(may_skip, np.roll(score, 2), -np.inf)
        step[0] = -np.inf
        came_from[frame] = np.argmax([stay, step, skip], axis=0)
        score = np.max([stay, step, skip], axis=0) + log_probabilities[states, frame]
    state = len(states) - 1 - int(score[-2] > score[-1])
    if score[state] == -np.inf:
        raise ValueError(f"a text of {len(text)} characters does not fit into {frames} frames; give a shorter one")
    best = [(-np.inf, 0)] * len(classes)
    for frame in range(frames - 1, -1, -1):
        if state % 2:
            here = float(log_probabilities[states[state], frame])
            best[state // 2] = max(best[state // 2], (here, frame), key=lambda found: (found[0], -found[1]))
        state -= int(came_from[frame, state])
    return [frame for _, frame in best]


def time_words(log_probabilities: NDArray[np.float32], text: str, *, frame_s: float) -> list[Word]:
    """Give each word the times of its first and last characters.

    Args:
        log_probabilities: natural logarithms, float32 [34, frames].
        text: the words, one space between them.
        frame_s: seconds from frame to frame.

    Returns:
        Words in order; each ends a frame after its last character's best frame.

    Raises:
        ValueError: the text is too long for the frames.
    """
    frames = align(log_probabilities, text)
    words, place = [], 0
    for word in text.split():
        first, last = frames[place], frames[place + len(word) - 1]
        words.append(Word(first * frame_s, (last + 1) * frame_s, word))
        place += len(word) + 1
    return words


def pick_onsets(
    probabilities: NDArray[np.float32],
    *,
    frame_s: float,
    window_s: float = ONSET_WINDOW_S,
    threshold: float = ONSET_THRESHOLD,
) -> list[int]:
    """Find onsets: frames of at least `threshold` that have the highest probability of a window around them (§3.2).

    Args:
        probabilities: of an onset, float32 [frames].
        frame_s: seconds from frame to frame.
        window_s: length of the window, which reaches half of it to each side of the frame.
        threshold: lowest probability of an onset.

    Returns:
        Frames, ascending. If frames of a window are equal, the first is the onset.
    """
    if not len(probabilities):
        return []
    reach = int(window_s / 2 / frame_s + 1e-9)
    padded = np.pad(probabilities, reach, constant_values=-np.inf)
    around = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1)
    # argmax is the first of equal ones, so a plateau has one onset.
    peaks = (around.argmax(axis=1) == reach) & (probabilities >= threshold)
    return [int(frame) for frame in np.flatnonzero(peaks)]


def find_notes(pitches: NDArray[np.int64], onsets: Sequence[int], *, frame_s: float) -> list[Note]:
    """Make a note of each onset.

    The key of a note is the most frequent key of the frames before the next onset. The note ends with the last of these
    frames that has a key. If none has a key, the onset makes no note.

    Args:
        pitches: the most probable class in each frame, int64 [frames].
        onsets: frames, ascending.
        frame_s: seconds from frame to frame.

    Returns:
        Notes in order. A note begins in the middle of the frame of its onset.
    """
    notes = []
    for begin, end in pairwise([*onsets, len(pitches)]):
        sung = np.flatnonzero(pitches[begin:end] != NO_PITCH)
        if len(sung):
            key = int(np.bincount(pitches[begin:end][sung]).argmax())
            last = begin + int(sung[-1])
            notes.append(Note((begin + 0.5) * frame_s, (last + 1) * frame_s, key))
    return notes
