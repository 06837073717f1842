"""Decoding against all paths written out, and against values worked out by hand."""

from itertools import product
from math import log

import numpy as np
import pytest

from singing.alphabet import BLANK, CLASSES, collapse, decode, encode
from singing.decoding import align, beam_search, best_path, find_notes, pick_onsets, time_words
from singing.language_model import CharacterModel
from singing.sung import NO_PITCH, Note

A, B = encode("ab")


def random_frames(frames: int, *, seed: int, classes: tuple[int, ...] = (BLANK, A, B)) -> np.ndarray:
    """Logarithms of probabilities of few classes; the others cannot be."""
    probabilities = np.random.default_rng(seed).dirichlet(np.ones(len(classes)), frames).T
    scores = np.full((CLASSES, frames), -np.inf, np.float32)
    scores[list(classes)] = np.log(probabilities)
    return scores


def frames_of(path: str) -> np.ndarray:
    """Frames that say a path with a probability of 0.9; "_" is the blank."""
    scores = np.full((CLASSES, len(path)), log(0.1 / (CLASSES - 1)), np.float32)
    for frame, character in enumerate(path):
        scores[BLANK if character == "_" else encode(character)[0], frame] = log(0.9)
    return scores


def all_texts(scores: np.ndarray, *, classes: tuple[int, ...]) -> dict[str, float]:
    """The probability of each text, as the sum of all of its paths (the definition of CTC)."""
    texts: dict[str, float] = {}
    for path in product(classes, repeat=scores.shape[1]):
        text = decode(collapse(path))
        texts[text] = texts.get(text, 0.0) + float(np.exp(sum(scores[path, range(len(path))])))
    return texts


@pytest.mark.parametrize("seed", range(12))
def test_a_wide_beam_finds_the_most_probable_text(seed: int):
    scores = random_frames(6, seed=seed)
    texts = all_texts(scores, classes=(BLANK, A, B))
    assert sum(texts.values()) == pytest.approx(1, abs=1e-5)
    assert beam_search(scores, beam=200) == max(texts, key=texts.__getitem__)


def test_the_most_probable_text_is_not_that_of_the_best_path():
    """Twice 0.6 blank and 0.4 a: the path of blanks has 0.36, and all paths of "a" together 0.64."""
    scores = np.full((CLASSES, 2), -np.inf, np.float32)
    scores[BLANK], scores[A] = log(0.6), log(0.4)
    assert best_path(scores) == ""
    assert beam_search(scores) == "a"


@pytest.mark.parametrize("seed", range(6))
def test_the_language_model_is_weighed_as_written(seed: int):
    scores = random_frames(5, seed=seed)
    model = CharacterModel(["abba", "ab ab"], order=3)
    weight, bonus = 0.8, 0.5

    def score(text: str) -> float:
        told = sum(weight * model.log_probability(c, after=text[:i]) + bonus for i, c in enumerate(text))
        return log(texts[text]) + told

    texts = all_texts(scores, classes=(BLANK, A, B))
    found = beam_search(scores, beam=200, language_model=model, language_weight=weight, character_bonus=bonus)
    assert found == max(texts, key=score)


def test_the_language_model_mends_a_letter():
    scores = frames_of("_l_o_v_e_")
    scores[:, 5] = log(1e-4)
    scores[encode("v"), 5], scores[encode("b"), 5] = log(0.45), log(0.55)
    assert beam_search(scores) == "lobe"
    assert beam_search(scores, language_model=CharacterModel(["all my love", "love me"])) == "love"


def test_a_beam_of_none_is_refused():
    with pytest.raises(ValueError, match="expected 1 or more"):
        beam_search(frames_of("_a"), beam=0)


@pytest.mark.parametrize(
    ("path", "text"),
    [("__aab__", "aab"), ("aa_a_bb", "aab"), ("___", ""), ("_go_ _on", "go on"), (" a  _ b ", "a b")],
)
def test_best_path_and_beam_agree_where_it_is_clear(path: str, text: str):
    expected = text.replace("aab", "ab") if path == "__aab__" else text
    assert best_path(frames_of(path)) == expected == beam_search(frames_of(path))


def test_a_character_model_by_hand():
    """Of the line " ab ": after nothing, 3 characters of 3 kinds; after a, one b. CHARACTERS has 33."""
    model = CharacterModel(["ab"], order=2)
    single = (1 + 3 / 33) / 6
    assert model.log_probability("b", after="a") == pytest.approx(log((1 + single) / 2))
    assert model.log_probability("a", after="") == pytest.approx(log((1 + single) / 2))  # after the space before it
    assert model.log_probability("z", after="a") == pytest.approx(log((3 / 33 / 6) / 2))
    assert model.log_probability("a", after="q") == pytest.approx(log(single))  # never seen: falls back
    assert CharacterModel(["ab"], order=1).log_probability("b", after="a") == pytest.approx(log(single))


@pytest.mark.parametrize("after", ["", "l", "love m", "xyz"])
def test_a_character_model_is_a_distribution(after: str):
    from singing.alphabet import CHARACTERS

    model = CharacterModel(["love me tender", "love me true", "never let me go"])
    assert sum(np.exp(model.log_probability(c, after=after)) for c in CHARACTERS) == pytest.approx(1)


def test_a_character_model_needs_text():
    with pytest.raises(ValueError, match="no text"):
        CharacterModel(["", ""])
    with pytest.raises(ValueError, match="order is 0"):
        CharacterModel(["a"], order=0)


def test_align_by_hand():
    assert align(frames_of("__a_bb_a_"), "aba") == [2, 4, 7]  # the first of equal frames
    assert align(frames_of("aa_a"), "aa") == [0, 3]
    assert align(frames_of("___"), "") == []
    with pytest.raises(ValueError, match="3 characters does not fit into 3 frames"):
        align(frames_of("aaa"), "aab")


@pytest.mark.parametrize("seed", range(16))
def test_align_takes_the_best_path_of_its_text(seed: int):
    scores = random_frames(6, seed=seed)
    paths = [path for path in product((BLANK, A, B), repeat=6) if collapse(path) == [A, B]]
    best = max(paths, key=lambda path: float(sum(scores[path, range(6)])))
    expected = [max((f for f in range(6) if best[f] == c), key=lambda f: float(scores[best[f], f])) for c in (A, B)]
    assert align(scores, "ab") == expected


def test_words_have_times():
    words = time_words(frames_of("__go___ _on_"), "go on", frame_s=0.032)
    assert [(word.text, round(word.start_s / 0.032), round(word.end_s / 0.032)) for word in words] == [
        ("go", 2, 4),
        ("on", 9, 11),
    ]
    assert time_words(frames_of("___"), "", frame_s=0.032) == []


def test_onsets_by_hand():
    """Frames of 16 ms: a window of 50 ms has one frame on either side, because two are 32 ms away."""
    probabilities = np.array([0.5, 0.3, 0.39, 0.1, 0.4, 0.8, 0.7, 0.9, 0.2, 0.6, 0.6, 0.0, 0.45], np.float32)
    assert pick_onsets(probabilities, frame_s=0.016) == [0, 5, 7, 9, 12]
    # In frames of 10 ms, two on either side are in the window.
    assert pick_onsets(probabilities, frame_s=0.010) == [0, 7]
    assert pick_onsets(np.array([0.4, 0.39], np.float32), frame_s=0.016) == [0]


def test_notes_by_hand():
    n = NO_PITCH
    pitches = np.array([n, 60, 60, 61, 60, n, n, 62, n, 62, n, n, n])
    assert find_notes(pitches, [1, 7, 11], frame_s=0.1) == [
        Note(pytest.approx(0.15), pytest.approx(0.5), 60),
        Note(pytest.approx(0.75), pytest.approx(1.0), 62),
    ]
    assert find_notes(pitches, [], frame_s=0.1) == []
