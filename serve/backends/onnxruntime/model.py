"""Triton backend `onnxruntime` in Python: replaces the C++ backend where only Triton's CPU build exists.

Triton loads this file once for each instance of each model whose configuration says `backend: "onnxruntime"`. It opens
`<repository>/<model>/<version>/model.onnx` on the CPU. It accepts and refuses the same `config.pbtxt` files as the C++
backend on a CPU (https://github.com/triton-inference-server/onnxruntime_backend, src/onnxruntime.cc and
onnxruntime_utils.cc):

* Names and types of the tensors must be those of the graph. `dims` (or `reshape`) must be its axes. If `max_batch_size`
  is above 0, they are the axes after the batch axis, which must be dynamic. If it is 0, they are all axes. Where an
  axis of the graph is dynamic, an input may give any size, and an output gives -1.
* In `parameters`, the thread counts are parsed like an integer in C++: "2 cores" is 2. For values of 0 or less, ONNX
  Runtime chooses. `execution_mode` is 0 or 1. Switches are "true", "on", "1" or their opposites. Other parameters
  belong to the model's users.
* In `optimization`, an unavailable accelerator for a CPU refuses the model; none is available here. Accelerators for a
  GPU apply to instances on a GPU only. For those, the C++ backend also refuses unknown options of TensorRT. `graph` is
  ignored.

Not supported: strings, ragged batches, sequences, custom operators, and sessions that instances share.

The requests of a batch from Triton have the same shape except for the batch axis, and are one run of the graph. If the
run fails, all of them fail, as in the C++ backend. So a graph must accept everything that a caller may send
(`export/towers.py`).
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args: Mapping[str, str]) -> None:
        config = json.loads(args["model_config"])
        file_name = config["default_model_filename"] or "model.onnx"
        path = Path(args["model_repository"], args["model_version"], file_name)
        self._session = onnxruntime.InferenceSession(path, _options(config), providers=["CPUExecutionProvider"])
        self._inputs = [tensor["name"] for tensor in config["input"]]
        self._outputs = [tensor["name"] for tensor in config["output"]]
        self._batched = config["max_batch_size"] > 0
        _check_inputs(config["input"], self._session.get_inputs(), batched=self._batched)
        _check_outputs(config["output"], self._session.get_outputs(), batched=self._batched)

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        runs = [requests] if self._batched else [[request] for request in requests]
        return [response for run in runs for response in self._respond(run)]

    def _respond(self, requests: Sequence[Any]) -> list[Any]:
        """Join the requests along the batch axis, run the graph once, and return a response to each request."""
        feeds = [
            {name: pb_utils.get_input_tensor_by_name(request, name).as_numpy() for name in self._inputs}
            for request in requests
        ]
        joined = feeds[0]
        if len(feeds) > 1:
            joined = {name: np.concatenate([feed[name] for feed in feeds]) for name in self._inputs}
        try:
            outputs = self._session.run(self._outputs, joined)
        except Exception as error:  # ONNX Runtime's errors have no common class
            shapes = ", ".join(f"{name} {list(tensor.shape)}" for name, tensor in joined.items())
            failure = pb_utils.TritonError(f"the graph failed on {shapes}: {error}")
            return [pb_utils.InferenceResponse(error=failure) for _ in requests]
        rows = [[output] for output in outputs]
        if len(feeds) > 1:
            starts = np.cumsum([len(feed[self._inputs[0]]) for feed in feeds])[:-1]
            rows = [np.split(output, starts) for output in outputs]
        return [
            pb_utils.InferenceResponse(
                [
                    pb_utils.Tensor(name, tensor)
                    for name, tensor in zip(self._outputs, tensors, strict=True)
                    if name in request.requested_output_names()
                ]
            )
            for request, tensors in zip(requests, zip(*rows, strict=True), strict=True)
        ]


def _options(config: Mapping[str, Any]) -> onnxruntime.SessionOptions:
    """Return the SessionOptions; raises ValueError for everything that the C++ backend refuses too."""
    accelerators = config.get("optimization", {}).get("execution_accelerators", {})
    for accelerator in accelerators.get("cpu_execution_accelerator", []):
        raise ValueError(f"unknown Execution Accelerator '{accelerator['name']}' is requested: the CPU has none here")
    parameters = {key: value["string_value"] for key, value in config["parameters"].items()}
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = max(0, _integer(parameters, "intra_op_thread_count"))
    # Every instance is a process on the same cores. Threads that spin after a run would delay the next one.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.inter_op_num_threads = max(0, _integer(parameters, "inter_op_thread_count"))
    mode = _integer(parameters, "execution_mode")
    if mode not in (0, 1):
        raise ValueError(f"parameter execution_mode is {mode}, expected 0 or 1")
    options.execution_mode = _EXECUTION_MODES[mode]
    options.enable_cpu_mem_arena = _switch(parameters, "enable_mem_arena", default=True)
    options.enable_mem_pattern = _switch(parameters, "enable_mem_pattern", default=True)
    _switch(parameters, "share_session_between_instances", default=False)
    return options


def _integer(parameters: Mapping[str, str], name: str) -> int:
    """Parse the start of the text like C++'s std::stoi; 0 if the parameter is absent."""
    text = parameters.get(name, "0")
    number = re.match(r"\s*([+-]?[0-9]+)", text)
    if not number or not -(2**31) <= int(number[1]) < 2**31:
        raise ValueError(f"parameter {name} is '{text}', expected a whole number of 32 bits")
    return int(number[1])


def _switch(parameters: Mapping[str, str], name: str, *, default: bool) -> bool:
    if name not in parameters:
        return default
    text = parameters[name]
    if text.lower() not in _SWITCHES:
        raise ValueError(f"parameter {name} is '{text}', expected true or false")
    return _SWITCHES[text.lower()]


def _check_inputs(declared: Sequence[Mapping[str, Any]], graph: Sequence[Any], *, batched: bool) -> None:
    """Raise ValueError if config.pbtxt does not match the graph's inputs, at load time, not at the first call."""
    for tensor in declared:
        if batched and tensor.get("optional"):
            raise ValueError(f"config.pbtxt declares the input {tensor['name']!r} optional, but the model batches")
        _check_tensor(tensor, graph, batched=batched, exactly=False)
    undeclared = {node.name for node in graph} - {tensor["name"] for tensor in declared}
    if undeclared:
        raise ValueError(f"config.pbtxt does not declare the graph's inputs {sorted(undeclared)}")


def _check_outputs(declared: Sequence[Mapping[str, Any]], graph: Sequence[Any], *, batched: bool) -> None:
    """Raise ValueError if config.pbtxt does not match the graph's outputs; the graph may have more outputs."""
    for tensor in declared:
        _check_tensor(tensor, graph, batched=batched, exactly=True)


def _check_tensor(tensor: Mapping[str, Any], graph: Sequence[Any], *, batched: bool, exactly: bool) -> None:
    name = tensor["name"]
    by_name = {node.name: node for node in graph}
    expected = _ONNX_TYPES.get(tensor["data_type"], tensor["data_type"])
    if name not in by_name or by_name[name].type != expected:
        types = {node.name: node.type for node in graph}
        raise ValueError(f"config.pbtxt declares {name!r} {expected}, but the graph has {types}")
    axes = [axis if isinstance(axis, int) else -1 for axis in by_name[name].shape]
    dims = [int(size) for size in tensor.get("reshape", tensor).get("shape", tensor["dims"])]
    if not axes:  # a scalar
        agree = all(size == 1 for size in dims)
    else:
        whole = [-1, *dims] if batched else dims
        agree = len(whole) == len(axes) and all(
            axis == size or (axis == -1 and not exactly) for axis, size in zip(axes, whole, strict=True)
        )
    if not agree:
        batch = "a batch axis (max_batch_size) before " if batched else ""
        raise ValueError(f"config.pbtxt declares {name!r} as {batch}{dims}, but the graph has {axes} (-1: any size)")


_EXECUTION_MODES = (onnxruntime.ExecutionMode.ORT_SEQUENTIAL, onnxruntime.ExecutionMode.ORT_PARALLEL)
_SWITCHES = {"true": True, "on": True, "1": True, "false": False, "off": False, "0": False}
_ONNX_TYPES = {
    "TYPE_BOOL": "tensor(bool)",
    "TYPE_FP16": "tensor(float16)",
    "TYPE_FP32": "tensor(float)",
    "TYPE_FP64": "tensor(double)",
    **{f"TYPE_{sign}INT{bits}": f"tensor({sign.lower()}int{bits})" for sign in ("", "U") for bits in (8, 16, 32, 64)},
}
