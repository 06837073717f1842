"""The pictures beside the tables of bench/RESULTS.md are of these tables."""

import re
from pathlib import Path

import pytest

from bench import pictures
from bench.__main__ import RESULTS


@pytest.mark.parametrize("name", pictures.PICTURES)
def test_a_picture_is_of_its_tables(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    section = re.search(rf"<!-- {name} -->\n(.*?)<!-- end {name} -->", RESULTS.read_text(encoding="utf-8"), re.DOTALL)
    drawn = (pictures.FOLDER / f"{name}.svg").read_bytes()
    monkeypatch.setattr(pictures, "FOLDER", tmp_path)
    assert pictures.draw(name, section[1]) == section[1]
    assert (tmp_path / f"{name}.svg").read_bytes() == drawn, f"python -m bench.pictures {name}"


def test_tables_are_read() -> None:
    text = "x\n\n| a | b | a |\n|---|---|---|\n| 1 |  | 3 |\n| 1,145 ms | -.5 | |\n\ny\n"
    assert pictures.read_tables(text) == [[{"a": "1", "b": ""}, {"a": "1,145 ms", "b": "-.5"}]]
    assert [pictures.number(cell) for cell in ("1,145 ms", "-.5", "p99 12.5 s")] == [1145.0, -0.5, 99.0]
    with pytest.raises(ValueError, match="'none' holds no number"):
        pictures.number("none")
