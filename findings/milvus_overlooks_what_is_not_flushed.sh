#!/bin/sh
# Milvus 2.3.5, the newest server on the Python package index, with pymilvus 3.0.2: until a collection of 20,000 vectors
# is flushed, its HNSW index is not asked, whatever `ef` says, and a search finds a third of the ten best.
# Expected: fresh vectors are compared one by one, as the documents say of growing segments, so they are found surely,
# if slowly; 5,000 are. What happens: a larger growing segment has an index of its own that is searched coarsely, and the
# level Strong uses it too. `ef` does not reach it, and neither does `nprobe`. After a flush, once the sealed segment has
# its HNSW index, the same searches find .98 of them. An application that writes and then searches loses hits without a
# word, until the server seals the segment by itself.
# Exit status: 0 while that is so, 1 when it has changed. Needs Linux on x86-64 and Python 3.10 or newer.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check milvus==2.3.5 pymilvus==3.0.2 numpy==2.4.6
cat > check.py <<'PYTHON'
import os
import sys
import time

import numpy as np
import pymilvus
from milvus import MilvusServer
from pymilvus import DataType, MilvusClient

ROWS, DIM, QUERIES, K = 20_000, 256, 100, 10
rng = np.random.default_rng(0)
rows = rng.standard_normal((ROWS, DIM), dtype=np.float32)
rows /= np.linalg.norm(rows, axis=1, keepdims=True)
queries = rng.standard_normal((QUERIES, DIM), dtype=np.float32)
best = np.argsort(-(queries @ rows.T), axis=1)[:, :K]


def recall(client, **params):
    found = client.search(
        "rows", queries.tolist(), limit=K, search_params={"metric_type": "COSINE", "params": params}, consistency_level="Strong"
    )
    return np.mean([len({hit["id"] for hit in hits} & set(own)) / K for hits, own in zip(found, best.tolist())])


server = MilvusServer()
server.set_base_dir(os.path.join(os.getcwd(), "data"))
with server:
    client = MilvusClient(f"http://127.0.0.1:{server.listen_port}")
    print("Milvus", client.get_server_version(), "pymilvus", pymilvus.__version__)
    schema = client.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=DIM)
    index = client.prepare_index_params()
    index.add_index("vector", index_type="HNSW", metric_type="COSINE", params={"M": 16, "efConstruction": 200})
    client.create_collection("rows", schema=schema, index_params=index)
    client.load_collection("rows")
    for first in range(0, ROWS, 500):
        client.insert("rows", [{"id": i, "vector": rows[i].tolist()} for i in range(first, first + 500)])
    time.sleep(5)
    fresh = {ef: recall(client, ef=ef) for ef in (50, 1_000)}
    fresh_lists = recall(client, ef=50, nprobe=128)
    client.flush("rows")
    for _ in range(60):
        time.sleep(2)
        if recall(client, ef=1_000) > 0.9:
            break
    sealed = recall(client, ef=1_000)
    client.close()
print("recall of the ten best, not flushed, by ef:", {ef: round(float(found), 3) for ef, found in fresh.items()})
print("with nprobe 128:", round(float(fresh_lists), 3), "- flushed, ef 1000:", round(float(sealed), 3))
changed = max(*fresh.values(), fresh_lists) > 0.6 or sealed < 0.9
sys.exit(int(changed))
PYTHON
venv/bin/python check.py || { echo "this behaviour has changed"; exit 1; }
