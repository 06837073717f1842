"""Encoders: the model runs in this process (`local`) or behind a Triton server (`triton`), with the same vectors."""

import os
from pathlib import Path
from typing import Any

from ..errors import EncoderError
from ..places import is_url
from .base import Encoder, EncoderSpec

__all__ = ["DEFAULT_REPOSITORY", "Encoder", "EncoderSpec", "open_encoder", "server_settings"]

# Without this, gRPC writes a line to stderr when a server stops and closes the connection. gRPC reads it at import, and
# reading a model's configuration imports gRPC too.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")

# Next to the package, in a checkout and in an editable install.
DEFAULT_REPOSITORY = Path(__file__).parents[2] / "model_repository"


def open_encoder(source: str | Path | None = None, *, device: str = "auto") -> Encoder:
    """Open a model.

    Args:
        source: a model repository folder, or the address of a Triton server, as `TritonEncoder` takes it. None is the
            `model_repository/` that comes with MusicSearch. For a "grpcs://" address, the environment may set
            MUSICSEARCH_TOKEN (sent as `authorization: Bearer ...`), MUSICSEARCH_CA_FILE, MUSICSEARCH_CERT_FILE and
            MUSICSEARCH_KEY_FILE. They are not used with "grpc://", which is not encrypted.
        device: "auto", "cpu", "cuda" or "tensorrt" (see `LocalEncoder`). Only used with a folder.

    Raises:
        EncoderError: there is no such model, or it does not open on that device.
        ServerUnavailable: see `TritonEncoder`.
        ServerMismatch: see `TritonEncoder`.
    """
    if source is not None and is_url(source):
        from .triton import TritonEncoder

        return TritonEncoder(str(source), **server_settings(str(source), device=device))

    from .local import LocalEncoder

    repository = DEFAULT_REPOSITORY if source is None else Path(source).expanduser()
    return LocalEncoder(repository, device=device)


def server_settings(url: str, *, device: str) -> dict[str, Any]:
    """The header and the PEM files for the servers at a url, from the environment; see `open_encoder`.

    Raises:
        EncoderError: a device is given.
    """
    if device != "auto":
        raise EncoderError(f"device={device!r} does not apply to {url}: the server chooses its own")
    if not url.startswith("grpcs://"):
        return {}
    token = os.environ.get("MUSICSEARCH_TOKEN")
    return {
        "headers": {"authorization": f"Bearer {token}"} if token else None,
        "ca_file": os.environ.get("MUSICSEARCH_CA_FILE"),
        "cert_file": os.environ.get("MUSICSEARCH_CERT_FILE"),
        "key_file": os.environ.get("MUSICSEARCH_KEY_FILE"),
    }
