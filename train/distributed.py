"""Several processes, one batch: `torchrun --nproc-per-node N -m train ...`.

Each process embeds its share of every batch, all embeddings are gathered (the negatives of a pair are those of all
processes), each takes the loss of the whole batch, and the gradients are averaged: what one process with the whole
batch would compute, but for what is drawn at random (dropout, masks) and for batch statistics. BatchNorm's are of all
processes' items on GPUs (`share_batch_statistics`) and of each process's own on CPUs, as in every data-parallel run
without SyncBatchNorm; the running ones that are saved are then the first process's.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.nn.functional import all_gather

# The other processes wait in the next epoch's first collective while the first one validates and writes; a large split
# on a slow disk takes longer than NCCL's default of 10 minutes. That a process died is for torchrun to notice.
TIMEOUT = timedelta(hours=6)


@dataclass(frozen=True)
class World:
    """This process among all; a single one needs no launcher."""

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def is_first(self) -> bool:
        """Whether this process writes and prints."""
        return self.rank == 0


def join_world() -> World:
    """Find the other processes by the environment that torchrun sets; alone where there is none."""
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
    return World(dist.get_rank(), size, device)


def share_batch_statistics(module: nn.Module, *, world: World) -> nn.Module:
    """The module with BatchNorm over the items of all processes; on GPUs alone, as PyTorch has it."""
    if world.size == 1 or world.device.type != "cuda":
        return module
    return nn.SyncBatchNorm.convert_sync_batchnorm(module)


def gather(tensor: Tensor, *, world: World) -> Tensor:
    """Concatenate the processes' tensors of equal shape along the first axis; gradients flow back to each."""
    if world.size == 1:
        return tensor
    if tensor.requires_grad:
        return torch.cat(all_gather(tensor.contiguous()))
    parts = [torch.empty_like(tensor) for _ in range(world.size)]
    dist.all_gather(parts, tensor.contiguous())
    return torch.cat(parts)


def average_gradients(modules: Iterable[nn.Module], *, world: World) -> None:
    """Replace each gradient by its mean over the processes, in one message."""
    if world.size == 1:
        return
    gradients = [p.grad for module in modules for p in module.parameters() if p.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    flat /= world.size
    for gradient, mean in zip(gradients, flat.split([gradient.numel() for gradient in gradients]), strict=True):
        gradient.copy_(mean.view_as(gradient))


def wait_for_first(world: World) -> None:
    """Return once the first process, and so each, has come here."""
    if world.size > 1:
        dist.barrier()


def leave_world(world: World) -> None:
    """Let the process group end cleanly."""
    if world.size > 1 and dist.is_initialized():
        dist.destroy_process_group()
