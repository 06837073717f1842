"""The bundled collection, its queries, and the shipped model on them."""

import json
import re
import subprocess
import sys
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import pytest

from client import MusicSearch
from demo.__main__ import COLLECTION, SHOWN, main, read_descriptions, read_names, read_queries
from train.corpus import associations, templates, vocabulary

PROJECT = Path(__file__).parents[2]
# Words without content of their own; every other word of a query must be new to the grammar.
FUNCTION_WORDS = {"a", "an", "and", "for", "in", "of", "out", "the", "to"}


def words_of(value: object) -> set[str]:
    if isinstance(value, str):
        return set(re.findall(r"[a-z]+", value.lower()))
    if isinstance(value, dict):
        return words_of(list(value)) | words_of(list(value.values()))
    if isinstance(value, list | tuple):
        return set().union(*map(words_of, value))
    return set()


def test_no_query_uses_a_word_of_the_caption_grammar():
    grammar = set()
    for module in (associations, templates, vocabulary):
        grammar |= words_of([value for name, value in vars(module).items() if name.isupper()])
    assert len(grammar) > 1_000
    for query in read_queries():
        text = query.text.replace("Pac-Man", "Pacman")  # a name, not the man whom captions hear singing
        assert not (words_of(text) - FUNCTION_WORDS) & grammar, query.text


def test_the_collection_and_its_queries_are_complete():
    tracks = {path.stem for path in COLLECTION.glob("*.opus")}
    assert len(tracks) >= 64
    assert set(read_descriptions()) == set(read_names()) == tracks
    assert sum(path.stat().st_size for path in COLLECTION.iterdir()) <= 6_000_000
    queries = read_queries()
    assert len(queries) == 16
    for query in queries:
        assert query.accepted, query.text
        assert query.accepted <= tracks, query.text


@pytest.fixture(scope="module")
def first_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The library that the demo made, and what it printed."""
    library = tmp_path_factory.mktemp("demo") / "library"
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(StringIO()) as printed:
        patch.setattr("demo.__main__.LIBRARY", library)
        assert main() == 0
    return library, printed.getvalue()


def test_accepted_tracks_are_found(first_run: tuple[Path, str]):
    library, printed = first_run
    assert "81 embedded, 0 unchanged, 0 failed" in printed
    with MusicSearch(library) as ms:
        found = [
            query.text
            for query in read_queries()
            if any(Path(hit.path).stem in query.accepted for hit in ms.search(query.text, k=SHOWN))
        ]
    assert len(found) >= 10, found


def test_captions_of_the_collection_find_their_tracks(first_run: tuple[Path, str]):
    """One track of each of 81 styles: the shipped model must put nearly all own tracks among the first ten."""
    rows = [json.loads(line) for line in (COLLECTION / "manifest.jsonl").read_text(encoding="utf-8").splitlines()]
    found = 0
    with MusicSearch(first_run[0]) as ms:
        for row in rows:
            hits = ms.search(row["captions"][0], k=10, names="never", literal=True, starts=False)
            found += Path(row["audio"]).stem in {Path(hit.path).stem for hit in hits}
    assert found >= 0.9 * len(rows)


def test_a_second_run_embeds_nothing_again(
    first_run: tuple[Path, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr("demo.__main__.LIBRARY", first_run[0])
    assert main() == 0
    output = capsys.readouterr().out
    assert "0 embedded, 81 unchanged, 0 failed" in output
    assert output.count("zero-shot tags of") == 2
    with MusicSearch(first_run[0]) as ms:
        hit = ms.search("Neon Causeway", k=1)[0]
        assert (Path(hit.path).stem, hit.metadata["year"]) == ("06", 2016)
        assert "name" in hit.found_by


def test_another_models_demo_library_is_made_anew(
    tmp_path: Path, tiny_repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr("demo.__main__.LIBRARY", tmp_path / "library")
    with MusicSearch(tmp_path / "library", encoder=tiny_repository) as ms:
        ms.add(next(COLLECTION.glob("*.opus")), progress=False)
    assert main() == 0
    assert "81 embedded, 0 unchanged, 0 failed" in capsys.readouterr().out


def test_the_demo_needs_neither_torch_nor_transformers():
    code = "import sys, demo.__main__; sys.exit(bool({'torch', 'transformers'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=PROJECT, check=False).returncode == 0
