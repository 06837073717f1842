import numpy as np
import pytest
from sklearn.metrics import label_ranking_average_precision_score, top_k_accuracy_score

from train.evaluate.metrics import mean_average_precision_at_10, median_rank, ranks, recall_at_k, retrieval_metrics

SIMILARITY = np.array([[0.9, 0.1, 0.2, 0.3], [0.8, 0.5, 0.6, 0.1], [0.1, 0.2, 0.7, 0.3], [0.4, 0.3, 0.2, 0.1]])


def test_golden_values():
    assert ranks(SIMILARITY).tolist() == [1, 3, 1, 4]
    assert recall_at_k(SIMILARITY, k=1) == 0.5
    assert recall_at_k(SIMILARITY, k=3) == 0.75
    assert median_rank(SIMILARITY) == 2.0
    assert mean_average_precision_at_10(SIMILARITY) == pytest.approx((1 + 1 / 3 + 1 + 1 / 4) / 4, abs=1e-12)


def test_agrees_with_scikit_learn():
    similarity = np.random.default_rng(0).standard_normal((10, 10)) + 2 * np.eye(10)
    for k in (1, 5):
        assert recall_at_k(similarity, k=k) == pytest.approx(
            top_k_accuracy_score(np.arange(10), similarity, k=k, labels=np.arange(10)), abs=1e-9
        )
    assert mean_average_precision_at_10(similarity) == pytest.approx(
        label_ranking_average_precision_score(np.eye(10, dtype=int), similarity), abs=1e-9
    )


def test_a_collapsed_model_scores_worst_not_best():
    assert recall_at_k(np.ones((20, 20)), k=10) == 0.0


def test_map_ignores_ranks_beyond_ten():
    similarity = np.tile(np.arange(12.0), (12, 1))  # candidate j is j-th from the worst for every query
    expected = sum(1 / rank for rank in range(1, 11)) / 12
    assert mean_average_precision_at_10(similarity) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("matrix", "message"), [(np.ones((2, 3)), "shape"), (np.full((2, 2), np.nan), "NaN")])
def test_bad_matrices_are_refused(matrix: np.ndarray, message: str):
    with pytest.raises(ValueError, match=message):
        retrieval_metrics(matrix)


def test_k_out_of_range_is_refused():
    with pytest.raises(ValueError, match="expected 1 <= k <= 4"):
        recall_at_k(SIMILARITY, k=5)
