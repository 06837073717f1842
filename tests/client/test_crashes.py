"""A process that is killed at any moment loses nothing that it acknowledged, and leaves nothing half done."""

import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from client.index.catalogue import Catalogue
from client.index.live import LiveIndex
from client.index.maintenance import verify
from tests.client.test_catalogue import make, unit

KILLS = 25  # of each work

# Each works until it is killed, and prints one line for each thing that was acknowledged.
WORKS = {
    "add and remove": """
for number in itertools.count(int(catalogue.position().label)):
    catalogue.put([new_track(f"{number}-{half}", seed=number) for half in "xy"])
    print("+", f"/music/{number}-x.wav", f"/music/{number}-y.wav", flush=True)
    if number % 3 == 0:
        path = f"/music/{number}-x.wav"
        print("?", path, flush=True)  # from here on it may be gone
        catalogue.remove([catalogue.by_path(path).track_id])
        print("-", path, flush=True)
""",
    "snapshot": """
index = LiveIndex(catalogue, exact_below=0)
for number in itertools.count(int(catalogue.position().label)):
    catalogue.put([new_track(str(number), seed=number)])
    print("+", f"/music/{number}.wav", flush=True)
    index.save()
""",
    "compact": """
for number in itertools.count(int(catalogue.position().label)):
    catalogue.put([new_track(str(number), seed=number)])
    print("+", f"/music/{number}.wav", flush=True)
    catalogue.forget_the_past()
    delete_snapshot(folder)
    LiveIndex(catalogue, exact_below=0).save()
""",
    "re-embed": """
models = [Model(name, name * 64, DIM) for name in "ab"]
for number in itertools.count(int(catalogue.position().label)):
    other = catalogue.beside(models[number % 2])
    for path in other.lacking():
        other.put_vectors({other.by_path(path).number: new_track("x", seed=number).vectors})
    other.make_current()
    print("=", other.model.name, flush=True)
    catalogue = other
""",
}
SETUP = """
import itertools, pathlib, sys
from client.index.catalogue import Catalogue, Model
from client.index.hnsw import delete_snapshot
from client.index.live import LiveIndex
from tests.client.test_catalogue import DIM, new_track
folder = pathlib.Path(sys.argv[1])
catalogue = Catalogue(folder)
lock = catalogue.writing()
lock.__enter__()
print("!", flush=True)
"""


def killed(folder: Path, work: str, *, after_s: float) -> list[str]:
    """What a process acknowledged before it was killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", SETUP + WORKS[work], folder], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "!\n", process.stderr.read()
    time.sleep(after_s)
    process.send_signal(signal.SIGKILL)
    lines = process.stdout.readlines()
    assert process.wait() == -signal.SIGKILL, process.stderr.read()
    return [line for line in lines if line.endswith("\n")]


@pytest.mark.parametrize("work", WORKS)
def test_nothing_acknowledged_is_lost_and_nothing_invented(tmp_path: Path, work: str) -> None:
    folder = tmp_path / "library"
    make(folder, *(f"first {number}" for number in range(50))).close()
    kept = {f"/music/first {number}.wav" for number in range(50)}
    rng = random.Random(work)
    model = "tiny"
    for _ in range(KILLS):
        doubtful: set[str] = set()
        for line in killed(folder, work, after_s=rng.uniform(0, 0.15)):
            sign, *paths = line.split() if work != "re-embed" else (line[0], line[2:].strip())
            if sign == "+":
                kept |= set(paths)
            elif sign == "=":
                (model,) = paths
            else:
                kept -= set(paths)
                doubtful = set(paths) if sign == "?" else set()
        catalogue = Catalogue(folder)
        vectors = {
            catalogue.by_label(label).file.path: vector
            for labels, part in catalogue.vectors_after(0)
            for label, vector in zip(labels.tolist(), part, strict=True)
        }
        assert kept <= vectors.keys()
        # One group may have been written, and its line not.
        assert len(vectors.keys() - kept - doubtful) <= 2
        if work == "re-embed":
            assert catalogue.model.name == model or catalogue.model.name in "ab"
            assert len(vectors) == 50
        kept = set(vectors)
        index = LiveIndex(catalogue, exact_below=0, recall=1.0)
        query = unit(seed=3)[0]
        scores = index.search(query, k=5)[1]
        expected = sorted((float(vector @ query) for vector in vectors.values()), reverse=True)[:5]
        np.testing.assert_allclose(scores, expected, atol=1e-5)
        with catalogue.writing():  # the dead writer's lock is gone
            pass
        catalogue.close()
    assert verify(folder).problems == []
    shutil.rmtree(folder)
