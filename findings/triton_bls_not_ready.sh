#!/bin/sh
# Triton's Python backend: a model that calls another one ("BLS") while that one is not loaded.
# Expected: the status that a direct call gets, which says that the model is not there (NOT_FOUND or UNAVAILABLE), so
# that clients may try again or go elsewhere. What happens: the called model's error reaches the caller of the first as
# INTERNAL, the status of a bug, also where the calling model passes the error object on unchanged.
# Linux x86-64, Python 3.11 or 3.12. Exits with 1 if the behaviour changes.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet nvidia-pytriton==0.7.0 'tritonclient[grpc]==2.64.0' 'numpy<2'

mkdir -p "$work/models/caller/1" "$work/models/called/1"
for model in caller called; do
    cat >"$work/models/$model/config.pbtxt" <<CONFIG
backend: "python"
input [ { name: "x" data_type: TYPE_FP32 dims: [ 1 ] } ]
output [ { name: "y" data_type: TYPE_FP32 dims: [ 1 ] } ]
CONFIG
done
cat >"$work/models/called/1/model.py" <<'MODEL'
import triton_python_backend_utils as pb

class TritonPythonModel:
    def execute(self, requests):
        tensors = [pb.get_input_tensor_by_name(request, "x").as_numpy() for request in requests]
        return [pb.InferenceResponse([pb.Tensor("y", tensor)]) for tensor in tensors]
MODEL
cat >"$work/models/caller/1/model.py" <<'MODEL'
import triton_python_backend_utils as pb

class TritonPythonModel:
    def execute(self, requests):
        return [self.call(pb.get_input_tensor_by_name(request, "x")) for request in requests]

    def call(self, tensor):
        answer = pb.InferenceRequest(model_name="called", requested_output_names=["y"], inputs=[tensor]).exec()
        if answer.has_error():
            return pb.InferenceResponse(error=answer.error())
        return pb.InferenceResponse([pb.get_output_tensor_by_name(answer, "y")])
MODEL

"$work/venv/bin/python" - "$work" <<'PYTHON'
import importlib.metadata
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import numpy as np
import tritonclient.grpc as grpc

work = Path(sys.argv[1])
wheel = importlib.metadata.distribution("nvidia-pytriton")
triton, libraries = (Path(wheel.locate_file(name)) for name in ("pytriton/tritonserver", "nvidia_pytriton.libs"))
backend = shutil.copytree(triton / "backends/python", work / "backends/python")
version = f"{sys.version_info.major}.{sys.version_info.minor}"
shutil.copy(triton / "python_backend_stubs" / version / "triton_python_backend_stub", backend)
ports = []
for _ in range(3):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        ports.append(probe.getsockname()[1])
environment = os.environ | {
    "LD_LIBRARY_PATH": f"{libraries}:{sysconfig.get_config_var('LIBDIR')}",
    "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
}
command = [
    triton / "bin/tritonserver",
    f"--model-repository={work}/models",
    f"--backend-directory={work}/backends",
    "--model-control-mode=explicit",
    "--load-model=caller",
    *(f"--{door}-address=127.0.0.1" for door in ("http", "grpc", "metrics")),
    *(f"--{door}-port={port}" for door, port in zip(("http", "grpc", "metrics"), ports)),
]
with (work / "log").open("wb") as log:
    server = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
client = grpc.InferenceServerClient(f"127.0.0.1:{ports[1]}")


def ask(model):
    tensor = grpc.InferInput("x", [1], "FP32").set_data_from_numpy(np.zeros(1, np.float32))
    try:
        client.infer(model, [tensor], client_timeout=30)
    except grpc.InferenceServerException as error:
        return error.status(), error.message()
    return "answered", ""


try:
    for _ in range(300):
        time.sleep(0.2)
        try:
            if client.is_model_ready("caller"):
                break
        except grpc.InferenceServerException:
            assert server.poll() is None, (work / "log").read_text()
    print("Triton", client.get_server_metadata().version)
    outcomes = {"caller, which calls called": ask("caller"), "called": ask("called")}
    client.load_model("called")
    outcomes["caller, once called is loaded"] = ask("caller")
finally:
    server.terminate()
    server.wait()
for asked, (status, message) in outcomes.items():
    print(f"{asked}: {status} {message}")
statuses = [status for status, _ in outcomes.values()]
assert statuses[0] == "StatusCode.INTERNAL", "the behaviour changed"
assert "is not ready" in outcomes["caller, which calls called"][1], "the behaviour changed"
assert statuses[1] in ("StatusCode.NOT_FOUND", "StatusCode.UNAVAILABLE") and statuses[2] == "answered", "it changed"
PYTHON
