"""Each page is followed from its first command to its last."""

from pathlib import Path
from typing import Any

import pytest

from tests.docs.conftest import World
from tests.docs.pages import PAGES, PROJECT, read_blocks

FOLLOWED = [page for page in PAGES if any(block.runs for block in read_blocks(page))]


@pytest.mark.parametrize("page", FOLLOWED, ids=lambda page: str(page.relative_to(PROJECT)))
def test_every_command_of_a_page_runs(page: Path, world: World, desk: Path) -> None:
    names: dict[str, Any] = {"__name__": "page"}
    for block in read_blocks(page):
        if block.runs:
            block.run(folder=desk, environment=world.environment, names=names)


def test_most_pages_of_tasks_are_followed() -> None:
    tasks = [page for page in PAGES if page.parent.name in ("how-to", "tutorials")]
    assert len([page for page in tasks if page in FOLLOWED]) >= 0.6 * len(tasks)


def test_what_does_not_run_says_why() -> None:
    blocks = [block for page in PAGES for block in read_blocks(page)]
    assert [str(block) for block in blocks if not (block.runs or block.not_run or block.language == "text")] == []
