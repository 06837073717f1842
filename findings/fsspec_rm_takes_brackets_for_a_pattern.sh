#!/bin/sh
# fsspec and s3fs 2026.9.0: `rm("Take [1].mp3")` deletes "Take 1.mp3", another file, and leaves the one that was named.
# Expected: `rm` deletes the files whose paths it is given; its documentation says "files or directories" and no word of
# patterns, and the paths may come straight from `ls`. What happens: a path with [, * or ? in it is a pattern, even
# where a file of just that name is there, and so is one that `ls` gave. "[1]" fits the one character 1: the other take
# is gone, without a word. `cat` of such a path gives a dict with the other file's bytes, where it gives the bytes
# themselves of any other. `open`, `exists`, `info`, `cat_file` and `rm_file` take the same path as it is, and so does
# `rm` of fsspec's own local files: a tidy-up that was tested on local files is right there and wrong in the store.
# Brackets are usual in names of music: "[Live]", "[CD 1]", "[Remastered]".
# Exit status: 0 while that is so, 1 when it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
    fsspec==2026.9.0 s3fs==2026.9.0 "moto[s3]==5.2.5" flask==3.1.3 flask-cors==6.0.5
cat > check.py <<'PYTHON'
import logging
import os
import sys
import tempfile
from importlib.metadata import version

import fsspec
from moto.server import ThreadedMotoServer

os.environ |= {"AWS_DEFAULT_REGION": "us-east-1", "NO_PROXY": "127.0.0.1"}
NAMES = ["Take 1.mp3", "Take [1].mp3"]


def left(store, folder, delete):
    """The files that are left of two, and what a cat of the second gave before."""
    for name in NAMES:
        store.pipe_file(f"{folder}/{name}", name.encode())
    got = store.cat(f"{folder}/{NAMES[1]}")
    seen = got.decode() if isinstance(got, bytes) else [content.decode() for content in got.values()]
    delete(store, next(path for path in store.ls(folder, detail=False) if path.endswith(NAMES[1])))
    store.invalidate_cache()
    return [name for name in NAMES if store.exists(f"{folder}/{name}")], seen


logging.getLogger("werkzeug").setLevel(logging.ERROR)  # else it tells each request
print("fsspec", version("fsspec"), "s3fs", version("s3fs"))
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
host, port = server.get_host_and_port()
s3 = fsspec.filesystem("s3", key="key", secret="secret", endpoint_url=f"http://{host}:{port}")
s3.mkdir("music")
found = {}
for kind, store, folder in (
    ("S3", s3, "music"),
    ("memory", fsspec.filesystem("memory"), "/music"),
    ("local", fsspec.filesystem("file"), tempfile.mkdtemp(dir=".")),
):
    found[kind] = left(store, folder, lambda store, path: store.rm(path))
    kept, seen = found[kind]
    print(f"{kind}: cat({NAMES[1]!r}) gave {seen}; after rm of the same, the store has {kept}")
    kept, _ = left(store, folder, lambda store, path: store.rm_file(path))
    print(f"  after rm_file: {kept}")
    found[kind] += (kept,)
server.stop()
as_pattern, as_name = (NAMES[1:], NAMES[:1], NAMES[:1]), (NAMES[:1], NAMES[:1], NAMES[:1])
sys.exit(0 if found["S3"] == found["memory"] == as_pattern and found["local"] == as_name else 1)
PYTHON
venv/bin/python check.py || { echo "this behaviour has changed"; exit 1; }
