#!/bin/sh
# PyAV 19.0.2: the planes of a planar 7.1 frame cannot be read.
# Expected: `frame.planes` of an AudioFrame with 8 channels in planes of their own (what FFmpeg's AAC, Vorbis, Opus and
# E-AC-3 decoders give for 7.1) has 8 planes, as it has 6 for 5.1. What happens: it counts a ninth, and raises
# "ValueError: plane index 8 out of range for 8 planes", and so does `to_ndarray`. Packing the frame first works.
# Exit status: 0 while that is so, 1 when it has changed. Needs Python 3.12 or newer (PYTHON=python3.13).
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check av==19.0.2 numpy==2.5.0
"$folder/venv/bin/python" - <<'END'
import sys

import av
import numpy as np

print("PyAV", av.__version__, "with libavcodec", av.library_versions["libavcodec"])
seen = {}
for layout, channels in (("5.1", 6), ("7.1", 8)):
    samples = np.linspace(-1, 1, 1000 * channels, dtype=np.float32)[None]
    packed = av.AudioFrame.from_ndarray(samples, format="flt", layout=layout)
    packed.sample_rate = 48_000
    (planar,) = av.AudioResampler(format="fltp", layout=layout, rate=48_000).resample(packed)
    (again,) = av.AudioResampler(format="flt", layout=layout, rate=48_000).resample(planar)
    try:
        seen[layout] = f"{len(planar.planes)} planes"
    except ValueError as exc:
        seen[layout] = f"ValueError: {exc}"
    print(f"{layout} in planes: {seen[layout]}; packed again: equal {np.array_equal(again.to_ndarray(), samples)}")
expected = {"5.1": "6 planes", "7.1": "ValueError: plane index 8 out of range for 8 planes"}
sys.exit(0 if seen == expected else "this behaviour has changed")
END
