"""Encoders: the model in process (`local`) or behind a Triton server (`triton`), same vectors."""

from pathlib import Path

from ..errors import EncoderError
from .base import Encoder, EncoderSpec

__all__ = ["Encoder", "EncoderSpec", "open_encoder"]

# Beside the package in a checkout, where an editable install leaves it.
DEFAULT_REPOSITORY = Path(__file__).parents[2] / "model_repository"


def open_encoder(source: str | Path | None = None, *, device: str = "auto") -> Encoder:
    """Open a model.

    Args:
        source: a model repository folder, or "grpc://host:port" of a Triton server that serves one;
            None is the `model_repository/` that comes with MusicSearch.
        device: for a folder only: "auto", "cpu", "cuda" or "tensorrt" (see `LocalEncoder`).

    Raises:
        EncoderError: there is no such model, or it does not open on that device.
        ServerUnavailable, ServerMismatch: see `TritonEncoder`.
    """
    if source is not None and "://" in str(source):
        from .triton import TritonEncoder

        if device != "auto":
            raise EncoderError(f"device={device!r} does not apply to {source}: the server chooses its own")
        return TritonEncoder(str(source))

    from .local import LocalEncoder

    repository = DEFAULT_REPOSITORY if source is None else Path(source).expanduser()
    return LocalEncoder(repository, device=device)
