"""The folder of an export is the old one or the new one, whole, whatever happens; and nobody else's files are lost."""

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from export import ExportError, output_folder
from export.output_folder import check_replaceable, replace_folder

OURS = {f"model/{number}" for number in range(8)}

# Replaces the folder for ever, each time by files that all hold the same number.
EXPORTS = """
import itertools, sys
from pathlib import Path
from export import output_folder
if sys.argv[2] == "renames":
    output_folder._exchange = lambda one, other: False
for turn in itertools.count():
    output_folder.replace_folder(Path(sys.argv[1]), {f"model/{n}": b"%d" % turn * 1000 for n in range(8)})
    print(turn, flush=True)
"""


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("way", ["exchange", "renames"])
def test_a_killed_export_leaves_the_old_folder_or_the_new_one(tmp_path: Path, way: str):
    out, moments = tmp_path / "repository", random.Random(0)
    for _ in range(4):
        exporter = subprocess.Popen([sys.executable, "-c", EXPORTS, str(out), way], stdout=subprocess.PIPE)
        exporter.stdout.readline()  # the first is done
        time.sleep(moments.uniform(0.0, 0.1))
        exporter.kill()
        exporter.communicate()
        if way == "renames":  # which may have left none: the next export brings it back
            check_replaceable(out, ours=OURS)
        files = contents(out)
        assert files.keys() == OURS
        assert len(set(files.values())) == 1
        check_replaceable(out, ours=OURS)
        assert list(tmp_path.iterdir()) == [out]


def test_a_folder_that_was_moved_away_comes_back_and_what_killed_exports_wrote_goes(tmp_path: Path):
    for name in (".repository.old-7", ".repository.new-7", ".repository.new-8", ".other.new-7"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    with output_folder._locked(tmp_path / ".repository.new-8"):  # its export lives
        check_replaceable(tmp_path / "repository", ours={"file"})
    assert {path.name for path in tmp_path.iterdir()} == {"repository", ".repository.new-8", ".other.new-7"}
    assert (tmp_path / "repository/file").read_text() == ".repository.old-7"


@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_an_interruption_between_the_two_renames_brings_the_old_folder_back(
    tmp_path: Path, failure: BaseException, monkeypatch
):
    out = tmp_path / "repository"
    out.mkdir()
    (out / "old").write_text("old")
    rename = Path.rename

    def fail_for_the_new(self: Path, target: Path):
        if self.name.startswith(".repository.new"):
            raise failure
        return rename(self, target)

    monkeypatch.setattr(output_folder, "_exchange", lambda one, other: False)
    monkeypatch.setattr(Path, "rename", fail_for_the_new)
    with pytest.raises((ExportError, KeyboardInterrupt)):
        replace_folder(out, {"new": b"new"})
    assert contents(tmp_path) == {"repository/old": b"old"}


def test_a_link_is_not_ours_wherever_it_leads(tmp_path: Path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "repository").mkdir()
    (tmp_path / "repository/models").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ExportError, match="holds models, which is not from an export"):
        check_replaceable(tmp_path / "repository", ours=OURS)


def test_only_caches_inside_the_folder_are_passed_over(tmp_path: Path):
    out = tmp_path / "__pycache__/repository"
    (out / "text/__pycache__").mkdir(parents=True)
    (out / "text/__pycache__/model.pyc").write_text("")
    check_replaceable(out, ours=OURS)
    (out / "thesis.tex").write_text("years of work")
    with pytest.raises(ExportError, match=r"holds thesis\.tex, which is not from an export"):
        check_replaceable(out, ours=OURS)
