"""Processes that train together, as torchrun starts them."""

import os
import socket
import subprocess
from pathlib import Path

ENVIRONMENT = {"PYTHONPATH": str(Path(__file__).parents[2]), "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}


def find_port() -> int:
    """A free one."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def start_processes(size: int, command: list[str], *, python: Path) -> list[subprocess.Popen[str]]:
    """Start Python `size` times with the environment that torchrun gives; what they say is to be read from `stderr`."""
    port = find_port()

    def start(rank: int) -> subprocess.Popen[str]:
        environment = {
            **os.environ,
            **ENVIRONMENT,
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(size),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
        }
        return subprocess.Popen([python, *command], env=environment, stderr=subprocess.PIPE, text=True)

    return [start(rank) for rank in range(size)]


def start_nodes(count: int, command: list[str], *, python: Path) -> list[subprocess.Popen[str]]:
    """Start torchrun once for each machine of a cluster, all of them here, with a process each."""
    options = ["--nnodes", str(count), "--nproc-per-node", "1", "--rdzv-endpoint", f"127.0.0.1:{find_port()}"]
    options += ["--rdzv-backend", "c10d", "--monitor-interval", "1"]

    def start(node: int) -> subprocess.Popen[str]:
        torchrun = [str(python), "-m", "torch.distributed.run", *options, "--node-rank", str(node)]
        environment = {**os.environ, **ENVIRONMENT}
        return subprocess.Popen([*torchrun, *command], env=environment, stderr=subprocess.PIPE, text=True)

    return [start(node) for node in range(count)]
