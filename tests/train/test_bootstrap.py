import numpy as np
import pytest
from scipy.stats import binom, bootstrap
from sklearn.metrics import average_precision_score

from train.evaluate.bootstrap import bootstrap_interval, times_drawn
from train.evaluate.labels import Targets, score_labels
from train.evaluate.metrics import average_precision, mean_average_precision


def mean(drawn: np.ndarray) -> np.ndarray:
    return drawn.mean(axis=-1)


def test_agrees_with_scipy():
    values = np.random.default_rng(0).gamma(2.0, size=200)
    options = {"n_resamples": 20_000, "method": "percentile", "vectorized": True}
    expected = bootstrap((values,), np.mean, rng=np.random.default_rng(1), **options).confidence_interval
    interval = bootstrap_interval(values, statistic=mean, seed=2, resamples=20_000)
    assert interval == pytest.approx(tuple(expected), abs=0.01)


def test_the_interval_of_a_share_is_the_binomial():
    hits = np.arange(400) < 100
    low, high = bootstrap_interval(hits, statistic=mean, seed=0, resamples=10_000)
    assert (low, high) == pytest.approx(binom.ppf([0.025, 0.975], 400, 0.25) / 400, abs=0.003)


def test_the_seed_decides_and_memory_does_not(monkeypatch: pytest.MonkeyPatch):
    values = np.random.default_rng(0).random(50)
    interval = bootstrap_interval(values, statistic=mean, seed=3)
    assert interval != bootstrap_interval(values, statistic=mean, seed=4)
    monkeypatch.setattr("train.evaluate.bootstrap.BLOCK", 50 * 7)
    assert interval == bootstrap_interval(values, statistic=mean, seed=3)


def test_the_area_under_precision_and_recall_lies_in_its_interval():
    # Drawing tracks twice raises average precision: percentiles alone would lie above the value.
    rng = np.random.default_rng(0)
    scores, relevant = rng.random((1_000, 20)), rng.random((1_000, 20)) < 0.02
    values, intervals = score_labels(scores, targets=Targets(tuple(map(str, range(20))), relevant, False), seed=0)
    low, high = intervals["PR-AUC"]
    assert low + 0.2 * (high - low) < values["PR-AUC"] < high - 0.2 * (high - low)
    # As wide as 95 % of such values lie apart.
    again = [
        mean_average_precision(rng.random((1_000, 20)), relevant=rng.random((1_000, 20)) < 0.02) for _ in range(100)
    ]
    assert high - low == pytest.approx(np.subtract(*np.quantile(again, [0.975, 0.025])), rel=0.5)


def test_weights_stand_for_the_drawn_items():
    rng = np.random.default_rng(0)
    scores, relevant = rng.integers(5, size=30).astype(float), rng.random(30) < 0.3
    drawn = rng.integers(30, size=(20, 30))
    weighted = average_precision(scores, relevant=relevant, weights=times_drawn(drawn))
    copied = [average_precision_score(relevant[row], scores[row]) for row in drawn]
    np.testing.assert_allclose(weighted, copied, atol=1e-12)


def test_draws_that_leave_the_statistic_undefined_are_left_out():
    values = np.array([0.0, 1.0])
    low, high = bootstrap_interval(
        values, statistic=lambda drawn: np.where(drawn.any(axis=-1), drawn.max(axis=-1), np.nan), seed=0
    )
    assert (low, high) == (1.0, 1.0)
    with pytest.raises(ValueError, match="undefined in all 1000 resamples of 2 queries"):
        bootstrap_interval(values, statistic=lambda drawn: np.full(len(drawn), np.nan), seed=0)


def test_no_queries_are_refused():
    with pytest.raises(ValueError, match="at least one query"):
        bootstrap_interval(np.empty(0), statistic=mean, seed=0)
