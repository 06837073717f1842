"""On one host, do windows reach Triton sooner through its system shared memory than over gRPC?"""

import contextlib
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import tritonclient.grpc as triton
import tritonclient.utils.shared_memory as regions
from numpy.typing import NDArray
from onnx import TensorProto, helper

from bench.serving import REPOSITORY, _address, _windows
from client.encoders.base import AUDIO_MODEL
from client.encoders.local import LocalEncoder
from serve import Ports, running_server

TITLE = "Serving: windows through shared memory"
BATCHES = (1, 8)
CALLS, ROUNDS = 12, 6
REGION = "windows"


def measure() -> str:
    lines = [
        "One caller, windows of 10 s in float32 (640 kB), in the message of the call (gRPC) or in a region of system "
        "shared memory that the caller fills for each call; the answer comes over gRPC either way. *No model*: a graph "
        "that returns the first samples, which leaves what the transport costs, as before a model that takes no time; "
        "it is what a GPU would leave of a call. The sides alternate, medians.",
        "",
        "| graph | windows a call | gRPC, ms | shared memory, ms | ÷ |",
        "|---|---|---|---|---|",
    ]
    with _without_model() as without:
        for name, repository in (("the starter", REPOSITORY), ("no model", without)):
            with running_server(repository, ports=Ports(0, 0, 0)) as server:
                for batch in BATCHES:
                    grpc_ms, shared_ms = _compare(_address(server), _windows()[:batch])
                    lines.append(f"| {name} | {batch} | {grpc_ms:.2f} | {shared_ms:.2f} | {shared_ms / grpc_ms:.2f} |")
                    print(lines[-1], flush=True)
    return "\n".join(lines)


@contextlib.contextmanager
def _without_model() -> Iterator[Path]:
    spec = LocalEncoder(REPOSITORY, device="cpu").spec
    with tempfile.TemporaryDirectory() as folder:
        repository = Path(shutil.copytree(REPOSITORY, Path(folder) / "repository"))
        samples = helper.make_tensor_value_info("waveform", TensorProto.FLOAT, ["batch", spec.window_samples])
        first = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", spec.embedding_dim])
        bounds = [
            helper.make_tensor(name, TensorProto.INT64, [1], [value])
            for name, value in (("start", 0), ("end", spec.embedding_dim), ("axis", 1))
        ]
        node = helper.make_node("Slice", ["waveform", "start", "end", "axis"], ["embedding"])
        graph = helper.make_graph([node], "nothing", [samples], [first], bounds)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
        onnx.save(model, repository / AUDIO_MODEL / "1/model.onnx")
        yield repository


def _compare(address: str, windows: NDArray[np.float32]) -> tuple[float, float]:
    client = triton.InferenceServerClient(address)
    spent_ms: dict[str, list[float]] = {"gRPC": [], "shared": []}
    shape, size = list(windows.shape), windows.nbytes
    handle = regions.create_shared_memory_region(REGION, f"/{REGION}", size)
    try:
        client.register_system_shared_memory(REGION, f"/{REGION}", size)

        def by_grpc() -> NDArray[np.float32]:
            sent = triton.InferInput("waveform", shape, "FP32")
            sent.set_data_from_numpy(windows)
            embedding: NDArray[np.float32] = client.infer(AUDIO_MODEL, [sent]).as_numpy("embedding")
            return embedding

        def by_region() -> NDArray[np.float32]:
            regions.set_shared_memory_region(handle, [windows])
            sent = triton.InferInput("waveform", shape, "FP32")
            sent.set_shared_memory(REGION, size)
            embedding: NDArray[np.float32] = client.infer(AUDIO_MODEL, [sent]).as_numpy("embedding")
            return embedding

        sides: dict[str, Callable[[], NDArray[np.float32]]] = {"gRPC": by_grpc, "shared": by_region}
        np.testing.assert_array_equal(by_grpc(), by_region())
        for _ in range(ROUNDS):
            for name, ask in sides.items():
                for _ in range(CALLS):
                    started_at = time.perf_counter()
                    ask()
                    spent_ms[name].append(1e3 * (time.perf_counter() - started_at))
    finally:
        client.unregister_system_shared_memory(REGION)
        regions.destroy_shared_memory_region(handle)
        client.close()
    return float(np.median(spent_ms["gRPC"])), float(np.median(spent_ms["shared"]))
