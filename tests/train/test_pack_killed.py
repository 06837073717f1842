"""A packing that is killed at any moment leaves no half shard, and the same command finishes it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from train.data import pack
from train.data.__main__ import main

RECORDINGS, SECONDS, RATE_HZ = 12, 20, 16_000
OPTIONS = ["--shard-size", "0.01", "--encode", "opus"]  # a shard for each recording
ENDS_WITHIN_S = 20


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recordings")
    noise = 0.1 * np.random.default_rng(0).standard_normal(SECONDS * RATE_HZ)
    for number in range(RECORDINGS):
        soundfile.write(folder / f"{number}.flac", np.roll(noise, number), RATE_HZ)
    path = folder / "manifest.jsonl"
    path.write_text(
        "\n".join(json.dumps({"audio": f"{n}.flac", "captions": [f"noise {n}"]}) for n in range(RECORDINGS))
    )
    return path


@pytest.fixture(scope="module")
def undisturbed(manifest: Path) -> dict[str, bytes]:
    folder = manifest.parent / "undisturbed"
    assert main(["pack", str(manifest), "--out", str(folder), *OPTIONS, "--workers", "1"]) == 0
    return contents(folder)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def killed(command: list[str], *, once: Callable[[], bool]) -> None:
    """Run a command until something has happened, then kill it; its own processes must end too."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    process = subprocess.Popen([sys.executable, "-m", "train.data", *command], env=environment, stderr=subprocess.PIPE)
    while not once():
        assert process.poll() is None
        time.sleep(0.002)
    process.kill()
    process.communicate(timeout=ENDS_WITHIN_S)  # until nobody has its stderr open any more
    assert process.returncode == -signal.SIGKILL


@pytest.mark.parametrize("workers", ["1", "2"])
def test_after_kills_the_same_command_ends_with_the_same_bytes(
    manifest: Path, undisturbed: dict[str, bytes], tmp_path: Path, workers: str
):
    out = tmp_path / "shards"
    command = ["pack", str(manifest), "--out", str(out), *OPTIONS, "--workers", workers]
    half = ".*.tar.*.tmp"
    for finished in (0, 2, 5):
        killed(command, once=lambda: any(out.glob(half)) and len(list(out.glob("*.tar"))) >= finished)  # noqa: B023
        left = contents(out)
        shards = [name for name in left if name.endswith(".tar")]
        assert finished <= len(shards) < RECORDINGS
        for name in shards:
            index = name.replace(".tar", ".jsonl")
            assert (left[name], left[index]) == (undisturbed[name], undisturbed[index])
        assert "index.json" not in left
    written = (out / "000.tar").stat().st_mtime_ns
    assert main(command) == 0
    assert contents(out) == undisturbed
    assert (out / "000.tar").stat().st_mtime_ns == written


@pytest.fixture
def interrupted(manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two shards, and the journal of the run that made them."""
    make, made = pack._pack, iter(range(2))

    def stop(shard: pack._Shard, *, encoding: pack.Encoding | None) -> pack.Packed:
        if next(made, None) is None:
            raise KeyboardInterrupt
        return make(shard, encoding=encoding)

    with monkeypatch.context() as patch:
        patch.setattr(pack, "_pack", stop)
        with pytest.raises(KeyboardInterrupt):
            main(["pack", str(manifest), "--out", str(tmp_path / "shards"), *OPTIONS, "--workers", "1"])
    assert len(list(tmp_path.glob("shards/*.tar"))) == 2
    return tmp_path / "shards"


def test_shards_of_another_interrupted_run_are_refused_and_kept(
    manifest: Path, interrupted: Path, capsys: pytest.CaptureFixture[str]
):
    before = contents(interrupted)
    status = (manifest.parent / "7.flac").stat()
    for options, changed in (([*OPTIONS, "--sample-rate", "24000"], False), (OPTIONS, True)):
        if changed:
            os.utime(manifest.parent / "7.flac", ns=(1, 1))
        assert main(["pack", str(manifest), "--out", str(interrupted), *options, "--workers", "1"]) == 2
        assert "of an interrupted run with other rows, recordings or options; repeat" in capsys.readouterr().err
        assert contents(interrupted) == before
    os.utime(manifest.parent / "7.flac", ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "001.tar").unlink(),
        lambda folder: (folder / "000.jsonl").unlink(),
        lambda folder: os.truncate(folder / "000.tar", 5_000),
        lambda folder: os.truncate(folder / "unfinished.jsonl", (folder / "unfinished.jsonl").stat().st_size - 9),
    ],
    ids=["no shard", "no index", "cut shard", "cut journal"],
)
def test_a_finished_shard_that_is_gone_or_cut_is_written_again(
    manifest: Path, undisturbed: dict[str, bytes], interrupted: Path, damage: Callable[[Path], object]
):
    damage(interrupted)
    assert main(["pack", str(manifest), "--out", str(interrupted), *OPTIONS, "--workers", "1"]) == 0
    assert contents(interrupted) == undisturbed
