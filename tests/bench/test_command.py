"""`python -m bench`: a bench whose packages or device are not there says so, and its old section stays."""

import os
import subprocess
import sys

import pytest

from bench.__main__ import RESULTS, main


@pytest.mark.parametrize("package", ["torch", "hnswlib"])
def test_a_bench_without_its_package_is_skipped(
    package: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name = {"torch": "gpu", "hnswlib": "graph"}[package]
    before = RESULTS.read_bytes()
    monkeypatch.setattr(sys, "argv", ["bench", name])
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, f"bench.{name}", raising=False)
    assert main() == 0
    assert f"{name}: skipped, {package} is not installed" in capsys.readouterr().out
    assert RESULTS.read_bytes() == before


HIDING = """
import importlib.machinery, sys
find = importlib.machinery.PathFinder.find_spec
hidden = {"av", "soxr", "soundfile", "rich", "scipy", "sklearn", "wordfreq", "matplotlib", "onnx", "hnswlib", "mutagen"}
importlib.machinery.PathFinder.find_spec = lambda name, *others: (
    None if name.partition(".")[0] in hidden else find(name, *others)
)
sys.argv = ["bench", "gpu"]
from bench.__main__ import main
sys.exit(main())
"""


def test_the_gpu_bench_needs_torch_and_little_else() -> None:
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run([sys.executable, "-c", HIDING], capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert "no GPU that torch can use" in done.stdout
