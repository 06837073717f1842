"""Every figure that a table prints as the papers' stands in their text, row by row."""

import re
from pathlib import Path

import pytest

from train.tables.papers import DATA, FIGURES, PLACES
from train.tables.rows import ROWS

PAPERS = Path(__file__).parents[2].parent / "shared/papers"
TEXTS = {"muscall": "000_ea0a45efaa96941e.txt", "mulan": "004_d911f88ee5152774.txt"}


def text_of(paper: str) -> str:
    path = PAPERS / TEXTS[paper]
    if not path.is_file():
        pytest.skip(f"the paper's text is not at {path}")
    return re.sub(r"\*|</?b>|</?i>", "", path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", FIGURES)
def test_figures_are_those_of_the_paper(name: str):
    text = text_of(name.partition("-")[0])
    for label, groups in FIGURES[name].items():
        figures = [re.escape(figure) for scores in groups.values() for figure in scores.values()]
        cells = r"[^\d.]+".join(figures)  # nothing but words and marks between them
        assert re.search(rf"(?<![\d.]){cells}(?![\d.])", text), f"{label} of {PLACES[name]}"


def test_the_data_are_described_by_the_papers_own_figures():
    assert "dataset of 250k (audio" in text_of("muscall").replace("\n", " ")
    assert "subset of 1000 (audio, text) pairs" in text_of("muscall").replace("\n", " ")
    assert "44 million 30-second clips" in text_of("mulan")
    assert "250,000" in DATA["muscall"]
    assert "44 million" in DATA["mulan"]


def test_every_row_that_trains_has_figures_where_the_paper_prints_some():
    for name, figures in FIGURES.items():
        if name in ROWS:
            assert set(ROWS[name]) <= set(figures)
    assert set(ROWS) | {"mulan-2"} == set(PLACES)
