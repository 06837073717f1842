"""Each page is followed from its first command to its last."""

from pathlib import Path

import pytest

from tests.docs.conftest import World
from tests.docs.pages import PAGES, PROJECT, read_blocks


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_every_command_of_a_page_runs(page: Path, world: World, desk: Path) -> None:
    blocks = read_blocks(page)
    if not any(block.runs for block in blocks):
        pytest.skip("the page has no command that runs")
    names: dict = {"__name__": "page"}
    for block in blocks:
        if block.runs:
            block.run(folder=desk, environment=world.environment, names=names)
