#!/bin/sh
# uvicorn 0.54.0 on CPython 3.11: a server that is given its socket answers some requests 40 ms later than one that binds.
# Expected: `Server.serve(sockets=[socket.create_server(...)])`, the way to know a free port before the server runs, serves
# as `uvicorn.run(port=...)` does. What happens: connections of the given socket have no TCP_NODELAY, so that an answer
# whose head and body are written apart waits for the client's delayed acknowledgement. asyncio sets the option only on
# sockets whose `proto` says IPPROTO_TCP; socket.create_server leaves it at 0, and accepted sockets take it over.
# Mended by setting TCP_NODELAY on the listening socket, which on Linux hands it on.
# Exit status: 0 while that is so, 1 when it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check uvicorn==0.54.0
cat > check.py <<'PYTHON'
import asyncio
import socket
import sys
import time

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

options = []


class Noted(H11Protocol):
    def connection_made(self, transport):
        options.append(transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        super().connection_made(transport)


async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


async def ask(port):
    def talk():
        took = []
        with socket.create_connection(("127.0.0.1", port)) as connection:
            for _ in range(20):
                began = time.perf_counter()
                connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                got = b""
                while not got.endswith(b"ok"):
                    got += connection.recv(4096)
                took.append(1000 * (time.perf_counter() - began))
        return sorted(took)[10]

    return await asyncio.to_thread(talk)


async def serve(given, nodelay=False):
    config = uvicorn.Config(app, port=0, http=Noted, log_level="error", lifespan="off")
    server = uvicorn.Server(config)
    sockets = [socket.create_server(("127.0.0.1", 0))] if given else None
    if nodelay:
        sockets[0].setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    task = asyncio.create_task(server.serve(sockets=sockets))
    while not server.started:
        await asyncio.sleep(0.01)
    port = (sockets or server.servers[0].sockets)[0].getsockname()[1]
    median = await ask(port)
    server.should_exit = True
    await task
    return options[-1], median


print("uvicorn", uvicorn.__version__, "on Python", sys.version.split()[0])
found = []
for name, arguments in {
    "it binds": (False,),
    "given a socket": (True,),
    "given one with TCP_NODELAY": (True, True),
}.items():
    option, median = asyncio.run(serve(*arguments))
    found.append(bool(option))
    print(f"{name}: TCP_NODELAY {option}, median answer {median:.1f} ms")
sys.exit(found != [True, False, True])
PYTHON
venv/bin/python check.py || { echo "this behaviour has changed"; exit 1; }
