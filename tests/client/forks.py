"""Processes without the time that imports take: forks of one that has imported the client."""

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from typing import Any

from client import decoders

IMPORTED = ["client.decoders", "client.packets", "client.tags", "hnswlib", "tests.client.test_crashes"]
DECODE = decoders._COMMAND


def fork_server() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(IMPORTED)  # there is one server in a process, so one list
    return context


class ForkedDecoder:
    """What `client.decoders` starts, with as much of `subprocess.Popen` as it uses of it."""

    def __init__(self, *, files: Sequence[int], environment: Mapping[str, str]) -> None:
        handed_on = [Connection(os.dup(file)) for file in files]  # multiprocessing hands no plain files on
        self._process = fork_server().Process(target=decode, args=(dict(environment), *handed_on), daemon=True)
        self._process.start()
        for file in handed_on:
            file.close()

    def kill(self) -> None:
        self._process.kill()

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("a decoder", timeout or 0.0)
        return self._process.exitcode


def start(command: list[str], *, pass_fds: Sequence[int], env: Mapping[str, str], **options: Any) -> Any:
    """In the place of `subprocess.Popen`: fork for what decoders usually run, else do as it does."""
    if not any(word.endswith(DECODE) for word in command):
        return subprocess.Popen(command, pass_fds=pass_fds, env=env, **options)
    return ForkedDecoder(files=pass_fds, environment=env)


def decode(environment: dict[str, str], *files: Connection) -> None:
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["", *(str(file.fileno()) for file in files)]
    decoders.main()
