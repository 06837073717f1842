#!/bin/sh
# onnxruntime 1.31.1 beside NumPy 1.26.4 on two cores: right after a run, a small product of NumPy's takes ten times as
# long as it does by itself, or more; beside NumPy 2.4.6 it does not.
# Expected: once `InferenceSession.run` has returned, its threads leave the cores to others. What happens: by default
# they spin for a while in the hope of the next run, on machines whose every core has such a thread too. The OpenBLAS
# that NumPy 1.26.4 brings splits all but the smallest products over the cores, and the part on a spinning one waits for
# the scheduler. A search that embeds a text and then compares vectors pays that with each product: the 99th percentile
# of ours was 40 ms instead of 22. `session.intra_op.allow_spinning` = 0 ends it, and so does a newer NumPy, whose
# OpenBLAS leaves such products to one core.
# Exit status: 0 while that is so, 1 when it has changed. Needs Linux with two cores and Python 3.11 or 3.12.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python="${PYTHON:-python3}"
for numpy in 1.26.4 2.4.6; do
    "$python" -m venv "$numpy"
    "$numpy/bin/pip" install --quiet --disable-pip-version-check onnxruntime==1.31.1 "numpy==$numpy" onnx==1.23.2
done
cat > check.py <<'PYTHON'
import os
import statistics
import sys
import time

os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])  # before any thread starts

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

rng = np.random.default_rng(0)
nodes, weights = [], []
for layer in range(12):
    weights.append(numpy_helper.from_array(rng.standard_normal((768, 768), np.float32) / 28, f"w{layer}"))
    nodes.append(helper.make_node("MatMul", [f"x{layer}", f"w{layer}"], [f"x{layer + 1}"]))
edges = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [16, 768]) for name in ("x0", "x12")]
graph = helper.make_graph(nodes, "layers", edges[:1], edges[1:], weights)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10).SerializeToString()
text = rng.standard_normal((16, 768), np.float32)
vector, matrix = rng.standard_normal(391).astype(np.float32), rng.standard_normal((391, 128)).astype(np.float32)


def product_us(spins):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spins)))
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    took = []
    for _ in range(200):
        session.run(None, {"x0": text})
        began = time.perf_counter()
        vector @ matrix
        took.append(1e6 * (time.perf_counter() - began))
    return statistics.fmean(took[20:])


print("onnxruntime", onnxruntime.__version__, "numpy", np.__version__)
rounds = [(product_us(True), product_us(False)) for _ in range(3)]
for spinning, resting in rounds:
    print(f"mean after a run: {spinning:.0f} us where threads spin, {resting:.0f} us where they do not")
ratio = statistics.median(spinning / resting for spinning, resting in rounds)
print(f"{ratio:.0f} times")
sys.exit((ratio > 5) != np.__version__.startswith("1."))
PYTHON
for numpy in 1.26.4 2.4.6; do
    "$numpy/bin/python" check.py || { echo "this behaviour has changed"; exit 1; }
done
