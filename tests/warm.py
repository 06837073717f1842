"""A `python` that starts at once: it is a fork of a process that has imported what takes seconds, PyTorch above all.

The command hands its arguments, environment, working folder and open files over to that process (`tests/ask_warm.py`).
A fork of it does what a fresh Python does. The command ends as its fork ended, and where the command is killed, the
fork is too. Nothing of this project is imported before the fork, so each command still imports all that it needs. And
no thread may run before it, as threads do not survive a fork: packages are imported, and nothing of them is called.
"""

import atexit
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

PROJECT = Path(__file__).parents[1]
PACKAGES = (
    *("torch.distributed.nn", "torch.utils.data", "torch.utils.tensorboard", "torchaudio.functional"),
    *("transformers.models.bert.modeling_bert", "sklearn.manifold", "scipy.stats", "soundfile", "wordfreq"),
    *("onnxruntime", "onnxscript", "av", "soxr", "tokenizers", "rich.progress"),
)
ENVIRONMENT = {  # of which packages read some when they are imported
    "PYTHONPATH": str(PROJECT),
    "OMP_NUM_THREADS": "1",
    "CUDA_VISIBLE_DEVICES": "",
    "HF_HUB_OFFLINE": "1",
    "ORT_DISABLE_TELEMETRY": "1",  # else a thread sends it
    "JE_ARROW_MALLOC_CONF": "background_thread:false",  # of PyArrow, which scikit-learn imports
}


@contextmanager
def warm_commands(folder: Path) -> Iterator[Path]:
    """Yield `folder` with `python` and the usual `music-search` in it; where Linux is not, that of this Python."""
    own = Path(sys.executable).parent
    if sys.platform != "linux":
        yield own
        return
    address = folder / "socket"
    (folder / "music-search").symlink_to(own / "music-search")
    ask = f'exec "{sys.executable}" -IS "{Path(__file__).with_name("ask_warm.py")}" "{address}" "$@"'
    (folder / "python").write_text(f"#!/bin/sh\n{ask}\n")
    (folder / "python").chmod(0o755)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(address))
        listener.listen()  # from here on they may ask, and wait
        command = [sys.executable, "-m", "tests.warm", str(listener.fileno())]
        environment = os.environ | ENVIRONMENT
        server = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, pass_fds=[listener.fileno()])
    with server:
        yield folder
        server.terminate()  # its stdin may stay open in a loader's worker, a fork of this process


def accept(listener: socket.socket) -> socket.socket:
    """Return each connection in a fork of its own; the process that was started stays here until its stdin closes."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody asks how those forks ended
    while listener in select.select([listener, sys.stdin], [], [])[0]:
        connection, _ = listener.accept()
        if not os.fork():
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            return connection
        connection.close()
    sys.exit()


def take_on(connection: socket.socket) -> list[str]:
    """Become the process that was asked for, with its files, folder and environment; return its arguments."""
    content, files, _, _ = socket.recv_fds(connection, 1 << 20, 3)
    asked = json.loads(content)
    if child := os.fork():
        watch(child, connection)
    connection.close()
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(asked["folder"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    return asked["arguments"]


def watch(child: int, connection: socket.socket) -> NoReturn:
    """Tell how the child ended; end it if nobody is there any more to hear it."""
    ended = os.pidfd_open(child)
    if ended not in select.select([ended, connection], [], [])[0]:
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    with suppress(OSError):
        connection.send(str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def run(arguments: list[str]) -> NoReturn:
    """Do as Python does with these arguments, but for taking down all that was imported, which takes a second."""
    status: object = 0
    try:
        run_as_main(arguments)
    except SystemExit as ended:
        status = ended.code
        if isinstance(status, str):
            print(status, file=sys.stderr)
    except BaseException:
        status = 1
        traceback.print_exc()
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status if isinstance(status, int) else status is not None)


def run_as_main(arguments: list[str]) -> None:
    """Of -c CODE, -m MODULE or FILE, and what follows."""
    first, *rest = arguments
    if first == "-c":
        sys.argv, sys.path[0] = ["-c", *rest[1:]], ""
        exec(compile(rest[0], "<string>", "exec"), {"__name__": "__main__"})
    elif first == "-m":
        sys.argv, sys.path[0] = rest, os.getcwd()
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    else:
        sys.argv, sys.path[0] = arguments, str(Path(first).absolute().parent)
        runpy.run_path(first, run_name="__main__")


if __name__ == "__main__":
    listening = socket.socket(fileno=int(sys.argv[1]))
    for package in PACKAGES:
        importlib.import_module(package)
    threads = len(os.listdir("/proc/self/task"))
    if threads > 1:
        sys.exit(f"one of PACKAGES started {threads - 1} threads when it was imported: leave it out")
    gc.freeze()  # else a collection in a fork copies all of it
    with listening:
        connected = accept(listening)
    run(take_on(connected))
