"""Contrastive batches larger than memory: gradient caching (Gao et al. 2021, "Scaling deep contrastive learning batch
size under memory limited setup").

The loss needs every embedding of the batch at once, the towers do not: embed chunk by chunk without a graph, take the
loss and its gradient with respect to the embeddings, then embed each chunk again with a graph and push that gradient
through. Of the activations only one chunk's are held, time is about 4/3, and the gradient that of the whole batch; but
the batch's waveforms are held whole, in host memory (6,144 of 10 s at 16 kHz: 3.9 GB, and as much for each batch that a
loader's process has ready). BatchNorm's statistics are of each chunk, so a tower that has it learns as from batches of
that size: choose chunks as large as fit.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor, nn

Chunk = TypeVar("Chunk")


def backward_in_chunks(
    chunks: Sequence[Chunk],
    *,
    model: nn.Module,
    encode: Callable[[Chunk], Sequence[Tensor]],
    loss_of: Callable[..., Tensor],
) -> Tensor:
    """Add the gradients of `loss_of(*outputs)` to the parameters and return the loss, detached.

    Args:
        model: what `encode` runs; its running statistics see each chunk once.
        encode: a chunk -> tensors whose first axis is the chunk's items. It is called twice for each chunk, with the
            same state of the random generators, so dropout and augmentation fall alike.
        loss_of: the tensors of all chunks, concatenated -> a scalar.
    """
    if len(chunks) == 1:
        loss = loss_of(*encode(chunks[0]))
        loss.backward()
        return loss.detach()
    states, parts = [], []
    with torch.no_grad(), _running_statistics_kept(model):
        for chunk in chunks:
            states.append(_random_state())
            parts.append([output.detach() for output in encode(chunk)])
    after = _random_state()
    leaves = [torch.cat(outputs).requires_grad_() for outputs in zip(*parts, strict=True)]
    loss = loss_of(*leaves)
    loss.backward()
    sizes = [len(outputs[0]) for outputs in parts]
    gradients = [None if leaf.grad is None else leaf.grad.split(sizes) for leaf in leaves]
    for place, (chunk, state) in enumerate(zip(chunks, states, strict=True)):
        _set_random_state(state)
        pairs = [
            (output, gradient[place])
            for output, gradient in zip(encode(chunk), gradients, strict=True)
            if gradient is not None
        ]
        torch.autograd.backward([output for output, _ in pairs], [gradient for _, gradient in pairs])
    _set_random_state(after)
    return loss.detach()


@contextmanager
def _running_statistics_kept(model: nn.Module) -> Iterator[None]:
    """BatchNorm in training takes the chunk's statistics as ever, but does not count them among the running ones."""
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True


def _random_state() -> tuple[Tensor, list[Tensor]]:
    return torch.get_rng_state(), torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []


def _set_random_state(state: tuple[Tensor, list[Tensor]]) -> None:
    torch.set_rng_state(state[0])
    if state[1]:
        torch.cuda.set_rng_state_all(state[1])
