"""The command blocks of README and docs, which are run as they are printed.

A block may follow a comment that a reader of the page does not see:

    <!-- not run: REASON -->            it cannot run on any machine that tests
    <!-- run as: OLD => NEW ; ... -->   it runs with these replacements, which make it small
"""

import re
import subprocess
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parents[2]
PAGES = [*(PROJECT / name for name in ("README.md", "CONTRIBUTING.md")), *sorted((PROJECT / "docs").rglob("*.md"))]
LIMIT_S = 300

_FENCE = re.compile(
    r"^(?:[ ]*<!-- (?P<how>not run|run as): (?P<what>.+?) -->\n)?"
    r"(?P<indent>[ ]*)```(?P<language>\w*)\n(?P<code>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """One fenced block: what runs of it, and where it stands."""

    page: Path
    line: int
    language: str
    code: str
    not_run: str = ""

    @property
    def runs(self) -> bool:
        return self.language in ("sh", "python") and not self.not_run

    def run(self, *, folder: Path, environment: Mapping[str, str], names: dict[str, Any]) -> None:
        """Run it in a folder: a shell's in a process, Python's here, among the names that the page's others made."""
        if self.language == "python":
            exec(compile("\n" * self.line + self.code, str(self.page), "exec"), names)
            return
        ended = subprocess.run(
            ["sh", "-e", "-c", self.code],
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
        assert ended.returncode == 0, f"{self}:\n{self.code}\n{ended.stdout}\n{ended.stderr}"

    def __str__(self) -> str:
        return f"{self.page.relative_to(PROJECT)}:{self.line}"


def read_blocks(page: Path) -> list[Block]:
    """The blocks of a page in their order, changed as their comments say."""
    text = page.read_text(encoding="utf-8")
    blocks = []
    for fence in _FENCE.finditer(text):
        code = textwrap.dedent(fence["code"])
        if fence["how"] == "run as":
            for change in fence["what"].split(" ; "):
                old, _, new = change.partition(" => ")
                assert old in code, f"{page.name}: {old!r} is not in the block that is to run with {new!r}"
                code = code.replace(old, new)
        line = text.count("\n", 0, fence.start("code"))
        blocks.append(Block(page, line, fence["language"], code, fence["what"] if fence["how"] == "not run" else ""))
    return blocks
