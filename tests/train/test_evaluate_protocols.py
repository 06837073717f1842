"""Each protocol gives the answer that constructed vectors have by construction."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import make_blobs
from sklearn.metrics import average_precision_score, roc_auc_score

from train.data.manifest import Row
from train.evaluate.errors import EvaluationError
from train.evaluate.labels import is_negated, read_targets, score_labels
from train.evaluate.metrics import mean_roc_auc
from train.evaluate.pairs import PROMPTS, Comparison, read_comparisons, score_comparisons
from train.evaluate.playlist import Playlist, read_playlists, score_playlists
from train.evaluate.probe import probe_targets, score_probe
from train.evaluate.prompts import STYLES, embed_prompts
from train.evaluate.retrieval import draw_rows, score_retrieval
from train.evaluate.tables import make_table
from train.evaluate.triplet import read_triplets, score_triplets
from train.evaluate.zeroshot import score_zeroshot


def rows_of(*labels: Sequence[str], split: str = "test") -> list[Row]:
    return [Row(Path(f"{i}.flac"), ("a",), str(i), split, tuple(own)) for i, own in enumerate(labels)]


def unit(*values: float) -> np.ndarray:
    return np.array(values) / np.linalg.norm(values)


def write(path: Path, *lines: object) -> Path:
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines), encoding="utf-8")
    return path


def word_embedder(words: dict[str, np.ndarray]):
    """Every text by the one of these words that it holds."""
    return lambda texts: np.stack([next(v for word, v in words.items() if word in text) for text in texts])


def test_retrieval_reports_an_interval_around_each_score():
    rng = np.random.default_rng(0)
    similarity = rng.standard_normal((200, 200)) + 3 * np.eye(200)
    result = score_retrieval(similarity, seed=0)
    assert result["pairs"] == 200
    for direction in ("text_to_audio", "audio_to_text"):
        for metric, value in result[direction].items():
            low, high = result["intervals"][direction][metric]
            assert low <= value <= high
    low, high = result["intervals"]["text_to_audio"]["R@10"]
    share = result["text_to_audio"]["R@10"]
    assert high - low == pytest.approx(2 * 1.96 * np.sqrt(share * (1 - share) / 200), rel=0.15)


def test_a_subset_of_pairs_is_drawn_by_its_seed():
    rows = rows_of(*[[]] * 50)
    chosen = draw_rows(rows, pairs=10, seed=1)
    assert chosen == draw_rows(rows, pairs=10, seed=1) != draw_rows(rows, pairs=10, seed=2)
    numbers = [int(row.track_id) for row in chosen]
    assert numbers == sorted(set(numbers))
    assert draw_rows(rows, pairs=None, seed=1) == rows
    with pytest.raises(EvaluationError, match="--pairs is 51; expected 2 to 50, the rows of the split"):
        draw_rows(rows, pairs=51, seed=1)


def test_prompts_are_the_normalised_mean_of_their_sentences():
    texts = {"A jazz track": [1.0, 0.0], "jazz": [0.0, 1.0], "A techno track": [0.6, 0.8], "techno": [0.8, 0.6]}
    vectors = embed_prompts(
        ["jazz", "techno"],
        templates=["{}", "A {} track"],
        embed=lambda asked: np.array([texts[text] for text in asked]),
    )
    np.testing.assert_allclose(vectors, np.full((2, 2), np.sqrt(0.5)), atol=1e-12)


def test_zeroshot_of_classes_is_an_accuracy():
    words = {"jazz": unit(1, 0, 0), "techno": unit(0, 1, 0), "folk": unit(0, 0, 1)}
    rows = rows_of(["jazz"], ["techno"], ["folk"], ["jazz"])
    tracks = np.stack([unit(3, 1, 1), unit(1, 3, 1), unit(1, 1, 3), unit(1, 3, 1)])  # the last one sounds like techno
    result = score_zeroshot(tracks, targets=read_targets(rows, single=True), embed=word_embedder(words), seed=0)
    assert result["tracks"] == 4
    assert result["labels"] == 3
    assert {style: result[style]["accuracy"] for style in STYLES} == dict.fromkeys(STYLES, 0.75)


def test_zeroshot_of_tags_is_the_macro_area_of_scikit_learn():
    rng = np.random.default_rng(0)
    names = ["loud", "slow", "sung"]
    relevant = rng.random((80, 3)) < [0.5, 0.2, 0.1]
    rows = rows_of(*[[name for name, has in zip(names, row, strict=True) if has] for row in relevant])
    tracks = relevant + 0.8 * rng.standard_normal((80, 3))
    tracks /= np.linalg.norm(tracks, axis=1, keepdims=True)
    words = dict(zip(names, np.eye(3), strict=True))
    result = score_zeroshot(tracks, targets=read_targets(rows, single=False), embed=word_embedder(words), seed=0)
    for metric, golden in (("ROC-AUC", roc_auc_score), ("PR-AUC", average_precision_score)):
        expected = golden(relevant, tracks, average="macro")
        assert result["A {} track"][metric] == pytest.approx(expected, abs=1e-9)
        low, high = result["intervals"]["A {} track"][metric]
        assert low < expected < high


@pytest.mark.parametrize(
    ("label", "negated"),
    [
        *(
            ("no vocals", True),
            ("Not rock", True),
            ("non classical", True),
            ("non-vocal", True),
            ("without drums", True),
        ),
        *(("no_piano", True), ("notes", False), ("nonet", False), ("no", False), ("instrumental", False)),
        *(("no wave", False), ("non-stop", False), ("rock and no roll", False)),
    ],
)
def test_what_a_label_negates_is_told_by_its_first_word(label: str, negated: bool):
    assert is_negated(label) is negated


def test_negated_tags_are_scored_apart():
    rng = np.random.default_rng(2)
    names = ["loud", "no piano", "not rock", "sung"]
    relevant = rng.random((60, 4)) < [0.5, 0.3, 0.4, 0.2]
    rows = rows_of(*[[*(n for n, has in zip(names, row, strict=True) if has), "no doubt"] for row in relevant])
    tracks = relevant + rng.standard_normal((60, 4))
    words = dict(zip(names, np.eye(4), strict=True)) | {"no doubt": np.ones(4)}
    result = score_zeroshot(tracks, targets=read_targets(rows, single=False), embed=word_embedder(words), seed=0)
    assert (result["labels"], result["negated"]) == (4, 2)  # no doubt is on every track: it tells nothing apart
    areas = [roc_auc_score(relevant[:, i], tracks[:, i]) for i in range(4)]
    for group, columns in {"label": [0, 1, 2, 3], "label, negated": [1, 2], "label, others": [0, 3]}.items():
        expected = np.mean([areas[i] for i in columns])
        assert result[group]["ROC-AUC"] == pytest.approx(expected, abs=1e-9)
        low, high = result["intervals"][group]["ROC-AUC"]
        assert low < expected < high
    assert set(result["intervals"]) == {style + group for style in STYLES for group in ("", ", negated", ", others")}


@pytest.mark.parametrize("names", [["loud", "sung"], ["no piano", "not rock"]])
def test_tags_of_one_kind_are_not_parted(names: list[str]):
    rows = rows_of(names[:1], names[1:], names)
    words = dict(zip(names, np.eye(2), strict=True))
    result = score_zeroshot(
        np.eye(3)[:, :2], targets=read_targets(rows, single=False), embed=word_embedder(words), seed=0
    )
    assert "negated" not in result
    assert set(result["intervals"]) == set(STYLES)


def test_a_track_without_any_tag_is_a_negative_of_each():
    rows = rows_of(["a"], ["a"], [], [])
    rows[2] = replace(rows[2], no_label=True)
    targets = read_targets(rows, single=False)
    values, _ = score_labels(np.array([[0.9], [0.7], [0.8], [0.1]]), targets=targets, seed=0)
    assert values["ROC-AUC"] == 0.75


def test_the_interval_over_tracks_is_that_of_copied_tracks():
    rng = np.random.default_rng(1)
    relevant = rng.random((40, 2)) < 0.4
    rows = rows_of(*[[name for name, has in zip("ab", row, strict=True) if has] for row in relevant])
    scores = rng.standard_normal((40, 2)) + relevant
    _, intervals = score_labels(scores, targets=read_targets(rows, single=False), seed=5)
    drawn = np.random.default_rng(5).integers(40, size=(1_000, 40))
    areas = [mean_roc_auc(scores[some], relevant=relevant[some]) for some in drawn]
    assert intervals["ROC-AUC"] == pytest.approx(tuple(np.quantile(areas, [0.025, 0.975])), abs=1e-9)


def test_tags_that_tell_nothing_apart_are_left_out():
    rows = rows_of(["all", "some"], ["all"], ["all", "some"])
    targets = read_targets(rows, single=False)
    values, _ = score_labels(np.array([[0.0, 1.0], [0.0, 0.5], [0.0, 0.7]]), targets=targets, seed=0)
    assert values == {"ROC-AUC": 1.0, "PR-AUC": 1.0}
    with pytest.raises(EvaluationError, match="each of the 1 labels is on all of the 2 tracks or on none"):
        score_labels(np.zeros((2, 1)), targets=read_targets(rows_of(["a"], ["a"]), single=False), seed=0)


@pytest.mark.parametrize(
    ("labels", "single", "message"),
    [
        ([[], []], False, r"the rows have 0 labels \(none\); expected at least 1"),
        ([["a"], ["a"]], True, r"the rows have 1 labels \(a\); expected at least 2"),
        ([["a"], []], True, "track 1 has no label"),
    ],
)
def test_rows_without_usable_labels_are_refused(labels: list[list[str]], single: bool, message: str):
    with pytest.raises(EvaluationError, match=message):
        read_targets(rows_of(*labels), single=single)


def blobs(part: int) -> tuple[np.ndarray, list[Row]]:
    centres = np.array([[5.0, 0.0], [0.0, 5.0], [-5.0, -5.0]])
    vectors, classes = make_blobs(30, centers=centres, random_state=part)
    return vectors, rows_of(*[[f"class {i}"] for i in classes])


def test_a_probe_learns_what_a_line_can_part():
    vectors, rows = {}, {}
    for seed, part in enumerate(("train", "val", "test")):
        vectors[part], rows[part] = blobs(seed)
    result = score_probe(vectors, targets=probe_targets(rows, single=False), seed=0)
    assert result["probe"]["accuracy"] == 1.0
    assert result["intervals"]["probe"]["accuracy"] == (1.0, 1.0)
    assert result["labels"] == 3


def test_a_probe_of_tags_drops_what_training_rows_do_not_teach():
    vectors, rows = {}, {}
    for seed, part in enumerate(("train", "val", "test")):
        vectors[part], single = blobs(seed)
        extra = ("never in training",) if part != "train" else ()
        rows[part] = rows_of(*[(*row.labels, *extra[: i % 2], "music") for i, row in enumerate(single)])
    result = score_probe(vectors, targets=probe_targets(rows, single=False), seed=0)
    assert result["labels"] == 3
    assert result["probe"] == {"ROC-AUC": 1.0, "PR-AUC": 1.0}


def test_a_probe_scores_negated_tags_apart():
    vectors, rows = {}, {}
    for seed, part in enumerate(("train", "val", "test")):
        vectors[part], single = blobs(seed)
        rng = np.random.default_rng(seed)  # "no sense" is on any track
        named = [row.labels[0].replace("class 0", "no piano") for row in single]
        rows[part] = rows_of(*[(name, "no sense") if rng.random() < 0.5 else (name,) for name in named])
    result = score_probe(vectors, targets=probe_targets(rows, single=False), seed=0)
    assert (result["labels"], result["negated"]) == (4, 2)
    assert result["probe, others"]["ROC-AUC"] == 1.0
    assert result["probe, negated"]["ROC-AUC"] < 0.9
    mean = (result["probe, negated"]["ROC-AUC"] + result["probe, others"]["ROC-AUC"]) / 2
    assert result["probe"]["ROC-AUC"] == pytest.approx(mean)
    assert set(result["intervals"]) == {"probe", "probe, negated", "probe, others"}


def test_a_probe_refuses_a_class_that_training_lacks():
    rows = {"train": rows_of(["a"], ["b"]), "val": rows_of(["a"], ["b"]), "test": rows_of(["a"], ["c"])}
    with pytest.raises(EvaluationError, match="track 1 has the class 'c', but no training row has it"):
        probe_targets(rows, single=True)


def test_playlists_are_scored_by_title_and_by_description():
    tracks = np.stack([unit(1, 0), unit(0.9, 0.1), unit(0.1, 0.9), unit(0, 1)])
    words = {"sleep": unit(1, 0), "gym": unit(0, 1)}
    playlists = [Playlist("sleep", "for the gym", (0, 1)), Playlist("gym", "", (2, 3))]
    result = score_playlists(tracks, playlists=playlists, embed=word_embedder(words), seed=0)
    assert result["title"] == {"AUC": 1.0, "mAP": 1.0}
    # Its two tracks come third and fourth for the wrong description: AP = (1/3 + 2/4) / 2.
    assert result["description"] == {"AUC": 0.0, "mAP": pytest.approx(5 / 12)}
    assert result["playlists"] == 2


def test_triplets_are_scored_by_cosine():
    words = {"calm": unit(1, 0), "quiet": unit(3, 1), "noisy": unit(0, 1)}
    triplets = [("calm", "quiet", "noisy"), ("noisy", "calm", "quiet"), ("calm", "quiet", "quiet")]
    result = score_triplets(triplets, embed=word_embedder(words), seed=0)
    assert result["texts"]["accuracy"] == pytest.approx(1 / 3)  # a tie is lost
    assert (result["triplets"], result["anchors"]) == (3, 2)


def test_the_interval_of_triplets_is_over_their_anchors():
    words = {"right": unit(1, 0), "wrong": unit(0, 1)}
    anchors = [("right", i) for i in range(30)] + [("wrong", i) for i in range(10)]
    once = [(f"{word} {i}", "right", "wrong") for word, i in anchors]
    one, five = (score_triplets(n * once, embed=word_embedder(words), seed=0) for n in (1, 5))
    assert five["texts"] == one["texts"] == {"accuracy": 0.75}
    assert five["intervals"] == one["intervals"]  # asking the same again says nothing new
    low, high = five["intervals"]["texts"]["accuracy"]
    assert low < 0.75 < high
    assert high - low == pytest.approx(2 * 1.96 * np.sqrt(0.75 * 0.25 / 40), rel=0.15)


def test_comparisons_are_scored_per_attribute():
    words = {
        prompt: vector
        for ends in PROMPTS.values()
        for end, vector in zip(ends, np.eye(2), strict=True)
        for prompt in end
    }
    tracks = {0: unit(1, 0), 5: unit(1, 1), 7: unit(0, 1)}
    comparisons = [
        Comparison(0, 5, "arousal", "first"),
        Comparison(7, 5, "arousal", "second"),
        Comparison(7, 0, "arousal", "first"),
        Comparison(5, 5, "arousal", "first"),  # a tie is wrong
        Comparison(0, 7, "valence", "first"),
    ]
    result = score_comparisons(tracks, comparisons=comparisons, embed=word_embedder(words), seed=0)
    assert result["arousal"]["accuracy"] == 0.5
    assert result["valence"]["accuracy"] == 1.0


def test_equal_pairs_are_told_by_the_size_of_the_difference():
    words = {prompt: end for prompts, end in zip(PROMPTS["arousal"], np.eye(2), strict=True) for prompt in prompts}
    tracks = {i: np.array([score, 0.0]) for i, score in enumerate((0.0, 0.1, 0.3, 0.6))}
    comparisons = [
        Comparison(3, 0, "arousal", "first", ("all agree",)),  # by 0.6
        Comparison(1, 2, "arousal", "first"),  # by 0.2, and wrong
        Comparison(0, 2, "arousal", "second", ("all agree",)),  # by 0.3
        Comparison(0, 1, "arousal", "equal", ("all agree", "so-so")),  # by 0.1
        Comparison(3, 2, "arousal", "equal", ("so-so",)),  # by 0.3
    ]
    result = score_comparisons(tracks, comparisons=comparisons, embed=word_embedder(words), seed=0)
    assert (result["pairs"], result["equal"]) == (5, 2)
    # Of the six pairs of an unequal and an equal one, the differences of four are in their order, of one the same.
    assert result["arousal"] == {"accuracy": pytest.approx(2 / 3), "equal AUC": pytest.approx(4.5 / 6)}
    assert result["arousal, all agree"] == {"accuracy": 1.0, "equal AUC": 1.0}
    assert list(result["intervals"]) == ["arousal", "arousal, all agree"]  # nothing is higher in the third
    low, high = result["intervals"]["arousal"]["equal AUC"]
    assert 0 <= low < 0.75 < high <= 1
    without = score_comparisons(tracks, comparisons=comparisons[:3], embed=word_embedder(words), seed=0)
    assert (set(without["arousal"]), "equal" in without) == ({"accuracy"}, False)


def test_a_table_leaves_empty_what_a_group_lacks():
    interval = (0.4, 0.6)
    result = {
        "pairs": 9,
        "arousal": {"accuracy": 0.5},
        "valence": {"accuracy": 0.25, "equal AUC": 0.75},
        "intervals": {"arousal": {"accuracy": interval}, "valence": {"accuracy": interval, "equal AUC": interval}},
    }
    table = make_table("pairs", result=result)
    assert [column.header for column in table.columns] == ["", "accuracy", "equal AUC"]
    assert list(table.columns[2].cells) == ["", "0.750\n0.400 to 0.600"]


ROWS = rows_of([], [], [])


def test_question_files_are_read(tmp_path: Path):
    path = write(tmp_path / "playlists.jsonl", {"title": "Sleep", "description": "calm", "tracks": ["2", "0"]}, "")
    assert read_playlists(path, rows=ROWS) == [Playlist("Sleep", "calm", (0, 2))]
    path = write(tmp_path / "triplets.jsonl", {"anchor": "a", "positive": "b", "negative": "c"})
    assert read_triplets(path) == [("a", "b", "c")]
    pair = {"first": 1, "second": "2", "attribute": "valence", "higher": "second"}
    path = write(tmp_path / "pairs.jsonl", pair, pair | {"higher": "equal", "subsets": ["all agree"]})
    assert read_comparisons(path, rows=ROWS) == [
        Comparison(1, 2, "valence", "second"),
        Comparison(1, 2, "valence", "equal", ("all agree",)),
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{no", "line 2: not JSON"),
        ("[1]", r"line 2: got \[1\]; expected an object with title"),
        ({"tracks": ["0"]}, "line 2: 'title' is None; expected a text"),
        ({"title": "x"}, "line 2: expected 'tracks' as a list"),
        ({"title": "x", "tracks": ["9"]}, "line 2: track '9' is not in this split of the manifest"),
        ({"title": "x", "tracks": []}, "line 2: 0 of the 3 tracks"),
        ({"title": "x", "tracks": ["0", "1", "2"]}, "line 2: 3 of the 3 tracks"),
    ],
)
def test_a_bad_playlist_is_named_by_its_line(tmp_path: Path, line: object, message: str):
    path = write(tmp_path / "playlists.jsonl", {"title": "fine", "tracks": ["0"]}, line)
    with pytest.raises(EvaluationError, match=message):
        read_playlists(path, rows=ROWS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"attribute": "tempo"}, "'attribute' is 'tempo'; expected arousal or valence"),
        ({"higher": "third"}, "'higher' is 'third'; expected first or second or equal"),
        ({"second": "0"}, "both tracks are '0'"),
        ({"subsets": "all"}, "'subsets' is 'all'; expected a list of names"),
        ({"higher": "equal"}, "all 1 pairs are equal; expected some with a higher track"),
        ({"first": "9"}, "track '9' is not in this split of the manifest"),
    ],
)
def test_a_bad_comparison_is_refused(tmp_path: Path, change: dict, message: str):
    good = {"first": "0", "second": "1", "attribute": "arousal", "higher": "first"}
    with pytest.raises(EvaluationError, match=message):
        read_comparisons(write(tmp_path / "pairs.jsonl", {**good, **change}), rows=ROWS)


def test_a_missing_or_empty_file_and_a_repeated_track_are_refused(tmp_path: Path):
    with pytest.raises(EvaluationError, match=r"no file at .*nowhere\.jsonl"):
        read_triplets(tmp_path / "nowhere.jsonl")
    with pytest.raises(EvaluationError, match="is empty; expected JSON Lines with anchor, positive, negative"):
        read_triplets(write(tmp_path / "empty.jsonl"))
    with pytest.raises(EvaluationError, match="track_id '0' is twice in the manifest"):
        read_playlists(write(tmp_path / "p.jsonl", {"title": "x", "tracks": ["0"]}), rows=[ROWS[0], ROWS[0]])
