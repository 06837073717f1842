"""A process that is killed at any moment loses nothing that it acknowledged, and leaves nothing half done."""

import functools
import itertools
import random
import re
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest

from client.index.catalogue import Catalogue
from client.index.hnsw import delete_snapshot
from client.index.live import LiveIndex
from client.index.maintenance import verify
from client.index.records import Model, TrackVectors
from tests.client.forks import fork_server
from tests.client.test_catalogue import DIM, make, new_track, unit

KILLS = 25  # of each work, of which there are five

# Each works until it is killed, and tells what was acknowledged: "+" these paths are there, "?" this one may be gone
# from here on, "-" it is gone, "*" the next model has embedded this path, "=" the library has gone over to this model.
Tell = Callable[[tuple[str, ...]], None]


def add(catalogue: Catalogue, tell: Tell) -> None:
    for number in itertools.count(catalogue.position().label):
        catalogue.put([new_track(f"{number}-{half}", seed=number) for half in "xy"])
        tell(("+", f"/music/{number}-x.wav", f"/music/{number}-y.wav"))


def remove(catalogue: Catalogue, tell: Tell) -> None:
    for number in itertools.count(catalogue.position().label):
        path = f"/music/{number}.wav"
        catalogue.put([new_track(str(number), seed=number)])
        tell(("+", path))
        tell(("?", path))
        catalogue.remove([catalogue.by_path(path).track_id])
        tell(("-", path))


def snapshot(catalogue: Catalogue, tell: Tell) -> None:
    index = LiveIndex(catalogue, exact_below=0)
    for number in itertools.count(catalogue.position().label):
        catalogue.put([new_track(str(number), seed=number)])
        tell(("+", f"/music/{number}.wav"))
        index.save()


def compact(catalogue: Catalogue, tell: Tell) -> None:
    for number in itertools.count(catalogue.position().label):
        catalogue.put([new_track(str(number), seed=number)])
        tell(("+", f"/music/{number}.wav"))
        catalogue.forget_the_past()
        delete_snapshot(catalogue.folder)
        LiveIndex(catalogue, exact_below=0).save()


def reembed(catalogue: Catalogue, tell: Tell) -> None:
    while True:
        catalogue = catalogue.beside(model_after(catalogue.model.name))
        for path in catalogue.lacking():
            number = catalogue.by_path(path).number
            catalogue.put_vectors({number: made_by(catalogue.model.name, path)})
            tell(("*", path))
        catalogue.make_current()
        tell(("=", catalogue.model.name))
        LiveIndex(catalogue, exact_below=0).save()


def model_after(name: str) -> Model:
    number = 1 if name == "tiny" else int(name) + 1
    return Model(str(number), f"{number:064}", DIM)


@functools.cache
def made_by(model: str, path: str) -> TrackVectors:
    """What each model makes of the track at a path: the seed is the number in its name."""
    seed = int(re.search(r"\d+", path)[0])
    return new_track("x", seed=seed if model == "tiny" else 1000 * int(model) + seed).vectors


def work_until_killed(work: Callable[[Catalogue, Tell], None], folder: Path, channel: Connection) -> None:
    catalogue = Catalogue(folder)
    with catalogue.writing():
        channel.send("ready")
        work(catalogue, channel.send)


def killed(
    work: Callable[[Catalogue, Tell], None], folder: Path, *, told_before: int, after_s: float
) -> list[tuple[str, ...]]:
    """What a process told before kill -9: at least so much, and that long before."""
    context = fork_server()
    reading, writing = context.Pipe(duplex=False)
    process = context.Process(target=work_until_killed, args=(work, folder, writing))
    process.start()
    writing.close()
    assert reading.recv() == "ready"
    told = [reading.recv() for _ in range(told_before)]
    time.sleep(after_s)
    process.kill()
    with suppress(EOFError):
        while True:
            told.append(reading.recv())
    process.join()
    assert process.exitcode == -signal.SIGKILL
    return told


@pytest.mark.parametrize("work", [add, remove, snapshot, compact, reembed])
def test_nothing_acknowledged_is_lost_and_nothing_invented(
    tmp_path: Path, work: Callable[[Catalogue, Tell], None]
) -> None:
    folder = tmp_path / "library"
    make(folder, *(f"first {number}" for number in range(50))).close()
    kept = {f"/music/first {number}.wav" for number in range(50)}
    rng = random.Random(work.__name__)
    model = "tiny"
    acknowledged = 0
    for _ in range(KILLS):
        doubtful: set[str] = set()
        embedded: set[str] = set()
        for sign, *values in killed(work, folder, told_before=rng.randrange(4), after_s=rng.uniform(0, 0.1)):
            acknowledged += 1
            if sign == "+":
                kept.update(values)
            elif sign == "*":
                embedded.update(values)
            elif sign == "=":
                (model,), embedded = values, set()
            else:
                kept.difference_update(values)
                doubtful = set(values) if sign == "?" else set()
        catalogue = Catalogue(folder)
        # The last group may have been written, and its line not; so may the last switch.
        assert catalogue.model.name in (model, model_after(model).name)
        vectors = read(catalogue)
        assert kept <= vectors.keys()
        assert len(vectors.keys() - kept - doubtful) <= 2
        if catalogue.model.name == model and embedded:
            other = catalogue.beside(model_after(model))
            assert embedded <= read(other).keys()
            other.close()
        model = catalogue.model.name
        kept = set(vectors)
        query = unit(seed=3)[0]
        scores = LiveIndex(catalogue, exact_below=0, recall=1.0).search(query, k=5)[1]
        expected = sorted((float(vector @ query) for vector in vectors.values()), reverse=True)[:5]
        np.testing.assert_allclose(scores, expected, atol=1e-5)
        with catalogue.writing():  # the dead writer's lock is gone
            pass
        catalogue.close()
    assert acknowledged > KILLS
    assert verify(folder).problems == []


def read(catalogue: Catalogue) -> dict[str, np.ndarray]:
    """By path, the vectors, each of which is what the model makes of that path."""
    vectors: dict[str, np.ndarray] = {}
    windows, made = [], []
    for labels, part in catalogue.vectors_after(0):
        for label, vector in zip(labels.tolist(), part, strict=True):
            path = catalogue.by_label(label).file.path
            vectors[path] = vector
            windows.append(catalogue.windows(label)[1])
            made.append(made_by(catalogue.model.name, path))
    if made:
        np.testing.assert_array_equal([*vectors.values()], [each.vector for each in made])
        in_8_bits = np.concatenate(windows)
        np.testing.assert_allclose(in_8_bits, np.concatenate([each.windows for each in made]), atol=1e-2)
    return vectors
