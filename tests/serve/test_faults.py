"""A real tritonserver is killed, stopped, overloaded, slow or half written: no wrong vector and no lost row."""

import contextlib
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

import numpy as np
import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from client import MusicSearch, ServerBusy, ServerMismatch, ServerTimeout, ServerUnavailable, TritonEncoder
from client.embedding import embed_file
from client.encoders.local import LocalEncoder
from client.index.catalogue import Catalogue
from serve import Ports, ServeError, Server, running_server
from tests.client.audio_files import tone, write_audio
from tests.tiny_repository import build_tiny_repository

ANY_PORTS = Ports(http=0, grpc=0, metrics=0)
TRACKS = 100  # three commits' worth
RECOVERY_S = 60.0  # a start takes 3 s on an idle machine
TEXTS = ["low tone", "a high sound", "the music of " * 7, "middle " * 60]


def wait_until(condition: Callable[[], object], *, timeout_s: float = RECOVERY_S) -> None:
    give_up = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < give_up, "timed out"
        time.sleep(0.02)


def kill(server: Server) -> None:
    os.killpg(server.pid, signal.SIGKILL)  # with the processes of its models, as when a machine fails
    wait_until(lambda: not server.is_alive())


# -- killed ------------------------------------------------------------------------------------------------


class Callers:
    """Threads that embed texts and windows without a pause, and hold each vector to the model's in process."""

    def __init__(self, encoder: TritonEncoder, *, expected: LocalEncoder) -> None:
        windows = np.random.default_rng(0).uniform(-1, 1, (20, 16_000)).astype(np.float32)  # several requests
        self._work = [
            (lambda: encoder.embed_texts(TEXTS), expected.embed_texts(TEXTS)),
            (lambda: encoder.embed_windows(windows), expected.embed_windows(windows)),
        ]
        self._done = threading.Event()
        self._threads = [threading.Thread(target=self._call, args=(row,)) for row in range(4)]
        self.answers = [0] * 4
        self.failures: list[Exception] = []

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        self.wait_for_answers()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join()

    def wait_for_answers(self) -> None:
        """Until each thread has had two more, so one at least to a call that began after this one did."""
        wanted = [count + 2 for count in self.answers]
        wait_until(lambda: all(count >= want for count, want in zip(self.answers, wanted, strict=True)))

    def _call(self, row: int) -> None:
        embed, expected = self._work[row % 2]
        while not self._done.is_set():
            try:
                np.testing.assert_allclose(embed(), expected, rtol=0, atol=1e-5)
                self.answers[row] += 1
            except Exception as exc:
                self.failures.append(exc)


@pytest.fixture(scope="module")
def local(tiny_repository: Path) -> Iterator[LocalEncoder]:
    encoder = LocalEncoder(tiny_repository, device="cpu")
    yield encoder
    encoder.close()


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of 2 s, each a tone of its own."""
    folder = tmp_path_factory.mktemp("music")
    for row in range(TRACKS):
        write_audio(
            folder / f"{row:03d}.wav", tone(100.0 + 20 * row, seconds=2.0, sample_rate_hz=16_000), sample_rate_hz=16_000
        )
    return folder


def assert_complete_and_right(library: Path, music: Path, *, encoder: LocalEncoder) -> None:
    catalogue = Catalogue(library)
    for path in music.iterdir():
        track = catalogue.by_path(str(path))
        assert track is not None
        np.testing.assert_allclose(
            catalogue.vector(track.label), embed_file(encoder, path).vector, rtol=0, atol=1e-5, err_msg=path.name
        )
    catalogue.close()


def test_killed_under_load_and_restarted(
    triton: Server, tiny_repository: Path, local: LocalEncoder, music: Path, tmp_path: Path
) -> None:
    library = tmp_path / "library"
    with contextlib.ExitStack() as servers:
        server = servers.enter_context(running_server(tiny_repository, ports=ANY_PORTS))
        patient = TritonEncoder(server.grpc_url, text_timeout_s=RECOVERY_S)
        hasty = TritonEncoder(server.grpc_url, audio_timeout_s=3.0)
        with Callers(patient, expected=local) as callers, MusicSearch(library, encoder=hasty) as ms:
            with ThreadPoolExecutor(1) as pool:
                adding = pool.submit(ms.add, music, progress=False)
                wait_until(lambda: ms.info().tracks or adding.done())
                kill(server)
                with pytest.raises(ServerUnavailable):  # it is down for longer than this encoder waits
                    adding.result()
            kept = ms.info().tracks
            assert 0 < kept < TRACKS

            servers.enter_context(running_server(tiny_repository, ports=server.ports))
            callers.wait_for_answers()
            assert callers.failures == []
            report = ms.add(music, progress=False)
            assert (report.unchanged, report.added, report.failed) == (kept, TRACKS - kept, [])
    assert_complete_and_right(library, music, encoder=local)


def test_of_two_servers_one_dies_and_no_call_fails(
    triton: Server, tiny_repository: Path, local: LocalEncoder, music: Path, tmp_path: Path
) -> None:
    library = tmp_path / "library"
    with running_server(tiny_repository, ports=ANY_PORTS) as server:
        encoder = TritonEncoder(f"{triton.grpc_url},127.0.0.1:{server.ports.grpc}")
        with (
            Callers(encoder, expected=local) as callers,
            MusicSearch(library, encoder=encoder) as ms,
            ThreadPoolExecutor(1) as pool,
        ):
            adding = pool.submit(ms.add, music, progress=False)
            wait_until(lambda: ms.info().tracks or adding.done())
            assert not adding.done()
            kill(server)
            callers.wait_for_answers()
            assert callers.failures == []
            report = adding.result()
            assert (report.added, report.failed) == (TRACKS, [])
    assert_complete_and_right(library, music, encoder=local)


# -- stopped, overloaded, slow -----------------------------------------------------------------------------

SLOW_MODEL = """
import time
from pathlib import Path
import numpy as np
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def execute(self, requests):
        Path({marker!r}).touch()
        time.sleep({seconds})
        rows = [len(pb_utils.get_input_tensor_by_name(request, {input!r}).as_numpy()) for request in requests]
        answers = [np.repeat(np.eye(16, dtype=np.float32)[:1], count, axis=0) for count in rows]
        return [pb_utils.InferenceResponse([pb_utils.Tensor("embedding", answer)]) for answer in answers]
"""
SLOW_S = 2.0
ANSWER = np.eye(16, dtype=np.float32)[:1]  # of the slow model, to everything
WINDOW = np.zeros((1, 16_000), np.float32)


class SlowRepository:
    """Both encoders, each with one instance that takes `SLOW_S` and a queue of one request."""

    def __init__(self, parent: Path) -> None:
        self.folder = build_tiny_repository(parent / "repository")
        self._markers = parent / "running"
        self._markers.mkdir()
        for model, tensor in (("audio_encoder", "waveform"), ("text_encoder", "input_ids")):
            path = self.folder / model / "config.pbtxt"
            config = text_format.Parse(path.read_text(), model_config_pb2.ModelConfig())
            config.backend = "python"
            config.dynamic_batching.default_queue_policy.max_queue_size = 1
            del config.instance_group[:]
            config.instance_group.add(count=1)
            path.write_text(text_format.MessageToString(config))
            source = SLOW_MODEL.format(marker=str(self._markers / model), seconds=SLOW_S, input=tensor)
            (path.parent / "1/model.py").write_text(source)

    def forget_runs(self) -> None:
        for marker in self._markers.iterdir():
            marker.unlink()

    def runs(self, model: str) -> bool:
        """Whether the model has begun a run since `forget_runs`."""
        return (self._markers / model).exists()


@pytest.fixture(scope="module")
def slow(triton: Server, tmp_path_factory: pytest.TempPathFactory) -> SlowRepository:
    return SlowRepository(tmp_path_factory.mktemp("slow"))


@pytest.fixture(scope="module")
def slow_url(slow: SlowRepository) -> Iterator[str]:
    with running_server(slow.folder, ports=ANY_PORTS) as server:
        yield server.grpc_url


@pytest.mark.parametrize("embed", ["texts", "windows"])
def test_a_full_queue_is_said_at_once(slow_url: str, embed: str) -> None:
    encoder = TritonEncoder(slow_url)
    call = {"texts": lambda: encoder.embed_texts(["low"]), "windows": lambda: encoder.embed_windows(WINDOW)}[embed]
    outcomes = []

    def record() -> None:
        try:
            outcomes.append(call())
        except ServerBusy as exc:
            outcomes.append(exc)

    with ThreadPoolExecutor(8) as pool:
        for _ in range(8):
            pool.submit(record)
    refusals = [outcome for outcome in outcomes if isinstance(outcome, ServerBusy)]
    answers = [outcome for outcome in outcomes if not isinstance(outcome, ServerBusy)]
    assert refusals
    assert answers
    assert isinstance(outcomes[0], ServerBusy)  # before the first answer, though it was asked for later
    assert "is overloaded: try again later" in str(refusals[0])
    for answer in answers:
        np.testing.assert_array_equal(answer, ANSWER)


def test_a_slow_model_meets_the_deadline(slow_url: str) -> None:
    encoder = TritonEncoder(slow_url, text_timeout_s=0.5, audio_timeout_s=0.5)
    for embed in (lambda: encoder.embed_texts(["low"]), lambda: encoder.embed_windows(WINDOW)):
        began_at = time.monotonic()
        with pytest.raises(ServerTimeout, match="did not answer in time"):
            embed()
        assert time.monotonic() - began_at < SLOW_S


def test_a_stopping_server_finishes_what_is_in_flight(slow: SlowRepository) -> None:
    slow.forget_runs()
    with running_server(slow.folder, ports=ANY_PORTS) as server, ThreadPoolExecutor(2) as pool:
        encoder = TritonEncoder(server.grpc_url)
        calls = [pool.submit(encoder.embed_texts, ["low"]), pool.submit(encoder.embed_windows, WINDOW)]
        wait_until(lambda: slow.runs("text_encoder") and slow.runs("audio_encoder"))
        os.kill(server.pid, signal.SIGTERM)
        for call in calls:
            np.testing.assert_array_equal(call.result(RECOVERY_S), ANSWER)
        wait_until(lambda: not server.is_alive())


# -- half written ------------------------------------------------------------------------------------------


def test_a_repository_whose_graph_is_cut_off_is_not_served(
    triton: Server, tiny_repository: Path, tmp_path: Path
) -> None:
    repository = shutil.copytree(tiny_repository, tmp_path / "half")
    graph = repository / "audio_encoder/1/model.onnx"
    graph.write_bytes(graph.read_bytes()[: graph.stat().st_size // 2])
    with (
        pytest.raises(ServeError, match=r"half/audio_encoder/1/model.onnx"),
        running_server(repository, ports=ANY_PORTS),
    ):
        pass


def test_a_repository_half_replaced_by_another_export_gives_no_vector(
    triton: Server, tiny_repository: Path, tmp_path: Path
) -> None:
    repository = shutil.copytree(tiny_repository, tmp_path / "half")
    build_tiny_repository(tmp_path / "other", seed=1)
    shutil.rmtree(repository / "text_encoder")
    shutil.copytree(tmp_path / "other/text_encoder", repository / "text_encoder")
    with (
        running_server(repository, ports=ANY_PORTS) as server,
        pytest.raises(ServerMismatch, match="come from different exports: fingerprint is"),
    ):
        TritonEncoder(server.grpc_url)
