"""docs/papers.md names recipes' keys, functions and settings: all of them exist, and no cell of its tables is empty."""

import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import singing
import train
from train.config import ConfigError, flat_values, load_recipe

PAGE = Path(__file__).parents[2] / "docs" / "papers.md"
PAPERS = Path(__file__).parents[2].parent / "shared/papers"
TEXTS = {
    "MusCALL": "000_ea0a45efaa96941e.txt",
    "MuLan": "004_d911f88ee5152774.txt",
    "Lyrics": "003_329ef34e22bd521e.txt",
}
RECIPES = ("muscall", "mulan_resnet", "mulan_ast")
COLUMNS = ["Section", "The paper", "Ours, where", "What we do otherwise, and why"]
KEY = re.compile(r"`recipes/(\w+)\.yaml: ([\w.]+)`")
NAME = re.compile(r"`([a-z_]+(?:\.\w+)+)`")
SETTINGS = re.compile(r"`((?:[a-z_]+\.)+[a-z_]+=[^`]+)`")


def cells() -> Iterator[list[str]]:
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("|"):
            yield [cell.strip() for cell in line.strip("|").split("|")]


def claims() -> Iterator[tuple[str, str]]:
    """The name of the paper, and what the page says that it says, row by row."""
    paper = ""
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            paper = line.split()[1]
        elif line.startswith("|") and not line.startswith(("|---", "| Section")):
            yield paper, line.strip("|").split("|")[1]


def resolve(name: str) -> object:
    """What `train.` and the name stand for, or the name of the room `singing`: a module, or something in it."""
    room, rest = (singing, name.removeprefix("singing.")) if name.startswith("singing.") else (train, name)
    found: object = room
    place = room.__name__
    for part in rest.split("."):
        place = f"{place}.{part}"
        found = getattr(found, part) if hasattr(found, part) else importlib.import_module(place)
    return found


def refused(recipe: str, settings: list[str]) -> str:
    try:
        load_recipe(recipe, overrides=settings)
    except ConfigError as exc:
        return str(exc)
    return ""


def test_every_row_says_what_where_and_why():
    rows = list(cells())
    assert len(rows) > 80
    assert all(len(row) == len(COLUMNS) and all(row) for row in rows)
    headings = [row for row in rows if row[0] == COLUMNS[0]]
    assert all(row == COLUMNS for row in headings)


def test_the_recipes_have_the_keys_that_the_page_names():
    named = KEY.findall(PAGE.read_text(encoding="utf-8"))
    assert len(named) > 30
    for recipe, key in named:
        keys = flat_values(load_recipe(recipe))
        assert any(f"{each}.".startswith(f"{key}.") for each in keys), f"{recipe}: {key}"


def test_the_code_has_the_functions_and_settings_that_the_page_names():
    named = set(NAME.findall(PAGE.read_text(encoding="utf-8")))
    keys = [key.split(".") for recipe in RECIPES for key in flat_values(load_recipe(recipe))]
    settings = {".".join(key[:end]) for key in keys for end in range(1, len(key) + 1)}
    assert len(named) > 25
    for name in named - settings - {"ckpt.pt", "last.pt"}:
        try:
            resolve(name)
        except ImportError:
            pytest.fail(f"docs/papers.md names {name}, which is neither in train/ nor a setting")


def test_what_the_page_says_to_set_can_be_set():
    named = [part for part in SETTINGS.findall(PAGE.read_text(encoding="utf-8")) if not part.endswith("=N")]
    assert len(named) > 8
    for text in named:
        settings = [text] if "{" in text else text.split()
        refusals = [refusal for recipe in RECIPES if (refusal := refused(recipe, settings))]
        assert len(refusals) < len(RECIPES), refusals


@pytest.mark.parametrize("paper", TEXTS)
def test_what_the_page_quotes_in_figures_is_in_the_papers(paper: str):
    if not PAPERS.is_dir():
        pytest.skip(f"the papers' texts are not in {PAPERS}")
    text = (PAPERS / TEXTS[paper]).read_text(encoding="utf-8")
    in_text = {figure.replace(",", "") for figure in re.findall(r"\d[\d,]*\.\d+|\d+", text)}
    quoted = [figure for of, claim in claims() if of == paper for figure in re.findall(r"(?<![\w.])\d+\.\d+", claim)]
    assert len(quoted) > 5
    assert not [figure for figure in quoted if figure not in in_text]
