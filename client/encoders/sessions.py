"""Opens graphs of a model repository with ONNX Runtime, and reads their `config.pbtxt`."""

import ctypes
import logging
import os
import sys
from pathlib import Path
from typing import Any

from ..errors import EncoderError

PROVIDERS: dict[str, list[Any]] = {
    "cpu": ["CPUExecutionProvider"],
    # TF32 has 10 bits of mantissa. That is too few for vectors that agree with the CPU's within 1e-3.
    "cuda": [("CUDAExecutionProvider", {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"})],
    "tensorrt": ["TensorrtExecutionProvider", "CUDAExecutionProvider"],
}

log = logging.getLogger(__name__)


def check_device(device: str) -> None:
    """Check that a device is a known one, and that this machine has a driver for it.

    Raises:
        EncoderError: it is unknown, or there is no driver.
    """
    if device != "auto" and device not in PROVIDERS:
        raise EncoderError(f"unknown device {device!r}: use auto, {', '.join(PROVIDERS)}")
    if device in ("cuda", "tensorrt") and not has_nvidia_driver():
        raise EncoderError(f"device is {device!r}, but this machine has no NVIDIA driver: use 'cpu' or 'auto'")


def open_best_session(path: Path) -> tuple[str, Any]:
    """CUDA if a session opens on it, else the CPU. For machines with an NVIDIA driver."""
    try:
        return "cuda", open_session(path, device="cuda")
    except EncoderError as exc:
        log.warning("this machine has an NVIDIA driver, but the model runs on its CPU: %s", exc)
        return "cpu", open_session(path, device="cpu")


def has_nvidia_driver() -> bool:
    # Looking for the driver library costs a few kB. Without a driver, ONNX Runtime's own attempt prints a page of
    # errors, and loads the CUDA libraries (200 MB) if they are installed.
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True


def open_session(path: Path, *, device: str, threads: int = 0) -> Any:
    """Open a graph on a device. `threads` is the number of CPU threads of a run, and 0 uses all cores."""
    # From 1.29 on, ONNX Runtime reports usage to Microsoft unless this is set before it is imported.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    if not path.is_file():
        raise EncoderError(f"{path} is missing: export the model again")
    if device != "cpu":
        onnxruntime.preload_dlls()  # finds the CUDA libraries that pip installs beside ONNX Runtime
    options = onnxruntime.SessionOptions()
    # The arena never frees memory, and it grows with every new text length and batch size. Runs of one thread have one
    # window each, so there it stops growing, and saves the kernel from zeroing the same pages again for each window.
    options.enable_cpu_mem_arena = threads == 1
    options.intra_op_num_threads = threads
    # Otherwise its threads spin between runs, on cores that the decoders of `add` and the searches need.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    wanted = PROVIDERS[device]
    try:
        # enable_fallback=0: by default ONNX Runtime replaces a failed provider with the CPU, and only prints it.
        session = onnxruntime.InferenceSession(str(path), options, providers=wanted, enable_fallback=0)
    except Exception as exc:  # ONNX Runtime's exceptions share no base class
        raise EncoderError(f"cannot open {path} on {device}: {one_line(exc)}") from exc
    first = wanted[0] if isinstance(wanted[0], str) else wanted[0][0]
    got = session.get_providers()
    if first not in got:
        raise EncoderError(
            f"device={device!r} needs {first}, but ONNX Runtime opened {', '.join(got)}: install the CUDA "
            "and cuDNN (for tensorrt also TensorRT) libraries that this onnxruntime-gpu needs, or use device='cpu'"
        )
    return session


def read_config(folder: Path) -> Any:
    """`config.pbtxt` as an `inference.ModelConfig` message."""
    from google.protobuf import text_format
    from tritonclient.grpc import model_config_pb2

    path = folder / "config.pbtxt"
    try:
        return text_format.Parse(path.read_text(encoding="utf-8"), model_config_pb2.ModelConfig())
    except (OSError, text_format.ParseError) as exc:
        raise ValueError(f"cannot read {path}: {exc}") from exc


def version_folder(model: Path) -> Path:
    """The version that Triton serves by default: the highest number."""
    versions = [entry for entry in model.iterdir() if entry.name.isdecimal()] if model.is_dir() else []
    if not versions:
        raise EncoderError(f"{model} has no version folder such as {model / '1'}: export the model again")
    return max(versions, key=lambda entry: int(entry.name))


def one_line(error: Exception) -> str:
    return " ".join(str(error).split())
