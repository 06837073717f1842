"""The lyrics paper's figures that `train.lyrics evaluate` prints stand in its text, row by row."""

import re
from pathlib import Path

import pytest

from train.lyrics.paper import LABELS, TABLE_1, TABLE_2

TEXT = Path(__file__).parents[3].parent / "shared/papers/003_329ef34e22bd521e.txt"


@pytest.mark.parametrize("table", [TABLE_1, TABLE_2], ids=["Table 1", "Table 2"])
def test_figures_are_those_of_the_paper(table: dict[str, tuple[str, ...]]):
    if not TEXT.is_file():
        pytest.skip(f"the paper's text is not at {TEXT}")
    text = TEXT.read_text(encoding="utf-8")
    for method, figures in table.items():
        name = rf"Ours ?\({LABELS[method]}\)" if method in LABELS else rf"{method} \[\d+\]"
        cells = r"\s+".join(map(re.escape, figures))
        assert re.search(rf"{name}\s+{cells}(?![\d.])", text), method
