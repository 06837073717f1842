"""The committed model_repository/ behind the real tritonserver."""

import importlib.util
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import tritonclient.grpc as grpc

from serve import Ports, Server, running_server

REPOSITORY = Path(__file__).parents[2] / "model_repository"
# Models beside the committed ones: audio_embedding with other values of its parameters.
VARIANTS = {
    "audio_embedding_limited": {"max_audio_s": ("3600", "20"), "max_audio_bytes": ("67108864", "5000000")},
    "audio_embedding_overfull": {"windows_per_call": ("32", "100")},
}


@pytest.fixture(scope="session")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The real tritonserver over the committed repository, exactly as it is, and `VARIANTS`."""
    if importlib.util.find_spec("pytriton") is None:
        pytest.skip("needs the wheel nvidia-pytriton (Linux): pip install -e '.[serve]'")
    folder = shutil.copytree(REPOSITORY, tmp_path_factory.mktemp("shipped") / "models", copy_function=os.symlink)
    for name, changes in VARIANTS.items():
        config = shutil.copytree(REPOSITORY / "audio_embedding", folder / name) / "config.pbtxt"
        text = config.read_text().replace('name: "audio_embedding"', f'name: "{name}"').replace("count: 2", "count: 1")
        for key, (old, new) in changes.items():
            assert f'"{key}" value: {{ string_value: "{old}" }}' in text
            text = text.replace(f'"{key}" value: {{ string_value: "{old}"', f'"{key}" value: {{ string_value: "{new}"')
        config.write_text(text)
    with running_server(folder, ports=Ports(http=0, grpc=0, metrics=0)) as server:
        yield server


@pytest.fixture(scope="session")
def shipped_client(shipped: Server) -> Iterator[grpc.InferenceServerClient]:
    with grpc.InferenceServerClient(shipped.grpc_url.removeprefix("grpc://")) as client:
        yield client
