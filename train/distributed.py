"""Data-parallel training in several processes with `torchrun --nproc-per-node N -m train ...`.

Each process embeds its share of every batch. All embeddings are gathered, so the negatives of a pair come from all
processes. Each process computes the loss of the whole batch, and the gradients are averaged. The result is the same as
that of one process with the whole batch, except for random numbers (dropout, masks) and batch statistics.

BatchNorm uses the items of all processes on GPUs (`share_batch_statistics`). On CPUs it uses the items of each process
alone, as in every data-parallel run without SyncBatchNorm. The saved running statistics are then those of the first
process.

When a process dies, its connections close, and the other processes or its torchrun notice at once. When a machine loses
its power or its network, nothing closes. Each process therefore sends a heartbeat to a common store. A process ends
when another one has sent no heartbeat for `LOST_S`.
"""

import atexit
import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from threading import Event, Thread
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.nn.functional import all_gather

# While the first process validates and writes, the others wait in the next epoch's first collective. With a large split
# on a slow disk, this takes longer than NCCL's default timeout of 10 minutes.
TIMEOUT = timedelta(hours=6)
BEAT_S = 5.0
LOST_S = 60.0  # a living process sends a heartbeat within this time, even on a busy machine
LEFT = "left"

Module = TypeVar("Module", bound=nn.Module)


class LostProcessError(RuntimeError):
    """Another process of the run has ended; the message is one sentence for the user."""


@dataclass(frozen=True)
class World:
    """This process and how many there are. A single process needs no launcher."""

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    watch: "Watch | None" = field(default=None, compare=False)

    @property
    def is_first(self) -> bool:
        """Whether this process writes and prints."""
        return self.rank == 0


def join_world() -> World:
    """Join the other processes, using torchrun's environment variables. Without these, this is the only process."""
    on_gpu = torch.cuda.is_available()
    local_rank = int(os.environ.get("LOCAL_RANK", 0))
    device = torch.device("cuda", local_rank) if on_gpu else torch.device("cpu")
    if on_gpu:
        torch.cuda.set_device(device)
    size = int(os.environ.get("WORLD_SIZE", 1))
    if size == 1:
        return World(device=device)
    if not dist.is_initialized():
        dist.init_process_group("nccl" if on_gpu else "gloo", timeout=TIMEOUT)
    return World(dist.get_rank(), size, device, Watch(dist.get_rank(), size))


class Watch:
    """Sends heartbeats, and ends this process when another one has sent no heartbeat for `LOST_S`.

    It runs in its own threads. A process whose partner is gone waits inside a collective, and nothing interrupts that.
    """

    def __init__(self, rank: int, size: int) -> None:
        self._rank, self._size = rank, size
        self._heard = dict.fromkeys(set(range(size)) - {rank}, time.monotonic())  # time of each one's last heartbeat
        self._has_left = False
        self._is_over = Event()
        self._threads = [Thread(target=work, daemon=True) for work in (self._beat, self._judge)]
        for thread in self._threads:
            thread.start()
        atexit.register(self._end)

    def leave(self) -> None:
        """Tell the others that this process has finished, and stop the heartbeats."""
        self._has_left = True
        self._end()

    def _end(self) -> None:
        # A thread that returns from the store while the interpreter shuts down would crash it.
        self._is_over.set()
        for thread in self._threads:
            thread.join(BEAT_S)

    def _beat(self) -> None:
        shown: dict[int, bytes] = {}
        store, beats = None, 0
        while not self._is_over.is_set() or self._has_left:
            is_last = self._is_over.is_set()
            try:
                store = store or _common_store()
                store.set(str(self._rank), LEFT if is_last else str(beats))
                for other in list(self._heard):
                    value = store.get(str(other)) if store.check([str(other)]) else b""
                    if value == LEFT.encode():
                        del self._heard[other]
                    elif value != shown.get(other, b""):
                        shown[other], self._heard[other] = value, time.monotonic()
            except RuntimeError:  # the process that holds the store may be the one that ended
                pass
            if is_last:
                return
            beats += 1
            self._is_over.wait(BEAT_S)

    def _judge(self) -> None:
        """Look for silent processes, in a separate thread: `_beat` waits forever if the store's machine is gone."""
        while not self._is_over.wait(BEAT_S):
            silent = [rank for rank, since in list(self._heard.items()) if time.monotonic() - since > LOST_S]
            if silent:
                problem = f"process {silent[0]} of {self._size} has not answered for {LOST_S:.0f} s"
                print(f"error: {_lost(problem)}", file=sys.stderr, flush=True)
                os._exit(2)


@contextmanager
def naming_lost_processes() -> Iterator[None]:
    """Replace the error of a collective by one sentence that says that another process has ended.

    Raises:
        LostProcessError: a collective failed in the block.
    """
    try:
        yield
    except RuntimeError as exc:
        # Gloo's errors have no class of their own.
        if not (isinstance(exc, dist.DistError) or (type(exc) is RuntimeError and "gloo" in str(exc))):
            raise
        raise LostProcessError(_lost("another process of this run has ended")) from exc


def _lost(problem: str) -> str:
    return (
        f"{problem}; read the output of that process, or of torchrun on its machine, and start all processes again: "
        "with --resume, if a last.pt was saved"
    )


def _common_store() -> dist.Store:
    """The store of all processes, over a separate connection: that of the process group waits in collectives."""
    host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    store = dist.TCPStore(host, port, is_master=False, timeout=timedelta(seconds=LOST_S))
    # torchrun keeps the store when it starts the processes again.
    return dist.PrefixStore(f"beats/{os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}", store)


def share_batch_statistics(module: Module, *, world: World) -> Module:
    """The module with SyncBatchNorm, which uses the items of all processes. PyTorch supports it only on GPUs."""
    if world.size == 1 or world.device.type != "cuda":
        return module
    shared: Module = nn.SyncBatchNorm.convert_sync_batchnorm(module)
    return shared


def gather(tensor: Tensor, *, world: World) -> Tensor:
    """Concatenate the tensors of all processes, of equal shape, along the first axis. Gradients flow back to each."""
    if world.size == 1:
        return tensor
    if tensor.requires_grad:
        return torch.cat(all_gather(tensor.contiguous()))
    parts = [torch.empty_like(tensor) for _ in range(world.size)]
    dist.all_gather(parts, tensor.contiguous())
    return torch.cat(parts)


def average_gradients(modules: Iterable[nn.Module], *, world: World) -> None:
    """Replace each gradient by its mean over the processes, with one all-reduce."""
    if world.size == 1:
        return
    gradients = [p.grad for module in modules for p in module.parameters() if p.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    flat /= world.size
    for gradient, mean in zip(gradients, flat.split([gradient.numel() for gradient in gradients]), strict=True):
        gradient.copy_(mean.view_as(gradient))


def wait_for_first(world: World) -> None:
    """Barrier: return when all processes have called this."""
    if world.size > 1:
        dist.barrier()


def leave_world(world: World) -> None:
    """Let the process group end cleanly."""
    if world.watch:
        world.watch.leave()
    if world.size > 1 and dist.is_initialized():
        dist.destroy_process_group()
