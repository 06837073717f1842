#!/bin/sh
# After a seek one expects a frame's time to be what it is when the file is played through. In FFmpeg's Ogg demuxer it
# depends on what was read before: once it has seen the last page of a Vorbis file, a seek back into that page gives times
# that are late, here by more than a second (a page of quiet music holds seconds). Whoever cuts several parts of a file,
# the last ones near its end, gets other sound than asked for. A file that is opened anew for each seek is right.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "av==18.1.0" "numpy<3" "soundfile==0.14.0"
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import av
import numpy as np
import soundfile

RATE_HZ = 44_100

samples = np.arange(10 * RATE_HZ)
clicks = 0.1 * np.random.default_rng(0).standard_normal(len(samples)) * (samples % 11_025 < 400)
with soundfile.SoundFile("a.ogg", "w", RATE_HZ, 1, format="OGG", subtype="VORBIS") as file:
    for start in range(0, len(samples), RATE_HZ):
        file.write(clicks[start : start + RATE_HZ])


def end_s(*, seek_s: float | None = None, after_the_end: bool = False) -> float:
    """When the last frame ends, after reading all packets first or not, and a seek or none."""
    with av.open("a.ogg") as container:
        stream = container.streams.audio[0]
        if after_the_end:
            for _ in container.demux(stream):
                pass
        if seek_s is not None:
            container.seek(round(seek_s / stream.time_base), stream=stream)
        last = [frame for packet in container.demux(stream) for frame in packet.decode()][-1]
    return float(last.pts * last.time_base) + last.samples / RATE_HZ


played = end_s()
sought = end_s(seek_s=played - 0.5)
sought_again = end_s(seek_s=played - 0.5, after_the_end=True)
print("PyAV", av.__version__, "FFmpeg", av.ffmpeg_version_info)
print(f"the file ends at {played:.3f} s; after a seek at {sought:.3f} s; after reading all and a seek at {sought_again:.3f} s")
assert abs(played - 10) < 0.001
assert abs(sought - played) < 0.001
assert sought_again - played > 1
PYTHON
