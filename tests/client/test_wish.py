"""What is unwanted counts against the tracks that have more of it than usual: the rule, and that searches follow it."""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from client import AsyncMusicSearch, MusicSearch, QueryError, Reading
from client.encoders.local import LocalEncoder
from client.encoders.long_texts import ReadTexts
from client.evaluation import rank
from client.index.catalogue import Catalogue
from client.index.live import LiveIndex
from client.index.records import FileState, Model, NewTrack, TrackVectors
from client.wish import LIMIT_DEVIATIONS, STEEPNESS, TEMPLATES, Against, Wish, WishMaker, nearest

DIM = 24


def units(count: int, *, seed: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).standard_normal((count, DIM)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def fill(folder: Path, vectors: np.ndarray) -> Catalogue:
    catalogue = Catalogue(folder, create=Model("tiny", "f" * 64, DIM))
    rows = [TrackVectors(vector, np.zeros(1, np.float32), vector[None]) for vector in vectors]
    catalogue.put([NewTrack(FileState(f"/{row}", 1, 1, ""), 1.0, track) for row, track in enumerate(rows)])
    return catalogue


@pytest.fixture
def ms(tmp_path: Path, tones: Path, encoder: LocalEncoder) -> Iterator[MusicSearch]:
    with MusicSearch(tmp_path / "library", encoder=encoder) as ms:
        ms.add(tones, progress=False)
        yield ms


def stems(hits: list) -> list[str]:
    return [Path(hit.path).stem for hit in hits]


def test_only_what_lies_above_the_limit_takes_from_the_score() -> None:
    wanted, unwanted = np.eye(3, dtype=np.float32)[:2]
    wish = Wish(wanted, (Against(unwanted, limit=0.25, steepness=4.0),))
    tracks = np.array([[0.8, 0.6, 0], [0.8, 0.25, 0], [0.8, -0.6, 0]], np.float32)
    np.testing.assert_allclose(wish.score(tracks), [0.8 - 4 * 0.35**2, 0.8, 0.8], atol=1e-6)


@pytest.mark.parametrize("exact_below", [float("inf"), 0])
def test_a_search_finds_what_a_comparison_with_every_track_finds(tmp_path: Path, exact_below: float) -> None:
    vectors = units(3_000, seed=1)
    catalogue = fill(tmp_path / "library", vectors)
    index = LiveIndex(catalogue, exact_below=exact_below)
    found = right = 0
    for wanted, first, second in np.split(units(60, seed=2), 20):
        wish = Wish(wanted, (Against(first, 0.1, 20.0), Against(second, -0.1, 0.3)))
        labels, scores = nearest(wish, index=index, k=10)
        all_scores = wish.score(vectors)
        best = np.argsort(-all_scores)[:10]
        rows = [int(catalogue.by_label(label).file.path[1:]) for label in labels.tolist()]
        np.testing.assert_allclose(scores, all_scores[rows], atol=1e-5)
        assert (np.diff(scores) <= 0).all()
        found, right = found + len(set(rows) & set(best.tolist())), right + 10
    assert found >= (right if exact_below else 0.97 * right)
    labels, _ = nearest(wish, index=index, k=5_000)
    assert len(labels) == 3_000
    catalogue.close()


def test_many_candidates_are_passed_where_the_best_fits_are_all_unwanted(tmp_path: Path) -> None:
    """2,900 tracks that fit better than all others have what is unwanted."""
    axes = np.eye(DIM, dtype=np.float32)
    both = axes[0] + axes[1] + 0.05 * units(2_900, seed=3)
    one = 0.5 * axes[0] - axes[1] + 0.05 * units(100, seed=4)
    vectors = np.concatenate([both, one])
    catalogue = fill(tmp_path / "library", vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    wish = Wish(axes[0], (Against(axes[1], -0.5, 2.0),))
    labels, _ = nearest(wish, index=LiveIndex(catalogue), k=100)
    assert {int(catalogue.by_label(label).file.path[1:]) for label in labels.tolist()} == set(range(2_900, 3_000))
    catalogue.close()


def test_the_sample_is_from_everywhere_and_small(tmp_path: Path) -> None:
    vectors = units(2_500, seed=5)
    vectors[:1_250, 0], vectors[1_250:, 0] = 5, -5
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    catalogue = fill(tmp_path / "library", vectors)
    sample = catalogue.sample(500)
    assert 400 < len(sample) <= 500
    assert 0.4 < (sample[:, 0] > 0).mean() < 0.6
    np.testing.assert_array_equal(catalogue.sample(500), sample)
    assert len(catalogue.sample(1_250)) == 2_500  # not many more: all
    catalogue.remove([catalogue.by_path(f"/{row}").track_id for row in range(2_450)])
    assert len(catalogue.sample(20)) >= 5  # though most numbers are those of removed tracks
    catalogue.close()


def test_the_rule_is_the_documented_one(ms: MusicSearch, encoder: LocalEncoder) -> None:
    wish, parts = WishMaker(ms._catalogue, encoder).make({"low": 1.0}, unwanted={"high": 2.0})
    low, *sentences = encoder.embed_texts(["low", *(template.format("high") for template in TEMPLATES)])
    common = ms._catalogue.probes("music").mean(axis=0)

    def without(vector: np.ndarray, other: np.ndarray) -> np.ndarray:
        other = other / np.linalg.norm(other)
        return vector - (vector @ other) * other

    high = without(np.mean(sentences, axis=0), common)
    high = without(high / np.linalg.norm(high), without(low, common))
    (against,) = wish.against
    np.testing.assert_allclose(wish.vector, low, atol=1e-6)
    np.testing.assert_allclose(against.vector, high / np.linalg.norm(high), atol=1e-5)
    (_, vectors), *_ = ms._catalogue.vectors()
    cosines = vectors @ against.vector
    assert against.limit == pytest.approx(cosines.mean() + LIMIT_DEVIATIONS * cosines.std(), abs=1e-5)
    assert against.steepness == pytest.approx(2 * STEEPNESS / cosines.std(), rel=1e-4)
    assert parts == {}


def test_a_negation_puts_what_it_names_last(ms: MusicSearch) -> None:
    for word in ("low", "middle", "high"):
        hits = ms.search(f"no {word}")
        assert stems(hits)[-1] == word
        assert stems(ms.search(f"no {word}", literal=True))[0] == word  # as it was
        assert hits[-1].probability < 0.1 < 0.7 < hits[0].probability
        assert not hits[0].weak
        assert stems(ms.search(minus=word)) == stems(hits)
    assert stems(ms.search("sound without low")) == stems(ms.search("no low"))  # nothing is wanted in particular
    assert stems(ms.search("low tone without high"))[-1] == "high"


def test_the_probability_falls_with_what_is_unwanted(ms: MusicSearch) -> None:
    plain, read = ms.search("high"), ms.search("high", minus="low")
    assert stems(plain)[0] == "high"
    by_path = {hit.path: hit.probability for hit in read}
    for hit in plain:
        assert by_path[hit.path] <= hit.probability + 1e-6
    low = next(hit for hit in read if Path(hit.path).stem == "low")
    assert low.probability < 0.5


def test_ordinary_queries_are_searched_for_as_before(ms: MusicSearch) -> None:
    for query in ("low", "high tone", "not too low"):
        (vector,) = ms.embed_text([query])
        as_vector = ms.search_vector(vector)
        assert [(hit.track_id, hit.score) for hit in ms.search(query)] == [
            (hit.track_id, pytest.approx(hit.score, abs=1e-6)) for hit in as_vector
        ]


def test_literal_is_one_text(ms: MusicSearch) -> None:
    (vector,) = ms.embed_text(["low without high"])
    literal = ms.search("low without high", literal=True)
    assert [(hit.track_id, hit.score) for hit in literal] == [
        (hit.track_id, pytest.approx(hit.score, abs=1e-6)) for hit in ms.search_vector(vector)
    ]
    assert literal[0].reading == Reading({"low without high": 1.0}, {})


def test_hits_tell_how_the_query_was_read(ms: MusicSearch, tones: Path) -> None:
    (hit, *_) = ms.search({"low without high": 2.0}, minus="middle")
    assert hit.reading == Reading({"low": 2.0}, {"middle": 1.0, "high": 2.0})
    long = "Low " * 30 + ". " + "High " * 30 + "."
    (hit, *_) = ms.search([long, "tone"], minus=f"{long} tone")
    assert [len(parts) for parts in hit.reading.parts.values()] == [2, 2]
    assert ms.search_audio(tones / "low.wav")[0].reading is None
    sounds = ms.search("no high", like=tones / "album/high.mp3")
    assert sounds[0].reading == Reading({}, {"high": 1.0})
    assert sounds[0].probability is None
    assert stems(sounds)[0] != "high"


def test_a_web_application_reads_the_same(tmp_path: Path, ms: MusicSearch) -> None:
    async def search() -> tuple[list, list]:
        library = AsyncMusicSearch(ms)
        return await library.search("no low"), await library.search("no low", literal=True)

    read, literal = asyncio.run(search())
    assert (stems(read)[-1], stems(literal)[0]) == ("low", "low")


def test_weights_and_contradictions(ms: MusicSearch) -> None:
    high = {weight: ms.search("low", minus={"high": weight})[-1].score for weight in (0.1, 1, 1e308)}
    assert high[0.1] > high[1] > high[1e308] > -1e7
    with pytest.raises(QueryError, match="cancel out: 'low'"):
        ms.search("low", minus="low")
    with pytest.raises(QueryError, match="the query is empty"):
        ms.search([], minus=[])


def test_an_evaluation_reads_as_a_search_does(ms: MusicSearch, encoder: LocalEncoder) -> None:
    ranking = rank(ms._catalogue, encoder, ["no low", "low without high", "high"])
    literal = rank(ms._catalogue, encoder, ["no low", "low without high", "high"], literal=True)
    for query in ranking.found:
        assert ranking.found[query] == ranking.exact[query] == [hit.track_id for hit in ms.search(query)]
        assert literal.found[query] == [hit.track_id for hit in ms.search(query, literal=True)]
    assert ranking.found["no low"] != literal.found["no low"]
    assert ranking.readings["no low"] == Reading({}, {"low": 1.0})


def test_a_known_text_needs_no_model(ms: MusicSearch, encoder: LocalEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    read = encoder.read_texts

    def count(texts: Sequence[str]) -> ReadTexts:
        asked.extend(texts)
        return read(texts)

    monkeypatch.setattr(encoder, "read_texts", count)
    long = "A low tone is heard. " * 40
    first = ms.search(["low", long], minus="high", k=3)
    assert asked == ["low", long, *(template.format("high") for template in TEMPLATES)]
    asked.clear()
    assert ms.search(["low", long], minus="high", k=3) == first
    assert list(first[0].reading.parts) == [long]
    assert asked == []
    ms.search(["low", "middle"], k=3)
    assert asked == ["middle"]
    for number in range(600):
        ms.search(f"text {number}", k=1, starts=False)
    asked.clear()
    ms.search("low", k=1)
    ms.search("text 599", k=1)
    assert asked == ["low"]
