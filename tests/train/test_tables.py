import json
from dataclasses import replace
from pathlib import Path

import pytest

from train import tables
from train.__main__ import main as train_command
from train.config import load_recipe
from train.tables import BUDGETS, TABLES, main, settings_of

TINY = ["model.frontend.window_s=1", "optim.epochs=2", "optim.batch_size=8", "optim.workers=0"]


@pytest.mark.parametrize("budget", BUDGETS)
def test_every_row_is_a_valid_configuration_of_its_own(budget: str):
    for table in TABLES.values():
        configs = [settings_of(variant, budget=budget) for variant in table.rows.values()]
        assert all(config not in configs[:place] for place, config in enumerate(configs))


def test_the_full_budget_is_the_recipe():
    assert settings_of(TABLES["muscall-1"].rows["MusCALL"], budget="full") == load_recipe("muscall")


def test_a_table_is_trained_row_by_row_and_kept(
    tones: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    command = ["muscall-4", "--data", str(tones), "--out", str(tmp_path)]
    few = {label: TABLES["muscall-4"].rows[label] for label in ("MusCALL", "without random crops")}
    smaller = replace(TABLES["muscall-4"], title="a smaller Table 4", rows=few)
    monkeypatch.setitem(tables.TABLES, "muscall-4", smaller)
    assert main([*command, "--set", *TINY]) == 0
    printed = capsys.readouterr().out
    assert "a smaller Table 4; 6 pairs" in printed
    assert printed.count("MusCALL ") == printed.count("without ") == 2  # both directions

    monkeypatch.setattr(tables, "train", lambda *_, **__: pytest.fail("trained again"))
    assert main([*command, "--set", *TINY]) == 0
    assert capsys.readouterr().out == printed

    assert main([*command, "--set", *TINY, "seed=1"]) == 2
    assert "holds this row with other settings or data" in capsys.readouterr().err

    (kept,) = (tmp_path / "muscall").glob("*.json")
    kept.write_text(kept.read_text(encoding="utf-8")[:100], encoding="utf-8")
    assert main([*command, "--set", *TINY]) == 2
    assert capsys.readouterr().err.endswith(
        "muscall-4.json is damaged; remove it, and the trained row is measured again\n"
    )


def test_tables_of_labels_playlists_and_triplets_share_a_run(
    tones: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    questions = {
        "mulan-labels": None,
        "mulan-playlists": {"title": "low", "tracks": ["58.flac", "60.flac"]},
        "mulan-triplets": {"anchor": "low", "positive": "a low tone", "negative": "high"},
    }
    printed = ""
    for name, question in questions.items():
        one = {"M-Resnet": TABLES[name].rows["MuLan, M-Resnet-50"]}
        monkeypatch.setitem(tables.TABLES, name, replace(TABLES[name], rows=one))
        command = [name, "--data", str(tones), "--out", str(tmp_path / "runs"), "--set", *TINY, "optim.epochs=1"]
        if question:
            assert main(command) == 2
            assert "--questions" in capsys.readouterr().err
            (tmp_path / name).write_text(json.dumps(question), encoding="utf-8")
            command += ["--questions", str(tmp_path / name)]
        assert main(command) == 0
        printed += capsys.readouterr().out
    for words in ("ensemble", "probe", "title", "texts", "accuracy", "ROC-AUC", "mAP"):
        assert words in printed
    runs = list((tmp_path / "runs").iterdir())
    assert len(runs) == 1
    assert len((runs[0] / "metrics.jsonl").read_text(encoding="utf-8").splitlines()) == 1  # trained once


@pytest.mark.parametrize("place", ["file", "file/runs"])
def test_runs_are_not_written_into_a_file(place: str, tones: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "file").touch()
    out = ["--data", str(tones), "--out", str(tmp_path / place)]
    assert main(["muscall-4", *out]) == train_command(["starter", *out]) == 2
    refusal = f"error: --out is {tmp_path / place}, but {tmp_path / 'file'} is no folder that can be written to;"
    assert capsys.readouterr().err.count(refusal) == 2


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="no folder of the kernel's")
def test_runs_are_not_written_where_even_root_may_not(tones: Path, capsys: pytest.CaptureFixture[str]):
    assert train_command(["starter", "--data", str(tones), "--out", "/proc/nope/run"]) == 2
    assert "/proc is no folder that can be written to; choose another" in capsys.readouterr().err
