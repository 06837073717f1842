"""What GitHub reads from `.github`, and we cannot run here: it parses, and calls what the Makefile has."""

from pathlib import Path

import pytest
import yaml

PROJECT = Path(__file__).parents[1]
FILES = sorted((PROJECT / ".github").rglob("*.yml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_file_parses(path: Path) -> None:
    assert yaml.safe_load(path.read_text(encoding="utf-8"))["name"]


def test_jobs_call_targets_of_the_makefile() -> None:
    workflow = yaml.safe_load((PROJECT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    called = {step["run"].removeprefix("make ") for step in steps if step.get("run", "").startswith("make ")}
    makefile = (PROJECT / "Makefile").read_text(encoding="utf-8").splitlines()
    (targets,) = (line.split()[1:] for line in makefile if line.startswith(".PHONY:"))
    assert {"check", "test"} <= called <= set(targets)
