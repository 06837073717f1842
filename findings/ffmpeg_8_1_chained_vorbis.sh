#!/bin/sh
# FFmpeg 8.1 (PyAV 18.1.0) no longer reads a chained Ogg Vorbis file whose second link has another sample rate.
# Expected: both links decode, as they do with FFmpeg 7.1 (PyAV 14.0.0), whose frames tell the new rate; RFC 3533 allows
# such chains, and Internet radio makes them. What happens: demuxing ends after the first link with "Not yet implemented
# in FFmpeg, patches welcome", and cannot go on. A reader has to cut the file at its links.
# Exit status: 0 while that is so, 1 when it has changed. Needs Python 3.11 to 3.13.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for version in 14.0.0 18.1.0; do
    "${PYTHON:-python3}" -m venv "$folder/$version"
    "$folder/$version/bin/python" -m pip install --quiet --disable-pip-version-check \
        av==$version soundfile==0.14.0 numpy==2.2.6
    "$folder/$version/bin/python" - "$folder" "$version" <<'END'
import io
import sys

import av
import numpy as np
import soundfile

links = []
for rate_hz in (44_100, 22_050):
    file = io.BytesIO()
    tone = 0.5 * np.sin(2 * np.pi * 440 / rate_hz * np.arange(5 * rate_hz))
    soundfile.write(file, tone, rate_hz, format="OGG", subtype="VORBIS")
    links.append(file.getvalue())

seconds, stopped = {}, "at the end"
with av.open(io.BytesIO(b"".join(links))) as container:
    try:
        for frame in container.decode(audio=0):
            seconds[frame.sample_rate] = seconds.get(frame.sample_rate, 0) + frame.samples / frame.sample_rate
    except av.FFmpegError as exc:
        stopped = exc.strerror
print("PyAV", av.__version__, "libavformat", av.library_versions["libavformat"])
print("  seconds decoded by rate:", {rate: round(length, 2) for rate, length in seconds.items()}, "- stopped:", stopped)
as_described = (
    (set(seconds) == {44_100, 22_050} and stopped == "at the end")
    if sys.argv[2] == "14.0.0"
    else (set(seconds) == {44_100} and "patches welcome" in stopped)
)
sys.exit(0 if as_described else "this behaviour has changed")
END
done
