"""The wheel as a user meets it: installed into a fresh environment, used in an empty folder, far from the checkout."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from zipfile import ZipFile

import pytest

from export.to_onnx import FILES
from tests.client.audio_files import tone, write_audio
from tests.export.conftest import checkpoint, manifest  # noqa: F401  fixtures

PROJECT = Path(__file__).parents[1]
MAX_BYTES = 100e6  # what the Python package index takes
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")


class Installed:
    """A virtual environment with the wheel, which takes only the dependencies from the environment of the tests."""

    def __init__(self, folder: Path, *, wheel: Path) -> None:
        succeed(sys.executable, "-m", "venv", "--without-pip", folder)
        self._bin = folder / "bin"
        succeed(*PIP, "--python", self._bin / "python", "install", "--no-deps", "--no-index", wheel)
        (self.site_packages,) = folder.glob("lib/python*/site-packages")
        # Python reads no .pth in folders that a .pth names: the tests' own, editable MusicSearch stays unknown.
        others = [place for place in sys.path if Path(place).name in ("site-packages", "dist-packages")]
        (self.site_packages / "dependencies.pth").write_text("\n".join(others))

    def run(
        self, command: str, *arguments: str | Path, cwd: Path, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command of this environment, which shall leave what pip installed as it is."""
        before = self._contents()
        environment = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"} | dict(env or {})
        ended = subprocess.run(
            [self._bin / command, *arguments], cwd=cwd, env=environment, capture_output=True, text=True, check=False
        )
        assert self._contents() == before
        return ended

    def _contents(self) -> dict[Path, tuple[int, int]]:
        """Size and time of every file, but for the code that Python keeps compiled."""
        files = (path for path in self.site_packages.rglob("*") if "__pycache__" not in path.parts)
        return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in files}


def succeed(*command: str | Path) -> None:
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr + ended.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built without the network, from a copy: setuptools leaves its files where it builds."""
    source = tmp_path_factory.mktemp("source")
    settings = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    packages = settings["tool"]["setuptools"]["packages"]["find"]["include"]
    for name in {package.rstrip("*").partition(".")[0] for package in packages}:
        shutil.copytree(PROJECT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "library"))
    for name in ("pyproject.toml", settings["project"]["readme"], *settings["project"]["license-files"]):
        shutil.copy(PROJECT / name, source)
    out = tmp_path_factory.mktemp("dist")
    succeed(*PIP, "wheel", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", out, source)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    return Installed(tmp_path_factory.mktemp("environment"), wheel=wheel)


def test_it_carries_the_starter_and_is_small_enough_for_the_index(wheel: Path) -> None:
    assert set(ZipFile(wheel).namelist()) >= {f"model_repository/{name}" for name in FILES}
    assert wheel.stat().st_size < MAX_BYTES


def test_the_first_example_of_the_readme_finds_music(installed: Installed, tmp_path: Path) -> None:
    example = re.search(r"```python\n(.*?)```", (PROJECT / "README.md").read_text(encoding="utf-8"), re.DOTALL)[1]
    assert 'ms.add("~/Music")' in example
    music, empty = tmp_path / "Music", tmp_path / "empty"
    music.mkdir()
    empty.mkdir()
    write_audio(music / "low.wav", tone(220, seconds=3))
    write_audio(music / "high.mp3", tone(1760, seconds=3), kind="mp3")
    ended = installed.run("python", "-c", example, cwd=empty, env={"HOME": str(tmp_path)})
    assert ended.returncode == 0, ended.stderr
    found = {Path(line.split("  ")[1]).name for line in ended.stdout.splitlines()}
    assert found == {"low.wav", "high.mp3"}, ended.stdout + ended.stderr

    # And the command, which the wheel brings too.
    ended = installed.run("music-search", "search", "library", "a bass", "--json", cwd=empty)
    assert ended.returncode == 0, ended.stderr
    assert "low.wav" in ended.stdout
    assert [path.name for path in empty.iterdir()] == ["library"]


def test_an_export_writes_into_the_current_folder(
    installed: Installed,
    checkpoint: Path,  # noqa: F811
    manifest: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    command = ["-m", "export.to_onnx", checkpoint, "--parity-data", manifest]
    ended = installed.run("python", *command, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["model_repository"]
    assert (tmp_path / "model_repository/audio_embedding/1/model.py").is_file()


def test_the_exports_music_and_the_recipes_travel(installed: Installed, tmp_path: Path) -> None:
    recipes = [recipe.stem for recipe in (PROJECT / "train/recipes").glob("*.yaml")]
    code = f"""
import runpy
from export.to_onnx import PARITY_DATA
from train.config import load_recipe
from train.data.manifest import read_manifest
print(len([row for row in read_manifest(PARITY_DATA) if row.audio.is_file()]))
print(len([load_recipe(name) for name in {recipes}]))
runpy.run_module("train", run_name="__main__")
"""
    command = ["-c", code, "starter", "--data", "none.jsonl", "--out", "run"]
    ended = installed.run("python", *command, cwd=tmp_path)
    assert ended.stdout.split() == ["81", str(len(recipes))], ended.stderr
    assert "none.jsonl" in ended.stderr  # the recipe was read; the music is what is missing


def test_the_starter_is_served(installed: Installed, tmp_path: Path) -> None:
    if importlib.util.find_spec("pytriton") is None:
        pytest.skip("needs the wheel nvidia-pytriton (Linux): pip install -e '.[serve]'")
    ended = installed.run("python", "-m", "serve", "--check", cwd=tmp_path)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "audio_embedding" in ended.stdout
    assert not list(tmp_path.iterdir())
