"""Triton backend `onnxruntime` in Python: serves the C++ backend's `config.pbtxt` where only Triton's CPU build exists.

Triton runs this file once for each instance of each model whose configuration says `backend: "onnxruntime"`. It opens
`<repository>/<model>/<version>/model.onnx` on the CPU. From the configuration it takes, as the C++ backend does:

* the names and types of the tensors, which must be the graph's;
* `default_model_filename`;
* of `parameters`, those that change how the graph runs on a CPU: `intra_op_thread_count` and `inter_op_thread_count`
  (threads an instance, 0 or absent for one a core) and `execution_mode` (0 or 1). A value that is not such a number
  refuses the model. Every other parameter is passed over: the C++ backend, too, looks up the keys it knows and leaves
  the rest to the model's users (https://github.com/triton-inference-server/onnxruntime_backend, src/onnxruntime.cc);
* of `optimization`, the accelerators for a CPU, and one that is not there refuses the model: here none is. Those for a
  GPU, where the C++ backend also refuses unknown options of TensorRT, are for instances on a GPU only. The other
  settings of `optimization` change the speed and not the vectors, and are passed over.

The requests that Triton batched, which are of equal shape beside the batch axis, are one run of the graph. One that
ONNX Runtime refuses fails alone.
"""

import contextlib
import json
from pathlib import Path

import numpy as np
import onnxruntime
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        config = json.loads(args["model_config"])
        file_name = config["default_model_filename"] or "model.onnx"
        path = Path(args["model_repository"], args["model_version"], file_name)
        self._session = onnxruntime.InferenceSession(path, _options(config), providers=["CPUExecutionProvider"])
        self._inputs = [tensor["name"] for tensor in config["input"]]
        self._outputs = [tensor["name"] for tensor in config["output"]]
        _check_tensors(config["input"], self._session.get_inputs(), all_of_graph=True)
        _check_tensors(config["output"], self._session.get_outputs(), all_of_graph=False)
        self._batched = config["max_batch_size"] > 0

    def execute(self, requests):
        feeds = [
            {name: pb_utils.get_input_tensor_by_name(request, name).as_numpy() for name in self._inputs}
            for request in requests
        ]
        results = []
        if self._batched and len(feeds) > 1:
            # One bad request must not fail its neighbours, and only running them apart tells which one it is.
            with contextlib.suppress(Exception):  # ONNX Runtime's errors have no common class
                results = self._run_together(feeds)
        return [
            self._respond(request, result)
            for request, result in zip(requests, results or self._run_apart(feeds), strict=True)
        ]

    def _run(self, feed):
        """Tensors by name -> tensors by name."""
        return dict(zip(self._outputs, self._session.run(self._outputs, feed), strict=True))

    def _run_together(self, feeds):
        """Concatenate along the batch axis, run once -> the outputs of each feed."""
        outputs = self._run({name: np.concatenate([feed[name] for feed in feeds]) for name in self._inputs})
        starts = np.cumsum([len(feed[self._inputs[0]]) for feed in feeds])[:-1]
        split = {name: np.split(tensor, starts) for name, tensor in outputs.items()}
        return [{name: parts[row] for name, parts in split.items()} for row in range(len(feeds))]

    def _run_apart(self, feeds):
        """Run each feed -> for each its outputs, or the TritonError it caused."""
        results = []
        for feed in feeds:
            try:
                results.append(self._run(feed))
            except Exception as error:
                shapes = ", ".join(f"{name} {list(tensor.shape)}" for name, tensor in feed.items())
                results.append(pb_utils.TritonError(f"the graph failed on {shapes}: {error}"))
        return results

    def _respond(self, request, result):
        if isinstance(result, pb_utils.TritonError):
            return pb_utils.InferenceResponse(error=result)
        wanted = request.requested_output_names()
        return pb_utils.InferenceResponse(
            [pb_utils.Tensor(name, result[name]) for name in self._outputs if name in wanted]
        )


def _options(config):
    """SessionOptions; ValueError for what the C++ backend refuses too."""
    accelerators = config.get("optimization", {}).get("execution_accelerators", {})
    for accelerator in accelerators.get("cpu_execution_accelerator", []):
        raise ValueError(f"unknown Execution Accelerator '{accelerator['name']}' is requested: the CPU has none here")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = _parameter(config, "intra_op_thread_count")
    # Every instance is a process of its own on the same cores: threads that spin after a run keep the next one waiting.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.inter_op_num_threads = _parameter(config, "inter_op_thread_count")
    options.execution_mode = _EXECUTION_MODES[_parameter(config, "execution_mode", allowed=range(2))]
    return options


def _parameter(config, name, *, allowed=range(1024)):
    text = config["parameters"].get(name, {"string_value": "0"})["string_value"]
    if not text.isdecimal() or int(text) not in allowed:
        raise ValueError(f"parameter {name} is '{text}', expected a whole number from 0 to {allowed[-1]}")
    return int(text)


def _check_tensors(declared, graph, *, all_of_graph):
    """Raise ValueError where config.pbtxt and the graph disagree on names or types: at load, not at the first call."""
    types = {node.name: node.type for node in graph}
    for tensor in declared:
        expected = _ONNX_TYPES.get(tensor["data_type"], tensor["data_type"])
        if types.get(tensor["name"]) != expected:
            raise ValueError(f"config.pbtxt declares {tensor['name']!r} {expected}, but the graph has {types}")
    undeclared = types.keys() - {tensor["name"] for tensor in declared}
    if all_of_graph and undeclared:
        raise ValueError(f"config.pbtxt does not declare the graph's inputs {sorted(undeclared)}")


_EXECUTION_MODES = (onnxruntime.ExecutionMode.ORT_SEQUENTIAL, onnxruntime.ExecutionMode.ORT_PARALLEL)
_ONNX_TYPES = {
    "TYPE_BOOL": "tensor(bool)",
    "TYPE_INT32": "tensor(int32)",
    "TYPE_INT64": "tensor(int64)",
    "TYPE_FP16": "tensor(float16)",
    "TYPE_FP32": "tensor(float)",
    "TYPE_FP64": "tensor(double)",
}
