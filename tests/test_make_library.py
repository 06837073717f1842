"""One command takes a published model to a library that can be searched, and to a server."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from client import MusicSearch
from tests.export.conftest import manifest  # noqa: F401  a fixture
from tests.export.test_sources_clap import save_clap

PROJECT = Path(__file__).parents[1]
MAKE = ("make", "--old-file=.venv/.all")  # as if `make test` had just made the environment


def make(*arguments: str, commands: Path = Path(sys.executable).parent) -> subprocess.CompletedProcess[str]:
    # Not those of a make that runs the tests: it would have this one say which folder it enters.
    environment = {
        name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")
    }
    command = (*MAKE, f"BIN={commands}", *arguments)
    return subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=False)


def test_a_published_model_becomes_a_searchable_library(manifest: Path, tmp_path: Path, commands: Path):  # noqa: F811
    name, model = save_clap(tmp_path / "clap", fused=False), tmp_path / "model"
    options = (f"NAME={name}", f"MUSIC={manifest.parent}", f"MODEL={model}", f"EXPORT=--parity-data {manifest}")
    made = make("library", *options, commands=commands)
    assert made.returncode == 0, made.stdout + made.stderr
    with MusicSearch(tmp_path / "model.library", encoder=model) as ms:
        assert ms.info().tracks == 16
        assert len(ms.search("calm piano", k=3)) == 3

    written = (model / "parity.json").stat().st_mtime_ns
    again = make("library", *options, commands=commands)
    assert again.returncode == 0, again.stdout + again.stderr
    assert (model / "parity.json").stat().st_mtime_ns == written


@pytest.mark.parametrize(
    ("name", "folder"),
    [("laion/clap-htsat-unfused", "models/laion--clap-htsat-unfused"), ("/a/clap", "models/--a--clap")],
)
def test_the_same_name_is_served(name: str, folder: str):
    assert f"-m serve --repository {folder}\n" in make("--dry-run", "serve", f"NAME={name}").stdout
    assert make("--dry-run", "serve").stdout.rstrip().endswith("-m serve")


def test_a_missing_model_or_folder_is_one_sentence():
    for given in ((), ("NAME=laion/clap-htsat-unfused",), ("MUSIC=music",)):
        refused = make("library", *given)
        assert refused.returncode == 2
        assert "give a model and its music: make library NAME=laion/clap-htsat-unfused MUSIC=~/Music" in refused.stderr
