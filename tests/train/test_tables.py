from pathlib import Path

import pytest

from train import tables
from train.config import load_recipe
from train.tables import BUDGETS, TABLES, main, settings_of

TINY = ["model.frontend.window_s=1", "optim.epochs=2", "optim.batch_size=8", "optim.workers=0"]


@pytest.mark.parametrize("budget", BUDGETS)
def test_every_row_is_a_valid_configuration_of_its_own(budget: str):
    for _, variants in TABLES.values():
        configs = [settings_of(variant, budget=budget) for variant in variants.values()]
        assert all(config not in configs[:place] for place, config in enumerate(configs))


def test_the_full_budget_is_the_recipe():
    assert settings_of(TABLES["muscall-1"][1]["MusCALL"], budget="full") == load_recipe("muscall")


def test_a_table_is_trained_row_by_row_and_kept(
    tones: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    command = ["muscall-4", "--data", str(tones), "--out", str(tmp_path)]
    few = {label: TABLES["muscall-4"][1][label] for label in ("MusCALL", "without random crops")}
    monkeypatch.setitem(tables.TABLES, "muscall-4", ("a smaller Table 4", few))
    assert main([*command, "--set", *TINY]) == 0
    printed = capsys.readouterr().out
    assert "a smaller Table 4; 6 test pairs" in printed
    assert printed.count("MusCALL ") == printed.count("without random crops ") == 2  # both directions

    monkeypatch.setattr(tables, "train", lambda *_, **__: pytest.fail("trained again"))
    assert main([*command, "--set", *TINY]) == 0
    assert capsys.readouterr().out == printed

    assert main([*command, "--set", *TINY, "seed=1"]) == 2
    assert "holds this row with other settings" in capsys.readouterr().err
