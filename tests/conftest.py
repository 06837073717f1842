"""Fixtures that more than one room uses."""

import gc
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from serve import Ports, Server, running_server
from tests.tiny_repository import build_tiny_repository
from tests.warm import warm_commands

# The files that take longest, before all others: else one worker is left with one of them, and the others are idle.
LONGEST = (
    *("docs/test_pages.py", "export/test_every_tower.py", "export/test_full_size.py", "serve/test_server.py"),
    *("client/web/browser/test_page.py", "client/web/browser/test_access.py", "client/test_damage.py"),
    *("train/test_loop.py", "export/test_sources_muscall.py", "client/test_changed_files.py", "serve/test_faults.py"),
    *("serve/test_audio_embedding.py", "train/test_distributed.py", "client/test_full_disk.py"),
)
# The files that share the server `shipped`, which takes ten seconds to start.
ON_SHIPPED = ("test_audio_embedding.py", "test_bad_requests.py", "test_models.py", "test_response_cache.py")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With --dist loadfile, keep not only each file in one worker, but also those of one server."""
    if config.getoption("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file: str = super()._split_scope(nodeid)
            return "the server `shipped`" if file.endswith(ON_SHIPPED) else file

    return Scheduling(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {Path(__file__).parent / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


def pytest_collection_finish() -> None:
    """Spare the garbage collector all that was imported, and most of its rounds: a sixth of the time of an export."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


@pytest.fixture(scope="session")
def tiny_repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny repository as the exporter would configure it: one instance a model, dynamic batching."""
    # In a folder whose name is hostile to a shell, because Triton starts its Python models through one.
    folder = build_tiny_repository(tmp_path_factory.mktemp("models") / "it's $(exit 1)")
    for name in ("MODEL_CARD.md", "parity.json"):  # an export's, for people: Triton looks into folders only
        (folder / name).write_text("")
    for model in ("audio_encoder", "text_encoder", "text_tokenizer"):
        with (folder / model / "config.pbtxt").open("a") as config:
            # 20 ms: on a busy machine, requests sent at once must still meet in the queue.
            config.write("dynamic_batching { max_queue_delay_microseconds: 20000 }\ninstance_group [ { count: 1 } ]\n")
    return folder


@pytest.fixture(scope="session")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with `music-search`, and a `python` that starts at once, with PyTorch imported; see tests/warm.py."""
    with warm_commands(tmp_path_factory.mktemp("commands")) as folder:
        yield folder


@pytest.fixture(scope="session")
def triton(tiny_repository: Path) -> Iterator[Server]:
    """The real tritonserver over `tiny_repository`, on free ports."""
    if importlib.util.find_spec("pytriton") is None:
        pytest.skip("needs the wheel nvidia-pytriton (Linux): pip install -e '.[serve]'")
    with running_server(tiny_repository, ports=Ports(http=0, grpc=0, metrics=0)) as server:
        yield server
