"""Connections of uvicorn with a timeout and a limit on their number; refusals are problem documents."""

import asyncio
from typing import Any

import h11
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from .problems import Problem
from .safety import Shell

_HEAD_WITHIN_S = 10.0
_MOST = 512  # connections, including silent ones


async def _full(scope: Scope, receive: Receive, send: Send) -> None:
    raise Problem(503, "too many connections are open: try again in a moment", headers={"Connection": "close"})


_FULL = Shell(_full)


class Connection(H11Protocol):
    """A connection that is closed if no complete request head arrives within 10 s.

    It is also closed if a body is still being sent 10 s after its answer.
    """

    _patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._look()

    def data_received(self, data: bytes) -> None:
        is_full = len(self.connections) > _MOST or len(self.tasks) > _MOST
        self.app = _FULL if is_full else self.config.loaded_app
        super().data_received(data)
        self._look()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._stop_waiting()

    def send_400_response(self, msg: str) -> None:
        answer = Problem(400, "the request cannot be read", headers={"Connection": "close"}).response()
        head = h11.Response(status_code=400, headers=answer.raw_headers, reason=b"Bad Request")
        events: list[Any] = [head, h11.Data(data=bytes(answer.body)), h11.EndOfMessage()]
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):  # otherwise another answer has begun
            for event in events:
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _look(self) -> None:
        """Start the timeout if a request head is expected; stop it while a request is being answered."""
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_waiting()
        elif self._patience is None and not self.transport.is_closing():
            self._patience = self.loop.call_later(_HEAD_WITHIN_S, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
