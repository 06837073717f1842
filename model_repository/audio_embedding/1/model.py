"""Triton model: an audio file -> the embedding of the track and of each of its windows.

Input `audio` BYTES [1]: the bytes of one file, of any format that FFmpeg decodes. Outputs, float32: `embedding` [dim],
the normalised mean of the windows' (MuLan, section 3); `window_embeddings` [windows, dim]; `window_start_s` [windows].
All have unit L2 norm. What is decoded, cut, averaged and refused, and the words of a refusal, are those of the
project's Python client (a test holds the two together), and the model parameters add limits: `max_audio_bytes` and
`max_audio_s`. A file is decoded as its windows are embedded, `windows_per_call` at a time, so that its length costs no
memory; one that is longer than the limit is refused, at once where its header can be trusted to say so. So is one whose
header asks for a resampler of hundreds of megabytes.

Runs in Triton's own Python, so it imports nothing but numpy and av.
"""

import io
import json

import av
import numpy as np
import triton_python_backend_utils as pb_utils

MIN_DURATION_S = 0.5
SILENCE_PEAK = 1e-4
MAX_PEAK = 16.0
MAX_MISSING_S = 0.5  # decoded less than announced: more than encoder delay and padding explain
MAX_PLANES = 8  # 7.1; with more channels in planes of their own, PyAV 18.1 counts them in foreign memory
SAMPLES = {  # FFmpeg's sample formats: type and full scale
    "u8": ("u1", 128.0),
    "s16": ("i2", 2.0**15),
    "s32": ("i4", 2.0**31),
    "s64": ("i8", 2.0**63),
    "flt": ("f4", 1.0),
    "dbl": ("f8", 1.0),
}
RATES_HZ = (1000, 768_000)  # a filter from 100 MHz takes 860 MB and 15 s to make, a block at 1 Hz as much to resample
ESTIMATED_LENGTH = {"mp3", "aac"}  # unless an encoder's header says better


class AudioError(Exception):
    """The file cannot be used."""


class EncoderError(Exception):
    """audio_encoder refused or failed; `args[0]` is the TritonError to answer with."""


class TritonPythonModel:
    def initialize(self, args):
        parameters = json.loads(args["model_config"])["parameters"]
        value = {key: int(parameter["string_value"]) for key, parameter in parameters.items()}
        self._sample_rate_hz = value["sample_rate_hz"]
        self._window_samples = value["window_samples"]
        self._windows_per_call = value["windows_per_call"]
        self._max_bytes = value["max_audio_bytes"]
        self._max_s = value["max_audio_s"]

    def execute(self, requests):
        return [self._respond(request) for request in requests]

    def _respond(self, request):
        content = pb_utils.get_input_tensor_by_name(request, "audio").as_numpy()[0]
        try:
            windows = np.concatenate([_encode(waveforms) for waveforms in self._windows(content)])
        except AudioError as error:
            refusal = pb_utils.TritonError(f"input 'audio': {error}", pb_utils.TritonError.INVALID_ARG)
            return pb_utils.InferenceResponse(error=refusal)
        except EncoderError as error:
            return pb_utils.InferenceResponse(error=error.args[0])
        mean = windows.mean(axis=0, dtype=np.float64)
        starts_s = np.arange(len(windows)) * self._window_samples / self._sample_rate_hz
        outputs = {
            "embedding": mean / np.linalg.norm(mean),
            "window_embeddings": windows,
            "window_start_s": starts_s,
        }
        return pb_utils.InferenceResponse(
            [pb_utils.Tensor(name, value.astype(np.float32)) for name, value in outputs.items()]
        )

    def _windows(self, content):
        """Bytes of a file -> batches of its windows, float32 [windows, window_samples]; a batch lives until the next.

        Hop = window. The last window is zero-padded if at least half full, else dropped; a track shorter than one
        window is one zero-padded window.
        """
        size = self._window_samples
        batch = np.empty(self._windows_per_call * size, np.float32)
        filled = read = 0
        peak = 0.0
        for block in self._decode(content):
            peak = max(peak, _checked_peak(block))
            np.clip(block, -1.0, 1.0, out=block)
            read += len(block)
            while len(block):
                part, block = block[: len(batch) - filled], block[len(batch) - filled :]
                batch[filled : filled + len(part)] = part
                filled += len(part)
                if filled == len(batch):
                    yield batch.reshape(-1, size)
                    filled = 0
        duration_s = read / self._sample_rate_hz
        if read == 0:
            raise AudioError("nothing in it decodes as audio")
        if duration_s < MIN_DURATION_S:
            raise AudioError(f"too short: {duration_s:.2f} s, at least {MIN_DURATION_S} s are needed")
        if peak < SILENCE_PEAK:
            raise AudioError(f"silent: its peak is {peak:.1e}, below -80 dBFS throughout")
        batch[filled:] = 0
        remaining = 1 if read < size else (2 * filled + size) // (2 * size)
        if remaining:
            yield batch[: remaining * size].reshape(-1, size)

    def _decode(self, content):
        """Bytes of a file -> mono float32 blocks at the model's sample rate."""
        if not content:
            raise AudioError("empty file (0 bytes)")
        if len(content) > self._max_bytes:
            raise AudioError(f"{len(content)} bytes; at most {self._max_bytes} are taken (max_audio_bytes)")
        decoded_s = 0.0
        resampler, source_rate_hz = None, 0
        # FFmpeg may open nothing else: a playlist in disguise reaches nothing.
        options = {"protocol_whitelist": ""}
        try:
            with av.open(io.BytesIO(content), mode="r", options=options, metadata_errors="replace") as container:
                if not container.streams.audio:
                    raise AudioError("has no audio stream")
                stream = container.streams.audio[0]
                trusted = container.format.name not in ESTIMATED_LENGTH or bool(stream.start_time)
                announced_s = float((stream.duration or 0) * (stream.time_base or 0)) if trusted else 0.0
                self._check_duration(announced_s)
                for frame in container.decode(stream):
                    decoded_s += frame.samples / frame.sample_rate
                    self._check_duration(decoded_s)
                    if frame.sample_rate != source_rate_hz:  # also in mid-stream: chained streams
                        yield from _flush(resampler)
                        source_rate_hz = frame.sample_rate
                        if not RATES_HZ[0] <= source_rate_hz <= RATES_HZ[1]:
                            raise AudioError(f"sampled at {source_rate_hz} Hz, expected {RATES_HZ[0]} to {RATES_HZ[1]}")
                        resampler = av.AudioResampler(format="flt", layout="mono", rate=self._sample_rate_hz)
                    mono = av.AudioFrame.from_ndarray(_mono(frame)[None], format="flt", layout="mono")
                    mono.sample_rate = source_rate_hz
                    yield from _samples(resampler.resample(mono))
                yield from _flush(resampler)
        except (av.FFmpegError, OSError) as error:  # some of FFmpeg's errors are OSErrors too
            problem = error.strerror or str(error)
            if decoded_s > 0:
                raise AudioError(f"damaged: decoding stops at {decoded_s:.1f} s ({problem})") from error
            raise AudioError(f"not a readable audio file ({problem})") from error
        if announced_s - decoded_s > MAX_MISSING_S:
            raise AudioError(f"truncated or damaged: {decoded_s:.1f} s of the {announced_s:.1f} s in its header decode")

    def _check_duration(self, duration_s):
        if duration_s > self._max_s:
            raise AudioError(f"longer than {self._max_s} s, the most that is taken (max_audio_s)")


def _encode(waveforms):
    """float32 [windows, window_samples] -> float32 [windows, dim], by a call to audio_encoder."""
    request = pb_utils.InferenceRequest(
        model_name="audio_encoder",
        requested_output_names=["embedding"],
        inputs=[pb_utils.Tensor("waveform", waveforms)],
        preferred_memory=pb_utils.PreferredMemory(pb_utils.TRITONSERVER_MEMORY_CPU),  # also where a GPU computes it
    )
    response = request.exec()
    if response.has_error():
        error = response.error()
        # Triton calls these "internal" when a model is the caller: a full queue, a wait in it that was too long, a
        # model that still loads or was unloaded, a server that stops, a process that died.
        passing = ("maximum queue size", "timeout expired", "is not ready", "Server is stopping", "is not healthy")
        if any(words in error.message() for words in passing):
            error = pb_utils.TritonError(error.message(), pb_utils.TritonError.UNAVAILABLE)
        raise EncoderError(error)
    # A copy: the response takes its memory with it.
    embeddings = pb_utils.get_output_tensor_by_name(response, "embedding").as_numpy().copy()
    if not np.isfinite(embeddings).all():
        raise EncoderError(pb_utils.TritonError("audio_encoder returned NaN or infinity"))
    return embeddings


def _checked_peak(block):
    peak = float(np.max(np.abs(block), initial=0.0))  # NaN and infinity survive the maximum
    if not peak <= MAX_PEAK:
        raise AudioError(f"holds a sample of magnitude {peak:g}, expected -1...1: rescale the file")
    return peak


def _mono(frame):
    """Average of the channels, float32 [samples], full scale = 1; FFmpeg's downmix is louder from float codecs."""
    kind, channels = frame.format.name.removesuffix("p"), frame.layout.nb_channels
    dtype, full_scale = SAMPLES[kind]
    if frame.format.is_packed:
        samples = np.frombuffer(frame.planes[0], dtype, count=frame.samples * channels).reshape(-1, channels).T
    elif channels > MAX_PLANES:
        raise AudioError(f"has {channels} channels, expected at most {MAX_PLANES}")
    else:  # not `to_ndarray`: PyAV 18.1 sees a ninth plane after eight, and reads there
        samples = np.stack([np.frombuffer(plane, dtype, count=frame.samples) for plane in frame.planes[:channels]])
    mono = samples.mean(axis=0, dtype=np.float64)
    if kind == "u8":
        mono -= 128.0
    return (mono / full_scale).astype(np.float32)


def _flush(resampler):
    """The last few milliseconds, which a filter still holds."""
    return _samples(resampler.resample(None)) if resampler else []


def _samples(frames):
    return [np.array(frame.to_ndarray()[0], np.float32) for frame in frames]
