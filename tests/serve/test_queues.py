"""Overload is an error at once, and it is called what it is, also where a model called the model.

So is a model that is not there for a while: its callers hear that it is unavailable, which is worth another try.
"""

import io
import os
import re
import shutil
import signal
import subprocess
import time
import wave
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, as_completed, wait
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as grpc
from tritonclient.utils import InferenceServerException

from serve import Ports, Server, running_server
from serve.server import LOOPBACK, assemble_backends, claim, environment_of, find_wheel

SHIPPED = Path(__file__).parents[2] / "model_repository"
DIM = re.search(r"dims: \[ (\d+) \] \},  # unit", (SHIPPED / "audio_embedding/config.pbtxt").read_text())[1]
CONFIG = f"""
name: "audio_encoder" backend: "python" max_batch_size: 1
input [ {{ name: "waveform" data_type: TYPE_FP32 dims: [ 160000 ] }} ]
output [ {{ name: "embedding" data_type: TYPE_FP32 dims: [ {DIM} ] }} ]
dynamic_batching {{ default_queue_policy {{
  max_queue_size: 1 default_timeout_microseconds: %d timeout_action: REJECT allow_timeout_override: true
}} }}
"""
MODEL = f"""
import time
import numpy as np
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def execute(self, requests):
        time.sleep(1)
        embedding = pb_utils.Tensor("embedding", np.eye(1, {DIM}, dtype=np.float32))
        return [pb_utils.InferenceResponse([embedding]) for _ in requests]
"""


def slow_encoder(folder: Path, *, longest_wait_us: int) -> None:
    """Put audio_embedding and the encoder that it calls into `folder`."""
    shutil.copytree(SHIPPED / "audio_embedding", folder / "audio_embedding")
    (folder / "audio_encoder/1").mkdir(parents=True)
    (folder / "audio_encoder/config.pbtxt").write_text(CONFIG % longest_wait_us)
    (folder / "audio_encoder/1/model.py").write_text(MODEL)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory, triton: Server) -> Iterator[grpc.InferenceServerClient]:
    """audio_embedding over an encoder that takes a second and lets one request wait; `triton` is for its skip."""
    folder = tmp_path_factory.mktemp("slow")
    slow_encoder(folder, longest_wait_us=30_000_000)
    with (
        running_server(folder, ports=Ports(0, 0, 0)) as server,
        grpc.InferenceServerClient(server.grpc_url.removeprefix("grpc://")) as client,
    ):
        yield client


def encode(client: grpc.InferenceServerClient, *, timeout_us: int | None = None) -> str:
    """The answer: "answered", or the error."""
    window = grpc.InferInput("waveform", [1, 160_000], "FP32").set_data_from_numpy(np.zeros((1, 160_000), np.float32))
    return ask(client, "audio_encoder", window, timeout_us=timeout_us)


def embed(client: grpc.InferenceServerClient) -> str:
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(1)
        file.setframerate(8000)
        file.writeframes(bytes([100, 150]) * 4000)
    tensor = grpc.InferInput("audio", [1], "BYTES").set_data_from_numpy(np.array([content.getvalue()], np.object_))
    return ask(client, "audio_embedding", tensor)


def ask(
    client: grpc.InferenceServerClient, model: str, tensor: grpc.InferInput, *, timeout_us: int | None = None
) -> str:
    try:
        client.infer(model, [tensor], timeout=timeout_us, client_timeout=60)
    except InferenceServerException as error:
        return f"{error.status()} {error.message()}"
    return "answered"


def test_what_finds_the_queue_full_is_refused_before_what_is_in_it_is_answered(client) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = [future.result() for future in as_completed(pool.submit(encode, client) for _ in range(8))]
    refused = [answer for answer in answers if answer != "answered"]
    assert 4 <= len(refused) <= 7  # one runs, one waits, and Triton may have taken one more out of the queue
    assert answers[: len(refused)] == refused
    assert all(answer.startswith("StatusCode.UNAVAILABLE") for answer in refused)
    assert all("Exceeds maximum queue size" in answer for answer in refused)
    assert encode(client) == "answered"


def test_a_full_queue_behind_audio_embedding_is_the_same_error(client) -> None:
    with ThreadPoolExecutor(8) as pool:
        busy = [pool.submit(encode, client) for _ in range(6)]
        wait(busy, return_when=FIRST_COMPLETED)  # the first to come back was refused
        answer = embed(client)
        assert {future.result() == "answered" for future in busy} == {True, False}
    assert answer.startswith("StatusCode.UNAVAILABLE")
    assert "Exceeds maximum queue size" in answer
    assert embed(client) == "answered"


def test_a_caller_may_ask_to_wait_less(client) -> None:
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(encode, client)
        time.sleep(0.3)
        answer = encode(client, timeout_us=1000)
        assert running.result() == "answered"
    assert answer.startswith("StatusCode.UNAVAILABLE")
    assert "timeout expired" in answer


def test_a_wait_in_the_encoders_queue_that_was_too_long_is_the_same_error(triton: Server, tmp_path: Path) -> None:
    slow_encoder(tmp_path, longest_wait_us=200_000)
    with (
        running_server(tmp_path, ports=Ports(0, 0, 0)) as server,
        grpc.InferenceServerClient(server.grpc_url.removeprefix("grpc://")) as client,
        ThreadPoolExecutor(2) as pool,
    ):
        running = pool.submit(encode, client)
        time.sleep(0.3)
        answer = embed(client)
        assert running.result() == "answered"
    assert answer.startswith("StatusCode.UNAVAILABLE")
    assert "timeout expired" in answer


def test_whom_a_model_calls_is_unavailable_until_it_is_loaded(triton: Server, tmp_path: Path) -> None:
    wheel, ports = find_wheel(), claim(Ports(0, 0, 0))
    assemble_backends(tmp_path / "backends", python_backend=wheel.python_backend, stub=wheel.stub)
    for model in ("audio_embedding", "audio_encoder"):
        shutil.copytree(SHIPPED / model, tmp_path / "models" / model, ignore=shutil.ignore_patterns("__pycache__"))
    command = [
        *(wheel.tritonserver, f"--model-repository={tmp_path}/models", f"--backend-directory={tmp_path}/backends"),
        *("--disable-auto-complete-config", "--model-control-mode=explicit", "--load-model=audio_embedding"),
        *(f"--{door}-address={LOOPBACK}" for door in vars(ports)),
        *(f"--{door}-port={port}" for door, port in vars(ports).items()),
    ]
    with (tmp_path / "triton.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment_of(wheel), stdout=log, stderr=log)
    try:
        server = Server(process, ports=ports, repository=tmp_path, workspace=tmp_path)
        give_up = time.monotonic() + 60
        while not server.is_ready():
            assert server.is_alive(), server.log()
            assert time.monotonic() < give_up
            time.sleep(0.05)
        with grpc.InferenceServerClient(server.grpc_url.removeprefix("grpc://")) as client:
            answer = embed(client)
            assert answer.startswith("StatusCode.UNAVAILABLE")
            assert "Model 'audio_encoder' is not ready" in answer
            client.load_model("audio_encoder")
            assert embed(client) == "answered"
    finally:
        process.terminate()  # not kill: its models are processes of their own
        process.wait(60)


def test_whom_a_model_calls_is_unavailable_when_its_processes_died(
    triton: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serve.server.EXIT_TIMEOUT_S", 1)  # when it stops, it waits for what died
    for model in ("audio_embedding", "audio_encoder"):
        shutil.copytree(SHIPPED / model, tmp_path / model)
    with (
        running_server(tmp_path, ports=Ports(0, 0, 0)) as server,
        grpc.InferenceServerClient(server.grpc_url.removeprefix("grpc://")) as client,
    ):
        assert embed(client) == "answered"
        for pid, model in server.model_processes().items():
            if model == "audio_encoder":
                os.kill(pid, signal.SIGKILL)
        answers = {embed(client) for _ in range(4)}  # of both instances
    assert all(answer.startswith("StatusCode.UNAVAILABLE") for answer in answers), answers
    assert any("is not healthy" in answer for answer in answers), answers
