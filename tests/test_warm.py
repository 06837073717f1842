"""A command of tests/warm.py does what a fresh Python does, and neither outlives the other."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SAYS = """
import os, sys
print(sys.argv, sys.path[0], __name__, os.getcwd(), os.environ.get("WORD"), input())
print("done", file=sys.stderr)
sys.exit(3)
"""


@pytest.mark.parametrize("how", [["-c", SAYS], ["-m", "says"], ["says.py"], ["-c", "def broken"], ["-c", "1 / 0"]])
def test_a_command_says_what_a_fresh_python_says(commands: Path, tmp_path: Path, how: list[str]) -> None:
    (tmp_path / "says.py").write_text(SAYS)

    def said_by(python: Path | str) -> tuple[int, str, list[str]]:
        done = subprocess.run(
            [python, *how, "two words", ""],
            cwd=tmp_path,
            env=os.environ | {"WORD": "wörd"},
            input="to read\n",
            capture_output=True,
            text=True,
        )
        return done.returncode, done.stdout, done.stderr.splitlines()[-1:]

    assert said_by(commands / "python") == said_by(sys.executable)


def test_a_command_ends_by_the_signal_that_ends_its_fork(commands: Path) -> None:
    code = f"import os; os.kill(os.getpid(), {signal.SIGKILL})"
    assert subprocess.run([commands / "python", "-c", code]).returncode == -signal.SIGKILL


def test_a_fork_ends_with_its_command(commands: Path) -> None:
    code = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
    with subprocess.Popen([commands / "python", "-c", code], stdout=subprocess.PIPE) as command:
        fork = Path(f"/proc/{int(command.stdout.readline())}")
        assert fork.exists()
        command.kill()
        give_up = time.monotonic() + 20
        while fork.exists():
            assert time.monotonic() < give_up
            time.sleep(0.01)
