"""Starts, watches and stops the tritonserver in the `nvidia-pytriton` wheel.

**Loopback only.** That wheel is Triton 2.51 (24.10). It has published critical vulnerabilities (fixed in 25.07 to
26.07), among them remote code execution without authentication. It is for development. HTTP, gRPC and metrics are bound
to 127.0.0.1, and no option changes the address. In production use NVIDIA's container, 26.07 or newer.

The wheel has Triton's Python backend but not its ONNX Runtime backend. So a folder of backends is built at start. In
it, `backends/onnxruntime/model.py` takes the name of the C++ backend (see there). The model repository is served
unchanged, and nothing is written into it.
"""

import contextlib
import fcntl
import http.client
import importlib.metadata
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LOOPBACK = "127.0.0.1"
EXIT_TIMEOUT_S = 10  # Triton waits this long for requests in flight, then this long again for models to unload
STOP_TIMEOUT_S = 25.0  # after this time it is killed
CACHE_BYTES = 64 * 2**20  # size of the LRU response cache: some 50,000 queries
SHARED_MEMORY = Path("/dev/shm")
WORKSPACE_PREFIX = "musicsearch-serve-"


class ServeError(RuntimeError):
    """The server cannot be started. The message says why and what to do."""


@dataclass(frozen=True)
class Ports:
    """TCP ports on 127.0.0.1; 0 means any free port."""

    http: int = 8000
    grpc: int = 8001
    metrics: int = 8002


@dataclass(frozen=True)
class Wheel:
    """The files that are used from the installed `nvidia-pytriton`; its Python API is never used."""

    tritonserver: Path
    python_backend: Path  # folder
    stub: Path  # the process in which the Python backend runs a model; one for each Python version
    caches: Path  # folder
    libraries: Path  # folder


class Server:
    """A tritonserver process that is ready.

    Attributes:
        ports: the ports it listens on, all on 127.0.0.1.
        pid: process id of tritonserver. It leads its own process group, which includes its Python models.
    """

    def __init__(self, process: subprocess.Popen[bytes], *, ports: Ports, repository: Path, workspace: Path) -> None:
        self._process = process
        self._repository = repository
        self._workspace = workspace
        self.ports = ports
        self.pid = process.pid

    @property
    def http_url(self) -> str:
        return f"http://{LOOPBACK}:{self.ports.http}"

    @property
    def grpc_url(self) -> str:
        """The URL in the form that `client.MusicSearch(encoder=…)` takes."""
        return f"grpc://{LOOPBACK}:{self.ports.grpc}"

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def model_processes(self) -> dict[int, str]:
        """Return pid -> model of the live model processes, one for each instance.

        When one ends, Triton stays "ready", fails the calls for that process, and does not restart it.
        """
        processes = {}
        for folder in Path("/proc").glob("[0-9]*"):
            stub, _, model = _command_line(int(folder.name)).partition(f"\0{self._workspace}/repository/")
            if stub.startswith(f"{self._workspace}/backends/"):
                processes[int(folder.name)] = model.partition("/")[0]
        return processes

    def log(self) -> str:
        """Return the complete output of tritonserver and the models so far."""
        log = (self._workspace / "triton.log").read_text(errors="replace")
        return log.replace(f"{self._workspace}/repository", str(self._repository))

    def is_ready(self) -> bool:
        """Tell whether every model in the repository can be called."""
        try:
            return self._request("GET", "/v2/health/ready")[0] == 200
        except (OSError, http.client.HTTPException):  # not listening yet
            return False

    def models(self) -> list[dict[str, Any]]:
        """Return the configuration of each served model as Triton parsed it, sorted by name."""
        index = json.loads(self._request("POST", "/v2/repository/index")[1])
        names = sorted({model["name"] for model in index})
        return [json.loads(self._request("GET", f"/v2/models/{name}/config")[1]) for name in names]

    def _request(self, method: str, path: str) -> tuple[int, bytes]:
        # http.client, not urllib: requests to loopback must not go through a proxy from the environment.
        connection = http.client.HTTPConnection(LOOPBACK, self.ports.http, timeout=5)
        try:
            connection.request(method, path)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()


def is_running(pid: int) -> bool:
    """Tell whether the process exists and is not a zombie."""
    return bool(_command_line(pid))


def _command_line(pid: int) -> str:
    """Return its arguments, each followed by NUL; "" for a zombie, a kernel thread or a process that has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
    except OSError:
        return ""


@contextlib.contextmanager
def running_server(
    repository: str | Path, *, ports: Ports = Ports(), ready_timeout_s: float = 120.0
) -> Iterator[Server]:
    """Serve a model repository on 127.0.0.1 until the block ends.

    When the block ends for any reason, or the start fails, everything is cleaned up: tritonserver, its model processes,
    its shared-memory segments and its temporary folder. If this process is killed, Triton stops by itself, and the next
    start removes the folder. The kernel watches the *thread* that entered the block, so that thread must live as long
    as the server.

    Args:
        repository: a folder with one folder per model.
        ports: where to listen.
        ready_timeout_s: maximum time for loading and warming up the models.

    Yields:
        The server, with every model ready.

    Raises:
        ServeError: there is no wheel, no stub for this Python, no such repository or only a part of one, a port is in
            use, a model does not load (with Triton's own message), or the server is not ready in time.
    """
    repository = Path(repository).resolve()
    if not any(repository.glob("*/config.pbtxt")):
        raise ServeError(f"{repository} is not a model repository: expected <model>/config.pbtxt in it")
    if (repository / "audio_embedding").is_dir() and not (repository / "audio_encoder").is_dir():
        # Triton checks what an ensemble needs, but it does not know which model a Python model calls.
        raise ServeError(
            f"{repository} has audio_embedding but not audio_encoder, which audio_embedding calls: export the model "
            "again"
        )
    wheel = find_wheel()
    ports = claim(ports)
    with _workspace() as workspace, _marked_as_served(repository):
        process = _start(wheel, repository=repository, ports=ports, workspace=workspace)
        try:
            server = Server(process, ports=ports, repository=repository, workspace=workspace)
            _wait_until_ready(server, timeout_s=ready_timeout_s)
            yield server
        finally:
            _stop(process)


@contextlib.contextmanager
def _marked_as_served(repository: Path) -> Iterator[None]:
    """Hold a shared advisory lock on the folder, so that no export replaces it meanwhile."""
    descriptor = os.open(repository, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network file systems do not support locks
            fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield
    finally:
        os.close(descriptor)


def find_wheel() -> Wheel:
    """Find the installed wheel; raises ServeError if it is missing or does not support this Python."""
    try:
        wheel = importlib.metadata.distribution("nvidia-pytriton")
    except importlib.metadata.PackageNotFoundError:
        raise ServeError(
            "tritonserver is not installed: run `make test` once in a checkout, or pip install 'musicsearch[serve]' "
            "(the wheel nvidia-pytriton, for Linux and Python 3.11 or 3.12)"
        ) from None
    triton = Path(str(wheel.locate_file("pytriton/tritonserver")))
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    stub = triton / "python_backend_stubs" / version / "triton_python_backend_stub"
    if not stub.is_file():
        minors = sorted(int(folder.name.removeprefix("3.")) for folder in stub.parents[1].glob("3.*"))
        raise ServeError(
            f"nvidia-pytriton {wheel.version} runs models under Python 3.{minors[0]} to 3.{minors[-1]}, not {version}: "
            "make the virtual environment with one of these versions"
        )
    return Wheel(
        tritonserver=triton / "bin" / "tritonserver",
        python_backend=triton / "backends" / "python",
        stub=stub,
        caches=triton / "caches",
        libraries=Path(str(wheel.locate_file("nvidia_pytriton.libs"))),
    )


def claim(ports: Ports) -> Ports:
    """Replace each 0 by a free port; raises ServeError if a port is in use or given twice."""
    wanted = [port for port in vars(ports).values() if port]
    if len({*wanted}) < len(wanted):
        named = ", ".join(f"{name} {port}" for name, port in vars(ports).items())
        raise ServeError(f"two ports are equal ({named}): give each its own, or 0 for a free one")
    with contextlib.ExitStack() as stack:  # keep all bound until the end, so that no two ports are equal
        claimed = {}
        for name, port in vars(ports).items():
            probe = stack.enter_context(socket.socket())
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((LOOPBACK, port))
            except OSError as error:
                raise ServeError(
                    f"{name} port {port} cannot be used ({error.strerror}): "
                    f"stop the program that listens on {LOOPBACK}:{port}, or choose another {name} port"
                ) from error
            claimed[name] = probe.getsockname()[1]
    return Ports(**claimed)


@contextlib.contextmanager
def _workspace() -> Iterator[Path]:
    """Make a temporary folder that is locked while it is in use; its name is also the shared-memory prefix."""
    _sweep()
    workspace = Path(tempfile.mkdtemp(prefix=WORKSPACE_PREFIX))
    try:
        if re.search(r"[^\w./+-]", str(workspace)):
            raise ServeError(
                f"the temporary folder {workspace.parent} has a character in its name that Triton would pass to a "
                "shell unquoted: set TMPDIR to another folder"
            )
        yield workspace
    finally:
        _discard(workspace)


def _lock(workspace: Path) -> int:
    """Open and lock `workspace/lock`. The lock lasts until every process that inherited it has ended."""
    descriptor = os.open(workspace / "unlocked", os.O_CREAT | os.O_RDWR)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    (workspace / "unlocked").rename(workspace / "lock")  # after locking, so that _sweep never sees it unlocked
    return descriptor


def _sweep() -> None:
    """Remove the workspaces of servers that were killed before they could clean up."""
    for lock in Path(tempfile.gettempdir()).glob(f"{WORKSPACE_PREFIX}*/lock"):
        with contextlib.suppress(OSError), lock.open("r+") as file:  # in use, another user's, or already removed
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _discard(lock.parent)


def _discard(workspace: Path) -> None:
    for segment in SHARED_MEMORY.glob(f"{workspace.name}*"):
        segment.unlink(missing_ok=True)
    shutil.rmtree(workspace, ignore_errors=True)


def _start(wheel: Wheel, *, repository: Path, ports: Ports, workspace: Path) -> subprocess.Popen[bytes]:
    environment = environment_of(wheel)
    _check_stub(wheel.stub, environment=environment)
    assemble_backends(workspace / "backends", python_backend=wheel.python_backend, stub=wheel.stub)
    # Link the repository's files into folders of our own, for two reasons. Triton passes the path to a shell unquoted,
    # so it must not be the user's path. And Python writes a __pycache__ beside each model.py (the stub ignores PYTHON*
    # variables).
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(repository, workspace / "repository", copy_function=os.symlink, ignore=ignored)
    command: list[str | Path] = [
        *(sys.executable, "-IS", Path(__file__).with_name("tied_exec.py"), str(os.getpid())),
        *(wheel.tritonserver, f"--model-repository={workspace}/repository"),
        *(f"--backend-directory={workspace}/backends", "--disable-auto-complete-config"),
        *(f"--http-address={LOOPBACK}", f"--http-port={ports.http}"),
        *(f"--grpc-address={LOOPBACK}", f"--grpc-port={ports.grpc}"),
        *(f"--metrics-address={LOOPBACK}", f"--metrics-port={ports.metrics}"),
        # Both are switched on, on every address, if AIP_MODE=PREDICTION is set.
        *("--allow-vertex-ai=false", "--allow-sagemaker=false"),
        *(f"--cache-directory={wheel.caches}", f"--cache-config=local,size={CACHE_BYTES}"),
        f"--exit-timeout-secs={EXIT_TIMEOUT_S}",
        "--allow-gpu-metrics=false",
        # `onnxruntime` is built on `python` and inherits its settings.
        f"--backend-config=python,shm-region-prefix-name={workspace.name}-",
    ]
    lock = _lock(workspace)
    try:
        with (workspace / "triton.log").open("wb") as log:
            return subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=[lock],
                start_new_session=True,  # Ctrl-C reaches only this process, which then stops Triton cleanly
            )
    finally:
        os.close(lock)


def environment_of(wheel: Wheel) -> dict[str, str]:
    """Return the environment variables of tritonserver, which the stubs inherit."""
    libraries = [wheel.libraries, sysconfig.get_config_var("LIBDIR"), Path(sys.base_prefix, "lib")]
    inherited = os.environ.get("LD_LIBRARY_PATH")
    return os.environ | {
        "LD_LIBRARY_PATH": ":".join(str(path) for path in [*libraries, inherited] if path),
        # The stub embeds libpython, which uses the site-packages of the first python3 in PATH.
        "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}",
        "ORT_DISABLE_TELEMETRY": "1",  # since 1.29, ONNX Runtime's Linux wheels report to Microsoft unless told not to
        "MALLOC_ARENA_MAX": "2",  # otherwise glibc keeps the freed memory of each of Triton's many threads
        "CUDA_VISIBLE_DEVICES": "-1",  # otherwise KIND_AUTO places instances on a GPU if there is one
    }


def _check_stub(stub: Path, *, environment: dict[str, str]) -> None:
    """Raise ServeError if the stub's libpython is missing; Triton itself would wait forever without a message."""
    # Without arguments the stub only exits. Exit code 127 comes from the dynamic linker.
    started = subprocess.run([stub], env=environment, capture_output=True, text=True, errors="replace")
    if started.returncode == 127:
        name = f"libpython{stub.parent.name}.so.1.0"
        raise ServeError(
            f"Triton's Python backend needs {name}: install Debian's libpython{stub.parent.name}, or use a Python "
            f"that includes it ({started.stderr.strip()})"
        )


def assemble_backends(folder: Path, *, python_backend: Path, stub: Path) -> None:
    """Fill `folder` with the wheel's Python backend and our `onnxruntime` backend, which is built on it."""
    for backend in ("python", "onnxruntime"):
        # Copies, because Triton may chmod the stub.
        shutil.copytree(python_backend, folder / backend, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(stub, folder / backend)
    # A folder with a model.py and no library of its own name is a backend written in Python.
    shutil.copy(Path(__file__).parent / "backends/onnxruntime/model.py", folder / "onnxruntime")


def _wait_until_ready(server: Server, *, timeout_s: float) -> None:
    give_up = time.monotonic() + timeout_s
    while not server.is_ready():
        if not server.is_alive():
            raise ServeError(f"tritonserver could not start:{_reason(server.log())}")
        if time.monotonic() > give_up:
            raise ServeError(f"tritonserver was not ready after {timeout_s:.0f} s:{_reason(server.log())}")
        time.sleep(0.05)


def _reason(log: str) -> str:
    """Return the lines of Triton's log that say why it failed: its errors, or else its last lines."""
    errors = re.findall(r'^E\d{4} [^\]]*\] "(.*)"$|(Error parsing text-format .*)$', log, re.MULTILINE)
    # CUDA is missing on purpose. The second message is repeated with the model's name. The third is a consequence.
    noise = re.compile("cuda|Failed to create instance|which has no loaded version", re.IGNORECASE)
    texts = ["".join(groups).partition(r"\n\nAt:")[0] for groups in errors]  # without the Python traceback
    causes = [text for text in dict.fromkeys(texts) if not noise.search(text)]
    return "\n  ".join(["", *(causes or log.splitlines()[-5:])])


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Let requests in flight finish, then kill all remaining processes of the server's group."""
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_TIMEOUT_S)
    with contextlib.suppress(ProcessLookupError):  # the normal case: no process is left
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
