#!/bin/sh
# PyAV 18.1.0: the wheel's FFmpeg says "LGPL version 3 or later", and encodes H.264 and H.265 with libraries under the GPL.
# Expected: FFmpeg's configure refuses --enable-libx264 and --enable-libx265 without --enable-gpl, with which each of its
# libraries says "GPL version 3 or later"; so the licence that a library tells is the one that its parts allow. What
# happens: the wheel was configured with both and without --enable-gpl (--enable-version3 alone), says LGPL, and carries
# libx264 and libx265 beside it; both encoders open. The package's own metadata says BSD-3-Clause, and the only licence
# text in it is that of PyAV's code. So neither a scanner of package metadata nor a program that asks FFmpeg for its
# licence tells who passes on an image that it holds GPL code; the names of the files in av.libs do. (Both projects also
# sell other licences; nothing in the wheel says that one was had.)
# Exit status: 0 while that is so, 1 when it has changed. Linux x86-64.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check av==18.1.0 numpy==2.4.6
cat > check.py <<'PYTHON'
import io
import sys
from importlib.metadata import distribution

import av
import numpy as np
from av._core import library_meta


def encodes(codec):
    with av.open(io.BytesIO(), "w", format="matroska") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width = stream.height = 128
        stream.pix_fmt = "yuv420p"
        frame = av.VideoFrame.from_ndarray(np.zeros((128, 128, 3), np.uint8), format="rgb24")
        packets = [*stream.encode(frame), *stream.encode(None)]
        return sum(packet.size for packet in packets)


wheel = distribution("av")
files = sorted(path.name for path in wheel.files if path.parts[0] == "av.libs" and "libx26" in path.name)
texts = sorted(path.name for path in wheel.files if "licenses" in path.parts and not path.name.startswith("AUTHORS"))
codec = library_meta["libavcodec"]
switches = [word for word in codec["configuration"].split() if word in ("--enable-gpl", "--enable-version3") or "x26" in word]
sizes = {name: encodes(name) for name in ("libx264", "libx265")}
print("package:", wheel.metadata["License-Expression"], texts)
print("libavcodec:", codec["license"], switches)
print("beside it:", files)
print("bytes of one encoded frame:", sizes)
still = codec["license"].startswith("LGPL") and "--enable-gpl" not in switches and len(files) == 2 and all(sizes.values())
sys.exit(0 if still and wheel.metadata["License-Expression"] == "BSD-3-Clause" and texts == ["LICENSE.txt"] else 1)
PYTHON
venv/bin/python check.py
