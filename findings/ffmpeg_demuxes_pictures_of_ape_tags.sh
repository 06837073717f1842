#!/bin/sh
# FFmpeg takes an ID3v1 tag behind an MP3 for what it is, so one expects the same of an APEv2 tag, which ReplayGain tools
# and players write there. But its MP3 demuxer goes on through that tag: a picture in it, of which every few kilobytes look
# like the beginning of a frame, comes out as dozens of packets of "audio", which the decoder refuses one by one: who stops
# at them takes a sound file for a damaged one. Cut the tag off before.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "av==18.1.0" "mutagen==1.48.1" "numpy<3"
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import av
import numpy as np
from mutagen import apev2

RATE_HZ = 44_100


def write() -> None:
    with av.open("a.mp3", "w") as container:
        stream = container.add_stream("libmp3lame", rate=RATE_HZ, layout="mono", options={"b": "128k"})
        stream.codec_context.format = "fltp"
        tone = (0.1 * np.sin(np.arange(5 * RATE_HZ) / 20)).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(tone[None], format="fltp", layout="mono")
        frame.sample_rate = RATE_HZ
        resampler = av.AudioResampler(format="fltp", layout="mono", frame_size=stream.frame_size)
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))


def look() -> tuple[int, int]:
    packets = refused = 0
    with av.open("a.mp3") as container:
        for packet in container.demux(container.streams.audio[0]):
            packets += packet.size > 0
            try:
                packet.decode()
            except av.FFmpegError:
                refused += 1
    return packets, refused


write()
before = look()
with open("a.mp3", "ab") as file:
    file.write(b"TAG" + b"a title".ljust(125, b"\0"))
with_id3v1 = look()
write()
# What a compressed picture looks like: any byte may follow any other.
picture = np.random.default_rng(0).integers(0, 256, 500_000, dtype=np.uint8).tobytes()
tag = apev2.APEv2()
tag["Cover Art (Front)"] = apev2.APEValue(b"cover.png\0" + picture, apev2.BINARY)
tag.save("a.mp3")
with_ape = look()
version = ".".join(map(str, av.library_versions["libavformat"]))
print(f"PyAV {av.__version__}, libavformat {version}; packets, and those that do not decode:")
print(f"plain {before}, with ID3v1 {with_id3v1}, with a picture in APEv2 {with_ape}")
assert before == with_id3v1 == (before[0], 0)
assert with_ape[0] > before[0] + 20, "the tag is no longer demuxed as audio"
assert with_ape[1] > 20, "its packets decode"
PYTHON
