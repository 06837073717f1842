"""Every figure that a table prints as the papers' stands in their text, row by row."""

import re
from pathlib import Path

import pytest

from train.tables.papers import DATA, FIGURES, PLACES, SAID
from train.tables.rows import ROWS

PAPERS = Path(__file__).parents[2].parent / "shared/papers"
TEXTS = {"muscall": "000_ea0a45efaa96941e.txt", "mulan": "004_d911f88ee5152774.txt"}


PRINTED = {
    "muscall-1": {"DCASE": r"DCASE \[56\]", "MusCALL": r"MusCALL \(ours\)"},
    "muscall-2": {"MusCALL": "MusCALLBASE\\s✗", "MusCALL + SSL": "MusCALLSSL\\s✗"},
    "muscall-4": {  # weights, crops, augmentation, attention
        label: r"\s".join(marks)
        for label, marks in {
            "without weights, crops, augmentation": "✗✗✗✓",
            "without weights, crops": "✗✗✓✓",
            "without weights, attention pooling": "✗✓✓✗",
            "without weights, augmentation": "✗✓✗✓",
            "without weights": "✗✓✓✓",
            "MusCALL": "✓✓✓✓",
        }.items()
    },
    "mulan-4c": {
        "Hybrid": r"Hybrid \[25\]",
        "JukeBox": r"JukeBox \[15, 23\]\s-\s-",
        "MuLaP": r"MuLaP \[32\]\s-\s-",
        "CLMR": r"CLMR \[22\]\s-\s-",
    },
    "mulan-2": {"short_form": "Short-form", "long_form": "Long-form", "playlist": "Playlists"},
    "mulan-6": {
        "SimCSE": r"SimCSE \[45\]",
        "SBERT": r"SBERT \[46\]",
        "USE": r"USE \[47\]",
        "BERT, mean of tokens": r"BERT \[38\]",
    },
}
"""Table -> row -> what stands before its figures in the paper, if it is not the row's own name."""


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
        own_name = re.escape(label).replace(r"\ \+\ ", r"\s?\+\s?").replace("unfiltered", "Unfiltered")
        row = PRINTED.get(name, {}).get(label, own_name)
        assert re.search(rf"{row}\s+{cells}(?![\d.])", text), f"{label} of {PLACES[name]}"


def test_the_data_are_described_by_the_papers_own_figures():
    assert "dataset of 250k (audio" in text_of("muscall").replace("\n", " ")
    assert "subset of 1000 (audio, text) pairs" in text_of("muscall").replace("\n", " ")
    assert "44 million 30-second clips" in text_of("mulan")
    assert "250,000" in DATA["muscall"]
    assert "44 million" in DATA["mulan"]


def test_what_is_said_of_other_data_is_in_the_paper():
    mulan = " ".join(text_of("mulan").split())
    for words, name in {
        "25-way genre tagging task (Gen-25)": "mulan-4a",
        "141-way tagging task (Mu-141)": "mulan-4a",
        "full 188 tag set": "mulan-4a",
        "7,000 expert-curated playlists": "mulan-5",
        "consists of 10-100 music recordings": "mulan-5",
        "approximately 100K unique recordings": "mulan-5",
        "sample 1,000 triplets from the expert-curated playlist data": "mulan-6",
        "for each of the 141 music related classes": "mulan-6",
        "construct 5 triplets": "mulan-6",
    }.items():
        assert words in mulan
        said = SAID[name].replace("five", "5").replace("100,000", "100K")
        assert set(re.findall(r"\d[\d,]*K?", words)) <= set(re.findall(r"\d[\d,]*\dK?|\d", said)), words
    muscall = " ".join(text_of("muscall").split())
    assert "MusCALLSSL accuracy on GTZAN (genre classification), and ROC-AUC and PR-AUC on MTAT" in muscall
    assert all(words in SAID["muscall-2"] for words in ("GTZAN", "MagnaTagATune"))


def test_every_row_that_trains_has_figures_where_the_paper_prints_some():
    for name, figures in FIGURES.items():
        if name in ROWS:
            assert set(ROWS[name]) <= set(figures)
    assert set(ROWS) | {"mulan-2"} == set(PLACES)
