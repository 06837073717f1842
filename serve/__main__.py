"""`python -m serve`: serve a model repository with the real tritonserver, on CPU, to this machine only.

The server binds 127.0.0.1 and refuses every other address: the Triton release in the wheel `nvidia-pytriton` has
published critical vulnerabilities (see `serve.server`). To serve other machines, use NVIDIA's container.

`--check` starts the server on free ports, calls every model once, prints each answer, and stops.

`--restart` starts the server again when it dies. Triton 24.10 may crash under overload when callers' deadlines expire.
Its gRPC front end has race conditions with cancelled calls (fixed by triton-inference-server/server #7840 of December
2024 and #8078 of March 2025).

Exit codes:

* 0: stopped by Ctrl-C, SIGTERM or SIGHUP, or every model answered.
* 1: the server or a model's process died, or a model failed.
* 2: the server could not start.
"""

import argparse
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from serve.server import Ports, ServeError, Server, is_running, running_server

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_STARTER = Path(__file__).resolve().parents[1] / "model_repository"  # beside this package, in a checkout or a wheel
_MOST_DEATHS, _DEATHS_WITHIN_S = 3, 60
# The address options of tritonserver, and those that people try first.
_ADDRESS_OPTIONS = ("--http-address", "--grpc-address", "--metrics-address", "--host", "--address", "--bind")


class _RefuseAddress(argparse.Action):
    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        parser.error(
            f"{option_string} {values}: this server listens on 127.0.0.1 only, because its Triton release has "
            "published critical vulnerabilities; to serve other machines, serve the same folder with NVIDIA's container"
        )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m serve", description="Serve a model repository on this machine's CPU, on 127.0.0.1 only."
    )
    parser.add_argument(
        "--repository",
        type=Path,
        help="default: model_repository in the current folder, if an export wrote one there, otherwise the starter",
    )
    for name, port in vars(Ports()).items():
        parser.add_argument(f"--{name}-port", type=_port, default=port, help="default: %(default)s; 0: any free port")
    parser.add_argument("--check", action="store_true", help="call every model once on free ports, and stop")
    parser.add_argument(
        "--restart",
        action="store_true",
        help=f"restart the server on the same ports when it dies; give up after {_MOST_DEATHS} deaths in "
        f"{_DEATHS_WITHIN_S} s",
    )
    parser.add_argument(*_ADDRESS_OPTIONS, action=_RefuseAddress, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    here = Path("model_repository")
    repository = options.repository or (here if here.is_dir() else _STARTER)
    ports = Ports(http=options.http_port, grpc=options.grpc_port, metrics=options.metrics_port)

    for number in _STOP_SIGNALS:
        signal.signal(number, _interrupt)
    deaths: deque[float] = deque(maxlen=_MOST_DEATHS)
    try:
        while True:
            with running_server(repository, ports=Ports(0, 0, 0) if options.check else ports) as server:
                if options.check:
                    return _check(server)
                processes = server.model_processes()  # before the banner invites calls
                print(_banner(server), flush=True)
                died = _wait_for_a_death(server, processes)
                deaths.append(time.monotonic())
                print(f"serve: {died} died; the end of the server's log:\n{server.log()[-2000:]}", file=sys.stderr)
                ports = server.ports
            if not options.restart:
                return 1
            if len(deaths) == _MOST_DEATHS and deaths[-1] - deaths[0] < _DEATHS_WITHIN_S:
                print(f"serve: gave up after {_MOST_DEATHS} deaths in {_DEATHS_WITHIN_S} s", file=sys.stderr)
                return 1
            print("serve: restarting", file=sys.stderr, flush=True)
    except ServeError as error:
        print(f"serve: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 0


def _wait_for_a_death(server: Server, processes: Mapping[int, str]) -> str:
    """Wait until tritonserver or one of `processes` dies; return which. Triton does not notice that a model died."""
    while server.is_alive():
        for pid, model in processes.items():
            if not is_running(pid):
                return f"a process of the model {model}"
        time.sleep(0.2)
    return "tritonserver"


def _check(server: Server) -> int:
    from serve.check import call_models  # it imports the wheel, and a missing wheel has its own error

    calls = list(call_models(server))
    rows = [("model", "ms", "answer")]
    rows += [
        (call.model, f"{call.milliseconds:.1f}", call.answer if call.succeeded else f"FAILED: {call.answer}")
        for call in calls
    ]
    print("\n".join(_table(rows)))
    return 0 if all(call.succeeded for call in calls) else 1


def _interrupt(_number: int, _frame: object) -> None:
    for number in _STOP_SIGNALS:  # a second Ctrl-C must not cut the clean-up short
        signal.signal(number, signal.SIG_IGN)
    os.write(2, b"\nserve: stopping\n")  # print is not safe in a signal handler
    raise KeyboardInterrupt


def _port(text: str) -> int:
    if not (text.isdecimal() and int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"{text!r} is not a port: expected 0 to 65535")
    return int(text)


def _banner(server: Server) -> str:
    rows = [("model", "backend", "batch", "inputs", "outputs")]
    for model in server.models():
        rows.append(
            (
                model["name"],
                model["backend"] or model["platform"],
                str(model["max_batch_size"]),
                _tensors(model["input"]),
                _tensors(model["output"]),
            )
        )
    return "\n".join(
        [
            *_table(rows),
            f"ready: {server.http_url} (metrics on port {server.ports.metrics}); Ctrl-C stops the server",
            f'MusicSearch("library", encoder="{server.grpc_url}")',
        ]
    )


def _table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _tensors(tensors: list[dict[str, Any]]) -> str:
    """`waveform FP32 [160000]`, with commas between several."""
    return ", ".join(
        f"{tensor['name']} {tensor['data_type'].removeprefix('TYPE_')} [{' '.join(map(str, tensor['dims']))}]"
        for tensor in tensors
    )


if __name__ == "__main__":
    sys.exit(main())
