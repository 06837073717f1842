"""Python in a process of its own."""

import subprocess
from pathlib import Path

import pytest

from client.apart import can_start_python, python_command


def test_it_finds_the_modules_that_this_one_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "only_here.py").write_text("WORD = 'found'")
    monkeypatch.syspath_prepend(tmp_path)
    command = python_command("import only_here, sys; print(only_here.WORD, *sys.argv[1:])", "a", "b c")
    assert subprocess.run(command, capture_output=True, text=True, check=True, cwd="/").stdout == "found a b c\n"


def test_a_frozen_application_starts_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert can_start_python()
    monkeypatch.setattr("sys.frozen", True, raising=False)
    assert not can_start_python()
