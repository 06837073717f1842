"""Windows in 8 bits: how much of them is left, and where a track fits best."""

import numpy as np
import pytest

from client.index.quantized import quantize, read


def alike(count: int, *, dim: int, spread: float, seed: int) -> np.ndarray:
    """Unit vectors around one."""
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal(dim) + spread * rng.standard_normal((count, dim))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("spread", [0.0, 1e-3, 0.1, 1.0])
@pytest.mark.parametrize("count", [1, 2, 40])
def test_they_are_what_they_were_but_for_a_little(count: int, spread: float) -> None:
    vectors = alike(count, dim=391, spread=spread, seed=count)
    blob = quantize(vectors)
    assert len(blob) == (count + 1) * (391 + 4)
    found = read(blob, count=count, dim=391)
    assert found.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    # What a number may be off by: half a step of its row and of the common one.
    apart = np.abs(vectors - vectors.mean(axis=0)).max() + np.abs(vectors.mean(axis=0)).max() / 127
    np.testing.assert_allclose(found, vectors, atol=0.6 * apart / 127 + 1e-6)
    np.testing.assert_array_equal(read(quantize(vectors), count=count, dim=391), found)


def test_the_best_window_is_the_same() -> None:
    queries = alike(2_000, dim=391, spread=5.0, seed=1)
    same = []
    for seed in range(20):
        windows = alike(18, dim=391, spread=0.7, seed=seed)
        found = read(quantize(windows), count=18, dim=391)
        same.append(((queries @ windows.T).argmax(axis=1) == (queries @ found.T).argmax(axis=1)).mean())
    assert np.mean(same) > 0.99


def test_what_older_versions_wrote_is_read() -> None:
    vectors = alike(3, dim=391, spread=1.0, seed=2)
    np.testing.assert_array_equal(read(vectors.tobytes(), count=3, dim=391), vectors)


@pytest.mark.parametrize("lost", [1, 391, 395])
def test_a_part_of_them_is_no_answer(lost: int) -> None:
    with pytest.raises(ValueError, match=r"buffer|reshape"):
        read(quantize(alike(3, dim=391, spread=1.0, seed=2))[:-lost], count=3, dim=391)
