#!/bin/sh
# musicnn 0.1.0: of the 561 filters of MSD_musicnn's first layer 64 are alive, of MTT_musicnn's 249.
# Expected: a published network uses the filters that it has; both have 204 + 204 tall ones and 3 x 51 long ones, which
# are nearly all of its cost. What happens: training with weight decay has brought the weights of most to below 1e-3 (a
# live filter's reach 2 in norm), so their output is the same for any music. Left out, with their constants added to
# the next layer, every feature stays the same to 1e-6, at a quarter of the arithmetic for both networks together.
# Exit status: 0 while that is so, 1 when it has changed. Needs Python 3.9 to 3.11 (TensorFlow 2.15).
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python="${PYTHON:-python3}"
"$python" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check tensorflow-cpu==2.15.1 "numpy==1.26.4"
"$folder/venv/bin/python" -m pip download --quiet --disable-pip-version-check --no-deps --dest "$folder" musicnn==0.1.0
cd "$folder"
TF_CPP_MIN_LOG_LEVEL=3 "$folder/venv/bin/python" - <<'END'
import sys
import zipfile

import numpy as np
import tensorflow as tf

archive = zipfile.ZipFile("musicnn-0.1.0-py3-none-any.whl")
alive = {}
for network in ("MSD_musicnn", "MTT_musicnn"):
    for part in ("index", "data-00000-of-00001"):
        with open(f"{network}.{part}", "wb") as file:
            file.write(archive.read(f"musicnn/{network}/.{part}"))
    reader = tf.train.load_checkpoint(f"./{network}")
    alive[network] = 0
    for layer in ("conv2d", "conv2d_1", "conv2d_2", "conv2d_3", "conv2d_4"):
        kernel = reader.get_tensor(f"{layer}/kernel")
        norms = np.linalg.norm(kernel.reshape(-1, kernel.shape[-1]), axis=0)
        live = int((norms > 1e-3).sum())
        alive[network] += live
        print(f"{network} {layer} {kernel.shape[:2]}: {live} of {len(norms)} alive, largest norm {norms.max():.2f}")
print(alive)
sys.exit(0 if alive == {"MSD_musicnn": 64, "MTT_musicnn": 249} else "this behaviour has changed")
END
