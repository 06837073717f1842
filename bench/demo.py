"""What does `make demo` cost on a fresh clone, and does it find what it should?"""

import re
import subprocess
import tempfile
import time
from pathlib import Path

TITLE = "`make demo` from a fresh clone"
ROOT = Path(__file__).parents[1]


def measure() -> str:
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "musicsearch"
        subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True)
        install_s, _ = _timed(["make", ".venv/.base"], clone)
        first_s, first = _timed(["make", "demo"], clone)
        second_s, second = _timed(["make", "demo"], clone)
        (size,) = re.findall(r"^(\S+)", subprocess.check_output(["du", "-sh", clone / ".venv"], text=True))
    queries = re.search(r"\d+ of \d+ queries", first)
    assert queries, first
    peak = [re.findall(r"peak memory (\d+) MB", output)[0] for output in (first, second)]
    indexed = [re.findall(r"(\d+) embedded", output)[0] for output in (first, second)]
    return "\n".join(
        [
            "| step | time | embedded | peak memory |",
            "|---|---|---|---|",
            f"| install (`.venv`, {size}) | {install_s:.0f} s | | |",
            f"| index, search, tag | {first_s:.1f} s | {indexed[0]} | {peak[0]} MB |",
            f"| the same again | {second_s:.1f} s | {indexed[1]} | {peak[1]} MB |",
            "",
            f"{queries[0]} have a track that a person would accept among the first three.",
        ]
    )


def _timed(command: list[str], folder: Path) -> tuple[float, str]:
    started = time.monotonic()
    done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    return time.monotonic() - started, done.stdout
