"""Reads an audio file as mono float32 samples at one rate: demux, decode, downmix, resample.

Everything is streamed: a four-hour file takes the memory of one second. Damaged parts are skipped, as players do, and
counted. The length of a recording is what decodes, because headers announce too much or too little.
"""

import math
import os
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from itertools import chain
from typing import Any, NamedTuple

import av
import numpy as np
import soxr
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from numpy.typing import NDArray

from .downmix import downmix
from .errors import DecodeError
from .files import ByteFile, Part, Source
from .headers import announced_share, contradicts_header, has_variable_rate
from .ogg import find_links, is_chain
from .outer_tags import find_sound

SOURCE_RATES_HZ = (1000, 768_000)  # lowest and highest sample rate of audio files
MAX_PEAK = 16.0  # +24 dBFS: no mix reaches it, float files with integer-scaled samples do
MAX_MISSING_S = 0.5  # difference of announced and decoded length that encoder delay and padding can explain
MAX_JITTER_S = 0.05  # error of timestamps: a quarter of Vorbis's longest block at 22 kHz

# Resampling to 16 kHz is flat within 0.1 dB up to 7.4 kHz and below -120 dB from 8.2 kHz on. swresample's default
# filter takes as long, and has -2 dB and -15 dB there.
_QUALITY = "HQ"
_GATHERED = 16_384  # samples that are converted at once
# The headers of these formats hold no length, so FFmpeg estimates it from the bit rate. It also estimates the length of
# an MP3 without an encoder's header; that header also holds the encoder delay, so that the start is not 0. For Ogg,
# FFmpeg takes the time of the last page and ignores the time of the first one.
_NO_LENGTH = frozenset({"aac", "ac3", "dts", "dtshd", "eac3"})
_LENGTH_OF_ALL = frozenset({"asf", "matroska,webm"})  # these announce the length of their longest stream
# After a seek, so much is decoded and dropped first. Opus settles in 80 ms (RFC 7845, section 4.6), and MP3's bit
# reservoir spans at most nine frames of 26 ms.
_LEAD_IN_S = 0.5
_TAIL_PACKETS = 32  # more than a decoder buffers, or drops at the end of a stream
_MISCOUNTED = frozenset({"libspeex", "speex"})  # timestamps count 325 samples a packet, but 320 decode
_MAX_ERRORS = 8  # consecutive errors of the demuxer before the rest of the file is given up
# Bytes of tags that are not UTF-8 are kept as surrogates. PyAV 19 always does so and has no such option.
_TAGS: dict[str, Any] = {} if int(av.__version__.split(".")[0]) >= 19 else {"metadata_errors": "surrogateescape"}


class Extent(NamedTuple):
    """Beginning and length of a recording whose parts can be sought.

    Attributes:
        first_pts: timestamp of the first frame, in ticks of the stream's time base.
        rate_hz: sample rate of the file.
        samples: length at that rate.
    """

    first_pts: int
    rate_hz: int
    samples: int


class NotSeekable(Exception):
    """Seeking is not exact in this recording: the whole recording must be decoded to find its parts."""


class Recording:
    """An audio file of any format that FFmpeg decodes.

    If it has several audio streams, the one that players choose is read.

    Args:
        source: a path, a file opened for reading bytes, or a function that opens one.
        sample_rate_hz: sample rate of the output; None keeps the file's own rate.
        far: reading costs more than decoding, as from a store over the network. `measure` then believes the header, and
            recognises a chained Ogg file without finding its links.

    Attributes:
        decoded_s: seconds decoded since the last call of `blocks` or `parts`.
        lost_s: seconds that did not decode since that call, as far as the file shows it.
    """

    def __init__(self, source: Source, *, sample_rate_hz: int | None = None, far: bool = False) -> None:
        self._source = source
        self._far = far
        self._sample_rate_hz = sample_rate_hz
        self._is_pcm = False  # the file stores uncompressed samples
        self._decoded: Counter[int] = Counter()  # samples by rate: a sum of seconds would have rounding errors
        self.lost_s = 0.0

    @property
    def decoded_s(self) -> float:
        return sum(samples / rate_hz for rate_hz, samples in self._decoded.items())

    @property
    def warning(self) -> str:
        """How much did not decode, in words; "" if everything did."""
        if self.lost_s < 0.005:  # it would say 0.00
            return ""
        return f"{self.lost_s:.2f} s of {self.decoded_s + self.lost_s:.2f} s cannot be decoded"

    def announced_s(self) -> float | None:
        """The length in seconds that the file's header announces; None if that is only an estimate.

        Raises:
            DecodeError: it is not an audio file.
        """
        with self._file() as file, _open(file) as (container, stream):
            announced_s = _announced_s(file, container, stream)
            return None if contradicts_header(file, format_name=container.format.name) else announced_s

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """Decode the whole file, as float32 blocks of any length, mono, -1...1.

        Raises:
            DecodeError: the file cannot be used, because nothing decodes or more is lost than decodes. This may come
                after the last block.
        """
        self._decoded.clear()
        self.lost_s = 0.0
        for block in self._mono(self._all_frames()):
            yield np.clip(block, -1.0, 1.0, out=block)  # as a player would: lossy codecs overshoot a little
        if not self.decoded_s:
            raise DecodeError("contains no audio that can be decoded")
        if self.lost_s > self.decoded_s:
            length_s = self.decoded_s + self.lost_s
            raise DecodeError(f"truncated or damaged: only {self.decoded_s:.1f} s of {length_s:.1f} s can be decoded")

    def payloads(self) -> Iterator[bytes]:
        """The stored sound, not decoded: for each link its codec, rate and channels, then its packets.

        Raises:
            DecodeError: it is not an audio file.
        """
        with self._file() as file:
            for link in _links(file):
                with _open(link) as (container, stream):
                    codec = stream.codec_context
                    yield f"{codec.name} {codec.sample_rate} {codec.layout.nb_channels} ".encode()
                    yield from map(bytes, _packets(container, stream))

    def measure(self) -> Extent:
        """Measure beginning and length from the packets, in a tenth of the time that decoding takes.

        All packets are read, but only the first and the last ones are decoded. For a far file, the header's length is
        taken instead, unless it is only an estimate, and little is read.

        Raises:
            NotSeekable: the packets leave gaps, have no timestamps, or belong to a chained Ogg file; or the header of a
                far file has no length.
            DecodeError: it is not an audio file.
        """
        with self._file() as file:
            if is_chain(file) if self._far else len(_links(file)) > 1:
                raise NotSeekable
            with _open(file) as (container, stream), _seeking():
                packets = container.demux(stream)
                first = next((frame for packet in packets for frame in packet.decode()), None)
                if first is None or first.pts is None or not _times_are_exact(stream, rate_hz=first.sample_rate):
                    raise NotSeekable
                if self._far:
                    return _announced_extent(file, container, stream, first=first)
                tail = deque(_in_a_row(packets), _TAIL_PACKETS)
                stream.codec_context.flush_buffers()
                last = [first, *(frame for packet in tail for frame in packet.decode())][-1]
                if last.pts is None or last.sample_rate != first.sample_rate:
                    raise NotSeekable
                length_s = (last.pts - first.pts) * _tick_s(stream) + last.samples / last.sample_rate
                missing_s = (_announced_s(file, container, stream) or 0.0) - length_s
                if missing_s > MAX_JITTER_S:  # the header is wrong, or the sound is
                    raise NotSeekable
                return Extent(first.pts, first.sample_rate, round(length_s * first.sample_rate))

    def parts(self, extent: Extent, *, starts: Sequence[int], samples: int) -> Iterator[NDArray[np.float32]]:
        """Seek to parts of what `blocks` gives, and decode little else.

        Args:
            extent: the result of `measure`.
            starts: the first sample of each part.
            samples: the length of each part.

        Returns:
            For each part float32 [samples], or less at the end of the recording. The samples are the same as those of
            `blocks`, except for noise that AAC decoders generate from its stored loudness. In a far MP3 a part may
            begin one frame of 26 ms early or late; with a variable bit rate, by up to a hundredth of its length.

        Raises:
            NotSeekable: something on the way does not decode, or is not where it should be.
        """
        self._decoded.clear()
        self.lost_s = 0.0
        with self._file() as file:
            for start in starts:
                # Opened again for each part: after the last page of an Ogg file, FFmpeg seeks to wrong timestamps.
                with _open(file, options=self._seek_options(file)) as (container, stream), _seeking():
                    part = self._read_at(start, container, stream, extent=extent, samples=samples)
                yield part

    def _seek_options(self, file: ByteFile) -> dict[str, str]:
        """Options for FFmpeg's demuxer, which would otherwise read an MP3 from its start up to the sought place."""
        if not self._far:
            return {}
        return {"usetoc": "1"} if has_variable_rate(file) else {"fflags": "fastseek"}

    def length(self, extent: Extent) -> int:
        """The length of a measured recording, in samples at our rate."""
        return round(extent.samples * (self._sample_rate_hz or extent.rate_hz) / extent.rate_hz)

    def _read_at(
        self, start: int, container: InputContainer, stream: AudioStream, *, extent: Extent, samples: int
    ) -> NDArray[np.float32]:
        """Decode the part that begins at sample `start`, at our rate.

        `step` samples of the file last exactly as long as `stride` samples at our rate. The resampler starts at a
        multiple of `step` samples from the first frame. There it gives the same samples as from the file's start.
        """
        rate_hz = self._sample_rate_hz or extent.rate_hz
        common = math.gcd(extent.rate_hz, rate_hz)
        step, stride = extent.rate_hz // common, rate_hz // common
        first_s = extent.first_pts * _tick_s(stream)
        from_s = max(start / rate_hz - _LEAD_IN_S - step / extent.rate_hz, 0.0)
        _seek(container, stream, first_s + from_s)
        clock = _Clock(stream)
        frames = self._frames(container, stream, clock=clock)
        frame = next(frames, None)
        if frame is None:
            return np.empty(0, np.float32)
        if frame.pts is None:
            raise NotSeekable
        position = round((frame.pts - extent.first_pts) * _tick_s(stream) * extent.rate_hz)
        skipped = -position % step
        begin = start - (position + skipped) // step * stride
        if begin < 0:
            raise NotSeekable
        wanted = begin + samples
        blocks, read = [np.empty(0, np.float32)], 0
        for block in self._mono(chain([frame], frames), skipped=skipped):
            blocks.append(block)
            read += len(block)
            if read >= wanted:
                break
        if clock.lost_s:
            raise NotSeekable
        return np.concatenate(blocks)[begin:wanted].clip(-1.0, 1.0)

    def _mono(self, frames: Iterator[av.AudioFrame], *, skipped: int = 0) -> Iterator[NDArray[np.float32]]:
        """Blocks at our rate, without the first `skipped` samples; a new source rate starts a new resampler."""
        resampler: soxr.ResampleStream | None = None
        source_rate_hz = 0
        for frame in _gathered(frames):
            if frame.sample_rate != source_rate_hz:
                if resampler is not None:
                    yield resampler.resample_chunk(_NOTHING, last=True)
                source_rate_hz, resampler = frame.sample_rate, None
                if self._sample_rate_hz not in (None, source_rate_hz):
                    resampler = soxr.ResampleStream(
                        source_rate_hz, self._sample_rate_hz, 1, dtype="float32", quality=_QUALITY
                    )
            block, skipped = self._bounded(downmix(frame))[skipped:], max(skipped - frame.samples, 0)
            yield block if resampler is None else resampler.resample_chunk(block)
        if resampler is not None:
            yield resampler.resample_chunk(_NOTHING, last=True)  # the filter still holds the last few milliseconds

    def _bounded(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        """Clip samples of any size that a decoder makes from damaged packets, as players do.

        Raises:
            DecodeError: the file stores uncompressed samples, and at another scale.
        """
        peak = float(np.max(np.abs(block), initial=0.0))  # NaN and infinity survive the maximum
        if peak <= MAX_PEAK:
            return block
        if self._is_pcm:
            raise DecodeError(f"holds a sample of magnitude {peak:g}, expected -1...1: rescale the file")
        bounded: NDArray[np.float32] = np.nan_to_num(block, nan=0.0).clip(-1.0, 1.0)
        return bounded

    def _all_frames(self) -> Iterator[av.AudioFrame]:
        """The frames of every link; each link has its own decoder."""
        with self._file() as file:
            links = [file] if self._far and not is_chain(file) else _links(file)
            unread = 0  # bytes of links that cannot be opened
            for link in links:
                try:
                    yield from self._link_frames(link)
                except DecodeError as exc:
                    if len(links) == 1 or exc.may_pass:
                        raise
                    unread += link.seek(0, os.SEEK_END)
            if unread:  # their length is unknown: assume as many seconds per byte as in the other links
                read = sum(link.seek(0, os.SEEK_END) for link in links) - unread
                self.lost_s += self.decoded_s * unread / max(read, 1)

    def _link_frames(self, link: ByteFile) -> Iterator[av.AudioFrame]:
        """The frames of one link; adds to `lost_s` what it lacks."""
        with _open(link) as (container, stream):
            clock, before_s = _Clock(stream), self.decoded_s
            yield from self._frames(container, stream, clock=clock)
            lost_s, announced_s = clock.lost_s, _announced_s(link, container, stream)
            if announced_s is not None:
                missing_s = max(announced_s - (self.decoded_s - before_s), 0.0)
                if missing_s <= MAX_MISSING_S:
                    lost_s = missing_s if lost_s else 0.0
                elif not contradicts_header(link, format_name=container.format.name, payload=clock.payload):
                    lost_s = missing_s
            self.lost_s += lost_s

    def _frames(self, container: InputContainer, stream: AudioStream, *, clock: "_Clock") -> Iterator[av.AudioFrame]:
        """The frames that decode; the clock counts what does not."""
        self._is_pcm = stream.codec_context.name.startswith("pcm_")
        for packet in _packets(container, stream):
            try:
                frames = packet.decode()
            except av.FFmpegError:
                clock.count_failed(packet)
                continue
            clock.payload += packet.size
            for frame in frames:
                if not SOURCE_RATES_HZ[0] <= frame.sample_rate <= SOURCE_RATES_HZ[1]:
                    low, high = SOURCE_RATES_HZ
                    raise DecodeError(f"sampled at {frame.sample_rate} Hz, expected {low} to {high}")
                clock.count(frame)
                self._decoded[frame.sample_rate] += frame.samples
                yield frame

    @contextmanager
    def _file(self) -> Iterator[ByteFile]:
        """The file, without the tags around its sound."""
        if callable(self._source):
            with self._source() as file:
                yield _untagged(file)
            return
        if not isinstance(self._source, str | os.PathLike):
            yield _untagged(self._source)
            return
        try:
            file = open(self._source, "rb")  # noqa: SIM115
        except (OSError, ValueError) as exc:  # a NUL character in a path is a ValueError
            problem = f"cannot be opened ({getattr(exc, 'strerror', None) or exc})"
            raise DecodeError(problem, may_pass=True) from exc
        with file:
            yield _untagged(file)


class _Clock:
    """Counts how much of a stream is lost, from packets that do not decode and from gaps between timestamps.

    Timestamps also show what the demuxer never gave, such as a lost page of Ogg. But Vorbis's timestamps are off by up
    to a quarter of a block in both directions, and some containers round them. So a gap only counts if it is large and
    stays.

    Attributes:
        payload: bytes of the packets that decoded.
    """

    def __init__(self, stream: AudioStream) -> None:
        self._tick_s = _tick_s(stream)
        self.payload = 0
        self._failed_s = 0.0
        self._jumped_s = self._ahead_s = 0.0  # gaps before timestamps last went back, and gaps since then
        self._expected_s: float | None = None  # when the next frame begins, if nothing was lost since then
        self._end_s = 0.0  # when the last frame ended

    @property
    def lost_s(self) -> float:
        jumped_s = self._jumped_s + self._ahead_s
        return max(self._failed_s, jumped_s if jumped_s > MAX_JITTER_S else 0.0)

    def count(self, frame: av.AudioFrame) -> None:
        length_s = frame.samples / frame.sample_rate
        if frame.pts is None:
            return
        start_s = frame.pts * self._tick_s
        if self._expected_s is None or start_s < self._end_s - MAX_JITTER_S:
            self._jumped_s, self._expected_s = self._jumped_s + self._ahead_s, start_s
        self._ahead_s = max(start_s - self._expected_s, 0.0)
        self._expected_s += length_s
        self._end_s = start_s + length_s

    def count_failed(self, packet: "Packet[AudioStream]") -> None:
        self._failed_s += (packet.duration or 0) * self._tick_s


_NOTHING = np.empty(0, np.float32)
_CLOSED = {"protocol_whitelist": ""}
_NO_OPTIONS: dict[str, str] = {}


@contextmanager
def open_container(file: ByteFile, *, options: dict[str, str] = _NO_OPTIONS) -> Iterator[InputContainer]:
    """Open a file with FFmpeg, from its first byte on.

    Args:
        file: the open file.
        options: options for the demuxer.

    Raises:
        DecodeError: the file cannot be read, or FFmpeg does not know its format; also raised inside the block.
    """
    try:
        file.seek(0)
        # FFmpeg sees only this Python file and may open no other, so a playlist in disguise reaches nothing. The
        # options go to the container only: with `options`, PyAV before 17.1 reads past the end of a list if a format
        # adds streams late.
        with av.open(file, mode="r", container_options=_CLOSED | options, **_TAGS) as container:
            yield container
    except av.FFmpegError as exc:  # some of them are OSErrors too
        raise DecodeError(f"not a readable audio file ({exc.strerror or exc})") from exc
    except OSError as exc:
        raise DecodeError(f"cannot be read ({exc.strerror or exc})", may_pass=True) from exc


@contextmanager
def _open(file: ByteFile, *, options: dict[str, str] = _NO_OPTIONS) -> Iterator[tuple[InputContainer, AudioStream]]:
    """Open the container in a file, with the audio stream that players choose."""
    with open_container(file, options=options) as container:
        stream = container.streams.best("audio") or next(iter(container.streams.audio), None)
        if not isinstance(stream, AudioStream):
            raise DecodeError("has no audio stream")
        if stream.codec_context is None:
            raise DecodeError("has an audio stream that FFmpeg has no decoder for")
        yield container, stream


@contextmanager
def _seeking() -> Iterator[None]:
    try:
        yield
    except av.FFmpegError as exc:
        raise NotSeekable from exc


def _untagged(file: ByteFile) -> ByteFile:
    try:
        begin, end = find_sound(file)
        return Part(file, begin, end) if (begin, end) != (0, file.seek(0, os.SEEK_END)) else file
    except OSError as exc:
        raise DecodeError(f"cannot be read ({exc.strerror or exc})", may_pass=True) from exc


def _links(file: ByteFile) -> list[ByteFile]:
    """The parts of a file that each need their own decoder; most files have one part."""
    file.seek(0)
    begins = find_links(file) if file.read(4) == b"OggS" else []
    if len(begins) < 2:
        return [file]
    return [Part(file, *ends) for ends in zip(begins, [*begins[1:], None], strict=True)]


def _packets(container: InputContainer, stream: AudioStream) -> "Iterator[Packet[AudioStream]]":
    """The packets of a stream; continues after bytes that are no packet."""
    errors = 0
    while errors < _MAX_ERRORS:
        try:
            for packet in container.demux(stream):
                errors = 0
                yield packet
            return
        except av.FFmpegError:
            errors += 1


def _times_are_exact(stream: AudioStream, *, rate_hz: int) -> bool:
    """Whether one sample lasts a whole number of ticks, and FFmpeg counts the samples of a packet correctly."""
    ticks = 1 / (Fraction(stream.time_base or 1) * rate_hz)
    return ticks.denominator == 1 and stream.codec_context.name not in _MISCOUNTED


def _announced_extent(
    file: ByteFile, container: InputContainer, stream: AudioStream, *, first: av.AudioFrame
) -> Extent:
    announced_s, name = _announced_s(file, container, stream), container.format.name
    # Refused: an estimate, and FLAC whose beginning was cut off. Any other header that announces too much shows later,
    # when a sought part is not there.
    if announced_s is None or first.pts is None or (name == "flac" and contradicts_header(file, format_name=name)):
        raise NotSeekable
    return Extent(first.pts, first.sample_rate, round(announced_s * first.sample_rate))


def _in_a_row(packets: "Iterator[Packet[AudioStream]]") -> "Iterator[Packet[AudioStream]]":
    """The packets, if each begins where the one before it ends; otherwise raises NotSeekable."""
    end_s: float | None = None
    for packet in packets:
        if packet.size:  # the last is empty
            if packet.pts is None or packet.duration is None or packet.is_corrupt:
                raise NotSeekable
            tick_s = float(packet.time_base)
            if end_s is not None and abs(packet.pts * tick_s - end_s) > MAX_JITTER_S:
                raise NotSeekable
            end_s = (packet.pts + packet.duration) * tick_s
        yield packet


def _seek(container: InputContainer, stream: AudioStream, time_s: float) -> None:
    container.seek(max(round(time_s / _tick_s(stream)), 0), stream=stream)


def _announced_s(file: ByteFile, container: InputContainer, stream: AudioStream) -> float | None:
    """The length in seconds that the header announces; None if it is only an estimate.

    This moves the file's read position.
    """
    name, start_s = container.format.name, (stream.start_time or 0) * _tick_s(stream)
    if name in _NO_LENGTH or (name == "mp3" and not start_s) or (name == "ogg" and abs(start_s) > MAX_MISSING_S):
        return None
    if stream.duration is not None:
        return stream.duration * _tick_s(stream) * (announced_share(file) if name == "wav" else 1.0)
    return container.duration / av.time_base if name in _LENGTH_OF_ALL and container.duration else None


def _tick_s(stream: AudioStream) -> float:
    """Seconds of one tick, the unit of the stream's timestamps."""
    return float(stream.time_base or 1)  # FFmpeg gives every stream one


def _gathered(frames: Iterator[av.AudioFrame]) -> Iterator[av.AudioFrame]:
    """The same samples in longer frames: MP3's frames of 26 ms would cost more time in Python than in the decoder."""
    fifo: av.AudioFifo | None = None
    kind = None
    for frame in frames:
        frame.pts = None  # the fifo refuses gaps
        this = (frame.format.name, frame.layout.name, frame.sample_rate)
        if fifo is not None and this != kind:
            yield from _read(fifo)
            fifo = None
        if fifo is None:
            fifo, kind = av.AudioFifo(), this
        fifo.write(frame)
        if fifo.samples >= _GATHERED:
            yield from _read(fifo)
    if fifo is not None:
        yield from _read(fifo)


def _read(fifo: av.AudioFifo) -> Iterator[av.AudioFrame]:
    frame = fifo.read()
    if frame is not None:
        yield frame
