"""Encoders: the model in process (`local`) or behind a Triton server (`triton`), same vectors."""

import os
from pathlib import Path

from ..errors import EncoderError
from .base import Encoder, EncoderSpec

__all__ = ["Encoder", "EncoderSpec", "open_encoder"]

# Read when gRPC is imported, which reading a model's configuration does too: else gRPC writes a line to stderr when a
# server that stops ends the connection.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")

# Beside the package in a checkout, where an editable install leaves it.
DEFAULT_REPOSITORY = Path(__file__).parents[2] / "model_repository"


def open_encoder(source: str | Path | None = None, *, device: str = "auto") -> Encoder:
    """Open a model.

    Args:
        source: a model repository folder, or the address of a Triton server that serves one, as `TritonEncoder`
            takes it; None is the `model_repository/` that comes with MusicSearch. For a "grpcs://" address, the
            environment may set MUSICSEARCH_TOKEN (sent as `authorization: Bearer ...`), MUSICSEARCH_CA_FILE,
            MUSICSEARCH_CERT_FILE and MUSICSEARCH_KEY_FILE; over "grpc://", which is not encrypted, none is used.
        device: for a folder only: "auto", "cpu", "cuda" or "tensorrt" (see `LocalEncoder`).

    Raises:
        EncoderError: there is no such model, or it does not open on that device.
        ServerUnavailable, ServerMismatch: see `TritonEncoder`.
    """
    if source is not None and "://" in str(source):
        from .triton import TritonEncoder

        if device != "auto":
            raise EncoderError(f"device={device!r} does not apply to {source}: the server chooses its own")
        if not str(source).startswith("grpcs://"):
            return TritonEncoder(str(source))
        token = os.environ.get("MUSICSEARCH_TOKEN")
        return TritonEncoder(
            str(source),
            headers={"authorization": f"Bearer {token}"} if token else None,
            ca_file=os.environ.get("MUSICSEARCH_CA_FILE"),
            cert_file=os.environ.get("MUSICSEARCH_CERT_FILE"),
            key_file=os.environ.get("MUSICSEARCH_KEY_FILE"),
        )

    from .local import LocalEncoder

    repository = DEFAULT_REPOSITORY if source is None else Path(source).expanduser()
    return LocalEncoder(repository, device=device)
