"""`music-search web` as a process."""

import http.client
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

MAIN = "import sys; from client.cli import main; sys.exit(main())"


class Running:
    """A server in a process of its own, at any port that is free where none is given."""

    def __init__(self, *arguments: object) -> None:
        command = [sys.executable, "-c", MAIN, "web", "--port", "0", "--json", "--no-open", *map(str, arguments)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        said = ""
        while not said.endswith("}\n"):
            line = self.process.stdout.readline()
            assert line, self.process.stderr.read()
            said += line
        self.address: str = json.loads(said)["address"]

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(urlsplit(self.address).netloc, timeout=30)

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        connection = self.connect()
        headers = {"Content-Type": "application/json"}
        connection.request(method, f"/api/v1{path}", None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        assert answer.status < 300, answer.read()
        return json.loads(answer.read())

    def listen(self) -> Iterator[tuple[str, Any]]:
        """Events as they come, with what they hold; for a minute."""
        ends_at = time.monotonic() + 60
        connection = self.connect()
        connection.request("GET", "/api/v1/events")
        answer = connection.getresponse()
        assert answer.getheader("content-type", "").startswith("text/event-stream")
        kind = ""
        for line in iter(answer.readline, b""):
            assert time.monotonic() < ends_at
            if line.startswith(b"event: "):
                kind = line[7:].decode().strip()
            if line.startswith(b"data: "):
                yield kind, json.loads(line[6:])

    def end(self, number: int = signal.SIGINT) -> int:
        self.process.send_signal(number)
        return self.process.wait(20)
