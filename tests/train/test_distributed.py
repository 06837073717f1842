"""A run of several processes that loses one of them ends soon, says so, and goes on where it was."""

import subprocess
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from tests.train.processes import start_nodes, start_processes
from train.distributed import LostProcessError, naming_lost_processes

SETTINGS = ["optim.batch_size=20", "optim.epochs=2", "loss.words_weight=0", "loss.label_weight=0"]  # of two steps each
FIRST_OF_EPOCH_2 = "2"  # in the last step of all, nothing of the other process would be needed any more

STRUCK_AT_A_STEP = """
import os, signal, sys
import torch
from train import distributed
from train.__main__ import main

distributed.BEAT_S, distributed.LOST_S = 0.2, float(sys.argv[3])
left, step = int(sys.argv[1]), torch.optim.AdamW.step

def step_until_struck(self):
    global left
    if not left and os.environ["RANK"] == "1":
        os.kill(os.getpid(), getattr(signal, sys.argv[2]))
    left -= 1
    step(self)

torch.optim.AdamW.step = step_until_struck
sys.exit(main(sys.argv[4:]))
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "struck.py"
    path.write_text(STRUCK_AT_A_STEP)
    return path


def errors_of(started: list[subprocess.Popen[str]]) -> list[str]:
    """What they have printed until they ended, which they must in time."""
    try:
        return [process.communicate(timeout=120)[1] for process in started]
    finally:
        for process in started:
            process.kill()


def test_a_run_on_two_machines_that_loses_a_process_goes_on_to_the_same_weights(
    tones: Path, tiny_overrides: list[str], tmp_path: Path, script: Path, python: Path
):
    arguments = ["starter", "--data", str(tones), "--set", *tiny_overrides, *SETTINGS, "--out"]
    whole = start_processes(2, ["-m", "train", *arguments, str(tmp_path / "whole")], python=python)
    command = [str(script), FIRST_OF_EPOCH_2, "SIGKILL", "60", *arguments, str(tmp_path / "killed")]
    killed = start_nodes(2, command, python=python)
    errors = errors_of(killed)
    assert all(process.returncode for process in killed), errors
    said = [line for text in errors for line in text.splitlines() if line.startswith("error: ")]
    assert said == [
        "error: another process of this run has ended; read the output of that process, or of torchrun on its machine, "
        "and start all processes again: with --resume, if a last.pt was saved"
    ]
    assert torch.load(tmp_path / "killed/last.pt", weights_only=True)["epoch"] == 1

    resumed = start_processes(2, ["-m", "train", *arguments, str(tmp_path / "killed"), "--resume"], python=python)
    errors = errors_of([*whole, *resumed])
    assert not any(process.returncode for process in (*whole, *resumed)), errors
    one, other = (torch.load(tmp_path / name / "last.pt", weights_only=True) for name in ("whole", "killed"))
    assert one["epoch"] == other["epoch"] == 2
    for part in ("model", "objective"):
        for name, value in one[part].items():
            assert torch.equal(value, other[part][name]), name


def test_a_process_that_falls_silent_is_waited_for_no_longer_than_it_takes_to_be_sure(
    tones: Path, tiny_overrides: list[str], tmp_path: Path, script: Path, python: Path
):
    """As where a machine loses its power: no connection is closed."""
    arguments = ["starter", "--data", str(tones), "--set", *tiny_overrides, *SETTINGS, "--out", str(tmp_path / "run")]
    command = [str(script), FIRST_OF_EPOCH_2, "SIGSTOP", "3", *arguments]
    first, silent = start_processes(2, command, python=python)
    try:
        (errors,) = errors_of([first])
        assert silent.poll() is None
    finally:
        silent.kill()
        silent.communicate()
    assert first.returncode == 2
    assert "error: process 1 of 2 has not answered for 3 s; read the output of that process, " in errors
    assert "Traceback" not in errors


def test_processes_that_are_slower_than_others_are_waited_for(tmp_path: Path, python: Path):
    """The first validates while the others wait, or have gone."""
    (tmp_path / "slow.py").write_text(
        "import time\n"
        "from train import distributed\n"
        "distributed.BEAT_S, distributed.LOST_S = 0.1, 1.0\n"
        "world = distributed.join_world()\n"
        "if world.is_first:\n"
        "    time.sleep(2)\n"
        "distributed.wait_for_first(world)\n"
        "if world.is_first:\n"
        "    time.sleep(2)\n"
        "distributed.leave_world(world)\n"
    )
    started = start_processes(2, [str(tmp_path / "slow.py")], python=python)
    errors = errors_of(started)
    assert [process.returncode for process in started] == [0, 0], errors


@pytest.mark.parametrize(
    ("problem", "is_named"),
    [
        (RuntimeError("[/gloo/transport/tcp/pair.cc:547] Connection closed by peer"), True),
        (dist.DistBackendError("NCCL error: remote process exited"), True),
        (RuntimeError("shapes cannot be multiplied"), False),
        (ValueError("gloo"), False),
    ],
)
def test_only_what_a_lost_process_causes_is_called_so(problem: Exception, is_named: bool):
    with pytest.raises(LostProcessError if is_named else type(problem)) as raised, naming_lost_processes():
        raise problem
    assert (raised.value is not problem) == is_named
