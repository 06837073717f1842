import re

import numpy as np
import pytest
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    label_ranking_average_precision_score,
    roc_auc_score,
    top_k_accuracy_score,
)

from train.evaluate.metrics import (
    average_precision,
    correct,
    mean_average_precision,
    mean_roc_auc,
    pairs_ordered,
    ranks,
    retrieval_metrics,
    roc_auc,
    triplets_won,
)

SIMILARITY = np.array([[0.9, 0.1, 0.2, 0.3], [0.8, 0.5, 0.6, 0.1], [0.1, 0.2, 0.7, 0.3], [0.4, 0.3, 0.2, 0.1]])


def test_golden_values():
    assert ranks(SIMILARITY).tolist() == [1, 3, 1, 4]
    metrics = retrieval_metrics(SIMILARITY)
    assert (metrics["R@1"], metrics["R@5"], metrics["MedR"]) == (0.5, 1.0, 2.0)
    assert metrics["mAP@10"] == pytest.approx((1 + 1 / 3 + 1 + 1 / 4) / 4, abs=1e-12)


def test_agrees_with_scikit_learn():
    similarity = np.random.default_rng(0).standard_normal((10, 10)) + 2 * np.eye(10)
    metrics = retrieval_metrics(similarity)
    for k in (1, 5):
        assert metrics[f"R@{k}"] == pytest.approx(
            top_k_accuracy_score(np.arange(10), similarity, k=k, labels=np.arange(10)), abs=1e-9
        )
    assert metrics["mAP@10"] == pytest.approx(
        label_ranking_average_precision_score(np.eye(10, dtype=int), similarity), abs=1e-9
    )


def test_a_collapsed_model_scores_worst_not_best():
    assert retrieval_metrics(np.ones((20, 20)))["R@10"] == 0.0


def test_map_ignores_ranks_beyond_ten():
    similarity = np.tile(np.arange(12.0), (12, 1))  # candidate j is j-th from the worst for every query
    expected = sum(1 / rank for rank in range(1, 11)) / 12
    assert retrieval_metrics(similarity)["mAP@10"] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("matrix", "message"), [(np.ones((2, 3)), "shape"), (np.full((2, 2), np.nan), "NaN")])
def test_bad_matrices_are_refused(matrix: np.ndarray, message: str):
    with pytest.raises(ValueError, match=message):
        retrieval_metrics(matrix)


@pytest.mark.parametrize("distinct", [4, 1_000_000], ids=["many ties", "no ties"])
def test_areas_agree_with_scikit_learn(distinct: int):
    rng = np.random.default_rng(0)
    scores = rng.integers(distinct, size=(60, 5)) / distinct
    relevant = rng.random((60, 5)) < 0.3
    weights = rng.integers(1, 4, size=(2, 60))
    for row in weights:
        for score, mask in zip(scores.T, relevant.T, strict=True):
            assert roc_auc(score, relevant=mask) == pytest.approx(roc_auc_score(mask, score), abs=1e-9)
            assert average_precision(score, relevant=mask) == pytest.approx(
                average_precision_score(mask, score), abs=1e-9
            )
            assert roc_auc(score, relevant=mask, weights=row) == pytest.approx(
                roc_auc_score(mask, score, sample_weight=row), abs=1e-9
            )
            assert average_precision(score, relevant=mask, weights=row) == pytest.approx(
                average_precision_score(mask, score, sample_weight=row), abs=1e-9
            )
    for ours, theirs in ((mean_roc_auc, roc_auc_score), (mean_average_precision, average_precision_score)):
        assert ours(scores, relevant=relevant) == pytest.approx(theirs(relevant, scores, average="macro"), abs=1e-9)
        expected = [theirs(relevant, scores, average="macro", sample_weight=row) for row in weights]
        np.testing.assert_allclose(ours(scores, relevant=relevant, weights=weights), expected, atol=1e-9)


def test_a_column_that_the_weights_empty_leaves_the_mean():
    scores = np.array([[0.9, 0.1], [0.2, 0.8], [0.1, 0.3]])
    relevant = np.array([[True, False], [False, True], [False, True]])
    weights = np.array([[1, 1, 1], [0, 2, 1], [1, 0, 0]])
    full, without_the_first_row, without_the_others = mean_roc_auc(scores, relevant=relevant, weights=weights)
    assert full == 1.0
    assert np.isnan(without_the_first_row)  # column 0 has no relevant item left, column 1 no other
    assert np.isnan(without_the_others)
    assert mean_average_precision(scores, relevant=relevant, weights=weights).tolist() == [1.0, 1.0, 1.0]


def test_items_without_weight_count_for_nothing():
    scores, relevant = np.array([0.9, 0.5, 0.1]), np.array([True, False, True])
    with np.errstate(all="raise"):
        assert average_precision(scores, relevant=relevant, weights=np.array([0, 1, 1])) == 0.5
        assert np.isnan(average_precision(scores, relevant=relevant, weights=np.array([0, 1, 0])))
        columns = mean_average_precision(scores[:, None], relevant=relevant[:, None], weights=np.array([0, 1, 0]))
    assert np.isnan(columns)


def test_a_collapsed_model_is_never_right():
    assert roc_auc(np.ones(4), relevant=np.array([True, False, False, True])) == 0.5
    assert not correct(np.ones((5, 3)), classes=np.zeros(5, dtype=int)).any()
    same = np.ones((4, 2))
    assert not triplets_won(same, positive=same, negative=same).any()


def test_accuracy_agrees_with_scikit_learn():
    rng = np.random.default_rng(0)
    scores, classes = rng.random((50, 4)), rng.integers(4, size=50)
    assert correct(scores, classes=classes).mean() == pytest.approx(
        accuracy_score(classes, scores.argmax(axis=1)), abs=1e-9
    )


def test_triplets_are_won_by_the_nearer_text():
    anchor, positive = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[0.8, 0.6], [0.8, 0.6]])
    won = triplets_won(anchor, positive=positive, negative=np.array([[0.6, 0.8], [0.6, 0.8]]))
    assert won.tolist() == [True, False]


def test_pairs_are_ordered_by_the_higher_score_and_a_tie_is_wrong():
    first, second = np.array([2.0, 1.0, 2.0, 1.0, 1.0, 1.0]), np.array([1.0, 2.0, 1.0, 2.0, 1.0, 1.0])
    is_higher = np.array([True, True, False, False, True, False])
    ordered = pairs_ordered(first, second=second, first_is_higher=is_higher)
    assert ordered.tolist() == [True, False, False, True, False, False]


@pytest.mark.parametrize(
    ("scores", "relevant", "message"),
    [
        ([0.1, 0.2], [True, True], "all 2 items are relevant"),
        ([0.1, 0.2], [False, False], "none of 2 items is relevant"),
        ([0.1, np.nan], [True, False], "NaN"),
        ([0.1, 0.2, 0.3], [True, False], r"scores \(3,\) and relevant \(2,\)"),
    ],
)
def test_undefined_areas_are_refused(scores: list[float], relevant: list[bool], message: str):
    with pytest.raises(ValueError, match=message):
        roc_auc(np.array(scores), relevant=np.array(relevant))


def test_vectors_of_other_shapes_are_refused():
    with pytest.raises(ValueError, match=r"\(2, 2\), \(3, 2\)"):
        triplets_won(np.ones((2, 2)), positive=np.ones((3, 2)), negative=np.ones((2, 2)))
    with pytest.raises(ValueError, match=r"classes \(3,\)"):
        correct(np.ones((2, 2)), classes=np.zeros(3, dtype=int))
    with pytest.raises(ValueError, match=r"^shapes \(2, 2\), \(2, 2\), \(2, 2\); expected three of \[n\]$"):
        pairs_ordered(np.ones((2, 2)), second=np.ones((2, 2)), first_is_higher=np.ones((2, 2), bool))
    with pytest.raises(ValueError, match=r"^shapes \(3,\), \(3,\), \(1,\); "):
        pairs_ordered(np.ones(3), second=np.ones(3), first_is_higher=np.ones(1, bool))


@pytest.mark.parametrize("shapes", [((3, 2), (3, 1)), ((3,), (3,)), ((0, 2), (0, 2))], ids=str)
def test_means_over_columns_want_columns(shapes: tuple[tuple[int, ...], tuple[int, ...]]):
    scores, relevant = np.ones(shapes[0]), np.ones(shapes[1], bool)
    message = f"scores {shapes[0]} and relevant {shapes[1]}; expected both as [n, columns]"
    with pytest.raises(ValueError, match=re.escape(message)):
        mean_roc_auc(scores, relevant=relevant)
