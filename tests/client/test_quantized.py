"""Windows in 8 bits: how much of them is left, and where a track fits best."""

import numpy as np
import pytest

from client.index.quantized import quantize, read, size_of


def alike(count: int, *, dim: int, spread: float, seed: int) -> np.ndarray:
    """Unit vectors around one."""
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal(dim) + spread * rng.standard_normal((count, dim))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def mean_of(windows: np.ndarray) -> np.ndarray:
    mean = windows.mean(axis=0)
    return mean / np.linalg.norm(mean)


@pytest.mark.parametrize("spread", [0.0, 1e-3, 0.1, 1.0])
@pytest.mark.parametrize("count", [1, 2, 40])
def test_they_are_what_they_were_but_for_a_little(count: int, spread: float) -> None:
    windows = alike(count, dim=391, spread=spread, seed=count)
    track = mean_of(windows)
    blob = quantize(windows, track=track)
    assert len(blob) == count * size_of(391) == count * (391 + 50)
    found = read(blob, count=count, track=track)
    assert found.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    half_a_step = np.abs(windows - track).max() / 127 / 2
    np.testing.assert_allclose(found, windows, atol=1.1 * half_a_step + 5e-6)
    again = read(quantize(found, track=track), count=count, track=track)
    np.testing.assert_allclose(again, found, atol=half_a_step / 5 + 5e-6)  # a copy of a copy is no worse


def test_the_best_window_is_the_same() -> None:
    queries = alike(2_000, dim=391, spread=5.0, seed=1)
    same = []
    for seed in range(20):
        windows = alike(18, dim=391, spread=0.7, seed=seed)
        found = read(quantize(windows, track=mean_of(windows)), count=18, track=mean_of(windows))
        same.append(((queries @ windows.T).argmax(axis=1) == (queries @ found.T).argmax(axis=1)).mean())
    assert np.mean(same) > 0.993


def test_there_may_be_none() -> None:
    track = alike(1, dim=391, spread=1.0, seed=1)[0]
    assert read(quantize(np.empty((0, 391), np.float32), track=track), count=0, track=track).shape == (0, 391)


def test_what_older_versions_wrote_is_read() -> None:
    windows = alike(3, dim=391, spread=1.0, seed=2)
    np.testing.assert_array_equal(read(windows.tobytes(), count=3, track=windows[0]), windows)


@pytest.mark.parametrize("lost", [1, 391, 441])
def test_a_part_of_them_is_no_answer(lost: int) -> None:
    windows = alike(3, dim=391, spread=1.0, seed=2)
    with pytest.raises(ValueError, match=r"buffer|reshape"):
        read(quantize(windows, track=windows[0])[:-lost], count=3, track=windows[0])
