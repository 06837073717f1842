"""Converts sound that browsers cannot play to MP3 with frames of equal length, so that byte ranges map to times.

As a program it reads one line of JSON, {"path", "first", "frames"}, and writes these frames. It runs in its own
process, so a crash ends only one stream. To start quickly, it imports no other package of ours than `audio`.
"""

import json
import math
import sys
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain

import av
from av.audio.stream import AudioStream
from av.container import InputContainer

from audio import DecodeError, open_container
from audio.files import ByteFile

RATE_HZ = 48_000  # at this rate every frame has a whole number of bytes, at any bit rate
FRAME_SAMPLES = 1152
BIT_RATE = 256_000
FRAME_BYTES = BIT_RATE // 8 * FRAME_SAMPLES // RATE_HZ
_HELD_BACK = 2  # extra frames at the end, because of the encoder's delay
_LEAD_FRAMES = 3  # encoded and dropped first, because a frame overlaps the one before
_LEAD_S = 0.5  # decoded and dropped after a seek; no codec takes longer to settle
_INFO_AT = 36  # bytes from the start of a stereo frame to its Info header (MPEG-1 layer III)
_HEADER = b"\xff\xfb\xd4\x40"  # MPEG-1 layer III, 256 kbit/s, 48 kHz, joint stereo
_FRAMES_AND_BYTES = 3  # flags of an Info header: both fields are present


def frames_of(duration_s: float) -> int:
    """The number of frames for a sound of this length, without the Info frame."""
    return math.ceil(duration_s * RATE_HZ / FRAME_SAMPLES) + _HELD_BACK


def info_frame(frames: int) -> bytes:
    """The Info frame: a silent first frame that tells players the length and that the bit rate is constant."""
    numbers = (_FRAMES_AND_BYTES, frames, (frames + 1) * FRAME_BYTES)
    info = b"Info" + b"".join(number.to_bytes(4, "big") for number in numbers)
    return (_HEADER.ljust(_INFO_AT, b"\0") + info).ljust(FRAME_BYTES, b"\0")


def encode(path: str, *, first: int, frames: int) -> Iterator[bytes]:
    """Encode `frames` frames from frame `first` on, counted from 0; after the end of the sound they are silent.

    Raises:
        OSError: the file cannot be opened. What does not decode becomes silence.
    """
    lead = min(first, _LEAD_FRAMES)
    encoder = av.CodecContext.create("libmp3lame", "w")
    assert isinstance(encoder, av.AudioCodecContext)
    encoder.sample_rate, encoder.layout, encoder.format = RATE_HZ, "stereo", "fltp"
    encoder.bit_rate = BIT_RATE
    encoder.options = {"reservoir": "0"}  # with a bit reservoir, a frame would need bytes of earlier frames
    made = -lead
    for number, frame in enumerate(_samples_from((first - lead) * FRAME_SAMPLES, path)):
        frame.pts = number * FRAME_SAMPLES
        for packet in encoder.encode(frame):
            made += 1
            if made > 0:
                yield bytes(packet)
            if made == frames:
                return


def _samples_from(sample: int, path: str) -> Iterator[av.AudioFrame]:
    """The sound from this sample on, in frames of the encoder's size, then endless silence."""
    fifo, left = av.AudioFifo(), 0
    with open(path, "rb") as file, suppress(DecodeError):  # the rest of a damaged file becomes silence
        for position, frame in _sought(sample, file):
            fifo.write(frame)
            left = sample - position if fifo.samples_read == 0 else left
            if left > 0 and (gone := fifo.read(min(left, fifo.samples))) is not None:
                left -= gone.samples
            yield from _read(fifo)
    while True:
        fifo.write(_silence())
        yield from _read(fifo)


def _sought(sample: int, file: ByteFile) -> Iterator[tuple[int, av.AudioFrame]]:
    """The sound in the encoder's format from a position before this sample; every frame comes with that position."""
    for from_s in (sample / RATE_HZ - _LEAD_S, 0.0):  # from the beginning if seeking fails
        with open_container(file) as container:
            stream = container.streams.best("audio")
            if not isinstance(stream, AudioStream) or stream.codec_context is None:
                return
            tick_s, start = float(stream.time_base or 1), stream.start_time or 0
            if from_s > 0:
                try:
                    container.seek(start + int(from_s / tick_s), stream=stream)
                except av.FFmpegError:
                    continue
            frames = _decoded(container, stream)
            first = next(frames, None)
            if from_s > 0 and (first is None or first.pts is None or (first.pts - start) * tick_s * RATE_HZ > sample):
                continue
            position = round(((first.pts or 0) - start) * tick_s * RATE_HZ) if first and from_s > 0 else 0
            for frame in _resampled(chain([first] if first else [], frames)):
                yield position, frame
            return


def _decoded(container: InputContainer, stream: AudioStream) -> Iterator[av.AudioFrame]:
    """The frames that decode; damaged packets are skipped."""
    for packet in container.demux(stream):
        with suppress(av.FFmpegError):
            yield from packet.decode()


def _resampled(frames: Iterator[av.AudioFrame]) -> Iterator[av.AudioFrame]:
    resampler, kind = None, None
    for frame in frames:
        this = (frame.format.name, frame.layout.name, frame.sample_rate)
        if resampler is None or this != kind:
            if resampler is not None:
                yield from resampler.resample(None)
            resampler, kind = av.AudioResampler(format="fltp", layout="stereo", rate=RATE_HZ), this
        frame.pts = None  # gaps in the timestamps are ignored
        yield from resampler.resample(frame)
    if resampler is not None:
        yield from resampler.resample(None)


def _read(fifo: av.AudioFifo) -> Iterator[av.AudioFrame]:
    while (frame := fifo.read(FRAME_SAMPLES)) is not None:
        yield frame


def _silence() -> av.AudioFrame:
    frame = av.AudioFrame(format="fltp", layout="stereo", samples=FRAME_SAMPLES)
    frame.sample_rate = RATE_HZ
    for plane in frame.planes:
        plane.update(bytes(plane.buffer_size))
    return frame


def main() -> None:
    """Read one request from stdin, and write its frames to stdout."""
    request = json.loads(sys.stdin.readline() or "null")
    if request is not None:
        with suppress(BrokenPipeError, DecodeError, OSError):
            for frame in encode(request["path"], first=request["first"], frames=request["frames"]):
                sys.stdout.buffer.write(frame)
            sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
