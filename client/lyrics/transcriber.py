"""The lyrics transcriber: its graph in this process, or behind Triton servers."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from singing.alphabet import CHARACTERS, CLASSES
from singing.sung import PITCHES

from ..encoders import DEFAULT_REPOSITORY, server_settings
from ..encoders.base import REQUEST_BYTES, batches
from ..encoders.sessions import (
    check_device,
    has_nvidia_driver,
    one_line,
    open_best_session,
    open_session,
    read_config,
    version_folder,
)
from ..errors import EncoderError, ServerMismatch
from ..places import is_url

MODEL = "lyrics_transcriber"
_ROWS = {"characters": CLASSES, "pitch": PITCHES}  # of an output; `onset` has none
_GPU_BATCH = 4
_TIMEOUT_S = 300.0  # of a request: on a CPU, a window of 16 s takes seconds


@dataclass(frozen=True)
class TranscriberSpec:
    """The model parameters in the transcriber's `config.pbtxt`.

    Attributes:
        sample_rate_hz: rate of the waveforms.
        window_samples: length of the waveforms.
        frames: number of frames of each output by its name: "characters", and "pitch" and "onset".
        model_name: a name for people.
        fingerprint: hex SHA-256 of the graph.
    """

    sample_rate_hz: int
    window_samples: int
    frames: Mapping[str, int]
    model_name: str
    fingerprint: str


class Transcriber(Protocol):
    """Estimates what is sung in windows."""

    @property
    def spec(self) -> TranscriberSpec: ...

    @property
    def batch_size(self) -> int:
        """Windows of a full batch."""

    def hear(self, waveforms: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """Estimate what is sung in each frame, by the names of `spec.frames`.

        Args:
            waveforms: float32 [n, 2, window_samples] in -1...1, the mixture and the voice.

        Returns:
            float32: "characters" [n, 34, frames], natural logarithms of probabilities; "pitch" [n, 129, frames] and
            "onset" [n, frames], probabilities.

        Raises:
            EncoderError: the model or its server failed.
        """

    def close(self) -> None: ...


def open_transcriber(source: str | Path | None, *, device: str = "auto") -> Transcriber:
    """Open a transcriber.

    Args:
        source: see `open_encoder`.
        device: see `open_encoder`.

    Raises:
        EncoderError: there is no such model, or it does not open on that device.
        ServerUnavailable: no server answers.
        ServerMismatch: a server does not have the model.
    """
    if source is not None and is_url(source):
        return TritonTranscriber(str(source), **server_settings(str(source), device=device))
    return LocalTranscriber(DEFAULT_REPOSITORY if source is None else Path(source).expanduser(), device=device)


class LocalTranscriber:
    """Runs the graph with ONNX Runtime in this process.

    Args:
        repository: folder with `lyrics_transcriber/`.
        device: see `LocalEncoder`.

    Raises:
        EncoderError: the model is missing or damaged, or the device is not available.
    """

    def __init__(self, repository: Path, *, device: str) -> None:
        check_device(device)
        folder = repository / MODEL
        if not folder.is_dir():
            raise EncoderError(
                f"{repository} has no {MODEL}: export one into it (docs/how-to/transcribe-lyrics.md), or give a "
                "Whisper as asr (--asr openai/whisper-small)"
            )
        try:
            self._spec = read_transcriber_spec(read_config(folder))
        except ValueError as exc:
            raise EncoderError(f"{repository} is not a usable model repository: {exc}") from exc
        path = version_folder(folder) / "model.onnx"
        if device == "auto" and has_nvidia_driver():
            self._device, self._session = open_best_session(path)
        else:
            self._device = "cpu" if device == "auto" else device
            self._session = open_session(path, device=self._device)

    @property
    def spec(self) -> TranscriberSpec:
        return self._spec

    @property
    def batch_size(self) -> int:
        return 1 if self._device == "cpu" else _GPU_BATCH  # on a CPU a window keeps all cores busy

    def hear(self, waveforms: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        names = list(self._spec.frames)
        try:
            outputs = dict(zip(names, self._session.run(names, {"waveforms": waveforms}), strict=True))
            check_outputs(outputs, spec=self._spec, count=len(waveforms))
        except Exception as exc:  # ONNX Runtime's exceptions share no base class
            raise EncoderError(f"{MODEL} failed on {self._device}: {one_line(exc)}") from exc
        return outputs

    def close(self) -> None:
        """Nothing to do: the session ends with its last user."""


class TritonTranscriber:
    """Runs the graph on Triton servers; see `TritonEncoder` for the arguments and for what is raised."""

    def __init__(self, url: str, **settings: Any) -> None:
        from ..encoders.grpc_calls import ServerPool, open_servers

        self._spec: TranscriberSpec | None = None
        self._request_windows = 1  # until the server's own limit is known
        self._servers = ServerPool(
            open_servers(url, **settings), models=(MODEL,), check=self._check, timeout_s=_TIMEOUT_S
        )

    @property
    def spec(self) -> TranscriberSpec:
        assert self._spec is not None  # a server was checked
        return self._spec

    @property
    def batch_size(self) -> int:
        return 2 * self._request_windows  # so that the server computes one request while the other is sent

    def hear(self, waveforms: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        calls = []
        answers: list[dict[str, NDArray[np.float32]]] = []
        try:
            for rows in batches(len(waveforms), size=self._request_windows):
                part = np.asarray(waveforms[rows], "<f4")
                call = self._servers.start(
                    MODEL, "waveforms", "FP32", part.tobytes(), shape=part.shape, timeout_s=_TIMEOUT_S
                )
                calls.append((call, len(part)))
            for call, count in calls:
                reply = self._servers.wait(call)
                outputs = {name: reply.as_numpy(name) for name in self.spec.frames}
                try:
                    check_outputs(outputs, spec=self.spec, count=count)
                except ValueError as exc:
                    raise ServerMismatch(f"{MODEL} at {call.server.url} sent a wrong reply: {exc}") from exc
                answers.append(outputs)
        finally:
            for call, _ in calls[len(answers) :]:
                call.reply.cancel()
        return {name: np.concatenate([answer[name] for answer in answers]) for name in self.spec.frames}

    def close(self) -> None:
        self._servers.close()

    def _check(self, url: str, configs: list[Any]) -> None:
        """Accept a server's configuration, or refuse it because it is another model."""
        try:
            spec = read_transcriber_spec(configs[0])
        except ValueError as exc:
            raise ServerMismatch(f"{url} serves no usable {MODEL}: {exc}; export the model again") from exc
        if self._spec is None:
            self._spec = spec
            samples = 2 * spec.window_samples
            self._request_windows = max(1, min(configs[0].max_batch_size, REQUEST_BYTES // (4 * samples)))
        elif spec != self._spec:
            raise ServerMismatch(
                f"{url} serves the transcriber {spec.fingerprint}, but {self._spec.fingerprint} was served when this "
                "client opened it: serve one model everywhere, or open a new MusicSearch"
            )


def read_transcriber_spec(config: Any) -> TranscriberSpec:
    """Read the parameters from an `inference.ModelConfig` message.

    Raises:
        ValueError: one sentence that says what is missing or contradictory.
    """
    values = {name: parameter.string_value for name, parameter in config.parameters.items()}
    for name in ("sample_rate_hz", "window_samples", "characters", "model_name", "fingerprint"):
        if not values.get(name):
            raise ValueError(f"{config.name} has no parameter {name} in its config.pbtxt")
    if values["characters"] != CHARACTERS:
        raise ValueError(f"{config.name} writes the characters {values['characters']!r}, expected {CHARACTERS!r}")
    sizes = {}
    for name in ("sample_rate_hz", "window_samples"):
        if not (values[name].isdecimal() and int(values[name]) > 0):
            raise ValueError(f"{config.name} has {name} = {values[name]!r}, expected a positive integer")
        sizes[name] = int(values[name])
    inputs = {tensor.name: list(tensor.dims) for tensor in config.input}
    if inputs != {"waveforms": [2, sizes["window_samples"]]}:
        raise ValueError(f"{config.name} declares the inputs {inputs}, but its parameters say {sizes}")
    frames = {}
    for tensor in config.output:
        rows, dims = _ROWS.get(tensor.name), list(tensor.dims)
        if dims[:-1] != ([] if rows is None else [rows]) or dims[-1] < 1 or sizes["window_samples"] % dims[-1]:
            raise ValueError(f"{config.name} declares {tensor.name} with dims {dims}, which this version cannot read")
        frames[tensor.name] = dims[-1]
    if (
        not frames
        or not frames.keys() <= {"characters", "pitch", "onset"}
        or ("pitch" in frames) != ("onset" in frames)
    ):
        raise ValueError(f"{config.name} has the outputs {sorted(frames)}, expected characters, or pitch and onset")
    return TranscriberSpec(
        sizes["sample_rate_hz"], sizes["window_samples"], frames, values["model_name"], values["fingerprint"]
    )


def check_outputs(outputs: Mapping[str, Any], *, spec: TranscriberSpec, count: int) -> None:
    """Check that the outputs of `count` windows are as `Transcriber.hear` says.

    Raises:
        ValueError: one sentence that says what they are instead.
    """
    for name, frames in spec.frames.items():
        values = outputs[name]
        rows = _ROWS.get(name)
        shape = (count, frames) if rows is None else (count, rows, frames)
        if values is None or values.shape != shape or values.dtype != np.float32:
            got = "nothing" if values is None else f"{values.dtype} {list(values.shape)}"
            raise ValueError(f"got {got} for {name}, expected float32 {list(shape)}")
        if not np.isfinite(values).all():
            raise ValueError(f"got NaN or infinity in {name}")
