"""Fixtures that more than one room uses."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

from serve import Ports, Server, running_server
from tests.tiny_repository import build_tiny_repository


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
def triton(tiny_repository: Path) -> Iterator[Server]:
    """The real tritonserver over `tiny_repository`, on free ports."""
    if importlib.util.find_spec("pytriton") is None:
        pytest.skip("needs the wheel nvidia-pytriton (Linux): pip install -e '.[serve]'")
    with running_server(tiny_repository, ports=Ports(http=0, grpc=0, metrics=0)) as server:
        yield server
