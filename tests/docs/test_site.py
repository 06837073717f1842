"""The pages as a site, and the pages that GitHub shows: nothing leads nowhere, nothing public is left out."""

import re
import subprocess
import sys
from pathlib import Path

import client
from client.cli.parser import make_parser
from tests.docs.pages import PROJECT

ON_GITHUB = [PROJECT / name for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md")]
README_WORDS = 900


def test_the_site_builds_without_a_warning_and_tells_every_command(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", tmp_path / "site"]
    ended = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    page = (tmp_path / "site/reference/cli.html").read_text(encoding="utf-8")
    commands = make_parser()._subparsers._group_actions[0].choices
    assert len(commands) > 20
    for name in commands:
        assert f"<code>music-search {name}</code>" in page
    for program in ("python -m train.data pack", "python -m serve", "to_onnx.py"):
        assert f"<code>{program}</code>" in page


def test_everything_public_is_in_the_reference() -> None:
    page = (PROJECT / "docs/reference/python.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^::: client\.(\w+)$", page, re.MULTILINE)) == client.__all__


def test_what_github_shows_leads_somewhere() -> None:
    for page in ON_GITHUB:
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
            assert target.startswith("https://") or (page.parent / target).exists(), (page.name, target)


def test_the_readme_is_short() -> None:
    assert len(ON_GITHUB[0].read_text(encoding="utf-8").split()) <= README_WORDS
