"""Errors as problem documents (RFC 9457), each with one clear sentence."""

import http
import logging
import os
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ..errors import (
    AudioError,
    EncoderError,
    LibraryBusy,
    LibraryError,
    ModelMismatch,
    MusicSearchError,
    QueryError,
    ServerBusy,
    ServerUnavailable,
    StoreError,
)
from .settings import Settings

_ERRORS_TOLD = 8
_SAYS_NOTHING = {
    400: "the request cannot be read",
    404: "there is nothing at this address",
    405: "this address does not support this method",
}

# The first matching class counts. The sentence is for clients on other machines, because our messages name local files.
_STATUS: list[tuple[type[MusicSearchError], int, str]] = [
    (QueryError, 422, ""),
    (AudioError, 422, ""),
    (LibraryBusy, 409, "another process is writing to the library: try again in a moment"),
    (ModelMismatch, 409, "the library now uses another model: restart the server"),
    (LibraryError, 503, "the library cannot be read or written now"),
    (ServerBusy, 503, "the model's server is full: try again in a moment"),
    (ServerUnavailable, 503, "the model's server does not answer"),
    (EncoderError, 503, "the model cannot be used now"),
    (StoreError, 503, "the store of the music does not answer"),
    (MusicSearchError, 500, "the request failed"),
]
_RETRY_S = {409: 2, 429: 1, 503: 2}

log = logging.getLogger(__name__)


class Problem(HTTPException):
    """A request that is answered with a problem document.

    Args:
        status: the HTTP status.
        detail: one sentence for people.
        kind: a name of the problem for programs, if the status is not specific enough.
        headers: more headers of the answer.
    """

    def __init__(
        self, status: int, detail: str, *, kind: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(status, detail, headers)
        self.kind = kind

    def response(self, **more: Any) -> Response:
        """The answer with the problem document; `more` are additional members of the document."""
        document = {
            "type": f"/problems/{self.kind}" if self.kind else "about:blank",
            "title": http.HTTPStatus(self.status_code).phrase,
            "status": self.status_code,
            "detail": self.detail,
            **more,
        }
        headers = {"Cache-Control": "no-store", **(self.headers or {})}
        if self.status_code in _RETRY_S:
            headers.setdefault("Retry-After", str(_RETRY_S[self.status_code]))
        return JSONResponse(document, self.status_code, headers, media_type="application/problem+json")


def told(error: MusicSearchError, *, settings: Settings) -> Problem:
    """Convert an error of ours to a `Problem`, without local paths unless only this machine can ask."""
    _, status, for_others = next(row for row in _STATUS if isinstance(error, row[0]))
    detail = str(error)
    if not settings.is_local:
        detail = for_others or detail
        if isinstance(error, AudioError):
            detail = f"{os.path.basename(error.path)}: {'cannot be read' if error.is_unexpected else error.reason}"
    return Problem(status, detail)


def unexpected(error: Exception, *, method: str, path: str) -> Response:
    """Log an unexpected error, and make an answer without its details."""
    log.error("%s %s failed", method, path, exc_info=error)
    return Problem(500, "the server failed; its log says why").response()


def handle_problems(app: FastAPI, *, settings: Settings) -> None:
    """Make an app answer every error with a problem document."""

    async def problem(_: Request, error: Exception) -> Response:
        assert isinstance(error, Problem)
        return error.response()

    async def ours(_: Request, error: Exception) -> Response:
        assert isinstance(error, MusicSearchError)
        return told(error, settings=settings).response()

    async def of_the_framework(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        said = _SAYS_NOTHING.get(error.status_code, str(error.detail))
        return Problem(error.status_code, said, headers=error.headers).response()

    async def invalid(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        found = list(error.errors())
        if any(one["type"] == "json_invalid" for one in found):
            return Problem(400, "the body is not JSON").response()
        errors = [{"pointer": _pointer(one["loc"]), "detail": one["msg"]} for one in found[:_ERRORS_TOLD]]
        first = errors[0]
        return Problem(422, f"{first['pointer']}: {first['detail']}").response(errors=errors)

    app.add_exception_handler(Problem, problem)
    app.add_exception_handler(MusicSearchError, ours)
    app.add_exception_handler(HTTPException, of_the_framework)
    app.add_exception_handler(RequestValidationError, invalid)


def _pointer(location: tuple[int | str, ...]) -> str:
    """The place of a value in a request, such as "body/texts/0/weight"."""
    return "/".join(map(str, location)).encode(errors="replace").decode()
