"""Uploaded sounds to search by: decoded in a decoder process, kept as samples, and deleted soon."""

import asyncio
import os
import secrets
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from fastapi import UploadFile

from ..errors import AudioError
from . import models
from .decoding import Decoders
from .problems import Problem
from .samples import as_samples, path_of_samples

_KEPT_S = 3600.0
_MOST_KEPT = 16
_MOST_BYTES = 256 << 20
_COPY_BYTES = 1 << 18


class _Upload(NamedTuple):
    path: str
    size: int
    until: float


class Uploads:
    """A temporary folder of uploads; it is deleted when the server ends, unless the server is killed."""

    def __init__(self, decoders: Decoders) -> None:
        self._decoders = decoders
        self._folder = tempfile.TemporaryDirectory(prefix="music-search-", ignore_cleanup_errors=True)
        self._kept: dict[str, _Upload] = {}

    async def add(self, file: UploadFile) -> models.Upload:
        """Decode and keep an upload; raises `Problem` if it cannot be used to search by."""
        upload_id = secrets.token_hex(16)
        path = os.path.join(self._folder.name, upload_id)
        name = "".join(filter(str.isprintable, (file.filename or "").replace("\\", "/").rpartition("/")[2]))[:200]
        try:
            await asyncio.to_thread(_copy, file, path)
            duration_s = await self._decoders.call(as_samples, path)
        except AudioError as exc:
            Path(path_of_samples(path)).unlink(missing_ok=True)
            raise Problem(
                422, f"{name or 'the sound'}: {'cannot be read' if exc.is_unexpected else exc.reason}"
            ) from exc
        finally:
            await asyncio.to_thread(Path(path).unlink, missing_ok=True)
        samples = path_of_samples(path)
        self._kept[upload_id] = _Upload(samples, os.path.getsize(samples), time.monotonic() + _KEPT_S)
        self.forget()
        return models.Upload(id=upload_id, name=name, duration_s=duration_s)

    def path(self, upload_id: str) -> str:
        """The path of an upload's samples; raises `Problem` if the upload is deleted already."""
        upload = self._kept.get(upload_id)
        if upload is None or upload.until < time.monotonic():
            raise Problem(404, "the server no longer has this sound: upload it again")
        return upload.path

    def forget(self) -> None:
        """Delete uploads that are too old, and the oldest ones if there are too many or they take too much space."""
        now, size = time.monotonic(), sum(upload.size for upload in self._kept.values())
        for upload_id, upload in list(self._kept.items()):
            if upload.until < now or len(self._kept) > _MOST_KEPT or size > _MOST_BYTES:
                size -= upload.size
                del self._kept[upload_id]
                Path(upload.path).unlink(missing_ok=True)

    def close(self) -> None:
        self._decoders.close()
        self._folder.cleanup()


def _copy(file: UploadFile, path: str) -> None:
    with open(path, "xb") as target:
        while part := file.file.read(_COPY_BYTES):
            target.write(part)
