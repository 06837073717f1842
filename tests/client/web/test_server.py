"""`music-search web` as a process: it says where it is, answers, tells what happens, and ends when it is told to."""

import asyncio
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import uvicorn

from client import MusicSearch
from client.cli import main
from client.cli.web import _name_of
from client.encoders.local import LocalEncoder
from client.web import connections, server
from tests.client.audio_files import tone, write_audio
from tests.client.web.running import MAIN, Running
from tests.tiny_repository import TONES_HZ, build_tiny_repository


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory, encoder: LocalEncoder) -> Path:
    folder = tmp_path_factory.mktemp("served")
    write_audio(folder / "low.wav", tone(TONES_HZ["low"], seconds=2))
    write_audio(folder / "long.m4a", tone(440, seconds=300), kind="alac.m4a")
    with MusicSearch(folder / "library", encoder=encoder) as ms:
        ms.add([folder / "low.wav", folder / "long.m4a"], progress=False)
    return folder / "library"


def test_it_tells_what_happens_and_ends_at_once(library: Path, tiny_repository: Path, tmp_path: Path) -> None:
    for name, hz in TONES_HZ.items():
        write_audio(tmp_path / f"{name}.flac", tone(hz, seconds=2), kind="flac")
    running = Running(library, "--encoder", tiny_repository)
    events = running.listen()
    first = next(events)
    assert first == ("library", {"state": running.ask("GET", "/library")["state"]})
    job = running.ask("POST", "/jobs", {"kind": "add", "paths": [str(tmp_path)]})
    told = [next(events)]
    while told[-1][1].get("state") != "done":
        told.append(next(events))
    jobs = [value for kind, value in told if kind == "job"]
    assert {one["id"] for one in jobs} == {job["id"]}
    assert (jobs[-1]["done"], jobs[-1]["total"], jobs[-1]["report"]["added"]) == (3, 3, 3)
    kind, value = next(events)  # soon the server notices that the library is another
    assert (kind, value["state"] != first[1]["state"]) == ("library", True)
    assert running.ask("GET", "/jobs")[0] == running.ask("GET", f"/jobs/{job['id']}") == jobs[-1]

    long = next(hit["track"] for hit in running.ask("POST", "/search", {})["hits"] if hit["track"]["title"] == "long")
    player = running.connect()
    player.request("GET", f"/api/v1/tracks/{long['id']}/audio")
    assert len(player.getresponse().read(10_000)) == 10_000  # and then it is paused
    pages = [running.listen() for _ in range(3)]
    assert all(next(page)[0] == "library" for page in pages)
    began_at = time.monotonic()
    assert running.end() == 0
    assert time.monotonic() - began_at < 10
    assert running.process.stderr is not None
    assert running.process.stderr.read() == ""
    assert list(events) == []


def test_sigterm_ends_it_too_and_a_job_keeps_what_it_has(
    tmp_path: Path, encoder: LocalEncoder, tiny_repository: Path
) -> None:
    (tmp_path / "music").mkdir()
    for number in range(40):
        write_audio(tmp_path / f"music/{number:02}.wav", tone(200 + 50 * number, seconds=20))
    with MusicSearch(tmp_path / "library", encoder=encoder):
        pass
    running = Running(tmp_path / "library", "--encoder", tiny_repository)
    events = running.listen()
    job = running.ask("POST", "/jobs", {"kind": "add", "paths": [str(tmp_path / "music")]})
    while next(events)[1].get("done", 0) < 2:
        pass
    with pytest.raises(AssertionError, match="another job is adding music"):
        running.ask("POST", "/jobs", {"kind": "add", "paths": [str(tmp_path / "music")]})
    running.ask("DELETE", f"/jobs/{job['id']}")
    state = ""
    while state != "stopped":
        state = next(events)[1]["state"]
    assert 2 <= running.ask("GET", "/library")["tracks"] < 40
    running.ask("POST", "/jobs", {"kind": "add", "paths": [str(tmp_path / "music")]})
    assert running.end(signal.SIGTERM) == 0
    with MusicSearch(tmp_path / "library", encoder=encoder) as ms:
        assert ms.info().tracks >= 2


def test_what_is_wrong_at_the_start_is_one_sentence(
    library: Path, tiny_repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def said(*arguments: object) -> str:
        assert main(["web", *map(str, arguments), "--no-open"]) == 2
        out, err = capsys.readouterr()
        assert (out, err.count("\n")) == ("", 1)
        return err.removeprefix("music-search: ").strip()

    model = ("--encoder", tiny_repository)
    with server.bind("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        expected = f"cannot listen at 127.0.0.1, port {port} (Address already in use): --port 0 takes any free port"
        assert said(library, *model, "--port", port) == expected
    assert "expected 0 to 65535" in said(library, *model, "--port", 70_000)
    assert "cannot listen at nobody.invalid" in said(library, *model, "--host", "nobody.invalid", "--token", "12345678")
    assert "so they need a token" in said(library, *model, "--host", "0.0.0.0")
    assert said(tmp_path / "none", *model, "--port", 0).startswith(f"no library at {tmp_path / 'none'}: make one")
    other = build_tiny_repository(tmp_path / "other", seed=1)
    assert "was made with the model tiny" in said(library, "--encoder", other, "--port", 0)
    assert "MODEL" in said(library, "--encoder", tmp_path / "none", "--port", 0).upper()


def test_a_token_from_the_environment(library: Path, tiny_repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUSICSEARCH_WEB_TOKEN", "from outside")
    running = Running(library, "--encoder", tiny_repository, "--host", "0.0.0.0")
    connection = http.client.HTTPConnection("127.0.0.1", urlsplit(running.address).port)
    for headers, status in (({}, 401), ({"Authorization": "Bearer from outside"}, 200)):
        connection.request("GET", "/api/v1/library", headers=headers)
        answer = connection.getresponse()
        body = json.loads(answer.read())
        assert answer.status == status
    assert (body["read_only"], body["local"]) == (True, False)
    assert running.end() == 0


def test_a_local_server_with_another_name_is_as_one_with_another_host(
    library: Path, tiny_repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = ("--name", "music.example:443")
    assert main(["web", str(library), "--encoder", str(tiny_repository), *name, "--no-open"]) == 2
    assert (
        "--name music.example lets other machines in, so they need a token: give --token TEXT"
        in capsys.readouterr().err
    )
    running = Running(library, "--encoder", tiny_repository, *name, "--token", "12345678")
    connection = running.connect()
    for host, status in (("music.example", 200), ("evil.example", 421)):
        connection.request("GET", "/api/v1/library", headers={"Authorization": "Bearer 12345678", "Host": host})
        answer = connection.getresponse()
        body = json.loads(answer.read())
        assert answer.status == status
        assert status != 200 or (body["read_only"], body["local"]) == (True, False)
    assert running.end() == 0


def test_connections_that_say_nothing_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "_HEAD_WITHIN_S", 0.5)
    monkeypatch.setattr(connections, "_MOST", 4)

    async def app(scope: dict, receive: Callable, send: Callable) -> None:
        await asyncio.sleep(1 if scope["path"] == "/slow" else 0)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    async def run() -> None:
        config = uvicorn.Config(app, http=connections.Connection, lifespan="off", log_config=None, ws="none")
        serving = uvicorn.Server(config)
        listening = server.bind("127.0.0.1", 0)
        task = asyncio.create_task(serving.serve(sockets=[listening]))

        async def ask(*parts: bytes) -> bytes:
            """All that the server says until it closes the connection; 0.2 s between the parts."""
            reader, writer = await asyncio.open_connection(*listening.getsockname())
            reading = asyncio.create_task(asyncio.wait_for(reader.read(), 20))
            for part in parts:
                if not reading.done():
                    writer.write(part)
                    await asyncio.wait([reading], timeout=0.2)
            said = await reading
            writer.close()
            return said

        while not serving.started:
            await asyncio.sleep(0.01)
        get, post = b"GET / HTTP/1.1\r\nHost: x\r\n", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\n\r\n"
        trickled = [bytes([byte]) for byte in get]
        assert await ask() == b""
        assert await ask(*trickled[:10]) == b""
        assert (await ask(get + b"\r\n", *trickled[:10])).endswith(b"\r\n\r\nok")  # also after an answer
        assert (await ask(post, *[b"."] * 10)).endswith(b"\r\n\r\nok")  # also where a body goes on
        assert (await ask(get.replace(b"/ ", b"/slow ") + b"\r\n")).endswith(b"\r\n\r\nok")  # but not at work
        said = await ask(b"no request\r\n\r\n")
        assert b"400 Bad Request" in said
        assert json.loads(said.partition(b"\r\n\r\n")[2])["detail"] == "the request cannot be read"
        silent = [asyncio.create_task(ask()) for _ in range(4)]
        await asyncio.sleep(0.1)
        said = await ask(get + b"\r\n")
        assert b"503 Service Unavailable" in said
        assert json.loads(said.partition(b"\r\n\r\n")[2])["status"] == 503
        assert await asyncio.gather(*silent) == [b""] * 4
        serving.should_exit = True
        await task

    asyncio.run(run())


@pytest.mark.parametrize(
    ("library", "name"),
    [
        (Path("/home/me/music"), "music"),
        ("milvus:///home/me/x.db", "x.db"),
        ("milvus://host:19530/tracks", "tracks"),
    ],
)
def test_the_name_of_a_library_is_no_path(library: Path | str, name: str) -> None:
    assert _name_of(library) == name


def test_no_other_command_imports_the_web() -> None:
    code = "import sys; from client.cli import main; from client.cli.parser import make_parser; make_parser(); "
    code += "print([name for name in sys.modules if name.split('.')[0] in ('fastapi', 'starlette', 'uvicorn') "
    code += "or name.startswith('client.web')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_without_the_extra(library: Path, tiny_repository: Path, tmp_path: Path) -> None:
    (tmp_path / "fastapi.py").write_text("raise ModuleNotFoundError(\"No module named 'fastapi'\", name='fastapi')")
    command = [sys.executable, "-c", MAIN, "web", str(library), "--encoder", str(tiny_repository), "--port", "0"]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(tmp_path)}, timeout=60
    )
    assert done.returncode == 2
    assert done.stderr == (
        "music-search: the page needs more packages: pip install 'musicsearch[web]' (No module named 'fastapi')\n"
    )


def test_addresses() -> None:
    with server.bind("127.0.0.1", 0) as listening:
        port = listening.getsockname()[1]
        assert server.address_of(listening) == f"http://localhost:{port}/"
    if socket.has_ipv6:
        with server.bind("::1", 0) as listening:
            port = listening.getsockname()[1]
            assert server.address_of(listening) == f"http://localhost:{port}/"
