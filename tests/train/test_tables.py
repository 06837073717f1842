import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from train.__main__ import main as train_command
from train.config import load_recipe
from train.tables import __main__ as command_line
from train.tables import grid
from train.tables.__main__ import MEASURES, main
from train.tables.grid import over_seeds, run_folder
from train.tables.measures import (
    PAIRS_FILE,
    PLAYLISTS_FILE,
    SOURCES_FILE,
    TRIPLET_FILES,
    UNFILTERED_FILE,
    score_similarities,
)
from train.tables.papers import PLACES
from train.tables.rows import BUDGETS, ROWS, settings_of
from train.tables.show import make_table

TINY = ["model.frontend.window_s=1", "optim.epochs=1", "optim.batch_size=8", "optim.workers=0"]


@pytest.fixture(scope="session")
def data(tones: Path) -> Path:
    """The tones, as the folder of data that tables read."""
    shutil.copyfile(tones, tones.parent / PAIRS_FILE)
    rows = [json.loads(line) for line in tones.read_text(encoding="utf-8").splitlines()]
    sources = ("short_form", "long_form", "playlist", "labels")
    (tones.parent / SOURCES_FILE).write_text(
        "\n".join(
            json.dumps(row | {"source": source, "track_id": f"{row['audio']}:{source}"})
            for row in rows
            if row["split"] != "test"
            for source in sources
        )
    )
    (tones.parent / PLAYLISTS_FILE).write_text(json.dumps({"title": "low", "tracks": ["58.flac", "60.flac"]}))
    triplet = {"anchor": "low", "positive": "a low tone", "negative": "high"}
    (tones.parent / TRIPLET_FILES["playlists"]).write_text(json.dumps(triplet))
    return tones.parent


def keep(monkeypatch: pytest.MonkeyPatch, name: str, *labels: str) -> None:
    monkeypatch.setitem(ROWS, name, {label: ROWS[name][label] for label in labels})  # type: ignore[arg-type]


@pytest.mark.parametrize("budget", BUDGETS)
def test_a_label_is_one_configuration_in_every_table_and_no_two_are_alike(budget: str):
    configs = {}
    for name, rows in ROWS.items():
        manifests = {}
        for label, variant in rows.items():
            config = settings_of(variant, budget=budget)
            manifest = command_line._manifest_of(name, label)
            assert configs.setdefault(label, (config, manifest)) == (config, manifest)
            assert (config, manifest) not in manifests.values()
            manifests[label] = (config, manifest)


def test_the_full_budget_is_the_recipe():
    assert settings_of(ROWS["muscall-1"]["MusCALL"], budget="full") == load_recipe("muscall")


def test_a_share_of_the_window_is_of_what_the_budget_hears():
    for budget in BUDGETS:
        whole, half = (
            settings_of(ROWS["muscall-fig3"][label], budget=budget).model.frontend.window_s
            for label in ("MusCALL", "half of the audio")
        )
        assert half == whole / 2


def test_a_table_is_trained_row_by_row_and_kept(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    keep(monkeypatch, "muscall-4", "without weights", "MusCALL")
    command = ["muscall-4", "--data", str(data), "--out", str(tmp_path)]
    assert main([*command, "--set", *TINY]) == 0
    printed = capsys.readouterr().out
    assert all(words in printed for words in ("Ours: 40 training tracks", "6 pairs", "250,000 pairs"))
    assert (
        "| *without weights, crops, the paper's* | 18.5 | 43.5 | 57.4 |" in printed
    )  # a row that was not trained here
    assert printed.count("\n| MusCALL | ") == printed.count("\n| *MusCALL, the paper's* | 25.9 |") == 1

    monkeypatch.setattr(grid, "train", lambda *_, **__: pytest.fail("trained again"))
    assert main([*command, "--set", *TINY]) == 0
    assert capsys.readouterr().out == printed

    assert main([*command, "--set", *TINY, "optim.weight_decay=0"]) == 2
    assert "holds this row with other settings or data" in capsys.readouterr().err

    (kept,) = (tmp_path / "muscall").glob("*.json")
    for damaged in (kept.read_text(encoding="utf-8")[:100], "{}", "[]"):
        kept.write_text(damaged, encoding="utf-8")
        assert main([*command, "--set", *TINY]) == 2
        assert capsys.readouterr().err.endswith(
            "muscall-4.json is damaged; remove it, then the trained row is measured again\n"
        )


def test_a_row_is_measured_again_when_the_files_of_the_table_have_changed(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    keep(monkeypatch, "mulan-6", "M-Resnet-50")
    own = shutil.copytree(data, tmp_path / "data")
    command = ["mulan-6", "--data", str(own), "--out", str(tmp_path / "runs"), "--set", *TINY]
    assert main(command) == 0
    run = tmp_path / "runs/m_resnet_50"
    trained = (run / "metrics.jsonl").read_text(encoding="utf-8")
    printed = capsys.readouterr().out
    assert "1 triplets of playlists." in printed
    assert "| accuracy | playlists | ontology |" in printed  # the paper's columns
    (own / TRIPLET_FILES["ontology"]).write_text(
        json.dumps({"anchor": "high", "positive": "shrill", "negative": "low"})
    )
    assert main(command) == 0
    assert "1 triplets of playlists, 1 triplets of ontology." in capsys.readouterr().out
    assert (run / "metrics.jsonl").read_text(encoding="utf-8") == trained


def test_the_tables_of_a_model_share_its_runs(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    pages = {}
    for name in MEASURES:
        keep(monkeypatch, name, "MusCALL" if name.startswith("muscall") else "M-Resnet-50")
        assert main([name, "--data", str(data), "--out", str(tmp_path), "--set", *TINY]) == 0
        pages[name] = capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m_resnet_50", "muscall"]
    for run in tmp_path.iterdir():
        assert len((run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()) == 1  # trained once
    for name, words in {
        "muscall-1": "| text to audio | R@1 | R@5 | R@10 | mAP@10 | MedR |",
        "muscall-2": "| A {} track | genre accuracy | tagging ROC | tagging PR |",
        "muscall-3": "| the query | the text of the track that came first |",
        "muscall-fig4": "| nearest neighbour | of the same modality |",
        "mulan-4a": "| tags | ROC-AUC | AudioSet Gen-25 |",
        "mulan-5": "| title | AUC | mAP |",
        "mulan-6": "| SBERT | ",
    }.items():
        assert words in pages[name], name
    assert "| *USE, the paper's* | 0.918 | 0.946 |" in pages["mulan-6"]


def test_a_table_says_which_file_it_lacks(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for name in PLACES:
        assert main([name, "--data", str(tmp_path), "--out", str(tmp_path / "runs")]) == 2
        assert f"no manifest at {tmp_path / PAIRS_FILE}" in capsys.readouterr().err
    shutil.copyfile(data / PAIRS_FILE, tmp_path / PAIRS_FILE)
    for name, file in {"mulan-2": UNFILTERED_FILE, "mulan-4a": SOURCES_FILE}.items():
        assert main([name, "--data", str(tmp_path), "--out", str(tmp_path / "runs")]) == 2
        assert f"no manifest at {tmp_path / file}" in capsys.readouterr().err
    shutil.copyfile(data / SOURCES_FILE, tmp_path / SOURCES_FILE)  # the last row alone needs the other file
    assert main(["mulan-4b", "--data", str(tmp_path), "--out", str(tmp_path / "runs"), "--set", *TINY]) == 2
    assert f"no manifest at {tmp_path / UNFILTERED_FILE}" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()
    assert main(["mulan-6", "--data", str(tmp_path), "--out", str(tmp_path / "runs")]) == 2
    assert "holds no playlist_triplets.jsonl or ontology_triplets.jsonl; expected one" in capsys.readouterr().err
    assert main(["muscall-1", "--data", str(data), "--seeds", "0"]) == 2
    assert "--seeds is 0; expected at least 1" in capsys.readouterr().err


def test_texts_are_counted_by_source_before_and_after_the_filters(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    def write(name: str, *texts_by_row: tuple[str, str, list[str]]) -> None:
        lines = [
            json.dumps({"audio": f"{audio}.wav", "track_id": f"{audio}{source}", "source": source, "captions": texts})
            for audio, source, texts in texts_by_row
        ]
        (tmp_path / name).write_text("\n".join(lines))

    write("pairs.jsonl", ("a", "", ["x"]), ("b", "", ["x"]))
    write(
        "unfiltered.jsonl",
        ("a", "short_form", ["slow jazz", "full album"]),
        ("b", "playlist", ["jazz for a rainy day"]),
    )
    write("sources.jsonl", ("a", "short_form", ["slow jazz"]))
    assert main(["mulan-2", "--data", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    before, after = printed.split("| after |")
    assert "| short_form | 4 | 1 |  |" in before  # two texts of two words on two tracks
    assert "| *short_form, the paper's* |  | 42.9 | 31.2 |" in before
    assert "| playlist | 5 | 0.5 |  |" in before
    assert "| short_form | 2 | 0.5 |  |" in after  # half a text a track, although the other track has none left


def test_seeds_give_a_mean_and_students_interval():
    results = [{"pairs": 7, "way": {"R@1": value}, "intervals": {"way": {"R@1": [0, 1]}}} for value in (0.1, 0.2, 0.3)]
    whole = over_seeds(results)
    assert whole["pairs"] == 7
    assert whole["way"]["R@1"] == pytest.approx(0.2)
    # 0.2 -+ 4.3027 (t of 2 degrees of freedom at 97.5 %) * 0.1 / sqrt(3)
    assert whole["intervals"]["way"]["R@1"] == pytest.approx([-0.04841, 0.44841], abs=1e-4)
    assert over_seeds(results[:1]) == results[0]
    assert run_folder(Path("runs"), label="ASET + SF", seed=2) == Path("runs/aset_sf-seed2")


def test_similarities_tell_modalities_that_lie_apart():
    rng = np.random.default_rng(0)
    audio = rng.standard_normal((200, 16))
    text = audio + 0.1 * rng.standard_normal((200, 16))
    apart = np.full(16, 10.0)
    for shift, low, high in ((0 * apart, 0.4, 0.6), (apart, 0.99, 1.0)):
        first, second = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (audio + shift, text - shift))
        found = score_similarities(first, text=second)
        assert low <= found["nearest neighbour"]["of the same modality"] <= high
    np.testing.assert_allclose(found["others"]["mean cosine"], (second @ first.T)[~np.eye(200, dtype=bool)].mean())


def test_a_metric_of_the_papers_alone_has_its_own_column():
    ours = {"M-AST": {"tags": {"ROC-AUC": 0.5}, "intervals": {"tags": {"ROC-AUC": [0.4, 0.6]}}}}
    lines = make_table("mulan-4c", results=ours).splitlines()
    assert lines[0] == "| tags | ROC-AUC | AudioSet Gen-25 | AudioSet Mu-141 | MTAT Top-50 | MTAT All-188 |"
    assert lines[2] == "| M-AST | 0.500 (0.400 to 0.600) |  |  |  |  |"
    assert lines[3] == "| *M-AST, the paper's* |  | 0.906 | 0.942 | 0.925 | 0.953 |"


def test_ours_are_in_the_unit_of_the_papers_figures():
    def row(name: str, label: str, group: str, metric: str) -> list[str]:
        ours = {label: {group: {metric: 0.1234}, "intervals": {group: {metric: [0.1, 0.2]}}}}
        return [line for line in make_table(name, results=ours).splitlines() if label in line][:2]

    assert row("mulan-5", "M-AST", "title", "mAP") == [
        "| M-AST | 0.123 (0.100 to 0.200) |  |",
        "| *M-AST, the paper's* | 0.110 | 0.933 |",
    ]
    assert row("mulan-6", "SBERT", "accuracy", "ontology") == [
        "| SBERT | 0.123 (0.100 to 0.200) |  |",
        "| *SBERT, the paper's* | 0.889 | 0.942 |",
    ]
    assert row("muscall-4", "MusCALL", "text to audio", "R@1") == [
        "| MusCALL | 12.3 % (10.0 to 20.0) |  |  |",
        "| *MusCALL, the paper's* | 25.9 | 51.9 | 63.3 |",
    ]


@pytest.mark.parametrize("place", ["file", "file/runs"])
def test_runs_are_not_written_into_a_file(place: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "file").touch()
    out = ["--out", str(tmp_path / place)]
    assert main(["muscall-4", "--data", str(data), *out]) == 2
    assert train_command(["starter", "--data", str(data / PAIRS_FILE), *out]) == 2
    refusal = f"error: --out is {tmp_path / place}, but {tmp_path / 'file'} is not a folder that can be written to;"
    assert capsys.readouterr().err.count(refusal) == 2


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="no folder of the kernel's")
def test_runs_are_not_written_where_even_root_may_not(tones: Path, capsys: pytest.CaptureFixture[str]):
    assert train_command(["starter", "--data", str(tones), "--out", "/proc/nope/run"]) == 2
    assert "/proc is not a folder that can be written to; choose another" in capsys.readouterr().err
